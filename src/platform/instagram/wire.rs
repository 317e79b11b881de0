//! The JSON of the Graph API's requests and responses. The types name their pages on <https://developers.facebook.com>.
//!
//! Responses are read tolerantly: unknown fields are ignored, and an optional field that is missing or has the wrong
//! type is read as none.
#![warn(clippy::arithmetic_side_effects)]

use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::platform::http::{ApiResponse, lenient, number_or_text, text_or_number};
use crate::post::Platform;

/// Creates a container for a reel whose bytes are uploaded ("IG User Media").
#[derive(Debug, Serialize)]
pub(super) struct NewReel<'a> {
    media_type: &'static str,
    upload_type: &'static str,
    caption: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_ai_generated: bool,
}

impl<'a> NewReel<'a> {
    pub(super) fn new(caption: &'a str, is_ai_generated: bool) -> Self {
        Self { media_type: "REELS", upload_type: "resumable", caption, is_ai_generated }
    }
}

/// Creates a container for an image, which Instagram fetches itself ("IG User Media").
#[derive(Debug, Serialize)]
pub(super) struct NewImage<'a> {
    pub(super) image_url: &'a str,
    pub(super) caption: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_ai_generated: bool,
}

/// Makes a container public ("IG User Media Publish").
#[derive(Debug, Serialize)]
pub(super) struct PublishContainer<'a> {
    pub(super) creation_id: &'a str,
}

/// A new container for a reel. Not `Debug`, since the upload address is a secret.
#[derive(Deserialize)]
pub(super) struct CreatedReel {
    #[serde(deserialize_with = "required_id")]
    pub(super) id: String,
    /// Where the bytes go.
    pub(super) uri: String,
}

/// A new container for an image, or the post that a container became.
#[derive(Debug, Deserialize)]
pub(super) struct Created {
    #[serde(deserialize_with = "required_id")]
    pub(super) id: String,
}

/// A page of a list. A response without one is not the Graph API's.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
pub(super) struct List<T> {
    #[serde(deserialize_with = "required_items")]
    pub(super) data: Vec<T>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) paging: Paging,
}

/// Where a list continues ("Paginated Results").
#[derive(Debug, Default, Deserialize)]
pub(super) struct Paging {
    #[serde(default, deserialize_with = "lenient")]
    cursors: Cursors,
    /// Whether the address of a next page is there. The address itself is a secret, since the token is in it.
    #[serde(default, rename = "next", deserialize_with = "is_there")]
    has_next: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Cursors {
    #[serde(default, deserialize_with = "lenient")]
    after: String,
}

/// The page of a list that follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextPage {
    None,
    /// The one after this cursor.
    After(String),
    /// There is one, but without a cursor.
    Unnamed,
}

impl Paging {
    pub(super) fn next_page(self) -> NextPage {
        match (self.has_next, self.cursors.after) {
            (false, _) => NextPage::None,
            (true, after) if after.is_empty() => NextPage::Unnamed,
            (true, after) => NextPage::After(after),
        }
    }
}

/// How many posts the account may publish in 24 hours ("IG User Content Publishing Limit").
#[derive(Debug, Default, Deserialize)]
pub(super) struct PublishingLimit {
    #[serde(default, deserialize_with = "number_or_text")]
    pub(super) quota_usage: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) config: LimitConfig,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct LimitConfig {
    #[serde(default, deserialize_with = "number_or_text")]
    pub(super) quota_total: Option<u64>,
}

/// A container's own report of itself ("IG Container"); of its upload, "Upload Video to Meta Servers".
#[derive(Debug, Default, Deserialize)]
pub(super) struct ContainerStatus {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status_code: StatusCode,
    /// In words; of a failed container it contains the subcode.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) video_status: VideoStatus,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) copyright_check_status: CopyrightCheck,
}

/// Any other value is read as still in progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum StatusCode {
    #[default]
    InProgress,
    Finished,
    Published,
    Error,
    Expired,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct VideoStatus {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) uploading_phase: UploadingPhase,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct UploadingPhase {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    #[serde(default, deserialize_with = "number_or_text")]
    pub(super) bytes_transferred: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CopyrightCheck {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) matches_found: bool,
}

