//! What a pass has done, as data.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Records;
use crate::platform::CredentialExpiry;
use crate::post::{AttemptCounts, Category, Malformed, Outcome, Platform, Post, PostId, Totals, one_line, shown_id};
use crate::store::{GivenUpRecord, StoredPost};

/// One attempt and its outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptReport {
    /// The post.
    pub id: PostId,
    /// Its platform.
    pub platform: Platform,
    /// Its title, for people.
    pub title: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The attempt's number.
    pub attempt: u32,
    /// The category of the failure that it was made after.
    pub after: Option<Category>,
    /// Why it failed.
    pub category: Option<Category>,
    /// In words.
    pub error: Option<String>,
    /// When the next retry is due.
    pub next_retry_at: Option<DateTime<Utc>>,
    /// The platform said not to come back before.
    pub not_before: Option<DateTime<Utc>>,
    /// Where the post can be seen.
    pub url: Option<String>,
    /// Something about a published post that a person should know.
    pub warning: Option<String>,
}

impl AttemptReport {
    /// Counts the attempt. For a post that expired nothing was sent, so it was no attempt.
    pub(super) fn count_in(&self, counts: &mut AttemptCounts) {
        if self.category != Some(Category::Expired) {
            counts.count(self.platform, self.attempt, self.after, self.outcome);
        }
    }
}

/// Why a platform got no further post.
#[derive(Debug, Clone)]
pub struct GivenUp {
    /// The category of the failure that stopped it.
    pub category: Category,
    /// The failure in words.
    pub reason: String,
    /// The part of it that says what to do.
    pub advice: Option<String>,
    /// Until when its posts are deferred, if the platform said so.
    pub until: Option<DateTime<Utc>>,
    /// How many of its posts wait: those deferred and those not started.
    pub waiting: u64,
    /// Whether it was three network failures or outages in a row.
    pub is_circuit: bool,
}

/// What a pass did on one platform.
#[derive(Debug, Clone)]
pub struct PlatformReport {
    /// The platform.
    pub platform: Platform,
    /// Its counts.
    pub totals: Totals,
    /// Whether it is configured.
    pub is_configured: bool,
    /// Whether it has accepted the account's credentials.
    pub has_accepted_credentials: bool,
    /// Why it got no further post, if it was stopped.
    pub given_up: Option<GivenUp>,
    /// When the account's credentials expire, if that is soon or before the next retry; in a dry run when they expired.
    pub credential_expiry: Option<CredentialExpiry>,
}

/// How much of the name of an unknown platform is reported.
const PLATFORM_CHARS: usize = 100;

/// A post that cannot be worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MalformedPost {
    /// The post.
    pub id: PostId,
    /// The name of its platform, as far as it can be read.
    pub platform: Option<String>,
    /// The field.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub problem: String,
}

impl From<&Malformed> for MalformedPost {
    fn from(malformed: &Malformed) -> Self {
        Self {
            id: malformed.id().clone(),
            // The name of a known platform is short, and any other is only shown.
            platform: malformed.draft.platform.as_deref().map(|name| one_line(name, PLATFORM_CHARS)),
            field: malformed.field.clone(),
            problem: malformed.problem.clone(),
        }
    }
}

/// A failed post that may be public already, because an id of its platform is recorded for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FoundPublished {
    /// The post.
    pub id: PostId,
    /// Its platform.
    pub platform: Platform,
    /// What is recorded, in words.
    pub error: String,
}

/// What is wrong with a failed post that is recorded as published.
pub(super) fn already_published(post: &Post, id: &str) -> String {
    let (name, id) = (post.platform.title(), shown_id(id));
    format!(
        "{name} ID `{id}` is recorded for this post, so it may be public already; check {name} before it is sent again"
    )
}

