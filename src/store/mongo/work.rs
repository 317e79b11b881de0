//! What there is to do, looked for once for all platforms before a pass.
//!
//! Most passes have nothing to do, and one search of each index tells that. Where one of them has found something, what
//! each scan of that index would find is looked for by itself: most find nothing, and the pass leaves them out.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::bson::Document;

use super::scan::{IndexScan, ScanKey};
use super::{MongoPostStore, filter, parts, scan};
use crate::post::RetryPolicy;
use crate::store::query::MalformedPosts;
use crate::store::{DueQuery, StoreError};

/// How many searches for work run at a time. Each needs a connection, and opening one costs as much as a search. At the
/// start of a pass two are open already.
const SEARCHES: usize = 2;

/// How long an empty scan is left out: what has come up meanwhile is found after that, or by the next pass.
const REMEMBERED: TimeDelta = TimeDelta::minutes(5);

/// Which scans found nothing.
#[derive(Debug)]
pub(super) struct EmptyScans {
    policy: RetryPolicy,
    /// Time of the store's clock.
    searched_at: DateTime<Utc>,
    keys: HashSet<ScanKey>,
}

impl EmptyScans {
    /// Whether this query need not make the scan.
    pub(super) fn contain(&self, scan: &IndexScan, query: &DueQuery) -> bool {
        let age = query.now.signed_duration_since(self.searched_at);
        self.policy == query.policy && age >= TimeDelta::zero() && age < REMEMBERED && self.keys.contains(&scan.key())
    }
}

impl MongoPostStore {
    /// Whether there is anything to do. Remembers which scans would find nothing.
    pub(super) async fn search_for_work(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let parts = parts::all_parts(self.usage().await?);
        let candidates = grouped(parts.iter().flat_map(|part| scan::candidates(part, policy, now)));
        let empty_indexes = self.search_all(candidates.into_iter().map(|(index, found)| (index.clone(), index, found)));
        let (empty_indexes, has_work) = empty_indexes.await?;
        if !has_work {
            return Ok(false);
        }
        let scans = parts.iter().flat_map(|part| {
            let due = scan::due(part, policy, now, MalformedPosts::Included);
            due.into_iter().chain(scan::exhausted(part, policy))
        });
        let scans = scans.filter(|scan| !scan.branches.is_empty()).map(|scan| (scan.key(), scan.branches));
        let (in_empty, others): (Vec<_>, Vec<_>) =
            grouped(scans).into_iter().partition(|((index, _), _)| empty_indexes.contains(index));
        let searches = others.into_iter().map(|(key, branches)| (key.clone(), key.0, branches));
        let (mut keys, _) = self.search_all(searches).await?;
        keys.extend(in_empty.into_iter().map(|(key, _)| key));
        self.remember_empty(EmptyScans { policy: *policy, searched_at: now, keys });
        Ok(true)
    }

    /// Makes searches, each with a key, an index and branches. Returns the keys of those that found nothing, and whether
    /// any found something.
    async fn search_all<K: Eq + Hash>(
        &self,
        searches: impl Iterator<Item = (K, String, Vec<Document>)>,
    ) -> Result<(HashSet<K>, bool), StoreError> {
        let search = |(key, index, branches): (K, String, Vec<Document>)| async move {
            let is_empty = !self.has_any(filter::any(branches), &index).await?;
            Ok::<_, StoreError>((key, is_empty))
        };
        let mut searches: Vec<_> = searches.collect();
        // The one that takes the longest is not left for the end.
        searches.sort_by_key(|(_, _, branches)| Reverse(branches.len()));
        let all: Vec<_> = stream::iter(searches).map(search).buffer_unordered(SEARCHES).try_collect().await?;
        let has_found = all.iter().any(|(_, is_empty)| !is_empty);
        Ok((all.into_iter().filter(|(_, is_empty)| *is_empty).map(|(key, _)| key).collect(), has_found))
    }
}

/// The branches of all that have the same key, together.
fn grouped<K: Eq + Hash>(searches: impl Iterator<Item = (K, Vec<Document>)>) -> HashMap<K, Vec<Document>> {
    let mut groups: HashMap<K, Vec<Document>> = HashMap::new();
    for (key, branches) in searches {
        groups.entry(key).or_default().extend(branches);
    }
    groups
}
