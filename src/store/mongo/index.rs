//! The indexes that the queries need. All are partial: posts that are not failed are in none of them.

use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;

use super::place::{HANDED_OVER, Place, spellings, status_path};
use super::suspects::{faults_of_entry, faults_of_root};
use crate::post::{BackoffFrom, Platform};

/// For the ranges of the query for due posts, for exhausted posts and for counts.
pub(super) const DUE: &str = "postretry_due_posts";
/// For posts without the date of their failure.
pub(super) const UNDATED: &str = "postretry_undated_posts";
/// For posts that say something of their platforms without a status for any.
pub(super) const SILENT: &str = "postretry_platform_status";
/// For posts whose platform is only in the list of platforms, and for names that are not known.
pub(super) const PLATFORMS: &str = "postretry_platforms";
/// The same as the first, if the backoff counts from the last attempt.
pub(super) const DUE_LAST_ATTEMPT: &str = "postretry_due_posts_last_attempt";
/// For posts with a claim.
const CLAIMS: &str = "postretry_claims_of_posts";
/// For the list, newest failure first.
const LIST: &str = "postretry_failed_posts";
/// For the posts that a platform is still processing, and for lists by category.
pub(super) const CATEGORY: &str = "postretry_categories";

/// For documents that may be malformed, because of a field in their root.
const SUSPECTS: &str = "postretry_suspects";

/// What [`usage`] calls a list of platforms.
pub(super) const ANY_LIST: &str = "*";

/// The indexes of earlier versions. Nothing uses them any more.
pub(super) const OUTDATED: [&str; 6] = [
    "postretry_due",
    "postretry_due_last_attempt",
    "postretry_claims",
    "postretry_claimed",
    "postretry_category",
    "postretry_list",
];

/// The indexes of the posts for this way of counting the backoff.
pub(super) fn of_posts(backoff_from: BackoffFrom) -> Vec<IndexModel> {
    let failed = doc! { "status": "failed" };
    let with = |field: &str, condition: Document| {
        let mut failed = failed.clone();
        failed.insert(field, condition);
        failed
    };
    let mut due = doc! { "status": 1 };
    due.extend(statuses());
    due.extend(doc! { HANDED_OVER: 1, "platform": 1, "permanentlyFailed": 1, "retryCount": 1 });
    let mut by_failure = due.clone();
    by_failure.extend(doc! { "failedAt": 1, "_id": 1, "failureCategory": 1 });
    let mut by_list = doc! { "platforms": 1 };
    by_list.extend(statuses());
    by_list.extend(doc! { "platform": 1, "permanentlyFailed": 1, "retryCount": 1, "failedAt": 1 });
    let mut silent = doc! { "status": 1 };
    silent.extend(statuses());
    let mut list = silent.clone();
    list.extend(doc! { "failedAt": -1, "_id": 1 });
    let undated = doc! { "platform": 1, "permanentlyFailed": 1, "retryCount": 1, "updatedAt": 1 };
    let mut indexes = vec![
        index(DUE, by_failure, failed.clone()),
        index(UNDATED, undated, with_value(&failed, "failedAt", Bson::Null)),
        index(PLATFORMS, by_list, with("platforms", doc! { "$exists": true })),
        index(SILENT, silent, with("platformStatus", doc! { "$type": "object" })),
        index(CLAIMS, claims(&Place::Root), with("retryClaim", doc! { "$exists": true })),
        index(CATEGORY, doc! { "status": 1, "failureCategory": 1, "platform": 1 }, failed.clone()),
        index(LIST, list, failed.clone()),
    ];
    if backoff_from == BackoffFrom::LastAttempt {
        due.extend(doc! { "lastRetriedAt": 1, "failedAt": 1, "_id": 1 });
        indexes.push(index(DUE_LAST_ATTEMPT, due, failed));
    }
    indexes
}

/// The names of the indexes that every posts collection has.
pub(super) fn of_posts_names(backoff_from: BackoffFrom) -> impl Iterator<Item = &'static str> {
    let last_attempt = (backoff_from == BackoffFrom::LastAttempt).then_some(DUE_LAST_ATTEMPT);
    [DUE, UNDATED, PLATFORMS, SILENT, CLAIMS, CATEGORY, LIST, SUSPECTS].into_iter().chain(last_attempt)
}

/// The names of those that it has besides if there is a status under this name.
pub(super) fn of_deliveries_names(name: &str) -> [String; 4] {
    let place = Place::entry(name);
    [due_of(name), claims_of(&place), processing_of(&place), suspects_of(&place)]
}

