//! The holes that were found once: a post that went out twice or in its old words, a platform that was stuck, a verdict
//! that was wrong, a secret that was told. Each as a user would notice it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::genuine::Wire;
use crate::store::insert_row;
use crate::support::env::{
    Ran, Shape, TestEnv, date, date_of, hours_ago, is_cleared, mongod, now, sha256, until, video,
};
use crate::support::kinds::{is_settled, post_of};

/// Failed so long ago that it is due whatever its retry count.
fn old() -> Document {
    doc! { "failedAt": hours_ago(500) }
}

fn photo() -> Document {
    let mut fields = post_of("tiktok photo").1;
    fields.extend(old());
    fields
}

/// Changes a post as its application or a person would.
async fn change(env: &TestEnv, id: &str, fields: Document) {
    let post = doc! { "_id": ObjectId::parse_str(id).unwrap() };
    env.posts.update_one(post, doc! { "$set": fields }).await.unwrap();
}

/// Runs the binary, which has to come to an end.
async fn ended(env: &TestEnv, arguments: &[&str]) -> Ran {
    let ran = tokio::time::timeout(Duration::from_secs(180), env.run(arguments)).await;
    ran.unwrap_or_else(|_| panic!("{arguments:?} does not end"))
}

/// Lets passes run until the post is posted or parked. At no time is it posted without being public.
async fn settled(env: &TestEnv, id: &str) -> Document {
    for _ in 0..8 {
        let ran = ended(env, &["run", "--max-duration", "20s"]).await;
        assert!(matches!(ran.code, 0 | 3), "{ran:?}");
        let post = env.get(id).await;
        let is_posted = post.get_str("status").ok() == Some("posted");
        assert!(!is_posted || !env.sandbox.published().is_empty(), "posted, and nowhere to be seen: {post}");
        if is_settled(&post) {
            return post;
        }
    }
    panic!("it does not settle: {}", env.get(id).await);
}

/// What was last sent to an endpoint.
fn body_of(env: &TestEnv, endpoint: &str) -> Value {
    let world = env.sandbox.world();
    world.requests.iter().rfind(|request| request.endpoint == endpoint).unwrap().body.clone()
}

/// Stands before MongoDB and pauses the first command with these bytes in it.
struct PausedCommand {
    is_reached: Arc<AtomicBool>,
    release: Arc<Notify>,
}

impl PausedCommand {
    async fn before(env: &mut TestEnv, marker: &'static [u8]) -> Self {
        let server = mongod().await.address();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        env.set("MONGODB_URI", &env.uri.replace(&server.to_string(), &address.to_string()));
        let paused = Self { is_reached: Arc::default(), release: Arc::default() };
        let (is_reached, release) = (Arc::clone(&paused.is_reached), Arc::clone(&paused.release));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (is_reached, release) = (Arc::clone(&is_reached), Arc::clone(&release));
                let upstream = TcpStream::connect(server).await.unwrap();
                // A connection that breaks off has ended with its process.
                tokio::spawn(async move { drop(relay(client, upstream, marker, &is_reached, &release).await) });
            }
        });
        paused
    }

    async fn reached(&self) {
        until(async || self.is_reached.load(Ordering::Relaxed)).await;
    }

    fn go_on(&self) {
        self.release.notify_one();
    }
}

async fn relay(
    client: TcpStream,
    server: TcpStream,
    marker: &[u8],
    is_reached: &AtomicBool,
    release: &Notify,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await.map(drop) });
    loop {
        let command = message(&mut from_client).await?;
        let is_meant = command.windows(marker.len()).any(|part| part == marker);
        if is_meant && !is_reached.swap(true, Ordering::Relaxed) {
            release.notified().await;
        }
        to_server.write_all(&command).await?;
    }
}

async fn message(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let size = usize::try_from(u32::from_le_bytes(length)).unwrap();
    let mut message = length.to_vec();
    message.resize(size, 0);
    stream.read_exact(&mut message[4..]).await?;
    Ok(message)
}

