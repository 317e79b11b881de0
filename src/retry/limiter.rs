//! What delays the start of a platform's posts within a pass: the gap between two publishes, and the first post that
//! tries the account's credentials alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

    /// Takes the right to start a publish now.
    ///
    /// # Errors
    /// How long to wait, if another has taken it within the gap.
    pub(super) fn try_start(self: &Arc<Self>) -> Result<StartPermit, Duration> {
        let mut next_start = self.next_start();
        let now = Instant::now();
        match next_start.map(|next| next.saturating_duration_since(now)) {
            Some(left) if !left.is_zero() => Err(left),
            _ => {
                *next_start = Some(now + self.gap);
                Ok(StartPermit { limiter: Arc::clone(self), taken_at: now, is_used: false })
            }
        }
    }
}

/// The right to start one publish. One that is not used gives the gap back.
#[derive(Debug)]
pub(super) struct StartPermit {
    limiter: Arc<StartLimiter>,
    taken_at: Instant,
    is_used: bool,
}

impl StartPermit {
    /// The publish starts.
    pub(super) fn use_up(mut self) {
        self.is_used = true;
    }
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        let mut next_start = self.limiter.next_start();
        // Another may have started since, if the gap is over already.
        if !self.is_used && *next_start == Some(self.taken_at + self.limiter.gap) {
            *next_start = Some(self.taken_at);
        }
    }
}

/// A pause that the platform has asked for. All its posts wait until it is over.
#[derive(Debug, Default)]
pub(super) struct PlatformPause {
    until: Mutex<Option<Instant>>,
}

impl PlatformPause {
    /// The longest pause that a pass waits for. For a longer one the platform is skipped.
    pub(super) const LONGEST: Duration = Duration::from_secs(120);

    pub(super) fn extend(&self, wait: Duration) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Some(Instant::now() + wait));
    }

    /// How long the pause still lasts.
    pub(super) fn remaining(&self) -> Duration {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default()
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
        // Only the first call has an effect.
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

    fn limiter() -> Arc<StartLimiter> {
        Arc::new(StartLimiter::new(Duration::from_secs(10)))
    }

    #[tokio::test(start_paused = true)]
    async fn starts_are_at_least_a_gap_apart() {
        let limiter = limiter();
        assert_eq!(limiter.delay(), Duration::ZERO);
        limiter.try_start().unwrap().use_up();
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(limiter.try_start().unwrap_err(), Duration::from_secs(6));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(limiter.delay(), Duration::ZERO);
        limiter.try_start().unwrap().use_up();
        assert_eq!(limiter.delay(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_is_not_used_costs_no_gap() {
        let limiter = limiter();
        let permit = limiter.try_start().unwrap();
        assert_eq!(limiter.delay(), Duration::from_secs(10));
        drop(permit);
        assert_eq!(limiter.delay(), Duration::ZERO);
        let late = limiter.try_start().unwrap();
        tokio::time::advance(Duration::from_secs(11)).await;
        limiter.try_start().unwrap().use_up();
        drop(late);
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
