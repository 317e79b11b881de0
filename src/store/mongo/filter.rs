//! The conditions of writes, and what all conditions are made of, as MongoDB filters.

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, integer, value_at};
use super::identity::with_id;
use super::place::Place;
use crate::post::{MAX_LEASE, Post, Settlement};

pub(super) fn one_of(names: &[&str]) -> Bson {
    match names {
        [name] => Bson::String((*name).to_owned()),
        names => Bson::Document(doc! { "$in": names.to_vec() }),
    }
}

pub(super) fn extended(base: &Document, more: Document) -> Document {
    let mut whole = base.clone();
    whole.extend(more);
    whole
}

/// Whatever any of these matches.
pub(super) fn any(branches: Vec<Document>) -> Document {
    doc! { "$or": branches }
}

pub(super) fn is_of(field: &str, kind: &str) -> Document {
    doc! { "$eq": [{ "$type": format!("${field}") }, kind] }
}

pub(super) fn not_flagged() -> Bson {
    Bson::Document(doc! { "$in": [Bson::Null, false] })
}

/// The values of counters as this program and Mongoose write `count`; a missing one means 0.
pub(super) fn exact_counts(count: u32) -> Vec<Bson> {
    if count == 0 { vec![Bson::Null, integer(0)] } else { vec![integer(count)] }
}

/// All counters that mean `count`, in as few ranges as possible.
pub(super) fn count_ranges(count: u32) -> Vec<Bson> {
    match (count, count.checked_add(1)) {
        (0, _) => vec![Bson::Null, Bson::Document(doc! { "$lt": 1 })],
        (_, Some(next)) => vec![Bson::Document(doc! { "$gte": integer(count), "$lt": integer(next) })],
        (_, None) => vec![at_least(count)],
    }
}

/// The types of a value that is neither of this type nor null: lists too, whatever is in them.
pub(super) fn no_plain(kind: &str) -> Vec<Bson> {
    let mut types = other_than(&[kind]);
    if kind != "array" {
        types.push("array".into());
    }
    types
}

pub(super) const NUMBERS: [&str; 4] = ["double", "int", "long", "decimal"];

/// Every BSON type that a field may have by mistake, other than these and null. A list has the types of its elements, so
/// an empty one has none.
pub(super) fn other_than(types: &[&str]) -> Vec<Bson> {
    [
        "double",
        "string",
        "object",
        "binData",
        "objectId",
        "bool",
        "date",
        "regex",
        "javascript",
        "int",
        "timestamp",
        "long",
        "decimal",
        "minKey",
        "maxKey",
        "undefined",
        "dbPointer",
        "symbol",
        "javascriptWithScope",
    ]
    .into_iter()
    .filter(|name| !types.contains(name))
    .map(Bson::from)
    .collect()
}

/// Matches values of a field that have none of these types, and are there.
pub(super) fn wrong_type(field: &str, types: &[&str]) -> [Document; 2] {
    [doc! { field: { "$type": other_than(types), "$ne": Bson::Null } }, doc! { field: Bson::Array(Vec::new()) }]
}

/// A counter of at least this. A missing one counts as 0.
pub(super) fn at_least(count: u32) -> Bson {
    if count == 0 {
        Bson::Document(doc! { "$not": { "$type": other_than(&NUMBERS) } })
    } else {
        Bson::Document(doc! { "$gte": integer(count) })
    }
}

