//! What the benchmarks share: stores full of failed posts, programs that run in turns, and tables of what they took.
//!
//! Everything that is compared is a program of its own, measured from its start to its end by the same process in the
//! same way. What stands beside postretry is a part of the benchmark, which the benchmark starts as a second program.
//! The programs take turns (A B A B …), so that what else the machine does hits all of them alike.

mod environment;
mod indexes;
mod posts;
mod program;
mod report;
mod series;
mod store;

use std::error::Error;

pub use environment::{Environment, http_client};
pub use indexes::Index;
pub use posts::State;
pub use program::{Part, Program, Run, on_path, run_part};
pub use report::{Report, print_table};
pub use series::{Series, interleave, per_second, to_f64};
pub use store::{Kind, Store};

/// The result of a step of a benchmark.
pub type BenchResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How large a benchmark is in one respect: a variable of the environment, or a default.
///
/// # Errors
/// Where the variable is not a whole number.
#[expect(clippy::disallowed_methods, reason = "a switch of the benchmarks, not a setting")]
pub fn size(variable: &str, default: usize) -> BenchResult<usize> {
    match std::env::var(variable) {
        Err(_) => Ok(default),
        Ok(text) => text.parse().map_err(|_| format!("`{variable}` is not a whole number: `{text}`").into()),
    }
}
