//! Data in, text out. Nothing here prints, reads a clock or knows a store.

mod alert;
mod csv;
mod json;
mod progress;
mod prometheus;
mod table;
mod text;
mod views;

pub use alert::alert_message;
pub use csv::posts_csv;
pub use json::{ListJson, PostDetailJson, ResultsJson, RunJson, StatsJson, to_json};
pub use progress::{LogListener, ProgressListener};
pub use prometheus::exposition;
pub use table::{Align, Column, Table};
pub use text::{bytes, plural, relative, utc};
pub use views::{Screen, dry_run_text, list_text, platform_note, post_text, results_text, run_text, stats_text};
