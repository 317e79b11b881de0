//! Opens the file: readable only by its owner, with durable writes, and with the current schema.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::translate;
use super::foreign::{self, FileError};
use super::{row, schema};
use crate::post::plain_cause;
use crate::store::StoreError;

/// How long to wait for another process that is writing.
const BUSY: Duration = Duration::from_secs(30);

/// The permission bits by which the group or everybody can read a file.
const READABLE_BY_OTHERS: u32 = 0o044;

/// A file that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Whether it was created.
    pub(super) is_new: bool,
    /// The tables of another program in the file, if the posts were added to them.
    pub(super) other_tables: Vec<String>,
}

/// Opens the file, creates it if it does not exist, and migrates an older one.
///
/// # Errors
/// If it cannot be opened, is not a SQLite file, was created by a newer version, or is another program's.
pub(super) fn open(path: &Path) -> Result<Opened, StoreError> {
    let failed = |problem: String| StoreError::new(format!("open the post store `sqlite:{}`", path.display()), problem);
    if let Ok(found) = path.metadata()
        && !found.is_file()
    {
        let kind = if found.is_dir() { "a directory" } else { "not a regular file" };
        return Err(failed(format!("it is {kind}")).hint("name a file: `sqlite:PATH`"));
    }
    // Created before SQLite opens it, so that only its owner can read it: it contains tokens.
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let is_new = match made {
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => {
            let problem = plain_cause(&error.to_string());
            return Err(failed(problem).hint("check the path and its permissions"));
        }
    };
    match connect(path) {
        Ok((connection, other_tables)) => Ok(Opened { connection, is_new, other_tables }),
        Err(FileError::Sqlite(error)) => Err(translate("open", path, error)),
        Err(FileError::Unsuitable { problem, hint }) => Err(failed(problem).hint(hint)),
    }
}

fn connect(path: &Path) -> Result<(Connection, Vec<String>), FileError> {
    // SQLite takes a name such as `:memory:` for something other than a file, but not if it begins with a folder.
    let name = if path.is_relative() { Path::new(".").join(path) } else { path.to_owned() };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(name, flags)?;
    connection.busy_timeout(BUSY)?;
    let is_current = schema::is_current(&connection)?;
    // A file that cannot be used is not changed, not even its journal mode.
    let other_tables = if is_current { Vec::new() } else { foreign::check(&connection)? };
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Recorded data must survive a power failure. In WAL mode the default does not guarantee this.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    row::define_is_readable(&connection)?;
    if !is_current {
        schema::migrate(&mut connection)?;
    }
    Ok((connection, other_tables))
}

/// The file and the two that SQLite keeps beside it.
fn files(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm"].into_iter().map(move |suffix| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// A warning if other users can read the file.
pub(super) fn exposure(path: &Path) -> Option<String> {
    let is_exposed =
        |file: &PathBuf| file.metadata().is_ok_and(|found| found.permissions().mode() & READABLE_BY_OTHERS != 0);
    let exposed: Vec<String> = files(path).filter(is_exposed).map(|file| format!("'{}'", file.display())).collect();
    (!exposed.is_empty()).then(|| {
        format!(
            "other users of this machine can read `{}`, which contains access tokens; run `chmod 600 {}`",
            path.display(),
            exposed.join(" ")
        )
    })
}

/// What a file that is no database begins like, as far as that is easily told.
pub(super) fn kind_of(path: &Path) -> &'static str {
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    if read.is_err() {
        return "it cannot be read";
    }
    if start.starts_with(b"\x1F\x8B") {
        return "it begins like a gzip file";
    }
    if start.starts_with(b"PK\x03\x04") {
        return "it begins like a zip file";
    }
    let text = match std::str::from_utf8(&start) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => {
            start.get(..error.valid_up_to()).and_then(|whole| std::str::from_utf8(whole).ok()).unwrap_or_default()
        }
        Err(_) => return "its first bytes are not SQLite's",
    };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return "its first bytes are not SQLite's";
    }
    if text.trim_start().starts_with(['{', '[']) { "it begins like JSON" } else { "it begins like a text" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_database_says_what_it_begins_like() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}ä and more of this", "x".repeat(511));
        for (bytes, expected) in [
            (b"\x1F\x8B\x08\0 and so on".as_slice(), "it begins like a gzip file"),
            (b"PK\x03\x04 and so on".as_slice(), "it begins like a zip file"),
            (b" {\"posts\": []}".as_slice(), "it begins like JSON"),
            (b"id,title\n1,A title\n".as_slice(), "it begins like a text"),
            (long.as_bytes(), "it begins like a text"),
            (b"\x7FELF\x02\x01\x01\0".as_slice(), "its first bytes are not SQLite's"),
            (b"\xFF\xFE\x00".as_slice(), "its first bytes are not SQLite's"),
        ] {
            let path = folder.path().join("posts.db");
            std::fs::write(&path, [bytes, b"\n".repeat(1024).as_slice()].concat()).unwrap();
            assert_eq!(kind_of(&path), expected);
            let error = open(&path).unwrap_err();
            assert!(error.to_string().ends_with(&format!("it is not a SQLite file: {expected}")), "{error}");
        }
        assert_eq!(kind_of(&folder.path().join("none")), "it cannot be read");
    }

    #[test]
    fn every_file_that_others_can_read_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posts.db");
        assert_eq!(exposure(&path), None);
        let beside = folder.path().join("posts.db-wal");
        for (file, mode) in [(&path, 0o660), (&beside, 0o604)] {
            std::fs::write(file, "x").unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let warning = exposure(&path).unwrap();
        let command = format!("`chmod 600 '{}' '{}'`", path.display(), beside.display());
        assert!(warning.ends_with(&command), "{warning}");
        for file in [&path, &beside] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert_eq!(exposure(&path), None);
    }
}
