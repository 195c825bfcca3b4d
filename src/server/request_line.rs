//! A `#` in a request line.
//!
//! The HTTP library drops everything from a `#` on while it parses the target, so that
//! `/v1/calls/call_1#x` would arrive as another spelling of `/v1/calls/call_1`. RFC 9112 section 3.2
//! has no `#` in a request target; it is replaced by a `%` before the library sees it, which no route
//! and no call ID contains.

/// Follows the bytes of one HTTP/1.1 connection and knows which belong to a request line. Since
/// requests have no bodies here (one that announces a body closes the connection), the stream is
/// heads and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestLines {
    /// Before a request line.
    Before,
    /// In a request line.
    InLine,
    /// In the header fields, at the start of a line.
    LineStart,
    /// In a header field.
    InField,
}

impl RequestLines {
    /// At the start of a connection.
    pub const fn new() -> Self {
        Self::Before
    }

    /// Takes the next bytes, and replaces each `#` of a request line in them.
    pub fn pass(&mut self, bytes: &mut [u8]) {
        // Nearly always: whole heads, none with a `#`.
        if *self == Self::Before && bytes.ends_with(b"\r\n\r\n") && memchr::memchr(b'#', bytes).is_none() {
            return;
        }
        for byte in bytes {
            *self = self.step(byte);
        }
    }

    /// Whether the last head that began has not ended.
    pub fn are_in_a_head(&self) -> bool {
        *self != Self::Before
    }

    fn step(self, byte: &mut u8) -> Self {
        match (self, *byte) {
            // The parser skips empty lines before a request line (RFC 9112 section 2.2).
            (Self::Before, b'\r' | b'\n') => Self::Before,
            (Self::InLine, b'\n') => Self::LineStart,
            (Self::Before | Self::InLine, b'#') => {
                *byte = b'%';
                Self::InLine
            }
            (Self::Before | Self::InLine, _) => Self::InLine,
            // An empty line ends the head.
            (Self::LineStart, b'\n') => Self::Before,
            (Self::LineStart, b'\r') => Self::LineStart,
            (Self::InField, b'\n') => Self::LineStart,
            (Self::LineStart | Self::InField, _) => Self::InField,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when the bytes arrive in pieces of each size.
    fn passed(input: &str) -> String {
        let whole = split(input, input.len());
        for size in 1..input.len() {
            assert_eq!(split(input, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn split(input: &str, size: usize) -> String {
        let mut lines = RequestLines::new();
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
        assert_eq!(passed(head), head.replacen("call_1#x", "call_1%x", 1));
    }

    #[test]
    fn every_request_of_a_connection_is_looked_at() {
        let two = "GET /a HTTP/1.1\r\nHost: a\r\nA: #\r\n\r\nGET /b#c HTTP/1.1\r\nHost: #\r\n\r\n";
        assert_eq!(passed(two), two.replacen("/b#c", "/b%c", 1));
    }

    #[test]
    fn bare_line_feeds_are_lines_too() {
        let two = "GET /a HTTP/1.1\nHost: a\n\nGET /b#c HTTP/1.1\nHost: a\n\n";
        assert_eq!(passed(two), two.replacen("/b#c", "/b%c", 1));
    }

    #[test]
    fn empty_lines_before_a_request_hide_nothing() {
        let head = "\r\n\r\nGET /b#c HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(passed(head), head.replacen("/b#c", "/b%c", 1));
        let head = "\r\nGET /b#c HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(passed(head), head.replacen("/b#c", "/b%c", 1));
    }
}
