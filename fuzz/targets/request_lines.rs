//! The bytes of a connection, cut in other places.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credira_gateway::fuzz::request_lines(bytes));