/// A pipeline that finds the names under which failed documents have a status, and `*` if any has a list of platforms,
/// each as `name`. The first index serves it.
pub(super) fn usage(collection: &str) -> Vec<Document> {
    let query = |name: &str, path: &str| {
        let is_used = doc! { "status": "failed", path: { "$type": "string" } };
        let told = doc! { "_id": 0, "name": { "$literal": name } };
        vec![doc! { "$match": is_used }, doc! { "$limit": 1 }, doc! { "$project": told }]
    };
    let statuses = spellings().map(|name| query(name, &status_path(name)));
    let mut queries = statuses.chain([query(ANY_LIST, "platforms")]);
    let mut pipeline = queries.next().unwrap_or_default();
    pipeline.extend(queries.map(|query| doc! { "$unionWith": { "coll": collection, "pipeline": query } }));
    pipeline
}

/// The indexes of the deliveries whose entry is spelled so.
pub(super) fn of_deliveries(name: &str) -> [IndexModel; 3] {
    let place = Place::entry(name);
    let status = status_path(name);
    let (claim, category) = (place.retry("retryClaim"), place.retry("failureCategory"));
    let mut due = doc! { "status": 1, status.as_str(): 1 };
    if name == Platform::TikTok.as_str() {
        due.insert(HANDED_OVER, 1);
    }
    due.insert(place.retry("permanentlyFailed"), 1);
    due.insert(place.retry("retryCount"), 1);
    due.insert(format!("platformStatus.{name}.lastFailedAt"), 1);
    due.extend(doc! { "failedAt": 1, "_id": 1, category.as_str(): 1 });
    let failed = doc! { "status": "failed", status: "failed" };
    [
        index(&due_of(name), due, failed),
        index(&claims_of(&place), claims(&place), doc! { "status": "failed", claim: { "$exists": true } }),
        index(
            &processing_of(&place),
            doc! { category.as_str(): 1 },
            doc! { "status": "failed", category: "processing" },
        ),
    ]
}

/// The indexes of what may be malformed, in a database in which these names have a status.
///
/// An index is not created again if its name exists. So if the faults change, the name must change too. Servers before
/// MongoDB 6.0 refuse these indexes, because of the `$or` in the filter.
pub(super) fn of_suspects(names: impl Iterator<Item = &'static str>) -> Vec<IndexModel> {
    let suspects = |place: &Place, more: Document, faults: Vec<Document>| {
        let mut filter = doc! { "status": "failed" };
        filter.extend(more);
        filter.insert("$or", faults);
        index(&suspects_of(place), doc! { "status": 1, "_id": 1 }, filter)
    };
    let of_entry = |name: &str| {
        let failed = doc! { status_path(name): "failed" };
        suspects(&Place::entry(name), failed, faults_of_entry(name))
    };
    let mut indexes = vec![suspects(&Place::Root, Document::new(), faults_of_root())];
    indexes.extend(names.map(of_entry));
    indexes
}

/// The name of the index of what may be malformed.
pub(super) fn suspects_of(place: &Place) -> String {
    match place {
        Place::Root => SUSPECTS.to_owned(),
        Place::Entry(name) => format!("{SUSPECTS}_{name}"),
    }
}

/// The name of the index of due deliveries whose entry is spelled so.
pub(super) fn due_of(name: &str) -> String {
    format!("postretry_due_{name}")
}

/// The name of the index of claims.
pub(super) fn claims_of(place: &Place) -> String {
    match place {
        Place::Root => CLAIMS.to_owned(),
        Place::Entry(name) => format!("postretry_claims_{name}"),
    }
}

/// The name of the index of what a platform is still processing.
pub(super) fn processing_of(place: &Place) -> String {
    match place {
        Place::Root => CATEGORY.to_owned(),
        Place::Entry(name) => format!("postretry_processing_{name}"),
    }
}

fn statuses() -> Document {
    spellings().map(|name| (status_path(name), Bson::Int32(1))).collect()
}

fn claims(place: &Place) -> Document {
    doc! { place.retry("retryClaim.until"): 1, place.retry("retryClaim.by"): 1 }
}

fn with_value(filter: &Document, field: &str, value: Bson) -> Document {
    let mut filter = filter.clone();
    filter.insert(field, value);
    filter
}

fn index(name: &str, keys: Document, partial: Document) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).partial_filter_expression(partial).build();
    IndexModel::builder().keys(keys).options(options).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_indexes() {
        for (backoff_from, entries) in
            [(BackoffFrom::FirstFailure, vec![]), (BackoffFrom::LastAttempt, spellings().collect::<Vec<_>>())]
        {
            let models = of_posts(backoff_from).into_iter().chain(entries.iter().copied().flat_map(of_deliveries));
            let models = models.chain(of_suspects(entries.iter().copied()));
            let mut of_models: Vec<String> = models.filter_map(|model| model.options?.name).collect();
            let of_entries = entries.iter().flat_map(|entry| of_deliveries_names(entry));
            let mut names: Vec<String> =
                of_posts_names(backoff_from).map(ToOwned::to_owned).chain(of_entries).collect();
            of_models.sort();
            names.sort();
            assert_eq!(names, of_models);
        }
    }
}
