//! Every query of the MongoDB store uses its index: the server examines what it returns or changes, and little else.
//! The plans of the embedded store are in `src/store/sqlite/plans.rs`.

use std::collections::BTreeSet;
use std::fmt;

use chrono::TimeDelta;
use mongodb::IndexModel;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use postretry::post::{AttemptStart, Platform};
use postretry::store::mongo::MongoPostStore;
use postretry::store::{LeaseWrite, MongoSettings, PostStore, StoreError};

use crate::store::{lease, read};
use crate::support::env::{Ran, TestEnv, date, hours_ago, now};

/// The posts for one platform that no command is about: one of five is posted, and the others failed.
const SINGLE: i64 = 20_000;

/// Those of them without a date of their failure.
const UNDATED: i64 = SINGLE / 5;

/// The posts for several platforms: three of five are failed on one of them.
const SEVERAL: i64 = 10_000;

/// The posts that another publisher has.
const HANDED_OVER: i64 = 1_000;

/// The live claims on posts for one platform. There are as many on posts for several.
const CLAIMED: i64 = 1_000;

/// The permanently failed posts with an unknown platform.
const UNKNOWN: i64 = 1_000;

/// The waiting posts with an unknown platform. As many name one in their list.
const WAITING_UNKNOWN: i64 = 100;

/// The failed deliveries of posts for several platforms.
const DELIVERIES: i64 = SEVERAL / 5 * 3 + CLAIMED;

/// Everything that has failed, besides the few posts that the commands are about.
const FAILED: i64 = SINGLE / 5 * 4 + SEVERAL + HANDED_OVER + 2 * CLAIMED + UNKNOWN + 2 * WAITING_UNKNOWN;

const STORIES: i64 = 1_000;

const RUNS: i64 = 500;

/// More than the server returns at a time.
const TOKENS: i64 = 150;

/// What an operation may examine beyond what it returns: the few posts that the commands are about, and a step into the
/// index for each range of it.
const MORE_DOCUMENTS: i64 = 50;
const MORE_KEYS: i64 = 600;

/// What the server did for one request, as its profiler tells it.
struct Operation {
    /// The collection, the command, the index that it names, and the stages of its pipeline.
    name: String,
    documents: i64,
    keys: i64,
    /// How many documents it returned or changed.
    returned: i64,
    plan: String,
}

impl Operation {
    fn of(entry: &Document) -> Self {
        let number = |name: &str| match entry.get(name) {
            Some(Bson::Int32(number)) => i64::from(*number),
            Some(Bson::Int64(number)) => *number,
            _ => 0,
        };
        let text = |name: &str| entry.get_str(name).unwrap_or_default();
        let command = entry.get_document("command").cloned().unwrap_or_default();
        let collection = text("ns").split_once('.').map_or("", |(_, collection)| collection);
        // Of an update there is only the statement.
        let kind = if text("op") == "update" { None } else { command.keys().next() };
        let mut words = vec![collection, kind.map_or(text("op"), String::as_str)];
        words.extend(command.get_str("hint"));
        let stages = command.get_array("pipeline").into_iter().flatten().filter_map(Bson::as_document);
        words.extend(stages.filter_map(|stage| stage.keys().next()).map(String::as_str));
        Self {
            name: words.join(" "),
            documents: number("docsExamined"),
            keys: number("keysExamined"),
            returned: number("nreturned").max(number("nMatched")),
            plan: text("planSummary").to_owned(),
        }
    }

    /// Whether it went through a collection without an index.
    fn is_scan(&self) -> bool {
        self.plan.contains("COLLSCAN")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, documents, keys, returned, plan } = self;
        write!(f, "{name}: {documents} documents and {keys} keys examined for {returned}; {plan}")
    }
}

/// Operations that may examine more than they return.
struct Exception {
    /// Of commands that begin like one of these.
    commands: &'static [&'static str],
    /// How the names of the operations begin.
    operations: &'static str,
    /// How much more they may examine.
    documents: i64,
    keys: i64,
    /// Whether they may do without an index.
    may_scan: bool,
    why: &'static str,
}

