//! One attempt at one post: claim it, check the ticket, publish, record.
//!
//! From the claim to the record everything happens under the lease: it is renewed while the attempt works, checked
//! before every request, and whoever loses it sends nothing and writes nothing more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::context::{ActivePlatform, Event, RetryContext};
use super::lease::{ClockReading, LeasedAttempt, no_response};
use super::limiter::StartPermit;
use super::report::AttemptReport;
use crate::platform::{AttemptAborted, PublishContext, PublishError, TicketAge, TicketOutcome};
use crate::post::{
    AttemptEnd, AttemptStart, Category, ClaimedPost, Failure, Outcome, Post, PostId, Publication, Settlement, Ticket,
    settle,
};
use crate::store::{Found, Lease, LeaseWrite, StoreError, StoredPost};

/// How many tickets one attempt may ask for: one, and one more if it dies at once.
const MAX_TICKETS: usize = 2;

/// How often an attempt that waits for the gap checks whether its platform is skipped.
const BREAKER_CHECK: Duration = Duration::from_secs(1);

/// How long to wait before a write that the store did not confirm is tried again.
const WRITE_RETRY: Duration = Duration::from_millis(500);

/// Whether a post that is too old is published in spite of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    Observed,
    Ignored,
}

/// The result of an attempt.
#[derive(Debug)]
pub(super) enum AttemptResult {
    /// An attempt was made and recorded.
    Completed(Box<AttemptReport>, Option<Failure>),
    /// Another process has the post, or it has changed since it was read.
    NotClaimed,
    /// The post was claimed, but had changed since it was read so that the claim was released at once.
    ClaimReleased,
    /// The lease was lost. The process that holds it now finishes the post.
    LeaseLost,
    /// The store works, but refuses to write to this post, so that no attempt was made.
    ClaimRefused(PostId, StoreError),
    /// The store works, but refuses the outcome of this post's attempt. What was sent is found by the ticket in the next
    /// pass.
    OutcomeRefused(PostId, StoreError),
}

/// Claims a post as it was read and makes an attempt at it. With a permit its first new ticket is asked for at once.
pub(super) async fn execute(
    context: &RetryContext,
    platform: &Arc<ActivePlatform>,
    post: &Post,
    expiry: Expiry,
    permit: Option<StartPermit>,
) -> Result<AttemptResult, StoreError> {
    let lease = Lease { by: unique_holder(&context.host), lasts: context.config.claim };
    let start = AttemptStart::decide(post, context.clock.now(), &context.host);
    let asked_at = ClockReading::now(&context.clock);
    let claimed = match context.store.claim(post, &start, &lease).await {
        Err(refused) if refused.is_for_one_post() => return Ok(AttemptResult::ClaimRefused(post.id.clone(), refused)),
        claimed => claimed?,
    };
    let claimed = match claimed {
        None => {
            log::info!("post {}: not claimed, because it has changed since it was read", post.id);
            return Ok(AttemptResult::NotClaimed);
        }
        Some(StoredPost::Readable(claimed)) => match changed_since_read(post, &claimed) {
            None => *claimed,
            Some(change) => {
                log::info!("post {}: {change}; its claim is released", post.id);
                return release_claim(context, post, &lease, start).await;
            }
        },
        // It was changed between the read and the claim.
        Some(StoredPost::Malformed(malformed)) => {
            log::warn!("post {}: field `{}`: {}; its claim is released", post.id, malformed.field, malformed.problem);
            return release_claim(context, post, &lease, start).await;
        }
    };
    log::info!("post {}: attempt {} on {} starts", post.id, start.attempt, post.platform);
    context.listener.notice(&Event::Started { post: &claimed, attempt: start.attempt });
    let leased = LeasedAttempt::new(context, Arc::clone(platform), &claimed, lease.clone(), asked_at);
    let work = claimed_post(claimed, post, &lease, start, &context.host);
    let permit = Mutex::new(permit);
    let result = Attempt { context, platform, work, leased, expiry, permit }.run().await;
    if !matches!(result, Ok(AttemptResult::Completed(..))) {
        context.listener.notice(&Event::Left { post });
    }
    result
}

/// What was changed between the read and the claim so that the post is not to be sent, or not there.
fn changed_since_read(read: &Post, claimed: &Post) -> Option<&'static str> {
    if claimed.platform != read.platform {
        return Some("it is for another platform now");
    }
    let is_new = claimed.published_id.is_some() && claimed.published_id != read.published_id;
    is_new.then_some("it was recorded as published meanwhile")
}

