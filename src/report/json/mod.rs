//! The JSON output: shapes of its own, so that a change inside cannot change them by accident.

mod list;
mod run;
mod stats;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

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
