//! The rules of being due, for any post and any policy.
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

use proptest::prelude::*;

use super::*;
use crate::post::{
    AttemptEnd, AttemptStart, Claim, ClaimedPost, EntryOutcome, Failure, HISTORY_LIMIT, HistoryEntry, MAX_DEFERRAL,
    Outcome, Platform, PostDraft, PostId, Publication, Retryable, Ticket, TicketFate, settle,
};

fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

fn ticket(made_at: DateTime<Utc>) -> Ticket {
    Ticket::new(Platform::TikTok, made_at, serde_json::json!({ "publishId": "v" }))
}

fn post() -> Post {
    let mut draft = PostDraft::new(PostId::from_text("1"));
    draft.platform = Some("tiktok".to_owned());
    draft.check().unwrap()
}

prop_compose! {
    fn policies()(max_retries in 0u32..=20, minutes in 1i64..=10080, last in any::<bool>()) -> RetryPolicy {
        let backoff_from = if last { BackoffFrom::LastAttempt } else { BackoffFrom::FirstFailure };
        RetryPolicy { max_retries, base_interval: TimeDelta::minutes(minutes), backoff_from }
    }
}

/// Any instant that a document may carry: centuries around now.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    (-60_000_000_000_000i64..60_000_000_000_000).prop_map(at)
}

prop_compose! {
    fn posts()(
        failed_at in proptest::option::of(instants()),
        updated_at in proptest::option::of(instants()),
        last_retried_at in proptest::option::of(instants()),
        not_before in proptest::option::of(instants()),
        claim in proptest::option::weighted(0.2, instants()),
        made_at in proptest::option::of(instants()),
        count in 0u32..25,
        permanently_failed in any::<bool>(),
        category in proptest::option::of(proptest::sample::select(&Category::ALL[..])),
        entries in 0usize..60,
    ) -> Post {
        let entry = HistoryEntry {
            attempt: count, started_at: None, finished_at: None, outcome: EntryOutcome::Failed,
            category: None, error: None, host: String::new(), interruptions: 0, reset: None, settled_by: None,
        };
        let mut post = post();
        post.failed_at = failed_at;
        post.updated_at = updated_at;
        post.retry.last_retried_at = last_retried_at;
        post.retry.not_before = not_before;
        post.retry.claim = claim.map(|until| Claim { by: "other".into(), until });
        post.retry.ticket = made_at.map(ticket);
        post.retry.count = count;
        post.retry.permanently_failed = permanently_failed;
        post.retry.category = category;
        post.retry.history = vec![entry; entries];
        post
    }
}

prop_compose! {
    fn failures()(
        category in proptest::sample::select(&Category::ALL[..]),
        is_retryable in any::<bool>(),
        is_dead in any::<bool>(),
        retry_at in proptest::option::of(instants()),
    ) -> Failure {
        let failure = Failure::new(category, "x").retry_at(retry_at);
        let failure = if is_retryable { failure } else { failure.not_retryable() };
        if is_dead { failure.with_dead_ticket() } else { failure }
    }
}

