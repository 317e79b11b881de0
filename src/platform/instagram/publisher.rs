//! From a ticket to its outcome: the container is read, and what it reports decides the next step.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::InstagramSettings;
use super::api::InstagramApi;
use super::container::{ContainerState, ContainerTicket, Reel, adopted_ticket, read_state};
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
    pub(super) poll: PollSettings,
    pub(super) confirm_wait: Duration,
}

impl InstagramPublisher {
    /// A publisher for one account.
    pub(super) fn new(settings: &InstagramSettings, deps: &PublisherDeps) -> Self {
        let PublisherDeps { http, assets, poll, tokens } = deps.clone();
        let tokens = token_provider(settings, &http, tokens);
        let api = InstagramApi::new(settings, http, tokens);
        Self { api, assets, poll, confirm_wait: settings.confirm_wait }
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

    fn adopt_upload(&self, upload_id: &str, failed_at: DateTime<Utc>) -> Ticket {
        adopted_ticket(upload_id, failed_at)
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
        let container = payload.container();
        let reel = payload.reel();
        if let (TicketAge::Fresh, Some(reel)) = (age, reel) {
            self.upload_reel(post, &mut ticket, container, reel, 0, context).await?;
        }
        let mut first_seen = age;
        let mut backoff = PollBackoff::new(self.poll);
        loop {
            let state = read_state(&self.api, container, self.poll, context).await?;
            let is_committed = ticket.is_committed();
            match next_step(state, Progress { first_seen, is_committed, reel }) {
                Step::Recover => return self.recover_publication(post, &ticket, context).await,
                Step::Publish => return self.publish(post, &mut ticket, container, context).await,
                Step::PublishAgain => return self.publish_again(post, &mut ticket, container, context).await,
                Step::Judge(failure) => return judge_ticket_failure(failure, first_seen, post),
                Step::ResolveUnreadable(failure) => {
                    return self.resolve_unreadable(post, &ticket, &failure, context).await;
                }
                Step::Abandon => return Ok(TicketOutcome::Dead),
                Step::Upload { reel, offset } => {
                    self.upload_reel(post, &mut ticket, container, reel, offset, context).await?;
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

/// How far the attempt has come when the container is read.
#[derive(Clone, Copy)]
struct Progress<'a> {
    /// `Stored` if an earlier attempt stored the ticket and this is its first read.
    first_seen: TicketAge,
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
    /// The same, but an earlier call may have published it.
    PublishAgain,
    /// It has failed.
    Judge(Failure),
    /// It can no longer tell.
    ResolveUnreadable(Failure),
    /// Nothing was published with it and nothing can be.
    Abandon,
    /// Send the missing bytes, then wait.
    Upload {
        reel: Reel<'a>,
        offset: u64,
    },
    Wait,
}

fn next_step(state: ContainerState, progress: Progress<'_>) -> Step<'_> {
    match state {
        ContainerState::Published => Step::Recover,
        ContainerState::Finished if progress.is_committed => Step::PublishAgain,
        ContainerState::Finished => Step::Publish,
        ContainerState::Failed(failure) => Step::Judge(failure),
        ContainerState::Expired => {
            Step::ResolveUnreadable(Failure::new(Category::Network, "the container has expired"))
        }
        ContainerState::Unreadable(failure) => Step::ResolveUnreadable(failure),
        ContainerState::Processing { uploaded: None } => Step::Wait,
        ContainerState::Processing { uploaded: Some(bytes) } => match progress.reel {
            Some(reel) if progress.first_seen == TicketAge::Stored && bytes < reel.size => {
                Step::Upload { reel, offset: bytes }
            }
            Some(_) => Step::Wait,
            // Only the application knew where the bytes go.
            None if progress.is_committed => Step::Wait,
            None => Step::Abandon,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REEL: Reel<'static> = Reel { uri: "https://rupload.facebook.com/x", size: 100 };

    #[test]
    fn the_next_step_follows_from_the_container_and_the_ticket() {
        use ContainerState::{Expired, Failed, Finished, Published, Unreadable};
        use TicketAge::{Fresh, Stored};
        let uploaded = |bytes| ContainerState::Processing { uploaded: bytes };
        let failure = || Failure::new(Category::MediaProcessing, "failed");
        let expired = Failure::new(Category::Network, "the container has expired");
        for (name, state, first_seen, is_committed, reel, step) in [
            ("published", Published, Stored, true, Some(REEL), Step::Recover),
            ("published without a stored intent", Published, Fresh, false, None, Step::Recover),
            ("finished", Finished, Fresh, false, Some(REEL), Step::Publish),
            ("finished, publish call made", Finished, Stored, true, None, Step::PublishAgain),
            ("failed", Failed(failure()), Stored, false, None, Step::Judge(failure())),
            ("expired", Expired, Stored, true, None, Step::ResolveUnreadable(expired)),
            ("unreadable", Unreadable(failure()), Fresh, false, None, Step::ResolveUnreadable(failure())),
            ("image processing", uploaded(None), Fresh, false, None, Step::Wait),
            ("reel processing", uploaded(None), Stored, false, Some(REEL), Step::Wait),
            (
                "upload interrupted by an earlier attempt",
                uploaded(Some(40)),
                Stored,
                false,
                Some(REEL),
                Step::Upload { reel: REEL, offset: 40 },
            ),
            ("upload complete but not reported so", uploaded(Some(100)), Stored, false, Some(REEL), Step::Wait),
            ("uploaded by this attempt", uploaded(Some(40)), Fresh, false, Some(REEL), Step::Wait),
            ("not ours to fill", uploaded(Some(40)), Stored, false, None, Step::Abandon),
            ("not ours to fill, maybe published", uploaded(Some(40)), Stored, true, None, Step::Wait),
        ] {
            let progress = Progress { first_seen, is_committed, reel };
            assert!(next_step(state, progress) == step, "{name}");
        }
    }
}
