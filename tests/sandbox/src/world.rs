//! What the platforms know: accounts, uploads in every state, what is public, and what was asked.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::fault::Fault;

pub(crate) const TIKTOK_CLIENT_KEY: &str = "sandbox-key";
pub(crate) const TIKTOK_CLIENT_SECRET: &str = "sandbox-tiktok-secret";
pub(crate) const TIKTOK_REFRESH_TOKEN: &str = "sandbox-tiktok-refresh-0";
pub(crate) const INSTAGRAM_USER_ID: &str = "17841400000000001";
pub(crate) const INSTAGRAM_TOKEN: &str = "sandbox-instagram-token-0";
pub(crate) const INSTAGRAM_APP_SECRET: &str = "sandbox-instagram-secret";
pub(crate) const YOUTUBE_CLIENT_ID: &str = "sandbox-client.apps.example";
pub(crate) const YOUTUBE_CLIENT_SECRET: &str = "sandbox-youtube-secret";
pub(crate) const YOUTUBE_REFRESH_TOKEN: &str = "sandbox-youtube-refresh-0";

/// Seconds that an access token of Google lives.
const GOOGLE_TOKEN_LIVES: i64 = 3599;

/// A post that is public.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// `tiktok`, `instagram` or `youtube`.
    pub platform: &'static str,
    /// Its id there.
    pub id: String,
    /// The text that it shows.
    pub text: String,
    /// SHA-256 of the bytes that arrived, in hex; empty for an image, which is fetched.
    pub sha256: String,
    /// The bytes that arrived.
    pub size: u64,
    /// Where an image was fetched from.
    pub source_url: Option<String>,
    /// Whether everyone may see it.
    pub is_public: bool,
    /// The publish id, container or session that it came from.
    pub ticket: String,
    /// When it became public.
    pub at: DateTime<Utc>,
}

/// A request that arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// The endpoint, for example `tiktok.video_init`.
    pub endpoint: String,
    /// Method, path and query.
    pub line: String,
    /// The headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The JSON or form body.
    pub body: Value,
    /// Bytes of an uploaded body.
    pub uploaded: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
}

