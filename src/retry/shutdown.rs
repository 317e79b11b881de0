//! A clean shutdown: no new claims, a grace period for what is in flight, then the rest is released.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// How long attempts in flight may take to end after a stop signal.
const GRACE_PERIOD: Duration = Duration::from_secs(20);

/// How long attempts may then take to release their posts and to report. Together with the grace period it is shorter
/// than the 40 s of the systemd unit.
const RELEASE_PERIOD: Duration = Duration::from_secs(10);

/// How long short writes may take to end after a stop signal.
const WRITE_PERIOD: Duration = Duration::from_secs(2);

/// The signal that stopped the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// What is in flight, and so how long the process continues after a stop signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Attempts at posts: they have a grace period, then they are released.
    Attempts,
    /// Short writes, each complete by itself.
    Writes,
}

/// Whether the process has received a stop signal. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    pub(super) grace_over: CancellationToken,
    time_over: CancellationToken,
    signal: Arc<OnceLock<Signal>>,
    signalled: CancellationToken,
    work: Arc<OnceLock<Work>>,
    resource_limit: Arc<OnceLock<String>>,
}

impl Shutdown {
    /// Listens for SIGINT and SIGTERM. A second signal ends the grace period, and a third one the process.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, received) = unbounded_channel();
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                if sender.send(signal).is_err() {
                    return;
                }
            }
        });
        tokio::spawn(shutdown.clone().follow(received));
        Ok(shutdown)
    }

    /// Goes through the stages of a stop.
    async fn follow(self, mut signals: UnboundedReceiver<Signal>) {
        let Some(signal) = signals.recv().await else { return };
        self.begin(signal);
        match self.work.get() {
            None => {}
            Some(Work::Attempts) => {
                another_within(GRACE_PERIOD, &mut signals).await;
                self.grace_over.cancel();
                another_within(RELEASE_PERIOD, &mut signals).await;
            }
            Some(Work::Writes) => another_within(WRITE_PERIOD, &mut signals).await,
        }
        self.time_over.cancel();
    }

    pub(super) fn begin(&self, signal: Signal) {
        if self.work.get() == Some(&Work::Attempts) {
            let note = || {
                log::info!("received a stop signal: no new posts are started, attempts in flight have 20 s to finish");
            };
            // On a thread, since standard error may take nothing more, and the stop must go on. Where the system refuses
            // the thread, nothing is said.
            drop(thread::Builder::new().spawn(note));
        }
        // Only the first signal counts.
        self.signal.get_or_init(|| signal);
        self.signalled.cancel();
        self.stop.cancel();
    }

    /// From now on this is in flight. Before, a stop signal leaves the process no time.
    pub fn begin_work(&self, work: Work) {
        self.work.get_or_init(|| work);
    }

    /// What is in flight, if anything is.
    pub fn work(&self) -> Option<Work> {
        self.work.get().copied()
    }

    /// No more files and connections can be opened. No new post is started, since it would only meet the same limit.
    pub(super) fn begin_at_resource_limit(&self, why: &str) {
        // Only the first attempt that meets it counts.
        self.resource_limit.get_or_init(|| why.to_owned());
        self.stop.cancel();
    }

    /// Why no more files and connections can be opened, if an attempt has met that limit.
    pub fn resource_limit(&self) -> Option<&str> {
        self.resource_limit.get().map(String::as_str)
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

    /// Returns when a stop signal has come. A stop at a limit of the machine is none, and a signal can follow it.
    pub async fn signalled(&self) {
        self.signalled.cancelled().await;
    }

    /// Returns when the grace period is over and what is in flight is to be released.
    pub(super) async fn grace_period_over(&self) {
        self.grace_over.cancelled().await;
    }

    /// Returns when the process is to end, whatever it still waits for.
    pub async fn time_over(&self) {
        self.time_over.cancelled().await;
    }
}

/// Returns when another signal has come, and after this time at the latest.
async fn another_within(limit: Duration, signals: &mut UnboundedReceiver<Signal>) {
    tokio::select! {
        Some(_) = signals.recv() => {}
        () = tokio::time::sleep(limit) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// After how many seconds the grace period and the process end, with this in flight and signals at these seconds.
    async fn stages(work: Option<Work>, signals_at: &[u64]) -> (Option<u64>, u64) {
        let shutdown = Shutdown::default();
        if let Some(work) = work {
            shutdown.begin_work(work);
        }
        let (sender, received) = unbounded_channel();
        tokio::spawn(shutdown.clone().follow(received));
        let started_at = Instant::now();
        let signals: Vec<Instant> = signals_at.iter().map(|second| started_at + Duration::from_secs(*second)).collect();
        tokio::spawn(async move {
            for at in signals {
                tokio::time::sleep_until(at).await;
                sender.send(Signal::Terminate).unwrap();
            }
            // Open for as long as the process lives.
            std::future::pending::<()>().await;
        });
        let grace = async {
            shutdown.grace_period_over().await;
            started_at.elapsed().as_secs()
        };
        tokio::pin!(grace);
        let mut grace_over = None;
        loop {
            tokio::select! {
                biased;
                second = &mut grace, if grace_over.is_none() => grace_over = Some(second),
                () = shutdown.time_over() => return (grace_over, started_at.elapsed().as_secs()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_decides_how_long_a_stop_takes_and_each_further_signal_cuts_it_short() {
        assert_eq!(stages(None, &[1]).await, (None, 1));
        assert_eq!(stages(Some(Work::Writes), &[1]).await, (None, 3));
        assert_eq!(stages(Some(Work::Writes), &[1, 2]).await, (None, 2));
        assert_eq!(stages(Some(Work::Attempts), &[1]).await, (Some(21), 31));
        assert_eq!(stages(Some(Work::Attempts), &[1, 3]).await, (Some(3), 13));
        assert_eq!(stages(Some(Work::Attempts), &[1, 3, 4]).await, (Some(3), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_is_noticed_after_a_stop_for_another_reason_too() {
        let shutdown = Shutdown::default();
        shutdown.begin_at_resource_limit("no more files can be opened");
        shutdown.stopping().await;
        let early = tokio::time::timeout(Duration::from_secs(1), shutdown.signalled()).await;
        assert!(early.is_err() && shutdown.signal().is_none());
        let (sender, received) = unbounded_channel();
        tokio::spawn(shutdown.clone().follow(received));
        sender.send(Signal::Interrupt).unwrap();
        shutdown.signalled().await;
        assert_eq!(shutdown.signal(), Some(Signal::Interrupt));
    }
}
