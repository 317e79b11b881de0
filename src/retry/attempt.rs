//! One attempt at one post: look the ticket up, publish, record.
//!
//! From the claim to the record, everything happens under the claim: it is renewed while the attempt works, asked for
//! before every request, and whoever loses it sends nothing and writes nothing more.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::clock::StoreClock;
use super::gate::Gate;
use super::report::AttemptReport;
use super::vault::away;
use super::{Event, Listener, Workshop};
use crate::platform::{Attempt, Halt, HeldCheck, PublishError, Publisher, Pursued, TicketAge};
use crate::post::{
    AttemptEnd, AttemptStart, Category, ClaimedPost, Failure, Outcome, Post, Publication, Settlement, Ticket, settle,
};
use crate::store::{Found, Hold, Lease, PostStore, StoreError};

/// How many tickets one attempt may ask for: one, and one more where it dies at once.
const TICKETS: usize = 2;

/// How often one that waits for the gap looks whether its platform has been given up.
const GATE_LOOK: Duration = Duration::from_secs(1);

/// How long an outcome may wait for the store even where the claim has run out.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// How long to wait before a write that the store did not confirm is tried again.
const WRITE_AGAIN: Duration = Duration::from_millis(500);

/// Whether a post that is too old is published all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    Observed,
    Ignored,
}

/// What became of a try to work on a post.
#[derive(Debug)]
pub(super) enum Worked {
    /// An attempt was made and recorded.
    Done(Box<AttemptReport>, Option<Failure>),
    /// Another process has the post, or had it and took it out of reach.
    Taken,
    /// The claim was lost on the way; whoever has it now settles the post.
    Lost,
}

impl Workshop {
    /// Claims a post as it was read and makes an attempt at it.
    pub(super) async fn work_on(
        &self,
        post: &Post,
        publisher: &Arc<dyn Publisher>,
        gate: &Arc<Gate>,
        expiry: Expiry,
    ) -> Result<Worked, StoreError> {
        let lease = Lease { by: self.holder(), lasts: self.pace.claim };
        let start = AttemptStart::decide(post, self.clock.now(), &self.host);
        let asked_at = Moment::now(&self.clock);
        let claimed = match self.store.claim(post, &start, &lease).await? {
            None => return Ok(Worked::Taken),
            Some(Ok(claimed)) => claimed,
            // It was changed between the reading and the claim. The claim dies by itself.
            Some(Err(_)) => return Ok(Worked::Lost),
        };
        log::info!("post {}: attempt {} on {} begins", post.id, start.attempt, post.platform);
        self.listener.notice(&Event::Started { post: &claimed, attempt: start.attempt });
        let mut work = ClaimedPost {
            post: claimed,
            claim_by: lease.by.clone(),
            start,
            host: self.host.clone(),
            last_retried_before: post.retry.last_retried_at,
        };
        let running = Running::new(self, &work, lease.clone(), asked_at, Arc::clone(gate));
        let publishing = self.publish(&work, publisher.as_ref(), gate, expiry, &running);
        let end = tokio::select! {
            biased;
            () = self.shutdown.releasing() => Err(Halt::Stopping),
            halt = running.keep_claim() => Err(halt),
            end = publishing => end,
        };
        let end = match end {
            Ok(end) => end,
            Err(Halt::Stopping) => AttemptEnd::Released,
            Err(Halt::ClaimLost) => {
                log::warn!("post {}: the claim was lost; the next pass finds out how far it came", work.post.id);
                return Ok(Worked::Lost);
            }
            Err(Halt::Store(error)) => {
                let text = format!("post {}: the post store went away in the middle of its attempt", work.post.id);
                return Err(StoreError::new("go on with a post", format!("{text}: {error}")));
            }
        };
        work.post.retry.ticket = running.latest_ticket();
        self.record(&work, &lease, &running, end).await
    }

