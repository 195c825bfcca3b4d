//! One visit to the engine, for `check --probe`: what it is, whether the gateway may do what it does there, and how fast it
//! answers. Uses names of its own, which expire, so that no gateway is affected.

use std::time::Duration;

use redis::Value;

use super::engine::{
    ClaimHolder, ClaimKind, ClaimMode, ClaimState, EngineQuestion, EngineWrite, PollQuestion, PollRival,
    SharedEngine,
};
use super::failure::EngineFailure;
use super::link::EngineLink;
use super::redis_engine::RedisEngine;
use crate::clock;
use crate::levels::seal::SealedName;

/// How long an answer may take: much longer than a lookup waits, so that slowness can be reported.
const ANSWER: Duration = Duration::from_secs(2);
/// How long what is written lasts.
const LASTS: Duration = Duration::from_secs(5);
/// Questions whose times are taken.
const QUESTIONS: usize = 20;

/// The engine, connected.
pub(crate) struct EngineProbe<'a> {
    engine: &'a RedisEngine,
    link: EngineLink,
}

/// What an engine says of itself. Empty where it doesn't say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineGreeting {
    pub(crate) server: String,
    pub(crate) version: String,
    /// `standalone` or `cluster`.
    pub(crate) mode: String,
    /// `master` or `replica`.
    pub(crate) role: String,
}

/// How fast the engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerTimes {
    pub(crate) median: Duration,
    pub(crate) slowest: Duration,
}

/// What the engine does when its memory is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineMemory {
    /// `maxmemory`; 0 for no bound.
    pub(crate) bytes: u64,
    /// `maxmemory-policy`.
    pub(crate) policy: String,
}

impl<'a> EngineProbe<'a> {
    pub(crate) async fn connect(engine: &'a RedisEngine) -> Result<Self, EngineFailure> {
        let link = EngineLink::connect(&engine.settings(), ANSWER).await?;
        engine.connect().await?;
        Ok(Self { engine, link })
    }

    pub(crate) async fn greeting(&self) -> Result<EngineGreeting, EngineFailure> {
        Ok(EngineGreeting::read(&self.link.query(&redis::cmd("HELLO")).await?))
    }

    /// Claims a call, writes its entry, and reads it.
    pub(crate) async fn keep_entry(&self) -> Result<(), EngineFailure> {
        // Scripts that the engine still knows are not loaded, but after its restart they are.
        let _: Value = self.link.query(redis::cmd("SCRIPT").arg("LOAD").arg("return 1")).await?;
        let name = own_name();
        let holder = ClaimHolder(fastrand::u128(..));
        let poll = Some(PollQuestion { holder, lasts: LASTS, against: PollRival::Defer });
        let question = |claim| EngineQuestion { names: vec![name], claim, holder, lasts: LASTS, poll };
        let asked = self.engine.ask(question(ClaimMode::Always)).await?;
        let sealed = vec![0; 256];
        let write = EngineWrite { name, sealed: sealed.clone(), expires: LASTS, claim: Some(holder) };
        let is_written = self.engine.put(write).await?;
        let read = self.engine.ask(question(ClaimMode::Never)).await?;
        self.engine.release(ClaimKind::Fetch, name, holder).await?;
        self.engine.release(ClaimKind::Poll, name, holder).await?;
        let is_claimed = (asked.claim, asked.poll) == (ClaimState::Won, ClaimState::Won);
        let is_as_expected = is_claimed && is_written;
        match read.found {
            Some((_, found)) if is_as_expected && found == sealed => Ok(()),
            Some(_) | None => Err(EngineFailure::Protocol),
        }
    }

    /// Asks as lookups do, one question after the other.
    pub(crate) async fn times(&self) -> Result<AnswerTimes, EngineFailure> {
        let mut times = Vec::with_capacity(QUESTIONS);
        for _ in 0..QUESTIONS {
            let holder = ClaimHolder(fastrand::u128(..));
            let names = vec![own_name()];
            let began = clock::now();
            let claim = ClaimMode::Never;
            self.engine.ask(EngineQuestion { names, claim, holder, lasts: LASTS, poll: None }).await?;
            times.push(clock::now().duration_since(began));
        }
        times.sort_unstable();
        let median = times.get(QUESTIONS / 2).copied().unwrap_or_default();
        Ok(AnswerTimes { median, slowest: times.last().copied().unwrap_or_default() })
    }

