//! What YouTube and Google say when they refuse. Only what has their own form is their word: a gateway or a firewall in
//! between answers with pages of its own.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::classify::classify;
use crate::platform::http::{ApiResponse, lenient, lenient_items};
use crate::platform::unexpected_response;
use crate::post::{Failure, Platform};

/// An error in the form of the API or of the token endpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PlatformError {
    /// The API's first reason, or the token endpoint's code; empty if there is none.
    pub(super) reason: String,
    /// The explanation; empty if there is none.
    pub(super) message: String,
}

impl PlatformError {
    /// The API's error; none if the response is not in its form.
    pub(super) fn of_api(response: &ApiResponse) -> Option<Self> {
        response.parse::<ApiErrorResponse>()?.into_error()
    }

    /// The token endpoint's error, likewise.
    pub(super) fn of_token_endpoint(response: &ApiResponse) -> Option<Self> {
        response.parse::<TokenErrorResponse>()?.into_error()
    }

    /// Whether it can mean that the token lacks the right to read.
    fn lacks_read_access(&self, status: u16) -> bool {
        status == 403 && matches!(self.reason.as_str(), "" | "insufficientPermissions" | "forbidden")
    }
}

/// An error of the API ("YouTube Data API - Errors").
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ApiErrorResponse {
    #[serde(deserialize_with = "lenient")]
    error: ApiErrorBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ApiErrorBody {
    #[serde(deserialize_with = "lenient")]
    code: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(deserialize_with = "lenient_items")]
    errors: Vec<ErrorItem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorItem {
    #[serde(deserialize_with = "lenient")]
    reason: Option<String>,
}

impl ApiErrorResponse {
    /// The error, if there is a reason, or at least a code and a message.
    fn into_error(self) -> Option<PlatformError> {
        let ApiErrorBody { code, message, errors } = self.error;
        let reason = errors.into_iter().next().and_then(|item| item.reason).unwrap_or_default();
        let is_api_form = !reason.is_empty() || (code.is_some() && message.is_some());
        is_api_form.then(|| PlatformError { reason, message: message.unwrap_or_default() })
    }
}

/// An error of the token endpoint: one flat code (Google Identity's "OAuth 2.0" for web servers).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenErrorResponse {
    #[serde(deserialize_with = "lenient")]
    error: Option<String>,
    #[serde(deserialize_with = "lenient")]
    error_description: Option<String>,
}

impl TokenErrorResponse {
    fn into_error(self) -> Option<PlatformError> {
        let reason = self.error.filter(|code| !code.is_empty())?;
        Some(PlatformError { reason, message: self.error_description.unwrap_or_default() })
    }
}

/// A response of the API that gives no result.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Whether it has the form of YouTube's errors. If not, it decides nothing.
    pub(super) is_own_form: bool,
    /// Whether it says that the token may not read: `youtube.upload` alone does not give that right ("Videos: list").
    pub(super) lacks_read_access: bool,
    pub(super) failure: Failure,
}

impl Refusal {
    pub(super) fn read(step: &str, response: &ApiResponse, now: DateTime<Utc>) -> Self {
        let status = response.status;
        if response.is_success() {
            let failure = unexpected_response(Platform::YouTubeShorts, step, status);
            return Self { status, is_own_form: false, lacks_read_access: false, failure };
        }
        let error = PlatformError::of_api(response);
        let lacks_read_access = error.as_ref().is_some_and(|error| error.lacks_read_access(status));
        let failure = classify(step, status, error.as_ref(), now);
        let retry_at = failure.retry_at.or_else(|| response.retry_after(now));
        Self { status, is_own_form: error.is_some(), lacks_read_access, failure: failure.retry_at(retry_at) }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the members that newer responses add.
    const API: &str = r#"{ "error": {
        "code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [{ "@type": "x" }],
        "errors": [
            { "message": "Quota exceeded", "domain": "global", "reason": "rateLimitExceeded", "location": "x" },
            { "reason": "second" }
        ]
    } }"#;

    /// The error of a refresh.
    const TOKEN: &str = r#"{
        "error": "invalid_grant", "error_description": "Token has been revoked.", "error_subtype": "invalid_rapt"
    }"#;

    fn api(text: &str) -> Option<PlatformError> {
        serde_json::from_str::<ApiErrorResponse>(text).unwrap().into_error()
    }

    fn token(text: &str) -> Option<PlatformError> {
        serde_json::from_str::<TokenErrorResponse>(text).unwrap().into_error()
    }

    fn error(reason: &str, message: &str) -> PlatformError {
        PlatformError { reason: reason.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn an_error_of_the_api_is_a_list_of_reasons_and_one_of_the_token_endpoint_a_code() {
        assert_eq!(api(API), Some(error("rateLimitExceeded", "Quota exceeded")));
        assert_eq!(token(TOKEN), Some(error("invalid_grant", "Token has been revoked.")));
    }

    #[test]
    fn only_a_403_about_permissions_can_mean_that_the_right_to_read_is_missing() {
        for (status, reason, expected) in [
            (403, "insufficientPermissions", true),
            (403, "forbidden", true),
            (403, "", true),
            (403, "accessNotConfigured", false),
            (403, "channelSuspended", false),
            (403, "quotaExceeded", false),
            (401, "authError", false),
            (401, "forbidden", false),
            (400, "insufficientPermissions", false),
        ] {
            assert_eq!(error(reason, "").lacks_read_access(status), expected, "{status} {reason}");
        }
    }

    #[test]
    fn an_error_needs_a_reason_or_a_code_and_a_message() {
        for (text, expected) in [
            (r#"{ "error": { "code": 400, "message": "x" } }"#, Some(error("", "x"))),
            (r#"{ "error": { "code": 400, "message": "x", "errors": "none" } }"#, Some(error("", "x"))),
            (r#"{ "error": { "code": 400, "message": "x", "errors": [] } }"#, Some(error("", "x"))),
            (r#"{ "error": { "code": 400, "message": "x", "errors": [{ "reason": 1 }] } }"#, Some(error("", "x"))),
            (r#"{ "error": { "message": 1, "errors": [{ "reason": "forbidden" }] } }"#, Some(error("forbidden", ""))),
            ("{}", None),
            (r#"{ "error": null }"#, None),
            (r#"{ "error": 7, "error_description": "x" }"#, None),
            (r#"{ "error": "Forbidden" }"#, None),
            (r#"{ "error": { "message": "x" } }"#, None),
            (r#"{ "error": { "code": 400 } }"#, None),
            (r#"{ "error": { "code": "AuthFailed", "message": "x" } }"#, None),
            (r#"{ "error": { "errors": [{ "reason": "" }] } }"#, None),
            (r#"{ "message": "Forbidden" }"#, None),
        ] {
            assert_eq!(api(text), expected, "{text}");
        }
        for (text, expected) in [
            (r#"{ "error": "invalid_grant", "error_description": {} }"#, Some(error("invalid_grant", ""))),
            (r#"{ "error": "" }"#, None),
            (r#"{ "error": { "code": 400, "message": "x" } }"#, None),
            ("{}", None),
        ] {
            assert_eq!(token(text), expected, "{text}");
        }
    }
}
