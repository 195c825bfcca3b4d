//! What is in `deploy/`, held against the real program and the tools that would take it: one file a
//! theme, one test a promise. What takes minutes is in scripts beside this.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a test that fails must stop, and tests may read the clock"
)]

#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness is made for the black-box tests, which use all of it"
)]
mod support;

mod certificate;
mod containers;
mod dashboard;
mod kubernetes;
mod manual;
mod project;
mod prometheus;
mod rules;
mod sandbox;
mod systemd;
