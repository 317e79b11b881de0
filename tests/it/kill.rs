//! Never twice, never lost: the process is killed at every step.
//!
//! The steps are not listed by hand: a publish that nobody disturbs is watched, and every request to a platform and
//! every write to the store that it makes is a step. For each, a real process is killed with SIGKILL just before the
//! step takes effect, and another just after. Then passes run until the post is settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mongodb::bson::{Bson, doc};
use postretry_mongod::Mongod;
use postretry_sandbox::{Act, Fault};
use tokio::sync::{OnceCell, Semaphore};

use crate::store::insert_row;
use crate::support::env::{Shape, TestEnv, hours_ago, is_cleared, mongod, until};
use crate::support::kinds::{KINDS, is_settled, post_of, renew_credentials_if_stranded, requests_of};
use crate::support::proxy::{Proxy, Side};

/// Where a process is killed.
#[derive(Clone)]
enum Step {
    /// At the request to a platform of this number.
    Request(usize, String),
    /// At the write to the store of this number.
    Write(usize, String),
    /// At the build of indexes of this number.
    IndexBuild(usize, String),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(number, name) => write!(f, "request {number} ({name})"),
            Self::Write(number, name) => write!(f, "write {number} ({name})"),
            Self::IndexBuild(number, name) => write!(f, "index build {number} ({name})"),
        }
    }
}

/// What is killed, and where its posts are.
#[derive(Debug, Clone, Copy)]
struct Setup {
    shape: Shape,
    /// The server, if it is not the replica set of all tests.
    standalone: Option<&'static Mongod>,
}

/// The database of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Database {
    /// Nothing is in it.
    New,
    /// It may have its indexes from another publish.
    Reused,
}

async fn env(setup: Setup, database: Database) -> (TestEnv, Proxy) {
    let server = match setup.standalone {
        Some(server) => server,
        None => mongod().await,
    };
    let env = match database {
        Database::New => TestEnv::on(server).await,
        Database::Reused => TestEnv::reused_on(server).await,
    };
    let mut env = env.shaped(setup.shape);
    let address = server.address();
    let proxy = Proxy::start(address).await;
    env.set("MONGODB_URI", &env.uri.replace(&address.to_string(), &format!("127.0.0.1:{}", proxy.port())));
    // So long that none is renewed, however slow the machine: the same publish always makes the same writes.
    env.set("POST_RETRY_CLAIM", "10m");
    env.set("HTTP_TIMEOUT", "3s");
    // Instagram says late that a container is published.
    env.sandbox.world().knobs.instagram_lag = 2;
    (env, proxy)
}

/// The steps of a publish that nobody disturbs.
async fn steps_of(kind: &str, setup: Setup) -> Vec<Step> {
    let (env, proxy) = env(setup, Database::New).await;
    let (platform, fields) = post_of(kind);
    env.post(platform, fields).await;
    env.pass(0).await;
    let world = env.sandbox.world();
    assert_eq!(proxy.strays(), Vec::<String>::new(), "commands that nobody has thought about");
    let requests = world.requests.iter().enumerate().map(|(n, request)| Step::Request(n, request.endpoint.clone()));
    let writes = proxy.writes().into_iter().enumerate().map(|(n, write)| Step::Write(n, write));
    let builds = proxy.index_builds().into_iter().enumerate().map(|(n, build)| Step::IndexBuild(n, build));
    requests.chain(writes).chain(builds).collect()
}

