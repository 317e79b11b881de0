//! Standard output and standard error: the only place that writes to them.

mod progress_terminal;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};

use super::args::{Format, Global, When};
use super::error::{AppError, INDENT, labelled, render, render_all};
use crate::environment::Redactor;
use crate::report::{Paint, Screen, escape_hidden, wrapped};
use progress_terminal::ProgressTerminal;

/// The log target of the warnings that `-q` does not hide: without them, a wrong store looks like a store with nothing
/// to do.
pub(super) const ALWAYS: &str = "postretry::always";

/// The longest line of the log, in characters. A failure has at most 1,000.
const MAX_LOG_CHARS: usize = 2_000;

/// The longest problem or hint, and the longest line of a question, in characters.
const MAX_LINE_CHARS: usize = 2_000;

/// Where results and errors go.
#[derive(Debug)]
pub(super) struct Console {
    is_quiet: bool,
    format: Format,
    out: Stream,
    err: Stream,
    /// The progress lines. Hidden without a terminal.
    progress: MultiProgress,
    /// What is written contains no secret that it knows.
    redactor: Redactor,
}

/// One of the two streams.
#[derive(Debug, Clone, Copy)]
struct Stream {
    is_terminal: bool,
    has_color: bool,
}

impl Stream {
    fn new(is_terminal: bool, global: &Global, environment: &[(OsString, OsString)]) -> Self {
        let is = |wanted: &str, test: fn(&str) -> bool| {
            environment.iter().any(|(name, value)| name == wanted && value.to_str().is_some_and(test))
        };
        let has_color = match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                is_terminal && !is("NO_COLOR", |value| !value.is_empty()) && !is("TERM", |value| value == "dumb")
            }
        };
        Self { is_terminal, has_color }
    }
}

impl Console {
    pub(super) fn new(global: &Global, environment: &[(OsString, OsString)]) -> Self {
        let out = Stream::new(std::io::stdout().is_terminal(), global, environment);
        let err = Stream::new(std::io::stderr().is_terminal(), global, environment);
        let is_watched = err.is_terminal && !global.quiet;
        let target = if is_watched { ProgressTerminal::target() } else { ProgressDrawTarget::hidden() };
        Self {
            is_quiet: global.quiet,
            format: global.format(),
            out,
            err,
            progress: MultiProgress::with_draw_target(target),
            redactor: Redactor::default(),
        }
    }

    /// Learns the secrets, and takes them out of what is written.
    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Starts the log on standard error: warnings, more with `-v`; `RUST_LOG` takes precedence. Only our own
    /// records are written, because those of HTTP libraries may contain tokens.
    pub(super) fn start_log(&self, global: &Global, environment: &[(OsString, OsString)]) {
        let level = match (global.quiet, global.verbose) {
            (true, 0) => "error,postretry::always=warn",
            (_, 0) => "warn",
            (_, 1) => "info",
            (_, _) => "debug",
        };
        let from_environment = environment.iter().find(|(name, _)| name == "RUST_LOG");
        let filter = from_environment.and_then(|(_, value)| value.to_str()).filter(|value| !value.trim().is_empty());
        let Stream { is_terminal, has_color } = self.err;
        let redactor = self.redactor.clone();
        let started = env_logger::Builder::new()
            .parse_filters(filter.unwrap_or(level))
            .target(env_logger::Target::Pipe(Box::new(BesideProgress(self.progress.clone()))))
            .format(move |buffer, record| {
                if !record.target().starts_with("postretry") {
                    return Ok(());
                }
                let (level, paint) = match record.level() {
                    log::Level::Error => ("error:", Paint::Bad),
                    log::Level::Warn => ("warning:", Paint::Warning),
                    log::Level::Info => ("info:", Paint::Plain),
                    log::Level::Debug => ("debug:", Paint::Plain),
                    log::Level::Trace => ("trace:", Paint::Plain),
                };
                // A title or a platform's answer in it must not look like another record.
                let text = redactor.clean(&record.args().to_string(), MAX_LOG_CHARS);
                // On a terminal the time is known; in a log file it is needed.
                if is_terminal {
                    let screen = Screen { width: stderr_width(), has_color };
                    buffer.write_all(labelled(level, paint, &text, screen).as_bytes())
                } else {
                    writeln!(buffer, "{} {} {text}", buffer.timestamp_seconds(), paint.on(level, has_color))
                }
            })
            .try_init();
        // Only tests start a second log in one process. The first one stays in use.
        drop(started);
    }

