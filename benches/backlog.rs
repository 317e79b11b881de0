//! What a backlog costs: a pass with nothing to do, a page of the list and the statistics, over few and over many
//! failed posts, in turns on one server, so that what else the machine does hits both alike.
//!
//! `cargo bench --bench backlog`; `BACKLOG` sets how many posts there are many of, a million unless set.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};
use postretry_mongod::Mongod;

const FEW: usize = 1_000;
const TURNS: usize = 15;

/// Failed posts of which none is due: most wait, some were given up.
async fn fill(database: &Database, posts: usize) -> Result<(), mongodb::error::Error> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark's clock")]
    let now = Utc::now();
    let caption = "a caption of the length that captions have ".repeat(5);
    let platforms = ["tiktok", "instagram", "youtube_shorts"];
    let collection = database.collection::<Document>("marketing_posts");
    let numbers: Vec<usize> = (0..posts).collect();
    for some in numbers.chunks(20_000) {
        let documents = some.iter().map(|number| {
            let minutes = i64::try_from(number % 50).unwrap_or(0);
            let failed_at = DateTime::from_millis((now - TimeDelta::minutes(minutes)).timestamp_millis());
            let is_given_up = number % 10 == 0;
            doc! {
                "title": "A title", "caption": &caption, "platform": platforms[number % 3], "status": "failed",
                "videoPath": "a.mp4", "failedAt": failed_at, "retryCount": if is_given_up { 5 } else { 3 },
                "permanentlyFailed": is_given_up, "failureCategory": "network", "error": "connection reset by peer",
            }
        });
        collection.insert_many(documents).await?;
    }
    Ok(())
}

/// How long a command takes.
fn time(uri: &str, arguments: &[&str]) -> std::io::Result<Duration> {
    let started = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_postretry"))
        .args(arguments)
        .env_clear()
        .envs([("MONGODB_URI", uri), ("TIKTOK_ACCESS_TOKEN", "x"), ("POST_ASSET_ROOT", "/")])
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(std::io::Error::other(format!("{arguments:?}: {status}")));
    }
    Ok(started.elapsed())
}

fn spread(times: &mut [Duration]) -> (Duration, Duration, Duration) {
    times.sort_unstable();
    (times[0], times[times.len() / 2], times[times.len() - 1])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "a switch of the benchmark, not a setting")]
    let many = std::env::var("BACKLOG").ok().and_then(|posts| posts.parse().ok()).unwrap_or(1_000_000);
    let server = Mongod::start().await;
    let mut uris = Vec::new();
    for posts in [FEW, many] {
        let name = format!("posts_{posts}");
        fill(&server.database(&name).await?, posts).await?;
        let uri = server.uri(&name);
        // The first pass makes the indexes.
        time(&uri, &["run"])?;
        uris.push(uri);
    }
    for arguments in [["run"].as_slice(), &["list-failed"], &["stats"]] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (times, uri) in times.iter_mut().zip(&uris) {
                times.push(time(uri, arguments)?);
            }
        }
        let [few, many_times] = &mut times;
        let (few, more) = (spread(few), spread(many_times));
        println!("{}: median of {TURNS} (least, most)", arguments.join(" "));
        for (posts, (least, median, most)) in [(FEW, few), (many, more)] {
            println!("  {posts:>9} failed posts: {median:>10.1?} ({least:.1?}, {most:.1?})");
        }
        println!("  ratio: {:.2}", more.1.as_secs_f64() / few.1.as_secs_f64());
    }
    Ok(())
}
