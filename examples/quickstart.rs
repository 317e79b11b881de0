//! A whole retry pass on your own machine: failed posts in an embedded store, the simulated platforms in this process,
//! and the commands as an operator types them. It needs only Rust, and it sends nothing to the internet.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use postretry::store::sqlite::{SqlitePostStore, date_text};
use postretry_sandbox::{Act, Fault, Sandbox};
use rusqlite::{Connection, params};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("postretry-quickstart-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("assets"))?;
    let platforms = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let sandbox = platforms.block_on(Sandbox::start())?;
    // The platform rejects the caption of one post in the pass.
    let refusal = r#"{"data":{},"error":{"code":"spam_risk_text","message":"risky","log_id":"1"}}"#;
    let act = Act::Answer { status: 403, body: refusal.to_owned(), headers: [].into() };
    sandbox.fault(Fault::once("tiktok.video_init", act));

    let store = folder.join("posts.db");
    platforms.block_on(SqlitePostStore::open(&store))?;
    fill(&store, &folder.join("assets"))?;

    println!("Failed posts, as an application leaves them:\n");
    run(&sandbox, &folder, &["list-failed"]);
    println!("\nOne retry pass, as cron starts it every hour:\n");
    run(&sandbox, &folder, &["run"]);
    println!("\nThe posts that are still failed, and why:\n");
    run(&sandbox, &folder, &["list-failed"]);
    println!("\nOne of them in full:\n");
    run(&sandbox, &folder, &["list-failed", "clip-4"]);
    println!("\nThe statistics:\n");
    run(&sandbox, &folder, &["stats"]);

    println!("\nThe posts are in {}. List them with", store.display());
    println!("  cargo run --locked -- --store sqlite:{} list-failed", store.display());
    println!("Start the simulated platforms as a separate program with");
    println!("  cargo run --locked -p postretry-sandbox");
    println!("README.md explains how to use postretry with your own posts and platforms.");
    Ok(ExitCode::SUCCESS)
}

/// Runs a command as if it were typed in the folder, with the settings for the simulated platforms.
fn run(sandbox: &Sandbox, folder: &Path, arguments: &[&str]) {
    println!("$ postretry {}", arguments.join(" "));
    let own = [
        ("POSTRETRY_STORE", format!("sqlite:{}", folder.join("posts.db").display())),
        ("POST_ASSET_ROOT", folder.join("assets").display().to_string()),
        ("ASSET_PUBLIC_URL", "https://media.example/posts".to_owned()),
        ("POST_RETRY_GAP", "200ms".to_owned()),
        ("POST_RETRY_POLL", "50ms".to_owned()),
        ("INSTAGRAM_SETTLE", "200ms".to_owned()),
    ];
    let settings = sandbox.settings().into_iter().chain(own);
    let environment = settings.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let typed = ["postretry"].iter().chain(arguments).map(OsString::from);
    // The command has printed its result. The permanently failed post is part of the example.
    let _exit = postretry::cli::main(typed, environment);
}

/// A post to insert: id, platform, file, hours since its failure, retry count and error.
type Row = (&'static str, &'static str, &'static str, i64, i64, &'static str);

const POSTS: [Row; 7] = [
    ("clip-1", "tiktok", "garden.mp4", 9, 0, "spam filter"),
    ("clip-2", "tiktok", "garden.mp4", 3, 1, "connection reset"),
    ("clip-3", "instagram", "garden.mp4", 2, 0, "HTTP 500"),
    ("clip-4", "instagram", "nowhere.mp4", 5, 2, "no such file"),
    ("clip-5", "youtube_shorts", "garden.mp4", 30, 4, "quota exceeded"),
    ("clip-6", "youtube_shorts", "garden.mp4", 3, 2, "HTTP 503"),
    ("photo-7", "instagram", "roses.jpg", 2, 0, "HTTP 500"),
];

fn fill(store: &Path, assets: &Path) -> Result<(), Box<dyn Error>> {
    let mut video = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
    video.resize(3_000_000, 7);
    std::fs::write(assets.join("garden.mp4"), video)?;
    std::fs::write(assets.join("roses.jpg"), b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01 roses")?;
    let connection = Connection::open(store)?;
    // One moment for all, so that posts that failed at the same time are listed in the order of their ids.
    let now = now();
    for (id, platform, file, hours, retries, error) in POSTS {
        let is_image = PathBuf::from(file).extension().is_some_and(|extension| extension == "jpg");
        let path = if is_image { "image_path" } else { "video_path" };
        let sql = format!(
            "INSERT INTO posts (id, title, caption, hashtags, platform, status, {path}, failed_at, retry_count, error)
             VALUES (?, ?, ?, ?, ?, 'failed', ?, ?, ?, ?)"
        );
        let failed_at = date_text(now - TimeDelta::hours(hours));
        let caption = format!("The garden in spring, part {id}");
        connection.execute(
            &sql,
            params![id, "The garden", caption, r#"["garden", "spring"]"#, platform, file, failed_at, retries, error],
        )?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "an application has its own clock")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
