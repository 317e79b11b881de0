//! An entry of the history as JSON text.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::post::{Category, EntryOutcome, HistoryEntry, ResetMark};

/// An entry of the history as JSON text has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEntry {
    attempt: u32,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    outcome: String,
    category: Option<String>,
    error: Option<String>,
    #[serde(default)]
    host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interruptions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_by: Option<String>,
}

/// An entry; none if it cannot be read.
pub(super) fn entry_from(json: Value) -> Option<HistoryEntry> {
    let entry: StoredEntry = serde_json::from_value(json).ok()?;
    Some(HistoryEntry {
        attempt: entry.attempt,
        started_at: entry.started_at,
        finished_at: entry.finished_at,
        outcome: EntryOutcome::from_name(&entry.outcome)?,
        category: entry.category.and_then(|name| name.parse().ok()),
        error: entry.error,
        host: entry.host,
        interruptions: entry.interruptions.unwrap_or(0),
        reset: entry.reset_at.zip(entry.reset_by).map(|(at, by)| ResetMark { at, by }),
        settled_by: entry.settled_by,
    })
}

/// An entry of the history as JSON text.
pub(super) fn entry_text(entry: &HistoryEntry) -> String {
    let stored = StoredEntry {
        attempt: entry.attempt,
        started_at: entry.started_at,
        finished_at: entry.finished_at,
        outcome: entry.outcome.as_str().to_owned(),
        category: entry.category.map(|category: Category| category.as_str().to_owned()),
        error: entry.error.clone(),
        host: entry.host.clone(),
        interruptions: Some(entry.interruptions).filter(|count| *count > 0),
        reset_at: entry.reset.as_ref().map(|reset| reset.at),
        reset_by: entry.reset.as_ref().map(|reset| reset.by.clone()),
        settled_by: entry.settled_by.clone(),
    };
    serde_json::to_string(&stored).unwrap_or_default()
}
