//! How a setting is declared and read.
//!
//! A [`Variable`] is declared once, with its default and meaning, by the module that needs it. A [`Reader`] reads it
//! from the [`Environment`], checks it, and collects all problems, so that they are reported together.

mod env_file;
mod reader;
mod redactor;
mod slip;
mod source;
mod variable;

use std::path::PathBuf;

pub use env_file::parse as parse_env_file;
pub use reader::Reader;
pub use redactor::{Redactor, ScopedSecret};
pub use source::{EnvFiles, Environment};
pub use variable::{Secrecy, Variable};

/// A file with settings cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read settings from `{}`: {problem}", path.display())]
pub struct EnvFileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub problem: String,
    /// What to do.
    pub hint: Option<String>,
}
