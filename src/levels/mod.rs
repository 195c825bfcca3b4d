//! Levels below a tenant's memory, asked by the leader of a fetch before the upstream. They hold sealed entries by sealed
//! names: opaque bytes. Knows no HTTP, no cache and no upstream.

mod account;
mod disk;
mod fences;
mod queue;
mod seal;
mod shared;

pub(crate) use account::LevelAccount;
pub(crate) use disk::{DiskLevel, Erasure, FileFailure, RecallResult, TenantDisk};
#[cfg(test)]
pub(crate) use disk::{DiskThread, RaisedPurge};
pub(crate) use seal::{EntryStamp, FleetSeal, TenantTag};
#[cfg(feature = "fuzz")]
pub(crate) use seal::SealRing;
pub(crate) use shared::{
    CallClaim, ClaimWish, EngineFailure, EngineLink, OwedPurge, PurgeLedger, RedisEngine, SharedLevel,
    SharedResult, TenantShared, script,
};
