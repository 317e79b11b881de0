//! What every store must do, to the letter: one suite for all of them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use mongodb::bson::doc;
use postretry::post::{
    AttemptEnd, AttemptStart, BackoffFrom, ClaimedPost, Failure, Platform, Post, Publication, RetryPolicy, Ticket,
    TicketHandle, settle,
};
use postretry::store::mongo::MongoPostStore;
use postretry::store::{DueQuery, Found, Hold, Lease, MongoSettings, PostStore, Reset, Scope};

use crate::stage::Stage;

async fn open(stage: &Stage) -> Arc<dyn PostStore> {
    let settings = MongoSettings::new(&stage.uri, "marketing_posts".into(), "stories".into()).unwrap();
    let store = MongoPostStore::connect(&settings).await.unwrap();
    assert_eq!(store.prepare(BackoffFrom::FirstFailure).await.unwrap(), Vec::<String>::new());
    Arc::new(store)
}

fn lease(by: &str) -> Lease {
    Lease { by: by.to_owned(), lasts: Duration::from_secs(60) }
}

async fn read(store: &dyn PostStore, id: &str) -> Post {
    match store.find(id).await.unwrap() {
        Found::Failed(post) => post.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn claim(store: &dyn PostStore, post: &Post, by: &str) -> Option<ClaimedPost> {
    let start = AttemptStart::decide(post, store.now().await.unwrap(), "here");
    let claimed = store.claim(post, &start, &lease(by)).await.unwrap()?;
    Some(ClaimedPost {
        post: claimed.unwrap(),
        claim_by: by.to_owned(),
        start,
        host: "here".to_owned(),
        last_retried_before: post.retry.last_retried_at,
    })
}

fn ticket(at: DateTime<Utc>) -> Ticket {
    let handle = TicketHandle::TiktokVideo {
        publish_id: "$v1".into(),
        upload_url: Some("$secret".into()),
        size: Some(7),
        username: None,
    };
    Ticket::new(at, handle).committed(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_claimants_one_wins() {
    let stage = Stage::new().await;
    let id = stage.post("tiktok", doc! {}).await;
    let store = open(&stage).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_runs_out_by_the_stores_clock_and_its_holder_writes_nothing_more() {
    let stage = Stage::new().await;
    let id = stage.post("tiktok", doc! {}).await;
    let store = open(&stage).await;
    let post = read(store.as_ref(), &id).await;
    let short = Lease { by: "slow".into(), lasts: Duration::from_millis(300) };
    let start = AttemptStart::decide(&post, store.now().await.unwrap(), "here");
    store.claim(&post, &start, &short).await.unwrap().unwrap().unwrap();
    let claimed = read(store.as_ref(), &id).await;
    assert!(claim(store.as_ref(), &claimed, "early").await.is_none(), "a live claim keeps others away");
    assert_eq!(store.reset(&post.id).await.unwrap(), Reset::Busy);
    assert_eq!(store.renew(&post.id, &short).await.unwrap(), Hold::Held);

    let gone = claimed.retry.claim.clone().unwrap().until + TimeDelta::seconds(2);
    while store.now().await.unwrap() < gone {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.renew(&post.id, &short).await.unwrap(), Hold::Lost);
    assert_eq!(store.store_ticket(&post.id, &short, None).await.unwrap(), Hold::Lost);

    let dead = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &dead, "next").await.unwrap();
    assert!(work.start.is_resumption);
    assert_eq!(work.post.retry.count, 1, "the same attempt costs no further retry");
    assert_eq!(work.post.retry.history.len(), 1);
    let late =
        settle(&work, &RetryPolicy::default(), AttemptEnd::Posted(Publication::default()), store.now().await.unwrap());
    assert_eq!(store.settle(&post, &short, &late).await.unwrap(), Hold::Lost);
    assert_eq!(store.settle(&work.post, &lease("next"), &late).await.unwrap(), Hold::Held);
    assert!(matches!(store.find(&id).await.unwrap(), Found::NotFailed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_and_outcomes_come_back_as_they_were_written() {
    let stage = Stage::new().await;
    let id = stage.post("tiktok", doc! {}).await;
    let store = open(&stage).await;
    let policy = RetryPolicy::default();
    let post = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &post, "me").await.unwrap();
    let now = store.now().await.unwrap();
    assert_eq!(store.store_ticket(&post.id, &lease("me"), Some(&ticket(now))).await.unwrap(), Hold::Held);
    let failure = Failure::new(postretry::post::Category::Network, "$where is it?\nline two")
        .retry_at(Some(now + TimeDelta::hours(2)));
    let settlement = settle(&work, &policy, AttemptEnd::Failed(failure), now);
    assert_eq!(store.settle(&work.post, &lease("me"), &settlement).await.unwrap(), Hold::Held);
    let after = read(store.as_ref(), &id).await;
    assert_eq!(after.retry.ticket, Some(ticket(now)));
    assert_eq!(after.retry.error.as_deref(), Some("$where is it? line two"));
    assert_eq!(after.retry.not_before, Some(now + TimeDelta::hours(2)));
    let mut expected = settlement.applied_to(work.post.clone());
    expected.retry.ticket = Some(ticket(now));
    expected.updated_at = after.updated_at;
    assert_eq!(after, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_keeps_its_last_fifty_entries() {
    let stage = Stage::new().await;
    let entry = |attempt: i32| doc! { "attempt": attempt, "outcome": "failed", "host": "h", "other": "kept" };
    let id = stage.post("tiktok", doc! { "retryHistory": (1..=50).map(entry).collect::<Vec<_>>() }).await;
    let store = open(&stage).await;
    let post = read(store.as_ref(), &id).await;
    let work = claim(store.as_ref(), &post, "me").await.unwrap();
    let failure = Failure::new(postretry::post::Category::Network, "x");
    let settlement = settle(&work, &RetryPolicy::default(), AttemptEnd::Failed(failure), store.now().await.unwrap());
    store.settle(&work.post, &lease("me"), &settlement).await.unwrap();
    let history = stage.get(&id).await.get_array("retryHistory").unwrap().clone();
    assert_eq!(history.len(), 50);
    assert_eq!(history[0].as_document().unwrap().get_i32("attempt").ok(), Some(2));
    assert_eq!(history[0].as_document().unwrap().get_str("other").ok(), Some("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_through_the_whole_backlog_once_oldest_first() {
    let stage = Stage::new().await;
    for hours in 0..40_i64 {
        stage.post("instagram", doc! { "failedAt": crate::stage::hours_ago(10 + hours / 3) }).await;
    }
    let store = open(&stage).await;
    let now = store.now().await.unwrap();
    let scope = Scope::Platform(Platform::Instagram);
    let query = DueQuery { policy: RetryPolicy::default(), now, scope };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let left = store.count_due(&query, after.as_ref()).await.unwrap();
        assert_eq!(left, 40 - seen.len() as u64);
        let page = store.due_posts(&query, after.as_ref(), 7).await.unwrap();
        seen.extend(page.posts.into_iter().map(|post| post.unwrap()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 40);
    assert!(seen.windows(2).all(|pair| (pair[0].failed_at, pair[0].id.key()) < (pair[1].failed_at, pair[1].id.key())));
}
