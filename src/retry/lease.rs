//! The lease under which an attempt works: how long it is valid, its renewal, and the writes and requests that are
//! made only while it is.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::clock::StoreClock;
use super::context::{ActivePlatform, Event, Listener, RetryContext};
use crate::environment::ScopedSecret;
use crate::platform::{AttemptAborted, LeaseCheck, PublishContext};
use crate::post::{Post, Ticket};
use crate::store::{Lease, LeaseWrite, PostStore, StoreError};

/// How long the store may take even if the lease has expired.
const LEAST_STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// An instant by both of this machine's clocks: the steady one stands still while the machine sleeps, the other one
/// can be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockReading {
    steady: Instant,
    wall: DateTime<Utc>,
}

impl ClockReading {
    pub(super) fn now(clock: &StoreClock) -> Self {
        Self { steady: Instant::now(), wall: clock.now() }
    }
}

/// Until when the lease is valid as far as is known: counted from before the request that renewed it, so that the
/// store's end of it is never earlier.
#[derive(Debug)]
struct LeaseDeadline {
    origin: Instant,
    steady_ms: AtomicU64,
    wall_ms: AtomicI64,
    clock: StoreClock,
}

impl LeaseDeadline {
    fn new(claimed_at: ClockReading, lasts: Duration, clock: StoreClock) -> Self {
        let (steady_ms, wall_ms) = (AtomicU64::new(0), AtomicI64::new(0));
        let deadline = Self { origin: claimed_at.steady, steady_ms, wall_ms, clock };
        deadline.extend(claimed_at, lasts);
        deadline
    }

    fn extend(&self, asked_at: ClockReading, lasts: Duration) {
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let steady = u64::try_from(asked_at.steady.saturating_duration_since(self.origin).as_millis());
        self.steady_ms.store(steady.unwrap_or(0).saturating_add(lasts_ms), Ordering::Relaxed);
        let wall = asked_at.wall.timestamp_millis().saturating_add_unsigned(lasts_ms);
        self.wall_ms.store(wall, Ordering::Relaxed);
    }

    /// How long the lease is still valid, by the more pessimistic of the two clocks.
    fn remaining(&self) -> Duration {
        let gone = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let by_steady = self.steady_ms.load(Ordering::Relaxed).saturating_sub(gone);
        let by_wall = self.wall_ms.load(Ordering::Relaxed).saturating_sub(self.clock.now().timestamp_millis());
        Duration::from_millis(by_steady.min(u64::try_from(by_wall).unwrap_or(0)))
    }

    fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// An attempt under its lease, as its publisher sees it.
#[derive(Debug)]
pub(super) struct LeasedAttempt {
    store: Arc<dyn PostStore>,
    clock: StoreClock,
    listener: Arc<dyn Listener>,
    platform: Arc<ActivePlatform>,
    post: Post,
    lease: Lease,
    deadline: Arc<LeaseDeadline>,
    ticket: Mutex<Option<Ticket>>,
    /// Whether the post is not failed any more, since a person or the application changed its status.
    is_withdrawn: AtomicBool,
    /// The secrets that belong to this attempt alone.
    secrets: Mutex<Vec<ScopedSecret>>,
}

impl LeasedAttempt {
    /// An attempt at a post whose claim was asked for at `claimed_at`.
    pub(super) fn new(
        context: &RetryContext,
        platform: Arc<ActivePlatform>,
        post: &Post,
        lease: Lease,
        claimed_at: ClockReading,
    ) -> Self {
        let deadline = LeaseDeadline::new(claimed_at, lease.lasts, context.clock.clone());
        Self {
            store: Arc::clone(&context.store),
            clock: context.clock.clone(),
            listener: Arc::clone(&context.listener),
            platform,
            post: post.clone(),
            lease,
            deadline: Arc::new(deadline),
            ticket: Mutex::new(post.retry.ticket.clone()),
            is_withdrawn: AtomicBool::new(false),
            secrets: Mutex::default(),
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Whether the post is not failed any more, as far as is known.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Ordering::Relaxed)
    }

    pub(super) fn has_expired(&self) -> bool {
        self.deadline.has_passed()
    }

    /// The ticket as it was last stored.
    pub(super) fn latest_ticket(&self) -> Option<Ticket> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The timeout of a store operation under the lease. An expired lease is still checked after the process was
    /// suspended, because the store can then say that it is lost.
    pub(super) fn store_timeout(&self) -> Duration {
        self.deadline.remaining().max(LEAST_STORE_TIMEOUT)
    }

