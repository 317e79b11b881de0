//! The queries to a store.

use chrono::{DateTime, Utc};

use super::StoredPost;
use crate::post::{Category, Platform, RetryPolicy};

/// The posts of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those for one platform.
    Platform(Platform),
    /// Those with an unknown platform.
    UnknownPlatform,
}

/// The query for due posts.
#[derive(Debug, Clone, Copy)]
pub struct DueQuery {
    /// By these rules.
    pub policy: RetryPolicy,
    /// At this time of the store's clock.
    pub now: DateTime<Utc>,
    /// Among these posts.
    pub scope: Scope,
}

/// Whether to include posts with fields of a wrong type, so that they can be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MalformedPosts {
    /// Include them.
    Included,
    /// Exclude them.
    Excluded,
}

/// Whether retry count, last attempt and category of a post are as in `shown`. What could not be read of `shown` is not
/// compared.
pub(super) fn is_as_shown(shown: &StoredPost, current: &StoredPost) -> bool {
    let is_unread = |post: &StoredPost, name: &str| match post {
        StoredPost::Readable(_) => false,
        StoredPost::Malformed(malformed) => is_field(&malformed.field, name),
    };
    let (before, after) = (retry_values(shown), retry_values(current));
    let same = [
        ("retryCount", before.0 == after.0),
        ("lastRetriedAt", before.1 == after.1),
        ("failureCategory", before.2 == after.2),
    ];
    same.into_iter().all(|(name, is_same)| is_unread(shown, name) || (is_same && !is_unread(current, name)))
}

fn retry_values(post: &StoredPost) -> (u32, Option<DateTime<Utc>>, Option<&str>) {
    match post {
        StoredPost::Readable(post) => {
            (post.retry.count, post.retry.last_retried_at, post.retry.category.map(Category::as_str))
        }
        StoredPost::Malformed(malformed) => {
            let draft = &malformed.draft;
            let category = draft.category.as_deref().map(|name| name.parse().unwrap_or(Category::Unknown));
            (draft.count(), draft.last_retried_at, category.map(Category::as_str))
        }
    }
}

/// Whether a field has this name, which MongoDB spells in camel case, at the end of a path, and SQLite in snake case.
pub(super) fn is_field(field: &str, name: &str) -> bool {
    let last = field.rsplit('.').next().unwrap_or(field);
    last.replace('_', "").eq_ignore_ascii_case(name)
}

/// The position of a post in a store's order. Only the store that returned it can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCursor(pub(super) String);

/// A page of posts, and where the next page starts if there may be more.
#[derive(Debug, Default)]
pub struct PostPage {
    /// The posts.
    pub posts: Vec<StoredPost>,
    /// Where the next page starts.
    pub next: Option<DueCursor>,
}

/// Which failed posts to list, count or reset.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only those for these platforms; all if there are none.
    pub platforms: Vec<Platform>,
    /// Only those that are due by these rules at this time.
    pub due: Option<(RetryPolicy, DateTime<Utc>)>,
    /// Only those that are permanently failed by these rules.
    pub permanent: Option<RetryPolicy>,
    /// Only those whose last failure is of one of these categories; all if there are none.
    pub categories: Vec<Category>,
    /// Only those that failed at this time or later.
    pub since: Option<DateTime<Utc>>,
}

impl ListFilter {
    /// Whether every failed post matches.
    pub fn is_everything(&self) -> bool {
        let Self { platforms, due, permanent, categories, since } = self;
        platforms.is_empty() && due.is_none() && permanent.is_none() && categories.is_empty() && since.is_none()
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Skip this many posts.
    pub skip: u64,
    /// Return at most this many.
    pub limit: u64,
}
