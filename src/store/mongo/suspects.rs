//! The few documents that have to be read to be counted.
//!
//! An index can count what is due, but it does not know whether the other fields of a document can be read. So whatever
//! may be malformed, or may be no delivery at all, is read and decided by the same code as in a pass.
//!
//! There are two questions. Of what is due, a scan has found the documents, and [`suspects`] match some of them. Of all
//! that has failed, indexes have the documents with a fault, so that the others need not be looked at. Both are asked
//! with the same list of faults. The first adds what no index can have.

use mongodb::bson::{Bson, DateTime, Document, doc};

use super::document::DATES;
use super::filter::{NUMBERS, any, extended, no_plain, other_than};
use super::identity::has_long_id;
use super::place::{Place, has_too_many_platforms, has_too_many_statuses, spellings, status_path};
use crate::post::Platform;

const TEXTS: [&str; 8] =
    ["title", "description", "caption", "contentType", "videoPath", "imagePath", "storyName", "error"];

/// Matches the documents of which the delivery at this place may be malformed or missing. It leaves none of them out, but
/// for texts that are not UTF-8.
pub(super) fn suspects(place: &Place, platform: Platform) -> Document {
    let mut branches = narrow_faults_of_root();
    match place {
        Place::Root => branches.extend(shapes_of_root(platform)),
        Place::Entry(entry) => {
            branches.extend(faults_of_entry(entry));
            branches.extend(shapes_of_entry(entry, platform));
        }
    }
    branches.extend(faults_in_no_index(place));
    any(branches)
}

/// The faults for which the filter of an index would need a negation or an expression.
fn faults_in_no_index(place: &Place) -> Vec<Document> {
    let lists = ["hashtags", "platforms"].into_iter().map(str::to_owned);
    let lists = lists.chain(spellings().map(|name| format!("hashtags.{name}")));
    let is_mixed = |path: String| doc! { path: { "$elemMatch": { "$not": { "$type": "string" } } } };
    let mut faults: Vec<Document> = lists.map(is_mixed).collect();
    faults.push(is_no_list(&place.retry("retryHistory")));
    faults.push(doc! { "$expr": { "$or": [has_long_id(), has_too_many_statuses()] } });
    faults
}

/// The faults of documents, whatever their deliveries are, and of posts for one platform: conditions that between them
/// match whatever is malformed, but for texts that are not UTF-8 and for [`faults_in_no_index`]: lists that are not the
/// first of a list, a history that is one entry instead of a list, and what is only too long: an id, or
/// `platformStatus`. What a document says of a delivery has [`faults_of_entry`].
///
/// They match few documents that can be read. The filter of a partial index may have them. It knows no negation: `null`
/// stands for a field that is missing.
pub(super) fn faults_of_root() -> Vec<Document> {
    root_faults(|_, path| vec![has_value(path)])
}

/// The same without the ids of uploads that have their platform's form: applications leave one behind with most failures.
/// No filter of an index can tell them apart.
pub(super) fn narrow_faults_of_root() -> Vec<Document> {
    root_faults(|platform, path| {
        let pattern = platform.upload_id_pattern().unwrap_or_default();
        vec![
            doc! { path: { "$type": no_plain("null"), "$not": { "$regex": pattern } } },
            doc! { path: { "$type": "array" } },
        ]
    })
}

fn root_faults(of_left_upload: impl Fn(Platform, &str) -> Vec<Document>) -> Vec<Document> {
    let mut faults = Vec::from(TEXTS.map(|path| is_no(path, "string")));
    faults.push(is_no("isAiGenerated", "bool"));
    faults.extend(["updatedAt", "scheduledAt", "failedAt"].into_iter().flat_map(is_no_date));
    for platform in Platform::ALL {
        let fields = platform.fields();
        faults.push(is_no(fields.id.path, "string"));
        // Whether the platform gives such ids is more than a question of types.
        if let Some(field) = fields.left_upload {
            faults.extend(field.path.split_once('.').map(|(parent, _)| is_no(parent, "object")));
            faults.extend(of_left_upload(platform, field.path));
        }
    }
    faults.extend(is_no_list_of_texts("hashtags"));
    for name in spellings() {
        let path = format!("hashtags.{name}");
        faults.extend(is_no_list_of_texts(&path));
        faults.push(doc! { path: { "$type": "object" } });
    }
    faults.extend(is_no_list_of_texts("platforms"));
    faults.extend([
        doc! { "platforms": { "$type": "object" } },
        is_no("platformStatus", "object"),
        doc! { "_id": { "$type": "object" } },
        doc! { "status": { "$type": "array" } },
        has_too_many_platforms(),
    ]);
    faults.extend(unclear_platforms());
    faults.extend(faults_of_state(&Place::Root));
    faults
}

/// The faults in what a document says of the delivery whose entry is spelled so.
pub(super) fn faults_of_entry(name: &str) -> Vec<Document> {
    let place = Place::entry(name);
    let mut faults = faults_of_state(&place);
    let texts = ["error", "mediaId"].into_iter().filter_map(|field| place.status(field));
    faults.extend(texts.map(|path| is_no(&path, "string")));
    let dates = place.status("lastFailedAt").into_iter().chain([place.retry("failedAt")]);
    faults.extend(dates.flat_map(|path| is_no_date(&path)));
    let objects = ["postretry".to_owned(), format!("postretry.{name}"), format!("platformStatus.{name}")];
    faults.extend(objects.map(|path| is_no(&path, "object")));
    faults.extend(place.status("status").map(|path| doc! { path: { "$type": "array" } }));
    // Nothing says for which platforms the document is.
    faults.push(is_no("platform", "string"));
    faults.extend([Bson::Null, Bson::Array(Vec::new())].map(|none| doc! { "platform": Bson::Null, "platforms": none }));
    faults
}

