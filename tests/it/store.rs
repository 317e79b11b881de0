//! What every store must do, to the letter: one suite for all of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use postretry::post::{
    AttemptEnd, AttemptStart, BackoffFrom, Category, ClaimedPost, Eligibility, Failure, Outcome, Platform, Post,
    PostId, Publication, RetryPolicy, Ticket, TokenRecord, settle,
};
use postretry::store::memory::InMemoryPostStore;
use postretry::store::mongo::{MongoPostStore, stored_post_from};
use postretry::store::sqlite::{SqlitePostStore, date_text};
use postretry::store::{
    DueQuery, Found, Lease, LeaseWrite, ListFilter, MongoSettings, Page, PlatformRun, PostStore, Reset, ResetOptions,
    RunOutcome, RunRecord, Scope, StoredPost,
};
use rusqlite::types::Value;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::support::env::{TestEnv, date, failed_post, hours_ago, now};

/// A store of one's own, and a way to put posts into it as other programs do.
pub(crate) enum StoreFixture {
    Mongo(Box<TestEnv>),
    Sqlite(tempfile::TempDir),
    Memory(Arc<InMemoryPostStore>),
}

impl StoreFixture {
    async fn mongo() -> Self {
        Self::Mongo(Box::new(TestEnv::new().await))
    }

    async fn sqlite() -> Self {
        let fixture = Self::Sqlite(tempfile::tempdir().unwrap());
        // The first to open the file makes the tables.
        drop(fixture.open().await);
        fixture
    }

    fn memory() -> Self {
        Self::Memory(Arc::new(InMemoryPostStore::new(now)))
    }

    async fn open(&self) -> Arc<dyn PostStore> {
        let store: Arc<dyn PostStore> = match self {
            Self::Mongo(env) => {
                let settings = MongoSettings::new(&env.uri, "marketing_posts".into(), "stories".into()).unwrap();
                Arc::new(MongoPostStore::connect(&settings).await.unwrap())
            }
            Self::Sqlite(folder) => Arc::new(SqlitePostStore::open(&folder.path().join("posts.db")).await.unwrap()),
            Self::Memory(store) => Arc::<InMemoryPostStore>::clone(store),
        };
        store.prepare(BackoffFrom::FirstFailure).await.unwrap();
        store
    }

    /// A failed video post that is due since an hour, with these fields over the usual ones. Its id.
    async fn post(&self, platform: &str, fields: Document) -> String {
        match self {
            Self::Mongo(env) => env.post(platform, fields).await,
            Self::Sqlite(folder) => {
                let mut document = doc! {
                    "id": ObjectId::new().to_hex(),
                    "platform": platform,
                    "status": "failed",
                    "videoPath": "a.mp4",
                    "failedAt": hours_ago(2),
                };
                for (name, value) in fields {
                    document.insert(name, value);
                }
                let id = document.get_str("id").unwrap().to_owned();
                insert_row(&folder.path().join("posts.db"), &document);
                id
            }
            Self::Memory(store) => {
                let document = failed_post(platform, fields);
                let post = stored_post_from(&document);
                let id = post.id().to_string();
                store.insert(post);
                store.set_status(&id, document.get_str("status").unwrap());
                id
            }
        }
    }

    /// Changes the status of a post, as a person does.
    async fn set_status(&self, id: &str, status: &str) {
        match self {
            Self::Mongo(env) => {
                let filter = doc! { "_id": ObjectId::parse_str(id).unwrap() };
                env.posts.update_one(filter, doc! { "$set": { "status": status } }).await.unwrap();
            }
            Self::Sqlite(folder) => execute(folder.path(), "UPDATE posts SET status = ?1 WHERE id = ?2", [status, id]),
            Self::Memory(store) => store.set_status(id, status),
        }
    }

    /// Deletes a post, as a person does.
    async fn remove(&self, id: &str) {
        match self {
            Self::Mongo(env) => {
                env.posts.delete_one(doc! { "_id": ObjectId::parse_str(id).unwrap() }).await.unwrap();
            }
            Self::Sqlite(folder) => execute(folder.path(), "DELETE FROM posts WHERE id = ?1", [id]),
            Self::Memory(store) => store.remove(id),
        }
    }
}

fn execute<const N: usize>(folder: &Path, sql: &str, values: [&str; N]) {
    let connection = rusqlite::Connection::open(folder.join("posts.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.execute(sql, rusqlite::params_from_iter(values)).unwrap();
}

/// Writes a post as a row, as a program would that knows the columns: a document's names and values in SQLite's terms.
pub(crate) fn insert_row(path: &Path, document: &Document) {
    let mut columns: Vec<(String, Value)> = Vec::new();
    for (name, value) in document {
        match (name.as_str(), value) {
            (_, Bson::Undefined) => {}
            ("retryClaim", Bson::Document(claim)) => {
                let parts = claim.iter().map(|(name, value)| (format!("claim_{name}"), sqlite_value(value)));
                columns.extend(parts);
            }
            // A document can have any value there. In a row, this is a holder without a date.
            ("retryClaim", by) => columns.push(("claim_by".into(), sqlite_value(by))),
            _ => columns.push((snake_case(name), sqlite_value(value))),
        }
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("INSERT INTO posts ({}) VALUES ({marks})", names.join(", "));
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.execute(&sql, rusqlite::params_from_iter(columns.iter().map(|(_, value)| value))).unwrap();
}

fn snake_case(name: &str) -> String {
    name.chars()
        .flat_map(|c| if c.is_ascii_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] })
        .collect()
}

fn sqlite_value(value: &Bson) -> Value {
    match value {
        Bson::Null => Value::Null,
        Bson::String(text) => Value::Text(text.clone()),
        Bson::Int32(number) => Value::Integer((*number).into()),
        Bson::Int64(number) => Value::Integer(*number),
        Bson::Double(number) => Value::Real(*number),
        Bson::Boolean(flag) => Value::Integer((*flag).into()),
        Bson::DateTime(at) => Value::Text(date_text(DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap())),
        other => Value::Text(other.clone().into_relaxed_extjson().to_string()),
    }
}

/// Runs each of the suite's cases on each store.
macro_rules! on_every_store {
    ($($case:ident),* $(,)?) => {
        mod mongo {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(super::StoreFixture::mongo().await).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(super::StoreFixture::sqlite().await).await;
            })*
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(super::StoreFixture::memory()).await;
            })*
        }
    };
}

on_every_store!(
    of_many_claimants_one_wins,
    a_claim_runs_out_by_the_stores_clock_and_its_holder_writes_nothing_more,
    tickets_and_outcomes_come_back_as_they_were_written,
    a_published_post_is_known_by_its_id_on_the_platform,
    nothing_is_written_before_the_outcome_once_the_status_has_changed,
    an_attempt_is_undone_in_a_post_that_is_not_failed_any_more,
    a_publication_is_recorded_after_the_claim_has_expired,
    a_lease_from_the_future_is_dead,
    a_recorded_platform_id_and_the_ai_label_are_read,
    a_post_that_may_be_public_is_marked_as_ambiguous,
    the_history_keeps_its_last_fifty_entries,
    pages_go_through_the_whole_backlog_once_oldest_first,
    there_is_work_as_soon_as_a_pass_would_find_something,
    a_post_that_is_due_for_two_reasons_takes_one_place_of_a_page,
    what_the_store_finds_due_is_what_the_rules_call_due,
    malformed_posts_are_found_and_told_apart,
    malformed_posts_are_counted_as_nothing_else,
    a_claim_is_refused_once_the_post_has_changed,
    a_reset_gives_the_retries_back_and_forgets_an_ambiguous_ticket,
    a_reset_drops_the_ticket_if_asked_to,
    a_null_ticket_hides_the_applications_upload_only_after_an_attempt,
    a_reset_is_refused_if_the_post_is_not_as_shown,
    a_claim_that_cannot_be_read_is_reported_and_mended_by_a_reset,
    lists_are_newest_first_and_filtered,
    tokens_are_refreshed_by_one_at_a_time,
    runs_are_counted,
);

