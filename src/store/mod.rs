//! Where posts live.
//!
//! [`PostStore`] says what a store must do, and when each call is durable. The implementations differ in nothing that
//! a caller could notice: one contract suite runs on all of them. A method that writes has written durably when it
//! returns: MongoDB with majority write concern, SQLite with the transaction committed.

mod error;
pub mod memory;
pub mod mongo;
mod pages;
mod query;
pub mod sqlite;
mod statistics;
mod statistics_builder;
mod stored_post;
mod token_store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::post::{AttemptStart, BackoffFrom, Platform, Post, PostId, RetryPolicy, Settlement, Story, Ticket};

pub use error::StoreError;
pub use mongo::MongoSettings;
pub use pages::{Backlog, Pages};
pub use query::{DueCursor, DueQuery, ListFilter, Page, PostPage, Scope};
pub use statistics::{
    AttemptStatistics, CauseStatistics, PlatformStatistics, RunOutcome, RunRecord, RunStatistics, Statistics,
};
pub use stored_post::StoredPost;
pub use token_store::TokenStore;

/// Where the posts are.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// A MongoDB database.
    Mongo(MongoSettings),
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// The stories whose names have to be looked up, of posts that carry only their keys.
fn unnamed_stories(posts: &mut [StoredPost]) -> Vec<&mut Story> {
    let stories = posts.iter_mut().map(StoredPost::story_mut);
    stories.filter(|story| story.name.is_none() && story.key.is_some()).collect()
}

/// Opens the store that the settings name.
///
/// # Errors
/// Where it cannot be reached or refuses us.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn PostStore>, StoreError> {
    match settings {
        StoreSettings::Mongo(settings) => Ok(Arc::new(mongo::MongoPostStore::connect(settings).await?)),
        StoreSettings::Sqlite(path) => Ok(Arc::new(sqlite::SqlitePostStore::open(path).await?)),
    }
}

/// Who takes a post, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The holder; unique to one attempt.
    pub by: String,
    /// How long it holds without renewal, by the store's clock.
    pub lasts: Duration,
}

/// Whether a write under a claim was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseWrite {
    /// The claim is ours, and the write is durable.
    Applied,
    /// The claim ran out or is another's; nothing was written.
    Lost,
}

/// What an id led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A failed post.
    Failed(Box<StoredPost>),
    /// A post that is not failed.
    NotFailed(PostId),
    /// No post.
    Nothing,
}

/// What became of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The post has its retries back.
    Done,
    /// A live claim is on it; nothing was written.
    Busy,
    /// It is gone or not failed any more.
    NotFailed,
}

/// A store of posts, runs and tokens.
#[async_trait]
pub trait PostStore: TokenStore {
    /// Creates what is missing (indexes, tables) for this way of counting the backoff.
    ///
    /// Returns what a person should know, a sentence each.
    async fn prepare(&self, backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError>;

    /// The store's own clock, by which claims live and die.
    async fn now(&self) -> Result<DateTime<Utc>, StoreError>;

    /// Up to `limit` posts that are due, oldest first, from behind `after`; among them those that are malformed.
    async fn due_posts(&self, query: &DueQuery, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError>;

    /// How many well-formed posts are due behind `after`.
    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError>;

    /// Up to `limit` posts whose retries are spent and that are not marked yet, from behind `after`.
    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError>;

    /// Marks a spent post as permanently failed, unless someone has touched its retries since it was read.
    async fn mark_exhausted(&self, post: &Post) -> Result<LeaseWrite, StoreError>;

    /// The post that people write as `id`.
    async fn find(&self, id: &str) -> Result<Found, StoreError>;

    /// Takes the post: only if its retry state is still what was read and no live claim is on it. With the claim,
    /// atomically, the attempt is started. Returns the post as it then stands; none if another was faster.
    async fn claim(&self, post: &Post, start: &AttemptStart, lease: &Lease) -> Result<Option<StoredPost>, StoreError>;

    /// Makes the claim last as long again from now.
    async fn renew(&self, id: &PostId, lease: &Lease) -> Result<LeaseWrite, StoreError>;

    /// Stores the ticket, or that there is none any more.
    async fn store_ticket(&self, id: &PostId, lease: &Lease, ticket: Option<&Ticket>)
    -> Result<LeaseWrite, StoreError>;

    /// Writes what an attempt led to, and ends the claim.
    async fn settle(&self, post: &Post, lease: &Lease, settlement: &Settlement) -> Result<LeaseWrite, StoreError>;

    /// Whether a post is recorded as the one that its platform knows by this id.
    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError>;

    /// Gives a post its retries back; its history tells that `by` did so.
    async fn reset(&self, id: &PostId, by: &str) -> Result<Reset, StoreError>;

    /// Failed posts, newest failure first.
    async fn list(&self, filter: &ListFilter, page: Page) -> Result<PostPage, StoreError>;

    /// How many failed posts pass the filter.
    async fn count(&self, filter: &ListFilter) -> Result<u64, StoreError>;

    /// Counts over all failed posts, and over the runs since then.
    async fn statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError>;

    /// Records a run.
    async fn record_run(&self, run: &RunRecord) -> Result<(), StoreError>;
}