/// A published post ("IG User Media" lists them).
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Media {
    #[serde(default, deserialize_with = "optional_id")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) caption: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) timestamp: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) permalink: Option<String>,
}

/// The upload host's response to bytes ("Content Publishing").
#[derive(Debug, Default, Deserialize)]
pub(super) struct UploadResponse {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) success: bool,
}

/// A fresh token ("Long-Lived Access Tokens"). Not `Debug`, since it is a secret.
#[derive(Deserialize)]
pub(super) struct ExchangedToken {
    pub(super) access_token: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) expires_in: Option<i64>,
}

/// What a response says of an error: the Graph API in `error`, the upload host in `debug_info`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorEnvelope {
    #[serde(default, deserialize_with = "any_error")]
    pub(super) error: Option<GraphError>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) debug_info: Option<DebugInfo>,
}

impl ErrorEnvelope {
    /// Whether it has the form of the Graph API or of the upload host.
    pub(super) fn is_own(&self) -> bool {
        self.error.as_ref().is_some_and(GraphError::is_own) || self.debug_info.as_ref().is_some_and(DebugInfo::is_own)
    }
}

/// The Graph API's error ("Handling Errors", "Error Codes"). One without a code is not its own.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct GraphError {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) code: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error_subcode: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) is_transient: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) message: String,
    /// What people are told; often the only text that names the reason.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error_user_msg: String,
    /// What the platform's support asks for.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) fbtrace_id: String,
}

/// Messages that say nothing beside a text for people.
const VAGUE: &[&str] =
    &["invalid parameter", "an unknown error occurred", "an unknown error has occurred", "fatal", "unknown error"];

impl GraphError {
    /// Whether it has the Graph API's own form.
    pub(super) fn is_own(&self) -> bool {
        self.code.is_some()
    }

    /// What it says in words.
    pub(super) fn words(&self) -> String {
        let (message, for_people) = (self.message.trim(), self.error_user_msg.trim());
        if for_people.is_empty() {
            message.to_owned()
        } else if adds_nothing(message, for_people) {
            for_people.to_owned()
        } else {
            format!("{for_people} / {message}")
        }
    }
}

/// Whether a message tells no more than the text for people beside it.
fn adds_nothing(message: &str, for_people: &str) -> bool {
    // Many begin with the code, as in `(#100) Invalid parameter`.
    let bare = message.strip_prefix("(#").and_then(|rest| rest.split_once(") ")).map_or(message, |(_, rest)| rest);
    let bare = bare.trim_end_matches('.').to_lowercase();
    VAGUE.contains(&bare.as_str()) || for_people.to_lowercase().contains(&bare)
}

/// The upload host's error ("Content Publishing").
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct DebugInfo {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) retriable: Option<bool>,
    /// In words; sometimes JSON.
    #[serde(default, deserialize_with = "as_text")]
    pub(super) message: String,
}

impl DebugInfo {
    /// Whether it has the upload host's own form.
    pub(super) fn is_own(&self) -> bool {
        !self.kind.is_empty() || self.retriable.is_some()
    }

    /// Whether the token was refused, which the host says in two ways, and with HTTP 400. The message is in a sample of
    /// "Upload Video to Meta Servers"; the type was seen and is not documented.
    pub(super) fn is_unauthorized(&self) -> bool {
        self.kind == "NotAuthorizedError" || self.message.to_lowercase().contains("unauthorized")
    }
}

/// The Graph API's error in a response, if there is one.
pub(super) fn graph_error(response: &ApiResponse) -> Option<GraphError> {
    response.parse::<ErrorEnvelope>().and_then(|envelope| envelope.error)
}

/// The items that can be read, of a list that has to be there.
fn required_items<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let items = Vec::<Value>::deserialize(input)?;
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Whether there is anything but null.
fn is_there<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(input)?.is_some())
}

/// A text, or whatever stands in its place as JSON.
fn as_text<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(input)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

/// The id of a post or a container; none for anything that is not one.
fn optional_id<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    // Posts and containers have ids of the same form.
    Ok(text_or_number(input)?.filter(|id| Platform::Instagram.is_post_id(id)))
}

