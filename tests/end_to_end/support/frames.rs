//! HTTP/2 as bytes: frames that a test writes and reads itself (RFC 9113), with header blocks that need
//! no table (RFC 7541).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Kinds of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection on which the prefaces were exchanged.
pub(crate) struct Frames {
    socket: TcpStream,
}

impl Frames {
    /// Connects, with `patience` as the timeout of reads and writes.
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> Self {
        let mut socket = TcpStream::connect(address).expect("connect");
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.set_write_timeout(Some(patience)).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut frames = Self { socket };
        assert!(frames.send(SETTINGS, 0, 0, &[]));
        frames
    }

    /// Whether the bytes could be written.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.socket.write_all(&frame(kind, flags, stream, payload)).is_ok()
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// A lookup on a new stream.
    pub(crate) fn get(&mut self, stream: u32, path: &str, token: &str) -> bool {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &lookup(path, token))
    }

    /// The next frame; `None` at the end of the connection, or after the timeout.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload })
    }

    /// Frames up to the first of this kind, which is returned.
    pub(crate) fn read_until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.read()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The status of the answer on a stream: a code of three digits, or why there is none.
    pub(crate) fn read_status(&mut self, stream: u32) -> Result<u16, Option<u32>> {
        while let Some(frame) = self.read() {
            match frame.kind {
                HEADERS if frame.stream == stream => return Ok(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => {
                    return Err(Some(u32::from_be_bytes(frame.payload.try_into().unwrap())));
                }
                _ => {}
            }
        }
        Err(None)
    }

    /// The error code of the GOAWAY with which the other side ends the connection; `None` if it ended
    /// without one.
    pub(crate) fn read_goaway(&mut self) -> Option<u32> {
        let code = self.read_until(GOAWAY)?.payload;
        Some(u32::from_be_bytes(code.get(4..8)?.try_into().ok()?))
    }
}

/// The status at the beginning of a header block: `:status` with a value of the static table, or spelt
/// out behind its number, plainly or with Huffman's codes of digits.
fn status(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        // Digits have codes of five bits (0 to 2) and six (3 to 9).
        [0x08 | 0x48 | 0x18, length, value @ ..] => {
            let value = &value[..usize::from(length & 0x7f)];
            if length & 0x80 == 0 {
                return std::str::from_utf8(value).unwrap().parse().unwrap();
            }
            let bits: String = value.iter().map(|byte| format!("{byte:08b}")).collect();
            let (mut rest, mut number) = (bits.as_str(), 0);
            for _ in 0..3 {
                let (length, digit) = match &rest[..5] {
                    "00000" => (5, 0),
                    "00001" => (5, 1),
                    "00010" => (5, 2),
                    _ => (6, u16::from_str_radix(&rest[..6], 2).unwrap() - 0b011_001 + 3),
                };
                number = number * 10 + digit;
                rest = &rest[length..];
            }
            number
        }
        other => panic!("no status: {other:x?}"),
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header block of a lookup.
pub(crate) fn lookup(path: &str, token: &str) -> Vec<u8> {
    let authorization = format!("Bearer {token}");
    get(&[(":path", path), (":authority", "gateway"), ("authorization", &authorization)])
}

/// The header block of a `GET` with these fields.
pub(crate) fn get(fields: &[(&str, &str)]) -> Vec<u8> {
    // `:method: GET` and `:scheme: http` have numbers.
    let mut block = vec![0x82, 0x86];
    for (name, value) in fields {
        block.extend(field(name, value));
    }
    block
}

/// A header field, spelt out.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(length(text.len()));
        bytes.extend(text.bytes());
    }
    bytes
}

/// A length with a prefix of seven bits.
fn length(mut rest: usize) -> Vec<u8> {
    if rest < 127 {
        return vec![rest as u8];
    }
    rest -= 127;
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}
