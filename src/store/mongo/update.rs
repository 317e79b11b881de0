//! The writes, as update pipelines: they read the server's clock and change only the documented fields.
//!
//! Values from outside are wrapped in `$literal`, because a string that begins with `$` would otherwise be
//! read as the name of a field.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};

use super::document::{bson_date, entry_document, integer, ticket_document};
use super::place::{Place, spellings, status_path, statuses_as_list};
use crate::post::{
    AttemptStart, Category, EntryOutcome, HISTORY_LIMIT, HistoryEntry, LastRetried, Outcome, Platform, Publication,
    Settlement, Ticket, TicketFate,
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

/// The new values of fields of the retry state; the document was changed now.
fn set_in(place: &Place, values: Document) -> Document {
    let mut set: Document = values.into_iter().map(|(name, value)| (place.retry(&name), value)).collect();
    set.insert("updatedAt", NOW);
    set
}

/// Replaces a list by an empty object where the retry state of a delivery belongs. A write to a path inside a list goes to
/// its elements, so in an empty list it changes nothing.
fn without_lists(place: &Place) -> Vec<Document> {
    let Place::Entry(entry) = place else { return Vec::new() };
    let paths = ["postretry".to_owned(), format!("postretry.{entry}")].into_iter();
    let mended = paths.map(|path| {
        let value = format!("${path}");
        let unchanged = doc! { "$ifNull": [value.as_str(), "$$REMOVE"] };
        doc! { "$set": { path: { "$cond": [{ "$isArray": value }, literal(Document::new()), unchanged] } } }
    });
    mended.collect()
}

/// Claims the post and starts the attempt.
pub(super) fn start(place: &Place, start: &AttemptStart, lease: &Lease) -> Vec<Document> {
    let mut values = doc! { "retryCount": integer(start.attempt), "retryClaim": claim(lease) };
    if !start.is_resumption {
        values.insert("lastRetriedAt", NOW);
    }
    if let Some(entry) = &start.entry {
        values.insert("retryHistory", history_with(place, entry, start.replaces_last));
    }
    let mut stages = Vec::new();
    if *place != Place::Root {
        stages.push(kept_dates());
    }
    stages.push(doc! { "$set": set_in(place, values) });
    stages
}

/// `updatedAt` changes with every write to the document, so where nothing else tells when a delivery of it failed, it is
/// kept in the state of that delivery.
fn kept_dates() -> Document {
    let kept = |name: &str| {
        let place = Place::entry(name);
        let state = format!("$postretry.{name}");
        let is_state = doc! { "$in": [{ "$type": state.as_str() }, ["object", "missing", "null", "undefined"]] };
        let is_undated = doc! { "$and": [
            is_state,
            { "$eq": [format!("${}", status_path(name)), "failed"] },
            { "$eq": [place.failure_date(), Bson::Null] },
        ] };
        let dated = doc! { "$mergeObjects": [state.as_str(), { "failedAt": "$updatedAt" }] };
        let unchanged = doc! { "$ifNull": [state.as_str(), "$$REMOVE"] };
        (format!("postretry.{name}"), Bson::Document(doc! { "$cond": [is_undated, dated, unchanged] }))
    };
    doc! { "$set": spellings().map(kept).collect::<Document>() }
}

/// Renews the claim.
pub(super) fn renewal(place: &Place, lease: &Lease) -> Vec<Document> {
    vec![doc! { "$set": set_in(place, doc! { "retryClaim": claim(lease) }) }]
}

/// Replaces the ticket. A cleared one is null, which after an attempt also means that the application's upload needs no
/// check.
pub(super) fn ticket(place: &Place, ticket: Option<&Ticket>) -> Result<Vec<Document>, StoreError> {
    let ticket = ticket.map(ticket_document).transpose()?;
    Ok(vec![doc! { "$set": set_in(place, doc! { "publishTicket": optional(ticket) }) }])
}

/// Ends the attempt.
pub(super) fn settlement(place: &Place, platform: Platform, settlement: &Settlement) -> Vec<Document> {
    let mut values = doc! {
        "retryCount": integer(settlement.retry_count),
        "failureCategory": optional(settlement.category.map(Category::as_str)),
        "retryNotBefore": optional(settlement.not_before.map(bson_date)),
    };
    if let Some(entry) = &settlement.entry {
        values.insert("retryHistory", history_with(place, entry, settlement.replaces_last));
    }
    let mut unset = vec![place.retry("retryClaim")];
    match settlement.last_retried_at {
        LastRetried::Kept => {}
        LastRetried::Restored(Some(before)) => drop(values.insert("lastRetriedAt", bson_date(before))),
        LastRetried::Restored(None) => unset.push(place.retry("lastRetriedAt")),
    }
    if settlement.ticket == TicketFate::Dead {
        values.insert("publishTicket", literal(Bson::Null));
    }
    if settlement.is_permanent() {
        values.insert("permanentlyFailed", true);
        values.insert("permanentlyFailedAt", NOW);
    }
    let mut set = set_in(place, values);
    // An attempt that was undone has found nothing out.
    if *place == Place::Root || !matches!(settlement.outcome, Outcome::Interrupted | Outcome::Withdrawn) {
        set.insert(place.error(), optional(settlement.error.as_deref()));
    }
    let mut stages = Vec::new();
    match &settlement.publication {
        Some(publication) => {
            set.extend(published_fields(place, platform, publication));
            stages.push(doc! { "$set": set });
            stages.extend(published_root(place, platform));
        }
        None => stages.push(doc! { "$set": set }),
    }
    stages.push(doc! { "$unset": unset });
    stages
}

/// Settles a post that a person has found on its platform: what the end of an attempt writes, and nothing of its failures
/// is left.
pub(super) fn found(place: &Place, platform: Platform, settlement_of_found: &Settlement) -> Vec<Document> {
    let mut stages = without_lists(place);
    stages.push(doc! { "$set": set_in(place, doc! {
        "permanentlyFailed": false, "permanentlyFailedAt": Bson::Null,
    }) });
    stages.extend(settlement(place, platform, settlement_of_found));
    stages
}

/// The values from the platform. Other fields are not changed.
fn published_fields(place: &Place, platform: Platform, publication: &Publication) -> Document {
    let fields = platform.fields();
    let mut set = Document::new();
    let url_of_entry = if platform == Platform::Instagram { "permalink" } else { "shareUrl" };
    for (value, root, of_entry) in
        [(&publication.id, fields.id.path, "mediaId"), (&publication.url, fields.url.path, url_of_entry)]
    {
        if let Some(value) = value {
            set.insert(root, literal(value.as_str()));
            set.extend(place.status(of_entry).map(|path| (path, literal(value.as_str()).into())));
        }
    }
    match place.status("status") {
        None => set.extend(doc! { "status": literal("posted"), "postedAt": NOW }),
        Some(status) => {
            set.insert(status, literal("posted"));
            set.extend(place.status("postedAt").map(|path| (path, Bson::from(NOW))));
        }
    }
    set
}

/// The post as a whole is posted as soon as no entry of its platforms is left. It reads what the stage before has set.
fn published_root(place: &Place, platform: Platform) -> Option<Document> {
    if *place == Place::Root {
        return None;
    }
    let ended = doc! { "$map": {
        "input": { "$filter": {
            "input": statuses_as_list(),
            "as": "entry",
            "cond": { "$in": [{ "$ifNull": ["$$entry.v.status", ""] }, ["posted", "skipped"]] },
        } },
        "as": "entry",
        "in": "$$entry.k",
    } };
    // A list may name the platform twice, once under each of its names.
    let ended = doc! { "$concatArrays": [ended, platform.spellings().to_vec()] };
    let has_list = doc! { "$gt": [{ "$size": { "$cond": [{ "$isArray": "$platforms" }, "$platforms", []] } }, 0] };
    let entries = doc! { "$cond": [has_list, "$platforms", ["$platform"]] };
    let is_complete = doc! { "$setIsSubset": [entries, ended] };
    let once_complete = |value: Bson, field: &str| {
        let unchanged = doc! { "$ifNull": [format!("${field}"), "$$REMOVE"] };
        doc! { "$cond": ["$$isComplete", value, unchanged] }
    };
    let with = |value: Bson, field: &str| {
        doc! { "$let": { "vars": { "isComplete": is_complete.clone() }, "in": once_complete(value, field) } }
    };
    Some(doc! { "$set": {
        "status": with("posted".into(), "status"),
        "postedAt": with(NOW.into(), "postedAt"),
        "error": with(Bson::Null, "error"),
    } })
}

/// The stored history with one more entry, or with its last one replaced. The last 50 are kept. The array is
/// changed in place, so entries that this version cannot read stay as they are: only the entry of the same attempt, which
/// was interrupted, is replaced.
fn history_with(place: &Place, entry: &HistoryEntry, replaces_last: bool) -> Document {
    let history = format!("${}", place.retry("retryHistory"));
    let stored = doc! { "$cond": [{ "$isArray": history.as_str() }, history.as_str(), []] };
    let kept = if replaces_last {
        let is_same_attempt = doc! { "$and": [
            is_of("$$last", "object"),
            { "$eq": ["$$last.attempt", integer(entry.attempt)] },
            { "$eq": ["$$last.outcome", EntryOutcome::Interrupted.as_str()] },
        ] };
        let others = doc! { "$cond": [
            { "$gt": [{ "$size": "$$all" }, 1] },
            { "$slice": ["$$all", 0, { "$subtract": [{ "$size": "$$all" }, 1] }] },
            [],
        ] };
        doc! { "$let": {
            "vars": { "all": stored },
            "in": { "$let": {
                "vars": { "last": { "$arrayElemAt": ["$$all", -1] } },
                "in": { "$cond": [is_same_attempt, others, "$$all"] },
            } },
        } }
    } else {
        stored
    };
    let limit = i32::try_from(HISTORY_LIMIT).unwrap_or(i32::MAX);
    doc! { "$slice": [{ "$concatArrays": [kept, [literal(entry_document(entry))]] }, -limit] }
}

/// Marks an exhausted post as permanently failed.
pub(super) fn exhausted(place: &Place) -> Vec<Document> {
    vec![doc! { "$set": set_in(place, doc! { "permanentlyFailed": true, "permanentlyFailedAt": NOW }) }]
}

/// Marks a post that may be public already.
pub(super) fn ambiguous(place: &Place, error: &str) -> Vec<Document> {
    let mut set = set_in(
        place,
        doc! {
            "permanentlyFailed": true,
            "permanentlyFailedAt": NOW,
            "failureCategory": literal(Category::Ambiguous.as_str()),
        },
    );
    set.insert(place.error(), literal(error));
    vec![doc! { "$set": set }]
}

/// Resets the retry count and mends the retry state. An ambiguous post loses its ticket, because a person has checked it,
/// and so does any post if `drop_ticket` says so. The last entry of the history records who reset it.
pub(super) fn reset(place: &Place, by: &str, options: &ResetOptions<'_>) -> Vec<Document> {
    let field = |name: &str| format!("${}", place.retry(name));
    let history = field("retryHistory");
    let was_ambiguous = doc! { "$eq": [field("failureCategory"), "ambiguous"] };
    let size = doc! { "$size": history.as_str() };
    let has_entries = doc! { "$cond": [{ "$isArray": history.as_str() }, { "$gt": [size.clone(), 0] }, false] };
    let earlier = doc! { "$cond": [
        { "$gt": [size.clone(), 1] },
        { "$slice": [history.as_str(), 0, { "$subtract": [size, 1] }] },
        [],
    ] };
    let mark = doc! { "resetAt": NOW, "resetBy": literal(by) };
    let with_mark = doc! { "$let": {
        "vars": { "last": { "$arrayElemAt": [history.as_str(), -1] } },
        "in": { "$cond": [
            { "$eq": [{ "$type": "$$last" }, "object"] },
            { "$concatArrays": [earlier, [{ "$mergeObjects": ["$$last", mark] }]] },
            history.as_str(),
        ] },
    } };
    // A model of the application may also write null by default. So null means "cleared" only if an attempt has ended, and
    // an empty object says so otherwise, where there is an upload of the application that needs no check any more.
    let left_uploads = Platform::ALL.into_iter().filter_map(|platform| platform.fields().left_upload);
    let has_left_upload: Vec<Document> =
        left_uploads.map(|field| is_of(&format!("${}", field.path), "string")).collect();
    let has_ended = doc! { "$anyElementTrue": { "$map": {
        "input": { "$cond": [{ "$isArray": history.as_str() }, history.as_str(), []] },
        "in": { "$not": [{ "$in": [EntryOutcome::Interrupted.as_str(), ["$$this.outcome", "$$this.category"]] }] },
    } } };
    let is_to_be_told = doc! { "$and": [{ "$or": has_left_upload }, { "$not": [has_ended] }] };
    let cleared_ticket = doc! { "$cond": [is_to_be_told, literal(Document::new()), Bson::Null] };
    let ticket = if options.drop_ticket {
        cleared_ticket
    } else {
        doc! { "$cond": [was_ambiguous, cleared_ticket, field("publishTicket")] }
    };
    let mut set = set_in(
        place,
        doc! {
            "retryCount": 0,
            "permanentlyFailed": false,
            "permanentlyFailedAt": Bson::Null,
            "lastRetriedAt": Bson::Null,
            "retryNotBefore": Bson::Null,
            "failureCategory": Bson::Null,
            "publishTicket": ticket,
            "retryHistory": { "$switch": {
                "branches": [
                    { "case": has_entries, "then": with_mark },
                    // A value that is not a list would keep the post malformed.
                    { "case": is_of(&history, "array"), "then": history.as_str() },
                ],
                "default": "$$REMOVE",
            } },
        },
    );
    if *place == Place::Root {
        set.insert("error", doc! { "$cond": [is_of("$error", "string"), "$error", "$$REMOVE"] });
    }
    let mut stages = without_lists(place);
    stages.extend([doc! { "$set": set }, doc! { "$unset": [place.retry("retryClaim")] }]);
    stages
}
