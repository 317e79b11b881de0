//! What a pass did or would do, and what became of single posts.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::{Date, List, Shape, date};
use crate::post::{Category, Platform, Totals};
use crate::retry::{AttemptReport, DryRunReport, MalformedPost, Obstacle, PassReport, PlannedPost, PlatformReport};
use crate::store::StoredPost;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunHead<'a> {
    id: &'a str,
    started_at: Date,
    duration_ms: i64,
    dry_run: bool,
}

impl<'a> RunHead<'a> {
    fn new(id: &'a str, started_at: DateTime<Utc>, finished_at: DateTime<Utc>, dry_run: bool) -> Self {
        let duration_ms = finished_at.signed_duration_since(started_at).num_milliseconds();
        Self { id, started_at: Date(started_at), duration_ms, dry_run }
    }
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
pub(super) struct MalformedJson<'a> {
    id: &'a str,
    platform: Option<&'a str>,
    field: &'a str,
    problem: &'a str,
}

impl Shape for MalformedPost {
    type Json<'a> = MalformedJson<'a>;

    fn json(&self) -> MalformedJson<'_> {
        MalformedJson {
            id: self.id.as_str(),
            platform: self.platform.as_deref(),
            field: &self.field,
            problem: &self.problem,
        }
    }
}

/// The output of `run`, real or dry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", bound = "List<'a, T>: Serialize")]
pub struct RunJson<'a, T> {
    run: RunHead<'a>,
    totals: Totals,
    by_platform: ByPlatform<'a>,
    posts: List<'a, T>,
    malformed: List<'a, MalformedPost>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunPostJson<'a> {
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
    /// Why its attempt would not publish it, as far as a dry run can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

impl Shape for AttemptReport {
    type Json<'a> = RunPostJson<'a>;

    fn json(&self) -> RunPostJson<'_> {
        RunPostJson {
            id: self.id.as_str(),
            platform: self.platform,
            outcome: self.outcome.as_str(),
            attempt: self.attempt,
            category: self.category.map(Category::as_str),
            error: self.error.as_deref(),
            next_retry_at: date(self.next_retry_at),
            url: self.url.as_deref(),
            reason: None,
            problem: None,
        }
    }
}

impl Shape for PlannedPost {
    type Json<'a> = RunPostJson<'a>;

    fn json(&self) -> RunPostJson<'_> {
        RunPostJson {
            id: self.id.as_str(),
            platform: self.platform,
            outcome: "due",
            attempt: self.attempt,
            category: self.category.map(Category::as_str),
            error: self.error.as_deref(),
            next_retry_at: date(self.due_since),
            url: None,
            reason: Some(&self.reason),
            problem: self.problem.as_ref().map(Obstacle::reason),
        }
    }
}

impl<'a> RunJson<'a, AttemptReport> {
    /// Of a pass.
    pub fn new(report: &'a PassReport) -> Self {
        Self {
            run: RunHead::new(&report.run_id, report.started_at, report.finished_at, false),
            totals: report.totals(),
            by_platform: ByPlatform(&report.platforms),
            posts: List(&report.posts),
            malformed: List(&report.malformed),
        }
    }
}

impl<'a> RunJson<'a, PlannedPost> {
    /// Of what a pass would do.
    pub fn of_dry_run(report: &'a DryRunReport) -> Self {
        Self {
            run: RunHead::new(&report.run_id, report.started_at, report.finished_at, true),
            totals: report.platforms.iter().map(|platform| platform.totals).sum(),
            by_platform: ByPlatform(&report.platforms),
            posts: List(&report.posts),
            malformed: List(&report.malformed),
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
            id: stored.id().as_str().to_owned(),
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
