//! What `--help` and the man pages tell beyond the options: examples, exit codes and settings.

use crate::settings::{VARIABLES, Variable};

/// A command line and what it does.
pub type Example = (&'static str, &'static str);

/// Examples of the whole program, one for each thing that one wants of it.
pub const EXAMPLES: &[Example] = &[
    ("postretry run --dry-run", "what a pass would do, and why"),
    ("postretry run", "one retry pass, as cron starts it every hour"),
    ("postretry list-failed --due", "the posts that the next pass will take"),
    ("postretry list-failed ID", "one post with its history, and what happens to it next"),
    ("postretry retry ID", "publish a failed post now"),
    ("postretry reset ID", "give a post its retries back"),
    ("postretry stats", "whether retrying helps, and what waits for a person"),
];

/// Examples of one command.
pub fn examples_of(command: &str) -> &'static [Example] {
    match command {
        "run" => &[
            ("postretry run -q --max-duration 50m", "for a crontab: silent unless a person is needed"),
            ("postretry run --dry-run --format json", "every due post with the reason why"),
            ("postretry run --platform tiktok --limit 3", "a first careful pass"),
        ],
        "list-failed" => &[
            ("postretry list-failed 65f0a1b2c3d4e5f6a7b8c9d0", "one post in full"),
            ("postretry list-failed --permanent --since 7d", "what was given up this week"),
            ("postretry list-failed --category auth --format json", "for a script"),
            ("postretry list-failed --limit 1000 --format csv > failed.csv", "for a spreadsheet"),
        ],
        "retry" => &[
            ("postretry retry 65f0a1b2c3d4e5f6a7b8c9d0", "now, whatever its backoff"),
            ("postretry retry --force 65f0a1b2c3d4e5f6a7b8c9d0", "also one that was given up"),
        ],
        "reset" => &[
            ("postretry reset 65f0a1b2c3d4e5f6a7b8c9d0", "one post"),
            ("postretry reset --platform tiktok --category auth --dry-run", "look at a selection first"),
            ("postretry reset --permanent --yes", "all that was given up, from a script"),
        ],
        "stats" => &[
            ("postretry stats --since 30d", "the runs of a month"),
            ("postretry stats --format prometheus", "for a textfile collector"),
        ],
        _ => &[],
    }
}

/// The exit codes and what they mean.
pub const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done; posts that failed again and have retries left are normal business"),
    ("1", "an error not named below"),
    ("2", "the command line is wrong"),
    ("3", "done, but a person is needed: a post was given up, a sign-in refused, a retry did not succeed"),
    ("4", "configuration missing or invalid"),
    ("5", "the store cannot be reached or refused us"),
    ("6", "no such post, or it is not failed"),
    ("7", "the post is being retried by another process right now"),
    ("130, 143", "stopped by SIGINT, SIGTERM after a clean shut-down"),
];

/// What `postretry --help` ends with.
pub(super) fn after_help() -> String {
    let settings = VARIABLES.iter().map(setting).collect::<String>();
    format!(
        "{}\n{}\nSettings, from the environment or `.env` in the working directory (or `--env-file`); the environment \
         wins over the file, an option over both:\n{settings}\npostretry(5) tells the rest: documents, categories, and the embedded store.",
        examples(EXAMPLES),
        exit_codes()
    )
}

/// What the help of one command ends with.
pub(super) fn after_help_of(command: &str) -> String {
    format!("{}\n`postretry --help` lists the exit codes and settings.", examples(examples_of(command)))
}

fn examples(examples: &[Example]) -> String {
    let width = examples.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let line = |(line, meaning): &Example| format!("  {line:<width$}  {meaning}\n");
    format!("Examples:\n{}", examples.iter().map(line).collect::<String>())
}

fn exit_codes() -> String {
    let line = |(code, meaning): &(&str, &str)| format!("  {code:<8}  {meaning}\n");
    format!("Exit codes:\n{}", EXIT_CODES.iter().map(line).collect::<String>())
}

fn setting(variable: &Variable) -> String {
    let default = if variable.default.is_empty() { String::new() } else { format!(" [{}]", variable.default) };
    format!("  {}{default}\n          {}\n", variable.name, variable.doc)
}
