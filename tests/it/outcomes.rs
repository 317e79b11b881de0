//! What an attempt leads to, and the exit codes that the man page postretry(1) lists.

use std::process::Stdio;

use chrono::TimeDelta;
use mongodb::bson::{Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};

use crate::support::env::{TestEnv, date, date_of, hours_ago, is_cleared, now};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_consumes_a_retry_and_the_last_one_is_permanent_until_reset() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::always("tiktok.video_init", Act::tiktok(500, "internal_error")));
    let id = env.post("tiktok", doc! { "failedAt": hours_ago(500) }).await;
    for attempt in 1..=5 {
        let output = env.pass(if attempt == 5 { 3 } else { 0 }).await;
        let post = env.get(&id).await;
        assert_eq!(post.get_i32("retryCount").ok(), Some(attempt));
        assert_eq!(post.get_str("failureCategory").ok(), Some("platform_outage"));
        assert!(post.get_str("error").unwrap().contains("internal_error"));
        assert!(!post.contains_key("retryClaim"));
        assert_eq!(post.get_str("status").ok(), Some("failed"));
        let outcome = if attempt == 5 { "permanentlyFailed" } else { "failed" };
        assert_eq!(output["posts"][0]["outcome"], outcome);
        assert_eq!(output["posts"][0]["attempt"], attempt);
        assert_eq!(output["posts"][0]["nextRetryAt"].is_null(), attempt == 5);
    }
    let exhausted = env.get(&id).await;
    assert_eq!(exhausted.get_bool("permanentlyFailed").ok(), Some(true));
    date_of(&exhausted, "permanentlyFailedAt");
    assert_eq!(exhausted.get_array("retryHistory").unwrap().len(), 5);

    let calls = env.sandbox.calls("tiktok.video_init");
    assert_eq!(env.pass(0).await["totals"]["due"], 0);
    assert_eq!(env.sandbox.calls("tiktok.video_init"), calls, "it is never claimed again");
    let listed = env.run(&["list-failed", "--permanent", "--format", "json"]).await.expect(0).json();
    assert_eq!(listed["posts"][0]["nextRetryAt"], json!(null));
    assert_eq!(listed["posts"][0]["permanentlyFailed"], true);

    let reset = env.command(&["reset", &id]).env("SUDO_USER", "ann").env("USER", "root").output().await.unwrap();
    assert_eq!(reset.status.code(), Some(0));
    let shown = env.run(&["list-failed", &id]).await.expect(0);
    assert!(shown.stdout.contains("reset by ann@"), "{}", shown.stdout);
    let post = env.get(&id).await;
    assert_eq!(post.get_i32("retryCount").ok(), Some(0));
    assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(false));
    for cleared in ["permanentlyFailedAt", "lastRetriedAt", "retryNotBefore", "failureCategory"] {
        assert!(is_cleared(&post, cleared), "{cleared}");
    }
    assert_eq!(post.get_str("status").ok(), Some("failed"));
    let history = post.get_array("retryHistory").unwrap();
    assert_eq!(history.len(), 5, "the history is kept");
    let last = history[4].as_document().unwrap();
    assert!(last.get_str("resetBy").unwrap().starts_with("ann@"), "and tells who reset it: {last}");
    date_of(last, "resetAt");
    env.sandbox.world().faults.clear();
    env.pass(0).await;
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_ignores_the_backoff_and_its_exit_codes_are_those_of_the_contract() {
    let env = TestEnv::new().await;
    let retry = async |id: &str| env.run(&["retry", id, "--format", "json"]).await;
    let outcome = |ran: &crate::support::env::Ran| ran.json()["posts"][0]["outcome"].as_str().unwrap().to_owned();

    let waiting = env.post("tiktok", doc! { "failedAt": date(now()), "retryCount": 3 }).await;
    assert_eq!(outcome(&retry(&waiting).await.expect(0)), "posted");
    assert_eq!(outcome(&retry(&waiting).await.expect(6)), "notFailed");
    assert_eq!(outcome(&retry("000000000000000000000000").await.expect(6)), "notFound");

    let permanent = env.post("tiktok", doc! { "retryCount": 5, "permanentlyFailed": true }).await;
    assert_eq!(outcome(&retry(&permanent).await.expect(3)), "permanent");
    let forced = env.run(&["retry", "--force", &permanent, "--format", "json"]).await.expect(0);
    assert_eq!(outcome(&forced), "posted");
    let dead = doc! { "by": "another:1:x", "until": hours_ago(1) };
    let left = env.post("tiktok", doc! { "retryCount": 2, "permanentlyFailed": true, "retryClaim": dead }).await;
    assert_eq!(outcome(&retry(&left).await.expect(3)), "permanent");
    let forced = env.run(&["retry", "--force", &left, "--format", "json"]).await.expect(0);
    assert_eq!(outcome(&forced), "posted");

    let claim = doc! { "by": "another:1:x", "until": date(now() + TimeDelta::hours(1)) };
    let busy = env.post("tiktok", doc! { "retryClaim": claim }).await;
    assert_eq!(outcome(&retry(&busy).await.expect(7)), "busy");
    let malformed = env.post("tiktok", doc! { "title": 7 }).await;
    assert_eq!(outcome(&retry(&malformed).await.expect(1)), "malformed");

    env.sandbox.fault(Fault::once("tiktok.video_init", Act::tiktok(500, "internal_error")));
    let failing = env.post("tiktok", Document::new()).await;
    assert_eq!(outcome(&retry(&failing).await.expect(3)), "failed");
    env.sandbox.fault(Fault::once("tiktok.video_init", Act::tiktok(429, "rate_limit_exceeded")));
    assert_eq!(outcome(&retry(&failing).await.expect(3)), "deferred");

    // The highest code wins, and a post that works is published beside one that does not.
    let good = env.post("tiktok", Document::new()).await;
    let both = env.run(&["retry", &good, &busy, "000000000000000000000000"]).await;
    assert_eq!(both.code, 7);
    assert_eq!(env.get(&good).await.get_str("status").ok(), Some("posted"));
    // A retry that made an attempt is a run; one that started nothing is none.
    let runs = env.database.collection::<Document>("postretry_runs");
    assert_eq!(runs.count_documents(doc! { "command": "retry" }).await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_on_a_platform_without_credentials_is_a_matter_of_configuration() {
    let mut env = TestEnv::new().await;
    env.unset("TIKTOK_");
    let id = env.post("tiktok", Document::new()).await;
    let ran = env.run(&["retry", &id]).await.expect(4);
    assert!(ran.stderr.contains("TikTok"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferral_costs_no_retry_and_keeps_its_place() {
    let env = TestEnv::new().await;
    let retry_after = Act::Answer {
        status: 429,
        body: r#"{"error":{"code":"rate_limit_exceeded","message":"","log_id":"x"}}"#.into(),
        headers: [("retry-after".to_owned(), "7200".to_owned())].into(),
    };
    env.sandbox.fault(Fault::always("tiktok.video_init", retry_after));
    let mut ids = Vec::new();
    for hours in [9, 8, 7, 6, 5, 4, 3, 2] {
        ids.push(env.post("tiktok", doc! { "failedAt": hours_ago(hours) }).await);
    }
    let output = env.pass(0).await;
    let deferred = output["totals"]["deferred"].as_i64().unwrap();
    assert!((1..=4).contains(&deferred), "no more than were in flight");
    assert_eq!(output["totals"]["skipped"], 8 - deferred);
    let post = env.get(&ids[0]).await;
    assert_eq!(post.get_i32("retryCount").ok(), Some(0));
    assert_eq!(post.get_str("failureCategory").ok(), Some("rate_limited"));
    let wait = date_of(&post, "retryNotBefore") - now();
    assert!((TimeDelta::seconds(7100)..=TimeDelta::seconds(7200)).contains(&wait), "{wait}");
    let entry = post.get_array("retryHistory").unwrap()[0].as_document().unwrap().clone();
    assert_eq!(entry.get_str("outcome").ok(), Some("deferred"));
    let unchanged = env.get(&ids[7]).await;
    assert!(!unchanged.contains_key("retryHistory") && !unchanged.contains_key("lastRetriedAt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_outages_in_a_row_open_the_circuit() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "1");
    env.sandbox.fault(Fault::always("youtube.session", Act::youtube(503, "backendError", "")));
    for _ in 0..10 {
        env.post("youtube_shorts", Document::new()).await;
    }
    env.post("tiktok", Document::new()).await;
    let output = env.pass(0).await;
    assert_eq!(output["byPlatform"]["youtube_shorts"]["failed"], 3);
    assert_eq!(output["byPlatform"]["youtube_shorts"]["skipped"], 7);
    assert_eq!(output["byPlatform"]["tiktok"]["posted"], 1, "the other platforms go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_circuit_counts_in_the_order_in_which_concurrent_posts_end() {
    let env = TestEnv::new().await;
    // The credentials are accepted, so four posts are in flight when the outage begins.
    env.sandbox.fault(Fault::always("tiktok.video_init", Act::tiktok(503, "internal_error")));
    for _ in 0..20 {
        env.post("tiktok", Document::new()).await;
    }
    let output = env.pass(0).await;
    let failed = output["totals"]["failed"].as_i64().unwrap();
    assert!((3..=6).contains(&failed), "no more than were in flight when the third ended: {failed}");
    assert_eq!(output["totals"]["skipped"], 20 - failed);
    let unchanged = doc! { "retryHistory": { "$exists": false }, "lastRetriedAt": { "$exists": false } };
    assert_eq!(env.posts.count_documents(unchanged).await.unwrap(), u64::try_from(20 - failed).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_still_processing_is_taken_up_by_the_next_pass_and_not_sent_again() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_WAIT", "50ms");
    {
        let mut world = env.sandbox.world();
        world.knobs.tiktok_looks = u32::MAX;
        world.knobs.instagram_looks = u32::MAX;
        world.knobs.youtube_looks = u32::MAX;
    }
    let mut ids = Vec::new();
    for platform in ["tiktok", "instagram", "youtube_shorts"] {
        ids.push(env.post(platform, Document::new()).await);
    }
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["deferred"], 3, "{output}");
    for id in &ids {
        let post = env.get(id).await;
        assert_eq!(post.get_str("failureCategory").ok(), Some("processing"));
        assert_eq!(post.get_i32("retryCount").ok(), Some(0));
        assert!(post.get_document("publishTicket").is_ok());
    }
    {
        let mut world = env.sandbox.world();
        world.knobs.tiktok_looks = 0;
        world.knobs.youtube_looks = 0;
        world.knobs.instagram_looks = 0;
        world.release();
    }
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 3, "{output}");
    assert_eq!(env.sandbox.published().len(), 3);
    for endpoint in ["tiktok.video_init", "instagram.create", "youtube.session"] {
        assert_eq!(env.sandbox.calls(endpoint), 1, "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_processes_for_more_than_a_day_is_not_believed() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_WAIT", "50ms");
    env.sandbox.world().knobs.tiktok_looks = u32::MAX;
    let id = env.post("tiktok", Document::new()).await;
    env.pass(0).await;
    let made_at = doc! { "$set": { "publishTicket.madeAt": hours_ago(25) } };
    env.posts.update_one(doc! {}, made_at).await.unwrap();
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "ambiguous");
    let post = env.get(&id).await;
    assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_consumes_a_retry_and_nothing_is_asked_of_the_platform() {
    let env = TestEnv::new().await;
    env.file("text.mp4", b"no video at all");
    for path in ["none.mp4", "../outside.mp4", "text.mp4"] {
        let id = env.post("tiktok", doc! { "videoPath": path }).await;
        let output = env.pass(0).await;
        assert_eq!(output["posts"][0]["category"], "missing_asset");
        assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(1));
    }
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_too_old_is_given_up_unless_forced() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_EXPIRE", "1d");
    let id = env.post("tiktok", doc! { "failedAt": hours_ago(25) }).await;
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "expired");
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 0);
    env.run(&["retry", "--force", &id]).await.expect(0);
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_posts_are_marked_and_only_those() {
    let env = TestEnv::new().await;
    let exhausted = env.post("tiktok", doc! { "retryCount": 7 }).await;
    let ticket = doc! { "kind": "x" };
    let malformed = env.post("tiktok", doc! { "retryCount": 7, "publishTicket": ticket }).await;
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["flagged"], 1);
    assert_eq!(output["totals"]["due"], 0);
    assert_eq!(env.get(&exhausted).await.get_bool("permanentlyFailed").ok(), Some(true));
    assert!(!env.get(&malformed).await.contains_key("permanentlyFailed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_process_died_is_taken_up_again_and_counts_as_failed_after_three_times() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::always("tiktok.video_init", Act::Slow { ms: 60_000 }));
    let id = env.post("tiktok", Document::new()).await;
    for times in 1..=4 {
        let mut process = env.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let calls = env.sandbox.calls("tiktok.video_init");
        while env.sandbox.calls("tiktok.video_init") == calls {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        process.kill().await.unwrap();
        let dead = doc! { "$set": { "retryClaim.until": hours_ago(1) } };
        env.posts.update_one(doc! {}, dead).await.unwrap();
        let post = env.get(&id).await;
        assert_eq!(post.get_i32("retryCount").ok(), Some(1), "it costs no further retry");
        let interruptions = post.get_array("retryHistory").map_or(0, |history| {
            assert_eq!(history.len(), 1, "one entry an attempt");
            history[0].as_document().unwrap().get_i32("interruptions").unwrap()
        });
        assert_eq!(interruptions, times - 1);
    }
    let output = env.pass(0).await;
    assert_eq!(output["posts"][0]["category"], "interrupted");
    assert_eq!(output["posts"][0]["outcome"], "failed");
    let post = env.get(&id).await;
    assert_eq!(post.get_i32("retryCount").ok(), Some(1));
    assert_eq!(post.get_array("retryHistory").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_post_is_parked_and_a_reset_forgets_its_ticket() {
    let env = TestEnv::new().await;
    let image = doc! { "contentType": "image", "videoPath": Bson::Undefined, "imagePath": "a.jpg" };
    env.sandbox.fault(Fault::once("tiktok.photo_init", Act::LoseAnswer));
    let id = env.post("tiktok", image).await;
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "ambiguous");
    assert_eq!(env.sandbox.published().len(), 1);
    let shown = env.run(&["list-failed", &id]).await.expect(0);
    assert!(shown.stdout.contains("Look at the account first"), "{}", shown.stdout);

    // Only a selection that names them takes ambiguous posts.
    env.run(&["reset", "--permanent", "--yes"]).await.expect(0);
    assert_eq!(env.get(&id).await.get_bool("permanentlyFailed").ok(), Some(true));
    env.run(&["reset", "--category", "ambiguous", "--yes"]).await.expect(0);
    let post = env.get(&id).await;
    assert!(is_cleared(&post, "publishTicket"));
    assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_names_what_needs_a_person_and_its_failure_changes_nothing_else() {
    let mut env = TestEnv::new().await;
    // Nobody takes the message here, so it is tried three times.
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/hush-hush", env.sandbox.url()));
    let rejected = env.post("youtube", doc! { "contentType": "carousel" }).await;
    env.sandbox.world().revoke_refresh("tiktok");
    env.post("tiktok", Document::new()).await;
    env.post("tiktok", Document::new()).await;
    let ran = env.run(&["run"]).await.expect(3);
    assert!(ran.stderr.contains("ALERT_WEBHOOK_URL") && !ran.stderr.contains("hush"), "{}", ran.stderr);
    assert_eq!(env.sandbox.calls("nowhere"), 3);
    let message = {
        let world = env.sandbox.world();
        world.requests.iter().find(|request| request.endpoint == "nowhere").unwrap().body.clone()
    };
    assert_eq!(message["permanentlyFailed"][0]["id"], rejected.as_str());
    assert_eq!(message["permanentlyFailed"][0]["category"], "rejected_content");
    assert_eq!(message["givenUp"], json!([{ "platform": "tiktok", "category": "auth", "waiting": 2 }]));
    let runs = env.database.collection::<Document>("postretry_runs");
    let run = runs.find_one(doc! {}).await.unwrap().unwrap();
    let host = run.get_str("host").unwrap();
    assert_eq!((&message["run"]["id"], &message["run"]["host"]), (&json!(run.get_str("_id").unwrap()), &json!(host)));
    assert!(message["run"]["startedAt"].as_str().unwrap().ends_with('Z'));
    let lines: Vec<&str> = message["text"].as_str().unwrap().lines().collect();
    let [first, platform, count, post] = &lines[..] else { panic!("{message}") };
    assert_eq!((*first, *count), (format!("postretry on {host}:").as_str(), "1 post is permanently failed:"));
    assert!(platform.starts_with("tiktok: ") && platform.contains("(auth), 2 posts wait: "), "{message}");
    assert!(post.starts_with(&format!("{rejected} (youtube_shorts): ")), "{message}");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&message), ["text", "run", "permanentlyFailed", "givenUp"]);
    assert_eq!(names(&message["run"]), ["id", "startedAt", "host"]);
    assert_eq!(names(&message["permanentlyFailed"][0]), ["id", "platform", "category", "error"]);

    // A pass that needs nobody sends nothing.
    env.run(&["run", "--platform", "instagram"]).await.expect(0);
    assert_eq!(env.sandbox.calls("nowhere"), 3);
}
