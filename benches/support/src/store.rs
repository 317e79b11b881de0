//! The stores that a benchmark fills.

use std::path::{Path, PathBuf};

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use rusqlite::{Connection, params_from_iter};

use crate::BenchResult;
use crate::posts::{COLUMNS, FailedPost, State, failed_posts};

/// How many documents are inserted at a time.
const BATCH: usize = 10_000;

/// The two kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A database of a replica set of one.
    MongoDb,
    /// A file.
    Sqlite,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::MongoDb, Self::Sqlite];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MongoDb => "MongoDB",
            Self::Sqlite => "SQLite",
        }
    }
}

/// A store of posts.
#[derive(Debug)]
pub struct Store {
    url: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Mongo(Collection<Document>),
    Sqlite(PathBuf),
}

impl Store {
    pub(crate) fn mongo(url: String, posts: Collection<Document>) -> Self {
        Self { url, place: Place::Mongo(posts) }
    }

    pub(crate) fn sqlite(path: PathBuf) -> Self {
        Self { url: format!("sqlite:{}", path.display()), place: Place::Sqlite(path) }
    }

    /// As the setting has it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The posts, if they are in MongoDB.
    pub fn collection(&self) -> Option<&Collection<Document>> {
        match &self.place {
            Place::Mongo(posts) => Some(posts),
            Place::Sqlite(_) => None,
        }
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Mongo(_) => None,
            Place::Sqlite(path) => Some(path),
        }
    }

    /// Inserts posts for one platform each.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn fill(&self, state: State, posts: usize) -> BenchResult {
        match &self.place {
            Place::Mongo(collection) => insert(collection, state, posts, FailedPost::document).await,
            Place::Sqlite(path) => insert_rows(path, state, posts),
        }
    }

    /// Inserts posts for several platforms, each failed on one of them.
    ///
    /// # Errors
    /// Where the store refuses, or is a file, which has a row for each delivery.
    pub async fn fill_deliveries(&self, state: State, posts: usize) -> BenchResult {
        let collection = self.collection().ok_or("a file has a row for each delivery")?;
        insert(collection, state, posts, FailedPost::delivery).await
    }

    /// Deletes all posts. The indexes stay.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn clear(&self) -> BenchResult {
        match &self.place {
            Place::Mongo(collection) => {
                collection.delete_many(doc! {}).await?;
            }
            Place::Sqlite(path) => {
                Connection::open(path)?.execute("DELETE FROM posts", [])?;
            }
        }
        Ok(())
    }

    /// How many posts have this status.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn count(&self, status: &str) -> BenchResult<usize> {
        let count = match &self.place {
            Place::Mongo(collection) => i64::try_from(collection.count_documents(doc! { "status": status }).await?)?,
            Place::Sqlite(path) => {
                let sql = "SELECT count(*) FROM posts WHERE status = ?";
                Connection::open(path)?.query_row(sql, [status], |row| row.get(0))?
            }
        };
        Ok(usize::try_from(count)?)
    }
}

async fn insert(
    collection: &Collection<Document>,
    state: State,
    posts: usize,
    document: fn(&FailedPost) -> Document,
) -> BenchResult {
    let mut left = failed_posts(state, posts);
    loop {
        let some: Vec<Document> = left.by_ref().take(BATCH).map(|post| document(&post)).collect();
        if some.is_empty() {
            return Ok(());
        }
        collection.insert_many(some).await?;
    }
}

fn insert_rows(path: &Path, state: State, posts: usize) -> BenchResult {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    let marks = vec!["?"; COLUMNS.len()].join(", ");
    let mut statement = transaction.prepare(&format!("INSERT INTO posts ({}) VALUES ({marks})", COLUMNS.join(", ")))?;
    for post in failed_posts(state, posts) {
        statement.execute(params_from_iter(post.row()))?;
    }
    drop(statement);
    transaction.commit()?;
    Ok(())
}
