//! The commands, options and arguments of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, value_parser};
use url::Url;

use super::help;

use crate::post::{Category, Platform};

/// The name that `--version` prints, after a command too.
const PROGRAM: &str = "postretry";

/// Retries failed TikTok, Instagram and `YouTube` Shorts posts. Never published twice, never lost.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    propagate_version = true,
    about = "Retries failed TikTok, Instagram and YouTube Shorts posts. Never published twice, never lost.",
    after_long_help = help::after_help(),
    max_term_width = 100
)]
pub struct Cli {
    /// The options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// If it is wrong. Help and version are also returned as errors.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        // `--json --format json` says the same twice. clap can only refuse every `--format` beside `--json`.
        let is_format_given = matches.value_source("format") == Some(ValueSource::CommandLine);
        if cli.global.json && is_format_given && cli.global.format != Format::Json {
            let problem = "the argument '--json' cannot be used with another '--format'";
            return Err(command.error(ErrorKind::ArgumentConflict, problem));
        }
        Ok(cli)
    }

    /// The name of the command on a command line that is wrong, as far as it can be read.
    pub fn command_name(arguments: impl IntoIterator<Item = OsString>) -> Option<String> {
        let matches = Self::command().ignore_errors(true).try_get_matches_from(arguments).ok()?;
        matches.subcommand_name().map(str::to_owned)
    }
}

/// The options of every command. Each command lists them after its own.
#[derive(Debug, Args)]
#[command(next_display_order = 100)]
pub struct Global {
    /// The post store: `mongodb://…` or `sqlite:PATH`
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Read settings from this file instead of .env
    #[arg(long, global = true, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// The output format
    #[arg(long, global = true, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// The same as `--format json`
    #[arg(long, global = true)]
    pub json: bool,
    /// Print the result only if the exit code is not 0; important warnings are always printed
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log what postretry does; repeat for more detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: When,
}

impl Global {
    /// The output format.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// One JSON document
    Json,
    /// Rows with a header (only for list-failed)
    Csv,
    /// The Prometheus text format (only for stats)
    Prometheus,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// If the output is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one retry pass: publish every failed post that is due
    ///
    /// Finds the due posts, oldest first, publishes each one again through its platform's API, and records each outcome
    /// as soon as it is known. Several passes can run at the same time, on one host or on many. Under cron, postretry
    /// prints nothing when there was nothing to do.
    ///
    /// A platform without credentials is left alone. If none has credentials, nothing can be done: exit code 4.
    ///
    /// After a stop signal (Ctrl-C, SIGTERM) no new post is started, and the posts in flight have 20 s to finish. A second
    /// signal ends the 20 s, and a third one ends the process at once. The next pass resumes what was in flight.
    ///
    /// `ALERT_WEBHOOK_URL` gets a message if posts became permanently failed, or if a platform had to be skipped
    /// because of its credentials or its account and the last run had not skipped it for the same reason.
    #[command(display_name = PROGRAM, after_long_help = help::after_help_of("run"))]
    Run(RunArgs),
    /// List failed posts with their retry state; with an ID, show one post in full
    ///
    /// Lists the newest failures first. With an ID, shows one post with its retry history and explains in one sentence
    /// what happens to it next, when and why. A post for several platforms has one row and one block for each platform
    /// on which it failed; its JSON always has `posts` instead of `post`.
    ///
    /// Above the list, postretry says which platforms wait for you, as the last run recorded it.
    ///
    /// Texts of posts and platforms are shown in one line: control characters and invisible characters as escapes such
    /// as `\u{1b}`, secrets as `[redacted]`. An ID in a table is cut after 80 characters, any other text after 1,000.
    /// JSON has the stored texts in full, without the secrets. In CSV, a text that a spreadsheet would take for a
    /// formula begins with an apostrophe.
    #[command(display_name = PROGRAM, after_long_help = help::after_help_of("list-failed"))]
    ListFailed(ListArgs),
    /// Publish these failed posts now, without waiting for their backoff
    ///
    /// The attempt counts like an attempt of a retry pass. postretry first checks an earlier upload, so a post that is
    /// already on its platform is recorded as posted and is not sent again. An ID means every platform on which the post
    /// failed; `--platform` selects one of them.
    ///
    /// An ambiguous post may be on its platform already, and postretry cannot find out. Look at the account first. If
    /// the post is there, `postretry reset --posted ID` records that. If it is not, `--force` sends it again. On a
    /// terminal postretry asks before it does; elsewhere `--yes` is required, and without it nothing is done.
    #[command(display_name = PROGRAM, after_long_help = help::after_help_of("retry"))]
    Retry(RetryArgs),
    /// Reset the retry count
    ///
    /// The posts stay failed, and their backoff starts again from the first failure. Their history is kept and records
    /// who reset them. An ID means every platform on which the post failed; `--platform` selects one of them.
    ///
    /// The upload ticket is kept, so the next attempt first checks the earlier upload. An ambiguous post loses its
    /// ticket, because a person has looked. `--drop-ticket` removes the ticket of any post. Use it only if you are sure
    /// that the post is not on its platform, for example if the account that began the upload is no longer connected.
    ///
    /// A selection includes posts that may already be published (category ambiguous) only if it names that category.
    /// Check the account before you reset them. `--dry-run` lists the selected posts with title, platform, category and
    /// error.
    ///
    /// `--posted` is for a post that you have found on its platform: it is recorded as posted, and nothing is sent.
    /// With `--url` the address is recorded too, and the ID of a TikTok or YouTube post is read from it. If the post
    /// failed on several platforms, `--platform` is required.
    #[command(display_name = PROGRAM, after_long_help = help::after_help_of("reset"))]
    Reset(ResetArgs),
    /// Show counts, success rates, failure categories and past runs
    ///
    /// Shows how often retries succeed: by platform, by attempt number, and by the category of the previous failure. It
    /// also shows which posts need manual action, and which platforms wait for you, and since when. A post for several
    /// platforms counts once for each platform on which it failed.
    #[command(display_name = PROGRAM, after_long_help = help::after_help_of("stats"))]
    Stats(StatsArgs),
}

