//! Posts for several platforms: each failed entry is a delivery of its own.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};

use crate::support::env::{TestEnv, assert_adds_up, date_of, hours_ago, until};

/// A failed entry of `platformStatus`, as the application writes it.
fn failed() -> Document {
    doc! { "status": "failed", "error": "the first failure", "lastFailedAt": hours_ago(2), "retryCount": 1 }
}

/// Puts in a post for several platforms with these statuses. Its id.
async fn several(env: &TestEnv, platforms: &[&str], statuses: Document, fields: Document) -> String {
    let id = ObjectId::new();
    let mut document = doc! {
        "_id": id, "title": "A title", "caption": "A caption", "videoPath": "a.mp4", "status": "failed",
        "platforms": platforms.to_vec(), "platformStatus": statuses, "error": "of the post", "updatedAt": hours_ago(1),
        "hashtags": { "tiktok": ["fallback"], "instagram": [] }, "__v": 2,
    };
    document.extend(fields);
    env.posts.insert_one(document).await.unwrap();
    id.to_hex()
}

fn at<'a>(document: &'a Document, path: &str) -> &'a Bson {
    let (last, parents) = path.rsplit_once('.').map_or((path, ""), |(parents, last)| (last, parents));
    let parent = parents.split('.').filter(|name| !name.is_empty());
    let parent = parent.fold(document, |document, name| document.get_document(name).unwrap_or(document));
    parent.get(last).unwrap_or(&Bson::Null)
}

fn text<'a>(document: &'a Document, path: &str) -> Option<&'a str> {
    at(document, path).as_str()
}

/// What is not postretry's to change.
fn foreign(document: &Document) -> Document {
    let ours = [
        "postretry",
        "updatedAt",
        "status",
        "postedAt",
        "error",
        "tiktokVideoId",
        "tiktokShareUrl",
        "instagramMediaId",
        "instagramPermalink",
        "youtubeVideoId",
        "youtubeUrl",
    ];
    let mut rest: Document = document.clone().into_iter().filter(|(name, _)| !ours.contains(&name.as_str())).collect();
    if let Ok(statuses) = rest.get_document_mut("platformStatus") {
        for (_, status) in statuses.iter_mut() {
            if let Some(status) = status.as_document_mut() {
                for name in ["status", "postedAt", "mediaId", "permalink", "shareUrl", "error"] {
                    status.remove(name);
                }
            }
        }
    }
    rest
}

