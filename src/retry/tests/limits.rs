//! How many posts a pass starts, how far apart, and until when.

use super::faulty_store::{StoreCall, StoreReaction};
use super::scripted_publisher::{Act, Step};
use super::{PassOptions, TestBench, due_post, due_post_on, earlier_ticket, outcomes, report_on, seconds};
use crate::post::{Platform, Totals};

/// The credentials are accepted, and then the upload takes this long.
fn upload(duration: u64) -> [Act; 2] {
    [Act::AcceptToken, Act::Wait(seconds(duration))]
}

fn limit(posts: u64) -> PassOptions {
    PassOptions { limit: Some(posts), ..PassOptions::default() }
}

fn at_most(duration: u64) -> PassOptions {
    PassOptions { max_duration: Some(seconds(duration)), ..PassOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn no_more_posts_are_in_flight_than_the_concurrency_allows() {
    let bench = TestBench::with(|context| context.config.concurrency = 2).await;
    bench.add_due(&["a", "b", "c", "d", "e", "f"]);
    bench.tiktok.otherwise(Step::Resume, upload(10));
    let report = bench.run().await;
    assert_eq!(report.totals(), Totals { due: 6, posted: 6, ..Totals::default() });
    assert_eq!(bench.tiktok.most_in_flight(), 2);
    assert_eq!(bench.clock.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn one_post_goes_alone_until_the_platform_accepts_the_credentials() {
    let bench = TestBench::new().await;
    bench.add_due(&["a", "b", "c"]);
    bench.tiktok.on(Step::Create, "a", [Act::Wait(seconds(10)), Act::AcceptToken]);
    bench.tiktok.on(Step::Resume, "a", [Act::Wait(seconds(20))]);
    bench.run().await;
    assert_eq!(bench.tiktok.starts(), ["a at 0", "b at 10", "c at 10"]);
    assert_eq!(bench.tiktok.published(), ["b", "c", "a"]);
}

#[tokio::test(start_paused = true)]
async fn publishes_start_at_least_a_gap_apart() {
    let bench = TestBench::with(|context| context.config.gap = seconds(30)).await;
    bench.add_due(&["a", "b", "c", "d"]);
    bench.add(due_post_on(Platform::Instagram, "i"));
    bench.run().await;
    assert_eq!(bench.tiktok.starts(), ["a at 0", "b at 30", "c at 60", "d at 90"]);
    assert_eq!(bench.instagram.starts(), ["i at 0"]);
    assert_eq!(bench.tiktok.published(), ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_with_an_earlier_upload_does_not_wait_for_the_gap() {
    let bench = TestBench::with(|context| context.config.gap = seconds(3600)).await;
    bench.add_due(&["a", "b"]);
    let mut post = bench.stored("b");
    post.retry.ticket = Some(earlier_ticket());
    bench.add(post);
    bench.run().await;
    assert_eq!(bench.tiktok.published(), ["a", "b"]);
    assert_eq!(bench.clock.elapsed(), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn no_more_posts_are_started_than_the_limit_says_and_the_rest_is_unchanged() {
    let bench = TestBench::new().await;
    bench.add_due(&["a", "b", "c", "d"]);
    let before = [bench.stored("c"), bench.stored("d")];
    let report = bench.run_with(&limit(2)).await;
    assert_eq!(report.totals(), Totals { due: 4, posted: 2, skipped: 2, ..Totals::default() });
    assert_eq!(bench.tiktok.published(), ["a", "b"]);
    assert_eq!([bench.stored("c"), bench.stored("d")], before);
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_for_all_platforms_together() {
    let bench = TestBench::new().await;
    bench.add_due(&["a", "b"]);
    for id in ["i", "j"] {
        bench.add(due_post_on(Platform::Instagram, id));
    }
    let report = bench.run_with(&limit(3)).await;
    assert_eq!(report.totals(), Totals { due: 4, posted: 3, skipped: 1, ..Totals::default() });
    assert_eq!(bench.tiktok.published().len() + bench.instagram.published().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_has_reached_its_limit_does_not_wait_for_the_gap() {
    let bench = TestBench::with(|context| context.config.gap = seconds(60)).await;
    bench.add_due(&["a", "b"]);
    bench.tiktok.otherwise(Step::Resume, upload(10));
    let report = bench.run_with(&limit(1)).await;
    assert_eq!(report.totals(), Totals { due: 2, posted: 1, skipped: 1, ..Totals::default() });
    assert_eq!(bench.clock.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_pass_whose_limit_another_platform_reaches_does_not_wait_for_the_gap() {
    let bench = TestBench::with(|context| context.config.gap = seconds(60)).await;
    bench.add_due(&["a", "b"]);
    bench.add(due_post_on(Platform::Instagram, "i"));
    // Instagram's posts are read when TikTok's second one waits for the gap.
    bench.store.next_calls(StoreCall::DuePosts, [StoreReaction::Answers, StoreReaction::AnswersAfter(seconds(10))]);
    let report = bench.run_with(&limit(2)).await;
    assert_eq!(report.totals(), Totals { due: 3, posted: 2, skipped: 1, ..Totals::default() });
    assert_eq!(bench.clock.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_up_posts_in_flight_end_and_the_rest_is_skipped_unchanged() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["a", "b", "c", "d"]);
    bench.tiktok.otherwise(Step::Resume, upload(10));
    let before = [bench.stored("c"), bench.stored("d")];
    let report = bench.run_with(&at_most(15)).await;
    assert_eq!(outcomes(&report), ["a posted", "b posted"]);
    assert_eq!(report.totals(), Totals { due: 4, posted: 2, skipped: 2, ..Totals::default() });
    assert_eq!([bench.stored("c"), bench.stored("d")], before);
    assert_eq!(bench.clock.elapsed(), seconds(20));
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_ends_before_the_gap_does_not_wait_for_it() {
    let bench = TestBench::with(|context| context.config.gap = seconds(60)).await;
    bench.add_due(&["a", "b"]);
    let before = bench.stored("b");
    let report = bench.run_with(&at_most(30)).await;
    assert_eq!(report.totals(), Totals { due: 2, posted: 1, skipped: 1, ..Totals::default() });
    assert_eq!(bench.stored("b"), before);
    assert_eq!(bench.clock.elapsed(), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn a_post_that_would_wait_for_the_gap_beyond_the_time_is_not_started() {
    let bench = TestBench::with(|context| context.config.gap = seconds(30)).await;
    bench.add_due(&["a", "b", "c"]);
    let before = bench.stored("c");
    let report = bench.run_with(&at_most(40)).await;
    assert_eq!(bench.tiktok.starts(), ["a at 0", "b at 30"]);
    assert_eq!(report.totals(), Totals { due: 3, posted: 2, skipped: 1, ..Totals::default() });
    assert_eq!(bench.stored("c"), before);
}

#[tokio::test(start_paused = true)]
async fn a_pass_without_time_starts_nothing() {
    let bench = TestBench::new().await;
    bench.add(due_post("a"));
    let report = bench.run_with(&at_most(0)).await;
    assert_eq!(report_on(&report, Platform::TikTok).totals, Totals { due: 1, skipped: 1, ..Totals::default() });
    assert!(bench.tiktok.calls().is_empty());
}
