//! What `run` shows: every outcome, warnings, progress, and a stop.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use mongodb::bson::{Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use pty_process::blocking::Pty;
use regex::Regex;

use super::{SCREENS, ago, check_on, id, rows, seen, terminal};
use crate::store::insert_row;
use crate::support::env::{TestEnv, hours_ago, signal, until};

/// What differs from run to run, beside what it does everywhere. What stands for it is as long.
const IDS: [(&str, &str); 3] = [
    (r"test_[0-9a-f]{24}", "test_000000000000000000000000"),
    (r"1801000000\d{7}", "18010000000000000"),
    (r"yt\d{9}", "yt000000000"),
];

/// What happens at once takes no longer, on a busy machine either.
const AT_ONCE: Duration = Duration::from_secs(3);

/// TikTok's answer to too many requests.
const TOO_FAST: &str = r#"{"error":{"code":"rate_limit_exceeded","message":"","log_id":"x"}}"#;

/// A text without what differs from run to run.
fn steady(text: &str) -> String {
    let replaced = |text: String, (pattern, with): &(&str, &str)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    };
    IDS.iter().fold(text.to_owned(), replaced)
}

/// What a command has left on a screen.
async fn shown(env: &TestEnv, screen: Option<u16>, arguments: &[&str]) -> String {
    steady(&seen(env, screen, arguments, "").await)
}

/// The same, after what is special about it.
async fn shown_with(env: &TestEnv, screen: Option<u16>, what: &str, arguments: &[&str]) -> String {
    format!("With {what}\n{}", shown(env, screen, arguments).await)
}

/// Adds a failed post.
async fn add(env: &TestEnv, number: u8, platform: &str, fields: Document) {
    let mut fields = fields;
    fields.insert("_id", id(number));
    env.post(platform, fields).await;
}