/// The faults in the retry state at a place.
fn faults_of_state(place: &Place) -> Vec<Document> {
    let retry = |name: &str| place.retry(name);
    let mut faults = vec![is_no(&retry("failureCategory"), "string"), is_no(&retry("permanentlyFailed"), "bool")];
    let dates = ["lastRetriedAt", "permanentlyFailedAt", "retryNotBefore"].map(retry);
    faults.extend(dates.iter().flat_map(|path| is_no_date(path)));
    faults.extend(is_no_number(&retry("retryCount")));
    let history = retry("retryHistory");
    faults.push(doc! { history.as_str(): { "$type": other_than(&["object"]) } });
    // The entries of a list have numbers.
    faults.push(doc! { history.as_str(): { "$type": "object" }, format!("{history}.attempt"): Bson::Null });
    // Whether these can be read is more than a question of types.
    faults.extend(["retryClaim", "publishTicket"].map(|name| has_value(&retry(name))));
    faults
}

/// Documents without a status for any known platform whose list of platforms is not one that is known.
fn unclear_platforms() -> Vec<Document> {
    let mut known: Vec<&str> = spellings().collect();
    known.sort_unstable();
    let first = known.first().map(|first| doc! { "$lt": *first });
    let last = known.last().map(|last| doc! { "$gt": *last });
    let between = known.windows(2).filter_map(|two| match two {
        [before, after] => Some(doc! { "$gt": *before, "$lt": *after }),
        _ => None,
    });
    let unknown = first.into_iter().chain(between).chain(last).map(|names| doc! { "platforms": names });
    let several = doc! { "platforms.1": { "$exists": true } };
    let no_status: Document = spellings().map(|name| (status_path(name), Bson::Null)).collect();
    unknown.chain([several]).map(|shape| extended(&no_status, shape)).collect()
}

/// A value that is neither null nor a list of strings; of objects nothing is said.
fn is_no_list_of_texts(path: &str) -> [Document; 4] {
    let first = format!("{path}.0");
    [
        doc! { path: { "$type": other_than(&["string", "object"]) } },
        // Of a list of strings the first is no null.
        doc! { path: { "$type": "string" }, first.as_str(): Bson::Null },
        doc! { "$and": [{ path: { "$type": "array" } }, { path: { "$type": ["object", "null"] } }] },
        doc! { first: { "$type": "array" } },
    ]
}

fn has_value(path: &str) -> Document {
    doc! { path: { "$type": no_plain("null") } }
}

/// A post for one platform whose document also says something of its platforms.
fn shapes_of_root(platform: Platform) -> [Document; 3] {
    let lists = platform.spellings().iter().map(|name| Bson::from(vec![*name]));
    let plain: Vec<Bson> = [Bson::Null, Bson::Array(Vec::new())].into_iter().chain(lists).collect();
    [
        doc! { "platform": { "$type": "array" } },
        doc! { "platforms": { "$nin": plain } },
        doc! { "platformStatus": { "$nin": [Bson::Null, Bson::Document(Document::new())] } },
    ]
}

/// A delivery whose document does not name its platform exactly once.
fn shapes_of_entry(entry: &str, platform: Platform) -> [Document; 3] {
    let others: Vec<&str> = platform.spellings().iter().filter(|name| **name != entry).copied().collect();
    [
        doc! { "platforms": { "$ne": entry } },
        doc! { "platforms": { "$not": { "$type": "array" } } },
        doc! { "platforms": { "$in": others } },
    ]
}

fn is_no(path: &str, kind: &str) -> Document {
    doc! { path: { "$type": no_plain(kind) } }
}

fn is_no_list(path: &str) -> Document {
    let is_other = doc! { path: { "$ne": Bson::Null, "$not": { "$type": "array" } } };
    // Servers do not agree on whether `undefined` is null.
    doc! { "$or": [is_other, { path: { "$type": "undefined" } }] }
}

/// The start of the year 1. Dates of the year 0 can be read, but a client whose language has none could not list an index
/// with one in its filter.
const YEAR_ONE: i64 = -62_135_596_800_000;

fn is_no_date(path: &str) -> [Document; 3] {
    let date = |millis: i64| DateTime::from_millis(millis);
    [is_no(path, "date"), doc! { path: { "$lt": date(YEAR_ONE) } }, doc! { path: { "$gt": date(*DATES.end()) } }]
}

fn is_no_number(path: &str) -> [Document; 3] {
    [doc! { path: { "$type": other_than(&NUMBERS) } }, doc! { path: { "$type": "array" } }, doc! { path: f64::NAN }]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operators in a filter.
    fn operators(filter: &Bson) -> Vec<&str> {
        match filter {
            Bson::Document(fields) => {
                let names = fields.keys().map(String::as_str).filter(|name| name.starts_with('$'));
                names.chain(fields.values().flat_map(operators)).collect()
            }
            Bson::Array(filters) => filters.iter().flat_map(operators).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_filter_of_a_partial_index_may_have_every_fault() {
        for fault in [faults_of_root(), faults_of_entry("youtube")].concat() {
            let fault = Bson::from(fault);
            let operators = operators(&fault);
            let is_allowed = |name: &&str| ["$and", "$type", "$lt", "$gt", "$exists"].contains(name);
            assert!(operators.iter().all(is_allowed), "{fault}");
            assert!(!fault.to_string().contains("\"$exists\": false"), "{fault}");
            // A server takes a filter that is four levels deep, and these are in an `$or` already.
            assert!(operators.iter().filter(|name| **name == "$and").count() <= 1, "{fault}");
        }
    }
}
