//! Counts, made by the server; and the record of a run as a document.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, integer};
use super::{MongoPostStore, filter};
use crate::post::{Category, Platform, RetryPolicy, Totals};
use crate::store::query::MalformedPosts;
use crate::store::{
    AttemptStatistics, DueQuery, PlatformStatistics, RunRecord, RunStatistics, Scope, Statistics, StoreError,
};

/// A count in a document, whatever number type the server chose.
pub(super) fn count_in(document: &Document, name: &str) -> u64 {
    let count = match document.get(name) {
        Some(Bson::Int32(count)) => i64::from(*count),
        Some(Bson::Int64(count)) => *count,
        _ => 0,
    };
    u64::try_from(count).unwrap_or(0)
}

/// The record of a run.
pub(super) fn run_document(run: &RunRecord) -> Document {
    let duration = (run.finished_at - run.started_at).num_milliseconds();
    let by_platform: Document =
        run.by_platform.iter().map(|(platform, totals)| (platform.as_str().to_owned(), totals_bson(*totals))).collect();
    let attempts: Vec<Document> = run
        .attempts
        .iter()
        .map(|count| {
            doc! {
                "platform": count.platform.as_str(), "attempt": integer(count.attempt),
                "after": count.after.map(Category::as_str),
                "attempts": whole(count.attempts), "posted": whole(count.posted),
            }
        })
        .collect();
    doc! {
        "_id": &run.id,
        "command": run.command,
        "startedAt": bson_date(run.started_at),
        "finishedAt": bson_date(run.finished_at),
        "durationMs": duration,
        "host": &run.host,
        "version": env!("CARGO_PKG_VERSION"),
        "outcome": run.outcome.as_str(),
        "totals": totals_bson(run.totals),
        "byPlatform": by_platform,
        "attempts": attempts,
    }
}

