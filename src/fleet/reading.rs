//! What a heartbeat's reply means for a gateway. Pure.
//!
//! A gateway can have missed something in three ways: the log was lost or went back, another epoch has begun, or the
//! log no longer holds the record that the gateway applied last.

use super::log::{LogRecord, LogView};
use crate::domain::Epoch;

/// Where a gateway stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogPosition {
    pub(super) epoch: Epoch,
    /// The last record applied; 0 before the first one.
    pub(super) number: u64,
    /// That record. `None` where it was trimmed before this gateway came.
    pub(super) record: Option<LogRecord>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogReading {
    /// The log was lost or went back: everything here is emptied, and this epoch begins in place of the one that was
    /// seen.
    Begin { seen: Option<Epoch>, number: u64 },
    /// Another epoch is in force: everything here is emptied, and its log is read from its oldest record on.
    Adopt,
    /// The record applied last was trimmed: the tenants whose floor lies beyond it are emptied.
    SkipTrimmed,
    /// What follows can be applied.
    Continue,
}

/// What the engine's log means for a gateway with this position; `None` is one that has not joined.
pub(super) fn read(position: Option<&LogPosition>, log: Option<&LogView>) -> LogReading {
    let known = position.map_or(0, |position| position.epoch.number);
    let Some(log) = log else { return LogReading::Begin { seen: None, number: known + 1 } };
    let lost = LogReading::Begin { seen: Some(log.epoch), number: known.max(log.epoch.number) + 1 };
    if !log.is_whole {
        return lost;
    }
    let Some(position) = position else { return LogReading::Adopt };
    if log.epoch != position.epoch {
        // A higher one was begun by a gateway that knew better. A lower one, or another one with the same number, is a
        // log that went back.
        return if log.epoch.number > position.epoch.number { LogReading::Adopt } else { lost };
    }
    if position.number > log.last {
        return lost;
    }
    if position.number < log.trimmed {
        return LogReading::SkipTrimmed;
    }
    // Below the newest trimmed record, a record that isn't known can't be compared: the log went back.
    let is_same = position.number == log.trimmed || (position.record.is_some() && log.own == position.record);
    if is_same { LogReading::Continue } else { lost }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::levels::TenantTag;

    const EPOCH: Epoch = Epoch { number: 4, random: 7 };

    fn record(byte: u8) -> LogRecord {
        LogRecord { tag: TenantTag([byte; 16]), chain: [byte; 8], sealed: vec![byte] }
    }

    fn log(epoch: Epoch, trimmed: u64, last: u64, own: Option<LogRecord>) -> LogView {
        LogView {
            epoch,
            last,
            trimmed,
            version: 1,
            is_whole: true,
            own,
            records: Vec::new(),
            floors: Vec::new(),
            generations: HashMap::new(),
        }
    }

    fn at(number: u64) -> LogPosition {
        LogPosition { epoch: EPOCH, number, record: Some(record(5)) }
    }

    fn reading(position: &LogPosition, log: &LogView) -> LogReading {
        read(Some(position), Some(log))
    }

    #[test]
    fn what_follows_ones_own_record_is_applied() {
        assert_eq!(reading(&at(5), &log(EPOCH, 0, 9, Some(record(5)))), LogReading::Continue);
        assert_eq!(reading(&at(5), &log(EPOCH, 5, 9, None)), LogReading::Continue, "the newest trimmed one");
        let joined = LogPosition { epoch: EPOCH, number: 0, record: None };
        assert_eq!(reading(&joined, &log(EPOCH, 0, 0, None)), LogReading::Continue);
    }

    #[test]
    fn a_newcomer_adopts_the_epoch_in_force_or_begins_the_first_one() {
        assert_eq!(read(None, Some(&log(EPOCH, 0, 3, None))), LogReading::Adopt);
        assert_eq!(read(None, None), LogReading::Begin { seen: None, number: 1 });
    }

    #[test]
    fn a_log_that_is_empty_shorter_or_forked_was_lost() {
        assert_eq!(read(Some(&at(5)), None), LogReading::Begin { seen: None, number: 5 });
        let lost = LogReading::Begin { seen: Some(EPOCH), number: 5 };
        assert_eq!(reading(&at(5), &log(EPOCH, 0, 4, None)), lost, "it went back");
        assert_eq!(reading(&at(5), &log(EPOCH, 0, 5, Some(record(6)))), lost, "it went back and forth");
        assert_eq!(reading(&at(5), &log(EPOCH, 0, 9, None)), lost, "the record is missing, not trimmed");
        let joined = LogPosition { record: None, ..at(5) };
        assert_eq!(reading(&joined, &log(EPOCH, 4, 9, Some(record(5)))), lost, "what was trimmed is back");
        let parts = LogView { is_whole: false, ..log(EPOCH, 0, 9, Some(record(5))) };
        assert_eq!(reading(&at(5), &parts), lost);
    }

    #[test]
    fn a_higher_epoch_is_adopted_and_another_of_the_same_number_replaced() {
        let epoch = |number, random| Epoch { number, random };
        assert_eq!(reading(&at(5), &log(epoch(5, 1), 0, 0, None)), LogReading::Adopt);
        for other in [epoch(4, 8), epoch(3, 7)] {
            let replaced = LogReading::Begin { seen: Some(other), number: 5 };
            assert_eq!(reading(&at(5), &log(other, 0, 9, Some(record(5)))), replaced);
        }
    }

    #[test]
    fn a_gateway_that_is_far_behind_skips_what_was_trimmed() {
        assert_eq!(reading(&at(5), &log(EPOCH, 6, 9, None)), LogReading::SkipTrimmed);
    }
}
