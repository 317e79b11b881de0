//! What people and the application do to a post comes first: its status, its text, and the id that they recorded.

use super::scripted_publisher::{Act, Step, fail};
use super::{TestBench, due_post, outcomes, report_on, seconds};
use crate::post::{Category, EntryOutcome, Platform, Totals};
use crate::retry::report::already_published;

#[tokio::test(start_paused = true)]
async fn a_post_that_a_person_approves_before_it_is_public_gets_nothing_more_sent() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.tiktok.on(Step::Resume, "a", [Act::Wait(seconds(100)), Act::CommitTicket, Act::Wait(seconds(10))]);
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(50)).await;
        bench.store.memory.set_status("a", "approved");
    });
    assert_eq!(outcomes(&report), ["a interrupted"]);
    assert!(bench.tiktok.published().is_empty());
    let after = bench.store.memory.get("a").unwrap();
    assert_eq!(after.status, "approved");
    let retry = &after.post.readable().unwrap().retry;
    assert_eq!((retry.count, &retry.claim), (0, &None));
    assert_eq!(retry.history.last().unwrap().outcome, EntryOutcome::Interrupted);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_turns_out_to_be_public_is_recorded_whatever_a_person_made_of_it() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.tiktok.on(Step::Resume, "a", [Act::CommitTicket, Act::Wait(seconds(300))]);
    let (report, ()) = tokio::join!(bench.run(), async {
        tokio::time::sleep(seconds(20)).await;
        bench.store.memory.set_status("a", "rejected");
    });
    assert_eq!(outcomes(&report), ["a posted"]);
    assert!(bench.is_posted("a"));
}

#[tokio::test(start_paused = true)]
async fn an_edited_post_drops_an_upload_of_which_nothing_can_be_public() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.tiktok.on(Step::Resume, "a", [fail(Category::Network)]);
    bench.run().await;
    assert_eq!(bench.ticket_number("a"), Some(1));

    let mut edited = bench.stored("a");
    edited.content.caption = Some("corrected".to_owned());
    edited.failed_at = edited.failed_at.map(|at| at - chrono::TimeDelta::hours(9));
    bench.add(edited);
    assert_eq!(outcomes(&bench.run().await), ["a posted"]);
    assert_eq!(bench.tiktok.calls(), ["create a", "resume a, fresh", "create a", "resume a, fresh"]);
}

#[tokio::test(start_paused = true)]
async fn an_edited_post_whose_upload_may_be_public_is_looked_up_as_ever() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    bench.tiktok.on(Step::Resume, "a", [Act::CommitTicket, fail(Category::Network)]);
    bench.run().await;
    let mut edited = bench.stored("a");
    edited.content.caption = Some("corrected".to_owned());
    edited.failed_at = edited.failed_at.map(|at| at - chrono::TimeDelta::hours(9));
    bench.add(edited);
    bench.run().await;
    assert_eq!(bench.tiktok.calls(), ["create a", "resume a, fresh", "resume a, stored"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_recorded_as_published_is_marked_and_not_sent() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.published_id = Some("7301".to_owned());
    bench.add(post.clone());
    let report = bench.run().await;
    assert!(report.posts.is_empty() && bench.tiktok.calls().is_empty());
    assert_eq!(report_on(&report, Platform::TikTok).totals, Totals { flagged: 1, ..Totals::default() });
    assert!(report.needs_person());
    let after = bench.stored("a").retry;
    assert!(after.permanently_failed);
    assert_eq!(after.category, Some(Category::Ambiguous));
    assert_eq!(after.error, Some(already_published(&post, "7301")));
    assert_eq!(after.count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_the_id_that_is_recorded_is_not_stored_again() {
    let bench = TestBench::with(|context| context.redactor.add("hush-hush-hush")).await;
    let mut post = due_post("a");
    // Where the id is cut for showing it, a part of the secret would be left.
    post.published_id = Some(format!("{}hush-hush-hush", "7".repeat(75)));
    bench.add(post);
    bench.run().await;
    let error = bench.stored("a").retry.error.unwrap();
    assert!(error.contains("7777[red") && !error.contains("hush"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_that_the_platform_asks_for_is_waited_for() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["a", "b"]);
    let failure = crate::post::Failure::new(Category::RateLimited, "too fast")
        .retry_at(Some(super::start_of_test() + seconds(65)));
    bench.tiktok.on(Step::Create, "a", [Act::Fail(failure)]);
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a deferred", "b posted"]);
    assert_eq!(report_on(&report, Platform::TikTok).given_up.as_ref().map(|given_up| given_up.category), None);
    assert_eq!(bench.tiktok.starts(), ["a at 0", "b at 65"]);
}
