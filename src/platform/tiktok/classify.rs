//! TikTok's codes as failures. The codes are those of "Error Handling", "OAuth Error Handling", "Get Post Status" and
//! the endpoints' own pages on <https://developers.tiktok.com>. Which category a code has is our decision.

use chrono::{DateTime, TimeDelta, Utc};

use super::wire::ApiError;
use crate::platform::foreign_category;
use crate::post::{Category, Failure, MAX_CODE_CHARS, MAX_WORDS_CHARS, Retryable, excerpt};

use Category::{
    AccountRestricted, Ambiguous, Auth, MediaProcessing, MissingAsset, PlatformOutage, QuotaExhausted, RateLimited,
    RejectedContent, Unknown,
};
use Retryable::{No, Yes};

/// The advice for an outage.
const UNAVAILABLE: &str = "TikTok is unavailable; the post will be retried automatically";

/// The advice for too many requests.
const RATE_LIMITED: &str = "TikTok's rate limit is reached; the post will be retried automatically";

/// How long to wait after too many requests if TikTok does not say: its window is one minute ("Rate Limits").
const RATE_WINDOW: TimeDelta = TimeDelta::seconds(65);

/// A code, what it means for the post, and what a person can do about it.
type Rule = (&'static str, Category, Retryable, &'static str);

/// The codes of responses (`error.code`), of failed posts (`fail_reason`) and of the token endpoint (`error`). A code
/// that appears in two places means the same in both.
const RULES: &[Rule] = &[
    (INVALID_TOKEN, Auth, No, "renew the TikTok token"),
    ("invalid_grant", Auth, No, "connect the account again and renew TIKTOK_REFRESH_TOKEN"),
    ("auth_removed", Auth, No, "the creator has revoked access; connect the account again"),
    ("access_denied", Auth, No, "connect the account again"),
    ("scope_not_authorized", Auth, No, "connect the account again with the scope video.publish"),
    ("scope_permission_missed", Auth, No, "connect the account again with the required scopes"),
    ("invalid_scope", Auth, No, "connect the account again with the scope video.publish"),
    ("invalid_client", Auth, No, "check TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET"),
    ("unauthorized_client", Auth, No, "check the app's settings at TikTok"),
    ("invalid_request", Auth, No, "check TIKTOK_CLIENT_KEY, TIKTOK_CLIENT_SECRET and TIKTOK_REFRESH_TOKEN"),
    ("unsupported_grant_type", Auth, No, "check the app's settings at TikTok"),
    (INACCESSIBLE_ID, Auth, No, "the token belongs to another account than the upload"),
    ("server_error", PlatformOutage, Yes, UNAVAILABLE),
    ("temporarily_unavailable", PlatformOutage, Yes, UNAVAILABLE),
    ("internal_error", PlatformOutage, Yes, UNAVAILABLE),
    ("internal", PlatformOutage, Yes, "TikTok failed to process the post; it will be sent again automatically"),
    ("rate_limit_exceeded", RateLimited, Yes, RATE_LIMITED),
    (
        "spam_risk_too_many_posts",
        QuotaExhausted,
        Yes,
        "the account has reached its limit of posts in 24 h, counted over all apps",
    ),
    ("reached_active_user_cap", QuotaExhausted, Yes, "the app has reached its daily limit of accounts that post"),
    ("spam_risk_too_many_pending_share", QuotaExhausted, Yes, "clear the drafts in the account's TikTok inbox"),
    ("spam_risk_user_banned_from_posting", AccountRestricted, No, "the account is banned from posting; contact TikTok"),
    (
        "unaudited_client_can_only_post_to_private_accounts",
        AccountRestricted,
        No,
        "have the app audited by TikTok, or make the account private and set TIKTOK_PRIVACY_LEVEL=SELF_ONLY",
    ),
    ("app_version_check_failed", AccountRestricted, No, "the account's TikTok app must be updated"),
    (
        "privacy_level_option_mismatch",
        RejectedContent,
        No,
        "set TIKTOK_PRIVACY_LEVEL to a level that the account offers",
    ),
    ("spam_risk_text", RejectedContent, No, "TikTok considers the caption risky; change it"),
    ("spam_risk", RejectedContent, No, "TikTok considers the post risky; do not send it again as it is"),
    ("invalid_param", RejectedContent, No, "TikTok does not accept the post as it is"),
    ("invalid_params", RejectedContent, No, "TikTok does not accept the post as it is"),
    ("file_format_check_failed", MediaProcessing, No, "encode the file again as H.264 in MP4"),
    ("duration_check_failed", MediaProcessing, No, "the video is too short or too long for the account"),
    ("frame_rate_check_failed", MediaProcessing, No, "encode the video again with 23 to 60 frames a second"),
    ("picture_size_check_failed", MediaProcessing, No, "encode the media again with 360 to 4096 pixels a side"),
    ("invalid_file_upload", MediaProcessing, No, "encode the file again to TikTok's specification"),
    ("video_pull_failed", MissingAsset, Yes, "check that the media can be fetched from its public address"),
    ("photo_pull_failed", MissingAsset, Yes, "check that ASSET_PUBLIC_URL serves the image"),
    (
        "url_ownership_unverified",
        MissingAsset,
        Yes,
        "verify the domain of ASSET_PUBLIC_URL at TikTok's developer portal",
    ),
    // Somebody cancelled it on purpose, so it is marked as ambiguous until a person asks for it.
    ("publish_cancelled", Ambiguous, No, "the publish was cancelled at TikTok; reset the post to send it again"),
    (UNKNOWN_ID, Unknown, No, "TikTok no longer knows the upload"),
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
        return foreign(step, status);
    }
    let log_id = log_id_text(error);
    let words = excerpt(message, MAX_WORDS_CHARS);
    let detail = if words.is_empty() || message == code { String::new() } else { format!(" ({words})") };
    let failed = |category: Category, shown: String| {
        Failure::new(category, format!("TikTok failed to {step}: {shown}{detail}{log_id}"))
    };
    if let Some((_, category, retryable, advice)) = RULES.iter().find(|rule| rule.0 == code) {
        let failure = failed(*category, format!("`{code}`")).advise(*advice);
        return if *retryable == No { failure.not_retryable() } else { failure };
    }
    let shown = format!("`{}`, HTTP {status}", excerpt(code, MAX_CODE_CHARS));
    match status {
        401 => failed(Auth, shown).advise("renew the TikTok token").not_retryable(),
        429 => failed(RateLimited, shown).advise(RATE_LIMITED),
        500..=599 => failed(PlatformOutage, shown).advise(UNAVAILABLE),
        _ => failed(Unknown, shown).advise("postretry does not know this code"),
    }
}

