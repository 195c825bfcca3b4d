//! The fleet's log of purges in the engine, as data: the request of a heartbeat, and its reply. Knows no protocol.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::Epoch;
use crate::levels::{EngineFuture, TenantTag};

/// The most records in one reply.
pub(crate) const PAGE: usize = 256;

/// The records that the log keeps.
pub(crate) const KEPT_RECORDS: u64 = 10_000;

/// What a gateway says with each heartbeat, and what it already knows.
#[derive(Debug, Clone)]
pub(crate) struct BeatRequest {
    pub(crate) name: String,
    /// What it has applied, sealed.
    pub(crate) statement: Vec<u8>,
    /// The last record that it has applied.
    pub(crate) position: u64,
    /// The newest trimmed record that it knows.
    pub(crate) trimmed: Option<u64>,
    /// The version of the generations that it knows.
    pub(crate) version: Option<u64>,
}

/// The engine's reply.
#[derive(Debug, Clone, Default)]
pub(crate) struct BeatReply {
    /// The engine's clock, since 1970.
    pub(crate) time: Duration,
    /// Every member's statement, sealed.
    pub(crate) members: Vec<(String, Vec<u8>)>,
    /// `None`: there is no log.
    pub(crate) log: Option<LogView>,
}

/// The log from a gateway's position on.
#[derive(Debug, Clone)]
pub(crate) struct LogView {
    pub(crate) epoch: Epoch,
    /// The newest record.
    pub(crate) last: u64,
    /// The newest record that the log no longer holds; 0 if it holds all.
    pub(crate) trimmed: u64,
    pub(crate) version: u64,
    /// Whether no part of it is lost.
    pub(crate) is_whole: bool,
    /// The record at the gateway's position.
    pub(crate) own: Option<LogRecord>,
    /// At most a page of the records after the position, or after the newest trimmed one if that is later.
    pub(crate) records: Vec<LogRecord>,
    /// Each tenant's newest trimmed record, if `trimmed` is not the one already known.
    pub(crate) floors: Vec<(TenantTag, u64)>,
    /// All generations, if `version` is not the one already known.
    pub(crate) generations: HashMap<TenantTag, [u8; 16]>,
}

/// A record, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogRecord {
    pub(crate) tag: TenantTag,
    /// A digest of all records of the epoch up to this one: who has the same has the same history.
    pub(crate) chain: [u8; 8],
    pub(crate) sealed: Vec<u8>,
}

/// A purge to be appended.
#[derive(Debug, Clone)]
pub(crate) struct SealedPurge {
    pub(crate) tag: TenantTag,
    pub(crate) sealed: Vec<u8>,
}

/// The log in an engine. Its clients set their own deadlines.
pub(crate) trait FleetLog: Send + Sync {
    /// Says what a gateway has applied, and asks what is new.
    fn beat(&self, request: BeatRequest) -> EngineFuture<'_, BeatReply>;

    /// Appends a record, with a new generation of its tag. Its number, or `None` if the epoch is another one by now.
    fn announce(
        &self,
        epoch: Epoch,
        record: SealedPurge,
        generation: Option<[u8; 16]>,
    ) -> EngineFuture<'_, Option<u64>>;

    /// Begins an epoch with an empty log, unless it is another one than was seen by now. Whether it has begun.
    fn begin(&self, seen: Option<Epoch>, epoch: Epoch, generation: [u8; 16]) -> EngineFuture<'_, bool>;

    /// Adds generations of tenants that have none.
    fn add_generations(&self, generations: Vec<(TenantTag, [u8; 16])>) -> EngineFuture<'_, ()>;

    /// Replaces a member's statement.
    fn state(&self, name: String, statement: Vec<u8>) -> EngineFuture<'_, ()>;

    /// Removes a member.
    fn remove(&self, name: String) -> EngineFuture<'_, ()>;

    /// Connects anew for the next request.
    fn disconnect(&self);
}
