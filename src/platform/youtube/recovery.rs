//! Finding the video of a session that is gone, although its last byte was sent. The search is our own method, not
//! a documented one.
#![warn(clippy::arithmetic_side_effects)]

use chrono::{DateTime, Utc};

use super::metadata;
use super::publisher::YouTubePublisher;
use super::responses::{PlaylistItem, Video};
use crate::platform::backoff::PollBackoff;
use crate::platform::explanation::labelled;
use crate::platform::recovery::{only_unrecorded, slack_before};
use crate::platform::{PublishContext, PublishError};
use crate::post::{Category, Failure, Platform, Post, Retryable, Ticket};

impl YouTubePublisher {
    /// Searches the channel's uploads for the video and its id, for as long as an attempt polls. Only a single match
    /// counts. Without one the post is marked as ambiguous, and is never sent again automatically. A search that fails
    /// for a reason that passes says nothing: the next attempt searches again.
    pub(super) async fn find_uploaded(
        &self,
        post: &Post,
        ticket: &Ticket,
        size: u64,
        context: &dyn PublishContext,
    ) -> Result<(String, Video), PublishError> {
        let mut backoff = PollBackoff::new(self.poll);
        let problem = loop {
            let failure = match self.search_uploads(post, ticket, size, context).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => None,
                Err(error) => Some(error.into_failure()?),
            };
            if let Some(failure) = failure.as_ref().filter(|failure| failure.retryable == Retryable::Yes) {
                if backoff.wait_after(failure, context).await.is_break() {
                    return Err(failure.clone().into());
                }
                continue;
            }
            backoff.budget().reset();
            if backoff.wait(context).await.is_break() {
                break failure.map(|failure| format!(" ({})", failure.message)).unwrap_or_default();
            }
        };
        let text = format!(
            "the upload session ended after the last byte was sent, and the video is not among the channel's uploads; \
             check the channel before the post is sent again{problem}"
        );
        Err(Failure::new(Category::Ambiguous, labelled(Platform::YouTubeShorts, &text)).into())
    }

    /// The video of an upload that the session refuses although the last byte was sent: if it is on the channel, an
    /// earlier request has published it. If not, the refusal stands.
    pub(super) async fn find_refused(
        &self,
        post: &Post,
        ticket: &Ticket,
        size: u64,
        refusal: Failure,
        context: &dyn PublishContext,
    ) -> Result<(String, Video), PublishError> {
        let searched = match self.search_uploads(post, ticket, size, context).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into_failure()?),
        };
        Err(after_search(refusal, searched).into())
    }

    /// The only upload with this title since the session was opened that no other post is recorded with.
    async fn search_uploads(
        &self,
        post: &Post,
        ticket: &Ticket,
        size: u64,
        context: &dyn PublishContext,
    ) -> Result<Option<(String, Video)>, PublishError> {
        let title = metadata::title(post)?;
        let Some(playlist) = self.api.uploads_playlist(context).await? else { return Ok(None) };
        let items = self.api.playlist_items(&playlist, context).await?;
        let ids = candidate_ids(items, &title, slack_before(ticket.made_at));
        if ids.is_empty() {
            return Ok(None);
        }
        let videos = self.api.videos_with_files(&ids, context).await?;
        Ok(only_unrecorded(of_size(videos, size), context).await?)
    }
}

/// What a refused upload that was not found ends with. Where the search failed for a reason that passes, nothing is
/// known yet. A refusal that postretry does not know may be of the moment, so the ticket is kept.
fn after_search(refusal: Failure, searched: Result<(), Failure>) -> Failure {
    match searched {
        Err(failure) if failure.retryable == Retryable::Yes => failure,
        _ if refusal.category == Category::Unknown => refusal,
        // The right to list the uploads may be missing: then the session's word counts, which it has repeated.
        _ => refusal.with_dead_ticket(),
    }
}

/// The videos with this title that were published since then.
fn candidate_ids(items: Vec<PlaylistItem>, title: &str, since: DateTime<Utc>) -> Vec<String> {
    items
        .into_iter()
        .filter(|item| item.title() == Some(title))
        .filter(|item| item.published_at().is_some_and(|at| at >= since))
        .filter_map(PlaylistItem::into_video_id)
        .collect()
}

/// The videos of this size, with their ids. YouTube may not tell the size yet; then the video may be the right one.
fn of_size(videos: Vec<Video>, size: u64) -> Vec<(String, Video)> {
    videos
        .into_iter()
        .filter(|video| video.file_details.file_size.is_none_or(|told| told == size))
        .filter_map(|mut video| Some((video.id.take()?, video)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::post::TicketFate;

    #[test]
    fn a_refusal_kills_the_ticket_only_after_a_search_that_nothing_passing_has_stopped() {
        use Category::{Auth, Network, RejectedContent, Unknown};
        let failure = |category| Failure::new(category, "");
        let no_right = || Err(failure(Auth).not_retryable());
        for (refusal, searched, category, fate) in [
            (RejectedContent, Ok(()), RejectedContent, TicketFate::Dead),
            (RejectedContent, no_right(), RejectedContent, TicketFate::Dead),
            (RejectedContent, Err(failure(Network)), Network, TicketFate::Kept),
            (RejectedContent, Err(failure(Unknown)), Unknown, TicketFate::Kept),
            (Unknown, Ok(()), Unknown, TicketFate::Kept),
            (Unknown, no_right(), Unknown, TicketFate::Kept),
        ] {
            let ended = after_search(failure(refusal), searched);
            assert_eq!((ended.category, ended.ticket), (category, fate), "{refusal}");
        }
    }

    #[test]
    fn candidates_have_the_title_and_are_not_older_than_the_session() {
        let item = |id: &str, title: &str, at: &str| {
            let details = json!({ "videoId": id, "videoPublishedAt": at });
            json!({ "snippet": { "title": title }, "contentDetails": details })
        };
        let items = json!([
            item("a", "A title", "2026-11-23T10:00:00Z"),
            item("b", "A title", "2026-11-23T11:00:00+01:00"),
            item("c", "A title", "2026-11-23T09:59:59Z"),
            item("d", "Another", "2026-11-23T10:00:00Z"),
            item("e", "A title", "lately"),
            { "snippet": { "title": "A title", "publishedAt": "2026-11-23T10:00:00Z" } },
        ]);
        let items = serde_json::from_value(items).unwrap();
        assert_eq!(candidate_ids(items, "A title", "2026-11-23T10:00:00Z".parse().unwrap()), ["a", "b"]);
    }

    #[test]
    fn a_video_of_another_size_is_another_video() {
        let video = |id: Value, size: Value| json!({ "id": id, "fileDetails": { "fileSize": size } });
        let videos = json!([
            video(json!("a"), json!("1000")),
            video(json!("b"), json!(1000)),
            video(json!("c"), Value::Null),
            video(json!("d"), json!("1001")),
            video(Value::Null, json!("1000")),
        ]);
        let found = of_size(serde_json::from_value(videos).unwrap(), 1000);
        assert_eq!(found.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