fn totals_bson(totals: Totals) -> Bson {
    Bson::Document(doc! {
        "due": whole(totals.due),
        "posted": whole(totals.posted),
        "failed": whole(totals.failed),
        "permanentlyFailed": whole(totals.permanently_failed),
        "deferred": whole(totals.deferred),
        "skipped": whole(totals.skipped),
        "flagged": whole(totals.flagged),
    })
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl MongoPostStore {
    pub(super) async fn gather_statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        // Both go over all failed posts, each on an index of its own.
        let (mut statistics, by_category) = tokio::try_join!(self.post_statistics(policy), self.category_statistics())?;
        statistics.by_category = by_category;
        for entry in &mut statistics.by_platform {
            let query = DueQuery { policy: *policy, now, scope: Scope::Platform(entry.platform) };
            let due = self.posts.count_documents(filter::due(&query, MalformedPosts::Excluded));
            entry.due = self.run("count posts in", due).await?;
            statistics.due += entry.due;
        }
        statistics.runs = self.run_statistics(runs_since, &mut statistics).await?;
        let tokens = self.all_tokens().await?;
        statistics.tokens = tokens.iter().map(|token| (token.platform, token.lapses_at())).collect();
        statistics.tokens.sort_unstable_by_key(|(platform, _)| *platform);
        Ok(statistics)
    }

    /// One pass over the failed posts, grouped; an index covers it.
    async fn post_statistics(&self, policy: &RetryPolicy) -> Result<Statistics, StoreError> {
        let whole_count = doc! { "$cond": [
            { "$isNumber": "$retryCount" },
            { "$max": [0, { "$floor": "$retryCount" }] },
            0,
        ] };
        let pipeline = vec![
            doc! { "$match": { "status": "failed" } },
            doc! { "$group": {
                "_id": {
                    "platform": "$platform",
                    "flagged": { "$eq": ["$permanentlyFailed", true] },
                    "count": { "$toLong": { "$min": [whole_count, 1_000_000] } },
                },
                "n": { "$sum": 1 },
            } },
        ];
        let mut statistics =
            Statistics { by_platform: Platform::ALL.map(PlatformStatistics::none).to_vec(), ..Statistics::default() };
        let mut distribution: BTreeMap<u32, u64> = BTreeMap::new();
        for group in self.collect(pipeline).await? {
            let Ok(key) = group.get_document("_id") else { continue };
            let posts = count_in(&group, "n");
            let count = u32::try_from(count_in(key, "count")).unwrap_or(u32::MAX);
            let is_permanent = key.get_bool("flagged").unwrap_or(false) || policy.is_exhausted(count);
            *distribution.entry(count).or_default() += posts;
            statistics.total_failed += posts;
            statistics.permanently_failed += if is_permanent { posts } else { 0 };
            let platform = key.get_str("platform").ok().and_then(|name| name.parse::<Platform>().ok());
            let entry = statistics.by_platform.iter_mut().find(|entry| Some(entry.platform) == platform);
            if let Some(entry) = entry {
                entry.failed += posts;
                entry.permanently_failed += if is_permanent { posts } else { 0 };
            }
        }
        statistics.retry_distribution = distribution.into_iter().collect();
        Ok(statistics)
    }

    async fn category_statistics(&self) -> Result<Vec<(Category, u64)>, StoreError> {
        let pipeline = vec![
            doc! { "$match": { "status": "failed", "failureCategory": { "$type": "string" } } },
            doc! { "$group": { "_id": "$failureCategory", "n": { "$sum": 1 } } },
        ];
        let mut counts: BTreeMap<Category, u64> = BTreeMap::new();
        for group in self.collect(pipeline).await? {
            let name = group.get_str("_id").unwrap_or_default();
            *counts.entry(name.parse().unwrap_or(Category::Unknown)).or_default() += count_in(&group, "n");
        }
        let mut counts: Vec<(Category, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(category, count)| (std::cmp::Reverse(*count), *category));
        Ok(counts)
    }

    async fn run_statistics(
        &self,
        since: Option<DateTime<Utc>>,
        statistics: &mut Statistics,
    ) -> Result<RunStatistics, StoreError> {
        let wanted = since.map_or_else(Document::new, |since| doc! { "startedAt": { "$gte": bson_date(since) } });
        let action = "read runs from";
        let sums = vec![
            doc! { "$match": wanted.clone() },
            doc! { "$group": {
                "_id": null,
                "runs": { "$sum": 1 },
                "posted": { "$sum": "$totals.posted" },
                "failed": { "$sum": { "$add": ["$totals.failed", "$totals.permanentlyFailed"] } },
            } },
        ];
        let attempts = vec![
            doc! { "$match": wanted.clone() },
            doc! { "$unwind": "$attempts" },
            doc! { "$group": {
                "_id": {
                    "platform": "$attempts.platform", "attempt": "$attempts.attempt", "after": "$attempts.after",
                },
                "attempts": { "$sum": "$attempts.attempts" },
                "posted": { "$sum": "$attempts.posted" },
            } },
            doc! { "$sort": { "_id.attempt": 1 } },
        ];
        let sums = self.run_query(action, self.runs.aggregate(sums)).await?;
        for group in self.run_query(action, self.runs.aggregate(attempts)).await? {
            let Ok(key) = group.get_document("_id") else { continue };
            let attempt = u32::try_from(count_in(key, "attempt")).unwrap_or(u32::MAX);
            let (attempts, posted) = (count_in(&group, "attempts"), count_in(&group, "posted"));
            let platform = key.get_str("platform").ok().and_then(|name| name.parse::<Platform>().ok());
            let after = key.get_str("after").ok().and_then(|name| name.parse().ok());
            statistics.count_attempts(platform, after, AttemptStatistics { attempt, attempts, posted });
        }
        let last = self.run(action, self.runs.find_one(wanted).sort(doc! { "startedAt": -1 })).await?;
        let sum = |name: &str| sums.first().map_or(0, |sums| count_in(sums, name));
        Ok(RunStatistics {
            run_count: sum("runs"),
            success_count: sum("posted"),
            error_count: sum("failed"),
            last_run: last
                .as_ref()
                .and_then(|run| run.get_datetime("startedAt").ok())
                .and_then(|date| DateTime::from_timestamp_millis(date.timestamp_millis())),
            last_duration_ms: last.as_ref().and_then(|run| run.get_i64("durationMs").ok()),
            last_outcome: last.as_ref().and_then(|run| run.get_str("outcome").ok()).map(str::to_owned),
        })
    }
}
