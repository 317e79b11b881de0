//! Stops a platform's posts for the rest of a pass: after failures that every further post would have too, and after
//! several outages in a row.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::post::{Category, Failure};

/// How many failures in a row, of a platform or of the connection to it, open its circuit breaker.
const THRESHOLD: u32 = 3;

/// Why a platform gets no further post in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopReason {
    /// A failure that every further post would have too.
    GivenUp(Failure),
    /// Several network failures or outages in a row.
    CircuitOpen(Failure),
}

/// The circuit breaker of one platform within a pass. Once open, it stays open.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures_in_a_row: u32,
    stopped: Option<StopReason>,
}

impl CircuitBreaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the platform gets no further post.
    pub(super) fn is_open(&self) -> bool {
        self.state().stopped.is_some()
    }

    /// Why the platform gets no further post.
    pub(super) fn stop_reason(&self) -> Option<StopReason> {
        self.state().stopped.clone()
    }

    /// The platform's limit on requests is nearly used up: its other posts wait for a later pass.
    pub(super) fn pause_platform(&self, detail: String) {
        let reason = StopReason::GivenUp(Failure::new(Category::RateLimited, detail));
        self.state().stopped.get_or_insert(reason);
    }

    /// An attempt has ended that is no outage and, since the pass goes on, no reason to stop either: the next failures
    /// are not in a row with those before.
    pub(super) fn interrupt_row(&self) {
        self.state().failures_in_a_row = 0;
    }

    /// Counts an attempt that has ended, with its failure if it failed.
    pub(super) fn record(&self, failure: Option<&Failure>) {
        let mut state = self.state();
        let Some(failure) = failure else {
            state.failures_in_a_row = 0;
            return;
        };
        // Nothing was sent, so they say nothing of the platform.
        if matches!(failure.category, Category::Interrupted | Category::Expired) {
            return;
        }
        state.failures_in_a_row = if failure.category.is_transient() { state.failures_in_a_row + 1 } else { 0 };
        let reason = if failure.category.gives_up_platform() {
            StopReason::GivenUp(failure.clone())
        } else if state.failures_in_a_row >= THRESHOLD {
            StopReason::CircuitOpen(failure.clone())
        } else {
            return;
        };
        state.stopped.get_or_insert(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(category: Category) -> Failure {
        Failure::new(category, "")
    }

    #[test]
    fn three_outages_in_a_row_open_the_circuit_and_anything_else_starts_the_count_anew() {
        let breaker = CircuitBreaker::default();
        let (network, outage) = (failure(Category::Network), failure(Category::PlatformOutage));
        for ended in [Some(&network), Some(&outage), None, Some(&network), Some(&failure(Category::Unknown))] {
            breaker.record(ended);
            assert!(!breaker.is_open());
        }
        breaker.record(Some(&network));
        breaker.record(Some(&outage));
        breaker.record(Some(&failure(Category::Expired)));
        assert!(!breaker.is_open());
        breaker.record(Some(&network));
        assert!(matches!(breaker.stop_reason(), Some(StopReason::CircuitOpen(_))));
    }

    #[test]
    fn outages_before_and_after_an_interruption_are_not_in_a_row() {
        let breaker = CircuitBreaker::default();
        let outage = failure(Category::PlatformOutage);
        breaker.record(Some(&outage));
        breaker.record(Some(&outage));
        breaker.interrupt_row();
        breaker.record(Some(&outage));
        breaker.record(Some(&outage));
        assert!(!breaker.is_open());
        breaker.record(Some(&outage));
        assert!(breaker.is_open());
    }

    #[test]
    fn one_refused_token_gives_the_platform_up_and_the_first_reason_stays() {
        let breaker = CircuitBreaker::default();
        breaker.record(Some(&failure(Category::Auth)));
        breaker.record(Some(&failure(Category::QuotaExhausted)));
        breaker.record(None);
        assert_eq!(breaker.stop_reason(), Some(StopReason::GivenUp(failure(Category::Auth))));
    }
}
