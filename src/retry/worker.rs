//! The posts of one platform within a pass. They are read page by page, started one after another within the limits,
//! and counted by their outcome.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{JoinError, JoinSet};

use super::Records;
use super::attempt::{AttemptResult, Expiry, execute};
use super::breaker::StopReason;
use super::contention::Contention;
use super::context::{ActivePlatform, Event, RetryContext, StartDelay};
use super::limiter::{PlatformPause, StartPermit};
use super::next_step::{NextStep, Readiness, next_step};
use super::pass_limits::PassLimits;
use super::report::{
    AttemptReport, FoundPublished, GivenUp, MalformedPost, PlatformReport, already_published, take_readable,
};
use super::seen_posts::SeenPosts;
use crate::platform::CredentialExpiry;
use crate::post::{
    AttemptCounts, Category, Eligibility, Failure, Outcome, Platform, Post, PostId, Totals, expires_soon,
};
use crate::store::{Backlog, DueQuery, LeaseWrite, Pages, Scope, StoreError, StoredPost};

/// How many posts are read at a time if each is worked on.
const PAGE: u32 = 64;

/// How many posts are read at a time if few of them are worked on: they are only counted or reported, or other processes
/// claim most of them. A query for each few would cost more than a few megabytes of memory.
pub(super) const LARGE_PAGE: u32 = 1_000;

/// How many exhausted posts are read at a time: all platforms have such a page in memory together.
const EXHAUSTED_PAGE: u32 = 500;

/// How many of them are marked with one request.
const MARKED_AT_ONCE: usize = 100;

/// How often a worker that waits for the gap checks whether the limit of the pass is used up.
const LIMIT_CHECK: Duration = Duration::from_secs(1);

/// What a worker looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// Whatever there is to do.
    Backlog,
    /// Nothing: it is known that there is nothing to do.
    Nothing,
}

/// What one worker has done.
#[derive(Debug)]
pub(super) struct WorkerReport {
    pub(super) platform: PlatformReport,
    pub(super) posts: Records<AttemptReport>,
    pub(super) attempts: AttemptCounts,
    pub(super) malformed: Records<MalformedPost>,
    /// How many posts the store refused to write to.
    pub(super) refused: u64,
    pub(super) found_published: Records<FoundPublished>,
}

/// The posts of one platform within a pass.
pub(super) struct PlatformWorker {
    context: Arc<RetryContext>,
    platform: Platform,
    limits: Arc<PassLimits>,
    in_flight: JoinSet<Result<AttemptResult, StoreError>>,
    totals: Totals,
    posts: Records<AttemptReport>,
    attempts: AttemptCounts,
    deferred: Deferred,
    malformed: Records<MalformedPost>,
    refused: u64,
    /// Posts that are recorded as published.
    found_published: Records<FoundPublished>,
    seen: SeenPosts,
    contention: Contention,
}

/// The posts that were deferred.
#[derive(Debug, Default)]
struct Deferred {
    count: u64,
    /// The latest time before which one of them must not be tried again.
    until: Option<DateTime<Utc>>,
}

/// How the work on a page has ended.
enum PageEnd {
    Finished,
    /// Others claim the same posts. It is better to read them anew.
    Contended,
    /// The posts after this page are not to be started either.
    Skipped,
}

/// What became of the wait for a post's turn.
enum Ready {
    /// It is started, with the right to publish if it needs a new ticket.
    Start(Option<StartPermit>),
    /// Others claim the same posts: they are to be read anew.
    Contended,
    /// Neither it nor any after it is started.
    Skip,
}

impl PlatformWorker {
    pub(super) fn new(context: Arc<RetryContext>, platform: Platform, limits: Arc<PassLimits>) -> Self {
        Self {
            context,
            platform,
            limits,
            in_flight: JoinSet::new(),
            totals: Totals::default(),
            posts: Records::default(),
            attempts: AttemptCounts::default(),
            deferred: Deferred::default(),
            malformed: Records::default(),
            refused: 0,
            found_published: Records::default(),
            seen: SeenPosts::default(),
            contention: Contention::default(),
        }
    }

