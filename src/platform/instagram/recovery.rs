//! Finding a post again that was published without our having its id.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::account::fitted_caption;
use super::{CallError, InstagramPublisher};
use crate::platform::http::{only_unrecorded, text_or_number};
use crate::platform::{CLOCK_SLACK, PublishContext, PublishError, TicketOutcome};
use crate::post::{Post, Publication, Ticket};

impl InstagramPublisher {
    /// The link of a post, if Instagram tells; a post without it is published all the same.
    pub(super) async fn permalink(&self, id: &str, context: &dyn PublishContext) -> Option<String> {
        let url = self.url(id);
        let request = || self.http.get(url.clone()).query(&[("fields", "id,permalink")]);
        match self.call("tell the post's link", request, context).await {
            Ok(json) => json["permalink"].as_str().map(str::to_owned),
            Err(_) => None,
        }
    }

    /// The container says that it is published; which post it became, only the account's list can tell.
    pub(super) async fn recovered(
        &self,
        post: &Post,
        ticket: &Ticket,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let found = match self.search(post, ticket, context).await {
            Ok(found) => found,
            Err(PublishError::Failed(_)) => None,
            Err(aborted) => return Err(aborted),
        };
        Ok(TicketOutcome::Published(found.unwrap_or_default()))
    }

    /// The one post of the account with this caption since the ticket was made that is no other post's; none where there
    /// is none or several.
    pub(super) async fn search(
        &self,
        post: &Post,
        ticket: &Ticket,
        context: &dyn PublishContext,
    ) -> Result<Option<Publication>, PublishError> {
        // Without words there is nothing to know it by.
        let Some(caption) = fitted_caption(post).ok().filter(|caption| !caption.trim().is_empty()) else {
            return Ok(None);
        };
        let since = ticket.made_at - CLOCK_SLACK;
        let fields = "id,caption,timestamp,permalink,media_product_type";
        let query = [
            ("fields", fields.to_owned()),
            ("since", since.timestamp().to_string()),
            ("until", (context.now() + CLOCK_SLACK).timestamp().to_string()),
        ];
        let url = self.of_account("media");
        let step = "list the account's posts";
        let json = match self.call(step, || self.http.get(url.clone()).query(&query), context).await {
            Ok(json) => json,
            Err(CallError::Refused { failure, .. }) => return Err(failure.into()),
            Err(error) => return Err(error.into_retryable(step)),
        };
        let is_match = |media: &&Value| {
            media["caption"].as_str().unwrap_or_default().trim() == caption.trim()
                && media["timestamp"].as_str().and_then(parse_timestamp).is_some_and(|at| at >= since)
        };
        let media = json["data"].as_array().into_iter().flatten().filter(is_match);
        let found = only_unrecorded(media, |media| text_or_number(&media["id"]), context).await?;
        Ok(found.map(|(id, media)| Publication {
            id: Some(id),
            url: media["permalink"].as_str().map(str::to_owned),
            warning: None,
        }))
    }
}

/// The Graph API writes `2026-11-23T10:00:00+0000`.
fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z").or_else(|_| DateTime::parse_from_rfc3339(text));
    parsed.ok().map(|at| at.with_timezone(&Utc))
}
