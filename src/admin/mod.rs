//! The operators' listener: metrics, health, a dashboard, and an API that reports, purges and reloads; and the
//! command line's client of it.

mod answer;
mod client;
mod gate;
mod handler;
mod health;
mod history;
mod lookup_fields;
mod mutation;
mod openapi;
mod page;
mod plane;
mod problems;
mod purge;
mod refusal;
mod route;
mod stats;
mod totals;

pub(crate) use client::{AdminClient, AdminConnection, AdminReply, AskError, Endpoint};
pub(crate) use gate::Rules;
pub(crate) use health::{ListeningSocket, ProcessHealth, ProcessState};
pub(crate) use plane::AdminHandler;
pub(crate) use problems::ProblemWatch;
pub(crate) use purge::purge_here;
