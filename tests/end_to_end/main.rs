//! The real program over real sockets, and what is shipped with it. One suite a folder, one file a theme, one
//! test a promise, one harness in `support/`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a test that fails must stop, and tests may read the clock"
)]

mod support;

mod blackbox;
mod browser;
mod deploy;
mod faults;