/// How the platforms behave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each turns one thing on or off")]
pub struct Knobs {
    /// Looks at an upload before TikTok has processed it; with `u32::MAX` it never has.
    pub tiktok_looks: u32,
    /// What TikTok says of the next uploads instead of publishing them.
    pub tiktok_fail_reason: Option<String>,
    /// The privacy levels that the account offers.
    pub tiktok_privacy_levels: Vec<String>,
    /// Whether TikTok tells the post's id at once; moderation can take hours.
    pub tiktok_tells_id: bool,
    /// Whether the upload addresses have lapsed.
    pub tiktok_uploads_closed: bool,
    /// Whether TikTok knows no `publish_id` any more.
    pub tiktok_forgets_ids: bool,
    /// Whether the token may list the account's videos.
    pub tiktok_may_list: bool,
    /// The longest video that the account may post, in seconds.
    pub tiktok_max_seconds: u32,
    /// The window of TikTok's limits, in milliseconds: 6 starts of an endpoint, 20 questions for the creator and 30 for
    /// a status in any window, by access token. A minute at TikTok; 0 for no limits.
    pub tiktok_window_ms: u64,
    /// Seconds that an access token of TikTok lives, and one of Google, if that is less than the 3,599 of Google.
    pub access_token_lives: i64,
    /// Whether a part that follows the first makes the platforms forget every byte of the upload, so that their offsets
    /// go up and down for ever.
    pub uploads_swing: bool,
    /// Looks at a container before Instagram has processed it; with `u32::MAX` it never has.
    pub instagram_looks: u32,
    /// The `status` of containers that fail instead of being processed.
    pub instagram_error: Option<String>,
    /// Whether the copyright check of containers finds a match.
    pub instagram_copyright: bool,
    /// Whether containers have expired.
    pub instagram_expired: bool,
    /// Looks at a published container before it says so.
    pub instagram_lag: u32,
    /// Whether a container whose upload broke off says `PUBLISHED`, as in a sample of "Upload Video to Meta Servers" on
    /// <https://developers.facebook.com>.
    pub instagram_says_published: bool,
    /// Whether the token may read nothing but the status of containers.
    pub instagram_reads_less: bool,
    /// Percentages used up that `X-App-Usage` and `X-Business-Use-Case-Usage` tell; a header of 0 is not sent.
    pub instagram_usage: (u32, u32),
    /// Posts of the account in the last 24 h, and how many it may have.
    pub instagram_quota: (u64, u64),
    /// Posts on a page of the account's list, at most.
    pub instagram_page: usize,
    /// Looks at a video before `YouTube` has processed it; with `u32::MAX` it never has.
    pub youtube_looks: u32,
    /// The `status` object of processed videos, where it is not to be a success.
    pub youtube_status: Option<Value>,
    /// The `processingDetails` object of videos that are not processed yet.
    pub youtube_processing: Option<Value>,
    /// Whether upload sessions are gone.
    pub youtube_sessions_gone: bool,
    /// Whether upload sessions keep one byte of every part.
    pub youtube_sessions_crawl: bool,
    /// Whether the token may read videos and playlists.
    pub youtube_may_read: bool,
    /// Whether upload addresses are on the platforms' own hosts, for whoever sends these here.
    pub own_hosts: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            tiktok_looks: 1,
            tiktok_fail_reason: None,
            tiktok_privacy_levels: ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"]
                .map(str::to_owned)
                .into(),
            tiktok_tells_id: true,
            tiktok_uploads_closed: false,
            tiktok_forgets_ids: false,
            tiktok_may_list: true,
            tiktok_max_seconds: 600,
            tiktok_window_ms: 0,
            access_token_lives: 7200,
            uploads_swing: false,
            instagram_looks: 1,
            instagram_error: None,
            instagram_copyright: false,
            instagram_expired: false,
            instagram_lag: 0,
            instagram_says_published: false,
            instagram_reads_less: false,
            instagram_usage: (0, 0),
            instagram_quota: (0, 100),
            instagram_page: 100,
            youtube_looks: 1,
            youtube_status: None,
            youtube_processing: None,
            youtube_sessions_gone: false,
            youtube_sessions_crawl: false,
            youtube_may_read: true,
            own_hosts: false,
        }
    }
}

/// Bytes that arrive piece by piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytes {
    pub(crate) size: u64,
    hash: Sha256,
}

impl Bytes {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.hash.update(piece);
    }

    pub(crate) fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Everything that the simulated platforms know.
#[derive(Debug)]
pub struct World {
    /// How they behave.
    pub knobs: Knobs,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Every request, oldest first.
    pub requests: Vec<Record>,
    /// What is public, oldest first.
    pub published: Vec<Published>,
    /// How many requests and answers are or were held.
    pub held: usize,
    /// Rules that were broken though the platform itself would not have noticed.
    pub violations: Vec<String>,
    /// How many requests TikTok refused because there were too many.
    pub throttled: usize,
    pub(crate) origin: String,
    initial: Knobs,
    pub(crate) serial: u64,
    pub(crate) tokens: BTreeMap<&'static str, Tokens>,
    pub(crate) tiktok: BTreeMap<String, crate::tiktok::Upload>,
    /// When TikTok last answered, by endpoint and access token.
    pub(crate) tiktok_calls: BTreeMap<(String, String), VecDeque<DateTime<Utc>>>,
    pub(crate) containers: BTreeMap<String, crate::instagram::Container>,
    pub(crate) sessions: BTreeMap<String, crate::youtube::Session>,
}

/// The tokens of one account.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    /// Access tokens and their ends.
    pub(crate) access: BTreeMap<String, Option<DateTime<Utc>>>,
    /// The one refresh token that works.
    pub(crate) refresh: String,
}

