//! Photos on TikTok: there is no upload, so there is no step between the announcement and the publish.

use serde_json::json;

use super::account::fitted_photo_text;
use super::{CallError, State, TikTokPublisher, failed_before_or_now, still_processing, untellable};
use crate::platform::http::SendError;
use crate::platform::patience::{Look, Patience};
use crate::platform::{PublishContext, PublishError, TicketAge, TicketOutcome};
use crate::post::{Category, Failure, MediaKind, Platform, Post, Ticket, TicketHandle};

impl TikTokPublisher {
    /// A photo is fetched by TikTok as soon as it is announced, so the intent is stored first, and an answer that was
    /// lost cannot be made up for.
    pub(super) async fn create_photo_ticket(
        &self,
        post: &Post,
        context: &dyn PublishContext,
    ) -> Result<Ticket, PublishError> {
        let file = self.assets.file_of(post, MediaKind::Image).await?;
        let url = self.assets.public_url(&file)?;
        let text = fitted_photo_text(post)?;
        let creator = self.creator(context).await?;
        let body = json!({
            "media_type": "PHOTO",
            "post_mode": "DIRECT_POST",
            "post_info": {
                "title": text.title,
                "description": text.description,
                "privacy_level": self.privacy_level,
                "disable_comment": creator.comment_disabled,
                "auto_add_music": false,
                "brand_content_toggle": false,
                "brand_organic_toggle": false,
            },
            "source_info": { "source": "PULL_FROM_URL", "photo_images": [url.as_str()], "photo_cover_index": 0 },
        });
        let photo =
            |publish_id: Option<String>| TicketHandle::TiktokPhoto { publish_id, username: creator.username.clone() };
        let intent = Ticket::new(context.now(), photo(None)).committed(context.now());
        context.save_ticket(&intent).await?;
        let step = "take the photo";
        let data = match self.call(step, "/v2/post/publish/content/init/", &body, context).await {
            Ok(data) => data,
            Err(CallError::Send(SendError::Lost(why))) => return Err(lost_photo(&why).into()),
            Err(CallError::Send(error)) => {
                let was_sent = !matches!(error, SendError::NotSent(_));
                let failure = error.into_retryable(Platform::TikTok, step).into_failure()?;
                let failure = if was_sent { lost_photo(&failure.message) } else { failure.with_dead_ticket() };
                return Err(failure.into());
            }
            Err(CallError::Refused { failure, status, code }) => {
                // Without a code of TikTok's own, whoever answered may not be the one who took the photo.
                let is_refusal = status < 500 && !code.is_empty() && code != "ok";
                let failure = if is_refusal { failure.with_dead_ticket() } else { lost_photo(&failure.message) };
                return Err(failure.into());
            }
            // Whether to renew a token is asked only after the refusal of the one before, so nothing was taken.
            Err(CallError::Stopped(error)) => return Err(error.into_failure()?.with_dead_ticket().into()),
        };
        let Some(publish_id) = data["publish_id"].as_str() else {
            return Err(lost_photo("the answer names no publish_id").into());
        };
        Ok(Ticket { handle: photo(Some(publish_id.to_owned())), ..intent })
    }

    pub(super) async fn resume_photo(
        &self,
        post: &Post,
        ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let TicketHandle::TiktokPhoto { publish_id: Some(publish_id), .. } = ticket.handle.clone() else {
            return Err(lost_photo("an earlier attempt was broken off before the answer was stored").into());
        };
        let mut patience = Patience::new(self.poll);
        let mut is_first_look = age == TicketAge::Stored;
        loop {
            match self.patient_state(&ticket, &publish_id, &mut patience, context).await? {
                State::Published(publication) => return Ok(TicketOutcome::Published(publication)),
                State::Failed(failure) => return failed_before_or_now(failure, is_first_look, post),
                State::Unknown(failure) => return Err(untellable(&failure).into()),
                State::Uploading(_) | State::Processing => {}
            }
            is_first_look = false;
            if patience.wait(context).await == Look::Enough {
                return Err(still_processing().into());
            }
        }
    }
}

fn lost_photo(why: &str) -> Failure {
    let text = format!(
        "TikTok may have taken the photo, but its answer was lost ({why}); look at the account before it is sent again"
    );
    Failure::new(Category::Ambiguous, text)
}
