//! Rows that any program may have written: whatever a column contains, the post is reported or handled, and the others
//! are published. And the settings and files by which another store could be opened than the one that was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mongodb::bson::doc;
use rusqlite::Connection;
use serde_json::Value;

use crate::store::insert_row;
use crate::support::env::{Ran, TestEnv, assert_adds_up, hours_ago};

/// The columns that a pass reads, but for the id, the status, and the ids of published posts.
const COLUMNS: [&str; 26] = [
    "title",
    "description",
    "caption",
    "hashtags",
    "platform",
    "content_type",
    "video_path",
    "image_path",
    "is_ai_generated",
    "story_id",
    "story_name",
    "scheduled_at",
    "updated_at",
    "upload_publish_id",
    "error",
    "failed_at",
    "retry_count",
    "last_retried_at",
    "permanently_failed",
    "permanently_failed_at",
    "failure_category",
    "retry_not_before",
    "retry_history",
    "claim_by",
    "claim_until",
    "publish_ticket",
];

/// Values of every storage class, and texts of every kind, as SQL.
fn values() -> Vec<String> {
    let nested = |depth: usize| format!("'{}{}'", "[".repeat(depth), "]".repeat(depth));
    let mut values: Vec<String> = [
        "NULL",
        "0",
        "1",
        "42",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "0.5",
        "1e999",
        "-1e999",
        "x''",
        "x'00ff'",
        "x'3432'",
        "CAST(x'61ff62' AS TEXT)",
        "''",
        "' '",
        "char(9, 10)",
        "'inf'",
        "'NaN'",
        "'42'",
        "'null'",
        "'{\"a\": 1}'",
        "'[1, {\"attempt\": 1}]'",
        "'{\"tiktok\": 5}'",
        "'[\"one\"'",
        "'2026-11-01T00:00:00Z'",
        "'2026-02-30T00:00:00Z'",
        "'0000-01-01T00:00:00Z'",
        "'0000-01-01T00:00:00+01:00'",
        "'9999-12-31T23:59:59.999Z'",
        "'9999-12-31T23:59:59-01:00'",
        "'+12026-01-01T00:00:00Z'",
        "'a' || char(0) || 'b'",
        "char(8238) || 'x' || char(27) || '[31m' || char(13, 10) || 'y'",
        "'e' || replace(hex(zeroblob(50000)), '00', char(769))",
    ]
    .map(str::to_owned)
    .to_vec();
    values.extend([nested(120), nested(500), nested(5000)]);
    values
}

