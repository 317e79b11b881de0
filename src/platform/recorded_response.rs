//! What a response of a platform means, without sending a request: for a response that was recorded, and for the fuzz
//! targets.

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::http::ApiResponse;
use super::{instagram, tiktok, youtube};
use crate::post::{Failure, Platform};

/// An HTTP response of a platform, or of something in between.
#[derive(Debug, Clone, Copy)]
pub struct RecordedResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The headers. One whose name or value HTTP does not allow is left out.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// What a response means if it is the response to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// What the platform was asked to do, in the words of an error.
    pub step: &'static str,
    /// The failure; none if the response is no failure of this request.
    pub failure: Option<Failure>,
}

impl RecordedResponse<'_> {
    /// What the response means for each request that the platform gets.
    pub fn meanings(&self, platform: Platform, now: DateTime<Utc>) -> Vec<Meaning> {
        let response = self.response();
        match platform {
            Platform::TikTok => tiktok::meanings(&response, now),
            Platform::Instagram => instagram::meanings(&response, now),
            Platform::YouTubeShorts => youtube::meanings(&response, now),
        }
    }

    /// When `Retry-After` allows the next request.
    pub fn retry_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.response().retry_after(now)
    }

    /// How many of a video's `size` bytes have arrived, by the headers of an upload's response; none if they do not
    /// say.
    pub fn stored_bytes(&self, platform: Platform, size: u64, now: DateTime<Utc>) -> Option<u64> {
        let response = self.response();
        match platform {
            Platform::TikTok => tiktok::stored_bytes(&response, size),
            // Its container tells, in the body.
            Platform::Instagram => None,
            Platform::YouTubeShorts => youtube::stored_bytes(&response, size, now),
        }
    }

    fn response(&self) -> ApiResponse {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
        ApiResponse::new(self.status, headers, self.body.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::Category;

    #[test]
    fn a_response_means_the_same_failure_as_in_an_attempt() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        for (platform, status, body, category) in [
            (Platform::TikTok, 403, r#"{"error":{"code":"spam_risk_text"}}"#, Category::RejectedContent),
            (Platform::Instagram, 400, r#"{"error":{"code":190,"message":"expired"}}"#, Category::Auth),
            (
                Platform::YouTubeShorts,
                403,
                r#"{"error":{"errors":[{"reason":"quotaExceeded"}]}}"#,
                Category::QuotaExhausted,
            ),
            (Platform::TikTok, 502, "<html>", Category::PlatformOutage),
        ] {
            let response = RecordedResponse { status, headers: &[], body: body.as_bytes() };
            let failure = response.meanings(platform, now).swap_remove(0).failure.unwrap();
            assert_eq!(failure.category, category, "{platform}: {body}");
        }
    }

    #[test]
    fn the_headers_of_a_response_count() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let headers = [("Retry-After", "90"), ("Range", "bytes=0-99"), ("no header", "x")];
        let response = RecordedResponse { status: 308, headers: &headers, body: b"" };
        assert_eq!(response.retry_after(now).map(|at| at.timestamp()), Some(90));
        assert_eq!(response.stored_bytes(Platform::YouTubeShorts, 1000, now), Some(100));
        assert_eq!(response.stored_bytes(Platform::TikTok, 1000, now), None);
    }
}
