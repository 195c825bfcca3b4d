//! The real program over real sockets, and the files shipped with it. One suite per folder, one file per theme, one
//! test per promise, one harness in `support/`.

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
