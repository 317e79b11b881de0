//! The JSON output: shapes of its own, so that a change inside cannot change them by accident.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use crate::post::{Category, EntryOutcome, HistoryEntry, Malformed, Platform, Post, RetryPolicy, Standing, Totals};
use crate::retry::{AttemptReport, DryRunReport, MalformedPost, PassReport, PlannedPost, PlatformReport};
use crate::store::{Page, Statistics, StoredPost};

use super::explain::explain;
use super::list::ListPart;

/// A value as one JSON document with a line end.
pub fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Dates are RFC 3339, UTC, with `Z`.
#[derive(Debug)]
struct Date(DateTime<Utc>);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::utc(self.0))
    }
}

fn date(at: Option<DateTime<Utc>>) -> Option<Date> {
    at.map(Date)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunHead<'a> {
    id: &'a str,
    started_at: Date,
    duration_ms: i64,
    dry_run: bool,
}

/// The counts by platform, in a map by name.
#[derive(Debug)]
struct ByPlatform<'a>(&'a [PlatformReport]);

impl Serialize for ByPlatform<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|entry| (entry.platform.as_str(), entry.totals)))
    }
}

#[derive(Debug, Serialize)]
struct MalformedJson<'a> {
    id: &'a str,
    field: &'a str,
    problem: &'a str,
}

fn malformed_json(posts: &[MalformedPost]) -> Vec<MalformedJson<'_>> {
    posts.iter().map(|post| MalformedJson { id: post.id.as_str(), field: post.field, problem: &post.problem }).collect()
}

/// The output of `run`, real or dry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunJson<'a> {
    run: RunHead<'a>,
    totals: Totals,
    by_platform: ByPlatform<'a>,
    posts: Vec<RunPostJson<'a>>,
    malformed: Vec<MalformedJson<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunPostJson<'a> {
    id: &'a str,
    platform: Platform,
    outcome: &'static str,
    attempt: u32,
    category: Option<&'static str>,
    error: Option<&'a str>,
    next_retry_at: Option<Date>,
    url: Option<&'a str>,
    /// Why it is due; only a dry run tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> RunJson<'a> {
    /// Of a pass.
    pub fn new(report: &'a PassReport) -> Self {
        let post = |post: &'a AttemptReport| RunPostJson {
            id: post.id.as_str(),
            platform: post.platform,
            outcome: post.outcome.as_str(),
            attempt: post.attempt,
            category: post.category.map(Category::as_str),
            error: post.error.as_deref(),
            next_retry_at: date(post.next_retry_at),
            url: post.url.as_deref(),
            reason: None,
        };
        Self {
            run: RunHead {
                id: &report.run_id,
                started_at: Date(report.started_at),
                duration_ms: (report.finished_at - report.started_at).num_milliseconds(),
                dry_run: false,
            },
            totals: report.totals(),
            by_platform: ByPlatform(&report.platforms),
            posts: report.posts.iter().map(post).collect(),
            malformed: malformed_json(&report.malformed),
        }
    }

    /// Of what a pass would do.
    pub fn of_dry_run(report: &'a DryRunReport) -> Self {
        let post = |post: &'a PlannedPost| RunPostJson {
            id: post.id.as_str(),
            platform: post.platform,
            outcome: "due",
            attempt: post.attempt,
            category: post.category.map(Category::as_str),
            error: post.error.as_deref(),
            next_retry_at: date(post.due_since),
            url: None,
            reason: Some(&post.reason),
        };
        Self {
            run: RunHead {
                id: &report.run_id,
                started_at: Date(report.started_at),
                duration_ms: (report.finished_at - report.started_at).num_milliseconds(),
                dry_run: true,
            },
            totals: report.platforms.iter().map(|platform| platform.totals).sum(),
            by_platform: ByPlatform(&report.platforms),
            posts: report.posts.iter().map(post).collect(),
            malformed: malformed_json(&report.malformed),
        }
    }
}

/// A failed post in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostJson {
    pub(super) id: String,
    pub(super) title: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) story: Option<String>,
    pub(super) status: &'static str,
    pub(super) error: Option<String>,
    pub(super) category: Option<&'static str>,
    pub(super) failed_at: Option<String>,
    pub(super) retry_count: u32,
    pub(super) max_retries: u32,
    pub(super) last_retried_at: Option<String>,
    pub(super) next_retry_at: Option<String>,
    pub(super) due: bool,
    pub(super) permanently_failed: bool,
    pub(super) permanently_failed_at: Option<String>,
}

