//! The plan of every statement: each call of the store is made among 20,000 other posts, and SQLite tells which
//! statements it runs for it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{StatementStatus, named_params, params};
use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::post::{AttemptCounts, AttemptEnd, ClaimedPost, Publication, TokenRecord, Totals, settle, settle_found};
use crate::store::{RunOutcome, Scope, TokenStore};

/// The posts that no call is about. A sixth of each is posted, permanently failed, claimed, and waiting in three ways.
const OTHERS: i32 = 20_000;

/// The permanently failed posts with an unknown platform.
const UNKNOWN: i32 = 1_000;

/// The waiting posts with an unknown platform. Each pass looks at all of them.
const WAITING_UNKNOWN: i32 = 5;

/// As many steps of SQLite's machine as there are other posts. A look at each of them takes several times as many.
const MANY_STEPS: i32 = OTHERS;

const TABLES: [&str; 4] = ["posts", "runs", "stories", "tokens"];

/// A statement that looks at more than it returns.
struct Exception {
    /// A part of its text.
    statement: &'static str,
    /// Whether it may read a whole table.
    may_scan: bool,
    why: &'static str,
}

static EXCEPTIONS: [Exception; 10] = [
    Exception {
        statement: "FROM posts INDEXED BY postretry_list WHERE status = 'failed'",
        may_scan: false,
        why: "a list is filtered in the order of its index",
    },
    Exception {
        statement: "SELECT count(*) FROM posts WHERE status = 'failed'",
        may_scan: false,
        why: "everything that a list has is counted for its total",
    },
    Exception {
        statement: "SELECT platform, postretry_flagged, postretry_retries, count(*)",
        may_scan: false,
        why: "everything that has failed is counted",
    },
    Exception {
        statement: "SELECT failure_category, count(*)",
        may_scan: false,
        why: "everything that has failed is counted",
    },
    Exception {
        statement: "SELECT posts.rowid, platform, postretry_flagged, postretry_retries, failure_category",
        may_scan: false,
        why: "only reading a row tells whether it is malformed",
    },
    Exception {
        statement: "SELECT EXISTS (SELECT 1 FROM posts WHERE tiktok_video_id = ?)",
        may_scan: true,
        why: "it is asked after a lost response only, so no index is maintained for it",
    },
    Exception {
        statement: "SELECT by_platform, started_at FROM runs ORDER BY rowid DESC LIMIT 50",
        may_scan: true,
        why: "the last runs are read in the order in which they were recorded",
    },
    Exception {
        statement: "FROM runs, json_each",
        may_scan: true,
        why: "the runs have no index: a pass an hour makes 8,760 short rows a year",
    },
    Exception { statement: "FROM runs WHERE started_at >= ?", may_scan: true, why: "all runs are counted" },
    Exception {
        statement: "SELECT * FROM tokens WHERE access_token IS NOT NULL",
        may_scan: true,
        why: "all tokens are read; there is one for each account",
    },
];

/// A statement that has run.
struct Statement {
    text: String,
    /// How many steps of SQLite's machine it took.
    steps: i32,
}

type Log = Arc<Mutex<Vec<Statement>>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn on_connection<T: Send + 'static>(
    store: &SqlitePostStore,
    run: impl FnOnce(&mut Connection) -> T + Send + 'static,
) -> T {
    store.thread.run(|connection| Ok(run(connection))).await.unwrap()
}

/// Notes each statement of a store from now on.
async fn trace(store: &SqlitePostStore) -> Log {
    let log = Log::default();
    let noted = Arc::clone(&log);
    let note = move |event: TraceEvent<'_>| {
        let TraceEvent::Profile(statement, _) = event else { return };
        let text = statement.sql().into_owned();
        if ["SELECT ", "INSERT ", "UPDATE ", "DELETE "].iter().any(|verb| text.starts_with(verb)) {
            locked(&noted).push(Statement { text, steps: statement.get_status(StatementStatus::VmStep) });
        }
    };
    let start = move |connection: &mut Connection| {
        // The steps of a statement that is kept add up.
        connection.set_prepared_statement_cache_capacity(0);
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(note)).unwrap();
    };
    on_connection(store, start).await;
    log
}

fn plan(connection: &Connection, text: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get("detail").unwrap());
    }
    steps
}

