//! Deliveries in the order of their first failure, a page at a time.
//!
//! A page is put together from the parts of a scope, and from two queries for each: what is ordered by an index, of
//! which no more is read than the page needs, and the rest, which is small and sorted by the server.

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::filter::{self, DueBranches, Part};
use super::place::{Place, place_of_malformed, places};
use super::{MongoPostStore, document, identity, index};
use crate::store::{DueCursor, PostPage, Scope, StoreError, StoredPost};

/// The field of a page's documents with the date of the sort order.
pub(super) const ANCHOR: &str = "postretryAnchor";
/// The field with the date that decides between equal ones.
const TIE: &str = "postretryTie";
/// The field that tells which entry of `platforms` a document stands for; missing for a post for one platform.
pub(super) const ENTRY: &str = "postretryEntry";
/// The field that is true if the document stands for all its deliveries with unknown names.
const UNKNOWN: &str = "postretryUnknown";

/// The fields that are read. Every read uses the same projection, so that all see the same document.
pub(super) fn projection() -> Document {
    document::field_names().map(|name| (name.to_owned(), Bson::Int32(1))).collect()
}

/// What a query of a part returns: the fields that are read, what they are sorted by, and which part it was.
pub(super) fn projection_of(part: &Part) -> Document {
    let mut projection = projection();
    let anchor = part.place.as_ref().map_or_else(|| Place::Root.anchor(), Place::anchor);
    projection.insert(ANCHOR, anchor);
    projection.insert(TIE, doc! { "$ifNull": ["$failedAt", Bson::Null] });
    match &part.place {
        Some(Place::Root) => {}
        Some(Place::Entry(entry)) => drop(projection.insert(ENTRY, doc! { "$literal": entry })),
        None => drop(projection.insert(UNKNOWN, doc! { "$literal": true })),
    }
    projection
}

/// The deliveries that a document of a query stands for.
pub(super) fn deliveries_in(found: &Document) -> Vec<StoredPost> {
    let read = |place: &Place| document::post_from(found, place);
    let wanted = found.get_str(ENTRY).map_or(Place::Root, Place::entry);
    match places(found) {
        // It is not clear which deliveries it has, so it counts as one post, for the platform that it names first.
        Err(_) if wanted == place_of_malformed(found) => vec![read(&Place::Root)],
        Err(_) => Vec::new(),
        Ok(places) if found.get_bool(UNKNOWN).is_ok_and(|is_unknown| is_unknown) => {
            places.iter().map(read).filter(|stored| stored.platform().is_none()).collect()
        }
        Ok(places) => places.iter().filter(|place| **place == wanted).map(read).collect(),
    }
}

/// Whether a delivery that was found in this document belongs to a scope. The server only finds candidates.
fn is_in(found: &Document, stored: &StoredPost, scope: Scope) -> bool {
    // What is malformed as a whole and was found by one of its entries is told there.
    if found.contains_key(ENTRY) && places(found).is_err() {
        return true;
    }
    match scope {
        Scope::Platform(platform) => stored.platform() == Some(platform),
        Scope::UnknownPlatform => stored.platform().is_none(),
    }
}

/// A position in the order of the pages.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    anchor: Bson,
    tie: Bson,
    id: Bson,
}

impl Cursor {
    pub(super) fn read(cursor: &DueCursor) -> Self {
        let place = identity::value_of(&cursor.0);
        let part = |name: &str| place.as_document().and_then(|place| place.get(name)).cloned().unwrap_or(Bson::Null);
        Self { anchor: part("anchor"), tie: part("tie"), id: part("id") }
    }

    fn at(last: &Document) -> DueCursor {
        let part = |name: &str| last.get(name).cloned().unwrap_or(Bson::Null);
        let place = doc! { "anchor": part(ANCHOR), "tie": part(TIE), "id": part("_id") };
        DueCursor(identity::key_of(&Bson::Document(place)))
    }

    /// The date of the position, if it has one.
    pub(super) fn date(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.anchor.as_datetime()?.timestamp_millis())
    }

    /// Whether a document with the same date follows. An expression, because a filter compares only values of one type.
    pub(super) fn after_same_date(&self) -> Document {
        follows(&Bson::Document(doc! { "$ifNull": ["$failedAt", Bson::Null] }), &self.tie, Some(after_id(&self.id)))
    }

    /// Everything after the position, of documents with the fields of [`projection_of`].
    pub(super) fn after(&self) -> Document {
        let tie = follows(&Bson::String(format!("${TIE}")), &self.tie, Some(after_id(&self.id)));
        doc! { "$match": { "$expr": follows(&Bson::String(format!("${ANCHOR}")), &self.anchor, Some(tie)) } }
    }
}

