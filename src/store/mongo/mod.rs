//! The posts in MongoDB, as a Mongoose application writes them.
//!
//! Every write has the condition under which it is allowed as its filter, and a majority confirms it, except the
//! record of an idle run. Claims use the server's clock. Only the documented fields are changed.

mod connection;
mod decode;
mod document;
mod error;
mod filter;
mod identity;
mod index;
mod list;
mod mark;
mod page;
mod parts;
mod place;
mod prepare;
mod scan;
mod statistics;
mod suspects;
mod tokens;
mod update;
mod work;

use std::collections::{HashMap, HashSet};
use std::convert;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::{Hint, ReturnDocument};
use mongodb::{Collection, Cursor, Database};
use tokio::sync::OnceCell;

use self::decode::{decode, read_all, read_some};
use self::page::projection;
use self::parts::Usage;
use self::place::{Place, known_platforms, places};
use self::scan::IndexScan;
use self::work::EmptyScans;
use super::query::{MalformedPosts, is_as_shown};
use super::{
    DueCursor, DueQuery, Found, GivenUpRecord, Lease, LeaseWrite, ListFilter, Marked, Page, PostPage, PostStore, Reset,
    ResetOptions, RunRecord, Statistics, StoreError, StoredPost, unnamed_stories,
};
use crate::post::{AttemptStart, BackoffFrom, Platform, Post, PostId, RetryPolicy, Settlement, Ticket};

pub use connection::MongoSettings;

/// The timeout of any operation. It is longer than the wait for a majority and than a count of all posts
/// takes.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(60);

/// How many stories are asked for at a time. A request has a limited size, and a key can have a thousand bytes.
const STORIES_AT_ONCE: usize = 5_000;