pub(crate) fn lease(by: &str) -> Lease {
    Lease { by: by.to_owned(), lasts: Duration::from_secs(60) }
}

pub(crate) async fn read(store: &dyn PostStore, id: &str) -> Post {
    match store.find(id).await.unwrap() {
        Found::Failed(mut posts) => posts.remove(0).into_result().unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn claim(store: &dyn PostStore, post: &Post, by: &str) -> Option<ClaimedPost> {
    let start = AttemptStart::decide(post, store.now().await.unwrap(), "here");
    let claimed = store.claim(post, &start, &lease(by)).await.unwrap()?;
    Some(ClaimedPost {
        post: claimed.into_result().unwrap(),
        claim_by: by.to_owned(),
        start,
        host: "here".to_owned(),
        last_retried_before: post.retry.last_retried_at,
    })
}

fn ticket(at: DateTime<Utc>) -> Ticket {
    let payload = json!({ "publishId": "$v1", "uploadUrl": "$secret", "size": 7 });
    Ticket::new(Platform::TikTok, at, payload).committed(at)
}

async fn of_many_claimants_one_wins(fixture: StoreFixture) {
    let id = fixture.post("tiktok", doc! {}).await;
    let store = fixture.open().await;
    let post = read(store.as_ref(), &id).await;
    let barrier = Arc::new(tokio::sync::Barrier::new(16));
    let claimants = (0..16).map(|n| {
        let (store, post, barrier) = (Arc::clone(&store), post.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            claim(store.as_ref(), &post, &format!("worker-{n}")).await.is_some()
        })
    });
    let won = futures_util::future::join_all(claimants).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    assert_eq!(read(store.as_ref(), &id).await.retry.count, 1);
}

async fn a_claim_runs_out_by_the_stores_clock_and_its_holder_writes_nothing_more(fixture: StoreFixture) {
    let id = fixture.post("tiktok", doc! {}).await;
    let store = fixture.open().await;
    let post = read(store.as_ref(), &id).await;
    let short = Lease { by: "slow".into(), lasts: Duration::from_secs(3) };
    let start = AttemptStart::decide(&post, store.now().await.unwrap(), "here");
    store.claim(&post, &start, &short).await.unwrap().unwrap().into_result().unwrap();
    let claimed = read(store.as_ref(), &id).await;
    assert!(claim(store.as_ref(), &claimed, "early").await.is_none(), "a live claim keeps others away");
    assert_eq!(store.reset(&post.id, "ann@web1", &ResetOptions::default()).await.unwrap(), Reset::Busy);
    assert_eq!(store.renew(&post.id, &short).await.unwrap(), LeaseWrite::Applied);

    let gone = claimed.retry.claim.clone().unwrap().until + TimeDelta::seconds(2);
    while store.now().await.unwrap() < gone {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.renew(&post.id, &short).await.unwrap(), LeaseWrite::Lost);
    assert_eq!(store.store_ticket(&post.id, &short, None).await.unwrap(), LeaseWrite::Lost);

    let dead = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &dead, "next").await.unwrap();
    assert!(work.start.is_resumption);
    assert_eq!(work.post.retry.count, 1, "the same attempt costs no further retry");
    assert_eq!(work.post.retry.history.len(), 1);
    let late =
        settle(&work, &RetryPolicy::default(), AttemptEnd::Posted(Publication::default()), store.now().await.unwrap());
    assert_eq!(store.settle(&post, &short, &late).await.unwrap(), LeaseWrite::Lost);
    assert_eq!(store.settle(&work.post, &lease("next"), &late).await.unwrap(), LeaseWrite::Applied);
    let found = store.find(&id).await.unwrap();
    assert!(matches!(&found, Found::NotFailed(platforms) if platforms.contains(&Platform::TikTok)), "{found:?}");
}

async fn tickets_and_outcomes_come_back_as_they_were_written(fixture: StoreFixture) {
    let id = fixture.post("tiktok", doc! {}).await;
    let store = fixture.open().await;
    let policy = RetryPolicy::default();
    let post = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &post, "me").await.unwrap();
    let now = store.now().await.unwrap();
    assert_eq!(store.store_ticket(&post.id, &lease("me"), Some(&ticket(now))).await.unwrap(), LeaseWrite::Applied);
    let failure = Failure::new(Category::Network, "$where is it?\nline two").retry_at(Some(now + TimeDelta::hours(2)));
    let settlement = settle(&work, &policy, AttemptEnd::Failed(failure), now);
    assert_eq!(store.settle(&work.post, &lease("me"), &settlement).await.unwrap(), LeaseWrite::Applied);
    let after = read(store.as_ref(), &id).await;
    assert_eq!(after.retry.ticket, Some(ticket(now)));
    assert_eq!(after.retry.error.as_deref(), Some("$where is it? line two"));
    assert_eq!(after.retry.not_before, Some(now + TimeDelta::hours(2)));
    let mut expected = settlement.applied_to(work.post.clone());
    expected.retry.ticket = Some(ticket(now));
    expected.updated_at = after.updated_at;
    assert_eq!(after, expected);
}

async fn a_published_post_is_known_by_its_id_on_the_platform(fixture: StoreFixture) {
    let id = fixture.post("instagram", doc! {}).await;
    let store = fixture.open().await;
    let work = claim(store.as_ref(), &read(store.as_ref(), &id).await, "me").await.unwrap();
    let publication = Publication { id: Some("1801".into()), url: None, warning: None };
    let now = store.now().await.unwrap();
    let settlement = settle(&work, &RetryPolicy::default(), AttemptEnd::Posted(publication), now);
    store.settle(&work.post, &lease("me"), &settlement).await.unwrap();
    for (platform, id, is_recorded) in
        [(Platform::Instagram, "1801", true), (Platform::Instagram, "1802", false), (Platform::TikTok, "1801", false)]
    {
        assert_eq!(store.is_recorded(platform, id).await.unwrap(), is_recorded, "{platform} {id}");
    }
}

