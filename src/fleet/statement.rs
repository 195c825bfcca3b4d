//! What the gateways of a fleet tell each other: purges, and what each of them has applied. Sealed under the fleet's
//! key, so that no other program can state anything.

use serde::{Deserialize, Serialize};

use super::log::{LogRecord, SealedPurge};
use crate::domain::{Epoch, Mark, PurgeTarget};
use crate::levels::{FleetSeal, TenantTag};

/// The records that could not be opened which a statement names.
const MOST_IGNORED: usize = 16;

/// What a gateway states with each heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberStatement {
    pub(super) version: String,
    /// Counts its heartbeats.
    pub(super) beat: u64,
    /// The last record that it has applied; `None` before it has joined.
    pub(super) applied: Option<AppliedRecord>,
    /// Records that it passed over because they could not be opened.
    pub(super) ignored: Vec<u64>,
    /// Up to this record it may have passed over more.
    pub(super) doubtful: u64,
    /// A keyed digest of the tenants' key rings.
    pub(super) keys: String,
    /// It has left the fleet.
    pub(super) has_left: bool,
}

/// A record of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AppliedRecord {
    epoch: u64,
    random: u64,
    record: u64,
    /// Of that record; `None` if the gateway came later.
    chain: Option<[u8; 8]>,
}

impl AppliedRecord {
    pub(super) const fn new(position: Mark, chain: Option<[u8; 8]>) -> Self {
        let Mark { epoch: Epoch { number, random }, record } = position;
        Self { epoch: number, random, record, chain }
    }
}

impl MemberStatement {
    /// Seals it as that of the gateway with this name.
    pub(super) fn seal(&self, seal: &FleetSeal, name: &str) -> Option<Vec<u8>> {
        seal.seal(name.as_bytes(), &serde_json::to_vec(self).ok()?)
    }

    /// Opens the statement of the gateway with this name.
    pub(super) fn open(seal: &FleetSeal, name: &str, sealed: &[u8]) -> Option<Self> {
        serde_json::from_slice(&seal.open(name.as_bytes(), sealed)?).ok()
    }

    /// Whether the gateway has applied a purge. One that is in a later epoch has emptied everything; later is only the
    /// epoch that is now `in_force`, since the first gateway to find an engine empty begins with a number that another
    /// one may be beyond. `chain` is what this gateway has read at a position: a log that went back and on has other
    /// records with the same numbers.
    pub(super) fn has_applied(
        &self,
        purge: Mark,
        in_force: Epoch,
        chain: impl Fn(u64) -> Option<[u8; 8]>,
    ) -> bool {
        let Some(applied) = self.applied else { return false };
        let epoch = Epoch { number: applied.epoch, random: applied.random };
        if epoch == in_force && epoch.number > purge.epoch.number {
            return true;
        }
        epoch == purge.epoch
            && applied.record >= purge.record
            && applied.chain.is_some()
            && applied.chain == chain(applied.record)
            && purge.record > self.doubtful
            && !self.ignored.contains(&purge.record)
    }
}

/// The records that a gateway passed over.
#[derive(Debug, Clone, Default)]
pub(super) struct IgnoredRecords {
    pub(super) newest: Vec<u64>,
    pub(super) doubtful: u64,
}

impl IgnoredRecords {
    pub(super) fn add(&mut self, number: u64) {
        self.newest.push(number);
        if self.newest.len() > MOST_IGNORED {
            self.doubtful = self.newest.remove(0);
        }
    }
}

/// The record of a purge in an epoch.
pub(super) fn record(seal: &FleetSeal, epoch: Epoch, target: &PurgeTarget) -> Option<SealedPurge> {
    let tag = target.tenant().map_or(TenantTag::ALL, |tenant| seal.tag(tenant));
    Some(SealedPurge { tag, sealed: seal.seal(&context(epoch, tag), target.to_text().as_bytes())? })
}

/// What a record purges; `None` if no gateway of this fleet announced it in this epoch.
pub(super) fn target(seal: &FleetSeal, epoch: Epoch, record: &LogRecord) -> Option<PurgeTarget> {
    let text = seal.open(&context(epoch, record.tag), &record.sealed)?;
    PurgeTarget::parse(std::str::from_utf8(&text).ok()?)
}

