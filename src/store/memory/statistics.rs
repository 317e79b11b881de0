//! Counts over the posts and runs in memory.

use chrono::{DateTime, Utc};

use super::State;
use crate::post::{Platform, RetryPolicy, TokenRecord};
use crate::store::statistics_builder::{PostGroup, StatisticsBuilder};
use crate::store::{ListFilter, RunRecord, RunStatistics, Statistics};

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
        builder.add_posts(PostGroup {
            platform: record.platform,
            is_flagged: retry.permanently_failed,
            retry_count: retry.count,
            posts: 1,
        });
        if let Some(category) = retry.category {
            builder.add_category(category.as_str(), 1);
        }
    }
    for platform in Platform::ALL {
        let due = ListFilter { platform: Some(platform), due: Some((*policy, now)), ..ListFilter::default() };
        builder.set_due(platform, state.posts.values().filter(|record| record.passes(&due)).count() as u64);
    }
    let runs: Vec<&RunRecord> =
        state.runs.iter().filter(|run| runs_since.is_none_or(|since| run.started_at >= since)).collect();
    for count in runs.iter().flat_map(|run| run.attempts.iter()) {
        builder.add_attempts(Some(count.platform), count.into());
    }
    let tokens: Vec<TokenRecord> = state.tokens.values().filter_map(|token| token.record.clone()).collect();
    builder.finish(run_statistics(&runs), &tokens)
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
    }
}
