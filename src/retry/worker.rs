//! The posts of one platform within a pass. They are read page by page, started one after another within the limits,
//! and counted by their outcome.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Records;
use super::attempt::{AttemptResult, Expiry, execute};
use super::breaker::StopReason;
use super::context::{ActivePlatform, Event, RetryContext, StartDelay};
use super::limiter::{PlatformPause, StartPermit};
use super::report::{AttemptReport, GivenUp, MalformedPost, PlatformReport, already_published, take_readable};
use crate::platform::CredentialExpiry;
use crate::post::{
    AttemptCounts, Category, Eligibility, Failure, Outcome, Platform, Post, PostId, Totals, expires_soon,
};
use crate::store::{Backlog, DueQuery, LeaseWrite, Pages, Scope, StoreError};

/// How many posts are read at a time if each is worked on.
const PAGE: u32 = 64;

/// How many posts are read at a time if they are only counted, marked or listed: a store looks through all that are
/// left for every page, so unnecessary pages cost more than a few megabytes of memory.
pub(super) const LARGE_PAGE: u32 = 2_000;

/// How often a worker that waits for the gap checks whether the limit of the pass is used up.
const LIMIT_CHECK: Duration = Duration::from_secs(1);

/// What limits a pass as a whole, shared by the workers of all platforms.
#[derive(Debug)]
pub(super) struct PassLimits {
    started: AtomicU64,
    limit: Option<u64>,
    ends_at: Option<Instant>,
    has_store_failed: AtomicBool,
    has_panicked: AtomicBool,
}

impl PassLimits {
    /// At most so many posts are started, and none after this long.
    pub(super) fn new(limit: Option<u64>, max_duration: Option<Duration>) -> Self {
        Self {
            started: AtomicU64::new(0),
            limit,
            ends_at: max_duration.and_then(|duration| Instant::now().checked_add(duration)),
            has_store_failed: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
        }
    }

    /// The store has failed: no worker starts another post.
    pub(super) fn store_failed(&self) {
        self.has_store_failed.store(true, Ordering::Relaxed);
    }

