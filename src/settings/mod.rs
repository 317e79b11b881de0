//! The settings: from the environment and `.env`, overridden by options, to one typed and fully checked value.
//!
//! All problems are found and reported together, before anything else happens. No value is ever written back.

mod environment;
mod reader;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::platform::{
    HttpSettings, InstagramCredentials, InstagramSettings, TikTokCredentials, TikTokSettings, YouTubeSettings,
};
use crate::post::{BackoffFrom, Pace, RetryPolicy};
use crate::store::{MongoSettings, StoreSettings};

pub use environment::Environment;
use reader::Reader;
pub use variables::{Secrecy, VARIABLES, Variable, env_example};

/// Everything that a command may want to know.
#[derive(Debug)]
pub struct Settings {
    /// Where the posts are.
    pub store: StoreSettings,
    /// How often and when posts are retried.
    pub policy: RetryPolicy,
    /// How a pass works.
    pub pace: Pace,
    /// Files to publish.
    pub assets: AssetSettings,
    /// How platforms are spoken to.
    pub http: HttpSettings,
    /// TikTok, if it is configured.
    pub tiktok: Option<TikTokSettings>,
    /// Instagram, if it is configured.
    pub instagram: Option<InstagramSettings>,
    /// `YouTube`, if it is configured.
    pub youtube: Option<YouTubeSettings>,
    /// Who is told when a person is needed.
    pub alert_webhook: Option<SecretString>,
}

/// Where the files are.
#[derive(Debug, Clone)]
pub struct AssetSettings {
    /// Relative asset paths start here.
    pub root: PathBuf,
    /// Where the root is served publicly.
    pub public_url: Option<Url>,
}

/// What the command line may set.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// In place of `POSTRETRY_STORE`.
    pub store: Option<String>,
    /// In place of `POST_RETRY_CONCURRENCY`.
    pub concurrency: Option<usize>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file with settings cannot be read.
    #[error("failed to read settings from `{}`: {problem}", path.display())]
    EnvFile {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Values that cannot be used, one line each.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

const HOUR: Duration = Duration::from_secs(3600);

impl Settings {
    /// Checks everything that the environment and the options say.
    ///
    /// # Errors
    /// Every problem found, together.
    pub fn resolve(environment: &Environment, overrides: &Overrides) -> Result<Self, SettingsError> {
        let mut read = Reader::new(environment);
        let http_timeout = read.duration("HTTP_TIMEOUT", Duration::from_secs(1)..=HOUR / 6);
        let settings = Self {
            store: store(&mut read, overrides.store.as_deref()),
            policy: RetryPolicy {
                max_retries: read.number("MAX_POST_RETRIES", 0..=20),
                base_interval: chrono::TimeDelta::minutes(read.number("POST_RETRY_INTERVAL_MINUTES", 1..=10080)),
                backoff_from: match read.choice("POST_RETRY_BACKOFF_FROM", &["first-failure", "last-attempt"]).as_str()
                {
                    "last-attempt" => BackoffFrom::LastAttempt,
                    _ => BackoffFrom::FirstFailure,
                },
            },
            pace: Pace {
                concurrency: {
                    let set = read.number("POST_RETRY_CONCURRENCY", 1..=256);
                    overrides.concurrency.unwrap_or(set)
                },
                gap: read.duration("POST_RETRY_GAP", Duration::ZERO..=HOUR),
                expire: read.optional_duration("POST_RETRY_EXPIRE", Duration::from_secs(60)..=Duration::MAX),
                claim: read.duration("POST_RETRY_CLAIM", Duration::from_secs(1)..=HOUR),
                poll: read.duration("POST_RETRY_POLL", Duration::from_millis(10)..=Duration::from_secs(60)),
                wait: read.duration("POST_RETRY_WAIT", Duration::ZERO..=HOUR),
            },
            assets: AssetSettings {
                root: PathBuf::from(read.text("POST_ASSET_ROOT")),
                public_url: read.optional_https_url("ASSET_PUBLIC_URL"),
            },
            http: HttpSettings { timeout: http_timeout },
            tiktok: tiktok(&mut read),
            instagram: instagram(&mut read),
            youtube: youtube(&mut read),
            alert_webhook: read.optional_https_url("ALERT_WEBHOOK_URL").map(|url| SecretString::from(url.to_string())),
        };
        read.finish(settings)
    }
}

fn store(read: &mut Reader<'_>, option: Option<&str>) -> StoreSettings {
    let (name, value) = match (option, read.optional("POSTRETRY_STORE"), read.optional("MONGODB_URI")) {
        (Some(value), _, _) => ("--store", value.to_owned()),
        (None, Some(value), _) => ("POSTRETRY_STORE", value),
        (None, None, Some(value)) => ("MONGODB_URI", value),
        (None, None, None) => {
            read.problem("no post store is set: give `MONGODB_URI`, or `POSTRETRY_STORE` with `sqlite:PATH`");
            return StoreSettings::Sqlite(PathBuf::new());
        }
    };
    let posts = read.text("POST_COLLECTION");
    let stories = read.text("STORY_COLLECTION");
    if let Some(path) = value.strip_prefix("sqlite:") {
        if path.is_empty() {
            read.problem(format!("setting `{name}` names no file: `sqlite:` must be followed by a path"));
        }
        return StoreSettings::Sqlite(PathBuf::from(path));
    }
    if !(value.starts_with("mongodb://") || value.starts_with("mongodb+srv://")) {
        let allowed = "`mongodb://…`, `mongodb+srv://…` or `sqlite:PATH`";
        read.problem(format!("setting `{name}` is not {allowed} (its value is not shown, it may hold a password)"));
        return StoreSettings::Sqlite(PathBuf::new());
    }
    match MongoSettings::new(&value, posts, stories) {
        Ok(settings) => StoreSettings::Mongo(settings),
        Err(problem) => {
            read.problem(format!("setting `{name}` {problem}"));
            StoreSettings::Sqlite(PathBuf::new())
        }
    }
}

fn tiktok(read: &mut Reader<'_>) -> Option<TikTokSettings> {
    let api = read.origin("TIKTOK_API_URL");
    let levels = ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY"];
    let privacy_level = read.choice("TIKTOK_PRIVACY_LEVEL", &levels);
    let key = read.optional("TIKTOK_CLIENT_KEY");
    let secret = read.optional_secret("TIKTOK_CLIENT_SECRET");
    let refresh = read.optional_secret("TIKTOK_REFRESH_TOKEN");
    let access = read.optional_secret("TIKTOK_ACCESS_TOKEN");
    let credentials = match (key, secret, refresh, access) {
        (None, None, None, None) => return None,
        (Some(client_key), Some(client_secret), Some(refresh_token), access_token) => {
            TikTokCredentials::Refreshed { client_key, client_secret, refresh_token, access_token }
        }
        (_, _, None, Some(access_token)) => TikTokCredentials::Bare { access_token },
        (key, secret, refresh, _) => {
            let have = [
                ("TIKTOK_CLIENT_KEY", key.is_some()),
                ("TIKTOK_CLIENT_SECRET", secret.is_some()),
                ("TIKTOK_REFRESH_TOKEN", refresh.is_some()),
            ];
            read.incomplete(&have, "publish to TikTok");
            return None;
        }
    };
    Some(TikTokSettings { api, credentials, privacy_level })
}

fn instagram(read: &mut Reader<'_>) -> Option<InstagramSettings> {
    let api = read.origin("INSTAGRAM_API_URL");
    let upload = read.origin("INSTAGRAM_UPLOAD_URL");
    let version = read.text("INSTAGRAM_GRAPH_VERSION");
    let is_version = version
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| [major, minor].iter().all(|part| is_digits(part)));
    if !is_version {
        read.problem(format!("setting `INSTAGRAM_GRAPH_VERSION` is not a version such as `v25.0`: `{version}`"));
    }
    let settle = read.duration("INSTAGRAM_SETTLE", Duration::ZERO..=HOUR / 6);
    let user = read.optional("INSTAGRAM_USER_ID");
    let token = read.optional_secret("INSTAGRAM_ACCESS_TOKEN");
    let app_id = read.optional("INSTAGRAM_APP_ID");
    let app_secret = read.optional_secret("INSTAGRAM_APP_SECRET");
    if app_id.is_some() != app_secret.is_some() {
        let have = [("INSTAGRAM_APP_ID", app_id.is_some()), ("INSTAGRAM_APP_SECRET", app_secret.is_some())];
        read.incomplete(&have, "have the Instagram token exchanged before it expires");
    }
    let (user_id, access_token) = match (user, token) {
        (Some(user), Some(token)) => (user, token),
        (None, None) => return None,
        (user, token) => {
            let have = [("INSTAGRAM_USER_ID", user.is_some()), ("INSTAGRAM_ACCESS_TOKEN", token.is_some())];
            read.incomplete(&have, "publish to Instagram");
            return None;
        }
    };
    if !is_digits(&user_id) {
        read.problem(format!("setting `INSTAGRAM_USER_ID` is not an account's number: `{user_id}`"));
    }
    let credentials = InstagramCredentials { user_id, access_token, app: app_id.zip(app_secret) };
    Some(InstagramSettings { api, upload, version, settle, credentials })
}