/// The failure of a request whose response has no code of TikTok's, such as the page of a gateway. It says nothing of
/// the post or of its ticket, so only the class of the HTTP status counts, and a retry is always possible.
pub(super) fn foreign(step: &str, status: u16) -> Failure {
    let category = foreign_category(status);
    let advice = match category {
        Auth => "check the TikTok token, and whether a proxy or gateway has answered",
        RateLimited => RATE_LIMITED,
        PlatformOutage => UNAVAILABLE,
        _ => "a proxy or gateway may have answered",
    };
    let text = format!("TikTok failed to {step}: HTTP {status} without an error code of TikTok");
    Failure::new(category, text).advise(advice)
}

/// Whether a response of this content type is a page, as only something in between sends it.
pub(super) fn is_page(content_type: Option<&str>) -> bool {
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    ["html", "xml"].into_iter().any(|kind| content_type.contains(kind))
}

/// The id that TikTok's support asks for, to be added to a text.
pub(super) fn log_id_text(error: &ApiError) -> String {
    error.log_id().map(|id| format!(" (log_id {})", excerpt(id, MAX_CODE_CHARS))).unwrap_or_default()
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
            assert!(failure.message.contains(&format!("HTTP {status} ")), "{}", failure.message);
        }
    }

    #[test]
    fn a_page_is_known_by_its_content_type() {
        for (content_type, expected) in [
            (Some("text/html"), true),
            (Some("Text/HTML; charset=UTF-8"), true),
            (Some("application/xml"), true),
            (Some("application/json; charset=utf-8"), false),
            (Some("text/plain"), false),
            (None, false),
        ] {
            assert_eq!(is_page(content_type), expected, "{content_type:?}");
        }
    }

    #[test]
    fn a_text_names_the_log_id() {
        let error: ApiError =
            serde_json::from_str(r#"{"code":"spam_risk","message":"risky","log_id":"2026112300"}"#).unwrap();
        let message = classify("accept the video", 403, &error).message;
        let expected = "TikTok failed to accept the video: `spam_risk` (risky) (log_id 2026112300); ";
        assert!(message.starts_with(expected), "{message}");
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
