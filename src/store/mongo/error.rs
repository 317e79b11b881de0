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

/// Why a server refuses to write one document, whatever it does with others. Its own messages can repeat what the document
/// holds.
const REFUSALS: [(i32, &str); 11] = [
    (121, "the validation rules of the collection refuse the document"),
    (11_000, "a unique index has another document with these values"),
    (10_334, TOO_LARGE),
    (17_419, TOO_LARGE),
    (17_420, TOO_LARGE),
    (17_280, "a value is too long for an index"),
    (171, "an index cannot hold a document with lists in two of its fields"),
    (28, "a value is where the path of a field needs an object"),
    (52, "the document has a field whose name begins with `$`"),
    (57, "the document has a field with a dot in its name"),
    (66, "a field that cannot be changed would change"),
];

const TOO_LARGE: &str = "the document would be larger than 16 MiB";

/// The code of a write that the server has refused.
fn refused_code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        _ => None,
    }
}

/// The error of a write that the server has refused with this code, if this concerns its document only.
pub(super) fn refused_document(action: &str, address: &str, code: i32) -> Option<StoreError> {
    const DOCUMENT: &str =
        "change the document, or the rules of its collection, so that its retry fields can be written";
    let (_, reason) = REFUSALS.into_iter().find(|(refused, _)| *refused == code)?;
    let error = StoreError::new(format!("{action} the post store at `{address}`"), format!("{reason} (code {code})"));
    Some(error.hint(DOCUMENT).only_for_one_post())
}

/// Translates the error of a write to one post. What the driver says of a refusal is left out, because it can hold the
/// document.
pub(super) fn translate_write(action: &str, address: &str, error: Error) -> StoreError {
    let refused = refused_code(&error).and_then(|code| refused_document(action, address, code));
    refused.unwrap_or_else(|| translate(action, address, error))
}

/// Whether an index cannot be created because of what a document holds.
pub(super) fn is_unindexable(error: &Error) -> bool {
    const CANNOT_INDEX: [i32; 2] = [171, 17_280];
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if CANNOT_INDEX.contains(&command.code))
}

/// Whether the server has understood a command and refuses it.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(_))
}

/// Whether the server refuses a query because it has no index of the name that was given.
pub(super) fn is_bad_hint(error: &Error) -> bool {
    const BAD_VALUE: i32 = 2;
    matches!(error.kind.as_ref(), ErrorKind::Command(command)
        if command.code == BAD_VALUE && command.message.contains("hint"))
}

/// Whether there is no collection of this name.
pub(super) fn is_missing_collection(error: &Error) -> bool {
    const NAMESPACE_NOT_FOUND: i32 = 26;
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == NAMESPACE_NOT_FOUND)
}

/// The error of a request that got no response.
pub(super) fn unanswered(action: &str, address: &str, limit: Duration) -> StoreError {
    let problem = format!("no response within {}", humantime::format_duration(limit));
    StoreError::new(format!("{action} the post store at `{address}`"), problem).hint(REACHABLE)
}

fn explain(error: &Error) -> (String, Option<&'static str>) {
    const TLS: &str = "check `tls=` and `tlsCAFile=` in `MONGODB_URI`, and the port";
    const TLS_NAME: &str = "use a host name in `MONGODB_URI` that the server's certificate names";
    const TLS_DATES: &str = "renew the server's certificate; `MONGODB_URI` is right, unless this host's clock is wrong";
    const TLS_FILES: &str = "check the files of `tlsCAFile=` and `tlsCertificateKeyFile=` in `MONGODB_URI`";
    const CLIENT_CERTIFICATE: &str = "check `tlsCertificateKeyFile=` in `MONGODB_URI`; the server needs a user in \
                                      `$external` with the certificate's subject as its name";
    const FILES: &str = "raise the limit on open files: `ulimit -n`, or `LimitNOFILE=` in a systemd unit";
    const CREDENTIALS: &str = "check the user name, the password and `authSource` in `MONGODB_URI`";
    const PRIVILEGES: &str = "the user needs to read and update posts, and to write to `postretry_runs` and \
                              `postretry_tokens`";
    match error.kind.as_ref() {
        ErrorKind::ServerSelection { message, .. } => match inner_of_selection(message) {
            Some(text) if text.contains("certificate not valid for name") => {
                ("the server's TLS certificate is for another host name".to_owned(), Some(TLS_NAME))
            }
            Some(text) if text.contains("certificate expired") || text.contains("certificate not valid yet") => {
                ("the server's TLS certificate has expired or is not valid yet".to_owned(), Some(TLS_DATES))
            }
            Some(text) if text.contains("certificate") => {
                ("the server's TLS certificate is not trusted".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("too many open files") => ("too many files are open".to_owned(), Some(FILES)),
            Some(text) if text.contains("alert") || text.contains("close_notify") => {
                ("the server refused the TLS connection".to_owned(), Some(TLS_FILES))
            }
            Some(text) if text.contains("tls") || text.contains("corrupt message") => {
                ("the TLS connection failed; the server may not use TLS".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("eof") || text.contains("end of file") || text.contains("reset") => {
                ("the server closed the connection; it may require TLS".to_owned(), Some(TLS))
            }
            Some(text) if text.contains("failed to lookup address") || text.contains("resolve") => {
                ("the host name does not exist".to_owned(), Some(REACHABLE))
            }
            Some(text) if text.contains("refused") => ("the connection was refused".to_owned(), Some(REACHABLE)),
            _ => ("no server that accepts writes responded in time".to_owned(), Some(REACHABLE)),
        },
        ErrorKind::DnsResolve { .. } => ("the host name does not exist".to_owned(), Some(REACHABLE)),
        ErrorKind::Authentication { message, .. } if message.contains("X509") => {
            ("the client certificate was refused".to_owned(), Some(CLIENT_CERTIFICATE))
        }
        ErrorKind::Command(command)
            if command.code == AUTHENTICATION_FAILED && command.message.contains("$external") =>
        {
            ("the client certificate was refused".to_owned(), Some(CLIENT_CERTIFICATE))
        }
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
        // Nothing but the client certificate is read from a file like this.
        ErrorKind::Io(io)
            if matches!(io.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) =>
        {
            (format!("the client certificate cannot be read: {io}"), Some(TLS_FILES))
        }
        ErrorKind::Io(io) => (io.to_string(), Some(REACHABLE)),
        ErrorKind::ConnectionPoolCleared { .. } => ("the connection was lost".to_owned(), Some(REACHABLE)),
        ErrorKind::InvalidTlsConfig { message, .. } => (message.clone(), Some(TLS_FILES)),
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
    fn a_refusal_names_its_reason_and_a_code_once() {
        let codes: std::collections::BTreeSet<i32> = REFUSALS.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes.len(), REFUSALS.len());
        assert!(!codes.contains(&UNAUTHORIZED) && !codes.contains(&AUTHENTICATION_FAILED));
    }

    #[test]
    fn an_error_of_the_connection_concerns_the_whole_store() {
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(!translate_write("claim a post in", "mongodb://db1", error).is_for_one_post());
        let refused = StoreError::new("claim a post in the store", "x").only_for_one_post();
        assert!(refused.for_post(&crate::post::PostId::from_text("p1")).is_for_one_post());
    }

    #[test]
    fn a_refused_command_is_named_without_its_contents() {
        let message = "not authorized on app to execute command { findAndModify: \"marketing_posts\", query: {} }";
        assert_eq!(refused_command(message), "run `findAndModify`");
        assert_eq!(refused_command("not authorized"), "do this");
    }
}
