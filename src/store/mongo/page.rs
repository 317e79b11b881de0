//! Deliveries in the order of their first failure, a page at a time.
//!
//! What is due is found by several scans, one after another, each of an index of its own. The scan that finds nearly all
//! deliveries reads no more than the page needs; what the others find is little, and sorted by the server.

use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, doc};

use super::filter::{self, IndexScan, Part};
use super::place::{Place, place_of_malformed, places};
use super::{MongoPostStore, document, identity};
use crate::post::Platform;
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
    // Sorting and comparing take a list for different things.
    let plain = |date: Bson| doc! { "$cond": [{ "$isArray": [date.clone()] }, Bson::Null, date] };
    projection.insert(ANCHOR, plain(anchor));
    projection.insert(TIE, plain(doc! { "$ifNull": ["$failedAt", Bson::Null] }.into()));
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
    // A filter looks into lists.
    let listed = found.get("platform").and_then(Bson::as_array);
    let of_list = || listed?.iter().find_map(|name| name.as_str()?.parse::<Platform>().ok());
    match scope {
        Scope::Platform(platform) => stored.platform().or_else(of_list) == Some(platform),
        Scope::UnknownPlatform => stored.platform().is_none(),
    }
}

/// A position in the order of the pages: the number of a scan, and a delivery that it finds.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    scan: usize,
    /// None at the start of the scan.
    position: Option<Document>,
}

impl Cursor {
    pub(super) fn read(cursor: &DueCursor) -> Self {
        let read = identity::value_of(&cursor.0);
        let read = read.as_document();
        let scan = read.and_then(|cursor| cursor.get_i64("scan").ok()).and_then(|scan| usize::try_from(scan).ok());
        let position = read.and_then(|cursor| cursor.get_document("position").ok()).cloned();
        Self { scan: scan.unwrap_or(0), position }
    }

    /// Before all others.
    pub(super) fn start() -> Self {
        Self { scan: 0, position: None }
    }

    /// After this document of a scan, or at its start.
    fn at(scan: usize, last: Option<&Document>) -> DueCursor {
        let mut cursor = doc! { "scan": i64::try_from(scan).unwrap_or(i64::MAX) };
        if let Some(last) = last {
            let part = |name: &str| last.get(name).cloned().unwrap_or(Bson::Null);
            cursor.insert("position", doc! { "anchor": part(ANCHOR), "tie": part(TIE), "id": part("_id") });
        }
        DueCursor(identity::key_of(&Bson::Document(cursor)))
    }

    /// The scans that are not at their end, each with the position after which it goes on.
    pub(super) fn rest(self, scans: Vec<IndexScan>) -> impl Iterator<Item = (usize, IndexScan, Option<Position>)> {
        let Self { scan: first, position } = self;
        let numbered = scans.into_iter().enumerate().skip(first);
        numbered.map(move |(number, scan)| (number, scan, position.clone().filter(|_| number == first).map(Position)))
    }
}

/// A delivery's position in the order of its scan.
#[derive(Debug, Clone)]
pub(super) struct Position(Document);

impl Position {
    fn part(&self, name: &str) -> Bson {
        self.0.get(name).cloned().unwrap_or(Bson::Null)
    }

    /// Its date, if it has one.
    pub(super) fn date(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.part("anchor").as_datetime()?.timestamp_millis())
    }

    /// Whether a document with the same date follows. An expression, because a filter compares only values of one type.
    pub(super) fn after_same_date(&self) -> Document {
        let failed_at = Bson::Document(doc! { "$ifNull": ["$failedAt", Bson::Null] });
        follows(&failed_at, &self.part("tie"), Some(self.after_id()))
    }

    /// Everything after it, of documents with the fields of [`projection_of`].
    pub(super) fn after(&self) -> Document {
        let field = |name: &str| Bson::String(format!("${name}"));
        let tie = follows(&field(TIE), &self.part("tie"), Some(self.after_id()));
        doc! { "$match": { "$expr": follows(&field(ANCHOR), &self.part("anchor"), Some(tie)) } }
    }

    fn after_id(&self) -> Document {
        follows(&Bson::String("$_id".to_owned()), &self.part("id"), None)
    }
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

/// The query for what a scan finds, in order; none if no branch of it can have more.
fn query(scan: &IndexScan, after: Option<&Position>, limit: u32) -> Option<Vec<Document>> {
    let limit = doc! { "$limit": i64::from(limit) };
    let project = doc! { "$project": projection_of(&scan.part) };
    let order = doc! { "$sort": { ANCHOR: 1, TIE: 1, "_id": 1 } };
    let Some(ordered_by) = &scan.ordered_by else {
        let mut stages = vec![doc! { "$match": filter::any(scan.branches.clone()) }, project];
        stages.extend(after.map(Position::after));
        stages.extend([order, limit]);
        return Some(stages);
    };
    let branches = match after {
        None => scan.branches.clone(),
        Some(position) => filter::after(scan.branches.clone(), ordered_by, position),
    };
    if branches.is_empty() {
        return None;
    }
    let mut by_index = doc! { ordered_by.as_str(): 1 };
    by_index.extend(doc! { "failedAt": 1, "_id": 1 });
    Some(vec![doc! { "$match": filter::any(branches) }, doc! { "$sort": by_index }, limit, project])
}

impl MongoPostStore {
    /// The next page of what these scans find.
    pub(super) async fn page(
        &self,
        scans: Vec<IndexScan>,
        scope: Scope,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let cursor = after.map_or_else(Cursor::start, Cursor::read);
        let mut page = PostPage::default();
        let mut left = limit;
        for (number, scan, position) in cursor.rest(scans) {
            let Some(pipeline) = query(&scan, position.as_ref(), left) else { continue };
            let documents = self.collect_hinted(pipeline, &scan.index).await?;
            let found =
                |document| deliveries_in(document).into_iter().filter(move |stored| is_in(document, stored, scope));
            page.posts.extend(documents.iter().flat_map(found));
            left = left.saturating_sub(u32::try_from(documents.len()).unwrap_or(left));
            if left == 0 {
                page.next = Some(Cursor::at(number, documents.last()));
                break;
            }
        }
        Ok(page)
    }
}
