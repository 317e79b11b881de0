//! One sentence about a post: what happens to it next, when and why.

use chrono::{DateTime, Utc};

use super::plural;
use super::text::Times;
use crate::post::{Category, DueReason, Eligibility, Post, RetryPolicy, WaitReason, shell_quoted};
use crate::store::StoredPost;

/// What happens to a post next, when and why, with dates.
pub(super) fn explain(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> String {
    sentence(stored, policy, now, Times::Exact)
}

/// The same with times from now.
pub(super) fn explain_to_person(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> String {
    sentence(stored, policy, now, Times::From(now))
}

fn sentence(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>, times: Times) -> String {
    let post = match stored {
        StoredPost::Readable(post) => post,
        StoredPost::Malformed(malformed) => {
            return format!(
                "postretry does not change this post until its field `{}` is corrected: {}.",
                malformed.field, malformed.problem
            );
        }
    };
    let attempt = post.retry.count.saturating_add(1);
    let of = policy.max_retries;
    let lookup = if post.has_earlier_upload() { ", starting with a check of the earlier upload" } else { "" };
    match policy.eligibility(post, now) {
        Eligibility::Claimed { until } => {
            format!(
                "Attempt {} of {of} is running; its claim expires {} unless renewed.",
                post.retry.count,
                times.at(until)
            )
        }
        Eligibility::PermanentlyFailed | Eligibility::Exhausted => given_up(post, policy),
        Eligibility::Due(DueReason::Interrupted) => {
            format!("The next pass resumes attempt {} of {of}, because the process died during it.", post.retry.count)
        }
        Eligibility::Due(DueReason::Processing) => {
            format!(
                "The next pass checks whether {} has finished processing the post; it sends nothing again.",
                post.platform.title()
            )
        }
        Eligibility::Due(DueReason::NoDate) => {
            format!(
                "The next pass makes attempt {attempt} of {of}{lookup}: the post has no date to count the backoff from."
            )
        }
        Eligibility::Due(DueReason::BackoffOver { since }) => {
            format!(
                "The next pass makes attempt {attempt} of {of}{lookup}: the post has been due {}.",
                times.since(since)
            )
        }
        Eligibility::Waiting { until: None, .. } => {
            "The time of its next retry is too far in the future to be calculated.".to_owned()
        }
        Eligibility::Waiting { until: Some(until), reason } => {
            let why = match reason {
                WaitReason::Backoff => {
                    format!("the backoff after {}", plural(u64::from(post.retry.count), "retry", "retries"))
                }
                WaitReason::PlatformSaid => match post.retry.category {
                    Some(category) => format!("{} asked to wait ({category})", post.platform.title()),
                    None => format!("{} asked to wait", post.platform.title()),
                },
            };
            format!("Attempt {attempt} of {of} is due {}{lookup}: {why}.", times.at(until))
        }
    }
}

fn given_up(post: &Post, policy: &RetryPolicy) -> String {
    let id = shell_quoted(post.id.as_str());
    let why = match post.retry.category {
        Some(Category::Ambiguous) => {
            return format!(
                "It may already be on {}, so it is not retried. Look at the account first: if the post is there, run \
                 `postretry reset --posted {id}`; if it is not, `postretry retry --force {id}` sends it now, and \
                 `postretry reset {id}` lets a later pass send it.",
                post.platform.title()
            );
        }
        Some(Category::Expired) => "it is older than `POST_RETRY_EXPIRE`".to_owned(),
        Some(category @ (Category::RejectedContent | Category::MediaProcessing))
            if !policy.is_exhausted(post.retry.count) =>
        {
            format!("a retry cannot fix a failure of category {category}")
        }
        _ => format!("all {} are used up", plural(u64::from(policy.max_retries), "retry", "retries")),
    };
    format!("It is not retried any more, because {why}; `postretry reset {id}` resets its retry count.")
}
