//! The JSON output: shapes of its own, so that a change inside cannot change them by accident.

mod list;
mod run;
mod stats;

use std::borrow::Cow;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::post::is_hidden;
use crate::retry::Records;

pub(super) use list::PostJson;
pub use list::{ListJson, PostDetailJson};
pub use run::{ResultRow, ResultsJson, RunJson};
pub use stats::StatsJson;
pub(super) use stats::rate;

/// A value as one JSON document with a line end.
pub fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// The same document with the characters escaped that a terminal acts on or does not show. JSON demands that only of
/// some of them. They stand in strings alone, and whoever reads the document gets them back.
pub fn escape_hidden(json: &str) -> Cow<'_, str> {
    // The line breaks between members are no part of a string.
    let must_escape = |c: char| c >= '\u{7f}' && is_hidden(c);
    if !json.contains(must_escape) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if must_escape(c) {
            let mut units = [0; 2];
            text.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// Writes a value as one JSON document with a line end.
///
/// # Errors
/// If it cannot be written, or its records cannot be read.
pub fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// A record with a shape of its own in the output.
trait Shape {
    /// The shape.
    type Json<'a>: Serialize
    where
        Self: 'a;

    fn json(&self) -> Self::Json<'_>;
}

/// A list of records. It is never in memory as a whole.
#[derive(Debug)]
struct List<'a, T>(&'a Records<T>);

impl<T: Shape + Clone + Serialize + DeserializeOwned> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for record in self.0.iter() {
            list.serialize_element(&record.map_err(S::Error::custom)?.json())?;
        }
        list.end()
    }
}

/// Dates are RFC 3339, UTC, with `Z`.
#[derive(Debug)]
struct Date(DateTime<Utc>);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::utc(self.0))
    }
}

fn date(at: Option<DateTime<Utc>>) -> Option<Date> {
    at.map(Date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_read_back() {
        let title = "a\u{9b}2J\u{7f}\u{202e}\u{2028}\u{e0041}\u{1b} 日本語 é";
        let json = to_json(&[title]);
        let shown = escape_hidden(&json);
        assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown}");
        assert!(shown.contains("\\u009b2J\\u007f\\u202e\\u2028\\udb40\\udc41\\u001b 日本語 é"), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [title]);
        assert!(matches!(escape_hidden("{\n}"), Cow::Borrowed(_)));
    }
}
