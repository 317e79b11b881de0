//! What is particular to the embedded store.

use std::os::unix::fs::PermissionsExt;

use mongodb::bson::{Document, doc};
use postretry::post::{BackoffFrom, Platform, RetryPolicy};
use postretry::store::sqlite::SqlitePostStore;
use postretry::store::{DueQuery, Scope};

use crate::store::insert_row;
use crate::support::env::{TestEnv, hours_ago, now};

fn row(id: &str, platform: &str, fields: Document) -> Document {
    let mut document = doc! {
        "id": id, "title": "A title", "caption": "A caption", "platform": platform, "status": "failed",
        "videoPath": "a.mp4", "failedAt": hours_ago(2),
    };
    document.extend(fields);
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn the_due_question_is_served_by_the_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlitePostStore::open(&folder.path().join("posts.db")).await.unwrap();
    for backoff_from in [BackoffFrom::FirstFailure, BackoffFrom::LastAttempt] {
        let policy = RetryPolicy { backoff_from, ..RetryPolicy::default() };
        let query = DueQuery { policy, now: now(), scope: Scope::Platform(Platform::YouTubeShorts) };
        let plan = store.explain_due(&query).await.unwrap();
        assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:#?}");
        let ranges = plan.iter().filter(|step| step.contains("postretry_retries=? AND postretry_anchor_")).count();
        assert_eq!(ranges, 5, "one range a retry count: {plan:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_publishes_from_a_file_that_only_its_owner_may_read() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for (id, platform) in [("a", "tiktok"), ("b", "instagram"), ("c", "youtube_shorts")] {
        insert_row(&path, &row(id, platform, doc! {}));
    }
    insert_row(&path, &row("bad", "tiktok", doc! { "failedAt": "yesterday" }));
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 3);
    assert_eq!(output["malformed"][0]["field"], "failed_at");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let left: Vec<String> = connection
        .prepare("SELECT id FROM posts WHERE status = 'failed'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(left, ["bad"]);
    let url: String =
        connection.query_row("SELECT youtube_url FROM posts WHERE id = 'c'", [], |row| row.get(0)).unwrap();
    assert!(url.starts_with("https://www.youtube.com/shorts/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_on_one_file_share_the_work_without_a_duplicate() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    for n in 0..40 {
        insert_row(&path, &row(&format!("p{n}"), "tiktok", doc! {}));
    }
    let passes = (0..4).map(|_| env.run(&["run", "--format", "json"]));
    let outputs = futures_util::future::join_all(passes).await;
    let posted: i64 = outputs.iter().map(|ran| ran.json()["totals"]["posted"].as_i64().unwrap()).sum();
    assert_eq!(posted, 40);
    assert_eq!(env.sandbox.published().len(), 40);
    assert_eq!(env.sandbox.calls("tiktok.token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_store_is_refused_in_one_line_and_nothing_is_lost() {
    let mut env = TestEnv::new().await;
    let file = env.folder().join("notes.txt");
    std::fs::write(&file, "these are my notes and not a database, and they are longer than a header".repeat(20))
        .unwrap();
    let before = std::fs::read(&file).unwrap();
    let newer = env.folder().join("newer.db");
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let folder = env.folder().display().to_string();
    for (path, problem) in [
        (file.display().to_string(), "it is not a SQLite file"),
        (folder.clone(), "it is a directory"),
        (format!("{folder}/none/posts.db"), "`: no such file or directory\n"),
        (newer.display().to_string(), "created by a newer postretry (schema 99"),
    ] {
        env.set("POSTRETRY_STORE", &format!("sqlite:{path}"));
        let ran = env.run(&["run"]).await.expect(5);
        assert!(ran.stderr.contains(problem) && ran.stderr.contains(&path), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1);
        assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_program_has_made_gets_what_it_lacks() {
    let mut env = TestEnv::new().await;
    let path = env.folder().join("posts.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE posts (id TEXT PRIMARY KEY, platform TEXT, status TEXT, video_path TEXT, caption TEXT,
                                 failed_at TEXT, flagged TEXT, number INTEGER, place TEXT);
             INSERT INTO posts VALUES ('old', 'tiktok', 'failed', 'a.mp4', 'A caption', '2026-01-01T00:00:00+01:00', 'x',
                                       1, 'y');",
        )
        .unwrap();
    env.set("POSTRETRY_STORE", "sqlite:posts.db");
    for command in [&["list-failed"][..], &["list-failed", "--due"], &["stats"], &["run", "--dry-run"]] {
        let told = env.run(&[command, &["--json"]].concat()).await.expect(0).json();
        let total = told.get("total").or(told.get("totalFailed")).or(told["totals"].get("due"));
        assert_eq!(total, Some(&serde_json::json!(1)), "{command:?}: {told}");
    }
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let flagged: String = connection.query_row("SELECT flagged FROM posts", [], |row| row.get(0)).unwrap();
    assert_eq!(flagged, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_finer_than_the_store_keeps_them_are_no_obstacle() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    let insert = "INSERT INTO posts (id, platform, status, video_path, caption, failed_at, last_retried_at) \
                  VALUES (?1, 'tiktok', 'failed', 'a.mp4', 'A caption', ?1, ?1)";
    // As Python, Go and JavaScript write them.
    for date in [
        "2026-11-20T00:00:00.123999+00:00",
        "2026-11-20T00:00:00.999999999Z",
        "2026-11-20T01:00:00.5006+01:00",
        "2026-11-20T00:00:00.9Z",
        "2026-11-20t00:00:00z",
    ] {
        connection.execute(insert, [date]).unwrap();
    }
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 5, "{output}");
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_derived_is_derived_anew() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    insert_row(&path, &row("a", "tiktok", doc! {}));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "DROP INDEX postretry_list;
             ALTER TABLE posts DROP COLUMN postretry_listed_at;
             ALTER TABLE posts ADD COLUMN postretry_listed_at INTEGER GENERATED ALWAYS AS (0) VIRTUAL;
             CREATE INDEX postretry_list ON posts (postretry_listed_at);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let listed_at: i64 = connection.query_row("SELECT postretry_listed_at FROM posts", [], |row| row.get(0)).unwrap();
    assert!(listed_at > 0);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_insert_of_the_documentation_is_published() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sqlite.md")).unwrap();
    let statement = manual.split("```sql\n").find(|block| block.starts_with("INSERT INTO posts")).unwrap();
    let statement = statement.split("```").next().unwrap();
    env.file("spring.mp4", &crate::support::env::video(1000, 5));
    rusqlite::Connection::open(&path).unwrap().execute_batch(statement).unwrap();
    let ran = env.run(&["list-failed", "--format", "json"]).await.expect(0).json();
    assert_eq!(ran["total"], 1);
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], 1, "{output}");
    assert_eq!(env.sandbox.published()[0].text, "Spring is here #spring #garden");
    // The page shows the schema as it is.
    assert!(manual.contains(postretry::store::sqlite::SCHEMA.trim()), "docs/sqlite.md shows another schema");
}
