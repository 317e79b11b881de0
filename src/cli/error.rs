//! The errors of a command, their exit codes, and the only code that formats them.

use std::process::ExitCode;

use clap::error::ErrorKind;

use super::process::limit_hint;
use crate::environment::Redactor;
use crate::report::{Paint, Screen, wrapped};
use crate::settings::SettingsError;
use crate::store::{RunOutcome, StoreError};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Done,
    /// Any other error.
    Error,
    /// The command line is wrong.
    Usage,
    /// Done, but manual action is needed.
    Attention,
    /// The configuration is missing or invalid.
    Configuration,
    /// The store cannot be reached or refuses the request.
    Store,
    /// No such post, or it is not failed.
    NoPost,
    /// Another process is retrying the post.
    Busy,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

/// The outcome in the record of a run.
impl From<Exit> for RunOutcome {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::Ok,
            Exit::Attention => Self::Attention,
            Exit::Interrupted | Exit::Terminated => Self::Interrupted,
            Exit::Error | Exit::Usage | Exit::Configuration | Exit::Store | Exit::NoPost | Exit::Busy => Self::Error,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Attention => 3,
            Exit::Configuration => 4,
            Exit::Store => 5,
            Exit::NoPost => 6,
            Exit::Busy => 7,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        })
    }
}

/// How many characters of a wrong command line are repeated.
const MAX_USAGE_CHARS: usize = 500;

/// Spaces before the lines that continue another one. No line of a text from outside begins where ours do.
pub(super) const INDENT: usize = 2;

/// What failed, and what to do about it: for a pipe a line each, on a terminal in lines of its width. Each is one safe
/// line already.
pub(super) fn render(problem: &str, hint: Option<&str>, screen: Screen) -> String {
    render_all(&[problem], hint, screen)
}

/// The same for several problems.
pub(super) fn render_all<T: AsRef<str>>(problems: &[T], hint: Option<&str>, screen: Screen) -> String {
    let problems = problems.iter().map(|problem| labelled("error:", Paint::Bad, problem.as_ref(), screen));
    let hint = hint.map(|hint| labelled("hint:", Paint::Heading, hint, screen));
    problems.chain(hint).collect()
}

/// A text after a painted label.
pub(super) fn labelled(label: &str, paint: Paint, text: &str, screen: Screen) -> String {
    let lines = wrapped(&format!("{label} {text}"), screen.width, INDENT);
    match lines.strip_prefix(label) {
        Some(rest) => format!("{}{rest}\n", paint.on(label, screen.has_color)),
        // The terminal is too narrow even for the label.
        None => format!("{lines}\n"),
    }
}

const COMMANDS: &str = "the commands are `run`, `list-failed`, `retry`, `reset` and `stats`";