static EXCEPTIONS: [Exception; 16] = [
    Exception {
        commands: &["run", "last-attempt"],
        operations: "marketing_posts aggregate postretry_claims_",
        // Posts are searched for in two ways: with a platform of their own, and with one in their list.
        documents: 2 * CLAIMED,
        keys: 2 * CLAIMED,
        may_scan: false,
        why: "only reading a claim tells whether it has a holder; there are as many claims as posts in flight",
    },
    Exception {
        commands: &["run"],
        operations: "marketing_posts aggregate postretry_due_posts $match",
        documents: WAITING_UNKNOWN,
        keys: 2 * WAITING_UNKNOWN,
        may_scan: false,
        why: "waiting posts with an unknown platform are read in each pass; a person has to correct them",
    },
    Exception {
        commands: &["last-attempt"],
        operations: "marketing_posts aggregate postretry_due_posts_last_attempt $match",
        documents: 3 * WAITING_UNKNOWN,
        keys: 3 * WAITING_UNKNOWN,
        may_scan: false,
        why: "the same, once for each of the dates that count",
    },
    Exception {
        commands: &["last-attempt"],
        operations: "marketing_posts aggregate postretry_due_instagram",
        documents: 4 * DELIVERIES,
        keys: 4 * DELIVERIES,
        may_scan: false,
        why: "the index of deliveries does not have the date of the last attempt",
    },
    Exception {
        commands: &["list-failed", "reset"],
        operations: "marketing_posts aggregate $match $sort $limit $project $unionWith",
        // A page of 20 after 1,000 passes over as many.
        documents: UNDATED + DELIVERIES + 2_000,
        keys: FAILED,
        may_scan: false,
        why: "deliveries and posts without `failedAt` are sorted for a list, and so is a category",
    },
    Exception {
        commands: &["list-failed", "reset"],
        operations: "marketing_posts aggregate $match $group",
        documents: FAILED,
        keys: FAILED,
        may_scan: false,
        why: "everything that a list has is counted for its total",
    },
    Exception {
        commands: &["list-failed", "stats"],
        operations: "marketing_posts aggregate postretry_due_posts $match $group",
        documents: 0,
        keys: FAILED,
        may_scan: false,
        why: "everything that has failed is counted, by an index that has all that is counted",
    },
    Exception {
        commands: &["stats"],
        operations: "marketing_posts aggregate $match $group",
        documents: WAITING_UNKNOWN,
        keys: WAITING_UNKNOWN,
        may_scan: false,
        why: "only reading a list of platforms tells which of its unknown names have failed",
    },
    Exception {
        commands: &["list-failed", "stats"],
        operations: "marketing_posts aggregate postretry_due_instagram $match",
        documents: DELIVERIES,
        keys: DELIVERIES,
        may_scan: false,
        why: "only reading a document tells whether its list has the platform of the delivery",
    },
    Exception {
        commands: &["stats"],
        operations: "marketing_posts aggregate postretry_suspects",
        documents: CLAIMED,
        keys: CLAIMED,
        may_scan: false,
        why: "only reading a claim tells whether it is malformed",
    },
    Exception {
        commands: &["is_recorded"],
        operations: "marketing_posts find",
        // The posts that the commands are about are not failed any more.
        documents: FAILED + SINGLE / 5 + 100,
        keys: 0,
        may_scan: true,
        why: "it is asked after a lost response only, so no index is maintained for it",
    },
    Exception {
        commands: &["run", "retry", "list-failed", "last-attempt"],
        operations: "postretry_runs find",
        documents: 0,
        keys: 0,
        may_scan: true,
        why: "the last 50 runs are read in the order in which they were recorded",
    },
    Exception {
        commands: &["stats"],
        operations: "postretry_runs find",
        documents: RUNS,
        keys: 0,
        may_scan: true,
        why: "the runs have no index: a pass an hour makes 8,760 small documents a year",
    },
    Exception {
        commands: &["stats"],
        operations: "postretry_runs aggregate",
        documents: RUNS,
        keys: 0,
        may_scan: true,
        why: "all runs are counted",
    },
    Exception {
        commands: &["stats"],
        operations: "postretry_tokens find",
        documents: 0,
        keys: 0,
        may_scan: true,
        why: "all tokens are read; there is one for each account",
    },
    Exception {
        commands: &["stats"],
        operations: "postretry_tokens getMore",
        documents: 0,
        keys: 0,
        may_scan: true,
        why: "the rest of the tokens",
    },
];

