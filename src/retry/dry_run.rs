//! What a pass would do, and why. It uses the same rules as a real pass, but writes and sends nothing.

use chrono::{DateTime, Utc};

use super::Records;
use super::context::RetryContext;
use super::pass::{PassOptions, read_unknown_platforms};
use super::report::{DryRunReport, Obstacle, PlannedPost, PlatformReport, SkipReason, take_readable};
use super::worker::LARGE_PAGE;
use crate::platform::CredentialExpiry;
use crate::post::{Category, DueReason, Eligibility, Failure, Platform, Post, Totals};
use crate::store::{Backlog, GivenUpRecord, Pages, Scope, StoreError};

/// What is known of a platform's account without asking the platform.
#[derive(Debug, Default)]
struct Account {
    /// When the stored credentials expired, if they have.
    expired: Option<CredentialExpiry>,
    /// Why a person was needed in the latest run.
    refused: Option<GivenUpRecord>,
}

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
        would_be_deferred: 0,
        refused: Vec::new(),
        malformed: Records::default(),
    };
    let mut left = options.limit;
    let given_up = context.store.given_up_platforms().await?;
    for platform in options.platforms() {
        let is_configured = context.publishers.contains_key(&platform);
        let account = read_account(context, platform, &given_up, started_at).await;
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
        // A refusal ends the pass for the platform.
        let mut is_refused = false;
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
                    _ if is_refused => Some(SkipReason::Refused),
                    Some(0) => Some(SkipReason::Limit),
                    _ => None,
                };
                if skipped.is_none() {
                    left = left.map(|left| left - 1);
                }
                totals.skip(1);
                let planned = plan(context, &post, reason, skipped, &account, started_at).await;
                is_refused |= matches!(planned.problem, Some(Obstacle::Deferral(_)));
                if skipped.is_none() {
                    report.would_start += 1;
                    report.would_fail += u64::from(matches!(planned.problem, Some(Obstacle::Failure(_))));
                    report.would_be_deferred += u64::from(matches!(planned.problem, Some(Obstacle::Deferral(_))));
                }
                report.posts.push(planned);
            }
        }
        let is_due = totals.due > 0;
        report.platforms.push(PlatformReport {
            platform,
            totals,
            is_configured,
            has_accepted_credentials: false,
            given_up: None,
            credential_expiry: account.expired.filter(|_| is_due),
        });
        report.refused.extend(account.refused.filter(|_| is_due).map(|record| (platform, record)));
    }
    if options.covers_unknown_platforms() {
        read_unknown_platforms(context, &mut report.malformed).await?;
    }
    report.finished_at = context.clock.now();
    Ok(report)
}

/// What is known of the account of a platform; nothing if the platform is not configured.
async fn read_account(
    context: &RetryContext,
    platform: Platform,
    given_up: &[(Platform, GivenUpRecord)],
    now: DateTime<Utc>,
) -> Account {
    let Some(publisher) = context.publishers.get(&platform) else { return Account::default() };
    let expiry = publisher.credential_expiry().await.unwrap_or_else(|error| {
        log::debug!("{platform}: failed to read when its credentials expire: {error}");
        None
    });
    let refused = given_up.iter().find(|(known, record)| *known == platform && record.category.needs_person());
    Account { expired: expiry.filter(|expiry| expiry.at <= now), refused: refused.map(|(_, record)| record.clone()) }
}

/// What a pass would do with a due post, and why.
async fn plan(
    context: &RetryContext,
    post: &Post,
    due: DueReason,
    skipped: Option<SkipReason>,
    account: &Account,
    now: DateTime<Utc>,
) -> PlannedPost {
    let attempt = match due {
        DueReason::Interrupted => post.retry.count.max(1),
        DueReason::BackoffOver { .. } | DueReason::NoDate | DueReason::Processing => post.retry.count.saturating_add(1),
    };
    let why = match due {
        DueReason::BackoffOver { since } => {
            let since = since.format("%Y-%m-%dT%H:%M:%SZ");
            format!("due since {since}")
        }
        DueReason::NoDate => "due, because it has no date to count the backoff from".to_owned(),
        DueReason::Processing => "due, because the platform was still processing it".to_owned(),
        DueReason::Interrupted => "due, because the process that had claimed it died".to_owned(),
    };
    let name = post.platform.title();
    // Only the platform knows whether this is still so.
    let unless = match account.refused.as_ref().map(|record| record.category) {
        Some(Category::Auth) => format!(", unless {name} still refuses the credentials"),
        Some(_) => format!(", unless {name} still restricts the account"),
        None => String::new(),
    };
    let problem = match skipped {
        Some(_) => None,
        None => foreseen_obstacle(context, post, account, now).await,
    };
    let action = match (skipped, &problem) {
        (Some(SkipReason::NotConfigured), _) => {
            format!("{name} is not configured, so the post would be left unchanged")
        }
        (Some(SkipReason::Refused), _) => {
            format!("it would not be started, because {name} is skipped after a refusal")
        }
        (Some(SkipReason::Limit), _) => "it would not be started, because the limit is reached first".to_owned(),
        (None, Some(problem)) => format!("it {problem}"),
        (None, None) if post.has_earlier_upload() => {
            format!("attempt {attempt} would check its earlier upload before it sends anything{unless}")
        }
        (None, None) if context.config.is_expired(post.failed_at, now) => {
            "it failed too long ago and would become permanently failed".to_owned()
        }
        (None, None) => format!("attempt {attempt} would publish it{unless}"),
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
        problem,
    }
}

/// Why a post could not be published, as far as that is known without its platform.
async fn foreseen_obstacle(
    context: &RetryContext,
    post: &Post,
    account: &Account,
    now: DateTime<Utc>,
) -> Option<Obstacle> {
    // What an earlier upload needs is not known before it has been checked.
    if !post.has_earlier_upload() {
        // A post that is too old becomes permanently failed before its file and the credentials matter.
        if context.config.is_expired(post.failed_at, now) {
            return None;
        }
        if let Some(failure) = foreseen_failure(context, post).await {
            return Some(Obstacle::Failure(failure.message));
        }
    }
    let expiry = account.expired.filter(|expiry| expiry.is_over(now))?;
    let name = post.platform.title();
    Some(Obstacle::Deferral(format!("the stored {name} credentials have expired; {}", expiry.advice)))
}

/// Why the file or the text of a post could not be sent.
async fn foreseen_failure(context: &RetryContext, post: &Post) -> Option<Failure> {
    context.publishers.get(&post.platform)?.check(post).await.err()?.into_failure().ok()
}