    /// Works through what is due on the platform.
    ///
    /// # Errors
    /// If the store fails. Attempts in flight are finished as far as the store allows.
    pub(super) async fn run(mut self, search: Search) -> Result<WorkerReport, StoreError> {
        let active = self.context.activate(self.platform);
        let worked = match (search, &active) {
            (Search::Nothing, _) => Ok(()),
            (Search::Backlog, Some(active)) => self.work_through(active).await,
            (Search::Backlog, None) => self.count_unconfigured().await,
        };
        // Whatever ended the work, what is in flight is settled first.
        let finished = self.finish_in_flight(active.as_deref()).await;
        worked.and(finished)?;
        let credential_expiry = match &active {
            Some(active) => self.credential_expiry(active).await?,
            None => None,
        };
        let stop_reason = active.as_ref().and_then(|active| active.breaker.stop_reason());
        Ok(WorkerReport {
            platform: PlatformReport {
                platform: self.platform,
                totals: self.totals,
                is_configured: active.is_some(),
                has_accepted_credentials: active.as_ref().is_some_and(|active| active.probe.is_accepted()),
                given_up: stop_reason.map(|reason| self.given_up(reason)),
                credential_expiry,
            },
            posts: self.posts,
            attempts: self.attempts,
            malformed: self.malformed,
            refused: self.refused,
            found_published: self.found_published,
        })
    }

