//! The statistics.

use serde::Serialize;

use super::{Date, date};
use crate::post::{Category, Platform};
use crate::store::Statistics;

/// The output of `stats`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsJson<'a> {
    total_failed: u64,
    permanently_failed: u64,
    retryable: u64,
    due: u64,
    malformed: u64,
    ambiguous: u64,
    retry_distribution: Vec<DistributionJson>,
    by_platform: Vec<PlatformJson>,
    by_attempt: Vec<AttemptJson>,
    by_category: Vec<CategoryJson>,
    by_cause: Vec<CauseJson>,
    tokens: Vec<TokenJson>,
    given_up: Vec<GivenUpJson<'a>>,
    runs: RunsJson,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DistributionJson {
    retry_count: u32,
    count: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlatformJson {
    platform: Platform,
    failed: u64,
    permanently_failed: u64,
    due: u64,
    attempts: u64,
    posted: u64,
    success_rate: Option<f64>,
}

#[derive(Debug, Serialize)]
struct AttemptJson {
    attempt: u32,
    attempts: u64,
    posted: u64,
}

#[derive(Debug, Serialize)]
struct CategoryJson {
    category: &'static str,
    count: u64,
}

/// What the retries after failures of one category have led to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CauseJson {
    category: Option<&'static str>,
    attempts: u64,
    posted: u64,
    success_rate: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenJson {
    platform: Platform,
    expires_at: Option<Date>,
}

/// A platform that the latest run on it skipped, and why.
#[derive(Debug, Serialize)]
struct GivenUpJson<'a> {
    platform: Platform,
    category: &'static str,
    reason: &'a str,
    waiting: u64,
    since: Date,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunsJson {
    run_count: u64,
    success_count: u64,
    error_count: u64,
    last_run: Option<Date>,
    last_duration_ms: Option<i64>,
    last_outcome: Option<String>,
}

/// A fraction from 0 to 1; none without attempts.
#[expect(clippy::cast_precision_loss, reason = "counts of posts are far below the limit")]
pub(in crate::report) fn rate(posted: u64, attempts: u64) -> Option<f64> {
    (attempts > 0).then(|| posted as f64 / attempts as f64)
}

impl<'a> StatsJson<'a> {
    /// Of the store's counts.
    pub fn new(statistics: &'a Statistics) -> Self {
        let runs = &statistics.runs;
        Self {
            total_failed: statistics.total_failed,
            permanently_failed: statistics.permanently_failed,
            retryable: statistics.retryable(),
            due: statistics.due,
            malformed: statistics.malformed,
            ambiguous: statistics.ambiguous,
            retry_distribution: statistics
                .retry_distribution
                .iter()
                .map(|(retry_count, count)| DistributionJson { retry_count: *retry_count, count: *count })
                .collect(),
            by_platform: statistics
                .by_platform
                .iter()
                .map(|entry| PlatformJson {
                    platform: entry.platform,
                    failed: entry.failed,
                    permanently_failed: entry.permanently_failed,
                    due: entry.due,
                    attempts: entry.attempts,
                    posted: entry.posted,
                    success_rate: rate(entry.posted, entry.attempts),
                })
                .collect(),
            by_attempt: statistics
                .by_attempt
                .iter()
                .map(|entry| AttemptJson { attempt: entry.attempt, attempts: entry.attempts, posted: entry.posted })
                .collect(),
            by_category: statistics
                .by_category
                .iter()
                .map(|(category, count)| CategoryJson { category: category.as_str(), count: *count })
                .collect(),
            by_cause: statistics
                .by_cause
                .iter()
                .map(|cause| CauseJson {
                    category: cause.after.map(Category::as_str),
                    attempts: cause.attempts,
                    posted: cause.posted,
                    success_rate: rate(cause.posted, cause.attempts),
                })
                .collect(),
            tokens: statistics
                .tokens
                .iter()
                .map(|(platform, expires_at)| TokenJson { platform: *platform, expires_at: date(*expires_at) })
                .collect(),
            given_up: statistics
                .given_up
                .iter()
                .map(|(platform, record)| GivenUpJson {
                    platform: *platform,
                    category: record.category.as_str(),
                    reason: &record.reason,
                    waiting: record.waiting,
                    since: Date(record.since),
                })
                .collect(),
            runs: RunsJson {
                run_count: runs.run_count,
                success_count: runs.success_count,
                error_count: runs.error_count,
                last_run: date(runs.last_run),
                last_duration_ms: runs.last_duration_ms,
                last_outcome: runs.last_outcome.clone(),
            },
        }
    }
}
