//! Deliveries in the order of their first failure, a page at a time.
//!
//! What is due is found by several scans, one after another, each of an index of its own. The scan that finds nearly all
//! deliveries reads no more than the page needs; what the others find is little, and sorted by the server.
#![warn(clippy::arithmetic_side_effects)]

use mongodb::bson::{self, Bson, Document, doc};

use super::decode::UNDECODABLE;
use super::filter;
use super::parts::Part;
use super::place::{Place, has_known_status, is_handed_over, is_without_known_name, place_of_malformed, places};
use super::scan::{self, IndexScan};
use super::suspects::suspects;
use super::{MongoPostStore, document, identity};
use crate::post::{Eligibility, Platform};
use crate::store::{DueCursor, DueQuery, PostPage, Scope, StoreError, StoredPost};

/// The field of a page's documents with the date of the sort order.
pub(super) const ANCHOR: &str = "postretryAnchor";
/// The field with the date that decides between equal ones.
const TIE: &str = "postretryTie";
/// The field that tells which entry of `platforms` a document stands for; missing for a post for one platform.
pub(super) const ENTRY: &str = "postretryEntry";
/// The field that is true if the document stands for its deliveries with unknown names: for the one that [`ENTRY`] names,
/// or for all.
const UNKNOWN: &str = "postretryUnknown";

/// How many bytes of documents are read for a page. A page of ordinary posts has fewer, but a document can have
/// megabytes of text, and all posts of a page are in memory.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The fields that are read. Every read uses the same projection, so that all see the same document.
pub(super) fn projection() -> Document {
    document::field_names().map(|name| (name.to_owned(), Bson::Int32(1))).collect()
}

/// What a query of a part returns: the fields that are read, what they are sorted by, and which part it was.
pub(super) fn projection_of(part: &Part) -> Document {
    let mut projection = projection();
    let anchor = part.place.as_ref().map_or_else(|| Place::Root.anchor(), Place::anchor);
    // Sorting and comparing take a list for different things, and other values can be of any size.
    let plain = |date: Bson| doc! { "$cond": [{ "$eq": [{ "$type": date.clone() }, "date"] }, date, Bson::Null] };
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
        Err(_) if wanted == Place::Root && is_handed_over(found) => Vec::new(),
        // It is not clear which deliveries it has, so it counts as one post, for the platform that it names first.
        Err(_) if wanted == place_of_malformed(found) || found.contains_key(UNDECODABLE) => vec![read(&Place::Root)],
        Err(_) => Vec::new(),
        Ok(places) if found.get_bool(UNKNOWN).is_ok_and(|is_unknown| is_unknown) => {
            let is_one = found.contains_key(ENTRY);
            let named = places.iter().filter(|place| !is_one || **place == wanted);
            let mut unknown: Vec<StoredPost> = named.map(read).filter(|stored| stored.platform().is_none()).collect();
            if is_one {
                // All names that cannot be part of a path are read alike.
                unknown.truncate(1);
            }
            unknown
        }
        Ok(places) => places.iter().filter(|place| **place == wanted).map(read).collect(),
    }
}

/// The deliveries of a scope that a document of a query stands for. The server only finds candidates.
pub(super) fn deliveries_of(found: &Document, scope: Scope) -> Vec<StoredPost> {
    deliveries_in(found).into_iter().filter(|stored| is_in(found, stored, scope)).collect()
}

/// Whether a delivery that was found in this document belongs to a scope.
fn is_in(found: &Document, stored: &StoredPost, scope: Scope) -> bool {
    // What is malformed as a whole and was found by one of its entries is told there. With a status for a known
    // platform, but none that is failed, it is found with the unknown names only.
    let is_unknown = found.contains_key(UNKNOWN);
    if (is_unknown || found.contains_key(ENTRY)) && places(found).is_err() {
        if !is_unknown || has_known_status(found) {
            return true;
        }
        // It is also found as a post for one platform, and told there.
        if is_without_known_name(found) {
            return false;
        }
    }
    // A filter looks into lists.
    let listed = found.get("platform").and_then(Bson::as_array);
    let of_list = || listed?.iter().find_map(|name| name.as_str()?.parse::<Platform>().ok());
    match scope {
        Scope::Platform(platform) => stored.platform().or_else(of_list) == Some(platform),
        Scope::UnknownPlatform => stored.platform().is_none(),
    }
}

