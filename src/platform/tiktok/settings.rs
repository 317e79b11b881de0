//! The settings of TikTok: its variables, and how they are read.

use std::sync::Arc;

use secrecy::SecretString;

use super::TikTokPublisher;
use crate::environment::{Reader, Variable};
use crate::platform::{ADDRESSES, Origin, PlatformModule, Publisher, PublisherDeps, PublisherSettings};
use crate::post::Platform;

/// How to reach TikTok, and as whom.
#[derive(Debug, Clone)]
pub(in crate::platform) struct TikTokSettings {
    /// Where the API is.
    pub(super) api: Origin,
    /// The account.
    pub(super) credentials: TikTokCredentials,
    /// Who sees the posts.
    pub(super) privacy_level: String,
}

/// The credentials of the account.
#[derive(Debug, Clone)]
pub(in crate::platform) enum TikTokCredentials {
    /// A refresh token. Only the app that it was given to can use it.
    Refreshed {
        /// The app's key.
        client_key: String,
        /// The app's secret.
        client_secret: SecretString,
        /// The account's refresh token.
        refresh_token: SecretString,
        /// A token to start with.
        access_token: Option<SecretString>,
    },
    /// An access token that is never refreshed.
    Bare {
        /// The token.
        access_token: SecretString,
    },
}

/// The heading of its variables.
const GROUP: &str = "TikTok";

/// The platform as the rest of the program sees it.
pub(in crate::platform) const MODULE: PlatformModule =
    PlatformModule { variables: VARIABLES, read_settings: |read| Some(Box::new(self::read(read)?)) };

const VARIABLES: &[Variable] = &[
    Variable::open(
        GROUP,
        "TIKTOK_CLIENT_KEY",
        "",
        "The app's client key; set it together with the client secret and the refresh token",
    ),
    Variable::secret(GROUP, "TIKTOK_CLIENT_SECRET", "The app's client secret"),
    Variable::secret(GROUP, "TIKTOK_REFRESH_TOKEN", "The account's refresh token"),
    Variable::secret(GROUP, "TIKTOK_ACCESS_TOKEN", "An access token, if there is no refresh token"),
    Variable::open(
        GROUP,
        "TIKTOK_PRIVACY_LEVEL",
        "PUBLIC_TO_EVERYONE",
        "Who can see the posts; must be a level that TikTok offers to the account",
    ),
    Variable::open(
        ADDRESSES,
        "TIKTOK_API_URL",
        "https://open.tiktokapis.com",
        "TikTok's API; plain http only to a loopback address",
    ),
];

impl PublisherSettings for TikTokSettings {
    fn platform(&self) -> Platform {
        Platform::TikTok
    }

    fn publisher(&self, deps: &PublisherDeps) -> Arc<dyn Publisher> {
        Arc::new(TikTokPublisher::new(self, deps))
    }
}

fn read(read: &mut Reader<'_>) -> Option<TikTokSettings> {
    let api = Origin::read(read, "TIKTOK_API_URL");
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
