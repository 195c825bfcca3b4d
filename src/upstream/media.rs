//! Recordings and transcriptions: where their links may lead (`link`, `hop`) and what a response's head may say
//! (`head`), both pure; the request, and the connection that it goes over.

mod connection;
mod head;
mod hop;
mod link;
mod reported_hosts;
mod request;

pub(crate) use connection::{MAX_HELD_BYTES, MediaBody, MediaReadError, Truncated};
pub(super) use connection::{OpenedMedia, open};
pub(crate) use head::{HeadProblem, MediaHead};
pub(super) use head::{HeadRules, judge};
pub(crate) use hop::Destination;
pub(super) use hop::{Hop, HopRefused, Origins};
#[cfg(feature = "fuzz")]
pub(crate) use link::Link;
pub(super) use reported_hosts::ReportedHosts;
pub(crate) use request::{MediaRequest, Wanted};
