//! What can end a command, its exit code, and the one place that writes it.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::report::Paint;
use crate::settings::SettingsError;
use crate::store::{RunOutcome, StoreError};

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Done,
    /// An error that has no code of its own.
    Error,
    /// The command line is wrong.
    Usage,
    /// Done, but a person is needed.
    Attention,
    /// The configuration is missing or invalid.
    Configuration,
    /// The store cannot be reached or refused us.
    Store,
    /// No such post, or it is not failed.
    NoPost,
    /// The post is being retried by another process.
    Busy,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

/// How the run is recorded that ends like this.
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

/// The lines for standard error: what failed, and what to do about it.
pub(super) fn render(problem: &str, hint: Option<&str>, has_color: bool) -> String {
    let mut text = String::new();
    for problem in problem.lines() {
        text.push_str(&format!("{} {problem}\n", Paint::Bad.on("error:", has_color)));
    }
    if let Some(hint) = hint {
        text.push_str(&format!("{} {hint}\n", Paint::Heading.on("hint:", has_color)));
    }
    text
}

/// What is wrong with a command line, in one line, and what to do about it; none where all that is to be told is how the
/// program is used.
pub(super) fn usage(error: &clap::Error) -> Option<(String, String)> {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return None;
    }
    let text = error.render().to_string().replace('\'', "`");
    let (said, usage) = text.split_once("Usage:").unwrap_or((&text, ""));
    let (mut problem, mut hint) = (String::new(), None);
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            hint.get_or_insert(tip.to_owned());
        } else if !line.starts_with("For more information") {
            let gap = if problem.is_empty() { "" } else { " " };
            problem.push_str(gap);
            problem.push_str(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    let usage = usage.lines().next().unwrap_or_default().trim();
    let hint = hint.unwrap_or_else(|| match usage {
        _ if error.kind() == ErrorKind::InvalidSubcommand => {
            "the commands are `run`, `list-failed`, `retry`, `reset` and `stats`".to_owned()
        }
        "" => "`postretry --help` tells how it is used".to_owned(),
        usage => format!("it is used as `{usage}`; `--help` tells more"),
    });
    Some((problem, hint))
}

/// What ends a command before its result.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A setting is fine by itself but not for this command.
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
    /// The command line is wrong in a way that its grammar does not catch.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A person said no.
    #[error("nothing was changed")]
    Declined,
    /// The process cannot do what it needs to.
    #[error("failed to {action}: {problem}")]
    System {
        /// What was tried.
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
            Self::Declined | Self::System { .. } => Exit::Error,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unsuitable { hint, .. } | Self::Usage { hint, .. } => hint.as_deref(),
            Self::Store(error) => error.advice(),
            Self::Settings(SettingsError::Invalid(_)) => Some("`.env.example` lists every setting with its default"),
            Self::Settings(_) | Self::Declined | Self::System { .. } => None,
        }
    }
}
