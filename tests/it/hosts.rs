//! Many hosts on one store: killed, stopped and continued at random, they publish every post once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use crate::support::env::{Shape, TestEnv, hours_ago, signal};
use crate::support::kinds::renew_credentials_if_stranded;
use crate::support::rng::Rng;

const POSTS: u64 = 300;
const HOSTS: u32 = 8;

/// One host: passes one after the other, each left alone, killed, or stopped for longer than its claims last.
async fn host(env: Arc<TestEnv>, seed: u32, done: Arc<AtomicBool>) -> (u32, u32) {
    let mut rng = Rng::new(seed);
    let (mut killed, mut stopped) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let mut process = env.command(&["run", "-q", "--max-duration", "1s"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(u64::from(100 + rng.below(500)))).await;
        match rng.below(3) {
            0 => {
                drop(process.kill().await);
                killed += 1;
            }
            1 => {
                // One that has ended meanwhile is waited for below.
                signal(&process, "-STOP").await;
                tokio::time::sleep(Duration::from_millis(u64::from(500 + rng.below(2500)))).await;
                signal(&process, "-CONT").await;
                stopped += 1;
            }
            _ => {}
        }
        drop(process.wait().await);
    }
    (killed, stopped)
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_hosts_killed_and_stopped_at_random_publish_every_post_once() {
    round(1, Shape::One).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_hosts_killed_and_stopped_at_random_publish_every_delivery_once() {
    round(2, Shape::Several).await;
}

/// The same for as long as one likes, each round with other chances: `SOAK_MINUTES`, 30 unless set.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour; README.md tells how to run it"]
async fn soak() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the tests, not a setting")]
    let minutes = std::env::var("SOAK_MINUTES").map_or(30, |minutes| minutes.parse().unwrap());
    let (started, ends_after) = (Instant::now(), Duration::from_secs(60 * minutes));
    let mut rounds = 0;
    while started.elapsed() < ends_after {
        rounds += 1;
        round(rounds, if rounds % 2 == 0 { Shape::Several } else { Shape::One }).await;
        println!("round {rounds} after {} s", started.elapsed().as_secs());
    }
}

async fn round(seed: u32, shape: Shape) {
    let mut env = TestEnv::new().await.shaped(shape);
    env.set("POST_RETRY_CLAIM", "1s");
    env.set("HTTP_TIMEOUT", "3s");
    env.set("POST_RETRY_POLL", "50ms");
    env.set("MAX_POST_RETRIES", "20");
    {
        let mut world = env.sandbox.world();
        world.knobs.tiktok_looks = 2;
        world.knobs.instagram_looks = 2;
        world.knobs.instagram_lag = 1;
        world.knobs.youtube_looks = 2;
    }
    for n in 0..POSTS {
        let platform = ["tiktok", "instagram", "youtube"][usize::try_from(n).unwrap() % 3];
        // Captions tell the posts apart; so many hours ago that no backoff delays another attempt.
        env.post(platform, doc! { "caption": format!("post {n}"), "failedAt": hours_ago(2000) }).await;
    }
    let env = Arc::new(env);
    let done = Arc::new(AtomicBool::new(false));
    let hosts: Vec<_> = (1..=HOSTS)
        .map(|n| tokio::spawn(host(Arc::clone(&env), seed.wrapping_mul(HOSTS).wrapping_add(n), Arc::clone(&done))))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(600);
    loop {
        let posted = env.posted().await;
        if posted == POSTS {
            break;
        }
        renew_credentials_if_stranded(&env).await;
        if Instant::now() >= deadline {
            let left: Vec<Document> = {
                let mut cursor = env.posts.find(doc! { "status": "failed" }).limit(3).await.unwrap();
                let mut left = Vec::new();
                while cursor.advance().await.unwrap() {
                    left.push(cursor.deserialize_current().unwrap());
                }
                left
            };
            panic!("{posted} of {POSTS} posted in time; left: {left:?}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    done.store(true, Ordering::Relaxed);
    let (mut killed, mut stopped) = (0, 0);
    for host in hosts {
        let (more_killed, more_stopped) = host.await.unwrap();
        killed += more_killed;
        stopped += more_stopped;
    }
    let published = env.sandbox.published();
    let mut tickets: Vec<&str> = published.iter().map(|post| post.ticket.as_str()).collect();
    tickets.sort_unstable();
    tickets.dedup();
    assert_eq!(published.len() as u64, POSTS, "no duplicate ({} tickets)", tickets.len());
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new());
    println!("{POSTS} posts by {HOSTS} hosts, {killed} killed, {stopped} stopped");
}
