//! Levels below a tenant's memory, asked by the leader of a fetch before the upstream. They hold sealed entries by sealed
//! names: opaque bytes. Knows no HTTP, no cache and no upstream.

mod account;
mod disk;
mod fences;
mod queue;
mod seal;
mod shared;

pub(crate) use account::LevelAccount;
pub(crate) use disk::{
    DirectoryState, DiskLevel, Erasure, FileFailure, RecallResult, TenantDisk, probe_directory,
};
#[cfg(test)]
pub(crate) use disk::{DiskThread, RaisedPurge};
#[cfg(feature = "fuzz")]
pub(crate) use seal::SealRing;
#[cfg(test)]
pub(crate) use seal::SealedName;
pub(crate) use seal::{EntryStamp, FleetSeal, OpenedEntry, TenantTag};
pub(crate) use shared::{
    CallClaim, ClaimWish, EngineFailure, EngineFuture, PollClaim, PollRival, PollWish, SharedLevel,
    SharedResult, TenantShared,
};
#[cfg(test)]
pub(crate) use shared::{
    ClaimHolder, ClaimKind, ClaimMode, ClaimState, EngineAnswer, EngineQuestion, EngineWrite, MissedPurges,
    SharedEngine,
};
#[cfg(feature = "shared")]
pub(crate) use shared::{EngineGreeting, EngineLink, EngineMemory, EngineProbe, RedisEngine, script};
