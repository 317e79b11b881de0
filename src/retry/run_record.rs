//! The record of a run for the statistics, built in one place for `run` and `retry`.

use chrono::{DateTime, Utc};

use super::context::RetryContext;
use super::report::{AttemptReport, GivenUp, PassReport, PlatformReport};
use super::retry_post::ActivePlatforms;
use crate::post::{AttemptCounts, Category, Outcome, Platform, Totals};
use crate::store::{GivenUpRecord, ListFilter, PlatformRun, RunOutcome, RunRecord, StoreError};

/// The record of a pass. `previous` is what the store has said before it of the platforms that were skipped.
pub async fn pass_record(
    context: &RetryContext,
    report: &PassReport,
    outcome: RunOutcome,
    previous: &[(Platform, GivenUpRecord)],
) -> RunRecord {
    let mut by_platform = Vec::new();
    for entry in &report.platforms {
        let earlier = record_of(previous, entry.platform);
        let unresolved = earlier.filter(|record| record.category.needs_person() && !entry.has_accepted_credentials);
        let given_up = match (&entry.given_up, unresolved) {
            (Some(given_up), unresolved) if unresolved.is_none() || given_up.category.needs_person() => {
                Some(new_record(given_up, earlier, report.started_at))
            }
            (_, Some(record)) => still_waiting(context, entry, record).await,
            (_, None) => None,
        };
        by_platform.push(PlatformRun { platform: entry.platform, totals: entry.totals, given_up });
    }
    RunRecord {
        id: report.run_id.clone(),
        command: "run",
        started_at: report.started_at,
        finished_at: report.finished_at,
        host: context.host.clone(),
        outcome,
        totals: report.totals(),
        by_platform,
        attempts: report.attempts.clone(),
    }
}

/// What is recorded of a platform.
fn record_of(records: &[(Platform, GivenUpRecord)], platform: Platform) -> Option<&GivenUpRecord> {
    records.iter().find(|(known, _)| *known == platform).map(|(_, record)| record)
}

/// Since when a platform has been skipped for this category, in one run after another.
fn since(earlier: Option<&GivenUpRecord>, category: Category, started_at: DateTime<Utc>) -> DateTime<Utc> {
    earlier.filter(|record| record.category == category).map_or(started_at, |record| record.since)
}

fn new_record(given_up: &GivenUp, earlier: Option<&GivenUpRecord>, started_at: DateTime<Utc>) -> GivenUpRecord {
    GivenUpRecord {
        category: given_up.category,
        reason: given_up.reason.clone(),
        waiting: given_up.waiting,
        since: since(earlier, given_up.category, started_at),
    }
}

/// The record of a platform that waited for a person before the pass, and that the pass did not reach: it still waits,
/// unless it has no post left that could, or is not configured any more.
async fn still_waiting(
    context: &RetryContext,
    entry: &PlatformReport,
    record: &GivenUpRecord,
) -> Option<GivenUpRecord> {
    if !entry.is_configured {
        return None;
    }
    let is_due = entry.totals.due > 0;
    let waiting = if is_due {
        entry.totals.skipped.saturating_add(entry.totals.deferred)
    } else {
        count_refused(context, entry.platform, record).await
    };
    (is_due || waiting > 0).then(|| GivenUpRecord { waiting, ..record.clone() })
}

/// How many posts have not been attempted since the platform refused them for this category.
async fn count_refused(context: &RetryContext, platform: Platform, record: &GivenUpRecord) -> u64 {
    let filter = ListFilter { platforms: vec![platform], categories: vec![record.category], ..ListFilter::default() };
    let permanent = ListFilter { permanent: Some(context.policy), ..filter.clone() };
    let count = async {
        let all = context.store.count(&filter).await?;
        Ok::<_, StoreError>(all.saturating_sub(context.store.count(&permanent).await?))
    };
    let counted = tokio::select! {
        counted = count => counted.ok(),
        () = context.shutdown.stopping() => None,
    };
    // Without a count the platform is taken to wait as before.
    counted.unwrap_or_else(|| record.waiting.max(1))
}

/// The record of a `retry` that began at `started_at`; none if it made no attempt. `previous` is what the store has
/// said before it of the platforms that were skipped.
pub fn retry_record<'a>(
    context: &RetryContext,
    attempts: impl Iterator<Item = &'a AttemptReport> + Clone,
    platforms: &ActivePlatforms,
    previous: &[(Platform, GivenUpRecord)],
    started_at: DateTime<Utc>,
    outcome: RunOutcome,
) -> Option<RunRecord> {
    // Of a withdrawn attempt nothing was started.
    let attempts = attempts.filter(|attempt| attempt.outcome != Outcome::Withdrawn);
    let of_platform = |platform: Platform| {
        let attempts = attempts.clone().filter(|attempt| attempt.platform == platform);
        let mut totals = Totals::default();
        attempts.clone().for_each(|attempt| totals.count(attempt.outcome));
        if totals.is_empty() {
            return None;
        }
        let earlier = record_of(previous, platform).filter(|record| record.category.needs_person());
        let given_up = match verdict_of(attempts) {
            // A platform that no pass has skipped yet is news for the next one, which sends the alert.
            Verdict::Refused { category, reason, posts } => earlier.cloned().map(|earlier| {
                if earlier.category == category {
                    GivenUpRecord { reason, waiting: earlier.waiting.max(posts), ..earlier }
                } else {
                    earlier
                }
            }),
            Verdict::Accepted => None,
            Verdict::Unknown if platforms.has_accepted_credentials(platform) => None,
            Verdict::Unknown => earlier.cloned(),
        };
        Some(PlatformRun { platform, totals, given_up })
    };
    let by_platform: Vec<PlatformRun> = Platform::ALL.into_iter().filter_map(of_platform).collect();
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

/// What attempts have shown of an account.
enum Verdict {
    /// A person is needed, for the reason of the last of so many posts.
    Refused { category: Category, reason: String, posts: u64 },
    /// A post was published.
    Accepted,
    /// Nothing.
    Unknown,
}

/// What the attempts at posts of one platform have shown of the account. The last one that shows anything counts.
fn verdict_of<'a>(attempts: impl Iterator<Item = &'a AttemptReport>) -> Verdict {
    let mut verdict = Verdict::Unknown;
    let mut posts = 0;
    for attempt in attempts {
        let category = attempt.category.filter(|category| category.needs_person());
        match (attempt.outcome, category) {
            (Outcome::Posted, _) => (verdict, posts) = (Verdict::Accepted, 0),
            (Outcome::Deferred, Some(category)) => {
                posts += 1;
                verdict = Verdict::Refused { category, reason: attempt.error.clone().unwrap_or_default(), posts };
            }
            _ => {}
        }
    }
    verdict
}

/// The attempts by platform, number and cause.
fn attempt_counts<'a>(attempts: impl Iterator<Item = &'a AttemptReport>) -> AttemptCounts {
    let mut counts = AttemptCounts::default();
    attempts.for_each(|attempt| attempt.count_in(&mut counts));
    counts
}
