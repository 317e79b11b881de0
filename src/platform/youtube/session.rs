//! The resumable upload session: what it says, and the upload of a video through it. "Resumable Uploads" on
//! <https://developers.google.com> documents the protocol.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_LENGTH, HeaderName, LOCATION, RANGE};
use serde::{Deserialize, Serialize};
use url::Url;

use super::api::{ASK_PROGRESS, RECEIVE_BYTES, YouTubeApi};
use super::error::Refusal;
use super::responses::{Video, stored_video_id};
use crate::platform::auth::CallError;
use crate::platform::explanation::{Explanation, labelled};
use crate::platform::http::{ApiResponse, SendError};
use crate::platform::media::MediaFile;
use crate::platform::upload::{PartOutcome, ResumableUpload, UploadProgress};
use crate::platform::{PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, Ticket};

/// The status of a session that waits for more bytes. It is no redirect, though HTTP has another use for the number.
pub(super) const RESUME_INCOMPLETE: u16 = 308;

/// A header of every response of Google's upload servers. They say in HTML, too, that a session has ended.
const UPLOAD_SERVER_ID: &str = "x-guploader-uploadid";

/// How much is sent at a time: a multiple of 256 KiB, as the protocol demands. Larger files are not sent in one piece:
/// the commitment is stored before the last chunk, and a session that dies before it has made no video.
const CHUNK: u64 = 32 * 1024 * 1024;

/// The payload of a ticket. The address authorises the upload, so it has no `Debug`.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionTicket {
    /// Where the bytes go and the progress is asked for. A secret.
    pub(super) session_uri: String,
    /// The bytes that were announced.
    pub(super) size: u64,
    /// The video, once it exists.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "stored_video_id")]
    pub(super) video_id: Option<String>,
}

/// How a session ends.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The video exists.
    Complete {
        /// Its id.
        id: String,
        /// What else is known of it.
        video: Video,
        /// The HTTP status of the response.
        status: u16,
    },
    /// The session expired or was lost.
    Gone,
    /// YouTube refuses the upload, in an error of its own form.
    Failed(Failure),
}

pub(super) fn read_session(
    step: &str,
    response: &ApiResponse,
    size: u64,
    now: DateTime<Utc>,
) -> Result<UploadProgress<SessionEnd>, Refusal> {
    let header = |name: HeaderName| response.header(name.as_str());
    let is_foreign = match response.status {
        RESUME_INCOMPLETE => !is_resume_incomplete(header(RANGE), header(LOCATION), header(CONTENT_LENGTH)),
        // Something in between may not find the session while it lives.
        404 | 410 => response.is_page() && response.header(UPLOAD_SERVER_ID).is_none(),
        _ => false,
    };
    let progress =
        if is_foreign { None } else { read_progress(response.status, header(RANGE), response.parse(), size) };
    match progress {
        Some(progress) => Ok(progress),
        None => session_end(Refusal::read(step, response, now)).map(UploadProgress::Ended),
    }
}

/// Whether a response with status 308 is a session's, by its headers: it has a range or no body. Any other is the
/// redirect of something in between.
fn is_resume_incomplete(range: Option<&str>, location: Option<&str>, length: Option<&str>) -> bool {
    location.is_none() && (range.is_some() || length.is_none_or(|length| length.trim() == "0"))
}

/// What a session says of the upload; none if it says something else.
fn read_progress(
    status: u16,
    range: Option<&str>,
    video: Option<Video>,
    size: u64,
) -> Option<UploadProgress<SessionEnd>> {
    match status {
        200 | 201 => {
            // 201 says by itself that a video was made, so an id alone is enough.
            let is_complete = |video: &Video| video.is_video_resource() || (status == 201 && video.kind.is_none());
            let mut video = video.filter(is_complete)?;
            let id = video.id.take()?;
            Some(UploadProgress::Ended(SessionEnd::Complete { id, video, status }))
        }
        // Without a range nothing is stored yet.
        RESUME_INCOMPLETE => Some(UploadProgress::StoredUntil(range.map_or(0, bytes_stored).min(size))),
        404 | 410 => Some(UploadProgress::Ended(SessionEnd::Gone)),
        _ => None,
    }
}

