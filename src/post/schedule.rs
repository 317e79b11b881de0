//! When a post is due, and why or why not.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Category, Post};

/// What the backoff counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackoffFrom {
    /// `failedAt`.
    FirstFailure,
    /// `lastRetriedAt`, if it is set.
    LastAttempt,
}

/// How often and when a failed post is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries before a post is permanently failed, 0 to 20.
    pub max_retries: u32,
    /// The wait before the first retry; it doubles with each one.
    pub base_interval: TimeDelta,
    /// The start of the backoff.
    pub backoff_from: BackoffFrom,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 5, base_interval: TimeDelta::hours(1), backoff_from: BackoffFrom::FirstFailure }
    }
}

/// Whether a failed post may be retried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eligibility {
    /// It is to be published now.
    Due(DueReason),
    /// It waits.
    Waiting {
        /// Until this time. `None` if it is too far in the future.
        until: Option<DateTime<Utc>>,
        /// The reason.
        reason: WaitReason,
    },
    /// Another process works on it.
    Claimed {
        /// When its claim expires unless renewed.
        until: DateTime<Utc>,
    },
    /// It is marked as permanently failed.
    PermanentlyFailed,
    /// Its retries are exhausted, and it is not marked yet.
    Exhausted,
}

/// Why a post is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueReason {
    /// Its backoff is over since then.
    BackoffOver {
        /// When it became due.
        since: DateTime<Utc>,
    },
    /// It has no date to count the backoff from.
    NoDate,
    /// The platform was still processing it, so its ticket must be checked.
    Processing,
    /// The process that worked on it died, so the same attempt is resumed.
    Interrupted,
}

/// Why a post waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// Its backoff.
    Backoff,
    /// The platform asked for a later time.
    PlatformSaid,
}

impl RetryPolicy {
    /// The backoff after `retry_count` retries: base × 2^`retry_count`. `None` if it is too long to be calculated.
    pub fn delay(&self, retry_count: u32) -> Option<TimeDelta> {
        let factor = 1i32.checked_shl(retry_count).filter(|factor| *factor > 0)?;
        self.base_interval.checked_mul(factor)
    }

    /// The latest anchor with which a post of that many retries is due at `now`.
    fn latest_due_anchor(&self, retry_count: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        now.checked_sub_signed(self.delay(retry_count)?)
    }

    /// Each number of retries that leaves another one, with the latest anchor with which a post is due at `now`. They
    /// end at the first without such an anchor.
    pub fn latest_due_anchors(&self, now: DateTime<Utc>) -> impl Iterator<Item = (u32, DateTime<Utc>)> {
        (0..self.max_retries).map_while(move |count| Some((count, self.latest_due_anchor(count, now)?)))
    }

    /// The date that a post's backoff counts from.
    pub fn anchor(&self, post: &Post) -> Option<DateTime<Utc>> {
        let last_attempt = match self.backoff_from {
            BackoffFrom::FirstFailure => None,
            BackoffFrom::LastAttempt => post.retry.last_retried_at,
        };
        last_attempt.or(post.failed_at).or(post.updated_at)
    }

    /// Whether the counter has reached the maximum.
    pub fn is_exhausted(&self, retry_count: u32) -> bool {
        retry_count >= self.max_retries
    }

    /// Whether a failed post may be retried at `now`.
    pub fn eligibility(&self, post: &Post, now: DateTime<Utc>) -> Eligibility {
        let retry = &post.retry;
        if let Some(claim) = retry.claim.as_ref().filter(|claim| claim.is_live(now)) {
            return Eligibility::Claimed { until: claim.until };
        }
        if retry.permanently_failed {
            return Eligibility::PermanentlyFailed;
        }
        if retry.claim.is_some() {
            return Eligibility::Due(DueReason::Interrupted);
        }
        let unfinished = retry.category == Some(Category::Processing) && retry.ticket.is_some();
        if !unfinished && self.is_exhausted(retry.count) {
            return Eligibility::Exhausted;
        }
        if let Some(until) = retry.not_before.filter(|until| now < *until) {
            return match self.backoff_end(post) {
                BackoffEnd::Never if !unfinished => Eligibility::Waiting { until: None, reason: WaitReason::Backoff },
                BackoffEnd::At(end) if !unfinished && end > until => {
                    Eligibility::Waiting { until: Some(end), reason: WaitReason::Backoff }
                }
                BackoffEnd::NoDate | BackoffEnd::At(_) | BackoffEnd::Never => {
                    Eligibility::Waiting { until: Some(until), reason: WaitReason::PlatformSaid }
                }
            };
        }
        if unfinished {
            return Eligibility::Due(DueReason::Processing);
        }
        match self.backoff_end(post) {
            BackoffEnd::NoDate => Eligibility::Due(DueReason::NoDate),
            BackoffEnd::At(end) if end <= now => Eligibility::Due(DueReason::BackoffOver { since: end }),
            BackoffEnd::At(end) => Eligibility::Waiting { until: Some(end), reason: WaitReason::Backoff },
            BackoffEnd::Never => Eligibility::Waiting { until: None, reason: WaitReason::Backoff },
        }
    }

    /// When the post's next retry is or was due. `None` if there is no next retry or no date.
    pub fn next_retry_at(&self, post: &Post, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.eligibility(post, now) {
            Eligibility::PermanentlyFailed | Eligibility::Exhausted => None,
            Eligibility::Waiting { until, .. } => until,
            Eligibility::Due(DueReason::BackoffOver { since }) => Some(since),
            Eligibility::Due(DueReason::NoDate | DueReason::Processing) => Some(now),
            Eligibility::Due(DueReason::Interrupted) => post.retry.claim.as_ref().map(|claim| claim.until.min(now)),
            Eligibility::Claimed { .. } => match self.backoff_end(post) {
                BackoffEnd::At(end) if !self.is_exhausted(post.retry.count) => Some(end),
                BackoffEnd::At(_) | BackoffEnd::NoDate | BackoffEnd::Never => None,
            },
        }
    }

    fn backoff_end(&self, post: &Post) -> BackoffEnd {
        let Some(anchor) = self.anchor(post) else { return BackoffEnd::NoDate };
        self.delay(post.retry.count)
            .and_then(|delay| anchor.checked_add_signed(delay))
            .map_or(BackoffEnd::Never, BackoffEnd::At)
    }
}

/// When a post's backoff is over.
enum BackoffEnd {
    /// Then.
    At(DateTime<Utc>),
    /// Too far in the future.
    Never,
    /// The post has no date to count the backoff from.
    NoDate,
}

#[cfg(test)]
mod tests;
