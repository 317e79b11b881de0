//! Translates the driver's errors for users. The driver's own texts are written for programmers,
//! and some repeat the connection string.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

/// Server codes with a useful hint.
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;

const REACHABLE: &str = "check that MongoDB is reachable from this host; `MONGODB_URI` sets the address";

/// Translates an error: what failed, at which address, and why.
pub(super) fn translate(action: &str, address: &str, error: Error) -> StoreError {
    let (problem, hint) = explain(&error);
    StoreError::new(format!("{action} the post store at `{address}`"), problem).hint(hint).caused_by(error)
}

/// Whether the server refuses a query because it has no index of the name that was given.
pub(super) fn is_bad_hint(error: &Error) -> bool {
    const BAD_VALUE: i32 = 2;
    matches!(error.kind.as_ref(), ErrorKind::Command(command)
        if command.code == BAD_VALUE && command.message.contains("hint"))
}

/// The error of a request that got no response.
pub(super) fn unanswered(action: &str, address: &str, limit: Duration) -> StoreError {
    let problem = format!("no response within {}", humantime::format_duration(limit));
    StoreError::new(format!("{action} the post store at `{address}`"), problem).hint(REACHABLE)
}

fn explain(error: &Error) -> (String, Option<&'static str>) {
    const TLS: &str = "check `tls=` and `tlsCAFile=` in `MONGODB_URI`, and the port";
    const CREDENTIALS: &str = "check the user name, the password and `authSource` in `MONGODB_URI`";
    const PRIVILEGES: &str = "the user needs to read and update posts, and to write to `postretry_runs` and \
                              `postretry_tokens`";
    match error.kind.as_ref() {
        ErrorKind::ServerSelection { message, .. } => match inner_of_selection(message) {
            Some(text) if text.contains("certificate") => {
                ("the server's TLS certificate is not trusted".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("tls") || text.contains("corrupt message") => {
                ("the TLS connection failed; the server may not use TLS".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("eof") || text.contains("reset") => {
                ("the server closed the connection; it may require TLS".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("failed to lookup address") || text.contains("resolve") => {
                ("the host name does not exist".to_owned(), Some(REACHABLE))
            }
            Some(text) if text.contains("refused") => ("the connection was refused".to_owned(), Some(REACHABLE)),
            _ => ("no server that accepts writes responded in time".to_owned(), Some(REACHABLE)),
        },
        ErrorKind::DnsResolve { .. } => ("the host name does not exist".to_owned(), Some(REACHABLE)),
        ErrorKind::Authentication { .. } => ("the user name or the password was refused".to_owned(), Some(CREDENTIALS)),
        ErrorKind::Command(command) if command.code == AUTHENTICATION_FAILED => {
            ("the user name or the password was refused".to_owned(), Some(CREDENTIALS))
        }
        ErrorKind::Command(command) if command.code == UNAUTHORIZED => {
            (format!("it does not allow the user to {}", refused_command(&command.message)), Some(PRIVILEGES))
        }
        ErrorKind::Command(command) => (format!("{} (code {})", command.message, command.code), None),
        ErrorKind::Write(WriteFailure::WriteError(write)) => (format!("{} (code {})", write.message, write.code), None),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
            (format!("the write was not confirmed by a majority: {}", concern.message), None)
        }
        ErrorKind::Io(io) => (io.to_string(), Some(REACHABLE)),
        ErrorKind::ConnectionPoolCleared { .. } => ("the connection was lost".to_owned(), Some(REACHABLE)),
        ErrorKind::InvalidTlsConfig { message, .. } => (message.clone(), None),
        ErrorKind::InvalidArgument { .. } => ("the connection string cannot be used".to_owned(), None),
        _ => ("the server returned an unexpected response".to_owned(), None),
    }
}

/// The command that a server has refused. The server's message repeats the whole command with the post's content.
fn refused_command(message: &str) -> String {
    let command = message.split_once("command { ").and_then(|(_, command)| command.split_once(':'));
    command.map_or_else(|| "do this".to_owned(), |(name, _)| format!("run `{name}`"))
}

/// The lower-case text of a selection error, which gives its cause only in words.
fn inner_of_selection(message: &str) -> Option<String> {
    message.contains("rror").then(|| message.to_lowercase())
}

/// Whether the user has no privilege for this.
pub(super) fn is_unauthorized(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == UNAUTHORIZED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_command_is_named_without_its_contents() {
        let message = "not authorized on app to execute command { findAndModify: \"marketing_posts\", query: {} }";
        assert_eq!(refused_command(message), "run `findAndModify`");
        assert_eq!(refused_command("not authorized"), "do this");
    }
}