/// Undoes a claim before anything was sent.
async fn release_claim(
    context: &RetryContext,
    post: &Post,
    lease: &Lease,
    start: AttemptStart,
) -> Result<AttemptResult, StoreError> {
    let work = claimed_post(post.clone(), post, lease, start, &context.host);
    let undone = settle(&work, &context.policy, AttemptEnd::Withdrawn, context.clock.now());
    match context.store.settle(post, lease, &undone).await {
        Ok(_) => Ok(AttemptResult::ClaimReleased),
        Err(refused) if refused.is_for_one_post() => Ok(AttemptResult::ClaimRefused(post.id.clone(), refused)),
        Err(failed) => Err(failed),
    }
}

fn claimed_post(claimed: Post, read: &Post, lease: &Lease, start: AttemptStart, host: &str) -> ClaimedPost {
    ClaimedPost {
        post: claimed,
        claim_by: lease.by.clone(),
        start,
        host: host.to_owned(),
        last_retried_before: read.retry.last_retried_at,
    }
}

/// A unique name for the holder of a claim.
fn unique_holder(host: &str) -> String {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    format!("{host}:{}:{}", std::process::id(), &nonce[..12])
}

/// An attempt at a claimed post.
struct Attempt<'a> {
    context: &'a RetryContext,
    platform: &'a ActivePlatform,
    work: ClaimedPost,
    leased: LeasedAttempt,
    expiry: Expiry,
    permit: Mutex<Option<StartPermit>>,
}

