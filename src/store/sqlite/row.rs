//! Converts a row to a post. Any program may have written it, so a column can contain any value.

use std::sync::LazyLock;

use chrono::{DateTime, Datelike, Timelike, Utc};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::Deserialize;
use serde_json::Value;

use super::history::entry_from;
use super::identity::{id_from, shortened};
use crate::post::{Category, Claim, EntryOutcome, HistoryEntry, Malformed, Platform, Post, PostDraft, Ticket};
use crate::store::{StoreError, StoredPost};

/// The columns that every post is read from, beside those of its platform.
const COLUMNS: [&str; 27] = [
    "id",
    "platform",
    "title",
    "description",
    "caption",
    "content_type",
    "video_path",
    "image_path",
    "is_ai_generated",
    "hashtags",
    "story_id",
    "story_name",
    "failed_at",
    "updated_at",
    "scheduled_at",
    "retry_count",
    "last_retried_at",
    "permanently_failed",
    "permanently_failed_at",
    "failure_category",
    "error",
    "retry_not_before",
    "retry_history",
    "claim_by",
    "claim_until",
    "publish_ticket",
    "status",
];

/// All columns that posts are read from, in the order in which queries ask for them. [`read`] asks for most of
/// them in the same order.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let of_platforms = Platform::ALL.into_iter().map(Platform::fields).flat_map(|fields| {
        let left_upload = fields.left_upload.map(|field| field.column);
        std::iter::once(fields.id.column).chain(left_upload)
    });
    COLUMNS.into_iter().chain(of_platforms).collect()
});

/// The longest text that is read, in bytes. No platform takes one that is nearly as long, and a page of posts has to
/// fit into memory.
const MAX_TEXT: usize = 1024 * 1024;

/// How much of a wrong value is repeated, in bytes.
const REPEATED: usize = 64;

/// The names of all columns that posts are read from. A query begins with them.
pub(super) fn column_list() -> String {
    NAMES.join(", ")
}

/// Reads a post from a row that begins with the columns of [`column_list`].
///
/// # Errors
/// Only if SQLite fails. A row with an invalid value is a malformed post.
pub(super) fn post_from(row: &Row<'_>) -> rusqlite::Result<StoredPost> {
    let values = (0..NAMES.len()).map(|index| row.get_ref(index)).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(read(&values).into())
}

/// Reads a post from a row with these columns in any order.
///
/// # Errors
/// Only if SQLite fails or a column is missing.
pub(super) fn post_from_any(row: &Row<'_>) -> rusqlite::Result<StoredPost> {
    let values = NAMES.iter().map(|name| row.get_ref(*name)).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(read(&values).into())
}

/// The name in SQL of the function that says whether a post can be read.
const IS_READABLE: &str = "postretry_is_readable";

/// Defines the function for this connection. So queries that count leave out exactly the posts that are malformed.
pub(super) fn define_is_readable(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function(IS_READABLE, -1, flags, |context| {
        let values: Vec<ValueRef<'_>> = (0..context.len()).map(|index| context.get_raw(index)).collect();
        Ok(read(&values).is_ok())
    })
}

/// The condition that a post can be read.
pub(super) fn is_readable() -> String {
    format!("{IS_READABLE}({})", column_list())
}

