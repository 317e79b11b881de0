//! Lists of failed deliveries, newest failure first, and how long they are.
#![warn(clippy::arithmetic_side_effects)]

use std::convert::identity;

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::document::bson_date;
use super::filter::{any, other_than};
use super::page::{ANCHOR, ENTRY, deliveries_in, deliveries_of, projection_of, suspects_of};
use super::parts::{self, Part};
use super::place::{
    HANDED_OVER, Place, has_no_post, has_no_statuses, has_unset_statuses, is_failed, is_without_status,
    other_than_root, unknown_deliveries, unknown_entries, without_text_status,
};
use super::scan::IndexScan;
use super::statistics::count_in;
use super::{MongoPostStore, index};
use crate::post::Platform;
use crate::store::query::MalformedPosts;
use crate::store::{DueQuery, ListFilter, Page, Scope, StoreError, StoredPost};

/// The fields that decide about the place in a list.
fn order() -> Document {
    doc! { "$sort": { ANCHOR: -1, "_id": 1, ENTRY: 1 } }
}

impl MongoPostStore {
    /// A part of a list.
    pub(super) async fn listed_page(&self, filter: &ListFilter, page: Page) -> Result<Vec<StoredPost>, StoreError> {
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        if filter.due.is_some() {
            return self.due_listed(filter, page).await;
        }
        let amount = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // No query needs to return more than the end of the page.
        let wanted = amount(page.skip.saturating_add(page.limit));
        let parts = parts::listed_parts(filter).into_iter();
        let listed = parts.filter_map(|part| parts::listed(&part, filter).map(|condition| (part, condition)));
        let mut queries = listed.flat_map(|(part, condition)| queries(&part, condition, filter.since, wanted));
        let Some(mut pipeline) = queries.next() else { return Ok(Vec::new()) };
        for query in queries {
            pipeline.push(doc! { "$unionWith": { "coll": self.posts.name(), "pipeline": query } });
        }
        pipeline.extend([order(), doc! { "$skip": amount(page.skip) }, doc! { "$limit": amount(page.limit) }]);
        let found = self.collect(pipeline, |found| deliveries_in(&found)).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The scans for what is due in a list, each with its query and its whole condition.
    async fn listed_scans(&self, filter: &ListFilter) -> Result<Vec<(DueQuery, IndexScan, Document)>, StoreError> {
        let Some((policy, now)) = filter.due else { return Ok(Vec::new()) };
        let rest = ListFilter { due: None, ..filter.clone() };
        let wanted = |platform: &Platform| filter.platforms.is_empty() || filter.platforms.contains(platform);
        let mut scans = Vec::new();
        for platform in Platform::ALL.into_iter().filter(wanted) {
            let query = DueQuery { policy, now, scope: Scope::Platform(platform) };
            for scan in self.due_scans(&query, MalformedPosts::Excluded).await? {
                if scan.branches.is_empty() {
                    continue;
                }
                let Some(rest) = parts::listed(&scan.part, &rest) else { continue };
                let condition = doc! { "$and": [any(scan.branches.clone()), rest] };
                scans.push((query, scan, condition));
            }
        }
        Ok(scans)
    }

    /// A part of a list of what is due, found as a pass finds it.
    async fn due_listed(&self, filter: &ListFilter, page: Page) -> Result<Vec<StoredPost>, StoreError> {
        let wanted = i64::try_from(page.skip.saturating_add(page.limit)).unwrap_or(i64::MAX);
        let mut posts = Vec::new();
        for (query, scan, condition) in self.listed_scans(filter).await? {
            // What cannot be read is not due, so it must not fill the page.
            let readable: Vec<Document> =
                suspects_of(&scan, query.scope).map(|suspects| doc! { "$nor": [suspects] }).into_iter().collect();
            let plain: Vec<Document> = [condition.clone()].into_iter().chain(readable).collect();
            let project = doc! { "$project": projection_of(&scan.part) };
            let pipeline = vec![doc! { "$match": { "$and": plain } }, project, order(), doc! { "$limit": wanted }];
            let found = self.collect_hinted(pipeline, &scan.index, |found| deliveries_of(&found, query.scope)).await?;
            posts.extend(found.into_iter().flatten());
            posts.extend(self.suspects_in(&scan, condition, None, &query).await?.into_iter().flatten());
        }
        let date = |stored: &StoredPost| stored.failed_at().or(stored.readable().and_then(|post| post.updated_at));
        posts.sort_by(|a, b| date(b).cmp(&date(a)).then_with(|| a.id().cmp(b.id())));
        let amount = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(posts.into_iter().skip(amount(page.skip)).take(amount(page.limit)).collect())
    }

    /// How many deliveries a list has.
    pub(super) async fn count_listed(&self, filter: &ListFilter) -> Result<u64, StoreError> {
        if filter.due.is_some() {
            let mut sum: u64 = 0;
            for (query, scan, condition) in self.listed_scans(filter).await? {
                sum = sum.saturating_add(self.count_scan(&scan, condition, None, &query).await?);
            }
            return Ok(sum);
        }
        let parts = parts::listed_parts(filter);
        if !filter.is_everything() {
            let (known, unknown): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| part.place.is_some());
            let conditions = known.into_iter().filter_map(|part| parts::listed(part, filter));
            let known = self.count_parts(conditions.collect()).await?;
            let has_unknown = unknown.into_iter().any(|part| parts::listed(part, filter).is_some());
            let unknown = if has_unknown { self.count_unknown(filter.since).await? } else { 0 };
            return Ok(known.saturating_add(unknown));
        }
        let used = &self.usage().await?.entries;
        // An index counts the documents that have no status for a platform. Few of them are no post for one platform:
        // those are counted too, and subtracted.
        let with_status = doc! { "$expr": { "$not": [is_without_status()] } };
        let mut handed_over = doc! { "status": is_failed(), HANDED_OVER: { "$ne": Bson::Null } };
        handed_over.insert("$or", vec![has_no_statuses(), has_unset_statuses()]);
        handed_over.insert("$nor", vec![Place::Root.not_handed_over(), with_status.clone()]);
        let no_post = doc! { "$and": [has_no_post(), Place::Root.not_handed_over(), { "$nor": [with_status] }] };
        let counted = self.count_by_status(without_text_status(used), index::DUE).await?;
        let no_root = self.count_by_status(other_than_root(used), index::SILENT).await?;
        let not_ours = no_root.saturating_add(self.count_parts(vec![handed_over, no_post]).await?);
        let mut known = counted.saturating_sub(not_ours);
        for name in used {
            let found = vec![doc! { "$match": Place::entry(name).counted() }];
            known = known.saturating_add(self.count_found(found, &index::due_of(name)).await?);
        }
        Ok(known.saturating_add(self.count_unknown_entries().await?))
    }

