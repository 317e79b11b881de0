//! YouTube's reasons as failures. The reasons are those of "Videos: insert", "Videos" and "YouTube Data API - Errors"
//! on <https://developers.google.com>, and of Google Identity's "OAuth 2.0" for web servers. Which category a reason
//! has is our decision.

use chrono::{DateTime, Days, NaiveTime, TimeZone, Utc};
use chrono_tz::America::Los_Angeles;

use super::error::PlatformError;
use super::responses::Video;
use crate::platform::explanation::{Explanation, RATE_LIMITED, UNAVAILABLE, foreign, labelled};
use crate::post::{Category, Failure, Platform, Retryable};

use Category::{
    AccountRestricted, Ambiguous, Auth, MediaProcessing, MissingAsset, PlatformOutage, QuotaExhausted, RateLimited,
    RejectedContent,
};
use Retryable::{No, Yes};

const RENEW: &str = "the token was refused; renew YOUTUBE_REFRESH_TOKEN";
const NOT_ACCEPTED: &str = "the post is not accepted as it is";
const NOT_ALLOWED: &str = "the account may not do this; check the channel and the OAuth client";

/// A reason, what it means for the post, and its cause in plain words, then what a person can do about it.
type Rule = (&'static str, Category, Retryable, &'static str);

/// Reasons of the API (`errors[0].reason`).
const RULES: &[Rule] = &[
    ("internalError", PlatformOutage, Yes, UNAVAILABLE),
    ("backendError", PlatformOutage, Yes, UNAVAILABLE),
    ("quotaExceeded", QuotaExhausted, Yes, "the project's daily quota is used up"),
    ("dailyLimitExceeded", QuotaExhausted, Yes, "the project's daily quota is used up"),
    (
        "uploadLimitExceeded",
        QuotaExhausted,
        Yes,
        "the channel has reached its limit of uploads in 24 h, counted over all apps",
    ),
    ("rateLimitExceeded", RateLimited, Yes, RATE_LIMITED),
    ("userRateLimitExceeded", RateLimited, Yes, RATE_LIMITED),
    ("authError", Auth, No, RENEW),
    ("expired", Auth, No, RENEW),
    ("authorizationRequired", Auth, No, RENEW),
    ("insufficientPermissions", Auth, No, "the scope youtube.upload is missing; connect the channel again with it"),
    ("accessNotConfigured", Auth, No, "the YouTube Data API is not enabled; enable it in the Google console"),
    ("forbidden", Auth, No, NOT_ALLOWED),
    ("youtubeSignupRequired", AccountRestricted, No, "the Google account has no channel; create one"),
    ("authenticatedUserNotChannel", AccountRestricted, No, "the Google account has no channel; choose one"),
    ("accountDelegationForbidden", AccountRestricted, No, "the account may not act for the channel"),
    ("authenticatedUserAccountClosed", AccountRestricted, No, "the account is closed"),
    ("authenticatedUserAccountSuspended", AccountRestricted, No, "the account is suspended; contact YouTube"),
    ("channelClosed", AccountRestricted, No, "the channel is closed"),
    ("channelSuspended", AccountRestricted, No, "the channel is suspended; contact YouTube"),
    ("defaultLanguageNotSet", RejectedContent, No, "the video's metadata is not accepted"),
    (
        "forbiddenPrivacySetting",
        RejectedContent,
        No,
        "the privacy status is not allowed; set YOUTUBE_PRIVACY_STATUS to what the channel may use",
    ),
    ("forbiddenLicenseSetting", RejectedContent, No, "the licence is not accepted"),
    ("badRequest", RejectedContent, No, NOT_ACCEPTED),
    ("missingRequiredParameter", RejectedContent, No, NOT_ACCEPTED),
    ("unexpectedParameter", RejectedContent, No, NOT_ACCEPTED),
    ("incompatibleParameters", RejectedContent, No, NOT_ACCEPTED),
    ("mediaBodyRequired", MissingAsset, Yes, "the video file is missing; restore it"),
];

