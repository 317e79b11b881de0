//! What a pass would do, and why. It uses the same rules as a real pass, but writes and sends nothing.

use chrono::{DateTime, Utc};

use super::Records;
use super::context::RetryContext;
use super::pass::{PassOptions, read_unknown_platforms};
use super::report::{DryRunReport, PlannedPost, PlatformReport, SkipReason, take_readable};
use super::worker::LARGE_PAGE;
use crate::post::{DueReason, Eligibility, Failure, Post, Totals};
use crate::store::{Backlog, Pages, Scope, StoreError};

/// What a pass would do, decided by the same rules. It writes nothing and calls no platform.
///
/// # Errors
/// Where the store fails.
pub async fn dry_run(context: &RetryContext, options: &PassOptions) -> Result<DryRunReport, StoreError> {
    let started_at = context.clock.now();
    let mut report = DryRunReport {
        run_id: uuid::Uuid::new_v4().to_string(),
        started_at,
        finished_at: started_at,
        platforms: Vec::new(),
        posts: Records::default(),
        would_start: 0,
        would_fail: 0,
        malformed: Records::default(),
    };
    let mut left = options.limit;
    for platform in options.platforms() {
        let is_configured = context.publishers.contains_key(&platform);
        let pages = |backlog| {
            Pages::new(context.store.as_ref(), backlog, context.policy, Scope::Platform(platform), LARGE_PAGE)
        };
        let mut totals = Totals::default();
        // Without credentials a platform's posts are not changed.
        if is_configured {
            let mut exhausted = pages(Backlog::Exhausted);
            while let Some(page) = exhausted.next(started_at).await? {
                totals.flagged += take_readable(page, &mut report.malformed).len() as u64;
            }
        }
        let mut due = pages(Backlog::Due);
        while let Some(page) = due.next(started_at).await? {
            for post in take_readable(page, &mut report.malformed) {
                let Eligibility::Due(reason) = context.policy.eligibility(&post, started_at) else { continue };
                if post.published_id.is_some() && is_configured {
                    totals.flagged += 1;
                    continue;
                }
                let skipped = match left {
                    _ if !is_configured => Some(SkipReason::NotConfigured),
                    Some(0) => Some(SkipReason::Limit),
                    _ => None,
                };
                if skipped.is_none() {
                    left = left.map(|left| left - 1);
                }
                totals.skip(1);
                let mut planned = plan(context, &post, reason, skipped, started_at);
                if skipped.is_none() {
                    planned.problem = foreseen_failure(context, &post).await.map(|failure| failure.message);
                    report.would_start += 1;
                    report.would_fail += u64::from(planned.problem.is_some());
                }
                report.posts.push(planned);
            }
        }
        report.platforms.push(PlatformReport {
            platform,
            totals,
            is_configured,
            given_up: None,
            credential_expiry: None,
        });
    }
    if options.covers_unknown_platforms() {
        read_unknown_platforms(context, &mut report.malformed).await?;
    }
    report.finished_at = context.clock.now();
    Ok(report)
}

/// What a pass would do with a due post, and why.
fn plan(
    context: &RetryContext,
    post: &Post,
    due: DueReason,
    skipped: Option<SkipReason>,
    now: DateTime<Utc>,
) -> PlannedPost {
    let attempt = match due {
        DueReason::Interrupted => post.retry.count.max(1),
        DueReason::BackoffOver { .. } | DueReason::NoDate | DueReason::Processing => post.retry.count.saturating_add(1),
    };
    let is_expired = context.config.is_expired(post.failed_at, now);
    let why = match due {
        DueReason::BackoffOver { since } => {
            let since = since.format("%Y-%m-%dT%H:%M:%SZ");
            format!("due since {since}")
        }
        DueReason::NoDate => "due, because it has no date to count the backoff from".to_owned(),
        DueReason::Processing => "due, because the platform was still processing it".to_owned(),
        DueReason::Interrupted => "due, because the process that had claimed it died".to_owned(),
    };
    let action = match (skipped, post.has_earlier_upload()) {
        (Some(SkipReason::NotConfigured), _) => {
            format!("{} is not configured, so the post would be left unchanged", post.platform.title())
        }
        (Some(SkipReason::Limit), _) => "it would not be started, because the limit is reached first".to_owned(),
        (None, true) => format!("attempt {attempt} would check its earlier upload before it sends anything"),
        (None, false) if is_expired => "it failed too long ago and would become permanently failed".to_owned(),
        (None, false) => format!("attempt {attempt} would publish it"),
    };
    PlannedPost {
        id: post.id.clone(),
        platform: post.platform,
        title: post.content.title.clone(),
        attempt,
        due_since: context.policy.next_retry_at(post, now),
        category: post.retry.category,
        error: post.retry.error.clone(),
        reason: format!("{why}; {action}"),
        skipped,
        problem: None,
    }
}

/// Why the file or the text of a post could not be sent. Of one with an earlier upload that is not known before that has
/// been looked up.
async fn foreseen_failure(context: &RetryContext, post: &Post) -> Option<Failure> {
    if post.has_earlier_upload() {
        return None;
    }
    context.publishers.get(&post.platform)?.check(post).await.err()?.into_failure().ok()
}