/// Posts in a MongoDB database.
#[derive(Debug)]
pub struct MongoPostStore {
    address: String,
    database: Database,
    posts: Collection<Document>,
    /// The same, for reads of single documents, which are not decoded by the driver.
    raw_posts: Collection<RawDocumentBuf>,
    stories: Collection<Document>,
    runs: Collection<Document>,
    tokens: Collection<Document>,
    /// The indexes that were found not to be there.
    missing_indexes: Mutex<HashSet<String>>,
    /// What the failed documents say of their platforms, once it is known.
    usage: OnceCell<Usage>,
    /// What the last search for work has found to be empty.
    empty_scans: Mutex<Option<EmptyScans>>,
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
            raw_posts: database.collection(&settings.posts),
            stories: database.collection(&settings.stories),
            runs: database.collection_with_options("postretry_runs", connection::of_runs()),
            tokens: database.collection("postretry_tokens"),
            database,
            missing_indexes: Mutex::default(),
            usage: OnceCell::new(),
            empty_scans: Mutex::default(),
        })
    }

    /// Translates an error for users.
    fn failed(&self, action: &'static str) -> impl Fn(mongodb::error::Error) -> StoreError {
        move |error| error::translate(action, &self.address, error)
    }

    /// Waits for the answer to an operation, with a timeout, because a dead connection would block it for ever.
    async fn answer<T>(
        &self,
        action: &'static str,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<mongodb::error::Result<T>, StoreError> {
        let answer = tokio::time::timeout(OPERATION_TIMEOUT, operation.into_future()).await;
        answer.map_err(|_| error::unanswered(action, &self.address, OPERATION_TIMEOUT))
    }

    /// Runs an operation.
    async fn run<T>(
        &self,
        action: &'static str,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, StoreError> {
        self.answer(action, operation).await?.map_err(self.failed(action))
    }

    /// Runs a query and reads all its documents.
    async fn run_query(
        &self,
        action: &'static str,
        operation: impl IntoFuture<Output = mongodb::error::Result<Cursor<Document>>>,
    ) -> Result<Vec<Document>, StoreError> {
        self.run(action, read_all(operation, convert::identity)).await
    }

    /// Runs a write to one post. A refusal that concerns only that post is told apart.
    async fn run_write<T>(
        &self,
        action: &'static str,
        operation: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, StoreError> {
        let answer = self.answer(action, operation).await?;
        answer.map_err(|error| error::translate_write(action, &self.address, error))
    }

    /// One write to one post, if the filter matches.
    async fn write(
        &self,
        action: &'static str,
        filter: Document,
        update: Vec<Document>,
    ) -> Result<LeaseWrite, StoreError> {
        let operation = self.posts.update_one(filter, update).hint(Hint::Keys(identity::id_index()));
        let result = self.run_write(action, operation).await?;
        Ok(if result.matched_count == 1 { LeaseWrite::Applied } else { LeaseWrite::Lost })
    }

    /// One write to one failed post under a valid claim.
    async fn write_leased(
        &self,
        action: &'static str,
        id: &PostId,
        lease: &Lease,
        update: impl FnOnce(&Place) -> Result<Vec<Document>, StoreError>,
    ) -> Result<LeaseWrite, StoreError> {
        let (id, place) = identity::delivery_of(id);
        let filter = filter::lease_held(id.clone(), &place, &lease.by);
        if self.write(action, filter, update(&place)?).await? == LeaseWrite::Applied {
            return Ok(LeaseWrite::Applied);
        }
        let has_changed = self.exists(filter::changed_under_claim(id, &place, &lease.by)).await?;
        Ok(if has_changed { LeaseWrite::NotFailed } else { LeaseWrite::Lost })
    }

    async fn exists(&self, filter: Document) -> Result<bool, StoreError> {
        let operation = self.raw_posts.find_one(filter).projection(doc! { "_id": 1 });
        Ok(self.run("read a post from", operation).await?.is_some())
    }

    /// Why a post was not reset.
    async fn reset_refusal(&self, id: Bson, place: &Place, is_conditional: bool) -> Result<Reset, StoreError> {
        let mut failed = identity::with_id(id);
        failed.extend(place.failed());
        if !self.exists(failed.clone()).await? {
            return Ok(Reset::NotFailed);
        }
        if !is_conditional {
            return Ok(Reset::Busy);
        }
        failed.insert("$expr", filter::has_live_claim(place));
        Ok(if self.exists(failed).await? { Reset::Busy } else { Reset::Changed })
    }

    /// Runs a pipeline, and keeps of each document what `read` makes of it.
    async fn collect<T>(&self, pipeline: Vec<Document>, read: impl Fn(Document) -> T) -> Result<Vec<T>, StoreError> {
        let operation = self.posts.aggregate(pipeline).allow_disk_use(true);
        self.run("read posts from", read_all(operation, read)).await
    }

    fn missing_indexes(&self) -> MutexGuard<'_, HashSet<String>> {
        self.missing_indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the failed documents say of their platforms. It is asked for once.
    async fn usage(&self) -> Result<&Usage, StoreError> {
        let ask = async || {
            let used = self.collect_hinted(index::usage(self.posts.name()), index::DUE, convert::identity).await?;
            let is_used = |name: &&str| used.iter().any(|entry| entry.get_str("name").is_ok_and(|used| used == *name));
            Ok(Usage { entries: place::spellings().filter(is_used).collect(), has_lists: is_used(&index::ANY_LIST) })
        };
        self.usage.get_or_try_init(ask).await
    }

    /// Whether a filter that is meant for this index matches any document.
    async fn has_any(&self, filter: Document, index: &str) -> Result<bool, StoreError> {
        let first = vec![doc! { "$match": filter }, doc! { "$limit": 1 }, doc! { "$project": { "_id": 1 } }];
        Ok(!self.collect_hinted(first, index, drop).await?.is_empty())
    }

    /// How many documents a pipeline finds by this index.
    async fn count_found(&self, mut pipeline: Vec<Document>, index: &str) -> Result<u64, StoreError> {
        pipeline.push(doc! { "$count": "n" });
        let counted = self.collect_hinted(pipeline, index, convert::identity).await?;
        Ok(counted.first().map_or(0, |counted| statistics::count_in(counted, "n")))
    }

    /// The scans for what is due.
    async fn due_scans(&self, query: &DueQuery, malformed: MalformedPosts) -> Result<Vec<IndexScan>, StoreError> {
        let parts = parts::parts(query.scope, self.usage().await?).into_iter();
        let scans = parts.flat_map(|part| scan::due(&part, &query.policy, query.now, malformed)).collect();
        Ok(self.without_empty(scans, query))
    }

    fn remember_empty(&self, found: EmptyScans) {
        *self.empty_scans.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// The scans, in their order, without the branches of those that are known to find nothing.
    fn without_empty(&self, mut scans: Vec<IndexScan>, query: &DueQuery) -> Vec<IndexScan> {
        if let Some(empty) = self.empty_scans.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            for scan in scans.iter_mut().filter(|scan| empty.contain(scan, query)) {
                scan.branches.clear();
            }
        }
        scans
    }

    /// Runs a pipeline that is meant for this index, which may be missing.
    async fn collect_hinted<T>(
        &self,
        pipeline: Vec<Document>,
        index: &str,
        read: impl Fn(Document) -> T,
    ) -> Result<Vec<T>, StoreError> {
        self.collect_by(pipeline, &[index], read).await
    }

    /// The same, by the first of these indexes that there is.
    async fn collect_by<T>(
        &self,
        pipeline: Vec<Document>,
        indexes: &[&str],
        read: impl Fn(Document) -> T,
    ) -> Result<Vec<T>, StoreError> {
        self.collect_some(pipeline, indexes, usize::MAX, read).await.map(|(all, _)| all)
    }

    /// The same, until the documents have this many bytes together. What is left of them is none if there may be more
    /// documents.
    async fn collect_some<T>(
        &self,
        pipeline: Vec<Document>,
        indexes: &[&str],
        bytes: usize,
        read: impl Fn(Document) -> T,
    ) -> Result<(Vec<T>, usize), StoreError> {
        const ACTION: &str = "read posts from";
        for index in indexes {
            if self.missing_indexes().contains(*index) {
                continue;
            }
            let hint = Hint::Name((*index).to_owned());
            let hinted = self.posts.aggregate(pipeline.clone()).allow_disk_use(true).hint(hint);
            match self.answer(ACTION, read_some(hinted, bytes, &read)).await? {
                Err(refused) if error::is_bad_hint(&refused) => {
                    self.missing_indexes().insert((*index).to_owned());
                }
                answer => return answer.map_err(self.failed(ACTION)),
            }
        }
        let operation = self.posts.aggregate(pipeline).allow_disk_use(true);
        self.run(ACTION, read_some(operation, bytes, read)).await
    }

    /// The failed posts of parts, each with the filter that applies to it, counted.
    async fn count_parts(&self, filters: Vec<Document>) -> Result<u64, StoreError> {
        let mut sum: u64 = 0;
        for filter in filters {
            sum = sum.saturating_add(self.run("count posts in", self.posts.count_documents(filter)).await?);
        }
        Ok(sum)
    }

    /// Adds the story names to the posts that have only a story key, with one query for many.
    async fn name_stories(&self, posts: &mut [StoredPost]) -> Result<(), StoreError> {
        let mut stories = unnamed_stories(posts);
        let keys: HashSet<&str> = stories.iter().filter_map(|story| story.key.as_deref()).collect();
        // They are in the documents: whatever is an operator is no id.
        let keys: Vec<Bson> = keys.into_iter().map(identity::value_of).filter(identity::can_be_id).collect();
        let mut names: HashMap<String, String> = HashMap::new();
        for keys in keys.chunks(STORIES_AT_ONCE) {
            let filter = doc! { "_id": { "$in": keys.to_vec() } };
            let operation = self.stories.find(filter).projection(doc! { "name": 1, "title": 1 });
            let found = self.run_query("read stories from", operation).await?;
            names.extend(found.iter().filter_map(|story| {
                let name = story.get_str("name").or_else(|_| story.get_str("title")).ok()?;
                Some((identity::key_of(story.get("_id")?), name.to_owned()))
            }));
        }
        for story in &mut stories {
            story.name = story.key.as_ref().and_then(|key| names.get(key)).cloned();
        }
        Ok(())
    }

    /// What a document that was searched for by its id is.
    async fn found(&self, document: &Document) -> Result<Found, StoreError> {
        let places = failed_places(document);
        if places.is_empty() {
            return Ok(Found::NotFailed(known_platforms(document)));
        }
        let mut posts: Vec<StoredPost> = places.iter().map(|place| document::post_from(document, place)).collect();
        self.name_stories(&mut posts).await?;
        Ok(Found::Failed(posts))
    }
}

