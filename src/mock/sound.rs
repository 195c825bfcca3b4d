//! A sound, made by rule: MPEG-1 audio layer III, mono, 64 kbit/s, 44.1 kHz. Each frame holds one frequency line in
//! each of its two granules, so no encoder is needed.

use bytes::Bytes;

/// Bytes of a frame: 144 × 64,000 / 44,100, without padding.
pub(super) const FRAME_BYTES: usize = 208;
/// Half a minute.
const FRAMES: usize = 1149;
/// Frames after which the tone changes, as a telephone's ringing does.
const FRAMES_A_TONE: usize = 19;

/// No CRC; 64 kbit/s; 44.1 kHz; mono, original.
const HEADER: [u8; 4] = [0xff, 0xfb, 0x50, 0xc4];

/// A recording of the call with this number.
pub(super) fn recording(number: u64) -> Bytes {
    let low = 8 + (number % 16) as u32;
    let frames = (0..FRAMES).flat_map(|place| {
        let is_low = (place / FRAMES_A_TONE).is_multiple_of(2);
        frame(if is_low { low } else { low + 5 })
    });
    frames.collect::<Vec<_>>().into()
}

/// A frame with a tone of so many times 77 Hz.
fn frame(tone: u32) -> [u8; FRAME_BYTES] {
    let mut bits = BitWriter::default();
    for byte in HEADER {
        bits.push(byte.into(), 8);
    }
    // Side information: the main data begins here, nothing is shared between the granules.
    bits.push(0, 9 + 5 + 4);
    // `tone` pairs of zeros, a pair with one 1, and its sign, in Huffman table 1.
    let length = tone + 2 + 1;
    for _ in 0..2 {
        bits.push(length, 12);
        bits.push(tone + 1, 9);
        // The loudness; no scale factors; no window switching.
        bits.push(205, 8);
        bits.push(0, 4 + 1);
        // Table 1 in all three regions.
        bits.push(0b00001_00001_00001, 15);
        bits.push(0, 4 + 3 + 3);
    }
    for sign in 0..2 {
        for _ in 0..tone {
            bits.push(0b1, 1);
        }
        bits.push(0b01, 2);
        bits.push(sign, 1);
    }
    let mut frame = [0; FRAME_BYTES];
    for (to, from) in frame.iter_mut().zip(bits.bytes) {
        *to = from;
    }
    frame
}

/// BitWriter, the most significant first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// BitWriter of the last byte that are free.
    free: u32,
}

impl BitWriter {
    fn push(&mut self, value: u32, count: u32) {
        for place in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> place & 1) as u8) << self.free;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_frames_of_one_size_after_another() {
        let sound = recording(7);
        assert_eq!(sound.len(), FRAMES * FRAME_BYTES);
        assert!(sound.chunks(FRAME_BYTES).all(|frame| frame[..4] == HEADER));
        assert_ne!(sound, recording(8));
        assert_eq!(sound, recording(7));
    }

    #[test]
    fn side_information_and_main_data_lie_where_a_decoder_looks_for_them() {
        let frame = frame(8);
        let bits: Vec<u8> =
            frame.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
        let number = |from: usize, count: usize| {
            bits[from..from + count].iter().fold(0, |n, bit| n * 2 + u32::from(*bit))
        };
        // 32 bits of header, 18 of side information before the granules, 59 each.
        for granule in [50, 50 + 59] {
            assert_eq!((number(granule, 12), number(granule + 12, 9)), (11, 9));
            assert_eq!(number(granule + 21, 8), 205);
        }
        assert_eq!(50 + 2 * 59, 32 + 17 * 8);
        assert_eq!(number(168, 22), 0b11_1111_1101_0111_1111_1011);
    }
}
