//! The cheapest queries that answer what an operator asks, on a copy of the posts with indexes made for them.

use std::path::Path;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::{Hint, IndexOptions};
use mongodb::{Client, Collection, IndexModel};
use postretry_bench_support::BenchResult;
use rusqlite::{Connection, params};

/// The collection with the copy.
const COPY: &str = "raw_posts";

/// As many as a page of the list has.
const PAGE: i64 = 50;

const HOUR: i64 = 3_600_000;

/// The retries that there are by default.
const MAX_RETRIES: i32 = 5;

/// The status of the platform on which a post for several has failed.
const STATUS: &str = "platformStatus.instagram.status";

const LAST_FAILED_AT: &str = "platformStatus.instagram.lastFailedAt";

/// Where the retry state of that platform is.
const DELIVERY: &str = "postretry.instagram.";

const COUNTED_POSTS: &str = "counted_posts";

const COUNTED_DELIVERIES: &str = "counted_deliveries";

/// Copies a collection within the server.
pub(crate) async fn copy_mongodb(posts: &Collection<Document>) -> BenchResult {
    let copied: Vec<Document> = posts.aggregate([doc! { "$out": COPY }]).await?.try_collect().await?;
    drop(copied);
    let state = ["permanentlyFailed", "retryCount", "failureCategory"];
    let index = |name: &str, keys: Document, place: &str, more: &[&str]| {
        let mut keys = keys;
        keys.extend(more.iter().map(|field| (format!("{place}{field}"), Bson::Int32(1))));
        let options = IndexOptions::builder().name(name.to_owned()).build();
        IndexModel::builder().keys(keys).options(options).build()
    };
    let with_date = |mut index: IndexModel| {
        index.keys.insert(LAST_FAILED_AT, 1);
        index
    };
    let both = doc! { "status": 1, STATUS: 1 };
    let indexes = [
        index("listed_posts", doc! { "status": 1, "failedAt": -1, "_id": 1 }, "", &[]),
        index("listed_roots", doc! { "status": 1, STATUS: 1, "failedAt": -1, "_id": 1 }, "", &[]),
        index("listed_deliveries", doc! { "status": 1, STATUS: 1, LAST_FAILED_AT: -1, "_id": 1 }, "", &[]),
        index("due_posts", both.clone(), "", &["permanentlyFailed", "retryCount", "failedAt"]),
        with_date(index("due_deliveries", both.clone(), DELIVERY, &["permanentlyFailed", "retryCount"])),
        index(COUNTED_POSTS, doc! { "status": 1, STATUS: 1, "platform": 1 }, "", &state),
        index(COUNTED_DELIVERIES, both, DELIVERY, &state),
    ];
    let copy = posts.client().default_database().ok_or("the URI has no database")?.collection::<Document>(COPY);
    copy.create_indexes(indexes).await?;
    Ok(())
}

/// Whether there are posts for several platforms, which another query finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Posts,
    Deliveries,
}

/// Connects and asks: the URI, the query, where the page begins, and what kinds of posts there are.
pub(crate) async fn ask_mongodb(arguments: &[String]) -> BenchResult {
    let [uri, query, skip, shape] = arguments else { return Err("usage: mongodb URI QUERY SKIP SHAPE".into()) };
    let shape = if shape == "deliveries" { Shape::Deliveries } else { Shape::Posts };
    let skip: i64 = skip.parse()?;
    let database = Client::with_uri_str(uri).await?.default_database().ok_or("the URI has no database")?;
    let posts = database.collection::<Document>(COPY);
    match query.as_str() {
        "list" => {
            let wanted = page(shape, skip);
            tokio::try_join!(collect(&posts, wanted), count(&posts, doc! { "status": "failed" }))?;
        }
        "due" => {
            let filter = doc! { "$or": due(shape) };
            let wanted = vec![doc! { "$match": filter.clone() }, doc! { "$limit": PAGE }];
            tokio::try_join!(collect(&posts, wanted), count(&posts, filter))?;
        }
        "stats" => {
            let due = doc! { "$or": due(shape) };
            tokio::try_join!(count_groups(&posts, shape), count(&posts, due))?;
        }
        other => return Err(format!("no such query: `{other}`").into()),
    }
    Ok(())
}

async fn collect(posts: &Collection<Document>, pipeline: Vec<Document>) -> BenchResult<Vec<Document>> {
    Ok(posts.aggregate(pipeline).await?.try_collect().await?)
}

async fn count(posts: &Collection<Document>, filter: Document) -> BenchResult<u64> {
    Ok(posts.count_documents(filter).await?)
}

/// Everything that the statistics count, but what is due. Indexes cover it.
async fn count_groups(posts: &Collection<Document>, shape: Shape) -> BenchResult {
    let count = async |name: &str, filter: Document, key: Document| -> BenchResult {
        let pipeline = [doc! { "$match": filter }, doc! { "$group": { "_id": key, "n": { "$sum": 1 } } }];
        let groups = posts.aggregate(pipeline).hint(Hint::Name(name.to_owned())).await?;
        let groups: Vec<Document> = groups.try_collect().await?;
        if groups.is_empty() { Err("nothing was counted".into()) } else { Ok(()) }
    };
    let mut key = state_in("");
    key.insert("platform", "$platform");
    if shape == Shape::Posts {
        return count(COUNTED_POSTS, doc! { "status": "failed" }, key).await;
    }
    key.insert("status", format!("${STATUS}"));
    let of_posts = count(COUNTED_POSTS, doc! { "status": "failed" }, key);
    let filter = doc! { "status": "failed", STATUS: "failed" };
    let of_deliveries = count(COUNTED_DELIVERIES, filter, state_in(DELIVERY));
    tokio::try_join!(of_posts, of_deliveries)?;
    Ok(())
}