/// Whether a step of a plan reads a whole table or index.
fn is_scan(step: &str) -> bool {
    let mut words = step.split_whitespace();
    let scanned = words.next().filter(|word| *word == "SCAN").and_then(|_| words.next());
    scanned.is_some_and(|table| TABLES.contains(&table)) || step.contains("AUTOMATIC")
}

/// Judges every statement of every call.
struct Inspector {
    log: Log,
    /// Which of the exceptions were needed, by their positions.
    needed: BTreeSet<usize>,
    /// What is no exception.
    excessive: Vec<String>,
}

impl Inspector {
    async fn call<T>(
        &mut self,
        store: &SqlitePostStore,
        name: &str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> T {
        locked(&self.log).clear();
        let done = call.await.unwrap();
        let statements = std::mem::take(&mut *locked(&self.log));
        assert!(!statements.is_empty(), "`{name}` ran no statement");
        for Statement { text, steps } in statements {
            let planned = text.clone();
            let plan = on_connection(store, move |connection| plan(connection, &planned)).await;
            let has_scan = plan.iter().any(|step| is_scan(step));
            if steps < MANY_STEPS && !has_scan {
                continue;
            }
            let allows =
                |exception: &Exception| text.contains(exception.statement) && (exception.may_scan || !has_scan);
            match EXCEPTIONS.iter().position(allows) {
                Some(exception) => {
                    self.needed.insert(exception);
                }
                None => self.excessive.push(format!("{name}: {steps} steps for {text}: {plan:#?}")),
            }
        }
        done
    }
}

/// The time so many hours ago, as the columns have it.
fn hours_ago(hours: i64) -> String {
    text_of(now() - TimeDelta::hours(hours))
}

fn fill_with_others(connection: &Connection) {
    let others = "
        WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :posts)
        INSERT INTO posts (id, title, platform, status, video_path, failed_at, updated_at, retry_count,
                           permanently_failed, failure_category, claim_by, claim_until)
        SELECT 'other-' || n, 'A title',
               CASE n / 6 % 3 WHEN 0 THEN 'tiktok' WHEN 1 THEN 'instagram' ELSE 'youtube_shorts' END,
               CASE n % 6 WHEN 0 THEN 'posted' ELSE 'failed' END, 'a.mp4',
               CASE n % 6 WHEN 0 THEN :old WHEN 1 THEN :old WHEN 2 THEN :now WHEN 3 THEN NULL ELSE :recent END,
               :recent, CASE n % 6 WHEN 1 THEN 5 WHEN 2 THEN 0 ELSE 4 END, n % 6 = 1,
               CASE n % 6 WHEN 1 THEN 'rejected_content' WHEN 2 THEN 'network' END,
               CASE n % 6 WHEN 4 THEN 'host-' || n END, CASE n % 6 WHEN 4 THEN :live END
        FROM numbers";
    let (old, recent, latest) = (hours_ago(500), hours_ago(3), hours_ago(0));
    let live = text_of(now() + TimeDelta::minutes(50));
    let values = named_params! { ":posts": OTHERS, ":old": old, ":now": latest, ":recent": recent, ":live": live };
    connection.execute(others, values).unwrap();
    add_unknown(connection, UNKNOWN, &hours_ago(500), true);
}

/// Adds posts with an unknown platform.
fn add_unknown(connection: &Connection, posts: i32, failed_at: &str, given_up: bool) {
    let unknown = "
        WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :posts)
        INSERT INTO posts (id, platform, status, failed_at, retry_count, permanently_failed)
        SELECT 'unknown-' || :given_up || '-' || n, 'myspace', 'failed', :failed_at, 4, :given_up FROM numbers";
    let values = named_params! { ":posts": posts, ":failed_at": failed_at, ":given_up": given_up };
    connection.execute(unknown, values).unwrap();
}

/// Adds a post whose backoff is over.
fn add_due(connection: &Connection, id: &str, platform: &str, retry_count: u32) {
    let insert = "INSERT INTO posts (id, platform, status, video_path, failed_at, retry_count, story_id) \
                  VALUES (?, ?, 'failed', 'a.mp4', ?, ?, 'spring')";
    connection.execute(insert, params![id, platform, hours_ago(100), retry_count]).unwrap();
}

