//! One sentence about a post: what happens to it next, when and why.

use chrono::{DateTime, Utc};

use super::plural;
use super::text::Times;
use crate::post::{Category, DueReason, Eligibility, Platform, Post, RetryPolicy, WaitReason};
use crate::retry::PassConfig;
use crate::store::StoredPost;

/// The settings that decide what a pass does with a post.
#[derive(Debug, Clone)]
pub struct PassRules {
    /// How often and when posts are retried.
    pub policy: RetryPolicy,
    /// When a post is too old.
    pub config: PassConfig,
    /// The platforms that are configured.
    pub platforms: Vec<Platform>,
}

/// What happens to a post next, when and why, with dates.
pub(super) fn explain(stored: &StoredPost, rules: &PassRules, now: DateTime<Utc>) -> String {
    sentence(stored, rules, now, Times::Exact)
}

/// The same with times from now.
pub(super) fn explain_to_person(stored: &StoredPost, rules: &PassRules, now: DateTime<Utc>) -> String {
    sentence(stored, rules, now, Times::From(now))
}

fn sentence(stored: &StoredPost, rules: &PassRules, now: DateTime<Utc>, times: Times) -> String {
    let policy = &rules.policy;
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
    let eligibility = policy.eligibility(post, now);
    if let Some(text) = without_attempt(post, &eligibility, rules, now, times) {
        return text;
    }
    match eligibility {
        Eligibility::Claimed { until } => {
            format!(
                "Attempt {} of {of} is running; its claim expires {} unless renewed.",
                post.retry.count,
                times.at(until)
            )
        }
        Eligibility::PermanentlyFailed | Eligibility::Exhausted => permanently_failed(post, rules),
        Eligibility::Due(DueReason::Interrupted) => {
            format!("The next pass resumes attempt {} of {of}, because the process died during it.", post.retry.count)
        }
        Eligibility::Due(DueReason::Processing) => {
            format!(
                "The next pass checks whether {} has finished processing the post, and continues; nothing is sent \
                 twice.",
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

/// What a pass does with a post that it makes no attempt at; none if it makes one.
fn without_attempt(
    post: &Post,
    eligibility: &Eligibility,
    rules: &PassRules,
    now: DateTime<Utc>,
    times: Times,
) -> Option<String> {
    let (pass, at) = next_pass(eligibility, now, times)?;
    let platform = post.platform.title();
    if !rules.platforms.contains(&post.platform) {
        return Some(format!(
            "{pass} leaves it unchanged, because {platform} is not configured here; `postretry --help` lists the \
             settings."
        ));
    }
    if let Some(published_id) = &post.published_id {
        return Some(format!(
            "{pass} marks it as ambiguous and sends nothing, because it has the {platform} ID `{published_id}` and may \
             already be public."
        ));
    }
    if !post.has_earlier_upload() && rules.config.is_expired(post.failed_at, at) {
        let limit = rules.config.expire_limit();
        return Some(format!(
            "{pass} marks it as permanently failed (`{}`) and sends nothing, because a post that failed more than \
             {limit} ago is not published any more (`POST_RETRY_EXPIRE`).",
            Category::Expired
        ));
    }
    None
}

/// The pass that is the next for a post, and when it is; none if the post is claimed, or is not retried any more.
fn next_pass(eligibility: &Eligibility, now: DateTime<Utc>, times: Times) -> Option<(String, DateTime<Utc>)> {
    match eligibility {
        Eligibility::Due(_) => Some(("The next pass".to_owned(), now)),
        Eligibility::Waiting { until: Some(until), .. } => {
            Some((format!("Once the post is due {}, a pass", times.at(*until)), *until))
        }
        Eligibility::Waiting { until: None, .. }
        | Eligibility::Claimed { .. }
        | Eligibility::PermanentlyFailed
        | Eligibility::Exhausted => None,
    }
}

fn permanently_failed(post: &Post, rules: &PassRules) -> String {
    let policy = &rules.policy;
    let id = post.id.in_command(post.platform);
    let reset = format!("`postretry reset {id}`");
    let (why, then) = match post.retry.category {
        // Whatever it failed of, it may be public.
        _ if post.published_id.is_some() => return ambiguous(post, &id),
        Some(Category::Ambiguous) => return ambiguous(post, &id),
        // After a reset, the next pass would mark it again.
        Some(Category::Expired) => (
            "it is older than `POST_RETRY_EXPIRE`".to_owned(),
            format!("`postretry retry --force {id}` publishes it in spite of its age"),
        ),
        Some(category @ (Category::RejectedContent | Category::MediaProcessing))
            if !policy.is_exhausted(post.retry.count) =>
        {
            let why = format!("a retry cannot fix a failure of category {category}");
            (why, format!("correct the post or its file, then run {reset}"))
        }
        _ if policy.is_exhausted(post.retry.count) => {
            let retries = plural(u64::from(policy.max_retries), "retry", "retries");
            (format!("all {retries} are used up"), format!("{reset} resets its retry count"))
        }
        // The maximum was smaller once, or the application has marked it.
        _ => ("it is marked as permanently failed".to_owned(), format!("{reset} resets its retry count")),
    };
    format!("It is not retried any more, because {why}; {then}.")
}

/// What a person does about a post that may be public. A pass sends one with the platform's ID in no case. `id` is how
/// a command names the post.
fn ambiguous(post: &Post, id: &str) -> String {
    let platform = post.platform.title();
    match &post.published_id {
        Some(published_id) => format!(
            "It has the {platform} ID `{published_id}`, so it may already be public and is not retried. Look at the \
             account first: if the post is there, run `postretry reset --posted {id}`; if it is not, `postretry retry \
             --force {id}` sends it now."
        ),
        None => format!(
            "It may already be on {platform}, so it is not retried. Look at the account first: if the post is there, \
             run `postretry reset --posted {id}`; if it is not, `postretry retry --force {id}` sends it now, and \
             `postretry reset {id}` lets a later pass send it."
        ),
    }
}

#[cfg(test)]
impl PassRules {
    /// All platforms are configured, and a post that failed longer ago than this is not published any more.
    pub(super) fn expiring(expire: Option<std::time::Duration>) -> Self {
        use std::time::Duration;
        let config = PassConfig {
            concurrency: 1,
            gap: Duration::ZERO,
            expire,
            claim: Duration::from_secs(120),
            poll: Duration::from_secs(2),
            wait: Duration::from_secs(300),
        };
        Self { policy: RetryPolicy::default(), config, platforms: Platform::ALL.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::post::{PostDraft, PostId};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000, 0).unwrap()
    }

    /// A TikTok post that failed so long ago and has been retried once.
    fn failed_hours_ago(hours: i64, published_id: Option<&str>) -> Post {
        let mut post = PostDraft {
            platform: Some("tiktok".to_owned()),
            failed_at: Some(now() - TimeDelta::hours(hours)),
            published_id: published_id.map(str::to_owned),
            ..PostDraft::new(PostId::from_text("p1"))
        }
        .check()
        .unwrap();
        post.retry.count = 1;
        post
    }

    fn said(post: Post, rules: &PassRules) -> String {
        explain(&StoredPost::Readable(Box::new(post)), rules, now())
    }

    #[test]
    fn a_post_that_is_too_old_when_a_pass_takes_it_is_said_to_become_permanently_failed() {
        let expire = |hours: u64| PassRules::expiring(Some(Duration::from_secs(hours * 3600)));
        let marked =
            "marks it as permanently failed (`expired`) and sends nothing, because a post that failed more than";
        let old = said(failed_hours_ago(9, None), &expire(8));
        assert_eq!(old, format!("The next pass {marked} 8h ago is not published any more (`POST_RETRY_EXPIRE`)."));
        assert!(said(failed_hours_ago(9, None), &expire(10)).starts_with("The next pass makes attempt 2 of 5"));
        // Its retry is due two hours after the failure.
        let waiting = said(failed_hours_ago(1, None), &expire(1));
        assert!(waiting.starts_with("Once the post is due at ") && waiting.contains(marked), "{waiting}");
        assert!(said(failed_hours_ago(1, None), &expire(3)).starts_with("Attempt 2 of 5 is due at "));
        let mut with_upload = failed_hours_ago(9, None);
        with_upload.left_upload = Some("v_1".to_owned());
        let looked_up = said(with_upload, &expire(8));
        assert!(looked_up.contains("attempt 2 of 5, starting with a check of the earlier upload"), "{looked_up}");
    }

    #[test]
    fn a_post_whose_platform_is_not_configured_is_said_to_stay_as_it_is() {
        let mut rules = PassRules::expiring(Some(Duration::from_secs(3600)));
        rules.platforms = vec![Platform::Instagram];
        for published_id in [None, Some("7300")] {
            let unchanged = said(failed_hours_ago(9, published_id), &rules);
            let expected = "The next pass leaves it unchanged, because TikTok is not configured here";
            assert!(unchanged.starts_with(expected), "{unchanged}");
        }
        let waiting = said(failed_hours_ago(1, None), &rules);
        assert!(
            waiting.starts_with("Once the post is due at ") && waiting.contains("leaves it unchanged"),
            "{waiting}"
        );
        let mut permanent = failed_hours_ago(9, None);
        permanent.retry.permanently_failed = true;
        assert!(said(permanent, &rules).starts_with("It is not retried any more"));
    }

    #[test]
    fn retries_are_said_to_be_used_up_only_if_they_are() {
        let rules = PassRules::expiring(None);
        let mut post = failed_hours_ago(9, None);
        post.retry.permanently_failed = true;
        post.retry.category = Some(Category::Network);
        for (count, why) in [(3, "it is marked as permanently failed"), (5, "all 5 retries are used up")] {
            post.retry.count = count;
            let said = said(post.clone(), &rules);
            assert_eq!(
                said,
                format!("It is not retried any more, because {why}; `postretry reset p1` resets its retry count.")
            );
        }
    }

    #[test]
    fn a_permanently_failed_post_is_told_what_helps_and_with_its_platform_if_it_has_several() {
        let rules = PassRules::expiring(Some(Duration::from_secs(3600)));
        let mut post = failed_hours_ago(9, None);
        post.retry.permanently_failed = true;
        for option in ["", "--platform tiktok "] {
            if !option.is_empty() {
                post.id = post.id.of_delivery();
            }
            let said = |category| {
                let mut post = post.clone();
                post.retry.category = Some(category);
                said(post, &rules)
            };
            assert_eq!(
                said(Category::Expired),
                format!(
                    "It is not retried any more, because it is older than `POST_RETRY_EXPIRE`; `postretry retry \
                     --force {option}p1` publishes it in spite of its age."
                )
            );
            for category in [Category::RejectedContent, Category::MediaProcessing] {
                assert_eq!(
                    said(category),
                    format!(
                        "It is not retried any more, because a retry cannot fix a failure of category {category}; \
                         correct the post or its file, then run `postretry reset {option}p1`."
                    )
                );
            }
            let network = said(Category::Network);
            assert!(network.contains(&format!("`postretry reset {option}p1` resets its")), "{network}");
            let ambiguous = said(Category::Ambiguous);
            for command in ["reset --posted ", "retry --force ", "reset "] {
                assert!(ambiguous.contains(&format!("`postretry {command}{option}p1`")), "{ambiguous}");
            }
        }
    }

    #[test]
    fn a_post_with_the_platforms_id_is_never_said_to_be_sent_by_a_pass() {
        let rules = PassRules::expiring(None);
        let said = |post: Post| said(post, &rules);
        let failed_hours_ago = |hours| failed_hours_ago(hours, Some("7300"));
        let sends_nothing = "marks it as ambiguous and sends nothing, because it has the TikTok ID `7300`";
        assert!(said(failed_hours_ago(9)).starts_with(&format!("The next pass {sends_nothing}")));
        let waiting = said(failed_hours_ago(1));
        assert!(waiting.starts_with("Once the post is due at ") && waiting.contains(sends_nothing), "{waiting}");
        for category in [Category::Ambiguous, Category::Expired, Category::RejectedContent] {
            let mut marked = failed_hours_ago(9);
            marked.retry.permanently_failed = true;
            marked.retry.category = Some(category);
            let marked = said(marked);
            assert!(
                marked.contains("Look at the account first") && !marked.contains("`postretry reset p1`"),
                "{marked}"
            );
        }
    }
}
