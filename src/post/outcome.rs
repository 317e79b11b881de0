//! What the start and the end of an attempt change in a post.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Category, Consequence, EntryOutcome, Failure, HistoryEntry, Post, RetryPolicy, TicketFate, one_line};

/// The longest deferral that a platform can ask for.
pub const MAX_DEFERRAL: TimeDelta = TimeDelta::days(7);

/// After this time a ticket that is still processing makes its post ambiguous.
pub const PROCESSING_LIMIT: TimeDelta = TimeDelta::hours(24);

/// How often an interrupted attempt is resumed before it counts as failed.
pub const MAX_INTERRUPTIONS: u32 = 3;

/// The longest `error`, in characters.
pub const MAX_ERROR_CHARS: usize = 1000;

/// How long a post waits for a new quota if the platform gives no time.
const QUOTA_WAIT: TimeDelta = TimeDelta::hours(24);

/// What the start of an attempt writes, decided from the post as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptStart {
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// Whether an interrupted attempt is resumed. This uses no further retry.
    pub is_resumption: bool,
    /// When the attempt was first started.
    pub started_at: DateTime<Utc>,
    /// How often it has been interrupted so far.
    pub interruptions: u32,
    /// The history entry for the interruption, stored while the attempt continues.
    pub entry: Option<HistoryEntry>,
    /// Whether that entry replaces the last one in the history.
    pub replaces_last: bool,
}

impl AttemptStart {
    /// The start of an attempt at `now` on `host`, for a post without a valid claim.
    pub fn decide(post: &Post, now: DateTime<Utc>, host: &str) -> Self {
        let is_resumption = post.retry.claim.is_some();
        let attempt = if is_resumption { post.retry.count.max(1) } else { post.retry.count.saturating_add(1) };
        let open = open_entry(post, attempt);
        let started_at = if is_resumption {
            open.and_then(|entry| entry.started_at).or(post.retry.last_retried_at).unwrap_or(now)
        } else {
            open.and_then(|entry| entry.started_at).unwrap_or(now)
        };
        let before = open.map_or(0, |entry| entry.interruptions);
        let interruptions = if is_resumption { before.saturating_add(1) } else { before };
        let entry = is_resumption.then(|| HistoryEntry {
            attempt,
            started_at: Some(started_at),
            finished_at: Some(now),
            outcome: EntryOutcome::Interrupted,
            category: Some(Category::Interrupted),
            error: None,
            host: host.to_owned(),
            interruptions,
            reset: None,
            settled_by: None,
        });
        Self { attempt, is_resumption, started_at, interruptions, entry, replaces_last: open.is_some() }
    }

    /// Whether the attempt has been interrupted too often to be resumed.
    pub fn exceeds_interruptions(&self) -> bool {
        self.interruptions > MAX_INTERRUPTIONS
    }
}

/// The entry of the same attempt, if it was interrupted before.
fn open_entry(post: &Post, attempt: u32) -> Option<&HistoryEntry> {
    let last = post.retry.history.last().filter(|entry| entry.attempt == attempt && entry.reset.is_none());
    last.filter(|entry| entry.outcome == EntryOutcome::Interrupted)
}

/// A post that this process has claimed, as it is after the claim.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedPost {
    /// The post, with its counter already incremented.
    pub post: Post,
    /// The claim's holder.
    pub claim_by: String,
    /// What the start of the attempt decided.
    pub start: AttemptStart,
    /// The host that works on it.
    pub host: String,
    /// `lastRetriedAt` before the attempt.
    pub last_retried_before: Option<DateTime<Utc>>,
}

impl ClaimedPost {
    /// Whether the last entry in the history belongs to this attempt, so that the next one replaces it.
    fn replaces_last_entry(&self) -> bool {
        self.start.entry.is_some() || self.start.replaces_last
    }
}

/// What the platform returned for a published post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publication {
    /// The platform's id of the post, if it returns one.
    pub id: Option<String>,
    /// Where it can be seen.
    pub url: Option<String>,
    /// Something about it that a person should know.
    pub warning: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The post is on its platform.
    Posted(Publication),
    /// It failed.
    Failed(Failure),
    /// The process was stopped. The attempt is undone, and the history records it.
    Released,
    /// Nothing was to be sent after all. The attempt is undone as if it had not started.
    Withdrawn,
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is on its platform.
    Posted,
    /// It failed and has retries left.
    Failed,
    /// It failed permanently.
    PermanentlyFailed,
    /// It was deferred and used no retry.
    Deferred,
    /// It was released without an outcome.
    Interrupted,
    /// Its attempt was undone before anything was sent.
    Withdrawn,
}

