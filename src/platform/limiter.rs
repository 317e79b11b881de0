//! A limit on the requests within a sliding window, for endpoints whose limits a platform documents.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{AttemptAborted, PublishContext};

/// The longest that a request waits before it makes sure once more that the lease is valid.
const LEASE_CHECK: Duration = Duration::from_secs(5);

/// Whether the documented limits of platforms are kept to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// They are: a request waits for its turn.
    Limited,
    /// They are not, since no gap between publishes is wanted either; a platform that minds says so.
    Unlimited,
}

/// Lets at most so many requests through in any window of this length. Others wait for their turn.
#[derive(Debug)]
pub(super) struct RequestLimiter {
    pacing: Pacing,
    limit: usize,
    window: Duration,
    sent: Mutex<VecDeque<Instant>>,
}

impl RequestLimiter {
    pub(super) fn new(limit: usize, window: Duration, pacing: Pacing) -> Self {
        Self { pacing, limit, window, sent: Mutex::default() }
    }

    /// Takes a place in the window.
    ///
    /// # Errors
    /// How long to wait for one.
    fn try_take(&self) -> Result<(), Duration> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while sent.front().is_some_and(|first| now.saturating_duration_since(*first) >= self.window) {
            sent.pop_front();
        }
        match sent.front() {
            Some(first) if sent.len() >= self.limit && self.pacing == Pacing::Limited => {
                Err((*first + self.window).saturating_duration_since(now))
            }
            _ => {
                sent.push_back(now);
                Ok(())
            }
        }
    }

    /// Waits until a request may be sent. The lease is renewed meanwhile.
    pub(super) async fn wait_turn(&self, context: &dyn PublishContext) -> Result<(), AttemptAborted> {
        while let Err(wait) = self.try_take() {
            context.ensure_lease().await?;
            context.sleep(wait.min(LEASE_CHECK)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::test_context::TestContext;

    #[tokio::test(start_paused = true)]
    async fn no_window_holds_more_requests_than_the_limit() {
        let (limiter, context) =
            (RequestLimiter::new(3, Duration::from_secs(60), Pacing::Limited), TestContext::default());
        let started = Instant::now();
        let mut turns = Vec::new();
        for _ in 0..7 {
            limiter.wait_turn(&context).await.unwrap();
            turns.push(started.elapsed().as_secs());
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(turns, [0, 10, 20, 60, 70, 80, 120]);
    }
}
