//! Converts a stored call to bytes and back. The bytes contain the upstream's answer and its age on arrival, not the
//! policy's conclusions: on its way back it passes freshness and admission like an answer that has just been fetched,
//! so today's policy applies to yesterday's entries.
//!
//! Knows no level and no key: the time of receipt is kept beside the bytes by the seal.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::policy::{Admission, admit};
use super::store::Entry;
use crate::clock::Instant;
use crate::config::CacheSettings;
use crate::domain::CallId;
use crate::message::{ExchangeTimes, UpstreamResponse, unfinished};

/// The format of the bytes. Others are not read.
const VERSION: u8 = 1;

/// A response has no more header fields.
const MOST_FIELDS: u32 = 256;

/// How far in the future a receipt may be, because clocks differ.
const MOST_AHEAD: Duration = Duration::from_secs(5);

/// An entry to be written to a level.
#[derive(Debug)]
pub(crate) struct EncodedEntry {
    /// When the answer arrived, in seconds since 1970.
    pub(crate) receipt: i64,
    /// The time from which it has no use, in seconds since 1970, by the current policy.
    pub(crate) spent_at: i64,
    pub(crate) bytes: Vec<u8>,
}

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BothClocks {
    pub(crate) monotonic: Instant,
    pub(crate) wall: Timestamp,
}

/// Why an entry that a level returned can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnusableEntry {
    /// Not the output of [`Entry::encode`].
    Invalid,
    /// Received in the future.
    Skew,
    /// The current policy doesn't store such an answer.
    Refused,
    /// Without any use left.
    Spent,
}

impl Entry {
    /// The entry for a level; `None` if it is kept in memory only.
    pub(crate) fn encode(&self, policy: &CacheSettings, now: BothClocks) -> Option<EncodedEntry> {
        if self.is_negative() {
            return None;
        }
        let response = self.response.unpack();
        let fields = unfinished(response.fields, self.response.own());
        let text: usize = fields.iter().map(|(name, value)| 8 + name.as_str().len() + value.len()).sum();
        let mut bytes = Vec::with_capacity(32 + text + response.body.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&response.status.as_u16().to_be_bytes());
        bytes.extend_from_slice(&self.inputs.initial_age().to_be_bytes());
        put_count(&mut bytes, fields.len())?;
        for (name, value) in &fields {
            put_count(&mut bytes, name.as_str().len())?;
            bytes.extend_from_slice(name.as_str().as_bytes());
            put_count(&mut bytes, value.len())?;
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes.extend_from_slice(&response.body);
        let left = self.freshness(policy, now.monotonic).useful_for();
        let left = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let spent_at = now.wall.as_second().saturating_add(left).saturating_add(1);
        Some(EncodedEntry { receipt: self.inputs.received_at().as_second(), spent_at, bytes })
    }

    /// The entry of a call returned by a level, judged by the current policy. `jitter` is 0 to 1000.
    pub(crate) fn decode(
        bytes: &[u8],
        receipt: i64,
        id: &CallId,
        policy: &CacheSettings,
        now: BothClocks,
        jitter: u16,
    ) -> Result<std::sync::Arc<Self>, UnusableEntry> {
        let response = decode(bytes, receipt, now)?;
        match admit(&response, id, policy, jitter) {
            Admission::Store(candidate) if !candidate.inputs.is_negative() => {
                let entry = Self::new(&candidate);
                match entry.freshness(policy, now.monotonic).is_spent() {
                    true => Err(UnusableEntry::Spent),
                    false => Ok(entry),
                }
            }
            Admission::Store(_) | Admission::PassThrough { .. } | Admission::Reject { .. } => {
                Err(UnusableEntry::Refused)
            }
        }
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) -> Option<()> {
    bytes.extend_from_slice(&u32::try_from(count).ok()?.to_be_bytes());
    Some(())
}

/// The upstream's response, as received.
fn decode(bytes: &[u8], receipt: i64, now: BothClocks) -> Result<UpstreamResponse, UnusableEntry> {
    let (received, received_at) = received(receipt, now)?;
    let mut reader = EntryReader(bytes);
    let (status, initial_age, headers) = reader.head().ok_or(UnusableEntry::Invalid)?;
    // The response's own age and its age on arrival are a single number by now.
    let times = ExchangeTimes { sent: received - Duration::from_nanos(initial_age), received, received_at };
    Ok(UpstreamResponse { status, headers, body: bytes::Bytes::copy_from_slice(reader.0), times })
}

/// When it arrived, on both clocks.
fn received(receipt: i64, now: BothClocks) -> Result<(Instant, Timestamp), UnusableEntry> {
    let received_at = Timestamp::from_second(receipt).map_err(|_| UnusableEntry::Invalid)?;
    match Duration::try_from(now.wall.duration_since(received_at)) {
        Ok(elapsed) => Ok((now.monotonic - elapsed, received_at)),
        Err(_) => {
            let ahead = Duration::try_from(received_at.duration_since(now.wall)).unwrap_or(Duration::MAX);
            if ahead > MOST_AHEAD { Err(UnusableEntry::Skew) } else { Ok((now.monotonic, received_at)) }
        }
    }
}

/// The unread bytes.
struct EntryReader<'a>(&'a [u8]);

impl<'a> EntryReader<'a> {
    fn head(&mut self) -> Option<(StatusCode, u64, HeaderMap)> {
        if self.take(1)? != [VERSION] {
            return None;
        }
        let status = StatusCode::from_u16(u16::from_be_bytes(self.array()?)).ok()?;
        let initial_age = u64::from_be_bytes(self.array()?);
        let count = u32::from_be_bytes(self.array()?);
        if count > MOST_FIELDS {
            return None;
        }
        let mut headers = HeaderMap::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(self.counted()?).ok()?;
            let value = HeaderValue::from_bytes(self.counted()?).ok()?;
            headers.try_append(name, value).ok()?;
        }
        Some((status, initial_age, headers))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(len).ok()?)
    }
}

#[cfg(test)]
mod tests;
