//! What a dry run says that a pass would do, beside what a pass does.

use chrono::TimeDelta;

use super::faulty_store::StoreCall;
use super::{PassOptions, TestBench, all, due_post, due_post_on, earlier_ticket, report_on, seconds, start_of_test};
use crate::post::{AttemptCounts, Category, Claim, Platform, Post, PostDraft, PostId, Totals};
use crate::retry::{DryRunReport, Obstacle, SkipReason, dry_run};
use crate::store::{GivenUpRecord, PlatformRun, PostStore, RunOutcome, RunRecord, StoredPost};

/// A TikTok post that failed so long before the test began.
fn failed(id: &str, minutes: i64) -> Post {
    let mut post = due_post(id);
    post.failed_at = Some(start_of_test() - TimeDelta::minutes(minutes));
    post
}

/// A post of every kind; those that failed more than a day ago are too old.
async fn bench_with_every_kind() -> TestBench {
    let bench = TestBench::with(|context| context.config.expire = Some(seconds(24 * 3600))).await;
    let mut undated = due_post("undated");
    undated.failed_at = None;
    let expired = failed("expired", 48 * 60);
    let mut upload = failed("upload", 5 * 60);
    upload.retry.ticket = Some(earlier_ticket());
    let mut left = failed("left", 4 * 60);
    left.left_upload = Some("v_1".to_owned());
    left.retry.count = 1;
    let mut broken = failed("broken", 3 * 60);
    broken.retry.count = 1;
    broken.retry.claim = Some(Claim { by: "dead".to_owned(), until: start_of_test() });
    let mut processing = failed("processing", 10);
    processing.retry.category = Some(Category::Processing);
    processing.retry.ticket = Some(earlier_ticket());
    let mut claimed = due_post("claimed");
    claimed.retry.claim = Some(Claim { by: "alive".to_owned(), until: start_of_test() + TimeDelta::hours(1) });
    let mut given_up = due_post("given up");
    given_up.retry.permanently_failed = true;
    let mut exhausted = due_post("exhausted");
    exhausted.retry.count = 5;
    for post in [undated, expired, upload, left, broken, processing, claimed, given_up, exhausted] {
        bench.add(post);
    }
    bench.add(due_post("plain"));
    bench.add(failed("waiting", 10));
    bench.add(due_post_on(Platform::YouTubeShorts, "elsewhere"));
    let mut draft = PostDraft::new(PostId::from_text("odd"));
    draft.platform = Some("tiktok".to_owned());
    bench.store.memory.insert(StoredPost::Malformed(draft.malformed("retryHistory", "it is a number")));
    bench
}

