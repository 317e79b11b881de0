//! Failed posts as an application leaves them, for either store.

use mongodb::bson::{DateTime, Document, doc};
use rusqlite::types::Value;

/// What failed posts wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// None is due: most wait for their backoff, every tenth is permanently failed. For all three platforms.
    Waiting,
    /// All are due, after 0 to 4 retries. For TikTok.
    Due,
    /// Their retries are used up, and no pass has marked them yet. For all three platforms.
    Exhausted,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// As many retries as there are by default.
const MAX_RETRIES: i32 = 5;

/// The columns of [`FailedPost::row`].
pub(crate) const COLUMNS: [&str; 13] = [
    "id",
    "title",
    "caption",
    "hashtags",
    "platform",
    "status",
    "content_type",
    "video_path",
    "failed_at",
    "error",
    "retry_count",
    "permanently_failed",
    "failure_category",
];

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedPost {
    number: u32,
    platform: &'static str,
    failed_at: DateTime,
    retry_count: i32,
    is_given_up: bool,
    category: &'static str,
}

/// So many posts, no two of which failed in the same millisecond.
pub(crate) fn failed_posts(state: State, posts: usize) -> impl Iterator<Item = FailedPost> {
    let now = DateTime::now().timestamp_millis();
    (0..u32::MAX).take(posts).map(move |number| {
        let retries_so_far = i32::try_from(number % 5).unwrap_or(0);
        let is_given_up = state == State::Waiting && number % 10 == 0;
        let (latest, retry_count) = match state {
            // The first backoff is an hour.
            State::Waiting if is_given_up => (now, MAX_RETRIES),
            State::Waiting => (now, retries_so_far),
            State::Due => (now - 100 * HOUR, retries_so_far),
            State::Exhausted => (now - 100 * HOUR, MAX_RETRIES),
        };
        // The oldest of any number of waiting posts is not due before the benchmark ends.
        let age = i64::from(number) % (40 * MINUTE);
        FailedPost {
            number,
            platform: match (state, number % 3) {
                (State::Due, _) | (_, 0) => "tiktok",
                (_, 1) => "instagram",
                _ => "youtube_shorts",
            },
            failed_at: DateTime::from_millis(latest - age),
            retry_count,
            is_given_up,
            category: ["network", "platform_outage", "media_processing", "unknown"][(number % 4) as usize],
        }
    })
}

const TITLE: &str = "A title of ordinary length";
const ERROR: &str = "connection reset by peer";

fn caption() -> String {
    "a caption of the length that captions have ".repeat(5)
}

impl FailedPost {
    /// A document of a post for one platform.
    pub(crate) fn document(&self) -> Document {
        doc! {
            "title": TITLE, "caption": caption(), "hashtags": ["one", "two"], "platform": self.platform,
            "status": "failed", "contentType": "video", "videoPath": "a.mp4",
            "failedAt": self.failed_at, "updatedAt": self.failed_at, "error": ERROR,
            "retryCount": self.retry_count, "permanentlyFailed": self.is_given_up,
            "failureCategory": self.category, "__v": 4,
        }
    }

    /// A document of a post for several platforms that was posted on TikTok and has failed on Instagram.
    pub(crate) fn delivery(&self) -> Document {
        doc! {
            "title": TITLE, "caption": caption(), "hashtags": { "instagram": ["one", "two"] },
            "platforms": ["tiktok", "instagram"], "status": "failed", "contentType": "video", "videoPath": "a.mp4",
            "failedAt": self.failed_at, "updatedAt": self.failed_at,
            "platformStatus": {
                "tiktok": { "status": "posted", "mediaId": format!("v{}", self.number) },
                "instagram": { "status": "failed", "error": ERROR, "lastFailedAt": self.failed_at },
            },
            "postretry": { "instagram": {
                "retryCount": self.retry_count, "permanentlyFailed": self.is_given_up,
                "failureCategory": self.category,
            } },
            "__v": 4,
        }
    }

    /// A row, with the values of [`COLUMNS`].
    pub(crate) fn row(&self) -> [Value; COLUMNS.len()] {
        let text = |text: &str| Value::Text(text.to_owned());
        [
            Value::Text(format!("post-{:09}", self.number)),
            text(TITLE),
            Value::Text(caption()),
            text(r#"["one","two"]"#),
            text(self.platform),
            text("failed"),
            text("video"),
            text("a.mp4"),
            Value::Text(self.failed_at.try_to_rfc3339_string().unwrap_or_default()),
            text(ERROR),
            Value::Integer(self.retry_count.into()),
            Value::Integer(self.is_given_up.into()),
            text(self.category),
        ]
    }
}