fn after_id(id: &Bson) -> Document {
    follows(&Bson::String("$_id".to_owned()), id, None)
}

/// Whether a value is greater, or equal and the next condition holds.
fn follows(value: &Bson, than: &Bson, next: Option<Document>) -> Document {
    let than = doc! { "$literal": than.clone() };
    let greater = doc! { "$gt": [value.clone(), than.clone()] };
    match next {
        None => greater,
        Some(next) => doc! { "$or": [greater, { "$and": [{ "$eq": [value.clone(), than] }, next] }] },
    }
}

/// A query for deliveries of a part, in the order of the pages.
pub(super) struct PageQuery {
    stages: Vec<Document>,
}

impl PageQuery {
    /// Those that an index returns in order.
    fn ordered(part: &Part, due: &DueBranches, after: Option<&Cursor>, limit: u32) -> Option<Self> {
        let branches = match after {
            None => due.ordered.clone(),
            Some(cursor) => filter::after(due.ordered.clone(), &due.ordered_by, cursor),
        };
        if branches.is_empty() {
            return None;
        }
        let mut order = doc! { due.ordered_by.as_str(): 1 };
        order.extend(doc! { "failedAt": 1, "_id": 1 });
        Some(Self {
            stages: vec![
                doc! { "$match": filter::any(branches) },
                doc! { "$sort": order },
                doc! { "$limit": i64::from(limit) },
                doc! { "$project": projection_of(part) },
            ],
        })
    }

    /// All that match, sorted by the server.
    fn sorted(part: &Part, wanted: Document, after: Option<&Cursor>, limit: u32) -> Self {
        let mut stages = vec![doc! { "$match": wanted }, doc! { "$project": projection_of(part) }];
        stages.extend(after.map(Cursor::after));
        stages.push(order());
        stages.push(doc! { "$limit": i64::from(limit) });
        Self { stages }
    }
}

/// The order of the pages.
fn order() -> Document {
    doc! { "$sort": { ANCHOR: 1, TIE: 1, "_id": 1 } }
}

impl MongoPostStore {
    /// A page of due deliveries.
    pub(super) async fn due_page(
        &self,
        parts: &[(Part, Option<DueBranches>)],
        scope: Scope,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let cursor = after.map(Cursor::read);
        let mut queries = Vec::new();
        for (part, due) in parts {
            let Some(due) = due else {
                queries.push(PageQuery::sorted(part, part.base.clone(), cursor.as_ref(), limit));
                continue;
            };
            queries.extend(PageQuery::ordered(part, due, cursor.as_ref(), limit));
            queries.push(PageQuery::sorted(part, filter::any(due.others.clone()), cursor.as_ref(), limit));
        }
        self.page(queries, scope, limit).await
    }

    /// A page of the deliveries that these filters match.
    pub(super) async fn filtered_page(
        &self,
        parts: &[(Part, Document)],
        scope: Scope,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let cursor = after.map(Cursor::read);
        let queries =
            parts.iter().map(|(part, wanted)| PageQuery::sorted(part, wanted.clone(), cursor.as_ref(), limit));
        self.page(queries.collect(), scope, limit).await
    }

    /// Asks all queries at once, and merges what they return.
    async fn page(&self, queries: Vec<PageQuery>, scope: Scope, limit: u32) -> Result<PostPage, StoreError> {
        let mut queries = queries.into_iter();
        let Some(first) = queries.next() else { return Ok(PostPage::default()) };
        let mut pipeline = first.stages;
        for query in queries {
            pipeline.push(doc! { "$unionWith": { "coll": self.posts.name(), "pipeline": query.stages } });
        }
        pipeline.push(order());
        pipeline.push(doc! { "$limit": i64::from(limit) });
        let documents = self.collect_hinted(pipeline, index::DUE).await?;
        let is_full = documents.len() >= limit as usize;
        let next = documents.last().filter(|_| is_full).map(Cursor::at);
        let found = |document| deliveries_in(document).into_iter().filter(move |stored| is_in(document, stored, scope));
        let mut posts: Vec<StoredPost> = documents.iter().flat_map(found).collect();
        // What is due for two reasons is found by two queries.
        posts.dedup_by(|next, previous| next.id() == previous.id());
        Ok(PostPage { posts, next })
    }
}
