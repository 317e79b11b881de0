//! The publisher: tickets and their way to an outcome. Videos and photos have files of their own.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::TikTokSettings;
use super::api::TikTokApi;
use super::photo::{LARGEST_PHOTO, photo_fingerprint};
use super::status::PublishState;
use super::text::{fitted_photo_text, fitted_title};
use super::ticket::TikTokTicket;
use super::video::{LARGEST_VIDEO, video_fingerprint};
use super::wire::CreatorInfo;
use crate::environment::Redactor;
use crate::platform::backoff::{PollBackoff, PollSettings};
use crate::platform::explanation::labelled;
use crate::platform::media::{AssetStore, MediaFile};
use crate::platform::{
    CredentialExpiry, PublishContext, PublishError, Publisher, PublisherDeps, TicketAge, TicketOutcome, read_ticket,
};
use crate::post::{Category, Failure, MAX_WORDS_CHARS, MediaKind, Platform, Post, Ticket, excerpt};
use crate::store::StoreError;

/// Publishes on TikTok.
#[derive(Debug)]
pub(super) struct TikTokPublisher {
    pub(super) api: TikTokApi,
    pub(super) assets: Arc<AssetStore>,
    pub(super) poll: PollSettings,
    pub(super) privacy_level: String,
    /// Knows the secrets that no address of a post may contain.
    pub(super) redactor: Redactor,
}

impl TikTokPublisher {
    /// A publisher for one account.
    pub(super) fn new(settings: &TikTokSettings, deps: &PublisherDeps) -> Self {
        Self {
            api: TikTokApi::new(settings, deps),
            assets: Arc::clone(&deps.assets),
            poll: deps.poll,
            privacy_level: settings.privacy_level.clone(),
            redactor: deps.redactor.clone(),
        }
    }

    /// What would be published now with this file.
    fn fingerprint_of(&self, post: &Post, file: &MediaFile) -> Result<String, PublishError> {
        Ok(match post.content.media_kind()? {
            MediaKind::Video => video_fingerprint(file, &fitted_title(post)?, &post.content),
            MediaKind::Image => {
                let image = self.assets.public_url(file)?;
                photo_fingerprint(file, &fitted_photo_text(post)?, &image, &post.content)
            }
        })
    }

    /// What the account may do now, if it may post with the privacy level of the settings.
    pub(super) async fn creator(&self, context: &dyn PublishContext) -> Result<CreatorInfo, PublishError> {
        let creator = self.api.creator_info(context).await?;
        check_privacy_level(&self.privacy_level, &creator.privacy_level_options)?;
        Ok(creator)
    }

    /// The state of a publish. A call that fails for a transient reason is made again a few times.
    pub(super) async fn poll_state(
        &self,
        publish_id: &str,
        backoff: &mut PollBackoff,
        context: &dyn PublishContext,
    ) -> Result<PublishState, PublishError> {
        loop {
            let failure = match self.api.status(publish_id, context).await {
                Ok(state) => {
                    backoff.budget().reset();
                    return Ok(state);
                }
                Err(error) => error.into_failure()?,
            };
            if backoff.wait_after(&failure, context).await.is_break() {
                return Err(failure.into());
            }
        }
    }
}

/// TikTok refuses a level that it does not offer; a list without any tells nothing.
fn check_privacy_level(level: &str, offered: &[String]) -> Result<(), Failure> {
    if offered.is_empty() || offered.iter().any(|offered| offered == level) {
        return Ok(());
    }
    let text = format!(
        "the account does not offer the privacy level `{level}`; set TIKTOK_PRIVACY_LEVEL to one of {}",
        excerpt(&offered.join(", "), MAX_WORDS_CHARS)
    );
    Err(Failure::new(Category::RejectedContent, labelled(Platform::TikTok, &text)).not_retryable())
}

#[async_trait]
impl Publisher for TikTokPublisher {
    fn platform(&self) -> Platform {
        Platform::TikTok
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError> {
        self.api.tokens().credential_expiry().await
    }

    /// Whether it was a video or a photo is not known. The ticket of a video does for both: without an upload address
    /// nothing can be sent with it.
    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket {
        let payload = json!({ "kind": "video", "publishId": upload_id });
        Ticket::from_application(Platform::TikTok, failed_at, now, payload)
    }

    async fn fingerprint(&self, post: &Post) -> Result<String, PublishError> {
        let file = self.assets.file_of(post, post.content.media_kind()?).await?;
        self.fingerprint_of(post, &file)
    }

    async fn check(&self, post: &Post) -> Result<(), PublishError> {
        let kind = post.content.media_kind()?;
        let file = self.assets.file_of(post, kind).await?;
        self.fingerprint_of(post, &file)?;
        let largest = match kind {
            MediaKind::Video => LARGEST_VIDEO,
            MediaKind::Image => LARGEST_PHOTO,
        };
        Ok(file.ensure_at_most(largest, Platform::TikTok)?)
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        match post.content.media_kind()? {
            MediaKind::Video => self.create_video_ticket(post, context).await,
            MediaKind::Image => self.create_photo_ticket(post, context).await,
        }
    }

    async fn resume_publish(
        &self,
        post: &Post,
        ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        match read_ticket::<TikTokTicket>(&ticket)? {
            TikTokTicket::Video(own) => self.resume_video(post, ticket, own, age, context).await,
            TikTokTicket::Photo(own) => self.resume_photo(post, &ticket, own, age, context).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_privacy_level_must_be_offered_if_any_is() {
        let offered = ["PUBLIC_TO_EVERYONE".to_owned(), "SELF_ONLY".to_owned()];
        assert_eq!(check_privacy_level("SELF_ONLY", &offered), Ok(()));
        assert_eq!(check_privacy_level("SELF_ONLY", &[]), Ok(()));
        let failure = check_privacy_level("FOLLOWER_OF_CREATOR", &offered).unwrap_err();
        assert_eq!(failure.category, Category::RejectedContent);
        assert!(failure.message.ends_with("one of PUBLIC_TO_EVERYONE, SELF_ONLY"), "{}", failure.message);
    }
}
