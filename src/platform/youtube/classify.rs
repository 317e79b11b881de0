//! YouTube's reasons as failures. The reasons are those of "Videos: insert", "Videos" and "YouTube Data API - Errors"
//! on <https://developers.google.com>, and of Google Identity's "OAuth 2.0" for web servers. Which category a reason
//! has is our decision.

use chrono::{DateTime, Days, NaiveTime, TimeZone, Utc};
use chrono_tz::America::Los_Angeles;

use super::error::PlatformError;
use super::responses::Video;
use crate::platform::foreign_category;
use crate::post::{Category, Failure, MAX_CODE_CHARS, MAX_WORDS_CHARS, Retryable, excerpt};

use Category::{
    AccountRestricted, Ambiguous, Auth, MediaProcessing, MissingAsset, PlatformOutage, QuotaExhausted, RateLimited,
    RejectedContent, Unknown,
};
use Retryable::{No, Yes};

const UNAVAILABLE: &str = "YouTube is unavailable; the post will be retried automatically";
const SLOW_DOWN: &str = "YouTube's rate limit is reached; the post will be retried automatically";

const RENEW: &str = "renew YOUTUBE_REFRESH_TOKEN";

/// A reason, what it means for the post, and what a person can do about it.
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
    ("rateLimitExceeded", RateLimited, Yes, SLOW_DOWN),
    ("userRateLimitExceeded", RateLimited, Yes, SLOW_DOWN),
    ("authError", Auth, No, RENEW),
    ("expired", Auth, No, RENEW),
    ("authorizationRequired", Auth, No, RENEW),
    ("required", Auth, No, RENEW),
    ("insufficientPermissions", Auth, No, "connect the channel again with the scope youtube.upload"),
    ("accessNotConfigured", Auth, No, "enable the YouTube Data API in the Google console"),
    ("forbidden", Auth, No, "the account may not do this; check the channel and the OAuth client"),
    ("youtubeSignupRequired", AccountRestricted, No, "the Google account has no channel; create one"),
    ("authenticatedUserNotChannel", AccountRestricted, No, "the Google account has no channel; choose one"),
    ("accountDelegationForbidden", AccountRestricted, No, "the account may not act for the channel"),
    ("authenticatedUserAccountClosed", AccountRestricted, No, "the account is closed"),
    ("authenticatedUserAccountSuspended", AccountRestricted, No, "the account is suspended; contact YouTube"),
    ("channelClosed", AccountRestricted, No, "the channel is closed"),
    ("channelSuspended", AccountRestricted, No, "the channel is suspended; contact YouTube"),
    ("defaultLanguageNotSet", RejectedContent, No, "YouTube does not accept the video's metadata"),
    ("forbiddenPrivacySetting", RejectedContent, No, "set YOUTUBE_PRIVACY_STATUS to what the channel may use"),
    ("forbiddenLicenseSetting", RejectedContent, No, "YouTube does not accept the licence"),
    ("badRequest", RejectedContent, No, "YouTube does not accept the post as it is"),
    ("missingRequiredParameter", RejectedContent, No, "YouTube does not accept the post as it is"),
    ("unexpectedParameter", RejectedContent, No, "YouTube does not accept the post as it is"),
    ("incompatibleParameters", RejectedContent, No, "YouTube does not accept the post as it is"),
    ("mediaBodyRequired", MissingAsset, Yes, "restore the video file"),
];

/// Codes of the token endpoint (`error`), and what a person can do about them. All concern the account.
const TOKEN_RULES: &[(&str, &str)] = &[
    ("invalid_grant", "connect the channel again and renew YOUTUBE_REFRESH_TOKEN"),
    ("invalid_client", "check YOUTUBE_CLIENT_ID and YOUTUBE_CLIENT_SECRET"),
    ("deleted_client", "the OAuth client was deleted; create a new one"),
    ("unauthorized_client", "the OAuth client may not do this; check it in the Google console"),
    ("admin_policy_enforced", "the organisation's policy forbids it; ask its administrator"),
    ("invalid_request", "check YOUTUBE_CLIENT_ID, YOUTUBE_CLIENT_SECRET and YOUTUBE_REFRESH_TOKEN"),
    ("invalid_scope", "connect the channel again and renew YOUTUBE_REFRESH_TOKEN"),
];

/// The failure that a response of the API stands for.
pub(super) fn classify(step: &str, status: u16, error: Option<&PlatformError>, now: DateTime<Utc>) -> Failure {
    let Some(error) = error else { return foreign(step, status) };
    let PlatformError { reason, message } = error;
    let failed = |category: Category, advice: &str| failed(step, status, error, category, advice);

    // The daily bucket of uploads is told from a burst limit only by its message.
    if matches!(reason.as_str(), "rateLimitExceeded" | "userRateLimitExceeded")
        && message.to_lowercase().contains("per day")
    {
        let failure = failed(QuotaExhausted, "the project's daily uploads are used up");
        return failure.retry_at(next_quota_reset(now));
    }
    if let Some((_, category, retryable, advice)) = RULES.iter().find(|rule| rule.0 == reason) {
        let failure = failed(*category, advice);
        let is_project_quota = matches!(reason.as_str(), "quotaExceeded" | "dailyLimitExceeded");
        let failure = if is_project_quota { failure.retry_at(next_quota_reset(now)) } else { failure };
        return if *retryable == No { failure.not_retryable() } else { failure };
    }
    if reason.starts_with("invalid") {
        return failed(RejectedContent, "correct the post's title, description or hashtags").not_retryable();
    }
    by_status(step, status, error)
}

