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
#[derive(Debug, Clone, Copy, Default)]
pub struct ListFilter {
    /// Only those for this platform.
    pub platform: Option<Platform>,
    /// Only those that are due by these rules at this time.
    pub due: Option<(RetryPolicy, DateTime<Utc>)>,
    /// Only those that are permanently failed by these rules.
    pub permanent: Option<RetryPolicy>,
    /// Only those whose last failure is of this category.
    pub category: Option<Category>,
    /// Only those that failed at this time or later.
    pub since: Option<DateTime<Utc>>,
}

impl ListFilter {
    /// Whether every failed post matches.
    pub fn is_everything(&self) -> bool {
        let Self { platform, due, permanent, category, since } = self;
        platform.is_none() && due.is_none() && permanent.is_none() && category.is_none() && since.is_none()
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
