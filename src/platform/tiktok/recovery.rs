//! Finding a video again whose `publish_id` TikTok does not know any more, though its last chunk was sent.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::account::fitted_title;
use super::{TikTokPublisher, untellable};
use crate::platform::http::{only_unrecorded, text_or_number};
use crate::platform::{CLOCK_SLACK, PublishContext, PublishError, TicketOutcome};
use crate::post::{Failure, Post, Publication, Ticket};

/// The most videos that one call lists.
const LISTED: u32 = 20;

impl TikTokPublisher {
    /// Looks for the video among the account's public ones (platform sheet, section 12). Only a single match of caption
    /// and time counts that is no other post's; without one the post is parked, and never sent again by itself. The list
    /// needs the scope `video.list`, and private videos are never in it, so its silence proves nothing.
    pub(super) async fn find_listed(
        &self,
        post: &Post,
        ticket: &Ticket,
        failure: &Failure,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        match self.search_listed(post, ticket, context).await {
            Ok(Some(publication)) => Ok(TicketOutcome::Published(publication)),
            Ok(None) => Err(untellable(failure).into()),
            Err(PublishError::Failed(refusal)) => {
                log::debug!("post {}: the account's videos cannot be listed: {}", post.id, refusal.message);
                Err(untellable(failure).into())
            }
            Err(aborted) => Err(aborted),
        }
    }

    async fn search_listed(
        &self,
        post: &Post,
        ticket: &Ticket,
        context: &dyn PublishContext,
    ) -> Result<Option<Publication>, PublishError> {
        let title = fitted_title(post)?;
        // Without words there is nothing to know it by.
        if title.trim().is_empty() {
            return Ok(None);
        }
        let since = ticket.made_at - CLOCK_SLACK;
        let step = "list the account's videos";
        let path = "/v2/video/list/?fields=id,title,video_description,create_time,share_url";
        let data = self
            .call(step, path, &json!({ "max_count": LISTED }), context)
            .await
            .map_err(|error| error.into_retryable(step))?;
        let is_match = |video: &&Value| {
            let texts = [&video["video_description"], &video["title"]];
            let has_caption = texts.into_iter().filter_map(Value::as_str).any(|text| text.trim() == title.trim());
            let created_at =
                video["create_time"].as_i64().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
            has_caption && created_at.is_some_and(|at| at >= since)
        };
        let videos = data["videos"].as_array().into_iter().flatten().filter(is_match);
        let found = only_unrecorded(videos, |video| text_or_number(&video["id"]), context).await?;
        Ok(found.map(|(id, video)| Publication {
            id: Some(id),
            url: video["share_url"].as_str().map(str::to_owned),
            warning: None,
        }))
    }
}
