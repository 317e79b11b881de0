//! The errors of a store, in words for users.

use std::sync::Arc;

use crate::post::PostId;

/// What an error says about other posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Store,
    OnePost,
}

/// The store cannot be reached or refuses the request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to {action}: {problem}")]
pub struct StoreError {
    action: String,
    problem: String,
    hint: Option<&'static str>,
    extent: Extent,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error with the failed action and the reason. Neither may contain a secret.
    pub fn new(action: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { action: action.into(), problem: problem.into(), hint: None, extent: Extent::Store, source: None }
    }

    /// Adds a hint, if there is one.
    #[must_use]
    pub fn hint(self, hint: impl Into<Option<&'static str>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// Says that the store works, and has only refused to write this one post. Nothing was written.
    #[must_use]
    pub fn only_for_one_post(self) -> Self {
        Self { extent: Extent::OnePost, ..self }
    }

    /// Whether the store works, and has only refused to write one post. Nothing was written, and other posts are not
    /// concerned.
    pub fn is_for_one_post(&self) -> bool {
        self.extent == Extent::OnePost
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// Adds the post to the action.
    #[must_use]
    pub fn for_post(self, id: &PostId) -> Self {
        Self { action: format!("{} for post {id}", self.action), ..self }
    }

    /// The reason.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.hint
    }
}
