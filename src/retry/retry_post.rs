//! Retrying one post on request, whatever its backoff. A post for several platforms has several deliveries; each is
//! retried by itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::attempt::{AttemptResult, Expiry, execute};
use super::context::{ActivePlatform, RetryContext};
use super::report::{AttemptReport, already_published};
use crate::post::{Category, Outcome, Platform, Post, PostId};
use crate::store::{Found, Reset, ResetOptions, StoreError, StoredPost, platforms_to_name};

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
    /// The platform of the delivery, or one of a post that is not failed, as far as it is known.
    pub platform: Option<Platform>,
    /// The name of the platform of the delivery, where it is not one that is known.
    pub unknown_platform: Option<String>,
    /// What became of it.
    pub outcome: RetryOutcome,
    /// Whether it may be on its platform already, so that a person has to look there.
    pub may_be_published: bool,
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
        /// Which of the posts that may be published already.
        confirmed: Confirmed,
    },
    /// It is not changed.
    No,
}

/// The posts that may be on their platforms already and that a person wants to be sent all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// Every one.
    All,
    /// Only these.
    Only(Vec<PostId>),
}

impl Confirmed {
    fn contains(&self, id: &PostId) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
        }
    }
}

/// Whether a failed post may be on its platform already, and only a person can find out.
pub fn may_be_published(post: &Post) -> bool {
    post.published_id.is_some() || post.retry.category == Some(Category::Ambiguous)
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

    /// Whether a platform has accepted the account's credentials.
    pub(super) fn has_accepted_credentials(&self, platform: Platform) -> bool {
        self.0.get(&platform).is_some_and(|active| active.probe.is_accepted())
    }
}

/// Retries the post with this id, as people write it: each of its failed deliveries, or the one for `only`. There is at
/// least one report.
///
/// # Errors
/// If the store fails.
pub async fn retry_post(
    context: &RetryContext,
    id: &str,
    only: Option<Platform>,
    force: &Force,
    platforms: &ActivePlatforms,
) -> Result<Vec<RetryReport>, StoreError> {
    let none_on = |platform, outcome, error| RetryReport::without_attempt(id, platform, outcome, error);
    let deliveries = match context.store.find(id).await? {
        Found::Nothing => return Ok(vec![none_on(None, RetryOutcome::NotFound, "there is no such post")]),
        Found::NotFailed(platforms) => {
            let named = platforms_to_name(&platforms, only.as_slice()).into_iter();
            return Ok(named.map(|platform| none_on(platform, RetryOutcome::NotFailed, "it is not failed")).collect());
        }
        Found::Failed(deliveries) => deliveries,
    };
    let is_wanted = |stored: &StoredPost| only.is_none() || stored.platform() == only;
    let mut reports = Vec::new();
    for stored in deliveries.into_iter().filter(is_wanted) {
        if !reports.is_empty() && context.shutdown.is_stopping() {
            break;
        }
        let request = Request::new(context, id, force, &stored);
        // While an earlier delivery was retried, another process may have worked on this one.
        let current = if reports.is_empty() { Some(stored) } else { request.read_again(stored.id()).await? };
        reports.push(match current {
            Some(stored) => request.retry(stored, platforms).await?,
            None => request.ended(RetryOutcome::NotFailed, NOT_FAILED),
        });
    }
    if reports.is_empty() {
        reports.push(none_on(only, RetryOutcome::NotFailed, "it is not failed on this platform"));
    }
    Ok(reports)
}

impl RetryReport {
    fn without_attempt(id: &str, platform: Option<Platform>, outcome: RetryOutcome, error: &str) -> Self {
        let (id, error) = (id.to_owned(), Some(error.to_owned()));
        Self { id, platform, unknown_platform: None, outcome, may_be_published: false, error, attempt: None }
    }
}

/// A request to retry one delivery.
struct Request<'a> {
    context: &'a RetryContext,
    id: &'a str,
    force: &'a Force,
    platform: Option<Platform>,
    unknown_platform: Option<String>,
}

impl<'a> Request<'a> {
    fn new(context: &'a RetryContext, id: &'a str, force: &'a Force, stored: &StoredPost) -> Self {
        let platform = stored.platform();
        let name = stored.platform_name().map(str::to_owned);
        Self { context, id, force, platform, unknown_platform: name.filter(|_| platform.is_none()) }
    }

    fn ended(&self, outcome: RetryOutcome, error: &str) -> RetryReport {
        let unknown_platform = self.unknown_platform.clone();
        let report = RetryReport::without_attempt(self.id, self.platform, outcome, error);
        RetryReport { unknown_platform, ..report }
    }

