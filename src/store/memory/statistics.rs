//! Counts over the posts and runs in memory.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::State;
use crate::post::{Platform, RetryPolicy, TokenRecord};
use crate::store::statistics_builder::{PostGroup, StatisticsBuilder, start_of_days};
use crate::store::{DayStatistics, GivenUpRecord, ListFilter, RunRecord, RunStatistics, Statistics};

/// All statistics.
pub(super) fn gather(
    state: &State,
    policy: &RetryPolicy,
    now: DateTime<Utc>,
    runs_since: Option<DateTime<Utc>>,
) -> Statistics {
    let mut builder = StatisticsBuilder::new(*policy);
    for record in state.posts.values().filter(|record| record.is_failed()) {
        let retry = &record.post.retry;
        let platform = record.platform.filter(|_| !record.is_malformed());
        builder.add_posts(PostGroup {
            platform,
            is_flagged: retry.permanently_failed,
            retry_count: retry.count,
            posts: 1,
        });
        if let Some(category) = retry.category.filter(|_| platform.is_some()) {
            builder.add_category(category.as_str(), 1);
        }
    }
    for platform in Platform::ALL {
        let due = ListFilter { platforms: vec![platform], due: Some((*policy, now)), ..ListFilter::default() };
        builder.set_due(platform, state.posts.values().filter(|record| record.passes(&due)).count() as u64);
    }
    let runs: Vec<&RunRecord> =
        state.runs.iter().filter(|run| runs_since.is_none_or(|since| run.started_at >= since)).collect();
    for count in runs.iter().flat_map(|run| run.attempts.iter()) {
        builder.add_attempts(Some(count.platform), count.into());
    }
    let tokens: Vec<TokenRecord> = state.tokens.values().filter_map(|token| token.record.clone()).collect();
    let days = days(&state.runs, start_of_days(now));
    builder.finish(RunStatistics { days, ..run_statistics(&runs) }, &tokens, given_up(&state.runs))
}

fn run_statistics(runs: &[&RunRecord]) -> RunStatistics {
    let last = runs.iter().max_by_key(|run| run.started_at);
    RunStatistics {
        run_count: runs.len() as u64,
        success_count: runs.iter().map(|run| run.totals.posted).sum(),
        error_count: runs.iter().map(|run| run.totals.failed + run.totals.permanently_failed).sum(),
        last_run: last.map(|run| run.started_at),
        last_duration_ms: last.map(|run| (run.finished_at - run.started_at).num_milliseconds()),
        last_outcome: last.map(|run| run.outcome.as_str().to_owned()),
        days: Vec::new(),
    }
}

/// The runs since then, day by day.
fn days(runs: &[RunRecord], since: DateTime<Utc>) -> Vec<DayStatistics> {
    let mut days: BTreeMap<NaiveDate, DayStatistics> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.started_at >= since) {
        let day = run.started_at.date_naive();
        let entry = days.entry(day).or_insert(DayStatistics { day, posted: 0, failed: 0 });
        entry.posted += run.totals.posted;
        entry.failed += run.totals.failed + run.totals.permanently_failed;
    }
    days.into_values().collect()
}

/// Of each platform, why its latest run gave it up, if it did.
pub(super) fn given_up(runs: &[RunRecord]) -> Vec<(Platform, GivenUpRecord)> {
    let latest = |platform: Platform| {
        let of_platform = runs.iter().filter_map(|run| {
            let entry = run.by_platform.iter().find(|entry| entry.platform == platform)?;
            Some((run.started_at, entry))
        });
        let (_, entry) = of_platform.max_by_key(|(started_at, _)| *started_at)?;
        Some((platform, entry.given_up.clone()?))
    };
    Platform::ALL.into_iter().filter_map(latest).collect()
}
