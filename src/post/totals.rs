//! What a pass counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Category, Outcome, Platform};

/// Posts counted by their outcome. `due` is the sum of the five that follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names are those of the JSON output")]
pub struct Totals {
    pub due: u64,
    pub posted: u64,
    pub failed: u64,
    pub permanently_failed: u64,
    pub deferred: u64,
    pub skipped: u64,
    pub flagged: u64,
    /// How many of the deferred posts were released without an outcome. In JSON they are only deferred.
    #[serde(skip)]
    pub interrupted: u64,
}

impl Totals {
    /// Counts a post that was started. One that was released without an outcome counts as deferred, too.
    pub fn count(&mut self, outcome: Outcome) {
        self.due = self.due.saturating_add(1);
        if outcome == Outcome::Interrupted {
            self.interrupted = self.interrupted.saturating_add(1);
        }
        let counter = match outcome {
            Outcome::Posted => &mut self.posted,
            Outcome::Failed => &mut self.failed,
            Outcome::PermanentlyFailed => &mut self.permanently_failed,
            Outcome::Deferred | Outcome::Interrupted => &mut self.deferred,
            Outcome::Withdrawn => &mut self.skipped,
        };
        *counter = counter.saturating_add(1);
    }

    /// Counts due posts that were not started.
    pub fn skip(&mut self, posts: u64) {
        self.due = self.due.saturating_add(posts);
        self.skipped = self.skipped.saturating_add(posts);
    }

    /// Whether anything was found at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, more| Self {
            due: sum.due.saturating_add(more.due),
            posted: sum.posted.saturating_add(more.posted),
            failed: sum.failed.saturating_add(more.failed),
            permanently_failed: sum.permanently_failed.saturating_add(more.permanently_failed),
            deferred: sum.deferred.saturating_add(more.deferred),
            skipped: sum.skipped.saturating_add(more.skipped),
            flagged: sum.flagged.saturating_add(more.flagged),
            interrupted: sum.interrupted.saturating_add(more.interrupted),
        })
    }
}

/// The attempts of a run by platform, attempt number and cause, for the statistics. A deferral does not count as
/// an attempt, nor does an expired post: nothing was sent for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptCounts(BTreeMap<(Platform, u32, Option<Category>), (u64, u64)>);

/// Some attempts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptCount {
    /// On this platform.
    pub platform: Platform,
    /// With this number.
    pub attempt: u32,
    /// Made after a failure of this category. `None` if that failure has no category.
    pub after: Option<Category>,
    /// How many.
    pub attempts: u64,
    /// How many of them were posted.
    pub posted: u64,
}

impl AttemptCounts {
    /// Counts an attempt, made after a failure of the category `after`.
    pub fn count(&mut self, platform: Platform, attempt: u32, after: Option<Category>, outcome: Outcome) {
        let is_posted = match outcome {
            Outcome::Posted => 1,
            Outcome::Failed | Outcome::PermanentlyFailed => 0,
            Outcome::Deferred | Outcome::Interrupted | Outcome::Withdrawn => return,
        };
        let (attempts, posted) = self.0.entry((platform, attempt, after)).or_default();
        *attempts = attempts.saturating_add(1);
        *posted = posted.saturating_add(is_posted);
    }

    /// Adds other counts.
    pub fn add(&mut self, others: &Self) {
        for (key, (attempts, posted)) in &others.0 {
            let sum = self.0.entry(*key).or_default();
            *sum = (sum.0.saturating_add(*attempts), sum.1.saturating_add(*posted));
        }
    }

    /// The counts, by attempt number within a platform.
    pub fn iter(&self) -> impl Iterator<Item = AttemptCount> {
        self.0.iter().map(|((platform, attempt, after), (attempts, posted))| AttemptCount {
            platform: *platform,
            attempt: *attempt,
            after: *after,
            attempts: *attempts,
            posted: *posted,
        })
    }

    /// Whether no attempt was made.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