impl Attempt<'_> {
    /// Publishes while the lease is renewed, and records how that ended.
    async fn run(mut self) -> Result<AttemptResult, StoreError> {
        let end = tokio::select! {
            biased;
            () = self.context.shutdown.grace_period_over() => Err(AttemptAborted::ShuttingDown),
            aborted = self.leased.renew_until_lost() => Err(aborted),
            end = self.publish() => end,
        };
        let end = match end {
            Ok(AttemptEnd::Failed(_)) if self.leased.is_withdrawn() => self.withdrawn(),
            Ok(end) => end,
            Err(AttemptAborted::NotFailed) => self.withdrawn(),
            Err(AttemptAborted::ShuttingDown) => AttemptEnd::Released,
            Err(AttemptAborted::ResourceLimit(why)) => {
                log::info!("post {}: undone, because no more files and connections can be opened", self.work.post.id);
                self.context.shutdown.begin_at_resource_limit(&why);
                AttemptEnd::Released
            }
            Err(AttemptAborted::LeaseLost) => {
                log::warn!(
                    "post {}: the claim was lost; the next pass checks how far the attempt got",
                    self.work.post.id
                );
                return Ok(AttemptResult::LeaseLost);
            }
            // Nothing is sent after a write that the store has refused. What was sent before it may be public only under a
            // committed ticket.
            Err(AttemptAborted::Store(error)) if error.is_for_one_post() => {
                let is_committed = self.leased.latest_ticket().is_some_and(|ticket| ticket.is_committed());
                let category = if is_committed { Category::Ambiguous } else { Category::Unknown };
                let text = format!("{}; the store refuses to change the post", error.problem());
                AttemptEnd::Failed(Failure::new(category, text))
            }
            Err(AttemptAborted::Store(error)) => return Err(error.for_post(&self.work.post.id)),
        };
        self.work.post.retry.ticket = self.leased.latest_ticket();
        self.record(end).await
    }

    /// A person or the application has taken the post out of `failed`: the attempt is undone.
    fn withdrawn(&self) -> AttemptEnd {
        log::info!("post {}: it is not failed any more, so nothing more is sent for it", self.work.post.id);
        AttemptEnd::Released
    }

    async fn publish(&self) -> Result<AttemptEnd, AttemptAborted> {
        if self.work.start.exceeds_interruptions() {
            let text = format!(
                "the process died {} times during this attempt; the next attempt checks the ticket, if there is one",
                self.work.start.interruptions
            );
            return Ok(AttemptEnd::Failed(Failure::new(Category::Interrupted, text)));
        }
        match self.publish_with_ticket().await {
            Ok(end) => Ok(end),
            Err(PublishError::Failed(failure)) => Ok(AttemptEnd::Failed(failure)),
            Err(PublishError::Aborted(aborted)) => Err(aborted),
        }
    }

    /// Checks the stored ticket, if there is one, and continues with it or with a new one.
    async fn publish_with_ticket(&self) -> Result<AttemptEnd, PublishError> {
        let (post, publisher) = (&self.work.post, &self.platform.publisher);
        let mut stored = self.stored_ticket().await?;
        let mut created = 0;
        loop {
            let (ticket, age) = match stored.take() {
                Some(ticket) => (ticket, TicketAge::Stored),
                None if created == MAX_TICKETS => {
                    let text = format!("{}: the upload was lost twice in one attempt", post.platform.title());
                    return Err(Failure::new(Category::Network, text).into());
                }
                None => {
                    self.check_expiry()?;
                    if let Some(end) = self.wait_for_start().await {
                        return Ok(end);
                    }
                    created += 1;
                    let ticket = publisher.create_ticket(post, &self.leased).await?;
                    self.leased.save_ticket(&ticket).await?;
                    (ticket, TicketAge::Fresh)
                }
            };
            match publisher.resume_publish(post, ticket, age, &self.leased).await? {
                TicketOutcome::Published(publication) => return Ok(AttemptEnd::Posted(publication)),
                TicketOutcome::Dead => {
                    log::info!("post {}: its earlier upload has failed, starting a new one", post.id);
                    self.leased.drop_ticket().await?;
                }
            }
        }
    }

    /// The ticket of an earlier attempt. One that the application left becomes ours before anything is done with it.
    async fn stored_ticket(&self) -> Result<Option<Ticket>, AttemptAborted> {
        let post = &self.work.post;
        if let Some(ticket) = &post.retry.ticket {
            if self.is_for_another_post(ticket).await? {
                log::info!("post {}: it was edited since its upload began, a new one is made", post.id);
                self.leased.drop_ticket().await?;
                return Ok(None);
            }
            return Ok(Some(ticket.clone()));
        }
        let Some(upload) = &post.left_upload else { return Ok(None) };
        let failed_at = post.failed_at.or(post.updated_at).unwrap_or_default();
        let ticket = self.platform.publisher.adopt_upload(upload, failed_at, self.context.clock.now());
        self.leased.save_ticket(&ticket).await?;
        Ok(Some(ticket))
    }

    /// Whether text or file have changed since the ticket was made, and nothing can be public yet. Where that cannot be
    /// told, the ticket is looked up as ever.
    async fn is_for_another_post(&self, ticket: &Ticket) -> Result<bool, AttemptAborted> {
        if ticket.is_committed() || ticket.fingerprint.is_none() {
            return Ok(false);
        }
        match self.platform.publisher.fingerprint(&self.work.post).await {
            Ok(current) => Ok(ticket.was_made_for_another(&current)),
            // What cannot be published as it is now is not what the ticket was made for.
            Err(PublishError::Failed(failure)) => Ok(failure.category == Category::RejectedContent),
            Err(PublishError::Aborted(aborted)) => Err(aborted),
        }
    }

    fn check_expiry(&self) -> Result<(), Failure> {
        let config = &self.context.config;
        if self.expiry == Expiry::Ignored || !config.is_expired(self.work.post.failed_at, self.context.clock.now()) {
            return Ok(());
        }
        let limit = config.expire_limit();
        let text = format!("it failed more than {limit} ago and is not published any more (`POST_RETRY_EXPIRE`)");
        Err(Failure::new(Category::Expired, text))
    }

    /// Waits for the gap before a new ticket is requested. If the platform is skipped by now, or the process
    /// is stopped, the attempt ends here, and nothing is sent.
    async fn wait_for_start(&self) -> Option<AttemptEnd> {
        let shutdown = &self.context.shutdown;
        loop {
            if self.platform.breaker.is_open() || shutdown.is_stopping() {
                return Some(AttemptEnd::Withdrawn);
            }
            let reserved = self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
            let delay = match reserved.map_or_else(|| self.platform.limiter.try_start(), Ok) {
                Ok(permit) => {
                    permit.use_up();
                    return None;
                }
                Err(delay) => delay,
            };
            tokio::select! {
                () = tokio::time::sleep(delay.min(BREAKER_CHECK)) => {}
                () = shutdown.stopping() => {}
            }
        }
    }

    /// Writes the outcome under the lease. A write that the store did not confirm is tried again while the lease lasts.
    async fn record(&self, end: AttemptEnd) -> Result<AttemptResult, StoreError> {
        let (context, work) = (self.context, &self.work);
        let settlement = settle(work, &context.policy, end.clone(), context.clock.now());
        let (mut was_unconfirmed, mut is_last_try) = (false, false);
        let written = loop {
            let settling = context.store.settle(&work.post, self.leased.lease(), &settlement);
            let settled = tokio::time::timeout(self.leased.store_timeout(), settling).await;
            match settled.unwrap_or_else(|_| Err(no_response("record the outcome"))) {
                Ok(written) => break written,
                Err(error) if error.is_for_one_post() => {
                    let id = work.post.id.clone();
                    return Ok(AttemptResult::OutcomeRefused(id, self.unrecorded(&end, error)));
                }
                Err(error) if is_last_try => return Err(self.unrecorded(&end, error)),
                Err(error) => {
                    log::warn!("post {}: failed to record the outcome, trying again: {error}", work.post.id);
                    was_unconfirmed = true;
                    // Try once more: a suspended process finds the lease expired before it can read the response.
                    is_last_try = self.leased.has_expired();
                    tokio::time::sleep(WRITE_RETRY).await;
                }
            }
        };
        let is_written = match written {
            LeaseWrite::Applied => true,
            LeaseWrite::Lost if was_unconfirmed => {
                self.was_recorded(&settlement).await.map_err(|error| self.unrecorded(&end, error))?
            }
            LeaseWrite::Lost | LeaseWrite::NotFailed => false,
        };
        if !is_written {
            if let AttemptEnd::Posted(publication) = &end {
                log::warn!("{}", self.published_unrecorded(publication));
            }
            return Ok(AttemptResult::LeaseLost);
        }
        let failure = match end {
            AttemptEnd::Failed(failure) => Some(failure),
            AttemptEnd::Posted(_) | AttemptEnd::Released | AttemptEnd::Withdrawn => None,
        };
        let report = self.report(&settlement);
        log_outcome(work, &report);
        context.listener.notice(&Event::Ended { post: &work.post, report: &report });
        Ok(AttemptResult::Completed(Box::new(report), failure))
    }

    /// Whether an unconfirmed write took effect after all: the claim is gone, and the history ends as it should.
    async fn was_recorded(&self, settlement: &Settlement) -> Result<bool, StoreError> {
        let finding = self.context.store.find_exactly(&self.work.post.id);
        let found = tokio::time::timeout(self.leased.store_timeout(), finding).await;
        Ok(match found.unwrap_or_else(|_| Err(no_response("read the outcome")))? {
            Found::NotFailed(_) => settlement.outcome == Outcome::Posted,
            Found::Failed(stored) => match stored.iter().find(|stored| *stored.id() == self.work.post.id) {
                // The post is failed on another platform only.
                None => settlement.outcome == Outcome::Posted,
                Some(stored) => stored.readable().is_some_and(|post| {
                    let is_last = post.retry.history.last() == settlement.entry.as_ref();
                    post.retry.claim.is_none() && (settlement.entry.is_none() || is_last)
                }),
            },
            Found::Nothing => false,
        })
    }

    fn report(&self, settlement: &Settlement) -> AttemptReport {
        let (work, policy) = (&self.work, &self.context.policy);
        let after = settlement.applied_to(work.post.clone());
        let publication = settlement.publication.clone().unwrap_or_default();
        let is_withdrawn = match settlement.outcome {
            Outcome::Withdrawn => true,
            Outcome::Interrupted => self.leased.is_withdrawn(),
            _ => false,
        };
        // What an undone attempt leaves in the post is of an earlier attempt.
        let (category, error) = match settlement.outcome {
            _ if is_withdrawn => {
                (None, Some("it is not failed any more, so nothing more was sent; it used no retry".to_owned()))
            }
            Outcome::Interrupted => (None, Some("stopped before it was finished; it used no retry".to_owned())),
            _ => (settlement.category, settlement.error.clone()),
        };
        AttemptReport {
            id: work.post.id.clone(),
            platform: work.post.platform,
            title: work.post.content.title.clone(),
            outcome: settlement.outcome,
            attempt: work.start.attempt,
            after: work.post.retry.category,
            category,
            error,
            next_retry_at: match settlement.outcome {
                Outcome::Posted => None,
                _ if is_withdrawn => None,
                _ => policy.next_retry_at(&after, settlement.at),
            },
            not_before: settlement.not_before,
            url: publication.url,
            warning: publication.warning,
        }
    }

    /// The store cannot be reached. The log names what was published, because nothing else does before the next pass.
    fn unrecorded(&self, end: &AttemptEnd, error: StoreError) -> StoreError {
        if let AttemptEnd::Posted(publication) = end {
            log::error!("{}", self.published_unrecorded(publication));
        }
        error.for_post(&self.work.post.id)
    }

    fn published_unrecorded(&self, publication: &Publication) -> String {
        let place = publication.url.as_deref().or(publication.id.as_deref()).unwrap_or("no link");
        let post = &self.work.post;
        format!(
            "post {} was published on {} ({place}), but this could not be recorded; the next pass finds it by its \
             ticket",
            post.id,
            post.platform.title()
        )
    }
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
            let interruptions = match work.start.interruptions {
                0 => String::new(),
                1 => ", 1 interruption".to_owned(),
                count => format!(", {count} interruptions"),
            };
            log::info!(
                "post {id}: attempt {attempt} on {platform} {}, {}{interruptions}: {error}",
                report.outcome,
                report.category.map_or("", Category::as_str),
            );
        }
    }
}
