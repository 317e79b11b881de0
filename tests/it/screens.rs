//! What a person sees: the whole of every command and of every kind of error, on terminals of four widths and without
//! one. Times, addresses and the like are replaced by others of the same width.

mod list;
mod pass;
mod settle;

use std::num::NonZero;
use std::ops::Range;
use std::path::Path;

use chrono::TimeDelta;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use postretry_sandbox::{Act, Fault};
use unicode_width::UnicodeWidthStr;

use crate::support::env::{Ran, TestEnv, date, now};

/// Columns of the terminals; the last is none at all.
const SCREENS: [Option<u16>; 5] = [Some(60), Some(80), Some(100), Some(140), None];

/// What differs from run to run, and what stands for it.
const FILTERS: [(&str, &str); 14] = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-01-01T00:00:00.000Z"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-01T00:00:00Z"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"/[^ `\n]*/assets", "/[assets]"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "00000000-0000-4000-8000-000000000000"),
    (r"started (now|\d+ s ago), took \d+ (ms|s)", "started now, took 42 ms"),
    (r#""(durationMs|lastDurationMs)": \d+"#, r#""$1": 42"#),
    (r"postretry_last_run_(\w+) [0-9.]+", "postretry_last_run_$1 42"),
    (r"postretry_token_expiry_timestamp_seconds\{(.*)\} [0-9.]+", "postretry_token_expiry_timestamp_seconds{$1} 42"),
    (r"\b\d{4}-\d\d-\d\d\b", "2026-01-01"),
    (r"LAST 14 DAYS, \d+ \w+ TO \d+ \w+", "LAST 14 DAYS, 12 NOV TO 25 NOV"),
    (r"\b901234\d{3}\b", "901234000"),
    // As wide as what it replaces.
    (r"\b\d s ago\b", "now    "),
    // Posts that go out at the same time get their ids in any order.
    (r"75123456789012340\d\d", "7512345678901234000"),
];

const ERROR: &str = "Instagram: connection reset by peer; \u{1b}[2Jgraph.facebook.com cannot be reached (when asked to \
                     create a container for the post)";

fn id(number: u8) -> ObjectId {
    ObjectId::parse_str(format!("65f0a1b2c3d4e5f6a7b8c9d{number:x}")).unwrap()
}

fn ago(minutes: i64) -> Bson {
    date(now() - TimeDelta::minutes(minutes))
}

/// Posts in every state that a person meets.
async fn screen_env() -> TestEnv {
    let mut env = TestEnv::new().await;
    // One after the other, so that the result is always in the same order.
    env.set("POST_RETRY_CONCURRENCY", "1");
    let entry = |attempt: i32, category: &str| {
        doc! {
            "attempt": attempt, "startedAt": ago(300), "finishedAt": ago(299), "outcome": "failed",
            "category": category, "error": ERROR, "host": "web1",
        }
    };
    let posts = [
        ("tiktok", doc! { "title": "Spring in the garden 🌷", "failedAt": ago(570) }),
        (
            "instagram",
            doc! {
                "title": "日本語の長いタイトルは表の中でも揃う", "failedAt": ago(330), "retryCount": 3,
                "failureCategory": "network", "error": ERROR, "lastRetriedAt": ago(300),
                "retryHistory": [entry(1, "platform_outage"), entry(2, "network"), entry(3, "network")],
            },
        ),
        (
            "youtube_shorts",
            doc! {
                "title": "Permanently failed", "failedAt": ago(4000), "retryCount": 1, "permanentlyFailed": true,
                "permanentlyFailedAt": ago(3900), "failureCategory": "rejected_content",
                "error": "YouTube: the title, the description or the hashtags are not accepted; correct them \
                          (`invalidTitle`, HTTP 400, when asked to open an upload session)",
            },
        ),
        ("tiktok", doc! { "title": "Malformed", "failedAt": ago(200), "retryCount": "three" }),
        (
            "instagram",
            doc! {
                "title": "Waits for credentials", "failedAt": ago(1500), "failureCategory": "auth",
                "error": "Instagram: the access token is no longer valid; renew INSTAGRAM_ACCESS_TOKEN (code 190, HTTP \
                          400, when asked to create a container for the post)",
                "videoPath": "none.mp4",
            },
        ),
        ("youtube", doc! { "title": Bson::Undefined, "caption": Bson::Undefined, "failedAt": ago(100) }),
        (
            "tiktok",
            doc! {
                "title": "Perhaps public", "failedAt": ago(2000), "retryCount": 1, "permanentlyFailed": true,
                "permanentlyFailedAt": ago(1900), "failureCategory": "ambiguous",
                "error": "TikTok: no response within 60s (when asked to accept the photo); the post may be published: \
                          check the account before sending it again",
            },
        ),
        (
            "instagram",
            doc! {
                "title": "For two platforms", "failedAt": ago(2500), "platforms": ["instagram", "youtube"],
                "platformStatus": {
                    "instagram": { "status": "failed", "lastFailedAt": ago(2500), "error": "the first failure" },
                    "youtube": { "status": "failed", "lastFailedAt": ago(2400), "error": "the other failure" },
                },
                "postretry": {
                    "instagram": { "retryCount": 2, "lastRetriedAt": ago(90), "failureCategory": "processing" },
                    "youtube": {
                        "retryCount": 5, "permanentlyFailed": true, "permanentlyFailedAt": ago(60),
                        "failureCategory": "network",
                    },
                },
            },
        ),
    ];
    for (number, (platform, fields)) in (0..).zip(posts) {
        let mut fields: Document = fields;
        fields.insert("_id", id(number));
        env.post(platform, fields).await;
    }
    env
}

