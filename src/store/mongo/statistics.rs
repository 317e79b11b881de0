//! Counts that the server computes, and the record of a run as a document.

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, integer};
use super::{MongoPostStore, filter};
use crate::post::{Category, Platform, RetryPolicy, Totals};
use crate::store::query::MalformedPosts;
use crate::store::statistics_builder::{AttemptTotals, PostGroup, StatisticsBuilder};
use crate::store::{DueQuery, RunRecord, RunStatistics, Scope, Statistics, StoreError};

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
        let mut builder = StatisticsBuilder::new(*policy);
        // Both read all failed posts, each by an index of its own.
        let (groups, categories) = tokio::try_join!(self.post_groups(), self.category_counts())?;
        for group in groups {
            builder.add_posts(group);
        }
        for (name, posts) in categories {
            builder.add_category(&name, posts);
        }
        for platform in Platform::ALL {
            let query = DueQuery { policy: *policy, now, scope: Scope::Platform(platform) };
            let due = self.posts.count_documents(filter::due(&query, MalformedPosts::Excluded));
            builder.set_due(platform, self.run("count posts in", due).await?);
        }
        let runs = self.run_statistics(runs_since, &mut builder).await?;
        Ok(builder.finish(runs, &self.all_tokens().await?))
    }

    /// The failed posts, grouped in one pass that an index covers.
    async fn post_groups(&self) -> Result<Vec<PostGroup>, StoreError> {
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
        let groups = self.collect(pipeline).await?;
        let read = |group: &Document| {
            let key = group.get_document("_id").ok()?;
            Some(PostGroup {
                platform: key.get_str("platform").ok().and_then(|name| name.parse().ok()),
                is_flagged: key.get_bool("flagged").unwrap_or(false),
                retry_count: u32::try_from(count_in(key, "count")).unwrap_or(u32::MAX),
                posts: count_in(group, "n"),
            })
        };
        Ok(groups.iter().filter_map(read).collect())
    }

    async fn category_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let pipeline = vec![
            doc! { "$match": { "status": "failed", "failureCategory": { "$type": "string" } } },
            doc! { "$group": { "_id": "$failureCategory", "n": { "$sum": 1 } } },
        ];
        let groups = self.collect(pipeline).await?;
        let read = |group: &Document| Some((group.get_str("_id").ok()?.to_owned(), count_in(group, "n")));
        Ok(groups.iter().filter_map(read).collect())
    }

    async fn run_statistics(
        &self,
        since: Option<DateTime<Utc>>,
        builder: &mut StatisticsBuilder,
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
        ];
        let sums = self.run_query(action, self.runs.aggregate(sums)).await?;
        for group in self.run_query(action, self.runs.aggregate(attempts)).await? {
            let Ok(key) = group.get_document("_id") else { continue };
            let platform = key.get_str("platform").ok().and_then(|name| name.parse().ok());
            let totals = AttemptTotals {
                attempt: u32::try_from(count_in(key, "attempt")).unwrap_or(u32::MAX),
                after: key.get_str("after").ok().and_then(|name| name.parse().ok()),
                attempts: count_in(&group, "attempts"),
                posted: count_in(&group, "posted"),
            };
            builder.add_attempts(platform, totals);
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
