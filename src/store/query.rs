//! What stores are asked.

use chrono::{DateTime, Utc};

use super::StoredPost;
use crate::post::{Category, Platform, RetryPolicy};

/// Which posts a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those for one platform.
    Platform(Platform),
    /// Those whose platform is none that is known.
    UnknownPlatform,
}

/// The question for what is due.
#[derive(Debug, Clone, Copy)]
pub struct DueQuery {
    /// By these rules.
    pub policy: RetryPolicy,
    /// At this time of the store's clock.
    pub now: DateTime<Utc>,
    /// Among these posts.
    pub scope: Scope,
}

/// Whether posts with fields of a wrong type are wanted too, so that they can be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MalformedPosts {
    /// They are.
    Included,
    /// They are not.
    Excluded,
}

/// The place of a post in a store's order; only the store that gave it can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCursor(pub(super) String);

/// Some posts, and the place behind the last of them if there may be more.
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
    /// Whether every failed post passes.
    pub fn is_everything(&self) -> bool {
        let Self { platform, due, permanent, category, since } = self;
        platform.is_none() && due.is_none() && permanent.is_none() && category.is_none() && since.is_none()
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Leave out this many at the beginning.
    pub skip: u64,
    /// Return at most this many.
    pub limit: u64,
}