    /// A name for the holder of a claim that no other attempt has, here or elsewhere.
    fn holder(&self) -> String {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        format!("{}:{}:{}", self.host, std::process::id(), &nonce[..12])
    }

    async fn publish(
        &self,
        work: &ClaimedPost,
        publisher: &dyn Publisher,
        gate: &Gate,
        expiry: Expiry,
        running: &Running,
    ) -> Result<AttemptEnd, Halt> {
        if work.start.is_worn_out() {
            let text = format!(
                "the process died {} times in the middle of this attempt; the ticket, if any, is looked up next time",
                work.start.interruptions
            );
            return Ok(AttemptEnd::Failed(Failure::new(Category::Interrupted, text)));
        }
        match self.publish_by_ticket(work, publisher, gate, expiry, running).await {
            Ok(end) => Ok(end),
            Err(PublishError::Failed(failure)) => Ok(AttemptEnd::Failed(failure)),
            Err(PublishError::Halted(halt)) => Err(halt),
        }
    }

    async fn publish_by_ticket(
        &self,
        work: &ClaimedPost,
        publisher: &dyn Publisher,
        gate: &Gate,
        expiry: Expiry,
        running: &Running,
    ) -> Result<AttemptEnd, PublishError> {
        let post = &work.post;
        let mut stored = post.retry.ticket.clone();
        if let Some(ticket) = stored.as_ref().filter(|ticket| ticket.left_behind) {
            running.keep(ticket).await?;
        }
        let mut opened = 0;
        loop {
            let (ticket, age) = match stored.take() {
                Some(ticket) => (ticket, TicketAge::Stored),
                None if opened == TICKETS => {
                    let text = format!("{} lost the upload twice in one attempt", post.platform.title());
                    return Err(Failure::new(Category::Network, text).into());
                }
                None => {
                    self.check_expiry(post, expiry)?;
                    if let Some(end) = self.await_start(gate).await {
                        return Ok(end);
                    }
                    opened += 1;
                    let ticket = publisher.open(post, running).await?;
                    running.keep(&ticket).await?;
                    (ticket, TicketAge::Fresh)
                }
            };
            match publisher.pursue(post, ticket, age, running).await? {
                Pursued::Published(publication) => return Ok(AttemptEnd::Posted(publication)),
                Pursued::Dead => {
                    log::info!("post {}: its earlier upload came to nothing, a new one is made", post.id);
                    running.drop_ticket().await?;
                }
            }
        }
    }

