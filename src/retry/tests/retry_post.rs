//! Posts that are retried one by one, on request.

use chrono::TimeDelta;

use super::faulty_store::{StoreCall, StoreReaction};
use super::scripted_publisher::{Act, Step, fail};
use super::{TestBench, due_post, due_post_on, seconds, start_of_test};
use crate::post::{Category, Claim, EntryOutcome, HistoryEntry, Outcome, Platform, Post, PostDraft, PostId};
use crate::retry::{ActivePlatforms, Confirmed, Force, RetryOutcome, RetryReport, Signal, retry_post};
use crate::store::StoredPost;

async fn retry(bench: &TestBench, id: &str, force: &Force) -> RetryReport {
    let mut reports = retry_on(bench, id, None, force).await;
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

async fn retry_on(bench: &TestBench, id: &str, only: Option<Platform>, force: &Force) -> Vec<RetryReport> {
    let platforms = ActivePlatforms::new(&bench.context);
    retry_post(&bench.context, id, only, force, &platforms).await.unwrap()
}

fn forced() -> Force {
    forced_if(Confirmed::Only(Vec::new()))
}

fn forced_if(confirmed: Confirmed) -> Force {
    Force::Yes { by: "eve@host".to_owned(), confirmed }
}

/// A delivery of the post `a`, which is for several platforms.
fn delivery(platform: Platform) -> Post {
    let mut post = due_post_on(platform, "a");
    post.id = PostId::new("a", format!("a {platform}"));
    post
}

/// A post that became permanently failed after its fifth retry.
fn permanently_failed_post(id: &str) -> Post {
    let mut post = due_post(id);
    post.retry.count = 5;
    post.retry.permanently_failed = true;
    post.retry.permanently_failed_at = Some(start_of_test() - TimeDelta::minutes(1));
    post.retry.category = Some(Category::Network);
    post.retry.history.push(HistoryEntry {
        attempt: 5,
        started_at: None,
        finished_at: None,
        outcome: EntryOutcome::Failed,
        category: Some(Category::Network),
        error: None,
        host: "elsewhere".to_owned(),
        interruptions: 0,
        reset: None,
        settled_by: None,
    });
    post
}

/// The claim of another process for the next hour.
fn live_claim() -> Claim {
    Claim { by: "elsewhere".to_owned(), until: start_of_test() + TimeDelta::hours(1) }
}

#[tokio::test(start_paused = true)]
async fn a_post_is_retried_though_its_backoff_is_not_over() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.failed_at = Some(start_of_test());
    bench.add(post);
    let report = retry(&bench, "a", &Force::No).await;
    assert_eq!(report.outcome, RetryOutcome::Attempted(Outcome::Posted));
    assert_eq!((report.id.as_str(), report.error), ("a", None));
    assert_eq!(report.attempt.unwrap().attempt, 1);
    assert_eq!(bench.tiktok.published(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_fails_says_why() {
    let bench = TestBench::new().await;
    bench.add(due_post("a"));
    bench.tiktok.on(Step::Create, "a", [fail(Category::Network)]);
    let report = retry(&bench, "a", &Force::No).await;
    assert_eq!(report.outcome, RetryOutcome::Attempted(Outcome::Failed));
    assert_eq!(report.error.as_deref(), Some("scripted network"));
}

#[tokio::test(start_paused = true)]
async fn posts_that_are_missing_or_not_failed_are_not_retried() {
    let bench = TestBench::new().await;
    bench.add(due_post("approved"));
    bench.store.memory.set_status("approved", "approved");
    for force in [Force::No, forced()] {
        assert_eq!(retry(&bench, "missing", &force).await.outcome, RetryOutcome::NotFound);
        assert_eq!(retry(&bench, "approved", &force).await.outcome, RetryOutcome::NotFailed);
    }
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_post_that_another_process_works_on_is_busy() {
    let bench = TestBench::new().await;
    let mut claimed = due_post("claimed");
    claimed.retry.claim = Some(live_claim());
    let mut permanent = permanently_failed_post("permanent");
    permanent.retry.claim = Some(live_claim());
    for post in [&claimed, &permanent] {
        bench.add(post.clone());
    }
    assert_eq!(retry(&bench, "claimed", &Force::No).await.outcome, RetryOutcome::Busy);
    assert_eq!(retry(&bench, "claimed", &forced()).await.outcome, RetryOutcome::Busy);
    assert_eq!(retry(&bench, "permanent", &forced()).await.outcome, RetryOutcome::Busy);
    assert_eq!([bench.stored("claimed"), bench.stored("permanent")], [claimed, permanent]);
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_post_that_another_process_takes_meanwhile_is_busy() {
    let bench = TestBench::new().await;
    let mut taken = due_post("a");
    bench.add(taken.clone());
    taken.retry.claim = Some(live_claim());
    bench.store.next_calls(StoreCall::Claim, [StoreReaction::AnswersAfter(seconds(2))]);
    let (report, ()) = tokio::join!(retry(&bench, "a", &Force::No), async {
        tokio::time::sleep(seconds(1)).await;
        bench.add(taken.clone());
    });
    assert_eq!(report.outcome, RetryOutcome::Busy);
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retry_whose_claim_is_lost_on_the_way_is_busy() {
    let bench = TestBench::new().await;
    let mut taken = due_post("a");
    bench.add(taken.clone());
    taken.retry.claim = Some(live_claim());
    bench.tiktok.on(Step::Resume, "a", [Act::Wait(seconds(3600))]);
    let (report, ()) = tokio::join!(retry(&bench, "a", &Force::No), async {
        tokio::time::sleep(seconds(10)).await;
        bench.add(taken.clone());
    });
    assert_eq!(report.outcome, RetryOutcome::Busy);
    assert!(report.error.unwrap().contains("claim was lost"));
    assert_eq!(bench.stored("a"), taken);
}

#[tokio::test(start_paused = true)]
async fn a_permanently_failed_post_is_left_alone_unless_it_is_forced() {
    let bench = TestBench::new().await;
    let mut exhausted = due_post("exhausted");
    exhausted.retry.count = 5;
    for post in [permanently_failed_post("permanent"), exhausted] {
        let id = post.id.to_string();
        bench.add(post.clone());
        assert_eq!(retry(&bench, &id, &Force::No).await.outcome, RetryOutcome::Permanent);
        assert_eq!(bench.stored(&id), post);
    }
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_forced_post_gets_its_retries_back_first() {
    let bench = TestBench::new().await;
    bench.add(permanently_failed_post("a"));
    bench.tiktok.on(Step::Create, "a", [fail(Category::MediaProcessing)]);
    let report = retry(&bench, "a", &forced()).await;
    assert_eq!(report.outcome, RetryOutcome::Attempted(Outcome::Failed));
    assert_eq!(report.attempt.unwrap().attempt, 1);
    let post = bench.stored("a");
    assert_eq!((post.retry.count, post.retry.permanently_failed), (1, false));
    let [before, after] = post.retry.history.as_slice() else { panic!("{:?}", post.retry.history) };
    assert_eq!(before.reset.as_ref().unwrap().by, "eve@host");
    assert_eq!((after.attempt, after.outcome), (1, EntryOutcome::Failed));

    assert_eq!(retry(&bench, "a", &forced()).await.outcome, RetryOutcome::Attempted(Outcome::Posted));
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_of_a_process_that_died_is_resumed_without_force() {
    let bench = TestBench::new().await;
    let mut post = due_post("a");
    post.retry.count = 5;
    post.retry.claim = Some(Claim { by: "dead".to_owned(), until: start_of_test() });
    bench.add(post);
    let report = retry(&bench, "a", &Force::No).await;
    assert_eq!(report.outcome, RetryOutcome::Attempted(Outcome::Posted));
    assert_eq!(report.attempt.unwrap().attempt, 5);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_too_old_is_published_only_by_force() {
    let bench = TestBench::with(|context| context.config.expire = Some(seconds(3600))).await;
    bench.add(due_post("a"));
    let outcome = retry(&bench, "a", &Force::No).await.outcome;
    assert_eq!(outcome, RetryOutcome::Attempted(Outcome::PermanentlyFailed));
    assert!(bench.tiktok.calls().is_empty());
    assert_eq!(retry(&bench, "a", &forced()).await.outcome, RetryOutcome::Attempted(Outcome::Posted));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_post_is_reported_with_its_field() {
    let bench = TestBench::new().await;
    let mut draft = PostDraft::new(PostId::from_text("odd"));
    draft.platform = Some("tiktok".to_owned());
    bench.store.memory.insert(StoredPost::Malformed(draft.malformed("retryHistory", "it is a number")));
    for force in [Force::No, forced()] {
        let report = retry(&bench, "odd", &force).await;
        assert_eq!(report.outcome, RetryOutcome::Malformed);
        assert_eq!(report.error.as_deref(), Some("its field `retryHistory` cannot be used: it is a number"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_of_a_platform_without_credentials_is_left_as_it_is() {
    let bench = TestBench::new().await;
    let mut exhausted = due_post_on(Platform::YouTubeShorts, "exhausted");
    exhausted.retry.count = 5;
    let plain = due_post_on(Platform::YouTubeShorts, "plain");
    for post in [&plain, &exhausted] {
        bench.add(post.clone());
    }
    let outcome = RetryOutcome::NotConfigured(Platform::YouTubeShorts);
    assert_eq!(retry(&bench, "plain", &Force::No).await.outcome, outcome);
    assert_eq!(retry(&bench, "exhausted", &forced()).await.outcome, outcome);
    assert_eq!([bench.stored("plain"), bench.stored("exhausted")], [plain, exhausted]);
}

#[tokio::test(start_paused = true)]
async fn several_posts_are_published_a_gap_apart() {
    let bench = TestBench::with(|context| context.config.gap = seconds(30)).await;
    bench.add_due(&["a", "b", "c"]);
    let platforms = ActivePlatforms::new(&bench.context);
    for id in ["a", "b", "c"] {
        let reports = retry_post(&bench.context, id, None, &Force::No, &platforms).await.unwrap();
        assert_eq!(reports[0].outcome, RetryOutcome::Attempted(Outcome::Posted));
    }
    assert_eq!(bench.tiktok.starts(), ["a at 0", "b at 30", "c at 60"]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_while_a_post_waits_for_the_gap_undoes_its_attempt() {
    let bench = TestBench::with(|context| context.config.gap = seconds(30)).await;
    bench.add_due(&["a", "b"]);
    let platforms = ActivePlatforms::new(&bench.context);
    retry_post(&bench.context, "a", None, &Force::No, &platforms).await.unwrap();
    let (reports, ()) = tokio::join!(retry_post(&bench.context, "b", None, &Force::No, &platforms), async {
        tokio::time::sleep(seconds(5)).await;
        bench.context.shutdown.begin(Signal::Interrupt);
    });
    assert_eq!(reports.unwrap()[0].outcome, RetryOutcome::Attempted(Outcome::Withdrawn));
    assert_eq!(bench.clock.elapsed(), seconds(5));
    let post = bench.stored("b");
    assert_eq!((post.retry.count, post.retry.last_retried_at, post.retry.claim), (0, None, None));
    assert!(post.retry.history.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_id_means_every_delivery_unless_a_platform_is_named() {
    let bench = TestBench::new().await;
    for platform in [Platform::TikTok, Platform::Instagram] {
        bench.add(delivery(platform));
    }
    let [only] = &retry_on(&bench, "a", Some(Platform::Instagram), &Force::No).await[..] else { panic!() };
    assert_eq!((only.platform, only.outcome), (Some(Platform::Instagram), RetryOutcome::Attempted(Outcome::Posted)));
    assert_eq!((bench.tiktok.published().len(), bench.instagram.published().len()), (0, 1));

    let [none] = &retry_on(&bench, "a", Some(Platform::Instagram), &Force::No).await[..] else { panic!() };
    assert_eq!((none.platform, none.outcome), (Some(Platform::Instagram), RetryOutcome::NotFailed));
    assert_eq!(none.error.as_deref(), Some("it is not failed on this platform"));

    bench.add(delivery(Platform::YouTubeShorts));
    let reports = retry_on(&bench, "a", None, &Force::No).await;
    let mut outcomes: Vec<_> = reports.iter().map(|report| (report.platform, report.outcome)).collect();
    outcomes.sort_by_key(|(platform, _)| *platform);
    let expected = [
        (Some(Platform::TikTok), RetryOutcome::Attempted(Outcome::Posted)),
        (Some(Platform::YouTubeShorts), RetryOutcome::NotConfigured(Platform::YouTubeShorts)),
    ];
    assert_eq!(outcomes, expected);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_may_be_published_is_sent_only_when_a_person_has_confirmed_it() {
    let bench = TestBench::new().await;
    let mut ambiguous = permanently_failed_post("ambiguous");
    ambiguous.retry.category = Some(Category::Ambiguous);
    let mut recorded = due_post("recorded");
    recorded.published_id = Some("7301".to_owned());
    for post in [ambiguous, recorded] {
        let id = post.id.clone();
        bench.add(post.clone());
        for force in [Force::No, forced(), forced_if(Confirmed::Only(vec![PostId::from_text("another")]))] {
            let report = retry(&bench, id.as_str(), &force).await;
            assert_eq!((report.outcome, report.may_be_published), (RetryOutcome::Permanent, true));
            assert_eq!(bench.stored(id.as_str()), post);
        }
        let report = retry(&bench, id.as_str(), &forced_if(Confirmed::Only(vec![id.clone()]))).await;
        assert_eq!(report.outcome, RetryOutcome::Attempted(Outcome::Posted));
    }
}
