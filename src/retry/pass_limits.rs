//! What limits a pass as a whole: `--limit`, `--max-duration`, and a store that has failed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

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

    pub(super) fn is_used_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.started.load(Ordering::Relaxed) >= limit)
    }

    /// Takes one of the posts that may be started; false if there is none left.
    pub(super) fn try_take(&self) -> bool {
        let Some(limit) = self.limit else { return true };
        let more = |started| (started < limit).then_some(started + 1);
        self.started.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Returns one that was not started after all.
    pub(super) fn give_back(&self) {
        if self.limit.is_some() {
            self.started.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How long posts may still be started; none without a limit.
    pub(super) fn time_left(&self) -> Option<Duration> {
        if self.has_store_failed.load(Ordering::Relaxed) {
            return Some(Duration::ZERO);
        }
        self.ends_at.map(|end| end.saturating_duration_since(Instant::now()))
    }
}