    /// Needs a permission that the gateway itself doesn't.
    pub(crate) async fn memory(&self) -> Result<EngineMemory, EngineFailure> {
        let info: Value = self.link.query(redis::cmd("INFO").arg("memory")).await?;
        EngineMemory::read(&info).ok_or(EngineFailure::Protocol)
    }
}

/// Of no call.
fn own_name() -> SealedName {
    let mut name = [0; 32];
    fastrand::fill(&mut name);
    SealedName(name)
}

impl EngineGreeting {
    /// Reads an answer to `HELLO`: names and values in turn, or a map.
    fn read(answer: &Value) -> Self {
        let mut greeting = Self::default();
        let mut texts = texts(answer).into_iter();
        while let Some(name) = texts.next() {
            let field = match name.as_str() {
                "server" => &mut greeting.server,
                "version" => &mut greeting.version,
                "mode" => &mut greeting.mode,
                "role" => &mut greeting.role,
                _ => continue,
            };
            *field = texts.next().unwrap_or_default();
        }
        greeting
    }

    /// Whether scripts and commands that the gateway uses are there.
    pub(crate) fn is_recent(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next(), parts.next()) >= (Some(6), Some(2))
    }
}

impl EngineMemory {
    /// Reads an answer to `INFO memory`. Of a cluster's nodes, the first one stands for all.
    fn read(answer: &Value) -> Option<Self> {
        let texts = texts(answer);
        let field = |name: &str| {
            let mut lines = texts.iter().flat_map(|text| text.lines());
            lines.find_map(|line| Some(line.trim_end().strip_prefix(name)?.to_owned()))
        };
        Some(Self { bytes: field("maxmemory:")?.parse().ok()?, policy: field("maxmemory_policy:")? })
    }
}

/// All texts of a value, in their order.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) => vec![text.clone()],
        Value::VerbatimString { text, .. } => vec![text.clone()],
        Value::Int(number) => vec![number.to_string()],
        Value::Array(values) | Value::Set(values) => values.iter().flat_map(texts).collect(),
        Value::Map(pairs) => {
            pairs.iter().flat_map(|(name, value)| [texts(name), texts(value)].concat()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_greeting_is_read_as_a_list_and_as_a_map() {
        let pairs = [("server", "valkey"), ("version", "8.0.1"), ("mode", "standalone"), ("role", "master")];
        let list = Value::Array(pairs.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect());
        let map = Value::Map(pairs.iter().map(|(name, value)| (bulk(name), bulk(value))).collect());
        let read = EngineGreeting::read(&list);
        assert_eq!((read.server.as_str(), read.role.as_str()), ("valkey", "master"));
        assert_eq!(read, EngineGreeting::read(&map));
        assert_eq!(EngineGreeting::read(&Value::Nil), EngineGreeting::default());
    }

    #[test]
    fn versions_from_6_2_on_are_recent() {
        for (version, is_recent) in [
            ("6.2.0", true),
            ("7.0.15", true),
            ("10.0.0", true),
            ("6.0.16", false),
            ("5.9", false),
            ("", false),
        ] {
            let greeting = EngineGreeting { version: version.into(), ..EngineGreeting::default() };
            assert_eq!(greeting.is_recent(), is_recent, "{version}");
        }
    }

    #[test]
    fn the_bound_and_policy_of_the_memory_are_read() {
        let info = "# Memory\r\nmaxmemory:1048576\r\nmaxmemory_human:1M\r\nmaxmemory_policy:volatile-lru\r\n";
        let expected = EngineMemory { bytes: 1 << 20, policy: "volatile-lru".into() };
        assert_eq!(EngineMemory::read(&bulk(info)), Some(expected.clone()));
        let nodes = Value::Map(vec![(bulk("127.0.0.1:1"), bulk(info)), (bulk("127.0.0.1:2"), bulk(info))]);
        assert_eq!(EngineMemory::read(&nodes), Some(expected));
        assert_eq!(EngineMemory::read(&bulk("maxmemory:much")), None);
    }
}
