//! The record of a run: the same posts count the same, whether a pass or a `retry` attempted them.

use chrono::TimeDelta;

use super::scripted_publisher::{Step, fail};
use super::{TestBench, due_post, seconds, start_of_test};
use crate::post::{AttemptCount, Category, Platform, Totals};
use crate::retry::{ActivePlatforms, Force, RetryReport, pass_record, retry_post, retry_record};
use crate::store::{RunOutcome, RunRecord};

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
    retry_record(&bench.context, attempts, started_at, RunOutcome::Ok)
}

#[tokio::test(start_paused = true)]
async fn a_pass_and_a_retry_count_the_same_attempts_the_same_way() {
    let passed = bench().await;
    let report = passed.run().await;
    let pass = pass_record(&passed.context, &report, RunOutcome::Attention, &[]);
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
