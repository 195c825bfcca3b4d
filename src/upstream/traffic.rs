//! The traffic on a connection to the upstream: decides whether an interrupted exchange may be repeated, whether the
//! upstream floods it with interim responses, and how long it may be used.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::message::HttpVersion;

/// The variable share of a connection's lifetime, so that connections opened together aren't all replaced together.
const LIFETIME_JITTER: f64 = 0.25;

/// The maximum number of interim (1xx) responses in one exchange.
pub(crate) const MAX_INTERIM: u32 = 16;

/// The observations about one connection, shared by its socket and its requests.
#[derive(Debug, Clone)]
pub(crate) struct Traffic(Arc<Observed>);

#[derive(Debug)]
struct Observed {
    version: HttpVersion,
    /// When it has reached its maximum age.
    retires: Instant,
    /// Bytes have arrived since the last request was written.
    current: AtomicBool,
    /// Bytes have arrived before that.
    earlier: AtomicBool,
    /// Too many interim responses have arrived: nothing more is read.
    flooded: AtomicBool,
}

/// A reading of [`Traffic`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrafficSnapshot {
    pub(crate) version: HttpVersion,
    /// Bytes have arrived since the request was sent. On HTTP/2 they may belong to another stream.
    pub(crate) in_this_exchange: bool,
    /// An earlier response has arrived on this connection.
    pub(crate) in_earlier_ones: bool,
    pub(crate) flooded: bool,
}

impl Traffic {
    /// Of a connection that has just been opened.
    pub(crate) fn new(version: HttpVersion, lifetime: Duration) -> Self {
        let retires = clock::now() + lifetime.mul_f64(1.0 - LIFETIME_JITTER * fastrand::f64());
        let no = || AtomicBool::new(false);
        Self(Arc::new(Observed { version, retires, current: no(), earlier: no(), flooded: no() }))
    }

    /// Whether no further request may be sent.
    pub(crate) fn is_retired(&self, now: Instant) -> bool {
        now >= self.0.retires
    }

    pub(crate) fn version(&self) -> HttpVersion {
        self.0.version
    }

    /// The observations so far.
    pub(crate) fn seen(&self) -> TrafficSnapshot {
        TrafficSnapshot {
            version: self.0.version,
            in_this_exchange: self.0.current.load(Relaxed),
            in_earlier_ones: self.0.earlier.load(Relaxed),
            flooded: self.0.flooded.load(Relaxed),
        }
    }

    pub(crate) fn note_read(&self) {
        self.0.current.store(true, Relaxed);
    }

    pub(crate) fn note_write(&self) {
        if self.0.current.swap(false, Relaxed) {
            self.0.earlier.store(true, Relaxed);
        }
    }

    pub(crate) fn note_flood(&self) {
        self.0.flooded.store(true, Relaxed);
    }
}

/// Counts the heads of each stream of an HTTP/2 connection, frame by frame (RFC 9113 section 4.1), because the
/// library skips interim responses without a limit.
#[derive(Debug, Default)]
pub(crate) struct FrameWatch {
    /// The frame header being read.
    header: [u8; HEADER_LEN],
    have: usize,
    /// The remaining bytes of the current frame's payload.
    payload: usize,
    /// Heads so far of streams that have not ended.
    heads: HashMap<u32, u32>,
}

const HEADER_LEN: usize = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;

impl FrameWatch {
    /// Processes the next bytes. Returns whether a stream has more heads than the permitted interim responses and a
    /// final one.
    pub(crate) fn is_flooded_by(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some(room) = self.header.get_mut(self.have..) else { return false };
            let taken = room.len().min(bytes.len());
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.have += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.have == HEADER_LEN {
                self.have = 0;
                if self.frame() {
                    return true;
                }
            }
        }
        false
    }

    /// Processes a complete frame header.
    fn frame(&mut self) -> bool {
        let [length_high, length_mid, length_low, kind, flags, stream @ ..] = self.header;
        self.payload = u32::from_be_bytes([0, length_high, length_mid, length_low]) as usize;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        let ends = flags & END_STREAM != 0;
        match kind {
            HEADERS if !ends => {
                let heads = self.heads.entry(stream).or_default();
                *heads += 1;
                *heads > MAX_INTERIM + 1
            }
            HEADERS | DATA if ends => self.end(stream),
            RST_STREAM => self.end(stream),
            _ => false,
        }
    }

    fn end(&mut self, stream: u32) -> bool {
        self.heads.remove(&stream);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Whether the frames are a flood, however they are split.
    fn floods(frames: &[Vec<u8>]) -> bool {
        let bytes = frames.concat();
        let whole = FrameWatch::default().is_flooded_by(&bytes);
        for size in [1, 2, 7, 9, 10, 64] {
            let mut watch = FrameWatch::default();
            let flooded = bytes.chunks(size).any(|chunk| watch.is_flooded_by(chunk));
            assert_eq!(flooded, whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn sixteen_interim_heads_and_the_final_one_pass_and_one_more_does_not() {
        let heads = |count| vec![frame(HEADERS, 4, 1, b"headers"); count];
        assert!(!floods(&heads(17)));
        assert!(floods(&heads(18)));
    }

    #[test]
    fn streams_are_counted_apart_and_forgotten_when_they_end() {
        let mut frames = Vec::new();
        for stream in (1..201).step_by(2) {
            frames.push(frame(HEADERS, 4, stream, b"h"));
            frames.push(frame(DATA, 0, stream, &[1; 300]));
            frames.push(frame(DATA, END_STREAM, stream, b"end"));
        }
        for _ in 0..20 {
            frames.push(frame(HEADERS, 4, 1, b"h"));
            frames.push(frame(RST_STREAM, 0, 1, &[0; 4]));
            frames.push(frame(HEADERS, 4 | END_STREAM, 3, b"h"));
            frames.push(frame(4, 0, 0, &[0; 12]));
        }
        assert!(!floods(&frames));
        let mut watch = FrameWatch::default();
        watch.is_flooded_by(&frames.concat());
        assert!(watch.heads.is_empty());
    }

    #[test]
    fn a_retired_connection_takes_no_further_request() {
        let traffic = Traffic::new(HttpVersion::Http1, Duration::from_secs(60));
        let now = clock::now();
        assert!(!traffic.is_retired(now + Duration::from_secs(40)));
        assert!(traffic.is_retired(now + Duration::from_secs(61)));
    }
}
