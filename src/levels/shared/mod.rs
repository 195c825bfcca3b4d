//! The shared level: entries that a fleet of gateways shares, in an engine that it talks to with three verbs on opaque
//! bytes.
//!
//! The engine is never in the way of an answer: it is asked once by the leader of a fetch, within a few milliseconds.
//! Its failures cost hits and never change an answer. What it returns is used only if it opens under this tenant's and
//! this call's key, and is not older than a purge that this gateway knows of.

mod claim;
mod engine;
mod failure;
mod ledger;
mod level;
#[cfg(feature = "shared")]
mod link;
mod poll_claim;
#[cfg(feature = "shared")]
mod probe;
#[cfg(feature = "shared")]
mod redis_engine;
#[cfg(feature = "shared")]
mod redis_failure;
mod switch;
mod tenant_shared;

pub(crate) use claim::CallClaim;
#[cfg(test)]
pub(crate) use engine::{
    ClaimHolder, ClaimKind, ClaimMode, ClaimState, EngineAnswer, EngineQuestion, EngineWrite, SharedEngine,
};
pub(crate) use engine::{EngineFuture, PollRival};
pub(crate) use failure::EngineFailure;
pub(crate) use ledger::MissedPurges;
pub(crate) use level::SharedLevel;
#[cfg(feature = "shared")]
pub(crate) use link::{EngineLink, script};
pub(crate) use poll_claim::{PollClaim, PollWish};
#[cfg(feature = "shared")]
pub(crate) use probe::{EngineGreeting, EngineMemory, EngineProbe};
#[cfg(feature = "shared")]
pub(crate) use redis_engine::RedisEngine;
pub(crate) use tenant_shared::{ClaimWish, SharedResult, TenantShared};
