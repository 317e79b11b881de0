//! Every variable that is read, declared once: name, default and meaning.

/// One variable of the environment.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds where it is not set; empty where nothing does.
    pub default: &'static str,
    /// What it means, in a sentence.
    pub doc: &'static str,
    /// The heading under which it is listed.
    pub group: &'static str,
    /// Whether its value must never be printed.
    pub secret: Secrecy,
}

/// Whether a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// It may.
    Open,
    /// It must never be printed.
    Secret,
}

const fn open(group: &'static str, name: &'static str, default: &'static str, doc: &'static str) -> Variable {
    Variable { name, default, doc, group, secret: Secrecy::Open }
}

const fn secret(group: &'static str, name: &'static str, doc: &'static str) -> Variable {
    Variable { name, default: "", doc, group, secret: Secrecy::Secret }
}

const STORE: &str = "The store";
const SCHEDULE: &str = "When posts are retried";
const PASS: &str = "How a pass works";
const ASSETS: &str = "Files";
const TIKTOK: &str = "TikTok";
const INSTAGRAM: &str = "Instagram";
const YOUTUBE: &str = "YouTube";
const ORIGINS: &str = "Other addresses, for a gateway or a sandbox";

/// All of them, in the order in which they are listed.
pub const VARIABLES: &[Variable] = &[
    secret(STORE, "MONGODB_URI", "`mongodb://` or `mongodb+srv://`, with the database in its path"),
    secret(STORE, "POSTRETRY_STORE", "`mongodb://…`, or `sqlite:PATH` for a file on one machine; default: MONGODB_URI"),
    open(STORE, "POST_COLLECTION", "marketing_posts", "The collection of the posts"),
    open(STORE, "STORY_COLLECTION", "stories", "The collection of the stories that posts belong to"),
    open(SCHEDULE, "MAX_POST_RETRIES", "5", "Retries before a post is permanently failed, 0 to 20"),
    open(
        SCHEDULE,
        "POST_RETRY_INTERVAL_MINUTES",
        "60",
        "The wait before the first retry, 1 to 10080; it doubles with each one",
    ),
    open(
        SCHEDULE,
        "POST_RETRY_BACKOFF_FROM",
        "first-failure",
        "What the waits count from: `first-failure` or `last-attempt`",
    ),
    open(
        SCHEDULE,
        "POST_RETRY_EXPIRE",
        "",
        "A post that failed longer ago than this is not published any more, for example `7d`; from 1m",
    ),
    open(PASS, "POST_RETRY_CONCURRENCY", "4", "Posts in flight per platform, 1 to 256"),
    open(
        PASS,
        "POST_RETRY_GAP",
        "10s",
        "Least time between the starts of two publishes on one platform, up to 1h; `0s` for none",
    ),
    open(PASS, "POST_RETRY_CLAIM", "120s", "How long a claim lasts without renewal, 1s to 1h"),
    open(
        PASS,
        "POST_RETRY_POLL",
        "2s",
        "First wait between looks at a platform that is processing, 10ms to 1m; doubles up to 1m",
    ),
    open(
        PASS,
        "POST_RETRY_WAIT",
        "5m",
        "How long an attempt waits for a platform's processing before it leaves the rest to the next pass, up to 1h",
    ),
    open(PASS, "HTTP_TIMEOUT", "60s", "Per request, for an upload without progress; 1s to 10m"),
    secret(
        PASS,
        "ALERT_WEBHOOK_URL",
        "Gets one JSON message per pass that made posts permanently failed or gave up a platform; https",
    ),
    open(ASSETS, "POST_ASSET_ROOT", ".", "Relative asset paths start here; nothing outside it is ever read"),
    open(
        ASSETS,
        "ASSET_PUBLIC_URL",
        "",
        "Where the asset root is served publicly; Instagram and TikTok take images only from a URL",
    ),
    open(TIKTOK, "TIKTOK_CLIENT_KEY", "", "The app's key; with secret and refresh token"),
    secret(TIKTOK, "TIKTOK_CLIENT_SECRET", "The app's secret"),
    secret(TIKTOK, "TIKTOK_REFRESH_TOKEN", "The account's refresh token"),
    secret(TIKTOK, "TIKTOK_ACCESS_TOKEN", "A bare access token, where there is no refresh token"),
    open(
        TIKTOK,
        "TIKTOK_PRIVACY_LEVEL",
        "PUBLIC_TO_EVERYONE",
        "Who sees the posts; must be one of those that TikTok offers the account",
    ),
    open(INSTAGRAM, "INSTAGRAM_USER_ID", "", "The professional account's id"),
    secret(INSTAGRAM, "INSTAGRAM_ACCESS_TOKEN", "A long-lived token of Facebook Login for Business"),
    open(INSTAGRAM, "INSTAGRAM_APP_ID", "", "With the secret, the token is exchanged before it expires"),
    secret(INSTAGRAM, "INSTAGRAM_APP_SECRET", "The app's secret"),
    open(INSTAGRAM, "INSTAGRAM_GRAPH_VERSION", "v25.0", "The version of the Graph API"),
    open(
        INSTAGRAM,
        "INSTAGRAM_SETTLE",
        "60s",
        "How long to wait, twice, before an unanswered publish is believed not to have happened; up to 10m",
    ),
    open(YOUTUBE, "YOUTUBE_CLIENT_ID", "", "The OAuth client; GOOGLE_CLIENT_ID serves too"),
    secret(YOUTUBE, "YOUTUBE_CLIENT_SECRET", "Its secret; GOOGLE_CLIENT_SECRET serves too"),
    open(YOUTUBE, "GOOGLE_CLIENT_ID", "", "Serves where YOUTUBE_CLIENT_ID is not set"),
    secret(YOUTUBE, "GOOGLE_CLIENT_SECRET", "Serves where YOUTUBE_CLIENT_SECRET is not set"),
    secret(YOUTUBE, "YOUTUBE_REFRESH_TOKEN", "The channel's refresh token"),
    open(YOUTUBE, "YOUTUBE_PRIVACY_STATUS", "public", "`public`, `unlisted` or `private`"),
    open(YOUTUBE, "YOUTUBE_CATEGORY_ID", "22", "The id of the video category"),
    open(YOUTUBE, "YOUTUBE_MADE_FOR_KIDS", "false", "`true` or `false`"),
    open(ORIGINS, "TIKTOK_API_URL", "https://open.tiktokapis.com", "TikTok's API; http only to a loopback address"),
    open(ORIGINS, "INSTAGRAM_API_URL", "https://graph.facebook.com", "The Graph API"),
    open(ORIGINS, "INSTAGRAM_UPLOAD_URL", "https://rupload.facebook.com", "Where reels are uploaded"),
    open(ORIGINS, "YOUTUBE_API_URL", "https://www.googleapis.com", "The YouTube Data API"),
    open(ORIGINS, "GOOGLE_TOKEN_URL", "https://oauth2.googleapis.com/token", "Google's token endpoint, whole"),
];

/// The text of `.env.example`: every variable with its default.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of postretry. Copy this file to .env and fill in what applies; an empty value is an unset one.\n\
         # The environment wins over this file, an option over both. In single quotes a value is taken as it is;\n\
         # without them $ and \\ mean something, so quote a password that has one.\n",
    );
    let mut group = "";
    for variable in VARIABLES {
        if variable.group != group {
            group = variable.group;
            text.push_str(&["\n# --- ", group, " ---\n"].concat());
        }
        text.push_str(&["\n# ", variable.doc, "\n", variable.name, "=", variable.default, "\n"].concat());
    }
    text
}
