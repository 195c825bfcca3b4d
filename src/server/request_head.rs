//! Makes visible what the HTTP library hides in an HTTP/1.1 head: a `#` in the request line, which it drops, and a
//! second `Content-Length` with the same value, which it merges with the first.
//!
//! It replaces one byte for each before the library parses the head. Knows no requests.

use crate::message::FRAGMENT_BYTE;

const CONTENT_LENGTH: &[u8; 14] = b"content-length";

/// Follows the bytes of an HTTP/1.1 connection and tracks the position within a head. Requests have no bodies here
/// (the connection closes after one that announces a body), so the stream consists of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadFilter {
    at: HeadPosition,
    /// Whether this head has a `Content-Length` already.
    has_length: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeadPosition {
    /// Before a request line.
    Before,
    RequestLine,
    /// In the header fields, at the start of a line.
    LineStart,
    /// In a name that matches `Content-Length` so far, in this many characters.
    Name(u8),
    /// In the rest of a field.
    Field,
}

impl HeadFilter {
    pub(crate) const fn new() -> Self {
        Self { at: HeadPosition::Before, has_length: false }
    }

    /// Processes the next bytes. Replaces each `#` of a request line by another byte, and the colon of a head's
    /// second `Content-Length` by a space, which makes the name invalid.
    pub(crate) fn pass(&mut self, bytes: &mut [u8]) {
        // Nearly always: whole heads with nothing to replace.
        if self.at == HeadPosition::Before && bytes.ends_with(b"\r\n\r\n") && !may_need_replacing(bytes) {
            return;
        }
        for byte in bytes {
            self.at = self.step(byte);
        }
    }

    /// Whether the current head is incomplete.
    pub(crate) fn is_in_a_head(&self) -> bool {
        self.at != HeadPosition::Before
    }

    fn step(&mut self, byte: &mut u8) -> HeadPosition {
        match (self.at, *byte) {
            // The parser skips empty lines before a request line (RFC 9112 section 2.2).
            (HeadPosition::Before, b'\r' | b'\n') => HeadPosition::Before,
            (HeadPosition::RequestLine, b'\n') => HeadPosition::LineStart,
            (HeadPosition::Before | HeadPosition::RequestLine, b'#') => {
                *byte = FRAGMENT_BYTE;
                HeadPosition::RequestLine
            }
            (HeadPosition::Before | HeadPosition::RequestLine, _) => HeadPosition::RequestLine,
            // An empty line ends the head.
            (HeadPosition::LineStart, b'\n') => {
                self.has_length = false;
                HeadPosition::Before
            }
            (HeadPosition::LineStart, b'\r') => HeadPosition::LineStart,
            (HeadPosition::Name(matched), b':') => {
                if usize::from(matched) == CONTENT_LENGTH.len() {
                    if self.has_length {
                        *byte = b' ';
                    }
                    self.has_length = true;
                }
                HeadPosition::Field
            }
            (HeadPosition::Name(_) | HeadPosition::Field, b'\n') => HeadPosition::LineStart,
            (HeadPosition::LineStart, other) => continue_name(0, other),
            (HeadPosition::Name(matched), other) => continue_name(matched, other),
            (HeadPosition::Field, _) => HeadPosition::Field,
        }
    }
}

fn continue_name(matched: u8, byte: u8) -> HeadPosition {
    match CONTENT_LENGTH.get(usize::from(matched)) {
        Some(expected) if *expected == byte.to_ascii_lowercase() => HeadPosition::Name(matched + 1),
        Some(_) | None => HeadPosition::Field,
    }
}

/// Whether whole heads contain a `#` or more than one `Content-Length`.
fn may_need_replacing(bytes: &[u8]) -> bool {
    let is_length = |colon: &usize| {
        let name = colon.checked_sub(CONTENT_LENGTH.len()).and_then(|start| bytes.get(start..*colon));
        name.is_some_and(|name| name.eq_ignore_ascii_case(CONTENT_LENGTH))
    };
    memchr::memchr(b'#', bytes).is_some() || memchr::memchr_iter(b':', bytes).filter(is_length).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output when the bytes arrive in pieces of each size.
    fn passed(input: &str) -> String {
        let whole = split(input, input.len());
        for size in 1..input.len() {
            assert_eq!(split(input, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn split(input: &str, size: usize) -> String {
        let mut lines = HeadFilter::new();
        let mut out = Vec::new();
        for piece in input.as_bytes().chunks(size.max(1)) {
            let mut piece = piece.to_vec();
            lines.pass(&mut piece);
            out.extend(piece);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_a_request_lines_hash_is_replaced() {
        let head = "GET /v1/calls/call_1#x HTTP/1.1\r\nHost: a\r\nX-Tag: #1\r\n\r\n";
        assert_eq!(passed(head), head.replacen("call_1#x", "call_1^x", 1));
    }

    #[test]
    fn every_request_of_a_connection_is_inspected() {
        let two = "GET /a HTTP/1.1\r\nHost: a\r\nA: #\r\n\r\nGET /b#c HTTP/1.1\r\nHost: #\r\n\r\n";
        assert_eq!(passed(two), two.replacen("/b#c", "/b^c", 1));
    }

    #[test]
    fn bare_line_feeds_are_lines_too() {
        let two = "GET /a HTTP/1.1\nHost: a\n\nGET /b#c HTTP/1.1\nHost: a\n\n";
        assert_eq!(passed(two), two.replacen("/b#c", "/b^c", 1));
    }

    #[test]
    fn empty_lines_before_a_request_hide_nothing() {
        let head = "\r\n\r\nGET /b#c HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(passed(head), head.replacen("/b#c", "/b^c", 1));
        let head = "\r\nGET /b#c HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(passed(head), head.replacen("/b#c", "/b^c", 1));
    }

    /// Whether the colon of the last `Content-Length` is kept.
    fn last_is_kept(head: &str) -> bool {
        let out = passed(head);
        assert!(
            out.len() == head.len() && out.bytes().zip(head.bytes()).filter(|(a, b)| a != b).count() <= 1
        );
        out == head
    }

    #[test]
    fn a_second_content_length_is_invalidated_however_it_is_spelt() {
        let twice = "GET / HTTP/1.1\r\nContent-Length: 0\r\nA: b\r\ncONTENT-lENGTH:0\r\n\r\n";
        assert_eq!(passed(twice), twice.replace("lENGTH:0", "lENGTH 0"));
        assert!(!last_is_kept("GET / HTTP/1.1\nContent-Length: 0\nContent-Length: 0\n\n"));
        for head in [
            "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Lengths: 0\r\nX-Content-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 0\r\nA: Content-Length: 0\r\n\r\n",
            "GET /Content-Length: HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert!(last_is_kept(head), "{head}");
        }
    }
}