impl Outcome {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Failed => "failed",
            Self::PermanentlyFailed => "permanentlyFailed",
            Self::Deferred => "deferred",
            Self::Interrupted => "interrupted",
            Self::Withdrawn => "skipped",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to `lastRetriedAt`, which the start of the attempt has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastRetried {
    /// It stays.
    Kept,
    /// The attempt is undone, so the previous value is restored.
    Restored(Option<DateTime<Utc>>),
}

/// What the end of an attempt writes: the new values of the retry fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// What became of the post.
    pub outcome: Outcome,
    /// When.
    pub at: DateTime<Utc>,
    /// The new `retryCount`.
    pub retry_count: u32,
    /// The new `failureCategory`.
    pub category: Option<Category>,
    /// The new `error`.
    pub error: Option<String>,
    /// The new `retryNotBefore`.
    pub not_before: Option<DateTime<Utc>>,
    /// What happens to `publishTicket`.
    pub ticket: TicketFate,
    /// `lastRetriedAt` as it was before an attempt that is undone.
    pub last_retried_at: LastRetried,
    /// The attempt's entry in the history. `None` if the attempt is not recorded.
    pub entry: Option<HistoryEntry>,
    /// Whether that entry replaces the last one in the history.
    pub replaces_last: bool,
    /// What the platform gave.
    pub publication: Option<Publication>,
}

/// Decides what the end of an attempt at `now` changes in the post.
pub fn settle(work: &ClaimedPost, policy: &RetryPolicy, end: AttemptEnd, now: DateTime<Utc>) -> Settlement {
    let attempt = work.start.attempt;
    let count_before_attempt = attempt.saturating_sub(1);
    let mut entry = HistoryEntry {
        attempt,
        started_at: Some(work.start.started_at),
        finished_at: Some(now),
        outcome: EntryOutcome::Posted,
        category: None,
        error: None,
        host: work.host.clone(),
        interruptions: work.start.interruptions,
        reset: None,
        settled_by: None,
    };
    let replaces_last = work.replaces_last_entry();
    let failure = match end {
        AttemptEnd::Posted(publication) => {
            return Settlement { replaces_last, ..posted(entry, publication, now) };
        }
        AttemptEnd::Released => return undone(work, Outcome::Interrupted, Some(entry), now),
        AttemptEnd::Withdrawn => return undone(work, Outcome::Withdrawn, None, now),
        AttemptEnd::Failed(failure) => with_processing_bounded(failure, work, now),
    };

    let (outcome, retry_count, not_before) = match failure.consequence() {
        Consequence::FailPermanently => (Outcome::PermanentlyFailed, attempt, None),
        Consequence::Retry if policy.is_exhausted(attempt) => (Outcome::PermanentlyFailed, attempt, None),
        Consequence::Retry => (Outcome::Failed, attempt, bounded(failure.retry_at, now)),
        Consequence::Defer => (Outcome::Deferred, count_before_attempt, deferred_until(&failure, policy, now)),
    };
    entry.outcome = match outcome {
        Outcome::Deferred => EntryOutcome::Deferred,
        Outcome::Posted | Outcome::Failed | Outcome::PermanentlyFailed | Outcome::Interrupted | Outcome::Withdrawn => {
            EntryOutcome::Failed
        }
    };
    let error = one_line(&failure.message, MAX_ERROR_CHARS);
    entry.category = Some(failure.category);
    entry.error = Some(error.clone());
    Settlement {
        outcome,
        at: now,
        retry_count,
        category: Some(failure.category),
        error: Some(error),
        not_before,
        ticket: failure.ticket,
        last_retried_at: LastRetried::Kept,
        entry: Some(entry),
        replaces_last,
        publication: None,
    }
}

/// What it changes in a failed post that a person, `by`, has found on its platform at `now`.
pub fn settle_found(post: &Post, by: &str, host: &str, publication: Publication, now: DateTime<Utc>) -> Settlement {
    let entry = HistoryEntry {
        attempt: post.retry.count,
        started_at: None,
        finished_at: Some(now),
        outcome: EntryOutcome::Posted,
        category: None,
        error: None,
        host: host.to_owned(),
        interruptions: 0,
        reset: None,
        settled_by: Some(by.to_owned()),
    };
    Settlement { last_retried_at: LastRetried::Restored(None), ..posted(entry, publication, now) }
}

