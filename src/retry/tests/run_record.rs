//! The record of a run: the same posts count the same, whether a pass or a `retry` attempted them.

use chrono::TimeDelta;

use super::scripted_publisher::{Act, Step, fail};
use super::{TestBench, due_post, due_post_on, seconds, start_of_test};
use crate::post::{AttemptCount, BackoffFrom, Category, Platform, Totals};
use crate::retry::{ActivePlatforms, Force, PassOptions, RetryReport, pass_record, retry_post, retry_record};
use crate::store::{GivenUpRecord, PostStore, RunOutcome, RunRecord};

const IDS: [&str; 4] = ["expires", "succeeds", "fails", "is deferred"];

/// Four posts, of which each meets another end.
async fn bench() -> TestBench {
    let bench = TestBench::with(|context| context.config.expire = Some(seconds(24 * 3600))).await;
    bench.add_due(&IDS);
    let mut expires = bench.stored("expires");
    expires.failed_at = Some(start_of_test() - TimeDelta::days(2));
    bench.add(expires);
    let mut succeeds = due_post("succeeds");
    succeeds.failed_at = Some(start_of_test() - TimeDelta::hours(3));
    succeeds.retry.count = 1;
    succeeds.retry.category = Some(Category::Network);
    bench.add(succeeds);
    bench.tiktok.on(Step::Create, "fails", [fail(Category::MediaProcessing)]);
    bench.tiktok.on(Step::Resume, "is deferred", [fail(Category::Processing)]);
    bench
}

async fn retry_all(bench: &TestBench, ids: &[&str]) -> Option<RunRecord> {
    let started_at = bench.clock.now();
    let platforms = ActivePlatforms::new(&bench.context);
    let mut reports: Vec<RetryReport> = Vec::new();
    for id in ids {
        reports.extend(retry_post(&bench.context, id, None, &Force::No, &platforms).await.unwrap());
    }
    let attempts = reports.iter().filter_map(|report| report.attempt.as_ref());
    let previous = bench.store.given_up_platforms().await.unwrap();
    retry_record(&bench.context, attempts, &platforms, &previous, started_at, RunOutcome::Ok)
}

/// A pass that is recorded. What is then known to wait for a person.
async fn pass(bench: &TestBench, options: &PassOptions) -> Vec<(Platform, GivenUpRecord)> {
    let previous = bench.store.given_up_platforms().await.unwrap();
    let report = bench.run_with(options).await;
    let record = pass_record(&bench.context, &report, RunOutcome::Ok, &previous).await;
    recorded(bench, &record).await
}

/// The same for a `retry` of one post.
async fn retry(bench: &TestBench, id: &str) -> Vec<(Platform, GivenUpRecord)> {
    let record = retry_all(bench, &[id]).await.unwrap();
    recorded(bench, &record).await
}

async fn recorded(bench: &TestBench, record: &RunRecord) -> Vec<(Platform, GivenUpRecord)> {
    bench.store.record_run(record).await.unwrap();
    let waiting = bench.store.given_up_platforms().await.unwrap();
    // The next run starts later.
    tokio::time::advance(seconds(60)).await;
    waiting
}

/// TikTok waits for a person since then.
fn waits(category: Category, waiting: u64, minutes: i64) -> Vec<(Platform, GivenUpRecord)> {
    let since = start_of_test() + TimeDelta::minutes(minutes);
    let reason = format!("scripted {category}");
    vec![(Platform::TikTok, GivenUpRecord { category, reason, waiting, since })]
}

