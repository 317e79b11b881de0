//! From a post to an upload session, and from a session to its video on the channel.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::api::{ASK_PROGRESS, NewVideo, YouTubeApi};
use super::responses::Video;
use super::session::{SessionEnd, SessionTicket, VideoUpload, refuses_for_good, unfinished_upload};
use super::{YouTubeSettings, account, metadata};
use crate::platform::auth::{AuthorizedClient, CallError};
use crate::platform::backoff::PollSettings;
use crate::platform::explanation::labelled;
use crate::platform::media::{AssetStore, MediaFile};
use crate::platform::upload::{UploadProgress, upload};
use crate::platform::{
    AttemptAborted, CredentialExpiry, PublishContext, PublishError, Publisher, PublisherDeps, TicketAge, TicketOutcome,
    read_ticket, ticket_payload,
};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Ticket};
use crate::store::StoreError;

/// The largest video that YouTube takes: 256 GB ("Videos: insert"), if its GB are 2^30 bytes.
const LARGEST_VIDEO: u64 = 256 << 30;

/// Publishes on YouTube.
#[derive(Debug)]
pub(super) struct YouTubePublisher {
    pub(super) settings: YouTubeSettings,
    pub(super) api: YouTubeApi,
    pub(super) poll: PollSettings,
    assets: Arc<AssetStore>,
}

impl YouTubePublisher {
    /// A publisher for one channel.
    pub(super) fn new(settings: &YouTubeSettings, deps: &PublisherDeps) -> Self {
        let PublisherDeps { http, assets, poll, tokens, .. } = deps.clone();
        let tokens = account::token_provider(settings, &http, tokens);
        let client = AuthorizedClient::new(http, tokens, account::token_verdict);
        let api = YouTubeApi::new(client, settings.api.clone());
        Self { settings: settings.clone(), api, poll, assets }
    }

    /// What is published for a post, and its file.
    async fn prepare(&self, post: &Post) -> Result<(NewVideo<'_>, MediaFile), PublishError> {
        if post.content.media_kind()? == MediaKind::Image {
            let text = labelled(Platform::YouTubeShorts, "images are not accepted; publish a video");
            return Err(Failure::new(Category::RejectedContent, text).not_retryable().into());
        }
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        Ok((metadata::new_video(post, &self.settings)?, file))
    }
}

