//! What delays the start of a platform's posts within a pass: the gap between two publishes, and the first post that
//! tries the account's credentials alone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::time::Instant;

/// Keeps the starts of two publishes on one platform at least a gap apart.
#[derive(Debug)]
pub(super) struct StartLimiter {
    gap: Duration,
    next_start: Mutex<Option<Instant>>,
}

impl StartLimiter {
    pub(super) fn new(gap: Duration) -> Self {
        Self { gap, next_start: Mutex::default() }
    }

    fn next_start(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next_start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until the next publish may start.
    pub(super) fn delay(&self) -> Duration {
        self.next_start().map(|next| next.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    /// Starts a publish now.
    ///
    /// # Errors
    /// How long to wait, if another has started within the gap.
    pub(super) fn try_start(&self) -> Result<(), Duration> {
        let mut next_start = self.next_start();
        let now = Instant::now();
        match next_start.map(|next| next.saturating_duration_since(now)) {
            Some(left) if !left.is_zero() => Err(left),
            _ => {
                *next_start = Some(now + self.gap);
                Ok(())
            }
        }
    }
}

/// Lets one post go alone until the platform has accepted the account's credentials, so that one post meets a dead
/// token and not as many as may be in flight.
#[derive(Debug, Default)]
pub(super) struct CredentialProbe {
    accepted: SetOnce<()>,
}

impl CredentialProbe {
    /// The platform has accepted the credentials.
    pub(super) fn accept(&self) {
        // Only the first time tells something new.
        self.accepted.set(()).unwrap_or_default();
    }

    /// Whether the platform has accepted the credentials in this pass.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted.initialized()
    }

    /// Returns when the platform has accepted the credentials.
    pub(super) async fn accepted(&self) {
        self.accepted.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn starts_are_at_least_a_gap_apart() {
        let limiter = StartLimiter::new(Duration::from_secs(10));
        assert_eq!(limiter.delay(), Duration::ZERO);
        assert_eq!(limiter.try_start(), Ok(()));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(limiter.try_start(), Err(Duration::from_secs(6)));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(limiter.delay(), Duration::ZERO);
        assert_eq!(limiter.try_start(), Ok(()));
        assert_eq!(limiter.delay(), Duration::from_secs(10));
    }

    #[tokio::test]
    async fn credentials_are_accepted_once_for_all() {
        let probe = CredentialProbe::default();
        assert!(!probe.is_accepted());
        probe.accept();
        probe.accept();
        probe.accepted().await;
        assert!(probe.is_accepted());
    }
}
