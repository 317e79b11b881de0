//! The lease under which an attempt works.

use std::time::Duration;

use chrono::TimeDelta;

use super::faulty_store::{StoreCall, StoreReaction};
use super::scripted_publisher::{Act, Step};
use super::{PassOptions, TestBench, all, due_post, earlier_ticket, outcomes, run_pass, seconds, start_of_test};
use crate::platform::{AttemptAborted, PublishContext};
use crate::post::{AttemptStart, Claim, Post, Totals};
use crate::retry::lease::{ClockReading, LeasedAttempt};
use crate::store::{Lease, PostStore};

/// A claim that is not renewed expires after this long.
const CLAIM: Duration = Duration::from_secs(60);

async fn bench() -> TestBench {
    let bench = TestBench::with(|context| context.config.claim = CLAIM).await;
    bench.add(due_post("a"));
    bench
}

/// The post as another process has it, which claims it at this time of the test.
fn taken_elsewhere(bench: &TestBench, at: Duration) -> Post {
    let mut post = bench.stored("a");
    let until = start_of_test() + at + CLAIM;
    post.retry.count = 2;
    post.retry.claim = Some(Claim { by: "elsewhere".to_owned(), until });
    post
}

/// An attempt that has just claimed the post.
async fn claimed(bench: &TestBench) -> LeasedAttempt {
    let context = &bench.context;
    let post = bench.stored("a");
    let lease = Lease { by: "this attempt".to_owned(), lasts: CLAIM };
    let asked_at = ClockReading::now(&context.clock);
    let start = AttemptStart::decide(&post, context.clock.now(), &context.host);
    let claimed = bench.store.claim(&post, &start, &lease).await.unwrap().unwrap();
    let platform = context.activate(post.platform).unwrap();
    LeasedAttempt::new(context, platform, claimed.readable().unwrap(), lease, asked_at)
}

#[tokio::test(start_paused = true)]
async fn the_claim_never_expires_while_an_upload_takes_ten_times_as_long() {
    let bench = bench().await;
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(CLAIM * 10)]);
    let (report, ()) = tokio::join!(bench.run(), async {
        for _ in 1..600 {
            tokio::time::sleep(seconds(1)).await;
            let claim = bench.stored("a").retry.claim.unwrap();
            assert!(claim.is_live(bench.clock.now()));
        }
        // Another process finds nothing to do.
        assert_eq!(bench.run().await.totals(), Totals::default());
    });
    assert_eq!(outcomes(&report), ["a posted"]);
    assert_eq!(bench.tiktok.published(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_claim_ends_the_attempt_and_nothing_is_written() {
    let bench = bench().await;
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(CLAIM * 10)]);
    let theirs = taken_elsewhere(&bench, seconds(30));
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(30)).await;
        bench.add(theirs.clone());
    });
    assert_eq!(bench.clock.elapsed(), seconds(40));
    assert_eq!(report.totals(), Totals::default());
    assert!(report.posts.is_empty());
    assert_eq!(bench.stored("a"), theirs);
    assert!(bench.tiktok.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_not_written_over_that_of_another_process() {
    let bench = bench().await;
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(seconds(10))]);
    // While the first try to write it fails, another process takes the post.
    bench.store.next_calls(StoreCall::Settle, [StoreReaction::Fails]);
    let theirs = taken_elsewhere(&bench, seconds(10));
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(10) + Duration::from_millis(100)).await;
        bench.add(theirs.clone());
    });
    assert_eq!(report.totals(), Totals::default());
    assert_eq!(bench.stored("a"), theirs);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_once_ends_nothing() {
    let bench = bench().await;
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(CLAIM * 2)]);
    bench.store.next_calls(StoreCall::Renew, [StoreReaction::Fails, StoreReaction::AnswersAfter(seconds(5))]);
    assert_eq!(outcomes(&bench.run().await), ["a posted"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_when_its_claim_has_expired_without_a_renewal() {
    for (reaction, ends) in [(StoreReaction::Fails, seconds(60)), (StoreReaction::NeverAnswers, seconds(65))] {
        let bench = bench().await;
        bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(CLAIM * 10)]);
        bench.store.every_call(StoreCall::Renew, reaction);
        let error = run_pass(&bench.context, &PassOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains("post a"), "{error}");
        assert_eq!(bench.clock.elapsed(), ends);
        assert!(bench.tiktok.published().is_empty());

        bench.store.recover();
        let report = bench.run().await;
        assert_eq!((outcomes(&report), all(&report.posts)[0].attempt), (vec!["a posted".to_owned()], 1));
        assert_eq!(bench.tiktok.published(), ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_claim_is_renewed_before_a_request_when_less_than_half_of_it_is_left() {
    let bench = bench().await;
    let attempt = claimed(&bench).await;
    tokio::time::advance(CLAIM / 2).await;
    attempt.ensure_lease().await.unwrap();
    assert_eq!(bench.store.calls(StoreCall::Renew), 0);
    tokio::time::advance(seconds(1)).await;
    attempt.ensure_lease().await.unwrap();
    attempt.ensure_lease().await.unwrap();
    assert_eq!(bench.store.calls(StoreCall::Renew), 1);
    let claim = bench.stored("a").retry.claim.unwrap();
    assert_eq!(claim.until, bench.clock.now() + CLAIM);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_or_written_under_a_claim_that_has_expired() {
    let bench = bench().await;
    let attempt = claimed(&bench).await;
    let is_valid = attempt.lease_check();
    tokio::time::advance(CLAIM.saturating_sub(Duration::from_millis(1))).await;
    assert!(is_valid());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!is_valid());
    assert!(matches!(attempt.ensure_lease().await, Err(AttemptAborted::LeaseLost)));
    assert!(matches!(attempt.save_ticket(&earlier_ticket()).await, Err(AttemptAborted::LeaseLost)));
    assert_eq!(bench.stored("a").retry.ticket, None);
    assert_eq!(attempt.latest_ticket(), None);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_claim_counts_from_before_it_was_asked_for() {
    let bench = bench().await;
    let attempt = claimed(&bench).await;
    let is_valid = attempt.lease_check();
    tokio::time::advance(seconds(40)).await;
    bench.store.next_calls(StoreCall::Renew, [StoreReaction::AnswersAfter(seconds(10))]);
    attempt.ensure_lease().await.unwrap();
    assert_eq!(bench.stored("a").retry.claim.unwrap().until, start_of_test() + TimeDelta::seconds(110));
    // Asked for at 40 s: it is trusted until 100 s.
    tokio::time::advance(seconds(49)).await;
    assert!(is_valid());
    tokio::time::advance(seconds(1)).await;
    assert!(!is_valid());
}
