//! Reads a store page by page: the one loop of all who work through a backlog.

use chrono::{DateTime, Utc};

use super::{DueCursor, DueQuery, PostStore, Scope, StoreError, StoredPost};
use crate::post::RetryPolicy;

/// Which posts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// Those that are due.
    Due,
    /// Those whose retries are exhausted and that are not marked yet.
    Exhausted,
}

/// A backlog, read page by page. It is never in memory as a whole.
#[derive(Debug)]
pub struct Pages<'a> {
    store: &'a dyn PostStore,
    backlog: Backlog,
    policy: RetryPolicy,
    scope: Scope,
    page_size: u32,
    cursor: Option<DueCursor>,
    is_finished: bool,
}

impl<'a> Pages<'a> {
    /// The backlog of a scope by these rules, this many posts a page.
    pub fn new(store: &'a dyn PostStore, backlog: Backlog, policy: RetryPolicy, scope: Scope, page_size: u32) -> Self {
        Self { store, backlog, policy, scope, page_size, cursor: None, is_finished: false }
    }

    fn query(&self, now: DateTime<Utc>) -> DueQuery {
        DueQuery { policy: self.policy, now, scope: self.scope }
    }

    /// The next page, as of `now`; none after the last.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn next(&mut self, now: DateTime<Utc>) -> Result<Option<Vec<StoredPost>>, StoreError> {
        if self.is_finished {
            return Ok(None);
        }
        let (query, after) = (self.query(now), self.cursor.as_ref());
        let page = match self.backlog {
            Backlog::Due => self.store.due_posts(&query, after, self.page_size).await?,
            Backlog::Exhausted => self.store.exhausted_posts(&query, after, self.page_size).await?,
        };
        // A cursor that does not move would never end.
        self.is_finished = page.next.is_none() || page.next == self.cursor;
        self.cursor = page.next;
        Ok(Some(page.posts))
    }

    /// How many due posts follow the pages that were read.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn count_rest(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        if self.is_finished { Ok(0) } else { self.store.count_due(&self.query(now), self.cursor.as_ref()).await }
    }
}
