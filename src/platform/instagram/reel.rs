//! The bytes of a reel: one request to the end of the file, resumed at the offset that the container reports. That is
//! "Upload Video to Meta Servers" on <https://developers.facebook.com>. Whatever the upload host says of an error, the
//! container is read after it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use url::Url;

use super::InstagramPublisher;
use super::api::SEND_BYTES;
use super::container::{Container, ContainerState, Draft, Reel, Uploaded};
use crate::platform::auth::CallError;
use crate::platform::http::SendError;
use crate::platform::media::MediaFile;
use crate::platform::upload::{PartOutcome, ResumableUpload, UploadProgress, upload};
use crate::platform::{PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, Post, Retryable, Ticket};

/// How sending the bytes has ended.
#[derive(Debug)]
pub(super) enum UploadEnd {
    /// Nothing was sent: the post or its file is no longer what the container was made for.
    MadeForAnother,
    /// No bytes are missing, or none can be sent any more. With what the container reports, if it was read.
    Sent(Option<ContainerState>),
}

struct ReelUpload<'a> {
    publisher: &'a InstagramPublisher,
    container: Container<'a>,
    url: Url,
    file: MediaFile,
    /// Where the part that was sent last begins.
    sent_from: AtomicU64,
    /// The last error of the upload host, until the container is read.
    refusal: Mutex<Option<Failure>>,
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
    ) -> Result<UploadEnd, PublishError> {
        let draft = Draft::of(post, &self.assets).await?;
        let is_reel = draft.image_url.is_none();
        if !is_reel || draft.file.size != reel.size || ticket.was_made_for_another(&draft.fingerprint()) {
            return Ok(UploadEnd::MadeForAnother);
        }
        let url = self.api.upload_url(reel.uri)?;
        let upload_of_reel = ReelUpload {
            publisher: self,
            container,
            url,
            file: draft.file,
            sent_from: AtomicU64::new(offset),
            refusal: Mutex::default(),
        };
        let ended = upload(&upload_of_reel, ticket, offset, self.poll, context).await;
        let state = match (ended, upload_of_reel.take_refusal()) {
            (Err(PublishError::Failed(_)), Some(refusal)) => upload_of_reel.end_after(refusal, context).await?,
            (ended, _) => ended?,
        };
        Ok(UploadEnd::Sent(state))
    }
}

impl ReelUpload<'_> {
    fn take_refusal(&self) -> Option<Failure> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads the container after an error of the upload host that was one too many.
    async fn end_after(
        &self,
        refusal: Failure,
        context: &dyn PublishContext,
    ) -> Result<Option<ContainerState>, PublishError> {
        let state = self.publisher.read_state(self.container, context).await?;
        Ok(Some(state_after(state, self.file.size, refusal)?))
    }
}

#[async_trait]
impl ResumableUpload for ReelUpload<'_> {
    /// What the container reports, if it was read.
    type End = Option<ContainerState>;

    /// Only the publish call makes the reel public.
    const LAST_BYTE_PUBLISHES: bool = false;

    fn size(&self) -> u64 {
        self.file.size
    }

    fn part_end(&self, _offset: u64) -> u64 {
        self.file.size
    }

    async fn ensure_unchanged(&self) -> Result<(), PublishError> {
        Ok(self.file.ensure_unchanged().await?)
    }

    async fn send_part(
        &self,
        range: Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<PartOutcome<Self::End>, PublishError> {
        self.sent_from.store(range.start, Ordering::Relaxed);
        match self.publisher.api.send_bytes(&self.url, &self.file, range.start, context).await {
            Ok(()) => Ok(PartOutcome::Ended(None)),
            Err(CallError::NoToken(error)) => Err(error),
            Err(CallError::Send(error @ SendError::File(_))) => {
                Err(error.into_retryable(Platform::Instagram, SEND_BYTES))
            }
            Err(CallError::Refused(refusal)) => {
                let interruption = interruption(&refusal);
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                Ok(PartOutcome::Interrupted(interruption))
            }
            Err(error) => {
                let failure = error.into_retryable(Platform::Instagram, SEND_BYTES).into_failure()?;
                Ok(PartOutcome::Interrupted(failure))
            }
        }
    }

    async fn progress(
        &self,
        _interruption: &Failure,
        context: &dyn PublishContext,
    ) -> Result<UploadProgress<Self::End>, PublishError> {
        drop(self.take_refusal());
        let state = self.publisher.read_state(self.container, context).await?;
        Ok(progress_of(state, self.file.size, self.sent_from.load(Ordering::Relaxed)))
    }
}

/// Whether the bytes are worth sending once more although the upload host says that it could not process them. Its
/// `retriable: false` is no proof of the contrary.
fn may_be_resumed(refusal: &Failure) -> bool {
    refusal.category == Category::MediaProcessing && refusal.retryable == Retryable::Yes
}

/// An error of the upload host as an interruption of the upload. After one that may be resumed, the bytes are sent
/// again as after an outage.
fn interruption(refusal: &Failure) -> Failure {
    if may_be_resumed(refusal) {
        Failure { category: Category::PlatformOutage, ..refusal.clone() }
    } else {
        refusal.clone()
    }
}

