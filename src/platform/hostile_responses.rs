//! Whatever a platform responds, it gets a category and nothing panics: property tests of every response that is read.

use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::RecordedResponse;
use crate::post::{Category, MAX_DEFERRAL, Platform};

/// Responses in the forms that the platforms document.
fn samples(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::TikTok => &TIKTOK,
        Platform::Instagram => &INSTAGRAM,
        Platform::YouTubeShorts => &YOUTUBE,
    }
}

const TIKTOK: [&str; 7] = [
    r#"{"data":{"creator_username":"me","privacy_level_options":["SELF_ONLY"],"comment_disabled":false,"max_video_post_duration_sec":600},"error":{"code":"ok","message":"","log_id":"2026"}}"#,
    r#"{"data":{"publish_id":"v_pub_file~v2-1.123","upload_url":"https://open-upload.tiktokapis.com/video/?id=1"},"error":{"code":"ok"}}"#,
    r#"{"data":{"status":"PUBLISH_COMPLETE","publicaly_available_post_id":[7512345678901234567],"uploaded_bytes":10},"error":{"code":"ok"}}"#,
    r#"{"data":{"status":"FAILED","fail_reason":"spam_risk","uploaded_bytes":"10"},"error":{"code":"ok","logid":"1"}}"#,
    r#"{"data":{"videos":[{"id":"7512345678901234567","title":"A","create_time":1767225600,"share_url":"https://x"}],"has_more":false},"error":{"code":"ok"}}"#,
    r#"{"data":{},"error":{"code":"rate_limit_exceeded","message":"too many","log_id":"2026"}}"#,
    r#"{"access_token":"a","expires_in":86400,"refresh_token":"r","refresh_expires_in":31536000,"open_id":"o"}"#,
];

const INSTAGRAM: [&str; 8] = [
    r#"{"data":[{"config":{"quota_total":50,"quota_duration":86400},"quota_usage":2}]}"#,
    r#"{"id":"17895000000000001","uri":"https://rupload.facebook.com/ig-api-upload/v25.0/17895000000000001"}"#,
    r#"{"id":"17","status":"In progress","status_code":"IN_PROGRESS","video_status":{"uploading_phase":{"status":"in_progress","bytes_transferred":50002}},"copyright_check_status":{"matches_found":false}}"#,
    r#"{"status_code":"ERROR","status":"Error: 9007/2207027"}"#,
    r#"{"data":[{"id":"18","caption":"Hi","timestamp":"2026-11-23T10:00:00+0000","permalink":"https://x/"}],"paging":{}}"#,
    r#"{"error":{"message":"Une erreur","type":"OAuthException","code":190,"error_subcode":463,"is_transient":true,"error_user_msg":"x","fbtrace_id":"A"}}"#,
    r#"{"success":true,"debug_info":{"retriable":false,"type":"ProcessingFailedError","message":"{\"success\":false}"}}"#,
    r#"{"access_token":"t","token_type":"bearer","expires_in":5183944}"#,
];

const YOUTUBE: [&str; 7] = [
    r#"{"kind":"youtube#video","id":"dQw4w9WgXcQ","status":{"uploadStatus":"uploaded","privacyStatus":"private"}}"#,
    r#"{"kind":"youtube#videoListResponse","items":[{"id":"dQw4w9WgXcQ","status":{"uploadStatus":"failed","failureReason":"codec","rejectionReason":"duplicate"},"processingDetails":{"processingStatus":"failed","processingFailureReason":"transcodeFailed"},"fileDetails":{"fileSize":"150000123"}}]}"#,
    r#"{"items":[{"id":"UC1","contentDetails":{"relatedPlaylists":{"likes":"LL","uploads":"UU1"}}}]}"#,
    r#"{"items":[{"snippet":{"title":"A","publishedAt":"2026-11-23T10:00:00Z","resourceId":{"videoId":"a"}},"contentDetails":{"videoId":"b","videoPublishedAt":"2026-11-23T09:00:00Z"}}]}"#,
    r#"{"error":{"code":403,"message":"enough","errors":[{"reason":"quotaExceeded","domain":"youtube.quota"}]}}"#,
    r#"{"access_token":"ya29.a","expires_in":3599,"refresh_token":"1//r","refresh_token_expires_in":604799}"#,
    r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
];

/// Numbers at the limits of their types and beyond, as texts of JSON.
const NUMBERS: [&str; 12] = [
    "0",
    "-0.0",
    "-1",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e-308",
    "0.1",
];

/// A number that JSON allows and no type holds; it stands in its place until the text is written.
const ENORMOUS: &str = "@1e999";

const STATUSES: [u16; 16] = [200, 201, 206, 302, 308, 400, 401, 403, 404, 405, 410, 416, 418, 429, 500, 503];

const HEADERS: [&str; 8] = [
    "Retry-After",
    "Range",
    "Content-Range",
    "Content-Length",
    "Content-Type",
    "Location",
    "X-App-Usage",
    "X-Business-Use-Case-Usage",
];

