//! Converts a row to a post. Any program may have written it, so a column can contain any value.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::post::{Category, Claim, EntryOutcome, HistoryEntry, Platform, PostDraft, PostId, ResetMark, Ticket};
use crate::store::{StoreError, StoredPost};

/// The columns that every post is read from, beside those of its platform.
const COLUMNS: &str = "id, title, description, caption, hashtags, platform, status, content_type, video_path, \
    image_path, is_ai_generated, story_id, story_name, scheduled_at, updated_at, error, failed_at, retry_count, \
    last_retried_at, permanently_failed, permanently_failed_at, failure_category, retry_not_before, retry_history, \
    claim_by, claim_until, publish_ticket";

/// The names of all columns that posts are read from.
pub(super) fn column_list() -> String {
    let of_platforms = Platform::ALL.into_iter().map(Platform::fields).flat_map(|fields| {
        let left_upload = fields.left_upload.map(|field| field.column);
        std::iter::once(fields.id.column).chain(left_upload)
    });
    std::iter::once(COLUMNS).chain(of_platforms).collect::<Vec<_>>().join(", ")
}

/// Reads a post.
///
/// # Errors
/// Only if SQLite fails. A row with an invalid value is a malformed post.
pub(super) fn post_from(row: &Row<'_>) -> rusqlite::Result<StoredPost> {
    let mut columns = Columns { row, problem: None };
    let mut draft = PostDraft::new(PostId::from_text(columns.text("id")?.unwrap_or_default()));
    draft.platform = columns.text("platform")?;
    draft.content.title = columns.text("title")?;
    draft.content.description = columns.text("description")?;
    draft.content.caption = columns.text("caption")?;
    draft.content.content_type = columns.text("content_type")?;
    draft.content.video_path = columns.text("video_path")?;
    draft.content.image_path = columns.text("image_path")?;
    draft.content.is_ai_generated = columns.flag("is_ai_generated")?;
    draft.content.hashtags = columns.hashtags(draft.platform.as_deref())?;
    draft.story.key = columns.text("story_id")?;
    draft.story.name = columns.text("story_name")?;
    draft.failed_at = columns.date("failed_at")?;
    draft.updated_at = columns.date("updated_at")?;
    draft.scheduled_at = columns.date("scheduled_at")?;
    draft.retry_count = columns.number("retry_count")?;
    draft.last_retried_at = columns.date("last_retried_at")?;
    draft.permanently_failed = columns.flag("permanently_failed")?;
    draft.permanently_failed_at = columns.date("permanently_failed_at")?;
    draft.category = columns.text("failure_category")?;
    draft.error = columns.text("error")?;
    draft.not_before = columns.date("retry_not_before")?;
    draft.history = columns.history()?;
    draft.claim = columns.claim()?;
    let ticket = columns.json("publish_ticket")?;
    draft.ticket = match &ticket {
        None | Some(Value::Null) => None,
        Some(json) => {
            let read = serde_json::from_value::<Ticket>(json.clone()).ok();
            if read.is_none() {
                columns.wrong("publish_ticket", "it is not a ticket that this version can read");
            }
            read
        }
    };
    if let Some(platform) = draft.platform.as_deref().and_then(|name| name.parse::<Platform>().ok()) {
        let names = platform.fields();
        draft.published_id = columns.text(names.id.column)?;
        // The ticket `null` means that the application's upload needs no further check.
        if let Some(field) = names.left_upload.filter(|_| ticket.is_none()) {
            draft.left_upload = columns.text(field.column)?;
        }
    }
    let read = match columns.problem {
        Some((field, problem)) => Err(draft.malformed(field, problem)),
        None => draft.check(),
    };
    Ok(read.into())
}

/// Reads columns and remembers the first invalid one.
struct Columns<'a, 'row> {
    row: &'a Row<'row>,
    problem: Option<(&'static str, String)>,
}

impl Columns<'_, '_> {
    fn wrong(&mut self, name: &'static str, problem: impl Into<String>) {
        if self.problem.is_none() {
            self.problem = Some((name, problem.into()));
        }
    }