#[async_trait]
impl Publisher for YouTubePublisher {
    fn platform(&self) -> Platform {
        Platform::YouTubeShorts
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError> {
        self.api.tokens().credential_expiry().await
    }

    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket {
        unknown_upload(upload_id, failed_at, now)
    }

    async fn fingerprint(&self, post: &Post) -> Result<String, PublishError> {
        let (video, file) = self.prepare(post).await?;
        Ok(video.fingerprint(&file))
    }

    async fn check(&self, post: &Post) -> Result<(), PublishError> {
        let (_, file) = self.prepare(post).await?;
        Ok(file.ensure_at_most(LARGEST_VIDEO, Platform::YouTubeShorts)?)
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        let (video, file) = self.prepare(post).await?;
        file.ensure_at_most(LARGEST_VIDEO, Platform::YouTubeShorts)?;
        let session_uri = self.api.open_session(&video, &file, context).await?;
        let session = SessionTicket { session_uri, size: file.size, video_id: None };
        let ticket = Ticket::new(Platform::YouTubeShorts, context.now(), ticket_payload(&session)?);
        Ok(ticket.with_fingerprint(Some(video.fingerprint(&file))))
    }

    async fn resume_publish(
        &self,
        post: &Post,
        mut ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let session: SessionTicket = read_ticket(&ticket)?;
        if let Some(id) = &session.video_id {
            return self.await_processing(id, Video::default(), age, context).await;
        }
        let url = self.api.session_url(&session.session_uri)?;
        let progress = match age {
            TicketAge::Fresh => UploadProgress::StoredUntil(0),
            TicketAge::Stored => match self.api.session_progress(&url, session.size, context).await {
                Ok(progress) => progress,
                // Without the last byte there is no video, so nothing is lost with the session.
                Err(CallError::Refused(refusal)) if !ticket.is_committed() && refuses_for_good(&refusal) => {
                    return Err(refusal.failure.with_dead_ticket().into());
                }
                Err(error) => return Err(error.into_retryable(Platform::YouTubeShorts, ASK_PROGRESS)),
            },
        };
        let end = match progress {
            UploadProgress::Ended(end) => end,
            UploadProgress::StoredUntil(offset) => {
                let (video, file) = match self.prepare(post).await {
                    // It has all bytes, so whatever the post is by now, there may be a video.
                    Err(PublishError::Failed(_)) if offset >= session.size => return Err(unfinished_upload().into()),
                    prepared => prepared?,
                };
                if file.size != session.size || ticket.was_made_for_another(&video.fingerprint(&file)) {
                    return not_as_announced(offset, session.size);
                }
                let video = VideoUpload::new(&self.api, &url, &file, &ticket);
                let ended = upload(&video, &mut ticket, offset, self.poll, context).await;
                // From here on the ticket is never replaced without a search for the video.
                if video.may_exist() && !ticket.is_committed() {
                    ticket = ticket.committed(context.now());
                    save_known(&ticket, context).await?;
                }
                ended?
            }
        };
        let (id, video, age) = match end {
            // The session has just named the video, so the list may not have it yet, whatever the ticket's age.
            SessionEnd::Complete { id, video, .. } => (id, video, TicketAge::Fresh),
            SessionEnd::Failed(refusal) if ticket.is_committed() => {
                let (id, video) = self.find_refused(post, &ticket, session.size, refusal, context).await?;
                (id, video, TicketAge::Stored)
            }
            SessionEnd::Failed(refusal) => return refused_before_the_last_byte(refusal, age),
            // Without the last byte there is no video.
            SessionEnd::Gone if !ticket.is_committed() => return Ok(TicketOutcome::Dead),
            SessionEnd::Gone => {
                let (id, video) = self.find_uploaded(post, &ticket, session.size, context).await?;
                (id, video, TicketAge::Stored)
            }
        };
        let payload = ticket_payload(&SessionTicket { video_id: Some(id.clone()), ..session })?;
        save_known(&ticket.with_payload(payload), context).await?;
        self.await_processing(&id, video, age, context).await
    }
}

/// Stores what became of an upload. If the post is not failed any more or the store refuses it, nothing is stored, but
/// what was sent is still asked for, so that a video is recorded.
async fn save_known(ticket: &Ticket, context: &dyn PublishContext) -> Result<(), AttemptAborted> {
    match context.save_ticket(ticket).await {
        Ok(()) | Err(AttemptAborted::NotFailed) => Ok(()),
        // The outcome is told even if it cannot be recorded either.
        Err(AttemptAborted::Store(error)) if error.is_for_one_post() => Ok(()),
        Err(aborted) => Err(aborted),
    }
}

/// What follows if text or file are not those that the session was opened for. As long as bytes are missing nothing can
/// be public, and a new session is opened. `stored`: the bytes that YouTube says it has.
fn not_as_announced(stored: u64, size: u64) -> Result<TicketOutcome, PublishError> {
    if stored < size { Ok(TicketOutcome::Dead) } else { Err(unfinished_upload().into()) }
}

/// What follows if the session refuses an upload whose last byte was not sent, so that there is no video. A reason that
/// postretry does not know may be of the moment: the session is used once more before a new one is opened.
fn refused_before_the_last_byte(refusal: Failure, age: TicketAge) -> Result<TicketOutcome, PublishError> {
    match age {
        TicketAge::Fresh if refusal.category == Category::Unknown => Err(refusal.into()),
        TicketAge::Stored if refusal.category == Category::Unknown => Ok(TicketOutcome::Dead),
        TicketAge::Fresh | TicketAge::Stored => Err(refusal.with_dead_ticket().into()),
    }
}

/// The ticket of an upload that the application left. The application leaves nothing at YouTube
/// (`PlatformFields::left_upload` is none), so nobody asks for such a ticket. If an id comes all the same, it is not
/// known what it stands for. So the payload is no session: `resume_publish` cannot read it, sends nothing, and reports
/// the post as ambiguous, for a person to check. It can never lead to a second publish.
fn unknown_upload(upload_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket {
    Ticket::from_application(Platform::YouTubeShorts, failed_at, now, json!({ "uploadId": upload_id }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::{Consequence, TicketFate};

    #[test]
    fn an_upload_of_the_application_is_never_sent_again() {
        let ticket = unknown_upload("u1", DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        assert!(ticket.is_from_application() && ticket.is_committed());
        let Err(failure) = read_ticket::<SessionTicket>(&ticket) else { panic!("it is no session") };
        assert_eq!(failure.category, Category::Ambiguous);
        assert_eq!((failure.consequence(), failure.ticket), (Consequence::FailPermanently, TicketFate::Kept));
    }

    #[test]
    fn an_edited_post_gets_a_new_session_only_while_bytes_are_missing() {
        assert!(matches!(not_as_announced(999, 1000), Ok(TicketOutcome::Dead)));
        let Err(error) = not_as_announced(1000, 1000) else { panic!("the video may exist") };
        let failure = error.into_failure().unwrap();
        assert_eq!((failure.category, failure.ticket), (Category::PlatformOutage, TicketFate::Kept));
    }

    #[test]
    fn a_refusal_before_the_last_byte_kills_the_ticket_at_once_only_if_its_reason_is_known() {
        use Category::{RejectedContent, Unknown};
        for (category, age, fate) in [
            (RejectedContent, TicketAge::Fresh, Some(TicketFate::Dead)),
            (RejectedContent, TicketAge::Stored, Some(TicketFate::Dead)),
            (Unknown, TicketAge::Fresh, Some(TicketFate::Kept)),
            (Unknown, TicketAge::Stored, None),
        ] {
            let failed_with = match refused_before_the_last_byte(Failure::new(category, ""), age) {
                Ok(outcome) => {
                    assert_eq!(outcome, TicketOutcome::Dead);
                    None
                }
                Err(error) => Some(error.into_failure().unwrap().ticket),
            };
            assert_eq!(failed_with, fate, "{category} {age:?}");
        }
    }
}
