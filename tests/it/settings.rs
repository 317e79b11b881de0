//! Settings that cannot be used are refused before anything else happens.

use mongodb::bson::Document;

use crate::support::env::TestEnv;

#[tokio::test(flavor = "multi_thread")]
async fn all_bad_settings_are_reported_at_once_and_nothing_is_done() {
    let mut env = TestEnv::new().await;
    env.set("MAX_POST_RETRIES", "five");
    env.set("POST_RETRY_CLAIM", "1ms");
    env.set("TIKTOK_CLIENT_SECRET", "");
    let ran = env.run(&["run"]).await.expect(4);
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 3, "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("hint: ")).count(), 1);
    assert!(ran.stderr.contains("`MAX_POST_RETRIES` is not a whole number from 0 to 20: `five`"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert_eq!(env.database.list_collection_names().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_gives_what_the_environment_does_not() {
    let mut env = TestEnv::new().await;
    env.set("MAX_POST_RETRIES", "3");
    std::fs::write(env.folder().join(".env"), "MAX_POST_RETRIES=2\nPOST_COLLECTION=other_posts\n").unwrap();
    let ran = env.run(&["list-failed", "--format", "json"]).await.expect(0);
    assert_eq!(ran.json()["total"], 0);
    env.run(&["list-failed", "--env-file", "none.env"]).await.expect(4);
    std::fs::write(env.folder().join("mine.env"), "MAX_POST_RETRIES=x y z\nnonsense\n").unwrap();
    let ran = env.run(&["stats", "--env-file", "mine.env"]).await.expect(4);
    assert!(ran.stderr.contains("mine.env") && ran.stderr.contains("line"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_a_line_break_is_refused_before_a_post_loses_a_retry() {
    let mut env = TestEnv::new().await;
    let id = env.post("tiktok", Document::new()).await;
    let before = env.get(&id).await;
    env.unset("TIKTOK_");
    let expected = "error: setting `TIKTOK_ACCESS_TOKEN` contains a line break or another control character (its value \
                    is not shown)\nhint: `postretry --help` lists every setting with its default\n";
    std::fs::write(env.folder().join(".env"), r#"TIKTOK_ACCESS_TOKEN="abc\ndef123""#).unwrap();
    assert_eq!(env.run(&["run"]).await.expect(4).stderr, expected);
    env.set("TIKTOK_ACCESS_TOKEN", "abc\ndef123");
    assert_eq!(env.run(&["retry", &id]).await.expect(4).stderr, expected);
    assert_eq!(env.get(&id).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_root_that_is_none_stops_only_those_who_need_it() {
    let mut env = TestEnv::new().await;
    env.set("POST_ASSET_ROOT", "/nowhere/at/all");
    env.run(&["run"]).await.expect(4);
    env.run(&["retry", "x"]).await.expect(4);
    env.run(&["list-failed"]).await.expect(0);
    env.run(&["stats"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_exit_5_and_names_no_password() {
    let mut env = TestEnv::new().await;
    let uri = "mongodb://user:hush-hush@127.0.0.1:1/app?serverSelectionTimeoutMS=300";
    env.set("MONGODB_URI", uri);
    for arguments in [["run"].as_slice(), &["list-failed"], &["retry", "x"], &["reset", "x"], &["stats"]] {
        let ran = env.run(arguments).await.expect(5);
        assert!(ran.stderr.starts_with("error: failed to connect to the post store at `mongodb://127.0.0.1:1`: "));
        assert_eq!(ran.stderr.lines().count(), 2, "an error and a hint: {}", ran.stderr);
        assert!(!ran.stderr.contains("hush"));
    }
    env.set("MONGODB_URI", "mongodb://127.0.0.1:1/");
    env.run(&["stats"]).await.expect(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_is_wrong_is_exit_2() {
    let env = TestEnv::new().await;
    for arguments in [
        ["frobnicate"].as_slice(),
        &["run", "--platform", "myspace"],
        &["run", "--concurrency", "0"],
        &["run", "--max-duration", "soon"],
        &["run", "--format", "csv"],
        &["list-failed", "--format", "prometheus"],
        &["list-failed", "--category", "bad_luck"],
        &["reset"],
        &["retry"],
        &[],
    ] {
        let ran = env.run(arguments).await;
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let [error, hint] = &lines[..] else { panic!("{arguments:?}: {ran:?}") };
        assert!(error.starts_with("error: ") && hint.starts_with("hint: "), "{arguments:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    for arguments in [&["-q"][..], &["--json"], &[]] {
        let expected = "error: no command is given\n\
                        hint: the commands are `run`, `list-failed`, `retry`, `reset` and `stats`; `postretry --help` \
                        describes them\n";
        assert_eq!(env.run(arguments).await.expect(2).stderr, expected, "{arguments:?}");
    }
    env.run(&["--help"]).await.expect(0);
    env.run(&["--version"]).await.expect(0);
}
