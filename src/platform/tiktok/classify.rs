//! TikTok's codes as failures. The codes are those of "Error Handling", "OAuth Error Handling", "Get Post Status" and
//! the endpoints' own pages on <https://developers.tiktok.com>. Which category a code has is our decision.

use chrono::{DateTime, TimeDelta, Utc};

use super::wire::ApiError;
use crate::platform::explanation::{Explanation, RATE_LIMITED, UNAVAILABLE, foreign};
use crate::post::{Category, Failure, Platform, Retryable};

use Category::{
    AccountRestricted, Ambiguous, Auth, MediaProcessing, MissingAsset, PlatformOutage, QuotaExhausted, RateLimited,
    RejectedContent, Unknown,
};
use Retryable::{No, Yes};

/// How long to wait after too many requests if TikTok does not say: its window is one minute ("Rate Limits").
const RATE_WINDOW: TimeDelta = TimeDelta::seconds(65);

/// A code, what it means for the post, and its cause in plain words, then what a person can do about it.
type Rule = (&'static str, Category, Retryable, &'static str);

/// The codes of responses (`error.code`), of failed posts (`fail_reason`) and of the token endpoint (`error`). A code
/// that appears in two places means the same in both.
const RULES: &[Rule] = &[
    (INVALID_TOKEN, Auth, No, "the access token is not valid; renew the TikTok token"),
    (
        "invalid_grant",
        Auth,
        No,
        "the refresh token is no longer valid; connect the account again and renew TIKTOK_REFRESH_TOKEN",
    ),
    ("auth_removed", Auth, No, "the creator has revoked access; connect the account again"),
    ("access_denied", Auth, No, "access was denied; connect the account again"),
    ("scope_not_authorized", Auth, No, "the scope video.publish is missing; connect the account again with it"),
    ("scope_permission_missed", Auth, No, "a scope is missing; connect the account again with all required scopes"),
    ("invalid_scope", Auth, No, "the scope is not valid; connect the account again with the scope video.publish"),
    (
        "invalid_client",
        Auth,
        No,
        "the client key or the client secret is wrong; check TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET",
    ),
    ("unauthorized_client", Auth, No, "the app may not refresh tokens; check its settings at TikTok"),
    (
        "invalid_request",
        Auth,
        No,
        "the request is not valid; check TIKTOK_CLIENT_KEY, TIKTOK_CLIENT_SECRET and TIKTOK_REFRESH_TOKEN",
    ),
    ("unsupported_grant_type", Auth, No, "the app may not refresh tokens; check its settings at TikTok"),
    (INACCESSIBLE_ID, Auth, No, "the token belongs to another account than the upload"),
    ("server_error", PlatformOutage, Yes, UNAVAILABLE),
    ("temporarily_unavailable", PlatformOutage, Yes, UNAVAILABLE),
    ("internal_error", PlatformOutage, Yes, UNAVAILABLE),
    ("internal", PlatformOutage, Yes, "an internal error"),
    ("rate_limit_exceeded", RateLimited, Yes, RATE_LIMITED),
    (
        "spam_risk_too_many_posts",
        QuotaExhausted,
        Yes,
        "the account has reached its limit of posts in 24 h, counted over all apps",
    ),
    ("reached_active_user_cap", QuotaExhausted, Yes, "the app has reached its daily limit of accounts that post"),
    (
        "spam_risk_too_many_pending_share",
        QuotaExhausted,
        Yes,
        "too many drafts wait in the account's TikTok inbox; clear them",
    ),
    ("spam_risk_user_banned_from_posting", AccountRestricted, No, "the account is banned from posting; contact TikTok"),
    (
        "unaudited_client_can_only_post_to_private_accounts",
        AccountRestricted,
        No,
        "an app that is not audited may only post to private accounts; have it audited by TikTok, or make the account \
         private and set TIKTOK_PRIVACY_LEVEL=SELF_ONLY",
    ),
    ("app_version_check_failed", AccountRestricted, No, "the account's TikTok app is too old; update it"),
    (
        "privacy_level_option_mismatch",
        RejectedContent,
        No,
        "the account does not offer the privacy level; set TIKTOK_PRIVACY_LEVEL to one that it offers",
    ),
    ("spam_risk_text", RejectedContent, No, "the caption is considered risky; change it"),
    ("spam_risk", RejectedContent, No, "the post is considered risky; do not send it again as it is"),
    ("invalid_param", RejectedContent, No, "the post is not accepted as it is"),
    ("invalid_params", RejectedContent, No, "the post is not accepted as it is"),
    ("file_format_check_failed", MediaProcessing, No, "the format is not accepted; encode it again as H.264 in MP4"),
    ("duration_check_failed", MediaProcessing, No, "the video is too short or too long for the account"),
    (
        "frame_rate_check_failed",
        MediaProcessing,
        No,
        "the frame rate is not accepted; encode the video again with 23 to 60 frames a second",
    ),
    (
        "picture_size_check_failed",
        MediaProcessing,
        No,
        "the picture size is not accepted; encode the media again with 360 to 4096 pixels a side",
    ),
    ("invalid_file_upload", MediaProcessing, No, "the file does not meet TikTok's specification; encode it again"),
    ("video_pull_failed", MissingAsset, Yes, "the media could not be fetched; check its public address"),
    ("photo_pull_failed", MissingAsset, Yes, "the image could not be fetched; check that ASSET_PUBLIC_URL serves it"),
    (
        "url_ownership_unverified",
        MissingAsset,
        Yes,
        "the domain of ASSET_PUBLIC_URL is not verified; verify it at TikTok's developer portal",
    ),
    // Somebody cancelled it on purpose, so it is marked as ambiguous until a person asks for it.
    ("publish_cancelled", Ambiguous, No, "the publish was cancelled at TikTok; reset the post to send it again"),
    (UNKNOWN_ID, Unknown, No, "the upload is no longer known"),
];

