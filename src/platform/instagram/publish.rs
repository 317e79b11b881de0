//! The one call that makes a container public, and what can be known after it.
//!
//! No error of it proves that nothing was published (platform sheet, section 5), so after any of them the container is
//! read, and only what it says decides.

use std::time::Duration;

use serde_json::json;

use super::container::{Container, State};
use super::{CallError, InstagramPublisher, misunderstood, still_processing};
use crate::platform::http::text_or_number;
use crate::platform::{PublishContext, PublishError, TicketOutcome};
use crate::post::{Category, Consequence, Failure, Post, Publication, Ticket};

/// Whether the container may be published once more.
pub(super) enum Settled {
    Published,
    NotPublished,
    Moved(State),
}

impl InstagramPublisher {
    /// Makes the container public, once.
    pub(super) async fn publish(
        &self,
        post: &Post,
        ticket: &mut Ticket,
        container: Container<'_>,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let step = "publish the post";
        let url = self.of_account("media_publish");
        // Once more where the first call seems not to have arrived; never a third time in one attempt.
        for is_last_call in [false, true] {
            *ticket = ticket.clone().committed(context.now());
            context.save_ticket(ticket).await?;
            // Said in the body too: only a body is held back when the claim has run out meanwhile.
            let said = json!({ "creation_id": container.id });
            let request = || self.http.post(url.clone()).query(&[("creation_id", container.id)]).json(&said);
            let (failure, is_unanswered) = match self.call(step, request, context).await {
                Ok(json) => match text_or_number(&json["id"]) {
                    Some(id) => return Ok(TicketOutcome::Published(self.publication(Some(id), context).await)),
                    None => (misunderstood(step, 200), true),
                },
                Err(CallError::Refused { failure, .. }) => {
                    let is_passing = matches!(failure.category, Category::PlatformOutage | Category::Unknown);
                    (failure, is_passing)
                }
                Err(error) => {
                    let failure = error.into_retryable(step).into_failure()?;
                    let is_network = failure.category == Category::Network;
                    (failure, is_network)
                }
            };
            log::debug!("post {}: reading the container, since {}", post.id, failure.message);
            match self.settle(container, context, &failure).await? {
                Settled::Published => return self.recovered(post, ticket, context).await,
                Settled::NotPublished if is_unanswered && !is_last_call => {}
                Settled::NotPublished => return Err(failure.into()),
                Settled::Moved(State::Failed(failed)) => return Err(failed.into()),
                Settled::Moved(State::Processing { .. }) => return Err(still_processing().into()),
                Settled::Moved(_) => return self.unreadable(post, ticket, &failure, context).await,
            }
        }
        Err(still_processing().into())
    }

    /// Whether an unanswered publish has happened: the container says so now or after a pause; or it says twice, each
    /// time after a pause, that it has not been published.
    pub(super) async fn settle(
        &self,
        container: Container<'_>,
        context: &dyn PublishContext,
        failure: &Failure,
    ) -> Result<Settled, PublishError> {
        for pause in [Duration::ZERO, self.settings.settle, self.settings.settle] {
            context.pause(pause).await;
            match self.state(container, context).await {
                Ok(State::Published) => return Ok(Settled::Published),
                Ok(State::Finished) => {}
                Ok(moved) => return Ok(Settled::Moved(moved)),
                // A refusal does not prove that nothing was published, so without a look at the container it must not
                // end the post: the next attempt looks again.
                Err(PublishError::Failed(unread)) if failure.consequence() == Consequence::GiveUp => {
                    let text = format!("{}; whether it was published all the same is not known yet", unread.message);
                    return Err(Failure { message: text, ..unread }.into());
                }
                Err(PublishError::Failed(_)) => return Err(failure.clone().into()),
                Err(aborted) => return Err(aborted),
            }
        }
        Ok(Settled::NotPublished)
    }

    /// The container is gone or cannot be read. Unless a publish was meant, nothing can have come of it.
    pub(super) async fn unreadable(
        &self,
        post: &Post,
        ticket: &Ticket,
        failure: &Failure,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        if !ticket.is_committed() {
            // A container that is not found for good is most likely there, but not for this token.
            let is_hidden = failure.category == Category::Auth;
            return if is_hidden { Err(failure.clone().into()) } else { Ok(TicketOutcome::Dead) };
        }
        if let Some(found) = self.search(post, ticket, context).await? {
            return Ok(TicketOutcome::Published(found));
        }
        let text = format!(
            "Instagram's container can no longer tell whether the post was published ({}); look at the account before \
             it is sent again",
            failure.message
        );
        Err(Failure::new(Category::Ambiguous, text).into())
    }

    /// What is known of a post that is public; the link is a courtesy.
    async fn publication(&self, id: Option<String>, context: &dyn PublishContext) -> Publication {
        let url = match &id {
            Some(id) => self.permalink(id, context).await,
            None => None,
        };
        Publication { id, url, warning: None }
    }
}