/// Takes the posts of a page that can be read; the others are reported in `malformed`.
pub(super) fn take_readable(page: Vec<StoredPost>, malformed: &mut Records<MalformedPost>) -> Vec<Post> {
    let readable = |stored: StoredPost| match stored {
        StoredPost::Readable(post) => Some(*post),
        StoredPost::Malformed(wrong) => {
            malformed.push(MalformedPost::from(&wrong));
            None
        }
    };
    page.into_iter().filter_map(readable).collect()
}

/// What a pass has done.
#[derive(Debug)]
pub struct PassReport {
    /// The run's id.
    pub run_id: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// By platform.
    pub platforms: Vec<PlatformReport>,
    /// The posts that were started, in the order in which they ended.
    pub posts: Records<AttemptReport>,
    /// The attempts among them, counted.
    pub attempts: AttemptCounts,
    /// The posts that cannot be worked on.
    pub malformed: Records<MalformedPost>,
    /// The posts that were marked, because an id of their platform is recorded for them.
    pub found_published: Records<FoundPublished>,
    /// How many posts the store refused to write to.
    pub refused: u64,
    /// Whether a task has panicked, or the report is incomplete; the log tells which.
    pub has_internal_error: bool,
}

impl PassReport {
    /// The counts of all platforms together.
    pub fn totals(&self) -> Totals {
        self.platforms.iter().map(|platform| platform.totals).sum()
    }

    /// Whether there was nothing to do and nothing to report.
    pub fn is_empty(&self) -> bool {
        self.totals().is_empty() && self.malformed.is_empty()
    }

    /// Whether manual action is needed.
    pub fn needs_person(&self) -> bool {
        let is_given_up = |platform: &PlatformReport| {
            platform.given_up.as_ref().is_some_and(|given_up| given_up.category.needs_person())
        };
        self.totals().permanently_failed > 0
            || self.refused > 0
            || !self.found_published.is_empty()
            || self.platforms.iter().any(is_given_up)
    }
}

/// Why a due post would not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    /// Its platform has no credentials.
    NotConfigured,
    /// Its platform is skipped, because it refuses the account at a post before.
    Refused,
    /// `--limit` is reached before it.
    Limit,
}

/// Why an attempt would not publish its post, as far as that can be told without its platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Obstacle {
    /// The attempt would fail, for this reason.
    Failure(String),
    /// The post would be deferred, for this reason.
    Deferral(String),
}

impl Obstacle {
    /// The reason.
    pub fn reason(&self) -> &str {
        match self {
            Self::Failure(reason) | Self::Deferral(reason) => reason,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Failure(_) => "fail",
            Self::Deferral(_) => "be deferred",
        };
        write!(f, "would {verb}: {}", self.reason())
    }
}

/// A post that a real pass would find due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedPost {
    /// The post.
    pub id: PostId,
    /// Its platform.
    pub platform: Platform,
    /// Its title, for people.
    pub title: Option<String>,
    /// The number that its attempt would have.
    pub attempt: u32,
    /// When it became due.
    pub due_since: Option<DateTime<Utc>>,
    /// The category of its last failure.
    pub category: Option<Category>,
    /// Its last failure.
    pub error: Option<String>,
    /// Why it is due, and what would be done with it.
    pub reason: String,
    /// Why it would not be started.
    pub skipped: Option<SkipReason>,
    /// Why it would not be published although it is started.
    pub problem: Option<Obstacle>,
}

/// What a pass would do.
#[derive(Debug)]
pub struct DryRunReport {
    /// The run's id.
    pub run_id: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// By platform: every due post counts as skipped, since none is started.
    pub platforms: Vec<PlatformReport>,
    /// Every due post.
    pub posts: Records<PlannedPost>,
    /// How many of them would be started.
    pub would_start: u64,
    /// How many of those would fail, as far as that can be told without their platforms.
    pub would_fail: u64,
    /// How many of those would be deferred, as far as that can be told without their platforms.
    pub would_be_deferred: u64,
    /// The platforms with due posts that refused the account in the latest run.
    pub refused: Vec<(Platform, GivenUpRecord)>,
    /// The posts that cannot be worked on.
    pub malformed: Records<MalformedPost>,
}
