//! Any row of the embedded store, as a post.
#![no_main]

mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| { bodies::run("row", data) });
