//! Opens the file: readable only by its owner, with durable writes, and with the current schema.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::error::translate;
use super::schema;
use crate::store::StoreError;

/// How long to wait for another process that is writing.
const BUSY: Duration = Duration::from_secs(30);

/// Opens the file, creates it if it does not exist, and migrates an older one. Also returns whether it was created.
///
/// # Errors
/// If it cannot be opened, is not a SQLite file, or was created by a newer version.
pub(super) fn open(path: &Path) -> Result<(Connection, bool), StoreError> {
    let failed = |problem: String| StoreError::new(format!("open the post store `sqlite:{}`", path.display()), problem);
    if path.is_dir() {
        return Err(failed("it is a directory".to_owned()).hint("name a file: `sqlite:PATH`"));
    }
    // Created before SQLite opens it, so that only its owner can read it: it contains tokens.
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let is_new = match made {
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(error.to_string()).hint("check the path and its permissions")),
    };
    let prepare = || -> rusqlite::Result<Connection> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Recorded data must survive a power failure. In WAL mode the default does not guarantee this.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.set_prepared_statement_cache_capacity(64);
        if schema::version(&connection)? <= schema::VERSION {
            schema::migrate(&mut connection)?;
        }
        Ok(connection)
    };
    let connection = prepare().map_err(|error| translate("open", path, error))?;
    let version = schema::version(&connection).map_err(|error| translate("open", path, error))?;
    if version > schema::VERSION {
        let problem = format!(
            "it was created by a newer postretry (schema {version}; this version supports up to {})",
            schema::VERSION
        );
        return Err(failed(problem).hint("update postretry on this machine"));
    }
    Ok((connection, is_new))
}
