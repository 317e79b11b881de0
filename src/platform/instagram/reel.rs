//! The bytes of a reel: one request to the end of the file, resumed at the offset that the container reports (platform
//! sheet, section 3).

use std::ops::Range;

use async_trait::async_trait;
use url::Url;

use super::InstagramPublisher;
use super::api::{InstagramApi, SEND_BYTES};
use super::container::{Container, ContainerState, Reel, read_state};
use crate::platform::auth::CallError;
use crate::platform::backoff::PollSettings;
use crate::platform::media::MediaFile;
use crate::platform::upload::{PartOutcome, ResumableUpload, UploadProgress, upload};
use crate::platform::{PublishContext, PublishError, file_changed};
use crate::post::{Failure, MediaKind, Platform, Post, Ticket};

struct ReelUpload<'a> {
    api: &'a InstagramApi,
    container: Container<'a>,
    url: Url,
    file: MediaFile,
    poll: PollSettings,
}

impl InstagramPublisher {
    /// Sends the bytes of a reel from `offset` on.
    pub(super) async fn upload_reel(
        &self,
        post: &Post,
        ticket: &mut Ticket,
        container: Container<'_>,
        reel: Reel<'_>,
        offset: u64,
        context: &dyn PublishContext,
    ) -> Result<(), PublishError> {
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        if file.size != reel.size {
            return Err(file_changed(Platform::Instagram).into());
        }
        let url = self.api.upload_url(reel.uri)?;
        let reel_upload = ReelUpload { api: &self.api, container, url, file, poll: self.poll };
        upload(&reel_upload, ticket, offset, self.poll, context).await
    }
}

#[async_trait]
impl ResumableUpload for ReelUpload<'_> {
    type End = ();

    /// Only the publish call makes the reel public.
    const LAST_BYTE_PUBLISHES: bool = false;

    fn size(&self) -> u64 {
        self.file.size
    }

    fn part_end(&self, _offset: u64) -> u64 {
        self.file.size
    }

    async fn send_part(
        &self,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<PartOutcome<Self::End>, PublishError> {
        match self.api.send_bytes(&self.url, &self.file, range.start, context).await {
            Ok(()) => Ok(PartOutcome::Ended(())),
            Err(CallError::NoToken(error)) => Err(error),
            Err(error) => {
                let failure = error.into_retryable(Platform::Instagram, SEND_BYTES).into_failure()?;
                Ok(PartOutcome::Interrupted(failure))
            }
        }
    }

    async fn progress(
        &self,
        interruption: &Failure,
        context: &dyn PublishContext,
    ) -> Result<UploadProgress<Self::End>, PublishError> {
        let state = read_state(self.api, self.container, self.poll, context).await?;
        progress_of(state, self.file.size, interruption)
    }
}

/// How far the upload has come, by the state of its container.
fn progress_of(state: ContainerState, size: u64, interruption: &Failure) -> Result<UploadProgress<()>, PublishError> {
    match state {
        ContainerState::Processing { uploaded: Some(bytes) } if bytes < size => Ok(UploadProgress::StoredUntil(bytes)),
        ContainerState::Processing { .. } | ContainerState::Finished | ContainerState::Published => {
            Ok(UploadProgress::Ended(()))
        }
        ContainerState::Failed(failure) => Err(failure.into()),
        ContainerState::Expired | ContainerState::Unreadable(_) => Err(interruption.clone().with_dead_ticket().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::{Category, TicketFate};

    fn failure(category: Category) -> Failure {
        Failure::new(category, "")
    }

    #[test]
    fn the_container_tells_where_an_upload_is_resumed() {
        for (state, expected) in [
            (ContainerState::Processing { uploaded: Some(0) }, Some(0)),
            (ContainerState::Processing { uploaded: Some(99) }, Some(99)),
            (ContainerState::Processing { uploaded: Some(100) }, None),
            (ContainerState::Processing { uploaded: None }, None),
            (ContainerState::Finished, None),
            (ContainerState::Published, None),
        ] {
            let found = match progress_of(state.clone(), 100, &failure(Category::Network)).unwrap() {
                UploadProgress::StoredUntil(offset) => Some(offset),
                UploadProgress::Ended(()) => None,
            };
            assert_eq!(found, expected, "{state:?}");
        }
    }

    #[test]
    fn a_container_that_failed_or_is_gone_ends_the_upload() {
        let ended = |state| {
            let error = progress_of(state, 100, &failure(Category::Network)).unwrap_err();
            let failure = error.into_failure().unwrap();
            (failure.category, failure.ticket)
        };
        let failed = failure(Category::MediaProcessing).with_dead_ticket();
        assert_eq!(ended(ContainerState::Failed(failed)), (Category::MediaProcessing, TicketFate::Dead));
        assert_eq!(ended(ContainerState::Expired), (Category::Network, TicketFate::Dead));
        let unreadable = ContainerState::Unreadable(failure(Category::Auth));
        assert_eq!(ended(unreadable), (Category::Network, TicketFate::Dead));
    }
}