/// The post is on its platform: nothing of its failures is left but the history.
fn posted(entry: HistoryEntry, publication: Publication, now: DateTime<Utc>) -> Settlement {
    Settlement {
        outcome: Outcome::Posted,
        at: now,
        retry_count: 0,
        category: None,
        error: None,
        not_before: None,
        ticket: TicketFate::Dead,
        last_retried_at: LastRetried::Kept,
        entry: Some(entry),
        replaces_last: false,
        publication: Some(publication),
    }
}

/// An interrupted attempt uses no retry. The post is as before, except for its history.
fn undone(work: &ClaimedPost, outcome: Outcome, entry: Option<HistoryEntry>, now: DateTime<Utc>) -> Settlement {
    let entry = entry.map(|entry| HistoryEntry {
        outcome: EntryOutcome::Interrupted,
        category: Some(Category::Interrupted),
        interruptions: entry.interruptions.saturating_add(1),
        ..entry
    });
    Settlement {
        outcome,
        at: now,
        retry_count: work.start.attempt.saturating_sub(1),
        category: work.post.retry.category,
        error: work.post.retry.error.clone(),
        not_before: work.post.retry.not_before,
        ticket: TicketFate::Kept,
        last_retried_at: LastRetried::Restored(work.last_retried_before),
        entry,
        replaces_last: work.replaces_last_entry(),
        publication: None,
    }
}

/// A ticket that has been processing for a day makes the post ambiguous.
fn with_processing_bounded(failure: Failure, work: &ClaimedPost, now: DateTime<Utc>) -> Failure {
    let too_long = failure.category == Category::Processing
        && work.post.retry.ticket.as_ref().is_some_and(|ticket| ticket.known_for(now) >= PROCESSING_LIMIT);
    if !too_long {
        return failure;
    }
    Failure {
        category: Category::Ambiguous,
        message: format!(
            "{}; processing has taken more than 24 h: check on {} whether the post is there before you send it again",
            failure.message,
            work.post.platform.title()
        ),
        ..failure
    }
}

/// When a deferred post may be retried.
fn deferred_until(failure: &Failure, policy: &RetryPolicy, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let otherwise = match failure.category {
        Category::RateLimited => now.checked_add_signed(policy.base_interval),
        Category::QuotaExhausted => now.checked_add_signed(QUOTA_WAIT),
        Category::Network
        | Category::PlatformOutage
        | Category::Auth
        | Category::MissingAsset
        | Category::MediaProcessing
        | Category::Processing
        | Category::RejectedContent
        | Category::Ambiguous
        | Category::AccountRestricted
        | Category::Expired
        | Category::Interrupted
        | Category::Unknown => None,
    };
    bounded(failure.retry_at.or(otherwise), now)
}

fn bounded(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let latest = now.checked_add_signed(MAX_DEFERRAL)?;
    at.filter(|at| *at > now).map(|at| at.min(latest))
}

impl Settlement {
    /// Whether it makes the post permanently failed.
    pub fn is_permanent(&self) -> bool {
        self.outcome == Outcome::PermanentlyFailed
    }

    /// The post as it is after the settlement. A published post is no longer failed; it is returned
    /// as it would read.
    #[must_use]
    pub fn applied_to(&self, mut post: Post) -> Post {
        let retry = &mut post.retry;
        retry.count = self.retry_count;
        retry.category = self.category;
        retry.error.clone_from(&self.error);
        retry.not_before = self.not_before;
        retry.permanently_failed = self.is_permanent();
        retry.permanently_failed_at = self.is_permanent().then_some(self.at);
        retry.claim = None;
        if self.ticket == TicketFate::Dead {
            retry.ticket = None;
        }
        if let LastRetried::Restored(before) = self.last_retried_at {
            retry.last_retried_at = before;
        }
        if let Some(entry) = &self.entry {
            if self.replaces_last {
                retry.history.pop();
            }
            retry.history.push(entry.clone());
        }
        let surplus = retry.history.len().saturating_sub(super::HISTORY_LIMIT);
        retry.history.drain(..surplus);
        post.updated_at = Some(self.at);
        post
    }
}