/// Matches the delivery if its retry state is unchanged and it has no valid claim by the server's clock.
pub(super) fn unchanged_since_read(id: Bson, place: &Place, post: &Post) -> Document {
    let retry = &post.retry;
    let field = |name: &str| place.retry(name);
    let date = |date: Option<DateTime<Utc>>| date.map_or(Bson::Null, bson_date);
    let count = count_ranges(retry.count).into_iter().map(|range| doc! { field("retryCount"): range });
    let mut failed_at = vec![date(post.failed_at)];
    if post.failed_at.is_none() && *place != Place::Root {
        // The claim on another delivery of the document may have kept the date that counts instead.
        failed_at.push(date(post.updated_at));
    }
    let mut conditions = vec![doc! { "$in": [place.failure_date(), { "$literal": failed_at }] }];
    let mut filter = with_id(id);
    filter.extend(place.writable());
    filter.extend(doc! {
        field("permanentlyFailed"): not_flagged(),
        field("lastRetriedAt"): date(retry.last_retried_at),
        field("retryNotBefore"): date(retry.not_before),
        "$or": count.collect::<Vec<_>>(),
    });
    let claim = field("retryClaim");
    match &retry.claim {
        None => drop(filter.insert(claim, Bson::Null)),
        Some(dead) => {
            let until = format!("{claim}.until");
            conditions.push(is_not_live(&format!("${until}")));
            filter.insert(format!("{claim}.by"), dead.by.as_str());
            filter.insert(until, doc! { "$type": "date" });
        }
    }
    filter.insert("$expr", doc! { "$and": conditions });
    filter
}

/// Whether a lease until this field's date is valid by the server's clock. No other type is between two dates.
pub(super) fn is_live(until: &str) -> Document {
    let latest = doc! { "$add": ["$$NOW", MAX_LEASE.num_milliseconds()] };
    doc! { "$and": [{ "$gt": [until, "$$NOW"] }, { "$lte": [until, latest] }] }
}

/// Whether there is a claim that can be read and is valid.
pub(super) fn has_live_claim(place: &Place) -> Document {
    let claim = place.retry("retryClaim");
    doc! { "$and": [is_of(&format!("{claim}.by"), "string"), is_live(&format!("${claim}.until"))] }
}

/// Whether there is no valid lease in this field.
pub(super) fn is_not_live(until: &str) -> Document {
    doc! { "$not": [is_live(until)] }
}

pub(super) fn claimed_by(id: Bson, place: &Place, by: &str) -> Document {
    extended(&with_id(id), doc! { place.retry("retryClaim.by"): by })
}

pub(super) fn claim_is_live(place: &Place) -> Document {
    is_live(&format!("${}", place.retry("retryClaim.until")))
}

/// Matches the delivery while it is failed and this claim on it is valid.
pub(super) fn lease_held(id: Bson, place: &Place, by: &str) -> Document {
    let mut filter = claimed_by(id, place, by);
    filter.extend(place.writable());
    filter.insert("$expr", claim_is_live(place));
    filter
}

/// Matches the delivery if this holder has claimed it and it is not failed any more.
pub(super) fn changed_under_claim(id: Bson, place: &Place, by: &str) -> Document {
    extended(&claimed_by(id, place, by), doc! { "$nor": [place.writable()] })
}

/// Matches the delivery if the outcome of this holder's attempt may be written. A publication is recorded as long as
/// nobody else has claimed the post. An expired claim on a post that is not failed any more is no risk either: nobody
/// else will claim it.
pub(super) fn settleable(id: Bson, place: &Place, by: &str, settlement: &Settlement) -> Document {
    let mut filter = claimed_by(id, place, by);
    if settlement.publication.is_none() {
        filter.insert("$or", vec![doc! { "$nor": [place.writable()] }, doc! { "$expr": claim_is_live(place) }]);
    }
    filter
}

/// Whether these fields are exactly as in a document. An expression, because a filter would take some values for
/// operators.
pub(super) fn as_in(document: &Document, place: &Place, fields: &[&str]) -> Vec<Document> {
    let condition = |name: &&str| {
        let path = place.retry(name);
        let field = format!("${path}");
        if let Some(value) = value_at(document, &path) {
            return doc! { "$eq": [field, { "$literal": value.clone() }] };
        }
        let mut parents = path.match_indices('.').filter_map(|(end, _)| path.get(..end));
        // Of a field of a list, an expression makes a list.
        match parents.find(|parent| value_at(document, parent).and_then(Bson::as_array).is_some()) {
            Some(list) => doc! { "$isArray": format!("${list}") },
            None => doc! { "$eq": [{ "$type": field }, "missing"] },
        }
    };
    fields.iter().map(condition).collect()
}
