//! A backlog costs no memory.

use std::process::Stdio;

use mongodb::bson::{Document, doc};

use crate::support::env::{TestEnv, date, now};

/// The peak memory of a command, in kB, as the kernel counts it.
async fn peak(env: &TestEnv, arguments: &[&str]) -> u64 {
    let program = env!("CARGO_BIN_EXE_postretry");
    let command = env.command(arguments);
    let settings: Vec<_> =
        command.as_std().get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
    // The kernel keeps the largest of all children that were waited for, so each pass gets a parent of its own.
    let script = "import resource, subprocess, sys\n\
                  code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n\
                  print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n";
    let output = tokio::process::Command::new("python3")
        .args(["-c", script, program])
        .args(arguments)
        .envs(settings)
        .current_dir(env.folder())
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut parts = text.split_whitespace();
    assert_eq!(parts.next(), Some("0"), "{text}");
    parts.next().unwrap().parse().unwrap()
}

async fn fill(env: &TestEnv, waiting: usize) {
    let filler = "x".repeat(500);
    let documents: Vec<Document> = (0..waiting)
        .map(|_| doc! { "platform": "tiktok", "status": "failed", "caption": &filler, "retryCount": 1, "failedAt": date(now()) })
        .collect();
    env.posts.insert_many(documents).await.unwrap();
    for _ in 0..10 {
        env.post("tiktok", Document::new()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_over_50_000_failed_posts_needs_no_more_than_one_over_100() {
    let (small, large) = (TestEnv::new().await, TestEnv::new().await);
    fill(&small, 90).await;
    fill(&large, 49_990).await;
    let run = ["run", "--format", "json"];
    let (small_peak, large_peak) = (peak(&small, &run).await, peak(&large, &run).await);
    assert_eq!((small.sandbox.published().len(), large.sandbox.published().len()), (10, 10));
    println!("peak memory: {small_peak} kB over 100 posts, {large_peak} kB over 50,000");
    assert!(large_peak <= small_peak + 5 * 1024, "{small_peak} kB over 100 posts, {large_peak} kB over 50,000");
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_with_megabytes_of_text_are_not_all_in_memory() {
    let env = TestEnv::new().await;
    let title = "x".repeat(12_000_000);
    for _ in 0..16 {
        env.post("tiktok", doc! { "title": &title }).await;
    }
    let peak = peak(&env, &["run", "--dry-run"]).await;
    println!("peak memory: {peak} kB for 16 posts with 12 MB each");
    assert!(peak <= 150 * 1024, "{peak} kB");
}