/// Kills a pass at a step, and lets others go on until the post is settled.
async fn kill_at(kind: &str, setup: Setup, step: &Step, side: Side) {
    let place = format!("{kind}, {:?}: {side:?} {step:?}", setup.shape);
    let database = if matches!(step, Step::IndexBuild(..)) { Database::New } else { Database::Reused };
    let (env, proxy) = env(setup, database).await;
    let (platform, fields) = post_of(kind);
    let id = env.post(platform, fields).await;
    match step {
        Step::Request(number, _) => {
            let act = if side == Side::Before { Act::HoldRequest } else { Act::HoldAnswer };
            env.sandbox.fault(Fault::once("*", act).after(u32::try_from(*number).unwrap()));
        }
        Step::Write(number, _) => proxy.pause(*number, side),
        Step::IndexBuild(number, _) => proxy.pause_index_build(*number, side),
    }
    let mut process = env.command(&["run"]).spawn().unwrap();
    let held = async {
        while env.sandbox.world().held + proxy.paused() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), held)
        .await
        .unwrap_or_else(|_| panic!("{place}: it was never taken"));
    process.kill().await.unwrap();
    proxy.release();
    let was_claimed = env.get(&id).await.contains_key("retryClaim");
    if was_claimed {
        let run_out = doc! { "$set": { env.path(platform, "retryClaim.until"): hours_ago(1) } };
        env.posts.update_one(doc! {}, run_out).await.unwrap();
    }

    let mut settled = false;
    for _ in 0..20 {
        let ran = env.run(&["run", "--format", "json"]).await;
        assert!(matches!(ran.code, 0 | 3), "{place}: {ran:?}");
        let now = env.get(&id).await;
        settled = is_settled(&now);
        if settled {
            break;
        }
        if renew_credentials_if_stranded(&env).await {
            assert!(place.contains("token"), "{place}: {now}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let after = env.get(&id).await;
    assert!(settled, "{place}: {after}");
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new(), "{place}");
    let published = env.sandbox.published().len();
    if after.get_str("failureCategory").ok() == Some("ambiguous") {
        // Only where the platform gives no ticket before the publish starts, and only around that very step.
        assert!(kind == "tiktok photo" && published <= 1, "{place}: {after}");
        return;
    }
    assert_eq!(published, 1, "{place}: {after}");
    assert_eq!(after.get_str("status").ok(), Some("posted"), "{place}");
    assert_eq!(after.get_i32("retryCount").ok(), Some(0), "{place}");
    assert!(is_cleared(&after, "publishTicket") && !after.contains_key("retryClaim"), "{place}: {after}");
    if was_claimed {
        let history = after.get_array("retryHistory").unwrap();
        let tells = |entry: &Bson| entry.as_document().unwrap().get_i32("interruptions").is_ok_and(|count| count >= 1);
        assert!(history.iter().any(tells), "{place}: the history does not tell: {after}");
    }
}

/// Kills at every step of every kind of publish. How many that were.
async fn kill_at_every_step(setup: Setup) -> usize {
    let places = Arc::new(Semaphore::new(10));
    let mut killed = tokio::task::JoinSet::new();
    for kind in KINDS {
        let steps = steps_of(kind, setup).await;
        assert!(steps.len() >= 10, "{kind}: {steps:?}");
        for step in steps {
            for side in [Side::Before, Side::After] {
                let (places, step) = (Arc::clone(&places), step.clone());
                killed.spawn(async move {
                    let _place = places.acquire_owned().await.unwrap();
                    kill_at(kind, setup, &step, side).await;
                });
            }
        }
    }
    let count = killed.len();
    let mut failures = Vec::new();
    while let Some(ended) = killed.join_next().await {
        if let Err(panic) = ended {
            let panic = panic.into_panic();
            failures.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_a_post_is_published_once() {
    let count = kill_at_every_step(Setup { shape: Shape::One, standalone: None }).await;
    println!("{count} kill points");
    // A step that is new is killed at like the others; that there is one is to be noticed, and told.
    let readme = include_str!("../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains(&format!("{count} points")), "README.md tells another number of kill points than {count}");
}

/// The same on documents for several platforms, on a server that is in no replica set.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_a_delivery_is_published_once_on_a_standalone_server() {
    static SERVER: OnceCell<Mongod> = OnceCell::const_new();
    let standalone = Some(SERVER.get_or_init(Mongod::start_standalone).await);
    let count = kill_at_every_step(Setup { shape: Shape::Several, standalone }).await;
    println!("{count} kill points of deliveries on a standalone server");
}

/// The same on the embedded store, at every request: what is written stands between two of them.
async fn kill_on_sqlite(kind: &'static str, number: usize, endpoint: String, side: Side) {
    let place = format!("{kind} on SQLite: {side:?} request {number} ({endpoint})");
    let mut env = TestEnv::new().await;
    let path = env.on_sqlite().await;
    env.set("POST_RETRY_CLAIM", "10m");
    env.set("HTTP_TIMEOUT", "3s");
    env.sandbox.world().knobs.instagram_lag = 2;
    let (platform, fields) = post_of(kind);
    let mut row = doc! {
        "id": "p1", "title": "A title", "platform": platform, "status": "failed", "failedAt": hours_ago(2),
    };
    row.extend(if fields.is_empty() {
        doc! { "videoPath": "a.mp4" }
    } else {
        fields
    });
    insert_row(&path, &row);
    let act = if side == Side::Before { Act::HoldRequest } else { Act::HoldAnswer };
    env.sandbox.fault(Fault::once("*", act).after(u32::try_from(number).unwrap()));
    let mut process = env.command(&["run"]).spawn().unwrap();
    until(async || env.sandbox.world().held > 0).await;
    process.kill().await.unwrap();

    let store = rusqlite::Connection::open(&path).unwrap();
    store.busy_timeout(Duration::from_secs(10)).unwrap();
    let run_out = "UPDATE posts SET claim_until = '2026-01-01T00:00:00Z' WHERE claim_until IS NOT NULL";
    assert_eq!(store.execute(run_out, []).unwrap(), 1, "{place}");
    let told = |column: &str| -> Option<String> {
        store.query_row(&format!("SELECT {column} FROM posts"), [], |row| row.get(0)).unwrap()
    };
    let is_parked = || told("CAST(permanently_failed AS TEXT)").as_deref() == Some("1");
    let mut is_settled = false;
    for _ in 0..20 {
        let ran = env.run(&["run"]).await;
        assert!(matches!(ran.code, 0 | 3), "{place}: {ran:?}");
        is_settled = told("status").as_deref() == Some("posted") || is_parked();
        if is_settled {
            break;
        }
        if told("failure_category").as_deref() == Some("auth") {
            assert!(endpoint == "tiktok.token", "{place}");
            env.sandbox.world().sign_in("tiktok", "sandbox-tiktok-refresh-0");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(is_settled, "{place}: {:?}", told("error"));
    assert_eq!(env.sandbox.world().violations, Vec::<String>::new(), "{place}");
    let published = env.sandbox.published().len();
    if is_parked() {
        assert!(kind == "tiktok photo" && published <= 1, "{place}: {:?}", told("error"));
        assert_eq!(told("failure_category").as_deref(), Some("ambiguous"), "{place}");
        return;
    }
    assert_eq!(published, 1, "{place}");
    assert_eq!(told("CAST(retry_count AS TEXT)").as_deref(), Some("0"), "{place}");
    assert_eq!((told("claim_by"), told("publish_ticket")), (None, None), "{place}");
    assert!(told("retry_history").unwrap().contains("\"interruptions\":1"), "{place}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_request_on_sqlite_a_post_is_published_once() {
    let mut places = Vec::new();
    for kind in KINDS {
        for (number, endpoint) in requests_of(kind).await.into_iter().enumerate() {
            places.extend([Side::Before, Side::After].map(|side| kill_on_sqlite(kind, number, endpoint.clone(), side)));
        }
    }
    let count = places.len();
    stream::iter(places).buffer_unordered(10).collect::<Vec<()>>().await;
    println!("{count} kill points on SQLite");
}