/// The code for a `publish_id` that TikTok does not know.
pub(super) const UNKNOWN_ID: &str = "invalid_publish_id";

/// The code for a `publish_id` that the token may not ask about.
pub(super) const INACCESSIBLE_ID: &str = "token_not_authorized_for_specified_publish_id";

/// The code for a token that TikTok refuses.
pub(super) const INVALID_TOKEN: &str = "access_token_invalid";

/// The failure that a code stands for. If the code is not in the table, the HTTP status decides.
pub(super) fn classify(step: &str, status: u16, error: &ApiError) -> Failure {
    let ApiError { code, message, .. } = error;
    if code.is_empty() {
        return foreign(explanation(step, error).words(message), status);
    }
    // A message that only repeats the code says no more.
    let words = if message == code { "" } else { message.as_str() };
    let explanation = explanation(step, error).code(code).status(status).words(words);
    if let Some((_, category, retryable, cause)) = RULES.iter().find(|rule| rule.0 == code) {
        return explanation.by_rule(*category, *retryable, cause);
    }
    explanation.by_status(status, "the token was refused; renew the TikTok token")
}

/// The explanation of a failed step, with the id that TikTok's support asks for.
pub(super) fn explanation<'a>(step: &'a str, error: &ApiError) -> Explanation<'a> {
    Explanation::new(Platform::TikTok, step).support_id("log_id", error.log_id().unwrap_or_default())
}

