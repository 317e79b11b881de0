//! The call that makes a container public, and how its result is checked.
//!
//! No error of it proves that nothing was published: posts were seen to be public after one, which is not documented.
//! After any error the container is read, and only what it reports decides. "Content Publishing" on
//! <https://developers.facebook.com> advises that read if the call returns no id.

use std::time::Duration;

use super::InstagramPublisher;
use super::api::PUBLISH;
use super::container::{Container, ContainerState, copyright_match};
use crate::platform::auth::CallError;
use crate::platform::explanation::labelled;
use crate::platform::stale_ticket::judge_ticket_failure;
use crate::platform::{PublishContext, PublishError, TicketAge, TicketOutcome, still_processing};
use crate::post::{Category, Consequence, Failure, Platform, Post, Ticket};

/// How often one attempt makes the call: once more if the first call seems to have got lost, or if its token was
/// refused.
const MAX_CALLS: u32 = 2;

/// How many reads in a row must report a finished container before it is certain that it was not published: one at
/// once, and two after a wait each, since the status may lag behind (not documented). A copyright match is found in a
/// finished container, so it needs as many reads.
const FINISHED_READS: u32 = 3;

/// Whether a publish call has made the container public.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PublishCheck {
    Published,
    NotPublished,
    /// The container has failed, so it was not published.
    Failed(Failure),
    /// It is still processing.
    Processing,
    /// It can no longer tell.
    Unreadable,
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
        let mut calls = 0;
        loop {
            *ticket = ticket.clone().committed(context.now());
            context.save_ticket(ticket).await?;
            context.ensure_may_send().await?;
            calls += 1;
            let error = match self.api.publish(container.id, context).await {
                Ok(media) => {
                    let publication = self.publication(media.id, context).await;
                    return Ok(TicketOutcome::Published(publication));
                }
                Err(error) => error,
            };
            let is_refused = matches!(error, CallError::Refused(_));
            let is_token_refused = matches!(&error, CallError::Refused(refusal) if refusal.is_token_refused());
            let failure = error.into_retryable(Platform::Instagram, PUBLISH).into_failure()?;
            log::debug!("post {}: reading the container after a failed publish call: {}", post.id, failure.message);
            let check = self.confirm_publish(container, &failure, context).await?;
            if let Some(outcome) = self.outcome_of(check, post, ticket, &failure, context).await? {
                return Ok(outcome);
            }
            // A token that has expired has been renewed.
            let may_be_repeated = is_token_refused || may_have_got_lost(failure.category, is_refused);
            if calls == MAX_CALLS || !may_be_repeated {
                return Err(failure.into());
            }
        }
    }

    /// Publishes a finished container for which an earlier call was made, unless that call turns out to have published
    /// it.
    pub(super) async fn publish_again(
        &self,
        post: &Post,
        ticket: &mut Ticket,
        container: Container<'_>,
        context: &dyn PublishContext,
    ) -> Result<TicketOutcome, PublishError> {
        let text = labelled(Platform::Instagram, "the result of an earlier publish call is not known");
        let failure = Failure::new(Category::Network, text);
        let check = self.confirm_publish(container, &failure, context).await?;
        match self.outcome_of(check, post, ticket, &failure, context).await? {
            Some(outcome) => Ok(outcome),
            None => self.publish(post, ticket, container, context).await,
        }
    }

    /// Reads the container until it is certain whether the call that ended with `failure` has published it.
    async fn confirm_publish(
        &self,
        container: Container<'_>,
        failure: &Failure,
        context: &dyn PublishContext,
    ) -> Result<PublishCheck, PublishError> {
        let mut finished_reads = 0;
        loop {
            let wait = if finished_reads == 0 { Duration::ZERO } else { self.confirm_wait };
            context.sleep(wait).await;
            let state = match self.read_state(container, context).await {
                Ok(state) => state,
                Err(error) => return Err(unconfirmed(failure, error.into_failure()?).into()),
            };
            match check_after_read(state, finished_reads) {
                Some(check) => return Ok(check),
                None => finished_reads += 1,
            }
        }
    }

    /// Where a call that ended with `failure` has led; none if nothing was published and the container can be published
    /// again.
    async fn outcome_of(
        &self,
        check: PublishCheck,
        post: &Post,
        ticket: &Ticket,
        failure: &Failure,
        context: &dyn PublishContext,
    ) -> Result<Option<TicketOutcome>, PublishError> {
        match check {
            PublishCheck::NotPublished => Ok(None),
            PublishCheck::Published => self.recover_publication(post, ticket, context).await.map(Some),
            // This attempt has seen the container finished, so nobody has counted this failure yet.
            PublishCheck::Failed(failed) => judge_ticket_failure(failed, TicketAge::Fresh, post).map(Some),
            PublishCheck::Processing => Err(still_processing(Platform::Instagram).into()),
            PublishCheck::Unreadable => self.resolve_unreadable(post, ticket, failure, context).await.map(Some),
        }
    }
}