impl Exception {
    fn allows(&self, command: &str, operation: &Operation) -> bool {
        self.commands.iter().any(|begin| command.starts_with(begin))
            && operation.name.starts_with(self.operations)
            && operation.documents <= operation.returned + self.documents + MORE_DOCUMENTS
            && operation.keys <= 2 * operation.returned + self.keys + MORE_KEYS
            && (self.may_scan || !operation.is_scan())
    }
}

/// What was done, and everything that the server did for it meanwhile.
async fn profiled<T>(env: &TestEnv, action: impl Future<Output = T>) -> (T, Vec<Operation>) {
    let log = env.database.collection::<Document>("system.profile");
    // By default the log keeps the last megabyte, and a pass needs more.
    let create = doc! { "create": "system.profile", "capped": true, "size": 64 * 1024 * 1024 };
    env.database.run_command(create).await.unwrap();
    let profile = async |level: i32| env.database.run_command(doc! { "profile": level }).await.unwrap();
    profile(2).await;
    let done = action.await;
    profile(0).await;
    let own = format!("{}.system.profile", env.database.name());
    let mut entries = log.find(doc! { "ns": { "$ne": own } }).await.unwrap();
    let mut operations = Vec::new();
    while entries.advance().await.unwrap() {
        operations.push(Operation::of(&entries.deserialize_current().unwrap()));
    }
    log.drop().await.unwrap();
    (done, operations)
}

/// Judges every operation of every command.
#[derive(Default)]
struct Inspector {
    /// The names of all operations.
    seen: BTreeSet<String>,
    /// Which of the exceptions were needed, by their positions.
    needed: BTreeSet<usize>,
    /// What is no exception.
    excessive: Vec<String>,
}

impl Inspector {
    /// Runs the binary, which has to end with this code.
    async fn command(&mut self, env: &TestEnv, code: i32, arguments: &[&str]) -> Ran {
        let (ran, operations) = profiled(env, env.run(arguments)).await;
        self.inspect(&arguments.join(" "), operations);
        ran.expect(code)
    }

    /// Calls the store for what a command does only in rare cases.
    async fn call<T>(&mut self, env: &TestEnv, name: &str, call: impl Future<Output = Result<T, StoreError>>) -> T {
        let (done, operations) = profiled(env, call).await;
        self.inspect(name, operations);
        done.unwrap()
    }

    fn inspect(&mut self, command: &str, operations: Vec<Operation>) {
        let sum = |value: fn(&Operation) -> i64| operations.iter().map(value).sum::<i64>();
        let (documents, keys) = (sum(|operation| operation.documents), sum(|operation| operation.keys));
        println!("{command}: {} operations, {documents} documents and {keys} keys examined", operations.len());
        assert!(!operations.is_empty(), "`{command}` was not profiled");
        for operation in operations {
            let is_ordinary = operation.documents <= operation.returned + MORE_DOCUMENTS
                && operation.keys <= 2 * operation.returned + MORE_KEYS
                && !operation.is_scan();
            if !is_ordinary {
                match EXCEPTIONS.iter().position(|exception| exception.allows(command, &operation)) {
                    Some(exception) => {
                        self.needed.insert(exception);
                    }
                    None => self.excessive.push(format!("{command}: {operation}")),
                }
            }
            self.seen.insert(operation.name);
        }
    }
}