/// Where the upload has to be resumed, by the container's own word; none if no bytes are missing or none can be sent.
/// Where it says nothing about them, the part that was sent from `sent_from` on is missing.
fn resume_offset(state: &ContainerState, size: u64, sent_from: u64) -> Option<u64> {
    match state {
        ContainerState::Processing { uploaded: Uploaded::Until(bytes) }
        | ContainerState::Contradictory { uploaded: bytes } => Some(*bytes).filter(|bytes| *bytes < size),
        ContainerState::Processing { uploaded: Uploaded::NotReported } => Some(sent_from),
        ContainerState::Processing { uploaded: Uploaded::All }
        | ContainerState::Finished
        | ContainerState::CopyrightMatch
        | ContainerState::Published
        | ContainerState::Failed(_)
        | ContainerState::Expired
        | ContainerState::Unreadable(_) => None,
    }
}

/// How far the upload has come, by the state of its container.
fn progress_of(state: ContainerState, size: u64, sent_from: u64) -> UploadProgress<Option<ContainerState>> {
    match resume_offset(&state, size, sent_from) {
        Some(bytes) => UploadProgress::StoredUntil(bytes),
        None => UploadProgress::Ended(Some(state)),
    }
}

/// The state of a container after the upload host's last error. If bytes are still missing, or nothing says that they
/// have arrived, that error ends the attempt. One that was met by sending the bytes again and again ends the container
/// too.
fn state_after(state: ContainerState, size: u64, refusal: Failure) -> Result<ContainerState, Failure> {
    if resume_offset(&state, size, 0).is_none() {
        return Ok(state);
    }
    let is_processing = matches!(state, ContainerState::Processing { .. });
    Err(if is_processing && may_be_resumed(&refusal) { refusal.with_dead_ticket() } else { refusal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::TicketFate;

    fn failure(category: Category) -> Failure {
        Failure::new(category, "")
    }

    /// States in which bytes are missing, after a part from 20 on was sent.
    fn incomplete() -> [(ContainerState, u64); 4] {
        [
            (ContainerState::Processing { uploaded: Uploaded::Until(0) }, 0),
            (ContainerState::Processing { uploaded: Uploaded::Until(99) }, 99),
            (ContainerState::Processing { uploaded: Uploaded::NotReported }, 20),
            (ContainerState::Contradictory { uploaded: 40 }, 40),
        ]
    }

    /// States in which none are missing, or none can be sent any more.
    fn complete() -> [ContainerState; 9] {
        [
            ContainerState::Processing { uploaded: Uploaded::Until(100) },
            ContainerState::Processing { uploaded: Uploaded::All },
            ContainerState::Contradictory { uploaded: 100 },
            ContainerState::Finished,
            ContainerState::CopyrightMatch,
            ContainerState::Published,
            ContainerState::Failed(failure(Category::MediaProcessing)),
            ContainerState::Expired,
            ContainerState::Unreadable(failure(Category::Unknown)),
        ]
    }

    #[test]
    fn the_container_tells_where_an_upload_is_resumed() {
        for (state, offset) in incomplete() {
            assert!(matches!(progress_of(state, 100, 20), UploadProgress::StoredUntil(found) if found == offset));
        }
        for state in complete() {
            let UploadProgress::Ended(Some(found)) = progress_of(state.clone(), 100, 20) else { panic!("{state:?}") };
            assert_eq!(found, state);
        }
    }

    #[test]
    fn what_the_upload_host_could_not_process_is_sent_again_as_after_an_outage() {
        let category = |refusal| interruption(&refusal).category;
        assert_eq!(category(failure(Category::MediaProcessing)), Category::PlatformOutage);
        assert_eq!(category(failure(Category::MediaProcessing).not_retryable()), Category::MediaProcessing);
        for other in [Category::Auth, Category::PlatformOutage, Category::RateLimited, Category::Unknown] {
            assert_eq!(category(failure(other)), other);
        }
    }

    #[test]
    fn an_error_that_is_one_too_many_ends_the_attempt_only_if_bytes_are_missing() {
        for state in complete() {
            assert_eq!(state_after(state.clone(), 100, failure(Category::MediaProcessing)), Ok(state));
        }
        let processing = || ContainerState::Processing { uploaded: Uploaded::Until(40) };
        let silent = || ContainerState::Processing { uploaded: Uploaded::NotReported };
        let contradictory = || ContainerState::Contradictory { uploaded: 40 };
        for (state, category, ticket) in [
            (processing(), Category::MediaProcessing, TicketFate::Dead),
            (processing(), Category::PlatformOutage, TicketFate::Kept),
            (processing(), Category::Auth, TicketFate::Kept),
            (processing(), Category::Unknown, TicketFate::Kept),
            (silent(), Category::MediaProcessing, TicketFate::Dead),
            (silent(), Category::PlatformOutage, TicketFate::Kept),
            (silent(), Category::Auth, TicketFate::Kept),
            (contradictory(), Category::MediaProcessing, TicketFate::Kept),
        ] {
            let ended = state_after(state, 100, failure(category)).unwrap_err();
            assert_eq!((ended.category, ended.ticket), (category, ticket));
        }
    }
}
