//! The platforms' accounts: credentials that are refused or expire soon, and what is checked before anything is sent.

use chrono::TimeDelta;
use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};

use crate::support::env::{TestEnv, date, hours_ago, now};

#[tokio::test(flavor = "multi_thread")]
async fn one_revoked_token_uses_no_retries_and_after_it_is_renewed_all_posts_go_out() {
    for (platform, setting) in [
        ("tiktok", "TIKTOK_REFRESH_TOKEN"),
        ("instagram", "INSTAGRAM_ACCESS_TOKEN"),
        ("youtube", "YOUTUBE_REFRESH_TOKEN"),
    ] {
        let mut env = TestEnv::new().await;
        // A token of an earlier pass is still stored, so only the platform can tell that it is dead.
        env.post(platform, Document::new()).await;
        env.pass(0).await;
        env.sandbox.world().revoke_refresh(platform);
        env.sandbox.world().revoke_access(platform);
        env.posts.delete_many(doc! {}).await.unwrap();
        for _ in 0..40 {
            env.post(platform, Document::new()).await;
        }
        let ran = env.run(&["run"]).await.expect(3);
        let name = if platform == "youtube" { "youtube_shorts" } else { platform };
        let line =
            ran.stdout.lines().find(|line| line.starts_with(&format!("{name}: credentials refused, 40 posts wait: ")));
        let line = line.unwrap_or_else(|| panic!("{}", ran.stdout));
        let end = ". When this is fixed, they will be retried automatically";
        assert!(line.contains(setting) && line.ends_with(end), "{line}");
        assert_eq!(env.posts.count_documents(doc! { "retryCount": 0 }).await.unwrap(), 40);
        let unchanged = doc! { "lastRetriedAt": { "$exists": false }, "retryHistory": { "$exists": false } };
        assert_eq!(env.posts.count_documents(unchanged).await.unwrap(), 39, "one post has tried the credentials");

        let renewed = format!("sandbox-{platform}-renewed");
        env.sandbox.world().sign_in(platform, &renewed);
        env.set(setting, &renewed);
        let output = env.pass(0).await;
        assert_eq!(output["totals"]["posted"], 40, "{platform}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_within_a_week_or_before_the_next_retry_is_warned_about() {
    let mut env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    let ran = env.run(&["run"]).await.expect(0);
    assert_eq!(ran.stderr, "", "it ends in half a year");
    let tokens = env.database.collection::<Document>("postretry_tokens");
    let ends_in = async |time: TimeDelta| {
        let end = doc! { "$set": { "refreshExpiresAt": date(now() + time) } };
        tokens.update_one(doc! { "platform": "tiktok" }, end).await.unwrap();
    };
    ends_in(TimeDelta::days(6)).await;
    let ran = env.run(&["run"]).await.expect(0);
    assert!(ran.stderr.contains("warning: tiktok: its token expires in 5 d, at "), "{}", ran.stderr);
    assert!(ran.stderr.trim_end().ends_with("; renew TIKTOK_REFRESH_TOKEN"), "{}", ran.stderr);
    assert_eq!(env.run(&["run", "-q"]).await.expect(0).stderr, "");
    let (_, seen) = env.on_terminal(100, &["run"], "").await;
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("its token expires in 5 d; renew TIKTOK_REFRESH_TOKEN"), "{seen}");
    let stats = env.run(&["stats"]).await.expect(0);
    assert!(stats.stdout.contains("in 5 d"), "{}", stats.stdout);

    // With waits of weeks, credentials that expire in twelve days expire before anything is sent.
    ends_in(TimeDelta::days(12)).await;
    assert_eq!(env.run(&["run"]).await.expect(0).stderr, "");
    env.set("POST_RETRY_INTERVAL_MINUTES", "10080");
    assert_eq!(env.run(&["run"]).await.expect(0).stderr, "", "nothing waits for it");
    env.post("tiktok", doc! { "retryCount": 1, "failedAt": hours_ago(1) }).await;
    let ran = env.run(&["run"]).await.expect(0);
    assert!(ran.stderr.contains("its token expires in 11 d"), "{}", ran.stderr);
    env.post("tiktok", doc! { "retryCount": 0, "failedAt": hours_ago(1) }).await;
    assert_eq!(env.run(&["run"]).await.expect(0).stderr, "", "a post is due before");
}

/// A video of so many seconds, as far as its header tells.
fn video_of(seconds: u32) -> Vec<u8> {
    let boxed = |kind: &[u8], contents: &[u8]| {
        let size = u32::try_from(contents.len() + 8).unwrap();
        [&size.to_be_bytes(), kind, contents].concat()
    };
    let header = [&[0; 12], 1u32.to_be_bytes().as_slice(), &seconds.to_be_bytes(), &[0; 80]].concat();
    [boxed(b"ftyp", b"mp42\0\0\0\0mp42isom"), boxed(b"moov", &boxed(b"mvhd", &header)), boxed(b"mdat", &[9; 5000])]
        .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_longer_than_tiktok_allows_the_account_is_not_sent() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.tiktok_max_seconds = 180;
    env.file("short.mp4", &video_of(180));
    env.file("long.mp4", &video_of(195));
    env.post("tiktok", doc! { "videoPath": "short.mp4" }).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    env.post("tiktok", doc! { "videoPath": "long.mp4" }).await;
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "media_processing");
    let error = output["posts"][0]["error"].as_str().unwrap();
    assert!(error.contains("lasts 3m 15s") && error.contains("3m on TikTok"), "{error}");
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_whose_id_tiktok_has_forgotten_is_found_in_the_accounts_list_or_parked() {
    // Another video of the same caption is of no matter where it is known whose it is.
    for (may_list, twin, posted) in
        [(true, "none", 1), (true, "recorded", 1), (true, "of nobody", 0), (false, "none", 0)]
    {
        let env = TestEnv::new().await;
        if twin != "none" {
            let twin = env.post("tiktok", Document::new()).await;
            env.run(&["retry", &twin]).await.expect(0);
        }
        if twin == "of nobody" {
            env.posts.delete_many(doc! {}).await.unwrap();
        }
        env.sandbox.world().knobs.tiktok_forgets_ids = true;
        env.sandbox.world().knobs.tiktok_may_list = may_list;
        let id = env.post("tiktok", Document::new()).await;
        let output = env.pass(if posted == 1 { 0 } else { 3 }).await;
        assert_eq!(output["totals"]["posted"], posted, "{output}");
        let post = env.get(&id).await;
        let published = env.sandbox.published();
        if posted == 1 {
            let last = published.last().unwrap();
            assert_eq!(post.get_str("tiktokVideoId").ok(), Some(last.id.as_str()), "{twin}");
        } else {
            assert_eq!(post.get_str("failureCategory").ok(), Some("ambiguous"), "{twin}");
        }
        assert_eq!(published.len(), if twin == "none" { 1 } else { 2 }, "{twin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_during_its_upload_is_sent_anew() {
    for (platform, endpoint) in [("tiktok", "tiktok.chunk"), ("youtube", "youtube.chunk")] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always(endpoint, Act::LoseRequest));
        let id = env.post(platform, doc! { "failedAt": hours_ago(500) }).await;
        assert_eq!(env.pass(0).await["posts"][0]["category"], "network");
        env.sandbox.world().faults.clear();
        env.file("a.mp4", &crate::support::env::video(120_000, 9));
        assert_eq!(env.pass(0).await["totals"]["posted"], 1);
        let published = env.sandbox.published();
        assert_eq!((published.len(), published[0].size), (1, 120_000), "{platform}");
        assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
    }
}
