//! How long an attempt looks at a platform that is still processing.

use std::time::Duration;

use tokio::time::Instant;

use super::PublishContext;
use crate::post::Failure;

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

/// How many failures in a row a publisher bears while it looks or sends, before it lets the attempt fail.
const BEARABLE: u32 = 3;

/// The patience of one attempt with one platform. It begins to run with the first wait, so that what comes before, an
/// upload that takes long, takes nothing from it.
#[derive(Debug)]
pub(super) struct Patience {
    settings: PollSettings,
    next: Duration,
    ends_at: Option<Instant>,
    /// Failures in a row.
    troubles: u32,
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
        Self { settings, next: settings.first, ends_at: None, troubles: 0 }
    }

    /// Waits for the next look.
    pub(super) async fn wait(&mut self, context: &dyn PublishContext) -> Look {
        let ends_at = *self.ends_at.get_or_insert_with(|| Instant::now() + self.settings.total);
        let left = ends_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Look::Enough;
        }
        context.pause(self.next.min(left)).await;
        self.next = (self.next * 2).min(LONGEST);
        Look::Again
    }

    /// Waits after a failure before the step is taken again. It is enough where the failure is none that passes, where
    /// it is one too many in a row, and where there is no time left.
    pub(super) async fn bear(&mut self, failure: &Failure, context: &dyn PublishContext) -> Look {
        if failure.category.is_passing() && self.bears_one_more() { self.wait(context).await } else { Look::Enough }
    }

    /// Counts one more failure; whether it can still be borne.
    pub(super) fn bears_one_more(&mut self) -> bool {
        self.troubles += 1;
        self.troubles <= BEARABLE
    }

    /// Something went well: the failures before it do not count any more.
    pub(super) fn forget_troubles(&mut self) {
        self.troubles = 0;
    }

    /// So many bytes have arrived now. Where these are more than before, what was waited for them does not count any more
    /// either.
    pub(super) fn note_progress(&mut self, before: u64, now: u64) {
        if now > before {
            *self = Self::new(self.settings);
        }
    }
}