fn published_on(env: &TestEnv, platform: &str) -> usize {
    env.sandbox.published().iter().filter(|post| post.platform == platform).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_platforms_one_is_posted_one_banned_and_one_fails_twice() {
    let env = TestEnv::new().await;
    let statuses = doc! {
        "tiktok": { "status": "posted", "mediaId": "7", "postedAt": hours_ago(3) },
        "instagram": failed(), "youtube": failed(),
    };
    let fields = doc! { "tiktokVideoId": "7", "custom": { "a": [1, 2] } };
    let id = several(&env, &["tiktok", "instagram", "youtube"], statuses, fields).await;
    let before = env.document(&id).await;
    env.sandbox.fault(Fault::always("instagram.container", Act::graph(400, 368, None)));
    env.sandbox.fault(Fault::always("youtube.session", Act::json(503, &json!({}))));

    let report = env.run(&["run", "--format", "json"]).await.expect(3).json();
    let outcomes = outcomes(&report);
    assert_eq!(outcomes, [("instagram", "deferred"), ("youtube_shorts", "failed")], "{report}");
    let after = env.document(&id).await;
    assert_eq!(text(&after, "postretry.instagram.failureCategory"), Some("account_restricted"), "{after}");
    assert_eq!(text(&after, "postretry.youtube.failureCategory"), Some("platform_outage"));
    assert_eq!(at(&after, "postretry.youtube.retryCount"), &Bson::Int32(1));
    assert_eq!(text(&after, "status"), Some("failed"));
    assert_eq!(text(&after, "error"), Some("of the post"), "the root's error is the application's");
    assert_ne!(text(&after, "platformStatus.youtube.error"), Some("the first failure"));
    assert_eq!(at(&after, "platformStatus.youtube.retryCount"), &Bson::Int32(1), "not ours");
    assert_eq!(foreign(&after), foreign(&before));

    // Its backoff is over; then it succeeds, but Instagram is still to come.
    env.sandbox.world().faults.retain(|fault| fault.on == "instagram.container");
    let aged = doc! { "$set": { "platformStatus.youtube.lastFailedAt": hours_ago(50) } };
    env.posts.update_one(doc! {}, aged).await.unwrap();
    env.run(&["run"]).await.expect(3);
    let after = env.document(&id).await;
    assert_eq!(text(&after, "platformStatus.youtube.status"), Some("posted"), "{after}");
    assert_eq!(text(&after, "status"), Some("failed"), "never handed back half done");
    assert_eq!(at(&after, "platformStatus.youtube.error"), &Bson::Null);
    assert!(
        text(&after, "platformStatus.youtube.mediaId").is_some()
            && text(&after, "platformStatus.youtube.shareUrl").is_some()
    );
    assert_eq!(text(&after, "youtubeVideoId"), text(&after, "platformStatus.youtube.mediaId"));
    assert_eq!(text(&after, "youtubeUrl"), text(&after, "platformStatus.youtube.shareUrl"));

    // The ban is lifted, and the post is complete.
    env.sandbox.world().faults.clear();
    env.run(&["run"]).await.expect(0);
    let after = env.document(&id).await;
    assert_eq!(text(&after, "platformStatus.instagram.status"), Some("posted"), "{after}");
    assert!(text(&after, "platformStatus.instagram.permalink").is_some());
    assert_eq!(text(&after, "status"), Some("posted"));
    assert_eq!(at(&after, "error"), &Bson::Null);
    assert!(date_of(&after, "postedAt") <= date_of(&after, "updatedAt"));
    assert_eq!(
        (published_on(&env, "tiktok"), published_on(&env, "instagram"), published_on(&env, "youtube")),
        (0, 1, 1)
    );
    assert_eq!(foreign(&after).get("custom"), foreign(&before).get("custom"));
}

fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    let posts = report["posts"].as_array().unwrap().iter();
    let mut outcomes: Vec<_> =
        posts.map(|post| (post["platform"].as_str().unwrap(), post["outcome"].as_str().unwrap())).collect();
    outcomes.sort_unstable();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_failed_delivery_is_left_alone() {
    let env = TestEnv::new().await;
    for (platforms, statuses, fields) in [
        (vec!["tiktok", "youtube"], doc! { "tiktok": { "status": "pending" }, "youtube": Bson::Null }, doc! {}),
        (vec!["tiktok"], doc! { "tiktok": { "status": "posting" } }, doc! { "platform": "tiktok" }),
        (vec!["instagram"], doc! { "instagram": { "retryCount": 0 } }, doc! { "platform": "instagram" }),
        // Not an entry of the post any more.
        (vec!["tiktok", "youtube"], doc! { "tiktok": { "status": "posted" }, "instagram": failed() }, doc! {}),
        // In another publisher's hands.
        (
            vec!["tiktok", "youtube"],
            doc! { "tiktok": failed(), "youtube": { "status": "posted" } },
            doc! { "sheetTriggeredAt": hours_ago(1) },
        ),
        (
            vec!["tiktok", "youtube"],
            doc! { "tiktok": failed(), "youtube": failed() },
            doc! { "status": "partial_posted" },
        ),
        (vec!["tiktok", "youtube"], doc! { "tiktok": failed(), "youtube": failed() }, doc! { "status": "posting" }),
    ] {
        several(&env, &platforms, statuses, fields).await;
    }
    env.post("tiktok", doc! { "sheetTriggeredAt": hours_ago(1) }).await;
    let report = env.pass(0).await;
    assert_eq!(report["totals"]["due"], 0, "{report}");
    assert_eq!(env.sandbox.published().len(), 0);
    let listed = env.run(&["list-failed", "--format", "json"]).await.expect(0).json();
    assert_eq!((&listed["total"], &listed["posts"]), (&json!(0), &json!([])), "{listed}");
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!(stats["totalFailed"], 0, "{stats}");
}

/// The model of an application can have a default for `platform`, so that only the list says which one is meant.
#[tokio::test(flavor = "multi_thread")]
async fn statistics_and_lists_name_the_platform_that_the_list_names() {
    let env = TestEnv::new().await;
    for fields in [
        doc! { "platform": "tiktok", "platforms": ["youtube"] },
        doc! { "platform": "tiktok", "platforms": ["youtube_shorts"], "permanentlyFailed": true },
        doc! { "platform": "youtube", "platforms": ["youtube_shorts"] },
        doc! { "platform": "instagram", "platforms": ["tiktok"], "failureCategory": "auth" },
        doc! { "platform": "myspace", "platforms": ["instagram"] },
        doc! { "platform": "tiktok", "platforms": ["myspace"] },
        doc! { "platform": "tiktok", "platforms": ["instagram"], "title": 7 },
        doc! { "platform": "tiktok", "platforms": ["youtube"], "sheetTriggeredAt": hours_ago(1) },
        doc! { "platform": "youtube", "platforms": ["instagram"], "sheetTriggeredAt": hours_ago(1) },
        doc! { "platform": "youtube", "platforms": ["tiktok"], "sheetTriggeredAt": hours_ago(1) },
        doc! { "platform": "tiktok", "platforms": [], "sheetTriggeredAt": hours_ago(1) },
        doc! { "platform": "tiktok", "platforms": [7], "sheetTriggeredAt": hours_ago(1) },
        doc! { "platform": "tiktok", "platforms": ["instagram"], "platformStatus": { "instagram": failed() } },
        doc! { "platform": Bson::Null, "platforms": ["instagram"] },
    ] {
        let platform = fields.get_str("platform").unwrap_or("tiktok").to_owned();
        env.post(&platform, fields).await;
    }
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    // Of the malformed ones one is for Instagram.
    for (platform, failed, permanent, listed) in
        [("tiktok", 1, 0, 1), ("instagram", 4, 0, 5), ("youtube_shorts", 4, 1, 4)]
    {
        let rows = stats["byPlatform"].as_array().unwrap();
        let counted = rows.iter().find(|row| row["platform"] == platform).unwrap();
        assert_eq!(counted["failed"], failed, "{platform}: {stats}");
        assert_eq!(counted["permanentlyFailed"], permanent, "{platform}: {stats}");
        let list = env.run(&["list-failed", "--platform", platform, "--format", "json"]).await.expect(0).json();
        assert_eq!(list["posts"].as_array().unwrap().len(), listed, "{platform}: {list}");
        assert_eq!(list["total"], listed, "{platform}: {list}");
    }
    assert_eq!(stats["malformed"], 3, "{stats}");
    assert_eq!(stats["totalFailed"], 12, "{stats}");
    let list = env.run(&["list-failed", "--format", "json"]).await.expect(0).json();
    assert_eq!((list["posts"].as_array().unwrap().len(), &list["total"]), (12, &json!(12)), "{list}");
    assert_eq!(stats["byCategory"], json!([{ "category": "auth", "count": 1 }]), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_of_the_model_make_no_post_for_several_platforms() {
    let env = TestEnv::new().await;
    let nulls = doc! { "tiktok": Bson::Null, "instagram": Bson::Null, "youtube_shorts": Bson::Null };
    let mut ids = Vec::new();
    for fields in [
        doc! { "platforms": [], "platformStatus": nulls },
        doc! { "platforms": Bson::Null, "platformStatus": {} },
        doc! { "platforms": ["tiktok"], "platform": Bson::Undefined },
        doc! { "platforms": ["youtube"], "platform": "tiktok" },
    ] {
        ids.push(env.post("tiktok", fields).await);
    }
    let report = env.pass(0).await;
    assert_eq!(report["totals"]["posted"], 4, "{report}");
    for id in &ids {
        let post = env.document(id).await;
        assert_eq!(text(&post, "status"), Some("posted"), "{post}");
        assert!(!post.contains_key("postretry"), "{post}");
    }
    assert_eq!(published_on(&env, "tiktok"), 3);
    assert!(text(&env.document(&ids[3]).await, "youtubeVideoId").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_whose_list_names_another_platform_than_its_field_is_found_without_any_other() {
    let env = TestEnv::new().await;
    let fields = doc! { "platforms": ["youtube"], "platform": "tiktok" };
    let id = env.post("tiktok", fields.clone()).await;
    let report = env.pass(0).await;
    assert_eq!(report["byPlatform"]["youtube_shorts"]["posted"], 1, "{report}");
    assert_eq!(text(&env.document(&id).await, "status"), Some("posted"));

    let mut spent = fields;
    spent.insert("retryCount", 5);
    let id = env.post("tiktok", spent).await;
    let report = env.pass(0).await;
    assert_eq!(report["totals"]["flagged"], 1, "{report}");
    assert!(env.document(&id).await.get_bool("permanentlyFailed").unwrap());

    let unclear = doc! { "platforms": ["tiktok", "instagram"], "platform": "instagram" };
    env.post("tiktok", unclear).await;
    let report = env.pass(0).await;
    assert_eq!(report["malformed"].as_array().map(Vec::len), Some(1), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_posts_and_entries_are_told_and_nothing_of_them_is_published() {
    let env = TestEnv::new().await;
    let two = ["tiktok", "youtube"];
    let no_status =
        several(&env, &two, doc! { "tiktok": Bson::Null }, doc! { "platform": "tiktok", "failedAt": hours_ago(2) })
            .await;
    let no_list =
        several(&env, &[], doc! { "tiktok": failed() }, doc! { "platforms": "tiktok", "platform": "tiktok" }).await;
    let wrong = doc! { "tiktok": { "status": "failed", "lastFailedAt": "yesterday" }, "youtube": failed() };
    let one_entry = several(&env, &two, wrong, doc! {}).await;
    let unknown =
        several(&env, &["myspace", "youtube"], doc! { "myspace": failed(), "youtube": failed() }, doc! {}).await;
    let retry_state = doc! { "postretry": { "tiktok": { "retryCount": "three" } } };
    let wrong_state =
        several(&env, &two, doc! { "tiktok": failed(), "youtube": { "status": "posted" } }, retry_state).await;

    let report = env.pass(0).await;
    let mut told: Vec<_> = report["malformed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|post| {
            (
                post["id"].as_str().unwrap().to_owned(),
                post["platform"].as_str().unwrap_or_default().to_owned(),
                post["field"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    told.sort();
    let mut expected = vec![
        (no_status.clone(), "tiktok", "platformStatus"),
        (one_entry.clone(), "tiktok", "platformStatus.tiktok.lastFailedAt"),
        (unknown.clone(), "myspace", "platform"),
        (wrong_state.clone(), "tiktok", "postretry.tiktok.retryCount"),
    ];
    // That of the list is found by its platform or not at all before it is asked for.
    if told.iter().any(|(id, ..)| *id == no_list) {
        expected.push((no_list.clone(), "tiktok", "platforms"));
    }
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(id, p, f)| (id, p.to_owned(), f.to_owned())).collect();
    assert_eq!(told, expected, "{report}");
    assert_eq!((published_on(&env, "tiktok"), published_on(&env, "youtube")), (0, 2), "the other entries go out");
    let listed = env.run(&["list-failed", "--format", "json"]).await.expect(0).json();
    assert_eq!(listed["total"], 5, "{listed}");
    assert_eq!(listed["posts"].as_array().unwrap().len(), 5, "{listed}");
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!((&stats["totalFailed"], &stats["malformed"]), (&json!(5), &json!(5)), "{stats}");
    assert_adds_up(&stats);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_one_of_several_deliveries_name_its_platform() {
    let env = TestEnv::new().await;
    let state = doc! { "permanentlyFailed": true, "failureCategory": "ambiguous", "retryCount": 1 };
    let id = several(
        &env,
        &["instagram", "youtube"],
        doc! { "instagram": failed(), "youtube": failed() },
        doc! { "postretry": { "instagram": state.clone(), "youtube": state } },
    )
    .await;
    let shown = env.run(&["list-failed", &id]).await.expect(0).stdout;
    for platform in ["instagram", "youtube_shorts"] {
        for command in ["reset --posted", "retry --force", "reset"] {
            assert!(shown.contains(&format!("`postretry {command} --platform {platform} {id}`")), "{shown}");
        }
    }
    env.run(&["reset", "--posted", "--platform", "instagram", &id]).await.expect(0);
    let shown = env.run(&["list-failed", &id]).await.expect(0).stdout;
    assert!(shown.contains(&format!("`postretry reset --posted --platform youtube_shorts {id}`")), "{shown}");
    let json = env.run(&["list-failed", &id, "--platform", "youtube", "--json"]).await.expect(0).json();
    let explanation = json["posts"][0]["explanation"].as_str().unwrap();
    assert!(explanation.contains(&format!("`postretry reset --posted --platform youtube_shorts {id}`")), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_the_application_has_recorded_is_public_already() {
    let env = TestEnv::new().await;
    let recorded = doc! { "status": "failed", "mediaId": "abc", "lastFailedAt": hours_ago(2) };
    let id =
        several(&env, &["instagram", "youtube"], doc! { "instagram": recorded, "youtube": failed() }, doc! {}).await;
    let report = env.pass(3).await;
    assert_eq!((&report["totals"]["flagged"], &report["totals"]["posted"]), (&json!(1), &json!(1)), "{report}");
    let post = env.document(&id).await;
    assert_eq!(text(&post, "postretry.instagram.failureCategory"), Some("ambiguous"), "{post}");
    assert!(text(&post, "platformStatus.instagram.error").unwrap().contains("abc"));
    assert_eq!(published_on(&env, "instagram"), 0);
    // Found there, it is settled by a person; the id stays.
    env.run(&["reset", "--posted", &id, "--url", "https://www.instagram.com/reel/x/"]).await.expect(0);
    let post = env.document(&id).await;
    assert_eq!(text(&post, "platformStatus.instagram.mediaId"), Some("abc"));
    assert_eq!(text(&post, "platformStatus.instagram.permalink"), Some("https://www.instagram.com/reel/x/"));
    assert_eq!(
        (text(&post, "status"), text(&post, "platformStatus.instagram.status")),
        (Some("posted"), Some("posted"))
    );
    let history = at(&post, "postretry.instagram.retryHistory").as_array().unwrap();
    let settled = history.last().unwrap().as_document().unwrap();
    assert!(settled.get_str("settledBy").is_ok_and(|by| by.contains('@')), "{settled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_takes_an_entry_back_while_it_runs_comes_first() {
    for change in [
        doc! { "platformStatus.tiktok.status": "skipped" },
        doc! { "status": "draft" },
        doc! { "sheetTriggeredAt": hours_ago(0) },
    ] {
        let env = TestEnv::new().await;
        let statuses = doc! { "tiktok": failed(), "youtube": { "status": "posted" } };
        let id = several(&env, &["tiktok", "youtube"], statuses, doc! {}).await;
        env.sandbox.fault(Fault::once("tiktok.creator_info", Act::Slow { ms: 1500 }));
        let process = env.command(&["run", "--format", "json"]).spawn().unwrap();
        until(async || env.sandbox.calls("tiktok.creator_info") > 0).await;
        env.posts.update_one(doc! {}, doc! { "$set": change.clone() }).await.unwrap();
        let output = process.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let post = env.document(&id).await;
        assert_eq!(published_on(&env, "tiktok"), 0, "{change}: {post}");
        assert_eq!(at(&post, "postretry.tiktok.retryCount"), &Bson::Int32(0), "{change}: {post}");
        assert_eq!(at(&post, "postretry.tiktok.retryClaim"), &Bson::Null, "{change}: {post}");
        assert_eq!(text(&post, "platformStatus.tiktok.error"), Some("the first failure"), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_texts_and_files_come_from_where_the_application_puts_them() {
    let env = TestEnv::new().await;
    std::fs::create_dir_all(env.folder().join("assets/storage")).unwrap();
    env.file("storage/b.mp4", &std::fs::read(env.folder().join("assets/a.mp4")).unwrap());
    let statuses =
        doc! { "tiktok": { "status": "failed" }, "youtube": { "status": "failed" }, "instagram": Bson::Null };
    let fields = doc! { "videoPath": "/storage/b.mp4", "updatedAt": hours_ago(2), "error": Bson::Null };
    let id = several(&env, &["tiktok", "youtube", "instagram"], statuses, fields).await;
    env.sandbox.fault(Fault::always("youtube.session", Act::json(503, &json!({}))));
    env.pass(0).await;
    let post = env.document(&id).await;
    assert_eq!(text(&post, "platformStatus.tiktok.status"), Some("posted"), "{post}");
    assert_eq!(text(&post, "postretry.youtube.failureCategory"), Some("platform_outage"), "{post}");
    // With no date at all it is the last change before the first attempt, and stays that.
    let age = date_of(&post, "updatedAt")
        - date_of(post.get_document("postretry").unwrap().get_document("youtube").unwrap(), "failedAt");
    assert!(age.num_minutes() >= 119, "{age}");
    let title = env.sandbox.published()[0].text.clone();
    assert!(title.contains("#fallback"), "the hashtags of TikTok serve all: {title}");
    let listed = env.run(&["list-failed", &id, "--format", "json"]).await.expect(0).json();
    assert_eq!(listed["posts"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!((&listed["posts"][0]["platform"], &listed["post"]), (&json!("youtube_shorts"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_speak_of_deliveries() {
    let env = TestEnv::new().await;
    let statuses = doc! { "tiktok": failed(), "instagram": failed(), "youtube": { "status": "skipped" } };
    let id = several(&env, &["tiktok", "instagram", "youtube"], statuses, doc! {}).await;
    env.sandbox.fault(Fault::always("instagram.container", Act::json(503, &json!({}))));

    let listed = env.run(&["list-failed", &id, "--format", "json"]).await.expect(0).json();
    let platforms: Vec<_> = listed["posts"].as_array().unwrap().iter().map(|post| post["platform"].clone()).collect();
    assert_eq!(platforms, ["tiktok", "instagram"], "{listed}");
    assert_eq!(listed["posts"][0]["error"], "the first failure");
    let narrowed = env.run(&["list-failed", &id, "--platform", "instagram", "--json"]).await.expect(0).json();
    assert_eq!((&narrowed["posts"][0]["platform"], &narrowed["post"]), (&json!("instagram"), &Value::Null));
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!((&stats["totalFailed"], &stats["due"]), (&json!(2), &json!(2)), "{stats}");

    let retried = env.run(&["retry", &id, "--platform", "tiktok", "--format", "json"]).await.expect(0).json();
    assert_eq!(retried["posts"].as_array().unwrap().len(), 1, "{retried}");
    assert_eq!(
        (&retried["posts"][0]["platform"], &retried["posts"][0]["outcome"]),
        (&json!("tiktok"), &json!("posted"))
    );
    let again = env.run(&["retry", &id, "--platform", "tiktok", "--format", "json"]).await.expect(6).json();
    assert_eq!(again["posts"][0]["outcome"], "notFailed", "{again}");
    let retried = env.run(&["retry", &id, "--format", "json"]).await.expect(3).json();
    assert_eq!(
        (&retried["posts"][0]["platform"], &retried["posts"][0]["outcome"]),
        (&json!("instagram"), &json!("failed"))
    );

    let reset = env.run(&["reset", &id, "--platform", "instagram", "--format", "json"]).await.expect(0).json();
    assert_eq!((&reset["posts"][0]["platform"], &reset["posts"][0]["outcome"]), (&json!("instagram"), &json!("reset")));
    let post = env.document(&id).await;
    assert_eq!(at(&post, "postretry.instagram.retryCount"), &Bson::Int32(0), "{post}");
    assert_eq!(published_on(&env, "tiktok"), 1);
}

/// The application saves the document while both of its deliveries are published by two hosts.
#[tokio::test(flavor = "multi_thread")]
async fn two_deliveries_and_a_save_of_the_application_do_not_disturb_each_other() {
    let env = TestEnv::new().await;
    let statuses = doc! { "tiktok": failed(), "youtube": failed() };
    let id = several(&env, &["tiktok", "youtube"], statuses, doc! {}).await;
    env.sandbox.fault(Fault::once("tiktok.chunk", Act::Slow { ms: 2000 }));
    env.sandbox.fault(Fault::once("youtube.chunk", Act::Slow { ms: 2000 }));
    let hosts: Vec<_> = ["tiktok", "youtube_shorts"]
        .map(|platform| env.command(&["run", "--platform", platform]).spawn().unwrap())
        .into();
    until(async || env.sandbox.calls("tiktok.chunk") > 0 && env.sandbox.calls("youtube.chunk") > 0).await;
    // What Mongoose sends for a changed title.
    let save = doc! { "$set": { "title": "Another title", "updatedAt": hours_ago(0) }, "$inc": { "__v": 1 } };
    env.posts.update_one(doc! {}, save).await.unwrap();
    for host in hosts {
        let output = host.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let post = env.document(&id).await;
    assert_eq!(text(&post, "status"), Some("posted"), "{post}");
    assert_eq!((text(&post, "title"), at(&post, "__v")), (Some("Another title"), &Bson::Int32(3)));
    assert_eq!((published_on(&env, "tiktok"), published_on(&env, "youtube")), (1, 1));
}

/// Publishes one post, changes another that waits for the gap after it, and lets the pass end.
async fn changed_in_the_gap(first: Document, second: Document, change: Document) -> (TestEnv, Document) {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_GAP", "10s");
    let put = async |mut document: Document, hours: i64| {
        let id = ObjectId::new();
        document.extend(doc! { "_id": id, "failedAt": hours_ago(hours), "title": "A title", "videoPath": "a.mp4" });
        env.posts.insert_one(document).await.unwrap();
        id.to_hex()
    };
    put(first, 9).await;
    let id = put(second, 5).await;
    let process = env.command(&["run"]).spawn().unwrap();
    until(async || env.posted().await == 1).await;
    let filter = doc! { "_id": ObjectId::parse_str(&id).unwrap() };
    env.posts.update_one(filter, doc! { "$set": change }).await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let after = env.document(&id).await;
    (env, after)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_between_the_read_and_the_claim_counts() {
    let tiktok = || doc! { "status": "failed", "platform": "tiktok" };
    let entry = doc! { "status": "failed", "lastFailedAt": hours_ago(5) };
    let delivery = doc! {
        "status": "failed", "platforms": ["tiktok", "instagram"],
        "platformStatus": { "tiktok": entry, "instagram": { "status": "posted" } },
    };
    let cases = [
        (tiktok(), doc! { "platform": "instagram" }),
        (tiktok(), doc! { "tiktokVideoId": "773" }),
        (delivery, doc! { "platforms": ["instagram"] }),
    ];
    let ended = cases.map(|(second, change)| async {
        let (env, after) = changed_in_the_gap(tiktok(), second, change).await;
        assert_eq!(published_on(&env, "tiktok"), 1, "{after}");
        assert_eq!(text(&after, "status"), Some("failed"), "{after}");
        let place = if after.contains_key("platformStatus") { "postretry.tiktok." } else { "" };
        assert_eq!(at(&after, &format!("{place}retryClaim")), &Bson::Null, "{after}");
        assert_ne!(at(&after, &format!("{place}retryCount")), &Bson::Int32(1), "{after}");
    });
    futures_util::future::join_all(ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_the_place_of_a_date_is_told_once_and_the_pass_ends() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::always("tiktok.creator_info", Act::json(503, &json!({}))));
    for _ in 0..70 {
        env.post("tiktok", doc! { "failedAt": [hours_ago(500)] }).await;
    }
    let id = env.post("tiktok", doc! { "failedAt": hours_ago(400) }).await;
    let report = env.run(&["run", "--format", "json"]).await.expect(0).json();
    assert_eq!(report["malformed"].as_array().unwrap().len(), 70, "{report}");
    assert_eq!(env.get(&id).await.get_i32("retryCount").unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_that_cannot_be_read_or_has_no_date_is_not_harmed() {
    let env = TestEnv::new().await;
    let status = || doc! { "status": "failed" };
    let statuses = || doc! { "tiktok": status(), "youtube": status() };
    let wrong = doc! { "postretry": { "youtube": "x" }, "updatedAt": hours_ago(30) };
    let odd = several(&env, &["tiktok", "youtube"], statuses(), wrong).await;
    let mut dated = statuses();
    dated.insert("tiktok", failed());
    let undated = several(&env, &["tiktok", "youtube"], dated, doc! { "updatedAt": hours_ago(30) }).await;
    env.pass(0).await;
    let post = env.document(&odd).await;
    assert_eq!(text(&post, "platformStatus.tiktok.status"), Some("posted"), "{post}");
    assert_eq!(text(&post, "postretry.youtube"), Some("x"), "{post}");
    assert_eq!(published_on(&env, "youtube"), 1, "the one without a date is due, whatever its neighbour does");
    assert_eq!(text(&env.document(&undated).await, "status"), Some("posted"));
}
