//! The upload of a video, chunk by chunk: the "Media Transfer Guide" on <https://developers.tiktok.com>.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use reqwest::header::CONTENT_RANGE;
use url::Url;

use super::api::TikTokApi;
use super::chunks::ChunkPlan;
use super::classify::with_retry_at;
use super::status::PublishState;
use crate::platform::explanation::{Explanation, foreign};
use crate::platform::http::{ApiResponse, SendError};
use crate::platform::media::MediaFile;
use crate::platform::upload::{PartOutcome, ResumableUpload, UploadProgress};
use crate::platform::{PublishContext, PublishError};
use crate::post::{Category, Failure, Platform};

/// What TikTok is asked to do with a chunk, in the words of an error.
pub(super) const SEND_CHUNK: &str = "accept the video data";

/// How an upload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadEnd {
    /// No more bytes are to be sent; the state of the publish tells the rest.
    Complete,
    /// No more bytes can be sent with the ticket.
    Closed,
}

pub(super) struct VideoUpload<'a> {
    pub(super) api: &'a TikTokApi,
    pub(super) publish_id: &'a str,
    pub(super) address: Url,
    pub(super) file: &'a MediaFile,
    pub(super) plan: ChunkPlan,
    /// How many bytes TikTok has, by its response to the last chunk, if that did not begin where they end.
    pub(super) reported: Mutex<Option<u64>>,
}

impl VideoUpload<'_> {
    fn report(&self, bytes: Option<u64>) {
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }

    fn reported(&self) -> Option<u64> {
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ResumableUpload for VideoUpload<'_> {
    type End = UploadEnd;

    /// TikTok posts the video as soon as all bytes have arrived.
    const LAST_BYTE_PUBLISHES: bool = true;

    fn size(&self) -> u64 {
        self.plan.size
    }

    fn part_end(&self, offset: u64) -> u64 {
        self.plan.chunk_end(offset)
    }

    async fn ensure_unchanged(&self) -> Result<(), PublishError> {
        Ok(self.file.ensure_unchanged().await?)
    }

    async fn send_part(
        &self,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<PartOutcome<UploadEnd>, PublishError> {
        let end = range.end;
        self.report(None);
        match self.api.send_chunk(&self.address, self.file, range, context).await {
            Ok(response) => {
                let (now, size) = (context.now(), self.plan.size);
                let source = Source::of(&response);
                if (response.status, source) == (416, Source::TikTok) {
                    self.report(response.header(CONTENT_RANGE.as_str()).and_then(|text| stored_bytes(text, size)));
                }
                Ok(match read_response(response.status, source, end, size) {
                    PartOutcome::Interrupted(failure) => {
                        PartOutcome::Interrupted(with_retry_at(failure, response.retry_after(now), now))
                    }
                    outcome => outcome,
                })
            }
            Err(error @ (SendError::NotSent(_) | SendError::Lost(_) | SendError::TooLong { .. })) => {
                let failure = error.into_retryable(Platform::TikTok, SEND_CHUNK).into_failure()?;
                Ok(PartOutcome::Interrupted(failure))
            }
            Err(error) => Err(error.into_retryable(Platform::TikTok, SEND_CHUNK)),
        }
    }

    async fn progress(
        &self,
        interruption: &Failure,
        context: &dyn PublishContext,
    ) -> Result<UploadProgress<UploadEnd>, PublishError> {
        // The upload address itself cannot be asked: the guide names no such request.
        let state = self.api.status(self.publish_id, context).await?;
        Ok(read_progress(&state, interruption, self.reported(), self.plan.size)?)
    }
}

/// Where a response to a chunk comes from. TikTok documents no bodies here, so its own responses are known only by not
/// being a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    TikTok,
    /// The page of a gateway or the like.
    Page,
}

impl Source {
    /// An empty response is no page, whatever its content type: some servers give the same one to every response.
    pub(super) fn of(response: &ApiResponse) -> Self {
        if response.is_page() { Self::Page } else { Self::TikTok }
    }
}

