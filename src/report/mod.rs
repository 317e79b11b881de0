//! Converts data to text. Nothing here prints, reads a clock or uses a store.

mod alert;
mod csv;
mod explain;
mod json;
mod list;
mod picture;
mod progress;
mod prometheus;
mod run;
mod screen;
mod stats;
mod table;
mod text;
mod wording;

pub use alert::alert_message;
pub use csv::posts_csv;
pub use explain::PassRules;
pub use json::{
    ListJson, PostDetailJson, ResultRow, ResultsJson, RunJson, StatsJson, escape_hidden, to_json, write_json,
};
pub use list::{ListPart, list_text, post_text};
pub use progress::{NoopListener, ProgressListener};
pub use prometheus::exposition;
pub use run::{
    account_notes, malformed_note, platform_note, published_note, reset_plan_text, results_text, write_dry_run,
    write_run,
};
pub use screen::{Paint, Screen};
pub use stats::stats_text;
pub use text::{bytes, plural, relative, utc, wrapped};