/// Three due posts on TikTok, which refuses the credentials.
async fn refused_bench() -> TestBench {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["a", "b", "c"]);
    bench.tiktok.otherwise(Step::Create, [fail(Category::Auth)]);
    bench
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_reach_the_platform_leaves_it_waiting_since_the_first_refusal() {
    let bench = refused_bench().await;
    let everything = PassOptions::default();
    assert_eq!(pass(&bench, &everything).await, waits(Category::Auth, 3, 0));
    let nothing = PassOptions { limit: Some(0), ..PassOptions::default() };
    assert_eq!(pass(&bench, &nothing).await, waits(Category::Auth, 3, 0));
    bench.add(due_post_on(Platform::Instagram, "i"));
    let elsewhere = PassOptions { platforms: vec![Platform::Instagram], ..PassOptions::default() };
    assert_eq!(pass(&bench, &elsewhere).await, waits(Category::Auth, 3, 0));
    // An outage says nothing of the credentials, nor does a file that is missing.
    bench.tiktok.otherwise(Step::Create, [fail(Category::Network)]);
    assert_eq!(retry(&bench, "a").await, waits(Category::Auth, 3, 0));
    bench.tiktok.otherwise(Step::Create, [fail(Category::MissingAsset)]);
    assert_eq!(retry(&bench, "b").await, waits(Category::Auth, 3, 0));
    bench.tiktok.otherwise(Step::Create, [fail(Category::Auth)]);
    assert_eq!(pass(&bench, &everything).await, waits(Category::Auth, 1, 0));
    bench.tiktok.otherwise(Step::Create, Vec::new());
    assert!(pass(&bench, &everything).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_hide_that_a_platform_waits_for_a_person() {
    let bench = refused_bench().await;
    assert_eq!(pass(&bench, &PassOptions::default()).await, waits(Category::Auth, 3, 0));
    bench.tiktok.otherwise(Step::Create, [fail(Category::Network)]);
    // All three fail, which opens the circuit.
    assert_eq!(pass(&bench, &PassOptions::default()).await, waits(Category::Auth, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_platform_waits_between_two_retries_only_while_a_refused_post_is_left() {
    let bench = TestBench::with(|context| context.policy.backoff_from = BackoffFrom::LastAttempt).await;
    bench.add_due(&["a"]);
    bench.tiktok.on(Step::Create, "a", [fail(Category::AccountRestricted)]);
    let restricted = waits(Category::AccountRestricted, 1, 0);
    assert_eq!(pass(&bench, &PassOptions::default()).await, restricted);
    // Nothing is due before the base interval is over.
    assert_eq!(pass(&bench, &PassOptions::default()).await, restricted);
    let mut reset = bench.stored("a");
    reset.retry.category = None;
    bench.add(reset);
    assert!(pass(&bench, &PassOptions::default()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retry_records_what_it_finds_out_of_the_account() {
    let bench = refused_bench().await;
    // A pass that meets this sends an alert; a `retry` does not, and must not make the pass silent.
    assert!(retry(&bench, "a").await.is_empty());
    assert_eq!(pass(&bench, &PassOptions::default()).await, waits(Category::Auth, 3, 1));
    assert_eq!(retry(&bench, "b").await, waits(Category::Auth, 3, 1));
    bench.tiktok.otherwise(Step::Create, [fail(Category::AccountRestricted)]);
    assert_eq!(retry(&bench, "b").await, waits(Category::Auth, 3, 1));
    // The platform has accepted the token, whatever became of the post.
    bench.tiktok.otherwise(Step::Create, [Act::AcceptToken, fail(Category::MediaProcessing)]);
    assert!(retry(&bench, "c").await.is_empty());
    bench.tiktok.otherwise(Step::Create, [fail(Category::Auth)]);
    assert!(retry(&bench, "b").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pass_and_a_retry_count_the_same_attempts_the_same_way() {
    let passed = bench().await;
    let report = passed.run().await;
    let pass = pass_record(&passed.context, &report, RunOutcome::Attention, &[]).await;
    let retry = retry_all(&bench().await, &IDS).await.unwrap();

    let totals = Totals { due: 4, posted: 1, failed: 1, permanently_failed: 1, deferred: 1, ..Totals::default() };
    for record in [&pass, &retry] {
        assert_eq!(record.totals, totals, "{}", record.command);
        let entry = &record.by_platform[0];
        assert_eq!((entry.platform, entry.totals), (Platform::TikTok, totals), "{}", record.command);
        assert_eq!(record.host, "here");
    }
    assert_eq!((pass.command, retry.command), ("run", "retry"));
    assert_eq!((pass.outcome, retry.outcome), (RunOutcome::Attention, RunOutcome::Ok));
    assert_eq!(pass.attempts, retry.attempts);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_idle_only_if_nothing_was_due_and_no_platform_waits_for_a_person() {
    let passed = bench().await;
    let report = passed.run().await;
    assert!(!pass_record(&passed.context, &report, RunOutcome::Ok, &[]).await.is_idle());
    let idle = TestBench::with(|_| {}).await;
    let report = idle.run().await;
    let mut record = pass_record(&idle.context, &report, RunOutcome::Ok, &[]).await;
    assert!(record.is_idle(), "{record:?}");
    let category = Category::Auth;
    record.by_platform[0].given_up =
        Some(GivenUpRecord { category, reason: "sign in".to_owned(), waiting: 1, since: record.started_at });
    assert!(!record.is_idle());
}

#[tokio::test(start_paused = true)]
async fn neither_a_deferral_nor_a_post_that_expired_is_an_attempt() {
    let record = retry_all(&bench().await, &IDS).await.unwrap();
    let attempts: Vec<AttemptCount> = record.attempts.iter().collect();
    let failed = AttemptCount { platform: Platform::TikTok, attempt: 1, after: None, attempts: 1, posted: 0 };
    let posted = AttemptCount { attempt: 2, after: Some(Category::Network), posted: 1, ..failed };
    assert_eq!(attempts, [failed, posted]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_started_nothing_gives_no_record() {
    let bench = bench().await;
    assert!(retry_all(&bench, &["missing"]).await.is_none());
    assert!(retry_all(&bench, &[]).await.is_none());
}
