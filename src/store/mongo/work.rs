//! Whether there is anything to do at all, asked once for all platforms before a pass.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use mongodb::bson::doc;

use super::scan::IndexScan;
use super::{MongoPostStore, filter, parts, scan};
use crate::post::RetryPolicy;
use crate::store::StoreError;
use crate::store::query::MalformedPosts;

/// How many searches for work run at a time. Each needs a connection, and opening one costs as much as a search.
const SEARCHES: usize = 3;

impl MongoPostStore {
    pub(super) async fn search_for_work(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let parts = parts::all_parts(self.usage().await?);
        let mut scans = Vec::new();
        for part in &parts {
            scans.extend(scan::due(part, policy, now, MalformedPosts::Included));
            scans.extend(scan::exhausted(part, policy));
        }
        scans.retain(|scan| !scan.branches.is_empty());
        // Where there is work, these find it at once.
        scans.sort_by_key(|scan| scan.ordered_by.is_none());
        let search = |scan: IndexScan| async move {
            let first = vec![
                doc! { "$match": filter::any(scan.branches) },
                doc! { "$limit": 1 },
                doc! { "$project": { "_id": 1 } },
            ];
            self.collect_hinted(first, &scan.index, drop).await.map(|found| !found.is_empty())
        };
        let searches = stream::iter(scans).map(search).buffer_unordered(SEARCHES);
        let mut found = std::pin::pin!(searches.try_filter(|is_found| future::ready(*is_found)));
        Ok(found.try_next().await?.is_some())
    }
}
