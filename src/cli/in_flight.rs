//! Counts the attempts in flight, for what is said when the process is to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::console::Notes;
use crate::retry::{Event, Listener, Shutdown, Signal};

/// Counts attempts that have started and not ended, and passes every event on.
#[derive(Debug)]
pub(super) struct InFlight {
    count: AtomicUsize,
    next: Arc<dyn Listener>,
}

impl InFlight {
    pub(super) fn before(next: Arc<dyn Listener>) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), next })
    }

    /// Answers Ctrl-C at once: what is still being done, for how long, and how to cut it short.
    pub(super) fn tell_when_stopping(self: &Arc<Self>, shutdown: &Shutdown, notes: Notes) {
        let (in_flight, shutdown) = (Arc::clone(self), shutdown.clone());
        tokio::spawn(async move {
            // A pass can be stopping for another reason already, and then a signal must not go unanswered.
            shutdown.signalled().await;
            // A service manager sends SIGTERM; nobody waits at a terminal then.
            if shutdown.signal() == Some(Signal::Interrupt) {
                notes.write(&stopping(in_flight.count.load(Ordering::Relaxed)));
            }
        });
    }
}

impl Listener for InFlight {
    fn counts_due(&self) -> bool {
        self.next.counts_due()
    }

    fn notice(&self, event: &Event<'_>) {
        if let Event::Started { .. } = event {
            self.count.fetch_add(1, Ordering::Relaxed);
        } else if let Event::Ended { .. } | Event::Left { .. } = event {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        self.next.notice(event);
    }
}

fn stopping(in_flight: usize) -> String {
    match in_flight {
        0 => "stopping, nothing is in flight".to_owned(),
        count => format!("stopping, {count} in flight, at most 20 s; Ctrl-C again to cut short"),
    }
}
