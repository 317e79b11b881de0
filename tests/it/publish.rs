//! A post gets onto its platform, whole, and the document tells of it.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{self, Bson, Document, Uuid, doc};
use serde_json::json;

use crate::support::env::{TestEnv, date_of, is_cleared, now, sha256, video};

/// Every field that postretry may change.
const WRITTEN: &[&str] = &[
    "status",
    "postedAt",
    "error",
    "retryCount",
    "lastRetriedAt",
    "permanentlyFailed",
    "permanentlyFailedAt",
    "tiktokVideoId",
    "tiktokShareUrl",
    "instagramMediaId",
    "instagramPermalink",
    "youtubeVideoId",
    "youtubeUrl",
    "failureCategory",
    "retryNotBefore",
    "retryHistory",
    "retryClaim",
    "publishTicket",
    "updatedAt",
];

fn unchanged_since_read(mut document: Document) -> Document {
    for name in WRITTEN {
        document.remove(name);
    }
    document
}

/// What a Mongoose application leaves in its documents, and nobody here has heard of.
fn foreign_fields() -> Document {
    doc! {
        "storyId": ObjectId::new(),
        "createdAt": crate::support::env::hours_ago(50),
        "scheduledAt": crate::support::env::hours_ago(3),
        "metrics": { "views": 12_i64, "ratio": 0.25, "tags": ["x", Bson::Null] },
        "$comment": "a name with a dollar",
        "uploadProgress": 45,
        "a.dotted": true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_video_on_each_platform_arrives_whole_and_the_document_tells_of_it() {
    let env = TestEnv::new().await;
    let mut before = Vec::new();
    for platform in ["tiktok", "instagram", "youtube_shorts"] {
        let id = env.post(platform, foreign_fields()).await;
        before.push((id.clone(), env.get(&id).await));
    }
    let started_at = now();
    let output = env.pass(0).await;

    assert_eq!(output["totals"]["due"], 3);
    assert_eq!(output["totals"]["posted"], 3);
    assert_eq!(output["byPlatform"]["tiktok"]["posted"], 1);
    let published = env.sandbox.published();
    assert_eq!(published.len(), 3);
    let hash = sha256(&video(100_000, 1));
    assert!(published.iter().all(|post| post.sha256 == hash && post.size == 100_000));

    for (id, before) in before {
        let after = env.get(&id).await;
        assert_eq!(unchanged_since_read(after.clone()), unchanged_since_read(before.clone()));
        assert_eq!(after.get_str("status").ok(), Some("posted"));
        assert!(date_of(&after, "postedAt") >= started_at);
        assert_eq!(date_of(&after, "failedAt"), date_of(&before, "failedAt"));
        assert_eq!(after.get("retryCount"), Some(&Bson::Int32(0)));
        for cleared in ["error", "failureCategory", "retryNotBefore", "retryClaim", "publishTicket"] {
            assert!(is_cleared(&after, cleared), "{cleared} in {after}");
        }
        assert!(!after.contains_key("retryClaim"));
        let history = after.get_array("retryHistory").unwrap();
        assert_eq!(history.len(), 1);
        let entry = history[0].as_document().unwrap();
        assert_eq!(entry.get_str("outcome").ok(), Some("posted"));
        assert_eq!(entry.get_i32("attempt").ok(), Some(1));
    }
    let of = |platform: &str| published.iter().find(|post| post.platform == platform).unwrap().clone();
    let documents: Vec<Document> = {
        let mut documents = Vec::new();
        for platform in ["tiktok", "instagram", "youtube_shorts"] {
            documents.push(env.posts.find_one(doc! { "platform": platform }).await.unwrap().unwrap());
        }
        documents
    };
    assert_eq!(documents[0].get_str("tiktokVideoId").ok(), Some(of("tiktok").id.as_str()));
    let share = format!("https://www.tiktok.com/@sandbox_creator/video/{}", of("tiktok").id);
    assert_eq!(documents[0].get_str("tiktokShareUrl").ok(), Some(share.as_str()));
    assert_eq!(documents[1].get_str("instagramMediaId").ok(), Some(of("instagram").id.as_str()));
    assert!(documents[1].get_str("instagramPermalink").unwrap().contains(&of("instagram").id));
    assert_eq!(documents[2].get_str("youtubeVideoId").ok(), Some(of("youtube").id.as_str()));
    assert!(documents[2].get_str("youtubeUrl").unwrap().contains(&of("youtube").id));
    assert_eq!(of("tiktok").text, "A caption #one");
    assert_eq!(of("youtube").text, "A title");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_of_150_mb_arrives_whole_in_chunks() {
    let env = TestEnv::new().await;
    let bytes = video(150_000_123, 7);
    env.file("large.mp4", &bytes);
    let hash = sha256(&bytes);
    drop(bytes);
    for platform in ["tiktok", "instagram", "youtube"] {
        env.post(platform, doc! { "videoPath": "large.mp4" }).await;
    }
    env.pass(0).await;
    let published = env.sandbox.published();
    assert_eq!(published.len(), 3);
    for post in published {
        assert_eq!((post.size, post.sha256.as_str()), (150_000_123, hash.as_str()), "{}", post.platform);
    }
    // ⌊150,000,123 / 10,000,000⌋ chunks, the remainder in the last one.
    assert_eq!(env.sandbox.calls("tiktok.chunk"), 15);
    let world = env.sandbox.world();
    let last = world.requests.iter().rfind(|request| request.endpoint == "tiktok.chunk").unwrap();
    assert_eq!(last.headers["content-range"], "bytes 140000000-150000122/150000123");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_out_by_their_public_address() {
    let env = TestEnv::new().await;
    let image = doc! { "contentType": "Image", "videoPath": Bson::Undefined, "imagePath": "a.jpg" };
    env.post("tiktok", image.clone()).await;
    env.post("instagram", image.clone()).await;
    let refused = env.post("youtube", image).await;
    let output = env.pass(3).await;
    assert_eq!(output["totals"]["posted"], 2);
    for post in env.sandbox.published() {
        assert_eq!(post.source_url.as_deref(), Some("https://cdn.example/media/a.jpg"));
    }
    let refused = env.get(&refused).await;
    assert_eq!(refused.get_str("failureCategory").ok(), Some("rejected_content"));
    assert_eq!(refused.get_bool("permanentlyFailed").ok(), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_not_configured_is_left_alone_and_said_so() {
    let mut env = TestEnv::new().await;
    env.unset("INSTAGRAM_");
    let id = env.post("instagram", Document::new()).await;
    let exhausted = env.post("instagram", doc! { "retryCount": 9 }).await;
    let before = (env.get(&id).await, env.get(&exhausted).await);
    let ran = env.run(&["run", "--format", "json"]).await.expect(0);
    assert_eq!(
        ran.json()["totals"],
        json!({
            "due": 1, "posted": 0, "failed": 0, "permanentlyFailed": 0, "deferred": 0, "skipped": 1, "flagged": 0,
        })
    );
    assert_eq!(ran.stderr.matches("not configured").count(), 1, "{}", ran.stderr);
    assert_eq!((env.get(&id).await, env.get(&exhausted).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_posts_are_reported_and_left_as_they_are_and_the_pass_goes_on() {
    let env = TestEnv::new().await;
    let wrong = [
        ("title", doc! { "title": 42 }),
        ("failedAt", doc! { "failedAt": "yesterday" }),
        ("retryCount", doc! { "retryCount": "three" }),
        ("permanentlyFailed", doc! { "permanentlyFailed": "no" }),
        ("retryNotBefore", doc! { "retryNotBefore": "later" }),
        ("hashtags", doc! { "hashtags": [1, 2] }),
        ("retryHistory", doc! { "retryHistory": "none" }),
    ];
    let mut before = Vec::new();
    for (field, fields) in wrong {
        let id = env.post("tiktok", fields).await;
        before.push((field, id.clone(), env.get(&id).await));
    }
    let id = env.post("myspace", Document::new()).await;
    before.push(("platform", id.clone(), env.get(&id).await));
    let good = env.post("tiktok", Document::new()).await;

    let output = env.pass(0).await;
    assert_eq!(env.get(&good).await.get_str("status").ok(), Some("posted"));
    let reported = output["malformed"].as_array().unwrap();
    assert_eq!(reported.len(), before.len(), "{reported:?}");
    for (field, id, before) in before {
        let entry = reported.iter().find(|entry| entry["id"] == id.as_str()).unwrap_or_else(|| panic!("{field}"));
        assert_eq!(entry["field"], field);
        assert_eq!(env.get(&id).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_every_kind_are_found_by_what_is_written() {
    let env = TestEnv::new().await;
    let uuid = Uuid::parse_str("6fa459ea-ee8a-3ca4-894e-db77e160355e").unwrap();
    let ids: [(Bson, &str); 6] = [
        (Bson::String("spring-42".into()), "spring-42"),
        (Bson::Int32(42), "42"),
        (Bson::Binary(uuid.into()), "6fa459ea-ee8a-3ca4-894e-db77e160355e"),
        (Bson::Document(doc! { "shop": 7 }), r#"{"shop":7}"#),
        // To MongoDB an id with its fields in another order is another id.
        (
            Bson::Document(doc! { "shop": 7, "nr": { "year": 2026, "month": 11 } }),
            r#"{"shop":7,"nr":{"year":2026,"month":11}}"#,
        ),
        (Bson::DateTime(bson::DateTime::from_millis(1_700_000_000_123)), r#"{"$date":"2023-11-14T22:13:20.123Z"}"#),
    ];
    for (id, written) in ids {
        env.post("tiktok", doc! { "_id": id }).await;
        let ran = env.run(&["list-failed", written, "--format", "json"]).await.expect(0);
        assert_eq!(ran.json()["post"]["id"], written);
        env.run(&["retry", written]).await.expect(0);
    }
    assert_eq!(env.sandbox.published().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_null_by_default_hides_no_upload_of_the_application() {
    let env = TestEnv::new().await;
    let id = env.post("tiktok", Document::new()).await;
    env.pass(0).await;
    let publish_id = env.sandbox.published()[0].ticket.clone();
    // As if the application had published it and never recorded that, with the defaults of its model.
    let change = doc! {
        "$set": {
            "status": "failed", "uploadProgress": { "publishId": publish_id }, "publishTicket": Bson::Null,
            "lastRetriedAt": Bson::Null, "retryHistory": [],
        },
        "$unset": { "tiktokVideoId": "" },
    };
    env.posts.update_one(doc! { "_id": ObjectId::parse_str(&id).unwrap() }, change.clone()).await.unwrap();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(
        (env.sandbox.published().len(), env.sandbox.calls("tiktok.video_init")),
        (1, 1),
        "it was not sent again"
    );

    // A person who wants it to be sent again drops the ticket, whoever made the upload.
    env.posts.update_one(doc! { "_id": ObjectId::parse_str(&id).unwrap() }, change).await.unwrap();
    env.run(&["reset", "--drop-ticket", "--yes", &id]).await.expect(0);
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_left_behind_is_looked_up_first_and_not_sent_again() {
    let env = TestEnv::new().await;
    // The application's own attempt: published on both platforms, but never recorded.
    let first = env.post("tiktok", Document::new()).await;
    let second = env.post("instagram", Document::new()).await;
    env.pass(0).await;
    let ticket =
        |platform: &str| env.sandbox.published().iter().find(|post| post.platform == platform).unwrap().ticket.clone();
    for (id, field, ticket) in
        [(&first, "uploadProgress.publishId", ticket("tiktok")), (&second, "instagramContainerId", ticket("instagram"))]
    {
        let change = doc! {
            "$set": { "status": "failed", field: ticket },
            "$unset": { "publishTicket": "", "retryHistory": "", "tiktokVideoId": "", "instagramMediaId": "" },
        };
        env.posts.update_one(doc! { "_id": ObjectId::parse_str(id).unwrap() }, change).await.unwrap();
    }
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 2);
    assert_eq!(env.sandbox.published().len(), 2, "nothing was sent again");
    assert_eq!(env.sandbox.calls("tiktok.video_init"), 1);
    assert_eq!(env.sandbox.calls("instagram.create"), 1);
    assert!(env.get(&first).await.get_str("tiktokVideoId").is_ok());
    assert!(env.get(&second).await.get_str("instagramMediaId").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn tiktoks_limits_are_kept_and_not_tried() {
    let mut env = TestEnv::new().await;
    // Without a gap the limits are not kept either.
    env.set("POST_RETRY_GAP", "10ms");
    env.sandbox.world().knobs.tiktok_window_ms = 60_000;
    for _ in 0..8 {
        env.post("tiktok", Document::new()).await;
    }
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 8, "{output}");
    assert_eq!(env.sandbox.world().throttled, 0, "the client waits its turn");
}
