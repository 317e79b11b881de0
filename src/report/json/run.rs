//! What a pass did or would do, and what became of single posts.

use serde::{Serialize, Serializer};

use super::{Date, date};
use crate::post::{Category, Platform, Totals};
use crate::retry::{AttemptReport, DryRunReport, MalformedPost, PassReport, PlannedPost, PlatformReport};

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
