//! The process environment, which takes precedence over an `.env` file. Neither is ever changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::env_file;
use super::slip::slip;
use super::{EnvFileError, Variable};

/// Names and values, without empty values.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// Declared variables whose values are not valid UTF-8.
    unreadable: BTreeSet<String>,
}

/// Values may be secrets, so only the names are shown.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// The files that settings can be read from. At most one is read.
#[derive(Debug, Clone, Copy)]
pub struct EnvFiles<'a> {
    /// Read instead of the others. It must exist.
    pub named: Option<&'a Path>,
    /// Read if it exists.
    pub local: &'a Path,
    /// Read if it exists and there is no local file. Not every user can read it, because it has secrets.
    pub system: Option<&'a Path>,
}

impl<'a> EnvFiles<'a> {
    /// The file that is there, and its bytes.
    fn read(&self) -> Result<Option<(&'a Path, Vec<u8>)>, EnvFileError> {
        if let Some(path) = self.named {
            return match std::fs::read(path) {
                Ok(bytes) => Ok(Some((path, bytes))),
                Err(error) => Err(EnvFileError { path: path.to_owned(), problem: error.to_string(), hint: None }),
            };
        }
        for path in [Some(self.local), self.system].into_iter().flatten() {
            match std::fs::read(path) {
                Ok(bytes) => return Ok(Some((path, bytes))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied && Some(path) == self.system => {
                    let problem = readers(path).map(|readers| format!("only {readers} can read it"));
                    return Err(EnvFileError {
                        path: path.to_owned(),
                        problem: problem.unwrap_or_else(|| error.to_string()),
                        hint: Some("run the command as root: `sudo postretry …`".to_owned()),
                    });
                }
                Err(error) => {
                    return Err(EnvFileError { path: path.to_owned(), problem: error.to_string(), hint: None });
                }
            }
        }
        Ok(None)
    }
}

/// Who can read a file that we cannot, as far as its permissions say.
fn readers(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    let (mode, is_roots) = (metadata.mode(), metadata.uid() == 0);
    // Then something else keeps us away.
    if mode & 0o004 != 0 {
        return None;
    }
    let owner = (!is_roots && mode & 0o400 != 0).then_some("its owner");
    let group = (mode & 0o040 != 0).then_some("its group");
    Some(["root"].into_iter().chain(owner).chain(group).collect::<Vec<_>>().join(" and "))
}

impl Environment {
    /// Combines `process` with one of the files. Lines of a file that cannot be parsed matter only if they set one of
    /// the declared variables.
    ///
    /// # Errors
    /// If a file cannot be read or parsed. The error does not repeat the line, which may contain a secret.
    pub fn load(
        process: impl IntoIterator<Item = (OsString, OsString)>,
        files: &EnvFiles<'_>,
        declared: impl IntoIterator<Item = &'static Variable>,
    ) -> Result<Self, EnvFileError> {
        let declared: BTreeSet<&str> = declared.into_iter().map(|variable| variable.name).collect();
        let mut environment = Self::default();
        for (name, value) in process {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) if value.trim().is_empty() => {}
                Ok(value) => drop(environment.values.insert(name, value)),
                Err(_) if declared.contains(name.as_str()) => drop(environment.unreadable.insert(name)),
                Err(_) => {}
            }
        }
        let Some((path, bytes)) = files.read()? else { return Ok(environment) };
        let failed = |problem: String| EnvFileError { path: path.to_owned(), problem, hint: None };
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            return Err(failed("it is in UTF-16; save it in UTF-8".to_owned()));
        }
        // In a text that is not UTF-8 this character stands for what is not.
        let is_text = std::str::from_utf8(&bytes).is_ok();
        let text = String::from_utf8_lossy(&bytes);
        for (name, value) in env_file::parse(&text, |name| declared.contains(name)).map_err(failed)? {
            if environment.values.contains_key(&name) {
                continue;
            }
            if !is_text && declared.contains(name.as_str()) && value.contains(char::REPLACEMENT_CHARACTER) {
                environment.unreadable.insert(name);
            } else if !value.trim().is_empty() {
                environment.values.insert(name, value);
            }
        }
        Ok(environment)
    }

    /// An environment with only these pairs.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
        Self { values, unreadable: BTreeSet::new() }
    }

    /// The value of a variable, without surrounding white space.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim())
    }

    /// The declared variables whose values are not valid UTF-8.
    pub(super) fn unreadable(&self) -> &BTreeSet<String> {
        &self.unreadable
    }

    /// The names that are probably misspelt, each with the declared variable that was meant and that is not set.
    pub fn misspelt(&self, declared: impl Iterator<Item = &'static Variable>) -> Vec<(&str, &'static str)> {
        let declared: Vec<&'static str> = declared.map(|variable| variable.name).collect();
        let unset: Vec<&'static str> = declared.iter().copied().filter(|name| self.value(name).is_none()).collect();
        let meant = |written: &str| {
            let slips = unset.iter().filter_map(|name| Some((slip(written, name)?, *name)));
            slips.min().map(|(_, name)| name)
        };
        let others = self.values.keys().map(String::as_str).filter(|name| !declared.contains(name));
        others.filter_map(|written| Some((written, meant(written)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static DECLARED: [Variable; 6] = [
        Variable::open("", "A", "", ""),
        Variable::open("", "B", "", ""),
        Variable::secret("", "TOKEN", ""),
        Variable::open("", "MAX_POST_RETRIES", "", ""),
        Variable::open("", "POST_RETRY_GAP", "", ""),
        Variable::open("", "POST_RETRY_POLL", "", ""),
    ];

    fn files(named: &Path) -> EnvFiles<'_> {
        EnvFiles { named: Some(named), local: Path::new("/nowhere/.env"), system: None }
    }

    fn load(process: &[(&str, &str)], file: impl AsRef<[u8]>) -> Result<Environment, EnvFileError> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        let process = process.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment::load(process, &files(path.path()), &DECLARED)
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
    fn a_line_of_ours_that_is_none_is_named_by_its_number_and_not_repeated() {
        let error = load(&[], "A=1\nTOKEN hush\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("hush"), "{error}");
        let others = load(&[], "SOMETHING else\nAPP_NAME=Bob's shop\nA=1\n").unwrap();
        assert_eq!((others.value("A"), others.value("APP_NAME")), (Some("1"), Some("Bob's shop")));
    }

    #[test]
    fn a_value_of_ours_that_is_not_utf_8_is_remembered() {
        use std::os::unix::ffi::OsStringExt;
        let latin = |name: &str| (OsString::from(name), OsString::from_vec(b"caf\xE9".to_vec()));
        let path = tempfile::NamedTempFile::new().unwrap();
        let process = [latin("A"), latin("APP_NAME")];
        let environment = Environment::load(process, &files(path.path()), &DECLARED).unwrap();
        assert_eq!(environment.unreadable().iter().collect::<Vec<_>>(), ["A"]);

        let environment = load(&[], b"APP_NAME=caf\xE9\nA=1\nB=caf\xE9\n").unwrap();
        assert_eq!(environment.unreadable().iter().collect::<Vec<_>>(), ["B"]);
        assert_eq!(environment.value("A"), Some("1"));
        // What the process sets takes the place of the line.
        let environment = load(&[("B", "set")], b"B=caf\xE9\n").unwrap();
        assert!(environment.unreadable().is_empty() && environment.value("B") == Some("set"));
        assert!(load(&[], b"\xFF\xFEA\0=\x001\0").is_err());
    }

    #[test]
    fn the_file_of_the_system_is_read_where_there_is_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (local, system) = (folder.path().join(".env"), folder.path().join("system.env"));
        let files = EnvFiles { named: None, local: &local, system: Some(&system) };
        let value = || {
            let environment = Environment::load([], &files, &DECLARED).unwrap();
            environment.value("A").map(str::to_owned)
        };
        assert_eq!(value(), None);
        std::fs::write(&system, "A=system\n").unwrap();
        assert_eq!(value().as_deref(), Some("system"));
        std::fs::write(&local, "B=local\n").unwrap();
        assert_eq!(value(), None);
    }

    #[test]
    fn who_can_read_a_file_is_read_from_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let readers_with = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            readers(file.path())
        };
        let is_roots = file.path().metadata().unwrap().uid() == 0;
        assert_eq!(readers_with(0o600).as_deref(), Some(if is_roots { "root" } else { "root and its owner" }));
        assert_eq!(readers_with(0o040).as_deref(), Some("root and its group"));
        assert_eq!(readers_with(0o000).as_deref(), Some("root"));
        assert_eq!(readers_with(0o644), None);
        assert_eq!(readers(Path::new("/nowhere/settings")), None);
    }

    #[test]
    fn a_misspelt_name_is_found_unless_the_right_one_is_set() {
        let environment = load(&[("MAX_POST_RETIRES", "3")], "POST_RETRY_GPA=1s\nPOST_RETRY_PULL=\nAPP=x\n").unwrap();
        let expected = [("MAX_POST_RETIRES", "MAX_POST_RETRIES"), ("POST_RETRY_GPA", "POST_RETRY_GAP")];
        assert_eq!(environment.misspelt(DECLARED.iter()), expected);
        let environment = load(&[("MAX_POST_RETIRES", "3"), ("MAX_POST_RETRIES", "3")], "").unwrap();
        assert_eq!(environment.misspelt(DECLARED.iter()), []);
    }
}
