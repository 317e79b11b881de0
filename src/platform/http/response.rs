//! What a request led to: a response that was read to its end, or the reason why there is none.
#![warn(clippy::arithmetic_side_effects)]

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::platform::explanation::Explanation;
use crate::platform::media::FileError;
use crate::platform::{AttemptAborted, PublishError};
use crate::post::{Category, Failure, MAX_DEFERRAL, Platform};

/// A response, read to its end.
#[derive(Debug)]
pub(in crate::platform) struct ApiResponse {
    pub(in crate::platform) status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Why a request has no response.
#[derive(Debug)]
pub(in crate::platform) enum SendError {
    /// It never reached the platform, for this reason.
    NotSent(String),
    /// It may have: the connection was lost, or no response came in time.
    Lost(String),
    /// The response is longer than any that the platform gives.
    TooLong {
        /// Its status.
        status: u16,
    },
    /// The file could not be read to its end, or changed meanwhile.
    File(String),
    /// The attempt may not go on.
    Aborted(AttemptAborted),
}

impl SendError {
    /// As the failure of a step that can be taken again without harm.
    pub(in crate::platform) fn into_retryable(self, platform: Platform, step: &str) -> PublishError {
        let explanation = Explanation::new(platform, step);
        let failure = match self {
            Self::NotSent(why) | Self::Lost(why) => explanation.failure(Category::Network, &why),
            Self::TooLong { status } => {
                explanation.status(status).failure(Category::Unknown, "the response is longer than 1 MiB")
            }
            Self::File(why) => Failure::new(Category::MissingAsset, why),
            Self::Aborted(aborted) => return PublishError::Aborted(aborted),
        };
        PublishError::Failed(failure)
    }
}

impl From<FileError> for SendError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Unusable(why) => Self::File(why),
            FileError::ResourceLimit(why) => Self::Aborted(AttemptAborted::ResourceLimit(why)),
        }
    }
}

impl ApiResponse {
    pub(in crate::platform) fn new(status: u16, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { status, headers, body }
    }

    /// The body in a platform's form; none if it is no JSON object of that form. Of a key that stands twice the last
    /// value counts.
    pub(in crate::platform) fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        let body = serde_json::from_slice(&self.body).ok().filter(Value::is_object)?;
        serde_json::from_value(body).ok()
    }

    /// Whether the status is 2xx.
    pub(in crate::platform) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header as text.
    pub(in crate::platform) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it is a page, in HTML or XML, as gateways and firewalls give them. An empty body is no page.
    pub(in crate::platform) fn is_page(&self) -> bool {
        let content_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase();
        !self.body.is_empty() && ["html", "xml"].into_iter().any(|kind| content_type.contains(kind))
    }

    /// When `Retry-After` says to come back: after so many seconds, or at a date (RFC 9110, section 10.2.3).
    pub(in crate::platform) fn retry_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        parse_retry_after(self.header(RETRY_AFTER.as_str())?, now)
    }
}

/// The time that a `Retry-After` header names, at most the longest deferral from now. Zero seconds or a time that has
/// passed name none: the platform's usual wait counts.
fn parse_retry_after(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let latest = now.checked_add_signed(MAX_DEFERRAL)?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let asked = if is_number {
        let seconds = text.parse::<i64>().ok().and_then(TimeDelta::try_seconds);
        // A number that is too large for a date asks for a long time all the same.
        seconds.and_then(|seconds| now.checked_add_signed(seconds)).unwrap_or(latest)
    } else {
        httpdate::parse_http_date(text).ok().map(DateTime::<Utc>::from)?
    };
    Some(asked.min(latest)).filter(|at| *at > now)
}

/// Reads a field that may be of any type by mistake: one of another type is as good as none, and the rest of the
/// response is read all the same. For `deserialize_with`, with `default`.
pub(in crate::platform) fn lenient<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(serde_json::from_value(Value::deserialize(input)?).unwrap_or_default())
}

/// Reads a list without the items of another form; anything but a list is an empty one. For `deserialize_with`, with
/// `default`.
pub(in crate::platform) fn lenient_items<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let items: Vec<Value> = lenient(input)?;
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Reads an id, which platforms write as a text or as a number; none for anything else. For `deserialize_with`, with
/// `default`.
pub(in crate::platform) fn text_or_number<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(input)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// Reads a size, likewise.
pub(in crate::platform) fn number_or_text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    Ok(text_or_number(input)?.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn why_there_is_no_response_stands_first() {
        for (error, category, message) in [
            (
                SendError::NotSent("connection refused; open.tiktokapis.com cannot be reached".to_owned()),
                Category::Network,
                "TikTok: connection refused; open.tiktokapis.com cannot be reached (when asked to accept the video)",
            ),
            (
                SendError::Lost("no response within 1m".to_owned()),
                Category::Network,
                "TikTok: no response within 1m (when asked to accept the video)",
            ),
            (
                SendError::TooLong { status: 200 },
                Category::Unknown,
                "TikTok: the response is longer than 1 MiB (HTTP 200, when asked to accept the video)",
            ),
            (SendError::File("no such file: `a.mp4`".to_owned()), Category::MissingAsset, "no such file: `a.mp4`"),
        ] {
            let failure = error.into_retryable(Platform::TikTok, "accept the video").into_failure().unwrap();
            assert_eq!((failure.category, failure.message.as_str()), (category, message));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nonsense_is_nothing() {
        let now = at("2026-11-23T10:00:00Z");
        assert_eq!(parse_retry_after("120", now), Some(at("2026-11-23T10:02:00Z")));
        assert_eq!(parse_retry_after("Mon, 23 Nov 2026 12:00:00 GMT", now), Some(at("2026-11-23T12:00:00Z")));
        for nonsense in ["", "soon", "-5", "1e3", "0x10", "Mon, 99 Nov 9999 99:99:99 GMT"] {
            assert_eq!(parse_retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn retry_after_is_believed_for_seven_days_at_most() {
        let now = at("2026-11-23T10:00:00Z");
        for absurd in ["604801", "100000000000000000000", "9223372036854775807", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(parse_retry_after(absurd, now), Some(at("2026-11-30T10:00:00Z")), "{absurd}");
        }
        let past = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(parse_retry_after(past, now), None);
        assert_eq!(parse_retry_after("0", now), None);
        for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(parse_retry_after("120", now).is_none_or(|at| at >= now));
        }
    }

    #[test]
    fn an_id_and_a_size_are_texts_or_numbers() {
        #[derive(Deserialize)]
        struct Item {
            #[serde(default, deserialize_with = "text_or_number")]
            id: Option<String>,
            #[serde(default, deserialize_with = "number_or_text")]
            size: Option<u64>,
            #[serde(default, deserialize_with = "lenient")]
            part: Option<Vec<u8>>,
        }
        assert_eq!(serde_json::from_str::<Item>(r#"{"part":"none"}"#).unwrap().part, None);
        let read = |text: &str| {
            let item: Item = serde_json::from_str(text).unwrap();
            (item.id, item.size)
        };
        assert_eq!(read(r#"{"id":"7","size":"9"}"#), (Some("7".into()), Some(9)));
        assert_eq!(read(r#"{"id":18446744073709551615,"size":9}"#), (Some("18446744073709551615".into()), Some(9)));
        assert_eq!(read(r#"{"id":null,"size":-1}"#), (None, None));
        assert_eq!(read("{}"), (None, None));
    }
}
