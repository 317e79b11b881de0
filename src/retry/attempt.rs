//! One attempt at one post: look the ticket up, publish, record.
//!
//! From the claim to the record, everything happens under the claim: it is renewed while the attempt works, asked for
//! before every request, and whoever loses it sends nothing and writes nothing more.

use std::sync::Arc;
use std::time::Duration;

use super::gate::Gate;
use super::report::AttemptReport;
use super::running::{Moment, Running};
use super::vault::cause_of;
use super::{Event, Workshop};
use crate::platform::{AttemptAborted, PublishContext, PublishError, Publisher, TicketAge, TicketOutcome};
use crate::post::{
    AttemptEnd, AttemptStart, Category, ClaimedPost, Failure, Outcome, Post, Publication, Settlement, settle,
};
use crate::store::{Found, Lease, LeaseWrite, StoreError};

/// How many tickets one attempt may ask for: one, and one more where it dies at once.
const TICKETS: usize = 2;

/// How often one that waits for the gap looks whether its platform has been given up.
const GATE_LOOK: Duration = Duration::from_secs(1);

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
            None => {
                log::info!("post {}: not taken, since it has changed since it was read", post.id);
                return Ok(Worked::Taken);
            }
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
            () = self.shutdown.releasing() => Err(AttemptAborted::Stopping),
            halt = running.keep_claim() => Err(halt),
            end = publishing => end,
        };
        let end = match end {
            Ok(end) => end,
            Err(AttemptAborted::Stopping) => AttemptEnd::Released,
            Err(AttemptAborted::ClaimLost) => {
                log::warn!("post {}: the claim was lost; the next pass finds out how far it came", work.post.id);
                return Ok(Worked::Lost);
            }
            Err(AttemptAborted::Store(error)) => return Err(cause_of(error.as_ref()).for_post(&work.post.id)),
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
    ) -> Result<AttemptEnd, AttemptAborted> {
        if work.start.exceeds_interruptions() {
            let text = format!(
                "the process died {} times in the middle of this attempt; the ticket, if any, is looked up next time",
                work.start.interruptions
            );
            return Ok(AttemptEnd::Failed(Failure::new(Category::Interrupted, text)));
        }
        match self.publish_by_ticket(work, publisher, gate, expiry, running).await {
            Ok(end) => Ok(end),
            Err(PublishError::Failed(failure)) => Ok(AttemptEnd::Failed(failure)),
            Err(PublishError::Aborted(halt)) => Err(halt),
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
            running.save_ticket(ticket).await?;
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
                    let ticket = publisher.create_ticket(post, running).await?;
                    running.save_ticket(&ticket).await?;
                    (ticket, TicketAge::Fresh)
                }
            };
            match publisher.resume_publish(post, ticket, age, running).await? {
                TicketOutcome::Published(publication) => return Ok(AttemptEnd::Posted(publication)),
                TicketOutcome::Dead => {
                    log::info!("post {}: its earlier upload came to nothing, a new one is made", post.id);
                    running.drop_ticket().await?;
                }
            }
        }
    }

    fn check_expiry(&self, post: &Post, expiry: Expiry) -> Result<(), Failure> {
        if expiry == Expiry::Ignored || !self.pace.is_too_old(post.failed_at, self.clock.now()) {
            return Ok(());
        }
        let limit = humantime::format_duration(self.pace.expire.unwrap_or_default());
        let text = format!("it failed longer than {limit} ago and is not worth publishing any more");
        Err(Failure::new(Category::Expired, text))
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
        let (mut was_unconfirmed, mut is_last_try) = (false, false);
        let hold = loop {
            let settling = self.store.settle(&work.post, lease, &settlement);
            let settled = tokio::time::timeout(running.patience(), settling).await;
            match settled.unwrap_or_else(|_| Err(unanswered("record the outcome"))) {
                Ok(hold) => break hold,
                Err(error) if is_last_try => return Err(unrecorded(work, &end, error)),
                Err(error) => {
                    log::warn!("post {}: its outcome is not recorded yet, trying again: {error}", work.post.id);
                    was_unconfirmed = true;
                    // Once more all the same: a process that was stopped finds the time up before it can read the answer.
                    is_last_try = !(running.lease_check())();
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        };
        if hold == LeaseWrite::Lost && !(was_unconfirmed && self.was_recorded(work, &settlement).await?) {
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
pub(super) fn unanswered(action: &'static str) -> StoreError {
    StoreError::new(action, "the post store did not answer for as long as the claim lasted")
        .hint("check that the store is reachable from this host; what was published is found by the next pass")
}

/// The store stayed away. What was published is told, since nothing else tells it until the next pass.
fn unrecorded(work: &ClaimedPost, end: &AttemptEnd, error: StoreError) -> StoreError {
    if let AttemptEnd::Posted(publication) = end {
        log::error!("{}", published_unrecorded(work, publication));
    }
    error.for_post(&work.post.id)
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
