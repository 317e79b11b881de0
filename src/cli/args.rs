//! What is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::help;

use crate::post::{Category, Platform};

/// Publishes failed TikTok, Instagram and `YouTube` Shorts posts again, at most once each.
#[derive(Debug, Parser)]
#[command(
    name = "postretry",
    version,
    about = "Publishes failed TikTok, Instagram and YouTube Shorts posts again, at most once each",
    after_long_help = help::after_help(),
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What is true of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The post store: `mongodb://…` or `sqlite:PATH`
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Read settings from this file instead of .env
    #[arg(long, global = true, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// How the result is written
    #[arg(long, global = true, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Print nothing unless the exit code is not 0
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log what is done; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: When,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// Rows with a header (list-failed only)
    Csv,
    /// A text exposition (stats only)
    Prometheus,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One retry pass: publish every failed post that is due
    ///
    /// Finds the posts that are due, oldest first, publishes each again through its platform's API, and records every
    /// outcome when it comes. Passes may run beside each other, on one host or on many. Under cron nothing is printed
    /// when there was nothing to do.
    #[command(after_long_help = help::after_help_of("run"))]
    Run(RunArgs),
    /// Failed posts with their retry state; with an ID, one post in full
    ///
    /// Lists newest failures first. With an ID it shows one post with the history of its retries, and says in a sentence
    /// what happens to it next, when and why.
    #[command(after_long_help = help::after_help_of("list-failed"))]
    ListFailed(ListArgs),
    /// Publish these failed posts now, whatever their backoff
    ///
    /// The attempt counts like one of a pass. An earlier upload is looked up first, so a post that is on its platform
    /// already is recorded as posted and not sent again.
    #[command(after_long_help = help::after_help_of("retry"))]
    Retry(RetryArgs),
    /// Give posts their retries back
    ///
    /// The posts stay failed and are due again by their first failure; the history is kept and tells who reset them. A
    /// selection takes posts that may be published already (category ambiguous) only if it names that category: look at
    /// the account first.
    #[command(after_long_help = help::after_help_of("reset"))]
    Reset(ResetArgs),
    /// Counts, success rates, reasons, and what past runs did
    ///
    /// Tells whether retrying helps: by platform, by attempt number, and by what went wrong before; and what waits for a
    /// person.
    #[command(after_long_help = help::after_help_of("stats"))]
    Stats(StatsArgs),
}

/// The options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// List what would be retried and why; write nothing, call no platform
    #[arg(long)]
    pub dry_run: bool,
    /// Only posts for this platform (repeatable)
    #[arg(long, value_name = "P", value_parser = platform())]
    pub platform: Vec<Platform>,
    /// Start at most N posts
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Posts in flight per platform, 1 to 256
    #[arg(long, value_name = "N", value_parser = concurrency)]
    pub concurrency: Option<u16>,
    /// Start no new post after this long, for example 50m
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub max_duration: Option<Duration>,
}

/// The options of `list-failed`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show this post in full
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Only posts for this platform
    #[arg(long, value_name = "P", value_parser = platform())]
    pub platform: Option<Platform>,
    /// Only posts that are due
    #[arg(long)]
    pub due: bool,
    /// Only posts that are permanently failed
    #[arg(long)]
    pub permanent: bool,
    /// Only posts whose last failure is of this category
    #[arg(long, value_name = "C", value_parser = category())]
    pub category: Option<Category>,
    /// Only posts that failed within this time, for example 7d
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub since: Option<Duration>,
    /// Show at most N posts
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u64,
    /// Leave out the first N posts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
}

/// The options of `retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The posts
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Also a post that is permanently failed; it first gets its retries back
    #[arg(long)]
    pub force: bool,
}

/// The options of `reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// The posts
    #[arg(value_name = "ID", conflicts_with_all = ["permanent", "platform", "category"])]
    pub ids: Vec<String>,
    /// All posts that are permanently failed
    #[arg(long)]
    pub permanent: bool,
    /// All posts for this platform
    #[arg(long, value_name = "P", value_parser = platform())]
    pub platform: Option<Platform>,
    /// All posts whose last failure is of this category
    #[arg(long, value_name = "C", value_parser = category())]
    pub category: Option<Category>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Show what would be reset; write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The options of `stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Count only runs within this time, for example 30d
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub since: Option<Duration>,
}

/// A platform by its name or another spelling of it; a mistyped one is told what it looks like.
fn platform() -> impl TypedValueParser<Value = Platform> {
    let names = Platform::ALL.map(|platform| PossibleValue::new(platform.as_str()).aliases(platform.spellings()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Platform>())
}

/// A category by its name.
fn category() -> impl TypedValueParser<Value = Category> {
    PossibleValuesParser::new(Category::ALL.map(Category::as_str)).try_map(|name| name.parse::<Category>())
}

fn concurrency(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=256).contains(number));
    number.ok_or_else(|| "it is not a whole number from 1 to 256".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "it is not a time such as `90s`, `50m`, `2h` or `7d`".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        super::Cli::command().debug_assert();
    }
}
