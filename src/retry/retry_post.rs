//! Retrying one post on request, whatever its backoff.

use std::collections::HashMap;
use std::sync::Arc;

use super::attempt::{AttemptResult, Expiry, execute};
use super::context::{ActivePlatform, RetryContext};
use super::report::{AttemptReport, already_published};
use crate::post::{Outcome, Platform, Post};
use crate::store::{Found, Reset, ResetOptions, StoreError};

/// The result of a request to retry a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// An attempt was made.
    Attempted(Outcome),
    /// There is no such post.
    NotFound,
    /// It is not failed.
    NotFailed,
    /// Another process works on it.
    Busy,
    /// It is permanently failed, and `--force` was not given.
    Permanent,
    /// It cannot be read.
    Malformed,
    /// Its platform has no credentials.
    NotConfigured(Platform),
}

/// A request and its result.
#[derive(Debug)]
pub struct RetryReport {
    /// The id as it was given.
    pub id: String,
    /// What became of it.
    pub outcome: RetryOutcome,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// The attempt, where one was made.
    pub attempt: Option<AttemptReport>,
}

/// Whether a permanently failed post is retried too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Force {
    /// Its retry count is reset first.
    Yes {
        /// The person who does so, as `user@host`.
        by: String,
    },
    /// It is not changed.
    No,
}

/// The platforms of a command that retries several posts, so that the gap is between all of them.
#[derive(Debug)]
pub struct ActivePlatforms(HashMap<Platform, Arc<ActivePlatform>>);

impl ActivePlatforms {
    /// All configured platforms.
    pub fn new(context: &RetryContext) -> Self {
        let active = |platform| Some((platform, context.activate(platform)?));
        Self(Platform::ALL.into_iter().filter_map(active).collect())
    }
}

/// Retries the post with this id, as people write it.
///
/// # Errors
/// Where the store fails.
pub async fn retry_post(
    context: &RetryContext,
    id: &str,
    force: &Force,
    platforms: &ActivePlatforms,
) -> Result<RetryReport, StoreError> {
    let ended = |outcome, error: Option<&str>| {
        Ok(RetryReport { id: id.to_owned(), outcome, error: error.map(str::to_owned), attempt: None })
    };
    let mut found = context.store.find(id).await?;
    if let (Found::Failed(stored), Force::Yes { by }) = (&found, force)
        && let Some(post) = stored.readable()
        && (post.retry.permanently_failed || is_exhausted(context, post))
        && context.publishers.contains_key(&post.platform)
    {
        match context.store.reset(&post.id, by, &ResetOptions::default()).await? {
            Reset::Done => found = context.store.find(id).await?,
            Reset::Busy => return ended(RetryOutcome::Busy, Some(BUSY)),
            Reset::Changed => return ended(RetryOutcome::Busy, Some(BUSY)),
            Reset::NotFailed => return ended(RetryOutcome::NotFailed, Some("it is not failed any more")),
        }
    }
    let post = match found {
        Found::Nothing => return ended(RetryOutcome::NotFound, Some("there is no such post")),
        Found::NotFailed(_) => return ended(RetryOutcome::NotFailed, Some("it is not failed")),
        Found::Failed(stored) => match stored.into_result() {
            Ok(post) => post,
            Err(malformed) => {
                let text = format!("its field `{}` cannot be used: {}", malformed.field, malformed.problem);
                return ended(RetryOutcome::Malformed, Some(&text));
            }
        },
    };
    if post.retry.claim.as_ref().is_some_and(|claim| claim.is_live(context.clock.now())) {
        return ended(RetryOutcome::Busy, Some(BUSY));
    }
    if post.retry.permanently_failed || (*force == Force::No && is_exhausted(context, &post)) {
        return ended(RetryOutcome::Permanent, Some("it is permanently failed"));
    }
    if let Some(id) = post.published_id.as_ref().filter(|_| *force == Force::No) {
        return ended(RetryOutcome::Permanent, Some(&already_published(&post, id)));
    }
    let Some(platform) = platforms.0.get(&post.platform) else {
        return ended(RetryOutcome::NotConfigured(post.platform), Some("its platform is not configured"));
    };
    let expiry = if *force == Force::No { Expiry::Observed } else { Expiry::Ignored };
    match execute(context, platform, &post, expiry, None).await? {
        AttemptResult::Completed(report, _) => Ok(RetryReport {
            id: id.to_owned(),
            outcome: RetryOutcome::Attempted(report.outcome),
            error: report.error.clone(),
            attempt: Some(*report),
        }),
        AttemptResult::NotClaimed => ended(RetryOutcome::Busy, Some(BUSY)),
        AttemptResult::LeaseLost => {
            ended(RetryOutcome::Busy, Some("its claim was lost during the attempt; the next pass finishes it"))
        }
    }
}

/// Whether its retries are used up. If the process died during the last attempt, that attempt is resumed.
fn is_exhausted(context: &RetryContext, post: &Post) -> bool {
    context.policy.is_exhausted(post.retry.count) && post.retry.claim.is_none()
}

const BUSY: &str = "another process is retrying it right now";