fn youtube(read: &mut Reader<'_>) -> Option<YouTubeSettings> {
    let api = read.origin("YOUTUBE_API_URL");
    let token_url = read.endpoint("GOOGLE_TOKEN_URL");
    let privacy_status = read.choice("YOUTUBE_PRIVACY_STATUS", &["public", "unlisted", "private"]);
    let category_id = read.text("YOUTUBE_CATEGORY_ID");
    if !is_digits(&category_id) {
        read.problem(format!("setting `YOUTUBE_CATEGORY_ID` is not a category's number: `{category_id}`"));
    }
    let made_for_kids = read.choice("YOUTUBE_MADE_FOR_KIDS", &["true", "false"]) == "true";
    let own_id = read.optional("YOUTUBE_CLIENT_ID");
    let own_secret = read.optional_secret("YOUTUBE_CLIENT_SECRET");
    let refresh = read.optional_secret("YOUTUBE_REFRESH_TOKEN");
    // Google's client alone is no sign that YouTube is wanted: other parts of a back end use it to sign people in.
    if own_id.is_none() && own_secret.is_none() && refresh.is_none() {
        return None;
    }
    let client_id = own_id.or_else(|| read.optional("GOOGLE_CLIENT_ID"));
    let client_secret = own_secret.or_else(|| read.optional_secret("GOOGLE_CLIENT_SECRET"));
    match (client_id, client_secret, refresh) {
        (Some(client_id), Some(client_secret), Some(refresh_token)) => Some(YouTubeSettings {
            api,
            token_url,
            client_id,
            client_secret,
            refresh_token,
            privacy_status,
            category_id,
            made_for_kids,
        }),
        (id, secret, refresh) => {
            let have = [
                ("YOUTUBE_CLIENT_ID", id.is_some()),
                ("YOUTUBE_CLIENT_SECRET", secret.is_some()),
                ("YOUTUBE_REFRESH_TOKEN", refresh.is_some()),
            ];
            read.incomplete(&have, "publish to YouTube");
            None
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
