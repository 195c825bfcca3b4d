//! Header values of an answer, sliced from one buffer per thread.

use std::cell::Cell;

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

/// Space for the values of some forty answers.
const CHUNK_BYTES: usize = 4096;

/// More than the values of one answer need; longer values get a new chunk.
const ANSWER_BYTES: usize = 1024;

thread_local! {
    /// The rest of the chunk between two answers.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A buffer to write header values into.
///
/// Allocating and freeing costs some 150 instructions, and a hit has four values of its own. They share a chunk,
/// which is reused once no value refers to it.
#[derive(Debug)]
pub(crate) struct HeaderText(BytesMut);

impl HeaderText {
    /// Takes the thread's buffer until the value is dropped.
    pub(crate) fn borrow() -> Self {
        let mut buffer = SPARE.try_with(Cell::take).unwrap_or_default();
        if buffer.capacity() < ANSWER_BYTES {
            buffer.reserve(CHUNK_BYTES);
        }
        Self(buffer)
    }

    /// The header value that `write` appends. `None` if it contains bytes that are invalid in a header value.
    pub(crate) fn value(&mut self, write: impl FnOnce(&mut BytesMut)) -> Option<HeaderValue> {
        write(&mut self.0);
        HeaderValue::from_maybe_shared(self.0.split().freeze()).ok()
    }
}

impl Drop for HeaderText {
    fn drop(&mut self) {
        // Thread-locals may be gone already when a thread ends.
        let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.0)));
    }
}

/// Appends a number in decimal digits.
pub(crate) fn put_decimal(out: &mut BytesMut, number: impl itoa::Integer) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_was_written_and_outlive_their_buffer() {
        let mut text = HeaderText::borrow();
        let mut number = |n: u32| {
            text.value(|out| {
                out.put_slice(b"n=");
                put_decimal(out, n);
            })
        };
        let values: Vec<_> = (0..1_000).map(|n| number(n).unwrap()).collect();
        assert!(values.iter().enumerate().all(|(n, value)| *value == format!("n={n}")));
    }

    #[test]
    fn bytes_that_no_header_value_has_are_refused_and_do_not_touch_the_next_value() {
        let mut text = HeaderText::borrow();
        assert_eq!(text.value(|out| out.put_slice(b"a\r\nb: c")), None);
        assert_eq!(text.value(|_| {}).unwrap(), "");
        assert_eq!(text.value(|out| out.put_slice(b"next")).unwrap(), "next");
    }
}