    /// The size and colours for a table.
    pub(super) fn screen(&self) -> Screen {
        let width = self.out.is_terminal.then(|| width_of(&comfy_table::Table::new())).flatten();
        Screen { width, has_color: self.out.has_color }
    }

    /// The progress lines, if standard error is a terminal.
    pub(super) fn progress(&self) -> Option<MultiProgress> {
        (self.err.is_terminal && !self.is_quiet).then(|| self.progress.clone())
    }

    /// Whether results are printed only if the exit code is not 0.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Writes short notes from another task.
    pub(super) fn notes(&self) -> Notes {
        Notes { is_quiet: self.is_quiet, progress: self.progress.clone() }
    }

    /// Whether standard error is a terminal.
    pub(super) fn logs_to_terminal(&self) -> bool {
        self.err.is_terminal
    }

    /// Whether standard output is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.out.is_terminal
    }

    /// Whether a person can be asked.
    pub(super) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && self.err.is_terminal
    }

    /// Asks a yes-or-no question. Any answer other than yes means no.
    pub(super) fn ask(&self, question: &str) -> bool {
        let mut lines: Vec<String> = question.lines().map(|line| self.redactor.clean(line, MAX_LINE_CHARS)).collect();
        if let Some(last) = lines.last_mut() {
            last.push_str(" [y/N]");
        }
        let width = stderr_width();
        let lines: Vec<String> = lines.iter().map(|line| wrapped(line, width, INDENT)).collect();
        self.error(&format!("{} ", lines.join("\n")));
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    /// Writes the result. With `-q`, only if the exit code is not 0. If the reader has closed the pipe,
    /// this is not an error: the work is done.
    ///
    /// # Errors
    /// If the result cannot be written for another reason, such as a full disk.
    pub(super) fn result(&self, text: &str, exit: super::Exit) -> Result<(), AppError> {
        self.write_result(exit, |out| out.write_all(text.as_bytes()))
    }

    /// The same for a result that is written piece by piece, because it may be large.
    ///
    /// # Errors
    /// If the result cannot be written for another reason, such as a full disk.
    pub(super) fn write_result(
        &self,
        exit: super::Exit,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), AppError> {
        if self.is_quiet && exit == super::Exit::Done {
            return Ok(());
        }
        self.end_progress();
        let mut out = SafeLines { console: self, out: BufWriter::new(std::io::stdout().lock()), line: Vec::new() };
        written(write(&mut out).and_then(|()| out.flush()))
    }

    fn end_progress(&self) {
        end_progress(&self.progress);
    }

    /// A result, or a part of one, without the secrets that documents quote and, in JSON, without raw characters that a
    /// terminal acts on.
    pub(super) fn safe_result<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.format {
            Format::Table | Format::Csv => self.redactor.scrub(text),
            Format::Json => match self.redactor.scrub_json(text) {
                Cow::Borrowed(text) => escape_hidden(text),
                Cow::Owned(text) => Cow::Owned(escape_hidden(&text).into_owned()),
            },
            // Numbers under our own names.
            Format::Prometheus => Cow::Borrowed(text),
        }
    }

    /// Writes an error and its hint.
    pub(super) fn problem(&self, problem: &str, hint: Option<&str>) {
        self.problems(&[problem], hint);
    }

    /// Writes the error that ends a command, with each of its problems in a line.
    pub(super) fn fatal(&self, error: &AppError) {
        self.end_progress();
        self.problems(&error.problems(), error.hint());
    }

    fn problems<T: AsRef<str>>(&self, problems: &[T], hint: Option<&str>) {
        let clean = |text: &str| self.redactor.clean(text, MAX_LINE_CHARS);
        let problems: Vec<String> = problems.iter().map(|problem| clean(problem.as_ref())).collect();
        let screen = Screen { width: stderr_width(), has_color: self.err.has_color };
        self.error(&render_all(&problems, hint.map(clean).as_deref(), screen));
    }

    /// Writes to standard error.
    fn error(&self, text: &str) {
        drop(BesideProgress(self.progress.clone()).write_all(text.as_bytes()));
    }
}