/// Puts in what no command is about.
async fn fill_with_others(env: &TestEnv) {
    let platforms = ["tiktok", "instagram", "youtube_shorts"];
    let live = || date(now() + TimeDelta::minutes(50));
    let singles = (0..SINGLE).zip(platforms.iter().cycle()).map(|(n, platform)| {
        let fields = match n % 5 {
            0 => doc! { "status": "posted", "failedAt": hours_ago(500) },
            1 => doc! {
                "retryCount": 5, "permanentlyFailed": true, "failedAt": hours_ago(500),
                "failureCategory": "rejected_content",
            },
            2 => doc! { "retryCount": 2, "failedAt": hours_ago(3), "lastRetriedAt": hours_ago(3) },
            3 => doc! { "retryCount": 0, "failedAt": date(now()), "failureCategory": "network" },
            _ => doc! { "retryCount": 4, "updatedAt": hours_ago(3) },
        };
        let mut document = doc! { "status": "failed", "title": "A title", "platform": *platform };
        document.extend(fields);
        document
    });
    env.posts.insert_many(singles).await.unwrap();
    // Posts for several platforms that stay failed for ever, in each state that nothing is to be done in.
    let several = |status: Document, state: Document| {
        doc! {
            "status": "failed", "failedAt": hours_ago(500), "platform": "tiktok", "platforms": ["tiktok", "instagram"],
            "platformStatus": { "tiktok": { "status": "posted" }, "instagram": status },
            "postretry": { "instagram": state },
        }
    };
    let waits = || doc! { "status": "failed", "lastFailedAt": hours_ago(3) };
    let of_several = (0..SEVERAL).map(|n| match n % 5 {
        0 => several(doc! { "status": "posting" }, doc! {}),
        1 => several(doc! { "status": "skipped", "lastFailedAt": hours_ago(500) }, doc! {}),
        2 => several(
            doc! { "status": "failed", "lastFailedAt": hours_ago(500) },
            doc! { "permanentlyFailed": true, "retryCount": 5 },
        ),
        3 => several(waits(), doc! { "retryCount": 2, "lastRetriedAt": hours_ago(3) }),
        _ => several(doc! { "status": "failed", "lastFailedAt": date(now()) }, doc! {}),
    });
    env.posts.insert_many(of_several).await.unwrap();
    let claimed = |n: i64| {
        let claim = doc! { "by": format!("host-{n}"), "until": live() };
        doc! { "retryCount": 2, "lastRetriedAt": date(now()), "retryClaim": claim }
    };
    let claims = (0..CLAIMED).zip(platforms.iter().cycle()).map(|(n, platform)| {
        let mut document = doc! { "status": "failed", "platform": *platform, "failedAt": hours_ago(3) };
        document.extend(claimed(n));
        document
    });
    env.posts.insert_many(claims).await.unwrap();
    env.posts.insert_many((0..CLAIMED).map(|n| several(waits(), claimed(n)))).await.unwrap();
    let handed_over = (0..HANDED_OVER).map(|_| {
        let at = hours_ago(499);
        doc! { "status": "failed", "platform": "tiktok", "failedAt": hours_ago(500), "sheetTriggeredAt": at }
    });
    env.posts.insert_many(handed_over).await.unwrap();
    let unknown = |fields: Document| {
        let mut document = doc! { "status": "failed", "platform": "myspace" };
        document.extend(fields);
        document
    };
    let given_up = doc! { "failedAt": hours_ago(500), "retryCount": 5, "permanentlyFailed": true };
    env.posts.insert_many((0..UNKNOWN).map(|_| unknown(given_up.clone()))).await.unwrap();
    let waiting = doc! { "failedAt": hours_ago(3), "retryCount": 2, "lastRetriedAt": hours_ago(3) };
    env.posts.insert_many((0..WAITING_UNKNOWN).map(|_| unknown(waiting.clone()))).await.unwrap();
    let listed = (0..WAITING_UNKNOWN).map(|_| {
        doc! {
            "status": "failed", "failedAt": hours_ago(500), "platforms": ["tiktok", "myspace"],
            "platformStatus": { "tiktok": { "status": "posted" }, "myspace": { "status": "posted" } },
        }
    });
    env.posts.insert_many(listed).await.unwrap();
    let collection = |name: &str| env.database.collection::<Document>(name);
    let stories = (0..STORIES).map(|n| doc! { "_id": ObjectId::new(), "name": format!("Story {n}") });
    collection("stories").insert_many(stories).await.unwrap();
    let tokens = (0..TOKENS).map(|n| doc! { "_id": format!("other:{n}") });
    collection("postretry_tokens").insert_many(tokens).await.unwrap();
    let runs = (0..RUNS).map(|n| {
        doc! {
            "_id": format!("run-{n}"), "command": "run", "startedAt": hours_ago(n), "finishedAt": hours_ago(n),
            "durationMs": 5_i64, "totals": { "posted": 1, "failed": 1 }, "byPlatform": {}, "attempts": [],
            "outcome": "ok",
        }
    });
    collection("postretry_runs").insert_many(runs).await.unwrap();
}

