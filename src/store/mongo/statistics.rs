//! Counts that the server computes, and the record of a run as a document.

use std::convert::identity;

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::MongoPostStore;
use super::document::{bson_date, integer};
use super::place::{Place, has_no_statuses, says_nothing, spellings};
use crate::post::{Category, Platform, RetryPolicy, Totals};
use crate::store::statistics_builder::{AttemptTotals, PostGroup, StatisticsBuilder, start_of_days};
use crate::store::{
    DayStatistics, DueQuery, GivenUpRecord, PlatformRun, PostStore, RunRecord, RunStatistics, Scope, Statistics,
    StoreError,
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
    let of_platform = |entry: &PlatformRun| {
        let mut document = totals_document(entry.totals);
        document.extend(entry.given_up.as_ref().map(|given_up| ("givenUp".to_owned(), given_up_bson(given_up).into())));
        (entry.platform.as_str().to_owned(), Bson::Document(document))
    };
    let by_platform: Document = run.by_platform.iter().map(of_platform).collect();
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
        "totals": totals_document(run.totals),
        "byPlatform": by_platform,
        "attempts": attempts,
    }
}

fn totals_document(totals: Totals) -> Document {
    doc! {
        "due": whole(totals.due),
        "posted": whole(totals.posted),
        "failed": whole(totals.failed),
        "permanentlyFailed": whole(totals.permanently_failed),
        "deferred": whole(totals.deferred),
        "skipped": whole(totals.skipped),
        "flagged": whole(totals.flagged),
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The record of a platform that a run had to give up.
fn given_up_bson(given_up: &GivenUpRecord) -> Document {
    doc! {
        "category": given_up.category.as_str(),
        "reason": &given_up.reason,
        "waiting": whole(given_up.waiting),
        "since": bson_date(given_up.since),
    }
}

fn given_up_from(document: &Document) -> Option<GivenUpRecord> {
    Some(GivenUpRecord {
        category: document.get_str("category").ok()?.parse().ok()?,
        reason: document.get_str("reason").unwrap_or_default().to_owned(),
        waiting: count_in(document, "waiting"),
        since: date_in(document, "since")?,
    })
}

fn date_in(document: &Document, name: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(document.get_datetime(name).ok()?.timestamp_millis())
}

/// How many runs are read to find the latest of each platform.
const LATEST_RUNS: i64 = 50;

/// A group of failed deliveries, and the category of their last failure.
struct CategoryGroup {
    posts: PostGroup,
    category: Option<String>,
    /// Whether the document names no platform of its own.
    is_unnamed: bool,
}

impl CategoryGroup {
    fn is_like(&self, other: &Self) -> bool {
        let key = |group: &Self| (group.posts.platform, group.posts.is_flagged, group.posts.retry_count);
        key(self) == key(other) && self.category == other.category
    }
}

/// Whether another publisher has what is in this group of documents.
fn is_ours(group: &Document) -> bool {
    let key = group.get_document("_id").ok();
    let is_set = key.is_some_and(|key| key.get_bool("sheet").is_ok_and(|is_set| is_set));
    let platform = key.and_then(|key| key.get_str("platform").ok());
    !is_set || platform != Some(Platform::TikTok.as_str())
}

fn group_from(group: &Document, platform: Option<&str>) -> Option<CategoryGroup> {
    let key = group.get_document("_id").ok()?;
    Some(CategoryGroup {
        posts: PostGroup {
            platform: platform.and_then(|name| name.parse().ok()),
            is_flagged: key.get_bool("flagged").unwrap_or(false),
            retry_count: u32::try_from(count_in(key, "count")).unwrap_or(u32::MAX),
            posts: count_in(group, "n"),
        },
        category: key.get_str("category").ok().map(str::to_owned),
        is_unnamed: platform.is_none() && matches!(key.get("platform"), None | Some(Bson::Null)),
    })
}

/// Whether another publisher has been told of the document.
fn sheet() -> Document {
    doc! { "$ne": [{ "$ifNull": ["$sheetTriggeredAt", Bson::Null] }, Bson::Null] }
}

/// The name of a category, as an expression. What documents say is not made a key: it may be of any size.
fn category_name(field: &str) -> Document {
    let known: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
    let otherwise =
        doc! { "$cond": [{ "$eq": [{ "$type": field }, "string"] }, Category::Unknown.as_str(), Bson::Null] };
    doc! { "$cond": [{ "$in": [field, known] }, field, otherwise] }
}

/// The name of a platform, as an expression: null if there is none, and the same for all that are not known.
fn platform_name(name: impl Into<Bson>) -> Document {
    let known: Vec<&str> = spellings().collect();
    let otherwise = doc! { "$cond": [{ "$eq": [{ "$ifNull": ["$$name", Bson::Null] }, Bson::Null] }, Bson::Null, "?"] };
    doc! { "$let": {
        "vars": { "name": name.into() },
        "in": { "$cond": [{ "$in": ["$$name", known] }, "$$name", otherwise] },
    } }
}

/// Groups deliveries by what the statistics tell apart.
fn grouped_by(place: &Place, more: Document) -> Document {
    let field = |name: &str| format!("${}", place.retry(name));
    let count = field("retryCount");
    let whole_count = doc! { "$cond": [{ "$isNumber": count.as_str() }, { "$max": [0, { "$floor": count }] }, 0] };
    let mut key = doc! {
        "flagged": { "$eq": [field("permanentlyFailed"), true] },
        "count": { "$toLong": { "$min": [whole_count, 1_000_000] } },
        "category": category_name(&field("failureCategory")),
    };
    key.extend(more);
    doc! { "$group": { "_id": key, "n": { "$sum": 1 } } }
}

/// The posts for one platform. An index covers everything that is asked for.
fn groups_of_root() -> Vec<Document> {
    let statuses = spellings().map(|name| format!("$platformStatus.{name}.status"));
    // What the index tells of a field that is missing is null, and what a list has for it is an empty list.
    let is_missing = |field: String| {
        doc! { "$or": [{ "$in": [{ "$type": field.as_str() }, ["missing", "null"]] }, { "$eq": [field, []] }] }
    };
    let missing: Vec<Document> = statuses.map(is_missing).collect();
    let is_root = doc! { "$and": missing };
    vec![
        doc! { "$match": { "status": "failed" } },
        grouped_by(&Place::Root, doc! { "platform": platform_name("$platform"), "sheet": sheet(), "isRoot": is_root }),
        doc! { "$match": { "_id.isRoot": true } },
    ]
}

impl MongoPostStore {
    pub(super) async fn gather_statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        let mut builder = StatisticsBuilder::new(*policy);
        for group in self.post_groups().await?.into_iter().filter(|group| group.posts.posts > 0) {
            builder.add_posts(group.posts);
            if let Some(name) = group.category {
                builder.add_category(&name, group.posts.posts);
            }
        }
        for platform in Platform::ALL {
            let query = DueQuery { policy: *policy, now, scope: Scope::Platform(platform) };
            builder.set_due(platform, self.count_due(&query, None).await?);
        }
        let runs = self.run_statistics(now, runs_since, &mut builder).await?;
        Ok(builder.finish(runs, &self.all_tokens().await?, self.latest_given_up().await?))
    }

    /// Of each platform, why its latest run gave it up, if it did.
    pub(super) async fn latest_given_up(&self) -> Result<Vec<(Platform, GivenUpRecord)>, StoreError> {
        // In the order in which they were recorded, which needs no index and no look at the runs of years.
        let newest = self.runs.find(doc! {}).sort(doc! { "$natural": -1 }).limit(LATEST_RUNS);
        let fields = doc! { "byPlatform": 1, "startedAt": 1 };
        let mut runs = self.run_query("read runs from", newest.projection(fields)).await?;
        runs.sort_by_key(|run| std::cmp::Reverse(date_in(run, "startedAt")));
        let latest = |platform: Platform| {
            let mut of_platform =
                runs.iter().filter_map(|run| run.get_document("byPlatform").ok()?.get_document(platform.as_str()).ok());
            let given_up = of_platform.next()?.get_document("givenUp").ok().and_then(given_up_from)?;
            Some((platform, given_up))
        };
        Ok(Platform::ALL.into_iter().filter_map(latest).collect())
    }

    /// All failed deliveries in groups, each kind of document by an index of its own.
    async fn post_groups(&self) -> Result<Vec<CategoryGroup>, StoreError> {
        let mut groups = Vec::new();
        let of_root = self.collect_hinted(groups_of_root(), super::index::DUE, identity).await?;
        groups.extend(of_root.iter().filter(|group| is_ours(group)).filter_map(|group| {
            let key = group.get_document("_id").ok()?;
            group_from(group, key.get_str("platform").ok())
        }));
        // The platform of these is only in the list of platforms.
        groups.retain(|group| !group.is_unnamed);
        let mut unnamed = doc! { "status": "failed", "platform": Bson::Null };
        unnamed.extend(has_no_statuses());
        let name = doc! { "$cond": [{ "$isArray": "$platforms" }, { "$first": "$platforms" }, Bson::Null] };
        let pipeline = vec![
            doc! { "$match": unnamed },
            grouped_by(&Place::Root, doc! { "platform": platform_name(name), "sheet": sheet() }),
        ];
        let of_unnamed = self.collect(pipeline, identity).await?;
        groups.extend(of_unnamed.iter().filter(|group| is_ours(group)).filter_map(|group| {
            let key = group.get_document("_id").ok()?;
            group_from(group, key.get_str("platform").ok()).map(|group| CategoryGroup { is_unnamed: false, ..group })
        }));
        self.leave_out_silent(&mut groups).await?;
        let unknown =
            PostGroup { platform: None, is_flagged: false, retry_count: 0, posts: self.count_unknown_entries().await? };
        groups.push(CategoryGroup { posts: unknown, category: None, is_unnamed: false });
        for name in spellings() {
            let place = Place::entry(name);
            let pipeline = vec![doc! { "$match": place.counted() }, grouped_by(&place, Document::new())];
            let of_entries = self.collect(pipeline, identity).await?;
            groups.extend(of_entries.iter().filter_map(|group| group_from(group, Some(name))));
        }
        Ok(groups)
    }

    /// Takes documents that have no delivery out of the groups of posts for one platform.
    async fn leave_out_silent(&self, groups: &mut [CategoryGroup]) -> Result<(), StoreError> {
        let by = grouped_by(&Place::Root, doc! { "platform": platform_name("$platform"), "sheet": sheet() });
        let silent = self.collect(vec![doc! { "$match": says_nothing() }, by], identity).await?;
        for group in silent.iter().filter(|group| is_ours(group)) {
            let platform = group.get_document("_id").ok().and_then(|key| key.get_str("platform").ok());
            let Some(silent) = group_from(group, platform) else { continue };
            if let Some(counted) = groups.iter_mut().find(|group| group.is_like(&silent)) {
                counted.posts.posts = counted.posts.posts.saturating_sub(silent.posts.posts);
            }
        }
        Ok(())
    }

    async fn run_statistics(
        &self,
        now: DateTime<Utc>,
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
        let days = vec![
            doc! { "$match": { "startedAt": { "$gte": bson_date(start_of_days(now)) } } },
            doc! { "$group": {
                "_id": { "$dateToString": { "date": "$startedAt", "format": "%Y-%m-%d" } },
                "posted": { "$sum": "$totals.posted" },
                "failed": { "$sum": { "$add": ["$totals.failed", "$totals.permanentlyFailed"] } },
            } },
            doc! { "$sort": { "_id": 1 } },
        ];
        let days = self.run_query(action, self.runs.aggregate(days)).await?;
        let day_from = |group: &Document| {
            let day = group.get_str("_id").ok()?.parse().ok()?;
            Some(DayStatistics { day, posted: count_in(group, "posted"), failed: count_in(group, "failed") })
        };
        let last = self.run(action, self.runs.find_one(wanted).sort(doc! { "startedAt": -1 })).await?;
        let sum = |name: &str| sums.first().map_or(0, |sums| count_in(sums, name));
        Ok(RunStatistics {
            run_count: sum("runs"),
            success_count: sum("posted"),
            error_count: sum("failed"),
            last_run: last.as_ref().and_then(|run| date_in(run, "startedAt")),
            last_duration_ms: last.as_ref().and_then(|run| run.get_i64("durationMs").ok()),
            last_outcome: last.as_ref().and_then(|run| run.get_str("outcome").ok()).map(str::to_owned),
            days: days.iter().filter_map(day_from).collect(),
        })
    }
}