    async fn renew_lease(&self) -> Result<(), AttemptAborted> {
        let asked_at = ClockReading::now(&self.clock);
        match self.store.renew(&self.post.id, &self.lease).await? {
            LeaseWrite::Applied => {
                self.deadline.extend(asked_at, self.lease.lasts);
                Ok(())
            }
            // Nothing more is sent, but what was sent may be asked for. Nobody else can claim the post, so the lease goes
            // on here; in the store it expires.
            LeaseWrite::NotFailed => {
                self.is_withdrawn.store(true, Ordering::Relaxed);
                self.deadline.extend(asked_at, self.lease.lasts);
                Ok(())
            }
            LeaseWrite::Lost => Err(AttemptAborted::LeaseLost),
        }
    }

    /// Renews the lease. A store that does not respond counts as one that cannot be reached.
    async fn renew_in_time(&self) -> Result<(), AttemptAborted> {
        let renewed = tokio::time::timeout(self.store_timeout(), self.renew_lease()).await;
        renewed.unwrap_or_else(|_| Err(no_response("renew the claim").into()))
    }

    /// Renews the lease for as long as the attempt works; returns when it cannot be renewed.
    pub(super) async fn renew_until_lost(&self) -> AttemptAborted {
        loop {
            tokio::time::sleep(self.lease.lasts / 3).await;
            let mut renewed = self.renew_in_time().await;
            if matches!(renewed, Err(AttemptAborted::Store(_))) && self.has_expired() {
                // A suspended process finds the lease expired before it can read the response, so it asks once more.
                renewed = self.renew_in_time().await;
            }
            match renewed {
                Ok(()) => {}
                Err(AttemptAborted::Store(error)) if !self.has_expired() => {
                    log::warn!("post {}: failed to renew its claim, trying again: {error}", self.post.id);
                }
                Err(aborted) => return aborted,
            }
        }
    }

    async fn write_ticket(&self, ticket: Option<&Ticket>) -> Result<(), AttemptAborted> {
        match self.store.store_ticket(&self.post.id, &self.lease, ticket).await? {
            LeaseWrite::Applied => {
                *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket.cloned();
                Ok(())
            }
            LeaseWrite::NotFailed => {
                self.is_withdrawn.store(true, Ordering::Relaxed);
                // Once the post may be public, what it has become is still found out and recorded.
                let mut latest = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
                match (ticket, latest.as_ref()) {
                    (Some(ticket), Some(stored)) if stored.is_committed() => {
                        *latest = Some(ticket.clone());
                        Ok(())
                    }
                    _ => Err(AttemptAborted::NotFailed),
                }
            }
            LeaseWrite::Lost => Err(AttemptAborted::LeaseLost),
        }
    }
}

/// The lease expired while the store was asked to do this.
pub(super) fn no_response(action: &'static str) -> StoreError {
    StoreError::new(action, "the post store did not respond before the claim expired")
        .hint("check that the store is reachable from this host; the next pass finds posts that are already published")
}

#[async_trait]
impl PublishContext for LeasedAttempt {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn lease_check(&self) -> LeaseCheck {
        let deadline = Arc::clone(&self.deadline);
        Arc::new(move || !deadline.has_passed())
    }

    async fn ensure_lease(&self) -> Result<(), AttemptAborted> {
        // With less than half of the lease left, or after the machine has slept, the store must be asked.
        if self.deadline.remaining() < self.lease.lasts / 2 { self.renew_lease().await } else { Ok(()) }
    }

    async fn ensure_may_send(&self) -> Result<(), AttemptAborted> {
        self.ensure_lease().await?;
        if self.is_withdrawn() { Err(AttemptAborted::NotFailed) } else { Ok(()) }
    }

    async fn save_ticket(&self, ticket: &Ticket) -> Result<(), AttemptAborted> {
        self.write_ticket(Some(ticket)).await
    }

    async fn drop_ticket(&self) -> Result<(), AttemptAborted> {
        self.write_ticket(None).await
    }

    async fn is_recorded(&self, id: &str) -> Result<bool, AttemptAborted> {
        Ok(self.store.is_recorded(self.post.platform, id).await?)
    }

    fn add_secret(&self, secret: ScopedSecret) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(secret);
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn token_accepted(&self) {
        self.platform.probe.accept();
    }

    fn usage_exhausted(&self, detail: String) {
        self.platform.breaker.pause_platform(detail);
    }

    fn platform_awaited(&self) {
        self.listener.notice(&Event::Processing { post: &self.post });
    }

    fn bytes_sent(&self, bytes: u64, total: u64) {
        self.listener.notice(&Event::Sent { post: &self.post, bytes, of: total });
    }
}
