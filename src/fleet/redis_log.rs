//! The log on Valkey or Redis: one script for each request, on a connection of the heartbeat's own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::Script;

use super::log::{BeatReply, BeatRequest, FleetLog, KEPT_RECORDS, LogRecord, LogView, PAGE, SealedPurge};
use crate::domain::{Epoch, hex};
use crate::levels::{EngineFailure, EngineFuture, EngineLink, RedisEngine, TenantTag, script};

static BEAT: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/beat.lua")));
static ANNOUNCE: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/announce.lua")));
static BEGIN: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/begin.lua")));
static ADD: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/add_generations.lua")));

/// How long the engine may take for an answer: longer than lookups wait, since a page of the log is larger than a call.
const ANSWER: Duration = Duration::from_secs(2);

/// The reply of the script, field by field.
type BeatFields = (
    u64,
    u64,
    Vec<(String, Vec<u8>)>,
    Option<Vec<String>>,
    Option<Vec<Option<Vec<u8>>>>,
    Option<Vec<Vec<u8>>>,
    Option<HashMap<String, u64>>,
    Option<HashMap<String, String>>,
);

/// The log in the engine of a shared level.
pub(crate) struct RedisLog {
    engine: Arc<RedisEngine>,
    link: ArcSwapOption<EngineLink>,
    /// What all its keys have in common, so that they are in one slot of a cluster.
    slot: String,
}

impl RedisLog {
    pub(crate) fn new(engine: Arc<RedisEngine>) -> Self {
        Self::in_slot(engine, "fleet".into())
    }

    /// A log that no gateway reads.
    pub(super) fn apart(engine: Arc<RedisEngine>) -> Self {
        Self::in_slot(engine, format!("probe-{:016x}", fastrand::u64(..)))
    }

    fn in_slot(engine: Arc<RedisEngine>, slot: String) -> Self {
        Self { engine, link: ArcSwapOption::empty(), slot }
    }

    /// Erases a log that no gateway reads.
    pub(super) async fn erase(&self) -> Result<(), EngineFailure> {
        let mut command = redis::cmd("DEL");
        command.arg(self.log_keys().as_slice()).arg(self.key("members"));
        self.link().await?.query::<u64>(&command).await.map(drop)
    }

    async fn link(&self) -> Result<Arc<EngineLink>, EngineFailure> {
        if let Some(link) = self.link.load_full() {
            return Ok(link);
        }
        let link = Arc::new(EngineLink::connect(&self.engine.settings(), ANSWER).await?);
        self.link.store(Some(Arc::clone(&link)));
        Ok(link)
    }

    /// One of the fleet's own keys: all in one slot of a cluster.
    fn key(&self, what: &str) -> String {
        format!("{}:{{{}}}:{what}", self.engine.settings().prefix, self.slot)
    }

    fn log_keys(&self) -> [String; 4] {
        ["head", "log", "floors", "generations"].map(|what| self.key(what))
    }
}

