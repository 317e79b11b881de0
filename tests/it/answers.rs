//! Answers, ids and dates that no platform gives and no application writes: numbers and dates at the ends of what there
//! is, bodies without end or form, ids that would lead a request elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use mongodb::bson::{self, Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};

use crate::store::insert_row;
use crate::support::env::{Ran, TestEnv, date_of, hours_ago, is_cleared, now};
use crate::support::gateway::{Gateway, Reply};
use crate::support::proxy::Side;

const PLATFORMS: [&str; 3] = ["tiktok", "instagram", "youtube"];

fn old() -> Document {
    doc! { "failedAt": hours_ago(500) }
}

/// Runs the binary to its end, which has to come soon and without a panic.
async fn ended(env: &TestEnv, arguments: &[&str]) -> Ran {
    let ran = tokio::time::timeout(Duration::from_secs(100), env.run(arguments)).await;
    let ran = ran.unwrap_or_else(|_| panic!("{arguments:?} does not end"));
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    assert!(matches!(ran.code, 0 | 3), "{ran:?}");
    ran
}

async fn pass(env: &TestEnv) -> Value {
    ended(env, &["run", "--format", "json"]).await.json()
}

fn header(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

/// A video of two minutes, as its header says.
fn two_minutes() -> Vec<u8> {
    let boxed = |kind: &[u8], contents: &[u8]| {
        let size = u32::try_from(contents.len() + 8).unwrap();
        [&size.to_be_bytes(), kind, contents].concat()
    };
    let mut header = vec![0; 12];
    header.extend(1000u32.to_be_bytes());
    header.extend(120_000u32.to_be_bytes());
    header.extend([0; 80]);
    let movie = boxed(b"moov", &boxed(b"mvhd", &header));
    [boxed(b"ftyp", b"mp42\0\0\0\0mp42isom"), movie, boxed(b"mdat", &[9; 5000])].concat()
}

// Numbers.

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_duration_at_the_end_of_all_numbers_is_no_limit() {
    for limit in ["18446744073709551615", "18446744073709551616", "1e300", "-1", "0", "180"] {
        let env = TestEnv::new().await;
        env.file("long.mp4", &two_minutes());
        let body = format!(
            r#"{{"data":{{"creator_username":"me","privacy_level_options":["PUBLIC_TO_EVERYONE"],
                "max_video_post_duration_sec":{limit}}},"error":{{"code":"ok"}}}}"#
        );
        let act = Act::Answer { status: 200, body, headers: BTreeMap::new() };
        env.sandbox.fault(Fault::once("tiktok.creator_info", act));
        env.post("tiktok", doc! { "videoPath": "long.mp4" }).await;
        let output = pass(&env).await;
        assert_eq!(output["totals"]["posted"], 1, "{limit}: {output}");
        assert_eq!(env.sandbox.published().len(), 1, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_lives_for_ever_or_not_at_all_is_used() {
    for life in ["9223372036854775808", "9223372036854775807", "8210000000000", "-9223372036854775808", "0", "1e300"] {
        for is_sqlite in [false, true] {
            let mut env = TestEnv::new().await;
            let path = if is_sqlite { Some(env.on_sqlite().await) } else { None };
            // The first token that is given out.
            let body = format!(r#"{{"access_token":"sandbox-youtube-access-1","expires_in":{life}}}"#);
            let lie = Act::Lie { status: 200, body, headers: BTreeMap::new() };
            env.sandbox.fault(Fault::once("google.token", lie));
            for number in 0..2 {
                match &path {
                    Some(path) => insert_row(
                        path,
                        &doc! {
                            "id": format!("p{number}"), "title": "A title", "platform": "youtube", "status": "failed",
                            "failedAt": hours_ago(2), "videoPath": "a.mp4",
                        },
                    ),
                    None => drop(env.post("youtube", Document::new()).await),
                }
                let output = pass(&env).await;
                assert_eq!(output["totals"]["posted"], 1, "{life}, SQLite: {is_sqlite}: {output}");
            }
            assert_eq!(env.sandbox.calls("google.token"), 1, "{life}: nothing says that it ends");
            ended(&env, &["stats", "--format", "json"]).await.json();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_token_that_ends_at_the_end_of_all_times_stops_no_pass() {
    for end in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let env = TestEnv::new().await;
        env.post("youtube", Document::new()).await;
        assert_eq!(pass(&env).await["totals"]["posted"], 1);
        let tokens = env.database.collection::<Document>("postretry_tokens");
        tokens.update_many(doc! {}, doc! { "$set": { "accessExpiresAt": instant(end) } }).await.unwrap();
        env.post("youtube", Document::new()).await;
        assert_eq!(pass(&env).await["totals"]["posted"], 1, "{end}");
        ended(&env, &["stats"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_more_bytes_than_there_are_is_asked_again() {
    for range in ["bytes=0-99999999999", "bytes=0-18446744073709551615", "bytes=0-99999999999999999999", "bytes=-", "0"]
    {
        let env = TestEnv::new().await;
        let act = Act::Answer { status: 308, body: String::new(), headers: header("range", range) };
        env.sandbox.fault(Fault::once("youtube.chunk", act));
        env.post("youtube", old()).await;
        let output = pass(&env).await;
        assert_eq!(output["totals"]["posted"], 1, "{range}: {output}");
        assert_eq!(env.sandbox.published().len(), 1, "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_asks_for_an_absurd_wait_gets_seven_days() {
    for (asked, days) in [
        ("100000000000000000000", Some(7)),
        ("9223372036854775807", Some(7)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(7)),
        ("-100000000000000000000", None),
        ("Mon, 99 Nov 9999 99:99:99 GMT", None),
    ] {
        let env = TestEnv::new().await;
        let act = Act::Answer { status: 503, body: String::new(), headers: header("retry-after", asked) };
        env.sandbox.fault(Fault::always("tiktok.creator_info", act));
        let id = env.post("tiktok", Document::new()).await;
        let output = pass(&env).await;
        assert_eq!(output["posts"][0]["category"], "platform_outage", "{asked}: {output}");
        let post = env.get(&id).await;
        match days {
            Some(days) => {
                let wait = date_of(&post, "retryNotBefore") - now();
                assert!(wait <= TimeDelta::days(days) && wait > TimeDelta::hours(days * 24 - 1), "{asked}: {post}");
            }
            None => assert!(is_cleared(&post, "retryNotBefore"), "{asked}: {post}"),
        }
    }
}

// Dates.

fn instant(at: DateTime<Utc>) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(at.timestamp_millis()))
}

/// The payload of a ticket whose last byte was sent, and that its platform does not know.
fn unknown_ticket(env: &TestEnv, platform: &str) -> Value {
    match platform {
        "tiktok" => json!({ "kind": "video", "publishId": "v_pub_file~v2-1.404", "size": 100_000 }),
        "instagram" => json!({ "containerId": "404", "uploadUri": "https://x.invalid/", "size": 100_000 }),
        _ => {
            let session = format!("{}/upload/youtube/v3/videos?uploadType=resumable&upload_id=404", env.sandbox.url());
            json!({ "sessionUri": session, "size": 100_000 })
        }
    }
}

/// Whether a pass has told of the post: parked for a person, or as one that it cannot read.
fn is_told(output: &Value) -> bool {
    output["posts"][0]["category"] == "ambiguous" || output["malformed"].as_array().is_some_and(|all| all.len() == 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_from_the_end_of_all_times_is_searched_for_and_parked() {
    let times = [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC];
    for platform in PLATFORMS {
        for made_at in times {
            let mut env = TestEnv::new().await;
            env.set("POST_RETRY_WAIT", "200ms");
            let ticket = doc! {
                "platform": if platform == "youtube" { "youtube_shorts" } else { platform },
                "madeAt": instant(made_at),
                "committedAt": instant(made_at),
                "payload": Bson::try_from(unknown_ticket(&env, platform)).unwrap(),
            };
            let mut fields = old();
            fields.insert("publishTicket", ticket);
            env.post(platform, fields).await;
            let output = pass(&env).await;
            assert!(is_told(&output), "{platform}, {made_at}: {output}");
            assert_eq!(env.sandbox.published().len(), 0, "{platform}, {made_at}: it may be public already");
            ended(&env, &["list-failed"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_from_the_end_of_all_times_in_a_row_is_searched_for_and_parked() {
    let times = ["-262143-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "+262142-12-31T23:59:59Z"];
    for platform in PLATFORMS {
        for made_at in times {
            let mut env = TestEnv::new().await;
            env.set("POST_RETRY_WAIT", "200ms");
            let path = env.on_sqlite().await;
            let ticket = json!({
                "platform": if platform == "youtube" { "youtube_shorts" } else { platform },
                "madeAt": made_at,
                "committedAt": made_at,
                "payload": unknown_ticket(&env, platform),
            });
            let row = doc! {
                "id": "p1", "title": "A title", "platform": platform, "status": "failed", "failedAt": hours_ago(500),
                "videoPath": "a.mp4", "publishTicket": ticket.to_string(),
            };
            insert_row(&path, &row);
            let output = pass(&env).await;
            assert!(is_told(&output), "{platform}, {made_at}: {output}");
            assert_eq!(env.sandbox.published().len(), 0, "{platform}, {made_at}: it may be public already");
            ended(&env, &["list-failed"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_from_before_1970_is_published() {
    for platform in PLATFORMS {
        let env = TestEnv::new().await;
        let file = std::fs::File::options().write(true).open(env.folder().join("assets/a.mp4")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH - Duration::from_secs(1_000_000_000)).unwrap();
        env.post(platform, Document::new()).await;
        assert_eq!(pass(&env).await["totals"]["posted"], 1, "{platform}");
    }
}

// Ids.

const FORGED: [&str; 5] =
    ["17/comments?message=hi&method=post", "../me/accounts", "17%2Fcomments", "17?access_token=x", "17\n18"];

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_id_of_an_upload_makes_the_post_malformed_and_is_asked_for_nowhere() {
    for forged in FORGED {
        for (platform, fields, field, column) in [
            (
                "instagram",
                doc! { "instagramContainerId": forged },
                "instagramContainerId",
                ("instagram_container_id", "instagramContainerId"),
            ),
            (
                "tiktok",
                doc! { "uploadProgress": { "publishId": forged } },
                "uploadProgress.publishId",
                ("upload_publish_id", "uploadPublishId"),
            ),
        ] {
            let env = TestEnv::new().await;
            let id = env.post(platform, fields).await;
            let before = env.get(&id).await;
            let output = pass(&env).await;
            assert_eq!(output["malformed"][0]["field"], field, "{forged}: {output}");
            assert_eq!(env.get(&id).await, before, "{forged}");
            assert_eq!(env.sandbox.world().requests.len(), 0, "{forged}");

            let mut env = TestEnv::new().await;
            let path = env.on_sqlite().await;
            let mut row = doc! {
                "id": "p1", "title": "A title", "platform": platform, "status": "failed", "failedAt": hours_ago(2),
                "videoPath": "a.mp4",
            };
            row.insert(column.1, forged);
            insert_row(&path, &row);
            let output = pass(&env).await;
            assert_eq!(output["malformed"][0]["field"], column.0, "{forged}: {output}");
            assert_eq!(env.sandbox.world().requests.len(), 0, "{forged}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_id_in_a_ticket_makes_the_post_ambiguous_and_is_never_requested() {
    for forged in FORGED {
        for (platform, payload) in [
            ("tiktok", doc! { "kind": "video", "publishId": forged }),
            ("tiktok", doc! { "kind": "photo", "publishId": forged }),
            ("instagram", doc! { "containerId": forged }),
            ("youtube_shorts", doc! { "sessionUri": "https://x.invalid/", "size": 9, "videoId": forged }),
        ] {
            let env = TestEnv::new().await;
            let ticket = doc! { "platform": platform, "madeAt": hours_ago(1), "payload": payload };
            let mut fields = old();
            fields.insert("publishTicket", ticket);
            let id = env.post(platform, fields).await;
            let output = pass(&env).await;
            assert_eq!(output["posts"][0]["category"], "ambiguous", "{platform}, {forged}: {output}");
            let post = env.get(&id).await;
            assert_eq!(post.get_bool("permanentlyFailed").ok(), Some(true), "{platform}, {forged}: {post}");
            assert_eq!(env.sandbox.world().requests.len(), 0, "{platform}, {forged}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_id_of_any_form_still_prevents_a_second_publish() {
    for (platform, field) in
        [("tiktok", "tiktokVideoId"), ("instagram", "instagramMediaId"), ("youtube", "youtubeVideoId")]
    {
        for forged in FORGED {
            let env = TestEnv::new().await;
            env.post(platform, doc! { field: forged }).await;
            let output = pass(&env).await;
            assert_eq!(output["totals"]["flagged"], 1, "{platform}, {forged}: {output}");
            assert_eq!(env.sandbox.world().requests.len(), 0, "{platform}, {forged}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_id_in_a_response_is_never_requested_and_the_post_is_published_once() {
    let forged = "17/comments?message=hi&method=post";
    let lie = |status: u16, body: Value| Act::Lie { status, body: body.to_string(), headers: BTreeMap::new() };
    let given = |data: Value| json!({ "data": data, "error": { "code": "ok" } });
    for (platform, endpoint, act) in [
        (
            "tiktok",
            "tiktok.video_init",
            lie(200, given(json!({ "publish_id": forged, "upload_url": "http://127.0.0.1:9/" }))),
        ),
        ("instagram", "instagram.create", lie(200, json!({ "id": forged, "uri": "http://127.0.0.1:9/" }))),
        ("instagram", "instagram.publish", lie(200, json!({ "id": forged }))),
        (
            "youtube",
            "youtube.chunk",
            lie(201, json!({ "kind": "youtube#video", "id": forged, "status": { "uploadStatus": "uploaded" } })),
        ),
        (
            "youtube",
            "youtube.chunk",
            lie(201, json!({ "kind": "youtube#video", "id": "a,b", "status": { "uploadStatus": "uploaded" } })),
        ),
    ] {
        let env = TestEnv::new().await;
        env.sandbox.fault(Fault::once(endpoint, act));
        let id = env.post(platform, old()).await;
        let output = pass(&env).await;
        let first = &output["posts"][0];
        assert!(first["outcome"] == "posted" || first["category"] == "unknown", "{endpoint}: {output}");
        pass(&env).await;
        let post = env.get(&id).await;
        assert_eq!(post.get_str("status").ok(), Some("posted"), "{endpoint}: {post}");
        assert!(!post.to_string().contains(forged), "{endpoint}: {post}");
        assert_eq!(env.sandbox.published().len(), 1, "{endpoint}");
        let lines: Vec<String> = env.sandbox.world().requests.iter().map(|request| request.line.clone()).collect();
        assert!(!lines.iter().any(|line| line.contains("comments") || line.contains("a%2Cb")), "{lines:?}");
        assert_eq!(env.sandbox.calls("nowhere"), 0, "{lines:?}");
    }
}

// Bodies.

fn replies() -> Vec<(&'static str, Reply)> {
    let ok = |body: &[u8]| Reply::body("200 OK", body);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(2 * 1024 * 1024)).into_bytes();
    let flood = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-flood: 1\r\n".repeat(50_000));
    vec![
        ("deep lists", ok("[".repeat(100_000).as_bytes())),
        ("deep objects", ok(r#"{"error":"#.repeat(100_000).as_bytes())),
        ("2 MiB", ok(&long)),
        ("2 MiB of an error", Reply::body("400 Bad Request", &long)),
        ("no UTF-8", ok(b"{\"error\":{\"code\":\"\xFF\xFE\"}}")),
        ("truncated JSON", ok(br#"{"data":{"publish_id":"v_pub"#)),
        ("a body that breaks off", Reply::cut("200 OK", br#"{"data":{"#, 500)),
        ("numbers beyond 64 bits", ok(br#"{"id":18446744073709551616,"data":{"uploaded_bytes":1e999}}"#)),
        ("keys that stand twice", ok(br#"{"error":{"code":"ok"},"error":{"code":"odd"},"data":1,"data":[]}"#)),
        ("a flood of headers", Reply::Bytes(flood.into_bytes())),
        ("no HTTP", Reply::Bytes(b"\x16\x03\x01\0\0 nonsense\r\n\r\n".to_vec())),
        ("no end", Reply::Endless),
        ("a byte at a time", Reply::Trickle),
    ]
}

/// A part of the first line of every kind of request, and the sides of its effect on which its answer is replaced. A
/// request without an effect has one side.
const REQUESTS: [(&str, &str, &[Side]); 13] = [
    ("tiktok", "creator_info", &[Side::Before]),
    ("tiktok", "video/init", &[Side::Before, Side::After]),
    ("tiktok", "tiktok-upload", &[Side::Before, Side::After]),
    ("tiktok", "status/fetch", &[Side::Before]),
    ("instagram", "content_publishing_limit", &[Side::Before]),
    ("instagram", "/media HTTP", &[Side::Before, Side::After]),
    ("instagram", "ig-api-upload", &[Side::Before, Side::After]),
    ("instagram", "status_code", &[Side::Before]),
    ("instagram", "media_publish", &[Side::Before, Side::After]),
    ("youtube", "POST /token", &[Side::Before]),
    ("youtube", "POST /upload/youtube", &[Side::Before, Side::After]),
    ("youtube", "PUT /upload/youtube", &[Side::Before, Side::After]),
    ("youtube", "GET /youtube/v3/videos", &[Side::Before]),
];

/// Lets a pass meet one sort of answers to one sort of requests, and then passes that meet none.
async fn meet(platform: &str, on: &'static str, side: Side, name: &str, reply: Reply) {
    let place = format!("{name}, {side:?} {on}");
    let mut env = TestEnv::reused().await;
    env.set("HTTP_TIMEOUT", "1s");
    let gateway = Gateway::before(&mut env, on, side, reply).await;
    let id = env.post(platform, old()).await;
    let output = pass(&env).await;
    let first = &output["posts"][0];
    assert!(first["outcome"] == "posted" || first["category"].is_string(), "{place}: {output}");
    let is_posted = env.get(&id).await.get_str("status").ok() == Some("posted");
    assert_eq!(is_posted, first["outcome"] == "posted", "{place}: {output}");
    assert!(!is_posted || env.sandbox.published().len() == 1, "{place}: posted, and nowhere to be seen");

    gateway.heal();
    for _ in 0..4 {
        pass(&env).await;
        if env.posted().await == 1 {
            break;
        }
    }
    let post = env.get(&id).await;
    assert_eq!(post.get_str("status").ok(), Some("posted"), "{place}: {post}");
    assert_eq!(env.sandbox.published().len(), 1, "{place}: {post}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_form_a_response_has_the_pass_ends_and_the_post_is_published_once() {
    let mut places = Vec::new();
    for (number, (platform, on, sides)) in REQUESTS.into_iter().enumerate() {
        for side in sides {
            // Every request meets every other form, and its neighbour the rest: all are read by the same code.
            let replies = replies().into_iter().enumerate().filter(|(form, _)| (form + number) % 2 == 0);
            places.extend(replies.map(|(_, (name, reply))| meet(platform, on, *side, name, reply)));
        }
    }
    let count = places.len();
    stream::iter(places).buffer_unordered(10).collect::<Vec<()>>().await;
    println!("{count} answers of odd forms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_whose_answer_has_no_form_is_parked() {
    for (name, reply) in replies() {
        for side in [Side::Before, Side::After] {
            let place = format!("{name}, {side:?}");
            let mut env = TestEnv::reused().await;
            env.set("HTTP_TIMEOUT", "1s");
            let gateway = Gateway::before(&mut env, "content/init", side, reply.clone()).await;
            let mut fields = old();
            fields.extend(doc! { "contentType": "image", "videoPath": Bson::Undefined, "imagePath": "a.jpg" });
            env.post("tiktok", fields).await;
            assert_eq!(pass(&env).await["posts"][0]["category"], "ambiguous", "{place}");
            gateway.heal();
            pass(&env).await;
            assert_eq!(env.sandbox.published().len(), usize::from(side == Side::After), "{place}");
        }
    }
}