/// Reads a post from the values of the columns in [`NAMES`].
fn read(values: &[ValueRef<'_>]) -> Result<Post, Malformed> {
    let mut columns = Columns { values, next: 0, problem: None };
    let (id, unusable) = id_from(columns.value("id"));
    if let Some(problem) = unusable {
        columns.wrong("id", problem);
    }
    let mut draft = PostDraft::new(id);
    draft.platform = columns.text("platform");
    draft.content.title = columns.text("title");
    draft.content.description = columns.text("description");
    draft.content.caption = columns.text("caption");
    draft.content.content_type = columns.text("content_type");
    draft.content.video_path = columns.text("video_path");
    draft.content.image_path = columns.text("image_path");
    draft.content.is_ai_generated = columns.flag("is_ai_generated");
    draft.content.hashtags = columns.hashtags(draft.platform.as_deref());
    draft.story.key = columns.text("story_id");
    draft.story.name = columns.text("story_name");
    draft.failed_at = columns.date("failed_at");
    draft.updated_at = columns.date("updated_at");
    draft.scheduled_at = columns.date("scheduled_at");
    draft.retry_count = columns.number("retry_count");
    draft.last_retried_at = columns.date("last_retried_at");
    draft.permanently_failed = columns.flag("permanently_failed");
    draft.permanently_failed_at = columns.date("permanently_failed_at");
    draft.category = columns.text("failure_category");
    draft.error = columns.text("error");
    draft.not_before = columns.date("retry_not_before");
    draft.history = columns.history();
    draft.claim = columns.claim();
    let ticket = columns.json("publish_ticket");
    draft.ticket = match &ticket {
        None | Some(Value::Null) => None,
        Some(Value::Object(fields)) if fields.is_empty() => None,
        Some(json) => {
            let read = Ticket::deserialize(json).ok();
            if read.is_none() {
                columns.wrong("publish_ticket", "it is not a ticket that this version can read");
            }
            read
        }
    };
    if let Some(platform) = draft.platform.as_deref().and_then(|name| name.parse::<Platform>().ok()) {
        let names = platform.fields();
        draft.published_id = columns.text(names.id.column);
        // A cleared ticket means that the application's upload needs no further check. But `null` can also be what the
        // application writes by default: then no attempt has ended.
        let needs_check = match &ticket {
            None => true,
            Some(Value::Null) => !columns.has_ended_attempt(),
            Some(_) => false,
        };
        if let Some(field) = names.left_upload.filter(|_| needs_check) {
            draft.left_upload = columns.text(field.column);
        }
    }
    match columns.problem {
        Some((field, problem)) => Err(draft.malformed(field, problem)),
        None => draft.check().map_err(Malformed::of_row),
    }
}

/// Reads columns and remembers the first invalid one.
struct Columns<'a> {
    values: &'a [ValueRef<'a>],
    /// The position after the column that was read last. Most columns are read in the order of [`NAMES`], so the next one
    /// is found at once.
    next: usize,
    problem: Option<(&'static str, String)>,
}

impl<'a> Columns<'a> {
    fn wrong(&mut self, name: &'static str, problem: impl Into<String>) {
        if self.problem.is_none() {
            self.problem = Some((name, problem.into()));
        }
    }

