//! Replaces a `#` in the `:path` of a header block (RFC 7541), which the HTTP library would drop.
//!
//! Needs no header table, because it only has to know which literal values may belong to a `:path`: pseudo-header
//! fields come first in a block (RFC 9113 section 8.3), so values are inspected up to the first field whose name
//! shows it to be an ordinary one. A name in the client's table may be either. If it is an ordinary field, the `#` is
//! replaced in a value where no part of the gateway accepts one.

use super::huffman::Bits;
use crate::message::FRAGMENT_BYTE;

/// The first field of the static table that isn't a pseudo-header, and the first entry of the client's table.
const FIRST_ORDINARY: u32 = 15;
const FIRST_OF_CLIENT: u32 = 62;
/// `:path` in the static table, with two different values.
const PATHS: [u32; 2] = [4, 5];
/// The first bits of a Huffman-coded name that begins with a colon, shifted to the right by one bit.
const CODED_COLON: u8 = 0x5c;

/// Follows the bytes of one header block.
#[derive(Debug)]
pub(super) struct PathFilter {
    at: BlockPosition,
}

#[derive(Debug, Clone, Copy)]
enum BlockPosition {
    /// Before a field.
    Field,
    /// In a number that is continued.
    Number {
        of: Number,
        value: u32,
        shift: u32,
    },
    NameLength,
    /// In a name whose first byte is next or was just read.
    Name {
        coded: bool,
        left: u32,
        is_first: bool,
    },
    ValueLength(ValueScan),
    Plain {
        left: u32,
        look: ValueScan,
    },
    Coded {
        left: u32,
        look: ValueScan,
        bits: Bits,
    },
    /// After the pseudo-header fields.
    Done,
}

/// The meaning of a number.
#[derive(Debug, Clone, Copy)]
enum Number {
    /// A field of a table.
    Indexed,
    /// The name of a field whose value follows.
    Named,
    /// The new size of the client's table.
    TableSize,
    NameLength {
        coded: bool,
    },
    ValueLength {
        coded: bool,
        look: ValueScan,
    },
}

/// Whether a value may belong to `:path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueScan {
    Closely,
    Away,
}

impl PathFilter {
    pub(super) const fn new() -> Self {
        Self { at: BlockPosition::Field }
    }

    /// Takes the next bytes of the block.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        for place in 0..bytes.len() {
            if matches!(self.at, BlockPosition::Done) {
                return;
            }
            if let Some((before, [byte, ..])) = bytes.split_at_mut_checked(place) {
                self.at = step(self.at, before, byte);
            }
        }
    }
}

/// Processes one byte; `before` are the preceding ones that can still be changed.
fn step(at: BlockPosition, before: &mut [u8], byte: &mut u8) -> BlockPosition {
    match at {
        BlockPosition::Field => match *byte {
            0x80.. => prefix(Number::Indexed, *byte, 0x7f),
            0x40..=0x7f => prefix(Number::Named, *byte, 0x3f),
            0x20..=0x3f => prefix(Number::TableSize, *byte, 0x1f),
            0x00..=0x1f => prefix(Number::Named, *byte, 0x0f),
        },
        BlockPosition::Number { of, value, shift } => {
            let more = u32::from(*byte & 0x7f).checked_shl(shift).unwrap_or(u32::MAX);
            let value = value.saturating_add(more);
            match *byte {
                0x80.. => BlockPosition::Number { of, value, shift: shift.saturating_add(7) },
                _ => complete(of, value),
            }
        }
        BlockPosition::NameLength => prefix(Number::NameLength { coded: is_coded(*byte) }, *byte, 0x7f),
        BlockPosition::Name { coded, is_first: true, .. } if !begins_with_colon(coded, *byte) => {
            BlockPosition::Done
        }
        BlockPosition::Name { left: ..=1, .. } => BlockPosition::ValueLength(ValueScan::Closely),
        BlockPosition::Name { coded, left, .. } => {
            BlockPosition::Name { coded, left: left - 1, is_first: false }
        }
        BlockPosition::ValueLength(look) => {
            prefix(Number::ValueLength { coded: is_coded(*byte), look }, *byte, 0x7f)
        }
        BlockPosition::Plain { left, look } => {
            if look == ValueScan::Closely && *byte == b'#' {
                *byte = FRAGMENT_BYTE;
            }
            if left <= 1 { BlockPosition::Field } else { BlockPosition::Plain { left: left - 1, look } }
        }
        BlockPosition::Coded { left, look, mut bits } => {
            if look == ValueScan::Closely {
                bits.take(before, byte);
            }
            if left <= 1 { BlockPosition::Field } else { BlockPosition::Coded { left: left - 1, look, bits } }
        }
        BlockPosition::Done => BlockPosition::Done,
    }
}

const fn is_coded(byte: u8) -> bool {
    byte & 0x80 != 0
}

const fn begins_with_colon(coded: bool, byte: u8) -> bool {
    if coded { byte >> 1 == CODED_COLON } else { byte == b':' }
}

/// A number that begins in the last bits of a byte (RFC 7541 section 5.1).
fn prefix(of: Number, byte: u8, mask: u8) -> BlockPosition {
    let value = u32::from(byte & mask);
    if byte & mask == mask { BlockPosition::Number { of, value, shift: 0 } } else { complete(of, value) }
}

