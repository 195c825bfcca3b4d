//! Short header values without an allocation of their own.

use std::cell::RefCell;

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

/// Bytes that values are cut from: room for some forty answers' worth.
const CHUNK_BYTES: usize = 4096;

/// More than all values of an answer take.
const ANSWER: usize = 1024;

/// The longest value that is cut from a chunk.
const LONGEST: usize = 512;

thread_local! {
    static CHUNK: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Makes sure that there is room for an answer's values. Called when a request begins, when those of the
/// answers before are mostly gone: a chunk of which no value is left is used again.
pub fn make_room_for_values() {
    CHUNK.with(|chunk| {
        if let Ok(mut chunk) = chunk.try_borrow_mut()
            && chunk.capacity() < ANSWER
        {
            chunk.reserve(CHUNK_BYTES);
        }
    });
}

/// The header value that `write` appends, of at most 512 bytes. `None` if it is longer, or has bytes
/// that no header value has.
///
/// An allocation and its end cost some 150 instructions, and a hit has four such values. These share
/// a chunk a thread.
pub fn header_value(write: impl FnOnce(&mut BytesMut)) -> Option<HeaderValue> {
    CHUNK.with(|chunk| {
        let mut chunk = chunk.try_borrow_mut().ok()?;
        if chunk.capacity() < LONGEST {
            chunk.reserve(CHUNK_BYTES);
        }
        write(&mut chunk);
        let text = chunk.split().freeze();
        (text.len() <= LONGEST).then(|| HeaderValue::from_maybe_shared(text).ok()).flatten()
    })
}

/// Appends a number in decimal digits.
pub fn put_decimal(out: &mut BytesMut, number: impl itoa::Integer) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_was_written_and_outlive_their_chunk() {
        let values: Vec<_> = (0..10_000_u32)
            .map(|n| {
                header_value(|out| {
                    out.put_slice(b"n=");
                    put_decimal(out, n);
                })
                .unwrap()
            })
            .collect();
        assert!(values.iter().enumerate().all(|(n, value)| *value == format!("n={n}")));
    }

    #[test]
    fn what_is_no_header_value_is_none() {
        assert_eq!(header_value(|out| out.put_slice(b"a\r\nb: c")), None);
        assert_eq!(header_value(|out| out.put_slice(&[b'a'; 600])), None);
        assert_eq!(header_value(|_| {}).unwrap(), "");
        assert_eq!(header_value(|out| out.put_slice(b"next")).unwrap(), "next");
    }
}
