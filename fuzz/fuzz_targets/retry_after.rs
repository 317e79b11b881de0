//! Any `Retry-After`.
#![no_main]

mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| { bodies::run("retry_after", data) });
