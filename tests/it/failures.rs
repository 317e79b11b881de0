//! Requests that go wrong: no duplicate, and nothing lost.

use futures_util::{StreamExt, stream};
use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};

use crate::genuine::Wire;
use crate::support::env::{TestEnv, sha256, video};
use crate::support::kinds::{KINDS, post_of, renew_credentials_if_stranded, requests_of};

/// How a request and its answer can get lost.
fn losses() -> [Act; 5] {
    [
        Act::LoseRequest,
        Act::LoseAnswer,
        Act::Cut { after: 40_000 },
        Act::Garbage,
        // Longer than anyone waits for an answer.
        Act::Slow { ms: 1500 },
    ]
}

/// Lets one request of a publish get lost, and passes run until the post is settled.
async fn lose_at(kind: &'static str, number: usize, endpoint: String, act: Act, wire: Wire) {
    let place = format!("{kind}, request {number} ({endpoint}), {act:?}, {wire:?}");
    let mut env = TestEnv::new().await;
    wire.lay(&mut env).await;
    env.set("HTTP_TIMEOUT", "1s");
    env.sandbox.world().knobs.instagram_lag = 1;
    env.sandbox.fault(Fault::once("*", act).after(u32::try_from(number).unwrap()));
    let (platform, fields) = post_of(kind);
    let id = env.post(platform, fields).await;
    let aged = doc! { "$set": { "failedAt": crate::support::env::hours_ago(500) } };
    env.posts.update_one(doc! {}, aged).await.unwrap();
    for _ in 0..6 {
        let ran = env.run(&["run", "--format", "json"]).await;
        assert!(matches!(ran.code, 0 | 3), "{place}: {ran:?}");
        if renew_credentials_if_stranded(&env).await {
            assert_eq!(endpoint, "tiktok.token", "{place}");
        }
    }
    let (published, post) = (env.sandbox.published(), env.get(&id).await);
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new(), "{place}");
    if endpoint == "tiktok.photo_init" && post.get_str("failureCategory").ok() == Some("ambiguous") {
        assert!(published.len() <= 1, "{place}: {post}");
        return;
    }
    assert_eq!(published.len(), 1, "{place}: {post}");
    assert_eq!(post.get_str("status").ok(), Some("posted"), "{place}: {post}");
    let is_upload = published[0].source_url.is_none();
    assert!(!is_upload || published[0].sha256 == sha256(&video(100_000, 1)), "{place}");
}

