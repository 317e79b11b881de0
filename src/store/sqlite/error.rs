//! Translates SQLite's errors for users.

use std::path::Path;

use rusqlite::ErrorCode;

use super::file::kind_of;
use super::identity::shortened;
use crate::store::StoreError;

/// How much of a message is repeated, in bytes.
const MAX_MESSAGE: usize = 300;

/// Translates an error: what failed, on which file, and why.
pub(super) fn translate(action: &str, path: &Path, error: rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let (problem, hint) = match code {
        Some(ErrorCode::NotADatabase) => {
            let problem = format!("it is not a SQLite file: {}", kind_of(path));
            (problem, Some("check the path; nothing was changed in it"))
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
        // A message can come from a trigger of another program.
        _ => (shortened(&error.to_string(), MAX_MESSAGE), None),
    };
    let action = format!("{action} the post store `sqlite:{}`", path.display());
    StoreError::new(action, problem).hint(hint).caused_by(error)
}

/// Translates the error of a write to one post. A constraint, a trigger or a limit of the file refuses only this post.
pub(super) fn translate_for_one_post(action: &str, path: &Path, error: rusqlite::Error) -> StoreError {
    let is_refusal = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    );
    let translated = translate(action, path, error);
    if is_refusal { translated.only_for_one_post() } else { translated }
}