/// Due posts with which one pass comes to every outcome.
async fn outcomes_env() -> TestEnv {
    let mut env = TestEnv::new().await;
    // One after the other, so that the result is always in the same order.
    env.set("POST_RETRY_CONCURRENCY", "1");
    env.file("notes.mp4", b"These are notes, and no video.");
    let photo = doc! {
        "title": "A photo", "caption": "Whose answer is lost", "contentType": "image", "videoPath": Bson::Undefined,
        "imagePath": "a.jpg", "failedAt": ago(200),
    };
    let posts = [
        ("tiktok", doc! { "title": "Goes out at last", "failedAt": ago(600), "retryCount": 1 }),
        ("tiktok", doc! { "title": "No file", "videoPath": "gone.mp4", "failedAt": ago(130), "retryCount": 1 }),
        ("tiktok", doc! { "title": "The last retry", "videoPath": "gone.mp4", "failedAt": ago(1000), "retryCount": 4 }),
        ("tiktok", photo),
        ("tiktok", doc! { "title": "Recorded", "tiktokVideoId": "7311111111111111111", "failedAt": ago(300) }),
        ("tiktok", doc! { "title": "Exhausted, not marked", "failedAt": ago(3000), "retryCount": 5 }),
        ("instagram", doc! { "title": "An outage", "caption": "Has bad luck", "failedAt": ago(500) }),
        ("instagram", doc! { "title": "The quota", "caption": "Is one too many", "failedAt": ago(400) }),
        ("instagram", doc! { "title": "Has to wait", "failedAt": ago(100) }),
        ("instagram", doc! { "title": "Malformed", "failedAt": ago(200), "retryCount": "three" }),
        ("youtube", doc! { "title": "Spring in the garden, ".repeat(5), "failedAt": ago(700) }),
        ("youtube", doc! { "title": "Goes out at once", "failedAt": ago(90) }),
        ("myspace", doc! { "title": "For another platform", "failedAt": ago(80) }),
        ("youtube", doc! { "title": "No video", "videoPath": "notes.mp4", "failedAt": ago(65) }),
    ];
    for (number, (platform, fields)) in (0..).zip(posts) {
        add(&env, number, platform, fields).await;
    }
    env.sandbox.fault(Fault::always("tiktok.photo_init", Act::LoseAnswer));
    let outage = Act::graph(500, 2, None);
    env.sandbox.fault(Fault::always("instagram.create", outage).about("Has bad luck"));
    let quota = Act::graph(400, 9, Some(2_207_042));
    env.sandbox.fault(Fault::always("instagram.publish", quota).about("Is one too many"));
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_of_a_pass() {
    for screen in SCREENS {
        let mut env = outcomes_env().await;
        let mut texts = vec![
            shown(&env, screen, &["run", "--dry-run"]).await,
            shown(&env, screen, &["run", "--dry-run", "--limit", "2", "--platform", "tiktok"]).await,
            shown(&env, screen, &["run"]).await,
            shown(&env, screen, &["run", "-v", "--limit", "1", "--platform", "instagram"]).await,
        ];
        add(&env, 14, "tiktok", doc! { "tiktokVideoId": "7322222222222222222", "failedAt": ago(300) }).await;
        texts.push(shown_with(&env, screen, "another post that is recorded", &["run", "-q"]).await);
        env.unset("YOUTUBE_");
        env.sandbox.world().faults.clear();
        env.sandbox.world().revoke_access("instagram");
        add(&env, 15, "youtube", doc! { "title": "Left unchanged", "failedAt": ago(75) }).await;
        texts.push(shown_with(&env, screen, "one account revoked and one not configured", &["run", "-q"]).await);
        texts.push(shown(&env, screen, &["run", "--dry-run"]).await);
        check_on(screen, "outcomes", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_of_a_pass_with_nothing_to_do() {
    for screen in SCREENS {
        let mut env = TestEnv::new().await;
        let mut texts = of_stores_without_posts(&env, screen).await;
        texts.extend(of_settings(&mut env, screen).await);
        texts.extend(of_files(&mut env, screen).await);
        check_on(screen, "warnings", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_only_marked_is_named_in_the_result_and_once() {
    let env = TestEnv::new().await;
    let recorded = || doc! { "tiktokVideoId": "7311111111111111111" };
    let named = |id: &str| format!("ambiguous post {id} (tiktok): ");
    for arguments in [&["run"][..], &["run", "-q"]] {
        let id = env.post("tiktok", recorded()).await;
        let ran = env.run(arguments).await.expect(3);
        assert_eq!(ran.stdout.matches(&named(&id)).count(), 1, "{arguments:?}: {}", ran.stdout);
        assert_eq!(ran.stderr, "", "{arguments:?}");
    }
    let id = env.post("tiktok", recorded()).await;
    let ran = env.run(&["run", "--json"]).await.expect(3);
    assert_eq!(ran.stderr.matches(&named(&id)).count(), 1, "{}", ran.stderr);
}

/// What is said of a database that may be the wrong one.
async fn of_stores_without_posts(env: &TestEnv, screen: Option<u16>) -> Vec<String> {
    let other = env.database.collection::<Document>("marketingposts");
    let mut texts = vec![shown_with(env, screen, "an empty database", &["stats", "-q"]).await];
    other.insert_one(doc! {}).await.unwrap();
    // A pass makes the collection with its indexes.
    texts.push(shown_with(env, screen, "a collection of another name", &["run", "-q"]).await);
    texts.push(shown_with(env, screen, "an empty collection beside it", &["list-failed", "-q"]).await);
    other.delete_many(doc! {}).await.unwrap();
    for arguments in [&["run"][..], &["run", "-q"], &["run", "--dry-run"]] {
        texts.push(shown_with(env, screen, "empty collections", arguments).await);
    }
    texts
}

/// What is said of settings that are nearly right, and of platforms that are missing from them.
async fn of_settings(env: &mut TestEnv, screen: Option<u16>) -> Vec<String> {
    let before = env.settings.clone();
    add(env, 0, "tiktok", doc! { "failedAt": ago(0) }).await;
    let mut texts = vec![shown_with(env, screen, "a post that is not due", &["run", "-v"]).await];
    add(env, 1, "tiktok", doc! { "failedAt": ago(570) }).await;
    texts.push(shown_with(env, screen, "a due post of TikTok", &["run", "--platform", "instagram"]).await);
    env.set("POST_RETRY_INTERVALL_MINUTES", "30");
    env.set("TIKTOK_PRIVACY_LEVL", "SELF_ONLY");
    for arguments in [&["run", "--dry-run", "--platform", "instagram"][..], &["list-failed", "-q"]] {
        texts.push(shown_with(env, screen, "two misspelt settings", arguments).await);
    }
    env.settings = before;
    env.unset("TIKTOK_");
    for arguments in [&["run"][..], &["run", "-q"]] {
        texts.push(shown_with(env, screen, "no credentials of TikTok", arguments).await);
    }
    texts
}

/// What is said of files as stores.
async fn of_files(env: &mut TestEnv, screen: Option<u16>) -> Vec<String> {
    env.set("POSTRETRY_STORE", "sqlite:new.db");
    let mut texts = vec![shown_with(env, screen, "sqlite:new.db", &["stats", "-q"]).await];
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(env.folder().join("new.db"), readable).unwrap();
    texts.push(shown_with(env, screen, "a file that others can read", &["run"]).await);
    let shop = rusqlite::Connection::open(env.folder().join("shop.db")).unwrap();
    shop.execute_batch("CREATE TABLE orders (id); CREATE TABLE customers (id)").unwrap();
    shop.close().unwrap();
    env.set("POSTRETRY_STORE", "sqlite:shop.db");
    texts.push(shown_with(env, screen, "the file of another program", &["run", "-q"]).await);
    env.unset("INSTAGRAM_");
    env.unset("YOUTUBE_");
    texts.push(shown_with(env, screen, "no credentials at all", &["run", "-q"]).await);
    texts
}

/// The binary on a terminal that can be looked at and typed on while it runs.
struct LiveTerminal {
    columns: u16,
    process: Child,
    pty: Arc<Pty>,
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl LiveTerminal {
    fn start(env: &TestEnv, columns: u16, arguments: &[&str]) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(60, columns)).unwrap();
        let command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_postretry"))
            .args(arguments)
            .env_clear()
            .env("TERM", "xterm-256color")
            .envs(&env.settings)
            .current_dir(env.folder());
        let process = command.spawn(pts).unwrap();
        let (pty, bytes) = (Arc::new(pty), Arc::<Mutex<Vec<u8>>>::default());
        let (read_from, read) = (Arc::clone(&pty), Arc::clone(&bytes));
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            // A terminal whose other side is gone ends with an error, on Linux.
            while let Ok(length @ 1..) = (&*read_from).read(&mut part) {
                read.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        Self { columns, process, pty, bytes, reader: Some(reader) }
    }

    /// What stands on the terminal now.
    fn text(&self) -> String {
        rows(terminal(self.columns, &self.bytes.lock().unwrap()).screen()).trim_end().to_owned()
    }

    /// Whether this stands there, in however many lines.
    fn shows(&self, wanted: &str) -> bool {
        self.text().split_whitespace().collect::<Vec<_>>().join(" ").contains(wanted)
    }

    fn press_ctrl_c(&self) {
        (&*self.pty).write_all(b"\x03").unwrap();
    }

    async fn interrupt(&self) {
        let id = self.process.id().to_string();
        tokio::process::Command::new("kill").args(["-INT", &id]).status().await.unwrap();
    }

    /// Waits for the end. The exit code, and what is left on the terminal.
    async fn ended(mut self) -> (i32, String) {
        let ended = tokio::task::spawn_blocking(move || {
            let code = self.process.wait().unwrap().code().unwrap_or(-1);
            self.reader.take().unwrap().join().unwrap();
            (code, self.text())
        });
        ended.await.unwrap()
    }
}

impl Drop for LiveTerminal {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        drop(self.process.kill());
    }
}

/// What a pass leaves on a screen that gets so many signals while a request is on its way.
async fn stopped(env: &TestEnv, screen: Option<u16>, endpoint: &str, signals: usize) -> String {
    let before = env.sandbox.calls(endpoint);
    let has_arrived = async || env.sandbox.calls(endpoint) > before;
    let line = "$ postretry run";
    let Some(columns) = screen else {
        let process = env.command(&["run"]).spawn().unwrap();
        until(has_arrived).await;
        for _ in 0..signals {
            signal(&process, "-INT").await;
            // Two signals at the same moment can arrive as one.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let output = process.wait_with_output().await.unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let code = output.status.code().unwrap_or(-1);
        return format!("{line}\nexit code {code}\n--- standard output\n{stdout}--- standard error\n{stderr}");
    };
    let terminal = LiveTerminal::start(env, columns, &["run"]);
    until(has_arrived).await;
    for _ in 0..signals {
        terminal.interrupt().await;
        until(async || terminal.shows("stopping, 1 in flight")).await;
    }
    let (code, text) = terminal.ended().await;
    format!("{line}\nexit code {code}\n{text}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_stopped() {
    for screen in SCREENS {
        let mut env = TestEnv::new().await;
        env.set("POST_RETRY_CONCURRENCY", "1");
        for (number, minutes) in [(0, 600), (1, 500), (2, 400)] {
            add(&env, number, "tiktok", doc! { "failedAt": ago(minutes) }).await;
        }
        env.sandbox.fault(Fault::once("tiktok.video_init", Act::Slow { ms: 3000 }));
        let settled = stopped(&env, screen, "tiktok.video_init", 1).await;
        env.sandbox.fault(Fault::once("tiktok.chunk", Act::Slow { ms: 600_000 }));
        let cut_short = stopped(&env, screen, "tiktok.chunk", 2).await;
        let texts = [settled, cut_short, shown(&env, screen, &["run", "--limit", "1"]).await];
        check_on(screen, "stopped", &texts.map(|text| steady(&text)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_is_answered_at_once_and_leaves_no_progress_behind() {
    let env = TestEnv::new().await;
    env.sandbox.fault(Fault::once("youtube.chunk", Act::Slow { ms: 600_000 }));
    env.post("youtube", Document::new()).await;
    let terminal = LiveTerminal::start(&env, 60, &["run"]);
    let is_uploading = async || env.sandbox.calls("youtube.chunk") == 1 && terminal.shows("0 of 1 done, running");
    until(is_uploading).await;
    let pressed_at = Instant::now();
    terminal.press_ctrl_c();
    let note = "stopping, 1 in flight, at most 20 s; Ctrl-C again to cut short 0 of 1 done, running";
    until(async || terminal.shows(note)).await;
    assert!(pressed_at.elapsed() < AT_ONCE, "{:?}", pressed_at.elapsed());
    terminal.press_ctrl_c();
    let (code, text) = terminal.ended().await;
    assert!(pressed_at.elapsed() < Duration::from_secs(15), "{:?}", pressed_at.elapsed());
    assert_eq!(code, 130, "{text}");
    // The note is the first that is left, and the result follows it.
    assert!(text.starts_with("stopping, 1 in flight") && text.contains("\nPOST "), "{text}");
    assert!(!text.contains("running") && !text.contains("^C") && !text.contains("YouTube 0/1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_of_a_pass_is_the_last_that_stands_on_the_terminal() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CLAIM", "1s");
    let path = env.on_sqlite().await;
    let row = doc! {
        "id": "1", "title": "A title", "platform": "tiktok", "status": "failed", "videoPath": "a.mp4",
        "failedAt": hours_ago(2),
    };
    insert_row(&path, &row);
    env.sandbox.fault(Fault::once("tiktok.video_init", Act::Slow { ms: 600_000 }));
    let terminal = LiveTerminal::start(&env, 80, &["run"]);
    let is_working = async || env.sandbox.calls("tiktok.video_init") == 1 && terminal.shows("0 of 1 done, running");
    until(is_working).await;
    rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TABLE posts").unwrap();
    let (code, text) = terminal.ended().await;
    assert_eq!(code, 5, "{text}");
    let end = text.rsplit_once("error: ").map(|(_, end)| end).unwrap_or_default();
    assert!(!end.is_empty() && !end.contains("running") && !end.contains("TikTok 0/1"), "{text}");
}

/// What stands on a terminal each time that something was drawn on it, row by row, until the result.
fn frames(columns: u16, bytes: &[u8]) -> Vec<Vec<String>> {
    let result = bytes.windows(4).position(|part| part == b"POST").unwrap_or(bytes.len());
    let mut terminal = terminal(columns, b"");
    let mut frames = Vec::new();
    // The lines themselves have no control characters; they end where the cursor is moved.
    for piece in bytes[..result].chunk_by(|_, next| !matches!(next, b'\r' | b'\x1b')) {
        terminal.process(piece);
        let screen = terminal.screen();
        let drawn = usize::from(screen.cursor_position().0) + 1;
        let rows = screen.rows(0, columns).take(drawn).map(|row| row.trim_end().to_owned());
        frames.push(rows.filter(|row| !row.is_empty()).collect());
    }
    frames
}

/// Runs a pass with everything that takes its time, on a terminal of so many columns.
async fn watch(columns: u16) {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_GAP", "8s");
    let name = "日本語の長いファイル名は狭い端末では切られる.mp4";
    let mut large = crate::support::env::video(1_000, 4);
    large.resize(40_000_000, 0);
    env.file(name, &large);
    // The parts of a large file have 32 MiB.
    env.sandbox.fault(Fault::once("youtube.chunk", Act::Slow { ms: 1500 }));
    env.sandbox.fault(Fault::once("youtube.videos", Act::Slow { ms: 1000 }));
    let headers = [("retry-after".to_owned(), "9".to_owned())].into();
    let too_fast = Act::Answer { status: 429, body: TOO_FAST.to_owned(), headers };
    env.sandbox.fault(Fault::once("tiktok.video_init", too_fast));
    env.post("youtube", doc! { "videoPath": name, "failedAt": ago(600) }).await;
    for platform in ["youtube", "tiktok", "tiktok", "instagram"] {
        env.post(platform, Document::new()).await;
    }
    let (code, bytes) = env.on_terminal(columns, &["run"], "").await;
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(code, 0, "{columns}: {text}");
    let frames = frames(columns, &bytes);
    // A line that is wider than the terminal goes on in a row that begins with anything.
    let is_line = Regex::new(r"^((TikTok|Instagram|YouTube) \d/\d|\d of \d done)").unwrap();
    for row in frames.iter().flatten() {
        assert!(is_line.is_match(row), "{columns}: {row:?}: {frames:?}");
    }
    for wanted in [
        r"^YouTube 0/2: uploading 83 % at [0-9.]+ [kM]B/s, \d+ s left",
        r"^YouTube 0/2: processing, next post in \d s",
        r"^YouTube 1/2: next post in \d s",
        r"^TikTok 1/2: rate limited, next post in \d s",
        r"^\d of 5 done(, 1 not posted)?, running \d s",
        r"^[2-4] of 5 done, 1 not posted, running \d+ s",
    ] {
        let wanted = Regex::new(wanted).unwrap();
        assert!(frames.iter().flatten().any(|row| wanted.is_match(row)), "{columns}: {wanted}: {text:?}");
    }
    // What matters least is cut where there is no room for it.
    let is_whole = |row: &String| row.contains(" s left, next post in ") && row.ends_with(name);
    assert_eq!(frames.iter().flatten().any(is_whole), columns >= 140, "{columns}: {text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_tells_what_is_waited_for_and_no_line_is_wider_than_the_terminal() {
    stream::iter([60, 80, 100, 140]).map(watch).buffer_unordered(4).collect::<Vec<()>>().await;
}
