//! Translates SQLite's errors for users.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Translates an error: what failed, on which file, and why.
pub(super) fn translate(action: &str, path: &Path, error: rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let (problem, hint) = match code {
        Some(ErrorCode::NotADatabase) => {
            ("it is not a SQLite file".to_owned(), Some("check the path; nothing was changed in it"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            "the file is not writable".to_owned(),
            Some("check the owner and the permissions of the file and its directory"),
        ),
        Some(ErrorCode::CannotOpen) => {
            ("it cannot be opened for writing".to_owned(), Some("check the path and the permissions of its directory"))
        }
        // A full disk can cause this too, if the shared-memory file cannot grow.
        Some(ErrorCode::SystemIoFailure) => (
            "the disk is full or faulty".to_owned(),
            Some("check the free space and the health of the disk; recorded data is safe"),
        ),
        Some(ErrorCode::DiskFull) => ("the disk is full".to_owned(), Some("free some space; nothing was lost")),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ("another process has locked the file".to_owned(), Some("wait for that process, or check what it is doing"))
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            ("the file is damaged".to_owned(), Some("`sqlite3 FILE .recover` may recover its contents"))
        }
        _ => (error.to_string(), None),
    };
    let action = format!("{action} the post store `sqlite:{}`", path.display());
    StoreError::new(action, problem).hint(hint).caused_by(error)
}
