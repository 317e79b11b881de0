//! From a ticket to its outcome: the container is read, and what it reports decides the next step.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::InstagramSettings;
use super::api::InstagramApi;
use super::container::{
    ContainerState, ContainerTicket, Draft, Reel, Uploaded, adopted_ticket, container_poll, copyright_match,
};
use super::reel::UploadEnd;
use super::token::token_provider;
use crate::platform::backoff::{PollBackoff, PollSettings};
use crate::platform::media::AssetStore;
use crate::platform::stale_ticket::judge_ticket_failure;
use crate::platform::{
    CredentialExpiry, PublishContext, PublishError, Publisher, PublisherDeps, TicketAge, TicketOutcome, read_ticket,
    still_processing,
};
use crate::post::{Category, Failure, Platform, Post, Ticket};
use crate::store::StoreError;

/// Publishes on Instagram.
#[derive(Debug)]
pub(super) struct InstagramPublisher {
    pub(super) api: InstagramApi,
    pub(super) assets: Arc<AssetStore>,
    /// Between the parts of an upload.
    pub(super) poll: PollSettings,
    pub(super) container_poll: PollSettings,
    pub(super) confirm_wait: Duration,
}

impl InstagramPublisher {
    /// A publisher for one account.
    pub(super) fn new(settings: &InstagramSettings, deps: &PublisherDeps) -> Self {
        let PublisherDeps { http, assets, poll, tokens, .. } = deps.clone();
        let tokens = token_provider(settings, &http, tokens);
        let api = InstagramApi::new(settings, http, tokens);
        Self { api, assets, poll, container_poll: container_poll(poll), confirm_wait: settings.confirm_wait }
    }
}

#[async_trait]
impl Publisher for InstagramPublisher {
    fn platform(&self) -> Platform {
        Platform::Instagram
    }

    async fn credential_expiry(&self) -> Result<Option<CredentialExpiry>, StoreError> {
        self.api.tokens().credential_expiry().await
    }

    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>, now: DateTime<Utc>) -> Ticket {
        adopted_ticket(upload_id, failed_at, now)
    }

    async fn fingerprint(&self, post: &Post) -> Result<String, PublishError> {
        Ok(Draft::of(post, &self.assets).await?.fingerprint())
    }

    async fn check(&self, post: &Post) -> Result<(), PublishError> {
        Ok(Draft::of(post, &self.assets).await?.check_size()?)
    }

    async fn create_ticket(&self, post: &Post, context: &dyn PublishContext) -> Result<Ticket, PublishError> {
        self.create(post, context).await
    }

    async fn resume_publish(
        &self,
        post: &Post,
        mut ticket: Ticket,
        age: TicketAge,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let payload: ContainerTicket = read_ticket(&ticket)?;
        let container = payload.container(ticket.is_from_application(), post);
        let reel = payload.reel();
        let mut first_seen = age;
        let mut has_sent_bytes = false;
        // A new container for a reel need not be read before its bytes are sent.
        let is_empty = age == TicketAge::Fresh && reel.is_some();
        let mut known = is_empty.then_some(ContainerState::Processing { uploaded: Uploaded::Until(0) });
        let was_processing = post.retry.category == Some(Category::Processing);
        let mut backoff = PollBackoff::new(self.container_poll);
        // A container that was just made or filled is never done at once, and every read costs some of the quota.
        let mut is_just_made = age == TicketAge::Fresh;
        loop {
            let state = match known.take() {
                Some(state) => state,
                None => {
                    if std::mem::take(&mut is_just_made) && backoff.wait(context).await.is_break() {
                        log::debug!("post {}: the container is read at once, since no time to wait is left", post.id);
                    }
                    self.read_state(container, context).await?
                }
            };
            let is_committed = ticket.is_committed();
            match next_step(state, Progress { has_sent_bytes, was_processing, is_committed, reel }) {
                Step::Recover => return self.recover_publication(post, &ticket, context).await,
                Step::Publish => return self.publish(post, &mut ticket, container, context).await,
                Step::PublishAgain => return self.publish_again(post, &mut ticket, container, context).await,
                Step::Judge(failure) => return judge_ticket_failure(failure, first_seen, post),
                Step::ResolveExpired => return self.resolve_expired(post, &ticket, context).await,
                Step::ResolveUnreadable(failure) => {
                    if age == TicketAge::Fresh && !is_committed && !is_gone(&failure) {
                        let failure = if may_be_hidden(&failure) { failure } else { failure.with_dead_ticket() };
                        return Err(failure.into());
                    }
                    return self.resolve_unreadable(post, &ticket, &failure, context).await;
                }
                Step::Upload { reel, offset } => {
                    match self.upload_reel(post, &mut ticket, container, reel, offset, context).await? {
                        UploadEnd::MadeForAnother => return Ok(TicketOutcome::Dead),
                        UploadEnd::Sent(state) => known = state,
                    }
                    is_just_made = known.is_none();
                    (first_seen, has_sent_bytes) = (TicketAge::Fresh, true);
                    continue;
                }
                Step::Wait => {}
            }
            first_seen = TicketAge::Fresh;
            if backoff.wait(context).await.is_break() {
                return Err(still_processing(Platform::Instagram).into());
            }
        }
    }
}

