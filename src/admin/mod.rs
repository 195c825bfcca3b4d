//! The operators' listener: metrics and health, and the small client that the command line asks it
//! with.

mod client;
mod handler;
mod readiness;

pub use client::{Asked, ask};
pub use handler::Admin;
pub use readiness::{Readiness, State};