    fn text(&mut self, name: &'static str) -> rusqlite::Result<Option<String>> {
        Ok(match self.row.get_ref(name)? {
            ValueRef::Null => None,
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Some(text.to_owned()).filter(|text| !text.trim().is_empty()),
                Err(_) => {
                    self.wrong(name, "it is not UTF-8 text");
                    None
                }
            },
            other => {
                self.wrong(name, format!("it is {}, not text", kind_of(other)));
                None
            }
        })
    }

    fn date(&mut self, name: &'static str) -> rusqlite::Result<Option<DateTime<Utc>>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let parsed = DateTime::parse_from_rfc3339(&text).ok();
        if parsed.is_none() {
            self.wrong(name, format!("`{text}` is not a date such as `2026-11-23T10:00:00Z`"));
        }
        // Stores keep whole milliseconds, so that what was read compares equal to what is written.
        Ok(parsed.and_then(|date| DateTime::from_timestamp_millis(date.timestamp_millis())))
    }

    #[expect(clippy::cast_precision_loss, reason = "a retry counter is far below the limit")]
    fn number(&mut self, name: &'static str) -> rusqlite::Result<f64> {
        Ok(match self.row.get_ref(name)? {
            ValueRef::Null => 0.0,
            ValueRef::Integer(number) => number as f64,
            ValueRef::Real(number) => number,
            other => {
                self.wrong(name, format!("it is {}, not a number", kind_of(other)));
                0.0
            }
        })
    }

    fn flag(&mut self, name: &'static str) -> rusqlite::Result<bool> {
        Ok(match self.row.get_ref(name)? {
            ValueRef::Null | ValueRef::Integer(0) => false,
            ValueRef::Integer(1) => true,
            _ => {
                self.wrong(name, "it is not 0 or 1");
                false
            }
        })
    }

    fn json(&mut self, name: &'static str) -> rusqlite::Result<Option<Value>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let parsed = serde_json::from_str(&text).ok();
        if parsed.is_none() {
            self.wrong(name, "it is not JSON");
        }
        Ok(parsed)
    }

    fn hashtags(&mut self, platform: Option<&str>) -> rusqlite::Result<Vec<String>> {
        let json = self.json("hashtags")?.unwrap_or(Value::Null);
        let list = match &json {
            Value::Object(by_platform) => {
                let spellings = platform.and_then(|name| name.parse::<Platform>().ok()).map(Platform::spellings);
                spellings.unwrap_or_default().iter().find_map(|name| by_platform.get(*name)).unwrap_or(&Value::Null)
            }
            other => other,
        };
        let tags = match list {
            Value::Null => Some(Vec::new()),
            Value::Array(tags) => tags.iter().map(|tag| tag.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        if tags.is_none() {
            self.wrong("hashtags", "it is not a list of strings or an object of such lists");
        }
        Ok(tags.unwrap_or_default())
    }

    /// The history. Unreadable entries are not shown, but they stay in the store.
    fn history(&mut self) -> rusqlite::Result<Vec<HistoryEntry>> {
        Ok(match self.json("retry_history")? {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(entries)) => entries.into_iter().filter_map(entry_from).collect(),
            Some(_) => {
                self.wrong("retry_history", "it is not a list");
                Vec::new()
            }
        })
    }

    fn claim(&mut self) -> rusqlite::Result<Option<Claim>> {
        Ok(match (self.text("claim_by")?, self.date("claim_until")?) {
            (None, None) => None,
            (Some(by), Some(until)) => Some(Claim { by, until }),
            _ => {
                self.wrong("claim_until", "`claim_by` and `claim_until` must be set together");
                None
            }
        })
    }
}

/// The type of a value, for messages.
fn kind_of(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "null",
        ValueRef::Integer(_) | ValueRef::Real(_) => "a number",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "a blob",
    }
}

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

fn entry_from(json: Value) -> Option<HistoryEntry> {
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

/// A cleared ticket is the JSON value `null`. It also means that the application's upload needs no check.
pub(super) const NO_TICKET: &str = "null";

/// A ticket as JSON text.
///
/// # Errors
/// If it cannot be converted to JSON. It must not be treated as a cleared ticket.
pub(super) fn ticket_text(ticket: Option<&Ticket>) -> Result<String, StoreError> {
    let Some(ticket) = ticket else { return Ok(NO_TICKET.to_owned()) };
    serde_json::to_string(ticket).map_err(|error| StoreError::new("store a ticket", error.to_string()))
}
