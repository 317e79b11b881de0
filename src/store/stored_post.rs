//! A failed post as its store has it, readable or not.

use chrono::{DateTime, Utc};

use crate::post::{Category, Claim, HistoryEntry, Malformed, Platform, Post, PostId, Story};

/// A failed post as its store has it.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredPost {
    /// Every field could be read.
    Readable(Box<Post>),
    /// A field has the wrong type or value, so the post is not changed.
    Malformed(Malformed),
}

impl From<Result<Post, Malformed>> for StoredPost {
    fn from(read: Result<Post, Malformed>) -> Self {
        match read {
            Ok(post) => Self::Readable(Box::new(post)),
            Err(malformed) => Self::Malformed(malformed),
        }
    }
}

impl StoredPost {
    /// Its identity in the store.
    pub fn id(&self) -> &PostId {
        match self {
            Self::Readable(post) => &post.id,
            Self::Malformed(malformed) => malformed.id(),
        }
    }

    /// The name of its platform, as far as it can be read; not necessarily one that is known.
    pub fn platform_name(&self) -> Option<&str> {
        match self {
            Self::Readable(post) => Some(post.platform.as_str()),
            Self::Malformed(malformed) => malformed.draft.platform.as_deref(),
        }
    }

    /// Its platform, if it is known.
    pub fn platform(&self) -> Option<Platform> {
        self.platform_name()?.parse().ok()
    }

    /// The post, if it can be read.
    pub fn readable(&self) -> Option<&Post> {
        match self {
            Self::Readable(post) => Some(post),
            Self::Malformed(_) => None,
        }
    }

    /// The post, or what is wrong with it.
    ///
    /// # Errors
    /// [`Malformed`] if it cannot be read.
    pub fn into_result(self) -> Result<Post, Malformed> {
        match self {
            Self::Readable(post) => Ok(*post),
            Self::Malformed(malformed) => Err(malformed),
        }
    }

    /// When its first failure was recorded, as far as it can be read.
    pub fn failed_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Readable(post) => post.failed_at,
            Self::Malformed(malformed) => malformed.draft.failed_at,
        }
    }

    /// The category of its last failure, as far as it can be read.
    pub fn category(&self) -> Option<Category> {
        match self {
            Self::Readable(post) => post.retry.category,
            Self::Malformed(malformed) => malformed.draft.category.as_deref().and_then(|name| name.parse().ok()),
        }
    }

    /// Its earlier attempts, as far as they can be read, oldest first.
    pub fn history(&self) -> &[HistoryEntry] {
        match self {
            Self::Readable(post) => &post.retry.history,
            Self::Malformed(malformed) => &malformed.draft.history,
        }
    }

    /// The claim on it, as far as it can be read.
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Readable(post) => post.retry.claim.as_ref(),
            Self::Malformed(malformed) => malformed.draft.claim.as_ref(),
        }
    }

    /// Its story, for a store to look its name up.
    pub(super) fn story_mut(&mut self) -> &mut Story {
        match self {
            Self::Readable(post) => &mut post.story,
            Self::Malformed(malformed) => &mut malformed.draft.story,
        }
    }
}
