//! From a post to an upload session, and from a session to its video on the channel.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::api::{ASK_PROGRESS, YouTubeApi};
use super::responses::Video;
use super::session::{SessionEnd, SessionTicket, VideoUpload};
use super::{YouTubeSettings, account, metadata};
use crate::platform::auth::AuthorizedClient;
use crate::platform::backoff::PollSettings;
use crate::platform::media::AssetStore;
use crate::platform::upload::{UploadProgress, upload};
use crate::platform::{
    CredentialExpiry, PublishContext, PublishError, Publisher, PublisherDeps, TicketAge, TicketOutcome, file_changed,
    read_ticket, ticket_payload,
};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Ticket};
use crate::store::StoreError;

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
        let PublisherDeps { http, assets, poll, tokens } = deps.clone();
        let tokens = account::token_provider(settings, &http, tokens);
        let client = AuthorizedClient::new(http, tokens, account::token_verdict);
        let api = YouTubeApi::new(client, settings.api.clone());
        Self { settings: settings.clone(), api, poll, assets }
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

    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>) -> Ticket {
        unknown_upload(upload_id, failed_at)
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        if post.content.media_kind()? == MediaKind::Image {
            let text = "YouTube accepts no images; publish a video";
            return Err(Failure::new(Category::RejectedContent, text).not_retryable().into());
        }
        let file = self.assets.file_of(post, MediaKind::Video).await?;
        let video = metadata::new_video(post, &self.settings)?;
        let session_uri = self.api.open_session(&video, &file, context).await?;
        let session = SessionTicket { session_uri, size: file.size, video_id: None };
        Ok(Ticket::new(Platform::YouTubeShorts, context.now(), ticket_payload(&session)?))
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
            TicketAge::Stored => {
                let asked = self.api.session_progress(&url, session.size, context).await;
                asked.map_err(|error| error.into_retryable(Platform::YouTubeShorts, ASK_PROGRESS))?
            }
        };
        let end = match progress {
            UploadProgress::Ended(end) => end,
            UploadProgress::StoredUntil(offset) => {
                let file = self.assets.file_of(post, MediaKind::Video).await?;
                if file.size != session.size {
                    return Err(file_changed(Platform::YouTubeShorts).into());
                }
                let video = VideoUpload { api: &self.api, session: &url, file: &file };
                upload(&video, &mut ticket, offset, self.poll, context).await?
            }
        };
        let (id, video, age) = match end {
            SessionEnd::Complete { id, video } => (id, video, age),
            SessionEnd::Failed(failure) => return Err(failure.into()),
            // Without the last byte there is no video (section 10).
            SessionEnd::Gone if !ticket.is_committed() => return Ok(TicketOutcome::Dead),
            SessionEnd::Gone => {
                let (id, video) = self.find_uploaded(post, &ticket, session.size, context).await?;
                (id, video, TicketAge::Stored)
            }
        };
        let payload = ticket_payload(&SessionTicket { video_id: Some(id.clone()), ..session })?;
        context.save_ticket(&ticket.with_payload(payload)).await?;
        self.await_processing(&id, video, age, context).await
    }
}

/// The ticket of an upload that the application left. The application leaves nothing at YouTube
/// (`PlatformFields::left_upload` is none), so nobody asks for such a ticket. If an id comes all the same, it is not
/// known what it stands for. So the payload is no session: `resume_publish` cannot read it, sends nothing, and reports
/// the post as ambiguous, for a person to check. It can never lead to a second publish.
fn unknown_upload(upload_id: &str, failed_at: DateTime<Utc>) -> Ticket {
    Ticket::from_application(Platform::YouTubeShorts, failed_at, json!({ "uploadId": upload_id }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::{Consequence, TicketFate};

    #[test]
    fn an_upload_of_the_application_is_never_sent_again() {
        let ticket = unknown_upload("u1", DateTime::UNIX_EPOCH);
        assert!(ticket.from_application && ticket.is_committed());
        let Err(failure) = read_ticket::<SessionTicket>(&ticket) else { panic!("it is no session") };
        assert_eq!(failure.category, Category::Ambiguous);
        assert_eq!((failure.consequence(), failure.ticket), (Consequence::GiveUp, TicketFate::Kept));
    }
}
