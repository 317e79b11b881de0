//! The posts of one platform within a pass: read in pages, started one after another within the gap and the limits, and
//! counted by what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Workshop;
use super::attempt::{Expiry, Worked};
use super::gate::{Closed, Gate};
use super::report::{AttemptReport, GivenUp, MalformedPost, PlatformReport, readable};
use crate::platform::{CredentialExpiry, Publisher};
use crate::post::{Eligibility, Outcome, Platform, Post, Totals, ends_soon};
use crate::store::{DueCursor, DueQuery, LeaseWrite, Scope, StoreError};

/// How many posts are read at a time where each is worked on.
const PAGE: u32 = 64;

/// How many posts are read at a time where they are only counted, marked or told of: a store looks through all that are
/// left for every page, so more pages than need be cost more than a few megabytes do.
pub(super) const LARGE_PAGE: u32 = 2_000;

/// What all platforms' lanes share.
#[derive(Debug)]
pub(super) struct Shared {
    started: AtomicU64,
    limit: Option<u64>,
    ends_at: Option<Instant>,
    has_store_failed: AtomicBool,
    has_broken_off: AtomicBool,
}

impl Shared {
    /// At most so many posts are started, and none after this long.
    pub(super) fn new(limit: Option<u64>, max_duration: Option<Duration>) -> Self {
        Self {
            started: AtomicU64::new(0),
            limit,
            ends_at: max_duration.and_then(|duration| Instant::now().checked_add(duration)),
            has_store_failed: AtomicBool::new(false),
            has_broken_off: AtomicBool::new(false),
        }
    }

    /// The store has failed: no lane starts another post.
    pub(super) fn store_failed(&self) {
        self.has_store_failed.store(true, Ordering::Relaxed);
    }

    /// Something broke off by a fault of the program.
    pub(super) fn broke_off(&self) {
        self.has_broken_off.store(true, Ordering::Relaxed);
    }

    /// Whether something broke off by a fault of the program.
    pub(super) fn has_broken_off(&self) -> bool {
        self.has_broken_off.load(Ordering::Relaxed)
    }