/// Puts in some of everything that a pass finds: 12 due posts, 5 that it only marks, and 2 that it only reports.
async fn add_work(env: &TestEnv) {
    let dead = doc! { "by": "dead", "until": hours_ago(1) };
    for count in 0..5 {
        env.post("tiktok", doc! { "retryCount": count, "failedAt": hours_ago(100) }).await;
    }
    env.post("tiktok", doc! { "retryClaim": dead.clone(), "retryCount": 5 }).await;
    env.post("tiktok", doc! { "retryCount": Bson::Undefined, "failedAt": Bson::Undefined }).await;
    env.post("youtube_shorts", doc! { "platform": Bson::Undefined, "platforms": ["youtube"] }).await;
    let exhausted = doc! { "retryCount": 5 };
    let sorts = [doc! {}, doc! {}, doc! {}, doc! { "retryClaim": dead, "retryCount": 5 }, exhausted.clone()];
    for state in sorts {
        let status = doc! {
            "instagram": { "status": "failed", "lastFailedAt": hours_ago(90) }, "tiktok": { "status": "posted" },
        };
        let fields = doc! {
            "platforms": ["tiktok", "instagram"], "platformStatus": status, "postretry": { "instagram": state },
            "failedAt": hours_ago(500),
        };
        env.post("tiktok", fields).await;
    }
    for _ in 0..3 {
        env.post("tiktok", exhausted.clone()).await;
    }
    env.post("youtube_shorts", doc! { "youtubeVideoId": "dQw4w9WgXcQ" }).await;
    env.post("myspace", doc! {}).await;
    let ticket = doc! { "failureCategory": "processing", "publishTicket": { "handle": "of another version" } };
    env.post("instagram", ticket).await;
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// The names of the indexes of a database with posts for one platform and deliveries for TikTok and Instagram.
fn expected_indexes() -> Vec<String> {
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
    let ours = of_posts.iter().map(|name| (*name).to_owned()).chain(of_deliveries);
    let mut expected: Vec<String> = ours.map(|name| format!("postretry_{name}")).collect();
    expected.push("_id_".to_owned());
    sorted(expected)
}

/// Everything that a pass asks.
async fn inspect_passes(env: &TestEnv, inspector: &mut Inspector) {
    add_work(env).await;
    let output = inspector.command(env, 3, &["run", "--json"]).await.json();
    assert_eq!([&output["totals"]["posted"], &output["totals"]["flagged"]], [12, 5], "{output}");
    let output = inspector.command(env, 0, &["run", "--json"]).await.json();
    assert_eq!([&output["totals"]["due"], &output["totals"]["flagged"]], [0, 0], "{output}");
    add_work(env).await;
    // What is left when the limit is reached is counted.
    let output = inspector.command(env, 0, &["run", "--limit", "1", "--platform", "tiktok", "--json"]).await.json();
    assert_eq!([&output["totals"]["posted"], &output["totals"]["skipped"]], [1, 6], "{output}");
    let output = inspector.command(env, 0, &["run", "--dry-run", "--json"]).await.json();
    assert_eq!(output["totals"]["due"], 11, "{output}");
}

/// Every list and all counts.
async fn inspect_lists(env: &TestEnv, inspector: &mut Inspector) {
    let due = inspector.command(env, 0, &["list-failed", "--due", "--json"]).await.json();
    // The post that YouTube has already is due, too.
    assert_eq!(due["total"], 12, "{due}");
    let lists: [&[&str]; 9] = [
        &["--due", "--platform", "tiktok", "--skip", "2", "--limit", "2"],
        &["--limit", "20", "--skip", "1000"],
        &["--platform", "tiktok"],
        &["--platform", "youtube_shorts"],
        &["--category", "rejected_content"],
        &["--category", "auth"],
        &["--permanent"],
        &["--since", "1h"],
        &["--since", "1h", "--permanent", "--category", "network", "--platform", "tiktok"],
    ];
    for list in lists {
        inspector.command(env, 0, &[&["list-failed"][..], list].concat()).await;
    }
    let total = inspector.command(env, 0, &["list-failed", "--json"]).await.json()["total"].clone();
    let stats = inspector.command(env, 0, &["stats", "--json"]).await.json();
    assert_eq!(stats["totalFailed"], total, "{stats}");
    for fields in [doc! { "title": 7 }, doc! { "failedAt": "yesterday" }, doc! { "hashtags": "#a" }] {
        env.post("tiktok", fields).await;
    }
    let later = inspector.command(env, 0, &["stats", "--since", "10h", "--json"]).await.json();
    let malformed = |stats: &serde_json::Value| stats["malformed"].as_i64().unwrap();
    assert_eq!(malformed(&later), malformed(&stats) + 3, "{later}");
}

/// Everything that is asked of single posts.
async fn inspect_single_posts(env: &TestEnv, inspector: &mut Inspector) {
    let stories = env.database.collection::<Document>("stories");
    let story = stories.find_one(doc! {}).await.unwrap().unwrap().get_object_id("_id").unwrap();
    let id = env.post("tiktok", doc! { "storyId": story }).await;
    let shown = inspector.command(env, 0, &["list-failed", &id, "--json"]).await.json();
    assert!(shown["post"]["story"].as_str().is_some_and(|name| name.starts_with("Story ")), "{shown}");
    inspector.command(env, 6, &["list-failed", "nobody"]).await;
    inspector.command(env, 0, &["retry", &id]).await;
    let given_up = env.post("tiktok", doc! { "permanentlyFailed": true, "retryCount": 5 }).await;
    inspector.command(env, 0, &["retry", "--force", &given_up]).await;
    let (first, second) = (env.post("tiktok", doc! {}).await, env.post("instagram", doc! {}).await);
    inspector.command(env, 0, &["reset", &first, &second]).await;
    inspector.command(env, 0, &["reset", "--posted", &first]).await;
    inspector.command(env, 0, &["reset", "--drop-ticket", "--yes", &second]).await;
    let claim = doc! { "by": "another", "until": date(now() + TimeDelta::minutes(50)) };
    let claimed = env.post("tiktok", doc! { "retryClaim": claim, "retryCount": 1 }).await;
    inspector.command(env, 7, &["reset", &claimed]).await;
    inspector.command(env, 7, &["retry", &claimed]).await;
    for _ in 0..5 {
        env.post("tiktok", doc! { "failureCategory": "auth", "permanentlyFailed": true }).await;
    }
    let selection = ["reset", "--category", "auth", "--permanent", "--platform", "tiktok", "--yes"];
    inspector.command(env, 0, &[&selection[..], &["--dry-run"][..]].concat()).await;
    inspector.command(env, 0, &["reset", "--category", "auth", "--yes"]).await;
}

/// What commands ask only if a request takes long, or if something was lost.
async fn inspect_rare_calls(env: &TestEnv, inspector: &mut Inspector) {
    let settings = MongoSettings::new(&env.uri, "marketing_posts".into(), "stories".into()).unwrap();
    let store = MongoPostStore::connect(&settings).await.unwrap();
    let id = env.post("tiktok", doc! {}).await;
    let post = read(&store, &id).await;
    let (ours, others) = (lease("ours"), lease("others"));
    let start = AttemptStart::decide(&post, now(), "here");
    inspector.call(env, "find_exactly", store.find_exactly(&post.id)).await;
    let claimed = inspector.call(env, "claim", store.claim(&post, &start, &ours)).await;
    assert!(claimed.is_some());
    let renewed = inspector.call(env, "renew", store.renew(&post.id, &ours)).await;
    assert_eq!(renewed, LeaseWrite::Applied);
    let lost = inspector.call(env, "renew a lost claim", store.renew(&post.id, &others)).await;
    assert_eq!(lost, LeaseWrite::Lost);
    let cleared = inspector.call(env, "store_ticket", store.store_ticket(&post.id, &ours, None)).await;
    assert_eq!(cleared, LeaseWrite::Applied);
    assert!(!inspector.call(env, "is_recorded", store.is_recorded(Platform::TikTok, "none")).await);
}

/// What a pass asks if the backoff counts from the last attempt.
async fn inspect_backoff_from_last_attempt(env: &mut TestEnv, inspector: &mut Inspector) {
    env.set("POST_RETRY_BACKOFF_FROM", "last-attempt");
    // It makes the index.
    env.run(&["run", "--limit", "0"]).await;
    for arguments in [["run", "--json"], ["list-failed", "--due"]] {
        let (ran, operations) = profiled(env, env.run(&arguments)).await;
        inspector.inspect(&format!("last-attempt: {}", arguments.join(" ")), operations);
        assert!(ran.code == 0 || ran.code == 3, "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_examines_more_than_it_needs_among_30_000_others() {
    let mut env = TestEnv::new().await;
    fill_with_others(&env).await;
    // The first pass makes the indexes; there is nothing for it to do but a limit that lets nothing start.
    env.run(&["run", "--limit", "0"]).await.expect(0);
    assert_eq!(sorted(env.posts.list_index_names().await.unwrap()), expected_indexes());

    let mut inspector = Inspector::default();
    inspect_passes(&env, &mut inspector).await;
    inspect_lists(&env, &mut inspector).await;
    inspect_single_posts(&env, &mut inspector).await;
    inspect_rare_calls(&env, &mut inspector).await;
    inspect_backoff_from_last_attempt(&mut env, &mut inspector).await;

    let Inspector { seen, needed, excessive } = inspector;
    assert!(excessive.is_empty(), "more is examined than returned:\n{}", excessive.join("\n"));
    // Whatever becomes faster is to stay so.
    let unneeded = EXCEPTIONS.iter().enumerate().filter(|(position, _)| !needed.contains(position));
    let unneeded: Vec<String> =
        unneeded.map(|(_, exception)| format!("{}: {}", exception.operations, exception.why)).collect();
    assert!(unneeded.is_empty(), "these exceptions are not needed any more:\n{}", unneeded.join("\n"));
    // The profiler has seen every kind of request.
    for kind in [
        "marketing_posts find",
        "marketing_posts findAndModify",
        "marketing_posts update",
        "marketing_posts aggregate postretry_due_posts",
        "marketing_posts aggregate postretry_undated_posts",
        "marketing_posts aggregate postretry_claims_of_posts",
        "marketing_posts aggregate postretry_categories",
        "marketing_posts aggregate postretry_platforms",
        "marketing_posts aggregate postretry_suspects",
        "marketing_posts aggregate postretry_due_instagram",
        "marketing_posts aggregate postretry_claims_instagram",
        "marketing_posts aggregate postretry_processing_instagram",
        "marketing_posts aggregate postretry_due_posts_last_attempt",
        "stories find",
        "postretry_runs insert",
        "postretry_tokens find",
        "postretry_tokens update",
    ] {
        assert!(seen.iter().any(|name| name.starts_with(kind)), "no operation `{kind}` among {seen:#?}");
    }
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
