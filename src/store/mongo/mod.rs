//! The posts in MongoDB, as a Mongoose application writes them.
//!
//! Every write has the condition under which it is allowed as its filter, and a majority confirms it. Claims use the
//! server's clock. Only the documented fields are changed.

mod connection;
mod document;
mod error;
mod filter;
mod identity;
mod index;
mod page;
mod statistics;
mod tokens;
mod update;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Cursor, Database};

use self::page::{ANCHOR, after_cursor, projection, projection_with_anchor};
use super::query::{MalformedPosts, is_as_shown};
use super::{
    DueCursor, DueQuery, Found, Lease, LeaseWrite, ListFilter, Page, PostPage, PostStore, Reset, ResetOptions,
    RunRecord, Statistics, StoreError, StoredPost, unnamed_stories,
};
use crate::post::{AttemptStart, BackoffFrom, Platform, Post, PostId, RetryPolicy, Settlement, Ticket};

pub use connection::MongoSettings;

/// The timeout of any operation. It is longer than the wait for a majority and than a count of all posts
/// takes.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Posts in a MongoDB database.
#[derive(Debug)]
pub struct MongoPostStore {
    address: String,
    database: Database,
    posts: Collection<Document>,
    stories: Collection<Document>,
    runs: Collection<Document>,
    tokens: Collection<Document>,
}

impl MongoPostStore {
    /// Creates the client. The first operation shows whether the server can be reached.
    ///
    /// # Errors
    /// Where the connection string cannot be used or its name cannot be resolved.
    pub async fn connect(settings: &MongoSettings) -> Result<Self, StoreError> {
        let client = settings.client().await;
        let client = client.map_err(|error| error::translate("connect to", &settings.address, error))?;
        let database = client.database(&settings.database);
        Ok(Self {
            address: settings.address.clone(),
            posts: database.collection(&settings.posts),
            stories: database.collection(&settings.stories),
            runs: database.collection("postretry_runs"),
            tokens: database.collection("postretry_tokens"),
            database,
        })
    }

    /// Translates an error for users.
    fn failed(&self, action: &'static str) -> impl Fn(mongodb::error::Error) -> StoreError {
        move |error| error::translate(action, &self.address, error)
    }

    /// Runs an operation with a timeout, because a dead connection would block it for ever.
    async fn run<T>(
        &self,
        action: &'static str,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(OPERATION_TIMEOUT, operation.into_future()).await {
            Ok(answer) => answer.map_err(|error| error::translate(action, &self.address, error)),
            Err(_) => Err(error::unanswered(action, &self.address, OPERATION_TIMEOUT)),
        }
    }

    /// Runs a query and reads all its documents.
    async fn run_query(
        &self,
        action: &'static str,
        operation: impl IntoFuture<Output = mongodb::error::Result<Cursor<Document>>>,
    ) -> Result<Vec<Document>, StoreError> {
        self.run(action, async { operation.await?.try_collect().await }).await
    }

    /// One write to one post, if the filter matches.
    async fn write(
        &self,
        action: &'static str,
        filter: Document,
        update: Vec<Document>,
    ) -> Result<LeaseWrite, StoreError> {
        let result = self.run(action, self.posts.update_one(filter, update)).await?;
        Ok(if result.matched_count == 1 { LeaseWrite::Applied } else { LeaseWrite::Lost })
    }

    /// One write to one failed post under a valid claim.
    async fn write_leased(
        &self,
        action: &'static str,
        id: &PostId,
        lease: &Lease,
        update: Vec<Document>,
    ) -> Result<LeaseWrite, StoreError> {
        let id = identity::value_of(id.key());
        let filter = filter::lease_held(id.clone(), &lease.by);
        if self.write(action, filter, update).await? == LeaseWrite::Applied {
            return Ok(LeaseWrite::Applied);
        }
        let has_changed = self.exists(filter::changed_under_claim(id, &lease.by)).await?;
        Ok(if has_changed { LeaseWrite::NotFailed } else { LeaseWrite::Lost })
    }

    async fn exists(&self, filter: Document) -> Result<bool, StoreError> {
        let operation = self.posts.find_one(filter).projection(doc! { "_id": 1 });
        Ok(self.run("read a post from", operation).await?.is_some())
    }

    /// Why a post was not reset.
    async fn reset_refusal(&self, id: Bson, options: &ResetOptions<'_>) -> Result<Reset, StoreError> {
        let failed = doc! { "_id": id, "status": "failed" };
        if !self.exists(failed.clone()).await? {
            return Ok(Reset::NotFailed);
        }
        if options.shown.is_none() {
            return Ok(Reset::Busy);
        }
        let mut claimed = failed;
        claimed.insert("$expr", filter::has_live_claim());
        Ok(if self.exists(claimed).await? { Reset::Busy } else { Reset::Changed })
    }

    async fn collect(&self, pipeline: Vec<Document>) -> Result<Vec<Document>, StoreError> {
        self.run_query("read posts from", self.posts.aggregate(pipeline).allow_disk_use(true)).await
    }

    /// Adds the story names to the posts that have only a story key, with one query for all.
    async fn name_stories(&self, posts: &mut [StoredPost]) -> Result<(), StoreError> {
        let mut stories = unnamed_stories(posts);
        let keys: Vec<Bson> = stories.iter().filter_map(|story| story.key.as_deref()).map(identity::value_of).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let operation = self.stories.find(doc! { "_id": { "$in": keys } }).projection(doc! { "name": 1, "title": 1 });
        let found = self.run_query("read stories from", operation).await?;
        let names: HashMap<String, String> = found
            .iter()
            .filter_map(|story| {
                let name = story.get_str("name").or_else(|_| story.get_str("title")).ok()?;
                Some((identity::key_of(story.get("_id")?), name.to_owned()))
            })
            .collect();
        for story in &mut stories {
            story.name = story.key.as_ref().and_then(|key| names.get(key)).cloned();
        }
        Ok(())
    }

    /// A warning about a missing posts collection, with the collections that may have been meant.
    async fn missing_collection(&self) -> Result<Option<String>, StoreError> {
        let listed = self.database.list_collection_names().authorized_collections(true).await;
        let names = match listed {
            Ok(names) => names,
            // Without the privilege to list collections there is nothing to say.
            Err(refused) if error::is_unauthorized(&refused) => return Ok(None),
            Err(other) => return Err(self.failed("list the collections of")(other)),
        };
        let wanted = self.posts.name();
        if names.iter().any(|name| name == wanted) {
            return Ok(None);
        }
        let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
        let mut alike: Vec<String> = names
            .iter()
            .filter(|name| plain(name) == plain(wanted) || plain(name).contains("post"))
            .filter(|name| !name.starts_with("postretry_"))
            .map(|name| format!("`{name}`"))
            .collect();
        alike.sort();
        let advice = if alike.is_empty() {
            "`POST_COLLECTION` and the database in `MONGODB_URI` say where the posts are".to_owned()
        } else {
            format!("was {} meant? `POST_COLLECTION` sets it", alike.join(" or "))
        };
        Ok(Some(format!("database `{}` has no collection `{wanted}`; {advice}", self.database.name())))
    }
}

