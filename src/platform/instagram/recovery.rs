//! A post whose container is published or can no longer be read: the account's own list tells what became of it. A
//! container does not name its post ("IG Container" on <https://developers.facebook.com>).
#![warn(clippy::arithmetic_side_effects)]

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::InstagramPublisher;
use super::api::LIST_MEDIA;
use super::caption::fitted_caption;
use super::wire::Media;
use crate::platform::explanation::labelled;
use crate::platform::recovery::{only_unrecorded, slack_after, slack_before};
use crate::platform::{PublishContext, PublishError, TicketOutcome};
use crate::post::{Category, Failure, Platform, Post, Publication, Ticket};

/// How long a container lives ("IG User Media"). The application may have published it that long before its attempt
/// failed.
const CONTAINER_LIFE: TimeDelta = TimeDelta::hours(24);

impl InstagramPublisher {
    /// What is known of a post that is public. One whose link cannot be read is published all the same.
    pub(super) async fn publication(&self, id: String, context: &dyn PublishContext) -> Publication {
        let url = self.api.permalink(&id, context).await.ok().flatten();
        Publication { id: Some(id), url, warning: None }
    }

    /// The container reports that it is published. Which post it became, only the account's list tells.
    pub(super) async fn recover_publication(
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

    /// The container is gone or cannot be read. Unless the publish call was made, nothing was published.
    pub(super) async fn resolve_unreadable(
        &self,
        post: &Post,
        ticket: &Ticket,
        failure: &Failure,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        if !ticket.is_committed() {
            return Ok(TicketOutcome::Dead);
        }
        match self.search(post, ticket, context).await? {
            Some(found) => Ok(TicketOutcome::Published(found)),
            None => Err(ambiguous(post, failure).into()),
        }
    }

    /// The container has expired. Instagram says so of one that was not published within a day. If the publish call was
    /// made, that proves nothing: no page says whether a published container expires too.
    pub(super) async fn resolve_expired(
        &self,
        post: &Post,
        ticket: &Ticket,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        if is_unpublished_application_ticket(ticket) {
            let found = self.search(post, ticket, context).await?;
            return Ok(found.map_or(TicketOutcome::Dead, TicketOutcome::Published));
        }
        let failure = Failure::new(Category::Network, labelled(Platform::Instagram, "the container has expired"));
        self.resolve_unreadable(post, ticket, &failure, context).await
    }

    /// The one post of the account that has this caption, is not older than the ticket, and is not recorded as another
    /// post; none if there is none or if there are several. Where not all posts can be read, nobody can tell.
    async fn search(
        &self,
        post: &Post,
        ticket: &Ticket,
        context: &dyn PublishContext,
    ) -> Result<Option<Publication>, PublishError> {
        // Without a caption there is nothing to recognise it by.
        let Some(caption) = fitted_caption(post).ok().filter(|caption| !caption.trim().is_empty()) else {
            return Ok(None);
        };
        let since = searched_since(ticket);
        let until = slack_after(context.now());
        let listed = self.api.list_media(since, until, context).await;
        let listed = listed.map_err(|error| error.into_retryable(Platform::Instagram, LIST_MEDIA))?;
        let Some(listed) = listed else {
            let text = labelled(Platform::Instagram, "the account has too many posts to search all of them");
            return Err(ambiguous(post, &Failure::new(Category::Unknown, text)).into());
        };
        let found = only_unrecorded(candidates(listed, &caption, since), context).await?;
        Ok(found.map(|(id, url)| Publication { id: Some(id), url, warning: None }))
    }
}

/// Whether the application made the ticket, and postretry has never made the publish call for it.
fn is_unpublished_application_ticket(ticket: &Ticket) -> bool {
    ticket.is_from_application() && ticket.committed_at == Some(ticket.made_at)
}

/// The earliest time at which the ticket can have been published. All that is known of the application's is when its
/// attempt failed.
fn searched_since(ticket: &Ticket) -> DateTime<Utc> {
    let before = if ticket.is_from_application() { CONTAINER_LIFE } else { TimeDelta::zero() };
    let since = ticket.made_at.checked_sub_signed(before).map(slack_before);
    since.unwrap_or_default().max(DateTime::UNIX_EPOCH)
}

/// The failure of a post of which nobody can tell whether it was published.
fn ambiguous(post: &Post, failure: &Failure) -> Failure {
    let text = format!(
        "{}; the post may be published: check the account; if the post is there, `postretry reset --posted {id}` \
         records it, and if not, `postretry reset --drop-ticket {id}` makes the next attempt upload it again",
        failure.message,
        id = post.id.in_command(post.platform)
    );
    Failure::new(Category::Ambiguous, text)
}

/// The ids and links of the posts with this caption since then, each once: a list that changes while its pages are read
/// can repeat a post.
fn candidates(listed: Vec<Media>, caption: &str, since: DateTime<Utc>) -> Vec<(String, Option<String>)> {
    let mut seen = HashSet::new();
    listed
        .into_iter()
        .filter(|media| media.caption.trim() == caption.trim())
        .filter(|media| parse_timestamp(&media.timestamp).is_some_and(|at| at >= since))
        .filter_map(|media| Some((media.id?, media.permalink)))
        .filter(|(id, _)| seen.insert(id.clone()))
        .collect()
}

/// The Graph API writes `2026-11-23T10:00:00+0000`.
fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z").or_else(|_| DateTime::parse_from_rfc3339(text));
    parsed.ok().map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::platform::test_context::post;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn only_a_ticket_of_the_application_without_a_publish_call_of_ours_is_freed_when_it_expires() {
        let failed_at = at("2026-11-23T10:00:00Z");
        let now = at("2026-11-24T10:00:00Z");
        let adopted = Ticket::from_application(Platform::Instagram, failed_at, now, Value::Null);
        let own = Ticket::new(Platform::Instagram, failed_at, Value::Null);
        assert!(is_unpublished_application_ticket(&adopted));
        assert!(!is_unpublished_application_ticket(&adopted.clone().committed(now)));
        assert!(!is_unpublished_application_ticket(&own));
        assert!(!is_unpublished_application_ticket(&own.clone().committed(failed_at)));
        assert_eq!(searched_since(&adopted), at("2026-11-22T09:55:00Z"));
        assert_eq!(searched_since(&own), at("2026-11-23T09:55:00Z"));
    }

