//! Reads the settings from the environment and `.env`, applies the options, and checks everything.
//!
//! All problems are reported together before anything else happens. No value is ever written back.

mod variables;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::environment::{EnvFileError, Environment, Reader};
use crate::platform::{HttpSettings, PLATFORMS, PublisherSettings};
use crate::post::{BackoffFrom, RetryPolicy};
use crate::retry::PassConfig;
use crate::store::{MongoSettings, StoreSettings};

pub use variables::{env_example, variables};

/// All settings.
#[derive(Debug)]
pub struct Settings {
    /// Where the posts are.
    pub store: StoreSettings,
    /// How often and when posts are retried.
    pub policy: RetryPolicy,
    /// How fast a pass works, and how long an attempt waits.
    pub pass: PassConfig,
    /// Files to publish.
    pub assets: AssetSettings,
    /// How requests are sent.
    pub http: HttpSettings,
    /// The platforms that are configured.
    pub platforms: Vec<Box<dyn PublisherSettings>>,
    /// The address for alerts.
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

/// Settings from the command line.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Overrides `POSTRETRY_STORE`.
    pub store: Option<String>,
    /// Overrides `POST_RETRY_CONCURRENCY`.
    pub concurrency: Option<usize>,
}

/// Invalid settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file with settings cannot be read.
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
    /// Invalid values, one line each.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

/// The settings that name the store.
const STORES: [&str; 2] = ["POSTRETRY_STORE", "MONGODB_URI"];

const HOUR: Duration = Duration::from_secs(3600);

impl Settings {
    /// Checks all settings from the environment and the options.
    ///
    /// # Errors
    /// All problems together.
    pub fn resolve(environment: &Environment, overrides: &Overrides) -> Result<Self, SettingsError> {
        let mut read = Reader::new(environment, variables());
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
            pass: PassConfig {
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
            platforms: PLATFORMS.iter().filter_map(|module| (module.read_settings)(&mut read)).collect(),
            alert_webhook: read.optional_https_url("ALERT_WEBHOOK_URL").map(|url| SecretString::from(url.to_string())),
        };
        read.finish(settings).map_err(SettingsError::Invalid)
    }
}

fn store(read: &mut Reader<'_>, option: Option<&str>) -> StoreSettings {
    let (name, value) = match (option, read.optional("POSTRETRY_STORE"), read.optional("MONGODB_URI")) {
        (Some(value), _, _) => ("--store", value.to_owned()),
        (None, Some(value), _) => ("POSTRETRY_STORE", value),
        (None, None, Some(value)) => ("MONGODB_URI", value),
        (None, None, None) if STORES.iter().any(|name| read.is_unreadable(name)) => {
            return StoreSettings::Sqlite(PathBuf::new());
        }
        (None, None, None) => {
            read.problem("no post store is set: set `MONGODB_URI`, or set `POSTRETRY_STORE` to `sqlite:PATH`");
            return StoreSettings::Sqlite(PathBuf::new());
        }
    };
    let posts = read.text("POST_COLLECTION");
    let stories = read.text("STORY_COLLECTION");
    if let Some(path) = value.strip_prefix("sqlite:") {
        if path.is_empty() {
            read.problem(format!("setting `{name}` has no path: write `sqlite:PATH`"));
        } else if path.starts_with("//") {
            read.problem(format!(
                "setting `{name}` is not a path after `sqlite:`: write `sqlite:PATH` without `//`, for example \
                 `sqlite:/var/lib/postretry/posts.db`"
            ));
        } else if path.contains('\0') {
            read.problem(format!("setting `{name}` has a path with a NUL character: write `sqlite:PATH`"));
        }
        return StoreSettings::Sqlite(PathBuf::from(path));
    }
    if !(value.starts_with("mongodb://") || value.starts_with("mongodb+srv://")) {
        let allowed = "`mongodb://…`, `mongodb+srv://…` or `sqlite:PATH`";
        read.problem(format!(
            "setting `{name}` is not {allowed} (the value is not shown because it may contain a password)"
        ));
        return StoreSettings::Sqlite(PathBuf::new());
    }
    for (name, collection) in [("POST_COLLECTION", &posts), ("STORY_COLLECTION", &stories)] {
        if !is_collection_name(collection) {
            read.refuse(
                name,
                "the name of a MongoDB collection: at most 200 bytes, no `$` and no NUL, no dot at the start or the \
                 end, and no `system.` at the start",
            );
        }
    }
    match MongoSettings::new(&value, posts, stories) {
        Ok(settings) => StoreSettings::Mongo(settings),
        Err(problem) => {
            read.problem(format!("setting `{name}` {problem}"));
            StoreSettings::Sqlite(PathBuf::new())
        }
    }
}

/// Whether MongoDB takes this as the name of a collection of its users. With the name of the database it has a limited
/// length.
fn is_collection_name(name: &str) -> bool {
    let is_outside = name.is_empty() || name.len() > 200 || name.starts_with("system.");
    !is_outside && !name.contains(['$', '\0']) && !name.starts_with('.') && !name.ends_with('.')
}

#[cfg(test)]
mod tests;
