//! Whether the machine has run out of what files and connections need. That is neither a post's fault nor a platform's.

use std::error::Error;
use std::fs::File;
use std::io;

use rustix::io::Errno;

/// No more open files for the process or for the machine, and no more memory for them.
const LIMITS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// Whether an error says that the machine or the process has reached a limit.
pub(super) fn is_resource_limit(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| LIMITS.contains(&errno))
}

/// The same for a connection that could not be opened. A failed look-up of a name hides its cause, so then it is tried
/// whether a file can be opened.
pub(super) fn prevents_connections(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>().filter(|error| error.raw_os_error().is_some()) {
            return is_resource_limit(error);
        }
        cause = error.source();
    }
    File::open("/dev/null").is_err_and(|error| is_resource_limit(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it did not connect")]
    struct Wrapped(#[source] io::Error);

    #[test]
    fn the_cause_of_a_failed_connection_decides_however_deep_it_lies() {
        for (errno, is_limit) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::NOMEM, true),
            (Errno::CONNREFUSED, false),
            (Errno::TIMEDOUT, false),
        ] {
            let error = Wrapped(io::Error::other(Wrapped(errno.into())));
            assert_eq!(prevents_connections(&error), is_limit, "{errno}");
        }
        assert!(!prevents_connections(&Wrapped(io::Error::other("failed to look up the address"))));
    }
}
