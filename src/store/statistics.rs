//! What stores count, and the record of a run.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::post::{AttemptCounts, Category, Platform, Totals};

/// Counts over all failed posts and the recorded runs.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names are those of the JSON output")]
pub struct Statistics {
    pub total_failed: u64,
    pub permanently_failed: u64,
    pub due: u64,
    /// Posts with a field that cannot be read. They are a part of `total_failed`, and of nothing else.
    pub malformed: u64,
    /// A part of `permanently_failed`.
    pub ambiguous: u64,
    /// Retry count and how many posts have it, ascending.
    pub retry_distribution: Vec<(u32, u64)>,
    pub by_platform: Vec<PlatformStatistics>,
    /// Over all platforms, by attempt number, ascending.
    pub by_attempt: Vec<AttemptStatistics>,
    /// Most frequent first.
    pub by_category: Vec<(Category, u64)>,
    /// Success by the category of the previous failure, most attempts first.
    pub by_cause: Vec<CauseStatistics>,
    /// When each platform's token expires.
    pub tokens: Vec<(Platform, Option<DateTime<Utc>>)>,
    /// The platforms that the latest runs skipped, and why.
    pub given_up: Vec<(Platform, GivenUpRecord)>,
    pub runs: RunStatistics,
}

impl Statistics {
    /// The failed posts that are neither permanently failed nor malformed.
    pub fn retryable(&self) -> u64 {
        self.total_failed.saturating_sub(self.permanently_failed).saturating_sub(self.malformed)
    }
}

/// The posts and attempts of one platform.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the JSON output")]
pub struct PlatformStatistics {
    pub platform: Platform,
    pub failed: u64,
    pub permanently_failed: u64,
    pub due: u64,
    pub attempts: u64,
    pub posted: u64,
}

impl PlatformStatistics {
    /// Nothing counted yet.
    pub(super) fn none(platform: Platform) -> Self {
        Self { platform, failed: 0, permanently_failed: 0, due: 0, attempts: 0, posted: 0 }
    }
}

/// The attempts that were made after a failure of one category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the JSON output")]
pub struct CauseStatistics {
    pub after: Option<Category>,
    pub attempts: u64,
    pub posted: u64,
}

/// The attempts with one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the JSON output")]
pub struct AttemptStatistics {
    pub attempt: u32,
    pub attempts: u64,
    pub posted: u64,
}

/// What past runs did.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names are those of the JSON output")]
pub struct RunStatistics {
    pub run_count: u64,
    pub success_count: u64,
    pub error_count: u64,
    pub last_run: Option<DateTime<Utc>>,
    pub last_duration_ms: Option<i64>,
    pub last_outcome: Option<String>,
    /// The days of the last two weeks on which runs posted or failed to, oldest first. Days are counted in UTC.
    pub days: Vec<DayStatistics>,
}

/// What the runs that started on one day did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the JSON output")]
pub struct DayStatistics {
    pub day: NaiveDate,
    pub posted: u64,
    pub failed: u64,
}

/// Why a platform got no further post in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUpRecord {
    /// The category of the failure.
    pub category: Category,
    /// The failure in words.
    pub reason: String,
    /// How many of its posts waited when the run ended.
    pub waiting: u64,
    /// When the first of the runs started that skipped it for this category, one after another.
    pub since: DateTime<Utc>,
}

/// What a run did on one platform.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the stored document")]
pub struct PlatformRun {
    pub platform: Platform,
    pub totals: Totals,
    pub given_up: Option<GivenUpRecord>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunOutcome {
    /// No manual action is needed.
    Ok,
    /// Manual action is needed.
    Attention,
    /// Stopped by a signal.
    Interrupted,
    /// It failed with an error.
    Error,
}

impl RunOutcome {
    /// The name in documents and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Attention => "attention",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
        }
    }
}

/// The record of one run.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the stored document")]
pub struct RunRecord {
    pub id: String,
    pub command: &'static str,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub host: String,
    pub outcome: RunOutcome,
    pub totals: Totals,
    pub by_platform: Vec<PlatformRun>,
    pub attempts: AttemptCounts,
}

impl RunRecord {
    /// Whether the run ended well, found nothing to do, and no platform waits for a person. Then nothing is lost with its
    /// record but the time of the run, so a store need not wait until the record is durable.
    pub fn is_idle(&self) -> bool {
        let has_given_up = self.by_platform.iter().any(|entry| entry.given_up.is_some());
        self.outcome == RunOutcome::Ok
            && self.totals == Totals::default()
            && self.attempts == AttemptCounts::default()
            && !has_given_up
    }
}