/// Waits until a claim has expired by the store's clock.
async fn until_expired(store: &dyn PostStore, post: &Post) {
    let gone = post.retry.claim.as_ref().unwrap().until + TimeDelta::milliseconds(1);
    while store.now().await.unwrap() < gone {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Claims a post for a moment only. The attempt, whose claim has expired.
async fn expired_attempt(store: &dyn PostStore, id: &str, lease: &Lease) -> ClaimedPost {
    let post = read(store, id).await;
    let start = AttemptStart::decide(&post, store.now().await.unwrap(), "here");
    let claimed = store.claim(&post, &start, lease).await.unwrap().unwrap().into_result().unwrap();
    until_expired(store, &claimed).await;
    let last_retried_before = post.retry.last_retried_at;
    ClaimedPost { post: claimed, claim_by: lease.by.clone(), start, host: "here".to_owned(), last_retried_before }
}

fn short(by: &str) -> Lease {
    Lease { by: by.to_owned(), lasts: Duration::from_millis(30) }
}

async fn nothing_is_written_before_the_outcome_once_the_status_has_changed(fixture: StoreFixture) {
    let id = fixture.post("tiktok", doc! {}).await;
    let store = fixture.open().await;
    let read_before = read(store.as_ref(), &id).await;
    fixture.set_status(&id, "approved").await;
    assert!(claim(store.as_ref(), &read_before, "early").await.is_none(), "it is not claimed");
    fixture.set_status(&id, "failed").await;
    let work = claim(store.as_ref(), &read_before, "me").await.unwrap();
    let (post, now) = (&work.post.id, store.now().await.unwrap());
    let ticket = ticket(now);

    fixture.set_status(&id, "approved").await;
    assert_eq!(store.renew(post, &lease("me")).await.unwrap(), LeaseWrite::NotFailed);
    assert_eq!(store.store_ticket(post, &lease("me"), Some(&ticket)).await.unwrap(), LeaseWrite::NotFailed);
    assert_eq!(store.renew(post, &lease("other")).await.unwrap(), LeaseWrite::Lost);
    assert_eq!(store.store_ticket(post, &lease("other"), None).await.unwrap(), LeaseWrite::Lost);

    fixture.set_status(&id, "failed").await;
    let unchanged = read(store.as_ref(), &id).await;
    assert_eq!((&unchanged.retry.ticket, &unchanged.retry.claim), (&None, &work.post.retry.claim));
    assert_eq!(store.store_ticket(post, &lease("me"), Some(&ticket)).await.unwrap(), LeaseWrite::Applied);

    fixture.remove(&id).await;
    assert_eq!(store.renew(post, &lease("me")).await.unwrap(), LeaseWrite::Lost, "it is deleted");
    assert_eq!(store.store_ticket(post, &lease("me"), None).await.unwrap(), LeaseWrite::Lost);
}

async fn an_attempt_is_undone_in_a_post_that_is_not_failed_any_more(fixture: StoreFixture) {
    let policy = RetryPolicy::default();
    let id = fixture.post("tiktok", doc! { "retryCount": 2, "lastRetriedAt": hours_ago(1) }).await;
    let store = fixture.open().await;
    let before = read(store.as_ref(), &id).await;
    let work = expired_attempt(store.as_ref(), &id, &short("me")).await;
    let now = store.now().await.unwrap();
    let released = settle(&work, &policy, AttemptEnd::Released, now);
    assert_eq!(store.settle(&work.post, &short("me"), &released).await.unwrap(), LeaseWrite::Lost, "it has expired");

    fixture.set_status(&id, "approved").await;
    assert_eq!(store.settle(&work.post, &short("other"), &released).await.unwrap(), LeaseWrite::Lost);
    assert_eq!(store.settle(&work.post, &short("me"), &released).await.unwrap(), LeaseWrite::Applied);
    assert!(matches!(store.find(&id).await.unwrap(), Found::NotFailed(_)), "the status is the person's");
    fixture.set_status(&id, "failed").await;
    let after = read(store.as_ref(), &id).await;
    assert_eq!((after.retry.count, after.retry.last_retried_at), (2, before.retry.last_retried_at));
    assert_eq!((&after.retry.claim, after.retry.history.len()), (&None, 1));
}

async fn a_publication_is_recorded_after_the_claim_has_expired(fixture: StoreFixture) {
    let policy = RetryPolicy::default();
    let posted = || AttemptEnd::Posted(Publication { id: Some("v1".into()), url: None, warning: None });
    for status in ["failed", "approved"] {
        let id = fixture.post("tiktok", doc! {}).await;
        let store = fixture.open().await;
        let work = expired_attempt(store.as_ref(), &id, &short("me")).await;
        let now = store.now().await.unwrap();
        fixture.set_status(&id, status).await;
        let settlement = settle(&work, &policy, posted(), now);
        assert_eq!(store.settle(&work.post, &short("other"), &settlement).await.unwrap(), LeaseWrite::Lost);
        assert_eq!(store.settle(&work.post, &short("me"), &settlement).await.unwrap(), LeaseWrite::Applied);
        assert!(matches!(store.find(&id).await.unwrap(), Found::NotFailed(_)), "it was {status} and is posted");
        fixture.set_status(&id, "failed").await;
        assert_eq!(read(store.as_ref(), &id).await.published_id.as_deref(), Some("v1"));
    }
    let id = fixture.post("tiktok", doc! {}).await;
    let store = fixture.open().await;
    let late = expired_attempt(store.as_ref(), &id, &short("me")).await;
    claim(store.as_ref(), &late.post, "next").await.unwrap();
    let settlement = settle(&late, &policy, posted(), store.now().await.unwrap());
    assert_eq!(
        store.settle(&late.post, &short("me"), &settlement).await.unwrap(),
        LeaseWrite::Lost,
        "another process has it"
    );
}

async fn a_lease_from_the_future_is_dead(fixture: StoreFixture) {
    let claimed_until = |hours| doc! { "retryClaim": { "by": "x", "until": hours_ago(hours) }, "retryCount": 1 };
    let live = fixture.post("tiktok", claimed_until(-1)).await;
    let future = fixture.post("tiktok", claimed_until(-2)).await;
    let other = fixture.post("tiktok", claimed_until(-2)).await;
    let store = fixture.open().await;
    let now = store.now().await.unwrap();
    let query = DueQuery { policy: RetryPolicy::default(), now, scope: Scope::Platform(Platform::TikTok) };
    let mut due: Vec<String> =
        store.due_posts(&query, None, 10).await.unwrap().posts.iter().map(|post| post.id().to_string()).collect();
    due.sort();
    let mut expected = [future.clone(), other.clone()];
    expected.sort();
    assert_eq!(due, expected);
    assert_eq!(store.count_due(&query, None).await.unwrap(), 2);

    let post = read(store.as_ref(), &future).await;
    assert_eq!(store.renew(&post.id, &lease("x")).await.unwrap(), LeaseWrite::Lost);
    let work = claim(store.as_ref(), &post, "me").await.unwrap();
    assert!(work.start.is_resumption);
    assert!(claim(store.as_ref(), &read(store.as_ref(), &live).await, "me").await.is_none());
    let reset = async |id: &str| {
        let id = read(store.as_ref(), id).await.id;
        store.reset(&id, "ann@web1", &ResetOptions::default()).await.unwrap()
    };
    assert_eq!((reset(&other).await, reset(&live).await), (Reset::Done, Reset::Busy));

    let long = Lease { by: "fast clock".into(), lasts: Duration::from_secs(7200) };
    assert_eq!(store.lock_token("tiktok:key", &long).await.unwrap(), LeaseWrite::Applied);
    assert_eq!(store.lock_token("tiktok:key", &lease("me")).await.unwrap(), LeaseWrite::Applied, "that lock is dead");
    assert_eq!(store.lock_token("tiktok:key", &lease("other")).await.unwrap(), LeaseWrite::Lost);
}

async fn a_recorded_platform_id_and_the_ai_label_are_read(fixture: StoreFixture) {
    let fields = doc! { "tiktokVideoId": "v1", "instagramMediaId": "m1", "isAiGenerated": true };
    let store = fixture.open().await;
    for (platform, published_id) in [("tiktok", Some("v1")), ("instagram", Some("m1")), ("youtube", None)] {
        let post = read(store.as_ref(), &fixture.post(platform, fields.clone()).await).await;
        assert_eq!((post.published_id.as_deref(), post.content.is_ai_generated), (published_id, true), "{platform}");
    }
    for fields in [
        doc! {},
        doc! { "isAiGenerated": false, "tiktokVideoId": Bson::Null },
        doc! { "isAiGenerated": Bson::Null, "tiktokVideoId": " " },
    ] {
        let post = read(store.as_ref(), &fixture.post("tiktok", fields).await).await;
        assert_eq!((post.published_id, post.content.is_ai_generated), (None, false));
    }
    let id = fixture.post("tiktok", doc! { "isAiGenerated": "yes" }).await;
    let Found::Failed(mut wrong) = store.find(&id).await.unwrap() else { panic!("it is failed") };
    let field = wrong.remove(0).into_result().unwrap_err().field;
    assert!(["isAiGenerated", "is_ai_generated"].contains(&field.as_ref()), "{field}");
}

async fn a_post_that_may_be_public_is_marked_as_ambiguous(fixture: StoreFixture) {
    let id = fixture.post("tiktok", doc! { "tiktokVideoId": "v1", "retryCount": 1 }).await;
    let store = fixture.open().await;
    let stale = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &stale, "me").await.unwrap();
    assert_eq!(store.mark_ambiguous(&stale, "x").await.unwrap(), LeaseWrite::Lost, "it is claimed");
    let now = store.now().await.unwrap();
    let withdrawn = settle(&work, &RetryPolicy::default(), AttemptEnd::Withdrawn, now);
    store.settle(&work.post, &lease("me"), &withdrawn).await.unwrap();

    let fresh = read(store.as_ref(), &id).await;
    assert_eq!(store.mark_ambiguous(&fresh, "$it is v1").await.unwrap(), LeaseWrite::Applied);
    let marked = read(store.as_ref(), &id).await;
    assert!(marked.retry.permanently_failed);
    assert!(marked.retry.permanently_failed_at.unwrap() >= now && marked.updated_at.unwrap() >= now);
    assert_eq!((marked.retry.category, marked.retry.error.as_deref()), (Some(Category::Ambiguous), Some("$it is v1")));
    assert_eq!((marked.retry.count, marked.published_id.as_deref()), (1, Some("v1")));
    assert_eq!(store.mark_ambiguous(&marked, "x").await.unwrap(), LeaseWrite::Lost, "it is marked");
}

async fn a_reset_drops_the_ticket_if_asked_to(fixture: StoreFixture) {
    let left = match &fixture {
        StoreFixture::Sqlite(_) => doc! { "uploadPublishId": "v0" },
        StoreFixture::Mongo(_) | StoreFixture::Memory(_) => doc! { "uploadProgress": { "publishId": "v0" } },
    };
    let store = fixture.open().await;
    let made = fixture.post("tiktok", left.clone()).await;
    let work = claim(store.as_ref(), &read(store.as_ref(), &made).await, "me").await.unwrap();
    let now = store.now().await.unwrap();
    assert_eq!(store.store_ticket(&work.post.id, &lease("me"), Some(&ticket(now))).await.unwrap(), LeaseWrite::Applied);
    let withdrawn = settle(&work, &RetryPolicy::default(), AttemptEnd::Withdrawn, now);
    assert_eq!(store.settle(&work.post, &lease("me"), &withdrawn).await.unwrap(), LeaseWrite::Applied);
    let adopted = fixture.post("tiktok", left).await;
    for (id, drop_ticket, has_earlier_upload) in
        [(&made, false, true), (&made, true, false), (&adopted, false, true), (&adopted, true, false)]
    {
        let before = read(store.as_ref(), id).await;
        assert!(before.has_earlier_upload());
        let options = ResetOptions { drop_ticket, shown: None };
        assert_eq!(store.reset(&before.id, "ann@web1", &options).await.unwrap(), Reset::Done);
        assert_eq!(read(store.as_ref(), id).await.has_earlier_upload(), has_earlier_upload, "{drop_ticket}");
    }
}

async fn a_null_ticket_hides_the_applications_upload_only_after_an_attempt(fixture: StoreFixture) {
    let left = match &fixture {
        StoreFixture::Sqlite(_) => doc! { "uploadPublishId": "v0", "publishTicket": "null" },
        StoreFixture::Mongo(_) | StoreFixture::Memory(_) => {
            doc! { "uploadProgress": { "publishId": "v0" }, "publishTicket": Bson::Null }
        }
    };
    let store = fixture.open().await;
    let reset = async |post: &Post, drop_ticket: bool| {
        let options = ResetOptions { drop_ticket, shown: None };
        assert_eq!(store.reset(&post.id, "ann@web1", &options).await.unwrap(), Reset::Done);
    };
    let entry = doc! { "attempt": 1, "outcome": "failed", "host": "h" };
    let interrupted = doc! { "attempt": 1, "outcome": "failed", "category": "interrupted", "host": "h" };
    for (more, has_earlier_upload) in [
        (doc! {}, true),
        (doc! { "lastRetriedAt": Bson::Null, "retryHistory": [] }, true),
        (doc! { "lastRetriedAt": hours_ago(1) }, true),
        (doc! { "lastRetriedAt": hours_ago(1), "retryHistory": [interrupted] }, true),
        (doc! { "retryHistory": [entry] }, false),
    ] {
        let mut fields = left.clone();
        fields.extend(more);
        let id = fixture.post("tiktok", fields.clone()).await;
        let post = read(store.as_ref(), &id).await;
        assert_eq!(post.has_earlier_upload(), has_earlier_upload, "{fields}");
        // What a person has dropped stays so after another reset.
        for drop_ticket in [true, false] {
            reset(&post, drop_ticket).await;
            assert!(!read(store.as_ref(), &id).await.has_earlier_upload(), "{fields}");
        }
    }
    let mut fields = left;
    fields.extend(doc! { "failureCategory": "ambiguous", "permanentlyFailed": true });
    let id = fixture.post("tiktok", fields).await;
    reset(&read(store.as_ref(), &id).await, false).await;
    assert!(!read(store.as_ref(), &id).await.has_earlier_upload(), "a person has looked");
}

async fn a_reset_is_refused_if_the_post_is_not_as_shown(fixture: StoreFixture) {
    let store = fixture.open().await;
    let shown = async |id: &str| match store.find(id).await.unwrap() {
        Found::Failed(mut posts) => posts.remove(0),
        other => panic!("{other:?}"),
    };
    let reset = async |post: &StoredPost| {
        let options = ResetOptions { shown: Some(post), drop_ticket: false };
        store.reset(post.id(), "ann@web1", &options).await.unwrap()
    };
    for fields in [
        doc! {},
        doc! { "retryCount": Bson::Null },
        doc! { "retryCount": 2.5, "lastRetriedAt": hours_ago(1), "failureCategory": "network" },
        doc! { "failureCategory": "a later version's" },
        doc! { "retryCount": "three" },
        doc! { "failedAt": "yesterday", "failureCategory": "auth" },
    ] {
        let id = fixture.post("tiktok", fields.clone()).await;
        let post = shown(&id).await;
        assert_eq!(reset(&post).await, Reset::Done, "{fields}");
    }

    let id = fixture.post("tiktok", doc! { "failureCategory": "auth" }).await;
    let before = shown(&id).await;
    let work = claim(store.as_ref(), before.readable().unwrap(), "me").await.unwrap();
    assert_eq!(reset(&before).await, Reset::Busy);
    let failure = AttemptEnd::Failed(Failure::new(Category::Network, "x"));
    let settlement = settle(&work, &RetryPolicy::default(), failure, store.now().await.unwrap());
    store.settle(&work.post, &lease("me"), &settlement).await.unwrap();
    assert_eq!(reset(&before).await, Reset::Changed);
    assert_eq!(read(store.as_ref(), &id).await.retry.count, 1, "nothing was written");
    let now = shown(&id).await;
    assert_eq!(reset(&now).await, Reset::Done);
    assert_eq!(reset(&now).await, Reset::Changed, "it was reset meanwhile");
    fixture.set_status(&id, "approved").await;
    assert_eq!(reset(&now).await, Reset::NotFailed);
    let unknown = PostId::from_text("nobody");
    let options = ResetOptions { shown: Some(&now), drop_ticket: false };
    assert_eq!(store.reset(&unknown, "ann@web1", &options).await.unwrap(), Reset::NotFailed);
}

async fn a_claim_that_cannot_be_read_is_reported_and_mended_by_a_reset(fixture: StoreFixture) {
    // None of them is due: they are found by their claims alone.
    let mut wrong = vec![
        Bson::String("me".into()),
        Bson::Document(doc! { "by": "me" }),
        Bson::Document(doc! { "by": "me", "until": "soon" }),
        Bson::Document(doc! { "until": hours_ago(1) }),
        Bson::Document(doc! { "by": Bson::Null, "until": hours_ago(-1) }),
    ];
    if !matches!(&fixture, StoreFixture::Sqlite(_)) {
        // A row cannot have these.
        wrong.extend([
            Bson::Document(doc! {}),
            Bson::Int32(7),
            Bson::Array(Vec::new()),
            Bson::Array(vec![Bson::Document(doc! { "by": "me", "until": hours_ago(1) })]),
            Bson::Document(doc! { "by": 7, "until": hours_ago(1) }),
        ]);
    }
    let store = fixture.open().await;
    let now = store.now().await.unwrap();
    let query = DueQuery { policy: RetryPolicy::default(), now, scope: Scope::Platform(Platform::TikTok) };
    for claim in wrong {
        for retries in [0, 5] {
            let fields = doc! { "retryClaim": claim.clone(), "failedAt": hours_ago(0), "retryCount": retries };
            let id = fixture.post("tiktok", fields).await;
            let mut found = store.due_posts(&query, None, 10).await.unwrap().posts;
            assert_eq!(found.len(), 1, "{claim}");
            let fault = found.remove(0).into_result().unwrap_err();
            assert!(["retryClaim", "claim_until"].contains(&fault.field.as_ref()), "{}", fault.field);
            assert_eq!(fault.id().to_string(), id);
            assert_eq!(store.count_due(&query, None).await.unwrap(), 0, "{claim}");
            assert_eq!(store.exhausted_posts(&query, None, 10).await.unwrap().posts.len(), 0, "{claim}");

            assert_eq!(store.reset(fault.id(), "ann@web1", &ResetOptions::default()).await.unwrap(), Reset::Done);
            let mended = read(store.as_ref(), &id).await;
            assert_eq!((mended.retry.claim, mended.retry.count), (None, 0));
            assert_eq!(store.due_posts(&query, None, 10).await.unwrap().posts.len(), 0, "{claim}");
            fixture.remove(&id).await;
        }
    }
}

async fn the_history_keeps_its_last_fifty_entries(fixture: StoreFixture) {
    let entry = |attempt: i32| doc! { "attempt": attempt, "outcome": "failed", "host": "h", "other": "kept" };
    let id = fixture.post("tiktok", doc! { "retryHistory": (1..=50).map(entry).collect::<Vec<_>>() }).await;
    let store = fixture.open().await;
    let post = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &post, "me").await.unwrap();
    let failure = Failure::new(Category::Network, "x");
    let settlement = settle(&work, &RetryPolicy::default(), AttemptEnd::Failed(failure), store.now().await.unwrap());
    store.settle(&work.post, &lease("me"), &settlement).await.unwrap();
    let after = read(store.as_ref(), &id).await;
    let attempts: Vec<u32> = after.retry.history.iter().map(|entry| entry.attempt).collect();
    assert_eq!(attempts, (2..=50).chain([1]).collect::<Vec<_>>());
    if let StoreFixture::Mongo(env) = &fixture {
        let history = env.get(&id).await.get_array("retryHistory").unwrap().clone();
        assert_eq!(history[0].as_document().unwrap().get_str("other").ok(), Some("kept"));
    }
}

