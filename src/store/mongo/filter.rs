//! The queries as MongoDB filters.
//!
//! Due posts are found with one range for each retry count, `failedAt` ≤ now − base × 2^k. So an index serves the
//! query, no derived data is stored, and a changed setting takes effect at once. Every branch of the `$or` repeats
//! the whole condition, so that each one is planned separately and uses the best index.

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, integer};
use crate::post::{BackoffFrom, MAX_LEASE, Platform, Post, Settlement};
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
    // The process died, or its clock was wrong. `retryNotBefore` was checked when the attempt started.
    let latest = now.checked_add_signed(MAX_LEASE).map(|latest| doc! { "$gt": bson_date(latest) });
    for until in [Some(doc! { "$lte": now_date }), latest].into_iter().flatten() {
        let mut claim = doc! { "permanentlyFailed": flag.clone(), "retryClaim.until": until };
        if malformed == MalformedPosts::Excluded {
            claim.insert("$expr", is_readable_claim());
        }
        branches.push(extended(&failed(*scope), claim));
    }
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
        branches.extend(unreadable_claims().map(|claim| {
            let not_flagged = extended(&failed(*scope), doc! { "permanentlyFailed": flag.clone() });
            extended(&not_flagged, claim)
        }));
    }
    branches
}

/// Whether the claim has a holder and a date.
fn is_readable_claim() -> Document {
    doc! { "$and": [is_of("retryClaim.by", "string"), is_of("retryClaim.until", "date")] }
}

fn is_of(field: &str, kind: &str) -> Document {
    doc! { "$eq": [{ "$type": format!("${field}") }, kind] }
}

/// The claims without a holder or a date. `$type` never matches an empty list.
fn unreadable_claims() -> impl Iterator<Item = Document> {
    let present = doc! { "retryClaim": { "$type": other_than(&[]) }, "$expr": { "$not": [is_readable_claim()] } };
    [present, doc! { "retryClaim": Bson::Array(Vec::new()) }].into_iter()
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
            filter.insert("retryClaim.until", doc! { "$type": "date" });
            filter.insert("$expr", is_not_live("$retryClaim.until"));
        }
    }
    filter
}

/// Whether a lease until this field's date is valid by the server's clock. No other type is between two dates.
fn is_live(until: &str) -> Document {
    let latest = doc! { "$add": ["$$NOW", MAX_LEASE.num_milliseconds()] };
    doc! { "$and": [{ "$gt": [until, "$$NOW"] }, { "$lte": [until, latest] }] }
}

/// Whether there is a claim that can be read and is valid.
pub(super) fn has_live_claim() -> Document {
    doc! { "$and": [is_of("retryClaim.by", "string"), is_live("$retryClaim.until")] }
}

/// Whether there is no valid lease in this field.
pub(super) fn is_not_live(until: &str) -> Document {
    doc! { "$not": [is_live(until)] }
}

/// Matches the post while it is failed and this claim on it is valid.
pub(super) fn lease_held(id: Bson, by: &str) -> Document {
    doc! { "_id": id, "retryClaim.by": by, "status": "failed", "$expr": is_live("$retryClaim.until") }
}

/// Matches the post if this holder has claimed it and its status is not `failed` any more.
pub(super) fn changed_under_claim(id: Bson, by: &str) -> Document {
    doc! { "_id": id, "retryClaim.by": by, "status": { "$ne": "failed" } }
}

/// Matches the post if the outcome of this holder's attempt may be written. A publication is recorded as long as
/// nobody else has claimed the post. An expired claim on a post that is not failed any more is no risk either: nobody
/// else will claim it.
pub(super) fn settleable(id: Bson, by: &str, settlement: &Settlement) -> Document {
    let mut filter = doc! { "_id": id, "retryClaim.by": by };
    if settlement.publication.is_none() {
        let live = doc! { "$expr": is_live("$retryClaim.until") };
        filter.insert("$or", vec![doc! { "status": { "$ne": "failed" } }, live]);
    }
    filter
}

/// Whether these fields are exactly as in a document. An expression, because a filter would take some values for
/// operators.
pub(super) fn as_in(document: &Document, fields: &[&str]) -> Vec<Document> {
    let condition = |name: &&str| {
        let field = format!("${name}");
        match document.get(*name) {
            Some(value) => doc! { "$eq": [field, { "$literal": value.clone() }] },
            None => doc! { "$eq": [{ "$type": field }, "missing"] },
        }
    };
    fields.iter().map(condition).collect()
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
