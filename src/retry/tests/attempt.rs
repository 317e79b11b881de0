//! One attempt at one post: the retry that it spends, its tickets, and how its outcome is recorded.

use chrono::TimeDelta;
use serde_json::json;

use super::faulty_store::{StoreCall, StoreReaction};
use super::scripted_publisher::{Act, Step, fail};
use super::{PassOptions, TestBench, all, due_post, earlier_ticket, outcomes, run_pass, seconds, start_of_test};
use crate::post::{Category, EntryOutcome, Failure, Totals};

#[tokio::test(start_paused = true)]
async fn a_retry_is_spent_before_anything_is_sent_and_given_back_by_a_deferral() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.tiktok.on(Step::Create, "a", [Act::Wait(seconds(10)), fail(Category::RateLimited)]);
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(5)).await;
        let during = bench.stored("a");
        assert_eq!(during.retry.count, 1);
        assert_eq!(during.retry.last_retried_at, Some(start_of_test()));
        assert!(during.retry.claim.is_some());
    });
    assert_eq!(outcomes(&report), ["a deferred"]);
    let after = bench.stored("a");
    assert_eq!((after.retry.count, after.retry.claim), (0, None));
    let an_hour_later = start_of_test() + seconds(10) + TimeDelta::hours(1);
    assert_eq!(after.retry.not_before, Some(an_hour_later));
    assert_eq!(all(&report.posts)[0].next_retry_at, Some(an_hour_later));
}

