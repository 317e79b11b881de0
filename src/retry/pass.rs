//! One pass: every post that is due, oldest first unless other passes take them, all platforms at the
//! same time.
//!
//! The backlog is read in pages and never in memory as a whole. A post that fails or cannot be read never stops the
//! others; a store that fails stops them all.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Records;
use super::context::RetryContext;
use super::pass_limits::PassLimits;
use super::report::{MalformedPost, PassReport, take_readable};
use super::worker::{LARGE_PAGE, PlatformWorker, Search, WorkerReport};
use crate::post::{AttemptCounts, Platform};
use crate::store::{Backlog, Pages, Scope, StoreError};

/// The options of a pass.
#[derive(Debug, Clone, Default)]
pub struct PassOptions {
    /// Only these platforms; all if there are none.
    pub platforms: Vec<Platform>,
    /// Start at most this many posts.
    pub limit: Option<u64>,
    /// Start no new post after this long.
    pub max_duration: Option<Duration>,
}

impl PassOptions {
    pub(super) fn platforms(&self) -> Vec<Platform> {
        Platform::ALL.into_iter().filter(|known| self.platforms.is_empty() || self.platforms.contains(known)).collect()
    }

    /// Posts whose platform is unknown are part of a pass over all platforms only.
    pub(super) fn covers_unknown_platforms(&self) -> bool {
        self.platforms.is_empty()
    }
}

/// Publishes every post that is due.
///
/// # Errors
/// If the store fails. Attempts in flight are finished as far as the store allows.
pub async fn run_pass(context: &Arc<RetryContext>, options: &PassOptions) -> Result<PassReport, StoreError> {
    pass(context, options, Search::Backlog).await
}

/// A pass for which there is nothing to do, so that the store need not be searched again.
///
/// # Errors
/// If the store fails.
pub async fn idle_pass(context: &Arc<RetryContext>, options: &PassOptions) -> Result<PassReport, StoreError> {
    pass(context, options, Search::Nothing).await
}

async fn pass(context: &Arc<RetryContext>, options: &PassOptions, search: Search) -> Result<PassReport, StoreError> {
    let started_at = context.clock.now();
    let limits = Arc::new(PassLimits::new(options.limit, options.max_duration));
    let mut reports = run_workers(context, options, &limits, search).await?;
    reports.sort_by_key(|report| report.platform.platform);
    let mut pass = PassReport {
        run_id: uuid::Uuid::new_v4().to_string(),
        started_at,
        finished_at: started_at,
        platforms: Vec::new(),
        posts: Records::default(),
        attempts: AttemptCounts::default(),
        malformed: Records::default(),
        found_published: Records::default(),
        refused: 0,
        has_internal_error: limits.has_panicked(),
    };
    for report in reports {
        pass.platforms.push(report.platform);
        let appended = pass
            .posts
            .append(report.posts)
            .and_then(|()| pass.malformed.append(report.malformed))
            .and_then(|()| pass.found_published.append(report.found_published));
        // Every outcome is stored; only the report has a gap.
        if let Err(error) = appended {
            log::error!("the report of the pass is incomplete: {error}");
            pass.has_internal_error = true;
        }
        pass.attempts.add(&report.attempts);
        pass.refused += report.refused;
    }
    let has_unknown = search == Search::Backlog && options.covers_unknown_platforms();
    if has_unknown && !context.shutdown.is_stopping() {
        read_unknown_platforms(context, &mut pass.malformed).await?;
    }
    pass.finished_at = context.clock.now();
    Ok(pass)
}

/// Runs a worker for each platform to its end.
async fn run_workers(
    context: &Arc<RetryContext>,
    options: &PassOptions,
    limits: &Arc<PassLimits>,
    search: Search,
) -> Result<Vec<WorkerReport>, StoreError> {
    let mut workers = JoinSet::new();
    for platform in options.platforms() {
        workers.spawn(PlatformWorker::new(Arc::clone(context), platform, Arc::clone(limits)).run(search));
    }
    let mut reports = Vec::new();
    let mut failed = None;
    while let Some(joined) = workers.join_next().await {
        match joined {
            Ok(Ok(report)) => reports.push(report),
            Ok(Err(error)) => {
                limits.store_failed();
                failed.get_or_insert(error);
            }
            Err(panic) => {
                log::error!("the posts of a platform were not all processed: {panic}");
                limits.panicked();
            }
        }
    }
    failed.map_or(Ok(reports), Err)
}

/// The posts with an unknown platform. They can only be reported.
pub(super) async fn read_unknown_platforms(
    context: &RetryContext,
    malformed: &mut Records<MalformedPost>,
) -> Result<(), StoreError> {
    let store = context.store.as_ref();
    let mut pages = Pages::new(store, Backlog::Due, context.policy, Scope::UnknownPlatform, LARGE_PAGE);
    while let Some(page) = pages.next(context.clock.now()).await? {
        take_readable(page, malformed);
    }
    Ok(())
}
