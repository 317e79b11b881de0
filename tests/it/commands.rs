//! The commands that look and mend: `list-failed`, `reset`, `stats`, the dry run, and what cron sees.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde_json::json;

use crate::store::insert_row;
use crate::support::env::{TestEnv, assert_adds_up, hours_ago};

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_newest_first_in_pages_with_stories_and_filters() {
    let env = TestEnv::new().await;
    let story = ObjectId::new();
    let stories = env.database.collection::<Document>("stories");
    stories.insert_one(doc! { "_id": story, "title": "Spring" }).await.unwrap();
    let old = env.post("tiktok", doc! { "failedAt": hours_ago(9), "storyId": story }).await;
    let new = env.post("instagram", doc! { "failedAt": hours_ago(1), "storyName": "Own" }).await;
    let middle = env.post("youtube", doc! { "failedAt": hours_ago(5), "failureCategory": "auth" }).await;
    let list = async |more: &[&str]| {
        let arguments = [&["list-failed", "--format", "json"], more].concat();
        env.run(&arguments).await.expect(0).json()
    };
    let ids = |output: &serde_json::Value| -> Vec<String> {
        output["posts"].as_array().unwrap().iter().map(|post| post["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = list(&[]).await;
    assert_eq!(ids(&all), [new.clone(), middle.clone(), old.clone()]);
    assert_eq!(
        (&all["total"], &all["limit"], &all["skip"], &all["hasMore"]),
        (&json!(3), &json!(50), &json!(0), &json!(false))
    );
    assert_eq!(all["posts"][2]["story"], "Spring");
    assert_eq!(all["posts"][0]["story"], "Own");
    assert_eq!(all["posts"][1]["platform"], "youtube_shorts");
    let keys: Vec<&String> = all["posts"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 15, "{keys:?}");

    let page = list(&["--limit", "1", "--skip", "1"]).await;
    assert_eq!(ids(&page), std::slice::from_ref(&middle));
    assert_eq!(page["hasMore"], true);
    assert_eq!(ids(&list(&["--platform", "tiktok"]).await), std::slice::from_ref(&old));
    assert_eq!(ids(&list(&["--category", "auth"]).await), std::slice::from_ref(&middle));
    assert_eq!(ids(&list(&["--since", "6h"]).await), [new.clone(), middle]);
    assert_eq!(ids(&list(&["--due"]).await).len(), 3);

    // An empty answer tells an empty list from a selection that nothing fits, and from a part beyond the end.
    let text = async |more: &[&str]| env.run(&[&["list-failed"], more].concat()).await.expect(0).stdout;
    assert_eq!(text(&["--category", "quota_exhausted"]).await, "no failed posts match the filters\n");
    assert_eq!(text(&["--skip", "99"]).await, "0 of 3 failed posts\n");
    assert!(text(&["--skip", "1", "--limit", "1"]).await.ends_with("2 to 2 of 3 failed posts\n"));

    let csv = env.run(&["list-failed", "--format", "csv"]).await.expect(0).stdout;
    assert_eq!(csv.lines().count(), 4);
    assert!(csv.starts_with("id,title,platform,story,status,error,category,failedAt,retryCount,"));

    let detail = env.run(&["list-failed", &new, "--format", "json"]).await.expect(0).json();
    assert_eq!(detail["post"]["retryHistory"], json!([]));
    assert_eq!(detail["post"]["claimedBy"], json!(null));
    assert!(detail["post"]["explanation"].as_str().unwrap().contains("attempt 1 of 5"));
    env.run(&["list-failed", "000000000000000000000000"]).await.expect(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_reasons_and_changes_nothing() {
    let env = TestEnv::new().await;
    let id = env.post("tiktok", Document::new()).await;
    env.post("tiktok", doc! { "failedAt": hours_ago(0) }).await;
    let before = env.get(&id).await;
    let output = env.run(&["run", "--dry-run", "--format", "json"]).await.expect(0).json();
    assert_eq!(output["run"]["dryRun"], true);
    assert_eq!(output["totals"]["due"], 1);
    assert_eq!(output["posts"][0]["outcome"], "due");
    assert!(output["posts"][0]["reason"].as_str().unwrap().starts_with("due since "));
    assert_eq!(env.get(&id).await, before);
    assert_eq!(env.sandbox.world().requests.len(), 0);
    assert_eq!(env.database.list_collection_names().await.unwrap(), ["marketing_posts"], "it is no run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_is_reset_only_when_told_to() {
    let env = TestEnv::new().await;
    let exhausted = doc! { "retryCount": 5, "permanentlyFailed": true };
    let first = env.post("tiktok", exhausted.clone()).await;
    env.post("instagram", exhausted).await;
    let unflagged = env.post("tiktok", doc! { "retryCount": 5 }).await;
    env.run(&["reset", "--permanent"]).await.expect(2);
    // What a script has to say does not depend on what is selected.
    for (arguments, code) in [
        (&["reset", "--category", "expired"][..], 2),
        (&["reset", "--category", "expired", "--dry-run"], 0),
        (&["reset", "--category", "expired", "--yes"], 0),
        (&["reset", "--drop-ticket", "nobody"], 2),
        (&["reset", "--drop-ticket", "nobody", "--dry-run"], 6),
        (&["reset", "--drop-ticket", "nobody", "--yes"], 6),
    ] {
        let said = env.run(arguments).await.expect(code).stderr;
        // A dry run does not show whether a post is on its platform.
        let hint = if arguments[1] == "--drop-ticket" {
            "check on the platform that each post is not there, then add `--yes`\n"
        } else {
            "add `--yes`, or check first with `--dry-run`\n"
        };
        let is_asked = said.contains(&format!(" without confirmation\nhint: {hint}"));
        assert_eq!(code == 2, is_asked, "{arguments:?}: {said}");
    }
    let planned = env.run(&["reset", "--drop-ticket", "--dry-run", &first]).await.expect(0).stdout;
    let end = "1 post would be reset without its upload ticket; nothing was changed\n";
    assert!(planned.ends_with(end), "{planned}");
    let (code, seen) = env.on_terminal(100, &["reset", "--category", "expired"], "").await;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(code == 0 && seen.contains("no posts match the selection"), "{code}: {seen}");
    env.run(&["reset", "--permanent", "--dry-run"]).await.expect(0);
    assert_eq!(env.get(&first).await.get_i32("retryCount").ok(), Some(5));
    let reset = env.run(&["reset", "--permanent", "--platform", "tiktok", "--yes", "--format", "json"]).await;
    let reset = reset.expect(0).json();
    assert_eq!(reset["posts"].as_array().unwrap().len(), 2);
    assert_eq!(env.get(&unflagged).await.get_i32("retryCount").ok(), Some(0));
    let left = env.run(&["list-failed", "--permanent", "--format", "json"]).await.expect(0).json();
    assert_eq!(left["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_post_is_mended_by_a_reset() {
    let env = TestEnv::new().await;
    let wrong = [
        doc! { "retryCount": "three" },
        doc! { "permanentlyFailed": "no", "permanentlyFailedAt": 7 },
        doc! { "retryNotBefore": "later", "lastRetriedAt": "now" },
        doc! { "retryHistory": "none", "error": 500 },
        doc! { "retryClaim": "mine", "failureCategory": 7 },
    ];
    for fields in wrong {
        let id = env.post("tiktok", fields.clone()).await;
        let shown = env.run(&["list-failed", &id]).await.expect(0);
        assert!(shown.stdout.contains("malformed field"), "{fields}: {}", shown.stdout);
        env.run(&["reset", &id]).await.expect(0);
        env.pass(0).await;
        assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"), "{fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statistics_count_posts_attempts_and_runs() {
    let env = TestEnv::new().await;
    let empty = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!(empty["byPlatform"][0]["successRate"], json!(null));
    assert_eq!(empty["runs"]["runCount"], 0);
    env.post("tiktok", Document::new()).await;
    env.post("instagram", doc! { "videoPath": "none.mp4" }).await;
    env.post("youtube", doc! { "retryCount": 5, "permanentlyFailed": true, "failureCategory": "network" }).await;
    env.pass(0).await;
    let stats = env.run(&["stats", "--format", "json"]).await.expect(0).json();
    assert_eq!(stats["totalFailed"], 2);
    assert_eq!(stats["permanentlyFailed"], 1);
    assert_eq!(stats["retryable"], 1);
    assert_eq!(stats["retryDistribution"], json!([{ "retryCount": 1, "count": 1 }, { "retryCount": 5, "count": 1 }]));
    assert_eq!(
        stats["byPlatform"][0],
        json!({
            "platform": "tiktok", "failed": 0, "permanentlyFailed": 0, "due": 0, "attempts": 1, "posted": 1,
            "successRate": 1.0,
        })
    );
    assert_eq!(stats["byPlatform"][1]["successRate"], 0.0);
    assert_eq!(stats["byAttempt"], json!([{ "attempt": 1, "attempts": 2, "posted": 1 }]));
    assert_eq!(stats["runs"]["runCount"], 1);
    assert_eq!(stats["runs"]["successCount"], 1);
    assert_eq!(stats["runs"]["errorCount"], 1);
    assert_eq!(stats["runs"]["lastOutcome"], "ok");
    assert_eq!(stats["tokens"][0]["platform"], "tiktok");

    let text = env.run(&["stats", "--format", "prometheus"]).await.expect(0).stdout;
    assert!(text.contains("postretry_failed_posts{platform=\"instagram\"} 1\n"), "{text}");
    assert!(text.contains("# TYPE postretry_runs_total counter\npostretry_runs_total 1\n"));
}

/// One post has failed and is malformed: no figure counts it as anything else.
async fn assert_one_is_malformed(env: &TestEnv) {
    let stats = env.run(&["stats", "--json"]).await.expect(0).json();
    let names = ["totalFailed", "malformed", "retryable", "permanentlyFailed", "due", "ambiguous"];
    assert_eq!(names.map(|name| stats[name].as_u64().unwrap()), [1, 1, 0, 0, 0, 0], "{stats}");
    assert_eq!((&stats["retryDistribution"], &stats["byCategory"]), (&json!([]), &json!([])), "{stats}");
    assert_adds_up(&stats);
    let text = env.run(&["stats"]).await.expect(0).stdout;
    assert!(text.starts_with("1 failed post: 0 permanently failed, 0 retryable, 1 malformed; 0 due\n"), "{text}");
    let metrics = env.run(&["stats", "--format", "prometheus"]).await.expect(0).stdout;
    assert!(metrics.contains("\npostretry_malformed_posts 1\n"), "{metrics}");
    assert!(metrics.contains("\npostretry_permanently_failed_posts{platform=\"tiktok\"} 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_post_is_counted_as_nothing_else() {
    let wrong = doc! { "retryCount": "three", "permanentlyFailed": true, "failureCategory": "ambiguous" };
    let mut env = TestEnv::new().await;
    env.post("tiktok", wrong.clone()).await;
    assert_one_is_malformed(&env).await;
    // The first pass makes the indexes.
    env.pass(0).await;
    assert_one_is_malformed(&env).await;
    let mut row = doc! { "id": "1", "platform": "tiktok", "status": "failed", "failedAt": hours_ago(2) };
    row.extend(wrong);
    let path = env.on_sqlite().await;
    insert_row(&path, &row);
    assert_one_is_malformed(&env).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_cron_nothing_is_printed_when_nothing_was_done() {
    let env = TestEnv::new().await;
    env.post("tiktok", doc! { "failedAt": hours_ago(0) }).await;
    let ran = env.run(&["run"]).await.expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    env.post("tiktok", Document::new()).await;
    let ran = env.run(&["run", "-q"]).await.expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    env.post("youtube", doc! { "contentType": "carousel" }).await;
    let ran = env.run(&["run", "-q"]).await.expect(3);
    assert!(ran.stdout.contains("permanently failed"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_nothing_to_do_is_in_the_statistics_at_once() {
    let mut env = TestEnv::new().await;
    env.post("tiktok", doc! { "failedAt": hours_ago(0) }).await;
    for store in ["MongoDB", "SQLite"] {
        if store == "SQLite" {
            env.on_sqlite().await;
        }
        for count in 1..=5 {
            env.run(&["run", "-q"]).await.expect(0);
            assert_eq!(env.run(&["stats", "--json"]).await.expect(0).json()["runs"]["runCount"], count, "{store}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_collection_gets_a_warning_that_names_what_looks_like_it() {
    let mut env = TestEnv::new().await;
    env.database.collection::<Document>("marketingposts").insert_one(doc! {}).await.unwrap();
    let ran = env.run(&["run"]).await.expect(0);
    assert!(ran.stderr.contains("`marketing_posts`") && ran.stderr.contains("`marketingposts`"), "{}", ran.stderr);
    env.set("POST_COLLECTION", "marketingposts");
    let ran = env.run(&["run"]).await.expect(0);
    assert_eq!(ran.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_the_statistics_add_up() {
    let env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    env.post("instagram", doc! { "failureCategory": "network" }).await;
    env.post("youtube", doc! { "retryCount": "three" }).await;
    let text = env.run(&["stats"]).await.expect(0).stdout;
    let sum = |heading: &str| -> u64 {
        let table = text.split("\n\n").find(|table| table.starts_with(heading)).unwrap();
        let count = |row: &str| {
            let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            cells[1].parse::<u64>().unwrap()
        };
        table.lines().skip(1).map(count).sum()
    };
    assert_eq!((sum("PLATFORM"), sum("RETRY COUNT"), sum("CATEGORY")), (3, 2, 2), "{text}");
}
