//! The store fails in the middle of a pass: no duplicate, and no outcome is lost.

use std::process::Output;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use postretry_mongod::Mongod;

use crate::support::env::{Shape, TestEnv, hours_ago, mongod, until};
use crate::support::kinds::renew_credentials_if_stranded;
use crate::support::proxy::{Proxy, Side};

const POSTS: usize = 90;

/// An environment on this server with due posts and short time-outs.
async fn stage_on(server: &Mongod, shape: Shape) -> TestEnv {
    let mut env = TestEnv::on(server).await.shaped(shape);
    env.set("POST_RETRY_CLAIM", "2s");
    env.set("HTTP_TIMEOUT", "3s");
    env.set("POST_RETRY_CONCURRENCY", "2");
    fill(&env).await;
    env
}

/// Puts posts in place of those that there are.
async fn fill(env: &TestEnv) {
    env.posts.delete_many(doc! {}).await.unwrap();
    env.sandbox.world().published.clear();
    for n in 0..POSTS {
        let platform = ["tiktok", "instagram", "youtube"][n % 3];
        env.post(platform, doc! { "caption": format!("post {n}"), "failedAt": hours_ago(500) }).await;
    }
}

/// Starts a pass, disturbs the store once so many posts are published, and waits for the pass's end.
async fn disturbed(env: &TestEnv, published: usize, disturb: impl Future<Output = ()>) -> Output {
    let process = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.published().len() >= published).await;
    disturb.await;
    process.wait_with_output().await.unwrap()
}

/// Passes run until every post is published; each was published once.
async fn all_are_published_once(env: &TestEnv) {
    until(async || {
        let ran = env.run(&["run"]).await;
        assert!(matches!(ran.code, 0 | 3), "{ran:?}");
        renew_credentials_if_stranded(env).await;
        env.posts.count_documents(doc! { "status": "posted" }).await.unwrap() == POSTS as u64
    })
    .await;
    let left: Option<Document> = env.posts.find_one(doc! { "status": { "$ne": "posted" } }).await.unwrap();
    assert_eq!(left, None);
    assert_eq!(env.sandbox.published().len(), POSTS, "no duplicate");
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_loses_no_outcome() {
    killed_and_back(Mongod::start().await, Shape::One).await;
}

/// Nobody else has what it was told, so what it has acknowledged must be on its disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_server_that_is_killed_and_comes_back_loses_no_outcome() {
    killed_and_back(Mongod::start_standalone().await, Shape::Several).await;
}

async fn killed_and_back(mut server: Mongod, shape: Shape) {
    let mut env = stage_on(&server, shape).await;
    env.set("MONGODB_URI", &format!("{}&serverSelectionTimeoutMS=1000", env.uri));
    for crash in 1..=2 {
        let output = disturbed(&env, crash * POSTS / 4, async {
            let member = server.crash().await.unwrap();
            if crash == 2 {
                // This time it stays away for longer than anyone waits.
                tokio::time::sleep(Duration::from_secs(4)).await;
            }
            server.restart(member).await.unwrap();
        })
        .await;
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
    all_are_published_once(&env).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_rides_out_a_primary_that_steps_down_and_one_that_is_killed() {
    let mut server = Mongod::start_set(3).await;
    let env = stage_on(&server, Shape::One).await;
    let output = disturbed(&env, POSTS / 4, async { server.step_down().await.unwrap() }).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    all_are_published_once(&env).await;
    fill(&env).await;
    let mut killed = 0;
    let output = disturbed(&env, POSTS / 4, async { killed = server.crash().await.unwrap() }).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    server.restart(killed).await.unwrap();
    all_are_published_once(&env).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_slow_and_cut_loses_nothing() {
    let server = mongod().await;
    let mut env = stage_on(server, Shape::One).await;
    let proxy = Proxy::start(server.address()).await;
    let address = server.address().to_string();
    env.set("MONGODB_URI", &env.uri.replace(&address, &format!("127.0.0.1:{}", proxy.port())));
    proxy.degrade(7, 5, 40);
    for _ in 0..4 {
        let ran = env.run(&["run"]).await;
        assert!(matches!(ran.code, 0 | 3 | 5), "{ran:?}");
        renew_credentials_if_stranded(&env).await;
    }
    let cuts = proxy.restore();
    assert!(cuts >= 10, "only {cuts} connections were cut");
    all_are_published_once(&env).await;
    println!("{cuts} connections to the store were cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_any_more_ends_the_pass_and_what_was_published_is_told() {
    // One write that is never answered is made again, though the claim has expired meanwhile, since nobody else has taken
    // the post; a store that stays silent ends the pass.
    for (is_silent_for_good, code) in [(false, 0), (true, 5)] {
        let server = mongod().await;
        let mut env = TestEnv::on(server).await;
        let proxy = Proxy::start(server.address()).await;
        let address = server.address().to_string();
        env.set("MONGODB_URI", &env.uri.replace(&address, &format!("127.0.0.1:{}", proxy.port())));
        env.set("POST_RETRY_CLAIM", "3s");
        let id = env.post("tiktok", Document::new()).await;
        env.pass(0).await;
        // The write before the record of the run is the outcome of the post.
        let outcome = proxy.writes().len() - 2;
        assert_eq!(proxy.writes()[outcome], "update marketing_posts");
        let undone = doc! { "$set": { "status": "failed" }, "$unset": {
            "publishTicket": "", "retryHistory": "", "tiktokVideoId": "", "tiktokShareUrl": "",
        } };
        env.posts.update_one(doc! {}, undone).await.unwrap();
        env.sandbox.world().published.clear();

        // The tokens are stored by now.
        let stored = proxy.writes().iter().filter(|write| write.ends_with("postretry_tokens")).count();
        let outcome = proxy.writes().len() + outcome - stored;
        if is_silent_for_good {
            proxy.pause_from(outcome);
        } else {
            proxy.pause(outcome, Side::Before);
        }
        let ran = env.run(&["run"]).await.expect(code);
        if !is_silent_for_good {
            assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"), "{}", ran.stderr);
            continue;
        }
        let url = format!("https://www.tiktok.com/@sandbox_creator/video/{}", env.sandbox.published()[0].id);
        let told = ran.stderr.lines().find(|line| line.contains("but this could not be recorded")).unwrap();
        assert!(told.contains(&id) && told.contains(&url), "{}", ran.stderr);
        let error = format!("error: failed to record the outcome for post {id}: ");
        assert!(ran.stderr.contains(&error) && ran.stderr.contains("\nhint: "), "{}", ran.stderr);

        proxy.release();
        let output = env.pass(0).await;
        assert_eq!(output["posts"][0]["outcome"], "posted");
        assert_eq!(env.sandbox.published().len(), 1, "nothing was sent again");
    }
}
