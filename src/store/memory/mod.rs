//! The posts in memory: for the tests of whoever works with a store, and for programs that embed the library.
//!
//! The calls mean the same as in MongoDB and SQLite, to the letter, but nothing outlives the process. One lock guards
//! everything, so each call is atomic. The clock is the one that the store is given.

mod record;
mod statistics;
mod tokens;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use self::record::Record;
use self::tokens::StoredToken;
use super::query::is_as_shown;
use super::{
    DueCursor, DueQuery, Found, GivenUpRecord, Lease, LeaseWrite, ListFilter, Marked, Page, PostPage, PostStore, Reset,
    ResetOptions, RunRecord, Statistics, StoreError, StoredPost, unnamed_stories,
};
use crate::post::{
    AttemptStart, BackoffFrom, Claim, Platform, Post, PostId, Publication, RetryPolicy, Settlement, Ticket,
};

/// A post, for tests to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryPost {
    /// As it is read, whatever its status.
    pub post: StoredPost,
    /// `failed`, `posted`, or what a person or the application has made of it.
    pub status: String,
    /// When its publication was recorded.
    pub posted_at: Option<DateTime<Utc>>,
    /// What its platform gave.
    pub publication: Option<Publication>,
}

type Clock = dyn Fn() -> DateTime<Utc> + Send + Sync;

/// Posts in memory.
pub struct InMemoryPostStore {
    clock: Box<Clock>,
    state: Mutex<State>,
}

impl fmt::Debug for InMemoryPostStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryPostStore").field("state", &self.state).finish_non_exhaustive()
    }
}

impl InMemoryPostStore {
    /// An empty store. Claims live and die by this clock.
    pub fn new(clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), state: Mutex::default() }
    }

    /// Puts in a failed post, as another program writes it. It replaces a post with the same id.
    pub fn insert(&self, post: StoredPost) {
        let key = post.id().key().to_owned();
        self.state().posts.insert(key, Record::new(post));
    }

    /// Names the story that posts refer to by this key.
    pub fn insert_story(&self, key: impl Into<String>, name: impl Into<String>) {
        self.state().stories.insert(key.into(), name.into());
    }

    /// Changes the status, as a person or the application does. With any other than `failed` the post is not retried.
    pub fn set_status(&self, id: &str, status: impl Into<String>) {
        if let Some(record) = self.state().posts.values_mut().find(|record| record.id().as_str() == id) {
            record.status = status.into();
        }
    }

    /// Deletes a post, as a person or the application does.
    pub fn remove(&self, id: &str) {
        self.state().posts.retain(|_, record| record.id().as_str() != id);
    }

    /// The post with this id, as people write it.
    pub fn get(&self, id: &str) -> Option<MemoryPost> {
        self.state().find(id).map(Record::view)
    }

    /// The recorded runs, oldest first.
    pub fn runs(&self) -> Vec<RunRecord> {
        self.state().runs.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time in whole milliseconds, as all stores keep it.
    fn time(&self) -> DateTime<Utc> {
        let now = (self.clock)();
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }

    /// One write to one post, only if its condition holds.
    fn write(
        &self,
        id: &PostId,
        condition: impl FnOnce(&Record, DateTime<Utc>) -> bool,
        change: impl FnOnce(&mut Record, DateTime<Utc>),
    ) -> LeaseWrite {
        let mut state = self.state();
        let now = self.time();
        let Some(record) = state.posts.get_mut(id.key()).filter(|record| condition(record, now)) else {
            return LeaseWrite::Lost;
        };
        change(record, now);
        LeaseWrite::Applied
    }

    /// One write to one failed post under a valid claim.
    fn write_leased(&self, id: &PostId, lease: &Lease, change: impl FnOnce(&mut Record, DateTime<Utc>)) -> LeaseWrite {
        let mut state = self.state();
        let now = self.time();
        let Some(record) = state.posts.get_mut(id.key()).filter(|record| record.is_claimed_by(&lease.by)) else {
            return LeaseWrite::Lost;
        };
        if !record.is_failed() {
            return LeaseWrite::NotFailed;
        }
        if !record.is_claimed(now) {
            return LeaseWrite::Lost;
        }
        change(record, now);
        LeaseWrite::Applied
    }
}

