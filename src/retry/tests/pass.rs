//! What a pass publishes, leaves alone, counts and reports.

use chrono::TimeDelta;

use super::faulty_store::{StoreCall, StoreReaction};
use super::scripted_publisher::{Act, Step, fail};
use super::{
    PassOptions, TestBench, all, due_post, due_post_on, earlier_ticket, outcomes, report_on, seconds, start_of_test,
};
use crate::post::{Category, Claim, Platform, PostDraft, PostId, Totals};
use crate::store::StoredPost;

#[tokio::test(start_paused = true)]
async fn due_posts_are_published_once_each_and_the_oldest_first() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    bench.add_due(&["oldest", "older", "old"]);
    let report = bench.run().await;
    assert_eq!(bench.tiktok.published(), ["oldest", "older", "old"]);
    assert_eq!(outcomes(&report), ["oldest posted", "older posted", "old posted"]);
    assert_eq!(report.totals(), Totals { due: 3, posted: 3, ..Totals::default() });
    assert!(["oldest", "older", "old"].iter().all(|id| bench.is_posted(id)));

    let second = bench.run().await;
    assert_eq!(second.totals(), Totals::default());
    assert_eq!(bench.tiktok.published().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_platform_gave_is_stored_and_reported() {
    let bench = TestBench::new().await;
    bench.add_due(&["a"]);
    let report = bench.run().await;
    let publication = bench.tiktok.publication("a");
    assert_eq!(all(&report.posts)[0].url, publication.url);
    assert_eq!(all(&report.posts)[0].next_retry_at, None);
    assert_eq!(bench.store.memory.get("a").unwrap().publication, Some(publication));
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_several_pages_is_published_once_each_and_in_order() {
    let bench = TestBench::with(|context| context.config.concurrency = 1).await;
    let ids: Vec<String> = (0..150).map(|number| format!("p{number:03}")).collect();
    bench.add_due(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let report = bench.run().await;
    assert_eq!(report.totals(), Totals { due: 150, posted: 150, ..Totals::default() });
    assert_eq!(bench.tiktok.published(), ids);
}

#[tokio::test(start_paused = true)]
async fn the_platforms_are_worked_through_at_the_same_time() {
    let bench = TestBench::new().await;
    bench.add(due_post("t"));
    bench.add(due_post_on(Platform::Instagram, "i"));
    for publisher in [&bench.tiktok, &bench.instagram] {
        publisher.otherwise(Step::Resume, [Act::Wait(seconds(100))]);
    }
    let report = bench.run().await;
    assert_eq!(report.totals(), Totals { due: 2, posted: 2, ..Totals::default() });
    assert_eq!(bench.clock.elapsed(), seconds(100));
}

#[tokio::test(start_paused = true)]
async fn a_pass_over_one_platform_leaves_the_others_alone() {
    let bench = TestBench::new().await;
    bench.add(due_post("t"));
    bench.add(due_post_on(Platform::Instagram, "i"));
    let options = PassOptions { platforms: vec![Platform::Instagram], ..PassOptions::default() };
    let report = bench.run_with(&options).await;
    assert_eq!(report.totals(), Totals { due: 1, posted: 1, ..Totals::default() });
    assert_eq!(bench.instagram.published(), ["i"]);
    assert!(!bench.is_posted("t"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_spends_a_retry_and_the_next_one_waits_for_its_time() {
    let bench = TestBench::new().await;
    bench.add(due_post("a"));
    bench.tiktok.on(Step::Resume, "a", [fail(Category::MediaProcessing)]);
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a failed"]);
    let next_retry_at = start_of_test() + TimeDelta::minutes(30);
    assert_eq!(all(&report.posts)[0].next_retry_at, Some(next_retry_at));
    let post = bench.stored("a");
    assert_eq!(post.retry.count, 1);
    assert_eq!(post.retry.category, Some(Category::MediaProcessing));
    assert_eq!(post.retry.error.as_deref(), Some("scripted media_processing"));
    assert_eq!(post.retry.history.len(), 1);
    assert_eq!(post.retry.claim, None);

    tokio::time::sleep(seconds(29 * 60)).await;
    assert_eq!(bench.run().await.totals(), Totals::default());
    tokio::time::sleep(seconds(60)).await;
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a posted"]);
    assert_eq!(all(&report.posts)[0].attempt, 2);
    assert_eq!(all(&report.posts)[0].after, Some(Category::MediaProcessing));
}

#[tokio::test(start_paused = true)]
async fn the_last_retry_that_fails_makes_a_post_permanently_failed() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.failed_at = Some(start_of_test() - TimeDelta::hours(17));
    post.retry.count = 4;
    bench.add(post);
    bench.tiktok.on(Step::Create, "a", [fail(Category::Network)]);
    let report = bench.run().await;
    assert_eq!(outcomes(&report), ["a permanentlyFailed"]);
    assert!(report.needs_person());
    assert_eq!(all(&report.posts)[0].next_retry_at, None);
    assert!(bench.stored("a").retry.permanently_failed);
}

#[tokio::test(start_paused = true)]
async fn a_refused_post_is_given_up_at_once() {
    let bench = TestBench::new().await;
    bench.add(due_post("a"));
    bench.tiktok.on(Step::Create, "a", [fail(Category::RejectedContent)]);
    assert_eq!(outcomes(&bench.run().await), ["a permanentlyFailed"]);
    let post = bench.stored("a");
    assert!(post.retry.permanently_failed);
    assert_eq!(post.retry.permanently_failed_at, Some(start_of_test()));
}

#[tokio::test(start_paused = true)]
async fn posts_whose_retries_are_used_up_are_flagged_and_not_published() {
    let bench = TestBench::new().await;
    let mut post = due_post("exhausted");
    post.retry.count = 5;
    bench.add(post);
    let report = bench.run().await;
    assert_eq!(report.totals(), Totals { flagged: 1, ..Totals::default() });
    assert!(bench.stored("exhausted").retry.permanently_failed);
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn malformed_posts_are_reported_and_the_others_go_on() {
    let bench = TestBench::new().await;
    let draft = |id: &str, platform: &str| {
        let mut draft = PostDraft::new(PostId::from_text(id));
        draft.platform = Some(platform.to_owned());
        draft.failed_at = Some(start_of_test() - TimeDelta::minutes(90));
        draft
    };
    let odd = StoredPost::Malformed(draft("odd", "tiktok").malformed("retryHistory", "it is a number"));
    let elsewhere = StoredPost::from(draft("elsewhere", "myspace").check());
    for stored in [&odd, &elsewhere] {
        bench.store.memory.insert(stored.clone());
    }
    bench.add_due(&["a", "b"]);
    let report = bench.run().await;
    assert_eq!(report.totals(), Totals { due: 2, posted: 2, ..Totals::default() });
    let posts = all(&report.malformed);
    let malformed: Vec<_> = posts.iter().map(|post| (post.id.as_str(), post.field.as_ref())).collect();
    assert_eq!(malformed, [("odd", "retryHistory"), ("elsewhere", "platform")]);
    assert_eq!(bench.store.memory.get("odd").unwrap().post, odd);
    assert_eq!(bench.store.memory.get("elsewhere").unwrap().post, elsewhere);
}

#[tokio::test(start_paused = true)]
async fn posts_of_a_platform_without_credentials_are_left_alone_and_counted_as_skipped() {
    let bench = TestBench::new().await;
    bench.add(due_post_on(Platform::YouTubeShorts, "y"));
    let mut exhausted = due_post_on(Platform::YouTubeShorts, "exhausted");
    exhausted.retry.count = 5;
    bench.add(exhausted);
    let before = [bench.stored("y"), bench.stored("exhausted")];
    let report = bench.run().await;
    let youtube = report_on(&report, Platform::YouTubeShorts);
    assert!(!youtube.is_configured);
    assert_eq!(youtube.totals, Totals { due: 1, skipped: 1, ..Totals::default() });
    assert_eq!([bench.stored("y"), bench.stored("exhausted")], before);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_another_process_takes_first_gives_its_place_under_the_limit_back() {
    let bench = TestBench::new().await;
    bench.add_due(&["a", "b"]);
    bench.store.next_calls(StoreCall::Claim, [StoreReaction::AnswersAfter(seconds(2))]);
    let mut taken = bench.stored("a");
    taken.retry.claim = Some(Claim { by: "elsewhere".to_owned(), until: start_of_test() + TimeDelta::minutes(2) });
    let options = PassOptions { limit: Some(1), ..PassOptions::default() };
    let (report, ()) = tokio::join!(bench.run_with(&options), async {
        tokio::time::sleep(seconds(1)).await;
        bench.add(taken.clone());
    });
    assert_eq!(outcomes(&report), ["b posted"]);
    assert_eq!(report.totals(), Totals { due: 1, posted: 1, ..Totals::default() });
    assert_eq!(bench.stored("a"), taken);
    assert_eq!(bench.tiktok.published(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_still_processing_is_looked_up_by_the_next_pass() {
    let bench = TestBench::new().await;
    bench.add(due_post("a"));
    bench.tiktok.on(Step::Resume, "a", [fail(Category::Processing)]);
    assert_eq!(outcomes(&bench.run().await), ["a deferred"]);
    assert_eq!(bench.stored("a").retry.count, 0);
    assert_eq!(outcomes(&bench.run().await), ["a posted"]);
    assert_eq!(bench.tiktok.calls(), ["create a", "resume a, fresh", "resume a, stored"]);
}

#[tokio::test(start_paused = true)]
async fn the_listener_is_told_what_happens_when_it_happens() {
    let bench = TestBench::new().await;
    bench.add(due_post("a"));
    bench.tiktok.on(Step::Resume, "a", [Act::SendBytes(4), Act::SendBytes(10)]);
    bench.run().await;
    assert_eq!(bench.events(), ["a started, attempt 1", "a sent 4 of 10", "a sent 10 of 10", "a ended, posted"]);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expire_within_a_week_are_reported() {
    let bench = TestBench::new().await;
    bench.tiktok.credentials_expire(start_of_test() + TimeDelta::days(3));
    bench.instagram.credentials_expire(start_of_test() + TimeDelta::days(30));
    let report = bench.run().await;
    let expiry = report_on(&report, Platform::TikTok).credential_expiry.unwrap();
    assert_eq!(expiry.at, start_of_test() + TimeDelta::days(3));
    assert_eq!(report_on(&report, Platform::Instagram).credential_expiry, None);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expire_before_the_next_retry_are_reported() {
    for (retries, is_reported) in [(0, false), (1, true)] {
        let bench = TestBench::with(|context| context.policy.base_interval = TimeDelta::days(10)).await;
        bench.tiktok.credentials_expire(start_of_test() + TimeDelta::days(15));
        let mut post = due_post("a");
        post.failed_at = Some(start_of_test());
        post.retry.count = retries;
        bench.add(post);
        let report = bench.run().await;
        let expiry = report_on(&report, Platform::TikTok).credential_expiry;
        assert_eq!(expiry.is_some(), is_reported, "{retries}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_the_application_is_looked_up_before_anything_is_sent() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.left_upload = Some("v_1".to_owned());
    bench.add(post);
    let mut post = due_post("b");
    post.retry.ticket = Some(earlier_ticket());
    bench.add(post);
    bench.run().await;
    let mut calls = bench.tiktok.calls();
    calls.sort();
    assert_eq!(calls, ["resume a, stored", "resume b, stored"]);
}

#[tokio::test(start_paused = true)]
async fn passes_at_the_same_time_publish_each_post_once_and_seldom_try_the_same() {
    const POSTS: u64 = 400;
    let bench = TestBench::new().await;
    let ids: Vec<String> = (0..POSTS).map(|number| format!("p{number:03}")).collect();
    bench.add_due(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    bench.tiktok.otherwise(Step::Resume, [Act::Wait(seconds(1))]);
    let reports = futures_util::future::join_all((0..4).map(|_| bench.run())).await;
    let mut published = bench.tiktok.published();
    published.sort();
    assert_eq!(published, ids);
    let posted: Vec<u64> = reports.iter().map(|report| report.totals().posted).collect();
    assert_eq!(posted.iter().sum::<u64>(), POSTS);
    assert!(posted.iter().all(|posted| *posted > POSTS / 8), "one did the work of others: {posted:?}");
    // Without a new read each of the four tries nearly all of them.
    let claims = bench.store.calls(StoreCall::Claim);
    assert!(claims < ids.len() * 5 / 4, "{claims} claims");
}