/// A position in the order of the pages: the number of a scan, and where in it a page starts.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    scan: usize,
    start: PageStart,
}

/// Where in a scan a page starts.
#[derive(Debug, Clone, Default)]
pub(super) struct PageStart {
    /// After this delivery; none at the start of the scan.
    after: Option<Position>,
    /// After so many more documents. Their ids are too long for a query.
    skip: i64,
}

impl PageStart {
    pub(super) fn after(&self) -> Option<&Position> {
        self.after.as_ref()
    }

    /// After the documents that were found from here on, each with its position if a query can have that.
    fn behind<T>(&self, found: &[(T, Option<Position>)]) -> Self {
        let unnamed = found.iter().rev().take_while(|(_, position)| position.is_none()).count();
        let skip = i64::try_from(unnamed).unwrap_or(i64::MAX);
        match found.iter().rev().find_map(|(_, position)| position.clone()) {
            Some(last) => Self { after: Some(last), skip },
            None => Self { after: self.after.clone(), skip: self.skip.saturating_add(skip) },
        }
    }
}

impl Cursor {
    pub(super) fn read(cursor: &DueCursor) -> Self {
        let read = identity::value_of(&cursor.0);
        let read = read.as_document();
        let scan = read.and_then(|cursor| cursor.get_i64("scan").ok()).and_then(|scan| usize::try_from(scan).ok());
        let after = read.and_then(|cursor| cursor.get_document("position").ok()).cloned().map(Position);
        let skip = read.and_then(|cursor| cursor.get_i64("skip").ok()).unwrap_or(0);
        Self { scan: scan.unwrap_or(0), start: PageStart { after, skip } }
    }

    /// Before all others.
    pub(super) fn start() -> Self {
        Self { scan: 0, start: PageStart::default() }
    }

    /// Here in a scan.
    fn at(scan: usize, start: &PageStart) -> DueCursor {
        let mut cursor = doc! { "scan": i64::try_from(scan).unwrap_or(i64::MAX), "skip": start.skip };
        if let Some(Position(last)) = &start.after {
            cursor.insert("position", last.clone());
        }
        DueCursor(identity::key_of(&Bson::Document(cursor)))
    }

    /// The scans that are not at their end, each with where it goes on.
    pub(super) fn rest(self, scans: Vec<IndexScan>) -> impl Iterator<Item = (usize, IndexScan, PageStart)> {
        let Self { scan: first, start } = self;
        let numbered = scans.into_iter().enumerate().skip(first).filter(|(_, scan)| !scan.branches.is_empty());
        numbered.map(move |(number, scan)| {
            let start = if number == first { start.clone() } else { PageStart::default() };
            (number, scan, start)
        })
    }
}

/// A delivery's position in the order of its scan.
#[derive(Debug, Clone)]
pub(super) struct Position(Document);

impl Position {
    /// None if the id is too long: a query has the position once in each branch.
    fn of(found: &Document) -> Option<Self> {
        let part = |name: &str| found.get(name).cloned().unwrap_or(Bson::Null);
        let id = part("_id");
        identity::is_short(&id).then(|| Self(doc! { "anchor": part(ANCHOR), "tie": part(TIE), "id": id }))
    }

    fn part(&self, name: &str) -> Bson {
        self.0.get(name).cloned().unwrap_or(Bson::Null)
    }

