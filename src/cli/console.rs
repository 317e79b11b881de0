//! Standard output and standard error: the only place that writes to them.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};

use super::args::{Global, When};
use crate::report::Screen;

/// Where results and errors go.
#[derive(Debug)]
pub(super) struct Console {
    is_quiet: bool,
    out_is_terminal: bool,
    err_is_terminal: bool,
}

impl Console {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            is_quiet: global.quiet,
            out_is_terminal: std::io::stdout().is_terminal(),
            err_is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Starts the log on standard error: warnings; with `-v` what is done; `RUST_LOG` over both. Only our own records
    /// are written, since those of HTTP libraries may hold tokens.
    pub(super) fn start_log(&self, global: &Global, environment: &[(OsString, OsString)]) {
        let level = match (global.quiet, global.verbose) {
            (true, 0) => "error",
            (_, 0) => "warn",
            (_, 1) => "info",
            (_, _) => "debug",
        };
        let from_environment = environment.iter().find(|(name, _)| name == "RUST_LOG");
        let filter = from_environment.and_then(|(_, value)| value.to_str()).filter(|value| !value.trim().is_empty());
        let has_time = !self.err_is_terminal;
        let style = match global.color {
            When::Always => env_logger::WriteStyle::Always,
            When::Never => env_logger::WriteStyle::Never,
            When::Auto => env_logger::WriteStyle::Auto,
        };
        let started = env_logger::Builder::new()
            .parse_filters(filter.unwrap_or(level))
            .write_style(style)
            .format(move |buffer, record| {
                if !record.target().starts_with("postretry") {
                    return Ok(());
                }
                let level = match record.level() {
                    log::Level::Error => "error",
                    log::Level::Warn => "warning",
                    log::Level::Info => "info",
                    log::Level::Debug => "debug",
                    log::Level::Trace => "trace",
                };
                if has_time {
                    writeln!(buffer, "{} {level}: {}", buffer.timestamp_seconds(), record.args())
                } else {
                    writeln!(buffer, "{level}: {}", record.args())
                }
            })
            .try_init();
        // A second log in one process can only be a test's; the first one goes on.
        drop(started);
    }

    /// What a table may take.
    pub(super) fn screen(&self) -> Screen {
        let width = self.out_is_terminal.then(|| comfy_table::Table::new().width()).flatten();
        Screen { width: width.map(usize::from) }
    }

    /// The columns for the progress, where a person is watching.
    pub(super) fn progress_width(&self) -> Option<usize> {
        let mut table = comfy_table::Table::new();
        let width = table.use_stderr().width().map_or(80, usize::from);
        (self.err_is_terminal && !self.is_quiet).then_some(width)
    }

    /// Whether standard output is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether a person can be asked.
    pub(super) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && self.err_is_terminal
    }

    /// Asks a question that is answered with yes or no; anything but a clear yes is a no.
    pub(super) fn ask(&self, question: &str) -> bool {
        self.error(&format!("{question} [y/N] "));
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    /// Writes the result. With `-q` only what goes with an exit code other than 0. A reader that has gone away does
    /// not matter: nothing was lost that was to be done.
    pub(super) fn result(&self, text: &str, exit: super::Exit) {
        if self.is_quiet && exit == super::Exit::Done {
            return;
        }
        if self.progress_width().is_some() {
            self.error("\r\x1b[K");
        }
        let mut out = std::io::stdout().lock();
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }

    /// Writes to standard error.
    #[expect(clippy::unused_self, reason = "whoever writes has been handed the console")]
    pub(super) fn error(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
    }
}
