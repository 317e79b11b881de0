//! Photos: TikTok fetches them, so there is no upload, and `init` itself starts the publish. That is inferred from
//! "Photo" on <https://developers.tiktok.com>, which names no second step.

use url::Url;

use super::api::{CallError, START_PHOTO};
use super::publisher::TikTokPublisher;
use super::recovery::{left_as_draft, maybe_published};
use super::status::PublishState;
use super::text::{PhotoText, ai_label, fitted_photo_text};
use super::ticket::{PhotoTicket, TikTokTicket};
use super::wire::PhotoInit;
use crate::platform::backoff::PollBackoff;
use crate::platform::explanation::labelled;
use crate::platform::http::SendError;
use crate::platform::media::MediaFile;
use crate::platform::stale_ticket::judge_ticket_failure;
use crate::platform::{
    AttemptAborted, PublishContext, PublishError, TicketAge, TicketOutcome, still_processing, ticket_payload,
};
use crate::post::{Category, Content, Failure, MediaKind, Platform, Post, Ticket};

/// The largest photo that TikTok takes: 20 MB ("Media Transfer Guide"), if its MB are 2^20 bytes.
pub(super) const LARGEST_PHOTO: u64 = 20 << 20;

impl TikTokPublisher {
    /// The intent is stored before `init`: if the response is lost, nobody can tell whether the photo is published.
    pub(super) async fn create_photo_ticket(
        &self,
        post: &Post,
        context: &dyn PublishContext,
    ) -> Result<Ticket, PublishError> {
        let file = self.assets.file_of(post, MediaKind::Image).await?;
        file.ensure_at_most(LARGEST_PHOTO, Platform::TikTok)?;
        let image = self.assets.public_url(&file)?;
        let text = fitted_photo_text(post)?;
        let creator = self.creator(context).await?;
        let payload = |publish_id: Option<String>| {
            let username = creator.creator_username.clone();
            ticket_payload(&TikTokTicket::Photo(PhotoTicket { publish_id, username }))
        };
        self.api.wait_for_init(context).await?;
        let intent = Ticket::new(Platform::TikTok, context.now(), payload(None)?)
            .with_fingerprint(Some(photo_fingerprint(&file, &text, &image, &post.content)))
            .committed(context.now());
        context.save_ticket(&intent).await?;
        let init = PhotoInit::new(&text, &self.privacy_level, &creator, &image, &post.content);
        match self.api.start_photo(&init, context).await {
            Ok(publish_id) => Ok(intent.with_payload(payload(Some(publish_id))?)),
            Err(error) => match start_failure(error) {
                Ok(failure) => Err(failure.into()),
                // No connection was opened, so TikTok cannot have the photo.
                Err(aborted @ AttemptAborted::ResourceLimit(_)) => {
                    context.drop_ticket().await?;
                    Err(aborted.into())
                }
                Err(aborted) => Err(aborted.into()),
            },
        }
    }

    pub(super) async fn resume_photo(
        &self,
        post: &Post,
        ticket: &Ticket,
        own: PhotoTicket,
        mut age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let Some(publish_id) = &own.publish_id else {
            let text = "an earlier attempt was interrupted before the response was stored";
            let interrupted = Failure::new(Category::Interrupted, labelled(Platform::TikTok, text));
            return Err(maybe_published(&interrupted).into());
        };
        let mut backoff = PollBackoff::new(self.poll);
        loop {
            match self.poll_state(publish_id, &mut backoff, context).await? {
                PublishState::Published(id) => return Ok(TicketOutcome::Published(own.publication(id))),
                PublishState::Failed(failure) => return judge_ticket_failure(failure, age, post),
                PublishState::Draft => return Err(left_as_draft(post).into()),
                PublishState::Unknown(failure) => return Err(maybe_published(&failure).into()),
                PublishState::Inaccessible(failure) => {
                    return self.judge_inaccessible(post, ticket, failure, context).await;
                }
                PublishState::Uploading(_) | PublishState::Processing => {}
            }
            // The ticket has been looked up; what follows is this attempt's own.
            age = TicketAge::Fresh;
            if backoff.wait(context).await.is_break() {
                return Err(still_processing(Platform::TikTok).into());
            }
        }
    }
}

/// What is published with a photo, as a fingerprint.
pub(super) fn photo_fingerprint(file: &MediaFile, text: &PhotoText, image: &Url, content: &Content) -> String {
    file.fingerprint(&[&text.title, &text.description, image.as_str(), ai_label(content)])
}

/// What it means that `init` had no result: the ticket is dead where TikTok certainly has not accepted the photo.
fn start_failure(error: CallError) -> Result<Failure, AttemptAborted> {
    let is_certain = match &error {
        CallError::Send(error) => matches!(error, SendError::NotSent(_)),
        CallError::Refused(refusal) => refusal.is_definite(),
        // A token is renewed only after the one before was refused, so nothing was accepted.
        CallError::NoToken(_) => true,
    };
    let failure = error.into_retryable(Platform::TikTok, START_PHOTO).into_failure()?;
    Ok(if is_certain { failure.with_dead_ticket() } else { maybe_published(&failure) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tiktok::api::Refusal;
    use crate::post::TicketFate;

    fn refused(status: u16, code: &str) -> CallError {
        let failure = Failure::new(Category::RejectedContent, "refused");
        CallError::Refused(Refusal { failure, status, code: code.to_owned() })
    }

    #[test]
    fn a_photo_that_tiktok_may_have_accepted_is_not_sent_again() {
        use Category::{Ambiguous, Auth, Network, RejectedContent};
        let no_token = CallError::NoToken(Failure::new(Auth, "no token").into());
        for (error, category, ticket) in [
            (CallError::Send(SendError::NotSent("refused".into())), Network, TicketFate::Dead),
            (CallError::Send(SendError::Lost("reset".into())), Ambiguous, TicketFate::Kept),
            (CallError::Send(SendError::TooLong { status: 200 }), Ambiguous, TicketFate::Kept),
            (refused(403, "spam_risk"), RejectedContent, TicketFate::Dead),
            (refused(401, "access_token_invalid"), RejectedContent, TicketFate::Dead),
            (refused(401, ""), Ambiguous, TicketFate::Kept),
            (refused(200, "ok"), Ambiguous, TicketFate::Kept),
            (refused(403, ""), Ambiguous, TicketFate::Kept),
            (refused(500, "internal_error"), Ambiguous, TicketFate::Kept),
            (no_token, Auth, TicketFate::Dead),
        ] {
            let text = format!("{error:?}");
            let failure = start_failure(error).unwrap();
            assert_eq!((failure.category, failure.ticket), (category, ticket), "{text}");
            let is_told = failure.message.contains("; the post may be published: check the account");
            assert_eq!(is_told, category == Ambiguous, "{}", failure.message);
        }
        let aborted = CallError::Send(SendError::Aborted(AttemptAborted::LeaseLost));
        assert!(matches!(start_failure(aborted), Err(AttemptAborted::LeaseLost)));
    }
}
