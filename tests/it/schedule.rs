//! When posts are due: to the second, for every setting, whatever dates a document carries.

use chrono::{DateTime, TimeDelta, Utc};
use mongodb::bson::{Bson, Document, doc};

use crate::support::env::{TestEnv, date, now};

/// Far enough from the boundary that a slow machine does not step over it.
const MARGIN: TimeDelta = TimeDelta::seconds(20);

async fn due_ids(env: &TestEnv) -> Vec<String> {
    let listed = env.run(&["list-failed", "--due", "--format", "json"]).await.expect(0).json();
    let planned = env.run(&["run", "--dry-run", "--format", "json"]).await.expect(0).json();
    let ids = |posts: &serde_json::Value| {
        let mut ids: Vec<String> =
            posts.as_array().unwrap().iter().map(|post| post["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&listed["posts"]), ids(&planned["posts"]), "the list and the plan agree");
    assert_eq!(listed["total"], listed["posts"].as_array().unwrap().len());
    ids(&planned["posts"])
}

/// A post on either side of the boundary for each retry count: only the one that has waited long enough is due.
async fn check_table(
    env: &TestEnv,
    base: TimeDelta,
    counts: std::ops::Range<i32>,
    dates: impl Fn(DateTime<Utc>) -> Document,
) {
    let now = now();
    let mut expected = Vec::new();
    for count in counts {
        let delay = base * 2_i32.pow(u32::try_from(count).unwrap());
        for (anchor, is_due) in [(now - delay, true), (now - delay + MARGIN, false)] {
            let mut fields = doc! { "retryCount": count, "failedAt": Bson::Undefined };
            fields.extend(dates(anchor));
            let id = env.post("tiktok", fields).await;
            if is_due {
                expected.push(id);
            }
        }
    }
    expected.sort();
    assert_eq!(due_ids(env).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backoff_table_holds_from_the_first_failure() {
    let env = TestEnv::new().await;
    check_table(&env, TimeDelta::hours(1), 0..5, |anchor| doc! { "failedAt": date(anchor) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backoff_table_holds_for_other_settings() {
    let mut env = TestEnv::new().await;
    env.set("MAX_POST_RETRIES", "8");
    env.set("POST_RETRY_INTERVAL_MINUTES", "7");
    check_table(&env, TimeDelta::minutes(7), 0..8, |anchor| doc! { "failedAt": date(anchor) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_failed_at_the_backoff_counts_from_updated_at() {
    let env = TestEnv::new().await;
    check_table(&env, TimeDelta::hours(1), 0..5, |anchor| doc! { "updatedAt": date(anchor) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backoff_counts_from_the_last_attempt_if_told_so() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_BACKOFF_FROM", "last-attempt");
    let long_ago = date(now() - TimeDelta::days(9));
    check_table(&env, TimeDelta::hours(1), 0..5, |anchor| {
        doc! { "failedAt": long_ago.clone(), "lastRetriedAt": date(anchor) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_negative_and_fractional_counters_and_missing_dates_are_understood() {
    let env = TestEnv::new().await;
    let hours = |hours| date(now() - TimeDelta::hours(hours));
    let mut expected = Vec::new();
    for (fields, is_due) in [
        (doc! { "failedAt": Bson::Undefined }, true),
        (doc! { "failedAt": Bson::Null, "updatedAt": Bson::Null }, true),
        (doc! { "retryCount": Bson::Undefined, "failedAt": hours(2) }, true),
        (doc! { "retryCount": Bson::Null, "failedAt": date(now()) }, false),
        (doc! { "retryCount": -3, "failedAt": hours(2) }, true),
        (doc! { "retryCount": 1.9, "failedAt": hours(3) }, true),
        (doc! { "retryCount": 1.9, "failedAt": hours(1) }, false),
        (doc! { "retryCount": 2_i64, "failedAt": hours(5) }, true),
        (doc! { "retryCount": 5, "failedAt": hours(500) }, false),
        (doc! { "permanentlyFailed": true, "failedAt": hours(2) }, false),
        (doc! { "retryNotBefore": date(now() + TimeDelta::hours(1)) }, false),
        (doc! { "retryNotBefore": hours(1) }, true),
        (doc! { "retryClaim": { "by": "x", "until": date(now() + TimeDelta::hours(1)) } }, false),
        (doc! { "retryClaim": { "by": "x", "until": hours(1) }, "retryCount": 5, "failedAt": date(now()) }, true),
        (doc! { "status": "posted" }, false),
    ] {
        let id = env.post("tiktok", fields).await;
        if is_due {
            expected.push(id);
        }
    }
    expected.sort();
    assert_eq!(due_ids(&env).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_are_started_oldest_first() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "1");
    let mut expected = Vec::new();
    for hours in [3, 9, 5, 7] {
        let id = env.post("tiktok", doc! { "failedAt": crate::support::env::hours_ago(hours) }).await;
        expected.push((hours, id));
    }
    expected.sort_by_key(|(hours, _)| std::cmp::Reverse(*hours));
    let output = env.pass(0).await;
    let order: Vec<&str> =
        output["posts"].as_array().unwrap().iter().map(|post| post["id"].as_str().unwrap()).collect();
    assert_eq!(order, expected.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gap_keeps_starts_apart_and_the_limit_holds() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_GAP", "700ms");
    for _ in 0..4 {
        env.post("tiktok", Document::new()).await;
    }
    let output = env.run(&["run", "--limit", "3", "--format", "json"]).await.expect(0).json();
    assert_eq!(output["totals"]["due"], 4);
    assert_eq!(output["totals"]["posted"], 3);
    assert_eq!(output["totals"]["skipped"], 1);
    let world = env.sandbox.world();
    let starts: Vec<_> = world.requests.iter().filter(|r| r.endpoint == "tiktok.video_init").map(|r| r.at).collect();
    for pair in starts.windows(2) {
        // The creator is asked before the start, so a little of the gap may pass in that.
        assert!(pair[1] - pair[0] > TimeDelta::milliseconds(500), "{starts:?}");
    }
}
