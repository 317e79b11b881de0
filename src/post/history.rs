//! The history of a post: one entry for each attempt.

use std::fmt;

use chrono::{DateTime, Utc};

use super::Category;

/// How many entries a post keeps.
pub const HISTORY_LIMIT: usize = 50;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOutcome {
    /// The post is on its platform.
    Posted,
    /// It used a retry.
    Failed,
    /// It used no retry.
    Deferred,
    /// The attempt was interrupted and will be resumed.
    Interrupted,
}

impl EntryOutcome {
    const ALL: [Self; 4] = [Self::Posted, Self::Failed, Self::Deferred, Self::Interrupted];

    /// The name in documents and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
            Self::Interrupted => "interrupted",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

impl fmt::Display for EntryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One attempt, however often it was interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// `retryCount` after its increment.
    pub attempt: u32,
    /// When it was first started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended, or was found interrupted.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: EntryOutcome,
    /// Why it failed.
    pub category: Option<Category>,
    /// In words.
    pub error: Option<String>,
    /// The host that worked on it last.
    pub host: String,
    /// How often it was interrupted and resumed.
    pub interruptions: u32,
    /// Who reset the post after it, and when.
    pub reset: Option<ResetMark>,
    /// Who found the post on its platform and settled it, as `user@host`; none for an attempt.
    pub settled_by: Option<String>,
}

/// The record of a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetMark {
    /// When.
    pub at: DateTime<Utc>,
    /// Who, as `user@host`.
    pub by: String,
}
