//! A `Range` or `Content-Range`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credira_gateway::fuzz::range(bytes));
