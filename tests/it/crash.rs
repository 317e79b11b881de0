//! The store fails in the middle of a pass: no duplicate, and no outcome is lost.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use postretry_mongod::Mongod;

use crate::stage::{Stage, hours_ago};

const POSTS: usize = 90;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_loses_no_outcome() {
    let mut server = Mongod::start().await;
    let mut stage = Stage::on(&server).await;
    stage.set("POST_RETRY_CLAIM", "2s");
    stage.set("HTTP_TIMEOUT", "3s");
    stage.set("POST_RETRY_CONCURRENCY", "2");
    stage.set("MONGODB_URI", &format!("{}&serverSelectionTimeoutMS=1000", stage.uri));
    for n in 0..POSTS {
        let platform = ["tiktok", "instagram", "youtube"][n % 3];
        stage.post(platform, doc! { "caption": format!("post {n}"), "failedAt": hours_ago(500) }).await;
    }
    for crash in 1..=2 {
        let process = stage.command(&["run"]).spawn().unwrap();
        let enough = crash * POSTS / 4;
        while stage.sandbox.published().len() < enough {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.crash().await.unwrap();
        if crash == 2 {
            // This time it stays away for longer than anyone waits.
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        server.restart().await.unwrap();
        let output = process.wait_with_output().await.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        // It either rode the crash out, or said in plain words that the store is away.
        match output.status.code() {
            Some(0) => {}
            Some(5) => assert!(errors.contains("error: failed to "), "{errors}"),
            other => panic!("{other:?}: {errors}"),
        }
        if crash == 2 {
            assert_eq!(output.status.code(), Some(5), "{errors}");
        }
    }
    for _ in 0..20 {
        let ran = stage.run(&["run"]).await;
        assert!(matches!(ran.code, 0 | 3), "{ran:?}");
        if stage.posts.count_documents(doc! { "status": "posted" }).await.unwrap() == POSTS as u64 {
            break;
        }
        if stage.posts.count_documents(doc! { "failureCategory": "auth" }).await.unwrap() > 0 {
            // The refreshed token was lost with the server, and TikTok takes the old one no more.
            stage.sandbox.world().sign_in("tiktok", "sandbox-tiktok-refresh-0");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let left: Option<Document> = stage.posts.find_one(doc! { "status": { "$ne": "posted" } }).await.unwrap();
    assert_eq!(left, None);
    assert_eq!(stage.sandbox.published().len(), POSTS, "no duplicate");
    assert_eq!(stage.sandbox.world().violations, Vec::<String>::new());
}
