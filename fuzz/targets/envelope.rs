//! The body of an upstream's answer, read here and by a general reader.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credira_gateway::fuzz::envelope(bytes));
