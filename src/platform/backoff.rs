//! How an attempt waits for a platform that is processing or for the moment unavailable.
#![warn(clippy::arithmetic_side_effects)]

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;

use super::PublishContext;
use crate::post::Failure;

/// The longest wait between two polls.
const LONGEST: Duration = Duration::from_secs(60);

/// How an attempt polls.
#[derive(Debug, Clone, Copy)]
pub struct PollSettings {
    /// The first wait; it doubles up to one minute.
    pub first: Duration,
    /// How long to poll in all.
    pub total: Duration,
}

/// Waits that double, within a total, with a budget of failures in a row. The total begins with the first wait, so
/// that an upload that takes long takes nothing from it.
#[derive(Debug)]
pub(super) struct PollBackoff {
    settings: PollSettings,
    next: Duration,
    ends_at: Option<Instant>,
    budget: RetryBudget,
}

impl PollBackoff {
    pub(super) fn new(settings: PollSettings) -> Self {
        Self { settings, next: settings.first, ends_at: None, budget: RetryBudget::default() }
    }

    /// Waits for the next poll; breaks without waiting when the total is used up.
    pub(super) async fn wait(&mut self, context: &dyn PublishContext) -> ControlFlow<()> {
        let now = Instant::now();
        let ends_at = *self.ends_at.get_or_insert_with(|| now.checked_add(self.settings.total).unwrap_or(now));
        let left = ends_at.saturating_duration_since(now);
        if left.is_zero() {
            return ControlFlow::Break(());
        }
        context.platform_awaited();
        context.sleep(self.next.min(left)).await;
        self.next = self.next.saturating_mul(2).min(LONGEST);
        ControlFlow::Continue(())
    }

    /// Waits before a failed step is taken again. Breaks if the failure is not transient or one too many in a row, if the
    /// platform asks for a longer wait than the next one, and if the total is used up.
    pub(super) async fn wait_after(&mut self, failure: &Failure, context: &dyn PublishContext) -> ControlFlow<()> {
        let asked = failure.retry_at.map(|at| at.signed_duration_since(context.now()));
        // A time that has passed asks for nothing.
        let asks_for_longer = asked.is_some_and(|wait| wait.to_std().is_ok_and(|wait| wait > self.next));
        if failure.category.is_transient() && !asks_for_longer && self.budget.try_consume() {
            self.wait(context).await
        } else {
            ControlFlow::Break(())
        }
    }

    /// The budget of failures in a row.
    pub(super) fn budget(&mut self) -> &mut RetryBudget {
        &mut self.budget
    }

    /// Starts anew, after progress: what was waited and what failed before does not count any more.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.settings);
    }
}

/// How many failures in a row an attempt takes before it fails itself.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    used: u32,
}

impl RetryBudget {
    const SIZE: u32 = 3;

    /// Takes one retry; false if none is left.
    pub(super) fn try_consume(&mut self) -> bool {
        self.used = self.used.saturating_add(1);
        self.used <= Self::SIZE
    }

    /// Something succeeded: the failures before it do not count any more.
    pub(super) fn reset(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::test_context::TestContext;
    use crate::post::Category;

    fn seconds(first: u64, total: u64) -> PollSettings {
        PollSettings { first: Duration::from_secs(first), total: Duration::from_secs(total) }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_a_minute_and_end_with_the_total() {
        let (context, started) = (TestContext::default(), Instant::now());
        let mut backoff = PollBackoff::new(seconds(10, 200));
        let mut waits = Vec::new();
        loop {
            let before = Instant::now();
            if backoff.wait(&context).await.is_break() {
                break;
            }
            waits.push(before.elapsed().as_secs());
        }
        assert_eq!(waits, [10, 20, 40, 60, 60, 10]);
        assert_eq!(started.elapsed().as_secs(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_that_asks_for_longer_than_the_next_wait_ends_it() {
        let context = TestContext::default();
        let mut backoff = PollBackoff::new(seconds(10, 600));
        let in_seconds = |after: i64| {
            let at = context.now() + chrono::TimeDelta::seconds(after);
            Failure::new(Category::PlatformOutage, "").retry_at(Some(at))
        };
        assert!(backoff.wait_after(&in_seconds(9), &context).await.is_continue());
        assert!(backoff.wait_after(&in_seconds(21), &context).await.is_break());
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_begins_with_the_first_wait() {
        let context = TestContext::default();
        let mut backoff = PollBackoff::new(seconds(1, 5));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(backoff.wait(&context).await.is_continue());
    }

    #[tokio::test(start_paused = true)]
    async fn the_fourth_transient_failure_in_a_row_ends_it_and_any_other_at_once() {
        let context = TestContext::default();
        let (network, auth) = (Failure::new(Category::Network, ""), Failure::new(Category::Auth, ""));
        let mut backoff = PollBackoff::new(seconds(1, 600));
        assert!(backoff.wait_after(&auth, &context).await.is_break());
        for _ in 0..3 {
            assert!(backoff.wait_after(&network, &context).await.is_continue());
        }
        assert!(backoff.wait_after(&network, &context).await.is_break());
        backoff.budget().reset();
        assert!(backoff.wait_after(&network, &context).await.is_continue());
        backoff.restart();
        for _ in 0..3 {
            assert!(backoff.wait_after(&network, &context).await.is_continue());
        }
    }
}
