//! What keeps a platform's posts back within a pass: the gap between starts, a sign-in that has yet to be taken, a
//! platform given up, an open circuit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::time::Instant;

use crate::post::{Category, Failure};

/// So many failures in a row of a platform or of the way to it open its circuit.
const CIRCUIT: u32 = 3;

/// Why a platform gets no further post in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closed {
    /// A failure that every further post would meet.
    GivenUp(Failure),
    /// Three network failures or outages in a row.
    Circuit(Failure),
}

/// The gate of one platform.
#[derive(Debug)]
pub(super) struct Gate {
    gap: Duration,
    signed_in: SetOnce<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_start: Option<Instant>,
    streak: u32,
    closed: Option<Closed>,
}

impl Gate {
    pub(super) fn new(gap: Duration) -> Self {
        Self { gap, signed_in: SetOnce::new(), state: Mutex::default() }
    }

    /// The platform has taken the account's sign-in: from now on posts may go beside each other.
    pub(super) fn sign_in_taken(&self) {
        // Only the first time tells something new.
        self.signed_in.set(()).unwrap_or_default();
    }

    /// Whether the platform has taken the account's sign-in in this pass. Until then one post goes alone, so that a
    /// dead token is met once and not by as many posts as may be in flight.
    pub(super) fn is_signed_in(&self) -> bool {
        self.signed_in.initialized()
    }

    /// Returns when the platform has taken the sign-in.
    pub(super) async fn signed_in(&self) {
        self.signed_in.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the platform gets no further post.
    pub(super) fn closed(&self) -> Option<Closed> {
        self.state().closed.clone()
    }

    /// How long until the next publish may start.
    pub(super) fn wait(&self) -> Duration {
        let next = self.state().next_start;
        next.map(|next| next.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    /// Starts a publish now, if none has started within the gap; else tells how long to wait.
    pub(super) fn start(&self) -> Result<(), Duration> {
        let mut state = self.state();
        let now = Instant::now();
        match state.next_start.map(|next| next.saturating_duration_since(now)) {
            Some(left) if !left.is_zero() => Err(left),
            _ => {
                state.next_start = Some(now + self.gap);
                Ok(())
            }
        }
    }

    /// Takes note of an attempt that has ended, with its failure if it failed.
    pub(super) fn note(&self, failure: Option<&Failure>) {
        let mut state = self.state();
        let Some(failure) = failure.filter(|failure| failure.category != Category::Interrupted) else {
            state.streak = 0;
            return;
        };
        state.streak = if failure.category.is_passing() { state.streak + 1 } else { 0 };
        let closed = if failure.category.gives_up_platform() {
            Closed::GivenUp(failure.clone())
        } else if state.streak >= CIRCUIT {
            Closed::Circuit(failure.clone())
        } else {
            return;
        };
        state.closed.get_or_insert(closed);
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
        let gate = Gate::new(Duration::ZERO);
        let (network, outage) = (failure(Category::Network), failure(Category::PlatformOutage));
        for ended in [Some(&network), Some(&outage), None, Some(&network), Some(&failure(Category::Unknown))] {
            gate.note(ended);
            assert_eq!(gate.closed(), None);
        }
        gate.note(Some(&network));
        gate.note(Some(&outage));
        assert_eq!(gate.closed(), None);
        gate.note(Some(&network));
        assert!(matches!(gate.closed(), Some(Closed::Circuit(_))));
    }

    #[test]
    fn one_refused_sign_in_closes_the_gate() {
        let gate = Gate::new(Duration::ZERO);
        gate.note(Some(&failure(Category::Auth)));
        assert!(matches!(gate.closed(), Some(Closed::GivenUp(_))));
    }
}
