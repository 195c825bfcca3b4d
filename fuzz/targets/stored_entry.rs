//! What a level below memory returns.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credira_gateway::fuzz::stored_entry(bytes));