async fn pages_go_through_the_whole_backlog_once_oldest_first(fixture: StoreFixture) {
    for hours in 0..40_i64 {
        fixture.post("instagram", doc! { "failedAt": hours_ago(10 + hours / 3) }).await;
    }
    let store = fixture.open().await;
    let now = store.now().await.unwrap();
    let scope = Scope::Platform(Platform::Instagram);
    let query = DueQuery { policy: RetryPolicy::default(), now, scope };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let left = store.count_due(&query, after.as_ref()).await.unwrap();
        assert_eq!(left, 40 - seen.len() as u64);
        let page = store.due_posts(&query, after.as_ref(), 7).await.unwrap();
        seen.extend(page.posts.into_iter().map(|post| post.into_result().unwrap()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 40);
    assert!(seen.windows(2).all(|pair| (pair[0].failed_at, pair[0].id.key()) < (pair[1].failed_at, pair[1].id.key())));
}

/// A ticket of an earlier attempt at TikTok, as this store has it.
fn stored_ticket(fixture: &StoreFixture) -> Bson {
    let json = r#"{"platform":"tiktok","madeAt":"2026-01-01T00:00:00Z","payload":{"publishId":"v"}}"#;
    match fixture {
        StoreFixture::Mongo(_) | StoreFixture::Memory(_) => {
            Bson::Document(doc! { "platform": "tiktok", "madeAt": hours_ago(1), "payload": { "publishId": "v" } })
        }
        StoreFixture::Sqlite(_) => Bson::String(json.to_owned()),
    }
}

async fn there_is_work_as_soon_as_a_pass_would_find_something(fixture: StoreFixture) {
    fixture.post("tiktok", doc! { "failedAt": date(now()) }).await;
    fixture.post("instagram", doc! { "permanentlyFailed": true, "retryCount": 5 }).await;
    let store = fixture.open().await;
    let at = store.now().await.unwrap();
    let policy = RetryPolicy::default();
    // A store may always say that there may be something.
    let is_exact = !matches!(fixture, StoreFixture::Memory(_));
    assert!(!is_exact || !store.may_have_work(&policy, at).await.unwrap());
    fixture.post("myspace", doc! {}).await;
    assert!(store.may_have_work(&policy, at).await.unwrap(), "it is to be reported");
}

async fn a_post_that_is_due_for_two_reasons_takes_one_place_of_a_page(fixture: StoreFixture) {
    let processing = doc! { "failureCategory": "processing", "publishTicket": stored_ticket(&fixture) };
    for number in 0..20 {
        fixture
            .post(
                "tiktok",
                if number % 3 == 0 {
                    processing.clone()
                } else {
                    doc! {}
                },
            )
            .await;
    }
    let store = fixture.open().await;
    let query = DueQuery {
        policy: RetryPolicy::default(),
        now: store.now().await.unwrap(),
        scope: Scope::Platform(Platform::TikTok),
    };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.due_posts(&query, after.as_ref(), 4).await.unwrap();
        seen.extend(page.posts.iter().map(|post| post.id().clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 20);
    assert_eq!(store.count_due(&query, None).await.unwrap(), 20);
}

/// Posts in every state: the query of the store and the rules of `post` must agree on each.
async fn what_the_store_finds_due_is_what_the_rules_call_due(fixture: StoreFixture) {
    let ticket = stored_ticket(&fixture);
    let dates = [None, Some(0), Some(1), Some(2), Some(3), Some(5), Some(9), Some(40)];
    let mut seed = 7u32;
    let mut pick = |count: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % count
    };
    for _ in 0..150 {
        let mut date = |weight: usize| match pick(weight) {
            0 => Bson::Null,
            _ => dates[pick(dates.len())].map_or(Bson::Null, hours_ago),
        };
        let mut fields = doc! {
            "failedAt": date(5), "updatedAt": date(3), "lastRetriedAt": date(2),
        };
        fields.insert(
            "retryCount",
            [
                Bson::Null,
                Bson::Int32(0),
                Bson::Int32(1),
                Bson::Int32(2),
                Bson::Int32(4),
                Bson::Int32(5),
                Bson::Double(1.5),
                Bson::Int32(-2),
                Bson::Int64(5_000_000_000),
            ][pick(9)]
            .clone(),
        );
        fields.insert("permanentlyFailed", [Bson::Null, false.into(), false.into(), true.into()][pick(4)].clone());
        fields.insert("retryNotBefore", [Bson::Null, Bson::Null, hours_ago(1), hours_ago(-1)][pick(4)].clone());
        if pick(6) == 0 {
            let until = [hours_ago(1), hours_ago(-1), hours_ago(-9)][pick(3)].clone();
            fields.insert("retryClaim", doc! { "by": "x", "until": until });
        }
        if pick(4) == 0 {
            fields.insert("failureCategory", "processing");
            if pick(2) == 0 {
                fields.insert("publishTicket", ticket.clone());
            }
        }
        fixture.post(["tiktok", "instagram", "youtube"][pick(1)], fields).await;
    }
    let store = fixture.open().await;
    let all = store.list(&ListFilter::default(), Page { skip: 0, limit: 1000 }).await.unwrap().posts;
    assert_eq!(all.len(), 150);
    for backoff_from in [BackoffFrom::FirstFailure, BackoffFrom::LastAttempt] {
        for (max_retries, minutes) in [(5, 60), (3, 30), (0, 60), (20, 10_080)] {
            let policy = RetryPolicy { max_retries, base_interval: TimeDelta::minutes(minutes), backoff_from };
            let now = store.now().await.unwrap();
            let ids = |keep: &dyn Fn(&Eligibility) -> bool| {
                let fits = |post: &&Post| keep(&policy.eligibility(post, now));
                let readable = all.iter().filter_map(StoredPost::readable);
                let mut ids: Vec<_> = readable.filter(fits).map(|post| post.id.clone()).collect();
                ids.sort();
                ids
            };
            let due = ids(&|eligibility| matches!(eligibility, Eligibility::Due(_)));
            let exhausted = ids(&|eligibility| *eligibility == Eligibility::Exhausted);
            let query = DueQuery { policy, now, scope: Scope::Platform(Platform::TikTok) };
            let sorted = |posts: Vec<StoredPost>| {
                let mut ids: Vec<_> = posts.into_iter().map(|post| post.into_result().unwrap().id).collect();
                ids.sort();
                ids
            };
            // As a pass asks: what this has shown to be empty may be left out of the queries after it.
            let has_work = !due.is_empty() || !exhausted.is_empty();
            assert!(!has_work || store.may_have_work(&policy, now).await.unwrap(), "{policy:?}");
            let found = sorted(store.due_posts(&query, None, 1000).await.unwrap().posts);
            assert_eq!(found, due, "{policy:?}");
            assert_eq!(store.count_due(&query, None).await.unwrap(), due.len() as u64);
            let listed = ListFilter { due: Some((policy, now)), ..ListFilter::default() };
            assert_eq!(store.count(&listed).await.unwrap(), due.len() as u64, "{policy:?}");
            assert_eq!(sorted(store.exhausted_posts(&query, None, 1000).await.unwrap().posts), exhausted, "{policy:?}");
        }
    }
    // And what was found can be taken and marked, in whatever state it is.
    let query = |now| DueQuery { policy: RetryPolicy::default(), now, scope: Scope::Platform(Platform::TikTok) };
    let now = store.now().await.unwrap();
    let exhausted = store.exhausted_posts(&query(now), None, 1000).await.unwrap().posts;
    let exhausted: Vec<Post> = exhausted.into_iter().map(|post| post.into_result().unwrap()).collect();
    let marked = store.mark_exhausted(&exhausted).await.unwrap();
    assert_eq!((marked.applied, marked.refused.len()), (exhausted.len() as u64, 0));
    for post in store.due_posts(&query(now), None, 1000).await.unwrap().posts {
        let post = post.into_result().unwrap();
        assert!(claim(store.as_ref(), &post, "me").await.is_some(), "{post:?}");
    }
    let now = store.now().await.unwrap();
    assert_eq!(store.count_due(&query(now), None).await.unwrap(), 0);
    assert_eq!(store.exhausted_posts(&query(now), None, 1000).await.unwrap().posts.len(), 0);
}

/// Documents of every shape, each alone in the collection, so that whatever else a pass looks for is empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_for_work_hides_nothing_from_the_queries_after_it() {
    let mut seed = 11u32;
    let mut pick = |count: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % count
    };
    let failed = doc! { "status": "failed", "lastFailedAt": hours_ago(30) };
    let names =
        [Bson::Undefined, "tiktok".into(), "tiktok".into(), "instagram".into(), "youtube".into(), "myspace".into()];
    let lists = [
        Bson::Undefined,
        Bson::Array(Vec::new()),
        vec!["tiktok"].into(),
        vec!["youtube"].into(),
        vec!["tiktok", "instagram"].into(),
        vec!["youtube", "myspace"].into(),
        "tiktok".into(),
    ];
    let statuses = [
        Bson::Undefined,
        Bson::Undefined,
        doc! {}.into(),
        doc! { "tiktok": failed.clone() }.into(),
        doc! { "tiktok": failed.clone(), "instagram": failed.clone() }.into(),
        doc! { "tiktok": { "status": "posted" }, "instagram": failed.clone() }.into(),
        doc! { "myspace": failed.clone() }.into(),
    ];
    let counts = [Bson::Undefined, 0.into(), 2.into(), 5.into(), Bson::Double(1.5), "three".into(), f64::NAN.into()];
    let dates = [hours_ago(40), hours_ago(40), Bson::Undefined, "yesterday".into()];
    let (changes, marks) = ([Bson::Undefined, hours_ago(50)], [Bson::Undefined, Bson::Undefined, hours_ago(1)]);
    let claim = doc! { "by": "x", "until": hours_ago(1) };
    let ticket = doc! { "platform": "tiktok", "madeAt": hours_ago(1), "payload": { "publishId": "v" } };
    let fixture = StoreFixture::mongo().await;
    let StoreFixture::Mongo(env) = &fixture else { unreachable!() };
    let (mut found_some, policy) = (0, RetryPolicy::default());
    for number in 0..40 {
        env.posts.delete_many(doc! {}).await.unwrap();
        let mut state = doc! { "retryCount": counts[pick(counts.len())].clone() };
        match pick(5) {
            0 => drop(state.insert("retryClaim", claim.clone())),
            1 => drop(state.insert("failureCategory", "processing").or(state.insert("publishTicket", ticket.clone()))),
            _ => {}
        }
        let mut fields = doc! {
            "platform": names[pick(names.len())].clone(), "platforms": lists[pick(lists.len())].clone(),
            "platformStatus": statuses[pick(statuses.len())].clone(), "failedAt": dates[pick(dates.len())].clone(),
            "updatedAt": changes[pick(2)].clone(),
            "sheetTriggeredAt": marks[pick(3)].clone(),
            "postretry": { "instagram": state.clone(), "tiktok": state.clone() },
        };
        fields.extend(state);
        fixture.post("tiktok", fields.clone()).await;
        let backoff_from = [BackoffFrom::FirstFailure, BackoffFrom::LastAttempt][number % 2];
        let policy = RetryPolicy { backoff_from, ..policy };
        let (fresh, searched) = (fixture.open().await, fixture.open().await);
        let now = fresh.now().await.unwrap();
        let has_work = searched.may_have_work(&policy, now).await.unwrap();
        for scope in Platform::ALL.into_iter().map(Scope::Platform).chain([Scope::UnknownPlatform]) {
            let query = DueQuery { policy, now, scope };
            let all = async |store: &dyn PostStore| {
                let due = store.due_posts(&query, None, 100).await.unwrap().posts;
                let exhausted = store.exhausted_posts(&query, None, 100).await.unwrap().posts;
                (due.len() + exhausted.len(), format!("{due:?} {exhausted:?}"))
            };
            let ((count, expected), (_, found)) = (all(fresh.as_ref()).await, all(searched.as_ref()).await);
            assert_eq!(found, expected, "{scope:?}: {fields}");
            assert!(has_work || count == 0, "{scope:?}: {fields}");
            found_some += count;
        }
    }
    assert!(found_some > 15, "only {found_some} were found: the documents prove little");
}

