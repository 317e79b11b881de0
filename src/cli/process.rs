//! The process of a command: what ends it, and the error if it cannot continue.
//!
//! The command has a thread of its own, and so have the signals. So a stop ends the process even if the command waits for
//! a disk, a pipe or a person, and a panic is an error like any other.

use std::panic::PanicHookInfo;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::console::{self, Notes};
use super::error::Exit;
use crate::environment::Redactor;
use crate::retry::{Shutdown, Signal, Work};

/// The name of the command's thread.
const COMMAND: &str = "command";

/// The name of the thread that listens for signals.
const SIGNALS: &str = "signals";

/// As much as the main thread has.
const STACK: usize = 8 * 1024 * 1024;

/// How long the last lines of a process may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How much of a panic's message is printed.
const MESSAGE: usize = 300;

/// What a system says when it gives no more of something, and what to do then.
const LIMITS: [(&str, &str); 4] = [
    ("Too many open files", "raise the limit on open files: `ulimit -n`, or `LimitNOFILE=` in a systemd unit"),
    ("Resource temporarily unavailable", THREADS),
    ("spawn worker thread", THREADS),
    ("Cannot allocate memory", "raise the limit on memory: `ulimit -v`, or `MemoryMax=` in a systemd unit"),
];
const THREADS: &str = "raise the limits on processes and memory: `ulimit -u` and `ulimit -v`, or `TasksMax=` and \
                       `MemoryMax=` in a systemd unit";

/// Ends the process, whatever its command waits for.
#[derive(Debug)]
pub(super) struct Ending(Sender<Exit>);

impl Ending {
    /// Listens for stop signals on a thread of its own, and ends the process when a stop leaves it no more time.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed, or the system refuses the thread.
    pub(super) fn on_signals(self, notes: Notes) -> std::io::Result<Shutdown> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shutdown = runtime.block_on(async { Shutdown::on_signals() })?;
        let obeyed = shutdown.clone();
        let obey = move || runtime.block_on(self.obey(obeyed, notes));
        thread::Builder::new().name(SIGNALS.to_owned()).spawn(obey)?;
        Ok(shutdown)
    }

    async fn obey(self, shutdown: Shutdown, notes: Notes) {
        shutdown.time_over().await;
        let is_cut_short = shutdown.work() == Some(Work::Attempts);
        let (said, is_said) = channel();
        // Standard error may be a pipe or a terminal that takes nothing more.
        let last_words = thread::Builder::new().spawn(move || {
            notes.end_progress();
            if is_cut_short {
                log::warn!("attempts were cut short; the next pass resumes them when their claims have expired");
            }
            said.send(()).unwrap_or_default();
        });
        // Where the system refuses the thread, nothing is said.
        if last_words.is_ok() {
            is_said.recv_timeout(LAST_WORDS).unwrap_or_default();
        }
        if let Some(signal) = shutdown.signal() {
            self.end(signal.into());
        }
    }

    fn end(&self, exit: Exit) {
        // If nobody listens, the process has ended already.
        self.0.send(exit).unwrap_or_default();
    }
}

impl From<Signal> for Exit {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => Self::Interrupted,
            Signal::Terminate => Self::Terminated,
        }
    }
}

/// Runs a command until it ends, or something ends the process before.
pub(super) fn run(redactor: &Redactor, command: impl FnOnce(Ending) -> Exit + Send + 'static) -> Exit {
    let (sender, ends) = channel();
    report_panics(redactor.clone(), Ending(sender.clone()));
    let ended = Ending(sender.clone());
    let body = move || ended.end(command(Ending(sender)));
    match thread::Builder::new().name(COMMAND.to_owned()).stack_size(STACK).spawn(body) {
        Ok(_) => ends.recv().unwrap_or(Exit::Error),
        Err(error) => {
            let problem = error.to_string();
            console::say(&format!("failed to start: {problem}"), limit_hint(&problem));
            Exit::Error
        }
    }
}

/// What to do about a limit of the system that this text is about.
pub(super) fn limit_hint(text: &str) -> Option<&'static str> {
    LIMITS.iter().find(|(said, _)| text.contains(said)).map(|(_, hint)| *hint)
}

/// A panic is reported in the form of all errors. One of the command itself ends the process at once, because the process
/// waits for the command. One of a task is told to whoever waits for the task, and the other tasks continue.
fn report_panics(redactor: Redactor, ending: Ending) {
    std::panic::set_hook(Box::new(move |panic| {
        let (problem, hint) = explain(panic, &redactor);
        console::say_over_progress(&problem, Some(hint));
        if thread::current().name() == Some(COMMAND) && tokio::task::try_id().is_none() {
            ending.end(Exit::Error);
        }
    }));
}

fn explain(panic: &PanicHookInfo<'_>, redactor: &Redactor) -> (String, &'static str) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let text = redactor.clean(text, MESSAGE);
    if let Some(hint) = limit_hint(&text) {
        return (format!("failed to continue: {text}"), hint);
    }
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    let hint = "this is an error in postretry; please report it. Nothing is lost: the next pass continues";
    (format!("failed unexpectedly{place}: {text}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_task_does_not_end_the_command_and_one_of_the_command_does() {
        let redactor = Redactor::default();
        let exit = run(&redactor, |_| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let task = runtime.block_on(async { tokio::spawn(async { panic!("in a task") }).await });
            if task.is_err() { Exit::Attention } else { Exit::Done }
        });
        assert_eq!(exit, Exit::Attention);
        assert_eq!(run(&redactor, |_| panic!("in the command")), Exit::Error);
        drop(std::panic::take_hook());
    }

    #[test]
    fn a_limit_of_the_system_is_named_with_what_to_raise() {
        for (text, expected) in [
            ("Too many open files (os error 24)", Some("ulimit -n")),
            ("OS can't spawn worker thread: Resource temporarily unavailable (os error 11)", Some("ulimit -u")),
            ("Cannot allocate memory (os error 12)", Some("ulimit -v")),
            ("No such file or directory (os error 2)", None),
        ] {
            let hint = limit_hint(text);
            assert!(expected.map_or(hint.is_none(), |word| hint.is_some_and(|hint| hint.contains(word))), "{text}");
        }
    }
}