    fn check_expiry(&self, post: &Post, expiry: Expiry) -> Result<(), Failure> {
        let limit = match expiry {
            Expiry::Observed => self.pace.expire.and_then(|limit| TimeDelta::from_std(limit).ok()),
            Expiry::Ignored => None,
        };
        let age = post.failed_at.map(|failed_at| self.clock.now() - failed_at);
        match limit.zip(age) {
            Some((limit, age)) if age > limit => {
                let limit = humantime::format_duration(self.pace.expire.unwrap_or_default());
                let text = format!("it failed longer than {limit} ago and is not worth publishing any more");
                Err(Failure::new(Category::Expired, text))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the gap before a new ticket is asked for. Where the platform has been given up meanwhile, or the
    /// process is told to stop, the attempt ends here, with nothing sent.
    async fn await_start(&self, gate: &Gate) -> Option<AttemptEnd> {
        loop {
            if gate.closed().is_some() || self.shutdown.is_stopping() {
                return Some(AttemptEnd::Withdrawn);
            }
            match gate.start() {
                Ok(()) => return None,
                Err(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait.min(GATE_LOOK)) => {}
                        () = self.shutdown.stopping() => {}
                    }
                }
            }
        }
    }

    /// Writes the outcome under the claim. A write that the store did not confirm is tried again while the claim lasts.
    async fn record(
        &self,
        work: &ClaimedPost,
        lease: &Lease,
        running: &Running,
        end: AttemptEnd,
    ) -> Result<Worked, StoreError> {
        let settlement = settle(work, &self.policy, end.clone(), self.clock.now());
        let mut was_unconfirmed = false;
        let hold = loop {
            let settling = self.store.settle(&work.post, lease, &settlement);
            let settled = match tokio::time::timeout(running.held_until.left().max(LEAST_WAIT), settling).await {
                Ok(settled) => settled,
                Err(_) => Err(unanswered("record the outcome of a post")),
            };
            match settled {
                Ok(hold) => break hold,
                Err(error) if !(running.held_check())() => {
                    return Err(unrecorded(work, &end, error));
                }
                Err(error) => {
                    log::warn!("post {}: its outcome is not recorded yet, trying again: {error}", work.post.id);
                    was_unconfirmed = true;
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        };
        if hold == Hold::Lost && !(was_unconfirmed && self.was_recorded(work, &settlement).await?) {
            if let AttemptEnd::Posted(publication) = &end {
                log::warn!("{}", published_unrecorded(work, publication));
            }
            return Ok(Worked::Lost);
        }
        let failure = match end {
            AttemptEnd::Failed(failure) => Some(failure),
            AttemptEnd::Posted(_) | AttemptEnd::Released | AttemptEnd::Withdrawn => None,
        };
        let report = self.report(work, &settlement);
        log_outcome(work, &report);
        self.listener.notice(&Event::Ended { post: &work.post, report: &report });
        Ok(Worked::Done(Box::new(report), failure))
    }

    /// Whether an unconfirmed write took effect after all: the claim is gone, and the history ends as it should.
    async fn was_recorded(&self, work: &ClaimedPost, settlement: &Settlement) -> Result<bool, StoreError> {
        Ok(match self.store.find(work.post.id.as_str()).await? {
            Found::NotFailed(_) => settlement.outcome == Outcome::Posted,
            Found::Failed(post) => post.is_ok_and(|post| {
                let is_last = post.retry.history.last() == settlement.entry.as_ref();
                post.retry.claim.is_none() && (settlement.entry.is_none() || is_last)
            }),
            Found::Nothing => false,
        })
    }

    fn report(&self, work: &ClaimedPost, settlement: &Settlement) -> AttemptReport {
        let after = settlement.applied_to(work.post.clone());
        let publication = settlement.publication.clone().unwrap_or_default();
        AttemptReport {
            id: work.post.id.clone(),
            platform: work.post.platform,
            title: work.post.content.title.clone(),
            outcome: settlement.outcome,
            attempt: work.start.attempt,
            after: work.post.retry.category,
            category: settlement.category,
            error: settlement.error.clone(),
            next_retry_at: match settlement.outcome {
                Outcome::Posted => None,
                _ => self.policy.next_retry_at(&after, settlement.at),
            },
            not_before: settlement.not_before,
            url: publication.url,
            warning: publication.warning,
        }
    }
}

/// The claim ran out while the store was asked to do this.
fn unanswered(action: &'static str) -> StoreError {
    StoreError::new(action, "the post store did not answer for as long as the claim lasted")
        .hint("check that the store is reachable from this host; what was published is found by the next pass")
}

/// The store stayed away. What was published is told, since nothing else tells it until the next pass.
fn unrecorded(work: &ClaimedPost, end: &AttemptEnd, error: StoreError) -> StoreError {
    if let AttemptEnd::Posted(publication) = end {
        log::error!("{}", published_unrecorded(work, publication));
    }
    error
}

fn published_unrecorded(work: &ClaimedPost, publication: &Publication) -> String {
    let place = publication.url.as_deref().or(publication.id.as_deref()).unwrap_or("without a link");
    format!(
        "post {} was published on {} ({place}), but that could not be recorded; the next pass finds it by its ticket",
        work.post.id,
        work.post.platform.title()
    )
}

fn log_outcome(work: &ClaimedPost, report: &AttemptReport) {
    let (id, platform, attempt) = (&report.id, report.platform, report.attempt);
    let error = report.error.as_deref().unwrap_or_default();
    match report.outcome {
        Outcome::Posted => {
            log::info!("post {id}: published on {platform} at attempt {attempt}");
            if let Some(warning) = &report.warning {
                log::warn!("post {id}: {warning}");
            }
        }
        Outcome::Interrupted | Outcome::Withdrawn => log::info!("post {id}: attempt {attempt} on {platform} undone"),
        Outcome::Failed | Outcome::PermanentlyFailed | Outcome::Deferred => {
            let interruptions = work.start.interruptions;
            log::info!(
                "post {id}: attempt {attempt} on {platform} {}, {}, {interruptions} interruptions: {error}",
                report.outcome,
                report.category.map_or("", Category::as_str),
            );
        }
    }
}

/// A moment by both of this machine's clocks: the steady one stands still while the machine sleeps, the other one can
/// be set.
#[derive(Debug, Clone, Copy)]
struct Moment {
    steady: Instant,
    wall: DateTime<Utc>,
}

impl Moment {
    fn now(clock: &StoreClock) -> Self {
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
struct Running {
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
    fn new(workshop: &Workshop, work: &ClaimedPost, lease: Lease, claimed_at: Moment, gate: Arc<Gate>) -> Self {
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
    fn latest_ticket(&self) -> Option<Ticket> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn renew(&self) -> Result<(), Halt> {
        let asked_at = Moment::now(&self.clock);
        match self.store.renew(&self.post.id, &self.lease).await.map_err(away)? {
            Hold::Held => {
                self.held_until.renewed(asked_at, self.lease.lasts);
                Ok(())
            }
            Hold::Lost => Err(Halt::ClaimLost),
        }
    }

    /// Renews the claim for as long as the attempt works; returns when it cannot be kept.
    async fn keep_claim(&self) -> Halt {
        loop {
            tokio::time::sleep(self.lease.lasts / 3).await;
            // A store that does not answer at all is as good as one that is away.
            let renewed = match tokio::time::timeout(self.held_until.left(), self.renew()).await {
                Ok(renewed) => renewed,
                Err(_) => Err(away(unanswered("renew the claim on a post"))),
            };
            match renewed {
                Ok(()) => {}
                Err(Halt::Store(error)) => {
                    if self.held_until.left().is_zero() {
                        return Halt::Store(error);
                    }
                    log::warn!("post {}: its claim could not be renewed, trying again: {error}", self.post.id);
                }
                Err(halt) => return halt,
            }
        }
    }

    async fn write_ticket(&self, ticket: Option<&Ticket>) -> Result<(), Halt> {
        match self.store.store_ticket(&self.post.id, &self.lease, ticket).await.map_err(away)? {
            Hold::Held => {
                *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket.cloned();
                Ok(())
            }
            Hold::Lost => Err(Halt::ClaimLost),
        }
    }

    /// Forgets a ticket that is dead.
    async fn drop_ticket(&self) -> Result<(), Halt> {
        self.write_ticket(None).await
    }
}

#[async_trait]
impl Attempt for Running {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn held_check(&self) -> HeldCheck {
        let held_until = Arc::clone(&self.held_until);
        Arc::new(move || !held_until.left().is_zero())
    }

    async fn hold(&self) -> Result<(), Halt> {
        // With less than half of it left, or after a sleep of the machine, only the store knows.
        if self.held_until.left() < self.lease.lasts / 2 { self.renew().await } else { Ok(()) }
    }

    async fn keep(&self, ticket: &Ticket) -> Result<(), Halt> {
        self.write_ticket(Some(ticket)).await
    }

    async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn signed_in(&self) {
        self.gate.sign_in_taken();
    }

    fn sent(&self, bytes: u64, of: u64) {
        self.listener.notice(&Event::Sent { post: &self.post, bytes, of });
    }
}
