//! A clean shutdown: no new claims, a grace period for what is in flight, then the rest is released.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long attempts in flight may take to end after a stop signal.
const GRACE_PERIOD: Duration = Duration::from_secs(20);

/// The signal that stopped the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Whether the process has received a stop signal. Clones share one state.
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
    /// If the signal handlers cannot be installed.
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
        log::info!("received a stop signal: no new posts are started, attempts in flight have 20 s to finish");
        // Only the first signal counts.
        self.signal.get_or_init(|| signal);
        self.stop.cancel();
    }

    /// The signal that stopped the process, if there was one.
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get().copied()
    }

    /// Whether nothing new is to be started.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns when nothing new is to be started.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Returns when the grace period is over and what is in flight is to be released.
    pub(super) async fn grace_period_over(&self) {
        self.grace_over.cancelled().await;
    }
}