async fn malformed_posts_are_found_and_told_apart(fixture: StoreFixture) {
    let good = fixture.post("tiktok", doc! {}).await;
    let wrong: [(&str, Document); 5] = [
        ("failed", doc! { "failedAt": "yesterday" }),
        ("retryCount", doc! { "retryCount": "three" }),
        ("permanentlyFailed", doc! { "permanentlyFailed": "no" }),
        ("hashtags", doc! { "hashtags": "{broken" }),
        ("retryHistory", doc! { "retryHistory": "none" }),
    ];
    for (_, fields) in &wrong {
        fixture.post("tiktok", fields.clone()).await;
    }
    fixture.post("myspace", doc! {}).await;
    let store = fixture.open().await;
    let mut query = DueQuery {
        policy: RetryPolicy::default(),
        now: store.now().await.unwrap(),
        scope: Scope::Platform(Platform::TikTok),
    };
    let page = store.due_posts(&query, None, 100).await.unwrap();
    let (fine, malformed): (Vec<_>, Vec<_>) =
        page.posts.into_iter().map(StoredPost::into_result).partition(Result::is_ok);
    assert_eq!(fine.into_iter().map(|post| post.unwrap().id.to_string()).collect::<Vec<_>>(), [good]);
    let fields: Vec<&str> = malformed.iter().map(|post| post.as_ref().unwrap_err().field.as_ref()).collect();
    assert_eq!(fields.len(), wrong.len(), "{fields:?}");
    for (field, _) in &wrong {
        let is_it = |found: &&&str| found.replace('_', "").to_lowercase().starts_with(&field.to_lowercase());
        assert!(fields.iter().any(|found| is_it(&found)), "{field} in {fields:?}");
    }
    query.scope = Scope::UnknownPlatform;
    let unknown = store.due_posts(&query, None, 100).await.unwrap().posts;
    assert_eq!(unknown.len(), 1);
    let unknown = unknown.into_iter().next().unwrap().into_result();
    assert_eq!(unknown.unwrap_err().field, "platform");
}

