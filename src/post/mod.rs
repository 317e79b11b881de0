//! The rules of retrying, as plain data and pure functions.
//!
//! This module alone defines when a post is due, what a failure leads to, and what an attempt
//! changes in a post. It reads no clock, does no I/O, never waits and never logs: `now` is an argument, always UTC.
#![warn(clippy::wildcard_enum_match_arm, clippy::arithmetic_side_effects)]

mod draft;
mod failure;
mod history;
mod id;
mod line;
mod outcome;
mod platform;
mod schedule;
mod text;
mod ticket;
mod token;
mod totals;

pub use draft::{Malformed, PostDraft};
pub use failure::{Category, Consequence, Failure, ParseCategoryError, Retryable, TicketFate};
pub use history::{EntryOutcome, HISTORY_LIMIT, HistoryEntry, ResetMark};
pub use id::PostId;
pub use line::{MAX_CODE_CHARS, MAX_WORDS_CHARS, excerpt, is_hidden, one_line, plain_cause, shell_quoted, shown_id};
pub use outcome::{
    AttemptEnd, AttemptStart, ClaimedPost, LastRetried, MAX_DEFERRAL, MAX_ERROR_CHARS, MAX_INTERRUPTIONS, Outcome,
    PROCESSING_LIMIT, Publication, Settlement, settle, settle_found,
};
pub use platform::{FieldName, ParsePlatformError, Platform, PlatformFields};
pub use schedule::{BackoffFrom, DueReason, Eligibility, RetryPolicy, WaitReason};
pub use text::{Fitted, hashtags_in, with_hashtags};
pub use ticket::Ticket;
pub use token::{TokenRecord, expires_soon};
pub use totals::{AttemptCount, AttemptCounts, Totals};

use chrono::{DateTime, TimeDelta, Utc};

/// A failed post with valid fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// Its identity in the store.
    pub id: PostId,
    /// Where it is to be published.
    pub platform: Platform,
    /// What is to be published.
    pub content: Content,
    /// The story that it belongs to, as far as the post names it.
    pub story: Story,
    /// When the first failure was recorded; never changed by postretry.
    pub failed_at: Option<DateTime<Utc>>,
    /// When the post was last written.
    pub updated_at: Option<DateTime<Utc>>,
    /// When the application planned to publish it.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// The platform's id of an upload that the application's own attempt left. None once postretry has a ticket for it
    /// or a person has dealt with it.
    pub left_upload: Option<String>,
    /// The platform's id of the published post, if one is recorded although the post is failed: it may be public
    /// already, so it is not published again.
    pub published_id: Option<String>,
    /// Its retry state.
    pub retry: RetryState,
}

impl Post {
    /// Whether an earlier attempt, ours or the application's, may have uploaded it: that is looked up before anything
    /// is sent.
    pub fn has_earlier_upload(&self) -> bool {
        self.retry.ticket.is_some() || self.left_upload.is_some()
    }
}

/// The texts and files of a post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The post's title.
    pub title: Option<String>,
    /// The longer text.
    pub description: Option<String>,
    /// The text meant for the platform.
    pub caption: Option<String>,
    /// The hashtags for this post's platform, with or without their `#`.
    pub hashtags: Vec<String>,
    /// The content type as the application wrote it, normally `video` or `image`.
    pub content_type: Option<String>,
    /// The video file, relative to the asset root.
    pub video_path: Option<String>,
    /// The image file, relative to the asset root.
    pub image_path: Option<String>,
    /// Whether the platforms' labels for AI content are set.
    pub is_ai_generated: bool,
}

/// What kind of media a post carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// A video file.
    Video,
    /// A single image.
    Image,
}

impl MediaKind {
    /// The word for it in a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Image => "image",
        }
    }

    /// The same, with its article.
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Video => "a video",
            Self::Image => "an image",
        }
    }
}

impl Content {
    /// The kind of the post: `contentType` (in any case), otherwise derived from its paths.
    ///
    /// # Errors
    /// A failure of category `rejected_content` for a type that is neither video nor image, and of
    /// `missing_asset` where there is neither a type nor a path.
    pub fn media_kind(&self) -> Result<MediaKind, Failure> {
        match self.content_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("video") => Ok(MediaKind::Video),
            Some("image") => Ok(MediaKind::Image),
            Some(other) => Err(Failure::new(
                Category::RejectedContent,
                format!("content type `{other}` cannot be published; it must be `video` or `image`"),
            )),
            None if self.video_path.is_some() => Ok(MediaKind::Video),
            None if self.image_path.is_some() => Ok(MediaKind::Image),
            None => Err(Failure::new(Category::MissingAsset, "the post has neither `videoPath` nor `imagePath`")),
        }
    }

    /// The path of the file that a post of this kind publishes.
    pub fn media_path(&self, kind: MediaKind) -> Option<&str> {
        match kind {
            MediaKind::Video => self.video_path.as_deref(),
            MediaKind::Image => self.image_path.as_deref(),
        }
    }

    /// The first of these that is set: caption, description, title.
    pub fn caption_text(&self) -> &str {
        [&self.caption, &self.description, &self.title].into_iter().find_map(Option::as_deref).unwrap_or_default()
    }
}

/// The story of a post: its name, or its key in the collection of stories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Story {
    /// The store's own key of the story, in the form of [`PostId::key`].
    pub key: Option<String>,
    /// Its name, if the post has it or it has been looked up.
    pub name: Option<String>,
}

/// The retry state of a post.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RetryState {
    /// The number of retries so far, including a running one.
    pub count: u32,
    /// When the last attempt started.
    pub last_retried_at: Option<DateTime<Utc>>,
    /// Whether it is marked as permanently failed.
    pub permanently_failed: bool,
    /// When it became permanently failed.
    pub permanently_failed_at: Option<DateTime<Utc>>,
    /// The category of the last failure.
    pub category: Option<Category>,
    /// The last failure in one line.
    pub error: Option<String>,
    /// The earliest time for the next retry, other than the backoff.
    pub not_before: Option<DateTime<Utc>>,
    /// Earlier attempts, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The claim of the process that works on it, or that died while it did.
    pub claim: Option<Claim>,
    /// The upload ticket, which prevents a second publish.
    pub ticket: Option<Ticket>,
}

/// A process's right to work on a post. It expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it; unique to one attempt.
    pub by: String,
    /// When it expires unless renewed.
    pub until: DateTime<Utc>,
}

/// The longest lease. One that ends later than this from now was written by a clock that was wrong, and is dead.
pub const MAX_LEASE: TimeDelta = TimeDelta::hours(1);

impl Claim {
    /// Whether the claim is still valid, so that no other process may work on the post.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.until && now.checked_add_signed(MAX_LEASE).is_none_or(|latest| self.until <= latest)
    }
}
