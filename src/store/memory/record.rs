//! A post as the memory store has it: the conditions of the writes, and what they change.

use chrono::{DateTime, Utc};

use super::MemoryPost;
use crate::post::{
    AttemptStart, Category, Claim, Eligibility, HISTORY_LIMIT, Malformed, Platform, Post, PostDraft, PostId,
    Publication, ResetMark, RetryPolicy, RetryState, Settlement, Ticket, TicketFate,
};
use crate::store::query::is_field;
use crate::store::{ListFilter, Scope, StoredPost};

const FAILED: &str = "failed";
const POSTED: &str = "posted";

/// What stands for a date that cannot be read. It is long past, so the post is found and reported.
const UNREADABLE: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// A stored post. One that cannot be read has the same conditions and writes as any other.
#[derive(Debug)]
pub(super) struct Record {
    /// What can be read of the post.
    pub(super) post: Post,
    /// Its platform; none for one that is not known, whatever `post` says.
    pub(super) platform: Option<Platform>,
    /// What cannot be read, and the fields as they were then.
    fault: Option<Malformed>,
    pub(super) status: String,
    posted_at: Option<DateTime<Utc>>,
    publication: Option<Publication>,
}

impl Record {
    /// A failed post.
    pub(super) fn new(post: StoredPost) -> Self {
        let (post, platform, fault) = match post {
            StoredPost::Readable(post) => {
                let platform = post.platform;
                (*post, Some(platform), None)
            }
            StoredPost::Malformed(fault) => {
                let platform = fault.draft.platform.as_deref().and_then(|name| name.parse().ok());
                (readable_part(&fault, platform), platform, Some(fault))
            }
        };
        Self { post, platform, fault, status: FAILED.to_owned(), posted_at: None, publication: None }
    }

    /// The post as every store reads it.
    pub(super) fn read(&self) -> StoredPost {
        match &self.fault {
            None => StoredPost::Readable(Box::new(self.post.clone())),
            Some(fault) => {
                StoredPost::Malformed(self.draft(fault).malformed(fault.field.clone(), fault.problem.clone()))
            }
        }
    }

    pub(super) fn view(&self) -> MemoryPost {
        MemoryPost {
            post: self.read(),
            status: self.status.clone(),
            posted_at: self.posted_at,
            publication: self.publication.clone(),
        }
    }

    pub(super) fn id(&self) -> &PostId {
        &self.post.id
    }

    /// Its place in the order of first failures.
    pub(super) fn place(&self) -> (Option<DateTime<Utc>>, &str) {
        (self.post.failed_at.or(self.post.updated_at), self.post.id.key())
    }

    /// The fields as they are now.
    fn draft(&self, fault: &Malformed) -> PostDraft {
        let readable = |date: Option<DateTime<Utc>>| date.filter(|date| *date != UNREADABLE);
        let Post { updated_at, left_upload, published_id, retry, .. } = self.post.clone();
        PostDraft {
            updated_at: readable(updated_at),
            left_upload,
            published_id,
            retry_count: retry.count.into(),
            last_retried_at: readable(retry.last_retried_at),
            permanently_failed: retry.permanently_failed,
            permanently_failed_at: retry.permanently_failed_at,
            category: retry.category.map(|category| category.as_str().to_owned()),
            error: retry.error,
            not_before: retry.not_before,
            history: retry.history,
            claim: retry.claim,
            ticket: retry.ticket,
            ..(*fault.draft).clone()
        }
    }

    /// Whether what cannot be read is one of these fields.
    fn is_unreadable(&self, fields: &[&str]) -> bool {
        self.fault.as_ref().is_some_and(|fault| fields.iter().any(|field| is_field(&fault.field, field)))
    }
}

/// What can be read of a post whose platform is this.
fn readable_part(fault: &Malformed, platform: Option<Platform>) -> Post {
    let mut draft = (*fault.draft).clone();
    let dates = [
        ("failedAt", &mut draft.failed_at),
        ("updatedAt", &mut draft.updated_at),
        ("lastRetriedAt", &mut draft.last_retried_at),
    ];
    for (field, date) in dates {
        if is_field(&fault.field, field) {
            *date = Some(UNREADABLE);
        }
    }
    // What is read of the post is the same on each platform.
    draft.into_post(platform.unwrap_or(Platform::TikTok))
}

/// The conditions.
impl Record {
    pub(super) fn is_failed(&self) -> bool {
        self.status == FAILED
    }

