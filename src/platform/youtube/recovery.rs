//! Finding a video again whose session is gone, though its last byte was sent.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{YouTubePublisher, metadata};
use crate::platform::http::{only_unrecorded, text_or_number};
use crate::platform::patience::{Look, Patience};
use crate::platform::{CLOCK_SLACK, PublishContext, PublishError, TicketAge, TicketOutcome};
use crate::post::{Category, Failure, Post, Ticket};

impl YouTubePublisher {
    /// Looks for the video among the channel's uploads for as long as an attempt waits. Only a single match counts;
    /// without one the post is parked, and never sent again by itself.
    pub(super) async fn find_uploaded(
        &self,
        post: &Post,
        ticket: &mut Ticket,
        size: u64,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let mut patience = Patience::new(self.poll);
        let mut problem = String::new();
        loop {
            match self.search_uploads(post, ticket, size, context).await {
                Ok(Some(video)) => return self.processed(ticket, &video, TicketAge::Stored, context).await,
                Ok(None) => {}
                Err(PublishError::Failed(failure)) => problem = format!(" ({})", failure.message),
                Err(aborted) => return Err(aborted),
            }
            if patience.wait(context).await == Look::Enough {
                break;
            }
        }
        let text = format!(
            "YouTube's upload session ended after the last byte was sent, and the video is not among the channel's \
             uploads{problem}; look at the channel before the post is sent again"
        );
        Err(Failure::new(Category::Ambiguous, text).into())
    }

    /// The one upload with this title since the session was opened that is no other post's, of the file's size where
    /// `YouTube` tells it.
    async fn search_uploads(
        &self,
        post: &Post,
        ticket: &Ticket,
        size: u64,
        context: &dyn PublishContext,
    ) -> Result<Option<Value>, PublishError> {
        let title = metadata::title(post)?;
        let since = ticket.made_at - CLOCK_SLACK;
        let step = "list the channel's uploads";
        let list = async |path: &str, query: &[(&str, &str)]| {
            let url = self.settings.api.at(path);
            self.call(step, || self.http.get(url.clone()).query(query), context).await
        };
        let channels = list("/youtube/v3/channels", &[("part", "contentDetails"), ("mine", "true")]).await?;
        let Some(playlist) = channels["items"][0]["contentDetails"]["relatedPlaylists"]["uploads"].as_str() else {
            return Ok(None);
        };
        let query = [("part", "snippet,contentDetails"), ("playlistId", playlist), ("maxResults", "50")];
        let items = list("/youtube/v3/playlistItems", &query).await?;
        let published_at = |item: &Value| -> Option<DateTime<Utc>> {
            let at = item["contentDetails"]["videoPublishedAt"].as_str().or(item["snippet"]["publishedAt"].as_str());
            DateTime::parse_from_rfc3339(at?).ok().map(|at| at.with_timezone(&Utc))
        };
        let candidates: Vec<&str> = items["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|item| item["snippet"]["title"].as_str() == Some(title.as_str()))
            .filter(|item| published_at(item).is_some_and(|at| at >= since))
            .filter_map(|item| {
                item["contentDetails"]["videoId"].as_str().or(item["snippet"]["resourceId"]["videoId"].as_str())
            })
            .collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let ids = candidates.join(",");
        let videos = list("/youtube/v3/videos", &[("part", "status,fileDetails"), ("id", ids.as_str())]).await?;
        let has_size = |video: &&Value| {
            let told = text_or_number(&video["fileDetails"]["fileSize"]).and_then(|text| text.parse::<u64>().ok());
            told.is_none_or(|told| told == size)
        };
        let videos = videos["items"].as_array().into_iter().flatten().filter(has_size);
        let found = only_unrecorded(videos, |video| text_or_number(&video["id"]), context).await?;
        Ok(found.map(|(_, video)| video.clone()))
    }
}
