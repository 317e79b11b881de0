//! The indexes of the posts: the bytes that they take, and stores that have only some of them.

use std::path::Path;

use mongodb::bson::{Bson, Document, doc};
use mongodb::{Collection, Database};
use rusqlite::Connection;

use crate::{BenchResult, Store};

/// An index of the posts.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its bytes on disk.
    pub bytes: u64,
    /// What MongoDB makes it from.
    specification: Document,
}

impl Index {
    /// Whether postretry has made it. The others belong to the collection or the table.
    pub fn is_ours(&self) -> bool {
        self.name.starts_with("postretry_")
    }
}

impl Store {
    /// The indexes that it has.
    ///
    /// # Errors
    /// Where the store does not tell.
    pub async fn indexes(&self) -> BenchResult<Vec<Index>> {
        match (self.collection(), self.path()) {
            (Some(posts), _) => mongo_indexes(posts).await,
            (None, Some(path)) => sqlite_indexes(path),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Leaves an empty store with these indexes of postretry and no others.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn set_indexes(&self, wanted: &[&Index]) -> BenchResult {
        if let Some(path) = self.path() {
            return drop_other_indexes(path, wanted);
        }
        let Some(posts) = self.collection().filter(|_| !wanted.is_empty()) else { return Ok(()) };
        let specifications: Vec<Document> = wanted.iter().map(|index| index.specification.clone()).collect();
        database_of(posts).run_command(doc! { "createIndexes": posts.name(), "indexes": specifications }).await?;
        Ok(())
    }
}

fn database_of(posts: &Collection<Document>) -> Database {
    posts.client().database(&posts.namespace().db)
}

async fn mongo_indexes(posts: &Collection<Document>) -> BenchResult<Vec<Index>> {
    // Until then the files are as large as at the last checkpoint.
    posts.client().database("admin").run_command(doc! { "fsync": 1 }).await?;
    let database = database_of(posts);
    let statistics = database.run_command(doc! { "collStats": posts.name() }).await?;
    let sizes = statistics.get_document("indexSizes")?;
    // As documents: the driver's own type cannot hold every filter of a partial index.
    let listed = database.run_command(doc! { "listIndexes": posts.name() }).await?;
    let listed = listed.get_document("cursor")?.get_array("firstBatch")?;
    let index_from = |specification: &Document| {
        let name = specification.get_str("name").unwrap_or_default().to_owned();
        Index { bytes: bytes_in(sizes, &name), name, specification: specification.clone() }
    };
    Ok(listed.iter().filter_map(Bson::as_document).map(index_from).collect())
}

fn bytes_in(sizes: &Document, name: &str) -> u64 {
    let bytes = match sizes.get(name) {
        Some(Bson::Int32(bytes)) => i64::from(*bytes),
        Some(Bson::Int64(bytes)) => *bytes,
        _ => 0,
    };
    u64::try_from(bytes).unwrap_or(0)
}

fn sqlite_indexes(path: &Path) -> BenchResult<Vec<Index>> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare(
        "SELECT list.name, (SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE dbstat.name = list.name) \
         FROM pragma_index_list('posts') AS list ORDER BY list.seq DESC",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let index_from = |row: rusqlite::Result<(String, i64)>| -> BenchResult<Index> {
        let (name, bytes) = row?;
        Ok(Index { name, bytes: u64::try_from(bytes)?, specification: Document::new() })
    };
    rows.map(index_from).collect()
}

fn drop_other_indexes(path: &Path, wanted: &[&Index]) -> BenchResult {
    let is_unwanted = |index: &Index| index.is_ours() && !wanted.iter().any(|kept| kept.name == index.name);
    let connection = Connection::open(path)?;
    for index in sqlite_indexes(path)?.iter().filter(|index| is_unwanted(index)) {
        connection.execute_batch(&format!("DROP INDEX {}", index.name))?;
    }
    Ok(())
}