const HEADER_VALUES: [&str; 14] = [
    "",
    "120",
    "-5",
    "100000000000000000000",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "bytes=0-99",
    "bytes=0-99999999999",
    "bytes=0-18446744073709551615",
    "bytes 0-18446744073709551615/20000000",
    "bytes 0-100/18446744073709551616",
    "text/html",
    r#"{"call_count":1e308,"total_time":-1}"#,
    r#"{"17":[{"type":"instagram","call_count":100,"estimated_time_to_regain_access":9223372036854775807}]}"#,
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::from(ENORMOUS)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(&NUMBERS[..]).prop_map(|text| serde_json::from_str::<Value>(text).unwrap()),
        select(&NUMBERS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((any::<String>(), inner), 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// The places in a JSON value, as pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                pointers(field, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// A sample with one of its parts replaced.
fn with_part(sample: &str, place: Index, part: Value) -> Value {
    let mut value: Value = serde_json::from_str(sample).unwrap();
    let mut places = Vec::new();
    pointers(&value, "", &mut places);
    let at: &String = place.get(&places);
    *value.pointer_mut(at).unwrap() = part;
    value
}

fn written(value: &Value) -> Vec<u8> {
    value.to_string().replace(&format!("\"{ENORMOUS}\""), ENORMOUS.trim_start_matches('@')).into_bytes()
}

fn bodies(platform: Platform) -> impl Strategy<Value = Vec<u8>> {
    let sample = || select(samples(platform));
    let replaced = (sample(), any::<Index>(), any_json())
        .prop_map(|(sample, place, part)| written(&with_part(sample, place, part)));
    let cut = (sample(), any::<Index>()).prop_map(|(sample, at)| sample.as_bytes()[..at.index(sample.len())].to_vec());
    let flipped = (sample(), any::<Index>(), any::<u8>()).prop_map(|(sample, at, byte)| {
        let mut bytes = sample.as_bytes().to_vec();
        *at.get_mut(&mut bytes) = byte;
        bytes
    });
    prop_oneof![
        4 => replaced,
        2 => any_json().prop_map(|value| written(&value)),
        1 => sample().prop_map(|sample| sample.as_bytes().to_vec()),
        1 => cut,
        1 => flipped,
        1 => vec(any::<u8>(), 0..300),
    ]
}

fn header_lines() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let value = prop_oneof![
        select(&HEADER_VALUES[..]).prop_map(str::to_owned),
        vec(32u8..127, 0..40).prop_map(|bytes| String::from_utf8(bytes).unwrap()),
    ];
    vec((select(&HEADERS[..]), value), 0..4)
}

fn statuses() -> impl Strategy<Value = u16> {
    prop_oneof![select(&STATUSES[..]), 100u16..1000]
}

/// Any instant, most of them in our time.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    let ours = (0i64..4_000_000_000).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap());
    prop_oneof![4 => ours, 1 => Just(DateTime::UNIX_EPOCH), 1 => Just("0001-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap())]
}

fn check(
    platform: Platform,
    status: u16,
    headers: &[(&str, String)],
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), TestCaseError> {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let response = RecordedResponse { status, headers: &headers, body };
    for meaning in response.meanings(platform, now) {
        prop_assert!(status < 500 || meaning.failure.is_some(), "{}: HTTP {status} is a success", meaning.step);
        let Some(failure) = meaning.failure else { continue };
        prop_assert!(!failure.message.is_empty(), "{}: {failure:?}", meaning.step);
        // Only the store tells that an attempt was interrupted, and only the clock that a post has expired.
        let is_ours = matches!(failure.category, Category::Interrupted | Category::Expired);
        prop_assert!(!is_ours, "{}: {failure:?}", meaning.step);
    }
    let latest = now.checked_add_signed(MAX_DEFERRAL).unwrap();
    prop_assert!(response.retry_after(now).is_none_or(|at| at <= latest));
    for size in [0, 1, 20_000_000, u64::MAX] {
        prop_assert!(response.stored_bytes(platform, size, now).is_none_or(|bytes| bytes <= size));
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_response_of_tiktok_gets_a_category(
        status in statuses(), headers in header_lines(), body in bodies(Platform::TikTok), now in instants(),
    ) {
        check(Platform::TikTok, status, &headers, &body, now)?;
    }

    #[test]
    fn every_response_of_instagram_gets_a_category(
        status in statuses(), headers in header_lines(), body in bodies(Platform::Instagram), now in instants(),
    ) {
        check(Platform::Instagram, status, &headers, &body, now)?;
    }

    #[test]
    fn every_response_of_youtube_gets_a_category(
        status in statuses(), headers in header_lines(), body in bodies(Platform::YouTubeShorts), now in instants(),
    ) {
        check(Platform::YouTubeShorts, status, &headers, &body, now)?;
    }
}

#[test]
fn a_body_without_a_form_is_an_unknown_failure() {
    let deep = "[".repeat(100_000);
    let deep_objects = r#"{"error":"#.repeat(100_000);
    let now = DateTime::UNIX_EPOCH;
    for body in [
        deep.as_bytes(),
        deep_objects.as_bytes(),
        b"{\"error\":{\"code\":\"\xFF\"}}",
        br#"{"data":{"publish_id":"#,
        br#"{"id":"17","expires_in":1e999}"#,
        b"",
        b"null",
        b"[]",
    ] {
        for platform in Platform::ALL {
            let response = RecordedResponse { status: 200, headers: &[], body };
            // What TikTok answers to a chunk has no body that counts.
            let meanings = response.meanings(platform, now).into_iter();
            for meaning in meanings.filter(|meaning| meaning.step != "accept the video data") {
                let category = meaning.failure.as_ref().map(|failure| failure.category);
                assert_eq!(category, Some(Category::Unknown), "{platform}: {meaning:?}");
            }
        }
    }
}

#[test]
fn of_a_key_that_stands_twice_the_last_value_counts() {
    let body =
        br#"{"data":{"publish_id":"v1","upload_url":"https://x"},"error":{"code":"ok"},"error":{"code":"spam_risk"}}"#;
    let response = RecordedResponse { status: 200, headers: &[], body };
    let first = response.meanings(Platform::TikTok, DateTime::UNIX_EPOCH).swap_remove(0);
    assert_eq!(first.failure.map(|failure| failure.category), Some(Category::RejectedContent));
}