/// Everything that is stored.
#[derive(Debug, Default)]
struct State {
    /// By the key of their id.
    posts: BTreeMap<String, Record>,
    /// The names by the key.
    stories: BTreeMap<String, String>,
    runs: Vec<RunRecord>,
    /// By the key of their account.
    tokens: BTreeMap<String, StoredToken>,
}

impl State {
    fn find(&self, id: &str) -> Option<&Record> {
        self.posts.values().find(|record| record.id().as_str() == id)
    }

    fn after_cursor(&self, after: Option<&DueCursor>) -> impl Iterator<Item = &Record> {
        let after: Option<(Option<DateTime<Utc>>, String)> =
            after.and_then(|cursor| serde_json::from_str(&cursor.0).ok());
        self.posts
            .values()
            .filter(move |record| after.as_ref().is_none_or(|(anchor, key)| record.place() > (*anchor, key.as_str())))
    }

    /// The wanted posts in the order of their first failure, after the cursor.
    fn page(&self, wanted: impl Fn(&Record) -> bool, after: Option<&DueCursor>, limit: u32) -> PostPage {
        let mut records: Vec<&Record> = self.after_cursor(after).filter(|record| wanted(record)).collect();
        records.sort_by_key(|&record| record.place());
        records.truncate(limit as usize);
        let last = records.last().filter(|_| records.len() == limit as usize);
        let next = last.map(|record| DueCursor(serde_json::json!(record.place()).to_string()));
        PostPage { posts: records.into_iter().map(Record::read).collect(), next }
    }

    /// Puts the names of the stories to the posts that carry only their key.
    fn name_stories(&self, posts: &mut [StoredPost]) {
        for story in unnamed_stories(posts) {
            story.name = story.key.as_ref().and_then(|key| self.stories.get(key)).cloned();
        }
    }
}

/// The claim that a lease asks for.
fn claim_of(lease: &Lease, now: DateTime<Utc>) -> Claim {
    let lasts = i64::try_from(lease.lasts.as_millis()).ok().and_then(TimeDelta::try_milliseconds);
    let until = lasts.and_then(|lasts| now.checked_add_signed(lasts)).unwrap_or(DateTime::<Utc>::MAX_UTC);
    Claim { by: lease.by.clone(), until }
}

#[async_trait]
impl PostStore for InMemoryPostStore {
    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn prepare(&self, _backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(self.time())
    }

    async fn due_posts(&self, query: &DueQuery, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError> {
        let DueQuery { policy, now, scope } = query;
        let wanted = |record: &Record| record.is_in(*scope) && record.is_due_or_unreadable(policy, *now);
        Ok(self.state().page(wanted, after, limit))
    }

    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError> {
        let DueQuery { policy, now, scope } = query;
        let state = self.state();
        let due = state.after_cursor(after).filter(|record| record.is_in(*scope) && record.is_due(policy, *now));
        Ok(due.count() as u64)
    }

    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let DueQuery { policy, now, scope } = query;
        let wanted = |record: &Record| record.is_in(*scope) && record.is_exhausted(policy, *now);
        Ok(self.state().page(wanted, after, limit))
    }

    async fn mark_exhausted(&self, posts: &[Post]) -> Result<Marked, StoreError> {
        let mark =
            |post: &Post| self.write(&post.id, |record, now| record.is_unchanged(post, now), Record::mark_exhausted);
        let applied = posts.iter().filter(|post| mark(post) == LeaseWrite::Applied).count();
        Ok(Marked { applied: applied as u64, refused: Vec::new() })
    }

    async fn find(&self, id: &str) -> Result<Found, StoreError> {
        let state = self.state();
        let deliveries: Vec<&Record> = state.posts.values().filter(|record| record.id().as_str() == id).collect();
        if deliveries.is_empty() {
            return Ok(Found::Nothing);
        }
        let failed = deliveries.iter().filter(|record| record.is_failed());
        let mut posts: Vec<StoredPost> = failed.map(|record| record.read()).collect();
        if posts.is_empty() {
            return Ok(Found::NotFailed(deliveries.iter().filter_map(|record| record.platform).collect()));
        }
        state.name_stories(&mut posts);
        Ok(Found::Failed(posts))
    }

