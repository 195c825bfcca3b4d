//! The operators' listener: metrics, health, a dashboard, and an API that shows, purges and reloads;
//! and the small client that the command line asks it with.

mod answer;
mod client;
mod gate;
mod handler;
mod health;
mod history;
mod openapi;
mod page;
mod purge;
mod refusal;
mod route;
mod stats;
mod totals;

pub use client::{Asked, ask};
pub use gate::Rules;
pub use handler::Admin;
pub use health::{Health, Socket, State};
pub use history::History;