/// Adds when TikTok allows the next request: when it says so, or after too many requests when its window has passed.
pub(super) fn with_retry_at(failure: Failure, asked: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Failure {
    let is_rate_limited = failure.category == RateLimited;
    let window_passed = || now.checked_add_signed(RATE_WINDOW).filter(|_| is_rate_limited);
    failure.retry_at(asked.or_else(window_passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::TicketFate;

    #[test]
    fn every_known_code_has_its_category() {
        for (status, code, category, retryable) in [
            (503, "internal_error", PlatformOutage, Yes),
            (200, "internal", PlatformOutage, Yes),
            (429, "rate_limit_exceeded", RateLimited, Yes),
            (200, "spam_risk_too_many_posts", QuotaExhausted, Yes),
            (403, "reached_active_user_cap", QuotaExhausted, Yes),
            (403, "spam_risk_too_many_pending_share", QuotaExhausted, Yes),
            (401, "access_token_invalid", Auth, No),
            (200, "invalid_grant", Auth, No),
            (200, "auth_removed", Auth, No),
            (401, "scope_not_authorized", Auth, No),
            (400, "scope_permission_missed", Auth, No),
            (400, "invalid_client", Auth, No),
            (400, "unauthorized_client", Auth, No),
            (400, "token_not_authorized_for_specified_publish_id", Auth, No),
            (403, "spam_risk_user_banned_from_posting", AccountRestricted, No),
            (403, "unaudited_client_can_only_post_to_private_accounts", AccountRestricted, No),
            (400, "app_version_check_failed", AccountRestricted, No),
            (403, "privacy_level_option_mismatch", RejectedContent, No),
            (200, "spam_risk_text", RejectedContent, No),
            (200, "spam_risk", RejectedContent, No),
            (400, "invalid_param", RejectedContent, No),
            (400, "invalid_params", RejectedContent, No),
            (200, "file_format_check_failed", MediaProcessing, No),
            (200, "duration_check_failed", MediaProcessing, No),
            (200, "frame_rate_check_failed", MediaProcessing, No),
            (200, "picture_size_check_failed", MediaProcessing, No),
            (400, "invalid_file_upload", MediaProcessing, No),
            (200, "video_pull_failed", MissingAsset, Yes),
            (200, "photo_pull_failed", MissingAsset, Yes),
            (403, "url_ownership_unverified", MissingAsset, Yes),
            (200, "publish_cancelled", Ambiguous, No),
            (400, "invalid_publish_id", Unknown, No),
            (400, "a_code_of_tomorrow", Unknown, Yes),
            (503, "a_code_of_tomorrow", PlatformOutage, Yes),
        ] {
            let error = ApiError { code: code.to_owned(), ..ApiError::default() };
            let failure = classify("test", status, &error);
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status} {code}");
            assert!(failure.message.contains(code), "{}", failure.message);
        }
    }

    #[test]
    fn a_response_that_is_not_tiktoks_is_judged_by_its_status_class_only() {
        for (status, category) in [
            (200, Unknown),
            (302, Unknown),
            (400, Unknown),
            (401, Auth),
            (403, Unknown),
            (404, Unknown),
            (413, Unknown),
            (429, RateLimited),
            (500, PlatformOutage),
            (599, PlatformOutage),
        ] {
            let failure = classify("test", status, &ApiError::default());
            assert_eq!((failure.category, failure.retryable), (category, Yes), "{status}");
            assert_eq!(failure.ticket, TicketFate::Kept, "{status}");
            assert!(failure.message.contains(&format!("HTTP {status}, ")), "{}", failure.message);
        }
    }

    #[test]
    fn an_error_without_a_code_keeps_its_words_and_the_id_for_support() {
        let error: ApiError = serde_json::from_str(r#"{"message":"try again later","log_id":"2026112300"}"#).unwrap();
        let failure = classify("accept the video", 503, &error);
        assert_eq!(failure.category, PlatformOutage);
        assert_eq!(
            failure.message,
            "TikTok: temporarily unavailable (HTTP 503, “try again later”, when asked to accept the video, log_id \
             2026112300)"
        );
    }

    #[test]
    fn a_text_begins_with_the_cause_and_ends_with_the_log_id() {
        let message = |code: &str, words: &str| {
            let text = format!(r#"{{"code":"{code}","message":"{words}","log_id":"2026112300"}}"#);
            classify("accept the video", 403, &serde_json::from_str(&text).unwrap()).message
        };
        assert_eq!(
            message("spam_risk_text", "risky"),
            "TikTok: the caption is considered risky; change it (`spam_risk_text`, HTTP 403, “risky”, when asked to \
             accept the video, log_id 2026112300)"
        );
        // The words that only repeat the code are left out.
        assert_eq!(
            message("teapot", "teapot"),
            "TikTok: refused for a reason that postretry does not know (`teapot`, HTTP 403, when asked to accept the \
             video, log_id 2026112300)"
        );
    }

    #[test]
    fn no_cause_begins_with_what_to_do() {
        let commands = ["check ", "clear ", "connect ", "encode ", "have ", "renew ", "set ", "verify "];
        for (.., cause) in RULES {
            assert!(commands.iter().all(|command| !cause.starts_with(command)), "{cause}");
        }
    }

    #[test]
    fn after_too_many_requests_the_window_passes_unless_tiktok_says_more() {
        let now = DateTime::<Utc>::from_timestamp(1_767_225_600, 0).unwrap();
        let (asked, window) = (Some(now + TimeDelta::seconds(120)), Some(now + TimeDelta::seconds(65)));
        for (category, asked, retry_at) in [
            (RateLimited, None, window),
            (RateLimited, asked, asked),
            (PlatformOutage, asked, asked),
            (PlatformOutage, None, None),
        ] {
            assert_eq!(with_retry_at(Failure::new(category, ""), asked, now).retry_at, retry_at, "{category}");
        }
    }
}
