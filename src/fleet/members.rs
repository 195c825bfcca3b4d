//! The gateways of a fleet, as one of them knows them. Silence is counted in unbroken heartbeats of one's own, never by
//! the engine's clock: an engine that stood still makes no gateway silent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::statement::MemberStatement;
use crate::clock::Instant;
use crate::domain::{Epoch, Mark};
use crate::levels::FleetSeal;
use crate::telemetry::VERSION;

/// A gateway from which nothing was heard for so long is not waited for.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// A silent gateway is named for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// A statement of a gateway that has left is removed from the engine after so long.
const REMOVED_AFTER: Duration = Duration::from_secs(60);
/// The longest time between two heartbeats that counts as unbroken.
const UNBROKEN: Duration = Duration::from_secs(2);

/// All members but this gateway itself.
#[derive(Debug, Default)]
pub(super) struct Members {
    known: BTreeMap<String, Member>,
    last_look: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    /// The last statement that could be opened; `None` of a gateway with other keys.
    statement: Option<MemberStatement>,
    sealed: Vec<u8>,
    /// How long its statement has been the same, in unbroken heartbeats of one's own.
    quiet: Duration,
    heard: Instant,
}

/// A member as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ShownMember {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Seconds since it was last heard of.
    pub(crate) heard_seconds_ago: f64,
    pub(crate) is_silent: bool,
    /// Whether its `shared.key` is this one's.
    pub(crate) same_fleet_key: bool,
    /// Whether its tenants' key rings are this one's.
    pub(crate) same_tenant_keys: bool,
}

/// How far a purge has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PurgeReach {
    /// Gateways that are not silent, this one included.
    pub(crate) told: usize,
    /// Those that have applied it.
    pub(crate) done: usize,
    /// Those from which nothing is heard. They apply it before they use a level again.
    pub(crate) silent: Vec<String>,
    /// Those that have not applied it.
    #[serde(skip)]
    pub(crate) missing: Vec<String>,
}

impl ShownMember {
    /// The gateway that shows it.
    pub(super) fn own(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: Some(VERSION.to_owned()),
            heard_seconds_ago: 0.0,
            is_silent: false,
            same_fleet_key: true,
            same_tenant_keys: true,
        }
    }
}

impl Member {
    fn is_silent(&self) -> bool {
        self.quiet >= SILENT_AFTER
    }
}

impl Members {
    /// Takes what a heartbeat told about the others, and returns the names that the engine should forget.
    pub(super) fn observe(
        &mut self,
        statements: Vec<(String, Vec<u8>)>,
        own: &str,
        seal: &FleetSeal,
        now: Instant,
    ) -> Vec<String> {
        let since = self.last_look.map(|last| now.duration_since(last)).filter(|since| *since <= UNBROKEN);
        self.last_look = Some(now);
        match since {
            Some(since) => self.known.values_mut().for_each(|member| member.quiet += since),
            None => self.known.values_mut().for_each(|member| member.quiet = Duration::ZERO),
        }
        let mut left = Vec::new();
        for (name, sealed) in statements.into_iter().filter(|(name, _)| name != own) {
            let known = self.known.get_mut(&name);
            if let Some(known) = known.filter(|known| known.sealed == sealed) {
                if known.statement.as_ref().is_some_and(|statement| statement.has_left)
                    && known.quiet > REMOVED_AFTER
                {
                    left.push(name);
                }
                continue;
            }
            let statement = MemberStatement::open(seal, &name, &sealed);
            match self.known.get_mut(&name) {
                // An older statement that was put back, or one made outside of this fleet, says nothing.
                Some(known) if !is_newer(statement.as_ref(), known.statement.as_ref()) => {}
                Some(known) => *known = Member { statement, sealed, quiet: Duration::ZERO, heard: now },
                None => {
                    self.known.insert(name, Member { statement, sealed, quiet: Duration::ZERO, heard: now });
                }
            }
        }
        self.known.retain(|name, member| {
            let is_forgotten = now.duration_since(member.heard) > FORGOTTEN_AFTER;
            if is_forgotten {
                left.push(name.clone());
            }
            !is_forgotten
        });
        left
    }

    /// One's own heartbeats are interrupted, so silence means nothing.
    pub(super) fn interrupted(&mut self) {
        self.last_look = None;
    }

    /// Whether there was one of this name.
    pub(super) fn forget(&mut self, name: &str) -> bool {
        let known = self.known.remove(name);
        known.is_some_and(|member| !member.statement.is_some_and(|statement| statement.has_left))
    }

    /// Members of this fleet that have not left.
    fn present(&self) -> impl Iterator<Item = (&String, &Member, &MemberStatement)> {
        self.known
            .iter()
            .filter_map(|(name, member)| Some((name, member, member.statement.as_ref()?)))
            .filter(|(_, _, statement)| !statement.has_left)
    }

    /// Gateways that are not silent, this one included.
    pub(super) fn count(&self) -> usize {
        1 + self.present().filter(|(_, member, _)| !member.is_silent()).count()
    }

    /// How far a purge has come; `None` is one that was not applied even here, by the gateway `own`, because it could
    /// not be announced. `in_force` is the epoch that this gateway is in.
    pub(super) fn reach(
        &self,
        purge: Option<Mark>,
        own: &str,
        in_force: Epoch,
        chain: impl Fn(u64) -> Option<[u8; 8]>,
    ) -> PurgeReach {
        let mut reach = PurgeReach { told: 1, ..PurgeReach::default() };
        match purge {
            Some(_) => reach.done += 1,
            None => reach.missing.push(own.to_owned()),
        }
        for (name, member, statement) in self.present() {
            if member.is_silent() {
                reach.silent.push(name.clone());
                continue;
            }
            reach.told += 1;
            match purge.is_some_and(|purge| statement.has_applied(purge, in_force, &chain)) {
                true => reach.done += 1,
                false => reach.missing.push(name.clone()),
            }
        }
        reach
    }