/// Inserts a failed TikTok post that is due, with some columns as SQL.
fn insert(connection: &Connection, id: &str, columns: &[(&str, &str)]) {
    let usual = [
        ("id", format!("'{id}'")),
        ("title", "'A title'".to_owned()),
        ("caption", "'A caption'".to_owned()),
        ("platform", "'tiktok'".to_owned()),
        ("status", "'failed'".to_owned()),
        ("video_path", "'a.mp4'".to_owned()),
        ("failed_at", "'2026-01-01T00:00:00Z'".to_owned()),
    ];
    let mut all: BTreeMap<&str, String> = usual.into_iter().collect();
    all.extend(columns.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let names: Vec<&str> = all.keys().copied().collect();
    let values: Vec<&str> = all.values().map(String::as_str).collect();
    let sql = format!("INSERT INTO posts ({}) VALUES ({})", names.join(", "), values.join(", "));
    connection.execute_batch(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection
}

/// Every row as it is, to the last byte, by the number of the row.
fn contents(connection: &Connection) -> BTreeMap<i64, Vec<String>> {
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('posts')")
        .unwrap()
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(|name| name.map(|name| format!("typeof({name}) || hex(CAST({name} AS BLOB))")).unwrap())
        .collect();
    let mut statement = connection.prepare(&format!("SELECT rowid, {} FROM posts", columns.join(", "))).unwrap();
    let rows = statement.query_map([], |row| {
        let values =
            (1..=columns.len()).map(|index| row.get::<_, Option<String>>(index)).collect::<Result<Vec<_>, _>>()?;
        Ok((row.get(0)?, values.into_iter().map(Option::unwrap_or_default).collect()))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn ids(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

/// The malformed posts of a list.
fn malformed_in(list: &Value) -> BTreeSet<String> {
    let is_malformed = |post: &&Value| post["error"].as_str().is_some_and(|error| error.starts_with("malformed field"));
    let posts = list["posts"].as_array().unwrap();
    posts.iter().filter(is_malformed).map(|post| post["id"].as_str().unwrap().to_owned()).collect()
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

const EVERYTHING: [&str; 5] = ["list-failed", "--limit", "5000", "--format", "json"];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_column_contains_the_pass_goes_on_and_all_commands_agree() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    env.set("POST_RETRY_CONCURRENCY", "8");
    let connection = connect(&path);
    insert(&connection, "good", &[]);
    for column in COLUMNS {
        for (position, value) in values().iter().enumerate() {
            let mut columns = vec![(column, value.as_str())];
            // One half of a claim is a case of its own; with the other it may be a dead claim.
            if position % 2 == 0 {
                match column {
                    "claim_by" => columns.push(("claim_until", "'2026-01-01T00:00:00Z'")),
                    "claim_until" => columns.push(("claim_by", "'somebody'")),
                    _ => {}
                }
            }
            insert(&connection, &format!("{column}-{position}"), &columns);
        }
    }
    for column in ["title", "error", "hashtags", "publish_ticket", "platform"] {
        insert(&connection, &format!("{column}-big"), &[(column, "hex(zeroblob(5000000))")]);
    }
    let total = number(&connection, "SELECT count(*) FROM posts");
    let before = contents(&connection);

    let list = env.run(&EVERYTHING).await.expect(0).json();
    assert_eq!(list["total"], total);
    let listed = malformed_in(&list);
    let dry = env.run(&["run", "--dry-run", "--format", "json"]).await.expect(0).json();
    let reported = ids(&dry["malformed"]);
    // A malformed post that waits, or that is permanently failed, is in the list only.
    assert!(reported.is_subset(&listed), "{:?}", reported.difference(&listed));
    assert!(reported.len() > 300, "{}", reported.len());
    let due = dry["totals"]["due"].as_i64().unwrap();
    assert!(due > 300, "{due}");
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!(stats["due"], due);
    assert_eq!(stats["totalFailed"], total);
    assert_eq!(stats["malformed"].as_u64(), Some(listed.len() as u64), "{stats}");
    assert_adds_up(&stats);
    let metrics = env.run(&["stats", "--format", "prometheus"]).await.expect(0).stdout;
    assert!(metrics.contains(&format!("postretry_due_posts{{platform=\"tiktok\"}} {due}\n")), "{metrics}");
    assert!(metrics.contains(&format!("\npostretry_malformed_posts {}\n", listed.len())), "{metrics}");
    let list = env.run(&["list-failed", "--due", "--limit", "5000", "--format", "json"]).await.expect(0).json();
    assert_eq!(list["total"], due);
    assert_eq!(ids(&list["posts"]), ids(&dry["posts"]));
    assert!(contents(&connection) == before, "nothing was written so far");

    let ran = env.run(&["run", "--format", "json"]).await;
    assert!([0, 3].contains(&ran.code), "{} {}", ran.code, ran.stderr);
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new());
    let output = ran.json();
    assert_eq!(ids(&output["malformed"]), reported);
    assert_eq!(output["totals"]["due"], due);
    assert_eq!(number(&connection, "SELECT count(*) FROM posts WHERE id = 'good' AND status = 'posted'"), 1);
    // An upload that the application left may be found as the video of another row: all have the same text.
    let posted = number(&connection, "SELECT count(DISTINCT tiktok_video_id) FROM posts WHERE status = 'posted'");
    let published = i64::try_from(env.sandbox.published().len()).unwrap();
    let deferred = output["totals"]["deferred"].as_i64().unwrap();
    assert!((posted..=posted + deferred).contains(&published), "{published} published, {posted} recorded");
    let mut kept = connection.prepare("SELECT rowid FROM posts WHERE id = ?").unwrap();
    let after = contents(&connection);
    for id in &listed {
        let row: i64 = kept.query_row([id], |row| row.get(0)).unwrap();
        assert!(after[&row] == before[&row], "{id} is malformed, so it is left as it is");
    }
    assert_eq!(number(&connection, "SELECT count(*) FROM posts WHERE claim_by LIKE '%' AND status = 'posted'"), 0);
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// A table of another program, with these declarations of the id.
fn foreign_table(env: &mut TestEnv, declared: &str) -> (PathBuf, Connection) {
    let path = env.folder().join("foreign.db");
    let connection = connect(&path);
    let table = "platform TEXT, status TEXT, video_path TEXT, caption TEXT, failed_at TEXT";
    connection.execute_batch(&format!("CREATE TABLE posts (id {declared}, {table})")).unwrap();
    env.set("POSTRETRY_STORE", &format!("sqlite:{}", path.display()));
    (path, connection)
}

fn insert_id(connection: &Connection, id: &str) {
    let rest = "'tiktok', 'failed', 'a.mp4', 'A caption', '2026-01-01T00:00:00Z'";
    let columns = "id, platform, status, video_path, caption, failed_at";
    connection.execute_batch(&format!("INSERT INTO posts ({columns}) VALUES ({id}, {rest})")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_not_text_is_reported_and_the_row_is_never_written() {
    let mut env = TestEnv::new().await;
    let (_, connection) = foreign_table(&mut env, "");
    let unusable = ["NULL", "NULL", "42", "0.5", "x'3432'", "CAST(x'61ff' AS TEXT)", "hex(zeroblob(2000000))"];
    for id in unusable {
        insert_id(&connection, id);
    }
    let usable = ["'42'", "'good'", "''", "'a' || char(0) || 'b'", "'X''3432'''", "'NULL'"];
    for id in usable {
        insert_id(&connection, id);
    }
    let output = env.pass(0).await;
    assert_eq!(output["totals"]["posted"], usable.len(), "{output}");
    assert_eq!(output["malformed"].as_array().unwrap().len(), unusable.len(), "{output}");
    assert!(output["malformed"].as_array().unwrap().iter().all(|post| post["field"] == "id"), "{output}");
    let shown = ids(&output["malformed"]);
    for id in ["NULL", "42", "0.5", "X'3432'", "X'61FF'"] {
        assert!(shown.contains(id), "{shown:?}");
    }
    assert!(shown.iter().all(|id| id.len() < 100), "{shown:?}");
    let before = contents(&connection);
    let list = env.run(&EVERYTHING).await.expect(0).json();
    assert_eq!(list["total"], unusable.len());
    assert_eq!(malformed_in(&list), shown);
    for id in ["42", "0.5", "X'3432'"] {
        // The text with the same characters was posted, or does not exist.
        env.run(&["reset", "--", id]).await.expect(6);
        env.run(&["retry", "--", id]).await;
    }
    let ran = env.run(&["list-failed", "--format", "json", "--", "0.5"]).await.expect(0).json();
    assert!(ran["post"]["error"].as_str().unwrap().contains("`id`"), "{ran}");
    for arguments in [["reset", "--platform", "tiktok", "--yes"].as_slice(), &["reset", "--permanent", "--yes"]] {
        env.run(arguments).await;
    }
    assert!(contents(&connection) == before, "a row with an id that is not text was written");
    assert_eq!(env.sandbox.published().len(), usable.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_affinity_or_collation_makes_an_id_mean_another_row() {
    for (declared, id, others) in [
        ("INTEGER PRIMARY KEY", "42", ["042", "42.0"]),
        ("NUMERIC UNIQUE", "42", ["042", "4.2e1"]),
        ("TEXT COLLATE NOCASE PRIMARY KEY", "'abc'", ["ABC", "Abc"]),
        ("TEXT COLLATE RTRIM PRIMARY KEY", "'abc'", ["abc ", "abc  "]),
    ] {
        let mut env = TestEnv::new().await;
        let (_, connection) = foreign_table(&mut env, declared);
        insert_id(&connection, id);
        env.run(&["stats"]).await.expect(0);
        let before = contents(&connection);
        for other in others {
            env.run(&["reset", "--yes", "--", other]).await.expect(6);
            env.run(&["retry", "--", other]).await;
            assert_eq!(contents(&connection), before, "{declared}: {other}");
        }
        assert_eq!(env.sandbox.published().len(), 0, "{declared}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stories_of_any_kind_are_no_obstacle() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    let connection = connect(&path);
    connection
        .execute_batch(
            "DROP TABLE stories;
             CREATE TABLE stories (id, name);
             INSERT INTO stories VALUES ('a', x'00ff'), ('b', CAST(x'61ff' AS TEXT)), ('c', 42), ('d', NULL),
                 (x'65', 'blob'), (CAST(x'66ff' AS TEXT), 'odd'), (7, 'Number seven'), (NULL, 'none'), ('g', 'Spring');",
        )
        .unwrap();
    for story in ["a", "b", "c", "d", "e", "f", "7", "g", "nobody"] {
        insert(&connection, &format!("of-{story}"), &[("story_id", &format!("'{story}'"))]);
    }
    let list = env.run(&EVERYTHING).await.expect(0).json();
    let names: BTreeMap<&str, &Value> =
        list["posts"].as_array().unwrap().iter().map(|post| (post["id"].as_str().unwrap(), &post["story"])).collect();
    assert_eq!(names["of-g"], "Spring");
    for unnamed in ["of-a", "of-b", "of-c", "of-d", "of-e", "of-f", "of-nobody"] {
        assert!(names[unnamed].is_null(), "{unnamed}: {}", names[unnamed]);
    }
    env.run(&["list-failed", "of-a", "--format", "json"]).await.expect(0);
    connection
        .execute_batch(
            "DROP TABLE stories; CREATE TABLE stories (id INTEGER PRIMARY KEY, name TEXT);
                        INSERT INTO stories VALUES (7, 'Number seven')",
        )
        .unwrap();
    let post = env.run(&["list-failed", "of-7", "--format", "json"]).await.expect(0).json();
    assert_eq!(post["post"]["story"], "Number seven");
    assert_eq!(env.pass(0).await["totals"]["posted"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_tokens_that_nobody_can_read_stop_no_command() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    let connection = connect(&path);
    connection
        .execute_batch(
            "INSERT INTO runs VALUES
                 ('1', 'run', '9998-01-01T00:00:00Z', 'x', 'x', x'00', 'v', x'ff', 'no JSON', 'no JSON', 'no JSON'),
                 ('2', 'run', x'39', 'x', 5, 'h', 'v', 'ok', '{\"posted\": 9223372036854775807}', '[]', '[1, {}]'),
                 ('3', 'run', '2026-01-01T00:00:00Z', 'x', 1e300, 'h', 'v', 'ok', '{\"posted\": 9223372036854775807}', '3',
                  '[\"x\", {\"platform\": 5, \"attempt\": \"y\", \"attempts\": 1e300}]');
             INSERT INTO tokens (key, platform, access_token) VALUES ('a', 'tiktok', x'00ff'), ('b', x'00', 'x');",
        )
        .unwrap();
    insert_row(
        &path,
        &doc! { "id": "good", "platform": "tiktok", "status": "failed", "videoPath": "a.mp4",
        "caption": "A caption", "failedAt": hours_ago(2) },
    );
    env.run(&["stats"]).await.expect(0);
    env.run(&["stats", "--format", "prometheus"]).await.expect(0);
    env.run(&["list-failed"]).await.expect(0);
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_history_that_are_not_ours_are_kept() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    let connection = connect(&path);
    insert(&connection, "appended", &[("retry_history", "'[{\"note\": \"mine\"}]'"), ("video_path", "'none.mp4'")]);
    // An attempt that is taken up again replaces its own entry, which is not the last one here.
    let open = r#"{"attempt": 1, "startedAt": "2026-01-01T00:00:00Z", "outcome": "interrupted"}"#;
    let history = format!("'[{open}, {{\"note\": \"mine\"}}]'");
    let columns = [
        ("retry_history", history.as_str()),
        ("retry_count", "1"),
        ("claim_by", "'dead'"),
        ("claim_until", "'2026-01-01T00:00:00Z'"),
        ("video_path", "'none.mp4'"),
    ];
    insert(&connection, "resumed", &columns);
    env.pass(0).await;
    for id in ["appended", "resumed"] {
        let text: String =
            connection.query_row("SELECT retry_history FROM posts WHERE id = ?", [id], |row| row.get(0)).unwrap();
        let history: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert!(history.iter().any(|entry| entry["note"] == "mine"), "{id}: {text}");
        assert_eq!(history.last().unwrap()["outcome"], "failed", "{id}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_file_that_refuses_one_post_stops_no_other() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    let connection = connect(&path);
    connection
        .execute_batch(
            "CREATE TRIGGER frozen BEFORE UPDATE ON posts WHEN NEW.id = 'refused'
             BEGIN SELECT RAISE(ABORT, 'this post is frozen'); END;",
        )
        .unwrap();
    // The oldest is tried first.
    insert(&connection, "refused", &[("failed_at", "'2025-01-01T00:00:00Z'")]);
    for id in ["a", "b", "c"] {
        insert(&connection, id, &[]);
    }
    let before = contents(&connection);
    let ran = env.run(&["run", "--format", "json"]).await;
    assert_ne!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("refused") && ran.stderr.contains("this post is frozen"), "{}", ran.stderr);
    assert_eq!(number(&connection, "SELECT count(*) FROM posts WHERE status = 'posted'"), 3);
    assert_eq!(env.sandbox.published().len(), 3);
    let row = number(&connection, "SELECT rowid FROM posts WHERE id = 'refused'");
    assert_eq!(contents(&connection)[&row], before[&row]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_is_refused_or_named_and_never_changed_unasked() {
    let mut env = TestEnv::new().await;
    let path = env.folder().join("other.db");
    env.set("POSTRETRY_STORE", &format!("sqlite:{}", path.display()));
    for (sql, problem) in [
        ("CREATE TABLE users (name TEXT); PRAGMA user_version = 3", "belongs to another program"),
        ("CREATE TABLE users (name TEXT); CREATE TABLE tokens (user TEXT)", "table `tokens` has no column `key`"),
        ("CREATE TABLE posts (slug TEXT, body TEXT)", "table `posts` has no column `id`"),
        ("CREATE TABLE posts (id TEXT); INSERT INTO posts VALUES ('a'), ('a')", "have the same `id`"),
    ] {
        connect(&path).execute_batch(sql).unwrap();
        let before = std::fs::read(&path).unwrap();
        let ran = env.run(&["run"]).await.expect(5);
        assert!(ran.stderr.contains(problem) && ran.stderr.contains("hint: "), "{}", ran.stderr);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{sql}");
        std::fs::remove_file(&path).unwrap();
    }
    connect(&path).execute_batch("CREATE TABLE users (name TEXT); CREATE TABLE orders (id TEXT)").unwrap();
    let warning = |ran: &Ran| ran.stderr.contains("a database with other tables (`orders`, `users`)");
    let ran = env.run(&["list-failed"]).await.expect(0);
    assert!(warning(&ran), "{}", ran.stderr);
    let ran = env.run(&["list-failed"]).await.expect(0);
    assert!(!warning(&ran), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_others_can_read_is_reported_before_tokens_are_stored_in_it() {
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    insert(&connect(&path), "good", &[]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = |ran: &Ran| ran.stderr.lines().filter(|line| line.contains("chmod 600 ")).count();
    let ran = env.run(&["run"]).await.expect(0);
    assert_eq!(told(&ran), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(&path.display().to_string()), "{}", ran.stderr);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let ran = env.run(&["run"]).await.expect(0);
    assert_eq!(told(&ran), 0, "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_read_as_text_is_refused_and_no_other_is_opened() {
    let mut env = TestEnv::new().await;
    let odd = || OsString::from_vec(b"sqlite:caf\xE9.db".to_vec());
    let refused = async |command: &mut tokio::process::Command| {
        let output = command.output().await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(stderr.contains("setting `POSTRETRY_STORE` is not valid UTF-8"), "{stderr}");
        assert!(!stderr.contains("caf"), "{stderr}");
    };
    refused(env.command(&["run"]).env("POSTRETRY_STORE", odd())).await;
    std::fs::write(env.folder().join(".env"), b"APP_NAME=caf\xE9\nPOSTRETRY_STORE=sqlite:caf\xE9.db\n").unwrap();
    refused(&mut env.command(&["run"])).await;
    std::fs::remove_file(env.folder().join(".env")).unwrap();
    let mut command = env.command(&["run"]);
    let output = command.arg("--store").arg(odd()).output().await.unwrap();
    // The command line itself is wrong.
    assert!([2, 4].contains(&output.status.code().unwrap()), "{output:?}");

    for (value, hint) in [
        ("sqlite://posts.db", "write `sqlite:PATH`"),
        ("sqlite:///tmp/posts.db", "write `sqlite:PATH`"),
        ("sqlite:", "write `sqlite:PATH`"),
        ("posts.db", "`sqlite:PATH`"),
    ] {
        env.set("POSTRETRY_STORE", value);
        let ran = env.run(&["run"]).await.expect(4);
        assert!(ran.stderr.contains(hint) && ran.stderr.contains("`POSTRETRY_STORE`"), "{}", ran.stderr);
    }
    assert_eq!(env.database.list_collection_names().await.unwrap(), Vec::<String>::new());
    let made: Vec<_> = std::fs::read_dir(env.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["assets"], "no store was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_sqlite_takes_for_something_else_is_a_file() {
    let mut env = TestEnv::new().await;
    for name in [":memory:", "file:posts.db?mode=memory"] {
        // Each file is another store, and does not know what the one before it has been given for the first token.
        env.sandbox.world().sign_in("tiktok", "sandbox-tiktok-refresh-0");
        env.set("POSTRETRY_STORE", &format!("sqlite:{name}"));
        let ran = env.run(&["stats"]).await.expect(0);
        assert!(ran.stderr.contains("created a new, empty post store"), "{}", ran.stderr);
        assert!(env.folder().join(name).metadata().unwrap().len() > 0, "{name}");
        insert(&connect(&std::path::absolute(env.folder().join(name)).unwrap()), "good", &[]);
        assert_eq!(env.pass(0).await["totals"]["posted"], 1, "{name}");
    }
    env.set("POSTRETRY_STORE", "sqlite:/dev/null");
    let ran = env.run(&["stats"]).await.expect(5);
    assert!(ran.stderr.contains("it is not a regular file"), "{}", ran.stderr);
}
