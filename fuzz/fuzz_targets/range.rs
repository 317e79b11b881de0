//! Any range that says how far an upload has come.
#![no_main]

mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| { bodies::run("range", data) });
