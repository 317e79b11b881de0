//! Any document of the application's, as a post.
#![no_main]

mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| { bodies::run("document", data) });
