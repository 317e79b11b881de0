//! Converts loosely typed documents to a [`Post`], with the rules that all stores share.

use std::borrow::Cow;

use super::{Category, Claim, Content, HistoryEntry, Platform, Post, PostId, RetryState, Story, Ticket};
use chrono::{DateTime, Utc};

/// A post that has a field with a wrong type or value. It is reported and not changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Malformed {
    /// The field, as its store names it.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub problem: String,
    /// The fields that could be read, for a list of posts.
    pub draft: Box<PostDraft>,
}

impl Malformed {
    /// The post.
    pub fn id(&self) -> &PostId {
        &self.draft.id
    }
}

/// A post as a store has read it. Every field has the right type or is missing.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `Post`")]
pub struct PostDraft {
    pub id: PostId,
    pub platform: Option<String>,
    pub content: Content,
    pub story: Story,
    pub failed_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub scheduled_at: Option<DateTime<Utc>>,
    pub retry_count: f64,
    pub last_retried_at: Option<DateTime<Utc>>,
    pub permanently_failed: bool,
    pub permanently_failed_at: Option<DateTime<Utc>>,
    pub category: Option<String>,
    pub error: Option<String>,
    pub not_before: Option<DateTime<Utc>>,
    pub history: Vec<HistoryEntry>,
    pub claim: Option<Claim>,
    pub ticket: Option<Ticket>,
    /// The platform's id of an upload that the application left, unless a ticket has taken its place.
    pub left_upload: Option<String>,
    pub published_id: Option<String>,
}

impl PostDraft {
    /// A draft with nothing but its id.
    pub fn new(id: PostId) -> Self {
        Self {
            id,
            platform: None,
            content: Content::default(),
            story: Story::default(),
            failed_at: None,
            updated_at: None,
            scheduled_at: None,
            retry_count: 0.0,
            last_retried_at: None,
            permanently_failed: false,
            permanently_failed_at: None,
            category: None,
            error: None,
            not_before: None,
            history: Vec::new(),
            claim: None,
            ticket: None,
            left_upload: None,
            published_id: None,
        }
    }

    /// Says what is wrong with one field.
    pub fn malformed(self, field: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Malformed {
        Malformed { field: field.into(), problem: problem.into(), draft: Box::new(self) }
    }

    /// The retry count: fractions are rounded down, negative numbers are 0, and too large numbers are the maximum.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is wanted")]
    pub fn count(&self) -> u32 {
        self.retry_count.floor() as u32
    }

    /// The post.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown platform, a counter that is not a number, or a ticket of another platform.
    pub fn check(self) -> Result<Post, Malformed> {
        let platform = match self.platform.as_deref().map(str::parse::<Platform>) {
            Some(Ok(platform)) => platform,
            Some(Err(error)) => return Err(self.malformed("platform", error.to_string())),
            None => return Err(self.malformed("platform", "the field is missing")),
        };
        if self.retry_count.is_nan() {
            return Err(self.malformed("retryCount", "it is not a number"));
        }
        if let Some(other) = self.ticket.as_ref().map(|ticket| ticket.platform).filter(|other| *other != platform) {
            return Err(
                self.malformed("publishTicket", format!("the ticket is for {other}, but the post is for {platform}"))
            );
        }
        Ok(self.into_post(platform))
    }

    /// The post as far as it could be read, for this platform.
    pub(crate) fn into_post(self, platform: Platform) -> Post {
        let count = self.count();
        Post {
            id: self.id,
            platform,
            content: self.content,
            story: self.story,
            failed_at: self.failed_at,
            updated_at: self.updated_at,
            scheduled_at: self.scheduled_at,
            left_upload: self.left_upload,
            published_id: self.published_id,
            retry: RetryState {
                count,
                last_retried_at: self.last_retried_at,
                permanently_failed: self.permanently_failed,
                permanently_failed_at: self.permanently_failed_at,
                category: self.category.map(|name| name.parse().unwrap_or(Category::Unknown)),
                error: self.error,
                not_before: self.not_before,
                history: self.history,
                claim: self.claim,
                ticket: self.ticket,
            },
        }
    }
}