    fn value(&mut self, name: &str) -> ValueRef<'a> {
        let (before, rest) = NAMES.split_at_checked(self.next).unwrap_or((&[], &NAMES));
        let Some(offset) = rest.iter().chain(before).position(|known| *known == name) else { return ValueRef::Null };
        let position = (self.next + offset) % NAMES.len();
        self.next = position + 1;
        self.values.get(position).copied().unwrap_or(ValueRef::Null)
    }

    /// The text; none if there is only white space.
    fn text(&mut self, name: &'static str) -> Option<String> {
        match self.value(name) {
            ValueRef::Null => None,
            ValueRef::Text(bytes) if bytes.len() > MAX_TEXT => {
                self.wrong(name, format!("it is longer than {MAX_TEXT} bytes"));
                None
            }
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
        }
    }

    /// The date. Unlike elsewhere, a text of nothing but white space is wrong: the derived columns cannot tell it from a
    /// wrong date.
    fn date(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        let read = match self.value(name) {
            ValueRef::Null => return None,
            ValueRef::Text(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()).and_then(date_from)
            }
            other => Err(format!("it is {}, not text", kind_of(other))),
        };
        read.map_err(|problem| self.wrong(name, problem)).ok()
    }

    #[expect(clippy::cast_precision_loss, reason = "a retry counter is far below the limit")]
    fn number(&mut self, name: &'static str) -> f64 {
        match self.value(name) {
            ValueRef::Null => 0.0,
            ValueRef::Integer(number) => number as f64,
            ValueRef::Real(number) => number,
            other => {
                self.wrong(name, format!("it is {}, not a number", kind_of(other)));
                0.0
            }
        }
    }

    fn flag(&mut self, name: &'static str) -> bool {
        match self.value(name) {
            ValueRef::Null | ValueRef::Integer(0) => false,
            ValueRef::Integer(1) => true,
            _ => {
                self.wrong(name, "it is not 0 or 1");
                false
            }
        }
    }

    /// The JSON. What is nested too deeply for the parser is no JSON either.
    fn json(&mut self, name: &'static str) -> Option<Value> {
        let text = self.text(name)?;
        let parsed = serde_json::from_str(&text).ok();
        if parsed.is_none() {
            self.wrong(name, "it is not JSON");
        }
        parsed
    }

    fn hashtags(&mut self, platform: Option<&str>) -> Vec<String> {
        let json = self.json("hashtags").unwrap_or(Value::Null);
        let list_of = |list: &Value| match list {
            Value::Null => Some(Vec::new()),
            Value::Array(tags) => tags.iter().map(|tag| tag.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let tags = match &json {
            // Where there are none for this platform, those of TikTok are meant, as in a document.
            Value::Object(by_platform) => {
                let platform = platform.and_then(|name| name.parse::<Platform>().ok());
                let names = platform.map(Platform::spellings).unwrap_or_default().iter();
                let lists = names.chain(Platform::TikTok.spellings()).filter_map(|name| by_platform.get(*name));
                let mut lists = lists.map(list_of);
                lists.find(|tags| tags.as_ref().is_none_or(|tags| !tags.is_empty())).unwrap_or(Some(Vec::new()))
            }
            other => list_of(other),
        };
        if tags.is_none() {
            self.wrong("hashtags", "it is not a list of strings or an object of such lists");
        }
        tags.unwrap_or_default()
    }

    /// The history. Unreadable entries are not shown, but they stay in the store.
    fn history(&mut self) -> Vec<HistoryEntry> {
        match self.json("retry_history") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(entries)) => entries.into_iter().filter_map(entry_from).collect(),
            Some(_) => {
                self.wrong("retry_history", "it is not a list");
                Vec::new()
            }
        }
    }

    /// Whether an attempt has ended, even if its entry cannot be read. One that was interrupted, or that counts as failed
    /// because it was interrupted too often, may not have looked for the application's upload.
    fn has_ended_attempt(&mut self) -> bool {
        let is_interrupted = |entry: &Value| {
            entry["outcome"] == EntryOutcome::Interrupted.as_str()
                || entry["category"] == Category::Interrupted.as_str()
        };
        let entries = self.json("retry_history");
        entries.as_ref().and_then(Value::as_array).is_some_and(|entries| !entries.iter().all(is_interrupted))
    }

    /// The claim. Both columns are set or none is; one with only spaces is not set, as in the derived column.
    fn claim(&mut self) -> Option<Claim> {
        let is_unset = |value: ValueRef<'_>| match value {
            ValueRef::Null => true,
            ValueRef::Text(bytes) => bytes.iter().all(|byte| *byte == b' '),
            _ => false,
        };
        if is_unset(self.value("claim_by")) && is_unset(self.value("claim_until")) {
            return None;
        }
        let claim = self.text("claim_by").zip(self.date("claim_until")).map(|(by, until)| Claim { by, until });
        if claim.is_none() {
            self.wrong("claim_until", "`claim_by` and `claim_until` must be set together");
        }
        claim
    }
}

/// The date that a column contains, in whole milliseconds, so that what was read compares equal to what is written.
///
/// Only what the derived columns understand is a date too: a claim compares both.
///
/// # Errors
/// What is wrong with it.
pub(super) fn date_from(text: &str) -> Result<DateTime<Utc>, String> {
    let not_a_date = || format!("`{}` is not a date such as `2026-11-23T10:00:00Z`", shortened(text, REPEATED));
    let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| not_a_date())?;
    // SQLite knows neither leap seconds nor these offsets nor the typographic minus.
    let is_known = text.is_ascii() && parsed.nanosecond() < 1_000_000_000;
    if !is_known || parsed.offset().local_minus_utc().abs() >= 15 * 3600 {
        return Err(not_a_date());
    }
    let date = DateTime::from_timestamp_millis(parsed.timestamp_millis());
    // In UTC, the first and the last hours of the calendar can be in a year that has no four digits.
    let date = date.filter(|date| (0..=9999).contains(&date.year()));
    date.ok_or_else(|| format!("the date `{text}` is out of range"))
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

/// A cleared ticket is the JSON value `null`. After an attempt it also means that the application's upload needs no
/// check; without one, an empty object does.
pub(super) const NO_TICKET: &str = "null";

/// A ticket as JSON text.
///
/// # Errors
/// If it cannot be converted to JSON. It must not be treated as a cleared ticket.
pub(super) fn ticket_text(ticket: Option<&Ticket>) -> Result<String, StoreError> {
    let Some(ticket) = ticket else { return Ok(NO_TICKET.to_owned()) };
    serde_json::to_string(ticket).map_err(|error| StoreError::new("store a ticket", error.to_string()))
}
