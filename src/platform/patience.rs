//! How long an attempt looks at a platform that is still processing.

use std::time::Duration;

use tokio::time::Instant;

use super::Attempt;

/// The longest wait between two looks.
const LONGEST: Duration = Duration::from_secs(60);

/// How an attempt waits.
#[derive(Debug, Clone, Copy)]
pub struct PollSettings {
    /// The first wait; it doubles up to one minute.
    pub first: Duration,
    /// How long to wait in all.
    pub total: Duration,
}

/// The patience of one attempt with one platform.
#[derive(Debug)]
pub(super) struct Patience {
    next: Duration,
    ends_at: Instant,
}

/// Whether to look once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Yes.
    Again,
    /// No: patience is at its end.
    Enough,
}

impl Patience {
    pub(super) fn new(settings: PollSettings) -> Self {
        Self { next: settings.first, ends_at: Instant::now() + settings.total }
    }

    /// Waits for the next look.
    pub(super) async fn wait(&mut self, attempt: &dyn Attempt) -> Look {
        let left = self.ends_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Look::Enough;
        }
        attempt.pause(self.next.min(left)).await;
        self.next = (self.next * 2).min(LONGEST);
        Look::Again
    }
}

/// How many failures in a row a publisher bears while it looks or sends, before it lets the attempt fail.
const BEARABLE: u32 = 3;

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Troubles(u32);

impl Troubles {
    /// Counts one more; whether it can still be borne.
    pub(super) fn bear(&mut self) -> bool {
        self.0 += 1;
        self.0 <= BEARABLE
    }

    /// Something went well.
    pub(super) fn forget(&mut self) {
        self.0 = 0;
    }
}
