//! What waits for a person, and what a dry run and an explanation say that a pass will do.

use std::path::PathBuf;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};
use serde_json::{Value, json};

use crate::store::insert_row;
use crate::support::env::{TestEnv, hours_ago};

/// Failed posts in one of the stores.
struct Posts {
    env: TestEnv,
    /// The SQLite file; none for MongoDB.
    file: Option<PathBuf>,
}

impl Posts {
    async fn in_mongodb() -> Self {
        Self { env: TestEnv::new().await, file: None }
    }

    async fn in_sqlite() -> Self {
        let mut env = TestEnv::new().await;
        let file = env.on_sqlite().await;
        Self { env, file: Some(file) }
    }

    /// A failed post that is due since an hour, with these fields over the usual ones. Its id.
    async fn add(&self, platform: &str, fields: Document) -> String {
        let Some(file) = &self.file else { return self.env.post(platform, fields).await };
        let id = ObjectId::new().to_hex();
        let mut row = doc! {
            "id": &id, "title": "A title", "caption": "A caption", "platform": platform, "status": "failed",
            "videoPath": "a.mp4", "failedAt": hours_ago(2), "error": "the first failure",
        };
        row.extend(fields);
        insert_row(file, &row);
        id
    }

    /// Category, number of posts and age of everything that waits for a person.
    async fn waiting(&self) -> Vec<[Value; 4]> {
        let stats = self.env.run(&["stats", "--json"]).await.expect(0).json();
        let entry = |entry: &Value| ["platform", "category", "waiting", "since"].map(|name| entry[name].clone());
        stats["givenUp"].as_array().unwrap().iter().map(entry).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_waits_until_it_has_accepted_the_account_and_is_told_once() {
    for mut posts in [Posts::in_mongodb().await, Posts::in_sqlite().await] {
        posts.env.set("ALERT_WEBHOOK_URL", &format!("{}/hooks/alerts", posts.env.sandbox.url()));
        posts.env.sandbox.fault(Fault::always("nowhere", Act::json(200, &json!({}))));
        posts.env.sandbox.world().revoke_refresh("tiktok");
        let id = posts.add("tiktok", Document::new()).await;
        // No alert comes from a `retry`, whose caller sees the result. So the next pass still has news.
        posts.env.run(&["retry", &id]).await.expect(3);
        assert!(posts.waiting().await.is_empty());
        assert_eq!(posts.env.sandbox.calls("nowhere"), 0);
        posts.env.run(&["run"]).await.expect(3);
        let first = posts.waiting().await;
        assert_eq!(first.len(), 1, "{first:?}");
        assert_eq!(first[0][..3], [json!("tiktok"), json!("auth"), json!(1)]);
        for (arguments, code) in [
            (&["retry", &id][..], 3),
            (&["run", "--limit", "0"], 0),
            (&["run", "--platform", "instagram"], 0),
            (&["run"], 3),
        ] {
            posts.env.run(arguments).await.expect(code);
            assert_eq!(posts.waiting().await, first, "{arguments:?}");
            assert_eq!(posts.env.sandbox.calls("nowhere"), 1, "{arguments:?}");
        }
        let text = posts.env.run(&["list-failed"]).await.expect(0).stdout;
        assert!(text.contains("1 post has been waiting for new TikTok credentials"), "{text}");

        posts.env.sandbox.world().sign_in("tiktok", "sandbox-tiktok-renewed");
        posts.env.set("TIKTOK_REFRESH_TOKEN", "sandbox-tiktok-renewed");
        posts.env.run(&["retry", &id]).await.expect(0);
        assert!(posts.waiting().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_without_due_posts_does_not_forget_that_a_platform_waits() {
    for mut posts in [Posts::in_mongodb().await, Posts::in_sqlite().await] {
        posts.env.set("POST_RETRY_BACKOFF_FROM", "last-attempt");
        posts.env.sandbox.world().revoke_refresh("tiktok");
        let id = posts.add("tiktok", Document::new()).await;
        posts.env.run(&["run"]).await.expect(3);
        let first = posts.waiting().await;
        assert_eq!(first.len(), 1, "{first:?}");
        assert_eq!(first[0][..3], [json!("tiktok"), json!("auth"), json!(1)]);
        // The next retry is due an hour after the last one.
        assert_eq!(posts.env.pass(0).await["totals"]["due"], 0);
        assert_eq!(posts.waiting().await, first);
        posts.env.run(&["reset", "--posted", &id]).await.expect(0);
        posts.env.pass(0).await;
        assert!(posts.waiting().await.is_empty(), "no post is left that waits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_that_a_platform_has_refused_the_account() {
    let env = TestEnv::new().await;
    env.sandbox.world().revoke_refresh("tiktok");
    env.post("tiktok", Document::new()).await;
    env.post("instagram", doc! { "videoPath": "none.mp4" }).await;
    env.run(&["run"]).await.expect(3);
    let runs = env.database.collection::<Document>("postretry_runs");
    let requests = env.sandbox.world().requests.len();
    let text = env.run(&["run", "--dry-run"]).await.expect(0).stdout;
    assert_eq!(text.matches("TikTok has refused the credentials for ").count(), 1, "{text}");
    assert!(text.contains("attempt 1 would publish it, unless TikTok still refuses the credentials"), "{text}");
    let ran = env.run(&["run", "--dry-run", "--json"]).await.expect(0);
    assert!(ran.stderr.contains("TikTok has refused the credentials since 20"), "{}", ran.stderr);
    assert!(ran.json()["posts"][0]["reason"].as_str().unwrap().contains("unless TikTok still refuses"), "{ran:?}");
    // What is not due there does not wait.
    let text = env.run(&["run", "--dry-run", "--platform", "instagram"]).await.expect(0).stdout;
    assert!(!text.contains("TikTok"), "{text}");
    assert_eq!(env.sandbox.world().requests.len(), requests);
    assert_eq!(runs.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_that_stored_credentials_have_expired() {
    let env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let id = env.post("tiktok", Document::new()).await;
    let before = env.get(&id).await;
    let tokens = env.database.collection::<Document>("postretry_tokens");
    let tiktok = || doc! { "platform": "tiktok" };
    // The access token alone still publishes.
    tokens.update_one(tiktok(), doc! { "$set": { "refreshExpiresAt": hours_ago(3) } }).await.unwrap();
    let ran = env.run(&["run", "--dry-run"]).await.expect(0);
    assert!(ran.stdout.contains("TikTok: the stored refresh token expired 3 h ago"), "{}", ran.stdout);
    assert!(ran.stdout.contains("attempt 1 would publish it"), "{}", ran.stdout);

    tokens.update_one(tiktok(), doc! { "$set": { "accessExpiresAt": hours_ago(3) } }).await.unwrap();
    let requests = env.sandbox.world().requests.len();
    let text = env.run(&["run", "--dry-run"]).await.expect(0).stdout;
    let problem = "the stored TikTok credentials have expired; renew TIKTOK_REFRESH_TOKEN";
    for told in [
        format!("would be deferred: {problem}").as_str(),
        "1 due, 1 would be started, 1 of them would be deferred\n",
        "TikTok: the stored credentials expired 3 h ago; renew TIKTOK_REFRESH_TOKEN\n",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let ran = env.run(&["run", "--dry-run", "--json"]).await.expect(0);
    let output = ran.json();
    let post = &output["posts"][0];
    assert_eq!(post["problem"], problem);
    let reason = post["reason"].as_str().unwrap();
    assert!(reason.starts_with("due since ") && reason.ends_with(&format!("; it would be deferred: {problem}")));
    assert!(ran.stderr.contains("TikTok: the stored credentials expired at 20"), "{}", ran.stderr);
    assert_eq!((env.get(&id).await, env.sandbox.world().requests.len()), (before, requests));

    // That is what a pass finds.
    env.sandbox.world().revoke_refresh("tiktok");
    env.sandbox.world().revoke_access("tiktok");
    let output = env.pass(3).await;
    assert_eq!((&output["posts"][0]["outcome"], &output["posts"][0]["category"]), (&json!("deferred"), &json!("auth")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_dry_run_agrees_with_its_problem_and_with_the_pass() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_EXPIRE", "1d");
    env.post("tiktok", doc! { "videoPath": "none.mp4", "failedAt": hours_ago(25) }).await;
    env.post("instagram", doc! { "videoPath": "none.mp4" }).await;
    let output = env.run(&["run", "--dry-run", "--json"]).await.expect(0).json();
    let (expired, missing) = (&output["posts"][0], &output["posts"][1]);
    let problem = "no such file: `none.mp4` of `videoPath`";
    assert_eq!((&expired["problem"], &missing["problem"]), (&Value::Null, &json!(problem)));
    let reason = |post: &Value| post["reason"].as_str().unwrap().to_owned();
    assert!(reason(expired).ends_with("; it failed too long ago and would become permanently failed"), "{expired}");
    assert!(reason(missing).ends_with(&format!("; it would fail: {problem}")), "{missing}");
    assert!(!reason(missing).contains("publish"), "{missing}");
    let text = env.run(&["run", "--dry-run"]).await.expect(0).stdout;
    assert!(text.contains("2 due, 2 would be started, 1 of them would fail\n"), "{text}");
    let output = env.pass(3).await;
    let mut done: Vec<_> =
        output["posts"].as_array().unwrap().iter().map(|post| post["category"].as_str().unwrap()).collect();
    done.sort_unstable();
    assert_eq!(done, ["expired", "missing_asset"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_agrees_with_what_the_pass_does() {
    for mut posts in [Posts::in_mongodb().await, Posts::in_sqlite().await] {
        posts.env.set("POST_RETRY_EXPIRE", "12h");
        posts.env.unset("YOUTUBE_");
        let due = posts.add("tiktok", doc! { "failedAt": hours_ago(13) }).await;
        let waiting = posts.add("tiktok", doc! { "failedAt": hours_ago(10), "retryCount": 4 }).await;
        let elsewhere = posts.add("youtube_shorts", Document::new()).await;
        let shown = async |id: &str| posts.env.run(&["list-failed", "--json", id]).await.expect(0).json();
        let explanation = async |id: &str| shown(id).await["post"]["explanation"].as_str().unwrap().to_owned();

        let marked = "marks it as permanently failed (`expired`) and sends nothing";
        let told = explanation(&due).await;
        assert!(told.starts_with(&format!("The next pass {marked}")), "{told}");
        assert!(told.contains("12h") && told.contains("`POST_RETRY_EXPIRE`"), "{told}");
        let told = explanation(&waiting).await;
        assert!(told.starts_with("Once the post is due at ") && told.contains(marked), "{told}");
        let told = explanation(&elsewhere).await;
        assert!(
            told.starts_with("The next pass leaves it unchanged, because YouTube is not configured here"),
            "{told}"
        );
        let text = posts.env.run(&["list-failed", &waiting]).await.expect(0).stdout;
        assert!(text.contains("Once the post is due in 5 h") && text.contains(marked), "{text}");

        let before = shown(&elsewhere).await;
        let output = posts.env.pass(3).await;
        assert_eq!((&output["posts"][0]["id"], &output["posts"][0]["category"]), (&json!(due), &json!("expired")));
        assert_eq!(posts.env.sandbox.calls("tiktok.video_init"), 0);
        assert_eq!(shown(&elsewhere).await, before);
    }
}