async fn malformed_posts_are_counted_as_nothing_else(fixture: StoreFixture) {
    let network = |more: Document| {
        let mut fields = doc! { "failureCategory": "network" };
        fields.extend(more);
        fields
    };
    fixture.post("tiktok", network(doc! { "retryCount": 0 })).await;
    fixture.post("youtube", doc! { "retryCount": 5, "failureCategory": "ambiguous" }).await;
    fixture.post("tiktok", network(doc! { "retryCount": "three" })).await;
    fixture.post("tiktok", network(doc! { "retryCount": 0, "isAiGenerated": "yes" })).await;
    fixture.post("instagram", network(doc! { "permanentlyFailed": true, "failedAt": "yesterday" })).await;
    fixture.post("instagram", doc! { "retryHistory": "none", "retryCount": 5, "failureCategory": "ambiguous" }).await;
    fixture.post("myspace", network(doc! { "retryCount": 0 })).await;
    let store = fixture.open().await;
    let policy = RetryPolicy::default();
    let counted = store.statistics(&policy, store.now().await.unwrap(), None).await.unwrap();
    assert_eq!((counted.total_failed, counted.malformed), (7, 5));
    assert_eq!((counted.permanently_failed, counted.retryable(), counted.due, counted.ambiguous), (1, 1, 1, 1));
    assert_eq!(counted.retry_distribution, [(0, 1), (5, 1)]);
    assert_eq!(counted.by_category, [(Category::Network, 1), (Category::Ambiguous, 1)]);
    let failed: Vec<_> = counted.by_platform.iter().map(|entry| (entry.platform, entry.failed)).collect();
    assert_eq!(failed, [(Platform::TikTok, 1), (Platform::Instagram, 0), (Platform::YouTubeShorts, 1)]);
    let listed = store.list(&ListFilter::default(), Page { skip: 0, limit: 50 }).await.unwrap().posts;
    assert_eq!(listed.iter().filter(|post| post.readable().is_none()).count(), 5, "{listed:?}");
}