/// Codes of the token endpoint (`error`), and the same of them. All concern the account.
const TOKEN_RULES: &[(&str, &str)] = &[
    (
        "invalid_grant",
        "the refresh token is no longer valid; connect the channel again and renew YOUTUBE_REFRESH_TOKEN",
    ),
    (
        "invalid_client",
        "the client ID or the client secret is wrong; check YOUTUBE_CLIENT_ID and YOUTUBE_CLIENT_SECRET",
    ),
    ("deleted_client", "the OAuth client was deleted; create a new one"),
    ("unauthorized_client", "the OAuth client may not do this; check it in the Google console"),
    ("admin_policy_enforced", "the organisation's policy forbids it; ask its administrator"),
    (
        "invalid_request",
        "the request is not valid; check YOUTUBE_CLIENT_ID, YOUTUBE_CLIENT_SECRET and YOUTUBE_REFRESH_TOKEN",
    ),
    ("invalid_scope", "the scope is not valid; connect the channel again and renew YOUTUBE_REFRESH_TOKEN"),
];

/// The failure that a response of the API stands for.
pub(super) fn classify(step: &str, status: u16, error: Option<&PlatformError>, now: DateTime<Utc>) -> Failure {
    let Some(error) = error else { return foreign(Explanation::new(Platform::YouTubeShorts, step), status) };
    let PlatformError { reason, message } = error;
    let explanation = explanation(step, status, error);

    // With HTTP 401 the same reason means the token.
    if reason == "required" && status == 400 {
        return explanation.failure(RejectedContent, NOT_ACCEPTED).not_retryable();
    }

    // The daily bucket of uploads is told from a burst limit only by its message.
    if matches!(reason.as_str(), "rateLimitExceeded" | "userRateLimitExceeded")
        && message.to_lowercase().contains("per day")
    {
        let failure = explanation.failure(QuotaExhausted, "the project's daily uploads are used up");
        return failure.retry_at(next_quota_reset(now));
    }
    if let Some((_, category, retryable, cause)) = RULES.iter().find(|rule| rule.0 == reason) {
        let failure = explanation.by_rule(*category, *retryable, cause);
        let is_project_quota = matches!(reason.as_str(), "quotaExceeded" | "dailyLimitExceeded");
        return if is_project_quota { failure.retry_at(next_quota_reset(now)) } else { failure };
    }
    if reason.starts_with("invalid") {
        let cause = "the title, the description or the hashtags are not accepted; correct them";
        return explanation.failure(RejectedContent, cause).not_retryable();
    }
    by_status(step, status, error)
}

/// The failure that a response of the token endpoint stands for.
pub(super) fn classify_token_error(step: &str, status: u16, error: Option<&PlatformError>) -> Failure {
    let Some(error) = error else { return foreign(Explanation::new(Platform::YouTubeShorts, step), status) };
    match TOKEN_RULES.iter().find(|rule| rule.0 == error.reason) {
        Some((_, cause)) => explanation(step, status, error).failure(Auth, cause).not_retryable(),
        None => by_status(step, status, error),
    }
}

/// The explanation of a failed step, with the platform's own words.
fn explanation<'a>(step: &'a str, status: u16, error: &PlatformError) -> Explanation<'a> {
    let explanation = Explanation::new(Platform::YouTubeShorts, step).status(status);
    explanation.code(&error.reason).words(&error.message)
}

/// The failure of an error that is in none of the tables.
fn by_status(step: &str, status: u16, error: &PlatformError) -> Failure {
    let explanation = explanation(step, status, error);
    if status == 403 && error.reason.is_empty() {
        return explanation.by_rule(Auth, No, NOT_ALLOWED);
    }
    explanation.by_status(status, RENEW)
}

/// The next midnight in California, when the project's quota starts anew.
fn next_quota_reset(now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let tomorrow = now.with_timezone(&Los_Angeles).date_naive().checked_add_days(Days::new(1))?;
    let midnight = tomorrow.and_time(NaiveTime::MIN);
    Some(Los_Angeles.from_local_datetime(&midnight).earliest()?.with_timezone(&Utc))
}

