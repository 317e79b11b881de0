//! The query for what is due uses its indexes: the server examines what is due and nothing else.

use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;

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

/// Puts in 45,000 documents with nothing that is due: 28,000 failed posts and deliveries, and others.
async fn fill_with_posts_that_wait(env: &TestEnv) {
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
    // Posts for several platforms that stay failed for ever, in each state that nothing is to be done in.
    let several = (0..20_000).map(|n| {
        let old = hours_ago(500);
        let waiting = doc! { "status": "failed", "lastFailedAt": hours_ago(3) };
        let (status, state) = match n % 5 {
            0 => (doc! { "status": "posting" }, doc! {}),
            1 => (doc! { "status": "skipped", "lastFailedAt": old.clone() }, doc! {}),
            2 => (
                doc! { "status": "failed", "lastFailedAt": old.clone() },
                doc! { "permanentlyFailed": true, "retryCount": 5 },
            ),
            3 => (waiting, doc! { "retryCount": 2 }),
            _ => (doc! { "status": "failed", "lastFailedAt": date(now()) }, doc! {}),
        };
        doc! {
            "status": "failed", "failedAt": old, "platform": "tiktok", "platforms": ["tiktok", "instagram"],
            "platformStatus": { "tiktok": { "status": "posted" }, "instagram": status },
            "postretry": { "instagram": state },
        }
    });
    env.posts.insert_many(several).await.unwrap();
    let handed_over = (0..5_000).map(|_| {
        doc! { "status": "failed", "platform": "tiktok", "failedAt": hours_ago(500), "sheetTriggeredAt": hours_ago(499) }
    });
    env.posts.insert_many(handed_over).await.unwrap();
    env.posts.insert_many(others).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_and_a_page_of_the_list_examine_what_is_due_and_not_the_20_000_others() {
    let env = TestEnv::new().await;
    fill_with_posts_that_wait(&env).await;
    for count in 0..5 {
        env.post("tiktok", doc! { "retryCount": count, "failedAt": hours_ago(100) }).await;
    }
    env.post("tiktok", doc! { "retryClaim": { "by": "dead", "until": hours_ago(1) }, "retryCount": 5 }).await;
    env.post("tiktok", doc! { "retryCount": Bson::Undefined, "failedAt": Bson::Undefined }).await;
    for _ in 0..3 {
        let status = doc! { "instagram": { "status": "failed", "lastFailedAt": hours_ago(90) }, "tiktok": { "status": "posted" } };
        let fields = doc! {
            "platforms": ["tiktok", "instagram"], "platformStatus": status, "failedAt": hours_ago(500),
        };
        env.post("tiktok", fields).await;
    }
    // The first pass makes the indexes; there is nothing for it to do but a limit that lets nothing start.
    env.run(&["run", "--limit", "0"]).await.expect(0);

    let (output, documents, keys, plans) = examined(&env, &["run", "--format", "json"]).await;
    assert_eq!(output["totals"]["due"], 10, "{output}");
    assert!(!plans.iter().any(|plan| plan.contains("COLLSCAN")), "{plans:?}");
    // Ten posts, each read, claimed, given tickets and settled: every look is at the post itself.
    println!("{documents} documents and {keys} keys examined for 10 due posts among 45,000 others");
    assert!(documents <= 150, "{documents} documents examined: {plans:?}");
    // On a slow machine claims are renewed and waits asked for more often.
    assert!(keys <= 9000, "{keys} keys examined: {plans:?}");

    let (output, documents, ..) = examined(&env, &["list-failed", "--due", "--format", "json"]).await;
    assert_eq!(output["total"], 0, "{output}");
    println!("{documents} documents examined for a list of what is due");
    assert!(documents <= 150, "{documents} documents examined");

    let list = ["list-failed", "--limit", "20", "--skip", "20", "--format", "json"];
    let (listed, documents, _, plans) = examined(&env, &list).await;
    assert_eq!(listed["posts"].as_array().unwrap().len(), 20);
    assert!(!plans.iter().any(|plan| plan.contains("COLLSCAN")), "{plans:?}");
    // Those without `failedAt`, a fifth of the posts for one platform, and the 12,000 deliveries have no index to be
    // sorted by, and the deliveries and the 5,000 of another publisher are counted one by one.
    println!("{documents} documents examined for a page of 20 among 28,000 failed posts and deliveries");
    assert!(documents <= 40 + 4_000 + 2 * 12_000 + 2 * 5_000 + 100, "{documents} documents examined: {plans:?}");

    let (output, documents, _, plans) = examined(&env, &["stats", "--format", "json"]).await;
    assert_eq!(output["totalFailed"], listed["total"], "{output}");
    assert_eq!(output["malformed"], 0, "{output}");
    assert!(!plans.iter().any(|plan| plan.contains("COLLSCAN")), "{plans:?}");
    // The 12,000 deliveries are counted one by one. What may be malformed is found without a look at the others.
    println!("{documents} documents examined for the statistics of 28,000 failed posts and deliveries");
    assert!(documents <= 12_000 + 150, "{documents} documents examined: {plans:?}");
    for fields in [doc! { "title": 7 }, doc! { "failedAt": "yesterday" }, doc! { "hashtags": "#a" }] {
        env.post("tiktok", fields).await;
    }
    let (output, documents, ..) = examined(&env, &["stats", "--format", "json"]).await;
    assert_eq!(output["malformed"], 3, "{output}");
    assert!(documents <= 12_000 + 200, "{documents} documents examined for three that are malformed");

    let indexes = env.posts.list_index_names().await.unwrap();
    let of_posts = [
        "due_posts",
        "undated_posts",
        "platforms",
        "platform_status",
        "claims_of_posts",
        "categories",
        "failed_posts",
        "suspects",
    ];
    let of_deliveries = ["tiktok", "instagram"]
        .iter()
        .flat_map(|name| ["due", "claims", "processing", "suspects"].map(|kind| format!("{kind}_{name}")));
    let mut expected: Vec<String> = of_posts.iter().map(|name| (*name).to_owned()).chain(of_deliveries).collect();
    for name in &mut expected {
        name.insert_str(0, "postretry_");
    }
    expected.push("_id_".to_owned());
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(indexes), sorted(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_indexes_of_an_earlier_version_are_dropped_and_no_others() {
    let env = TestEnv::new().await;
    env.post("tiktok", doc! { "failedAt": date(now()) }).await;
    for (name, keys) in [("postretry_due", doc! { "status": 1 }), ("by_title", doc! { "title": 1 })] {
        let options = IndexOptions::builder().name(name.to_owned()).build();
        env.posts.create_index(IndexModel::builder().keys(keys).options(options).build()).await.unwrap();
    }
    env.run(&["run"]).await.expect(0);
    let names = env.posts.list_index_names().await.unwrap();
    assert!(
        names.iter().any(|name| name == "by_title") && !names.iter().any(|name| name == "postretry_due"),
        "{names:?}"
    );
}
