//! The variables that are not a platform's, and the list of all of them.

use crate::environment::Variable;
use crate::platform::{ADDRESSES, PLATFORMS};

const STORE: &str = "Store";
const SCHEDULE: &str = "Retry schedule";
const PASS: &str = "Retry pass";
const ASSETS: &str = "Assets";

/// The variables that are not a platform's.
const COMMON: &[Variable] = &[
    Variable::secret(
        STORE,
        "MONGODB_URI",
        "The MongoDB connection string, `mongodb://` or `mongodb+srv://`, with the database in its path",
    ),
    Variable::secret(
        STORE,
        "POSTRETRY_STORE",
        "The post store: `mongodb://…`, or `sqlite:PATH` for a file on one machine; default: MONGODB_URI",
    ),
    Variable::open(STORE, "POST_COLLECTION", "marketing_posts", "The collection of the posts"),
    Variable::open(STORE, "STORY_COLLECTION", "stories", "The collection of the stories that posts belong to"),
    Variable::open(
        SCHEDULE,
        "MAX_POST_RETRIES",
        "5",
        "The number of retries before a post is permanently failed, 0 to 20",
    ),
    Variable::open(
        SCHEDULE,
        "POST_RETRY_INTERVAL_MINUTES",
        "60",
        "The base interval of the backoff in minutes, 1 to 10080; it doubles with each retry",
    ),
    Variable::open(
        SCHEDULE,
        "POST_RETRY_BACKOFF_FROM",
        "first-failure",
        "The start of the backoff: `first-failure` or `last-attempt`",
    ),
    Variable::open(
        SCHEDULE,
        "POST_RETRY_EXPIRE",
        "",
        "A post that failed longer ago than this is not published any more, for example `7d`; at least 1m",
    ),
    Variable::open(PASS, "POST_RETRY_CONCURRENCY", "4", "Posts in flight per platform, 1 to 256"),
    Variable::open(
        PASS,
        "POST_RETRY_GAP",
        "11s",
        "The minimum time between the starts of two publishes on one platform, up to 1h; `0s` for none, which also \
         turns off TikTok's limits per minute",
    ),
    Variable::open(PASS, "POST_RETRY_CLAIM", "120s", "How long a claim lasts without renewal, 1s to 1h"),
    Variable::open(
        PASS,
        "POST_RETRY_POLL",
        "2s",
        "The initial polling interval while a platform processes a post, 10ms to 1m; it doubles up to 1m; five times \
         this for Instagram",
    ),
    Variable::open(
        PASS,
        "POST_RETRY_WAIT",
        "5m",
        "How long an attempt waits while a platform processes a post, up to 1h; after that, the next pass continues",
    ),
    Variable::open(
        PASS,
        "HTTP_TIMEOUT",
        "60s",
        "The timeout of each request, 1s to 10m; for an upload, the time without progress",
    ),
    Variable::secret(
        PASS,
        "ALERT_WEBHOOK_URL",
        "The https address for alerts: one JSON message per pass with permanently failed posts or skipped platforms",
    ),
    Variable::open(
        ASSETS,
        "POST_ASSET_ROOT",
        ".",
        "The directory of the assets, by default the working directory; asset paths start here, and nothing outside it is read",
    ),
    Variable::open(
        ASSETS,
        "ASSET_PUBLIC_URL",
        "",
        "The public URL of the asset root; Instagram and TikTok accept images only by URL",
    ),
];

/// All variables, in the order in which they are listed: those of the platforms after the common ones, and their
/// addresses last.
pub fn variables() -> impl Iterator<Item = &'static Variable> + Clone {
    let of_platforms = || PLATFORMS.iter().flat_map(|module| module.variables);
    let (credentials, addresses) = (of_platforms(), of_platforms());
    COMMON
        .iter()
        .chain(credentials.filter(|variable| variable.group != ADDRESSES))
        .chain(addresses.filter(|variable| variable.group == ADDRESSES))
}

/// The text of `.env.example`: every variable with its default value.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of postretry. Copy this file to .env and set what you need. An empty value means: not set.\n\
         # The environment takes precedence over this file, and an option over both. A value in single quotes is\n\
         # used unchanged. Elsewhere $ and \\ have a special meaning, so put a password that contains one in\n\
         # single quotes. This file may also contain settings of other programs; they are ignored.\n",
    );
    let mut group = "";
    for variable in variables() {
        if variable.group != group {
            group = variable.group;
            text.push_str(&["\n# --- ", group, " ---\n"].concat());
        }
        text.push_str(&["\n# ", variable.doc, "\n", variable.name, "=", variable.default, "\n"].concat());
    }
    text
}