    #[test]
    fn a_post_that_nobody_can_tell_of_names_what_to_do() {
        let failure = ambiguous(&post(Platform::Instagram), &Failure::new(Category::Unknown, "code 100/33"));
        assert_eq!(failure.category, Category::Ambiguous);
        for part in ["code 100/33", "`postretry reset --posted p1`", "`postretry reset --drop-ticket p1`"] {
            assert!(failure.message.contains(part), "{}", failure.message);
        }
    }

    #[test]
    fn a_candidate_has_the_caption_and_is_not_older() {
        let since: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        for (id, caption, timestamp, is_candidate) in [
            (Some("18"), "Hi", "2026-11-23T10:00:00+0000", true),
            (Some("18"), " Hi\n", "2026-11-23T12:00:00+02:00", true),
            (Some("18"), "Hi", "2026-11-23T10:00:01Z", true),
            (Some("18"), "Hi", "2026-11-23T09:59:59+0000", false),
            (Some("18"), "Hi", "", false),
            (Some("18"), "Hi there", "2026-11-23T10:00:00+0000", false),
            (None, "Hi", "2026-11-23T10:00:00+0000", false),
        ] {
            let media = Media {
                id: id.map(str::to_owned),
                caption: caption.to_owned(),
                timestamp: timestamp.to_owned(),
                permalink: Some("https://x/".to_owned()),
            };
            let found = candidates(vec![media], "Hi", since);
            let expected = is_candidate.then(|| ("18".to_owned(), Some("https://x/".to_owned())));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{id:?} {caption} {timestamp}");
        }
    }
}