/// How far the processing of an uploaded video has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Processing {
    /// It is done.
    Done,
    /// It is not done yet.
    NotYet,
    /// It has failed, or the video was rejected.
    Failed(Failure),
}

/// Reads the `status` and the `processingDetails` of a video ("Videos").
pub(super) fn read_processing(video: &Video) -> Processing {
    let (status, details) = (&video.status, &video.processing_details);
    match status.upload_status.as_deref().unwrap_or_default() {
        "processed" => Processing::Done,
        "failed" => Processing::Failed(processing_failed(status.failure_reason.as_deref())),
        "rejected" => Processing::Failed(rejected(status.rejection_reason.as_deref())),
        "deleted" => Processing::Failed(stopped("the video was deleted after its upload").not_retryable()),
        _ => match details.processing_status.as_deref().unwrap_or_default() {
            "failed" => Processing::Failed(processing_failed(details.processing_failure_reason.as_deref())),
            "succeeded" => Processing::Done,
            "terminated" => Processing::Failed(stopped(
                "it has stopped processing the video; check it in YouTube Studio before it is sent again",
            )),
            _ => Processing::NotYet,
        },
    }
}

/// The failure of a video of which nobody knows whether it was public.
fn stopped(text: &str) -> Failure {
    Failure::new(Ambiguous, labelled(Platform::YouTubeShorts, text))
}

fn processing_failed(reason: Option<&str>) -> Failure {
    let reason = reason.unwrap_or_default();
    let explanation = Explanation::new(Platform::YouTubeShorts, "process the video").code(reason);
    match reason {
        // What was interrupted on the way may arrive the next time.
        "uploadAborted" | "uploadFailed" => {
            let cause = "the video did not arrive whole; the next retry sends it again";
            explanation.failure(MediaProcessing, cause).with_dead_ticket()
        }
        // What cannot be read stays unreadable.
        _ => {
            let cause = "the video could not be processed; delete it from the channel and encode the file again";
            // It is not public and never will be, so the file that was encoded again is uploaded anew.
            explanation.failure(MediaProcessing, cause).not_retryable().with_dead_ticket()
        }
    }
}

