//! The writes, as update pipelines: they read the server's clock and change only the documented fields.
//!
//! Values from outside are wrapped in `$literal`, because a string that begins with `$` would otherwise be
//! read as the name of a field.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, entry_document, integer, ticket_document};
use crate::post::{
    AttemptStart, Category, HISTORY_LIMIT, HistoryEntry, LastRetried, Platform, Publication, Settlement, Ticket,
    TicketFate,
};
use crate::store::{Lease, ResetOptions, StoreError};

const NOW: &str = "$$NOW";

fn literal(value: impl Into<Bson>) -> Document {
    doc! { "$literal": value.into() }
}

fn optional(value: Option<impl Into<Bson>>) -> Document {
    literal(value.map_or(Bson::Null, Into::into))
}

fn claim(lease: &Lease) -> Document {
    doc! { "by": literal(lease.by.as_str()), "until": { "$add": [NOW, millis(lease.lasts)] } }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a field is of this type.
fn is_of(field: &str, kind: &str) -> Document {
    doc! { "$eq": [{ "$type": field }, kind] }
}

/// Claims the post and starts the attempt.
pub(super) fn start(start: &AttemptStart, lease: &Lease) -> Vec<Document> {
    let mut set = doc! {
        "retryCount": integer(start.attempt),
        "retryClaim": claim(lease),
        "updatedAt": NOW,
    };
    if !start.is_resumption {
        set.insert("lastRetriedAt", NOW);
    }
    if let Some(entry) = &start.entry {
        set.insert("retryHistory", history_with(entry, start.replaces_last));
    }
    vec![doc! { "$set": set }]
}

/// Renews the claim.
pub(super) fn renewal(lease: &Lease) -> Vec<Document> {
    vec![doc! { "$set": { "retryClaim": claim(lease), "updatedAt": NOW } }]
}

/// Replaces the ticket. A cleared one is null, which also means that the application's upload needs no check.
pub(super) fn ticket(ticket: Option<&Ticket>) -> Result<Vec<Document>, StoreError> {
    let ticket = ticket.map(ticket_document).transpose()?;
    Ok(vec![doc! { "$set": { "publishTicket": optional(ticket), "updatedAt": NOW } }])
}

/// Ends the attempt.
pub(super) fn settlement(platform: Platform, settlement: &Settlement) -> Vec<Document> {
    let mut set = doc! {
        "retryCount": integer(settlement.retry_count),
        "error": optional(settlement.error.as_deref()),
        "failureCategory": optional(settlement.category.map(Category::as_str)),
        "retryNotBefore": optional(settlement.not_before.map(bson_date)),
        "updatedAt": NOW,
    };
    if let Some(entry) = &settlement.entry {
        set.insert("retryHistory", history_with(entry, settlement.replaces_last));
    }
    let mut unset = vec!["retryClaim"];
    match settlement.last_retried_at {
        LastRetried::Kept => {}
        LastRetried::Restored(Some(before)) => drop(set.insert("lastRetriedAt", bson_date(before))),
        LastRetried::Restored(None) => unset.push("lastRetriedAt"),
    }
    if settlement.ticket == TicketFate::Dead {
        set.insert("publishTicket", literal(Bson::Null));
    }
    if settlement.is_permanent() {
        set.insert("permanentlyFailed", true);
        set.insert("permanentlyFailedAt", NOW);
    }
    if let Some(publication) = &settlement.publication {
        set.insert("status", literal("posted"));
        set.insert("postedAt", NOW);
        set.extend(published_fields(platform, publication));
    }
    vec![doc! { "$set": set }, doc! { "$unset": unset }]
}

/// The values from the platform. Other fields are not changed.
fn published_fields(platform: Platform, publication: &Publication) -> Document {
    let fields = platform.fields();
    let given = [(fields.id.path, &publication.id), (fields.url.path, &publication.url)];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), literal(value.as_deref()?).into()))).collect()
}

/// The stored history with one more entry, or with its last one replaced. The last 50 are kept. The array is
/// changed in place, so entries that this version cannot read stay as they are.
fn history_with(entry: &HistoryEntry, replaces_last: bool) -> Document {
    let stored = doc! { "$cond": [{ "$isArray": "$retryHistory" }, "$retryHistory", []] };
    let kept = if replaces_last {
        doc! { "$let": {
            "vars": { "all": stored },
            "in": { "$cond": [
                { "$gt": [{ "$size": "$$all" }, 1] },
                { "$slice": ["$$all", 0, { "$subtract": [{ "$size": "$$all" }, 1] }] },
                [],
            ] },
        } }
    } else {
        stored
    };
    let limit = i32::try_from(HISTORY_LIMIT).unwrap_or(i32::MAX);
    doc! { "$slice": [{ "$concatArrays": [kept, [literal(entry_document(entry))]] }, -limit] }
}

/// Marks an exhausted post as permanently failed.
pub(super) fn exhausted() -> Vec<Document> {
    vec![doc! { "$set": { "permanentlyFailed": true, "permanentlyFailedAt": NOW, "updatedAt": NOW } }]
}

/// Marks a post that may be public already.
pub(super) fn ambiguous(error: &str) -> Vec<Document> {
    vec![doc! { "$set": {
        "permanentlyFailed": true,
        "permanentlyFailedAt": NOW,
        "failureCategory": literal(Category::Ambiguous.as_str()),
        "error": literal(error),
        "updatedAt": NOW,
    } }]
}

/// Resets the retry count. An ambiguous post loses its ticket, because a person has checked it, and so does any post if
/// `drop_ticket` says so. The last entry of the history records who reset it.
pub(super) fn reset(by: &str, options: &ResetOptions<'_>) -> Vec<Document> {
    let was_ambiguous = doc! { "$eq": ["$failureCategory", "ambiguous"] };
    let size = doc! { "$size": "$retryHistory" };
    let has_entries = doc! { "$cond": [{ "$isArray": "$retryHistory" }, { "$gt": [size.clone(), 0] }, false] };
    let earlier = doc! { "$cond": [
        { "$gt": [size.clone(), 1] },
        { "$slice": ["$retryHistory", 0, { "$subtract": [size, 1] }] },
        [],
    ] };
    let mark = doc! { "resetAt": NOW, "resetBy": literal(by) };
    let with_mark = doc! { "$let": {
        "vars": { "last": { "$arrayElemAt": ["$retryHistory", -1] } },
        "in": { "$cond": [
            { "$eq": [{ "$type": "$$last" }, "object"] },
            { "$concatArrays": [earlier, [{ "$mergeObjects": ["$$last", mark] }]] },
            "$retryHistory",
        ] },
    } };
    let ticket = if options.drop_ticket {
        literal(Bson::Null)
    } else {
        doc! { "$cond": [was_ambiguous, Bson::Null, "$publishTicket"] }
    };
    let set = doc! {
        "retryCount": 0,
        "permanentlyFailed": false,
        "permanentlyFailedAt": Bson::Null,
        "lastRetriedAt": Bson::Null,
        "retryNotBefore": Bson::Null,
        "failureCategory": Bson::Null,
        "publishTicket": ticket,
        "updatedAt": NOW,
        "retryHistory": { "$switch": {
            "branches": [
                { "case": has_entries, "then": with_mark },
                // A value that is not a list would keep the post malformed.
                { "case": is_of("$retryHistory", "array"), "then": "$retryHistory" },
            ],
            "default": "$$REMOVE",
        } },
        "error": { "$cond": [is_of("$error", "string"), "$error", "$$REMOVE"] },
    };
    vec![doc! { "$set": set }, doc! { "$unset": ["retryClaim"] }]
}
