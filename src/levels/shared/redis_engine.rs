//! The engine of the shared level on Valkey or Redis: one script for each verb.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use redis::Script;

use super::engine::{
    ClaimHolder, ClaimKind, ClaimMode, ClaimState, EngineAnswer, EngineFuture, EngineQuestion, EngineWrite,
    PollRival, SharedEngine,
};
use super::failure::EngineFailure;
use super::link::{EngineLink, script};
use crate::config::EngineSettings;
use crate::domain::hex;
use crate::levels::queue::MOST_BYTES;
use crate::levels::seal::{OVERHEAD, SealedName};

static ASK: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/ask.lua")));
static PUT: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/put.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/release.lua")));

/// The most bytes of an entry. One that is longer was written by no gateway, and is not read in full.
const LONGEST: usize = MOST_BYTES + OVERHEAD;
/// How long the engine may take for what no lookup waits for.
const BEHIND: Duration = Duration::from_secs(1);

/// The engine as lookups use it: over one connection, which the heartbeat makes.
pub(crate) struct RedisEngine {
    settings: ArcSwap<EngineSettings>,
    link: ArcSwapOption<EngineLink>,
}

impl RedisEngine {
    /// Not connected yet.
    pub(crate) fn new(settings: EngineSettings) -> Self {
        Self { settings: ArcSwap::from_pointee(settings), link: ArcSwapOption::empty() }
    }

    pub(crate) fn settings(&self) -> Arc<EngineSettings> {
        self.settings.load_full()
    }

    /// Uses other settings from the next connection on.
    pub(crate) fn set_settings(&self, settings: EngineSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// The connection of lookups.
    pub(crate) fn link(&self) -> Result<Arc<EngineLink>, EngineFailure> {
        self.link.load_full().ok_or(EngineFailure::Unreachable)
    }

    /// The key of an entry.
    fn entry_key(&self, name: &SealedName) -> String {
        self.key('e', name)
    }

    /// The key of a claim.
    fn claim_key(&self, kind: ClaimKind, name: &SealedName) -> String {
        let kind = match kind {
            ClaimKind::Fetch => 'c',
            ClaimKind::Poll => 'p',
        };
        self.key(kind, name)
    }

    /// Those of one call are in one slot of a cluster.
    fn key(&self, kind: char, name: &SealedName) -> String {
        format!("{}:{kind}:{{{}}}", self.settings.load().prefix, hex(&name.0))
    }
}

impl ClaimHolder {
    fn text(self) -> String {
        hex(&self.0.to_be_bytes())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX.cast_unsigned())
}

impl SharedEngine for RedisEngine {
    fn connect(&self) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let link = EngineLink::connect(&self.settings(), BEHIND).await?;
            self.link.store(Some(Arc::new(link)));
            Ok(())
        })
    }

    fn ask(&self, question: EngineQuestion) -> EngineFuture<'_, EngineAnswer> {
        Box::pin(async move {
            let link = self.link()?;
            let Some((first, others)) = question.names.split_first() else {
                return Err(EngineFailure::Protocol);
            };
            let mode = match question.claim {
                ClaimMode::Never => 0,
                ClaimMode::IfMissing => 1,
                ClaimMode::Always => 2,
            };
            let mut ask = ASK.prepare_invoke();
            ask.key(self.entry_key(first))
                .key(self.claim_key(ClaimKind::Fetch, first))
                .key(self.claim_key(ClaimKind::Poll, first))
                .arg(mode)
                .arg(question.holder.text())
                .arg(millis(question.lasts))
                .arg(LONGEST);
            match question.poll {
                Some(poll) => ask
                    .arg(poll.holder.text())
                    .arg(millis(poll.lasts))
                    .arg(u8::from(poll.against == PollRival::Defer)),
                None => ask.arg("").arg(0).arg(0),
            };
            let asked = link.run::<(Option<Vec<u8>>, u8, u8)>(&ask);
            let read = async {
                for (place, name) in (1..).zip(others) {
                    let mut read = redis::cmd("GETRANGE");
                    let sealed: Vec<u8> =
                        link.query(read.arg(self.entry_key(name)).arg(0).arg(LONGEST)).await?;
                    if !sealed.is_empty() {
                        return Ok::<_, EngineFailure>(Some((place, sealed)));
                    }
                }
                Ok(None)
            };
            let (asked, other) = futures_util::future::join(asked, read).await;
            let (found, claim, poll) = asked?;
            let found = found.map(|sealed| (0, sealed));
            let [claim, poll] = [claim, poll].map(|state| match state {
                1 => ClaimState::Won,
                2 => ClaimState::Held,
                _ => ClaimState::Unclaimed,
            });
            // A failure to read the other name alone must not keep the claim from being used.
            Ok(EngineAnswer { found: found.or(other.unwrap_or(None)), claim, poll })
        })
    }

    fn put(&self, write: EngineWrite) -> EngineFuture<'_, bool> {
        Box::pin(async move {
            let link = self.link()?;
            let (entry, claim) = (self.entry_key(&write.name), self.claim_key(ClaimKind::Fetch, &write.name));
            let holder = write.claim.map(ClaimHolder::text).unwrap_or_default();
            let mut put = PUT.prepare_invoke();
            put.key(entry).key(claim).arg(write.sealed).arg(millis(write.expires)).arg(holder);
            Ok(link.run::<u8>(&put).await? == 1)
        })
    }

    fn release(&self, kind: ClaimKind, name: SealedName, holder: ClaimHolder) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let link = self.link()?;
            let mut release = RELEASE.prepare_invoke();
            release.key(self.claim_key(kind, &name)).arg(holder.text());
            link.run::<u8>(&release).await.map(drop)
        })
    }
}