    /// Takes one of the posts that may be started; false if there is none left.
    fn take(&self) -> bool {
        let Some(limit) = self.limit else { return true };
        let more = |started| (started < limit).then_some(started + 1);
        self.started.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives one back that was not started after all.
    fn give_back(&self) {
        if self.limit.is_some() {
            self.started.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn is_over(&self) -> bool {
        self.has_store_failed.load(Ordering::Relaxed) || self.ends_at.is_some_and(|end| Instant::now() >= end)
    }
}

/// What one lane has done.
#[derive(Debug)]
pub(super) struct LaneReport {
    pub(super) platform: PlatformReport,
    pub(super) posts: Vec<AttemptReport>,
    pub(super) malformed: Vec<MalformedPost>,
}

/// The posts of one platform within a pass.
pub(super) struct Lane {
    workshop: Arc<Workshop>,
    platform: Platform,
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    in_flight: JoinSet<Result<Worked, StoreError>>,
    totals: Totals,
    posts: Vec<AttemptReport>,
    malformed: Vec<MalformedPost>,
}

/// Whether a lane goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Start,
    Skip,
}

impl Lane {
    pub(super) fn new(workshop: Arc<Workshop>, platform: Platform, shared: Arc<Shared>) -> Self {
        let gate = Arc::new(Gate::new(workshop.pace.gap));
        Self {
            workshop,
            platform,
            gate,
            shared,
            in_flight: JoinSet::new(),
            totals: Totals::default(),
            posts: Vec::new(),
            malformed: Vec::new(),
        }
    }

    fn query(&self) -> DueQuery {
        DueQuery { policy: self.workshop.policy, now: self.workshop.clock.now(), scope: Scope::Platform(self.platform) }
    }

    /// Works through what is due on the platform.
    ///
    /// # Errors
    /// Where the store fails. What was in flight has been settled as far as the store let it.
    pub(super) async fn run(mut self) -> Result<LaneReport, StoreError> {
        let publisher = self.workshop.publishers.get(&self.platform).cloned();
        let started = match &publisher {
            Some(publisher) => {
                self.mark_exhausted().await?;
                self.work_through(publisher).await
            }
            None => self.count_unconfigured().await,
        };
        // Whatever stopped the lane, what is in flight is settled first.
        let settled = self.finish().await;
        started.and(settled)?;
        let credential_expiry = match &publisher {
            Some(publisher) => self.credential_expiry(publisher.as_ref()).await?,
            None => None,
        };
        Ok(LaneReport {
            platform: PlatformReport {
                platform: self.platform,
                totals: self.totals,
                is_configured: publisher.is_some(),
                given_up: self.gate.closed().map(|closed| self.given_up(closed)),
                credential_expiry,
            },
            posts: self.posts,
            malformed: self.malformed,
        })
    }

    fn given_up(&self, closed: Closed) -> GivenUp {
        let (failure, is_circuit) = match closed {
            Closed::GivenUp(failure) => (failure, false),
            Closed::Circuit(failure) => (failure, true),
        };
        let deferred = || self.posts.iter().filter(|post| post.outcome == Outcome::Deferred);
        GivenUp {
            category: failure.category,
            reason: failure.message,
            advice: failure.advice,
            until: deferred().filter_map(|post| post.not_before).max(),
            waiting: self.totals.skipped + if is_circuit { 0 } else { deferred().count() as u64 },
            is_circuit,
        }
    }

    /// The end of the account's sign-in, where it is worth a warning: it comes soon, or before the next retry.
    async fn credential_expiry(&self, publisher: &dyn Publisher) -> Result<Option<CredentialExpiry>, StoreError> {
        let end = match publisher.credential_expiry().await {
            Ok(Some(end)) => end,
            Ok(None) => return Ok(None),
            Err(halt) => {
                log::debug!("{}: the end of its sign-in cannot be read: {halt}", self.platform);
                return Ok(None);
            }
        };
        let (policy, now) = (self.workshop.policy, self.workshop.clock.now());
        let longest = policy.delay(policy.max_retries.saturating_sub(1));
        let may_outlast = longest.and_then(|delay| now.checked_add_signed(delay)).is_none_or(|at| at > end.at);
        if ends_soon(end.at, now) {
            return Ok(Some(end));
        }
        if !may_outlast {
            return Ok(None);
        }
        let due_by = async |now| {
            let query = DueQuery { policy, now, scope: Scope::Platform(self.platform) };
            self.workshop.store.count_due(&query, None).await
        };
        let is_first_after = due_by(end.at).await? == 0 && due_by(DateTime::<Utc>::MAX_UTC).await? > 0;
        Ok(is_first_after.then_some(end))
    }

    /// Marks the posts whose retries were spent already.
    async fn mark_exhausted(&mut self) -> Result<(), StoreError> {
        let mut after: Option<DueCursor> = None;
        loop {
            let page = self.workshop.store.exhausted_posts(&self.query(), after.as_ref(), LARGE_PAGE).await?;
            for post in readable(page.posts, &mut self.malformed) {
                let is_exhausted =
                    self.workshop.policy.eligibility(&post, self.workshop.clock.now()) == Eligibility::Exhausted;
                if is_exhausted && self.workshop.store.mark_exhausted(&post).await? == LeaseWrite::Applied {
                    self.totals.flagged += 1;
                    log::info!("post {}: its retries were spent, marked as permanently failed", post.id);
                }
            }
            after = page.next;
            if after.is_none() || self.workshop.shutdown.is_stopping() {
                return Ok(());
            }
        }
    }

    async fn count_unconfigured(&mut self) -> Result<(), StoreError> {
        let waiting = self.workshop.store.count_due(&self.query(), None).await?;
        self.totals.skip(waiting);
        Ok(())
    }

    async fn work_through(&mut self, publisher: &Arc<dyn Publisher>) -> Result<(), StoreError> {
        let mut after: Option<DueCursor> = None;
        loop {
            let page = self.workshop.store.due_posts(&self.query(), after.as_ref(), PAGE).await?;
            let mut is_skipping = false;
            for post in readable(page.posts, &mut self.malformed) {
                // What the store found is decided once more by the rules themselves, on the post as it was read.
                if !matches!(self.workshop.policy.eligibility(&post, self.workshop.clock.now()), Eligibility::Due(_)) {
                    continue;
                }
                if !is_skipping {
                    is_skipping = self.ready_for(&post).await? == Next::Skip;
                }
                if is_skipping {
                    self.totals.skip(1);
                } else {
                    self.start(post, publisher);
                }
            }
            after = page.next;
            let Some(place) = &after else { return Ok(()) };
            if is_skipping {
                let rest = self.workshop.store.count_due(&self.query(), Some(place)).await?;
                self.totals.skip(rest);
                return Ok(());
            }
        }
    }

    /// Waits until the post may be started: for a free place, for the first post's sign-in, and for the gap where it
    /// needs a new ticket.
    async fn ready_for(&mut self, post: &Post) -> Result<Next, StoreError> {
        loop {
            if self.gate.closed().is_some() || self.shared.is_over() || self.workshop.shutdown.is_stopping() {
                return Ok(Next::Skip);
            }
            if self.in_flight.len() >= self.workshop.pace.concurrency {
                self.settle_next().await?;
                continue;
            }
            if !self.in_flight.is_empty() && !self.gate.is_signed_in() {
                let (workshop, gate) = (Arc::clone(&self.workshop), Arc::clone(&self.gate));
                tokio::select! {
                    () = workshop.shutdown.stopping() => {}
                    () = gate.signed_in() => {}
                    Some(ended) = self.in_flight.join_next() => self.settle(ended)?,
                }
                continue;
            }
            let wait = if post.retry.ticket.is_none() { self.gate.wait() } else { Duration::ZERO };
            if wait.is_zero() {
                return Ok(if self.shared.take() { Next::Start } else { Next::Skip });
            }
            let workshop = Arc::clone(&self.workshop);
            let wait = match self.shared.ends_at {
                Some(end) => wait.min(end.saturating_duration_since(Instant::now())),
                None => wait,
            };
            tokio::select! {
                () = workshop.shutdown.stopping() => {}
                () = tokio::time::sleep(wait) => {}
                Some(ended) = self.in_flight.join_next() => self.settle(ended)?,
            }
        }
    }

    fn start(&mut self, post: Post, publisher: &Arc<dyn Publisher>) {
        let (workshop, publisher, gate) = (Arc::clone(&self.workshop), Arc::clone(publisher), Arc::clone(&self.gate));
        self.in_flight.spawn(async move { workshop.work_on(&post, &publisher, &gate, Expiry::Observed).await });
    }

    async fn settle_next(&mut self) -> Result<(), StoreError> {
        match self.in_flight.join_next().await {
            Some(ended) => self.settle(ended),
            None => Ok(()),
        }
    }

    fn settle(&mut self, ended: Result<Result<Worked, StoreError>, tokio::task::JoinError>) -> Result<(), StoreError> {
        match ended {
            Ok(Ok(Worked::Done(report, failure))) => {
                if !matches!(report.outcome, Outcome::Interrupted | Outcome::Withdrawn) {
                    self.gate.note(failure.as_ref());
                }
                self.totals.count(report.outcome);
                if report.outcome == Outcome::Withdrawn {
                    self.shared.give_back();
                } else {
                    self.posts.push(*report);
                }
                Ok(())
            }
            Ok(Ok(Worked::Taken | Worked::Lost)) => {
                self.shared.give_back();
                Ok(())
            }
            Ok(Err(error)) => {
                self.shared.store_failed();
                Err(error)
            }
            // One post's attempt must not take the others with it; its claim dies by itself.
            Err(panic) => {
                log::error!("an attempt broke off: {panic}; its post is taken up again when its claim has run out");
                self.shared.broke_off();
                Ok(())
            }
        }
    }

    async fn finish(&mut self) -> Result<(), StoreError> {
        let mut failed = Ok(());
        while let Some(ended) = self.in_flight.join_next().await {
            failed = failed.and(self.settle(ended));
        }
        failed
    }
}
