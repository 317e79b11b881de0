//! The indexes that the queries need. They are created once and never changed.

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;

use crate::post::BackoffFrom;

/// For the ranges of the query for due posts, and for exhausted posts.
pub(super) const DUE: &str = "postretry_due";
/// The same, if the backoff counts from the last attempt.
pub(super) const DUE_LAST_ATTEMPT: &str = "postretry_due_last_attempt";
/// For the posts whose claim has expired.
pub(super) const CLAIMS: &str = "postretry_claims";
/// For the posts with a claim that cannot be read.
pub(super) const CLAIMED: &str = "postretry_claimed";
/// For the list, newest failure first.
pub(super) const LIST: &str = "postretry_list";
/// For the posts that a platform is still processing, and for counts by category.
pub(super) const CATEGORY: &str = "postretry_category";

/// The indexes of the posts for this way of counting the backoff.
pub(super) fn of_posts(backoff_from: BackoffFrom) -> Vec<IndexModel> {
    let mut indexes = vec![
        index(
            DUE,
            doc! { "status": 1, "platform": 1, "permanentlyFailed": 1, "retryCount": 1, "failedAt": 1, "updatedAt": 1 },
            None,
        ),
        index(CLAIMS, doc! { "retryClaim.until": 1 }, Some(doc! { "retryClaim.until": { "$exists": true } })),
        index(CLAIMED, doc! { "retryClaim": 1 }, Some(doc! { "retryClaim": { "$exists": true } })),
        index(CATEGORY, doc! { "status": 1, "failureCategory": 1, "platform": 1 }, None),
        index(LIST, doc! { "status": 1, "failedAt": -1, "_id": 1 }, None),
    ];
    if backoff_from == BackoffFrom::LastAttempt {
        let keys = doc! {
            "status": 1, "platform": 1, "permanentlyFailed": 1, "retryCount": 1, "lastRetriedAt": 1, "failedAt": 1,
        };
        indexes.push(index(DUE_LAST_ATTEMPT, keys, None));
    }
    indexes
}

fn index(name: &str, keys: Document, partial: Option<Document>) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).partial_filter_expression(partial).build();
    IndexModel::builder().keys(keys).options(options).build()
}
