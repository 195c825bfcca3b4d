//! Finds the header blocks among the frames of an HTTP/2 connection (RFC 9113 section 4), and replaces a `#` in a
//! `:path`, which the HTTP library would drop.
//!
//! Validates nothing: the library ends connections with malformed frames.

use super::path_filter::PathFilter;

const HEAD_BYTES: usize = 9;
const PRIORITY_BYTES: u32 = 5;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Follows the bytes that a client sends after the connection preface.
#[derive(Debug)]
pub(super) struct FrameFilter {
    at: FramePosition,
    head: [u8; HEAD_BYTES],
    /// Remaining bytes of the payload.
    left: u32,
    /// Bytes of padding at its end.
    padding: u32,
    fields: PathFilter,
}

#[derive(Debug, Clone, Copy)]
enum FramePosition {
    /// In a frame's head, of which this many bytes have been read.
    Head(usize),
    PadLength,
    /// In the priority fields of a `HEADERS` frame, of which this many bytes remain.
    Priority(u32),
    Block,
    /// In a part that isn't inspected.
    Skipped,
}

impl FrameFilter {
    pub(super) fn new() -> Self {
        Self {
            at: FramePosition::Head(0),
            head: [0; HEAD_BYTES],
            left: 0,
            padding: 0,
            fields: PathFilter::new(),
        }
    }

    pub(super) fn pass(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = self.pass_some(bytes);
            bytes = bytes.get_mut(taken..).unwrap_or_default();
        }
    }

    /// Passes bytes of one part of a frame, at least one, and returns how many.
    fn pass_some(&mut self, bytes: &mut [u8]) -> usize {
        let wanted = match self.at {
            FramePosition::Head(filled) => return self.pass_head(filled, bytes),
            FramePosition::PadLength => 1,
            FramePosition::Priority(left) => left,
            FramePosition::Block => self.left.saturating_sub(self.padding),
            FramePosition::Skipped => self.left,
        };
        let wanted = wanted.min(self.left);
        let taken = bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let Some(part) = bytes.get_mut(..taken) else { return bytes.len() };
        let count = u32::try_from(taken).unwrap_or(u32::MAX);
        match self.at {
            FramePosition::PadLength => {
                self.padding = part.first().copied().map_or(0, u32::from);
                self.at = self.after_pad_length();
            }
            FramePosition::Priority(left) if left <= count => self.at = FramePosition::Block,
            FramePosition::Priority(left) => self.at = FramePosition::Priority(left - count),
            FramePosition::Block => self.fields.pass(part),
            FramePosition::Head(_) | FramePosition::Skipped => {}
        }
        self.left = self.left.saturating_sub(count);
        if self.left == 0 {
            self.at = FramePosition::Head(0);
        } else if matches!(self.at, FramePosition::Block) && self.left <= self.padding {
            self.at = FramePosition::Skipped;
        }
        taken
    }

    fn pass_head(&mut self, filled: usize, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(HEAD_BYTES - filled);
        if let (Some(into), Some(from)) = (self.head.get_mut(filled..filled + taken), bytes.get(..taken)) {
            into.copy_from_slice(from);
        }
        self.at = match filled + taken {
            HEAD_BYTES => self.begin(),
            filled => FramePosition::Head(filled),
        };
        taken
    }

    /// The frame's payload begins.
    fn begin(&mut self) -> FramePosition {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.left = u32::from_be_bytes([0, high, middle, low]);
        self.padding = 0;
        if kind == HEADERS {
            self.fields = PathFilter::new();
        }
        match kind {
            _ if self.left == 0 => FramePosition::Head(0),
            HEADERS if flags & PADDED != 0 => FramePosition::PadLength,
            HEADERS => self.after_pad_length(),
            CONTINUATION => FramePosition::Block,
            _ => FramePosition::Skipped,
        }
    }

    fn after_pad_length(&self) -> FramePosition {
        let [.., flags, _, _, _, _] = self.head;
        if flags & PRIORITY != 0 { FramePosition::Priority(PRIORITY_BYTES) } else { FramePosition::Block }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// The output for these bytes when they arrive in pieces of each size.
    fn passed(bytes: &[u8]) -> Vec<u8> {
        let in_pieces = |size: usize| {
            let (mut filter, mut out) = (FrameFilter::new(), bytes.to_vec());
            out.chunks_mut(size).for_each(|piece| filter.pass(piece));
            out
        };
        let whole = in_pieces(bytes.len());
        for size in 1..bytes.len() {
            assert_eq!(in_pieces(size), whole, "in pieces of {size}");
        }
        whole
    }

    /// `:method: GET`, and `:path: /a#b` spelt out.
    const BLOCK: &[u8] = b"\x82\x04\x04/a#b";
    const MARKED: &[u8] = b"\x82\x04\x04/a^b";

    #[test]
    fn only_header_blocks_are_inspected() {
        let settings = frame(4, 0, b"#\x04\x01#\x04\x01#");
        let data = frame(0, 0, BLOCK);
        let bytes = [settings.clone(), frame(1, 5, BLOCK), data.clone(), frame(1, 5, BLOCK)].concat();
        let wanted = [settings, frame(1, 5, MARKED), data, frame(1, 5, MARKED)].concat();
        assert_eq!(passed(&bytes), wanted);
    }

    #[test]
    fn a_block_may_be_padded_have_a_priority_and_be_continued() {
        let (first, rest) = BLOCK.split_at(3);
        let (first_marked, rest_marked) = MARKED.split_at(3);
        let padded = |block: &[u8]| [&[2, b'#', b'#', b'#', b'#', b'#'], block, b"##"].concat();
        for priority in [0, 0x20] {
            let front = |block: &[u8]| match priority {
                0 => [&[2], block, b"##"].concat(),
                _ => padded(block),
            };
            let bytes = [frame(1, 8 | priority, &front(first)), frame(9, 4, rest)].concat();
            let wanted = [frame(1, 8 | priority, &front(first_marked)), frame(9, 4, rest_marked)].concat();
            assert_eq!(passed(&bytes), wanted);
        }
    }

    #[test]
    fn frames_that_are_too_short_for_their_flags_do_no_harm() {
        let bytes = [frame(1, 8, &[]), frame(1, 8, &[9]), frame(1, 0x28, &[200, 1]), frame(1, 5, BLOCK)];
        let wanted = [&bytes[0], &bytes[1], &bytes[2], &frame(1, 5, MARKED)].map(Vec::as_slice).concat();
        assert_eq!(passed(&bytes.concat()), wanted);
    }
}