    pub(super) fn is_malformed(&self) -> bool {
        self.fault.is_some()
    }

    /// Whether it is a failed post of the scope.
    pub(super) fn is_in(&self, scope: Scope) -> bool {
        self.is_failed()
            && match scope {
                Scope::Platform(platform) => self.platform == Some(platform),
                Scope::UnknownPlatform => self.platform.is_none(),
            }
    }

    /// Where it stands by the rules; none if its counter, its flag or its claim cannot be read.
    fn eligibility(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> Option<Eligibility> {
        let can_tell = !self.is_unreadable(&["retryCount", "permanentlyFailed", "retryClaim", "claimBy", "claimUntil"]);
        can_tell.then(|| policy.eligibility(&self.post, now))
    }

    /// Whether it can be read and is due.
    pub(super) fn is_due(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> bool {
        self.fault.is_none() && matches!(self.eligibility(policy, now), Some(Eligibility::Due(_)))
    }

    /// Whether it is due as far as it can be read, so that it is published or reported.
    pub(super) fn is_due_or_unreadable(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> bool {
        match self.eligibility(policy, now) {
            Some(eligibility) => matches!(eligibility, Eligibility::Due(_)),
            None => !self.post.retry.permanently_failed,
        }
    }

    pub(super) fn is_exhausted(&self, policy: &RetryPolicy, now: DateTime<Utc>) -> bool {
        self.eligibility(policy, now) == Some(Eligibility::Exhausted)
    }

    pub(super) fn passes(&self, filter: &ListFilter) -> bool {
        let ListFilter { platforms, due, permanent, categories, since } = filter;
        let retry = &self.post.retry;
        let is_permanent = |policy: &RetryPolicy| retry.permanently_failed || policy.is_exhausted(retry.count);
        self.is_failed()
            && (platforms.is_empty() || self.platform.is_some_and(|platform| platforms.contains(&platform)))
            && due.as_ref().is_none_or(|(policy, now)| self.is_due(policy, *now))
            && permanent.as_ref().is_none_or(is_permanent)
            && (categories.is_empty() || retry.category.is_some_and(|category| categories.contains(&category)))
            && since.is_none_or(|since| self.place().0 >= Some(since))
    }

    /// Whether its retry state is what was read, and no live claim is on it.
    pub(super) fn is_unchanged(&self, read: &Post, now: DateTime<Utc>) -> bool {
        const COMPARED: [&str; 8] = [
            "failedAt",
            "retryCount",
            "lastRetriedAt",
            "permanentlyFailed",
            "retryNotBefore",
            "retryClaim",
            "claimBy",
            "claimUntil",
        ];
        let retry = &self.post.retry;
        let is_same_claim = match (&retry.claim, &read.retry.claim) {
            (None, None) => true,
            (Some(claim), Some(dead)) => claim.by == dead.by && !claim.is_live(now),
            (None, Some(_)) | (Some(_), None) => false,
        };
        self.is_failed()
            && is_same_claim
            && !retry.permanently_failed
            && retry.count == read.retry.count
            && retry.last_retried_at == read.retry.last_retried_at
            && retry.not_before == read.retry.not_before
            && self.post.failed_at == read.failed_at
            && !self.is_unreadable(&COMPARED)
    }

    pub(super) fn is_claimed(&self, now: DateTime<Utc>) -> bool {
        self.post.retry.claim.as_ref().is_some_and(|claim| claim.is_live(now))
    }

    /// Whether the claim on it, live or dead, is this holder's.
    pub(super) fn is_claimed_by(&self, by: &str) -> bool {
        self.post.retry.claim.as_ref().is_some_and(|claim| claim.by == by)
    }

    /// Whether the outcome of this holder's attempt may be written. A publication is recorded as long as nobody else
    /// has claimed the post. An expired claim on a post that is not failed any more is no risk either: nobody else will
    /// claim it.
    pub(super) fn is_settleable(&self, by: &str, settlement: &Settlement, now: DateTime<Utc>) -> bool {
        self.is_claimed_by(by) && (settlement.publication.is_some() || !self.is_failed() || self.is_claimed(now))
    }

    /// Whether it is recorded as the post that the platform knows by this id.
    pub(super) fn is_published_as(&self, platform: Platform, id: &str) -> bool {
        self.post.platform == platform && self.post.published_id.as_deref() == Some(id)
    }
}

/// The writes.
impl Record {
    /// Notes that these fields were written. If what could not be read is among them, the post is read anew.
    fn touch(&mut self, fields: &[&str], now: DateTime<Utc>) {
        self.post.updated_at = Some(now);
        if (self.is_unreadable(&["updatedAt"]) || self.is_unreadable(fields))
            && let Some(fault) = self.fault.take()
        {
            self.fault = self.draft(&fault).check().err();
        }
    }

    /// Claims the post and starts the attempt.
    pub(super) fn start(&mut self, start: &AttemptStart, claim: Claim, now: DateTime<Utc>) {
        let retry = &mut self.post.retry;
        retry.count = start.attempt;
        retry.claim = Some(claim);
        if !start.is_resumption {
            retry.last_retried_at = Some(now);
        }
        let mut written: &[&str] = &[];
        if let Some(entry) = &start.entry {
            if start.replaces_last {
                retry.history.pop();
            }
            retry.history.push(entry.clone());
            let surplus = retry.history.len().saturating_sub(HISTORY_LIMIT);
            retry.history.drain(..surplus);
            written = &["retryHistory"];
        }
        self.touch(written, now);
    }

    pub(super) fn renew(&mut self, claim: Claim, now: DateTime<Utc>) {
        self.post.retry.claim = Some(claim);
        self.touch(&[], now);
    }

    /// Replaces the ticket. With one, and with one that is cleared, what the application left is dealt with.
    pub(super) fn set_ticket(&mut self, ticket: Option<Ticket>, now: DateTime<Utc>) {
        self.post.retry.ticket = ticket;
        self.post.left_upload = None;
        self.touch(&["publishTicket"], now);
    }

    /// Ends the attempt. The dates are the store's own.
    pub(super) fn settle(&mut self, settlement: &Settlement, now: DateTime<Utc>) {
        self.post = settlement.applied_to(self.post.clone());
        if settlement.is_permanent() {
            self.post.retry.permanently_failed_at = Some(now);
        }
        if settlement.ticket == TicketFate::Dead {
            self.set_ticket(None, now);
        }
        if let Some(given) = &settlement.publication {
            // What the platform did not give is left as it is.
            let known = self.publication.take().unwrap_or_default();
            self.publication = Some(Publication {
                id: given.id.clone().or(known.id),
                url: given.url.clone().or(known.url),
                warning: given.warning.clone(),
            });
            if given.id.is_some() {
                self.post.published_id.clone_from(&given.id);
            }
            POSTED.clone_into(&mut self.status);
            self.posted_at = Some(now);
        }
        self.touch(&["retryCount", "error", "failureCategory", "retryNotBefore"], now);
        if settlement.entry.is_some() {
            self.touch(&["retryHistory"], now);
        }
    }

    /// Marks an exhausted post as permanently failed.
    pub(super) fn mark_exhausted(&mut self, now: DateTime<Utc>) {
        self.post.retry.permanently_failed = true;
        self.post.retry.permanently_failed_at = Some(now);
        self.touch(&["permanentlyFailedAt"], now);
    }

    /// Marks a post that may be public already.
    pub(super) fn mark_ambiguous(&mut self, error: &str, now: DateTime<Utc>) {
        self.post.retry.category = Some(Category::Ambiguous);
        self.post.retry.error = Some(error.to_owned());
        self.mark_exhausted(now);
        self.touch(&["failureCategory", "error"], now);
    }

    /// Resets the retry count. An ambiguous post loses its ticket, because a person has checked it.
    pub(super) fn reset(&mut self, by: &str, drop_ticket: bool, now: DateTime<Utc>) {
        if drop_ticket || self.post.retry.category == Some(Category::Ambiguous) {
            self.set_ticket(None, now);
        }
        let RetryState { error, mut history, ticket, .. } = std::mem::take(&mut self.post.retry);
        if let Some(last) = history.last_mut() {
            last.reset = Some(ResetMark { at: now, by: by.to_owned() });
        }
        self.post.retry = RetryState { error, history, ticket, ..RetryState::default() };
        let written = [
            "retryCount",
            "permanentlyFailed",
            "permanentlyFailedAt",
            "lastRetriedAt",
            "retryNotBefore",
            "failureCategory",
            "retryHistory",
            "error",
            "retryClaim",
            "claimBy",
            "claimUntil",
        ];
        self.touch(&written, now);
    }
}