fn rejected(reason: Option<&str>) -> Failure {
    let reason = reason.unwrap_or_default();
    let (category, cause) = match reason {
        "uploaderAccountClosed" => (AccountRestricted, "the channel's account is closed; contact YouTube"),
        "uploaderAccountSuspended" => (AccountRestricted, "the channel's account is suspended; contact YouTube"),
        "duplicate" => (RejectedContent, "the channel already has this video; find the earlier one"),
        _ => (RejectedContent, "the video was rejected; check it in YouTube Studio"),
    };
    let explanation = Explanation::new(Platform::YouTubeShorts, "publish the video").code(reason);
    // The ticket is kept: an account that is reinstated has its videos again, and a second one would be a duplicate.
    explanation.failure(category, cause).not_retryable()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::post::TicketFate;
    use Category::Unknown;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn error(reason: &str, message: &str) -> PlatformError {
        PlatformError { reason: reason.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn every_known_reason_has_its_category() {
        for (status, reason, category, retryable) in [
            (500, "internalError", PlatformOutage, Yes),
            (503, "backendError", PlatformOutage, Yes),
            (502, "", PlatformOutage, Yes),
            (504, "", PlatformOutage, Yes),
            (429, "rateLimitExceeded", RateLimited, Yes),
            (403, "userRateLimitExceeded", RateLimited, Yes),
            (403, "quotaExceeded", QuotaExhausted, Yes),
            (403, "dailyLimitExceeded", QuotaExhausted, Yes),
            (400, "uploadLimitExceeded", QuotaExhausted, Yes),
            (401, "authError", Auth, No),
            (401, "expired", Auth, No),
            (401, "required", Auth, No),
            (400, "required", RejectedContent, No),
            (503, "required", PlatformOutage, Yes),
            (403, "insufficientPermissions", Auth, No),
            (403, "accessNotConfigured", Auth, No),
            (403, "forbidden", Auth, No),
            (401, "youtubeSignupRequired", AccountRestricted, No),
            (403, "authenticatedUserNotChannel", AccountRestricted, No),
            (403, "authenticatedUserAccountSuspended", AccountRestricted, No),
            (403, "channelClosed", AccountRestricted, No),
            (400, "invalidTitle", RejectedContent, No),
            (400, "invalidVideoMetadata", RejectedContent, No),
            (400, "defaultLanguageNotSet", RejectedContent, No),
            (403, "forbiddenPrivacySetting", RejectedContent, No),
            (403, "forbiddenLicenseSetting", RejectedContent, No),
            (400, "badRequest", RejectedContent, No),
            (400, "missingRequiredParameter", RejectedContent, No),
            (400, "mediaBodyRequired", MissingAsset, Yes),
            (418, "teapot", Unknown, Yes),
        ] {
            let failure = classify("test", status, Some(&error(reason, "")), now());
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status} {reason}");
        }
    }

    #[test]
    fn a_text_begins_with_the_cause() {
        let message = |error: &PlatformError| classify("open an upload session", 400, Some(error), now()).message;
        assert_eq!(
            message(&error("invalidTitle", "The title is too long.")),
            "YouTube: the title, the description or the hashtags are not accepted; correct them (`invalidTitle`, HTTP \
             400, “The title is too long.”, when asked to open an upload session)"
        );
        assert_eq!(
            message(&error("", "no luck")),
            "YouTube: refused for a reason that postretry does not know (HTTP 400, “no luck”, when asked to open an \
             upload session)"
        );
        let commands = ["check ", "connect ", "contact ", "enable ", "renew ", "restore ", "set "];
        let causes = RULES.iter().map(|rule| rule.3).chain(TOKEN_RULES.iter().map(|rule| rule.1));
        for cause in causes {
            assert!(commands.iter().all(|command| !cause.starts_with(command)), "{cause}");
        }
    }

    #[test]
    fn the_daily_bucket_is_told_from_a_burst_by_its_message() {
        let message = "Quota exceeded for quota metric 'Video Uploads' and limit 'Video Uploads per day' of service";
        let failure = classify("test", 429, Some(&error("rateLimitExceeded", message)), now());
        assert_eq!(failure.category, QuotaExhausted);
        assert_eq!(failure.retry_at, Some("2026-11-24T08:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_quota_starts_anew_at_midnight_in_california_summer_and_winter() {
        for (now, reset) in [
            ("2026-07-01T06:59:59Z", "2026-07-01T07:00:00Z"),
            ("2026-07-01T07:00:00Z", "2026-07-02T07:00:00Z"),
            ("2026-12-01T07:59:59Z", "2026-12-01T08:00:00Z"),
            ("2026-03-08T12:00:00Z", "2026-03-09T07:00:00Z"),
            ("2026-11-01T12:00:00Z", "2026-11-02T08:00:00Z"),
        ] {
            assert_eq!(next_quota_reset(now.parse().unwrap()), Some(reset.parse().unwrap()), "{now}");
        }
    }

    #[test]
    fn a_code_of_the_token_endpoint_means_nothing_for_the_post() {
        for (status, code, category, retryable) in [
            (400, "invalid_grant", Auth, No),
            (401, "deleted_client", Auth, No),
            (401, "invalid_client", Auth, No),
            (400, "admin_policy_enforced", Auth, No),
            (400, "invalid_scope", Auth, No),
            (400, "invalid_something", Unknown, Yes),
            // A reason of the API only.
            (403, "forbidden", Unknown, Yes),
            (500, "server_error", PlatformOutage, Yes),
        ] {
            let failure = classify_token_error("test", status, Some(&error(code, "")));
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status} {code}");
        }
    }

    #[test]
    fn an_error_without_a_reason_is_classified_by_its_status() {
        for (status, category, retryable) in [
            (401, Auth, No),
            (403, Auth, No),
            (429, RateLimited, Yes),
            (503, PlatformOutage, Yes),
            (400, Unknown, Yes),
            (404, Unknown, Yes),
        ] {
            let failure = classify("test", status, Some(&error("", "a message")), now());
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status}");
            assert!(failure.message.contains("“a message”"), "{}", failure.message);
        }
    }

    #[test]
    fn a_response_that_is_not_youtubes_own_decides_nothing() {
        for status in 300..=599 {
            let category = match status {
                401 => Auth,
                429 => RateLimited,
                500..=599 => PlatformOutage,
                _ => Unknown,
            };
            for failure in [classify("test", status, None, now()), classify_token_error("test", status, None)] {
                assert_eq!((failure.category, failure.retryable), (category, Yes), "{status}");
                assert_eq!((failure.ticket, failure.retry_at), (TicketFate::Kept, None), "{status}");
                assert!(failure.message.contains(&format!("HTTP {status}")), "{}", failure.message);
            }
        }
    }

    fn processing(video: serde_json::Value) -> Processing {
        read_processing(&serde_json::from_value(video).unwrap())
    }

    fn failure_of(video: serde_json::Value) -> Failure {
        match processing(video) {
            Processing::Failed(failure) => failure,
            other => panic!("{other:?} is no failure"),
        }
    }

    #[test]
    fn processing_is_read() {
        let video = |status: serde_json::Value| json!({ "status": status });
        assert_eq!(processing(video(json!({ "uploadStatus": "processed" }))), Processing::Done);
        assert_eq!(processing(video(json!({ "uploadStatus": "uploaded" }))), Processing::NotYet);
        assert_eq!(processing(json!({})), Processing::NotYet);
        for (reason, retryable) in [("uploadAborted", Yes), ("codec", No)] {
            let failure = failure_of(video(json!({ "uploadStatus": "failed", "failureReason": reason })));
            assert_eq!((failure.category, failure.retryable), (MediaProcessing, retryable));
            assert_eq!(failure.ticket, TicketFate::Dead, "{reason}");
        }
        for (reason, category) in [
            ("copyright", RejectedContent),
            ("duplicate", RejectedContent),
            ("uploaderAccountClosed", AccountRestricted),
            ("uploaderAccountSuspended", AccountRestricted),
        ] {
            let failure = failure_of(video(json!({ "uploadStatus": "rejected", "rejectionReason": reason })));
            assert_eq!((failure.category, failure.ticket), (category, TicketFate::Kept));
        }
        assert_eq!(failure_of(video(json!({ "uploadStatus": "deleted" }))).category, Ambiguous);
    }

    #[test]
    fn what_to_do_is_told_however_long_the_reason_is() {
        let long = "x".repeat(500_000);
        let failed = json!({ "uploadStatus": "failed", "failureReason": long });
        let rejected = json!({ "uploadStatus": "rejected", "rejectionReason": long });
        for (status, cause) in [
            (failed, "the video could not be processed; delete it from the channel and encode the file again (`…`, "),
            (rejected, "the video was rejected; check it in YouTube Studio (`…`, "),
        ] {
            let message = failure_of(json!({ "status": status })).message;
            assert!(message.starts_with(&format!("YouTube: {cause}")), "{message:.400}");
            assert!(message.chars().count() < 300, "{message:.400}");
        }
    }

    #[test]
    fn the_details_of_the_processing_count_while_the_video_is_only_uploaded() {
        let status = json!({ "uploadStatus": "uploaded" });
        let video = |details: serde_json::Value| json!({ "status": status, "processingDetails": details });
        assert_eq!(processing(video(json!({ "processingStatus": "succeeded" }))), Processing::Done);
        assert_eq!(processing(video(json!({ "processingStatus": "processing" }))), Processing::NotYet);
        assert_eq!(failure_of(video(json!({ "processingStatus": "terminated" }))).category, Ambiguous);
        for (reason, retryable) in [("uploadFailed", Yes), ("transcodeFailed", No)] {
            let failed = json!({ "processingStatus": "failed", "processingFailureReason": reason });
            let failure = failure_of(video(failed));
            assert_eq!((failure.retryable, failure.ticket), (retryable, TicketFate::Dead), "{reason}");
        }
    }
}
