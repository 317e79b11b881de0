//! The parts of `--help` and the man pages besides the options: examples, exit codes and settings.

use crate::environment::Variable;
use crate::settings::variables;

/// A command line and what it does.
pub type Example = (&'static str, &'static str);

/// Examples of the whole program, one for each common task.
pub const EXAMPLES: &[Example] = &[
    ("postretry run --dry-run", "what a retry pass would do, and why"),
    ("postretry run", "one retry pass, as cron starts it every hour"),
    ("postretry list-failed --due", "the posts that the next pass will retry"),
    ("postretry list-failed ID", "one post with its history and what happens to it next"),
    ("postretry retry ID", "publish a failed post now"),
    ("postretry reset ID", "reset the retry count of a post"),
    ("postretry stats", "how often retries succeed, and what needs manual action"),
];

/// Examples of one command.
pub fn examples_of(command: &str) -> &'static [Example] {
    match command {
        "run" => &[
            ("postretry run -q --max-duration 50m", "for a crontab: no output unless the exit code is not 0"),
            ("postretry run --dry-run --json", "every due post with the reason"),
            ("postretry run --platform tiktok --limit 3", "a small first pass"),
        ],
        "list-failed" => &[
            ("postretry list-failed 65f0a1b2c3d4e5f6a7b8c9d0", "one post in full"),
            ("postretry list-failed --permanent --since 7d", "the permanently failed posts of the last 7 days"),
            ("postretry list-failed --category auth", "the posts that wait for new credentials"),
            ("postretry list-failed --due --json", "JSON for a script"),
            ("postretry list-failed --limit 500 --format csv > posts.csv", "CSV for a spreadsheet"),
        ],
        "retry" => &[
            ("postretry retry 65f0a1b2c3d4e5f6a7b8c9d0", "now, without waiting for its backoff"),
            ("postretry retry --platform tiktok 65f0a1b2c3d4e5f6a7b8c9d0", "only one platform of a post for several"),
            ("postretry retry --force 65f0a1b2c3d4e5f6a7b8c9d0", "also if the post is permanently failed"),
        ],
        "reset" => &[
            ("postretry reset 65f0a1b2c3d4e5f6a7b8c9d0", "one post"),
            ("postretry reset --platform tiktok --permanent --dry-run", "check a selection first"),
            ("postretry reset --permanent --yes", "all permanently failed posts, from a script"),
            ("postretry reset --posted 65f0a1b2c3d4e5f6a7b8c9d0", "a post that you have found on its platform"),
            ("postretry reset --drop-ticket 65f0a1b2c3d4e5f6a7b8c9d0", "a post that is surely not on its platform"),
        ],
        "stats" => &[
            ("postretry stats --since 30d", "run figures of the last 30 days only"),
            ("postretry stats --format prometheus", "for the node exporter's textfile collector"),
        ],
        _ => &[],
    }
}

/// The exit codes and their meanings.
pub const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "success, also if posts failed again and have retries left"),
    ("1", "any other error, also a result that could not be written, or a limit such as `ulimit -n`"),
    ("2", "the command line is invalid"),
    (
        "3",
        "done, but manual action is needed: a post is permanently failed, a platform refused the account, or `retry` \
         did not publish",
    ),
    ("4", "configuration missing or invalid; `run` and `retry` without any configured platform"),
    ("5", "the store cannot be reached or refuses the request"),
    ("6", "no such post, or the post is not failed"),
    ("7", "another process is retrying the post right now"),
    ("130, 143", "stopped by SIGINT, SIGTERM; the next pass resumes what was in flight"),
];

/// The end of `postretry --help`.
pub(super) fn after_help() -> String {
    let settings = variables().map(setting).collect::<String>();
    format!(
        "{}\n{}\nSettings, from the environment or `.env` in the working directory (or `--env-file`). The environment \
         takes precedence over the file, and an option over both. If there is no such file and no store is set, \
         /etc/postretry/postretry.env is read:\n{settings}\n\
         postretry(5) covers the rest: documents, categories and the embedded store.",
        examples(EXAMPLES),
        exit_codes()
    )
}

/// The end of the help of one command.
pub(super) fn after_help_of(command: &str) -> String {
    format!("{}\n`postretry --help` lists the exit codes and settings.", examples(examples_of(command)))
}

fn examples(examples: &[Example]) -> String {
    format!("Examples:\n{}", examples.iter().map(|(line, meaning)| item(line, meaning)).collect::<String>())
}

fn exit_codes() -> String {
    format!("Exit codes:\n{}", EXIT_CODES.iter().map(|(code, meaning)| item(code, meaning)).collect::<String>())
}

fn setting(variable: &Variable) -> String {
    let default = if variable.default.is_empty() { String::new() } else { format!(" [{}]", variable.default) };
    item(&format!("{}{default}", variable.name), variable.doc)
}

/// A term and its meaning, in the form of the options. clap breaks lines that are too long for the terminal, so a
/// command is in a line of its own, and the lines of a meaning begin below each other.
fn item(term: &str, meaning: &str) -> String {
    format!("  {term}\n          {meaning}\n")
}