fn context(epoch: Epoch, tag: TenantTag) -> Vec<u8> {
    [&b"purge\0"[..], &epoch.number.to_be_bytes(), &epoch.random.to_be_bytes(), &tag.0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LevelKey;

    const EPOCH: Epoch = Epoch { number: 2, random: 9 };

    fn seal() -> FleetSeal {
        FleetSeal::new(&LevelKey::for_tests("key"), "cg1").unwrap()
    }

    fn statement(record: u64) -> MemberStatement {
        MemberStatement {
            version: "1".into(),
            beat: 3,
            applied: Some(AppliedRecord::new(Mark { epoch: EPOCH, record }, Some([record as u8; 8]))),
            ignored: vec![7],
            doubtful: 4,
            keys: String::new(),
            has_left: false,
        }
    }

    #[test]
    fn a_statement_counts_for_the_gateway_that_made_it_alone() {
        let sealed = statement(9).seal(&seal(), "a").unwrap();
        assert_eq!(MemberStatement::open(&seal(), "a", &sealed), Some(statement(9)));
        assert_eq!(MemberStatement::open(&seal(), "b", &sealed), None);
    }

    #[test]
    fn a_purge_is_applied_by_its_own_record_that_was_opened_or_by_a_later_epoch() {
        let purge = |number, record| Mark { epoch: Epoch { number, random: 9 }, record };
        let applied = statement(9);
        for (mark, is_applied) in [
            (purge(2, 9), true),
            (purge(2, 10), false),
            (purge(2, 7), false),
            (purge(2, 4), false),
            (purge(2, 5), true),
            (purge(1, 90), true),
            (purge(3, 1), false),
        ] {
            let has_applied = applied.has_applied(mark, EPOCH, |record| Some([record as u8; 8]));
            assert_eq!(has_applied, is_applied, "{mark:?}");
        }
        assert!(!applied.has_applied(purge(2, 9), EPOCH, |_| Some([1; 8])), "another history");
        assert!(!applied.has_applied(purge(2, 9), EPOCH, |_| None), "one that was not read here yet");
        let forked = Mark { epoch: Epoch { number: 2, random: 8 }, record: 1 };
        assert!(!applied.has_applied(forked, EPOCH, |_| Some([9; 8])));
        let newcomer = MemberStatement { applied: None, ..applied };
        assert!(!newcomer.has_applied(purge(2, 9), EPOCH, |_| Some([9; 8])));
    }

    /// An emptied engine, in which a newcomer has begun epoch 1 while this gateway is still in its own.
    #[test]
    fn an_epoch_that_is_no_longer_in_force_is_not_later_whatever_its_number() {
        let purge = Mark { epoch: Epoch { number: 1, random: 5 }, record: 1 };
        assert!(!statement(9).has_applied(purge, purge.epoch, |_| Some([9; 8])));
        assert!(!statement(9).has_applied(purge, Epoch { number: 3, random: 6 }, |_| Some([9; 8])));
    }

    #[test]
    fn what_can_no_longer_be_listed_is_doubtful() {
        let mut ignored = IgnoredRecords::default();
        for number in 1..=20 {
            ignored.add(number);
        }
        assert_eq!((ignored.newest.len(), ignored.doubtful), (MOST_IGNORED, 4));
    }

    #[test]
    fn a_record_is_opened_in_its_own_epoch_alone() {
        let SealedPurge { tag, sealed } = record(&seal(), EPOCH, &PurgeTarget::All).unwrap();
        let record = LogRecord { tag, chain: [0; 8], sealed };
        assert_eq!(target(&seal(), EPOCH, &record), Some(PurgeTarget::All));
        assert_eq!(target(&seal(), Epoch { number: 3, random: 9 }, &record), None);
        let moved = LogRecord { tag: TenantTag([1; 16]), ..record };
        assert_eq!(target(&seal(), EPOCH, &moved), None);
    }
}