/// Whether the failure of an unreadable container says that it is gone: then a new one may follow at once. One that
/// this attempt has made and that is only not found ends the attempt, for a new one would not be found either.
fn is_gone(failure: &Failure) -> bool {
    failure.category == Category::Network
}

/// Whether a container that this attempt has made may exist although it is not found for a while: then the next attempt looks
/// for it before it makes a new one.
fn may_be_hidden(failure: &Failure) -> bool {
    failure.category == Category::Unknown
}

/// How far the attempt has come when the container is read.
#[derive(Clone, Copy)]
struct Progress<'a> {
    /// Whether this attempt has sent bytes to their end.
    has_sent_bytes: bool,
    /// Whether the previous attempt ended while the container was processed, so that bytes need not be sent unless the
    /// container says that they are missing.
    was_processing: bool,
    is_committed: bool,
    /// The upload, if the container is filled by us.
    reel: Option<Reel<'a>>,
}

/// What is done after the container is read.
#[derive(PartialEq, Eq)]
enum Step<'a> {
    /// It is published: find the post.
    Recover,
    /// Make the publish call.
    Publish,
    /// The same, but an earlier call may have published it, which is checked before.
    PublishAgain,
    /// It has failed.
    Judge(Failure),
    /// It has expired.
    ResolveExpired,
    /// It can no longer tell.
    ResolveUnreadable(Failure),
    /// Send the missing bytes, then read it again.
    Upload {
        reel: Reel<'a>,
        offset: u64,
    },
    Wait,
}

