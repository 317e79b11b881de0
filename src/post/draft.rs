//! Converts loosely typed documents to a [`Post`], with the rules that all stores share.

use std::borrow::Cow;

use super::{
    Category, Claim, Content, HistoryEntry, MAX_ERROR_CHARS, Platform, Post, PostId, RetryState, Story, Ticket,
    one_line,
};
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

    /// The same, with the field as a row names it. [`PostDraft::check`] names it as a document does.
    #[must_use]
    pub fn of_row(self) -> Self {
        let of_platforms = Platform::ALL.into_iter().map(Platform::fields);
        let named = of_platforms.flat_map(|fields| [Some(fields.id), fields.left_upload]).flatten();
        let mut pairs = named.map(|name| (name.path, name.column)).chain(COLUMNS_OF_FIELDS);
        match pairs.find(|(path, _)| *path == self.field) {
            Some((_, column)) => Self { field: column.into(), ..self },
            None => self,
        }
    }
}

/// The fields of every platform that [`PostDraft::check`] can name, and their columns.
const COLUMNS_OF_FIELDS: [(&str, &str); 2] = [("retryCount", "retry_count"), ("publishTicket", "publish_ticket")];

/// How many characters of a field's name are shown. A document can have any.
const MAX_FIELD_CHARS: usize = 100;

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
        // Both can repeat what the document says.
        let field: Cow<'static, str> = field.into();
        let field = match field {
            Cow::Borrowed(name) => Cow::Borrowed(name),
            Cow::Owned(name) => Cow::Owned(one_line(&name, MAX_FIELD_CHARS)),
        };
        Malformed { field, problem: one_line(&problem.into(), MAX_ERROR_CHARS), draft: Box::new(self) }
    }

    /// The retry count: fractions are rounded down, negative numbers are 0, and too large numbers are the maximum.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is wanted")]
    pub fn count(&self) -> u32 {
        self.retry_count.floor() as u32
    }

    /// The post.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown platform, a counter that is not a number, a ticket of another platform, or an upload
    /// of the application whose id is not one of the platform's.
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
        let forged = self.left_upload.as_deref().is_some_and(|id| !platform.is_upload_id(id));
        if let Some(field) = platform.fields().left_upload.filter(|_| forged) {
            return Err(self.malformed(field.path, format!("it does not have the form of {}'s IDs", platform.title())));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(platform: &str) -> PostDraft {
        PostDraft { platform: Some(platform.to_owned()), ..PostDraft::new(PostId::from_text("1")) }
    }

    #[test]
    fn a_forged_id_of_an_upload_makes_the_post_malformed() {
        for (platform, forged, field, column, genuine) in [
            (
                "instagram",
                "1/comments?message=hi&method=post",
                "instagramContainerId",
                "instagram_container_id",
                "17895000000000001",
            ),
            ("tiktok", "v_pub_file~1\"}", "uploadProgress.publishId", "upload_publish_id", "v_pub_file~v2-1.123"),
        ] {
            let malformed = PostDraft { left_upload: Some(forged.to_owned()), ..draft(platform) }.check().unwrap_err();
            assert_eq!(malformed.field, field);
            assert_eq!(malformed.of_row().field, column);
            let post = PostDraft { left_upload: Some(genuine.to_owned()), ..draft(platform) }.check().unwrap();
            assert_eq!(post.left_upload.as_deref(), Some(genuine));
        }
    }

    #[test]
    fn a_recorded_id_of_any_form_still_prevents_a_second_publish() {
        for platform in Platform::ALL {
            let recorded = Some("../id of the application?".to_owned());
            let post = PostDraft { published_id: recorded.clone(), ..draft(platform.as_str()) }.check().unwrap();
            assert_eq!(post.published_id, recorded, "{platform}");
        }
    }
}