proptest! {
    /// A post with a backoff is never due before it is over, nor before what the platform said.
    #[test]
    fn nothing_is_due_early(post in posts(), policy in policies(), now in instants()) {
        if let Eligibility::Due(reason) = policy.eligibility(&post, now) {
            prop_assert!(!post.retry.permanently_failed);
            prop_assert!(post.retry.claim.as_ref().is_none_or(|claim| !claim.is_live(now)));
            if reason != DueReason::Interrupted {
                prop_assert!(post.retry.not_before.is_none_or(|until| until <= now));
            }
            if let DueReason::BackoffOver { since } = reason {
                prop_assert!(since <= now);
                prop_assert!(post.retry.count < policy.max_retries);
                let waited = since - policy.anchor(&post).unwrap();
                prop_assert_eq!(waited, policy.base_interval * 2_i32.pow(post.retry.count));
            }
        }
    }

    /// At the boundary the answer changes: not due a millisecond before, due on it, for every retry count.
    #[test]
    fn the_boundary_is_exact(policy in policies(), anchor in instants()) {
        for count in 0..policy.max_retries {
            let mut post = post();
            post.failed_at = Some(anchor);
            post.retry.count = count;
            let Some(end) = policy.delay(count).and_then(|delay| anchor.checked_add_signed(delay)) else { continue };
            let before = policy.eligibility(&post, end - TimeDelta::milliseconds(1));
            prop_assert_eq!(before, Eligibility::Waiting { until: Some(end), reason: WaitReason::Backoff });
            prop_assert_eq!(policy.eligibility(&post, end), Eligibility::Due(DueReason::BackoffOver { since: end }));
            prop_assert_eq!(policy.latest_due_anchor(count, end), Some(anchor));
        }
    }

    /// Once due, a post stays due until someone touches it.
    #[test]
    fn what_is_due_stays_due(post in posts(), policy in policies(), now in instants(), later in 0i64..4_000_000_000) {
        if matches!(policy.eligibility(&post, now), Eligibility::Due(_)) {
            let later = now + TimeDelta::seconds(later);
            prop_assert!(matches!(policy.eligibility(&post, later), Eligibility::Due(_)));
        }
    }

    /// No absurd counter or date overflows anything.
    #[test]
    fn nothing_overflows(mut post in posts(), policy in policies(), count in any::<u32>(), far in any::<bool>()) {
        post.retry.count = count;
        post.failed_at = Some(if far { DateTime::<Utc>::MAX_UTC } else { DateTime::<Utc>::MIN_UTC });
        for now in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC] {
            policy.eligibility(&post, now);
            policy.next_retry_at(&post, now);
            policy.latest_due_anchor(count, now);
        }
    }

    /// Whatever ends an attempt, a legal post stays legal, and each category has its consequence.
    #[test]
    fn a_legal_post_stays_legal(
        mut post in posts(), policy in policies(), now in instants(), failure in failures(), how in 0u8..4,
    ) {
        post.retry.permanently_failed = false;
        post.retry.claim = post.retry.claim.filter(|claim| !claim.is_live(now));
        let before = post.clone();
        let start = AttemptStart::decide(&post, now, "host");
        prop_assert_eq!(start.is_resumption, before.retry.claim.is_some());
        post.retry.count = start.attempt;
        let last_retried_before = before.retry.last_retried_at;
        if !start.is_resumption {
            post.retry.last_retried_at = Some(now);
        }
        post.retry.claim = Some(Claim { by: "me".into(), until: now });
        let attempt = start.attempt;
        let work = ClaimedPost { post, claim_by: "me".into(), start, host: "host".into(), last_retried_before };
        let end = match how {
            0 => AttemptEnd::Posted(Publication::default()),
            1 => AttemptEnd::Released,
            2 => AttemptEnd::Withdrawn,
            _ => AttemptEnd::Failed(failure.clone()),
        };
        let settlement = settle(&work, &policy, end, now);
        let after = settlement.applied_to(work.post.clone());
        prop_assert!(after.retry.claim.is_none());
        prop_assert_eq!(after.failed_at, before.failed_at);
        prop_assert!(after.retry.history.len() <= HISTORY_LIMIT.max(before.retry.history.len()));
        prop_assert!(after.retry.not_before.is_none_or(|until| how != 3 || until <= now + MAX_DEFERRAL));
        match settlement.outcome {
            Outcome::Posted => {
                prop_assert_eq!(after.retry.count, 0);
                prop_assert!(after.retry.ticket.is_none() && after.retry.error.is_none());
            }
            Outcome::Deferred | Outcome::Interrupted | Outcome::Withdrawn => {
                prop_assert_eq!(after.retry.count, attempt - 1);
                prop_assert!(!after.retry.permanently_failed);
            }
            Outcome::Failed => {
                prop_assert_eq!(after.retry.count, attempt);
                prop_assert!(!policy.is_exhausted(attempt));
                prop_assert_eq!(after.retry.category, Some(failure.category));
            }
            Outcome::PermanentlyFailed => {
                let is_final = matches!(
                    settlement.category,
                    Some(Category::RejectedContent | Category::Ambiguous | Category::Expired)
                ) || (failure.category == Category::MediaProcessing && failure.retryable == Retryable::No);
                prop_assert!(is_final || policy.is_exhausted(attempt));
                prop_assert_eq!(policy.eligibility(&after, now), Eligibility::PermanentlyFailed);
            }
        }
        if settlement.ticket == TicketFate::Kept {
            prop_assert_eq!(after.retry.ticket, work.post.retry.ticket);
        }
    }
}

#[test]
fn the_default_waits_are_1_2_4_8_and_16_hours() {
    let policy = RetryPolicy::default();
    let hours: Vec<i64> = (0..5).map(|count| policy.delay(count).unwrap().num_hours()).collect();
    assert_eq!(hours, [1, 2, 4, 8, 16]);
    assert!(policy.is_exhausted(5) && !policy.is_exhausted(4));
}

#[test]
fn a_spent_post_is_not_flagged_while_its_last_attempt_waits_to_be_taken_up() {
    let policy = RetryPolicy::default();
    let mut post = post();
    post.retry.count = 5;
    assert_eq!(policy.eligibility(&post, at(0)), Eligibility::Exhausted);
    post.retry.claim = Some(Claim { by: "dead".into(), until: at(0) });
    assert_eq!(policy.eligibility(&post, at(0)), Eligibility::Due(DueReason::Interrupted));
    post.retry.claim = None;
    post.retry.category = Some(Category::Processing);
    post.retry.ticket = Some(ticket(at(0)));
    assert_eq!(policy.eligibility(&post, at(0)), Eligibility::Due(DueReason::Processing));
}
