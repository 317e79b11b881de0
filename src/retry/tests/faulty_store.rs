//! A store in memory that fails, is late or does not answer where a test wants it to.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::post::{AttemptStart, BackoffFrom, Platform, Post, PostId, RetryPolicy, Settlement, Ticket, TokenRecord};
use crate::store::memory::InMemoryPostStore;
use crate::store::{
    DueCursor, DueQuery, Found, GivenUpRecord, Lease, LeaseWrite, ListFilter, Marked, Page, PostPage, PostStore, Reset,
    ResetOptions, RunRecord, Statistics, StoreError, StoredPost, TokenStore,
};

/// A kind of call to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum StoreCall {
    DuePosts,
    CountDue,
    ExhaustedPosts,
    MarkExhausted,
    MarkAmbiguous,
    Find,
    Claim,
    Renew,
    StoreTicket,
    Settle,
    IsRecorded,
    Reset,
}

/// What the store does when it is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum StoreReaction {
    Answers,
    AnswersAfter(Duration),
    /// Nothing is read or written.
    Fails,
    /// What was asked is done, but the answer is lost.
    LosesItsAnswer,
    NeverAnswers,
}

#[derive(Debug)]
pub(super) struct FaultyStore {
    /// The store itself, which never fails.
    pub(super) memory: InMemoryPostStore,
    next: Mutex<HashMap<StoreCall, VecDeque<StoreReaction>>>,
    always: Mutex<HashMap<StoreCall, StoreReaction>>,
    calls: Mutex<Vec<StoreCall>>,
}

impl FaultyStore {
    pub(super) fn new(memory: InMemoryPostStore) -> Self {
        Self { memory, next: Mutex::default(), always: Mutex::default(), calls: Mutex::default() }
    }

    /// What the next calls of this kind meet, one after another.
    pub(super) fn next_calls(&self, call: StoreCall, reactions: impl IntoIterator<Item = StoreReaction>) {
        self.next.lock().unwrap().entry(call).or_default().extend(reactions);
    }

    /// What every other call of this kind meets.
    pub(super) fn every_call(&self, call: StoreCall, reaction: StoreReaction) {
        self.always.lock().unwrap().insert(call, reaction);
    }

    /// From now on every call is answered.
    pub(super) fn recover(&self) {
        self.next.lock().unwrap().clear();
        self.always.lock().unwrap().clear();
    }

    /// How often it was called like this.
    pub(super) fn calls(&self, call: StoreCall) -> usize {
        self.calls.lock().unwrap().iter().filter(|made| **made == call).count()
    }

    fn reaction(&self, call: StoreCall) -> StoreReaction {
        self.calls.lock().unwrap().push(call);
        let next = self.next.lock().unwrap().get_mut(&call).and_then(VecDeque::pop_front);
        let always = self.always.lock().unwrap().get(&call).copied();
        next.or(always).unwrap_or(StoreReaction::Answers)
    }

    async fn ask<T: Send>(
        &self,
        call: StoreCall,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let failed = || Err(StoreError::new("reach the post store", "the test has cut the connection"));
        match self.reaction(call) {
            StoreReaction::Answers => answer.await,
            StoreReaction::AnswersAfter(delay) => {
                tokio::time::sleep(delay).await;
                answer.await
            }
            StoreReaction::Fails => failed(),
            StoreReaction::LosesItsAnswer => {
                answer.await?;
                failed()
            }
            StoreReaction::NeverAnswers => std::future::pending().await,
        }
    }
}

#[async_trait]
impl TokenStore for FaultyStore {
    async fn load_token(&self, key: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.memory.load_token(key).await
    }

    async fn lock_token(&self, key: &str, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        self.memory.lock_token(key, lease).await
    }

    async fn save_token(&self, record: &TokenRecord, by: &str) -> Result<LeaseWrite, StoreError> {
        self.memory.save_token(record, by).await
    }

    async fn unlock_token(&self, key: &str, by: &str) -> Result<(), StoreError> {
        self.memory.unlock_token(key, by).await
    }
}

#[async_trait]
impl PostStore for FaultyStore {
    async fn prepare(&self, backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError> {
        self.memory.prepare(backoff_from).await
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.memory.now().await
    }

    async fn due_posts(&self, query: &DueQuery, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError> {
        self.ask(StoreCall::DuePosts, self.memory.due_posts(query, after, limit)).await
    }

    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError> {
        self.ask(StoreCall::CountDue, self.memory.count_due(query, after)).await
    }

    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        self.ask(StoreCall::ExhaustedPosts, self.memory.exhausted_posts(query, after, limit)).await
    }

    async fn mark_exhausted(&self, posts: &[Post]) -> Result<Marked, StoreError> {
        self.ask(StoreCall::MarkExhausted, self.memory.mark_exhausted(posts)).await
    }

    async fn find(&self, id: &str) -> Result<Found, StoreError> {
        self.ask(StoreCall::Find, self.memory.find(id)).await
    }

    async fn claim(&self, post: &Post, start: &AttemptStart, lease: &Lease) -> Result<Option<StoredPost>, StoreError> {
        self.ask(StoreCall::Claim, self.memory.claim(post, start, lease)).await
    }

    async fn renew(&self, id: &PostId, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        self.ask(StoreCall::Renew, self.memory.renew(id, lease)).await
    }

    async fn store_ticket(
        &self,
        id: &PostId,
        lease: &Lease,
        ticket: Option<&Ticket>,
    ) -> Result<LeaseWrite, StoreError> {
        self.ask(StoreCall::StoreTicket, self.memory.store_ticket(id, lease, ticket)).await
    }

    async fn settle(&self, post: &Post, lease: &Lease, settlement: &Settlement) -> Result<LeaseWrite, StoreError> {
        self.ask(StoreCall::Settle, self.memory.settle(post, lease, settlement)).await
    }

    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError> {
        self.ask(StoreCall::IsRecorded, self.memory.is_recorded(platform, id)).await
    }

    async fn mark_ambiguous(&self, post: &Post, error: &str) -> Result<LeaseWrite, StoreError> {
        self.ask(StoreCall::MarkAmbiguous, self.memory.mark_ambiguous(post, error)).await
    }

    async fn reset(&self, id: &PostId, by: &str, options: &ResetOptions<'_>) -> Result<Reset, StoreError> {
        self.ask(StoreCall::Reset, self.memory.reset(id, by, options)).await
    }

    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        self.memory.warnings().await
    }

    async fn settle_found(&self, post: &Post, settlement: &Settlement) -> Result<Reset, StoreError> {
        self.memory.settle_found(post, settlement).await
    }

    async fn given_up_platforms(&self) -> Result<Vec<(Platform, GivenUpRecord)>, StoreError> {
        self.memory.given_up_platforms().await
    }

    async fn list(&self, filter: &ListFilter, page: Page) -> Result<PostPage, StoreError> {
        self.memory.list(filter, page).await
    }

    async fn count(&self, filter: &ListFilter) -> Result<u64, StoreError> {
        self.memory.count(filter).await
    }

    async fn statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        self.memory.statistics(policy, now, runs_since).await
    }

    async fn record_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        self.memory.record_run(run).await
    }
}