/// The failed deliveries of a document that was searched for by its id.
fn failed_places(document: &Document) -> Vec<Place> {
    if document.get_str("status").ok() != Some("failed") {
        return Vec::new();
    }
    // A shape that is not clear is told by reading it as a post for one platform.
    places(document).unwrap_or_else(|_| vec![Place::Root])
}

/// Reads a post for one platform as the MongoDB store reads it.
pub fn stored_post_from(document: &Document) -> StoredPost {
    document::post_from(document, &Place::Root)
}

#[async_trait]
impl PostStore for MongoPostStore {
    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.misplaced_posts().await?.into_iter().collect())
    }

    async fn prepare(&self, backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError> {
        self.prepare_indexes(backoff_from).await
    }

    async fn may_have_work(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> Result<bool, StoreError> {
        self.search_for_work(policy, now).await
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
        let scans = self.due_scans(query, MalformedPosts::Included).await?;
        self.page(scans, query.scope, after, limit).await
    }

    async fn count_due(&self, query: &DueQuery, after: Option<&DueCursor>) -> Result<u64, StoreError> {
        let scans = self.due_scans(query, MalformedPosts::Excluded).await?;
        self.count_scans(scans, query, after).await
    }

    async fn exhausted_posts(
        &self,
        query: &DueQuery,
        after: Option<&DueCursor>,
        limit: u32,
    ) -> Result<PostPage, StoreError> {
        let parts = parts::parts(query.scope, self.usage().await?).into_iter();
        let scans = parts.filter_map(|part| scan::exhausted(&part, &query.policy)).collect();
        let scans = self.without_empty(scans, query);
        self.page(scans, query.scope, after, limit).await
    }

    async fn mark_exhausted(&self, posts: &[Post]) -> Result<Marked, StoreError> {
        self.mark_all(posts).await
    }

    async fn find(&self, id: &str) -> Result<Found, StoreError> {
        let candidates = identity::values_written(id);
        let filter = doc! { "_id": { "$in": candidates.clone() } };
        let found = self.run_query("read a post from", self.posts.find(filter).projection(projection())).await?;
        // What the server takes for equal may not be: a collation can ignore the case.
        let rank = |document: &Document| {
            let id = document.get("_id")?;
            candidates.iter().position(|candidate| identity::is_same(candidate, id))
        };
        let ranked = found.iter().filter_map(|document| Some((rank(document)?, document)));
        // Of several posts whose ids are written alike, the one that is failed is meant.
        let best = ranked.min_by_key(|(rank, document)| (failed_places(document).is_empty(), *rank));
        let Some((_, document)) = best else { return Ok(Found::Nothing) };
        self.found(document).await
    }

    async fn find_exactly(&self, id: &PostId) -> Result<Found, StoreError> {
        let (id, _) = identity::delivery_of(id);
        let operation = self.posts.find(identity::with_id(id.clone())).projection(projection());
        let found = self.run_query("read a post from", operation).await?;
        let is_it = |document: &&Document| document.get("_id").is_some_and(|found| identity::is_same(&id, found));
        match found.iter().find(is_it) {
            Some(document) => self.found(document).await,
            None => Ok(Found::Nothing),
        }
    }

    async fn claim(&self, post: &Post, start: &AttemptStart, lease: &Lease) -> Result<Option<StoredPost>, StoreError> {
        let (id, place) = identity::delivery_of(&post.id);
        let filter = filter::unchanged_since_read(id, &place, post);
        let operation = self
            .raw_posts
            .find_one_and_update(filter, update::start(&place, start, lease))
            .hint(Hint::Keys(identity::id_index()))
            .projection(projection())
            .return_document(ReturnDocument::After);
        let claimed = self.run_write("claim a post in", operation).await?;
        Ok(claimed.map(|raw| document::post_from(&decode(&raw), &place)))
    }

    async fn renew(&self, id: &PostId, lease: &Lease) -> Result<LeaseWrite, StoreError> {
        self.write_leased("renew a claim in", id, lease, |place| Ok(update::renewal(place, lease))).await
    }

    async fn store_ticket(
        &self,
        id: &PostId,
        lease: &Lease,
        ticket: Option<&Ticket>,
    ) -> Result<LeaseWrite, StoreError> {
        self.write_leased("store a ticket in", id, lease, |place| update::ticket(place, ticket)).await
    }

    async fn settle(&self, post: &Post, lease: &Lease, settlement: &Settlement) -> Result<LeaseWrite, StoreError> {
        let (id, place) = identity::delivery_of(&post.id);
        let filter = filter::settleable(id, &place, &lease.by, settlement);
        self.write("record an outcome in", filter, update::settlement(&place, post.platform, settlement)).await
    }

    async fn is_recorded(&self, platform: Platform, id: &str) -> Result<bool, StoreError> {
        // This query is rare (after a lost response), so it has no index.
        let in_entries = platform.spellings().iter().map(|name| format!("platformStatus.{name}.mediaId"));
        let paths = std::iter::once(platform.fields().id.path.to_owned()).chain(in_entries);
        self.exists(filter::any(paths.map(|path| doc! { path: id }).collect())).await
    }

    async fn mark_ambiguous(&self, post: &Post, error: &str) -> Result<LeaseWrite, StoreError> {
        let (id, place) = identity::delivery_of(&post.id);
        let filter = filter::unchanged_since_read(id, &place, post);
        self.write("mark a published post in", filter, update::ambiguous(&place, error)).await
    }

    async fn reset(&self, id: &PostId, by: &str, options: &ResetOptions<'_>) -> Result<Reset, StoreError> {
        let (id, place) = identity::delivery_of(id);
        if !place.is_writable() {
            return Ok(Reset::NotFailed);
        }
        let mut filter = identity::with_id(id.clone());
        filter.extend(place.failed());
        let mut conditions = vec![doc! { "$not": [filter::has_live_claim(&place)] }];
        if let Some(shown) = options.shown {
            let operation = self.raw_posts.find_one(filter.clone()).projection(projection());
            let Some(raw) = self.run("read a post from", operation).await? else { return Ok(Reset::NotFailed) };
            let document = decode(&raw);
            if !is_as_shown(shown, &document::post_from(&document, &place)) {
                return self.reset_refusal(id, &place, true).await;
            }
            // The post may change between this read and the write.
            conditions.extend(filter::as_in(&document, &place, &["retryCount", "lastRetriedAt", "failureCategory"]));
        }
        filter.insert("$expr", doc! { "$and": conditions });
        match self.write("reset a post in", filter, update::reset(&place, by, options)).await? {
            LeaseWrite::Applied => Ok(Reset::Done),
            LeaseWrite::Lost | LeaseWrite::NotFailed => self.reset_refusal(id, &place, options.shown.is_some()).await,
        }
    }

    async fn settle_found(&self, post: &Post, settlement: &Settlement) -> Result<Reset, StoreError> {
        let (id, place) = identity::delivery_of(&post.id);
        let mut filter = identity::with_id(id.clone());
        filter.extend(place.failed());
        filter.insert("$expr", doc! { "$not": [filter::has_live_claim(&place)] });
        match self.write("mark a post as posted in", filter, update::found(&place, post.platform, settlement)).await? {
            LeaseWrite::Applied => Ok(Reset::Done),
            LeaseWrite::Lost | LeaseWrite::NotFailed => self.reset_refusal(id, &place, false).await,
        }
    }

    async fn list(&self, filter: &ListFilter, page: Page) -> Result<PostPage, StoreError> {
        let mut posts = self.listed_page(filter, page).await?;
        self.name_stories(&mut posts).await?;
        Ok(PostPage { posts, next: None })
    }

    async fn count(&self, filter: &ListFilter) -> Result<u64, StoreError> {
        self.count_listed(filter).await
    }

    async fn statistics(
        &self,
        policy: &RetryPolicy,
        now: DateTime<Utc>,
        runs_since: Option<DateTime<Utc>>,
    ) -> Result<Statistics, StoreError> {
        self.gather_statistics(policy, now, runs_since).await
    }

    async fn given_up_platforms(&self) -> Result<Vec<(Platform, GivenUpRecord)>, StoreError> {
        self.latest_given_up().await
    }

    async fn record_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        let mut insert = self.runs.insert_one(statistics::run_document(run));
        if run.is_idle() {
            insert = insert.write_concern(connection::primary_alone());
        }
        self.run("record the run in", insert).await.map(drop)
    }
}
