//! What a failure means that a platform reports of an earlier attempt's ticket. One rule for all platforms.

use super::{PublishError, TicketAge, TicketOutcome};
use crate::post::{Category, Consequence, Failure, Post};

/// Judges a failure that the platform reports of a ticket. `first_seen` says whether the ticket was stored by an
/// earlier attempt and this is the first time that it is looked up; then:
///
/// - a failure that no retry can mend makes the post permanently failed;
/// - a failure of the account (banned, revoked, a used-up quota) defers the post, and nothing is sent in this pass;
/// - any other was counted by the attempt that met it, so a new ticket may follow at once.
///
/// The last does not hold for a post that was left processing: nobody has counted its failure yet. In every case the
/// ticket is dead.
pub(super) fn judge_ticket_failure(
    failure: Failure,
    first_seen: TicketAge,
    post: &Post,
) -> Result<TicketOutcome, PublishError> {
    let was_processing = post.retry.category == Some(Category::Processing);
    let is_counted = first_seen == TicketAge::Stored && !was_processing;
    if is_counted && failure.consequence() == Consequence::Retry {
        Ok(TicketOutcome::Dead)
    } else {
        Err(failure.with_dead_ticket().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::test_context::post;
    use crate::post::Platform;

    fn judge(failure: Failure, age: TicketAge, last: Option<Category>) -> Option<Failure> {
        let mut post = post(Platform::TikTok);
        post.retry.category = last;
        match judge_ticket_failure(failure, age, &post) {
            Ok(outcome) => {
                assert_eq!(outcome, TicketOutcome::Dead);
                None
            }
            Err(error) => Some(error.into_failure().unwrap()),
        }
    }

    #[test]
    fn an_earlier_attempts_failure_starts_anew_unless_it_is_the_accounts_or_final() {
        use Category::{AccountRestricted, Auth, MediaProcessing, Network, QuotaExhausted, RejectedContent};
        for (category, starts_anew) in [
            (Network, true),
            (MediaProcessing, true),
            (Auth, false),
            (AccountRestricted, false),
            (QuotaExhausted, false),
            (RejectedContent, false),
        ] {
            let judged = judge(Failure::new(category, ""), TicketAge::Stored, Some(Network));
            assert_eq!(judged.is_none(), starts_anew, "{category}");
            assert!(judged.is_none_or(|failure| failure.ticket == crate::post::TicketFate::Dead));
        }
        let hopeless = Failure::new(MediaProcessing, "").not_retryable();
        assert!(judge(hopeless, TicketAge::Stored, None).is_some());
    }

    #[test]
    fn a_failure_that_nobody_has_counted_yet_is_the_attempts_own() {
        let failure = || Failure::new(Category::MediaProcessing, "");
        assert!(judge(failure(), TicketAge::Fresh, None).is_some());
        assert!(judge(failure(), TicketAge::Stored, Some(Category::Processing)).is_some());
    }
}