/// What the response to a chunk that ends at `end` means: the guide's table of statuses. HTTP 405 was seen and is not
/// documented.
pub(super) fn read_response(status: u16, source: Source, end: u64, size: u64) -> PartOutcome<UploadEnd> {
    let refused = || PartOutcome::Interrupted(foreign(Explanation::new(Platform::TikTok, SEND_CHUNK), status));
    if source == Source::Page {
        return refused();
    }
    let explanation = Explanation::new(Platform::TikTok, SEND_CHUNK).status(status);
    match status {
        // Some clients take 200 for success, though TikTok does not document it.
        200 | 201 | 206 if end == size => PartOutcome::Ended(UploadEnd::Complete),
        200 | 206 => PartOutcome::StoredUntil(end),
        201 => {
            let cause = "the whole video was confirmed before all of it was sent";
            PartOutcome::Interrupted(explanation.failure(Category::Unknown, cause))
        }
        // It is final only if the state of the publish does not say otherwise, and that is asked next.
        400 => {
            let cause = "the video data was refused; encode the file again";
            PartOutcome::Interrupted(explanation.failure(Category::MediaProcessing, cause).not_retryable())
        }
        403..=405 => PartOutcome::Ended(UploadEnd::Closed),
        416 => {
            let cause = "other bytes of the video have arrived than were sent";
            PartOutcome::Interrupted(explanation.failure(Category::Network, cause))
        }
        _ => refused(),
    }
}

/// How many bytes TikTok has, from the `Content-Range` of a response: `bytes 0-N/TOTAL`. Whether N is a count or the
/// index of the last byte is not documented clearly. As a count it never skips a byte.
pub(super) fn stored_bytes(content_range: &str, size: u64) -> Option<u64> {
    let (range, total) = content_range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, stored) = range.split_once('-')?;
    let stored: u64 = stored.parse().ok()?;
    (first == "0" && total.parse::<u64>() == Ok(size) && stored <= size).then_some(stored)
}