// Never twice.

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_the_application_left_in_processing_is_waited_for_though_its_file_has_grown() {
    for is_forgotten in [false, true] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "50ms");
        env.sandbox.world().knobs.tiktok_looks = u32::MAX;
        let id = env.post("tiktok", old()).await;
        env.pass(0).await;
        // As if the application had made the upload: nothing is known of it but its id.
        let publish_id = body_of(&env, "tiktok.status")["publish_id"].as_str().unwrap().to_owned();
        let left = doc! {
            "$set": { "uploadProgress": { "publishId": publish_id } },
            "$unset": { "publishTicket": "", "retryHistory": "", "lastRetriedAt": "", "failureCategory": "" },
        };
        env.posts.update_one(doc! {}, left).await.unwrap();
        env.file("a.mp4", &video(200_000, 9));
        for _ in 0..2 {
            let output = env.pass(0).await;
            assert_eq!(output["posts"][0]["category"], "processing", "{output}");
        }
        assert_eq!(env.sandbox.calls("tiktok.video_init"), 1, "its upload is not over");
        if is_forgotten {
            change(&env, &id, doc! { "publishTicket.adoptedAt": hours_ago(25) }).await;
            assert_eq!(env.pass(3).await["posts"][0]["category"], "ambiguous");
        } else {
            env.sandbox.world().knobs.tiktok_looks = 0;
            env.sandbox.world().release();
            assert_eq!(env.pass(0).await["totals"]["posted"], 1);
        }
        assert_eq!(env.sandbox.published().len(), usize::from(!is_forgotten));
        assert_eq!(env.sandbox.calls("tiktok.video_init"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_with_the_platforms_own_id_on_it_is_shown_to_a_person_and_not_sent() {
    for (platform, field, of_another) in [
        ("tiktok", "tiktokVideoId", "youtubeVideoId"),
        ("instagram", "instagramMediaId", "tiktokVideoId"),
        ("youtube", "youtubeVideoId", "instagramMediaId"),
    ] {
        let env = TestEnv::new().await;
        let id = env.post(platform, doc! { field: "id-of-the-application" }).await;
        env.run(&["retry", &id]).await.expect(3);
        let output = env.pass(3).await;
        assert_eq!((&output["totals"]["flagged"], &output["totals"]["due"]), (&json!(1), &json!(0)), "{output}");
        let post = env.get(&id).await;
        assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(true), "{post}");
        assert_eq!(post.get_str("failureCategory").ok(), Some("ambiguous"), "{post}");
        assert!(post.get_str("error").unwrap().contains("id-of-the-application"), "{post}");
        assert_eq!(post.get_str(field).ok(), Some("id-of-the-application"));
        assert_eq!(env.sandbox.world().requests.len(), 0, "nothing was sent");
        assert_eq!(env.pass(0).await["totals"]["flagged"], 0, "it is told once");

        // What it is called elsewhere does not matter here.
        env.post(platform, doc! { of_another: "elsewhere", field: Bson::Null }).await;
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{platform}");
    }
}

/// Has a person change a post's status while a request of its publish is on its way.
async fn take_away_at(kind: &str, endpoint: &str, status: &str, is_public: bool) {
    let place = format!("{kind}, {status} at {endpoint}");
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once(endpoint, Act::Slow { ms: 1500 }));
    let (platform, fields) = post_of(kind);
    let id = env.post(platform, fields).await;
    let process = env.command(&["run", "--json"]).spawn().unwrap();
    until(async || env.sandbox.calls(endpoint) > 0).await;
    change(&env, &id, doc! { "status": status }).await;
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{place}: {}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcome = if is_public { "posted" } else { "interrupted" };
    assert_eq!((&result["posts"][0]["id"], &result["posts"][0]["outcome"]), (&json!(id), &json!(outcome)), "{place}");

    let (post, published) = (env.get(&id).await, env.sandbox.published());
    assert_eq!(published.len(), usize::from(is_public), "{place}: {post}");
    assert!(!post.contains_key("retryClaim"), "{place}: {post}");
    if is_public {
        assert_eq!(post.get_str("status").ok(), Some("posted"), "{place}: {post}");
        assert!(post.to_string().contains(&published[0].id), "{place}: {post}");
        return;
    }
    assert_eq!(post.get_str("status").ok(), Some(status), "{place}: {post}");
    assert_eq!(post.get_i32("retryCount").ok(), Some(0), "{place}: {post}");
    let history = post.get_array("retryHistory").unwrap();
    let last = history.last().and_then(Bson::as_document).unwrap();
    assert_eq!(last.get_str("outcome").ok(), Some("interrupted"), "{place}: {post}");
    // It stays what the person made of it, and is nobody's business any more.
    assert_eq!(env.pass(0).await["totals"]["due"], 0, "{place}");
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some(status), "{place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_a_person_takes_away_in_the_middle_is_not_published() {
    for (kind, endpoint, status) in [
        ("tiktok", "tiktok.creator_info", "approved"),
        ("tiktok", "tiktok.video_init", "rejected"),
        ("tiktok photo", "tiktok.creator_info", "draft"),
        ("instagram", "instagram.create", "approved"),
        ("instagram", "instagram.upload", "draft"),
        ("instagram", "instagram.container", "rejected"),
        ("instagram image", "instagram.create", "draft"),
        ("instagram image", "instagram.container", "approved"),
        ("youtube", "youtube.session", "rejected"),
    ] {
        take_away_at(kind, endpoint, status, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_taken_away_too_late_is_recorded_as_posted() {
    for (kind, endpoint, status) in [
        ("tiktok", "tiktok.chunk", "approved"),
        ("tiktok", "tiktok.status", "draft"),
        ("tiktok photo", "tiktok.photo_init", "rejected"),
        ("tiktok photo", "tiktok.status", "approved"),
        ("instagram", "instagram.publish", "rejected"),
        ("instagram image", "instagram.publish", "draft"),
        ("instagram image", "instagram.permalink", "approved"),
        ("youtube", "youtube.chunk", "draft"),
        ("youtube", "youtube.videos", "rejected"),
    ] {
        take_away_at(kind, endpoint, status, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_deleted_in_the_middle_is_not_published() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once("tiktok.creator_info", Act::Slow { ms: 1500 }));
    env.post("tiktok", Document::new()).await;
    let process = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.calls("tiktok.creator_info") > 0).await;
    env.posts.delete_many(doc! {}).await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(env.sandbox.published().len(), 0);
    assert_eq!(env.sandbox.calls("tiktok.chunk"), 0);
    assert_eq!(env.posts.count_documents(doc! {}).await.unwrap(), 0, "nor does it come back");
}

/// Changes the file, but not its size.
fn render_again(env: &TestEnv) {
    env.file("a.mp4", &video(100_000, 9));
    let file = std::fs::File::options().write(true).open(env.folder().join("assets").join("a.mp4")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + Duration::from_secs(10)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_post_goes_out_as_it_is_now() {
    for (platform, endpoint) in
        [("tiktok", "tiktok.chunk"), ("instagram", "instagram.upload"), ("youtube", "youtube.chunk")]
    {
        for edited in ["its text", "its file", "its file, of the same size"] {
            let place = format!("{platform}: {edited}");
            let env = TestEnv::new().await;
            env.sandbox.fault(Fault::always(endpoint, Act::LoseRequest));
            let id = env.post(platform, old()).await;
            assert_eq!(env.pass(0).await["posts"][0]["category"], "network", "{place}");
            env.sandbox.world().faults.clear();
            let (text, bytes) = match edited {
                "its text" => {
                    change(&env, &id, doc! { "title": "Other words", "caption": "Other words" }).await;
                    ("Other words", video(100_000, 1))
                }
                "its file" => {
                    env.file("a.mp4", &video(120_000, 9));
                    ("A ", video(120_000, 9))
                }
                _ => {
                    render_again(&env);
                    ("A ", video(100_000, 9))
                }
            };
            assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{place}");
            let published = env.sandbox.published();
            assert_eq!(published.len(), 1, "{place}");
            assert!(published[0].text.contains(text), "{place}: {}", published[0].text);
            assert_eq!(published[0].sha256, sha256(&bytes), "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reel_that_is_edited_while_instagram_processes_it_goes_out_in_its_new_words() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_WAIT", "50ms");
    env.sandbox.world().knobs.instagram_looks = u32::MAX;
    let id = env.post("instagram", old()).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
    change(&env, &id, doc! { "caption": "Other words" }).await;
    env.set("POST_RETRY_WAIT", "2s");
    env.sandbox.world().knobs.instagram_looks = 0;
    env.sandbox.world().release();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let published = env.sandbox.published();
    assert_eq!(published.len(), 1);
    assert!(published[0].text.contains("Other words"), "{}", published[0].text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_is_public_already_makes_no_second_post() {
    for (kind, endpoint) in [
        ("tiktok", "tiktok.chunk"),
        ("instagram", "instagram.publish"),
        ("instagram image", "instagram.publish"),
        ("youtube", "youtube.chunk"),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::once(endpoint, Act::HoldAnswer));
        let (platform, fields) = post_of(kind);
        let id = env.post(platform, fields).await;
        let mut process = env.command(&["run"]).spawn().unwrap();
        until(async || env.sandbox.world().held > 0).await;
        process.kill().await.unwrap();
        let words = doc! { "title": "Other words", "caption": "Other words", "retryClaim.until": hours_ago(1) };
        change(&env, &id, words).await;
        env.file("a.mp4", &video(120_000, 9));
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{kind}");
        assert_eq!(env.sandbox.published().len(), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_says_published_before_its_bytes_are_there_is_not_believed() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.instagram_says_published = true;
    env.sandbox.fault(Fault::once("instagram.upload", Act::Cut { after: 40_000 }));
    let id = env.post("instagram", old()).await;
    let post = settled(&env, &id).await;
    assert_eq!(post.get_str("status").ok(), Some("posted"), "{post}");
    let published = env.sandbox.published();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].sha256, sha256(&video(100_000, 1)));
    assert_eq!(env.sandbox.calls("instagram.publish"), 1);
}

/// Instagram finds the match after the publish call, whose result is lost, and reports late that the reel is public.
#[tokio::test(flavor = "multi_thread")]
async fn a_copyright_match_that_is_found_after_the_publish_call_does_not_hide_that_the_reel_is_public() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.instagram_lag = 2;
    env.sandbox.fault(Fault::once("instagram.publish", Act::HoldAnswer));
    let id = env.post("instagram", old()).await;
    let mut process = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.world().held > 0).await;
    process.kill().await.unwrap();
    env.sandbox.world().knobs.instagram_copyright = true;
    change(&env, &id, doc! { "retryClaim.until": hours_ago(1) }).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!((env.sandbox.published().len(), env.sandbox.calls("instagram.publish")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_whose_stream_was_refused_was_not_sent_and_is_sent_again() {
    let mut env = TestEnv::new().await;
    Wire::Multiplexed.lay(&mut env).await;
    env.sandbox.fault(Fault::always("tiktok.photo_init", Act::RefuseStream));
    let id = env.post("tiktok", photo()).await;
    let output = env.pass(0).await;
    assert_eq!(output["posts"][0]["category"], "network", "{output}");
    assert!(is_cleared(&env.get(&id).await, "publishTicket"), "nothing came of it");
    env.sandbox.world().faults.clear();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_for_a_part_that_is_not_the_last_is_no_publication() {
    let video_resource =
        json!({ "kind": "youtube#video", "id": "yt-of-nobody", "status": { "uploadStatus": "uploaded" } });
    let lie = |status, body: String| Act::Lie { status, body, headers: BTreeMap::new() };
    for (platform, endpoint, act) in [
        ("youtube", "youtube.chunk", Act::json(200, &video_resource)),
        ("youtube", "youtube.chunk", lie(201, video_resource.to_string())),
        ("tiktok", "tiktok.chunk", Act::json(201, &Value::Null)),
        ("tiktok", "tiktok.chunk", lie(201, String::new())),
    ] {
        let place = format!("{endpoint}: {act:?}");
        let env = TestEnv::new().await;
        let bytes = video(70_000_000, 4);
        env.file("large.mp4", &bytes);
        env.sandbox.fault(Fault::once(endpoint, act));
        let mut fields = old();
        fields.insert("videoPath", "large.mp4");
        let id = env.post(platform, fields).await;
        let post = settled(&env, &id).await;
        assert_eq!(post.get_str("status").ok(), Some("posted"), "{place}: {post}");
        let published = env.sandbox.published();
        assert_eq!(published.len(), 1, "{place}");
        assert_eq!(published[0].sha256, sha256(&bytes), "{place}");
        assert_ne!(post.get_str("youtubeVideoId").ok(), Some("yt-of-nobody"), "{place}: {post}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_a_gateway_answered_for_is_not_sent_twice() {
    let empty = |status| Act::Lie { status, body: String::new(), headers: BTreeMap::new() };
    for (act, published) in [
        (Act::html(401), 0),
        (Act::html_after(401), 1),
        (Act::json(401, &Value::Null), 0),
        (empty(401), 1),
        (empty(403), 1),
        (Act::html_after(404), 1),
    ] {
        let place = format!("{act:?}");
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::once("tiktok.photo_init", act));
        let id = env.post("tiktok", photo()).await;
        assert_eq!(env.pass(3).await["posts"][0]["category"], "ambiguous", "{place}");
        env.pass(0).await;
        assert_eq!(env.get(&id).await.get_str("status").ok(), Some("failed"), "{place}");
        assert_eq!(env.sandbox.calls("tiktok.photo_init"), 1, "{place}");
        assert_eq!(env.sandbox.published().len(), published, "{place}");
    }
    // TikTok's own code says that nothing was done.
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once("tiktok.photo_init", Act::tiktok(401, "access_token_invalid")));
    env.post("tiktok", photo()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_becomes_ambiguous_while_a_selection_is_reset_stays_parked() {
    let mut env = TestEnv::new().await;
    let paused = PausedCommand::before(&mut env, b"resetBy").await;
    let ticket = doc! { "platform": "tiktok", "madeAt": hours_ago(1), "payload": { "publishId": "v" } };
    let fields = doc! {
        "retryCount": 5, "permanentlyFailed": true, "failureCategory": "network", "publishTicket": ticket,
        "lastRetriedAt": hours_ago(3),
    };
    let id = env.post("tiktok", fields).await;
    let process = env.command(&["reset", "--permanent", "--yes"]).spawn().unwrap();
    paused.reached().await;
    change(&env, &id, doc! { "failureCategory": "ambiguous", "lastRetriedAt": date(now()) }).await;
    paused.go_on();
    let output = process.wait_with_output().await.unwrap();
    assert_ne!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let post = env.get(&id).await;
    assert!(post.get_document("publishTicket").is_ok(), "{post}");
    assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(true), "{post}");
    assert_eq!(post.get_i32("retryCount").ok(), Some(5), "{post}");
    assert_eq!(post.get_str("failureCategory").ok(), Some("ambiguous"), "{post}");
}

// Nothing stuck, nothing endless.

#[tokio::test(flavor = "multi_thread")]
async fn a_tiktok_upload_that_the_account_may_not_see_is_parked_and_the_others_go_out() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "1");
    env.set("POST_RETRY_WAIT", "50ms");
    env.sandbox.world().knobs.tiktok_looks = u32::MAX;
    let stuck = env.post("tiktok", doc! { "failedAt": hours_ago(600), "caption": "The stuck one." }).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
    env.set("POST_RETRY_WAIT", "2s");
    env.sandbox.world().knobs.tiktok_looks = 0;
    env.sandbox.world().release();
    let act = Act::tiktok(400, "token_not_authorized_for_specified_publish_id");
    env.sandbox.fault(Fault::always("tiktok.status", act).about("The stuck one."));
    let younger = env.post("tiktok", old()).await;

    for _ in 0..3 {
        ended(&env, &["run"]).await;
    }
    assert_eq!(env.get(&younger).await.get_str("status").ok(), Some("posted"));
    let post = env.get(&stuck).await;
    assert_eq!(post.get_str("failureCategory").ok(), Some("ambiguous"), "{post}");
    assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(true), "{post}");
    assert!(post.get_str("error").unwrap().contains("--drop-ticket"), "{post}");

    // A person who has checked has it sent anew.
    env.sandbox.world().faults.clear();
    env.run(&["reset", "--drop-ticket", &stuck]).await.expect(2);
    assert!(env.get(&stuck).await.get_document("publishTicket").is_ok());
    env.run(&["reset", "--drop-ticket", "--yes", &stuck]).await.expect(0);
    assert!(is_cleared(&env.get(&stuck).await, "publishTicket"));
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instagram_container_that_the_account_may_not_see_is_replaced_and_the_others_go_out() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "1");
    env.set("POST_RETRY_WAIT", "50ms");
    env.sandbox.world().knobs.instagram_looks = u32::MAX;
    let stuck = env.post("instagram", doc! { "failedAt": hours_ago(600) }).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
    let container = {
        let world = env.sandbox.world();
        let request = world.requests.iter().rfind(|request| request.endpoint == "instagram.container").unwrap();
        request.line.split(['/', '?']).find(|part| part.starts_with("1789")).unwrap().to_owned()
    };
    env.set("POST_RETRY_WAIT", "2s");
    env.sandbox.world().knobs.instagram_looks = 0;
    env.sandbox.world().release();
    env.sandbox.fault(Fault::always("instagram.container", Act::graph(400, 100, Some(33))).about(&container));
    let younger = env.post("instagram", old()).await;
    for _ in 0..3 {
        ended(&env, &["run"]).await;
    }
    for id in [&younger, &stuck] {
        let post = env.get(id).await;
        assert_eq!(post.get_str("status").ok(), Some("posted"), "{post}");
    }
    assert_eq!(env.sandbox.published().len(), 2);
    assert_eq!(env.sandbox.calls("instagram.create"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_instagram_container_that_is_hidden_for_a_while_is_found_again_and_else_replaced() {
    for (hidden_passes, containers) in [(1, 1), (2, 2)] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always("instagram.container", Act::graph(400, 100, Some(33))));
        env.post("instagram", old()).await;
        for _ in 0..hidden_passes {
            assert_eq!(env.pass(0).await["posts"][0]["category"], "unknown", "{hidden_passes}");
        }
        env.sandbox.world().faults.clear();
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{hidden_passes}");
        assert_eq!(env.sandbox.published().len(), 1, "{hidden_passes}");
        let calls = (env.sandbox.calls("instagram.create"), env.sandbox.calls("instagram.upload"));
        assert_eq!(calls, (containers, containers), "{hidden_passes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_instagram_container_is_created_for_an_account_that_has_to_wait() {
    for (code, subcode, category, exit_code) in [
        (4, None, "rate_limited", 0),
        (9, Some(2_207_042), "quota_exhausted", 0),
        (25, Some(2_207_050), "account_restricted", 3),
        (368, None, "account_restricted", 3),
        (190, Some(463), "auth", 3),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always("instagram.limit", Act::graph(400, code, subcode)));
        let id = env.post("instagram", Document::new()).await;
        assert_eq!(env.pass(exit_code).await["posts"][0]["category"], category, "code {code}");
        assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(0), "code {code}");
        assert_eq!(env.sandbox.calls("instagram.create"), 0, "code {code}");
    }
    for act in [Act::graph(500, 2, None), Act::graph(400, 100, None), Act::html(404), Act::LoseRequest] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always("instagram.limit", act.clone()));
        env.post("instagram", Document::new()).await;
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{act:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_reels_bytes_stands_where_the_container_says_nothing_of_them() {
    let debug = |kind: &str, retriable: bool| {
        let info = json!({ "retriable": retriable, "type": kind, "message": "refused" });
        json!({ "debug_info": info })
    };
    let silent = || Act::json(200, &json!({ "id": "1", "status_code": "IN_PROGRESS" }));
    for (act, category, exit_code) in [
        (Act::json(500, &debug("ProcessingFailedError", true)), "platform_outage", 0),
        (Act::LoseRequest, "network", 0),
        (Act::json(400, &debug("NotAuthorizedError", false)), "auth", 3),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always("instagram.upload", act));
        env.sandbox.fault(Fault::always("instagram.container", silent()));
        env.post("instagram", old()).await;
        let output = env.pass(exit_code).await;
        assert_eq!(output["posts"][0]["category"], category, "{output}");
        if category == "auth" {
            continue;
        }
        // The next attempt hears nothing of the bytes either, and sends them.
        env.sandbox.world().faults.clear();
        env.sandbox.fault(Fault::once("instagram.container", silent()));
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{category}");
        let published = env.sandbox.published();
        assert_eq!((published.len(), published[0].sha256.clone()), (1, sha256(&video(100_000, 1))), "{category}");
        assert_eq!(env.sandbox.calls("instagram.create"), 1, "{category}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reel_that_instagram_was_processing_is_not_sent_again_though_nothing_is_told_of_its_bytes() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_WAIT", "50ms");
    env.sandbox.world().knobs.instagram_reads_less = true;
    env.sandbox.world().knobs.instagram_looks = u32::MAX;
    env.post("instagram", old()).await;
    for _ in 0..2 {
        assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
    }
    env.sandbox.world().knobs.instagram_looks = 0;
    env.sandbox.world().release();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!((env.sandbox.calls("instagram.create"), env.sandbox.calls("instagram.upload")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_resumed_where_it_stood_though_the_copyright_check_may_not_be_read() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once("instagram.upload", Act::Cut { after: 40_000 }));
    env.sandbox.fault(Fault::once("instagram.container", Act::graph(400, 100, None)));
    env.post("instagram", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.published()[0].sha256, sha256(&video(100_000, 1)));
    assert_eq!(env.sandbox.calls("instagram.upload"), 2);
}

/// Five pages of the account's posts are read. Of one that may be on another, only the address is not known.
#[tokio::test(flavor = "multi_thread")]
async fn a_reel_on_a_later_page_of_the_accounts_posts_is_found() {
    for (others, pages, is_found) in [(1, 2, true), (4, 5, true), (5, 5, false)] {
        let env = TestEnv::new().await;
        env.sandbox.world().knobs.instagram_page = 1;
        for _ in 0..others {
            env.post("instagram", Document::new()).await;
        }
        assert_eq!(env.pass(0).await["totals"]["posted"], others);
        env.sandbox.fault(Fault::once("instagram.publish", Act::LoseAnswer));
        let id = env.post("instagram", old()).await;
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{others}");
        let post = env.get(&id).await;
        assert_eq!(post.get_str("instagramMediaId").is_ok(), is_found, "{others}: {post}");
        assert_eq!(env.sandbox.calls("instagram.list"), pages, "{others}");
        assert_eq!(env.sandbox.published().len(), others + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_offset_goes_up_and_down_comes_to_an_end() {
    for (platform, endpoint) in
        [("tiktok", "tiktok.chunk"), ("instagram", "instagram.upload"), ("youtube", "youtube.chunk")]
    {
        let env = TestEnv::new().await;
        let bytes = video(70_000_000, 4);
        env.file("large.mp4", &bytes);
        env.sandbox.world().knobs.uploads_swing = true;
        let mut fields = old();
        fields.insert("videoPath", "large.mp4");
        let id = env.post(platform, fields).await;
        let ran = ended(&env, &["run", "--max-duration", "30s", "--format", "json"]).await.expect(0);
        assert_eq!(ran.json()["posts"][0]["outcome"], "failed", "{platform}: {ran:?}");
        assert!(env.sandbox.calls(endpoint) <= 40, "{platform}: {} parts", env.sandbox.calls(endpoint));
        assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(1), "{platform}");
        env.sandbox.world().knobs.uploads_swing = false;
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{platform}");
        let published = env.sandbox.published();
        assert_eq!(published.len(), 1, "{platform}");
        assert_eq!(published[0].sha256, sha256(&bytes), "{platform}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_a_byte_is_taken_at_a_time_comes_to_an_end() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.youtube_sessions_crawl = true;
    let id = env.post("youtube", old()).await;
    let ran = ended(&env, &["run", "--max-duration", "30s", "--format", "json"]).await.expect(0);
    assert_eq!(ran.json()["posts"][0]["category"], "network", "{ran:?}");
    assert_eq!(env.sandbox.calls("youtube.chunk"), 4, "no more than after four failures in a row");
    assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(1));
    env.sandbox.world().knobs.youtube_sessions_crawl = false;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let published = env.sandbox.published();
    assert_eq!((published.len(), published[0].sha256.clone()), (1, sha256(&video(100_000, 1))));
    assert_eq!(env.sandbox.calls("youtube.session"), 1, "the upload goes on where it stood");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_lasts_until_next_year_keeps_nobody_out() {
    let env = TestEnv::new().await;
    let claim = || doc! { "by": "another:1:x", "until": date(now() + TimeDelta::days(365)) };
    let first = env.post("tiktok", doc! { "retryClaim": claim() }).await;
    let second = env.post("tiktok", doc! { "retryClaim": claim() }).await;
    let third = env.post("tiktok", doc! { "retryClaim": claim(), "retryCount": 3 }).await;
    env.run(&["reset", &third]).await.expect(0);
    assert_eq!(env.get(&third).await.get_i32("retryCount").ok(), Some(0));
    env.run(&["retry", &second]).await.expect(0);
    assert_eq!(env.get(&second).await.get_str("status").ok(), Some("posted"));
    env.pass(0).await;
    assert_eq!(env.get(&first).await.get_str("status").ok(), Some("posted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lock_that_lasts_until_next_year_keeps_nobody_out() {
    let env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    env.post("youtube", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 2);
    for platform in ["tiktok", "youtube"] {
        env.sandbox.world().revoke_access(platform);
    }
    let lock = doc! { "refresh": { "by": "another:1:x", "until": date(now() + TimeDelta::days(365)) } };
    let tokens = env.database.collection::<Document>("postretry_tokens");
    assert_eq!(tokens.update_many(doc! {}, doc! { "$set": lock }).await.unwrap().matched_count, 2);
    env.post("tiktok", Document::new()).await;
    env.post("youtube", Document::new()).await;
    let ran = ended(&env, &["run", "--format", "json"]).await.expect(0);
    assert_eq!(ran.json()["totals"]["posted"], 2, "{ran:?}");
}

// Right verdicts.

#[tokio::test(flavor = "multi_thread")]
async fn a_reel_that_rupload_refused_and_took_is_published() {
    let env = TestEnv::new().await;
    let refusal = json!({ "debug_info": {
        "retriable": false, "type": "ProcessingFailedError", "message": "Request processing failed",
    } });
    let lie = Act::Lie { status: 400, body: refusal.to_string(), headers: BTreeMap::new() };
    env.sandbox.fault(Fault::once("instagram.upload", lie));
    env.post("instagram", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.published().len(), 1);
    assert_eq!((env.sandbox.calls("instagram.create"), env.sandbox.calls("instagram.upload")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_which_only_the_status_may_be_read_is_published() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.instagram_reads_less = true;
    env.post("instagram", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.calls("instagram.create"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_finished_and_not_ready_costs_no_retry() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once("instagram.publish", Act::graph(400, 9007, Some(2_207_027))));
    let id = env.post("instagram", old()).await;
    env.pass(0).await;
    let post = env.get(&id).await;
    assert_eq!(post.get_i32("retryCount").ok(), Some(0), "{post}");
    let post = settled(&env, &id).await;
    assert_eq!(post.get_str("status").ok(), Some("posted"), "{post}");
    assert_eq!((env.sandbox.published().len(), env.sandbox.calls("instagram.create")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn instagram_is_asked_late_and_then_ever_later() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_POLL", "200ms");
    env.set("POST_RETRY_WAIT", "30s");
    env.sandbox.world().knobs.instagram_looks = 2;
    env.post("instagram", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let world = env.sandbox.world();
    let times = |endpoint: &str| -> Vec<_> {
        world.requests.iter().filter(|request| request.endpoint == endpoint).map(|request| request.at).collect()
    };
    let (sent, asked) = (times("instagram.upload")[0], times("instagram.container"));
    assert!(asked[0] - sent >= TimeDelta::milliseconds(950), "five times the poll: {sent} {asked:?}");
    assert!(asked[1] - asked[0] >= TimeDelta::milliseconds(1900), "and double: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instagram_is_asked_late_after_an_upload_that_a_later_attempt_has_completed() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_POLL", "200ms");
    env.set("POST_RETRY_WAIT", "30s");
    env.sandbox.fault(Fault::always("instagram.upload", Act::LoseRequest));
    env.post("instagram", old()).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "network");
    env.sandbox.world().faults.clear();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let world = env.sandbox.world();
    let sent = world.requests.iter().rposition(|request| request.endpoint == "instagram.upload").unwrap();
    let asked = world.requests[sent..].iter().find(|request| request.endpoint == "instagram.container").unwrap();
    let wait = asked.at - world.requests[sent].at;
    assert!(wait >= TimeDelta::milliseconds(950), "five times the poll: {wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_wait_when_instagrams_budget_is_nearly_used_up() {
    for usage in [(96, 0), (0, 97)] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_CONCURRENCY", "1");
        env.sandbox.world().knobs.instagram_usage = usage;
        for _ in 0..3 {
            env.post("instagram", Document::new()).await;
        }
        let output = env.pass(0).await;
        assert_eq!(output["totals"]["skipped"], 2, "{usage:?}: {output}");
        assert_eq!(env.posts.count_documents(doc! { "retryHistory": { "$exists": false } }).await.unwrap(), 2);
        let told = env.run(&["run"]).await.expect(0).stdout;
        assert!(told.contains("instagram"), "{usage:?}: {told}");
        env.sandbox.world().knobs.instagram_usage = (40, 94);
        env.pass(0).await;
        assert_eq!(env.posts.count_documents(doc! { "status": "posted" }).await.unwrap(), 3, "{usage:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instagram_gets_five_hashtags_at_most() {
    let env = TestEnv::new().await;
    let tags = ["a", "b", "c", "d", "e", "f", "g", "h"];
    env.post("instagram", doc! { "caption": "Spring #one", "hashtags": { "instagram": tags.to_vec() } }).await;
    // What a text itself has is sent as it is.
    let own = "#1a #2a #3a #4a #5a #6a #7a";
    env.post("instagram", doc! { "caption": own, "hashtags": { "instagram": tags.to_vec() } }).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 2);
    let mut texts: Vec<String> = env.sandbox.published().into_iter().map(|post| post.text).collect();
    texts.sort();
    assert_eq!(texts[0], own);
    assert_eq!(texts[1].matches('#').count(), 5, "{}", texts[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_turn_is_posted_or_unchanged_when_the_time_of_the_pass_is_over() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_GAP", "10ms");
    env.set("POST_RETRY_CONCURRENCY", "1");
    env.sandbox.world().knobs.tiktok_window_ms = 60_000;
    for _ in 0..10 {
        env.post("tiktok", Document::new()).await;
    }
    let ran = ended(&env, &["run", "--max-duration", "10s", "--format", "json"]).await.expect(0);
    let totals = ran.json()["totals"].clone();
    let posted = totals["posted"].as_u64().unwrap();
    // The seventh may have asked for the creator already when its turn to start does not come.
    assert!((6..=7).contains(&posted), "{totals}");
    assert_eq!(env.sandbox.world().throttled, 0);
    let unchanged = doc! {
        "retryHistory": { "$exists": false }, "retryClaim": { "$exists": false }, "retryCount": 0, "status": "failed",
    };
    assert_eq!(env.posts.count_documents(unchanged).await.unwrap(), 10 - posted, "{totals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_tiktok_has_already_is_not_sent_again() {
    let env = TestEnv::new().await;
    let bytes = video(70_000_000, 4);
    env.file("large.mp4", &bytes);
    // It took the second chunk, and says so.
    let progress = [("content-range".to_owned(), "bytes 0-20000000/70000000".to_owned())];
    let lie = Act::Lie { status: 416, body: String::new(), headers: progress.into() };
    env.sandbox.fault(Fault::once("tiktok.chunk", lie).after(1));
    env.post("tiktok", doc! { "videoPath": "large.mp4" }).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.calls("tiktok.chunk"), 7);
    assert_eq!(env.sandbox.published()[0].sha256, sha256(&bytes));
}

/// Not even one second of waiting is left, or the platform wants to be left alone for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_public_although_the_answer_to_its_last_chunk_was_lost_is_recorded_at_once() {
    let headers: BTreeMap<String, String> = [("retry-after".to_owned(), "7200".to_owned())].into();
    for (platform, endpoint) in [("tiktok", "tiktok.chunk"), ("youtube", "youtube.chunk")] {
        for (wait, act) in
            [("0s", Act::LoseAnswer), ("2s", Act::Lie { status: 503, body: String::new(), headers: headers.clone() })]
        {
            let mut env = TestEnv::new().await;
            env.set("POST_RETRY_WAIT", wait);
            env.sandbox.world().knobs.tiktok_looks = 0;
            env.sandbox.world().knobs.youtube_looks = 0;
            env.sandbox.fault(Fault::once(endpoint, act));
            let id = env.post(platform, Document::new()).await;
            let output = env.pass(0).await;
            assert_eq!(output["totals"]["posted"], 1, "{platform}, {wait}: {output}");
            assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"), "{platform}, {wait}");
            assert_eq!(env.sandbox.calls(endpoint), 1, "{platform}, {wait}");
            assert_eq!(env.sandbox.published().len(), 1, "{platform}, {wait}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_tiktok_tells_no_count_goes_on() {
    let env = TestEnv::new().await;
    let bytes = video(70_000_000, 4);
    env.file("large.mp4", &bytes);
    let mut fields = old();
    fields.insert("videoPath", "large.mp4");
    env.post("tiktok", fields).await;
    env.sandbox.fault(Fault::always("tiktok.chunk", Act::LoseRequest).after(1));
    assert_eq!(env.pass(0).await["posts"][0]["category"], "network");
    env.sandbox.world().faults.clear();

    let uncounted = json!({ "data": { "status": "PROCESSING_UPLOAD" }, "error": { "code": "ok" } });
    env.sandbox.fault(Fault::always("tiktok.status", Act::json(200, &uncounted)));
    let output = env.pass(0).await;
    assert_eq!(output["posts"][0]["category"], "processing", "{output}");
    assert_eq!(env.sandbox.published().len(), 1, "the rest was sent");
    env.sandbox.world().faults.clear();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let published = env.sandbox.published();
    assert_eq!((published.len(), published[0].sha256.clone()), (1, sha256(&bytes)));
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 1);
}

/// Some servers give a content type to a response without a body.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_response_to_a_chunk_is_tiktoks_own_whatever_its_content_type() {
    let headers: BTreeMap<String, String> = [("content-type".to_owned(), "text/html; charset=utf-8".to_owned())].into();
    let env = TestEnv::new().await;
    env.file("large.mp4", &video(70_000_000, 4));
    let taken = Act::Lie { status: 206, body: String::new(), headers: headers.clone() };
    env.sandbox.fault(Fault { times: 6, ..Fault::once("tiktok.chunk", taken) });
    env.post("tiktok", doc! { "videoPath": "large.mp4" }).await;
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 1, "{output}");
    assert_eq!(env.sandbox.calls("tiktok.chunk"), 7);

    for (status, category, exit) in [(400, "media_processing", 3), (403, "network", 0), (404, "network", 0)] {
        let env = TestEnv::new().await;
        let refused = Act::Answer { status, body: String::new(), headers: headers.clone() };
        env.sandbox.fault(Fault::always("tiktok.chunk", refused));
        env.post("tiktok", Document::new()).await;
        let output = env.pass(exit).await;
        assert_eq!(output["posts"][0]["category"], category, "{status}: {output}");
        let inits = if status == 400 { 1 } else { 2 };
        assert_eq!(env.sandbox.calls("tiktok.video_init"), inits, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_down_and_says_for_how_long_is_left_alone_until_then() {
    for (kind, endpoint) in [
        ("tiktok", "tiktok.video_init"),
        ("tiktok", "tiktok.chunk"),
        ("tiktok", "tiktok.status"),
        ("tiktok photo", "tiktok.status"),
        ("instagram", "instagram.create"),
        ("instagram", "instagram.upload"),
        ("instagram", "instagram.container"),
        ("youtube", "youtube.session"),
        ("youtube", "youtube.chunk"),
        ("youtube", "youtube.videos"),
    ] {
        let env = TestEnv::new().await;
        let headers = [("retry-after".to_owned(), "7200".to_owned())].into();
        env.sandbox.fault(Fault::always(endpoint, Act::Answer { status: 503, body: String::new(), headers }));
        let (platform, fields) = post_of(kind);
        let id = env.post(platform, fields).await;
        let output = env.pass(0).await;
        assert_eq!(output["posts"][0]["category"], "platform_outage", "{endpoint}: {output}");
        assert_eq!(env.sandbox.calls(endpoint), 1, "{endpoint}");
        let post = env.get(&id).await;
        assert_eq!(post.get_i32("retryCount").ok(), Some(1), "{endpoint}: {post}");
        let wait = date_of(&post, "retryNotBefore") - now();
        assert!((TimeDelta::seconds(7100)..=TimeDelta::seconds(7200)).contains(&wait), "{endpoint}: {wait}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_upload_that_failed_for_the_account_is_not_made_anew() {
    for (reason, category) in [
        ("spam_risk_user_banned_from_posting", "account_restricted"),
        ("auth_removed", "auth"),
        ("spam_risk_too_many_posts", "quota_exhausted"),
    ] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "50ms");
        env.sandbox.world().knobs.tiktok_looks = u32::MAX;
        let id = env.post("tiktok", old()).await;
        assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
        env.sandbox.world().knobs.tiktok_looks = 0;
        env.sandbox.world().release();
        env.sandbox.world().knobs.tiktok_fail_reason = Some(reason.to_owned());
        let output = env.pass(if category == "quota_exhausted" { 0 } else { 3 }).await;
        assert_eq!(output["posts"][0]["category"], category, "{output}");
        assert_eq!(env.sandbox.calls("tiktok.video_init"), 1, "{reason}");
        let post = env.get(&id).await;
        assert_eq!(post.get_i32("retryCount").ok(), Some(0), "{post}");
        assert!(is_cleared(&post, "publishTicket"), "{post}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_what_the_platforms_support_asks_for() {
    let refusal = json!({ "error": {
        "message": "Une erreur", "type": "OAuthException", "code": 36003, "error_subcode": 2_207_009,
        "error_user_title": "Le titre", "error_user_msg": "The ratio of the picture is wrong.", "fbtrace_id": "TrAcE-1",
    } });
    for (platform, endpoint, act, told) in [
        ("instagram", "instagram.create", Act::json(400, &refusal), "The ratio of the picture is wrong."),
        ("instagram", "instagram.create", Act::json(400, &refusal), "TrAcE-1"),
        ("tiktok", "tiktok.video_init", Act::tiktok(403, "spam_risk_text"), "20261123"),
        ("tiktok", "tiktok.creator_info", Act::tiktok(500, "internal_error"), "20261123"),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always(endpoint, act));
        let id = env.post(platform, Document::new()).await;
        env.run(&["run"]).await;
        let post = env.get(&id).await;
        assert!(post.get_str("error").unwrap().contains(told), "{told}: {post}");
        let shown = env.run(&["list-failed", &id, "--format", "json"]).await.expect(0).json();
        assert!(shown["post"]["error"].as_str().unwrap().contains(told), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_begins_with_its_cause_on_every_platform() {
    let too_long = json!({ "error": {
        "message": "Invalid parameter", "type": "OAuthException", "code": 36004, "error_subcode": 2_207_010,
        "error_user_msg": "La légende est trop longue.", "fbtrace_id": "AbC",
    } });
    for (platform, endpoint, act, error) in [
        (
            "tiktok",
            "tiktok.video_init",
            Act::tiktok(403, "spam_risk_text"),
            "TikTok: the caption is considered risky; change it (`spam_risk_text`, HTTP 403, “said by a fault”, when \
             asked to accept the video, log_id 20261123)",
        ),
        (
            "instagram",
            "instagram.create",
            Act::json(400, &too_long),
            "Instagram: the caption is too long; shorten it (code 36004/2207010, HTTP 400, “La légende est trop \
             longue.”, when asked to create a container for the post, fbtrace_id AbC)",
        ),
        (
            "youtube",
            "youtube.session",
            Act::youtube(403, "quotaExceeded", "Quota exceeded."),
            "YouTube: the project's daily quota is used up (`quotaExceeded`, HTTP 403, “Quota exceeded.”, when asked \
             to open an upload session)",
        ),
        (
            "youtube",
            "youtube.session",
            Act::html(502),
            "YouTube: temporarily unavailable (HTTP 502, when asked to open an upload session)",
        ),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::always(endpoint, act));
        let id = env.post(platform, Document::new()).await;
        env.run(&["run"]).await;
        assert_eq!(env.get(&id).await.get_str("error").ok(), Some(error));
    }

    let mut env = TestEnv::new().await;
    env.set("TIKTOK_API_URL", "http://127.0.0.1:1");
    let id = env.post("tiktok", Document::new()).await;
    env.run(&["run"]).await.expect(0);
    let error = "TikTok: connection refused; 127.0.0.1 cannot be reached (when asked to refresh the access token)";
    assert_eq!(env.get(&id).await.get_str("error").ok(), Some(error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_made_by_ai_is_labelled_so() {
    let env = TestEnv::new().await;
    for (kind, endpoint, place) in [
        ("tiktok", "tiktok.video_init", "/post_info/is_aigc"),
        ("tiktok photo", "tiktok.photo_init", "/is_aigc"),
        ("instagram", "instagram.create", "/is_ai_generated"),
        ("instagram image", "instagram.create", "/is_ai_generated"),
        ("youtube", "youtube.session", "/status/containsSyntheticMedia"),
    ] {
        for is_ai_generated in [true, false] {
            let (platform, mut fields) = post_of(kind);
            fields.insert("isAiGenerated", is_ai_generated);
            let id = env.post(platform, fields).await;
            env.run(&["retry", &id]).await.expect(0);
            let body = body_of(&env, endpoint);
            let label = body.pointer(place).is_some_and(|label| *label == json!(true) || *label == json!("true"));
            assert_eq!(label, is_ai_generated, "{kind}: {body}");
        }
    }

    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    let row = doc! {
        "id": "p1", "title": "A title", "platform": "tiktok", "status": "failed", "failedAt": hours_ago(2),
        "videoPath": "a.mp4", "isAiGenerated": true,
    };
    insert_row(&path, &row);
    env.run(&["run"]).await.expect(0);
    assert_eq!(body_of(&env, "tiktok.video_init")["post_info"]["is_aigc"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_a_wrong_type_is_reported_and_left_as_it_is() {
    for claim in [Bson::String("me".into()), Bson::Int32(7)] {
        let env = TestEnv::new().await;
        let id = env.post("tiktok", doc! { "retryClaim": claim }).await;
        let before = env.get(&id).await;
        let output = env.pass(0).await;
        assert_eq!(output["malformed"][0]["field"], "retryClaim", "{output}");
        assert_eq!(env.get(&id).await, before);
        assert_eq!(env.sandbox.published().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_becomes_malformed_as_it_is_claimed_gets_its_claim_back() {
    let mut env = TestEnv::new().await;
    let paused = PausedCommand::before(&mut env, b"findAndModify").await;
    let id = env.post("tiktok", Document::new()).await;
    let process = env.command(&["run"]).spawn().unwrap();
    paused.reached().await;
    change(&env, &id, doc! { "title": 42 }).await;
    paused.go_on();
    let output = process.wait_with_output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains(&id) && stderr.contains("title"), "{stderr}");
    let post = env.get(&id).await;
    assert!(!post.contains_key("retryClaim"), "{post}");
    assert_eq!(post.get_i32("retryCount").ok(), Some(0), "{post}");
    assert_eq!(env.sandbox.published().len(), 0);
    change(&env, &id, doc! { "title": "A title" }).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
}

// Secrets.

/// Every text of every platform, with these words in it.
fn texts_with(words: &str) -> Vec<(&'static str, &'static str, Act)> {
    let tiktok = |status: u16, code: &str| {
        let error = json!({ "code": code, "message": words, "log_id": words });
        Act::json(status, &json!({ "data": {}, "error": error }))
    };
    let tiktok_data =
        |data: Value| Act::json(200, &json!({ "data": data, "error": { "code": "ok", "log_id": words } }));
    let flat = |status| Act::json(status, &json!({ "error": "invalid_grant", "error_description": words }));
    let graph = |code: i64, subcode: i64| {
        let error = json!({
            "message": words, "type": words, "code": code, "error_subcode": subcode, "error_user_title": words,
            "error_user_msg": words, "fbtrace_id": words,
        });
        Act::json(400, &json!({ "error": error }))
    };
    let youtube = |status: u16, reason: &str| {
        let errors = json!([{ "message": words, "domain": words, "reason": reason }]);
        Act::json(status, &json!({ "error": { "code": status, "message": words, "errors": errors } }))
    };
    let video = |status: Value| Act::json(200, &json!({ "items": [{ "id": "any", "status": status }] }));
    let page = |status| Act::Answer {
        status,
        body: format!("<html>{words}</html>"),
        headers: [("content-type".to_owned(), "text/html".to_owned())].into(),
    };
    let debug = json!({ "debug_info": { "retriable": false, "type": words, "message": words } });
    let container = json!({ "id": "1", "status_code": "ERROR", "status": format!("Error 2207026: {words}") });
    vec![
        ("tiktok", "tiktok.token", flat(200)),
        ("tiktok", "tiktok.creator_info", tiktok(200, "spam_risk_user_banned_from_posting")),
        ("tiktok", "tiktok.video_init", tiktok(403, "spam_risk_text")),
        ("tiktok", "tiktok.video_init", tiktok(500, "internal_error")),
        ("tiktok", "tiktok.video_init", tiktok(400, words)),
        ("tiktok", "tiktok.chunk", page(400)),
        ("tiktok", "tiktok.status", tiktok(400, "invalid_publish_id")),
        ("tiktok", "tiktok.status", tiktok_data(json!({ "status": "FAILED", "fail_reason": words }))),
        ("tiktok", "tiktok.status", tiktok_data(json!({ "status": words }))),
        ("tiktok photo", "tiktok.photo_init", tiktok(500, "internal_error")),
        ("tiktok photo", "tiktok.photo_init", page(403)),
        ("instagram", "instagram.limit", graph(190, 463)),
        ("instagram", "instagram.create", graph(36003, 2_207_009)),
        ("instagram", "instagram.create", graph(31_337, 0)),
        ("instagram", "instagram.upload", Act::json(400, &debug)),
        ("instagram", "instagram.container", Act::json(200, &container)),
        ("instagram", "instagram.container", graph(100, 0)),
        ("instagram", "instagram.publish", graph(4, 2_207_051)),
        ("youtube", "google.token", flat(400)),
        ("youtube", "youtube.session", youtube(400, "invalidTitle")),
        ("youtube", "youtube.session", youtube(418, words)),
        ("youtube", "youtube.chunk", youtube(403, "forbidden")),
        ("youtube", "youtube.chunk", page(502)),
        ("youtube", "youtube.videos", video(json!({ "uploadStatus": "rejected", "rejectionReason": words }))),
        ("youtube", "youtube.videos", video(json!({ "uploadStatus": "failed", "failureReason": words }))),
    ]
}

/// Lets a platform quote secrets in its answer, and reads everything that is told of it.
async fn quote_at(kind: &'static str, endpoint: &'static str, act: Act, secrets: &[String]) {
    let place = format!("{endpoint} answered {act:?}");
    let mut env = TestEnv::new().await;
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", env.sandbox.url()));
    env.set("RUST_LOG", "trace");
    env.sandbox.fault(Fault::always(endpoint, act));
    let (platform, fields) = post_of(kind);
    let id = env.post(platform, fields).await;
    let mut told = Vec::new();
    for arguments in [
        ["run", "-vv", "--max-duration", "10s"].as_slice(),
        &["run", "-vv", "--max-duration", "10s", "--format", "json"],
        &["retry", "-vv", &id],
        &["list-failed"],
        &["list-failed", &id],
        &["list-failed", "--format", "json"],
        &["list-failed", "--format", "csv"],
        &["stats", "--format", "json"],
    ] {
        let ran = ended(&env, arguments).await;
        told.extend([ran.stdout, ran.stderr]);
    }
    // In the store they stand in the tickets and the token records only.
    let mut post = env.get(&id).await;
    post.remove("publishTicket");
    told.push(post.to_string());
    let mut runs = env.database.collection::<Document>("postretry_runs").find(doc! {}).await.unwrap();
    while runs.advance().await.unwrap() {
        told.push(runs.deserialize_current().unwrap().to_string());
    }
    {
        let world = env.sandbox.world();
        let alerts = world.requests.iter().filter(|request| request.endpoint == "nowhere");
        told.extend(alerts.map(|request| request.body.to_string()));
    }
    for secret in secrets {
        let leak = told.iter().find_map(|text| text.lines().find(|line| line.contains(secret)));
        assert_eq!(leak, None, "{secret}, after {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_platform_quotes_is_redacted() {
    let env = TestEnv::new().await;
    let settings = env.sandbox.settings().into_iter();
    let secret = settings.filter(|(name, _)| name.ends_with("SECRET") || name.ends_with("TOKEN"));
    let mut secrets: Vec<String> = secret.map(|(_, value)| value).collect();
    let words = format!(
        "{} {{token}} {{uri}} https://ann:hush-1@cdn.example/x Bearer hush-2 access_token=hush-3&x=1",
        secrets.join(" ")
    );
    // The tokens that the platforms have given, the addresses of uploads, and what was planted beside them.
    secrets.extend(["-access-", "upload_token=secret", "upload_id=upload", "hush"].map(str::to_owned));
    let quoted = texts_with(&words).into_iter().map(|(kind, endpoint, act)| quote_at(kind, endpoint, act, &secrets));
    stream::iter(quoted).buffer_unordered(6).collect::<Vec<()>>().await;
}

// Addresses and names.

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_one_of_instagrams_site_is_not_stored() {
    let long = "x".repeat(500_000);
    for permalink in [
        format!("javascript:alert(1)//\u{1b}[2J access_token={{token}}{long}"),
        "javascript:alert(1)".to_owned(),
        "http://www.instagram.com/reel/x/".to_owned(),
        "https://www.instagram.com.evil.example/reel/x/".to_owned(),
        "https://www.instagram.com/reel/{token}/".to_owned(),
        format!("https://www.instagram.com/{long}"),
    ] {
        for shape in [Shape::One, Shape::Several] {
            let place = format!("{permalink:.60}, {shape:?}");
            let env = TestEnv::new().await.shaped(shape);
            let media = json!({ "id": "1", "permalink": permalink });
            env.sandbox.fault(Fault::once("instagram.permalink", Act::json(200, &media)));
            let id = env.post("instagram", Document::new()).await;
            let ran = ended(&env, &["run", "--format", "json"]).await.expect(0);
            let told = ran.json()["posts"][0].clone();
            assert_eq!((&told["outcome"], &told["url"]), (&json!("posted"), &Value::Null), "{place}");
            assert!(is_cleared(&env.get(&id).await, "instagramPermalink"), "{place}");
            let document = env.document(&id).await.to_string();
            for text in [&document, &ran.stdout, &ran.stderr] {
                let is_told = ["javascript", "http:", "evil", "xxxx", "sandbox-instagram-token"];
                assert!(is_told.iter().all(|part| !text.contains(part)), "{place}: {text:.2000}");
            }
            assert_eq!(env.sandbox.calls("instagram.permalink"), 1, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_listed_with_a_foreign_address_gets_that_of_its_id() {
    for share_url in ["javascript:alert(1)", "https://evil.example/video/7", "https://www.tiktok.com/@x/video/{token}"]
    {
        let env = TestEnv::new().await;
        env.sandbox.world().knobs.tiktok_forgets_ids = true;
        let listed = json!({
            "id": "7512345678901234999", "title": "A caption #one", "create_time": now().timestamp(),
            "share_url": share_url,
        });
        let body = json!({ "data": { "videos": [listed] }, "error": { "code": "ok" } });
        env.sandbox.fault(Fault::always("tiktok.video_list", Act::json(200, &body)));
        let id = env.post("tiktok", Document::new()).await;
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{share_url}");
        let post = env.get(&id).await;
        let own = "https://www.tiktok.com/@sandbox_creator/video/7512345678901234999";
        assert_eq!(post.get_str("tiktokShareUrl").ok(), Some(own), "{share_url}: {post}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_account_has_gets_into_no_ticket_and_no_link() {
    for name in ["x".repeat(500_000), "me\u{1b}[2J".to_owned()] {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_WAIT", "50ms");
        env.sandbox.world().knobs.tiktok_looks = u32::MAX;
        let creator = json!({ "creator_username": name, "privacy_level_options": ["PUBLIC_TO_EVERYONE"] });
        let body = json!({ "data": creator, "error": { "code": "ok" } });
        env.sandbox.fault(Fault::once("tiktok.creator_info", Act::json(200, &body)));
        let id = env.post("tiktok", old()).await;
        assert_eq!(env.pass(0).await["posts"][0]["category"], "processing");
        let ticket = env.get(&id).await.get_document("publishTicket").unwrap().clone();
        assert!(!ticket.to_string().contains("username"), "{:.2000}", ticket.to_string());
        env.sandbox.world().knobs.tiktok_looks = 0;
        env.sandbox.world().release();
        env.set("POST_RETRY_WAIT", "2s");
        assert_eq!(env.pass(0).await["totals"]["posted"], 1);
        let post = env.get(&id).await;
        assert!(is_cleared(&post, "tiktokShareUrl") && post.get_str("tiktokVideoId").is_ok(), "{post}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_an_id_that_the_application_recorded_is_redacted() {
    let mut env = TestEnv::new().await;
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", env.sandbox.url()));
    let id = env.post("tiktok", doc! { "tiktokVideoId": "sandbox-tiktok-refresh-0 access_token=planted" }).await;
    let ran = ended(&env, &["run", "--format", "json"]).await.expect(3);
    let post = env.get(&id).await;
    let (error, alert) = (post.get_str("error").unwrap(), body_of(&env, "nowhere").to_string());
    assert!(error.contains("[redacted]") && alert.contains("[redacted]"), "{error}, {alert}");
    for told in [error, &alert, &ran.stdout, &ran.stderr] {
        assert!(!told.contains("sandbox-tiktok-refresh") && !told.contains("planted"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_refused_is_shown_without_its_password() {
    for (name, value) in [
        ("TIKTOK_API_URL", "http://ann:hush-hush@api.example"),
        ("INSTAGRAM_API_URL", "ftp://ann:hush-hush@api.example"),
        ("INSTAGRAM_UPLOAD_URL", "http://ann:hush-hush@api.example"),
        ("YOUTUBE_API_URL", "http://ann:hush-hush@api.example"),
        ("GOOGLE_TOKEN_URL", "http://ann:hush-hush@api.example/token"),
        ("ASSET_PUBLIC_URL", "ftp://ann:hush-hush@cdn.example"),
        ("ALERT_WEBHOOK_URL", "http://ann:hush-hush@hooks.example"),
        ("POSTRETRY_STORE", "postgres://ann:hush-hush@db.example/app"),
        ("MONGODB_URI", "mongodb://ann:hush-hush@127.0.0.1:1/"),
        ("MAX_POST_RETRIES", "https://ann:hush-hush@api.example"),
    ] {
        let mut env = TestEnv::new().await;
        env.set(name, value);
        let ran = env.run(&["run"]).await.expect(4);
        assert!(ran.stderr.contains(name) || name == "MONGODB_URI", "{name}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hush") && !ran.stderr.contains("ann:"), "{name}: {}", ran.stderr);
    }
}

// What the simulated platforms refuse as the real ones do, and what no other test sets.

#[tokio::test(flavor = "multi_thread")]
async fn a_png_is_refused_where_only_jpeg_is_taken() {
    for platform in ["tiktok", "instagram"] {
        let env = TestEnv::new().await;
        env.file("a.png", b"\x89PNG\r\n\x1a\n picture");
        let image = doc! { "contentType": "image", "videoPath": Bson::Undefined, "imagePath": "a.png" };
        let id = env.post(platform, image).await;
        let output = env.pass(3).await;
        assert_eq!(output["posts"][0]["category"], "media_processing", "{output}");
        assert_eq!(env.get(&id).await.get_bool("permanentlyFailed").ok(), Some(true));
        assert_eq!(env.sandbox.published().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_nobody_outside_can_fetch_is_a_missing_asset() {
    for platform in ["tiktok", "instagram"] {
        let mut env = TestEnv::new().await;
        env.set("ASSET_PUBLIC_URL", "http://127.0.0.1:9/media");
        let image = doc! { "contentType": "image", "videoPath": Bson::Undefined, "imagePath": "a.jpg" };
        env.post(platform, image).await;
        let output = env.pass(0).await;
        assert_eq!(output["posts"][0]["category"], "missing_asset", "{output}");
        assert_eq!(env.sandbox.published().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_version_that_has_ended_is_named_by_its_code() {
    let mut env = TestEnv::new().await;
    env.set("INSTAGRAM_GRAPH_VERSION", "v20.0");
    let id = env.post("instagram", Document::new()).await;
    env.pass(0).await;
    let post = env.get(&id).await;
    assert!(post.get_str("error").unwrap().contains("2635"), "{post}");
    assert_eq!(post.get_i32("retryCount").ok(), Some(1), "{post}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_whose_id_tiktok_does_not_tell_is_posted_without_it() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.tiktok_tells_id = false;
    let id = env.post("tiktok", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let post = env.get(&id).await;
    assert_eq!(post.get_str("status").ok(), Some("posted"), "{post}");
    assert!(is_cleared(&post, "tiktokVideoId"), "{post}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_addresses_that_have_lapsed_are_replaced() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.tiktok_uploads_closed = true;
    env.post("tiktok", old()).await;
    let output = env.pass(0).await;
    assert_eq!(output["posts"][0]["category"], "network", "{output}");
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 2, "a new one in the same attempt, but no more");
    env.sandbox.world().knobs.tiktok_uploads_closed = false;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_youtube_token_that_may_only_upload_is_enough() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.youtube_may_read = false;
    let id = env.post("youtube", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert!(env.get(&id).await.get_str("youtubeVideoId").is_ok());
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_cannot_be_looked_up_because_of_the_account_is_not_posted_yet() {
    let revoked = || Act::json(400, &json!({ "error": "invalid_grant", "error_description": "revoked" }));
    for (faults, category) in [
        (vec![Fault::always("youtube.videos", Act::youtube(403, "channelSuspended", ""))], "account_restricted"),
        (vec![Fault::always("youtube.videos", Act::youtube(403, "accessNotConfigured", ""))], "auth"),
        (
            vec![
                Fault::once("youtube.videos", Act::youtube(401, "authError", "")),
                Fault::always("google.token", revoked()).after(1),
            ],
            "auth",
        ),
    ] {
        let env = TestEnv::new().await;
        let place = format!("{faults:?}");
        for fault in faults {
            env.sandbox.fault(fault);
        }
        let id = env.post("youtube", old()).await;
        let output = env.pass(3).await;
        assert_eq!(output["posts"][0]["category"], category, "{place}: {output}");
        let post = env.get(&id).await;
        assert_eq!(post.get_str("status").ok(), Some("failed"), "{place}: {post}");
        assert_eq!(post.get_i32("retryCount").ok(), Some(0), "{place}: {post}");
        env.sandbox.world().faults.clear();
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{place}");
        assert_eq!(env.sandbox.published().len(), 1, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_youtube_could_not_process_is_uploaded_anew_once_its_file_is_encoded_again() {
    let env = TestEnv::new().await;
    env.sandbox.world().knobs.youtube_status = Some(json!({ "uploadStatus": "failed", "failureReason": "codec" }));
    let id = env.post("youtube", old()).await;
    assert_eq!(env.pass(3).await["posts"][0]["category"], "media_processing");
    let post = env.get(&id).await;
    assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(true), "{post}");
    assert!(is_cleared(&post, "publishTicket"), "{post}");
    // No pass sends it again by itself.
    env.pass(0).await;
    assert_eq!(env.sandbox.calls("youtube.session"), 1);

    env.sandbox.world().knobs.youtube_status = None;
    render_again(&env);
    env.run(&["reset", &id]).await.expect(0);
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let published = env.sandbox.published();
    // The first is the one that failed.
    assert_eq!(published.len(), 2);
    assert_eq!(published[1].sha256, sha256(&video(100_000, 9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_something_in_between_does_not_end_a_session() {
    for status in [404, 410] {
        let env = TestEnv::new().await;
        // A search for the video would find nothing.
        env.sandbox.world().knobs.youtube_may_read = false;
        env.sandbox.fault(Fault::once("youtube.chunk", Act::LoseAnswer));
        env.sandbox.fault(Fault::once("youtube.query", Act::html(status)));
        env.post("youtube", old()).await;
        let output = env.pass(0).await;
        assert_eq!(output["posts"][0]["category"], "network", "{status}: {output}");
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{status}");
        assert_eq!((env.sandbox.calls("youtube.session"), env.sandbox.published().len()), (1, 1), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_its_session_names_is_waited_for_until_the_channel_lists_it() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_WAIT", "300ms");
    let unavailable = Act::json(503, &json!({}));
    env.sandbox.fault(Fault::once("youtube.chunk", Act::LoseAnswer));
    env.sandbox.fault(Fault::once("youtube.query", unavailable));
    env.post("youtube", old()).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "network");
    let empty = json!({ "kind": "youtube#videoListResponse", "items": [] });
    env.sandbox.fault(Fault::always("youtube.videos", Act::json(200, &empty)));
    let output = env.pass(0).await;
    assert_eq!(output["posts"][0]["category"], "processing", "{output}");
    env.sandbox.world().faults.clear();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!((env.sandbox.calls("youtube.session"), env.sandbox.published().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_account_has_ended_before_the_last_byte_is_replaced_when_the_account_is_back() {
    let env = TestEnv::new().await;
    env.file("large.mp4", &video(40_000_000, 3));
    env.sandbox.fault(Fault::once("youtube.chunk", Act::LoseRequest));
    env.sandbox.fault(Fault::once("youtube.query", Act::json(503, &json!({}))));
    let mut fields = old();
    fields.insert("videoPath", "large.mp4");
    let id = env.post("youtube", fields).await;
    assert_eq!(env.pass(0).await["posts"][0]["category"], "network");
    env.sandbox.world().faults.clear();
    env.sandbox.fault(Fault::always("youtube.query", Act::youtube(403, "channelSuspended", "")));
    let output = env.pass(3).await;
    assert_eq!(output["posts"][0]["category"], "account_restricted", "{output}");
    assert_eq!((env.sandbox.calls("youtube.session"), env.sandbox.calls("youtube.chunk")), (1, 1), "nothing is sent");
    let post = env.get(&id).await;
    assert_eq!(post.get_i32("retryCount").ok(), Some(1), "{post}");
    assert!(is_cleared(&post, "publishTicket"), "{post}");
    // The session refuses for as long as it lives.
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!((env.sandbox.calls("youtube.session"), env.sandbox.published().len()), (2, 1));
}
