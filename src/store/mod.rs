//! The stores of posts.
//!
//! [`PostStore`] defines what a store must do, and when each call is durable. A caller cannot tell the implementations
//! apart: one contract suite runs on all of them. A write is durable when its method returns, except the record of an
//! idle run: MongoDB with majority write concern, SQLite with the transaction committed.

mod error;
mod machine_clock;
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
pub use machine_clock::machine_now;
pub use mongo::MongoSettings;
pub use pages::{Backlog, Pages};
pub use query::{DueCursor, DueQuery, ListFilter, Page, PostPage, Scope};
pub use statistics::{
    AttemptStatistics, CauseStatistics, DayStatistics, GivenUpRecord, PlatformRun, PlatformStatistics, RunOutcome,
    RunRecord, RunStatistics, Statistics,
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
/// If it cannot be reached or refuses the request.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn PostStore>, StoreError> {
    match settings {
        StoreSettings::Mongo(settings) => Ok(Arc::new(mongo::MongoPostStore::connect(settings).await?)),
        StoreSettings::Sqlite(path) => Ok(Arc::new(sqlite::SqlitePostStore::open(path).await?)),
    }
}

/// The holder of a claim, and how long the claim lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The holder; unique to one attempt.
    pub by: String,
    /// How long it is valid without renewal, by the store's clock.
    pub lasts: Duration,
}

/// The result of a write under a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseWrite {
    /// The claim is valid, and the write is durable.
    Applied,
    /// The claim has expired or belongs to another process. Nothing was written.
    Lost,
    /// The claim is ours, but the post's status is not `failed` any more: a person or the application changed it.
    /// Nothing was written.
    NotFailed,
}

/// The result of a search by id.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A failed post: one for each platform on which it is failed, at least one.
    Failed(Vec<StoredPost>),
    /// A post that is not failed, with its platforms as far as they are known.
    NotFailed(Vec<Platform>),
    /// No post.
    Nothing,
}

/// The platforms that are named for a post that is not failed: those of its own that were asked for, else all of its own.
/// `None` alone if none of them is known.
pub fn platforms_to_name(of_post: &[Platform], asked: &[Platform]) -> Vec<Option<Platform>> {
    let wanted = of_post.iter().filter(|platform| asked.contains(platform)).copied().map(Some);
    let mut named: Vec<Option<Platform>> = wanted.collect();
    if named.is_empty() {
        named.extend(of_post.iter().copied().map(Some));
    }
    if named.is_empty() {
        named.push(None);
    }
    named
}

/// The result of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The retry count was reset.
    Done,
    /// The post has a valid claim. Nothing was written.
    Busy,
    /// The post does not exist or is not failed any more.
    NotFailed,
    /// The post is not as it was shown any more. Nothing was written.
    Changed,
}

/// The result of marking posts.
#[derive(Debug, Default)]
pub struct Marked {
    /// How many were marked.
    pub applied: u64,
    /// Those that the store refused to write to.
    pub refused: Vec<(PostId, StoreError)>,
}

/// What a reset does beyond resetting the retry count, and on which condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResetOptions<'a> {
    /// Reset only if retry count, last attempt and category are still as in this post.
    pub shown: Option<&'a StoredPost>,
    /// Forget the ticket too, so that the next attempt sends anew.
    pub drop_ticket: bool,
}

/// A store of posts, runs and tokens.
#[async_trait]
pub trait PostStore: TokenStore {
    /// What a person should know before anything else: that the posts may be somewhere else. One sentence each.
    async fn warnings(&self) -> Result<Vec<String>, StoreError>;

    /// Creates what is missing (indexes, tables) for this way of counting the backoff.
    ///
    /// Returns warnings, one sentence each.
    async fn prepare(&self, backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError>;

    /// Whether a pass over everything may find something to do or to report. The answer may be yes although there is
    /// nothing, but it is never no if there is something. For some minutes, queries by the same rules may leave out what
    /// this search has shown to be empty; so it has to look for everything that they can find.
    async fn may_have_work(&self, _policy: &RetryPolicy, _now: DateTime<Utc>) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// The store's clock, which decides when claims expire.
    async fn now(&self) -> Result<DateTime<Utc>, StoreError>;

    /// Up to `limit` due posts after `after`, oldest first, including malformed ones.
    async fn due_posts(&self, query: &DueQuery, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError>;

    /// How many well-formed posts are due after `after`.
    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError>;

    /// Up to `limit` exhausted posts after `after` that are not marked yet.
    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError>;

    /// Marks exhausted posts as permanently failed, each unless its retry state has changed since it was read.
    async fn mark_exhausted(&self, posts: &[Post]) -> Result<Marked, StoreError>;

    /// The post with this id, as people write it.
    async fn find(&self, id: &str) -> Result<Found, StoreError>;

    /// The post with exactly this identity. Two identities can be written alike.
    async fn find_exactly(&self, id: &PostId) -> Result<Found, StoreError> {
        self.find(id.as_str()).await
    }

    /// Claims the post if it is failed, its retry state is unchanged since it was read and it has no valid claim. The same atomic
    /// write starts the attempt. Returns the post after the write. `None` if another process was faster.
    async fn claim(&self, post: &Post, start: &AttemptStart, lease: &Lease) -> Result<Option<StoredPost>, StoreError>;

    /// Extends the claim by its full duration from now, if the post is still failed.
    async fn renew(&self, id: &PostId, lease: &Lease) -> Result<LeaseWrite, StoreError>;

    /// Stores the ticket, or clears it, if the post is still failed.
    async fn store_ticket(&self, id: &PostId, lease: &Lease, ticket: Option<&Ticket>)
    -> Result<LeaseWrite, StoreError>;

    /// Writes the outcome of an attempt and removes the claim, whatever the post's status is by now. A publication is
    /// recorded even if the claim has expired, as long as no other process has taken the post.
    async fn settle(&self, post: &Post, lease: &Lease, settlement: &Settlement) -> Result<LeaseWrite, StoreError>;

    /// Whether a post is recorded with this platform id.
    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError>;

    /// Marks a post that is recorded as published (`published_id`) as permanently failed with category `ambiguous` and
    /// this error, unless its retry state has changed since it was read.
    async fn mark_ambiguous(&self, post: &Post, error: &str) -> Result<LeaseWrite, StoreError>;

    /// Resets the retry count of a post and records `by` in its history.
    async fn reset(&self, id: &PostId, by: &str, options: &ResetOptions<'_>) -> Result<Reset, StoreError>;

    /// Settles a failed post as posted, because a person has found it on its platform ([`crate::post::settle_found`]),
    /// unless it has a valid claim. Ids that the settlement does not give are kept.
    async fn settle_found(&self, post: &Post, settlement: &Settlement) -> Result<Reset, StoreError>;

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

    /// The platforms that the latest runs skipped: of each platform, what its latest recorded run says.
    async fn given_up_platforms(&self) -> Result<Vec<(Platform, GivenUpRecord)>, StoreError>;

    /// Records a run. The record of an idle one need not be durable.
    async fn record_run(&self, run: &RunRecord) -> Result<(), StoreError>;
}
