//! A lookup, what the upstream says to it, and what is stored of that.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credira_gateway::fuzz::exchange(bytes));
