//! An attempt while it runs: the claim that it holds, for how long, and the ticket that it has stored last.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::attempt::unanswered;
use super::clock::StoreClock;
use super::gate::Gate;
use super::vault::away;
use super::{Event, Listener, Workshop};
use crate::platform::{AttemptAborted, LeaseCheck, PublishContext};
use crate::post::{ClaimedPost, Post, Ticket};
use crate::store::{Lease, LeaseWrite, PostStore};

/// How long the store may take even where the claim has run out.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// A moment by both of this machine's clocks: the steady one stands still while the machine sleeps, the other one can
/// be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    steady: Instant,
    wall: DateTime<Utc>,
}

impl Moment {
    pub(super) fn now(clock: &StoreClock) -> Self {
        Self { steady: Instant::now(), wall: clock.now() }
    }
}

/// Until when the claim stands as far as is known: counted from before the request that renewed it, so that the
/// store's end of it is never earlier.
#[derive(Debug)]
struct HeldUntil {
    origin: Instant,
    steady_ms: AtomicU64,
    wall_ms: AtomicI64,
    clock: StoreClock,
}

impl HeldUntil {
    fn new(claimed_at: Moment, lasts: Duration, clock: StoreClock) -> Self {
        let (steady_ms, wall_ms) = (AtomicU64::new(0), AtomicI64::new(0));
        let held_until = Self { origin: claimed_at.steady, steady_ms, wall_ms, clock };
        held_until.renewed(claimed_at, lasts);
        held_until
    }

    fn renewed(&self, asked_at: Moment, lasts: Duration) {
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let steady = u64::try_from(asked_at.steady.saturating_duration_since(self.origin).as_millis());
        self.steady_ms.store(steady.unwrap_or(0).saturating_add(lasts_ms), Ordering::Relaxed);
        let wall = asked_at.wall.timestamp_millis().saturating_add_unsigned(lasts_ms);
        self.wall_ms.store(wall, Ordering::Relaxed);
    }

    /// How long the claim still stands, by the clock that says less.
    fn left(&self) -> Duration {
        let gone = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let by_steady = self.steady_ms.load(Ordering::Relaxed).saturating_sub(gone);
        let by_wall = self.wall_ms.load(Ordering::Relaxed).saturating_sub(self.clock.now().timestamp_millis());
        Duration::from_millis(by_steady.min(u64::try_from(by_wall).unwrap_or(0)))
    }
}

/// The attempt as its publisher sees it.
#[derive(Debug)]
pub(super) struct Running {
    store: Arc<dyn PostStore>,
    post: Post,
    lease: Lease,
    clock: StoreClock,
    listener: Arc<dyn Listener>,
    held_until: Arc<HeldUntil>,
    gate: Arc<Gate>,
    ticket: Mutex<Option<Ticket>>,
}

impl Running {
    pub(super) fn new(
        workshop: &Workshop,
        work: &ClaimedPost,
        lease: Lease,
        claimed_at: Moment,
        gate: Arc<Gate>,
    ) -> Self {
        let held_until = HeldUntil::new(claimed_at, lease.lasts, workshop.clock);
        Self {
            store: Arc::clone(&workshop.store),
            post: work.post.clone(),
            lease,
            clock: workshop.clock,
            listener: Arc::clone(&workshop.listener),
            held_until: Arc::new(held_until),
            gate,
            ticket: Mutex::new(work.post.retry.ticket.clone()),
        }
    }

    /// The ticket as it was last stored.
    pub(super) fn latest_ticket(&self) -> Option<Ticket> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn renew(&self) -> Result<(), AttemptAborted> {
        let asked_at = Moment::now(&self.clock);
        match self.store.renew(&self.post.id, &self.lease).await.map_err(away)? {
            LeaseWrite::Applied => {
                self.held_until.renewed(asked_at, self.lease.lasts);
                Ok(())
            }
            LeaseWrite::Lost => Err(AttemptAborted::ClaimLost),
        }
    }

    /// How long the store may take for what is asked of it under the claim. A claim that has run out while the process
    /// was stopped is asked for all the same: that it is lost is an answer too.
    pub(super) fn patience(&self) -> Duration {
        self.held_until.left().max(LEAST_PATIENCE)
    }

    /// Renews the claim. A store that does not answer at all is as good as one that is away.
    async fn renew_in_time(&self) -> Result<(), AttemptAborted> {
        let renewed = tokio::time::timeout(self.patience(), self.renew()).await;
        renewed.unwrap_or_else(|_| Err(away(unanswered("renew the claim"))))
    }

    /// Renews the claim for as long as the attempt works; returns when it cannot be kept.
    pub(super) async fn keep_claim(&self) -> AttemptAborted {
        loop {
            tokio::time::sleep(self.lease.lasts / 3).await;
            let mut renewed = self.renew_in_time().await;
            if matches!(renewed, Err(AttemptAborted::Store(_))) && self.held_until.left().is_zero() {
                // A process that was stopped finds the time up before it can read the answer, so it asks once more.
                renewed = self.renew_in_time().await;
            }
            match renewed {
                Ok(()) => {}
                Err(AttemptAborted::Store(error)) if !self.held_until.left().is_zero() => {
                    log::warn!("post {}: its claim could not be renewed, trying again: {error}", self.post.id);
                }
                Err(halt) => return halt,
            }
        }
    }

    async fn write_ticket(&self, ticket: Option<&Ticket>) -> Result<(), AttemptAborted> {
        match self.store.store_ticket(&self.post.id, &self.lease, ticket).await.map_err(away)? {
            LeaseWrite::Applied => {
                *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket.cloned();
                Ok(())
            }
            LeaseWrite::Lost => Err(AttemptAborted::ClaimLost),
        }
    }

    /// Forgets a ticket that is dead.
    pub(super) async fn drop_ticket(&self) -> Result<(), AttemptAborted> {
        self.write_ticket(None).await
    }
}

#[async_trait]
impl PublishContext for Running {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn lease_check(&self) -> LeaseCheck {
        let held_until = Arc::clone(&self.held_until);
        Arc::new(move || !held_until.left().is_zero())
    }

    async fn ensure_lease(&self) -> Result<(), AttemptAborted> {
        // With less than half of it left, or after a sleep of the machine, only the store knows.
        if self.held_until.left() < self.lease.lasts / 2 { self.renew().await } else { Ok(()) }
    }

    async fn save_ticket(&self, ticket: &Ticket) -> Result<(), AttemptAborted> {
        self.write_ticket(Some(ticket)).await
    }

    async fn is_recorded(&self, id: &str) -> Result<bool, AttemptAborted> {
        self.store.is_recorded(self.post.platform, id).await.map_err(away)
    }

    async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn token_accepted(&self) {
        self.gate.sign_in_taken();
    }

    fn sent(&self, bytes: u64, of: u64) {
        self.listener.notice(&Event::Sent { post: &self.post, bytes, of });
    }
}
