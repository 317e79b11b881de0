//! `YouTube`'s reasons as failures: the table of the platform sheet, section 9.

use chrono::{DateTime, Days, NaiveTime, TimeZone, Utc};
use chrono_tz::America::Los_Angeles;
use serde_json::Value;

use crate::post::{Category, Failure, Retryable};

use Category::{
    AccountRestricted, Auth, MediaProcessing, MissingAsset, PlatformOutage, QuotaExhausted, RateLimited,
    RejectedContent, Unknown,
};
use Retryable::{No, Yes};

/// A reason, what it means for the post, and what a person can do about it.
type Rule = (&'static str, Category, Retryable, &'static str);

/// Reasons of the API (`errors[0].reason`) and errors of the token endpoint (`error`).
const RULES: &[Rule] = &[
    ("internalError", PlatformOutage, Yes, "YouTube is in trouble; it goes on by itself"),
    ("backendError", PlatformOutage, Yes, "YouTube is in trouble; it goes on by itself"),
    ("quotaExceeded", QuotaExhausted, Yes, "the project's quota of the day is used up"),
    ("dailyLimitExceeded", QuotaExhausted, Yes, "the project's quota of the day is used up"),
    ("uploadLimitExceeded", QuotaExhausted, Yes, "the channel's uploads of 24 h are used up, over all tools"),
    ("rateLimitExceeded", RateLimited, Yes, "YouTube asks for a pause"),
    ("userRateLimitExceeded", RateLimited, Yes, "YouTube asks for a pause"),
    ("authError", Auth, No, "renew YOUTUBE_REFRESH_TOKEN"),
    ("expired", Auth, No, "renew YOUTUBE_REFRESH_TOKEN"),
    ("authorizationRequired", Auth, No, "renew YOUTUBE_REFRESH_TOKEN"),
    ("required", Auth, No, "renew YOUTUBE_REFRESH_TOKEN"),
    ("invalid_grant", Auth, No, "sign in to the channel again and renew YOUTUBE_REFRESH_TOKEN"),
    ("invalid_client", Auth, No, "check YOUTUBE_CLIENT_ID and YOUTUBE_CLIENT_SECRET"),
    ("deleted_client", Auth, No, "the OAuth client was deleted; make a new one"),
    ("unauthorized_client", Auth, No, "the OAuth client may not do this; check it in the Google console"),
    ("admin_policy_enforced", Auth, No, "the organisation's policy forbids it; ask its administrator"),
    ("invalid_request", Auth, No, "check YOUTUBE_CLIENT_ID, YOUTUBE_CLIENT_SECRET and YOUTUBE_REFRESH_TOKEN"),
    ("insufficientPermissions", Auth, No, "sign in again with the scope youtube.upload"),
    ("accessNotConfigured", Auth, No, "switch the YouTube Data API on in the Google console"),
    ("forbidden", Auth, No, "the account may not do this; look at the channel and the OAuth client"),
    ("youtubeSignupRequired", AccountRestricted, No, "the Google account has no channel; make one"),
    ("authenticatedUserNotChannel", AccountRestricted, No, "the Google account has no channel; choose one"),
    ("accountDelegationForbidden", AccountRestricted, No, "the account may not act for the channel"),
    ("authenticatedUserAccountClosed", AccountRestricted, No, "the account is closed"),
    ("authenticatedUserAccountSuspended", AccountRestricted, No, "the account is suspended; ask YouTube"),
    ("channelClosed", AccountRestricted, No, "the channel is closed"),
    ("channelSuspended", AccountRestricted, No, "the channel is suspended; ask YouTube"),
    ("defaultLanguageNotSet", RejectedContent, No, "the video's data are refused"),
    ("forbiddenPrivacySetting", RejectedContent, No, "set YOUTUBE_PRIVACY_STATUS to what the channel may use"),
    ("forbiddenLicenseSetting", RejectedContent, No, "the licence is refused"),
    ("badRequest", RejectedContent, No, "YouTube does not take the post as it is"),
    ("missingRequiredParameter", RejectedContent, No, "YouTube does not take the post as it is"),
    ("unexpectedParameter", RejectedContent, No, "YouTube does not take the post as it is"),
    ("incompatibleParameters", RejectedContent, No, "YouTube does not take the post as it is"),
    ("mediaBodyRequired", MissingAsset, Yes, "restore the video file"),
];

/// The failure that an error stands for.
pub(super) fn classify(step: &str, status: u16, json: &Value, now: DateTime<Utc>) -> Failure {
    let error = &json["error"];
    // The token endpoint answers flat, the API with a list.
    let (reason, message) = match error {
        Value::String(code) => (code.as_str(), json["error_description"].as_str()),
        error => (error["errors"][0]["reason"].as_str().unwrap_or_default(), error["message"].as_str()),
    };
    let message = message.unwrap_or_default();
    let shown = if reason.is_empty() { format!("HTTP {status}") } else { format!("`{reason}`, HTTP {status}") };
    let detail = if message.is_empty() { String::new() } else { format!(" ({message})") };
    let failed = |category: Category, advice: &str| {
        Failure::new(category, format!("YouTube failed to {step}: {shown}{detail}")).advise(advice)
    };

    // The daily bucket of uploads is told from a burst limit only by its message.
    if matches!(reason, "rateLimitExceeded" | "userRateLimitExceeded") && message.to_lowercase().contains("per day") {
        let failure = failed(QuotaExhausted, "the project's uploads of the day are used up");
        return failure.retry_at(next_quota_reset(now));
    }
    if let Some((_, category, retryable, advice)) = RULES.iter().find(|rule| rule.0 == reason) {
        let failure = failed(*category, advice);
        let is_project_quota = matches!(reason, "quotaExceeded" | "dailyLimitExceeded");
        let failure = if is_project_quota { failure.retry_at(next_quota_reset(now)) } else { failure };
        return if *retryable == No { failure.not_retryable() } else { failure };
    }
    if reason.starts_with("invalid") {
        return failed(RejectedContent, "correct the post's title, description or hashtags").not_retryable();
    }
    match status {
        401 => failed(Auth, "renew YOUTUBE_REFRESH_TOKEN").not_retryable(),
        403 if reason.is_empty() => failed(Auth, "look at the channel and the OAuth client").not_retryable(),
        429 => failed(RateLimited, "YouTube asks for a pause"),
        500..=599 => failed(PlatformOutage, "YouTube is in trouble; it goes on by itself"),
        _ => failed(Unknown, "the reason is not known to postretry"),
    }
}

