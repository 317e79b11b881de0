//! The resumable upload session: what it says, and the upload of a video through it (sections 1 to 3).

use std::ops::Range;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::header::RANGE;
use serde::{Deserialize, Serialize};
use url::Url;

use super::api::{ASK_PROGRESS, RECEIVE_BYTES, YouTubeApi};
use super::error::Refusal;
use super::responses::Video;
use crate::platform::auth::CallError;
use crate::platform::http::{ApiResponse, SendError};
use crate::platform::media::MediaFile;
use crate::platform::upload::{PartOutcome, ResumableUpload, UploadProgress};
use crate::platform::{PublishContext, PublishError};
use crate::post::{Category, Failure, Platform};

/// The status of a session that waits for more bytes. It is no redirect, though HTTP has another use for the number.
pub(super) const RESUME_INCOMPLETE: u16 = 308;

/// How much is sent at a time: a multiple of 256 KiB, as the protocol demands (section 2). Larger files are not sent in
/// one piece: the commitment is stored before the last chunk, and a session that dies before it has made no video.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) video_id: Option<String>,
}

/// How a session ends.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The video exists.
    Complete { id: String, video: Video },
    /// The session expired or was lost.
    Gone,
    /// The upload has failed for good.
    Failed(Failure),
}

pub(super) fn read_session(
    step: &str,
    response: &ApiResponse,
    size: u64,
    now: DateTime<Utc>,
) -> Result<UploadProgress<SessionEnd>, Refusal> {
    match read_progress(response.status, response.header(RANGE.as_str()), response.parse(), size) {
        Some(progress) => Ok(progress),
        None => session_end(Refusal::read(step, response, now)).map(UploadProgress::Ended),
    }
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
            let mut video = video?;
            let id = video.id.take()?;
            Some(UploadProgress::Ended(SessionEnd::Complete { id, video }))
        }
        // Without a range nothing is stored yet.
        RESUME_INCOMPLETE => Some(UploadProgress::StoredUntil(range.map_or(0, bytes_stored).min(size))),
        404 | 410 => Some(UploadProgress::Ended(SessionEnd::Gone)),
        _ => None,
    }
}

/// The end of the session, if the refusal ends it. A refusal is repeated for as long as the session lives (section 3),
/// unless it is about the account or the time.
fn session_end(refusal: Refusal) -> Result<SessionEnd, Refusal> {
    let is_final = (400..500).contains(&refusal.status)
        && matches!(
            refusal.failure.category,
            Category::RejectedContent | Category::MediaProcessing | Category::Unknown
        );
    if is_final { Ok(SessionEnd::Failed(refusal.failure.with_dead_ticket())) } else { Err(refusal) }
}

/// How many bytes a `Range` header says are stored: `bytes=0-N` or `0-N`, N included.
fn bytes_stored(range: &str) -> u64 {
    let last = range.trim().trim_start_matches("bytes=").rsplit_once('-').and_then(|(_, last)| last.parse().ok());
    last.map_or(0, |last: u64| last.saturating_add(1))
}

/// The upload of a video file through its session.
pub(super) struct VideoUpload<'a> {
    pub(super) api: &'a YouTubeApi,
    pub(super) session: &'a Url,
    pub(super) file: &'a MediaFile,
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

    async fn send_part(
        &self,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<PartOutcome<SessionEnd>, PublishError> {
        match self.api.send_chunk(self.session, self.file, range, context).await {
            Ok(UploadProgress::StoredUntil(offset)) => Ok(PartOutcome::StoredUntil(offset)),
            Ok(UploadProgress::Ended(end)) => Ok(PartOutcome::Ended(end)),
            Err(CallError::Send(error @ (SendError::File(_) | SendError::TooLong { .. }))) => {
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
        let video = || Video { id: Some("dQw4w9WgXcQ".to_owned()), ..Video::default() };
        for status in [200, 201] {
            let read = read_progress(status, None, Some(video()), SIZE);
            let Some(UploadProgress::Ended(SessionEnd::Complete { id, .. })) = &read else { panic!("{read:?}") };
            assert_eq!(id, "dQw4w9WgXcQ");
            assert!(read_progress(status, None, Some(Video::default()), SIZE).is_none());
            assert!(read_progress(status, None, None, SIZE).is_none());
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
    fn only_a_refusal_of_the_video_ends_a_session() {
        use Category::{
            AccountRestricted, Auth, PlatformOutage, QuotaExhausted, RateLimited, RejectedContent, Unknown,
        };
        for (status, category, is_end) in [
            (400, RejectedContent, true),
            (418, Unknown, true),
            (401, Auth, false),
            (403, AccountRestricted, false),
            (403, QuotaExhausted, false),
            (429, RateLimited, false),
            (503, PlatformOutage, false),
            // A success that is not understood, and a redirect.
            (200, Unknown, false),
            (302, Unknown, false),
        ] {
            match session_end(Refusal { status, failure: Failure::new(category, "") }) {
                Ok(SessionEnd::Failed(failure)) => {
                    assert!(is_end, "{status} {category}");
                    assert_eq!(failure.ticket, TicketFate::Dead);
                }
                Ok(other) => panic!("{other:?}"),
                Err(refusal) => {
                    assert!(!is_end, "{status} {category}");
                    assert_eq!(refusal.failure.ticket, TicketFate::Kept);
                }
            }
        }
    }

    #[test]
    fn a_ticket_is_stored_in_the_form_in_which_it_is_read() {
        let ticket = SessionTicket { session_uri: "https://example.com/1".to_owned(), size: 7, video_id: None };
        let stored = serde_json::to_string(&ticket).unwrap();
        assert_eq!(stored, r#"{"sessionUri":"https://example.com/1","size":7}"#);
        assert!(serde_json::from_str::<SessionTicket>(&stored).unwrap() == ticket);
        let with_video = stored.replace('}', r#","videoId":"v1"}"#);
        assert_eq!(serde_json::from_str::<SessionTicket>(&with_video).unwrap().video_id.as_deref(), Some("v1"));
    }
}