#[tokio::test(start_paused = true)]
async fn a_new_ticket_is_stored_before_it_is_used() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.tiktok.on(Step::Resume, "a", [Act::Wait(seconds(10)), Act::CommitTicket, Act::Wait(seconds(10))]);
    tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(5)).await;
        let ticket = bench.stored("a").retry.ticket.unwrap();
        assert_eq!((ticket.payload.clone(), ticket.is_committed()), (json!({ "number": 1 }), false));
        tokio::time::sleep(seconds(10)).await;
        assert!(bench.stored("a").retry.ticket.unwrap().is_committed());
    });
    assert_eq!(bench.tiktok.published(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_cannot_be_stored_is_not_used() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.store.next_calls(StoreCall::StoreTicket, [StoreReaction::Fails]);
    let error = run_pass(&bench.context, &PassOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("post a"), "{error}");
    assert_eq!(bench.tiktok.calls(), ["create a"]);

    tokio::time::sleep(seconds(120)).await;
    let report = bench.run().await;
    assert_eq!((outcomes(&report), all(&report.posts)[0].attempt), (vec!["a posted".to_owned()], 1));
    assert_eq!(bench.tiktok.published(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_stored_ticket_is_resumed_and_no_new_one_asked_for() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.retry.ticket = Some(earlier_ticket());
    bench.add(post);
    assert_eq!(outcomes(&bench.run().await), ["a posted"]);
    assert_eq!(bench.tiktok.calls(), ["resume a, stored"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_ticket_is_dropped_before_a_new_one_is_asked_for() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.retry.ticket = Some(earlier_ticket());
    bench.add(post);
    bench.tiktok.on(Step::Resume, "a", [Act::ReportDead]);
    bench.tiktok.on(Step::Create, "a", [Act::Wait(seconds(10))]);
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(5)).await;
        assert_eq!(bench.stored("a").retry.ticket, None);
    });
    assert_eq!(outcomes(&report), ["a posted"]);
    assert_eq!(bench.tiktok.calls(), ["resume a, stored", "create a", "resume a, fresh"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_asks_for_two_tickets_at_most() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.retry.ticket = Some(earlier_ticket());
    bench.add(post);
    bench.tiktok.otherwise(Step::Resume, [Act::ReportDead]);
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a failed"]);
    assert_eq!(all(&report.posts)[0].category, Some(Category::Network));
    let calls = ["resume a, stored", "create a", "resume a, fresh", "create a", "resume a, fresh"];
    assert_eq!(bench.tiktok.calls(), calls);
    assert_eq!(bench.stored("a").retry.ticket, None);
}

#[tokio::test(start_paused = true)]
async fn what_the_application_left_becomes_a_stored_ticket_before_it_is_looked_up() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.left_upload = Some("v_1".to_owned());
    let failed_at = post.failed_at;
    bench.add(post);
    bench.tiktok.on(Step::Resume, "a", [Act::Wait(seconds(10))]);
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(5)).await;
        let ticket = bench.stored("a").retry.ticket.unwrap();
        assert_eq!(ticket.payload, json!({ "upload": "v_1" }));
        assert!(ticket.is_from_application() && ticket.is_committed());
        assert_eq!(Some(ticket.made_at), failed_at);
    });
    assert_eq!(outcomes(&report), ["a posted"]);
    assert_eq!(bench.tiktok.calls(), ["resume a, stored"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_too_old_is_given_up_and_nothing_is_sent() {
    let bench = TestBench::with(|context| context.config.expire = Some(seconds(3600))).await;
    bench.add(due_post("a"));
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a permanentlyFailed"]);
    assert_eq!(all(&report.posts)[0].category, Some(Category::Expired));
    assert!(all(&report.posts)[0].error.as_ref().unwrap().contains("more than 1h ago"));
    assert!(bench.stored("a").retry.permanently_failed);
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_earlier_upload_of_a_post_that_is_too_old_is_looked_up_first() {
    let bench = TestBench::with(|context| context.config.expire = Some(seconds(3600))).await;
    for id in ["published", "dead"] {
        let mut post = due_post(id);
        post.retry.ticket = Some(earlier_ticket());
        bench.add(post);
    }
    bench.tiktok.on(Step::Resume, "dead", [Act::ReportDead]);
    let report = bench.run().await;
    assert_eq!(report.totals(), Totals { due: 2, posted: 1, permanently_failed: 1, ..Totals::default() });
    assert!(bench.is_posted("published"));
    assert_eq!(bench.stored("dead").retry.category, Some(Category::Expired));
    assert!(bench.tiktok.starts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_broken_off_more_than_three_times_counts_as_failed() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    for _ in 0..4 {
        bench.tiktok.on(Step::Resume, "a", [Act::Panic]);
        assert!(bench.run().await.has_internal_error);
        assert_eq!(bench.stored("a").retry.count, 1);
        tokio::time::sleep(seconds(120)).await;
    }
    let calls = bench.tiktok.calls();
    assert_eq!(calls.len(), 5, "{calls:?}");
    let report = bench.run().await;
    assert_eq!((outcomes(&report), all(&report.posts)[0].attempt), (vec!["a failed".to_owned()], 1));
    assert_eq!(all(&report.posts)[0].category, Some(Category::Interrupted));
    assert_eq!(bench.tiktok.calls(), calls);
    let post = bench.stored("a");
    assert_eq!((post.retry.count, post.retry.history.len()), (1, 1));
    assert_eq!(post.retry.history[0].outcome, EntryOutcome::Failed);
    assert_eq!(post.retry.history[0].interruptions, 4);
    assert_eq!(bench.ticket_number("a"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_killed_the_ticket_removes_it_and_any_other_keeps_it() {
    for (is_dead, kept) in [(false, Some(1)), (true, None)] {
        let bench = TestBench::new().await;
        bench.add_due(&["a"]);
        let failure = Failure::new(Category::MediaProcessing, "the video was not processed");
        let failure = if is_dead { failure.with_dead_ticket() } else { failure };
        bench.tiktok.on(Step::Resume, "a", [Act::Fail(failure)]);
        bench.run().await;
        assert_eq!(bench.ticket_number("a"), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_store_does_not_take_is_written_again_until_it_does() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.store.next_calls(StoreCall::Settle, [StoreReaction::Fails; 3]);
    assert_eq!(outcomes(&bench.run().await), ["a posted"]);
    assert!(bench.is_posted("a"));
    assert_eq!(bench.store.calls(StoreCall::Settle), 4);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_was_written_though_the_answer_was_lost_is_recognised() {
    for (act, outcome) in [(Act::AcceptToken, "a posted"), (fail(Category::MediaProcessing), "a failed")] {
        let bench = TestBench::new().await;
        bench.add_due(&["a"]);
        bench.tiktok.on(Step::Resume, "a", [act]);
        bench.store.next_calls(StoreCall::Settle, [StoreReaction::LosesItsAnswer]);
        let report = bench.run().await;
        assert_eq!(outcomes(&report), [outcome]);
        assert_eq!(report.totals().due, 1);
        assert_eq!(bench.store.calls(StoreCall::Settle), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_published_post_that_cannot_be_recorded_ends_the_pass_and_is_found_by_the_next() {
    for reaction in [StoreReaction::Fails, StoreReaction::NeverAnswers] {
        let bench = TestBench::new().await;
        bench.add_due(&["a"]);
        bench.store.every_call(StoreCall::Settle, reaction);
        let error = run_pass(&bench.context, &PassOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains("post a"), "{error}");
        // It is given up when the claim has expired, and not much later.
        assert!((seconds(120)..seconds(130)).contains(&bench.clock.elapsed()));
        assert!(!bench.is_posted("a"));

        bench.store.recover();
        assert_eq!(outcomes(&bench.run().await), ["a posted"]);
        assert_eq!(bench.tiktok.calls(), ["create a", "resume a, fresh", "resume a, stored"]);
        assert_eq!(bench.tiktok.published(), ["a"]);
    }
}