/// The next midnight in California, when the project's quota starts anew.
fn next_quota_reset(now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let tomorrow = now.with_timezone(&Los_Angeles).date_naive().checked_add_days(Days::new(1))?;
    let midnight = tomorrow.and_time(NaiveTime::MIN);
    Some(Los_Angeles.from_local_datetime(&midnight).earliest()?.with_timezone(&Utc))
}

/// What the processing of an uploaded video says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Processed {
    /// It is done.
    Done,
    /// It goes on.
    NotYet,
    /// It has failed, or the video was refused.
    Failed(Failure),
}

/// Reads the `status` and `processingDetails` of a video.
pub(super) fn read_processing(video: &Value) -> Processed {
    let status = &video["status"];
    let details = &video["processingDetails"];
    let failed = |reason: &str| {
        let text = format!("YouTube failed to process the video: `{reason}`");
        // What broke off on the way may arrive the next time; what cannot be read will not get better.
        match reason {
            "uploadAborted" | "uploadFailed" => {
                Processed::Failed(Failure::new(MediaProcessing, format!("{text}; it is sent again")).with_dead_ticket())
            }
            _ => Processed::Failed(
                Failure::new(MediaProcessing, format!("{text}; delete the failed video and encode the file again"))
                    .not_retryable(),
            ),
        }
    };
    match status["uploadStatus"].as_str().unwrap_or_default() {
        "processed" => Processed::Done,
        "failed" => failed(status["failureReason"].as_str().unwrap_or("unknown")),
        "rejected" => {
            let reason = status["rejectionReason"].as_str().unwrap_or("unknown");
            let text = format!("YouTube rejected the video: `{reason}`");
            Processed::Failed(match reason {
                "uploaderAccountClosed" | "uploaderAccountSuspended" => {
                    Failure::new(AccountRestricted, format!("{text}; ask YouTube about the channel")).not_retryable()
                }
                "duplicate" => {
                    let advice = "the channel has this video already; find the earlier one";
                    Failure::new(RejectedContent, format!("{text}; {advice}")).not_retryable()
                }
                _ => Failure::new(RejectedContent, format!("{text}; look at the video in YouTube Studio"))
                    .not_retryable(),
            })
        }
        "deleted" => Processed::Failed(
            Failure::new(Category::Ambiguous, "the video was deleted from YouTube after its upload").not_retryable(),
        ),
        _ => match details["processingStatus"].as_str().unwrap_or_default() {
            "failed" => failed(details["processingFailureReason"].as_str().unwrap_or("unknown")),
            "succeeded" => Processed::Done,
            "terminated" => Processed::Failed(Failure::new(
                Category::Ambiguous,
                "YouTube has stopped processing the video; look at it in YouTube Studio before it is sent again",
            )),
            _ => Processed::NotYet,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn api_error(reason: &str, message: &str) -> Value {
        json!({ "error": { "code": 0, "message": message, "errors": [{ "reason": reason, "domain": "global" }] } })
    }

    #[test]
    fn every_row_of_the_sheet_has_its_category() {
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
            let failure = classify("test", status, &api_error(reason, ""), now());
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status} {reason}");
        }
        for code in ["invalid_grant", "deleted_client", "invalid_client", "admin_policy_enforced"] {
            assert_eq!(classify("test", 400, &json!({ "error": code }), now()).category, Auth, "{code}");
        }
    }

    #[test]
    fn the_daily_bucket_is_told_from_a_burst_by_its_message() {
        let message = "Quota exceeded for quota metric 'Video Uploads' and limit 'Video Uploads per day' of service";
        let failure = classify("test", 429, &api_error("rateLimitExceeded", message), now());
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
    fn processing_is_read() {
        let video = |status: Value| json!({ "status": status });
        assert_eq!(read_processing(&video(json!({ "uploadStatus": "processed" }))), Processed::Done);
        assert_eq!(read_processing(&video(json!({ "uploadStatus": "uploaded" }))), Processed::NotYet);
        for (reason, retryable) in [("uploadAborted", Yes), ("codec", No)] {
            let read = read_processing(&video(json!({ "uploadStatus": "failed", "failureReason": reason })));
            let Processed::Failed(failure) = read else { panic!("{reason} is a failure") };
            assert_eq!((failure.category, failure.retryable), (MediaProcessing, retryable));
        }
        for (reason, category) in [("copyright", RejectedContent), ("uploaderAccountSuspended", AccountRestricted)] {
            let read = read_processing(&video(json!({ "uploadStatus": "rejected", "rejectionReason": reason })));
            let Processed::Failed(failure) = read else { panic!("{reason} is a failure") };
            assert_eq!(failure.category, category);
        }
    }
}