/// The end of the session, if the refusal ends it. YouTube repeats its own for as long as the session lives, unless it
/// is about the account or the time.
fn session_end(refusal: Refusal) -> Result<SessionEnd, Refusal> {
    let is_final = refusal.is_own_form
        && (400..500).contains(&refusal.status)
        && matches!(
            refusal.failure.category,
            Category::RejectedContent | Category::MediaProcessing | Category::Unknown
        );
    if is_final { Ok(SessionEnd::Failed(refusal.failure)) } else { Err(refusal) }
}

/// Whether a session that is asked how far it has come refuses to go on for good: of the server errors only 500, 502,
/// 503 and 504 are temporary ("Resumable Uploads"). The token and the rate of requests have nothing to do with the
/// session, and [`session_end`] knows the refusals of the video.
pub(super) fn refuses_for_good(refusal: &Refusal) -> bool {
    let is_permanent = match refusal.failure.category {
        Category::MissingAsset | Category::QuotaExhausted | Category::AccountRestricted => {
            (400..500).contains(&refusal.status)
        }
        Category::PlatformOutage => (501..600).contains(&refusal.status) && !(502..=504).contains(&refusal.status),
        _ => false,
    };
    refusal.is_own_form && is_permanent
}

/// YouTube says that it has every byte, and gives no video yet.
pub(super) fn unfinished_upload() -> Failure {
    let text = "the upload is not complete yet, although all bytes of the video have arrived";
    Failure::new(Category::PlatformOutage, labelled(Platform::YouTubeShorts, text))
}

/// How many bytes a `Range` header says are stored: `bytes=0-N` or `0-N`, N included.
#[warn(clippy::arithmetic_side_effects)]
fn bytes_stored(range: &str) -> u64 {
    let last = range.trim().trim_start_matches("bytes=").rsplit_once('-').and_then(|(_, last)| last.parse().ok());
    last.map_or(0, |last: u64| last.saturating_add(1))
}

/// The upload of a video file through its session.
pub(super) struct VideoUpload<'a> {
    api: &'a YouTubeApi,
    session: &'a Url,
    file: &'a MediaFile,
    /// Whether the video may exist.
    may_exist: AtomicBool,
}

impl<'a> VideoUpload<'a> {
    pub(super) fn new(api: &'a YouTubeApi, session: &'a Url, file: &'a MediaFile, ticket: &Ticket) -> Self {
        Self { api, session, file, may_exist: AtomicBool::new(ticket.is_committed()) }
    }

    /// Whether the video may exist: its last byte was on its way, now or earlier, or YouTube has named a video.
    pub(super) fn may_exist(&self) -> bool {
        self.may_exist.load(Ordering::Relaxed)
    }

    fn set_may_exist(&self) {
        self.may_exist.store(true, Ordering::Relaxed);
    }
}

/// What the end of the session means, if it is the response to a part. `may_exist`: see [`VideoUpload::may_exist`].
fn part_outcome(end: SessionEnd, is_last: bool, may_exist: bool) -> PartOutcome<SessionEnd> {
    match end {
        SessionEnd::Complete { id, status, .. } if !is_last => PartOutcome::Interrupted(premature_success(&id, status)),
        // An earlier request may have completed the upload, so that this part is refused: the session is asked.
        SessionEnd::Failed(failure) if may_exist => PartOutcome::Interrupted(failure),
        end => PartOutcome::Ended(end),
    }
}

/// A success response to a part that is not the last. Only the session itself can tell whether there is a video.
fn premature_success(id: &str, status: u16) -> Failure {
    let cause =
        format!("video {id} was reported before the last part was sent; the next retry asks what became of the upload");
    Explanation::new(Platform::YouTubeShorts, RECEIVE_BYTES).status(status).failure(Category::Unknown, &cause)
}

