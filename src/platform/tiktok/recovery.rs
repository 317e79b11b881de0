//! Finding a video that was sent whole and whose `publish_id` does not tell what became of it. The search is our own
//! method, not a documented one.
#![warn(clippy::arithmetic_side_effects)]

use chrono::{DateTime, Utc};

use super::publisher::TikTokPublisher;
use super::text::fitted_title;
use super::ticket::VideoTicket;
use super::wire::ListedVideo;
use crate::platform::explanation::labelled;
use crate::platform::public_url::public_url;
use crate::platform::recovery::{only_unrecorded, slack_before};
use crate::platform::{PublishContext, PublishError, TicketOutcome};
use crate::post::{Category, Failure, Platform, Post, Publication, Ticket};

impl TikTokPublisher {
    /// Searches for the video among the account's public ones. It is found only if it is the single one that has the
    /// caption and the time and is not recorded as another post. Otherwise the post is marked as ambiguous, and never
    /// sent again automatically. The list needs the scope `video.list` and never contains private videos, so that the
    /// video is not in it proves nothing.
    pub(super) async fn find_listed(
        &self,
        post: &Post,
        ticket: &Ticket,
        own: &VideoTicket,
        failure: &Failure,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        match self.search_listed(post, ticket, own, context).await {
            Ok(Some(publication)) => Ok(TicketOutcome::Published(publication)),
            Ok(None) => Err(maybe_published(failure).into()),
            Err(PublishError::Failed(refusal)) => {
                log::debug!("post {}: the account's videos cannot be listed: {}", post.id, refusal.message);
                Err(maybe_published(failure).into())
            }
            Err(aborted) => Err(aborted),
        }
    }

    /// TikTok does not let the token ask about a ticket. If the account works otherwise, that is the ticket's failure
    /// and not the account's, which would keep the other posts from being published.
    pub(super) async fn judge_inaccessible(
        &self,
        post: &Post,
        ticket: &Ticket,
        failure: Failure,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        self.api.creator_info(context).await?;
        inaccessible(post, ticket, failure).map_err(PublishError::from)
    }

    async fn search_listed(
        &self,
        post: &Post,
        ticket: &Ticket,
        own: &VideoTicket,
        context: &dyn PublishContext,
    ) -> Result<Option<Publication>, PublishError> {
        let title = fitted_title(post)?;
        // A video without a caption cannot be recognised.
        if title.trim().is_empty() {
            return Ok(None);
        }
        let since = slack_before(ticket.made_at);
        let videos = self.api.list_videos(context).await?;
        let matching = videos.into_iter().filter(|video| is_match(video, &title, since));
        let candidates: Vec<_> = matching.filter_map(|mut video| Some((video.id.take()?, video))).collect();
        let found = only_unrecorded(candidates, context).await?;
        Ok(found.map(|(id, video)| {
            let shared = video.share_url.and_then(|url| public_url(Platform::TikTok, &url, &self.redactor));
            let built = own.publication(Some(id));
            Publication { url: shared.or(built.url), ..built }
        }))
    }
}

fn is_match(video: &ListedVideo, title: &str, since: DateTime<Utc>) -> bool {
    let texts = [&video.video_description, &video.title];
    let has_caption = texts.into_iter().flatten().any(|text| text.trim() == title.trim());
    let created_at = video.create_time.and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    has_caption && created_at.is_some_and(|at| at >= since)
}

/// The failure of a post of which TikTok cannot tell whether it was published.
pub(super) fn maybe_published(failure: &Failure) -> Failure {
    let text = format!("{}; the post may be published: check the account before sending it again", failure.message);
    Failure::new(Category::Ambiguous, text)
}

/// What follows if only the ticket cannot be asked about: before its last chunk nothing can be public.
fn inaccessible(post: &Post, ticket: &Ticket, failure: Failure) -> Result<TicketOutcome, Failure> {
    if !ticket.is_committed() {
        return Ok(TicketOutcome::Dead);
    }
    let advice = format!(
        "check whether the post is on TikTok, on this account or an earlier one; `postretry reset --drop-ticket {}` \
         makes the next attempt upload it again",
        post.id.in_command(post.platform)
    );
    Err(Failure::new(Category::Ambiguous, failure.message).advise(advice))
}

/// The failure of a post that the application sent as a draft: only the creator can finish it.
pub(super) fn left_as_draft(post: &Post) -> Failure {
    let advice = format!(
        "finish it in the TikTok app, then record the post as posted with `postretry reset --posted {}`",
        post.id.in_command(post.platform)
    );
    let text = labelled(Platform::TikTok, "the post is in the creator's inbox as a draft");
    Failure::new(Category::Ambiguous, text).advise(advice)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::platform::test_context::post;
    use crate::post::TicketFate;

    #[test]
    fn a_ticket_that_may_not_be_asked_about_is_dead_only_before_its_last_chunk() {
        let made_at = DateTime::<Utc>::from_timestamp(1_767_225_600, 0).unwrap();
        let ticket = Ticket::new(Platform::TikTok, made_at, Value::Null);
        let judge = |ticket: &Ticket| {
            inaccessible(&post(Platform::TikTok), ticket, Failure::new(Category::Auth, "refused").not_retryable())
        };
        assert_eq!(judge(&ticket), Ok(TicketOutcome::Dead));
        let failure = judge(&ticket.committed(made_at)).unwrap_err();
        assert_eq!((failure.category, failure.ticket), (Category::Ambiguous, TicketFate::Kept));
        assert!(failure.message.contains("`postretry reset --drop-ticket p1`"), "{}", failure.message);
    }

    #[test]
    fn a_draft_is_left_to_the_creator() {
        let failure = left_as_draft(&post(Platform::TikTok));
        assert_eq!(failure.category, Category::Ambiguous);
        assert!(failure.message.contains("inbox as a draft"), "{}", failure.message);
    }

    #[test]
    fn a_video_is_known_by_its_caption_and_its_time() {
        let since = DateTime::<Utc>::from_timestamp(1_767_225_600, 0).unwrap();
        for (text, expected) in [
            (r#"{"title":"Hello","create_time":1767225600}"#, true),
            (r#"{"title":"Cut","video_description":" Hello ","create_time":1767225601}"#, true),
            (r#"{"title":"Hello","create_time":1767225599}"#, false),
            (r#"{"title":"Hello"}"#, false),
            (r#"{"title":"Hello you","create_time":1767225600}"#, false),
            (r#"{"create_time":1767225600}"#, false),
        ] {
            let video: ListedVideo = serde_json::from_str(text).unwrap();
            assert_eq!(is_match(&video, "Hello ", since), expected, "{text}");
        }
    }
}