/// Standard output, a whole line at a time, so that no secret and no string of a JSON document is in two parts.
struct SafeLines<'a, W> {
    console: &'a Console,
    out: W,
    line: Vec<u8>,
}

impl<W: Write> SafeLines<'_, W> {
    fn write_line(&mut self) -> std::io::Result<()> {
        let line = String::from_utf8_lossy(&self.line);
        let written = self.out.write_all(self.console.safe_result(&line).as_bytes());
        self.line.clear();
        written
    }
}

impl<W: Write> Write for SafeLines<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        // What looks for secrets takes longer to set up than a pass with nothing to say.
        if !self.line.is_empty() {
            self.write_line()?;
        }
        self.out.flush()
    }
}

/// The end of writing a result. If the reader has closed the pipe, this is not an error.
pub(super) fn written(end: std::io::Result<()>) -> Result<(), AppError> {
    match end {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(AppError::System { action: "write the result", problem: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Writes short notes to standard error, unless `-q` is given.
#[derive(Debug)]
pub(super) struct Notes {
    is_quiet: bool,
    progress: MultiProgress,
}

impl Notes {
    /// Removes the progress lines.
    pub(super) fn end_progress(&self) {
        end_progress(&self.progress);
    }

    /// Writes one line, or more on a narrow terminal.
    pub(super) fn write(&self, text: &str) {
        if !self.is_quiet {
            let lines = format!("{}\n", wrapped(text, stderr_width(), INDENT));
            drop(BesideProgress(self.progress.clone()).write_all(lines.as_bytes()));
        }
    }
}

/// What was being done is over, so its lines go and do not come back.
fn end_progress(progress: &MultiProgress) {
    progress.clear().unwrap_or_default();
    progress.set_draw_target(ProgressDrawTarget::hidden());
}

/// Writes an error and its hint where there is no console. A closed pipe is not an error.
pub(super) fn say(problem: &str, hint: Option<&str>) {
    say_after("", problem, hint);
}

/// The same where progress lines may stand: the cursor waits at the beginning of one, which would be left in part.
pub(super) fn say_over_progress(problem: &str, hint: Option<&str>) {
    say_after(if ProgressDrawTarget::stderr().is_hidden() { "" } else { "\r\u{1b}[J" }, problem, hint);
}

fn say_after(clear: &str, problem: &str, hint: Option<&str>) {
    let text = format!("{clear}{}", render(problem, hint, Screen { width: stderr_width(), has_color: false }));
    let mut err = std::io::stderr().lock();
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}

/// The columns of the terminal that standard error is; none if it is no terminal.
fn stderr_width() -> Option<usize> {
    width_of(comfy_table::Table::new().use_stderr())
}

/// The columns of the terminal that a table is for. A terminal that does not know them says 0.
fn width_of(table: &comfy_table::Table) -> Option<usize> {
    table.width().map(usize::from).filter(|width| *width > 0)
}

/// Standard error, without disturbing the lines that are drawn there.
struct BesideProgress(MultiProgress);

impl Write for BesideProgress {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| {
            let mut err = std::io::stderr().lock();
            err.write_all(bytes).and_then(|()| err.flush()).map(|()| bytes.len())
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
