//! One pass: every post that is due, oldest first, platforms beside each other.
//!
//! The backlog is read in pages and never held. A post that fails or cannot be read never stops the others; a store
//! that fails stops them all.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Workshop;
use super::lane::{LARGE_PAGE, Lane, LaneReport, Shared};
use super::report::{MalformedPost, PassReport};
use crate::post::{AttemptCounts, Category, Platform};
use crate::store::{DueCursor, DueQuery, Scope, StoreError};

/// What is asked of a pass.
#[derive(Debug, Clone, Default)]
pub struct PassOptions {
    /// Only these platforms; all where there are none.
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

    /// Posts whose platform is unknown belong to a pass over everything only.
    pub(super) fn covers_unknown_platforms(&self) -> bool {
        self.platforms.is_empty()
    }
}

/// Publishes every post that is due.
///
/// # Errors
/// Where the store fails. What was in flight has been settled as far as the store let it.
pub async fn run_pass(workshop: &Arc<Workshop>, options: &PassOptions) -> Result<PassReport, StoreError> {
    let started_at = workshop.clock.now();
    let shared = Arc::new(Shared::new(options.limit, options.max_duration));
    let mut lanes = JoinSet::new();
    for platform in options.platforms() {
        let lane = Lane::new(Arc::clone(workshop), platform, Arc::clone(&shared));
        lanes.spawn(lane.run());
    }
    let mut results: Vec<LaneReport> = Vec::new();
    let mut failed = None;
    while let Some(joined) = lanes.join_next().await {
        match joined {
            Ok(Ok(result)) => results.push(result),
            Ok(Err(error)) => {
                shared.store_failed();
                failed.get_or_insert(error);
            }
            Err(panic) => {
                log::error!("a platform's pass broke off: {panic}");
                shared.broke_off();
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    results.sort_by_key(|result| result.platform.platform);
    let mut report = PassReport {
        run_id: uuid::Uuid::new_v4().to_string(),
        started_at,
        finished_at: started_at,
        platforms: Vec::new(),
        posts: Vec::new(),
        malformed: Vec::new(),
        attempts: AttemptCounts::default(),
        has_broken_off: shared.has_broken_off(),
    };
    for result in results {
        report.platforms.push(result.platform);
        report.malformed.extend(result.malformed);
        for post in result.posts {
            if post.category != Some(Category::Expired) {
                report.attempts.count(post.platform, post.attempt, post.after, post.outcome);
            }
            report.posts.push(post);
        }
    }
    if options.covers_unknown_platforms() && !workshop.shutdown.is_stopping() {
        report.malformed.extend(read_unknown_platforms(workshop).await?);
    }
    report.finished_at = workshop.clock.now();
    Ok(report)
}

/// The posts whose platform is none that is known: they can only be reported.
pub(super) async fn read_unknown_platforms(workshop: &Workshop) -> Result<Vec<MalformedPost>, StoreError> {
    let query = DueQuery { policy: workshop.policy, now: workshop.clock.now(), scope: Scope::UnknownPlatform };
    let mut malformed = Vec::new();
    let mut after: Option<DueCursor> = None;
    loop {
        let page = workshop.store.due_posts(&query, after.as_ref(), LARGE_PAGE).await?;
        malformed.extend(page.posts.iter().filter_map(|stored| stored.as_ref().err()).map(MalformedPost::from));
        after = page.next;
        if after.is_none() {
            return Ok(malformed);
        }
    }
}
