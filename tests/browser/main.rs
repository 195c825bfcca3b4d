//! The dashboard in a real browser: headless Chromium, driven through WebDriver. Needs Debian's
//! `chromium` and `chromium-driver`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that fails must stop, and tests may read the clock"
)]

#[expect(dead_code, unused_imports, reason = "the harness is shared, and a browser needs less of it")]
#[path = "../support/mod.rs"]
mod support;

mod actions;
mod driver;
mod figures;
mod looks;
mod page;
mod token;
