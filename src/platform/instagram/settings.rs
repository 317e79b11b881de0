//! The settings of Instagram: its variables, and how they are read.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::InstagramPublisher;
use crate::environment::{Reader, Variable};
use crate::platform::{ADDRESSES, Origin, PlatformModule, Publisher, PublisherDeps, PublisherSettings};
use crate::post::Platform;

/// How requests are sent to Instagram.
#[derive(Debug, Clone)]
pub(in crate::platform) struct InstagramSettings {
    /// Where the Graph API is.
    pub(super) api: Origin,
    /// Where reels are uploaded.
    pub(super) upload: Origin,
    /// The version of the API, for example `v25.0`.
    pub(super) version: String,
    /// After a publish call without a clear result, the wait before each of the two reads that decide whether the call
    /// is made again.
    pub(super) confirm_wait: Duration,
    /// The account.
    pub(super) credentials: InstagramCredentials,
}

/// The credentials of the account.
#[derive(Debug, Clone)]
pub(in crate::platform) struct InstagramCredentials {
    /// The professional account's id.
    pub(super) user_id: String,
    /// A long-lived token.
    pub(super) access_token: SecretString,
    /// Id and secret of the app, with which the token can be exchanged for a fresh one.
    pub(super) app: Option<(String, SecretString)>,
}

/// The heading of its variables.
const GROUP: &str = "Instagram";

/// The longest `INSTAGRAM_SETTLE`.
const MAX_CONFIRM_WAIT: Duration = Duration::from_secs(600);

/// The platform as the rest of the program sees it.
pub(in crate::platform) const MODULE: PlatformModule =
    PlatformModule { variables: VARIABLES, read_settings: |read| Some(Box::new(self::read(read)?)) };

const VARIABLES: &[Variable] = &[
    Variable::open(GROUP, "INSTAGRAM_USER_ID", "", "The ID of the professional account"),
    Variable::secret(GROUP, "INSTAGRAM_ACCESS_TOKEN", "A long-lived access token from Facebook Login for Business"),
    Variable::open(
        GROUP,
        "INSTAGRAM_APP_ID",
        "",
        "The app's ID; with the app's secret, postretry exchanges the token before it expires",
    ),
    Variable::secret(GROUP, "INSTAGRAM_APP_SECRET", "The app's secret"),
    Variable::open(GROUP, "INSTAGRAM_GRAPH_VERSION", "v25.0", "The version of the Graph API"),
    Variable::open(
        GROUP,
        "INSTAGRAM_SETTLE",
        "60s",
        "How long to wait, twice, before an unanswered publish is assumed not to have happened; up to 10m",
    ),
    Variable::open(ADDRESSES, "INSTAGRAM_API_URL", "https://graph.facebook.com", "The Graph API"),
    Variable::open(ADDRESSES, "INSTAGRAM_UPLOAD_URL", "https://rupload.facebook.com", "The upload address for reels"),
];

impl PublisherSettings for InstagramSettings {
    fn platform(&self) -> Platform {
        Platform::Instagram
    }

    fn publisher(&self, deps: &PublisherDeps) -> Arc<dyn Publisher> {
        Arc::new(InstagramPublisher::new(self, deps))
    }
}

fn read(read: &mut Reader<'_>) -> Option<InstagramSettings> {
    let api = Origin::read(read, "INSTAGRAM_API_URL");
    let upload = Origin::read(read, "INSTAGRAM_UPLOAD_URL");
    let version = read.text("INSTAGRAM_GRAPH_VERSION");
    let is_version = version
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| [major, minor].iter().all(|part| is_digits(part)));
    if !is_version {
        read.problem(format!("setting `INSTAGRAM_GRAPH_VERSION` is not a version such as `v25.0`: `{version}`"));
    }
    let confirm_wait = read.duration("INSTAGRAM_SETTLE", Duration::ZERO..=MAX_CONFIRM_WAIT);
    let user = read.optional("INSTAGRAM_USER_ID");
    let token = read.optional_secret("INSTAGRAM_ACCESS_TOKEN");
    let app_id = read.optional("INSTAGRAM_APP_ID");
    let app_secret = read.optional_secret("INSTAGRAM_APP_SECRET");
    if app_id.is_some() != app_secret.is_some() {
        let have = [("INSTAGRAM_APP_ID", app_id.is_some()), ("INSTAGRAM_APP_SECRET", app_secret.is_some())];
        read.incomplete(&have, "exchange the Instagram token before it expires");
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
        read.problem(format!("setting `INSTAGRAM_USER_ID` is not an account number: `{user_id}`"));
    }
    let credentials = InstagramCredentials { user_id, access_token, app: app_id.zip(app_secret) };
    Some(InstagramSettings { api, upload, version, confirm_wait, credentials })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