    async fn claim(&self, post: &Post, start: &AttemptStart, lease: &Lease) -> Result<Option<StoredPost>, StoreError> {
        let mut claimed = None;
        let is_unchanged = |record: &Record, now| record.is_unchanged(post, now);
        self.write(&post.id, is_unchanged, |record, now| {
            record.start(start, claim_of(lease, now), now);
            claimed = Some(record.read());
        });
        Ok(claimed)
    }

    async fn renew(&self, id: &PostId, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        Ok(self.write_leased(id, lease, |record, now| record.renew(claim_of(lease, now), now)))
    }

    async fn store_ticket(
        &self,
        id: &PostId,
        lease: &Lease,
        ticket: Option<&Ticket>,
    ) -> Result<LeaseWrite, StoreError> {
        Ok(self.write_leased(id, lease, |record, now| record.set_ticket(ticket.cloned(), now)))
    }

    async fn settle(&self, post: &Post, lease: &Lease, settlement: &Settlement) -> Result<LeaseWrite, StoreError> {
        let condition = |record: &Record, now| record.is_settleable(&lease.by, settlement, now);
        Ok(self.write(&post.id, condition, |record, now| record.settle(settlement, now)))
    }

    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError> {
        Ok(self.state().posts.values().any(|record| record.is_published_as(platform, id)))
    }

    async fn mark_ambiguous(&self, post: &Post, error: &str) -> Result<LeaseWrite, StoreError> {
        let is_unchanged = |record: &Record, now| record.is_unchanged(post, now);
        Ok(self.write(&post.id, is_unchanged, |record, now| record.mark_ambiguous(error, now)))
    }

    async fn reset(&self, id: &PostId, by: &str, options: &ResetOptions<'_>) -> Result<Reset, StoreError> {
        let mut state = self.state();
        let now = self.time();
        let Some(record) = state.posts.get_mut(id.key()).filter(|record| record.is_failed()) else {
            return Ok(Reset::NotFailed);
        };
        if record.is_claimed(now) {
            return Ok(Reset::Busy);
        }
        if options.shown.is_some_and(|shown| !is_as_shown(shown, &record.read())) {
            return Ok(Reset::Changed);
        }
        record.reset(by, options.drop_ticket, now);
        Ok(Reset::Done)
    }

    async fn settle_found(&self, post: &Post, settlement: &Settlement) -> Result<Reset, StoreError> {
        let mut state = self.state();
        let now = self.time();
        let Some(record) = state.posts.get_mut(post.id.key()).filter(|record| record.is_failed()) else {
            return Ok(Reset::NotFailed);
        };
        if record.is_claimed(now) {
            return Ok(Reset::Busy);
        }
        record.settle(settlement, now);
        Ok(Reset::Done)
    }

    async fn given_up_platforms(&self) -> Result<Vec<(Platform, GivenUpRecord)>, StoreError> {
        Ok(statistics::given_up(&self.state().runs))
    }

    async fn list(&self, filter: &ListFilter, page: Page) -> Result<PostPage, StoreError> {
        let state = self.state();
        let mut records: Vec<&Record> = state.posts.values().filter(|record| record.passes(filter)).collect();
        records.sort_by_key(|&record| {
            let (anchor, key) = record.place();
            (Reverse(anchor), key)
        });
        let amount = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let records = records.into_iter().skip(amount(page.skip)).take(amount(page.limit));
        let mut posts: Vec<StoredPost> = records.map(Record::read).collect();
        state.name_stories(&mut posts);
        Ok(PostPage { posts, next: None })
    }

    async fn count(&self, filter: &ListFilter) -> Result<u64, StoreError> {
        Ok(self.state().posts.values().filter(|record| record.passes(filter)).count() as u64)
    }

    async fn statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        Ok(statistics::gather(&self.state(), policy, now, runs_since))
    }

    async fn record_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        self.state().runs.push(run.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
