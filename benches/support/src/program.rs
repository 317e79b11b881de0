//! Programs that are started, and what a run of one takes: time, CPU and memory.
//!
//! The kernel counts the largest memory of a process from before it became another program, so a child of a large
//! process seems to be as large as its parent. Each run is therefore started by a small process in between: the
//! benchmark itself, started again for nothing else.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::{BenchResult, Store};

/// A part of a benchmark that runs as a program of its own: its name, and what it does with its arguments.
pub type Part = (&'static str, fn(&[String]) -> BenchResult);

/// The part that measures another program.
const MEASURE: &str = "measure";

/// Runs the part that this process was started for; none if it is the benchmark itself.
pub fn run_part(parts: &[Part]) -> Option<BenchResult> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = arguments.split_first()?;
    if name == MEASURE {
        return Some(measure(rest));
    }
    let (_, part) = parts.iter().find(|(part, _)| *part == name.as_str())?;
    Some(part(rest))
}

/// Runs a program and writes its exit code, its nanoseconds, those of its CPU, and its bytes at the peak.
fn measure(arguments: &[String]) -> BenchResult {
    let (program, rest) = arguments.split_first().ok_or("no program to measure")?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let used = command.spawn()?.wait4()?;
    let wall = started.elapsed();
    let cpu = used.rusage.utime + used.rusage.stime;
    let code = used.status.code().unwrap_or(-1);
    writeln!(std::io::stdout(), "{code} {} {} {}", wall.as_nanos(), cpu.as_nanos(), used.rusage.maxrss)?;
    Ok(())
}

/// The program of this name on the PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the tools of this machine, not a setting")]
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What one run of a program took.
#[derive(Debug, Clone)]
pub struct Run {
    /// From its start to its end.
    pub wall: Duration,
    /// Of all its threads, in the program and in the kernel.
    pub cpu: Duration,
    /// The most memory that it had, in bytes.
    pub peak: u64,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Run {
    /// Reads what [`measure`] has written, of a run that succeeded.
    fn read(text: &str, stderr: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace();
        if numbers.next()? != "0" {
            return None;
        }
        let mut next = || numbers.next()?.parse::<u64>().ok();
        let (wall, cpu) = (Duration::from_nanos(next()?), Duration::from_nanos(next()?));
        Some(Self { wall, cpu, peak: next()?, stderr: stderr.to_owned() })
    }
}

/// A program with its arguments and everything that its environment has.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    settings: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Program {
    /// A program with nothing in its environment.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), arguments: Vec::new(), settings: BTreeMap::new(), folder: std::env::temp_dir() }
    }

    /// A part of this benchmark.
    ///
    /// # Errors
    /// Where the benchmark's own file cannot be found.
    pub fn part(name: &str) -> BenchResult<Self> {
        Ok(Self::new(std::env::current_exe()?).args(&[name]))
    }

    /// The same with more arguments.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The same with a setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// The same in this folder. A `.env` of the folder in which the benchmark was started must not have a say.
    #[must_use]
    pub fn inside(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    /// The same with the posts in this store.
    #[must_use]
    pub fn on(&self, store: &Store) -> Self {
        self.clone().set("POSTRETRY_STORE", store.url())
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Where it cannot be started or its exit code is not 0.
    pub fn run(&self) -> BenchResult<Run> {
        let output = Command::new(std::env::current_exe()?)
            .arg(MEASURE)
            .arg(&self.path)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.settings)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()?;
        let (told, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Run::read(&told, &stderr).ok_or_else(|| {
            let code = told.split_whitespace().next().unwrap_or("none");
            format!("`{} {}` failed, exit code {code}: {stderr}", self.path.display(), self.arguments.join(" ")).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_only_if_it_succeeded() {
        let run = Run::read("0 2000000 1000000 4096\n", "warning").unwrap();
        assert_eq!((run.wall, run.cpu, run.peak), (Duration::from_millis(2), Duration::from_millis(1), 4096));
        assert_eq!(run.stderr, "warning");
        for text in ["5 2000000 1000000 4096", "0 2000000", "", "-1 1 1 1"] {
            assert!(Run::read(text, "").is_none(), "{text}");
        }
    }
}