/// The failure that a response of the token endpoint stands for.
pub(super) fn classify_token_error(step: &str, status: u16, error: Option<&PlatformError>) -> Failure {
    let Some(error) = error else { return foreign(step, status) };
    match TOKEN_RULES.iter().find(|rule| rule.0 == error.reason) {
        Some((_, advice)) => failed(step, status, error, Auth, advice).not_retryable(),
        None => by_status(step, status, error),
    }
}

/// A failure with the platform's own words.
fn failed(step: &str, status: u16, error: &PlatformError, category: Category, advice: &str) -> Failure {
    let PlatformError { reason, message } = error;
    let (reason, message) = (excerpt(reason, MAX_CODE_CHARS), excerpt(message, MAX_WORDS_CHARS));
    let shown = if reason.is_empty() { format!("HTTP {status}") } else { format!("`{reason}`, HTTP {status}") };
    let detail = if message.is_empty() { String::new() } else { format!(" ({message})") };
    Failure::new(category, format!("YouTube failed to {step}: {shown}{detail}")).advise(advice)
}

/// The failure of an error that is in none of the tables.
fn by_status(step: &str, status: u16, error: &PlatformError) -> Failure {
    let failed = |category: Category, advice: &str| failed(step, status, error, category, advice);
    match status {
        401 => failed(Auth, RENEW).not_retryable(),
        403 if error.reason.is_empty() => failed(Auth, "check the channel and the OAuth client").not_retryable(),
        429 => failed(RateLimited, SLOW_DOWN),
        500..=599 => failed(PlatformOutage, UNAVAILABLE),
        _ => failed(Unknown, "postretry does not know this reason"),
    }
}

/// The failure of a request whose response is not in the platform's form, such as the page of a gateway. It says
/// nothing of the post or of its ticket, so only the class of the HTTP status counts, and a retry is always possible.
fn foreign(step: &str, status: u16) -> Failure {
    let category = foreign_category(status);
    let advice = match category {
        Auth => "check the credentials, and whether a proxy or gateway has answered",
        RateLimited => SLOW_DOWN,
        PlatformOutage => UNAVAILABLE,
        _ => "a proxy or gateway may have answered",
    };
    let text = format!("YouTube failed to {step}: HTTP {status} without an error code of YouTube");
    Failure::new(category, text).advise(advice)
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
        "deleted" => Processing::Failed(
            Failure::new(Ambiguous, "the video was deleted from YouTube after its upload").not_retryable(),
        ),
        _ => match details.processing_status.as_deref().unwrap_or_default() {
            "failed" => Processing::Failed(processing_failed(details.processing_failure_reason.as_deref())),
            "succeeded" => Processing::Done,
            "terminated" => Processing::Failed(Failure::new(
                Ambiguous,
                "YouTube has stopped processing the video; check it in YouTube Studio before it is sent again",
            )),
            _ => Processing::NotYet,
        },
    }
}

fn processing_failed(reason: Option<&str>) -> Failure {
    let reason = reason.unwrap_or("unknown");
    let text = format!("YouTube failed to process the video: `{}`", excerpt(reason, MAX_CODE_CHARS));
    match reason {
        // What was interrupted on the way may arrive the next time.
        "uploadAborted" | "uploadFailed" => {
            Failure::new(MediaProcessing, format!("{text}; it will be sent again")).with_dead_ticket()
        }
        // What cannot be read stays unreadable.
        _ => Failure::new(MediaProcessing, format!("{text}; delete the failed video and encode the file again"))
            .not_retryable(),
    }
}

fn rejected(reason: Option<&str>) -> Failure {
    let reason = reason.unwrap_or("unknown");
    let (category, advice) = match reason {
        "uploaderAccountClosed" | "uploaderAccountSuspended" => {
            (AccountRestricted, "contact YouTube about the channel")
        }
        "duplicate" => (RejectedContent, "the channel already has this video; find the earlier one"),
        _ => (RejectedContent, "check the video in YouTube Studio"),
    };
    let shown = excerpt(reason, MAX_CODE_CHARS);
    Failure::new(category, format!("YouTube rejected the video: `{shown}`; {advice}")).not_retryable()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::post::TicketFate;

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
            assert!(failure.message.contains("(a message)"), "{}", failure.message);
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
            assert_eq!(failure.ticket == TicketFate::Dead, retryable == Yes, "{reason}");
        }
        for (reason, category) in [
            ("copyright", RejectedContent),
            ("duplicate", RejectedContent),
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
        for (status, advice) in [(failed, "encode the file again"), (rejected, "check the video in YouTube Studio")] {
            let message = failure_of(json!({ "status": status })).message;
            assert!(message.ends_with(advice) && message.chars().count() < 300, "{message:.400}");
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
            assert_eq!(failure_of(video(failed)).retryable, retryable, "{reason}");
        }
    }
}
