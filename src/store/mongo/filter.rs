//! The queries as MongoDB filters.
//!
//! Due posts are found with one range for each retry count, `failedAt` ≤ now − base × 2^k. So an index serves the
//! query, no derived data is stored, and a changed setting takes effect at once. Every branch of the `$or` repeats
//! the whole condition, so that each one is planned separately and uses the best index.

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, integer};
use crate::post::{BackoffFrom, Platform, Post};
use crate::store::query::MalformedPosts;
use crate::store::{DueQuery, ListFilter, Scope};

/// All failed posts of a scope.
fn failed(scope: Scope) -> Document {
    let platform = match scope {
        Scope::Platform(platform) => one_of(platform.spellings()),
        Scope::UnknownPlatform => {
            let known: Vec<&str> = Platform::ALL.iter().flat_map(|platform| platform.spellings()).copied().collect();
            Bson::Document(doc! { "$nin": known })
        }
    };
    doc! { "status": "failed", "platform": platform }
}

fn one_of(names: &[&str]) -> Bson {
    match names {
        [name] => Bson::String((*name).to_owned()),
        names => Bson::Document(doc! { "$in": names.to_vec() }),
    }
}

fn extended(base: &Document, more: Document) -> Document {
    let mut whole = base.clone();
    whole.extend(more);
    whole
}

/// The posts that are due.
pub(super) fn due(query: &DueQuery, malformed: MalformedPosts) -> Document {
    doc! { "$or": due_branches(query, malformed) }
}

fn due_branches(query: &DueQuery, malformed: MalformedPosts) -> Vec<Document> {
    let DueQuery { policy, now, scope } = query;
    let now_date = bson_date(*now);
    let flag = not_flagged();
    let open = extended(
        &failed(*scope),
        doc! {
            "permanentlyFailed": flag.clone(),
            "retryNotBefore": { "$not": { "$gt": now_date.clone() } },
        },
    );
    let unclaimed = extended(&open, doc! { "retryClaim": Bson::Null });
    let mut branches = Vec::new();

    for count in 0..policy.max_retries {
        let Some(latest) = policy.latest_due_anchor(count, *now) else { break };
        for range in count_ranges(count) {
            let base = extended(&unclaimed, doc! { "retryCount": range });
            branches.extend(anchored(policy.backoff_from, latest, malformed).map(|anchor| extended(&base, anchor)));
        }
    }
    // The process died. `retryNotBefore` was checked when the attempt started.
    branches
        .push(extended(&failed(*scope), doc! { "permanentlyFailed": flag, "retryClaim.until": { "$lte": now_date } }));
    branches
        .push(extended(&unclaimed, doc! { "failureCategory": "processing", "publishTicket": { "$type": "object" } }));
    if malformed == MalformedPosts::Included {
        branches.push(extended(&failed(*scope), doc! { "permanentlyFailed": { "$type": other_than(&["bool"]) } }));
        branches.push(extended(
            &failed(*scope),
            doc! {
                "permanentlyFailed": not_flagged(),
                "retryCount": { "$type": other_than(&NUMBERS) },
            },
        ));
    }
    branches
}

fn not_flagged() -> Bson {
    Bson::Document(doc! { "$in": [Bson::Null, false] })
}

/// The counters that mean `count`: fractions are rounded down, a missing or negative counter means 0, and the
/// largest count also means all larger ones.
fn count_ranges(count: u32) -> Vec<Bson> {
    match (count, count.checked_add(1)) {
        (0, _) => vec![Bson::Null, Bson::Document(doc! { "$lt": 1 })],
        (_, Some(next)) => vec![Bson::Document(doc! { "$gte": integer(count), "$lt": integer(next) })],
        (_, None) => vec![at_least(count)],
    }
}

/// The dates that make a post due if its backoff started at `latest` or earlier. If malformed posts are included,
/// `$not` also matches every other type.
fn anchored(from: BackoffFrom, latest: DateTime<Utc>, malformed: MalformedPosts) -> impl Iterator<Item = Document> {
    let date = bson_date(latest);
    let reached = match malformed {
        MalformedPosts::Excluded => doc! { "$lte": date.clone() },
        MalformedPosts::Included => doc! { "$ne": Bson::Null, "$not": { "$gt": date.clone() } },
    };
    let reached_or_none = Bson::Document(doc! { "$not": { "$gt": date } });
    let since_first_failure =
        [doc! { "failedAt": reached.clone() }, doc! { "failedAt": Bson::Null, "updatedAt": reached_or_none }];
    let branches = match from {
        BackoffFrom::FirstFailure => Vec::from(since_first_failure),
        BackoffFrom::LastAttempt => {
            let mut branches = vec![doc! { "lastRetriedAt": reached }];
            branches.extend(since_first_failure.map(|anchor| extended(&anchor, doc! { "lastRetriedAt": Bson::Null })));
            branches
        }
    };
    branches.into_iter()
}

