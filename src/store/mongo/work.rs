//! Whether there is anything to do at all, asked once for all platforms before a pass.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use mongodb::bson::{Document, doc};

use super::scan::IndexScan;
use super::{MongoPostStore, filter, parts, scan};
use crate::post::RetryPolicy;
use crate::store::StoreError;

/// How many searches for work run at a time. Each needs a connection, and opening one costs as much as a search.
const SEARCHES: usize = 3;

impl MongoPostStore {
    pub(super) async fn search_for_work(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let parts = parts::all_parts(self.usage().await?);
        let scans = parts.iter().flat_map(|part| scan::candidates(part, policy, now));
        let search = |(index, branches): (String, Vec<Document>)| async move {
            let first =
                vec![doc! { "$match": filter::any(branches) }, doc! { "$limit": 1 }, doc! { "$project": { "_id": 1 } }];
            self.collect_hinted(first, &index, drop).await.map(|found| !found.is_empty())
        };
        let searches = stream::iter(by_index(scans)).map(search).buffer_unordered(SEARCHES);
        let mut found = std::pin::pin!(searches.try_filter(|is_found| future::ready(*is_found)));
        Ok(found.try_next().await?.is_some())
    }
}

/// The branches of all scans of each index, so that each index is searched once.
fn by_index(scans: impl Iterator<Item = IndexScan>) -> Vec<(String, Vec<Document>)> {
    let mut searches: Vec<(String, Vec<Document>)> = Vec::new();
    for IndexScan { index, branches, .. } in scans.filter(|scan| !scan.branches.is_empty()) {
        match searches.iter_mut().find(|(searched, _)| *searched == index) {
            Some((_, all)) => all.extend(branches),
            None => searches.push((index, branches)),
        }
    }
    searches
}