async fn a_claim_is_refused_once_the_post_has_changed(fixture: StoreFixture) {
    let id = fixture.post("tiktok", doc! {}).await;
    let store = fixture.open().await;
    let stale = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &stale, "first").await.unwrap();
    let failure = AttemptEnd::Failed(Failure::new(Category::Network, "x"));
    let settlement = settle(&work, &RetryPolicy::default(), failure, store.now().await.unwrap());
    assert_eq!(settlement.outcome, Outcome::Failed);
    store.settle(&work.post, &lease("first"), &settlement).await.unwrap();
    assert!(claim(store.as_ref(), &stale, "second").await.is_none(), "it is not what was read any more");
    assert_eq!(store.mark_exhausted(&[stale]).await.unwrap().applied, 0);
    let fresh = read(store.as_ref(), &id).await;
    assert_eq!(store.mark_exhausted(&[fresh]).await.unwrap().applied, 1);
    let marked = read(store.as_ref(), &id).await;
    assert!(marked.retry.permanently_failed && marked.retry.permanently_failed_at.is_some());
    assert!(claim(store.as_ref(), &marked, "third").await.is_none());
}

async fn a_reset_gives_the_retries_back_and_forgets_an_ambiguous_ticket(fixture: StoreFixture) {
    for category in [Category::Ambiguous, Category::Network] {
        let id = fixture.post("tiktok", doc! { "retryCount": 3 }).await;
        let store = fixture.open().await;
        let work = claim(store.as_ref(), &read(store.as_ref(), &id).await, "me").await.unwrap();
        let now = store.now().await.unwrap();
        store.store_ticket(&work.post.id, &lease("me"), Some(&ticket(now))).await.unwrap();
        let failure = AttemptEnd::Failed(Failure::new(category, "x"));
        let settlement = settle(&work, &RetryPolicy::default(), failure, now);
        store.settle(&work.post, &lease("me"), &settlement).await.unwrap();
        assert_eq!(store.reset(&work.post.id, "ann@web1", &ResetOptions::default()).await.unwrap(), Reset::Done);
        let post = read(store.as_ref(), &id).await;
        assert_eq!((post.retry.count, post.retry.permanently_failed), (0, false));
        assert_eq!((post.retry.category, post.retry.last_retried_at, post.retry.not_before), (None, None, None));
        assert_eq!(post.retry.error.as_deref(), Some("x"), "the error is kept");
        assert_eq!(post.retry.history.len(), 1, "the history is kept");
        let reset = post.retry.history[0].reset.as_ref().unwrap();
        assert_eq!(reset.by, "ann@web1", "and tells who did it");
        assert!(reset.at >= now);
        assert_eq!(post.retry.ticket.is_some(), category == Category::Network);
    }
}

