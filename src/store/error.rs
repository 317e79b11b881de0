//! What can go wrong with a store, said for the person who has to mend it.

use std::sync::Arc;

use crate::post::PostId;

/// The store cannot be reached, or refused us.
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
    /// An error that says what was tried and why it failed. Neither may hold a secret.
    pub fn new(action: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { action: action.into(), problem: problem.into(), hint: None, source: None }
    }

    /// The same, with what to do about it, where that is known.
    #[must_use]
    pub fn hint(self, hint: impl Into<Option<&'static str>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn caused_by(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// The same, said of the post that was being worked on.
    #[must_use]
    pub fn for_post(self, id: &PostId) -> Self {
        Self { action: format!("{} for post {id}", self.action), ..self }
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.hint
    }
}