async fn plan(bench: &TestBench, options: &PassOptions) -> DryRunReport {
    dry_run(&bench.context, options).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_what_would_be_done_with_every_due_post_and_why() {
    let bench = bench_with_every_kind().await;
    let report = plan(&bench, &PassOptions::default()).await;
    let posts = all(&report.posts);
    let planned: Vec<_> = posts.iter().map(|post| (post.id.as_str(), post.reason.as_str())).collect();
    let look_up = |attempt| format!("attempt {attempt} would check its earlier upload before it sends anything");
    assert_eq!(
        planned,
        [
            ("undated", "due, because it has no date to count the backoff from; attempt 1 would publish it"),
            ("expired", "due since 2025-12-30T01:00:00Z; it failed too long ago and would become permanently failed"),
            ("upload", format!("due since 2025-12-31T20:00:00Z; {}", look_up("1")).as_str()),
            ("left", format!("due since 2025-12-31T22:00:00Z; {}", look_up("2")).as_str()),
            ("broken", "due, because the process that had claimed it died; attempt 1 would publish it"),
            ("plain", "due since 2025-12-31T23:30:00Z; attempt 1 would publish it"),
            ("processing", format!("due, because the platform was still processing it; {}", look_up("1")).as_str()),
            (
                "elsewhere",
                "due since 2025-12-31T23:30:00Z; YouTube is not configured, so the post would be left unchanged"
            ),
        ]
    );
    let skipped: Vec<_> = all(&report.posts).iter().filter_map(|post| post.skipped).collect();
    assert_eq!(skipped, [SkipReason::NotConfigured]);
    assert_eq!(report.malformed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_decides_as_the_pass_after_it() {
    let bench = bench_with_every_kind().await;
    let planned = plan(&bench, &PassOptions::default()).await;
    let done = bench.run().await;
    let planned_posts = all(&planned.posts).into_iter().filter(|post| post.skipped.is_none());
    let mut planned_posts: Vec<_> = planned_posts.map(|post| (post.id.clone(), post.attempt)).collect();
    let mut started: Vec<_> = all(&done.posts).iter().map(|post| (post.id.clone(), post.attempt)).collect();
    planned_posts.sort();
    started.sort();
    assert_eq!(planned_posts, started);
    for platform in &planned.platforms {
        let real = report_on(&done, platform.platform);
        assert_eq!(platform.is_configured, real.is_configured);
        assert_eq!(platform.totals.due, real.totals.due);
        assert_eq!(platform.totals.flagged, real.totals.flagged);
    }
    assert_eq!(all(&planned.malformed), all(&done.malformed));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_writes_nothing_and_asks_no_platform() {
    let bench = bench_with_every_kind().await;
    let ids = ["expired", "upload", "left", "broken", "plain", "processing", "waiting", "claimed", "exhausted"];
    let before = ids.map(|id| bench.stored(id));
    plan(&bench, &PassOptions::default()).await;
    assert_eq!(ids.map(|id| bench.stored(id)), before);
    for call in [StoreCall::Claim, StoreCall::MarkExhausted, StoreCall::StoreTicket, StoreCall::Settle] {
        assert_eq!(bench.store.calls(call), 0, "{call:?}");
    }
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_which_posts_the_limit_leaves_out() {
    let bench = TestBench::new().await;
    bench.add_due(&["a", "b", "c"]);
    bench.add(due_post_on(Platform::Instagram, "i"));
    let report = plan(&bench, &PassOptions { limit: Some(2), ..PassOptions::default() }).await;
    let posts = all(&report.posts);
    let skipped: Vec<_> = posts.iter().map(|post| (post.id.as_str(), post.skipped)).collect();
    let limit = Some(SkipReason::Limit);
    assert_eq!(skipped, [("a", None), ("b", None), ("c", limit), ("i", limit)]);
    let tiktok = report.platforms.iter().find(|entry| entry.platform == Platform::TikTok).unwrap();
    assert_eq!(tiktok.totals, Totals { due: 3, skipped: 3, ..Totals::default() });
}

/// Id, reason and problem of every due post.
fn planned(report: &DryRunReport) -> Vec<(String, String, Option<Obstacle>)> {
    all(&report.posts).into_iter().map(|post| (post.id.to_string(), post.reason, post.problem)).collect()
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_a_problem_of_the_first_post_that_needs_them() {
    let bench = TestBench::with(|context| context.config.expire = Some(seconds(24 * 3600))).await;
    bench.add(due_post("plain"));
    bench.add(failed("expired", 48 * 60));
    let mut upload = failed("upload", 5 * 60);
    upload.retry.ticket = Some(earlier_ticket());
    bench.add(upload);
    bench.add(due_post_on(Platform::Instagram, "other"));
    bench.tiktok.credentials_expire(start_of_test() - TimeDelta::hours(3));
    let report = plan(&bench, &PassOptions::default()).await;
    let text = "the stored TikTok credentials have expired; renew TIKTOK_REFRESH_TOKEN";
    let deferral = Some(Obstacle::Deferral(text.to_owned()));
    let tail = |reason: &str| reason.split_once("; ").unwrap().1.to_owned();
    let told: Vec<_> = planned(&report).into_iter().map(|(id, reason, problem)| (id, tail(&reason), problem)).collect();
    let row = |id: &str, reason: String, problem| (id.to_owned(), reason, problem);
    assert_eq!(
        told,
        [
            row("expired", "it failed too long ago and would become permanently failed".to_owned(), None),
            row("upload", format!("it would be deferred: {text}"), deferral),
            row("plain", "it would not be started, because TikTok is skipped after a refusal".to_owned(), None),
            row("other", "attempt 1 would publish it".to_owned(), None),
        ]
    );
    assert_eq!((report.would_start, report.would_fail, report.would_be_deferred), (3, 0, 1));
    let expiry = |platform: Platform| {
        report.platforms.iter().find(|entry| entry.platform == platform).unwrap().credential_expiry
    };
    assert_eq!(expiry(Platform::TikTok).unwrap().at, start_of_test() - TimeDelta::hours(3));
    assert_eq!(expiry(Platform::Instagram), None);
    assert!(bench.tiktok.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_access_token_that_still_works_publishes_although_the_refresh_token_has_expired() {
    let bench = TestBench::new().await;
    bench.add(due_post("plain"));
    let expired_at = start_of_test() - TimeDelta::hours(3);
    bench.tiktok.credentials_expire_before(expired_at, start_of_test() + TimeDelta::hours(1));
    let report = plan(&bench, &PassOptions::default()).await;
    assert_eq!(all(&report.posts)[0].problem, None);
    assert_eq!(report.platforms[0].credential_expiry.unwrap().at, expired_at);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_the_latest_run_gave_up_is_named_and_qualifies_what_would_happen() {
    let bench = TestBench::new().await;
    bench.add(due_post("plain"));
    bench.add(due_post_on(Platform::Instagram, "other"));
    let record =
        |category| Some(GivenUpRecord { category, reason: "said no".to_owned(), waiting: 1, since: start_of_test() });
    let run_on = |platform, category| PlatformRun { platform, totals: Totals::default(), given_up: record(category) };
    let run = RunRecord {
        id: "r".to_owned(),
        command: "run",
        started_at: start_of_test(),
        finished_at: start_of_test(),
        host: "here".to_owned(),
        outcome: RunOutcome::Attention,
        totals: Totals::default(),
        by_platform: vec![
            run_on(Platform::TikTok, Category::Auth),
            // A quota ends without a person, and YouTube is not configured.
            run_on(Platform::Instagram, Category::QuotaExhausted),
            run_on(Platform::YouTubeShorts, Category::Auth),
        ],
        attempts: AttemptCounts::default(),
    };
    bench.store.record_run(&run).await.unwrap();
    let report = plan(&bench, &PassOptions::default()).await;
    let due = "due since 2025-12-31T23:30:00Z; attempt 1 would publish it";
    let row = |id: &str, reason: String| (id.to_owned(), reason, None::<Obstacle>);
    assert_eq!(
        planned(&report),
        [row("plain", format!("{due}, unless TikTok still refuses the credentials")), row("other", due.to_owned())]
    );
    let refused: Vec<_> = report.refused.iter().map(|(platform, record)| (*platform, record.category)).collect();
    assert_eq!(refused, [(Platform::TikTok, Category::Auth)]);
    // Nothing on TikTok is due, so nothing waits there.
    let elsewhere = PassOptions { platforms: vec![Platform::Instagram], ..PassOptions::default() };
    assert!(plan(&bench, &elsewhere).await.refused.is_empty());
}