async fn lists_are_newest_first_and_filtered(fixture: StoreFixture) {
    let old = fixture.post("tiktok", doc! { "failedAt": hours_ago(9), "retryCount": 5 }).await;
    let new = fixture.post("instagram", doc! { "failedAt": hours_ago(1) }).await;
    let middle = fixture
        .post("youtube", doc! { "failedAt": Bson::Null, "updatedAt": hours_ago(5), "failureCategory": "auth" })
        .await;
    fixture.post("tiktok", doc! { "status": "posted" }).await;
    let store = fixture.open().await;
    let list = async |filter: ListFilter, skip, limit| {
        let page = store.list(&filter, Page { skip, limit }).await.unwrap();
        page.posts.into_iter().map(|post| post.into_result().unwrap().id.to_string()).collect::<Vec<_>>()
    };
    let all = ListFilter::default();
    assert_eq!(list(all.clone(), 0, 50).await, [new.clone(), middle.clone(), old.clone()]);
    assert_eq!(list(all.clone(), 1, 1).await, std::slice::from_ref(&middle));
    assert_eq!(list(all.clone(), 0, 0).await, Vec::<String>::new());
    assert_eq!(store.count(&all).await.unwrap(), 3);
    let platform = ListFilter { platforms: vec![Platform::YouTubeShorts], ..all.clone() };
    assert_eq!(list(platform, 0, 50).await, std::slice::from_ref(&middle));
    let category = ListFilter { categories: vec![Category::Auth], ..all.clone() };
    assert_eq!(list(category, 0, 50).await, std::slice::from_ref(&middle));
    let permanent = ListFilter { permanent: Some(RetryPolicy::default()), ..all.clone() };
    assert_eq!(list(permanent, 0, 50).await, std::slice::from_ref(&old));
    let since = ListFilter { since: Some(now() - TimeDelta::hours(6)), ..all.clone() };
    assert_eq!(list(since, 0, 50).await, [new, middle]);
}

async fn tokens_are_refreshed_by_one_at_a_time(fixture: StoreFixture) {
    let store = fixture.open().await;
    let at = store.now().await.unwrap();
    let record = TokenRecord {
        key: "tiktok:key".into(),
        platform: Platform::TikTok,
        source: "fingerprint".into(),
        access_token: SecretString::from("access"),
        access_expires_at: Some(at + TimeDelta::hours(2)),
        refresh_token: Some(SecretString::from("refresh")),
        refresh_expires_at: None,
    };
    assert!(store.load_token(&record.key).await.unwrap().is_none());
    assert_eq!(store.lock_token(&record.key, &lease("one")).await.unwrap(), LeaseWrite::Applied);
    assert_eq!(store.lock_token(&record.key, &lease("two")).await.unwrap(), LeaseWrite::Lost);
    assert!(store.load_token(&record.key).await.unwrap().is_none(), "a lock is no record");
    assert_eq!(store.save_token(&record, "two").await.unwrap(), LeaseWrite::Lost);
    assert_eq!(store.save_token(&record, "one").await.unwrap(), LeaseWrite::Applied);
    let loaded = store.load_token(&record.key).await.unwrap().unwrap();
    assert_eq!(loaded.access_token.expose_secret(), "access");
    assert_eq!(loaded.refresh_token.unwrap().expose_secret(), "refresh");
    assert_eq!((loaded.access_expires_at, loaded.source), (record.access_expires_at, record.source));
    assert_eq!(store.lock_token(&record.key, &lease("two")).await.unwrap(), LeaseWrite::Applied);
    store.unlock_token(&record.key, "two").await.unwrap();
    let short = Lease { by: "three".into(), lasts: Duration::from_millis(1) };
    assert_eq!(store.lock_token(&record.key, &short).await.unwrap(), LeaseWrite::Applied);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        store.lock_token(&record.key, &lease("four")).await.unwrap(),
        LeaseWrite::Applied,
        "a lock dies by itself"
    );
}

async fn runs_are_counted(fixture: StoreFixture) {
    fixture.post("tiktok", doc! { "retryCount": 2, "failureCategory": "network" }).await;
    fixture.post("instagram", doc! { "retryCount": 5, "permanentlyFailed": true, "failureCategory": "auth" }).await;
    fixture.post("instagram", doc! { "retryCount": 5, "failureCategory": "auth" }).await;
    let store = fixture.open().await;
    let at = store.now().await.unwrap();
    for days in [0, 40] {
        let mut attempts = postretry::post::AttemptCounts::default();
        attempts.count(Platform::TikTok, 1, Some(Category::Network), Outcome::Posted);
        attempts.count(Platform::TikTok, 2, None, Outcome::Failed);
        attempts.count(Platform::Instagram, 1, None, Outcome::Deferred);
        let mut totals = postretry::post::Totals::default();
        totals.count(Outcome::Posted);
        totals.count(Outcome::Failed);
        let started_at = at - TimeDelta::days(days);
        let run = RunRecord {
            id: format!("run-{days}"),
            command: "run",
            started_at,
            finished_at: started_at + TimeDelta::milliseconds(1500),
            host: "here".into(),
            outcome: RunOutcome::Attention,
            totals,
            by_platform: vec![PlatformRun { platform: Platform::TikTok, totals, given_up: None }],
            attempts,
        };
        store.record_run(&run).await.unwrap();
    }
    let policy = RetryPolicy::default();
    let all = store.statistics(&policy, at, None).await.unwrap();
    assert_eq!((all.total_failed, all.permanently_failed), (3, 2));
    assert_eq!(all.retry_distribution, [(2, 1), (5, 2)]);
    assert_eq!(all.by_category, [(Category::Auth, 2), (Category::Network, 1)]);
    assert_eq!((all.runs.run_count, all.runs.success_count, all.runs.error_count), (2, 2, 2));
    assert_eq!((all.by_platform[0].attempts, all.by_platform[0].posted), (4, 2));
    assert_eq!(all.by_attempt.len(), 2);
    assert_eq!((all.by_attempt[0].attempts, all.by_attempt[0].posted), (2, 2));
    let recent = store.statistics(&policy, at, Some(at - TimeDelta::days(30))).await.unwrap();
    assert_eq!((recent.runs.run_count, recent.by_platform[0].attempts), (1, 2));
    let causes: Vec<_> = all.by_cause.iter().map(|cause| (cause.after, cause.attempts, cause.posted)).collect();
    assert_eq!(causes, [(None, 2, 0), (Some(Category::Network), 2, 2)]);
    assert_eq!(recent.runs.last_duration_ms, Some(1500));
    assert_eq!(recent.runs.last_outcome.as_deref(), Some("attention"));
    assert_eq!(recent.runs.last_run, Some(at));
}