fn complete(of: Number, value: u32) -> BlockPosition {
    match of {
        Number::Indexed | Number::Named if (FIRST_ORDINARY..FIRST_OF_CLIENT).contains(&value) => {
            BlockPosition::Done
        }
        Number::Indexed | Number::TableSize => BlockPosition::Field,
        Number::Named if value == 0 => BlockPosition::NameLength,
        Number::Named if PATHS.contains(&value) || value >= FIRST_OF_CLIENT => {
            BlockPosition::ValueLength(ValueScan::Closely)
        }
        Number::Named => BlockPosition::ValueLength(ValueScan::Away),
        // Without a name it is no pseudo-header field.
        Number::NameLength { .. } if value == 0 => BlockPosition::Done,
        Number::NameLength { coded } => BlockPosition::Name { coded, left: value, is_first: true },
        Number::ValueLength { .. } if value == 0 => BlockPosition::Field,
        Number::ValueLength { coded: false, look } => BlockPosition::Plain { left: value, look },
        Number::ValueLength { coded: true, look } => {
            BlockPosition::Coded { left: value, look, bits: Bits::NONE }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output for the block, sent at once, and in pieces of this size.
    fn passed(block: &[u8], size: usize) -> Vec<u8> {
        let (mut filter, mut out) = (PathFilter::new(), block.to_vec());
        out.chunks_mut(size).for_each(|piece| filter.pass(piece));
        out
    }

    fn text(text: &str) -> Vec<u8> {
        assert!(text.len() < 127);
        [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }

    /// The codes of what these tests spell (RFC 7541 appendix B).
    fn coded(text: &str) -> Vec<u8> {
        let mut bits: String = text
            .chars()
            .map(|char| match char {
                '#' => "111111111010",
                '%' => "010101",
                '>' => "111111111011",
                '/' => "011000",
                ':' => "1011100",
                'a' => "00011",
                'h' => "100111",
                'p' => "101011",
                't' => "01001",
                '1' => "00001",
                '~' => "1111111111101",
                other => panic!("no code for {other}"),
            })
            .collect();
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let bytes: Vec<_> = bits
            .as_bytes()
            .chunks(8)
            .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap())
            .collect();
        [&[0x80 | u8::try_from(bytes.len()).unwrap()], bytes.as_slice()].concat()
    }

    #[test]
    fn a_literal_path_is_marked_however_it_is_named() {
        let (path, marked) = (text("/a#b#"), text("/a^b^"));
        for name in
            [&[0x04][..], &[0x05], &[0x44], &[0x14], &[0x7f, 0x00], &[0x0f, 0x2f], &[0x7f, 0x81, 0x01]]
        {
            assert_eq!(passed(&[name, &path].concat(), 99), [name, &marked].concat(), "{name:x?}");
        }
        for name in [[&[0x00], &text(":path")[..]].concat(), [&[0x40], &coded(":path")[..]].concat()] {
            let (block, wanted) = ([&name[..], &path].concat(), [&name[..], &marked].concat());
            assert_eq!(passed(&block, 99), wanted, "{name:x?}");
            assert_eq!(passed(&block, 1), wanted, "{name:x?}");
        }
    }

    #[test]
    fn a_coded_path_is_marked_by_as_many_bits() {
        for path in ["/a#", "/#", "/#1", "#", "##", "/aaa#a#", "/~#~", "/ta#ap##1"] {
            let wanted = [&[0x82, 0x84, 0x04], &coded(&path.replace('#', "%%"))[..]].concat();
            assert_eq!(passed(&[&[0x82, 0x84, 0x04], &coded(path)[..]].concat(), 99), wanted, "{path}");
        }
        for path in ["/~", "/aaa", "%%", ">"] {
            let block = [&[0x04], &coded(path)[..]].concat();
            assert_eq!(passed(&block, 99), block, "{path}");
        }
    }

    #[test]
    fn a_coded_path_that_arrives_in_pieces_is_made_invalid() {
        for path in ["/a#", "/#1", "/aaa#a#", "/~#~"] {
            let block = [&[0x04], &coded(path)[..]].concat();
            assert_eq!(passed(&block, 1), [&[0x04], &coded(&path.replace('#', ">"))[..]].concat(), "{path}");
        }
    }

    #[test]
    fn other_fields_are_left_alone() {
        for block in [
            // `:authority`, then a `user-agent` of the static table, after which nothing is inspected.
            [&[0x01], &text("a#")[..], &[0x0f, 0x2b], &text("b#"), &[0x04], &text("c#")].concat(),
            [&[0x00], &text("x-tag")[..], &text("#")].concat(),
            [&[0x00], &coded("tap")[..], &coded("#")].concat(),
            // `authorization` by its number, and an indexed `accept-encoding`.
            [&[0x0f, 0x08], &text("#")[..]].concat(),
            [&[0x90, 0x04], &text("#")[..]].concat(),
        ] {
            assert_eq!(passed(&block, 99), block);
            assert_eq!(passed(&block, 1), block);
        }
    }

    #[test]
    fn no_bytes_overflow_anything() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..40).map(|_| random.u8(..)).collect();
            bytes.splice(0..0, [0x04, 0xff, 0x80 | random.u8(..), 0xff]);
            assert_eq!(passed(&bytes, 1 + random.usize(..40)).len(), bytes.len());
        }
        let endless = [[0x04, 0x7f].as_slice(), &[0xff; 40]].concat();
        assert_eq!(passed(&endless, 99).len(), endless.len());
    }
}
