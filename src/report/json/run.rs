//! What a pass did or would do, and what became of single posts.

use serde::{Serialize, Serializer};

use super::{Date, date};
use crate::post::{Category, Platform, Totals};
use crate::retry::{AttemptReport, DryRunReport, MalformedPost, PassReport, PlannedPost, PlatformReport};
use crate::store::StoredPost;

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
    platform: Option<&'a str>,
    field: &'a str,
    problem: &'a str,
}

fn malformed_json(posts: &[MalformedPost]) -> Vec<MalformedJson<'_>> {
    posts
        .iter()
        .map(|post| MalformedJson {
            id: post.id.as_str(),
            platform: post.platform.as_deref(),
            field: &post.field,
            problem: &post.problem,
        })
        .collect()
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
    /// Why its attempt would fail, as far as a dry run can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
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
            problem: None,
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
            problem: post.problem.as_ref().map(|failure| failure.message.as_str()),
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

/// What became of one post in `retry` or `reset`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ResultRow {
    /// The id as it was given, or that of the selected post.
    pub id: String,
    /// Its platform; `None` if there is no such post.
    pub platform: Option<String>,
    /// What became of it.
    pub outcome: &'static str,
    /// Why it did not succeed; in a dry run its last failure.
    pub error: Option<String>,
    /// Its title; only a dry run tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The category of its last failure; only a dry run tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<&'static str>,
    /// Where it can be seen.
    #[serde(skip)]
    pub url: Option<String>,
}

impl ResultRow {
    /// A failed post that was worked on.
    pub fn of(stored: &StoredPost, outcome: &'static str, error: Option<String>) -> Self {
        Self {
            id: stored.id().to_string(),
            platform: stored.platform_name().map(str::to_owned),
            outcome,
            error,
            ..Self::default()
        }
    }

    /// A failed post that would be worked on.
    pub fn planned(stored: &StoredPost, outcome: &'static str) -> Self {
        let (title, error) = match stored {
            StoredPost::Readable(post) => (post.content.title.clone(), post.retry.error.clone()),
            StoredPost::Malformed(malformed) => {
                let error = format!("malformed field `{}`: {}", malformed.field, malformed.problem);
                (malformed.draft.content.title.clone(), Some(error))
            }
        };
        let category = stored.category().map(Category::as_str);
        Self { title, category, ..Self::of(stored, outcome, error) }
    }
}

/// The output of `retry` and `reset`.
#[derive(Debug, Serialize)]
pub struct ResultsJson<'a> {
    posts: &'a [ResultRow],
}

impl<'a> ResultsJson<'a> {
    /// Of posts and their outcomes.
    pub fn new(posts: &'a [ResultRow]) -> Self {
        Self { posts }
    }
}