    /// The delivery as it is now, if it is still failed.
    async fn read_again(&self, delivery: &PostId) -> Result<Option<StoredPost>, StoreError> {
        Ok(match self.context.store.find(self.id).await? {
            Found::Failed(deliveries) => deliveries.into_iter().find(|stored| stored.id() == delivery),
            Found::NotFailed(_) | Found::Nothing => None,
        })
    }

    async fn retry(&self, stored: StoredPost, platforms: &ActivePlatforms) -> Result<RetryReport, StoreError> {
        let context = self.context;
        let mut post = match stored.into_result() {
            Ok(post) => post,
            Err(malformed) => {
                let text = format!("its field `{}` cannot be used: {}", malformed.field, malformed.problem);
                return Ok(self.ended(RetryOutcome::Malformed, &text));
            }
        };
        if let Some(refused) = self.refuse_doubtful(&post) {
            return Ok(refused);
        }
        if let Force::Yes { by, .. } = self.force
            && (post.retry.permanently_failed || is_exhausted(context, &post))
            && context.publishers.contains_key(&post.platform)
        {
            match context.store.reset(&post.id, by, &ResetOptions::default()).await {
                Ok(Reset::Done) => {}
                Ok(Reset::Busy | Reset::Changed) => return Ok(self.ended(RetryOutcome::Busy, BUSY)),
                Ok(Reset::NotFailed) => return Ok(self.ended(RetryOutcome::NotFailed, NOT_FAILED)),
                Err(refused) if refused.is_for_one_post() => {
                    return Ok(self.ended(RetryOutcome::Malformed, &refused.to_string()));
                }
                Err(failed) => return Err(failed),
            }
            match self.read_again(&post.id).await?.map(StoredPost::into_result) {
                Some(Ok(current)) => post = current,
                Some(Err(_)) => return Ok(self.ended(RetryOutcome::Busy, BUSY)),
                None => return Ok(self.ended(RetryOutcome::NotFailed, NOT_FAILED)),
            }
        }
        if post.retry.claim.as_ref().is_some_and(|claim| claim.is_live(context.clock.now())) {
            return Ok(self.ended(RetryOutcome::Busy, BUSY));
        }
        if post.retry.permanently_failed || (*self.force == Force::No && is_exhausted(context, &post)) {
            return Ok(self.ended(RetryOutcome::Permanent, "it is permanently failed"));
        }
        let Some(platform) = platforms.0.get(&post.platform) else {
            let outcome = RetryOutcome::NotConfigured(post.platform);
            return Ok(self.ended(outcome, "its platform is not configured"));
        };
        let expiry = if *self.force == Force::No { Expiry::Observed } else { Expiry::Ignored };
        Ok(match execute(context, platform, &post, expiry, None).await? {
            AttemptResult::Completed(report, _) => RetryReport {
                id: self.id.to_owned(),
                platform: self.platform,
                unknown_platform: self.unknown_platform.clone(),
                outcome: RetryOutcome::Attempted(report.outcome),
                may_be_published: report.category == Some(Category::Ambiguous),
                error: report.error.clone(),
                attempt: Some(*report),
            },
            AttemptResult::NotClaimed | AttemptResult::ClaimReleased => self.ended(RetryOutcome::Busy, BUSY),
            AttemptResult::ClaimRefused(_, error) => self.ended(RetryOutcome::Malformed, &error.to_string()),
            AttemptResult::OutcomeRefused(_, error) => {
                self.ended(RetryOutcome::Attempted(Outcome::Interrupted), &error.to_string())
            }
            AttemptResult::LeaseLost => {
                self.ended(RetryOutcome::Busy, "its claim was lost during the attempt; the next pass finishes it")
            }
        })
    }

    /// A post that may be published already is sent only if a person has confirmed that. One that another process works
    /// on is busy first of all.
    fn refuse_doubtful(&self, post: &Post) -> Option<RetryReport> {
        let is_confirmed = match self.force {
            Force::Yes { confirmed, .. } => confirmed.contains(&post.id),
            Force::No => false,
        };
        let is_claimed = post.retry.claim.as_ref().is_some_and(|claim| claim.is_live(self.context.clock.now()));
        if is_confirmed || is_claimed || !may_be_published(post) {
            return None;
        }
        let error = match &post.published_id {
            Some(id) => already_published(post, &self.context.redactor.scrub(id)),
            None => "it is permanently failed, because it may already be published".to_owned(),
        };
        Some(RetryReport { may_be_published: true, ..self.ended(RetryOutcome::Permanent, &error) })
    }
}

/// Whether its retries are used up. If the process died during the last attempt, that attempt is resumed.
fn is_exhausted(context: &RetryContext, post: &Post) -> bool {
    context.policy.is_exhausted(post.retry.count) && post.retry.claim.is_none()
}

const BUSY: &str = "another process is retrying it right now";
const NOT_FAILED: &str = "it is not failed any more";
