//! A clean shutdown: no new claims, a grace period for what is in flight, then the rest is released.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long attempts in flight may take to end once the process is told to stop.
const GRACE_PERIOD: Duration = Duration::from_secs(20);

/// What told the process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Whether the process is told to stop; clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    pub(super) grace_over: CancellationToken,
    signal: Arc<OnceLock<Signal>>,
}

impl Shutdown {
    /// Listens for SIGINT and SIGTERM. A second signal ends the grace period.
    ///
    /// # Errors
    /// Where the signals cannot be listened for.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let told = shutdown.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                }
            };
            told.begin(next().await);
            tokio::select! {
                _ = next() => {}
                () = tokio::time::sleep(GRACE_PERIOD) => {}
            }
            told.grace_over.cancel();
        });
        Ok(shutdown)
    }

    pub(super) fn begin(&self, signal: Signal) {
        log::info!("told to stop: no new posts are started, those in flight have 20 s to settle");
        // Only the first signal counts.
        self.signal.get_or_init(|| signal);
        self.stop.cancel();
    }

    /// What told the process to stop, if anything has.
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get().copied()
    }

    /// Whether nothing new is to be started.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns when nothing new is to be started.
    pub(super) async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Returns when the grace period is over and what is in flight is to be released.
    pub(super) async fn grace_period_over(&self) {
        self.grace_over.cancelled().await;
    }
}