/// How far an interrupted upload came: the count of the state, else what the response to the chunk `reported`. If
/// neither tells, the interruption ends the attempt.
fn read_progress(
    state: &PublishState,
    interruption: &Failure,
    reported: Option<u64>,
    size: u64,
) -> Result<UploadProgress<UploadEnd>, Failure> {
    match state {
        PublishState::Uploading(counted) => match counted.or(reported) {
            None => Err(interruption.clone()),
            Some(bytes) if bytes < size => Ok(UploadProgress::StoredUntil(bytes)),
            Some(_) => Ok(UploadProgress::Ended(UploadEnd::Complete)),
        },
        PublishState::Unknown(_) | PublishState::Inaccessible(_) => Ok(UploadProgress::Ended(UploadEnd::Closed)),
        PublishState::Processing | PublishState::Published(_) | PublishState::Failed(_) | PublishState::Draft => {
            Ok(UploadProgress::Ended(UploadEnd::Complete))
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

    use super::*;
    use crate::post::{Retryable, TicketFate};

    #[test]
    fn every_response_to_a_chunk_has_its_meaning() {
        let read = |status, end| read_response(status, Source::TikTok, end, 30);
        for status in [200, 201, 206] {
            let outcome = read(status, 30);
            assert!(matches!(outcome, PartOutcome::Ended(UploadEnd::Complete)), "{status}: {outcome:?}");
        }
        for status in [200, 206] {
            assert!(matches!(read(status, 10), PartOutcome::StoredUntil(10)), "{status}");
        }
        for status in [403, 404, 405] {
            assert!(matches!(read(status, 10), PartOutcome::Ended(UploadEnd::Closed)), "{status}");
        }
        for (status, category, retryable) in [
            // That all has arrived cannot be so yet.
            (201, Category::Unknown, Retryable::Yes),
            (400, Category::MediaProcessing, Retryable::No),
            (416, Category::Network, Retryable::Yes),
            (429, Category::RateLimited, Retryable::Yes),
            (503, Category::PlatformOutage, Retryable::Yes),
            (418, Category::Unknown, Retryable::Yes),
        ] {
            let outcome = read(status, 10);
            let PartOutcome::Interrupted(failure) = outcome else { panic!("{status}: {outcome:?}") };
            assert_eq!((failure.category, failure.retryable), (category, retryable), "{status}");
        }
    }

    #[test]
    fn a_page_of_a_gateway_is_never_tiktoks_word() {
        for (status, category) in [
            (200, Category::Unknown),
            (201, Category::Unknown),
            (302, Category::Unknown),
            (400, Category::Unknown),
            (403, Category::Unknown),
            (404, Category::Unknown),
            (416, Category::Unknown),
            (502, Category::PlatformOutage),
        ] {
            let outcome = read_response(status, Source::Page, 30, 30);
            let PartOutcome::Interrupted(failure) = outcome else { panic!("{status}: {outcome:?}") };
            assert_eq!((failure.category, failure.retryable), (category, Retryable::Yes), "{status}");
            assert_eq!(failure.ticket, TicketFate::Kept, "{status}");
        }
    }

    #[test]
    fn an_empty_response_is_no_page_whatever_its_content_type() {
        for (content_type, body, source) in [
            ("text/html", "", Source::TikTok),
            ("text/html", "<p>no</p>", Source::Page),
            ("Text/HTML; charset=UTF-8", "<p>no</p>", Source::Page),
            ("application/xml", "<Error/>", Source::Page),
            ("application/json; charset=utf-8", "{}", Source::TikTok),
            ("text/plain", "no", Source::TikTok),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            let response = ApiResponse::new(206, headers, body.as_bytes().to_vec());
            assert_eq!(Source::of(&response), source, "{content_type} {body:?}");
        }
    }

    #[test]
    fn a_content_range_is_read_as_a_count_within_the_file() {
        for (text, stored) in [
            ("bytes 0-0/30", Some(0)),
            ("bytes 0-10/30", Some(10)),
            ("bytes 0-30/30", Some(30)),
            ("bytes 0-31/30", None),
            ("bytes 5-10/30", None),
            ("bytes 0-10/31", None),
            ("bytes 0-10/*", None),
            ("bytes */30", None),
            ("0-10/30", None),
        ] {
            assert_eq!(stored_bytes(text, 30), stored, "{text}");
        }
    }

    #[test]
    fn the_state_tells_how_far_an_interrupted_upload_came() {
        let interruption = Failure::new(Category::Network, "interrupted");
        let read_with = |state: &PublishState, reported| read_progress(state, &interruption, reported, 30);
        let read = |state: &PublishState| read_with(state, None);
        assert!(matches!(read(&PublishState::Uploading(Some(29))), Ok(UploadProgress::StoredUntil(29))));
        assert_eq!(read(&PublishState::Uploading(None)).unwrap_err(), interruption);
        // The count of the state wins over that of the response to the chunk.
        let counted = read_with(&PublishState::Uploading(Some(20)), Some(10));
        assert!(matches!(counted, Ok(UploadProgress::StoredUntil(20))));
        let reported = read_with(&PublishState::Uploading(None), Some(10));
        assert!(matches!(reported, Ok(UploadProgress::StoredUntil(10))));
        let failure = || Failure::new(Category::Unknown, "");
        for (state, end) in [
            (PublishState::Uploading(Some(30)), UploadEnd::Complete),
            (PublishState::Processing, UploadEnd::Complete),
            (PublishState::Published(None), UploadEnd::Complete),
            (PublishState::Failed(failure()), UploadEnd::Complete),
            (PublishState::Draft, UploadEnd::Complete),
            (PublishState::Unknown(failure()), UploadEnd::Closed),
            (PublishState::Inaccessible(failure()), UploadEnd::Closed),
        ] {
            let Ok(UploadProgress::Ended(ended)) = read(&state) else { panic!("{state:?}") };
            assert_eq!(ended, end, "{state:?}");
        }
    }
}