fn next_step(state: ContainerState, progress: Progress<'_>) -> Step<'_> {
    let upload = |offset: u64| match progress.reel {
        Some(reel) if !progress.has_sent_bytes && offset < reel.size => Step::Upload { reel, offset },
        // Of a container that the application made, only the application knew where the bytes go.
        _ => Step::Wait,
    };
    match state {
        ContainerState::Published => Step::Recover,
        ContainerState::Finished | ContainerState::CopyrightMatch if progress.is_committed => Step::PublishAgain,
        ContainerState::Finished => Step::Publish,
        ContainerState::CopyrightMatch => Step::Judge(copyright_match()),
        ContainerState::Failed(failure) => Step::Judge(failure),
        ContainerState::Expired => Step::ResolveExpired,
        ContainerState::Unreadable(failure) => Step::ResolveUnreadable(failure),
        // If the publish call was made, nothing may be concluded from the bytes.
        ContainerState::Contradictory { .. } if progress.is_committed => Step::Wait,
        ContainerState::Contradictory { uploaded }
        | ContainerState::Processing { uploaded: Uploaded::Until(uploaded) } => upload(uploaded),
        ContainerState::Processing { uploaded: Uploaded::NotReported }
            if !progress.is_committed && !progress.was_processing =>
        {
            upload(0)
        }
        ContainerState::Processing { uploaded: Uploaded::All | Uploaded::NotReported } => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REEL: Reel<'static> = Reel { uri: "https://rupload.facebook.com/x", size: 100 };

    #[test]
    fn the_next_step_follows_from_the_container_and_the_ticket() {
        use ContainerState::{Contradictory, CopyrightMatch, Expired, Failed, Finished, Published, Unreadable};
        use Uploaded::{All, NotReported, Until};
        let uploaded = |uploaded| ContainerState::Processing { uploaded };
        let contradictory = Contradictory { uploaded: 40 };
        let failure = || Failure::new(Category::MediaProcessing, "failed");
        let rest = || Step::Upload { reel: REEL, offset: 40 };
        let whole = || Step::Upload { reel: REEL, offset: 0 };
        for (name, state, has_sent_bytes, is_committed, reel, step) in [
            ("published", Published, false, true, Some(REEL), Step::Recover),
            ("published without a stored intent", Published, false, false, None, Step::Recover),
            ("finished", Finished, true, false, Some(REEL), Step::Publish),
            ("finished, publish call made", Finished, false, true, None, Step::PublishAgain),
            ("copyright match", CopyrightMatch, true, false, Some(REEL), Step::Judge(copyright_match())),
            ("copyright match, publish call made", CopyrightMatch, false, true, Some(REEL), Step::PublishAgain),
            ("failed", Failed(failure()), false, false, None, Step::Judge(failure())),
            ("expired", Expired, false, true, None, Step::ResolveExpired),
            ("unreadable", Unreadable(failure()), false, false, None, Step::ResolveUnreadable(failure())),
            ("image processing", uploaded(NotReported), false, false, None, Step::Wait),
            ("reel processing", uploaded(All), false, false, Some(REEL), Step::Wait),
            ("upload interrupted by an earlier attempt", uploaded(Until(40)), false, false, Some(REEL), rest()),
            ("upload interrupted, publish call made", uploaded(Until(40)), false, true, Some(REEL), rest()),
            ("upload complete but not reported so", uploaded(Until(100)), false, false, Some(REEL), Step::Wait),
            ("uploaded by this attempt", uploaded(Until(40)), true, false, Some(REEL), Step::Wait),
            ("bytes not reported", uploaded(NotReported), false, false, Some(REEL), whole()),
            ("bytes not reported, sent by this attempt", uploaded(NotReported), true, false, Some(REEL), Step::Wait),
            ("bytes not reported, publish call made", uploaded(NotReported), false, true, Some(REEL), Step::Wait),
            ("the application's", uploaded(Until(40)), false, true, None, Step::Wait),
            ("the application's, bytes not reported", uploaded(NotReported), false, true, None, Step::Wait),
            ("published with bytes missing", contradictory.clone(), false, false, Some(REEL), rest()),
            ("published with bytes missing, sent", contradictory.clone(), true, false, Some(REEL), Step::Wait),
            ("published with bytes missing, called", contradictory.clone(), false, true, Some(REEL), Step::Wait),
            ("published with bytes missing, the application's", contradictory, false, true, None, Step::Wait),
        ] {
            let progress = Progress { has_sent_bytes, was_processing: false, is_committed, reel };
            assert!(next_step(state, progress) == step, "{name}");
        }
    }

    #[test]
    fn what_was_left_processing_is_filled_again_only_if_bytes_are_reported_missing() {
        let progress = Progress { has_sent_bytes: false, was_processing: true, is_committed: false, reel: Some(REEL) };
        for (uploaded, step) in [
            (Uploaded::NotReported, Step::Wait),
            (Uploaded::All, Step::Wait),
            (Uploaded::Until(40), Step::Upload { reel: REEL, offset: 40 }),
        ] {
            assert!(next_step(ContainerState::Processing { uploaded }, progress) == step, "{uploaded:?}");
        }
    }
}
