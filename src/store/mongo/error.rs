//! The driver's errors, said for the person who has to mend them. The driver's own texts are written for programmers,
//! and some repeat the connection string.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

/// Codes of the server that a person can do something about.
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;

const REACHABLE: &str = "check that MongoDB is reachable from this host; `MONGODB_URI` sets the address";

/// Says what failed on which address, and why.
pub(super) fn translate(action: &str, address: &str, error: Error) -> StoreError {
    let (problem, hint) = explain(&error);
    StoreError::new(format!("{action} the post store at `{address}`"), problem).hint(hint).caused_by(error)
}

/// Says what was tried on which address where no answer came at all.
pub(super) fn unanswered(action: &str, address: &str, limit: Duration) -> StoreError {
    let problem = format!("no answer came within {}", humantime::format_duration(limit));
    StoreError::new(format!("{action} the post store at `{address}`"), problem).hint(REACHABLE)
}

fn explain(error: &Error) -> (String, Option<&'static str>) {
    const TLS: &str = "check `tls=` and `tlsCAFile=` in `MONGODB_URI`, and the port";
    const CREDENTIALS: &str = "check the user name, the password and `authSource` in `MONGODB_URI`";
    const PRIVILEGES: &str = "the user needs to find and update in the posts, and to write in `postretry_runs` and \
                              `postretry_tokens`";
    match error.kind.as_ref() {
        ErrorKind::ServerSelection { message, .. } => match inner_of_selection(message) {
            Some(text) if text.contains("certificate") => {
                ("the server's TLS certificate is not trusted".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("tls") || text.contains("corrupt message") => {
                ("no TLS connection came about; the server may not speak TLS".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("eof") || text.contains("reset") => {
                ("the server closed the connection; it may want TLS".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("failed to lookup address") || text.contains("resolve") => {
                ("there is no host of that name".to_owned(), Some(REACHABLE))
            }
            Some(text) if text.contains("refused") => ("the connection was refused".to_owned(), Some(REACHABLE)),
            _ => ("no server that takes writes answered in time".to_owned(), Some(REACHABLE)),
        },
        ErrorKind::DnsResolve { .. } => ("there is no host of that name".to_owned(), Some(REACHABLE)),
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
        _ => ("it answered in a way that is not understood".to_owned(), None),
    }
}

/// What a server has refused. Its message repeats the whole command, with what is in the post.
fn refused_command(message: &str) -> String {
    let command = message.split_once("command { ").and_then(|(_, command)| command.split_once(':'));
    command.map_or_else(|| "do this".to_owned(), |(name, _)| format!("run `{name}`"))
}

/// The lower-cased text of a selection error, where the cause is only told in words.
fn inner_of_selection(message: &str) -> Option<String> {
    message.contains("rror").then(|| message.to_lowercase())
}

/// Whether the user may not do this.
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
