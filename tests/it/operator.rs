//! What people do and see when something needs them: one platform of a post, posts that may be published already, many
//! posts at once, warnings, alerts, stops, and settings that are not quite right.

use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};

use crate::store::insert_row;
use crate::support::env::{TestEnv, date, failed_post, hours_ago, now, signal, until};

/// A post for several platforms, failed on all of them, with these fields over the usual ones.
async fn post_for(env: &TestEnv, platforms: &[&str], fields: Document) -> String {
    let failed = doc! { "status": "failed", "error": "the first failure", "lastFailedAt": hours_ago(2) };
    let status: Document =
        platforms.iter().map(|platform| ((*platform).to_owned(), Bson::from(failed.clone()))).collect();
    let mut document = doc! { "platform": Bson::Undefined, "platforms": platforms, "platformStatus": status };
    document.extend(fields);
    env.post(platforms[0], document).await
}

/// Id, platform and outcome of every row.
fn rows(output: &Value) -> Vec<[&str; 3]> {
    let rows = output["posts"].as_array().unwrap().iter();
    rows.map(|row| ["id", "platform", "outcome"].map(|name| row[name].as_str().unwrap_or("null"))).collect()
}

/// The typed answer is echoed, and the rest is what the command says.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n")
}

/// A post that may be on its platform already.
fn ambiguous() -> Document {
    doc! {
        "failureCategory": "ambiguous", "permanentlyFailed": true, "permanentlyFailedAt": hours_ago(1),
        "retryCount": 1, "title": "Spring in the garden",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_means_all_failed_deliveries_and_a_platform_narrows() {
    let env = TestEnv::new().await;
    let both = post_for(&env, &["tiktok", "instagram"], Document::new()).await;
    let other = post_for(&env, &["tiktok", "instagram"], Document::new()).await;
    let one = env.run(&["retry", "--json", "--platform", "instagram", &both]).await.expect(0).json();
    assert_eq!(rows(&one), [[both.as_str(), "instagram", "posted"]]);
    let again = env.run(&["retry", "--json", "--platform", "instagram", &both]).await.expect(6).json();
    assert_eq!(rows(&again), [[both.as_str(), "instagram", "notFailed"]]);
    let left = env.run(&["retry", "--json", &both, &other, "nobody"]).await.expect(6).json();
    let mut left = rows(&left);
    left.sort_unstable();
    let mut expected = [
        [both.as_str(), "tiktok", "posted"],
        [other.as_str(), "tiktok", "posted"],
        [other.as_str(), "instagram", "posted"],
        ["nobody", "null", "notFound"],
    ];
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert_eq!(env.sandbox.published().len(), 4);
    assert_eq!(env.get(&both).await.get_str("status").ok(), Some("posted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_for_several_platforms_is_shown_in_one_block_each_and_reset_on_one_of_them() {
    let env = TestEnv::new().await;
    let one = env.post("tiktok", Document::new()).await;
    let shown = env.run(&["list-failed", "--json", &one]).await.expect(0).json();
    assert_eq!((&shown["post"]["id"], &shown["posts"]), (&json!(one), &Value::Null));

    let exhausted = doc! { "retryCount": 5, "permanentlyFailed": true };
    let state = doc! { "tiktok": exhausted.clone(), "instagram": exhausted };
    let both = post_for(&env, &["tiktok", "instagram"], doc! { "postretry": state }).await;
    let shown = env.run(&["list-failed", "--json", &both]).await.expect(0).json();
    let mut platforms: Vec<_> = shown["posts"].as_array().unwrap().iter().map(|post| &post["platform"]).collect();
    platforms.sort_by_key(ToString::to_string);
    assert_eq!((platforms, &shown["post"]), (vec![&json!("instagram"), &json!("tiktok")], &Value::Null));
    assert!(shown["posts"][0]["explanation"].is_string() && shown["posts"][0]["retryHistory"].is_array());
    let text = env.run(&["list-failed", &both]).await.expect(0).stdout;
    assert!(text.matches(&both).count() >= 2 && text.contains("\n\nid"), "{text}");
    let text = env.run(&["list-failed", "--platform", "tiktok", &both]).await.expect(0).stdout;
    assert!(text.contains("tiktok") && !text.contains("instagram"), "{text}");
    env.run(&["list-failed", "--platform", "youtube", &both]).await.expect(6);

    let reset = env.run(&["reset", "--json", "--platform", "tiktok", &both]).await.expect(0).json();
    assert_eq!(rows(&reset), [[both.as_str(), "tiktok", "reset"]]);
    let reset = env.run(&["reset", "--json", "--platform", "youtube", &both]).await.expect(6).json();
    assert_eq!(rows(&reset), [[both.as_str(), "youtube_shorts", "notFailed"]]);
    let post = env.get(&both).await;
    let state = post.get_document("postretry").unwrap();
    let count = |platform: &str| state.get_document(platform).unwrap().get_i32("retryCount").ok();
    assert_eq!((count("tiktok"), count("instagram")), (Some(0), Some(5)));
    assert_eq!(rows(&env.run(&["reset", "--json", &both]).await.expect(0).json()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_a_person_has_found_is_settled_without_sending_anything() {
    let env = TestEnv::new().await;
    let cases = [
        ("tiktok", "https://www.tiktok.com/@a/video/7301234567890123456", "tiktokVideoId", Some("7301234567890123456")),
        ("youtube", "https://youtu.be/dQw4w9WgXcQ", "youtubeVideoId", Some("dQw4w9WgXcQ")),
        ("instagram", "https://www.instagram.com/reel/C1a2b3c4d5e/", "instagramMediaId", None),
    ];
    for (platform, url, field, id) in cases {
        let post = env.post(platform, ambiguous()).await;
        let dry = env.run(&["reset", "--posted", "--url", url, "--dry-run", &post]).await.expect(0);
        assert!(dry.stdout.ends_with("1 post would be recorded as posted; nothing was changed\n"), "{}", dry.stdout);
        assert_eq!(env.get(&post).await.get_str("status").ok(), Some("failed"));
        let settled = env.run(&["reset", "--posted", "--url", url, "--json", &post]).await.expect(0).json();
        assert_eq!(settled["posts"][0]["outcome"], "posted", "{settled}");
        assert_eq!(settled["posts"][0]["error"], Value::Null);
        let document = env.get(&post).await;
        assert_eq!(document.get_str("status").ok(), Some("posted"));
        assert_eq!(document.get_str(field).ok(), id);
        assert!(document.values().any(|value| value.as_str() == Some(url)), "{document}");
        let history = document.get_array("retryHistory").unwrap().last().unwrap().as_document().unwrap();
        assert_eq!(history.get_str("outcome").ok(), Some("posted"));
        assert!(history.get_str("settledBy").is_ok(), "{history}");
        env.run(&["reset", "--posted", &post]).await.expect(6);
    }
    let recorded = env.post("tiktok", doc! { "tiktokVideoId": "17" }).await;
    let url = "https://www.tiktok.com/@a/video/7301234567890123456";
    env.run(&["reset", "--posted", "--url", url, &recorded]).await.expect(0);
    assert_eq!(env.get(&recorded).await.get_str("tiktokVideoId").ok(), Some("17"));
    env.pass(0).await;
    assert_eq!(env.sandbox.published().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_settled_is_left_as_it_is() {
    let env = TestEnv::new().await;
    let both = post_for(&env, &["tiktok", "instagram"], Document::new()).await;
    let ran = env.run(&["reset", "--posted", &both]).await.expect(2);
    assert!(ran.stderr.contains("tiktok") && ran.stderr.contains("--platform"), "{}", ran.stderr);
    let settled = env.run(&["reset", "--posted", "--platform", "instagram", "--json", &both]).await.expect(0).json();
    assert_eq!(rows(&settled), [[both.as_str(), "instagram", "posted"]]);
    assert_eq!(env.get(&both).await.get_str("status").ok(), Some("failed"), "TikTok is left");

    let claim = doc! { "by": "elsewhere:1:2", "until": date(now() + TimeDelta::minutes(30)) };
    let claimed = env.post("tiktok", doc! { "retryClaim": claim }).await;
    let malformed = env.post("tiktok", doc! { "retryCount": "three" }).await;
    for (id, code, outcome) in
        [(&claimed, 7, "busy"), (&malformed, 1, "malformed"), (&"none".to_owned(), 6, "notFound")]
    {
        let ran = env.run(&["reset", "--posted", "--json", id]).await.expect(code);
        let output = ran.json();
        assert_eq!(output["posts"][0]["outcome"], outcome);
        assert!(output["posts"][0]["error"].is_string(), "{output}");
        let problem = format!("error: failed to record post `{id}` as posted: ");
        assert!(ran.stderr.starts_with(&problem) && ran.stderr.contains("\nhint: "), "{}", ran.stderr);
    }
    assert_eq!(env.get(&claimed).await.get_str("status").ok(), Some("failed"));
    for arguments in [
        &["reset", "--posted"][..],
        &["reset", "--posted", &claimed, &malformed],
        &["reset", "--posted", "--permanent"],
        &["reset", "--posted", "--drop-ticket", &claimed],
        &["reset", "--url", "https://example.com/a", &claimed],
        &["reset", "--posted", "--url", "ftp://example.com/a", &claimed],
        &["reset", "--posted", "--url", "example.com", &claimed],
    ] {
        env.run(arguments).await.expect(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_post_is_sent_again_only_when_a_person_has_said_so() {
    let env = TestEnv::new().await;
    let id = env.post("instagram", ambiguous()).await;
    let ran = env.run(&["retry", &id]).await.expect(3);
    let hint = ran.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
    assert!(hint.starts_with("hint: look at the account first, on Instagram: "), "{}", ran.stderr);
    assert!(hint.contains("`postretry reset --posted") && hint.contains("`postretry retry --force"), "{hint}");
    let before = env.get(&id).await;
    let ran = env.run(&["retry", "--force", &id]).await.expect(2);
    assert!(ran.stderr.contains("Instagram") && ran.stderr.contains("--yes"), "{}", ran.stderr);
    let (code, seen) = env.on_terminal(100, &["retry", "--force", &id], "n\n").await;
    let seen = text_of(&seen);
    assert_eq!(code, 1, "{seen}");
    let flat = seen.split_whitespace().collect::<Vec<_>>().join(" ");
    let question = "\"Spring in the garden\" may already be on Instagram: look at the account first.";
    assert!(flat.contains(question), "{seen}");
    assert_eq!((env.get(&id).await, env.sandbox.world().requests.len()), (before, 0));

    let (code, seen) = env.on_terminal(100, &["retry", "--force", &id], "y\n").await;
    assert_eq!(code, 0, "{}", text_of(&seen));
    assert_eq!(env.sandbox.published().len(), 1);
    let other = env.post("tiktok", ambiguous()).await;
    env.run(&["retry", "--force", "--yes", &other]).await.expect(0);

    // Of several deliveries the hint names the one that it is about.
    let state = doc! { "tiktok": ambiguous(), "instagram": ambiguous() };
    let both = post_for(&env, &["tiktok", "instagram"], doc! { "postretry": state }).await;
    let ran = env.run(&["retry", &both]).await.expect(3);
    assert!(ran.stderr.contains(&format!("--posted --platform tiktok {both}")), "{}", ran.stderr);
    // A post that nobody doubts needs no answer.
    let exhausted = env.post("tiktok", doc! { "retryCount": 5, "permanentlyFailed": true }).await;
    env.run(&["retry", "--force", &exhausted]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_and_categories_repeat_and_a_dry_run_tells_what_it_would_reset() {
    let env = TestEnv::new().await;
    let fields = |category: &str| doc! { "failureCategory": category, "error": "said no", "title": "Hello" };
    let first = env.post("tiktok", fields("auth")).await;
    let second = env.post("instagram", fields("network")).await;
    let third = env.post("youtube", fields("unknown")).await;
    env.post("youtube", ambiguous()).await;
    let listed = async |arguments: &[&str]| {
        let output = env.run(&[&["list-failed", "--json"][..], arguments].concat()).await.expect(0).json();
        output["total"].as_u64().unwrap()
    };
    assert_eq!(listed(&["--platform", "tiktok", "--platform", "instagram"]).await, 2);
    assert_eq!(listed(&["--category", "auth", "--category", "unknown"]).await, 2);
    assert_eq!(listed(&["--category", "auth", "--category", "unknown", "--platform", "youtube"]).await, 1);

    let selection =
        ["reset", "--category", "auth", "--category", "network", "--platform", "tiktok", "--platform", "instagram"];
    let text = env.run(&[&selection[..], &["--dry-run"]].concat()).await.expect(0).stdout;
    for word in [&first, &second, "Hello", "auth", "network", "said no"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.ends_with("2 posts would be reset; nothing was changed\n"), "{text}");
    let plan = env.run(&[&selection[..], &["--dry-run", "--json"]].concat()).await.expect(0).json();
    let row = plan["posts"].as_array().unwrap().iter().find(|row| row["id"] == first.as_str()).unwrap();
    let expected = json!({
        "id": first, "platform": "tiktok", "outcome": "reset", "error": "said no", "title": "Hello", "category": "auth",
    });
    assert_eq!(*row, expected);
    env.run(&[&selection[..], &["--yes"]].concat()).await.expect(0);
    assert_eq!(listed(&["--category", "auth", "--category", "network"]).await, 0);

    // An ambiguous post is left out of a selection that does not name it, and the result says so.
    let text = env.run(&["reset", "--platform", "youtube", "--yes"]).await.expect(0).stdout;
    let left_out = "1 ambiguous post is left out, because it is not known whether it was published";
    assert!(text.contains(&third) && text.contains(left_out), "{text}");
    env.run(&["list-failed", "--limit", "0"]).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_may_be_named_twice_but_only_one() {
    let env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    let json = env.run(&["list-failed", "--json"]).await.expect(0).stdout;
    for arguments in [
        &["list-failed", "--json", "--format", "json"][..],
        &["list-failed", "--format", "json", "--json"],
        &["--format", "json", "list-failed", "--json"],
        &["--json", "list-failed", "--format=json"],
    ] {
        assert_eq!(env.run(arguments).await.expect(0).stdout, json, "{arguments:?}");
    }
    for arguments in [
        &["list-failed", "--json", "--format", "csv"][..],
        &["list-failed", "--format", "table", "--json"],
        &["--json", "list-failed", "--format", "csv"],
        &["--format", "csv", "list-failed", "--json"],
    ] {
        let ran = env.run(arguments).await.expect(2);
        assert!(ran.stderr.starts_with("error: the argument `--json` cannot be used with "), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_not_failed_has_its_own_platform_in_every_row() {
    let mut env = TestEnv::new().await;
    let posted = env.post("tiktok", doc! { "status": "posted" }).await;
    let both = post_for(&env, &["tiktok", "instagram"], doc! { "status": "approved" }).await;
    for command in ["retry", "reset"] {
        let told = async |arguments: &[&str]| {
            let ran = env.run(&[&[command, "--json"][..], arguments].concat()).await.expect(6);
            assert!(ran.stderr.contains(": it is not failed\n"), "{}", ran.stderr);
            ran.json()
        };
        let of_posted = [[posted.as_str(), "tiktok", "notFailed"]];
        assert_eq!(rows(&told(&[posted.as_str()]).await), of_posted, "{command}");
        assert_eq!(rows(&told(&["--platform", "instagram", &posted]).await), of_posted, "{command}");
        let of_both = [[both.as_str(), "tiktok", "notFailed"], [both.as_str(), "instagram", "notFailed"]];
        assert_eq!(rows(&told(&[both.as_str()]).await), of_both, "{command}");
        assert_eq!(rows(&told(&["--platform", "instagram", &both]).await), of_both[1..], "{command}");
        let nobody = env.run(&[command, "--json", "--platform", "instagram", "nobody"]).await.expect(6).json();
        assert_eq!(rows(&nobody), [["nobody", "null", "notFound"]], "{command}");
    }
    let path = env.on_sqlite().await;
    let row = doc! { "id": "1", "platform": "youtube", "status": "posted", "videoPath": "a.mp4" };
    insert_row(&path, &row);
    for command in ["retry", "reset"] {
        for arguments in [&[command, "--json", "1"][..], &[command, "--json", "--platform", "tiktok", "1"]] {
            let output = env.run(arguments).await.expect(6).json();
            assert_eq!(rows(&output), [["1", "youtube_shorts", "notFailed"]], "{arguments:?}");
        }
    }
    assert_eq!(env.sandbox.world().requests.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_selection_is_reset_whole_and_csv_says_what_it_leaves_out() {
    let env = TestEnv::new().await;
    let fields = doc! { "retryCount": 5, "permanentlyFailed": true, "failureCategory": "network" };
    let documents: Vec<Document> = (0..1_203)
        .map(|number| {
            let mut fields = fields.clone();
            // Some are listed by the date of their last write, which a reset changes.
            fields.insert("failedAt", if number % 3 == 0 { Bson::Undefined } else { hours_ago(number % 7 + 1) });
            failed_post(if number % 2 == 0 { "tiktok" } else { "instagram" }, fields)
        })
        .collect();
    env.posts.insert_many(documents).await.unwrap();
    let csv = env.run(&["list-failed", "--format", "csv"]).await.expect(0);
    assert_eq!(csv.stdout.lines().count(), 51);
    assert!(csv.stderr.contains("1153 posts are not listed"), "{}", csv.stderr);
    assert_eq!(env.run(&["list-failed", "--format", "csv", "--limit", "2"]).await.expect(0).stderr, "");

    for (selection, posts) in [(&["--permanent", "--platform", "tiktok"][..], 602), (&["--category", "network"], 601)] {
        let output = env.run(&[&["reset", "--yes", "--json"], selection].concat()).await.expect(0).json();
        assert_eq!(output["posts"].as_array().unwrap().len(), posts);
    }
    let left = env.posts.count_documents(doc! { "retryCount": { "$ne": 0 } }).await.unwrap();
    assert_eq!(left, 0);
    let output = env.run(&["reset", "--yes", "--json", "--platform", "tiktok"]).await.expect(0).json();
    assert_eq!(output["posts"].as_array().unwrap().len(), 602);
    // With no retries at all every post stays permanently failed, and the command still ends.
    let mut env = env;
    env.set("MAX_POST_RETRIES", "0");
    env.run(&["reset", "--yes", "--permanent"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_version_are_everywhere() {
    let env = TestEnv::new().await;
    for arguments in [&["help"][..], &["help", "reset"], &["-V"], &["run", "-V"], &["reset", "--help"], &["-h"]] {
        let ran = env.run(arguments).await.expect(0);
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
    let json = env.run(&["stats", "--json"]).await.expect(0).json();
    for name in ["malformed", "ambiguous", "givenUp"] {
        assert!(!json[name].is_null(), "{name}: {json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_takes_a_wrong_store_for_peace() {
    let mut env = TestEnv::new().await;
    env.database.collection::<Document>("marketingposts").insert_one(doc! {}).await.unwrap();
    let missing = " has no collection `marketing_posts`; was `marketingposts` meant? `POST_COLLECTION` sets it\n";
    let ran = env.run(&["stats", "-q"]).await.expect(0);
    assert!(ran.stderr.contains(missing), "{}", ran.stderr);
    for arguments in [&["run", "-q"][..], &["list-failed", "-q"], &["stats", "-q"], &["list-failed", "--json"]] {
        let ran = env.run(arguments).await.expect(0);
        assert!(ran.stderr.contains("`marketingposts`"), "{arguments:?}: {}", ran.stderr);
    }
    for arguments in [&["retry", "-q", "x"][..], &["reset", "-q", "x"]] {
        let ran = env.run(arguments).await.expect(6);
        assert!(ran.stderr.contains("`marketingposts`"), "{arguments:?}: {}", ran.stderr);
    }
    let said = async || env.run(&["stats", "-q"]).await.expect(0).stderr;
    let database = env.database.name().to_owned();
    // The pass has made the collection with its indexes.
    let empty = format!("collection `marketing_posts` of database `{database}` is empty; was `marketingposts` meant? ");
    assert!(said().await.contains(&empty), "{}", said().await);
    // A collection that is empty too, or is about something else, was not meant.
    env.database.collection::<Document>("marketingposts").delete_many(doc! {}).await.unwrap();
    env.database.collection::<Document>("users").insert_one(doc! {}).await.unwrap();
    assert_eq!(said().await, "");
    for name in ["posts", "Blog-Posts"] {
        env.database.collection::<Document>(name).insert_one(doc! {}).await.unwrap();
    }
    let told = said().await;
    assert!(told.contains("is empty; was `Blog-Posts` or `posts` meant? `POST_COLLECTION` sets it"), "{told}");
    env.post("tiktok", Document::new()).await;
    assert_eq!(said().await, "");
    let path = env.folder().join("new.db");
    env.set("POSTRETRY_STORE", &format!("sqlite:{}", path.display()));
    let ran = env.run(&["stats", "-q"]).await.expect(0);
    assert!(ran.stderr.contains("new.db"), "{}", ran.stderr);
    assert_eq!(env.run(&["stats", "-q"]).await.expect(0).stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_can_publish_nothing_says_so() {
    let mut env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    env.unset("TIKTOK");
    let ran = env.run(&["run", "-q"]).await.expect(0);
    assert!(ran.stderr.contains("tiktok: not configured, 1 due post"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    // If another platform has due posts and is configured, the pass is an ordinary one.
    env.post("instagram", Document::new()).await;
    assert_eq!(env.run(&["run", "-q"]).await.expect(0).stderr, "");
    env.unset("INSTAGRAM");
    env.unset("YOUTUBE");
    env.unset("GOOGLE");
    for arguments in [&["run", "-q"][..], &["retry", "x"]] {
        let ran = env.run(arguments).await.expect(4);
        assert!(ran.stderr.contains("no platform is configured"), "{}", ran.stderr);
    }
    env.run(&["list-failed"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn misspelt_settings_are_reported_and_those_of_other_programs_are_ignored() {
    let mut env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    env.set("POST_RETRY_INTERVALL_MINUTES", "30");
    let file = "\u{feff}APP_NAME=Bob's nice shop # really\r\nAPP_KEY=\"-----BEGIN-----\r\nMAX_POST_RETRIES=no\r\n\
                -----END-----\"\r\nNOT A SETTING\r\nexport MAX_POST_RETRIES='3'\r\nPOST_RETRY_EXPIRE=\r\n";
    std::fs::write(env.folder().join(".env"), file).unwrap();
    let ran = env.run(&["list-failed", "--json"]).await.expect(0);
    assert_eq!(ran.json()["posts"][0]["maxRetries"], 3);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("`POST_RETRY_INTERVALL_MINUTES`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("was `POST_RETRY_INTERVAL_MINUTES` meant?"), "{}", ran.stderr);
    let quiet = env.run(&["list-failed", "-q"]).await.expect(0);
    assert_eq!(quiet.stdout, "");
    assert_eq!(quiet.stderr, "");
    env.set("POST_RETRY_INTERVALL_MINUTES", "");

    std::fs::write(env.folder().join(".env"), "APP=a b\nTIKTOK_CLIENT_SECRET=hush hush\n").unwrap();
    let ran = env.run(&["stats"]).await.expect(4);
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("TIKTOK_CLIENT_SECRET"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hush"), "{}", ran.stderr);
    std::fs::remove_file(env.folder().join(".env")).unwrap();

    let mut command = env.command(&["stats"]);
    command.env("POST_COLLECTION", std::ffi::OsStr::from_bytes(b"caf\xE9"));
    let ran = command.output().await.unwrap();
    assert_eq!(ran.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("`POST_COLLECTION` is not valid UTF-8"), "{ran:?}");
    let mut command = env.command(&["stats"]);
    command.env("APP_TITLE", std::ffi::OsStr::from_bytes(b"caf\xE9"));
    assert_eq!(command.output().await.unwrap().status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_store_is_told_and_the_applications_own_is_not() {
    let mut env = TestEnv::new().await;
    let wanted = format!("sqlite:{}", env.folder().join("wanted.db").display());
    env.set("POSTRETRY_STOR", &wanted);
    for arguments in [&["stats"][..], &["stats", "--store", &env.uri]] {
        let ran = env.run(arguments).await.expect(0);
        let expected = "`POSTRETRY_STOR` is not a setting of postretry; was `POSTRETRY_STORE` meant?\n";
        assert!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
    }
    assert!(!env.folder().join("wanted.db").exists());
    env.set("POSTRETRY_STOR", "");

    // The address of the application's own database is a slip only if there is no other store.
    let own = env.uri.clone();
    env.set("MONGODB_URI", "");
    env.set("MONGO_URI", "mongodb://localhost/application");
    let said = env.run(&["stats"]).await.expect(4).stderr;
    assert!(said.contains("`MONGO_URI` is not a setting of postretry; was `MONGODB_URI` meant?"), "{said}");
    let ran = env.run(&["stats", "--store", &own]).await.expect(0);
    assert!(!ran.stderr.contains("MONGO_URI"), "{}", ran.stderr);
    env.set("POSTRETRY_STORE", &own);
    let ran = env.run(&["stats"]).await.expect(0);
    assert!(!ran.stderr.contains("MONGO_URI"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_written_is_an_error() {
    let env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    let waiting = || doc! { "failedAt": date(now()), "retryCount": 3 };
    let retried = [env.post("instagram", waiting()).await, env.post("instagram", waiting()).await];
    let reset = [env.post("youtube", waiting()).await, env.post("youtube", waiting()).await];
    for arguments in [
        &["run"][..],
        &["run", "--json"],
        &["run", "--dry-run"],
        &["run", "--dry-run", "--json"],
        &["list-failed"],
        &["list-failed", "--json"],
        &["list-failed", "--format", "csv"],
        &["list-failed", &reset[0]],
        &["list-failed", "--json", &reset[0]],
        &["retry", &retried[0]],
        &["retry", "--json", &retried[1]],
        &["reset", &reset[0]],
        &["reset", "--json", &reset[1]],
        &["stats"],
        &["stats", "--json"],
        &["stats", "--format", "prometheus"],
        &["reset", "--dry-run", &reset[0]],
        &["--help"],
        &["help"],
        &["-V"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let process = env.command(arguments).stdout(Stdio::from(full)).spawn().unwrap();
        let ran = process.wait_with_output().await.unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("error: failed to write the result: "), "{arguments:?}: {said}");
    }
    assert_eq!(env.sandbox.published().len(), 3, "what was done is done");
    for id in reset {
        assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(0), "what was done is done");
    }
    let mut process = env.command(&["stats"]).spawn().unwrap();
    drop(process.stdout.take());
    assert_eq!(process.wait().await.unwrap().code(), Some(0), "a reader that has gone away is no error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_is_given_up_is_told_once_until_it_changes() {
    let mut env = TestEnv::new().await;
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", env.sandbox.url()));
    env.sandbox.fault(Fault::always("nowhere", Act::json(200, &json!({}))));
    env.sandbox.world().revoke_refresh("tiktok");
    env.post("tiktok", Document::new()).await;
    for _ in 0..3 {
        env.run(&["run"]).await.expect(3);
        assert_eq!(env.sandbox.calls("nowhere"), 1);
    }
    let stats = env.run(&["stats", "--json"]).await.expect(0).json();
    let given_up = &stats["givenUp"][0];
    assert_eq!(
        (&given_up["platform"], &given_up["category"], &given_up["waiting"]),
        (&json!("tiktok"), &json!("auth"), &json!(1))
    );
    assert!(given_up["since"].as_str().unwrap() < stats["runs"]["lastRun"].as_str().unwrap(), "{stats}");
    env.sandbox.world().sign_in("tiktok", "sandbox-tiktok-renewed");
    env.set("TIKTOK_REFRESH_TOKEN", "sandbox-tiktok-renewed");
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    assert_eq!(env.run(&["stats", "--json"]).await.expect(0).json()["givenUp"], json!([]));
    env.sandbox.world().revoke_refresh("tiktok");
    env.sandbox.world().revoke_access("tiktok");
    env.post("tiktok", Document::new()).await;
    env.run(&["run"]).await.expect(3);
    assert_eq!(env.sandbox.calls("nowhere"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_and_rate_limits_end_by_themselves_and_raise_no_alert() {
    let mut env = TestEnv::new().await;
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", env.sandbox.url()));
    env.sandbox.fault(Fault::always("nowhere", Act::json(200, &json!({}))));
    env.sandbox.fault(Fault::always("youtube.session", Act::youtube(403, "quotaExceeded", "")));
    let too_fast = Act::Answer {
        status: 429,
        body: r#"{"error":{"code":"rate_limit_exceeded","message":"","log_id":"x"}}"#.to_owned(),
        headers: [("retry-after".to_owned(), "7200".to_owned())].into(),
    };
    env.sandbox.fault(Fault::always("tiktok.video_init", too_fast));
    let posts = [
        (env.post("tiktok", Document::new()).await, "rate_limited"),
        (env.post("youtube", Document::new()).await, "quota_exhausted"),
    ];
    assert_eq!(env.pass(0).await["totals"]["deferred"], 2);
    for (id, category) in posts {
        assert_eq!(env.get(&id).await.get_str("failureCategory").ok(), Some(category));
    }
    assert_eq!(env.sandbox.calls("nowhere"), 0);
    // The webhook would have been called.
    env.post("youtube", doc! { "contentType": "carousel" }).await;
    env.pass(3).await;
    assert_eq!(env.sandbox.calls("nowhere"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_holds_neither_the_result_nor_a_stop() {
    let mut env = TestEnv::new().await;
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", env.sandbox.url()));
    env.sandbox.fault(Fault::always("nowhere", Act::HoldRequest));
    env.post("youtube", doc! { "contentType": "carousel" }).await;
    let result = env.folder().join("result");
    let file = std::fs::File::create(&result).unwrap();
    let process = env.command(&["run"]).stdout(Stdio::from(file)).spawn().unwrap();
    until(async || env.sandbox.calls("nowhere") == 1).await;
    let printed = std::fs::read_to_string(&result).unwrap();
    assert!(printed.contains("permanently failed"), "{printed}");
    let stopped = Instant::now();
    signal(&process, "-TERM").await;
    let output = process.wait_with_output().await.unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    assert_eq!(output.status.code(), Some(3), "the pass was over");
    assert!(String::from_utf8_lossy(&output.stderr).contains("ALERT_WEBHOOK_URL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_is_answered_at_once() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once("tiktok.video_init", Act::Slow { ms: 2000 }));
    env.post("tiktok", Document::new()).await;
    let process = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.calls("tiktok.video_init") == 1).await;
    signal(&process, "-INT").await;
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("stopping, 1 in flight, at most 20 s; Ctrl-C again to cut short\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_post_is_reported_with_its_platform() {
    let env = TestEnv::new().await;
    let id = env.post("tiktok", doc! { "retryCount": "three" }).await;
    let output = env.pass(0).await;
    let malformed = &output["malformed"][0];
    assert_eq!((&malformed["id"], &malformed["platform"]), (&json!(id), &json!("tiktok")));
    assert_eq!(malformed["field"], "retryCount");
    let unknown = env.posts.insert_one(failed_post("myspace", doc! { "_id": ObjectId::new() })).await.unwrap();
    let output = env.pass(0).await;
    let row = output["malformed"].as_array().unwrap().iter().find(|row| row["platform"] == "myspace").unwrap();
    assert_eq!(row["id"], unknown.inserted_id.as_object_id().unwrap().to_hex());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_with_unknown_platforms_are_named_and_listed_by_their_own_dates() {
    let env = TestEnv::new().await;
    let failed = |hours: i64| doc! { "status": "failed", "lastFailedAt": hours_ago(hours) };
    let fields = doc! {
        "platforms": ["facebook", "myspace", "tiktok"],
        "platformStatus": { "facebook": failed(1), "myspace": failed(9), "tiktok": { "status": "posted" } },
        "failedAt": hours_ago(20), "updatedAt": hours_ago(3),
    };
    let unknown = env.post("tiktok", fields).await;
    let known = env.post("instagram", doc! { "failedAt": hours_ago(5) }).await;

    let all = [[unknown.as_str(), "facebook"], [known.as_str(), "instagram"], [unknown.as_str(), "myspace"]];
    for (arguments, expected, total) in [
        ("", 0..3, 3),
        ("--since 2h", 0..1, 1),
        ("--since 6h", 0..2, 2),
        ("--since 10h --skip 2", 2..3, 3),
        ("--limit 1", 0..1, 3),
        ("--skip 1 --limit 2", 1..3, 3),
    ] {
        let arguments: Vec<_> = ["list-failed", "--json"].into_iter().chain(arguments.split_whitespace()).collect();
        let list = env.run(&arguments).await.expect(0).json();
        let listed = list["posts"].as_array().unwrap().iter();
        let listed: Vec<_> = listed.map(|row| ["id", "platform"].map(|name| row[name].as_str().unwrap())).collect();
        assert_eq!((listed.as_slice(), &list["total"]), (&all[expected], &json!(total)), "{arguments:?}");
    }
    let stats = env.run(&["stats", "--json"]).await.expect(0).json();
    assert_eq!((&stats["totalFailed"], &stats["malformed"]), (&json!(3), &json!(2)), "{stats}");

    for (command, outcome, code) in [("retry", "malformed", 1), ("reset", "reset", 0)] {
        let done = env.run(&[command, "--json", &unknown]).await.expect(code).json();
        let named = ["facebook", "myspace"].map(|platform| [unknown.as_str(), platform, outcome]);
        assert_eq!(rows(&done), named, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_a_retry_and_says_what_it_leaves_out() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once("tiktok.video_init", Act::Slow { ms: 2000 }));
    let (first, second) = (env.post("tiktok", Document::new()).await, env.post("tiktok", Document::new()).await);
    let process = env.command(&["retry", "--json", &first, &second]).spawn().unwrap();
    until(async || env.sandbox.calls("tiktok.video_init") == 1).await;
    signal(&process, "-INT").await;
    let output = process.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopping, 1 in flight, at most 20 s; Ctrl-C again to cut short\n"), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows(&result), [[first.as_str(), "tiktok", "posted"]]);
    assert_eq!((env.get(&second).await.get_i32("retryCount").ok(), env.sandbox.published().len()), (Some(0), 1));
    assert!(said.contains("stopped: 1 post was not retried"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_that_it_has_created_a_store() {
    let mut env = TestEnv::new().await;
    let commands: [(&[&str], i32); 8] = [
        (&["run", "-q"], 0),
        (&["run", "-q", "--dry-run"], 0),
        (&["list-failed", "-q"], 0),
        (&["list-failed", "-q", "x"], 6),
        (&["retry", "-q", "x"], 6),
        (&["reset", "-q", "x"], 6),
        (&["reset", "-q", "--permanent", "--yes"], 0),
        (&["stats", "-q", "--json"], 0),
    ];
    for (number, (arguments, code)) in commands.into_iter().enumerate() {
        env.set("POSTRETRY_STORE", &format!("sqlite:mistyped-{number}.db"));
        let ran = env.run(arguments).await.expect(code);
        let warning = format!("created a new, empty post store at `mistyped-{number}.db`");
        assert_eq!(ran.stderr.matches(&warning).count(), 1, "{arguments:?}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_account_is_reported_once_and_another_reason_again() {
    let mut env = TestEnv::new().await;
    env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", env.sandbox.url()));
    env.sandbox.fault(Fault::always("nowhere", Act::json(200, &json!({}))));
    env.sandbox.fault(Fault::always("tiktok.video_init", Act::tiktok(403, "spam_risk_user_banned_from_posting")));
    env.post("tiktok", Document::new()).await;
    let latest = || {
        let world = env.sandbox.world();
        let alert = world.requests.iter().rfind(|request| request.endpoint == "nowhere");
        alert.map(|request| request.body["givenUp"][0]["category"].clone())
    };
    for _ in 0..2 {
        env.run(&["run"]).await.expect(3);
        assert_eq!((env.sandbox.calls("nowhere"), latest()), (1, Some(json!("account_restricted"))));
    }
    env.sandbox.world().revoke_refresh("tiktok");
    env.sandbox.world().revoke_access("tiktok");
    env.run(&["run"]).await.expect(3);
    assert_eq!((env.sandbox.calls("nowhere"), latest()), (2, Some(json!("auth"))));
}
