//! No secret in any output, at any verbosity, whatever goes wrong.

use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};

use crate::support::env::TestEnv;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_logged_or_stored() {
    let mut env = TestEnv::new().await;
    let mut planted: Vec<String> = env
        .sandbox
        .settings()
        .into_iter()
        .filter(|(name, _)| name.ends_with("SECRET") || name.ends_with("TOKEN"))
        .map(|(_, value)| value)
        .collect();
    planted.extend(["upload_token=".to_owned(), "upload_id=".to_owned(), "-access-".to_owned()]);
    env.set("RUST_LOG", "trace");
    let faults = [
        ("tiktok.token", Act::LoseAnswer),
        ("tiktok.chunk", Act::LoseRequest),
        ("tiktok.status", Act::tiktok(500, "internal_error")),
        ("instagram.create", Act::graph(400, 190, Some(463))),
        ("instagram.upload", Act::LoseRequest),
        ("youtube.session", Act::LoseAnswer),
        ("youtube.chunk", Act::youtube(401, "authError", "")),
    ];
    for (endpoint, act) in faults {
        env.sandbox.fault(Fault::once(endpoint, act));
        for platform in ["tiktok", "instagram", "youtube"] {
            env.post(platform, Document::new()).await;
        }
        for arguments in [["run", "-vv"].as_slice(), &["run", "-vv", "--format", "json"], &["list-failed"], &["stats"]]
        {
            let ran = env.run(arguments).await;
            for secret in &planted {
                assert!(!ran.stdout.contains(secret), "{secret} in {}", ran.stdout);
                assert!(!ran.stderr.contains(secret), "{secret} in {}", ran.stderr);
            }
        }
    }
    // In the store they stand in the tickets and the token records only.
    let mut posts = env.posts.find(doc! {}).await.unwrap();
    while posts.advance().await.unwrap() {
        let mut post = posts.deserialize_current().unwrap();
        post.remove("publishTicket");
        let text = post.to_string();
        assert!(planted.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_its_platform_only_and_an_upload_address_must_be_its_own() {
    let env = TestEnv::new().await;
    let elsewhere = serde_json::json!({
        "data": { "publish_id": "v1", "upload_url": "https://upload.evil.example/?t=1" },
        "error": { "code": "ok", "message": "", "log_id": "x" },
    });
    env.sandbox.fault(Fault::once("tiktok.video_init", Act::json(200, &elsewhere)));
    let id = env.post("tiktok", Document::new()).await;
    let output = env.pass(0).await;
    assert_eq!(output["posts"][0]["category"], "unknown");
    assert_eq!(env.get(&id).await.get_i32("retryCount").ok(), Some(1));
    let redirect = Act::Answer {
        status: 302,
        body: String::new(),
        headers: [("location".to_owned(), format!("{}/v2/post/publish/elsewhere", env.sandbox.url()))].into(),
    };
    env.sandbox.fault(Fault::once("tiktok.creator_info", redirect));
    env.run(&["retry", &id]).await.expect(3);
    assert_eq!(env.sandbox.calls("nowhere"), 0, "redirects are not followed");
}
