//! The query for what is due uses its indexes: the server examines what is due and nothing else.

use mongodb::bson::{Bson, Document, doc};

use crate::support::env::{TestEnv, date, hours_ago, now};

/// The sum of a counter over a whole explanation.
fn sum(value: &Bson, name: &str) -> i64 {
    match value {
        Bson::Document(document) => document
            .iter()
            .map(|(key, value)| match value {
                Bson::Int32(number) if key == name => i64::from(*number),
                Bson::Int64(number) if key == name => *number,
                other => sum(other, name),
            })
            .sum(),
        Bson::Array(values) => values.iter().map(|value| sum(value, name)).sum(),
        _ => 0,
    }
}

/// What a command makes the server look at in the posts: documents, keys, and the plans by which it goes about it.
async fn examined(env: &TestEnv, arguments: &[&str]) -> (serde_json::Value, i64, i64, Vec<String>) {
    let profile = async |level: i32| env.database.run_command(doc! { "profile": level }).await.unwrap();
    profile(2).await;
    let output = env.run(arguments).await.expect(0).json();
    profile(0).await;
    let log = env.database.collection::<Document>("system.profile");
    let namespace = format!("{}.marketing_posts", env.database.name());
    let mut operations = log.find(doc! { "ns": namespace }).await.unwrap();
    let (mut documents, mut keys, mut plans) = (0, 0, Vec::new());
    while operations.advance().await.unwrap() {
        let operation = operations.deserialize_current().unwrap();
        let counted = |name: &str| sum(&Bson::Document(doc! { "n": operation.get(name).cloned() }), "n");
        documents += counted("docsExamined");
        keys += counted("keysExamined");
        plans.push(operation.get_str("planSummary").unwrap_or_default().to_owned());
    }
    log.drop().await.unwrap();
    (output, documents, keys, plans)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_and_a_page_of_the_list_examine_what_is_due_and_not_the_20_000_others() {
    let env = TestEnv::new().await;
    let platforms = ["tiktok", "instagram", "youtube_shorts"];
    let others = (0..20_000).zip(platforms.iter().cycle()).map(|(n, platform)| {
        let fields = match n % 5 {
            0 => doc! { "status": "posted", "failedAt": hours_ago(500) },
            1 => doc! { "status": "failed", "retryCount": 5, "permanentlyFailed": true, "failedAt": hours_ago(500) },
            2 => doc! { "status": "failed", "retryCount": 2, "failedAt": hours_ago(3) },
            3 => doc! { "status": "failed", "retryCount": 0, "failedAt": date(now()), "failureCategory": "network" },
            _ => doc! { "status": "failed", "retryCount": 4, "updatedAt": hours_ago(3) },
        };
        let mut document = doc! { "platform": *platform };
        document.extend(fields);
        document
    });
    env.posts.insert_many(others).await.unwrap();
    for count in 0..5 {
        env.post("tiktok", doc! { "retryCount": count, "failedAt": hours_ago(100) }).await;
    }
    env.post("tiktok", doc! { "retryClaim": { "by": "dead", "until": hours_ago(1) }, "retryCount": 5 }).await;
    env.post("tiktok", doc! { "retryCount": Bson::Undefined, "failedAt": Bson::Undefined }).await;
    // The first pass makes the indexes; there is nothing for it to do but a limit that lets nothing start.
    env.run(&["run", "--limit", "0"]).await.expect(0);

    let (output, documents, keys, plans) = examined(&env, &["run", "--format", "json"]).await;
    assert_eq!(output["totals"]["due"], 7, "{output}");
    assert!(!plans.iter().any(|plan| plan.contains("COLLSCAN")), "{plans:?}");
    // Seven posts, each read, claimed, given tickets and settled: every look is at the post itself.
    println!("{documents} documents and {keys} keys examined for 7 due posts among 20,000 others");
    assert!(documents <= 150, "{documents} documents examined: {plans:?}");
    assert!(keys <= 1500, "{keys} keys examined: {plans:?}");

    let list = ["list-failed", "--limit", "20", "--skip", "20", "--format", "json"];
    let (output, documents, _, plans) = examined(&env, &list).await;
    assert_eq!(output["posts"].as_array().unwrap().len(), 20);
    assert!(!plans.iter().any(|plan| plan.contains("COLLSCAN")), "{plans:?}");
    // Those without `failedAt`, a fifth of all here, have no index to be sorted by.
    println!("{documents} documents examined for a page of 20 among 16,000 failed posts");
    assert!(documents <= 40 + 4_000 + 100, "{documents} documents examined: {plans:?}");
    let indexes = env.posts.list_index_names().await.unwrap();
    assert_eq!(
        indexes,
        ["_id_", "postretry_due", "postretry_claims", "postretry_claimed", "postretry_category", "postretry_list"]
    );
}
