//! Many hosts on one store: killed, stopped and continued at random, they publish every post once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use crate::stage::{Stage, hours_ago};

const POSTS: u64 = 500;
const HOSTS: u32 = 8;

/// A small generator, so that a run that failed can be told from another by its seed.
struct Chance(u32);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % bound
    }
}

async fn signal(id: u32, name: &str) {
    drop(tokio::process::Command::new("kill").args([name, &id.to_string()]).status().await);
}

/// One host: passes one after the other, each left alone, killed, or stopped for longer than its claims last.
async fn host(stage: Arc<Stage>, seed: u32, done: Arc<AtomicBool>) -> (u32, u32) {
    let mut chance = Chance(seed);
    let (mut killed, mut stopped) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let mut process = stage.command(&["run", "-q", "--max-duration", "1s"]).spawn().unwrap();
        let id = process.id().unwrap();
        tokio::time::sleep(Duration::from_millis(u64::from(100 + chance.below(500)))).await;
        match chance.below(3) {
            0 => {
                drop(process.kill().await);
                killed += 1;
            }
            1 => {
                signal(id, "-STOP").await;
                tokio::time::sleep(Duration::from_millis(u64::from(500 + chance.below(2500)))).await;
                signal(id, "-CONT").await;
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
    let mut stage = Stage::new().await;
    stage.set("POST_RETRY_CLAIM", "1s");
    stage.set("HTTP_TIMEOUT", "3s");
    stage.set("POST_RETRY_POLL", "50ms");
    stage.set("MAX_POST_RETRIES", "20");
    {
        let mut world = stage.sandbox.world();
        world.knobs.tiktok_looks = 2;
        world.knobs.instagram_looks = 2;
        world.knobs.instagram_lag = 1;
        world.knobs.youtube_looks = 2;
    }
    for n in 0..POSTS {
        let platform = ["tiktok", "instagram", "youtube"][usize::try_from(n).unwrap() % 3];
        // Captions tell the posts apart; so many hours ago that no backoff delays another attempt.
        stage.post(platform, doc! { "caption": format!("post {n}"), "failedAt": hours_ago(2000) }).await;
    }
    let stage = Arc::new(stage);
    let done = Arc::new(AtomicBool::new(false));
    let hosts: Vec<_> = (1..=HOSTS)
        .map(|n| tokio::spawn(host(Arc::clone(&stage), 2_654_435_761_u32.wrapping_mul(n), Arc::clone(&done))))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        let posted = stage.posts.count_documents(doc! { "status": "posted" }).await.unwrap();
        if posted == POSTS {
            break;
        }
        // TikTok's tokens rotate: a process that dies over a refresh strands the account, and a person signs in anew.
        if stage.posts.count_documents(doc! { "failureCategory": "auth" }).await.unwrap() > 0 {
            stage.sandbox.world().sign_in("tiktok", "sandbox-tiktok-refresh-0");
        }
        if Instant::now() >= deadline {
            let left: Vec<Document> = {
                let mut cursor = stage.posts.find(doc! { "status": "failed" }).limit(3).await.unwrap();
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
    let published = stage.sandbox.published();
    let mut tickets: Vec<&str> = published.iter().map(|post| post.ticket.as_str()).collect();
    tickets.sort_unstable();
    tickets.dedup();
    assert_eq!(published.len() as u64, POSTS, "no duplicate ({} tickets)", tickets.len());
    assert_eq!(stage.sandbox.world().violations, Vec::<String>::new());
    println!("{POSTS} posts by {HOSTS} hosts, {killed} killed, {stopped} stopped");
}
