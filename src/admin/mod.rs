//! The operators' listener: metrics, health, and an API that shows, purges and reloads; and the small
//! client that the command line asks it with.

mod client;
mod gate;
mod handler;
mod health;
mod route;
mod stats;

pub use client::{Asked, ask};
pub use gate::Rules;
pub use handler::Admin;
pub use health::{Health, State};