/// What a read after a publish call shows, with `finished_reads` reads of a finished container before it; none if the
/// container has to be read again.
fn check_after_read(state: ContainerState, finished_reads: u32) -> Option<PublishCheck> {
    match state {
        ContainerState::Published => Some(PublishCheck::Published),
        ContainerState::Finished => (finished_reads + 1 >= FINISHED_READS).then_some(PublishCheck::NotPublished),
        ContainerState::CopyrightMatch => {
            (finished_reads + 1 >= FINISHED_READS).then(|| PublishCheck::Failed(copyright_match()))
        }
        ContainerState::Failed(failure) => Some(PublishCheck::Failed(failure)),
        ContainerState::Processing { .. } | ContainerState::Contradictory { .. } => Some(PublishCheck::Processing),
        ContainerState::Expired | ContainerState::Unreadable(_) => Some(PublishCheck::Unreadable),
    }
}

/// Whether a call that published nothing may have got lost, so that it is made once more.
fn may_have_got_lost(category: Category, is_refused: bool) -> bool {
    if is_refused {
        matches!(category, Category::PlatformOutage | Category::Unknown)
    } else {
        category == Category::Network
    }
}

/// The failure of an attempt whose publish call failed and whose container cannot be read after it. The call's failure
/// does not prove that nothing was published, so before the container is read it must not make the post permanently
/// failed: the next attempt reads it.
fn unconfirmed(call: &Failure, read: Failure) -> Failure {
    if call.consequence() == Consequence::FailPermanently {
        let message = format!("{}; it is not known yet whether the post was published", read.message);
        Failure { message, ..read }
    } else {
        call.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::instagram::api::Refusal;
    use crate::platform::instagram::classify::GraphCode;
    use crate::platform::instagram::container::Uploaded;

    fn failure(category: Category) -> Failure {
        Failure::new(category, category.as_str())
    }

    #[test]
    fn a_finished_container_is_read_three_times_and_any_other_state_decides_at_once() {
        use ContainerState::{Contradictory, CopyrightMatch, Expired, Failed, Finished, Processing, Unreadable};
        let failed = failure(Category::MediaProcessing);
        for (state, checks) in [
            (ContainerState::Published, [Some(PublishCheck::Published), Some(PublishCheck::Published)]),
            (Finished, [None, Some(PublishCheck::NotPublished)]),
            (CopyrightMatch, [None, Some(PublishCheck::Failed(copyright_match()))]),
            (Failed(failed.clone()), [Some(PublishCheck::Failed(failed.clone())), Some(PublishCheck::Failed(failed))]),
            (Processing { uploaded: Uploaded::All }, [Some(PublishCheck::Processing), Some(PublishCheck::Processing)]),
            (Contradictory { uploaded: 40 }, [Some(PublishCheck::Processing), Some(PublishCheck::Processing)]),
            (Expired, [Some(PublishCheck::Unreadable), Some(PublishCheck::Unreadable)]),
            (Unreadable(failure(Category::Auth)), [Some(PublishCheck::Unreadable), Some(PublishCheck::Unreadable)]),
        ] {
            let found = [0, 1, 2].map(|reads| check_after_read(state.clone(), reads));
            let [first, last] = checks;
            assert_eq!(found, [first.clone(), first, last], "{state:?}");
        }
    }

    #[test]
    fn only_a_call_that_may_have_got_lost_is_made_once_more() {
        use Category::{AccountRestricted, Auth, Network, PlatformOutage, Processing, RateLimited, Unknown};
        for (category, if_refused, if_not_sent) in [
            (PlatformOutage, true, false),
            (Unknown, true, false),
            (Network, false, true),
            (Processing, false, false),
            (RateLimited, false, false),
            (AccountRestricted, false, false),
            (Auth, false, false),
        ] {
            let found = (may_have_got_lost(category, true), may_have_got_lost(category, false));
            assert_eq!(found, (if_refused, if_not_sent), "{category}");
        }
    }

    #[test]
    fn a_refused_token_is_told_from_a_missing_permission() {
        use Category::{AccountRestricted, Auth, Unknown};
        for (category, code, subcode, is_token_refused) in [
            // A page with HTTP 401.
            (Auth, None, None, true),
            (Auth, Some(190), Some(463), true),
            (Auth, Some(102), None, true),
            (Auth, Some(190), Some(492), false),
            (Auth, Some(10), None, false),
            (AccountRestricted, Some(190), Some(459), false),
            (Unknown, None, None, false),
        ] {
            let code = GraphCode { code, subcode, is_transient: false };
            let refusal = Refusal { failure: failure(category), code };
            assert_eq!(refusal.is_token_refused(), is_token_refused, "{refusal:?}");
        }
    }

    #[test]
    fn a_refusal_does_not_end_a_post_before_its_container_was_read() {
        let category = |call| unconfirmed(&call, failure(Category::PlatformOutage)).category;
        assert_eq!(category(failure(Category::RejectedContent)), Category::PlatformOutage);
        assert_eq!(category(failure(Category::MediaProcessing).not_retryable()), Category::PlatformOutage);
        assert_eq!(category(failure(Category::Network)), Category::Network);
        assert_eq!(category(failure(Category::AccountRestricted)), Category::AccountRestricted);
    }
}
