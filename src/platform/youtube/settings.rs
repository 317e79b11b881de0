//! The settings of YouTube: its variables, and how they are read.

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::YouTubePublisher;
use crate::environment::{Reader, Variable};
use crate::platform::{ADDRESSES, Origin, PlatformModule, Publisher, PublisherDeps, PublisherSettings};
use crate::post::Platform;

/// How YouTube is reached, and how its videos are published.
#[derive(Debug, Clone)]
pub(in crate::platform) struct YouTubeSettings {
    /// Where the API is.
    pub(super) api: Origin,
    /// Google's token endpoint.
    pub(super) token_url: Url,
    /// The OAuth client.
    pub(super) client_id: String,
    /// Its secret.
    pub(super) client_secret: SecretString,
    /// The channel's refresh token.
    pub(super) refresh_token: SecretString,
    /// `public`, `unlisted` or `private`.
    pub(super) privacy_status: String,
    /// The video category.
    pub(super) category_id: String,
    /// Whether the videos are made for children.
    pub(super) made_for_kids: bool,
}

/// The heading of its variables.
const GROUP: &str = "YouTube";

/// The platform as the rest of the program sees it.
pub(in crate::platform) const MODULE: PlatformModule =
    PlatformModule { variables: VARIABLES, read_settings: |read| Some(Box::new(self::read(read)?)) };

const VARIABLES: &[Variable] = &[
    Variable::open(GROUP, "YOUTUBE_CLIENT_ID", "", "The OAuth client ID; if it is not set, GOOGLE_CLIENT_ID is used"),
    Variable::secret(
        GROUP,
        "YOUTUBE_CLIENT_SECRET",
        "The OAuth client secret; if it is not set, GOOGLE_CLIENT_SECRET is used",
    ),
    Variable::open(GROUP, "GOOGLE_CLIENT_ID", "", "Used if YOUTUBE_CLIENT_ID is not set"),
    Variable::secret(GROUP, "GOOGLE_CLIENT_SECRET", "Used if YOUTUBE_CLIENT_SECRET is not set"),
    Variable::secret(GROUP, "YOUTUBE_REFRESH_TOKEN", "The channel's refresh token"),
    Variable::open(
        GROUP,
        "YOUTUBE_PRIVACY_STATUS",
        "public",
        "Who can see the videos: `public`, `unlisted` or `private`",
    ),
    Variable::open(GROUP, "YOUTUBE_CATEGORY_ID", "22", "The ID of the video category"),
    Variable::open(GROUP, "YOUTUBE_MADE_FOR_KIDS", "false", "Whether the videos are made for kids: `true` or `false`"),
    Variable::open(ADDRESSES, "YOUTUBE_API_URL", "https://www.googleapis.com", "The YouTube Data API"),
    Variable::open(
        ADDRESSES,
        "GOOGLE_TOKEN_URL",
        "https://oauth2.googleapis.com/token",
        "Google's token endpoint, the complete URL",
    ),
];

impl PublisherSettings for YouTubeSettings {
    fn platform(&self) -> Platform {
        Platform::YouTubeShorts
    }

    fn publisher(&self, deps: &PublisherDeps) -> Arc<dyn Publisher> {
        Arc::new(YouTubePublisher::new(self, deps))
    }
}

fn read(read: &mut Reader<'_>) -> Option<YouTubeSettings> {
    let api = Origin::read(read, "YOUTUBE_API_URL");
    let token_url = read.endpoint("GOOGLE_TOKEN_URL");
    let privacy_status = read.choice("YOUTUBE_PRIVACY_STATUS", &["public", "unlisted", "private"]);
    let category_id = read.text("YOUTUBE_CATEGORY_ID");
    if !is_digits(&category_id) {
        read.problem(format!("setting `YOUTUBE_CATEGORY_ID` is not a category number: `{category_id}`"));
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