    /// Its date, if it has one. It may be out of the range of dates that can be read.
    pub(super) fn date(&self) -> Option<bson::DateTime> {
        self.part("anchor").as_datetime().copied()
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
fn query(scan: &IndexScan, start: &PageStart, limit: u32) -> Option<Vec<Document>> {
    let after = start.after();
    let skip = (start.skip > 0).then(|| doc! { "$skip": start.skip });
    let limit = doc! { "$limit": i64::from(limit) };
    let project = doc! { "$project": projection_of(&scan.part) };
    let order = doc! { "$sort": { ANCHOR: 1, TIE: 1, "_id": 1 } };
    let Some(ordered_by) = &scan.ordered_by else {
        let mut stages = vec![doc! { "$match": filter::any(scan.branches.clone()) }, project];
        stages.extend(after.map(Position::after));
        stages.push(order);
        stages.extend(skip);
        stages.push(limit);
        return Some(stages);
    };
    let branches = match after {
        None => scan.branches.clone(),
        Some(position) => scan::after(scan.branches.clone(), ordered_by, position),
    };
    if branches.is_empty() {
        return None;
    }
    let mut by_index = doc! { ordered_by.as_str(): 1 };
    by_index.extend(doc! { "failedAt": 1, "_id": 1 });
    let mut stages = vec![doc! { "$match": filter::any(branches) }, doc! { "$sort": by_index }];
    stages.extend(skip);
    stages.extend([limit, project]);
    Some(stages)
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
        let (mut left, mut bytes_left) = (limit, PAGE_BYTES);
        for (number, scan, start) in cursor.rest(scans) {
            let Some(pipeline) = query(&scan, &start, left) else { continue };
            // Of each document no more is kept than is needed: together they can be very large.
            let read = |found: Document| (deliveries_of(&found, scope), Position::of(&found));
            let (found, bytes) = self.collect_some(pipeline, &[scan.index.as_str()], bytes_left, read).await?;
            bytes_left = bytes;
            left = left.saturating_sub(u32::try_from(found.len()).unwrap_or(left));
            if left == 0 || bytes_left == 0 {
                page.next = Some(Cursor::at(number, &start.behind(&found)));
            }
            page.posts.extend(found.into_iter().flat_map(|(posts, _)| posts));
            if page.next.is_some() {
                break;
            }
        }
        Ok(page)
    }

    /// How many well-formed deliveries these scans find after a cursor.
    pub(super) async fn count_scans(
        &self,
        scans: Vec<IndexScan>,
        query: &DueQuery,
        after: Option<&DueCursor>,
    ) -> Result<u64, StoreError> {
        let mut sum: u64 = 0;
        // What a page starts after besides its position cannot be read, so it is not counted anyway.
        for (_, scan, start) in after.map_or_else(Cursor::start, Cursor::read).rest(scans) {
            let condition = filter::any(scan.branches.clone());
            sum = sum.saturating_add(self.count_scan(&scan, condition, start.after(), query).await?);
        }
        Ok(sum)
    }

    /// How many well-formed deliveries a scan finds after a position on this condition.
    pub(super) async fn count_scan(
        &self,
        scan: &IndexScan,
        condition: Document,
        after: Option<&Position>,
        query: &DueQuery,
    ) -> Result<u64, StoreError> {
        let mut pipeline = vec![doc! { "$match": condition.clone() }];
        if let Some(position) = after {
            pipeline.extend([doc! { "$project": projection_of(&scan.part) }, position.after()]);
        }
        let count = self.count_found(pipeline, &scan.index).await?;
        if count == 0 {
            return Ok(0);
        }
        let suspects = self.suspects_in(scan, condition, after, query).await?;
        let readable = suspects.iter().map(Vec::len).fold(0, usize::saturating_add);
        let others = count.saturating_sub(suspects.len().try_into().unwrap_or(u64::MAX));
        Ok(others.saturating_add(u64::try_from(readable).unwrap_or(u64::MAX)))
    }

    /// The documents of a scan that have to be read to be counted: of each the deliveries that are due and can be read.
    pub(super) async fn suspects_in(
        &self,
        scan: &IndexScan,
        condition: Document,
        after: Option<&Position>,
        query: &DueQuery,
    ) -> Result<Vec<Vec<StoredPost>>, StoreError> {
        let mut pipeline = vec![doc! { "$match": condition }];
        pipeline.extend(suspects_of(scan, query.scope).map(|suspects| doc! { "$match": suspects }));
        pipeline.push(doc! { "$project": projection_of(&scan.part) });
        pipeline.extend(after.map(Position::after));
        let is_due = |stored: &StoredPost| {
            let eligibility = stored.readable().map(|post| query.policy.eligibility(post, query.now));
            matches!(eligibility, Some(Eligibility::Due(_)))
        };
        let read = |found: Document| {
            let mut posts = deliveries_of(&found, query.scope);
            posts.retain(is_due);
            posts
        };
        self.collect_hinted(pipeline, &scan.index, read).await
    }
}

/// Matches what has to be read to be counted, of what a scan finds; none if that is everything.
pub(super) fn suspects_of(scan: &IndexScan, scope: Scope) -> Option<Document> {
    match (&scan.part.place, scope) {
        (Some(place), Scope::Platform(platform)) => Some(suspects(place, platform)),
        _ => None,
    }
}
