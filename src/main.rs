//! The `postretry` binary: hands the command line and the environment to [`postretry::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    postretry::cli::main(std::env::args_os(), std::env::vars_os())
}
