//! Failed posts: the list, and one of them in full.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Date, date};
use crate::post::{Category, Eligibility, EntryOutcome, HistoryEntry, Malformed, Post, RetryPolicy};
use crate::report::explain::{PassRules, explain};
use crate::report::list::ListPart;
use crate::report::utc;
use crate::store::{Page, StoredPost};

/// A failed post in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::report) struct PostJson {
    pub(in crate::report) id: String,
    pub(in crate::report) title: Option<String>,
    pub(in crate::report) platform: Option<String>,
    pub(in crate::report) story: Option<String>,
    pub(in crate::report) status: &'static str,
    pub(in crate::report) error: Option<String>,
    pub(in crate::report) category: Option<&'static str>,
    pub(in crate::report) failed_at: Option<String>,
    pub(in crate::report) retry_count: u32,
    pub(in crate::report) max_retries: u32,
    pub(in crate::report) last_retried_at: Option<String>,
    pub(in crate::report) next_retry_at: Option<String>,
    pub(in crate::report) due: bool,
    pub(in crate::report) permanently_failed: bool,
    pub(in crate::report) permanently_failed_at: Option<String>,
}

impl PostJson {
    pub(in crate::report) fn new(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> Self {
        match stored {
            StoredPost::Readable(post) => Self::of_post(post, policy, now),
            StoredPost::Malformed(malformed) => Self::of_malformed(malformed, policy),
        }
    }

    fn of_post(post: &Post, policy: &RetryPolicy, now: DateTime<Utc>) -> Self {
        let eligibility = policy.eligibility(post, now);
        let text = |at: Option<DateTime<Utc>>| at.map(utc);
        Self {
            id: post.id.as_str().to_owned(),
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
            due: matches!(eligibility, Eligibility::Due(_)),
            permanently_failed: matches!(eligibility, Eligibility::PermanentlyFailed | Eligibility::Exhausted),
            permanently_failed_at: text(post.retry.permanently_failed_at),
        }
    }

    fn of_malformed(malformed: &Malformed, policy: &RetryPolicy) -> Self {
        let draft = &malformed.draft;
        let text = |at: Option<DateTime<Utc>>| at.map(utc);
        let count = if draft.retry_count.is_nan() { 0 } else { draft.count() };
        Self {
            id: draft.id.as_str().to_owned(),
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
            permanently_failed: draft.permanently_failed || policy.is_exhausted(count),
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

/// The output of `list-failed ID`: a post, or the deliveries of a post for several platforms.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PostDetailJson {
    /// A post for one platform.
    Post(Box<DetailJson>),
    /// A post for several platforms: those on which it failed.
    Posts(Vec<DetailJson>),
}

/// A failed post in full.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DetailJson {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_by: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl DetailJson {
    fn new(stored: &StoredPost, rules: &PassRules, now: DateTime<Utc>) -> Self {
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
            settled_by: entry.settled_by.clone(),
        };
        Self {
            post: PostJson::new(stored, &rules.policy, now),
            explanation: explain(stored, rules, now),
            retry_history: stored.history().iter().map(entry).collect(),
            claimed_by: stored.claim().map(|claim| claim.by.clone()),
        }
    }
}

impl PostDetailJson {
    /// Of the deliveries of one post.
    pub fn new(deliveries: &[StoredPost], rules: &PassRules, now: DateTime<Utc>) -> Self {
        let detail = |stored: &StoredPost| DetailJson::new(stored, rules, now);
        match deliveries {
            // However many of several platforms it failed on, a script finds them at one place.
            [only] if !only.id().is_delivery() => Self::Post(Box::new(detail(only))),
            several => Self::Posts(several.iter().map(detail).collect()),
        }
    }
}
