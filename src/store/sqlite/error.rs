//! SQLite's errors, said for the person who has to mend them.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Says what failed on which file, and why.
pub(super) fn translate(action: &str, path: &Path, error: rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let (problem, hint) = match code {
        Some(ErrorCode::NotADatabase) => {
            ("it is not a SQLite file".to_owned(), Some("check the path; nothing was changed in it"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            ("it may not be written".to_owned(), Some("check who owns the file and its directory"))
        }
        Some(ErrorCode::CannotOpen) => (
            "it cannot be opened for writing".to_owned(),
            Some("check the path, its directory and who may write there"),
        ),
        // A full disk shows here too, where what is shared between processes cannot grow.
        Some(ErrorCode::SystemIoFailure) => (
            "the disk is full or fails".to_owned(),
            Some("look at the disk's space and health; what was recorded is safe"),
        ),
        Some(ErrorCode::DiskFull) => ("the disk is full".to_owned(), Some("make room; nothing was lost")),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ("another process keeps it locked".to_owned(), Some("wait for that process, or look what it does"))
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            ("the file is damaged".to_owned(), Some("`sqlite3 FILE .recover` may save what is in it"))
        }
        _ => (error.to_string(), None),
    };
    let action = format!("{action} the post store `sqlite:{}`", path.display());
    StoreError::new(action, problem).hint(hint).caused_by(error)
}