/// Rows of a terminal on which nothing scrolls away.
const ROWS: u16 = 400;

/// A terminal that has been sent these bytes.
fn terminal(columns: u16, bytes: &[u8]) -> vt100::Parser {
    let size = |number| NonZero::new(number).unwrap();
    let mut terminal = vt100::Parser::new(size(ROWS), size(columns), 0);
    terminal.process(bytes);
    terminal
}

/// The rows of a terminal as they stand.
fn rows(screen: &vt100::Screen) -> String {
    let rows: Vec<String> = screen.rows(0, screen.size().1.get()).map(|row| row.trim_end().to_owned()).collect();
    rows.join("\n")
}

/// What a command has left on a terminal, or on two streams where there is none.
async fn seen(env: &TestEnv, screen: Option<u16>, arguments: &[&str], typed: &str) -> String {
    read(env, screen, arguments, typed, rows).await
}

/// The same, with the lines whole that a terminal has broken: their parts that differ from run to run are found, and
/// differ in length.
async fn lines_seen(env: &TestEnv, screen: Option<u16>, arguments: &[&str], typed: &str) -> String {
    read(env, screen, arguments, typed, vt100::Screen::contents).await
}

async fn read(
    env: &TestEnv,
    screen: Option<u16>,
    arguments: &[&str],
    typed: &str,
    text: fn(&vt100::Screen) -> String,
) -> String {
    let line = format!("$ postretry {}", arguments.join(" "));
    match screen {
        Some(columns) => {
            let (code, bytes) = env.on_terminal(columns, arguments, typed).await;
            format!("{line}\nexit code {code}\n{}\n", text(terminal(columns, &bytes).screen()).trim_end())
        }
        None => {
            let Ran { code, stdout, stderr } = env.run(arguments).await;
            format!("{line}\nexit code {code}\n--- standard output\n{stdout}--- standard error\n{stderr}")
        }
    }
}

fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, replacement) in FILTERS {
        settings.add_filter(pattern, replacement);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// What was seen on one of the screens.
fn check_on(screen: Option<u16>, name: &str, texts: &[String]) {
    let columns = screen.map_or_else(|| "none".to_owned(), |columns| columns.to_string());
    check(&format!("{name}_{columns}"), &texts.join("\n"));
}

/// The commands one after the other, on a env of their own for each screen.
async fn check_screens(name: &str, commands: &[(&[&str], &str)]) {
    for screen in SCREENS {
        let env = screen_env().await;
        let mut texts = Vec::new();
        for (arguments, typed) in commands {
            texts.push(seen(&env, screen, arguments, typed).await);
        }
        check_on(screen, name, &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_failed() {
    let (waiting, given_up, malformed) = (id(1).to_hex(), id(2).to_hex(), id(3).to_hex());
    let (ambiguous, several) = (id(6).to_hex(), id(7).to_hex());
    check_screens(
        "list_failed",
        &[
            (&["list-failed"], ""),
            (&["list-failed", "--limit", "2", "--skip", "1"], ""),
            (&["list-failed", "--category", "expired"], ""),
            (&["list-failed", &waiting], ""),
            (&["list-failed", &given_up], ""),
            (&["list-failed", &malformed], ""),
            (&["list-failed", &ambiguous], ""),
            (&["list-failed", &several], ""),
            (&["list-failed", "--platform", "tiktok", "--category", "ambiguous", "--category", "network"], ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run() {
    check_screens(
        "run",
        &[
            (&["run", "--dry-run"], ""),
            (&["stats"], ""),
            (&["run"], ""),
            (&["stats"], ""),
            (&["stats", "--color", "never"], ""),
            (&["run"], ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_and_reset() {
    let (due, waiting, given_up, malformed) = (id(0).to_hex(), id(1).to_hex(), id(2).to_hex(), id(3).to_hex());
    let (ambiguous, several) = (id(6).to_hex(), id(7).to_hex());
    check_screens(
        "retry_and_reset",
        &[
            (&["retry", &due], ""),
            (&["retry", &due], ""),
            (&["retry", &given_up, &malformed], ""),
            (&["retry", &ambiguous], ""),
            (&["retry", "--force", &ambiguous], "n\n"),
            (&["retry", &several, "nothing"], ""),
            (&["reset", "--permanent", "--dry-run"], ""),
            (&["reset", "--category", "expired", "--yes"], ""),
            (&["reset", "--permanent"], "n\n"),
            (&["reset", "--permanent"], "y\n"),
            (&["reset", &waiting, &due], ""),
            (&["reset", "--posted", "--url", "https://www.tiktok.com/@a/video/7512345678901234567", &ambiguous], ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn formats() {
    let env = screen_env().await;
    let waiting = id(1).to_hex();
    let mut texts = Vec::new();
    let commands: [&[&str]; 9] = [
        &["run", "--dry-run", "--format", "json"],
        &["run", "--format", "json"],
        &["list-failed", "--format", "json"],
        &["list-failed", "--format", "csv"],
        &["list-failed", &waiting, "--format", "json"],
        &["retry", &waiting, "nothing", "--format", "json"],
        &["reset", "--permanent", "--yes", "--format", "json"],
        &["stats", "--format", "json"],
        &["stats", "--format", "prometheus"],
    ];
    for arguments in commands {
        texts.push(seen(&env, None, arguments, "").await);
    }
    check("formats", &texts.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_a_pass() {
    for screen in SCREENS {
        let mut env = screen_env().await;
        env.unset("YOUTUBE_");
        env.sandbox.world().revoke_refresh("tiktok");
        let limit = Act::graph(400, 80002, None);
        env.sandbox.fault(Fault::always("instagram.create", limit));
        let claim = doc! { "$set": { "videoPath": "a.mp4" } };
        env.posts.update_one(doc! { "_id": id(4) }, claim).await.unwrap();
        let texts = [
            seen(&env, screen, &["run"], "").await,
            seen(&env, screen, &["run", "-q"], "").await,
            seen(&env, screen, &["list-failed", "--category", "auth"], "").await,
            seen(&env, screen, &["list-failed", &id(0).to_hex()], "").await,
            seen(&env, screen, &["stats"], "").await,
        ];
        check_on(screen, "trouble", &texts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors() {
    for screen in SCREENS {
        check_on(screen, "errors", &errors_on(screen).await);
    }
}

/// Every kind of error, one after the other.
async fn errors_on(screen: Option<u16>) -> Vec<String> {
    let mut env = screen_env().await;
    let claim = doc! { "$set": { "retryClaim": { "by": "web1:1:abc", "until": ago(-60) } } };
    env.posts.update_one(doc! { "_id": id(0) }, claim).await.unwrap();
    let (claimed, given_up) = (id(0).to_hex(), id(2).to_hex());
    let mut texts = Vec::new();
    let commands: [&[&str]; 18] = [
        &["frobnicate"],
        &["list-faild"],
        &["run", "--platform", "tictok"],
        &["list-failed", "--category", "netwrok"],
        &["list-failed", "--categroy", "auth"],
        &["run", "--concurrency", "0"],
        &["run", "--max-duration", "soon"],
        &["run", "--format", "csv"],
        &["retry"],
        &["reset"],
        &["reset", "x", "--permanent"],
        &["reset", "--permanent"],
        &["list-failed", "000000000000000000000000"],
        &["retry", "000000000000000000000000"],
        &["reset", "000000000000000000000000"],
        &["retry", &claimed],
        &["reset", &claimed],
        &["retry", &given_up],
    ];
    for arguments in commands {
        // On a terminal one of them asks, and is answered; the others read nothing.
        let typed = if arguments == ["reset", "--permanent"] { "n\n" } else { "" };
        texts.push(lines_seen(&env, screen, arguments, typed).await);
    }
    let uri = env.uri.clone();
    let hosts = uri.trim_start_matches("mongodb://").to_owned();
    let settings: [&[(&str, &str)]; 12] = [
        &[("MAX_POST_RETRIES", "five"), ("POST_RETRY_GAP", "ages"), ("TIKTOK_CLIENT_SECRET", "")],
        &[("INSTAGRAM_API_URL", "http://graph.example")],
        &[("POST_ASSET_ROOT", "/nowhere/assets")],
        &[("MONGODB_URI", "")],
        &[("MONGODB_URI", "mongodb://localhost")],
        &[("MONGODB_URI", "postgres://user:hush-hush@localhost/app")],
        &[("MONGODB_URI", "mongodb://127.0.0.1:1/app?serverSelectionTimeoutMS=300")],
        &[("MONGODB_URI", "mongodb://no-such-host.invalid/app?serverSelectionTimeoutMS=3000")],
        &[("MONGODB_URI", &format!("mongodb://user:hush-hush@{hosts}"))],
        &[("MONGODB_URI", &format!("{uri}&tls=true&serverSelectionTimeoutMS=1000"))],
        &[("POSTRETRY_STORE", "sqlite:/nowhere/assets")],
        &[("POSTRETRY_STORE", "sqlite:.")],
    ];
    for changed in settings {
        let before = env.settings.clone();
        for (name, value) in changed {
            env.set(name, value);
        }
        let text = lines_seen(&env, screen, &["run"], "").await;
        env.settings = before;
        assert!(!text.contains("hush"), "{text}");
        let told: Vec<String> = changed.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let told = told.join(" ").replace(&uri, "mongodb://HOST/app").replace(&hosts, "HOST/app");
        texts.push(format!("With {told}\n{text}"));
    }
    env.unset("TIKTOK_");
    env.posts.update_one(doc! { "_id": id(0) }, doc! { "$unset": { "retryClaim": "" } }).await.unwrap();
    texts.push(lines_seen(&env, screen, &["retry", &claimed], "").await);
    texts
}

/// The columns in which a table has titles of posts, from its heading.
fn columns_of_titles(heading: &str) -> Range<usize> {
    let Some(start) = heading.find("TITLE") else { return 0..0 };
    let rest = &heading[start..];
    let words = rest.trim_start_matches("TITLE").trim_start();
    start..start + rest.len() - words.len()
}

#[test]
fn on_no_screen_anything_but_a_title_is_cut_and_no_line_is_left_to_the_terminal_to_break() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let snapshots: Vec<_> = paths.filter(|path| path.extension().is_some_and(|name| name == "snap")).collect();
    assert!(snapshots.len() > 20, "{snapshots:?}");
    for path in snapshots {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let columns: Option<usize> = name.rsplit_once('_').and_then(|(_, columns)| columns.parse().ok());
        let text = std::fs::read_to_string(&path).unwrap();
        let mut titles = 0..0;
        for line in text.lines() {
            if line.starts_with("$ ") {
                titles = 0..0;
            } else if ["ID ", "POST ", "ATTEMPT "].iter().any(|first| line.starts_with(first)) {
                titles = columns_of_titles(line);
            }
            for (at, _) in line.match_indices('…') {
                let before = &line[..at];
                // An error names the form of an address.
                assert!(before.ends_with("://") || titles.contains(&before.width()), "{name}: {line}");
            }
            assert!(columns.is_none() || !line.contains("2026-01-01T"), "{name}: {line}");
            // Addresses are never broken, and what is typed ends the line of a question.
            let is_exempt = ["$ ", "With "].iter().any(|first| line.starts_with(first))
                || ["://", "[y/N]"].iter().any(|part| line.contains(part));
            assert!(is_exempt || columns.is_none_or(|columns| line.width() <= columns), "{name}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_for_terminals_and_can_be_had_and_refused() {
    let mut env = screen_env().await;
    let has_color = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("\u{1b}[");
    assert!(has_color(&env.on_terminal(100, &["list-failed"], "").await.1));
    assert!(!has_color(&env.on_terminal(100, &["list-failed", "--color", "never"], "").await.1));
    assert!(!has_color(env.run(&["list-failed"]).await.stdout.as_bytes()));
    assert!(has_color(env.run(&["list-failed", "--color", "always"]).await.stdout.as_bytes()));
    env.set("NO_COLOR", "1");
    assert!(!has_color(&env.on_terminal(100, &["list-failed"], "").await.1));
    assert!(has_color(&env.on_terminal(100, &["list-failed", "--color", "always"], "").await.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_for_terminals_with_colours() {
    let mut env = screen_env().await;
    env.run(&["run"]).await.expect(3);
    let has_pictures = |text: &str| text.contains('█');
    for columns in [60, 140] {
        let (code, bytes) = env.on_terminal(columns, &["stats"], "").await;
        let text = terminal(columns, &bytes).screen().contents();
        assert!(code == 0 && has_pictures(&text) && text.contains("LAST 14 DAYS"), "{text}");
    }
    assert!(!has_pictures(&env.run(&["stats"]).await.expect(0).stdout));
    env.set("NO_COLOR", "1");
    let (_, bytes) = env.on_terminal(100, &["stats"], "").await;
    let text = terminal(100, &bytes).screen().contents();
    assert!(!has_pictures(&text) && text.contains("DAY (UTC)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_drawn_on_a_terminal_and_gone_at_the_end() {
    let mut env = TestEnv::new().await;
    env.file("large.mp4", &crate::support::env::video(3_000_000, 4));
    env.sandbox.fault(Fault::once("tiktok.status", Act::Slow { ms: 1500 }));
    env.post("tiktok", doc! { "videoPath": "large.mp4" }).await;
    let (code, bytes) = env.on_terminal(100, &["run"], "").await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(code, 0);
    for wanted in ["TikTok 0/1: ", "processing, large.mp4", "0 of 1 done, running "] {
        assert!(text.contains(wanted), "{wanted}: {text:?}");
    }
    let left = terminal(100, &bytes).screen().contents();
    assert!(!left.contains("running"), "{left}");
    assert!(!left.contains("large.mp4") && left.contains("1 due: 1 posted"), "{left}");
    env.set("TERM", "dumb");
    env.post("tiktok", doc! { "videoPath": "large.mp4" }).await;
    let (code, bytes) = env.on_terminal(100, &["run"], "").await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(code == 0 && !text.contains('\u{1b}') && !text.contains("running"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_away_is_no_failure() {
    let env = screen_env().await;
    for arguments in ["list-failed --format json", "--help", "stats"] {
        let script =
            format!("{} {arguments} | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_postretry"));
        let mut command = tokio::process::Command::new("bash");
        let settings: Vec<_> = env
            .command(&[])
            .as_std()
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        command
            .args(["-c", &script])
            .env_clear()
            .envs(settings.into_iter().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", "/usr/bin:/bin");
        let output = command.output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "{arguments}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments}");
    }
}