/// Reads a post as the MongoDB store reads it.
pub fn stored_post_from(document: &Document) -> StoredPost {
    document::post_from(document)
}

#[async_trait]
impl PostStore for MongoPostStore {
    async fn prepare(&self, backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError> {
        if let Some(warning) = self.missing_collection().await? {
            return Ok(vec![warning]);
        }
        match self.posts.create_indexes(index::of_posts(backoff_from)).await {
            Ok(_) => Ok(Vec::new()),
            Err(refused) if error::is_unauthorized(&refused) => Ok(vec![format!(
                "the user may not create the indexes of collection `{}`; passes continue without them but become slow",
                self.posts.name()
            )]),
            Err(other) => Err(self.failed("create the indexes of")(other)),
        }
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let answer = self.run("connect to", self.database.run_command(doc! { "hello": 1 })).await?;
        answer
            .get_datetime("localTime")
            .ok()
            .and_then(|time| DateTime::from_timestamp_millis(time.timestamp_millis()))
            .ok_or_else(|| StoreError::new(format!("ask `{}` for the time", self.address), "the response has no time"))
    }

    async fn due_posts(&self, query: &DueQuery, after: Option<&DueCursor>, limit: u32) -> Result<PostPage, StoreError> {
        self.page(filter::due(query, MalformedPosts::Included), after, limit).await
    }

    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError> {
        let due = filter::due(query, MalformedPosts::Excluded);
        let Some(place) = after else {
            // Without a cursor the server needs only its index.
            return self.run("count posts in", self.posts.count_documents(due)).await;
        };
        let anchor = doc! { ANCHOR: { "$ifNull": ["$failedAt", "$updatedAt"] } };
        let pipeline =
            vec![doc! { "$match": due }, doc! { "$project": anchor }, after_cursor(place), doc! { "$count": "n" }];
        let counted = self.collect(pipeline).await?;
        Ok(counted.first().map_or(0, |counted| statistics::count_in(counted, "n")))
    }

    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        self.page(filter::exhausted(query), after, limit).await
    }

    async fn mark_exhausted(&self, post: &Post) -> Result<LeaseWrite, StoreError> {
        let filter = filter::unchanged_since_read(identity::value_of(post.id.key()), post);
        self.write("mark an exhausted post in", filter, update::exhausted()).await
    }

    async fn find(&self, id: &str) -> Result<Found, StoreError> {
        let candidates = identity::values_written(id);
        let operation = self.posts.find(doc! { "_id": { "$in": candidates.clone() } }).projection(projection());
        let found = self.run_query("read a post from", operation).await?;
        let keys: Vec<String> = candidates.iter().map(identity::key_of).collect();
        let rank = |document: &Document| {
            let key = document.get("_id").map(identity::key_of);
            keys.iter().position(|candidate| Some(candidate) == key.as_ref()).unwrap_or(keys.len())
        };
        let Some(document) = found.into_iter().min_by_key(rank) else { return Ok(Found::Nothing) };
        if document.get_str("status").ok() != Some("failed") {
            return Ok(Found::NotFailed(identity::id_of(document.get("_id").unwrap_or(&Bson::Null))));
        }
        let mut posts = [document::post_from(&document)];
        self.name_stories(&mut posts).await?;
        let [post] = posts;
        Ok(Found::Failed(Box::new(post)))
    }