impl PostJson {
    pub(super) fn new(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> Self {
        match stored {
            Ok(post) => Self::of_post(post, policy, now),
            Err(malformed) => Self::of_malformed(malformed, policy),
        }
    }

    fn of_post(post: &Post, policy: &RetryPolicy, now: DateTime<Utc>) -> Self {
        let standing = policy.standing(post, now);
        let text = |at: Option<DateTime<Utc>>| at.map(super::utc);
        Self {
            id: post.id.to_string(),
            title: post.content.title.clone(),
            platform: Some(post.platform.to_string()),
            story: post.story.name.clone(),
            status: "failed",
            error: post.retry.error.clone(),
            category: post.retry.category.map(Category::as_str),
            failed_at: text(post.failed_at),
            retry_count: post.retry.count,
            max_retries: policy.max_retries,
            last_retried_at: text(post.retry.last_retried_at),
            next_retry_at: text(policy.next_retry_at(post, now)),
            due: matches!(standing, Standing::Due(_)),
            permanently_failed: matches!(standing, Standing::PermanentlyFailed | Standing::Spent),
            permanently_failed_at: text(post.retry.permanently_failed_at),
        }
    }

    fn of_malformed(malformed: &Malformed, policy: &RetryPolicy) -> Self {
        let draft = &malformed.draft;
        let text = |at: Option<DateTime<Utc>>| at.map(super::utc);
        let count = if draft.retry_count.is_nan() { 0 } else { draft.count() };
        Self {
            id: draft.id.to_string(),
            title: draft.content.title.clone(),
            platform: draft.platform.clone(),
            story: draft.story.name.clone(),
            status: "failed",
            error: Some(format!("malformed field `{}`: {}", malformed.field, malformed.problem)),
            category: None,
            failed_at: text(draft.failed_at),
            retry_count: count,
            max_retries: policy.max_retries,
            last_retried_at: text(draft.last_retried_at),
            next_retry_at: None,
            due: false,
            permanently_failed: draft.permanently_failed || policy.is_spent(count),
            permanently_failed_at: text(draft.permanently_failed_at),
        }
    }
}

/// The output of `list-failed`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListJson {
    posts: Vec<PostJson>,
    total: u64,
    limit: u64,
    skip: u64,
    has_more: bool,
}

impl ListJson {
    /// Of one part of a list.
    pub fn new(part: &ListPart<'_>, policy: &RetryPolicy, now: DateTime<Utc>) -> Self {
        let Page { skip, limit } = part.page;
        Self {
            posts: part.posts.iter().map(|post| PostJson::new(post, policy, now)).collect(),
            total: part.total,
            limit,
            skip,
            has_more: skip.saturating_add(part.posts.len() as u64) < part.total,
        }
    }
}

/// The output of `list-failed ID`.
#[derive(Debug, Serialize)]
pub struct PostDetailJson {
    post: DetailJson,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DetailJson {
    #[serde(flatten)]
    post: PostJson,
    explanation: String,
    retry_history: Vec<EntryJson>,
    claimed_by: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryJson {
    attempt: u32,
    started_at: Option<Date>,
    finished_at: Option<Date>,
    outcome: &'static str,
    category: Option<&'static str>,
    error: Option<String>,
    host: String,
    #[serde(skip_serializing_if = "is_zero")]
    interruptions: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_at: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_by: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl PostDetailJson {
    /// Of one post.
    pub fn new(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> Self {
        let entry = |entry: &HistoryEntry| EntryJson {
            attempt: entry.attempt,
            started_at: date(entry.started_at),
            finished_at: date(entry.finished_at),
            outcome: EntryOutcome::as_str(entry.outcome),
            category: entry.category.map(Category::as_str),
            error: entry.error.clone(),
            host: entry.host.clone(),
            interruptions: entry.interruptions,
            reset_at: date(entry.reset.as_ref().map(|reset| reset.at)),
            reset_by: entry.reset.as_ref().map(|reset| reset.by.clone()),
        };
        let (history, claim) = match stored {
            Ok(post) => (&post.retry.history, &post.retry.claim),
            Err(malformed) => (&malformed.draft.history, &malformed.draft.claim),
        };
        Self {
            post: DetailJson {
                post: PostJson::new(stored, policy, now),
                explanation: explain(stored, policy, now),
                retry_history: history.iter().map(entry).collect(),
                claimed_by: claim.as_ref().map(|claim| claim.by.clone()),
            },
        }
    }
}

/// The output of `retry` and `reset`.
#[derive(Debug, Serialize)]
pub struct ResultsJson {
    posts: Vec<ResultJson>,
}

#[derive(Debug, Serialize)]
struct ResultJson {
    id: String,
    outcome: &'static str,
    error: Option<String>,
}

impl ResultsJson {
    /// Of posts, their outcomes and errors.
    pub fn new(results: impl IntoIterator<Item = (String, &'static str, Option<String>)>) -> Self {
        let posts = results.into_iter().map(|(id, outcome, error)| ResultJson { id, outcome, error }).collect();
        Self { posts }
    }
}

/// The output of `stats`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsJson {
    total_failed: u64,
    permanently_failed: u64,
    retryable: u64,
    due: u64,
    retry_distribution: Vec<DistributionJson>,
    by_platform: Vec<PlatformJson>,
    by_attempt: Vec<AttemptJson>,
    by_category: Vec<CategoryJson>,
    by_cause: Vec<CauseJson>,
    tokens: Vec<TokenJson>,
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

/// What retrying after a failure of a category has led to; beyond what the contract names.
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
pub(super) fn rate(posted: u64, attempts: u64) -> Option<f64> {
    (attempts > 0).then(|| posted as f64 / attempts as f64)
}

impl StatsJson {
    /// Of the store's counts.
    pub fn new(statistics: &Statistics) -> Self {
        let runs = &statistics.runs;
        Self {
            total_failed: statistics.total_failed,
            permanently_failed: statistics.permanently_failed,
            retryable: statistics.total_failed.saturating_sub(statistics.permanently_failed),
            due: statistics.due,
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