/// Every request of every kind of publish, and every way in which it or its answer can get lost: within a few passes
/// the post is published, once.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_gets_lost_on_the_way_the_post_is_published_once() {
    let mut places = Vec::new();
    for kind in KINDS {
        for (number, endpoint) in requests_of(kind).await.into_iter().enumerate() {
            places.extend(losses().map(|act| lose_at(kind, number, endpoint.clone(), act, Wire::Plain)));
            // What arrives late or is nonsense is that in either protocol.
            let torn = losses().into_iter().filter(|act| !matches!(act, Act::Garbage | Act::Slow { .. }));
            places.extend(torn.map(|act| lose_at(kind, number, endpoint.clone(), act, Wire::Multiplexed)));
        }
    }
    let count = places.len();
    stream::iter(places).buffer_unordered(10).collect::<Vec<()>>().await;
    println!("{count} losses");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_error_on_a_post_that_is_live_is_seen_through() {
    let env = TestEnv::new().await;
    let lie = r#"{"error":{"message":"blocked","code":4,"error_subcode":2207051}}"#;
    env.sandbox.fault(Fault::once("instagram.publish", Act::Lie { status: 400, body: lie.into() }));
    env.sandbox.world().knobs.instagram_lag = 2;
    let id = env.post("instagram", Document::new()).await;
    env.pass(0).await;
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));
    assert_eq!(env.sandbox.published().len(), 1);
    assert_eq!(env.sandbox.calls("instagram.publish"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_session_is_replaced_before_its_last_byte_and_parked_after_it() {
    let env = TestEnv::new().await;
    let id = env.post("youtube", Document::new()).await;
    env.sandbox.fault(Fault::once("youtube.chunk", Act::json(404, &serde_json::Value::Null)));
    {
        // The video is not to be found either.
        let mut world = env.sandbox.world();
        world.knobs.youtube_sessions_gone = true;
    }
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "ambiguous", "{output}");
    assert_eq!(env.sandbox.calls("youtube.session"), 1);

    // A session that dies early has made no video: a larger file, cut in its first piece.
    let env = TestEnv::new().await;
    env.file("large.mp4", &video(40_000_000, 3));
    env.sandbox.fault(Fault::once("youtube.chunk", Act::json(410, &serde_json::Value::Null)));
    env.post("youtube", doc! { "videoPath": "large.mp4" }).await;
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 1, "{output}");
    assert_eq!(env.sandbox.calls("youtube.session"), 2);
    drop(id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lapses_in_the_middle_is_renewed_without_a_new_ticket() {
    for (platform, endpoint, code) in [
        ("tiktok", "tiktok.status", Act::tiktok(401, "access_token_invalid")),
        ("youtube", "youtube.chunk", Act::youtube(401, "authError", "")),
        ("youtube", "youtube.videos", Act::youtube(401, "authError", "")),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::once(endpoint, code));
        env.post(platform, Document::new()).await;
        env.pass(0).await;
        assert_eq!(env.sandbox.published().len(), 1, "{endpoint}");
        let (token, ticket) = if platform == "tiktok" {
            ("tiktok.token", "tiktok.video_init")
        } else {
            ("google.token", "youtube.session")
        };
        assert_eq!(env.sandbox.calls(token), 2, "{endpoint}");
        assert_eq!(env.sandbox.calls(ticket), 1, "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_stored_and_used_by_the_next_pass() {
    let env = TestEnv::new().await;
    for _ in 0..3 {
        env.post("tiktok", Document::new()).await;
        env.pass(0).await;
        // The settings still hold the first refresh token, which is void since the first pass.
        env.sandbox.world().revoke_access("tiktok");
    }
    assert_eq!(env.sandbox.published().len(), 3);
    let tokens = env.database.collection::<Document>("postretry_tokens");
    assert_eq!(tokens.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_that_start_at_once_share_the_posts_and_refresh_the_token_once() {
    let env = TestEnv::new().await;
    for _ in 0..30 {
        env.post("tiktok", Document::new()).await;
    }
    let passes = (0..5).map(|_| env.run(&["run", "--format", "json"]));
    let outputs = futures_util::future::join_all(passes).await;
    let posted: i64 = outputs.iter().map(|ran| ran.json()["totals"]["posted"].as_i64().unwrap()).sum();
    assert_eq!(posted, 30);
    assert_eq!(env.sandbox.published().len(), 30);
    assert_eq!(env.sandbox.calls("tiktok.token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn instagrams_token_is_exchanged_before_it_lapses_and_another_setting_wins_over_what_was_stored() {
    let mut env = TestEnv::new().await;
    env.set("INSTAGRAM_APP_ID", "sandbox-app");
    env.set("INSTAGRAM_APP_SECRET", "sandbox-instagram-secret");
    for _ in 0..2 {
        env.post("instagram", Document::new()).await;
        env.pass(0).await;
    }
    // Nobody knows when a token from the settings lapses, so it is exchanged once; the fresh one is good for weeks.
    assert_eq!(env.sandbox.calls("instagram.exchange"), 1);
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!(stats["tokens"][0]["platform"], "instagram");

    // Near its end it is exchanged again.
    let tokens = env.database.collection::<Document>("postretry_tokens");
    let soon = crate::support::env::hours_ago(-24);
    tokens.update_one(doc! {}, doc! { "$set": { "accessExpiresAt": soon } }).await.unwrap();
    env.post("instagram", Document::new()).await;
    env.pass(0).await;
    assert_eq!(env.sandbox.calls("instagram.exchange"), 2);

    // A person signs in anew: the stored token is dead, and the new setting wins.
    env.sandbox.world().revoke_access("instagram");
    env.sandbox.world().sign_in("instagram", "sandbox-instagram-renewed");
    env.post("instagram", Document::new()).await;
    let refused = env.pass(3).await;
    assert_eq!(refused["posts"][0]["category"], "auth");
    env.set("INSTAGRAM_ACCESS_TOKEN", "sandbox-instagram-renewed");
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lives_shortly_is_not_refreshed_for_every_request() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.access_token_lives = 60;
    for _ in 0..5 {
        env.post("tiktok", Document::new()).await;
        env.post("youtube", Document::new()).await;
    }
    assert_eq!(env.pass(0).await["totals"]["posted"], 10);
    assert_eq!(env.sandbox.calls("tiktok.token"), 1);
    assert_eq!(env.sandbox.calls("google.token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_post_has_become_is_not_taken_for_this_one() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::always("instagram.publish", Act::LoseRequest));
    let lost = env.post("instagram", doc! { "failedAt": crate::support::env::hours_ago(500) }).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "network");
    // A post with the very same words goes out, and then the container of the first one can tell no more.
    env.sandbox.world().faults.clear();
    let twin = env.post("instagram", Document::new()).await;
    env.run(&["retry", &twin]).await.expect(0);
    env.sandbox.world().knobs.instagram_expired = true;
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "ambiguous", "{output}");
    assert_eq!(env.get(&lost).await.get_str("status").ok(), Some("failed"));
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_gone_before_it_was_published_is_replaced_at_once() {
    let expired = Act::json(200, &serde_json::json!({ "id": "1", "status_code": "EXPIRED", "status": "Expired" }));
    for gone in [Act::graph(400, 24, Some(2_207_006)), Act::graph(400, -2, Some(2_207_020)), expired] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "50ms");
        env.sandbox.world().knobs.instagram_looks = u32::MAX;
        let id = env.post("instagram", Document::new()).await;
        assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
        env.sandbox.world().knobs.instagram_looks = 0;
        env.sandbox.fault(Fault::once("instagram.container", gone.clone()));
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{gone:?}");
        assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(0));
        assert_eq!(env.sandbox.calls("instagram.create"), 2, "{gone:?}");
        assert_eq!(env.sandbox.published().len(), 1, "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_not_found_for_a_moment_is_asked_again() {
    for subcode in [Some(33), Some(2_207_008)] {
        let env = TestEnv::new().await;
        let code = if subcode == Some(33) { 100 } else { 24 };
        let absent = Fault { times: 2, ..Fault::once("instagram.container", Act::graph(400, code, subcode)) };
        env.sandbox.fault(absent);
        env.post("instagram", Document::new()).await;
        assert_eq!(env.pass(0).await["totals"]["posted"], 1);
        assert_eq!(env.sandbox.calls("instagram.create"), 1);
    }
}

/// What passes is borne three times in a row while a post is sent or looked at, and costs no retry; then it is a failure,
/// and the next retry goes on by the same ticket.
#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_borne_three_times_in_a_row_within_one_attempt() {
    for (kind, endpoint, opening) in [
        ("tiktok", "tiktok.chunk", "tiktok.video_init"),
        ("tiktok", "tiktok.status", "tiktok.video_init"),
        ("tiktok photo", "tiktok.status", "tiktok.photo_init"),
        ("instagram", "instagram.upload", "instagram.create"),
        ("instagram", "instagram.container", "instagram.create"),
        ("youtube", "youtube.chunk", "youtube.session"),
    ] {
        for (times, posted) in [(3, 1), (4, 0)] {
            let env = TestEnv::new().await;
            env.sandbox.fault(Fault { times, ..Fault::once(endpoint, Act::LoseRequest) });
            let (platform, fields) = post_of(kind);
            let id = env.post(platform, fields).await;
            let output = env.pass(0).await;
            assert_eq!(output["totals"]["posted"], posted, "{kind}, {endpoint}, {times} times: {output}");
            let retries = env.get(&id).await.get_i32("retryCount").ok();
            assert_eq!(retries, Some(1 - posted), "{kind}, {endpoint}, {times} times");
            if posted == 0 {
                assert_eq!(output["posts"][0]["category"], "network", "{kind}, {endpoint}: {output}");
                let aged = doc! { "$set": { "failedAt": crate::support::env::hours_ago(500) } };
                env.posts.update_one(doc! {}, aged).await.unwrap();
                assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{kind}, {endpoint}");
            }
            assert_eq!(env.sandbox.calls(opening), 1, "{kind}, {endpoint}, {times} times");
            assert_eq!(env.sandbox.published().len(), 1, "{kind}, {endpoint}, {times} times");
        }
    }
}

/// The wait for a platform's processing begins when it has the file, however long that took.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_takes_nothing_from_the_wait_for_the_processing() {
    for (platform, endpoint) in
        [("tiktok", "tiktok.chunk"), ("instagram", "instagram.upload"), ("youtube", "youtube.chunk")]
    {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "1500ms");
        env.sandbox.fault(Fault::once(endpoint, Act::Slow { ms: 2000 }));
        env.post(platform, Document::new()).await;
        let output = env.pass(0).await;
        assert_eq!(output["totals"]["posted"], 1, "{platform}: {output}");
    }
}

/// Nor does it use up the retries of the upload: every chunk that arrives gives them back.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_lost_late_in_a_slow_upload_is_sent_again() {
    for (platform, endpoint) in [("tiktok", "tiktok.chunk"), ("youtube", "youtube.chunk")] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "1500ms");
        env.file("large.mp4", &video(70_000_000, 4));
        env.sandbox.fault(Fault::once(endpoint, Act::Slow { ms: 2000 }));
        env.sandbox.fault(Fault::once(endpoint, Act::LoseAnswer).after(1));
        env.post(platform, doc! { "videoPath": "large.mp4" }).await;
        let output = env.pass(0).await;
        assert_eq!(output["totals"]["posted"], 1, "{platform}: {output}");
        assert_eq!(env.sandbox.published().len(), 1, "{platform}");
    }
}