async fn read(store: &SqlitePostStore, id: &str) -> Post {
    match store.find(id).await.unwrap() {
        Found::Failed(mut posts) => posts.remove(0).into_result().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Everything that a pass asks.
async fn inspect_passes(store: &SqlitePostStore, inspector: &mut Inspector) {
    let policies = [BackoffFrom::FirstFailure, BackoffFrom::LastAttempt]
        .map(|backoff_from| RetryPolicy { backoff_from, ..RetryPolicy::default() });
    for policy in policies {
        let has_work = inspector.call(store, "may_have_work", store.may_have_work(&policy, now())).await;
        assert!(!has_work, "none of the others is due");
    }
    on_connection(store, |connection| add_unknown(connection, WAITING_UNKNOWN, &hours_ago(3), false)).await;
    for (number, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let count = u32::try_from(number).unwrap();
        on_connection(store, move |connection| add_due(connection, id, "tiktok", count)).await;
    }
    for (id, platform, retry_count) in
        [("f", "youtube", 0), ("g", "youtube_shorts", 0), ("h", "myspace", 0), ("i", "tiktok", 5), ("j", "tiktok", 6)]
    {
        on_connection(store, move |connection| add_due(connection, id, platform, retry_count)).await;
    }
    for policy in policies {
        let known = [Platform::TikTok, Platform::YouTubeShorts].map(Scope::Platform);
        for (scope, due) in known.into_iter().chain([Scope::UnknownPlatform]).zip([5, 2, 1]) {
            let query = DueQuery { policy, now: now(), scope };
            let page = inspector.call(store, "due_posts", store.due_posts(&query, None, 1)).await;
            assert_eq!((page.posts.len(), page.next.is_some()), (1, true));
            let rest = inspector.call(store, "due_posts", store.due_posts(&query, page.next.as_ref(), 100)).await;
            assert_eq!(rest.posts.len(), due - 1, "{scope:?}");
            inspector.call(store, "count_due", store.count_due(&query, None)).await;
            inspector.call(store, "count_due", store.count_due(&query, page.next.as_ref())).await;
        }
        let query = DueQuery { policy, now: now(), scope: Scope::Platform(Platform::TikTok) };
        let page = inspector.call(store, "exhausted_posts", store.exhausted_posts(&query, None, 1)).await;
        let after = page.next.as_ref();
        let rest = inspector.call(store, "exhausted_posts", store.exhausted_posts(&query, after, 100)).await;
        assert_eq!((page.posts.len(), rest.posts.len()), (1, 1));
    }
    let exhausted = [read(store, "i").await, read(store, "j").await];
    let marked = inspector.call(store, "mark_exhausted", store.mark_exhausted(&exhausted)).await;
    assert_eq!(marked.applied, 2);
}

/// Every list and all counts.
async fn inspect_lists(store: &SqlitePostStore, inspector: &mut Inspector) {
    let policy = RetryPolicy::default();
    let none = ListFilter::default;
    let due = Some((policy, now()));
    let since = Some(now() - TimeDelta::hours(1));
    let filters = [
        none(),
        ListFilter { platforms: vec![Platform::YouTubeShorts], ..none() },
        ListFilter { categories: vec![Category::RejectedContent], ..none() },
        ListFilter { categories: vec![Category::Auth], ..none() },
        ListFilter { permanent: Some(policy), ..none() },
        ListFilter { since, ..none() },
        ListFilter { due, ..none() },
        ListFilter { due, platforms: vec![Platform::TikTok], permanent: Some(policy), since, ..none() },
    ];
    for filter in filters {
        for skip in [0, 1_000] {
            inspector.call(store, "list", store.list(&filter, Page { skip, limit: 50 })).await;
        }
        inspector.call(store, "count", store.count(&filter)).await;
    }
    for since in [None, since] {
        inspector.call(store, "statistics", store.statistics(&policy, now(), since)).await;
    }
    inspector.call(store, "given_up_platforms", store.given_up_platforms()).await;
}

/// Everything that is asked of single posts.
async fn inspect_single_posts(store: &SqlitePostStore, inspector: &mut Inspector) {
    for id in ["a", "42", "nobody"] {
        inspector.call(store, "find", store.find(id)).await;
    }
    let post = read(store, "a").await;
    inspector.call(store, "find_exactly", store.find_exactly(&post.id)).await;
    let lease = |by: &str| Lease { by: by.to_owned(), lasts: Duration::from_secs(60) };
    let (ours, others) = (lease("ours"), lease("others"));
    let start = AttemptStart::decide(&post, now(), "here");
    let claimed = inspector.call(store, "claim", store.claim(&post, &start, &ours)).await.unwrap();
    let renewed = inspector.call(store, "renew", store.renew(&post.id, &ours)).await;
    let lost = inspector.call(store, "renew a lost claim", store.renew(&post.id, &others)).await;
    assert_eq!((renewed, lost), (LeaseWrite::Applied, LeaseWrite::Lost));
    let ticket = Ticket::new(Platform::TikTok, now(), json!({}));
    let stored = inspector.call(store, "store_ticket", store.store_ticket(&post.id, &ours, Some(&ticket))).await;
    assert_eq!(stored, LeaseWrite::Applied);
    let work = ClaimedPost {
        post: claimed.into_result().unwrap(),
        claim_by: ours.by.clone(),
        start,
        host: "here".to_owned(),
        last_retried_before: None,
    };
    let settlement = settle(&work, &RetryPolicy::default(), AttemptEnd::Released, now());
    let settled = inspector.call(store, "settle", store.settle(&work.post, &ours, &settlement)).await;
    assert_eq!(settled, LeaseWrite::Applied);
    assert!(!inspector.call(store, "is_recorded", store.is_recorded(Platform::TikTok, "none")).await);

    let post = read(store, "b").await;
    let marked = inspector.call(store, "mark_ambiguous", store.mark_ambiguous(&post, "it may be public")).await;
    assert_eq!(marked, LeaseWrite::Applied);
    let shown = StoredPost::Readable(Box::new(read(store, "c").await));
    let options = ResetOptions { shown: Some(&shown), drop_ticket: false };
    let reset = inspector.call(store, "reset", store.reset(shown.id(), "ann", &options)).await;
    let post = read(store, "d").await;
    let settlement = settle_found(&post, "ann", "here", Publication::default(), now());
    let found = inspector.call(store, "settle_found", store.settle_found(&post, &settlement)).await;
    assert_eq!((reset, found), (Reset::Done, Reset::Done));
}

/// The tokens, and the record of a run.
async fn inspect_other_tables(store: &SqlitePostStore, inspector: &mut Inspector) {
    let record = TokenRecord {
        key: "tiktok:key".to_owned(),
        platform: Platform::TikTok,
        source: "fingerprint".to_owned(),
        access_token: SecretString::from("access"),
        access_expires_at: None,
        refresh_token: None,
        refresh_expires_at: None,
    };
    let lease = Lease { by: "ours".to_owned(), lasts: Duration::from_secs(60) };
    let leased = inspector.call(store, "lock_token", store.lock_token(&record.key, &lease)).await;
    let saved = inspector.call(store, "save_token", store.save_token(&record, "ours")).await;
    assert_eq!((leased, saved), (LeaseWrite::Applied, LeaseWrite::Applied));
    assert!(inspector.call(store, "load_token", store.load_token(&record.key)).await.is_some());
    inspector.call(store, "unlock_token", store.unlock_token(&record.key, "ours")).await;
    let run = RunRecord {
        id: "run".to_owned(),
        command: "run",
        started_at: now(),
        finished_at: now(),
        host: "here".to_owned(),
        outcome: RunOutcome::Ok,
        totals: Totals::default(),
        by_platform: Vec::new(),
        attempts: AttemptCounts::default(),
    };
    inspector.call(store, "record_run", store.record_run(&run)).await;
}

#[tokio::test]
async fn no_call_reads_more_than_it_needs_among_20_000_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlitePostStore::open(&folder.path().join("posts.db")).await.unwrap();
    on_connection(&store, |connection| fill_with_others(connection)).await;
    let log = trace(&store).await;
    let mut inspector = Inspector { log, needed: BTreeSet::new(), excessive: Vec::new() };
    inspect_passes(&store, &mut inspector).await;
    inspect_lists(&store, &mut inspector).await;
    inspect_single_posts(&store, &mut inspector).await;
    inspect_other_tables(&store, &mut inspector).await;
    let Inspector { needed, excessive, .. } = inspector;
    assert!(excessive.is_empty(), "more is read than returned:\n{}", excessive.join("\n"));
    // Whatever becomes faster is to stay so.
    let unneeded = EXCEPTIONS.iter().enumerate().filter(|(position, _)| !needed.contains(position));
    let unneeded: Vec<String> =
        unneeded.map(|(_, exception)| format!("{}: {}", exception.statement, exception.why)).collect();
    assert!(unneeded.is_empty(), "these exceptions are not needed any more:\n{}", unneeded.join("\n"));
}
