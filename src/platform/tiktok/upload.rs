//! The upload of a video, chunk by chunk (platform sheet, section 4).

use std::ops::Range;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use url::Url;

use super::api::TikTokApi;
use super::chunks::ChunkPlan;
use super::classify::classify;
use super::status::PublishState;
use super::wire::ApiError;
use crate::platform::http::SendError;
use crate::platform::media::MediaFile;
use crate::platform::upload::{PartOutcome, ResumableUpload, UploadProgress};
use crate::platform::{PublishContext, PublishError};
use crate::post::{Category, Failure, Platform};

/// What TikTok is asked to do with a chunk, in the words of an error.
const SEND_CHUNK: &str = "accept the video data";

/// How an upload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadEnd {
    /// No more bytes are to be sent; the state of the publish tells the rest.
    Complete,
    /// The upload address accepts no more bytes.
    Closed,
}

pub(super) struct VideoUpload<'a> {
    pub(super) api: &'a TikTokApi,
    pub(super) publish_id: &'a str,
    pub(super) address: Url,
    pub(super) file: &'a MediaFile,
    pub(super) plan: ChunkPlan,
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

    async fn send_part(
        &self,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<PartOutcome<UploadEnd>, PublishError> {
        let end = range.end;
        match self.api.send_chunk(&self.address, self.file, range, context).await {
            Ok(response) => {
                let retry_at = response.retry_after(context.now());
                Ok(read_response(response.status, retry_at, end, self.plan.size)?)
            }
            Err(error @ (SendError::NotSent(_) | SendError::Lost(_))) => {
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
        // The upload address itself cannot be asked (section 4).
        let state = self.api.status(self.publish_id, context).await?;
        Ok(read_progress(&state, interruption, self.plan.size)?)
    }
}

/// What the response to a chunk that ends at `end` means: the table of section 4.
fn read_response(
    status: u16,
    retry_at: Option<DateTime<Utc>>,
    end: u64,
    size: u64,
) -> Result<PartOutcome<UploadEnd>, Failure> {
    match status {
        201 => Ok(PartOutcome::Ended(UploadEnd::Complete)),
        // Some clients take 200 for success, though TikTok does not document it.
        200 | 206 if end == size => Ok(PartOutcome::Ended(UploadEnd::Complete)),
        200 | 206 => Ok(PartOutcome::StoredUntil(end)),
        400 => {
            let text = "TikTok refused the video data (HTTP 400); encode the file again";
            Err(Failure::new(Category::MediaProcessing, text).not_retryable())
        }
        403..=405 => Ok(PartOutcome::Ended(UploadEnd::Closed)),
        416 => {
            let text = "TikTok has received other bytes of the video than expected (HTTP 416)";
            Ok(PartOutcome::Interrupted(Failure::new(Category::Network, text)))
        }
        _ => {
            let failure = classify(SEND_CHUNK, status, &ApiError::default()).retry_at(retry_at);
            Ok(PartOutcome::Interrupted(failure))
        }
    }
}

/// How far an interrupted upload came. If TikTok does not tell, the interruption ends the attempt.
fn read_progress(
    state: &PublishState,
    interruption: &Failure,
    size: u64,
) -> Result<UploadProgress<UploadEnd>, Failure> {
    match state {
        PublishState::Uploading(None) => Err(interruption.clone()),
        PublishState::Uploading(Some(bytes)) if *bytes < size => Ok(UploadProgress::StoredUntil(*bytes)),
        PublishState::Unknown(_) => Ok(UploadProgress::Ended(UploadEnd::Closed)),
        PublishState::Uploading(Some(_))
        | PublishState::Processing
        | PublishState::Published(_)
        | PublishState::Failed(_) => Ok(UploadProgress::Ended(UploadEnd::Complete)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_response_to_a_chunk_has_its_meaning() {
        let read = |status, end| read_response(status, None, end, 30);
        for (status, end) in [(200, 30), (201, 30), (206, 30), (201, 10)] {
            let outcome = read(status, end);
            assert!(matches!(outcome, Ok(PartOutcome::Ended(UploadEnd::Complete))), "{status} {end}: {outcome:?}");
        }
        for status in [200, 206] {
            assert!(matches!(read(status, 10), Ok(PartOutcome::StoredUntil(10))), "{status}");
        }
        for status in [403, 404, 405] {
            assert!(matches!(read(status, 10), Ok(PartOutcome::Ended(UploadEnd::Closed))), "{status}");
        }
        for (status, category) in [
            (416, Category::Network),
            (429, Category::RateLimited),
            (503, Category::PlatformOutage),
            (418, Category::Unknown),
        ] {
            let outcome = read(status, 10);
            let Ok(PartOutcome::Interrupted(failure)) = outcome else { panic!("{status}: {outcome:?}") };
            assert_eq!(failure.category, category, "{status}");
        }
        assert_eq!(read(400, 10).unwrap_err().category, Category::MediaProcessing);
    }

    #[test]
    fn the_state_tells_how_far_an_interrupted_upload_came() {
        let interruption = Failure::new(Category::Network, "interrupted");
        let read = |state: &PublishState| read_progress(state, &interruption, 30);
        assert!(matches!(read(&PublishState::Uploading(Some(29))), Ok(UploadProgress::StoredUntil(29))));
        assert_eq!(read(&PublishState::Uploading(None)).unwrap_err(), interruption);
        let failure = || Failure::new(Category::Unknown, "");
        for (state, end) in [
            (PublishState::Uploading(Some(30)), UploadEnd::Complete),
            (PublishState::Processing, UploadEnd::Complete),
            (PublishState::Published(None), UploadEnd::Complete),
            (PublishState::Failed(failure()), UploadEnd::Complete),
            (PublishState::Unknown(failure()), UploadEnd::Closed),
        ] {
            let Ok(UploadProgress::Ended(ended)) = read(&state) else { panic!("{state:?}") };
            assert_eq!(ended, end, "{state:?}");
        }
    }
}