    async fn claim(&self, post: &Post, start: &AttemptStart, lease: &Lease) -> Result<Option<StoredPost>, StoreError> {
        let filter = filter::unchanged_since_read(identity::value_of(post.id.key()), post);
        let operation = self
            .posts
            .find_one_and_update(filter, update::start(start, lease))
            .projection(projection())
            .return_document(ReturnDocument::After);
        let claimed = self.run("claim a post in", operation).await?;
        Ok(claimed.as_ref().map(document::post_from))
    }

    async fn renew(&self, id: &PostId, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        self.write_leased("renew a claim in", id, lease, update::renewal(lease)).await
    }

    async fn store_ticket(
        &self,
        id: &PostId,
        lease: &Lease,
        ticket: Option<&Ticket>,
    ) -> Result<LeaseWrite, StoreError> {
        self.write_leased("store a ticket in", id, lease, update::ticket(ticket)?).await
    }

    async fn settle(&self, post: &Post, lease: &Lease, settlement: &Settlement) -> Result<LeaseWrite, StoreError> {
        let filter = filter::settleable(identity::value_of(post.id.key()), &lease.by, settlement);
        self.write("record an outcome in", filter, update::settlement(post.platform, settlement)).await
    }

    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError> {
        // This query is rare (after a lost response), so it has no index.
        let field = platform.fields().id.path;
        self.exists(doc! { field: id }).await
    }

    async fn mark_ambiguous(&self, post: &Post, error: &str) -> Result<LeaseWrite, StoreError> {
        let filter = filter::unchanged_since_read(identity::value_of(post.id.key()), post);
        self.write("mark a published post in", filter, update::ambiguous(error)).await
    }

    async fn reset(&self, id: &PostId, by: &str, options: &ResetOptions<'_>) -> Result<Reset, StoreError> {
        let id = identity::value_of(id.key());
        let failed = doc! { "_id": id.clone(), "status": "failed" };
        let mut conditions = vec![doc! { "$not": [filter::has_live_claim()] }];
        if let Some(shown) = options.shown {
            let operation = self.posts.find_one(failed.clone()).projection(projection());
            let Some(document) = self.run("read a post from", operation).await? else { return Ok(Reset::NotFailed) };
            if !is_as_shown(shown, &document::post_from(&document)) {
                return self.reset_refusal(id, options).await;
            }
            // The post may change between this read and the write.
            conditions.extend(filter::as_in(&document, &["retryCount", "lastRetriedAt", "failureCategory"]));
        }
        let mut filter = failed;
        filter.insert("$expr", doc! { "$and": conditions });
        match self.write("reset a post in", filter, update::reset(by, options)).await? {
            LeaseWrite::Applied => Ok(Reset::Done),
            LeaseWrite::Lost | LeaseWrite::NotFailed => self.reset_refusal(id, options).await,
        }
    }

    async fn list(&self, filter: &ListFilter, page: Page) -> Result<PostPage, StoreError> {
        if page.limit == 0 {
            return Ok(PostPage::default());
        }
        let amount = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // Almost every post has `failedAt`. These posts come in order from an index, and no others are read. The
        // rest is merged into them. Neither part needs more posts than the end of the page.
        let wanted = doc! { "$limit": amount(page.skip.saturating_add(page.limit)) };
        let dated =
            |failed_at: Bson| doc! { "$match": { "$and": [filter::listed(filter), { "failedAt": failed_at }] } };
        let undated = vec![
            dated(Bson::Null),
            doc! { "$sort": { "updatedAt": -1, "_id": 1 } },
            wanted.clone(),
            doc! { "$project": projection_with_anchor() },
        ];
        let documents = self
            .collect(vec![
                dated(Bson::Document(doc! { "$ne": Bson::Null })),
                doc! { "$sort": { "failedAt": -1, "_id": 1 } },
                wanted,
                doc! { "$project": projection_with_anchor() },
                doc! { "$unionWith": { "coll": self.posts.name(), "pipeline": undated } },
                doc! { "$sort": { ANCHOR: -1, "_id": 1 } },
                doc! { "$skip": amount(page.skip) },
                doc! { "$limit": amount(page.limit) },
            ])
            .await?;
        let mut posts: Vec<StoredPost> = documents.iter().map(document::post_from).collect();
        self.name_stories(&mut posts).await?;
        Ok(PostPage { posts, next: None })
    }

    async fn count(&self, filter: &ListFilter) -> Result<u64, StoreError> {
        self.run("count posts in", self.posts.count_documents(filter::listed(filter))).await
    }

    async fn statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        self.gather_statistics(policy, now, runs_since).await
    }

    async fn record_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        self.run("record the run in", self.runs.insert_one(statistics::run_document(run))).await.map(drop)
    }
}
