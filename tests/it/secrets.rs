//! No secret in any output, at any verbosity, whatever goes wrong.

use std::path::PathBuf;

use mongodb::bson::{Document, doc};
use postretry_sandbox::{Act, Fault};
use regex::Regex;

use crate::support::env::{TestEnv, until};

/// The secrets of the settings, and parts of those that the platforms give out.
fn planted(env: &TestEnv) -> Vec<String> {
    let settings = env.sandbox.settings().into_iter();
    let secret = settings.filter(|(name, _)| name.ends_with("SECRET") || name.ends_with("TOKEN"));
    let parts = ["upload_token=", "upload_id=", "-access-"].map(str::to_owned);
    secret.map(|(_, value)| value).chain(parts).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_logged_or_stored() {
    let mut env = TestEnv::new().await;
    let planted = planted(&env);
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

/// Every user of a machine can see the arguments of all processes.
#[tokio::test(flavor = "multi_thread")]
async fn no_process_has_a_secret_in_its_arguments_and_no_option_takes_one() {
    let env = TestEnv::new().await;
    env.post("youtube", Document::new()).await;
    env.sandbox.fault(Fault::once("youtube.chunk", Act::HoldRequest));
    // In the middle of an upload it has them all.
    let mut process = env.command(&["run", "-vv"]).spawn().unwrap();
    until(async || env.sandbox.world().held > 0).await;
    let folder = PathBuf::from(format!("/proc/{}", process.id().unwrap()));
    let arguments = std::fs::read(folder.join("cmdline")).unwrap();
    assert!(arguments.ends_with(b"run\0-vv\0"), "{arguments:?}");
    for thread in std::fs::read_dir(folder.join("task")).unwrap() {
        let thread = thread.unwrap().path();
        let name = std::fs::read_to_string(thread.join("comm")).unwrap_or_default();
        assert!(planted(&env).iter().all(|secret| !name.contains(secret)), "{name}");
        // A program that it starts could get one as an argument.
        let children = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
        assert_eq!(children, "", "{name}");
    }
    process.kill().await.unwrap();

    let option = Regex::new("--[a-z-]+").unwrap();
    for command in ["", "run", "list-failed", "retry", "reset", "stats"] {
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let help = env.run(&arguments).await.expect(0).stdout;
        let options: Vec<&str> = option.find_iter(&help).map(|found| found.as_str()).collect();
        assert!(options.contains(&"--store"), "{command}: {help}");
        for option in options {
            let words = ["token", "secret", "password", "credential", "key"];
            assert!(!words.iter().any(|word| option.contains(word)), "{command}: {option}");
        }
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
