//! What stops a pass or a platform in the middle, and what becomes of the posts then.

use std::sync::Arc;

use chrono::TimeDelta;

use super::faulty_store::{StoreCall, StoreReaction};
use super::scripted_publisher::{Act, Step, fail};
use super::{
    PassOptions, TestBench, all, due_post_on, earlier_ticket, outcomes, report_on, run_pass, seconds, start_of_test,
};
use crate::post::{Category, EntryOutcome, Failure, Platform, Totals};
use crate::retry::{RetryContext, Shutdown, Signal};

#[tokio::test(start_paused = true)]
async fn three_network_failures_in_a_row_leave_the_rest_unchanged_until_the_next_pass() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["a", "b", "c", "d", "e"]);
    for id in ["a", "b", "c"] {
        bench.tiktok.on(Step::Create, id, [fail(Category::Network)]);
    }
    let before = [bench.stored("d"), bench.stored("e")];
    let report = bench.run().await;
    assert_eq!(report.totals(), Totals { due: 5, failed: 3, skipped: 2, ..Totals::default() });
    let given_up = report_on(&report, Platform::TikTok).given_up.as_ref().unwrap();
    assert!(given_up.is_circuit);
    assert_eq!((given_up.category, given_up.waiting), (Category::Network, 2));
    assert!(!report.needs_person());
    assert_eq!([bench.stored("d"), bench.stored("e")], before);

    assert_eq!(outcomes(&bench.run().await), ["d posted", "e posted"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_outages_starts_their_row_anew() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["a", "b", "c", "d", "e"]);
    for id in ["a", "b", "d"] {
        bench.tiktok.on(Step::Create, id, [fail(Category::PlatformOutage)]);
    }
    let throttled = Failure::new(Category::RateLimited, "too fast").retry_at(Some(start_of_test() + seconds(65)));
    bench.tiktok.on(Step::Create, "c", [Act::Fail(throttled)]);
    let report = bench.run().await;
    assert!(report_on(&report, Platform::TikTok).given_up.is_none());
    assert_eq!(outcomes(&report), ["a failed", "b failed", "c deferred", "d failed", "e posted"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_gives_the_platform_up_at_no_cost_and_the_others_go_on() {
    let bench = TestBench::new().await;
    bench.add_due(&["a", "b", "c"]);
    bench.add(due_post_on(Platform::Instagram, "i"));
    let refused = Failure::new(Category::Auth, "TikTok refused the token").advise("renew TIKTOK_REFRESH_TOKEN");
    bench.tiktok.on(Step::Create, "a", [Act::Fail(refused)]);
    let before = [bench.stored("b"), bench.stored("c")];
    let report = bench.run().await;

    let tiktok = report_on(&report, Platform::TikTok);
    assert_eq!(tiktok.totals, Totals { due: 3, deferred: 1, skipped: 2, ..Totals::default() });
    let given_up = tiktok.given_up.as_ref().unwrap();
    assert!(!given_up.is_circuit);
    assert_eq!((given_up.category, given_up.waiting), (Category::Auth, 3));
    assert_eq!(given_up.advice.as_deref(), Some("renew TIKTOK_REFRESH_TOKEN"));
    assert!(report.needs_person());
    assert_eq!(bench.tiktok.calls(), ["create a"]);
    let post = bench.stored("a");
    assert_eq!((post.retry.count, post.retry.category), (0, Some(Category::Auth)));
    assert_eq!(post.retry.history[0].outcome, EntryOutcome::Deferred);
    assert_eq!([bench.stored("b"), bench.stored("c")], before);
    assert_eq!(bench.instagram.published(), ["i"]);
}

#[tokio::test(start_paused = true)]
async fn posts_in_flight_end_when_their_platform_is_given_up() {
    let bench = TestBench::with(|context| context.config.concurrency = 2).await;
    bench.add_due(&["a", "b", "c"]);
    let reset_at = start_of_test() + TimeDelta::hours(9);
    let used_up = Failure::new(Category::QuotaExhausted, "the quota is used up").retry_at(Some(reset_at));
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(seconds(10)), Act::Fail(used_up)]);
    bench.tiktok.on(Step::Resume, "b", [Act::Wait(seconds(20))]);
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a deferred", "b posted"]);
    assert_eq!(report.totals(), Totals { due: 3, posted: 1, deferred: 1, skipped: 1, ..Totals::default() });
    assert_eq!(report_on(&report, Platform::TikTok).given_up.as_ref().unwrap().until, Some(reset_at));
    assert_eq!(bench.stored("a").retry.not_before, Some(reset_at));
    assert!(!report.needs_person());
}

#[tokio::test(start_paused = true)]
async fn a_post_that_waits_for_the_gap_when_its_platform_is_given_up_is_unchanged() {
    let bench = TestBench::with(|context| context.config.gap = seconds(30)).await;
    bench.add_due(&["a", "b", "c"]);
    let before = bench.stored("c");
    bench.tiktok.on(Step::Create, "b", [fail(Category::AccountRestricted)]);
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a posted", "b deferred"]);
    assert_eq!(report.totals(), Totals { due: 3, posted: 1, deferred: 1, skipped: 1, ..Totals::default() });
    assert_eq!(bench.stored("c"), before);
    assert_eq!(bench.tiktok.starts(), ["a at 0", "b at 30"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_waits_to_upload_again_when_its_platform_is_given_up_is_undone() {
    let bench = TestBench::with(|context| context.config.gap = seconds(30)).await;
    bench.add_due(&["a", "b", "c"]);
    let mut post = bench.stored("b");
    post.retry.ticket = Some(earlier_ticket());
    bench.add(post);
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(seconds(10)), fail(Category::Auth)]);
    bench.tiktok.on(Step::Resume, "b", [Act::ReportDead]);
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a deferred"]);
    assert_eq!(report.totals(), Totals { due: 3, deferred: 1, skipped: 2, ..Totals::default() });
    assert_eq!(bench.tiktok.starts(), ["a at 0"]);
    let post = bench.stored("b");
    assert_eq!((post.retry.count, post.retry.last_retried_at, post.retry.claim), (0, None, None));
    assert!(post.retry.history.is_empty());
    assert_eq!(post.retry.ticket, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_the_other_posts_nothing_and_the_next_pass_resumes_the_same_attempt() {
    let bench = TestBench::new().await;
    bench.add_due(&["a", "b"]);
    bench.tiktok.on(Step::Resume, "a", [Act::Panic]);
    let report = bench.run().await;
    assert!(report.has_internal_error);
    assert_eq!(outcomes(&report), ["b posted"]);
    assert_eq!(bench.stored("a").retry.count, 1);
    assert!(bench.stored("a").retry.claim.is_some());
    assert_eq!(bench.run().await.totals(), Totals::default());

    tokio::time::sleep(seconds(120)).await;
    bench.tiktok.on(Step::Resume, "a", [fail(Category::MediaProcessing)]);
    let report = bench.run().await;
    assert!(!report.has_internal_error);
    assert_eq!(outcomes(&report), ["a failed"]);
    assert_eq!(all(&report.posts)[0].attempt, 1);
    assert_eq!(
        bench.tiktok.calls(),
        ["create a", "resume a, fresh", "create b", "resume b, fresh", "resume a, stored"]
    );
    let post = bench.stored("a");
    assert_eq!(post.retry.count, 1);
    assert_eq!(post.retry.history.len(), 1);
    assert_eq!(post.retry.history[0].interruptions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_pass_when_what_is_in_flight_is_settled() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["a", "b"]);
    for id in ["i", "j"] {
        bench.add(due_post_on(Platform::Instagram, id));
    }
    bench.tiktok.otherwise(Step::Resume, [Act::AcceptToken, Act::Wait(seconds(20))]);
    bench.instagram.otherwise(Step::Resume, [Act::AcceptToken, Act::Wait(seconds(30))]);
    let before = [bench.stored("b"), bench.stored("j")];
    // The claim of `b` fails, at 20 s.
    let reactions = [StoreReaction::Answers, StoreReaction::Answers, StoreReaction::Fails];
    bench.store.next_calls(StoreCall::Claim, reactions);
    let error = run_pass(&bench.context, &PassOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("failed to reach the post store"), "{error}");
    assert!(bench.is_posted("a") && bench.is_posted("i"));
    assert_eq!([bench.stored("b"), bench.stored("j")], before);
    assert_eq!(bench.clock.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_ends_the_pass_before_anything_is_sent() {
    for call in [StoreCall::ExhaustedPosts, StoreCall::DuePosts] {
        let bench = TestBench::new().await;
        bench.add_due(&["a"]);
        bench.store.every_call(call, StoreReaction::Fails);
        assert!(run_pass(&bench.context, &PassOptions::default()).await.is_err(), "{call:?}");
        assert!(bench.tiktok.calls().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_lets_posts_in_flight_end_and_starts_no_new_ones() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["a", "b"]);
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(seconds(10))]);
    let before = bench.stored("b");
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(5)).await;
        bench.context.shutdown.begin(Signal::Terminate);
    });
    assert_eq!(outcomes(&report), ["a posted"]);
    assert_eq!(report.totals(), Totals { due: 2, posted: 1, skipped: 1, ..Totals::default() });
    assert_eq!(bench.stored("b"), before);
    assert_eq!(bench.clock.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_a_pass_that_only_waits_for_the_gap() {
    let bench = TestBench::with(|context| context.config.gap = seconds(3600)).await;
    bench.add_due(&["a", "b"]);
    let before = bench.stored("b");
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(5)).await;
        bench.context.shutdown.begin(Signal::Interrupt);
    });
    assert_eq!(report.totals(), Totals { due: 2, posted: 1, skipped: 1, ..Totals::default() });
    assert_eq!(bench.stored("b"), before);
    assert_eq!(bench.clock.elapsed(), seconds(5));
}

#[tokio::test(start_paused = true)]
async fn posts_in_flight_at_the_end_of_the_grace_period_are_released_at_no_cost_and_resumed_later() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    let mut failed_before = bench.stored("a");
    failed_before.retry.category = Some(Category::Network);
    failed_before.retry.error = Some("no response".to_owned());
    bench.add(failed_before);
    bench.tiktok.on(Step::Resume, "a", [Act::AcceptToken, Act::Wait(seconds(3600))]);
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(5)).await;
        bench.context.shutdown.begin(Signal::Terminate);
        tokio::time::sleep(seconds(20)).await;
        bench.context.shutdown.grace_over.cancel();
    });
    assert_eq!(bench.clock.elapsed(), seconds(25));
    assert_eq!(outcomes(&report), ["a interrupted"]);
    assert_eq!(report.totals(), Totals { due: 1, deferred: 1, interrupted: 1, ..Totals::default() });
    // The result tells of this attempt, and the post keeps what is known of the earlier one.
    let posts = all(&report.posts);
    let told = &posts[0];
    let why = Some("stopped before it was finished; it used no retry");
    assert_eq!((told.category, told.error.as_deref()), (None, why));
    let post = bench.stored("a");
    assert_eq!((post.retry.category, post.retry.error.as_deref()), (Some(Category::Network), Some("no response")));
    assert_eq!((post.retry.count, post.retry.last_retried_at, post.retry.claim), (0, None, None));
    assert_eq!(post.retry.history.len(), 1);
    assert_eq!(post.retry.history[0].outcome, EntryOutcome::Interrupted);
    assert_eq!(post.retry.history[0].interruptions, 1);
    assert_eq!(bench.ticket_number("a"), Some(1));

    // The next process.
    let context = RetryContext { shutdown: Shutdown::default(), ..RetryContext::clone(&bench.context) };
    let report = run_pass(&Arc::new(context), &PassOptions::default()).await.unwrap();
    assert_eq!(outcomes(&report), ["a posted"]);
    assert_eq!(all(&report.posts)[0].attempt, 1);
    assert_eq!(bench.tiktok.calls(), ["create a", "resume a, fresh", "resume a, stored"]);
    assert_eq!(bench.tiktok.published(), ["a"]);
}
