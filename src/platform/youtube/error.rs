//! What YouTube and Google say when they refuse.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::classify::classify;
use super::responses::readable_items;
use crate::platform::http::{ApiResponse, lenient};
use crate::platform::unexpected_response;
use crate::post::{Failure, Platform};

/// An error: the API gives a list of reasons (section 6), the token endpoint one flat code (section 8).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorResponse {
    #[serde(deserialize_with = "lenient")]
    error: Option<ErrorForm>,
    #[serde(deserialize_with = "lenient")]
    error_description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ErrorForm {
    Code(String),
    Api(ApiError),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ApiError {
    #[serde(deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(deserialize_with = "readable_items")]
    errors: Vec<ErrorItem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorItem {
    #[serde(deserialize_with = "lenient")]
    reason: Option<String>,
}

impl ErrorResponse {
    /// The first reason, or the token endpoint's code; empty if there is neither.
    pub(super) fn reason(&self) -> &str {
        match &self.error {
            Some(ErrorForm::Code(code)) => code,
            Some(ErrorForm::Api(error)) => {
                error.errors.first().and_then(|item| item.reason.as_deref()).unwrap_or_default()
            }
            None => "",
        }
    }

    /// The explanation; empty if there is none.
    pub(super) fn message(&self) -> &str {
        let message = match &self.error {
            Some(ErrorForm::Code(_)) => self.error_description.as_deref(),
            Some(ErrorForm::Api(error)) => error.message.as_deref(),
            None => None,
        };
        message.unwrap_or_default()
    }
}

/// A response that gives no result.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) failure: Failure,
}

impl Refusal {
    pub(super) fn read(step: &str, response: &ApiResponse, now: DateTime<Utc>) -> Self {
        let status = response.status;
        if response.is_success() {
            return Self { status, failure: unexpected_response(Platform::YouTubeShorts, step, status) };
        }
        let error: ErrorResponse = response.parse().unwrap_or_default();
        let failure = classify(step, status, &error, now);
        let retry_at = failure.retry_at.or_else(|| response.retry_after(now));
        Self { status, failure: failure.retry_at(retry_at) }
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

    /// Section 6.
    const API: &str = r#"{ "error": {
        "code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [{ "@type": "x" }],
        "errors": [
            { "message": "Quota exceeded", "domain": "global", "reason": "rateLimitExceeded", "location": "x" },
            { "reason": "second" }
        ]
    } }"#;

    /// Section 8.
    const TOKEN: &str = r#"{
        "error": "invalid_grant", "error_description": "Token has been revoked.", "error_subtype": "invalid_rapt"
    }"#;

    fn check(text: &str, reason: &str, message: &str) {
        let error: ErrorResponse = serde_json::from_str(text).unwrap();
        assert_eq!((error.reason(), error.message()), (reason, message), "{text}");
    }

    #[test]
    fn an_error_is_a_list_of_reasons_or_a_code() {
        check(API, "rateLimitExceeded", "Quota exceeded");
        check(TOKEN, "invalid_grant", "Token has been revoked.");
    }

    #[test]
    fn missing_and_wrong_fields_spoil_nothing_else() {
        check("{}", "", "");
        check(r#"{ "error": null }"#, "", "");
        check(r#"{ "error": 7, "error_description": "x" }"#, "", "");
        check(r#"{ "error": "invalid_grant", "error_description": {} }"#, "invalid_grant", "");
        check(r#"{ "error": { "message": "x" } }"#, "", "x");
        check(r#"{ "error": { "message": 1, "errors": [{ "reason": "forbidden" }] } }"#, "forbidden", "");
        check(r#"{ "error": { "message": "x", "errors": "none" } }"#, "", "x");
        check(r#"{ "error": { "message": "x", "errors": [] } }"#, "", "x");
        check(r#"{ "error": { "message": "x", "errors": [{ "reason": 1 }] } }"#, "", "x");
    }
}