impl FleetLog for RedisLog {
    fn beat(&self, request: BeatRequest) -> EngineFuture<'_, BeatReply> {
        Box::pin(async move {
            let link = self.link().await?;
            let known =
                |number: Option<u64>| number.map_or_else(|| "-1".to_owned(), |number| number.to_string());
            let mut beat = BEAT.prepare_invoke();
            for key in self.log_keys() {
                beat.key(key);
            }
            beat.key(self.key("members")).arg(request.name).arg(request.statement).arg(request.position);
            beat.arg(known(request.trimmed)).arg(known(request.version)).arg(PAGE);
            reply(link.run(&beat).await?).ok_or(EngineFailure::Protocol)
        })
    }

    fn announce(
        &self,
        epoch: Epoch,
        record: SealedPurge,
        generation: Option<[u8; 16]>,
    ) -> EngineFuture<'_, Option<u64>> {
        Box::pin(async move {
            let link = self.link().await?;
            let mut announce = ANNOUNCE.prepare_invoke();
            for key in self.log_keys() {
                announce.key(key);
            }
            let generation = generation.map(|generation| hex(&generation)).unwrap_or_default();
            announce.arg(epoch.number).arg(random(epoch)).arg(hex(&record.tag.0)).arg(record.sealed);
            announce.arg(KEPT_RECORDS).arg(generation);
            let number: u64 = link.run(&announce).await?;
            Ok(Some(number).filter(|number| *number > 0))
        })
    }

    fn begin(&self, seen: Option<Epoch>, epoch: Epoch, generation: [u8; 16]) -> EngineFuture<'_, bool> {
        Box::pin(async move {
            let link = self.link().await?;
            let mut begin = BEGIN.prepare_invoke();
            for key in self.log_keys() {
                begin.key(key);
            }
            let (number, part) = seen.map(|seen| (seen.number.to_string(), random(seen))).unwrap_or_default();
            begin.arg(number).arg(part).arg(epoch.number).arg(random(epoch));
            begin.arg(hex(&TenantTag::ALL.0)).arg(hex(&generation));
            Ok(link.run::<u8>(&begin).await? == 1)
        })
    }

    fn add_generations(&self, generations: Vec<(TenantTag, [u8; 16])>) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let link = self.link().await?;
            let mut add = ADD.prepare_invoke();
            add.key(self.key("head")).key(self.key("generations"));
            for (tag, generation) in generations {
                add.arg(hex(&tag.0)).arg(hex(&generation));
            }
            link.run::<u8>(&add).await.map(drop)
        })
    }

    fn state(&self, name: String, statement: Vec<u8>) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let link = self.link().await?;
            let mut command = redis::cmd("HSET");
            command.arg(self.key("members")).arg(name).arg(statement);
            link.query::<u64>(&command).await.map(drop)
        })
    }

    fn remove(&self, name: String) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let link = self.link().await?;
            let mut command = redis::cmd("HDEL");
            command.arg(self.key("members")).arg(name);
            link.query::<u64>(&command).await.map(drop)
        })
    }

    fn disconnect(&self) {
        self.link.store(None);
    }
}

fn random(epoch: Epoch) -> String {
    hex(&epoch.random.to_be_bytes())
}

/// The reply, if it makes sense.
fn reply(fields: BeatFields) -> Option<BeatReply> {
    let (seconds, micros, members, head, own, records, floors, generations) = fields;
    let time = Duration::from_secs(seconds) + Duration::from_micros(micros);
    let Some(head) = head else { return Some(BeatReply { time, members, log: None }) };
    let [number, random, last, trimmed, version, whole] = <[String; 6]>::try_from(head).ok()?;
    let epoch = Epoch { number: number.parse().ok()?, random: u64::from_str_radix(&random, 16).ok()? };
    let own = match own?.pop()? {
        Some(record) => Some(parse_record(&record)?),
        None => None,
    };
    let floors = floors?.into_iter().map(|(tag, number)| Some((parse_tag(tag.as_bytes())?, number)));
    let generations = generations?
        .into_iter()
        .map(|(tag, generation)| Some((parse_tag(tag.as_bytes())?, parse_tag(generation.as_bytes())?.0)));
    let log = LogView {
        epoch,
        last: last.parse().ok()?,
        trimmed: trimmed.parse().ok()?,
        version: version.parse().ok()?,
        is_whole: whole == "1",
        own,
        records: records?.iter().map(|record| parse_record(record)).collect::<Option<_>>()?,
        floors: floors.collect::<Option<_>>()?,
        generations: generations.collect::<Option<_>>()?,
    };
    Some(BeatReply { time, members, log: Some(log) })
}

fn parse_record(bytes: &[u8]) -> Option<LogRecord> {
    let (tag, rest) = bytes.split_at_checked(2 * 16)?;
    let (chain, sealed) = rest.split_at_checked(2 * 8)?;
    Some(LogRecord { tag: parse_tag(tag)?, chain: parse_hex(chain)?, sealed: sealed.to_vec() })
}

fn parse_tag(digits: &[u8]) -> Option<TenantTag> {
    parse_hex(digits).map(TenantTag)
}

fn parse_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (place, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *place = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
