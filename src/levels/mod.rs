//! Levels below a tenant's memory, asked by the leader of a fetch before the upstream. They hold sealed entries by sealed
//! names: opaque bytes. Knows no HTTP, no cache and no upstream.

mod disk;
mod fences;
mod seal;

pub(crate) use disk::{DiskLevel, Erasure, FileFailure, LevelAccount, RecallResult, TenantDisk};
#[cfg(test)]
pub(crate) use disk::{DiskThread, RaisedPurge};
pub(crate) use seal::EntryStamp;
#[cfg(feature = "fuzz")]
pub(crate) use seal::SealRing;
