//! The errors of a store, in words for users.

use std::sync::Arc;

use crate::post::PostId;

/// The store cannot be reached or refuses the request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to {action}: {problem}")]
pub struct StoreError {
    action: String,
    problem: String,
    hint: Option<&'static str>,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error with the failed action and the reason. Neither may contain a secret.
    pub fn new(action: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { action: action.into(), problem: problem.into(), hint: None, source: None }
    }

    /// Adds a hint, if there is one.
    #[must_use]
    pub fn hint(self, hint: impl Into<Option<&'static str>>) -> Self {
        Self { hint: hint.into(), ..self }
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

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.hint
    }
}