    pub(super) fn show(&self, keys: &str, now: Instant) -> Vec<ShownMember> {
        let shown = |(name, member): (&String, &Member)| {
            let statement = member.statement.as_ref();
            let is_present = statement.is_none_or(|statement| !statement.has_left);
            is_present.then(|| ShownMember {
                name: name.clone(),
                version: statement.map(|statement| statement.version.clone()),
                heard_seconds_ago: now.duration_since(member.heard).as_secs_f64(),
                is_silent: member.is_silent(),
                same_fleet_key: statement.is_some(),
                same_tenant_keys: statement.is_some_and(|statement| statement.keys == keys),
            })
        };
        self.known.iter().filter_map(shown).collect()
    }
}

fn is_newer(statement: Option<&MemberStatement>, known: Option<&MemberStatement>) -> bool {
    match (statement, known) {
        (Some(statement), Some(known)) => statement.beat > known.beat || statement.has_left,
        (Some(_), None) => true,
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::config::LevelKey;
    use crate::fleet::statement::AppliedRecord;

    fn seal(key: &str) -> FleetSeal {
        FleetSeal::new(&LevelKey::for_tests(key), "cg1").unwrap()
    }

    fn mark(record: u64) -> Mark {
        Mark { epoch: Epoch { number: 1, random: 1 }, record }
    }

    fn says(name: &str, key: &str, beat: u64, record: u64, has_left: bool) -> (String, Vec<u8>) {
        let statement = MemberStatement {
            version: "1".into(),
            beat,
            applied: Some(AppliedRecord::new(mark(record), Some([record as u8; 8]))),
            ignored: Vec::new(),
            doubtful: 0,
            keys: "k".into(),
            has_left,
        };
        (name.into(), statement.seal(&seal(key), name).unwrap())
    }

    fn reach(members: &Members, record: u64) -> PurgeReach {
        members.reach(Some(mark(record)), "a", mark(record).epoch, |record| Some([record as u8; 8]))
    }

    /// Heartbeats every half second, with these statements of B.
    fn heard(members: &mut Members, from: Instant, statements: &[(String, Vec<u8>)]) -> Instant {
        let mut now = from;
        for statement in statements {
            now += Duration::from_millis(500);
            members.observe(vec![statement.clone()], "a", &seal("key"), now);
        }
        now
    }

    #[tokio::test]
    async fn a_gateway_that_says_nothing_new_for_ten_unbroken_seconds_is_silent() {
        let (mut members, still) = (Members::default(), says("b", "key", 1, 3, false));
        let now = heard(&mut members, clock::now(), &vec![still.clone(); 20]);
        assert_eq!(reach(&members, 3), PurgeReach { told: 2, done: 2, ..PurgeReach::default() });
        let now = heard(&mut members, now, std::slice::from_ref(&still));
        let silent = reach(&members, 9);
        assert_eq!((silent.told, &silent.silent[..], members.count()), (1, &["b".to_owned()][..], 1));
        heard(&mut members, now, &[says("b", "key", 2, 9, false)]);
        assert_eq!(reach(&members, 9).done, 2);
    }

    #[tokio::test]
    async fn an_engine_that_stood_still_makes_no_gateway_silent() {
        let (mut members, still) = (Members::default(), says("b", "key", 1, 3, false));
        let now = heard(&mut members, clock::now(), &vec![still.clone(); 19]);
        heard(&mut members, now + Duration::from_secs(11), &[still]);
        assert_eq!(reach(&members, 9).missing, ["b"]);
    }

    #[tokio::test]
    async fn statements_of_strangers_and_older_ones_prove_nothing() {
        let mut members = Members::default();
        let now = heard(&mut members, clock::now(), &[says("b", "key", 5, 3, false)]);
        let now = heard(&mut members, now, &[says("b", "other", 6, 9, false), says("b", "key", 4, 9, false)]);
        assert_eq!(reach(&members, 9).missing, ["b"]);
        let (other, forged) = says("c", "key", 9, 9, false);
        drop(other);
        heard(&mut members, now, &[("b".into(), forged), says("d", "other", 1, 9, false)]);
        assert_eq!(reach(&members, 9).missing, ["b"], "D is of another fleet");
        let shown = members.show("k", now);
        assert!(shown.iter().any(|member| member.name == "d" && !member.same_fleet_key));
    }

    #[tokio::test]
    async fn a_member_is_remembered_when_the_engine_forgets_it_until_it_leaves() {
        let mut members = Members::default();
        let now = heard(&mut members, clock::now(), &[says("b", "key", 5, 3, false)]);
        members.observe(Vec::new(), "a", &seal("key"), now + Duration::from_millis(500));
        assert_eq!(reach(&members, 9).missing, ["b"]);
        let left = says("b", "key", 6, 3, true);
        let now = heard(&mut members, now, std::slice::from_ref(&left));
        assert_eq!((reach(&members, 9).told, members.count()), (1, 1));
        let mut now = now;
        let mut removed = Vec::new();
        for _ in 0..130 {
            now += Duration::from_millis(500);
            removed = members.observe(vec![left.clone()], "a", &seal("key"), now);
        }
        assert_eq!(removed, ["b"]);
    }
}
