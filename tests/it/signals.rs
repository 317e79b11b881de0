//! Stopping in good order.

use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};

use crate::support::env::{TestEnv, signal, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_what_is_in_flight_settle_and_starts_nothing_new() {
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_CONCURRENCY", "1");
        env.sandbox.fault(Fault::once("tiktok.video_init", Act::Slow { ms: 1000 }));
        for _ in 0..3 {
            env.post("tiktok", Document::new()).await;
        }
        let process = env.command(&["run", "--format", "json"]).spawn().unwrap();
        until(async || env.sandbox.calls("tiktok.video_init") == 1).await;
        signal(&process, name).await;
        let output = process.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(code));
        let totals = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["totals"].clone();
        assert_eq!((&totals["posted"], &totals["skipped"]), (&1.into(), &2.into()), "{totals}");
        assert_eq!(env.sandbox.published().len(), 1);
        let claimed = env.posts.count_documents(doc! { "retryClaim": { "$exists": true } }).await.unwrap();
        assert_eq!(claimed, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_settle_is_released_with_its_retry_and_taken_up_by_the_next_pass() {
    let mut env = TestEnv::new().await;
    env.set("HTTP_TIMEOUT", "60s");
    env.sandbox.fault(Fault::once("youtube.chunk", Act::Slow { ms: 600_000 }));
    let id = env.post("youtube", Document::new()).await;
    let process = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.calls("youtube.chunk") == 1).await;
    // The second signal ends the grace period.
    signal(&process, "-TERM").await;
    signal(&process, "-TERM").await;
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(143));
    let post = env.get(&id).await;
    assert_eq!(post.get_i32("retryCount").ok(), Some(0));
    assert!(!post.contains_key("retryClaim"));
    assert!(post.get_document("publishTicket").is_ok());
    let history = post.get_array("retryHistory").unwrap();
    assert_eq!(history[0].as_document().unwrap().get_str("outcome").ok(), Some("interrupted"));
    env.pass(0).await;
    let post = env.get(&id).await;
    assert_eq!(post.get_str("status").ok(), Some("posted"));
    assert_eq!(env.sandbox.calls("youtube.session"), 1);
    let history = post.get_array("retryHistory").unwrap();
    assert_eq!(history.len(), 1, "one entry an attempt");
    assert_eq!(history[0].as_document().unwrap().get_i32("interruptions").ok(), Some(1));
}
