//! What a pass would do, and why: decided by the rules of a real one, and nothing is written or sent.

use chrono::{DateTime, Utc};

use super::Workshop;
use super::lane::LARGE_PAGE;
use super::pass::{PassOptions, read_unknown_platforms};
use super::report::{DryRunReport, MalformedPost, PlannedPost, PlatformReport, SkipReason, readable};
use crate::post::{DueReason, Eligibility, Post, Totals};
use crate::store::{DueCursor, DueQuery, Scope, StoreError};

/// What a pass would do, decided by the same rules; writes nothing and calls no platform.
///
/// # Errors
/// Where the store fails.
pub async fn dry_run(workshop: &Workshop, options: &PassOptions) -> Result<DryRunReport, StoreError> {
    let started_at = workshop.clock.now();
    let mut report = DryRunReport {
        run_id: uuid::Uuid::new_v4().to_string(),
        started_at,
        finished_at: started_at,
        platforms: Vec::new(),
        posts: Vec::new(),
        malformed: Vec::new(),
    };
    let mut left = options.limit;
    for platform in options.platforms() {
        let is_configured = workshop.publishers.contains_key(&platform);
        let query = DueQuery { policy: workshop.policy, now: started_at, scope: Scope::Platform(platform) };
        let mut totals = Totals::default();
        // Without credentials a platform's posts are left exactly as they are.
        if is_configured {
            totals.flagged = count_exhausted(workshop, &query, &mut report.malformed).await?;
        }
        let mut after: Option<DueCursor> = None;
        loop {
            let page = workshop.store.due_posts(&query, after.as_ref(), LARGE_PAGE).await?;
            for post in readable(page.posts, &mut report.malformed) {
                let Eligibility::Due(reason) = workshop.policy.eligibility(&post, started_at) else { continue };
                let skipped = match left {
                    _ if !is_configured => Some(SkipReason::NotConfigured),
                    Some(0) => Some(SkipReason::Limit),
                    _ => None,
                };
                if skipped.is_none() {
                    left = left.map(|left| left - 1);
                }
                totals.skip(1);
                report.posts.push(plan(workshop, &post, reason, skipped, started_at));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let credential_expiry = None;
        report.platforms.push(PlatformReport { platform, totals, is_configured, given_up: None, credential_expiry });
    }
    if options.covers_unknown_platforms() {
        report.malformed.extend(read_unknown_platforms(workshop).await?);
    }
    report.finished_at = workshop.clock.now();
    Ok(report)
}

/// How many posts a pass would mark, since their retries were spent already.
async fn count_exhausted(
    workshop: &Workshop,
    query: &DueQuery,
    malformed: &mut Vec<MalformedPost>,
) -> Result<u64, StoreError> {
    let mut count = 0;
    let mut after: Option<DueCursor> = None;
    loop {
        let page = workshop.store.exhausted_posts(query, after.as_ref(), LARGE_PAGE).await?;
        count += readable(page.posts, malformed).len() as u64;
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

fn plan(
    workshop: &Workshop,
    post: &Post,
    due: DueReason,
    skipped: Option<SkipReason>,
    now: DateTime<Utc>,
) -> PlannedPost {
    let attempt = match due {
        DueReason::Interrupted => post.retry.count.max(1),
        DueReason::BackoffOver { .. } | DueReason::NoDate | DueReason::Processing => post.retry.count + 1,
    };
    let is_too_old = workshop.pace.is_too_old(post.failed_at, now);
    let why = match due {
        DueReason::BackoffOver { since } => {
            let since = since.format("%Y-%m-%dT%H:%M:%SZ");
            format!("due since {since}")
        }
        DueReason::NoDate => "due, since it carries no date to wait from".to_owned(),
        DueReason::Processing => "due, since the platform was still processing it".to_owned(),
        DueReason::Interrupted => "due, since the process that worked on it died".to_owned(),
    };
    let action = match (skipped, &post.retry.ticket) {
        (Some(SkipReason::NotConfigured), _) => {
            format!("{} is not configured, so it would be left as it is", post.platform.title())
        }
        (Some(SkipReason::Limit), _) => "it would not be started, since the limit is reached before it".to_owned(),
        (None, Some(_)) => format!("its earlier upload would be looked up before attempt {attempt} sends anything"),
        (None, None) if is_too_old => "it failed too long ago and would be given up".to_owned(),
        (None, None) => format!("attempt {attempt} would publish it"),
    };
    PlannedPost {
        id: post.id.clone(),
        platform: post.platform,
        title: post.content.title.clone(),
        attempt,
        due_since: workshop.policy.next_retry_at(post, now),
        category: post.retry.category,
        error: post.retry.error.clone(),
        reason: format!("{why}; {action}"),
        skipped,
    }
}