/// What is wrong with a command line of this command, in one line, and a hint.
pub(super) fn usage(error: &clap::Error, command: Option<&str>) -> (String, String) {
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        return ("no command is given".to_owned(), format!("{COMMANDS}; `postretry --help` describes them"));
    }
    let text = error.render().to_string().replace('\'', "`");
    let (said, usage) = text.split_once("Usage:").unwrap_or((&text, ""));
    let (mut problem, mut hint) = (String::new(), None);
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            match tip.strip_prefix("to pass `-").and_then(|rest| rest.chars().next()) {
                None => drop(hint.get_or_insert(tip.replacen("similar subcommand", "similar command", 1))),
                // An option that does not exist is a slip, and a number was meant for the option before it.
                Some('-' | '0'..='9') => {}
                // clap names only the first letter, which would be another ID.
                Some(_) => drop(hint.get_or_insert("put `--` before an ID that begins with `-`".to_owned())),
            }
        } else if !line.starts_with("For more information") {
            let gap = if problem.is_empty() { "" } else { " " };
            problem.push_str(gap);
            problem.push_str(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    let usage = usage.lines().next().unwrap_or_default().trim();
    let hint = hint.unwrap_or_else(|| match usage {
        _ if error.kind() == ErrorKind::InvalidSubcommand => COMMANDS.to_owned(),
        "" => match command {
            Some(command) => format!("see `postretry {command} --help`"),
            None => "see `postretry --help`".to_owned(),
        },
        usage => format!("usage: `{usage}`; see `--help` for details"),
    });
    if error.kind() == ErrorKind::InvalidSubcommand {
        problem = problem.replacen("unrecognized subcommand", "unknown command", 1);
    }
    // An argument can be anything, a connection string with its password too.
    let redactor = Redactor::default();
    (redactor.clean(&problem, MAX_USAGE_CHARS), redactor.clean(&hint, MAX_USAGE_CHARS))
}

/// An error that ends a command without a result.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A setting is valid, but not for this command.
    #[error("{problem}")]
    Unsuitable {
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The command line is invalid in a way that clap cannot check.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The user answered no.
    #[error("cancelled; nothing was changed")]
    Declined,
    /// The clock of the machine shows a time that certificates, ids and dates do not have.
    #[error("the clock of this machine is before 1970")]
    Clock,
    /// The platforms' certificates cannot be checked.
    #[error("failed to set up HTTPS: {problem}")]
    Https {
        /// Why not.
        problem: String,
    },
    /// A system call failed.
    #[error("failed to {action}: {problem}")]
    System {
        /// The action that failed.
        action: &'static str,
        /// Why it failed.
        problem: String,
    },
}

impl AppError {
    /// Its exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) | Self::Unsuitable { .. } => Exit::Configuration,
            Self::Store(_) => Exit::Store,
            Self::Usage { .. } => Exit::Usage,
            Self::Declined | Self::Clock | Self::Https { .. } | Self::System { .. } => Exit::Error,
        }
    }

    /// What is wrong, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Settings(SettingsError::Invalid(problems)) => problems.clone(),
            other => vec![other.to_string()],
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unsuitable { hint, .. } | Self::Usage { hint, .. } => hint.as_deref(),
            Self::Store(error) => error.advice().or_else(|| limit_hint(error.problem())),
            Self::Settings(SettingsError::Invalid(_)) => {
                Some("`postretry --help` lists every setting with its default")
            }
            Self::Settings(SettingsError::EnvFile(error)) => error.hint.as_deref(),
            Self::Https { problem } => limit_hint(problem).or(Some(
                "install the package `ca-certificates`, or set `SSL_CERT_FILE` to a file with the certificates of \
                 authorities",
            )),
            Self::System { problem, .. } => limit_hint(problem),
            Self::Clock => Some("set it, for example with `timedatectl`"),
            Self::Declined => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::Cli;

    /// What is wrong with a command line, and the hint.
    fn told(arguments: &[&str]) -> (String, String) {
        let arguments: Vec<OsString> = ["postretry"].iter().chain(arguments).map(OsString::from).collect();
        let error = Cli::read(arguments.iter().cloned()).unwrap_err();
        usage(&error, Cli::command_name(arguments).as_deref())
    }

    #[test]
    fn an_option_that_does_not_exist_is_not_taken_for_an_id() {
        let misspelt = told(&["retry", "--dry-run", "x"]).1;
        assert!(misspelt.starts_with("usage: `postretry retry "), "{misspelt}");
        assert_eq!(told(&["retry", "-spring", "x"]).1, "put `--` before an ID that begins with `-`");
    }

    #[test]
    fn a_wrong_value_leads_to_the_help_that_describes_the_option() {
        for (arguments, command) in [
            (&["run", "--concurrency", "0"][..], "run "),
            (&["-q", "--store", "sqlite:retry", "run", "--max-duration", "soon"], "run "),
            (&["reset", "--posted", "--url", "x", "id"], "reset "),
            (&["list-failed", "--limit", "0"], "list-failed "),
        ] {
            assert_eq!(told(arguments).1, format!("see `postretry {command}--help`"), "{arguments:?}");
        }
    }

    #[test]
    fn a_command_that_does_not_exist_is_called_a_command() {
        assert_eq!(told(&["frobnicate"]), ("unknown command `frobnicate`".to_owned(), COMMANDS.to_owned()));
        let (problem, hint) = told(&["list-faild"]);
        assert_eq!(problem, "unknown command `list-faild`");
        assert!(hint.contains("similar command") && hint.contains("`list-failed`"), "{hint}");
    }

    const PROBLEM: &str = "failed to retry post `65f0a1b2c3d4e5f6a7b8c9d2`: it is permanently failed";
    const HINT: &str = "`postretry retry --force 65f0a1b2c3d4e5f6a7b8c9d2` retries it anyway; `postretry list-failed \
                        65f0a1b2c3d4e5f6a7b8c9d2` shows the reason";

    #[test]
    fn a_terminal_gets_lines_that_are_broken_between_words_and_a_pipe_gets_one_line() {
        let text = |width, has_color| render(PROBLEM, Some(HINT), Screen { width, has_color });
        assert_eq!(text(None, false), format!("error: {PROBLEM}\nhint: {HINT}\n"));
        assert_eq!(
            text(Some(60), false),
            "error: failed to retry post `65f0a1b2c3d4e5f6a7b8c9d2`: it\n  is permanently failed\n\
             hint: `postretry retry --force 65f0a1b2c3d4e5f6a7b8c9d2`\n  retries it anyway;\n  \
             `postretry list-failed 65f0a1b2c3d4e5f6a7b8c9d2` shows the\n  reason\n"
        );
        assert!(text(Some(60), true).starts_with("\u{1b}[31merror:\u{1b}[0m failed to retry"));
        for width in 56..140 {
            let text = text(Some(width), false);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), format!("error: {PROBLEM} hint: {HINT}"));
            for command in HINT.split('`').skip(1).step_by(2) {
                assert!(text.contains(command), "{width}:\n{text}");
            }
        }
        // Nothing is lost on a terminal that is too narrow for anything.
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        assert!((0..20).all(|width| letters(&text(Some(width), false)) == letters(&text(None, false))));
    }
}
