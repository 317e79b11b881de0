//! The bare loop: what it takes at the least to publish posts on TikTok and to write four times for each.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Collection};
use postretry_bench_support::{BenchResult, http_client};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const IN_FLIGHT: usize = 32;

/// Publishes all failed posts of a store: its URL, the platform's, the token, and the video.
pub(crate) async fn publish_all(arguments: &[String]) -> BenchResult {
    let [store, origin, token, video] = arguments else { return Err("usage: bare STORE ORIGIN TOKEN VIDEO".into()) };
    let bare = Arc::new(Bare {
        store: BareStore::open(store).await?,
        http: http_client()?,
        origin: origin.clone(),
        token: token.clone(),
        video: PathBuf::from(video),
    });
    let mut in_flight = JoinSet::new();
    for id in bare.store.failed_ids().await? {
        if in_flight.len() == IN_FLIGHT
            && let Some(ended) = in_flight.join_next().await
        {
            ended??;
        }
        let bare = Arc::clone(&bare);
        in_flight.spawn(async move { bare.publish(&id).await });
    }
    while let Some(ended) = in_flight.join_next().await {
        ended??;
    }
    Ok(())
}

struct Bare {
    store: BareStore,
    http: reqwest::Client,
    origin: String,
    token: String,
    video: PathBuf,
}

impl Bare {
    async fn publish(&self, id: &str) -> BenchResult {
        self.store.write(id, Step::Claim).await?;
        self.call("creator_info/query/", &json!({})).await?;
        let video = tokio::fs::read(&self.video).await?;
        let size = video.len();
        let post_info = json!({
            "title": "A title", "privacy_level": "PUBLIC_TO_EVERYONE", "disable_comment": false, "disable_duet": false,
            "disable_stitch": true, "brand_content_toggle": false, "brand_organic_toggle": false,
        });
        let source = json!({
            "source": "FILE_UPLOAD", "video_size": size, "chunk_size": size, "total_chunk_count": 1,
        });
        let started = self.call("video/init/", &json!({ "post_info": post_info, "source_info": source })).await?;
        let of = |name: &str| started["data"][name].as_str().unwrap_or_default().to_owned();
        let (ticket, address) = (of("publish_id"), of("upload_url"));
        self.store.write(id, Step::Ticket(&ticket)).await?;
        self.store.write(id, Step::Commitment).await?;
        let upload = self
            .http
            .put(address)
            .header(CONTENT_TYPE, "video/mp4")
            .header(CONTENT_RANGE, format!("bytes 0-{}/{size}", size - 1))
            .body(video);
        upload.send().await?.error_for_status()?.bytes().await?;
        let status = self.call("status/fetch/", &json!({ "publish_id": ticket })).await?;
        if status["data"]["status"] != "PUBLISH_COMPLETE" {
            return Err(format!("the post is not published: {status}").into());
        }
        let video_id = status["data"]["publicaly_available_post_id"][0].to_string();
        self.store.write(id, Step::Outcome(&video_id)).await
    }

