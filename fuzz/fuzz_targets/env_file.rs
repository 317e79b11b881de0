//! Any `.env` file.
#![no_main]

mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| { bodies::run("env_file", data) });
