//! The record of a run for the statistics, built in one place for `run` and `retry`.

use chrono::{DateTime, Utc};

use super::context::RetryContext;
use super::report::{AttemptReport, PassReport, PlatformReport};
use crate::post::{AttemptCounts, Outcome, Platform, Totals};
use crate::store::{GivenUpRecord, PlatformRun, RunOutcome, RunRecord};

/// The record of a pass. `previous` is what the store has said before it of the platforms that were given up.
pub fn pass_record(
    context: &RetryContext,
    report: &PassReport,
    outcome: RunOutcome,
    previous: &[(Platform, GivenUpRecord)],
) -> RunRecord {
    let of_platform = |entry: &PlatformReport| PlatformRun {
        platform: entry.platform,
        totals: entry.totals,
        given_up: entry.given_up.as_ref().map(|given_up| {
            let earlier = previous.iter().find(|(platform, _)| *platform == entry.platform).map(|(_, record)| record);
            let since = earlier.filter(|record| record.category == given_up.category).map(|record| record.since);
            GivenUpRecord {
                category: given_up.category,
                reason: given_up.reason.clone(),
                waiting: given_up.waiting,
                since: since.unwrap_or(report.started_at),
            }
        }),
    };
    RunRecord {
        id: report.run_id.clone(),
        command: "run",
        started_at: report.started_at,
        finished_at: report.finished_at,
        host: context.host.clone(),
        outcome,
        totals: report.totals(),
        by_platform: report.platforms.iter().map(of_platform).collect(),
        attempts: report.attempts.clone(),
    }
}

/// The record of a `retry` that began at `started_at`; none if it made no attempt.
pub fn retry_record<'a>(
    context: &RetryContext,
    attempts: impl Iterator<Item = &'a AttemptReport> + Clone,
    started_at: DateTime<Utc>,
    outcome: RunOutcome,
) -> Option<RunRecord> {
    // Of a withdrawn attempt nothing was started.
    let attempts = attempts.filter(|attempt| attempt.outcome != Outcome::Withdrawn);
    let totals_of = |platform: Platform| {
        let mut totals = Totals::default();
        attempts
            .clone()
            .filter(|attempt| attempt.platform == platform)
            .for_each(|attempt| totals.count(attempt.outcome));
        (!totals.is_empty()).then_some(PlatformRun { platform, totals, given_up: None })
    };
    let by_platform: Vec<PlatformRun> = Platform::ALL.into_iter().filter_map(totals_of).collect();
    if by_platform.is_empty() {
        return None;
    }
    Some(RunRecord {
        id: uuid::Uuid::new_v4().to_string(),
        command: "retry",
        started_at,
        finished_at: context.clock.now(),
        host: context.host.clone(),
        outcome,
        totals: by_platform.iter().map(|entry| entry.totals).sum(),
        by_platform,
        attempts: attempt_counts(attempts),
    })
}

/// The attempts by platform, number and cause.
fn attempt_counts<'a>(attempts: impl Iterator<Item = &'a AttemptReport>) -> AttemptCounts {
    let mut counts = AttemptCounts::default();
    attempts.for_each(|attempt| attempt.count_in(&mut counts));
    counts
}