    /// Reads all pages of a backlog in a context that outlives the worker's own borrow.
    fn pages(context: &RetryContext, platform: Platform, backlog: Backlog, page_size: u32) -> Pages<'_> {
        Pages::new(context.store.as_ref(), backlog, context.policy, Scope::Platform(platform), page_size)
    }

    async fn work_through(&mut self, active: &Arc<ActivePlatform>) -> Result<(), StoreError> {
        self.mark_exhausted().await?;
        let context = Arc::clone(&self.context);
        let mut pages = Self::pages(&context, self.platform, Backlog::Due, PAGE);
        if context.listener.counts_due() {
            let count = pages.count_rest(context.clock.now()).await?;
            context.listener.notice(&Event::Due { platform: self.platform, count });
        }
        while let Some(page) = pages.next(context.clock.now()).await? {
            match self.work_through_page(page, active).await? {
                PageEnd::Finished => {}
                PageEnd::Contended => {
                    log::debug!("{}: other processes claim the same posts; reading them anew", self.platform);
                    // What else was not claimed is known by then, and no reason to read once more.
                    while let Some(ended) = self.in_flight.try_join_next() {
                        self.on_finished(ended, active)?;
                    }
                    self.contention.start_new_round();
                    self.seen.start_new_round();
                    pages = Self::pages(&context, self.platform, Backlog::Due, LARGE_PAGE);
                }
                PageEnd::Skipped => {
                    self.totals.skip(pages.count_rest(context.clock.now()).await?);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn work_through_page(
        &mut self,
        mut page: Vec<StoredPost>,
        active: &Arc<ActivePlatform>,
    ) -> Result<PageEnd, StoreError> {
        page.retain(|stored| stored.readable().is_some() || self.seen.insert_malformed(stored.id()));
        let mut posts = take_readable(page, &mut self.malformed);
        self.contention.arrange(&mut posts);
        let mut is_skipping = false;
        for post in posts {
            // The store has only found candidates. The rules decide once more, on the post as it was read.
            if !matches!(self.context.policy.eligibility(&post, self.context.clock.now()), Eligibility::Due(_))
                || self.seen.contains(&post.id)
            {
                continue;
            }
            if let Some(id) = &post.published_id {
                self.seen.insert(&post.id);
                self.mark_published(&post, id).await?;
                continue;
            }
            let readiness = if is_skipping { Ready::Skip } else { self.wait_until_ready(&post, active).await? };
            match readiness {
                Ready::Contended => return Ok(PageEnd::Contended),
                Ready::Start(permit) => {
                    self.seen.insert(&post.id);
                    self.start(post, active, permit);
                }
                Ready::Skip => {
                    is_skipping = true;
                    self.totals.skip(1);
                }
            }
        }
        Ok(if is_skipping { PageEnd::Skipped } else { PageEnd::Finished })
    }

    /// Marks the posts whose retries were exhausted already.
    async fn mark_exhausted(&mut self) -> Result<(), StoreError> {
        let context = Arc::clone(&self.context);
        let mut pages = Self::pages(&context, self.platform, Backlog::Exhausted, EXHAUSTED_PAGE);
        while let Some(page) = pages.next(context.clock.now()).await? {
            let mut exhausted = take_readable(page, &mut self.malformed);
            exhausted.retain(|post| context.policy.eligibility(post, context.clock.now()) == Eligibility::Exhausted);
            for posts in exhausted.chunks(MARKED_AT_ONCE) {
                let marked = context.store.mark_exhausted(posts).await?;
                self.totals.flagged += marked.applied;
                log::info!(
                    "{}: {} posts had no retries left and are now marked as permanently failed",
                    self.platform,
                    marked.applied
                );
                for (id, refused) in marked.refused {
                    self.report_refused(id, &refused);
                }
            }
            if context.shutdown.is_stopping() {
                break;
            }
        }
        Ok(())
    }

    /// Marks a post that the application has recorded as published, though it is failed: no attempt is made at it.
    async fn mark_published(&mut self, post: &Post, id: &str) -> Result<(), StoreError> {
        // Before the id is cut to the length that is shown: a part of a secret could not be found.
        let error = already_published(post, &self.context.redactor.scrub(id));
        match self.context.store.mark_ambiguous(post, &error).await {
            Ok(LeaseWrite::Applied) => {
                self.totals.flagged += 1;
                log::info!("post {}: {error}", post.id);
                self.found_published.push(FoundPublished { id: post.id.clone(), platform: post.platform, error });
            }
            Ok(LeaseWrite::Lost | LeaseWrite::NotFailed) => {}
            Err(refused) if refused.is_for_one_post() => self.report_refused(post.id.clone(), &refused),
            Err(failed) => return Err(failed),
        }
        Ok(())
    }

    /// Without credentials a platform's posts are not changed.
    async fn count_unconfigured(&mut self) -> Result<(), StoreError> {
        let pages = Self::pages(&self.context, self.platform, Backlog::Due, PAGE);
        let waiting = pages.count_rest(self.context.clock.now()).await?;
        self.totals.skip(waiting);
        Ok(())
    }

    fn readiness(&self, post: &Post, active: &ActivePlatform) -> Readiness {
        Readiness {
            is_stopped: active.breaker.is_open() || self.context.shutdown.is_stopping(),
            is_limit_used_up: self.limits.is_used_up(),
            time_left: self.limits.time_left(),
            in_flight: self.in_flight.len(),
            concurrency: self.context.config.concurrency,
            is_probed: active.probe.is_accepted(),
            delay: if post.has_earlier_upload() { Duration::ZERO } else { active.limiter.delay() }
                .max(active.pause.remaining()),
        }
    }

    /// Waits until the post may be started, or is not to be.
    async fn wait_until_ready(&mut self, post: &Post, active: &ActivePlatform) -> Result<Ready, StoreError> {
        let shutdown = self.context.shutdown.clone();
        loop {
            if self.contention.is_reread_needed() {
                return Ok(Ready::Contended);
            }
            match next_step(self.readiness(post, active)) {
                NextStep::Start => {
                    let permit = if post.has_earlier_upload() {
                        None
                    } else {
                        let Ok(permit) = active.limiter.try_start() else { continue };
                        Some(permit)
                    };
                    // Another platform's worker may have taken the last place meanwhile.
                    if self.limits.try_take() {
                        return Ok(Ready::Start(permit));
                    }
                }
                NextStep::Skip => return Ok(Ready::Skip),
                NextStep::AwaitAttempt => {
                    if let Some(ended) = self.in_flight.join_next().await {
                        self.on_finished(ended, active)?;
                    }
                }
                NextStep::AwaitProbe => {
                    tokio::select! {
                        () = shutdown.stopping() => {}
                        () = active.probe.accepted() => {}
                        Some(ended) = self.in_flight.join_next() => self.on_finished(ended, active)?,
                    }
                }
                NextStep::AwaitGap(delay) => {
                    let is_paused = active.pause.remaining() >= active.limiter.delay();
                    let reason = if is_paused { StartDelay::RateLimit } else { StartDelay::Gap };
                    self.context.listener.notice(&Event::Waiting { platform: self.platform, reason, left: delay });
                    tokio::select! {
                        () = shutdown.stopping() => {}
                        // Another platform may use the limit up meanwhile.
                        () = tokio::time::sleep(delay.min(LIMIT_CHECK)) => {}
                        Some(ended) = self.in_flight.join_next() => self.on_finished(ended, active)?,
                    }
                }
            }
        }
    }

    fn start(&mut self, post: Post, active: &Arc<ActivePlatform>, permit: Option<StartPermit>) {
        let (context, active) = (Arc::clone(&self.context), Arc::clone(active));
        self.in_flight.spawn(async move { execute(&context, &active, &post, Expiry::Observed, permit).await });
    }

    /// Counts an attempt that has ended.
    fn on_finished(
        &mut self,
        ended: Result<Result<AttemptResult, StoreError>, JoinError>,
        active: &ActivePlatform,
    ) -> Result<(), StoreError> {
        match ended {
            Ok(Ok(AttemptResult::Completed(report, failure))) => {
                self.contention.record_claimed();
                if let Some(pause) = self.short_pause(failure.as_ref()) {
                    active.pause.extend(pause);
                    active.breaker.interrupt_row();
                } else if !matches!(report.outcome, Outcome::Interrupted | Outcome::Withdrawn) {
                    active.breaker.record(failure.as_ref());
                }
                self.totals.count(report.outcome);
                if report.outcome == Outcome::Withdrawn {
                    self.limits.give_back();
                } else {
                    self.report(*report);
                }
                Ok(())
            }
            Ok(Ok(AttemptResult::NotClaimed)) => {
                self.contention.record_not_claimed();
                self.limits.give_back();
                Ok(())
            }
            Ok(Ok(AttemptResult::ClaimReleased | AttemptResult::LeaseLost)) => {
                self.limits.give_back();
                Ok(())
            }
            Ok(Ok(AttemptResult::ClaimRefused(id, error))) => {
                self.limits.give_back();
                self.report_refused(id, &error);
                Ok(())
            }
            Ok(Ok(AttemptResult::OutcomeRefused(id, error))) => {
                self.totals.count(Outcome::Interrupted);
                self.report_refused(id, &error);
                Ok(())
            }
            Ok(Err(error)) => {
                self.limits.store_failed();
                Err(error)
            }
            // One post's attempt must not end the others. Its claim expires automatically.
            Err(panic) => {
                log::error!("an attempt panicked: {panic}; its post is resumed when its claim has expired");
                self.limits.panicked();
                Ok(())
            }
        }
    }

    /// The store works, but not for this post: the others continue.
    fn report_refused(&mut self, id: PostId, error: &StoreError) {
        log::error!("post {id}: {error}");
        self.refused += 1;
        self.malformed.push(MalformedPost {
            id,
            platform: Some(self.platform.to_string()),
            field: "_id".into(),
            problem: format!("the store refuses to write to it: {error}"),
        });
    }

    fn report(&mut self, report: AttemptReport) {
        report.count_in(&mut self.attempts);
        if report.outcome == Outcome::Deferred {
            self.deferred.count += 1;
            self.deferred.until = self.deferred.until.max(report.not_before);
        }
        self.posts.push(report);
    }

    /// The pause that a rate-limited platform asks for, if the pass can wait for it.
    fn short_pause(&self, failure: Option<&Failure>) -> Option<Duration> {
        let failure = failure.filter(|failure| failure.category == Category::RateLimited)?;
        let wait = failure.retry_at?.signed_duration_since(self.context.clock.now());
        wait.to_std().ok().filter(|wait| *wait <= PlatformPause::LONGEST)
    }

    async fn finish_in_flight(&mut self, active: Option<&ActivePlatform>) -> Result<(), StoreError> {
        let Some(active) = active else { return Ok(()) };
        let mut failed = Ok(());
        while let Some(ended) = self.in_flight.join_next().await {
            failed = failed.and(self.on_finished(ended, active));
        }
        failed
    }

    fn given_up(&self, reason: StopReason) -> GivenUp {
        let (failure, is_circuit) = match reason {
            StopReason::GivenUp(failure) => (failure, false),
            StopReason::CircuitOpen(failure) => (failure, true),
        };
        GivenUp {
            category: failure.category,
            reason: failure.message,
            advice: failure.advice,
            until: self.deferred.until,
            waiting: self.totals.skipped + if is_circuit { 0 } else { self.deferred.count },
            is_circuit,
        }
    }

    /// When the account's credentials expire, if that is worth a warning: soon, or before the next retry.
    async fn credential_expiry(&self, active: &ActivePlatform) -> Result<Option<CredentialExpiry>, StoreError> {
        let expiry = match active.publisher.credential_expiry().await {
            Ok(Some(expiry)) => expiry,
            Ok(None) => return Ok(None),
            Err(error) => {
                log::debug!("{}: failed to read when its credentials expire: {error}", self.platform);
                return Ok(None);
            }
        };
        let (policy, now) = (self.context.policy, self.context.clock.now());
        if expires_soon(expiry.at, now) {
            return Ok(Some(expiry));
        }
        let longest = policy.delay(policy.max_retries.saturating_sub(1));
        let may_outlast = longest.and_then(|delay| now.checked_add_signed(delay)).is_none_or(|at| at > expiry.at);
        if !may_outlast {
            return Ok(None);
        }
        let due_by = async |now| {
            let query = DueQuery { policy, now, scope: Scope::Platform(self.platform) };
            self.context.store.count_due(&query, None).await
        };
        let is_first_after = due_by(expiry.at).await? == 0 && due_by(DateTime::<Utc>::MAX_UTC).await? > 0;
        Ok(is_first_after.then_some(expiry))
    }
}