/// The retry state at a place, as the key of a group.
fn state_in(place: &str) -> Document {
    let names = ["permanentlyFailed", "retryCount", "failureCategory"];
    names.map(|name| (name.to_owned(), Bson::String(format!("${place}{name}")))).into_iter().collect()
}

/// A page of the list, newest failure first.
fn page(shape: Shape, skip: i64) -> Vec<Document> {
    let failed = |more: Document, date: &str| {
        let mut filter = doc! { "status": "failed" };
        filter.extend(more);
        vec![doc! { "$match": filter }, doc! { "$sort": { date: -1, "_id": 1 } }]
    };
    let mut pipeline = match shape {
        Shape::Posts => failed(Document::new(), "failedAt"),
        Shape::Deliveries => failed(doc! { STATUS: { "$exists": false } }, "failedAt"),
    };
    if shape == Shape::Deliveries {
        let first = doc! { "$limit": skip + PAGE };
        let mut deliveries = failed(doc! { STATUS: "failed" }, LAST_FAILED_AT);
        deliveries.push(first.clone());
        let date = doc! { "$ifNull": [format!("${LAST_FAILED_AT}"), "$failedAt"] };
        pipeline.extend([
            first,
            doc! { "$unionWith": { "coll": COPY, "pipeline": deliveries } },
            doc! { "$set": { "date": date } },
            doc! { "$sort": { "date": -1, "_id": 1 } },
        ]);
    }
    pipeline.extend([doc! { "$skip": skip }, doc! { "$limit": PAGE }]);
    pipeline
}

/// What is due, one range for each retry count.
fn due(shape: Shape) -> Vec<Document> {
    let now = DateTime::now().timestamp_millis();
    let mut kinds = vec![("", "failedAt", Bson::from(doc! { "$exists": false }))];
    if shape == Shape::Deliveries {
        kinds.push((DELIVERY, LAST_FAILED_AT, Bson::from("failed")));
    }
    let mut branches = Vec::new();
    for (place, date, status) in kinds {
        branches.extend((0..MAX_RETRIES).map(|count| {
            doc! {
                "status": "failed", STATUS: status.clone(), format!("{place}permanentlyFailed"): false,
                format!("{place}retryCount"): count,
                date: { "$lte": DateTime::from_millis(now - (HOUR << count)) },
            }
        }));
    }
    branches
}

/// Copies the rows into another file.
pub(crate) fn copy_sqlite(rows: &Path, copy: &str) -> BenchResult {
    let connection = Connection::open(copy)?;
    connection.execute("ATTACH ? AS original", params![rows.display().to_string()])?;
    connection.execute_batch(
        "CREATE TABLE posts AS SELECT id, title, platform, status, error, failed_at, retry_count, permanently_failed, \
         failure_category FROM original.posts;
         CREATE INDEX listed ON posts (status, failed_at DESC, id);
         CREATE INDEX due ON posts (status, permanently_failed, retry_count, failed_at);
         CREATE INDEX counted ON posts (status, platform, permanently_failed, retry_count, failure_category);
         ANALYZE;",
    )?;
    Ok(())
}

/// Opens the copy and asks: the path, the query, where the page begins, and nothing else that matters.
pub(crate) fn ask_sqlite(arguments: &[String]) -> BenchResult {
    let [path, query, skip, _] = arguments else { return Err("usage: sqlite PATH QUERY SKIP SHAPE".into()) };
    let connection = Connection::open(path)?;
    let read = |sql: &str| -> rusqlite::Result<usize> {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += usize::from(row.get_ref(0)?.as_str().is_ok());
        }
        Ok(count)
    };
    let columns = "SELECT id, title, platform, error, failed_at, retry_count, permanently_failed FROM posts";
    let due = |count: i32| {
        let hours = 1 << count;
        format!(
            "status = 'failed' AND permanently_failed = 0 AND retry_count = {count} AND failed_at <= \
             strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{hours} hours')"
        )
    };
    let all_due: Vec<String> = (0..MAX_RETRIES).map(|count| format!("({})", due(count))).collect();
    let all_due = all_due.join(" OR ");
    match query.as_str() {
        "list" => {
            let order = format!("ORDER BY failed_at DESC, id LIMIT {PAGE} OFFSET {skip}");
            read(&format!("{columns} WHERE status = 'failed' {order}"))?;
            read("SELECT count(*) FROM posts WHERE status = 'failed'")?;
        }
        "due" => {
            read(&format!("{columns} WHERE {all_due} LIMIT {PAGE}"))?;
            read(&format!("SELECT count(*) FROM posts WHERE {all_due}"))?;
        }
        "stats" => {
            read(
                "SELECT platform, permanently_failed, retry_count, failure_category, count(*) FROM posts \
                 WHERE status = 'failed' GROUP BY 1, 2, 3, 4",
            )?;
            read(&format!("SELECT count(*) FROM posts WHERE {all_due}"))?;
        }
        other => return Err(format!("no such query: `{other}`").into()),
    }
    Ok(())
}