    /// How many of the documents that a filter matches are failed. A filter looks into lists, but a list with `failed` in
    /// it is no status.
    async fn count_by_status(&self, filter: Document, index: &str) -> Result<u64, StoreError> {
        let pipeline = vec![
            doc! { "$match": filter },
            doc! { "$group": { "_id": "$status", "n": { "$sum": 1 } } },
            // The server decides what is equal: the collection may have a collation. A `$match` would be put before the
            // group, where each document is read for it.
            doc! { "$project": { "n": { "$cond": [{ "$eq": ["$_id", "failed"] }, "$n", 0] } } },
        ];
        let counted = self.collect_hinted(pipeline, index, identity).await?;
        Ok(counted.iter().map(|group| count_in(group, "n")).fold(0, u64::saturating_add))
    }

    /// How many failed deliveries have names that are not known.
    pub(super) async fn count_unknown_entries(&self) -> Result<u64, StoreError> {
        self.count_unknown(None).await
    }

    /// The same, of those with a date that is not earlier than this.
    async fn count_unknown(&self, since: Option<DateTime<Utc>>) -> Result<u64, StoreError> {
        let count = match since {
            None => unknown_entries(),
            Some(since) => {
                let is_later = doc! { "$gte": ["$$this.date", bson_date(since)] };
                doc! { "$size": { "$filter": { "input": unknown_deliveries(), "cond": is_later } } }
            }
        };
        let parts = parts::listed_parts(&ListFilter::default());
        let mut sum: u64 = 0;
        for part in parts.iter().filter(|part| part.place.is_none()) {
            let pipeline = vec![
                doc! { "$match": part.base.clone() },
                doc! { "$group": { "_id": Bson::Null, "n": { "$sum": count.clone() } } },
            ];
            let counted = self.collect(pipeline, identity).await?;
            sum = sum.saturating_add(counted.first().map_or(0, |counted| count_in(counted, "n")));
        }
        Ok(sum)
    }
}

/// The field with what [`unknown_deliveries`] says of a document.
const UNKNOWN_DELIVERIES: &str = "postretryUnknownDeliveries";

/// The stages that make a document of each delivery with an unknown name, with the date that is shown for it: a document
/// can have several of them.
fn unknown_deliveries_of(part: &Part, condition: Document, since: Option<DateTime<Utc>>) -> Vec<Document> {
    let mut projection = projection_of(part);
    projection.insert(UNKNOWN_DELIVERIES, unknown_deliveries());
    let value = |name: &str| format!("${UNKNOWN_DELIVERIES}.{name}");
    let mut stages = vec![
        doc! { "$match": condition },
        doc! { "$project": projection },
        doc! { "$unwind": format!("${UNKNOWN_DELIVERIES}") },
        doc! { "$set": { ANCHOR: value("date"), ENTRY: value("name") } },
    ];
    stages.extend(since.map(|since| doc! { "$match": { ANCHOR: { "$gte": bson_date(since) } } }));
    stages
}

/// The queries for a part of a list.
fn queries(part: &Part, condition: Document, since: Option<DateTime<Utc>>, wanted: i64) -> Vec<Vec<Document>> {
    let limit = doc! { "$limit": wanted };
    if part.place.is_none() {
        let mut stages = unknown_deliveries_of(part, condition, since);
        stages.extend([order(), limit]);
        return vec![stages];
    }
    let projection = projection_of(part);
    // The fields of the page alone are copied, not those of all that is sorted for it.
    let with_date = doc! { "$set": { ANCHOR: projection.get(ANCHOR).cloned() } };
    let project = doc! { "$project": projection };
    if part.place != Some(Place::Root) {
        return vec![vec![doc! { "$match": condition }, with_date, order(), limit, project]];
    }
    // Almost every post has `failedAt`. These posts come in order from an index, and no others are read. The rest is
    // merged into them.
    let with = |failed_at: Document| doc! { "$match": { "$and": [condition.clone(), failed_at] } };
    let wrong = doc! {
        "$or": [{ "failedAt": { "$type": other_than(&["date"]) } }, { "failedAt": Bson::Array(Vec::new()) }],
        // A list with a date in it is found with the dates.
        "failedAt": { "$not": { "$type": "date" }, "$ne": Bson::Null },
    };
    vec![
        vec![
            with(doc! { "failedAt": { "$type": "date" } }),
            doc! { "$sort": { "failedAt": -1, "_id": 1 } },
            limit.clone(),
            project.clone(),
        ],
        vec![
            with(doc! { "failedAt": Bson::Null }),
            doc! { "$sort": { "updatedAt": -1, "_id": 1 } },
            limit.clone(),
            project.clone(),
        ],
        vec![with(wrong), with_date, order(), limit, project],
    ]
}
