//! The dashboard in a real browser: headless Chromium, driven through WebDriver. Needs Debian's
//! `chromium` and `chromium-driver`.

mod actions;
mod driver;
mod figures;
mod looks;
mod page;
mod token;