#[async_trait]
impl ResumableUpload for VideoUpload<'_> {
    type End = SessionEnd;

    const LAST_BYTE_PUBLISHES: bool = true;

    fn size(&self) -> u64 {
        self.file.size
    }

    fn part_end(&self, offset: u64) -> u64 {
        self.file.size.min(offset.saturating_add(CHUNK))
    }

    async fn ensure_unchanged(&self) -> Result<(), PublishError> {
        Ok(self.file.ensure_unchanged().await?)
    }

    async fn send_part(
        &self,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<PartOutcome<SessionEnd>, PublishError> {
        // YouTube says that it has every byte: there is nothing to send, and the session has to be asked.
        if range.is_empty() {
            return Ok(PartOutcome::Interrupted(unfinished_upload()));
        }
        let is_last = range.end == self.file.size;
        if is_last {
            self.set_may_exist();
        }
        match self.api.send_chunk(self.session, self.file, range, context).await {
            Ok(UploadProgress::StoredUntil(offset)) => Ok(PartOutcome::StoredUntil(offset)),
            Ok(UploadProgress::Ended(end)) => {
                if matches!(end, SessionEnd::Complete { .. }) {
                    self.set_may_exist();
                }
                Ok(part_outcome(end, is_last, self.may_exist()))
            }
            Err(CallError::Send(error @ SendError::File(_))) => {
                Err(error.into_retryable(Platform::YouTubeShorts, RECEIVE_BYTES))
            }
            Err(error) => {
                let interruption = error.into_retryable(Platform::YouTubeShorts, RECEIVE_BYTES).into_failure()?;
                Ok(PartOutcome::Interrupted(interruption))
            }
        }
    }

    async fn progress(
        &self,
        interruption: &Failure,
        context: &dyn PublishContext,
    ) -> Result<UploadProgress<SessionEnd>, PublishError> {
        let asked = self.api.session_progress(self.session, self.file.size, context).await;
        asked.map_err(|error| match error.into_retryable(Platform::YouTubeShorts, ASK_PROGRESS) {
            // The interruption came first and says more.
            PublishError::Failed(_) => interruption.clone().into(),
            aborted @ PublishError::Aborted(_) => aborted,
        })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

    use super::*;
    use crate::post::TicketFate;

    const SIZE: u64 = 1000;

    fn stored(range: Option<&str>) -> u64 {
        match read_progress(308, range, None, SIZE) {
            Some(UploadProgress::StoredUntil(offset)) => offset,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_that_waits_says_what_it_has_in_either_spelling() {
        for (range, expected) in [
            (None, 0),
            (Some("bytes=0-99"), 100),
            (Some("0-99"), 100),
            (Some(" bytes=0-0 "), 1),
            (Some("nonsense"), 0),
            (Some("bytes=0-x"), 0),
            // More than there is.
            (Some("bytes=0-99999"), SIZE),
            (Some("bytes=0-18446744073709551615"), SIZE),
        ] {
            assert_eq!(stored(range), expected, "{range:?}");
        }
    }

    #[test]
    fn a_session_is_complete_only_with_the_id_of_its_video() {
        let of_kind = |kind: &str| Video { kind: Some(kind.to_owned()), ..Video::default() };
        let with_id = |video: Video| Video { id: Some("dQw4w9WgXcQ".to_owned()), ..video };
        let video = || with_id(of_kind("youtube#video"));
        for status in [200, 201] {
            let read = read_progress(status, None, Some(video()), SIZE);
            let Some(UploadProgress::Ended(SessionEnd::Complete { id, status: told, .. })) = &read else {
                panic!("{read:?}")
            };
            assert_eq!((id.as_str(), *told), ("dQw4w9WgXcQ", status));
            assert!(read_progress(status, None, Some(of_kind("youtube#video")), SIZE).is_none());
            assert!(read_progress(status, None, Some(with_id(of_kind("request"))), SIZE).is_none());
            assert!(read_progress(status, None, Some(Video::default()), SIZE).is_none());
            assert!(read_progress(status, None, None, SIZE).is_none());
            let bare = read_progress(status, None, Some(with_id(Video::default())), SIZE);
            let is_complete = matches!(&bare, Some(UploadProgress::Ended(SessionEnd::Complete { id, .. }))
                if id == "dQw4w9WgXcQ");
            assert_eq!(is_complete, status == 201, "{bare:?}");
        }
        for status in [404, 410] {
            let read = read_progress(status, None, None, SIZE);
            assert!(matches!(read, Some(UploadProgress::Ended(SessionEnd::Gone))), "{read:?}");
        }
        for status in [204, 302, 400, 401, 403, 500, 503] {
            assert!(read_progress(status, None, Some(video()), SIZE).is_none(), "{status}");
        }
    }

    #[test]
    fn a_308_with_a_body_or_an_address_is_a_redirect_of_something_in_between() {
        for (range, location, length, is_own) in [
            (Some("bytes=0-99"), None, None, true),
            (Some("bytes=0-99"), None, Some("17"), true),
            (None, None, Some("0"), true),
            (None, None, None, true),
            (None, None, Some("17"), false),
            (None, Some("https://example.com/"), Some("0"), false),
            (Some("bytes=0-99"), Some("https://example.com/"), None, false),
        ] {
            assert_eq!(is_resume_incomplete(range, location, length), is_own, "{range:?} {location:?} {length:?}");
        }
    }

    fn refusal(status: u16, category: Category, is_own_form: bool) -> Refusal {
        Refusal { status, is_own_form, lacks_read_access: false, failure: Failure::new(category, "") }
    }

    #[test]
    fn a_session_is_gone_only_by_its_own_word() {
        const PAGE: &str = "<html>Not Found</html>";
        for status in [404, 410] {
            for (content_type, upload_id, body, is_gone) in [
                (None, None, "", true),
                (None, None, "Not Found", true),
                (Some("text/plain"), None, "Not Found", true),
                (Some("application/json; charset=UTF-8"), None, "{}", true),
                (Some("text/html"), None, "", true),
                (Some("text/html; charset=UTF-8"), Some("ABg5"), PAGE, true),
                (Some("text/html; charset=UTF-8"), None, PAGE, false),
                (Some("application/xml"), None, "<Error/>", false),
            ] {
                let mut headers = HeaderMap::new();
                if let Some(content_type) = content_type {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
                }
                if let Some(id) = upload_id {
                    headers.insert(UPLOAD_SERVER_ID, HeaderValue::from_static(id));
                }
                let response = ApiResponse::new(status, headers, body.as_bytes().to_vec());
                let place = format!("{status} {content_type:?} {upload_id:?} {body}");
                match read_session(ASK_PROGRESS, &response, SIZE, DateTime::UNIX_EPOCH) {
                    Ok(UploadProgress::Ended(SessionEnd::Gone)) => assert!(is_gone, "{place}"),
                    Err(refusal) => {
                        assert!(!is_gone && !refusal.is_own_form, "{place}");
                        assert_eq!(refusal.failure.category, Category::Unknown, "{place}");
                        assert_eq!(refusal.failure.ticket, TicketFate::Kept, "{place}");
                    }
                    other => panic!("{place}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_session_that_refuses_to_go_on_is_given_up_unless_it_is_the_token_or_the_moment() {
        use Category::{AccountRestricted, Auth, MissingAsset, PlatformOutage, QuotaExhausted, RateLimited};
        for (status, category, is_own_form, expected) in [
            (403, AccountRestricted, true, true),
            (403, QuotaExhausted, true, true),
            (400, QuotaExhausted, true, true),
            (400, MissingAsset, true, true),
            (501, PlatformOutage, true, true),
            (507, PlatformOutage, true, true),
            (400, PlatformOutage, true, false),
            (500, PlatformOutage, true, false),
            (502, PlatformOutage, true, false),
            (503, PlatformOutage, true, false),
            (504, PlatformOutage, true, false),
            (501, Auth, true, false),
            (401, Auth, true, false),
            (403, Auth, true, false),
            (429, RateLimited, true, false),
            // Of something in between.
            (501, PlatformOutage, false, false),
            (403, AccountRestricted, false, false),
        ] {
            let refusal = refusal(status, category, is_own_form);
            assert_eq!(refuses_for_good(&refusal), expected, "{status} {category} {is_own_form}");
        }
    }

    #[test]
    fn only_youtubes_own_refusal_of_the_video_ends_a_session() {
        use Category::{
            AccountRestricted, Auth, PlatformOutage, QuotaExhausted, RateLimited, RejectedContent, Unknown,
        };
        for (status, category, is_own_form, is_end) in [
            (400, RejectedContent, true, true),
            (418, Unknown, true, true),
            (400, Unknown, false, false),
            (418, Unknown, false, false),
            (401, Auth, true, false),
            (403, AccountRestricted, true, false),
            (403, QuotaExhausted, true, false),
            (429, RateLimited, true, false),
            (503, PlatformOutage, true, false),
            // A success that is not understood, and a redirect.
            (200, Unknown, false, false),
            (302, Unknown, true, false),
        ] {
            let refusal = refusal(status, category, is_own_form);
            let ended = session_end(refusal);
            assert_eq!(matches!(ended, Ok(SessionEnd::Failed(_))), is_end, "{status} {category} {is_own_form}");
        }
    }

    #[test]
    fn a_success_before_the_last_part_is_no_video_yet() {
        let complete = || SessionEnd::Complete { id: "v1".to_owned(), video: Video::default(), status: 201 };
        let PartOutcome::Interrupted(failure) = part_outcome(complete(), false, true) else { panic!("a publication") };
        assert_eq!((failure.category, failure.ticket), (Category::Unknown, TicketFate::Kept));
        assert!(failure.message.contains("HTTP 201") && failure.message.contains("v1"), "{}", failure.message);
        let last = part_outcome(complete(), true, true);
        assert!(matches!(last, PartOutcome::Ended(SessionEnd::Complete { .. })), "{last:?}");
    }

    #[test]
    fn a_refused_part_ends_the_upload_only_if_there_can_be_no_video() {
        let failed = || SessionEnd::Failed(Failure::new(Category::RejectedContent, ""));
        let outcome = part_outcome(failed(), false, false);
        assert!(matches!(outcome, PartOutcome::Ended(SessionEnd::Failed(_))), "{outcome:?}");
        for is_last in [true, false] {
            let outcome = part_outcome(failed(), is_last, true);
            let PartOutcome::Interrupted(failure) = outcome else { panic!("{outcome:?}") };
            assert_eq!(failure.ticket, TicketFate::Kept);
        }
        assert!(matches!(part_outcome(SessionEnd::Gone, true, true), PartOutcome::Ended(SessionEnd::Gone)));
    }

    #[test]
    fn a_ticket_is_stored_in_the_form_in_which_it_is_read() {
        let ticket = SessionTicket { session_uri: "https://example.com/1".to_owned(), size: 7, video_id: None };
        let stored = serde_json::to_string(&ticket).unwrap();
        assert_eq!(stored, r#"{"sessionUri":"https://example.com/1","size":7}"#);
        assert!(serde_json::from_str::<SessionTicket>(&stored).unwrap() == ticket);
        let with_video = stored.replace('}', r#","videoId":"v1"}"#);
        assert_eq!(serde_json::from_str::<SessionTicket>(&with_video).unwrap().video_id.as_deref(), Some("v1"));
        let forged = stored.replace('}', r#","videoId":"v1,v2"}"#);
        assert!(serde_json::from_str::<SessionTicket>(&forged).is_err());
    }
}
