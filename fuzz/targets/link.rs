//! The link to a recording or transcription.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credira_gateway::fuzz::link(bytes));