    /// A task has panicked.
    pub(super) fn panicked(&self) {
        self.has_panicked.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Relaxed)
    }

    fn is_used_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.started.load(Ordering::Relaxed) >= limit)
    }

    /// Takes one of the posts that may be started; false if there is none left.
    fn try_take(&self) -> bool {
        let Some(limit) = self.limit else { return true };
        let more = |started| (started < limit).then_some(started + 1);
        self.started.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Returns one that was not started after all.
    fn give_back(&self) {
        if self.limit.is_some() {
            self.started.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How long posts may still be started; none without a limit.
    fn time_left(&self) -> Option<Duration> {
        if self.has_store_failed.load(Ordering::Relaxed) {
            return Some(Duration::ZERO);
        }
        self.ends_at.map(|end| end.saturating_duration_since(Instant::now()))
    }
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
    found_published: u64,
    started: StartedPosts,
}

/// The posts that were deferred.
#[derive(Debug, Default)]
struct Deferred {
    count: u64,
    /// The latest time before which one of them must not be tried again.
    until: Option<DateTime<Utc>>,
}

/// What was started. A store finds what is due for one reason after what is due for another, so that a post that has
/// failed meanwhile may be found once more. Hashes need little memory, and a post that is taken for another waits for
/// the next pass.
#[derive(Debug, Default)]
struct StartedPosts {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl StartedPosts {
    fn insert(&mut self, id: &PostId) {
        self.hashes.insert(self.hasher.hash_one(id));
    }

    fn contains(&self, id: &PostId) -> bool {
        self.hashes.contains(&self.hasher.hash_one(id))
    }
}

/// What decides whether the next post may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Readiness {
    /// The platform is skipped, its circuit breaker is open, or the process has received a stop signal.
    is_stopped: bool,
    /// `--limit` leaves none to start.
    is_limit_used_up: bool,
    /// How long posts may still be started; none without a limit.
    time_left: Option<Duration>,
    in_flight: usize,
    concurrency: usize,
    /// Whether the platform has accepted the account's credentials.
    is_probed: bool,
    /// How long until the gap lets the post start; zero for one that needs no new ticket.
    delay: Duration,
}

/// What a worker does before it starts a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextStep {
    Start,
    /// Neither this post nor any after it is started.
    Skip,
    AwaitAttempt,
    /// Until an attempt has ended or the platform has accepted the credentials.
    AwaitProbe,
    /// Until an attempt has ended or the gap is over.
    AwaitGap(Duration),
}

/// What became of the wait for a post's turn.
enum Ready {
    /// It is started, with the right to publish if it needs a new ticket.
    Start(Option<StartPermit>),
    /// Neither it nor any after it is started.
    Skip,
}

fn next_step(now: Readiness) -> NextStep {
    if now.is_stopped || now.time_left.is_some_and(|left| left.is_zero()) {
        return NextStep::Skip;
    }
    // An attempt in flight may turn out not to have been one, and give its place back.
    if now.is_limit_used_up {
        return if now.in_flight == 0 { NextStep::Skip } else { NextStep::AwaitAttempt };
    }
    if now.in_flight >= now.concurrency {
        return NextStep::AwaitAttempt;
    }
    if now.in_flight > 0 && !now.is_probed {
        return NextStep::AwaitProbe;
    }
    match now.delay {
        delay if delay.is_zero() => NextStep::Start,
        // The gap outlasts the pass: what waits for it is not started any more.
        delay if now.time_left.is_some_and(|left| left <= delay) => NextStep::Skip,
        delay => NextStep::AwaitGap(delay),
    }
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
            found_published: 0,
            started: StartedPosts::default(),
        }
    }

    /// Works through what is due on the platform.
    ///
    /// # Errors
    /// If the store fails. Attempts in flight are finished as far as the store allows.
    pub(super) async fn run(mut self) -> Result<WorkerReport, StoreError> {
        let active = self.context.activate(self.platform);
        let worked = match &active {
            Some(active) => self.work_through(active).await,
            None => self.count_unconfigured().await,
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
                given_up: stop_reason.map(|reason| self.given_up(reason)),
                credential_expiry,
                found_published: self.found_published,
            },
            posts: self.posts,
            attempts: self.attempts,
            malformed: self.malformed,
            refused: self.refused,
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
            let mut is_skipping = false;
            for post in take_readable(page, &mut self.malformed) {
                // The store has only found candidates. The rules decide once more, on the post as it was read.
                if !matches!(context.policy.eligibility(&post, context.clock.now()), Eligibility::Due(_))
                    || self.started.contains(&post.id)
                {
                    continue;
                }
                if let Some(id) = &post.published_id {
                    self.mark_published(&post, id).await?;
                    continue;
                }
                let readiness = if is_skipping { Ready::Skip } else { self.wait_until_ready(&post, active).await? };
                match readiness {
                    Ready::Start(permit) => {
                        self.started.insert(&post.id);
                        self.start(post, active, permit);
                    }
                    Ready::Skip => {
                        is_skipping = true;
                        self.totals.skip(1);
                    }
                }
            }
            if is_skipping {
                self.totals.skip(pages.count_rest(context.clock.now()).await?);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Marks the posts whose retries were exhausted already.
    async fn mark_exhausted(&mut self) -> Result<(), StoreError> {
        let context = Arc::clone(&self.context);
        let mut pages = Self::pages(&context, self.platform, Backlog::Exhausted, LARGE_PAGE);
        while let Some(page) = pages.next(context.clock.now()).await? {
            for post in take_readable(page, &mut self.malformed) {
                let eligibility = context.policy.eligibility(&post, context.clock.now());
                if eligibility == Eligibility::Exhausted
                    && context.store.mark_exhausted(&post).await? == LeaseWrite::Applied
                {
                    self.totals.flagged += 1;
                    log::info!("post {}: its retries are used up, marked as permanently failed", post.id);
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
        let error = already_published(post, id);
        if self.context.store.mark_ambiguous(post, &error).await? == LeaseWrite::Applied {
            self.totals.flagged += 1;
            self.found_published += 1;
            log::warn!("post {}: {error}", post.id);
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

    /// Waits until the post may be started; false if it and all after it are to be skipped.
    async fn wait_until_ready(&mut self, post: &Post, active: &ActivePlatform) -> Result<Ready, StoreError> {
        let shutdown = self.context.shutdown.clone();
        loop {
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
                if let Some(pause) = self.short_pause(failure.as_ref()) {
                    active.pause.extend(pause);
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
            Ok(Ok(AttemptResult::NotClaimed | AttemptResult::LeaseLost)) => {
                self.limits.give_back();
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

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Readiness = Readiness {
        is_stopped: false,
        is_limit_used_up: false,
        time_left: None,
        in_flight: 0,
        concurrency: 4,
        is_probed: true,
        delay: Duration::ZERO,
    };

    #[test]
    fn a_post_starts_when_nothing_stops_or_delays_it() {
        let seconds = Duration::from_secs;
        for (readiness, step) in [
            (FREE, NextStep::Start),
            (Readiness { is_stopped: true, ..FREE }, NextStep::Skip),
            (Readiness { time_left: Some(Duration::ZERO), ..FREE }, NextStep::Skip),
            (Readiness { time_left: Some(seconds(1)), ..FREE }, NextStep::Start),
            (Readiness { is_limit_used_up: true, ..FREE }, NextStep::Skip),
            (Readiness { is_limit_used_up: true, in_flight: 1, ..FREE }, NextStep::AwaitAttempt),
            (Readiness { in_flight: 4, ..FREE }, NextStep::AwaitAttempt),
            (Readiness { in_flight: 3, ..FREE }, NextStep::Start),
            (Readiness { in_flight: 1, is_probed: false, ..FREE }, NextStep::AwaitProbe),
            (Readiness { is_probed: false, ..FREE }, NextStep::Start),
            (Readiness { delay: seconds(9), ..FREE }, NextStep::AwaitGap(seconds(9))),
            (Readiness { delay: seconds(9), is_limit_used_up: true, ..FREE }, NextStep::Skip),
            (Readiness { delay: seconds(9), time_left: Some(seconds(9)), ..FREE }, NextStep::Skip),
            (Readiness { delay: seconds(9), time_left: Some(seconds(10)), ..FREE }, NextStep::AwaitGap(seconds(9))),
        ] {
            assert_eq!(next_step(readiness), step, "{readiness:?}");
        }
    }
}