impl World {
    pub(crate) fn new(origin: String) -> Self {
        let mut world = Self {
            knobs: Knobs::default(),
            faults: Vec::new(),
            requests: Vec::new(),
            published: Vec::new(),
            held: 0,
            violations: Vec::new(),
            throttled: 0,
            origin,
            initial: Knobs::default(),
            serial: 0,
            tokens: BTreeMap::new(),
            tiktok: BTreeMap::new(),
            tiktok_calls: BTreeMap::new(),
            containers: BTreeMap::new(),
            sessions: BTreeMap::new(),
        };
        world.reset();
        world
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.knobs = self.initial.clone();
        self.faults.clear();
        self.requests.clear();
        self.published.clear();
        self.held = 0;
        self.violations.clear();
        self.throttled = 0;
        self.tiktok.clear();
        self.tiktok_calls.clear();
        self.containers.clear();
        self.sessions.clear();
        let account = |refresh: &str| Tokens { access: BTreeMap::new(), refresh: refresh.to_owned() };
        let instagram = Tokens { access: BTreeMap::from([(INSTAGRAM_TOKEN.to_owned(), None)]), refresh: String::new() };
        self.tokens = BTreeMap::from([
            ("tiktok", account(TIKTOK_REFRESH_TOKEN)),
            ("instagram", instagram),
            ("youtube", account(YOUTUBE_REFRESH_TOKEN)),
        ]);
    }

    /// The platforms behave like this, now and after every reset.
    pub fn begin_with(&mut self, knobs: Knobs) {
        self.knobs = knobs.clone();
        self.initial = knobs;
    }

    /// A number that was not given out before.
    pub(crate) fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Lets go of what was stuck in processing.
    pub fn release(&mut self) {
        for container in self.containers.values_mut() {
            container.release();
        }
        for session in self.sessions.values_mut() {
            session.release();
        }
        for upload in self.tiktok.values_mut() {
            upload.release();
        }
    }

    /// Every access token of a platform stops working; those of Instagram, which have no refresh token, for good.
    pub fn revoke_access(&mut self, platform: &str) {
        if let Some(tokens) = self.tokens.get_mut(platform) {
            tokens.access.clear();
        }
    }

    /// The account's refresh token stops working.
    pub fn revoke_refresh(&mut self, platform: &str) {
        if let Some(tokens) = self.tokens.get_mut(platform) {
            "revoked".clone_into(&mut tokens.refresh);
        }
    }

    /// The account is signed in to anew: this is its refresh token (for Instagram its access token) from now on.
    pub fn sign_in(&mut self, platform: &str, token: &str) {
        if let Some(tokens) = self.tokens.get_mut(platform) {
            if platform == "instagram" {
                tokens.access.insert(token.to_owned(), None);
            } else {
                token.clone_into(&mut tokens.refresh);
            }
        }
    }

    pub(crate) fn is_valid(&self, platform: &str, token: &str) -> bool {
        let end = self.tokens.get(platform).and_then(|tokens| tokens.access.get(token));
        end.is_some_and(|end| end.is_none_or(|end| now() < end))
    }

    /// Seconds that a new access token lives.
    pub(crate) fn token_lives(&self, platform: &str) -> i64 {
        match platform {
            "youtube" => self.knobs.access_token_lives.min(GOOGLE_TOKEN_LIVES),
            _ => self.knobs.access_token_lives,
        }
    }

    /// A new access token.
    pub(crate) fn issue(&mut self, platform: &'static str) -> String {
        let token = format!("sandbox-{platform}-access-{}", self.next());
        let end = now() + chrono::TimeDelta::seconds(self.token_lives(platform));
        if let Some(tokens) = self.tokens.get_mut(platform) {
            tokens.access.insert(token.clone(), Some(end));
        }
        token
    }

    /// Where an upload address is: on this host of the platform's own, or here.
    pub(crate) fn upload_origin(&self, host: &str) -> String {
        if self.knobs.own_hosts { format!("https://{host}") } else { self.origin.clone() }
    }

    pub(crate) fn violation(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }
}

#[expect(clippy::disallowed_methods, reason = "a platform has a clock of its own")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