const NUMBERS: [&str; 4] = ["double", "int", "long", "decimal"];

/// Every BSON type that a field may have by mistake, other than these and null.
fn other_than(types: &[&str]) -> Vec<Bson> {
    [
        "double",
        "string",
        "object",
        "binData",
        "objectId",
        "bool",
        "date",
        "regex",
        "int",
        "timestamp",
        "long",
        "decimal",
    ]
    .into_iter()
    .filter(|name| !types.contains(name))
    .map(Bson::from)
    .collect()
}

/// The exhausted posts that are not marked yet, without those that are running or waiting to be resumed.
pub(super) fn exhausted(query: &DueQuery) -> Document {
    extended(
        &failed(query.scope),
        doc! {
            "permanentlyFailed": not_flagged(),
            "retryCount": at_least(query.policy.max_retries),
            "retryClaim": Bson::Null,
            "$nor": [{ "failureCategory": "processing", "publishTicket": { "$type": "object" } }],
        },
    )
}

/// A counter of at least this. A missing one counts as 0.
fn at_least(count: u32) -> Bson {
    if count == 0 {
        Bson::Document(doc! { "$not": { "$type": other_than(&NUMBERS) } })
    } else {
        Bson::Document(doc! { "$gte": integer(count) })
    }
}

/// Matches the post if its retry state is unchanged and it has no valid claim by the server's clock.
pub(super) fn unchanged_since_read(id: Bson, post: &Post) -> Document {
    let retry = &post.retry;
    let date = |date: Option<DateTime<Utc>>| date.map_or(Bson::Null, bson_date);
    let count = count_ranges(retry.count).into_iter().map(|range| doc! { "retryCount": range });
    let mut filter = doc! {
        "_id": id,
        "status": "failed",
        "permanentlyFailed": not_flagged(),
        "lastRetriedAt": date(retry.last_retried_at),
        "retryNotBefore": date(retry.not_before),
        "failedAt": date(post.failed_at),
        "$or": count.collect::<Vec<_>>(),
    };
    match &retry.claim {
        None => {
            filter.insert("retryClaim", Bson::Null);
        }
        Some(dead) => {
            filter.insert("retryClaim.by", dead.by.as_str());
            filter.insert("$expr", doc! { "$lte": ["$retryClaim.until", "$$NOW"] });
        }
    }
    filter
}

/// Matches the post while this claim on it is valid by the server's clock.
pub(super) fn lease_held(id: Bson, by: &str) -> Document {
    doc! { "_id": id, "retryClaim.by": by, "$expr": { "$gt": ["$retryClaim.until", "$$NOW"] } }
}

/// Failed posts for a list.
pub(super) fn listed(filter: &ListFilter) -> Document {
    let mut conditions = vec![doc! { "status": "failed" }];
    if let Some(platform) = filter.platform {
        conditions.push(failed(Scope::Platform(platform)));
    }
    if let Some(category) = filter.category {
        conditions.push(doc! { "failureCategory": category.as_str() });
    }
    if let Some(policy) = filter.permanent {
        conditions
            .push(doc! { "$or": [{ "permanentlyFailed": true }, { "retryCount": at_least(policy.max_retries) }] });
    }
    if let Some((policy, now)) = filter.due {
        let scopes =
            Platform::ALL.into_iter().filter(|platform| filter.platform.is_none_or(|wanted| wanted == *platform));
        let branches: Vec<Document> = scopes
            .flat_map(|platform| {
                let query = DueQuery { policy, now, scope: Scope::Platform(platform) };
                due_branches(&query, MalformedPosts::Excluded)
            })
            .collect();
        conditions.push(doc! { "$or": branches });
    }
    if let Some(since) = filter.since {
        let reached = doc! { "$gte": bson_date(since) };
        conditions
            .push(doc! { "$or": [{ "failedAt": reached.clone() }, { "failedAt": Bson::Null, "updatedAt": reached }] });
    }
    doc! { "$and": conditions }
}