/// The options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Show what would be retried and why; write nothing and call no platform
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
    /// Start no new post after this time, for example 50m
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub max_duration: Option<Duration>,
}

/// The options of `list-failed`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show this post in full; put `--` before an ID that begins with `-`
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Only posts for this platform (repeatable)
    #[arg(long, value_name = "P", value_parser = platform())]
    pub platform: Vec<Platform>,
    /// Only due posts
    #[arg(long)]
    pub due: bool,
    /// Only permanently failed posts
    #[arg(long)]
    pub permanent: bool,
    /// Only posts whose last failure has this category (repeatable)
    #[arg(long, value_name = "C", value_parser = category())]
    pub category: Vec<Category>,
    /// Only posts that failed within this time, for example 7d
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub since: Option<Duration>,
    /// Show at most N posts (1 or more; 50 if not given)
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Skip the first N posts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
}

/// The options of `retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The IDs of the posts; put `--` before one that begins with `-`
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Of a post for several platforms, retry only this one
    #[arg(long, value_name = "P", value_parser = platform())]
    pub platform: Option<Platform>,
    /// Also retry permanently failed posts, whose retry count is reset first; asks before an ambiguous one
    #[arg(long)]
    pub force: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
}

/// The options of `reset`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ResetArgs {
    /// The IDs of the posts; put `--` before one that begins with `-`
    #[arg(value_name = "ID", conflicts_with_all = ["permanent", "category"])]
    pub ids: Vec<String>,
    /// All permanently failed posts
    #[arg(long)]
    pub permanent: bool,
    /// All posts for this platform; with IDs, only this platform of those posts (repeatable)
    #[arg(long, value_name = "P", value_parser = platform())]
    pub platform: Vec<Platform>,
    /// All posts whose last failure has this category (repeatable)
    #[arg(long, value_name = "C", value_parser = category())]
    pub category: Vec<Category>,
    /// You have found the post on its platform: record it as posted; with exactly one ID
    #[arg(long, conflicts_with_all = ["permanent", "category", "drop_ticket"])]
    pub posted: bool,
    /// The address at which you have found it
    #[arg(long, value_name = "URL", requires = "posted", value_parser = web_address)]
    pub url: Option<Url>,
    /// Remove the upload tickets too, so that the next attempt starts a new upload; asks first; needs IDs
    #[arg(long)]
    pub drop_ticket: bool,
    /// Do not ask for confirmation
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

/// Parses a platform by any of its names. For a mistyped name, clap suggests the nearest one.
fn platform() -> impl TypedValueParser<Value = Platform> {
    let names = Platform::ALL.map(|platform| PossibleValue::new(platform.as_str()).aliases(platform.spellings()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Platform>())
}

/// Parses a category by its name.
fn category() -> impl TypedValueParser<Value = Category> {
    PossibleValuesParser::new(Category::ALL.map(Category::as_str)).try_map(|name| name.parse::<Category>())
}

fn concurrency(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=256).contains(number));
    number.ok_or_else(|| "it is not a whole number from 1 to 256".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "it is not a duration such as `90s`, `50m`, `2h` or `7d`".to_owned())
}

fn web_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "it is not an `https://` or `http://` address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_lists_its_own_options_before_those_of_every_command() {
        let mut command = Cli::command();
        command.build();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let text = sub.clone().render_long_help().to_string();
            let (_, options) = text.split_once("Options:").unwrap();
            let place = |name: &str| options.find(&format!("--{name}")).unwrap();
            let own = sub.get_arguments().filter(|argument| !argument.is_global_set());
            for name in own.filter_map(clap::Arg::get_long) {
                let is_common = matches!(name, "help" | "version");
                assert_eq!(place(name) > place("store"), is_common, "{name}: {text}");
            }
        }
    }

    #[test]
    fn a_command_has_the_version_of_the_program() {
        for command in ["run", "list-failed", "retry", "reset", "stats"] {
            let told = Cli::read(["postretry", command, "-V"].map(OsString::from)).unwrap_err();
            assert_eq!(told.to_string(), concat!("postretry ", env!("CARGO_PKG_VERSION"), "\n"));
        }
    }
}
