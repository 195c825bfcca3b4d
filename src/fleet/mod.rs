//! Gateways that share an engine as one: a purge at one of them reaches all, and each knows the others.
//!
//! Each gateway reads the fleet's log of purges with a heartbeat, applies what is new, and states what it has applied.
//! What a reply means is pure ([`reading`]); what it does to the caches is done by their owner ([`FleetWorld`]).

mod heartbeat;
mod leases;
mod log;
mod members;
#[cfg(feature = "shared")]
mod probe;
mod purge;
mod reading;
#[cfg(feature = "shared")]
mod redis_leases;
#[cfg(feature = "shared")]
mod redis_log;
mod statement;
mod world;

pub(crate) use heartbeat::Fleet;
pub(crate) use leases::Leases;
#[cfg(test)]
pub(crate) use log::{BeatReply, BeatRequest, FleetLog, LogRecord, LogView, SealedPurge};
pub(crate) use members::{PurgeReach, ShownMember};
#[cfg(feature = "shared")]
pub(crate) use probe::probe_log;
#[cfg(feature = "shared")]
pub(crate) use redis_leases::RedisLeases;
#[cfg(feature = "shared")]
pub(crate) use redis_log::RedisLog;
pub(crate) use world::{FleetWorld, WorldFuture};
