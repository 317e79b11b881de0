//! The process environment, which takes precedence over an `.env` file. Neither is ever changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::EnvFileError;

/// Names and values, without empty values.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

/// Values may be secrets, so only the names are shown.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Environment {
    /// Combines `process` with `env_file`, which must exist, or with `.env` in the working directory, if it exists.
    ///
    /// # Errors
    /// Where the file cannot be read or is not in dotenvy's syntax. The error does not repeat the line, which may
    /// hold a secret.
    pub fn load(
        process: impl IntoIterator<Item = (OsString, OsString)>,
        env_file: Option<&Path>,
    ) -> Result<Self, EnvFileError> {
        let mut environment = Self::from_pairs(
            process.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        let path = env_file.unwrap_or(Path::new(".env"));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && env_file.is_none() => {
                return Ok(environment);
            }
            Err(error) => return Err(EnvFileError { path: path.to_owned(), problem: error.to_string() }),
        };
        // Windows editors write a byte order mark before the first line.
        let text = text.trim_start_matches('\u{feff}');
        for pair in dotenvy::from_read_iter(text.as_bytes()) {
            let (name, value) = pair.map_err(|error| EnvFileError {
                path: path.to_owned(),
                problem: describe_syntax_error(&error, text),
            })?;
            if !value.trim().is_empty() {
                environment.values.entry(name).or_insert(value);
            }
        }
        Ok(environment)
    }

    /// An environment with only these pairs.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
        Self { values }
    }

    /// The value of a variable, without surrounding white space.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim())
    }
}

fn describe_syntax_error(error: &dotenvy::Error, text: &str) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            match text.lines().position(|candidate| candidate.trim() == line.trim()) {
                Some(index) => format!("line {} is not `NAME=value`", index + 1),
                None => "a line is not `NAME=value`".to_owned(),
            }
        }
        _ => "it cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(process: &[(&str, &str)], file: &str) -> Result<Environment, EnvFileError> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        let process = process.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment::load(process, Some(path.path()))
    }

    #[test]
    fn the_process_wins_over_the_file_and_an_empty_value_is_none() {
        let environment = load(&[("A", "process"), ("B", "")], "A=file\nB=file\nC=\n").unwrap();
        assert_eq!(environment.value("A"), Some("process"));
        assert_eq!(environment.value("B"), Some("file"));
        assert_eq!(environment.value("C"), None);
    }

    #[test]
    fn a_value_in_single_quotes_is_taken_as_it_is() {
        let environment = load(&[], "QUOTED='p$word \\# \"x\"'\nBARE=p$word\nHASH=ab#cd\n").unwrap();
        assert_eq!(environment.value("QUOTED"), Some(r#"p$word \# "x""#));
        // `.env.example` and postretry(5) warn about this.
        assert_eq!(environment.value("BARE"), Some("p"));
        assert_eq!(environment.value("HASH"), Some("ab#cd"));
    }

    #[test]
    fn a_file_from_windows_is_read() {
        let environment = load(&[], "\u{feff}A=1\r\nB=\"two\"\r\n").unwrap();
        assert_eq!((environment.value("A"), environment.value("B")), (Some("1"), Some("two")));
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number_and_not_repeated() {
        let error = load(&[], "A=1\nTOKEN hush\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("hush"), "{error}");
    }
}
