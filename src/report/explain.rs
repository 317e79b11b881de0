//! What happens to a post next, when and why, in a sentence.

use chrono::{DateTime, Utc};

use super::{plural, relative, utc};
use crate::post::{Category, DueReason, Eligibility, Post, RetryPolicy, WaitReason};
use crate::store::StoredPost;

/// What happens to a post next, when and why: one sentence.
pub(super) fn explain(stored: &StoredPost, policy: &RetryPolicy, now: DateTime<Utc>) -> String {
    let post = match stored {
        StoredPost::Readable(post) => post,
        StoredPost::Malformed(malformed) => {
            return format!(
                "It is left alone until its field `{}` is corrected: {}.",
                malformed.field, malformed.problem
            );
        }
    };
    let attempt = post.retry.count.saturating_add(1);
    let of = policy.max_retries;
    let lookup = if post.has_earlier_upload() { ", after its earlier upload has been looked up" } else { "" };
    match policy.eligibility(post, now) {
        Eligibility::Claimed { until } => {
            format!(
                "Attempt {} of {of} is under way now; its claim lasts until {} unless renewed.",
                post.retry.count,
                utc(until)
            )
        }
        Eligibility::PermanentlyFailed | Eligibility::Exhausted => given_up(post, policy),
        Eligibility::Due(DueReason::Interrupted) => {
            format!("The next run takes attempt {} of {of} up again, since the process died in it.", post.retry.count)
        }
        Eligibility::Due(DueReason::Processing) => {
            format!(
                "The next run looks whether {} has finished processing it; nothing is sent again.",
                post.platform.title()
            )
        }
        Eligibility::Due(DueReason::NoDate) => {
            format!("The next run makes attempt {attempt} of {of}{lookup}: it carries no date to wait from.")
        }
        Eligibility::Due(DueReason::BackoffOver { since }) => {
            format!("The next run makes attempt {attempt} of {of}{lookup}: it is due since {}.", utc(since))
        }
        Eligibility::Waiting { until: None, .. } => "Its next retry lies beyond the calendar.".to_owned(),
        Eligibility::Waiting { until: Some(until), reason } => {
            let why = match reason {
                WaitReason::Backoff => {
                    format!("the backoff after {}", plural(u64::from(post.retry.count), "retry", "retries"))
                }
                WaitReason::PlatformSaid => match post.retry.category {
                    Some(category) => format!("{} said so ({category})", post.platform.title()),
                    None => format!("{} said so", post.platform.title()),
                },
            };
            format!("Attempt {attempt} of {of} is due at {} ({}){lookup}: {why}.", utc(until), relative(until, now))
        }
    }
}

fn given_up(post: &Post, policy: &RetryPolicy) -> String {
    let why = match post.retry.category {
        Some(Category::Ambiguous) => {
            return format!(
                "It is parked, since it may be on {} already: look there first, then `postretry reset {}` sends it \
                 again.",
                post.platform.title(),
                post.id
            );
        }
        Some(Category::Expired) => "it was too late to be worth publishing".to_owned(),
        Some(category @ (Category::RejectedContent | Category::MediaProcessing))
            if !policy.is_exhausted(post.retry.count) =>
        {
            format!("no retry can mend a failure of category {category}")
        }
        _ => format!("all {} are used up", plural(u64::from(policy.max_retries), "retry", "retries")),
    };
    format!("It is not retried any more, since {why}; `postretry reset {}` gives it its retries back.", post.id)
}