    async fn call(&self, path: &str, body: &Value) -> BenchResult<Value> {
        let request = self
            .http
            .post(format!("{}/v2/post/publish/{path}", self.origin))
            .bearer_auth(&self.token)
            .header(CONTENT_TYPE, "application/json; charset=UTF-8")
            .json(body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
}

/// The assignments of a claim in SQL.
const CLAIM: &str = "retry_count = retry_count + 1, claim_by = ?2, last_retried_at = updated_at, \
                     claim_until = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+2 minutes')";

/// The assignments of an outcome in SQL.
const OUTCOME: &str = "status = 'posted', posted_at = updated_at, tiktok_video_id = ?2, retry_count = 0, error = NULL, \
                       failure_category = NULL, retry_history = '[{}]', claim_by = NULL, claim_until = NULL, \
                       publish_ticket = NULL";

/// The four writes, each on a condition, as postretry makes them.
#[derive(Clone, Copy)]
enum Step<'a> {
    Claim,
    Ticket(&'a str),
    Commitment,
    Outcome(&'a str),
}

impl<'a> Step<'a> {
    fn update(self) -> Document {
        let now = DateTime::now();
        match self {
            Self::Claim => doc! {
                "$set": { "retryClaim": { "by": "bare", "until": now }, "lastRetriedAt": now, "updatedAt": now },
                "$inc": { "retryCount": 1 },
            },
            Self::Ticket(id) => doc! { "$set": {
                "publishTicket": { "platform": "tiktok", "publishId": id, "createdAt": now }, "updatedAt": now,
            } },
            Self::Commitment => doc! { "$set": { "publishTicket.committedAt": now, "updatedAt": now } },
            Self::Outcome(id) => doc! {
                "$set": {
                    "status": "posted", "postedAt": now, "tiktokVideoId": id, "retryCount": 0, "error": Bson::Null,
                    "failureCategory": Bson::Null, "updatedAt": now,
                    "retryHistory": [{ "startedAt": now, "finishedAt": now, "outcome": "posted", "host": "bare" }],
                },
                "$unset": { "retryClaim": "", "publishTicket": "" },
            },
        }
    }

    /// The assignments of the update, and the text that is their `?2`.
    fn assignments(self) -> (&'static str, &'a str) {
        match self {
            Self::Claim => (CLAIM, "bare"),
            Self::Ticket(id) => ("publish_ticket = json_object('publishId', ?2)", id),
            Self::Commitment => ("publish_ticket = json_set(publish_ticket, '$.committed', ?2)", "true"),
            Self::Outcome(id) => (OUTCOME, id),
        }
    }
}

enum BareStore {
    Mongo(Collection<Document>),
    Sqlite(Arc<Mutex<Connection>>),
}

impl BareStore {
    async fn open(url: &str) -> BenchResult<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let connection = Connection::open(path)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            return Ok(Self::Sqlite(Arc::new(Mutex::new(connection))));
        }
        let client = Client::with_uri_str(format!("{url}&w=majority&journal=true")).await?;
        let database = client.default_database().ok_or("the URI has no database")?;
        Ok(Self::Mongo(database.collection("marketing_posts")))
    }

    async fn failed_ids(&self) -> BenchResult<Vec<String>> {
        match self {
            Self::Mongo(posts) => {
                let found = posts.find(doc! { "status": "failed" }).projection(doc! { "_id": 1 }).await?;
                let documents: Vec<Document> = found.try_collect().await?;
                let mut ids = Vec::with_capacity(documents.len());
                for document in documents {
                    ids.push(document.get_object_id("_id")?.to_hex());
                }
                Ok(ids)
            }
            Self::Sqlite(connection) => {
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                let mut statement = connection.prepare("SELECT id FROM posts WHERE status = 'failed'")?;
                let ids: rusqlite::Result<Vec<String>> = statement.query_map([], |row| row.get(0))?.collect();
                Ok(ids?)
            }
        }
    }

    async fn write(&self, id: &str, step: Step<'_>) -> BenchResult {
        let is_claim = matches!(step, Step::Claim);
        let changed = match self {
            Self::Mongo(posts) => {
                let mut filter = doc! { "_id": ObjectId::parse_str(id)?, "status": "failed" };
                if is_claim {
                    filter.insert("retryClaim", Bson::Null);
                    u64::from(posts.find_one_and_update(filter, step.update()).await?.is_some())
                } else {
                    filter.insert("retryClaim.by", "bare");
                    posts.update_one(filter, step.update()).await?.matched_count
                }
            }
            Self::Sqlite(connection) => {
                let (assignments, text) = step.assignments();
                let condition = if is_claim { "claim_by IS NULL" } else { "claim_by = 'bare'" };
                let sql = format!(
                    "UPDATE posts SET {assignments}, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
                     WHERE id = ?1 AND status = 'failed' AND {condition}"
                );
                let (connection, values) = (Arc::clone(connection), [id.to_owned(), text.to_owned()]);
                let written = tokio::task::spawn_blocking(move || {
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    connection.prepare_cached(&sql)?.execute(values)
                });
                u64::try_from(written.await??)?
            }
        };
        if changed == 1 { Ok(()) } else { Err(format!("post {id} was not changed").into()) }
    }
}
