//! Stopping in good order: what is in flight, every command, and whatever a command waits for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Child;

use crate::support::env::{TestEnv, failed_post, hours_ago, mongod, signal, until};
use crate::support::proxy::{Proxy, Side};

/// What happens at once takes no longer, on a busy machine either.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Sends a signal to a process that then has to end at once. Its exit code and what it has printed.
async fn ended_at_once(process: Child, name: &str, place: &str) -> (Option<i32>, String, String) {
    let signalled_at = Instant::now();
    signal(&process, name).await;
    let output = process.wait_with_output().await.unwrap();
    assert!(signalled_at.elapsed() < AT_ONCE, "{place}: {:?}", signalled_at.elapsed());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server that takes connections and never answers, and how many it has taken.
async fn silent_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, taken)
}

/// Leads the connection to MongoDB through a proxy.
async fn through_proxy(env: &mut TestEnv) -> Proxy {
    let address = mongod().await.address();
    let proxy = Proxy::start(address).await;
    env.set("MONGODB_URI", &env.uri.replace(&address.to_string(), &format!("127.0.0.1:{}", proxy.port())));
    proxy
}

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
        let totals = serde_json::from_slice::<Value>(&output.stdout).unwrap()["totals"].clone();
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
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("1 due: 1 interrupted\n"), "the sum says what the row says: {printed}");
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

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_at_once_while_it_waits_for_a_store_that_does_not_answer() {
    let mut env = TestEnv::new().await;
    let (address, taken) = silent_server().await;
    let patient = "directConnection=true&serverSelectionTimeoutMS=60000&connectTimeoutMS=60000";
    env.set("MONGODB_URI", &format!("mongodb://{address}/app?{patient}"));
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        for arguments in [
            &["list-failed"][..],
            &["list-failed", "x"],
            &["stats"],
            &["reset", "--permanent", "--yes"],
            &["reset", "x"],
            &["run", "--dry-run"],
            &["run"],
            &["retry", "x"],
        ] {
            let place = format!("{name}, {arguments:?}");
            let before = taken.load(Ordering::Relaxed);
            let process = env.command(arguments).spawn().unwrap();
            until(async || taken.load(Ordering::Relaxed) > before).await;
            let (ended, stdout, _) = ended_at_once(process, name, &place).await;
            assert_eq!((ended, stdout.as_str()), (Some(code), ""), "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_reset_stops_at_once_and_says_what_it_has_reset() {
    let mut env = TestEnv::new().await;
    let fields = doc! { "retryCount": 5, "permanentlyFailed": true, "failureCategory": "network" };
    let documents: Vec<Document> = (0..700).map(|_| failed_post("tiktok", fields.clone())).collect();
    env.posts.insert_many(documents).await.unwrap();
    let proxy = through_proxy(&mut env).await;
    proxy.degrade(1, 0, 20);
    let process = env.command(&["reset", "--permanent", "--yes", "--json"]).spawn().unwrap();
    until(async || env.posts.count_documents(doc! { "retryCount": 0 }).await.unwrap() > 10).await;
    let (code, stdout, stderr) = ended_at_once(process, "-TERM", "reset").await;
    assert_eq!(code, Some(143), "{stderr}");
    assert!(stderr.contains("posts that the result does not name were not changed"), "{stderr}");
    let output: Value = serde_json::from_str(&stdout).unwrap();
    let rows = output["posts"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["outcome"] == "reset"), "{output}");
    let reset = env.posts.count_documents(doc! { "retryCount": 0 }).await.unwrap();
    assert_eq!(rows.len() as u64, reset);
    assert!(reset < 700, "it was stopped too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_recorded_does_not_hold_a_stop_and_its_result_is_printed() {
    let mut env = TestEnv::new().await;
    let proxy = through_proxy(&mut env).await;
    // The same pass always makes the same writes, once tokens are there.
    let mut writes = 0;
    for _ in 0..2 {
        let before = proxy.writes().len();
        env.post("youtube", Document::new()).await;
        env.pass(0).await;
        writes = proxy.writes().len() - before;
    }
    let last = proxy.writes().pop().unwrap_or_default();
    assert!(last.starts_with("insert postretry_runs"), "{last}");
    let id = env.post("youtube", Document::new()).await;
    proxy.pause(proxy.writes().len() + writes - 1, Side::Before);
    let process = env.command(&["run", "--json"]).spawn().unwrap();
    until(async || proxy.paused() == 1).await;
    let signalled_at = Instant::now();
    signal(&process, "-TERM").await;
    let output = process.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(signalled_at.elapsed() < Duration::from_secs(15), "{:?}", signalled_at.elapsed());
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(said.contains("the run was not recorded"), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["totals"]["posted"], 1, "{result}");
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_signal_ends_a_process_whose_store_does_not_answer_and_the_next_pass_goes_on() {
    let mut env = TestEnv::new().await;
    let direct = env.uri.clone();
    env.set("HTTP_TIMEOUT", "60s");
    // None is renewed meanwhile.
    env.set("POST_RETRY_CLAIM", "10m");
    let proxy = through_proxy(&mut env).await;
    env.sandbox.fault(Fault::once("youtube.chunk", Act::Slow { ms: 600_000 }));
    let id = env.post("youtube", Document::new()).await;
    let process = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.calls("youtube.chunk") == 1).await;
    proxy.pause_from(proxy.writes().len());
    signal(&process, "-INT").await;
    // Two signals at the same moment can arrive as one.
    tokio::time::sleep(Duration::from_millis(300)).await;
    signal(&process, "-INT").await;
    until(async || proxy.paused() == 1).await;
    let (code, _, said) = ended_at_once(process, "-INT", "the third signal").await;
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("the next pass resumes them"), "{said}");

    let expired = doc! { "$set": { "retryClaim.until": hours_ago(1) } };
    env.posts.update_one(doc! {}, expired).await.unwrap();
    env.set("MONGODB_URI", &direct);
    env.pass(0).await;
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
    assert_eq!((env.sandbox.calls("youtube.session"), env.sandbox.published().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_does_not_answer_ends_with_a_stop_or_by_itself() {
    let mut env = TestEnv::new().await;
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", env.sandbox.url()));
    env.sandbox.fault(Fault::always("nowhere", Act::HoldRequest));
    env.post("youtube", doc! { "contentType": "carousel" }).await;
    let process = env.command(&["run", "--json"]).spawn().unwrap();
    until(async || env.sandbox.calls("nowhere") == 1).await;
    let (code, stdout, stderr) = ended_at_once(process, "-INT", "the webhook").await;
    assert_eq!(code, Some(3), "the pass was over: {stderr}");
    assert!(stderr.contains("failed to send the alert"), "{stderr}");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["totals"]["permanentlyFailed"], json!(1));

    env.post("youtube", doc! { "contentType": "carousel" }).await;
    let started_at = Instant::now();
    let ran = env.run(&["run"]).await.expect(3);
    assert!(ran.stderr.contains("failed to send the alert to `ALERT_WEBHOOK_URL`"), "{}", ran.stderr);
    assert!(started_at.elapsed() < Duration::from_secs(20), "{:?}", started_at.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_command_that_waits_for_its_reader() {
    let env = TestEnv::new().await;
    // More than a pipe holds.
    let documents: Vec<Document> =
        (0..500).map(|_| failed_post("tiktok", doc! { "error": "x".repeat(900), "title": "y".repeat(200) })).collect();
    env.posts.insert_many(documents).await.unwrap();
    let mut process = env.command(&["list-failed", "--json", "--limit", "500"]).spawn().unwrap();
    // The pipe is open, and nobody reads from it any more.
    let mut unread = process.stdout.take().unwrap();
    let mut first = [0; 1];
    tokio::io::AsyncReadExt::read_exact(&mut unread, &mut first).await.unwrap();
    let signalled_at = Instant::now();
    signal(&process, "-TERM").await;
    assert_eq!(process.wait().await.unwrap().code(), Some(143));
    assert!(signalled_at.elapsed() < AT_ONCE, "{:?}", signalled_at.elapsed());
    drop(unread);
}
