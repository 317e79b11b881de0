//! Posts in the order of their first failure, a page at a time.

use mongodb::bson::{Bson, Document, doc};

use super::{MongoPostStore, document, identity};
use crate::store::{DueCursor, PostPage, StoreError};

impl MongoPostStore {
    /// Posts in the order of their first failure, after the cursor.
    pub(super) async fn page(
        &self,
        filter: Document,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let mut pipeline = vec![doc! { "$match": filter }, doc! { "$project": projection_with_anchor() }];
        pipeline.extend(after.map(after_cursor));
        pipeline.push(doc! { "$sort": { ANCHOR: 1, "_id": 1 } });
        pipeline.push(doc! { "$limit": i64::from(limit) });
        let documents = self.collect(pipeline).await?;
        let is_full = documents.len() >= limit as usize;
        let next = documents.last().filter(|_| is_full).map(cursor_at);
        Ok(PostPage { posts: documents.iter().map(document::post_from).collect(), next })
    }
}

/// The field of a page's documents with the date of the sort order.
pub(super) const ANCHOR: &str = "postretryAnchor";

/// The fields that are read. Every read uses the same projection, so that all see the same document.
pub(super) fn projection() -> Document {
    document::field_names().map(|name| (name.to_owned(), Bson::Int32(1))).collect()
}

pub(super) fn projection_with_anchor() -> Document {
    let mut projection = projection();
    projection.insert(ANCHOR, doc! { "$ifNull": ["$failedAt", "$updatedAt"] });
    projection
}

fn cursor_at(last: &Document) -> DueCursor {
    let part = |name: &str| last.get(name).cloned().unwrap_or(Bson::Null);
    DueCursor(identity::key_of(&Bson::Document(doc! { "anchor": part(ANCHOR), "id": part("_id") })))
}

/// Everything after a cursor. The comparison is an expression, because a filter compares only values of one type.
pub(super) fn after_cursor(cursor: &DueCursor) -> Document {
    let place = identity::value_of(&cursor.0);
    let part = |name: &str| {
        let value = place.as_document().and_then(|place| place.get(name)).cloned().unwrap_or(Bson::Null);
        doc! { "$literal": value }
    };
    let anchor = format!("${ANCHOR}");
    doc! { "$match": { "$expr": { "$or": [
        { "$gt": [anchor.as_str(), part("anchor")] },
        { "$and": [{ "$eq": [anchor.as_str(), part("anchor")] }, { "$gt": ["$_id", part("id")] }] },
    ] } } }
}