/// An id without which the response, or the stored ticket, is worth nothing. It becomes part of an address.
pub(super) fn required_id<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    optional_id(input)?.ok_or_else(|| D::Error::custom("the id is not one that Instagram gives"))
}

/// An error of an unknown form is an error too.
fn any_error<'de, D: Deserializer<'de>>(input: D) -> Result<Option<GraphError>, D::Error> {
    let error = Option::<Value>::deserialize(input)?;
    Ok(error.map(|error| serde_json::from_value(error).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
        let object = serde_json::from_str(text).ok().filter(Value::is_object)?;
        serde_json::from_value(object).ok()
    }

    #[test]
    fn requests_have_the_documented_fields() {
        let json = |request: Value| request.to_string();
        let reel = |is_ai_generated| json(serde_json::to_value(NewReel::new("Hi", is_ai_generated)).unwrap());
        assert_eq!(reel(false), r#"{"media_type":"REELS","upload_type":"resumable","caption":"Hi"}"#);
        assert_eq!(
            reel(true),
            r#"{"media_type":"REELS","upload_type":"resumable","caption":"Hi","is_ai_generated":true}"#
        );
        let image = |is_ai_generated| {
            let image = NewImage { image_url: "https://cdn.example/a.jpg", caption: "Hi", is_ai_generated };
            json(serde_json::to_value(image).unwrap())
        };
        assert_eq!(image(false), r#"{"image_url":"https://cdn.example/a.jpg","caption":"Hi"}"#);
        assert_eq!(image(true), r#"{"image_url":"https://cdn.example/a.jpg","caption":"Hi","is_ai_generated":true}"#);
        let publish = serde_json::to_value(PublishContainer { creation_id: "17" }).unwrap();
        assert_eq!(json(publish), r#"{"creation_id":"17"}"#);
    }

    #[test]
    fn a_new_container_needs_an_id_and_a_reel_an_address_too() {
        let reel: CreatedReel = read(r#"{"id":"17","uri":"https://rupload.facebook.com/x","new":{}}"#).unwrap();
        assert_eq!((reel.id.as_str(), reel.uri.as_str()), ("17", "https://rupload.facebook.com/x"));
        for incomplete in [r#"{"id":"17"}"#, r#"{"id":"17","uri":1}"#, r#"{"uri":"https://x"}"#] {
            assert!(read::<CreatedReel>(incomplete).is_none(), "{incomplete}");
        }
        assert_eq!(read::<Created>(r#"{"id":17895}"#).unwrap().id, "17895");
        for other in ["{}", r#"{"id":null}"#, r#"{"id":{}}"#, r#"["17"]"#, "null", "17"] {
            assert!(read::<Created>(other).is_none(), "{other}");
        }
        for forged in [
            r#"{"id":""}"#,
            r#"{"id":".."}"#,
            r#"{"id":"17/comments?message=hi&method=post"}"#,
            r#"{"id":-17}"#,
            // More than 64 bits have lost their last digits.
            r#"{"id":178950000000000000001}"#,
        ] {
            assert!(read::<Created>(forged).is_none(), "{forged}");
            assert_eq!(read::<Media>(forged), Some(Media::default()), "{forged}");
        }
    }

    #[test]
    fn the_publishing_limit_is_read_from_numbers_and_texts() {
        let limit = |text: &str| {
            let limits: List<PublishingLimit> = read(text).unwrap();
            let first = limits.data.into_iter().next().unwrap_or_default();
            (first.quota_usage, first.config.quota_total)
        };
        let sample = r#"{"data":[{"config":{"quota_total":50,"quota_duration":86400},"quota_usage":2}]}"#;
        assert_eq!(limit(sample), (Some(2), Some(50)));
        assert_eq!(limit(r#"{"data":[{"config":{"quota_total":"50"},"quota_usage":"2"}]}"#), (Some(2), Some(50)));
        assert_eq!(limit(r#"{"data":[{"config":"none","quota_usage":2}]}"#), (Some(2), None));
        for empty in [r#"{"data":[]}"#, r#"{"data":[{}]}"#, r#"{"data":[7]}"#] {
            assert_eq!(limit(empty), (None, None), "{empty}");
        }
        for foreign in ["{}", r#"{"data":{}}"#, r#"{"data":null}"#, r#"{"status":"ok"}"#] {
            assert!(read::<List<PublishingLimit>>(foreign).is_none(), "{foreign}");
        }
    }

    #[test]
    fn a_container_reports_its_status_upload_and_copyright_check() {
        let status: ContainerStatus = read(
            r#"{"id":"17","status":"In progress","status_code":"IN_PROGRESS",
                "video_status":{"uploading_phase":{"status":"in_progress","bytes_transferred":50002},
                                "processing_phase":{"status":"not_started"}},
                "copyright_check_status":{"status":"completed","matches_found":true}}"#,
        )
        .unwrap();
        assert_eq!((status.status_code, status.status.as_str()), (StatusCode::InProgress, "In progress"));
        let phase = status.video_status.uploading_phase;
        assert_eq!((phase.status.as_deref(), phase.bytes_transferred), (Some("in_progress"), Some(50002)));
        assert!(status.copyright_check_status.matches_found);
        for (text, code) in [
            (r#"{"status_code":"FINISHED"}"#, StatusCode::Finished),
            (r#"{"status_code":"PUBLISHED"}"#, StatusCode::Published),
            (r#"{"status_code":"ERROR"}"#, StatusCode::Error),
            (r#"{"status_code":"EXPIRED"}"#, StatusCode::Expired),
            (r#"{"status_code":"NEW_ONE"}"#, StatusCode::InProgress),
            (r#"{"status_code":7,"status":7,"video_status":7,"copyright_check_status":7}"#, StatusCode::InProgress),
            ("{}", StatusCode::InProgress),
        ] {
            assert_eq!(read::<ContainerStatus>(text).unwrap().status_code, code, "{text}");
        }
        let spoiled: ContainerStatus = read(
            r#"{"status_code":"FINISHED","video_status":{"uploading_phase":{"status":[],"bytes_transferred":"9"}}}"#,
        )
        .unwrap();
        assert_eq!(spoiled.status_code, StatusCode::Finished);
        assert_eq!(spoiled.video_status.uploading_phase.bytes_transferred, Some(9));
    }

    #[test]
    fn the_accounts_posts_are_read_as_far_as_they_can_be() {
        let list: List<Media> = read(
            r#"{"data":[{"id":"18","caption":"Hi","timestamp":"2026-11-23T10:00:00+0000","permalink":"https://x/",
                         "new":{}},7,{"id":19,"caption":null}],"paging":{}}"#,
        )
        .unwrap();
        let [first, second] = &list.data[..] else { panic!("{list:?}") };
        assert_eq!((first.id.as_deref(), first.caption.as_str()), (Some("18"), "Hi"));
        assert_eq!(
            (first.timestamp.as_str(), first.permalink.as_deref()),
            ("2026-11-23T10:00:00+0000", Some("https://x/"))
        );
        assert_eq!(*second, Media { id: Some("19".to_owned()), ..Media::default() });
    }

    #[test]
    fn a_page_tells_whether_another_one_follows() {
        let next = |paging: &str| {
            let list: List<Media> = read(&format!(r#"{{"data":[],"paging":{paging}}}"#)).unwrap();
            list.paging.next_page()
        };
        let after = || NextPage::After("QVFI".to_owned());
        for (paging, page) in [
            (r#"{"cursors":{"before":"A","after":"QVFI"},"next":"https://graph.facebook.com/x"}"#, after()),
            (r#"{"cursors":{"before":"A","after":"QVFI"}}"#, NextPage::None),
            (r#"{"cursors":{"before":"A","after":"QVFI"},"next":null}"#, NextPage::None),
            (r#"{"cursors":7,"next":"https://graph.facebook.com/x"}"#, NextPage::Unnamed),
            (r#"{"next":"https://graph.facebook.com/x"}"#, NextPage::Unnamed),
            ("{}", NextPage::None),
            ("7", NextPage::None),
        ] {
            assert_eq!(next(paging), page, "{paging}");
        }
        assert_eq!(read::<List<Media>>(r#"{"data":[]}"#).unwrap().paging.next_page(), NextPage::None);
    }

    #[test]
    fn an_error_of_any_form_is_an_error() {
        let error = |text: &str| read::<ErrorEnvelope>(text).unwrap().error;
        let sample = r#"{"error":{"message":"Une erreur","type":"OAuthException","code":190,"error_subcode":463,
                         "is_transient":true,"error_user_msg":"Reconnectez-vous","fbtrace_id":"A"}}"#;
        let expected = GraphError {
            code: Some(190),
            error_subcode: Some(463),
            is_transient: true,
            message: "Une erreur".to_owned(),
            error_user_msg: "Reconnectez-vous".to_owned(),
            fbtrace_id: "A".to_owned(),
        };
        assert_eq!(error(sample), Some(expected));
        assert_eq!(error(r#"{"error":null}"#), None);
        assert_eq!(error("{}"), None);
        for text in [r#"{"error":"text"}"#, r#"{"error":{}}"#, r#"{"error":{"code":"190","is_transient":"no"}}"#] {
            assert_eq!(error(text), Some(GraphError::default()), "{text}");
        }
        assert!(error(sample).is_some_and(|error| error.is_own()) && !GraphError::default().is_own());
    }

    #[test]
    fn what_people_are_told_takes_the_place_of_a_message_that_tells_no_more() {
        for (message, for_people, words) in [
            ("", "", ""),
            ("Une erreur", "", "Une erreur"),
            ("(#100) Invalid parameter", "The image is too wide.", "The image is too wide."),
            ("An unknown error has occurred.", "Try later", "Try later"),
            ("The image is too wide", "the image is too wide.", "the image is too wide."),
            ("Only photo can be accepted", "URI unreachable", "URI unreachable / Only photo can be accepted"),
        ] {
            let error = GraphError {
                message: message.to_owned(),
                error_user_msg: for_people.to_owned(),
                ..GraphError::default()
            };
            assert_eq!(error.words(), words, "{message} {for_people}");
        }
    }

    #[test]
    fn the_upload_host_has_a_form_of_its_own() {
        assert!(read::<UploadResponse>(r#"{"success":true,"message":"Upload successful."}"#).unwrap().success);
        assert!(!read::<UploadResponse>(r#"{"success":"true"}"#).unwrap().success);
        let debug = |text: &str| read::<ErrorEnvelope>(text).unwrap().debug_info;
        let sample = r#"{"debug_info":{"retriable":false,"type":"ProcessingFailedError","message":"{}"}}"#;
        let expected =
            DebugInfo { kind: "ProcessingFailedError".to_owned(), retriable: Some(false), message: "{}".to_owned() };
        assert_eq!(debug(sample), Some(expected));
        assert_eq!(debug(r#"{"debug_info":{"type":7}}"#), Some(DebugInfo::default()));
        assert_eq!(debug(r#"{"debug_info":"text"}"#), None);
        let own = |text: &str| debug(text).map(|info| (info.is_own(), info.is_unauthorized()));
        assert_eq!(own(r#"{"debug_info":{"type":7,"message":"no"}}"#), Some((false, false)));
        assert_eq!(own(r#"{"debug_info":{"retriable":true}}"#), Some((true, false)));
        assert_eq!(own(r#"{"debug_info":{"type":"NotAuthorizedError"}}"#), Some((true, true)));
        let nested = r#"{"debug_info":{"type":"ProcessingFailedError",
                         "message":{"error":{"message":"Unauthorized user request"}}}}"#;
        assert_eq!(own(nested), Some((true, true)));
    }

    #[test]
    fn an_exchanged_token_may_come_without_its_lifetime() {
        let token = |text: &str| read::<ExchangedToken>(text).map(|token| (token.access_token, token.expires_in));
        let sample = r#"{"access_token":"t","token_type":"bearer","expires_in":5183944}"#;
        assert_eq!(token(sample), Some(("t".to_owned(), Some(5_183_944))));
        assert_eq!(token(r#"{"access_token":"t","expires_in":"soon"}"#), Some(("t".to_owned(), None)));
        assert_eq!(token(r#"{"expires_in":5183944}"#), None);
    }
}
