//! HTTP/2 as bytes: frames that a test writes and reads itself (RFC 9113), with header blocks that need
//! no table (RFC 7541).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Kinds of frames.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection on which the prefaces were exchanged.
pub struct Frames {
    socket: TcpStream,
}

impl Frames {
    /// Whose reads end after `patience`.
    pub fn connect(address: SocketAddr, patience: Duration) -> Self {
        let mut socket = TcpStream::connect(address).expect("connect");
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.set_write_timeout(Some(patience)).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut frames = Self { socket };
        assert!(frames.send(SETTINGS, 0, 0, &[]));
        frames
    }

    /// Whether the other side took it.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.socket.write_all(&frame(kind, flags, stream, payload)).is_ok()
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// A lookup on a stream of its own.
    pub fn get(&mut self, stream: u32, path: &str, token: &str) -> bool {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &lookup(path, token))
    }

    /// The next frame; `None` at the end of the connection, or of patience.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload })
    }

    /// Frames up to the first of this kind, which is returned.
    pub fn read_until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.read()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The error code of the GOAWAY with which the other side ends the connection; `None` if it ended
    /// without one.
    pub fn read_goaway(&mut self) -> Option<u32> {
        let code = self.read_until(GOAWAY)?.payload;
        Some(u32::from_be_bytes(code.get(4..8)?.try_into().ok()?))
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header block of a lookup.
pub fn lookup(path: &str, token: &str) -> Vec<u8> {
    // `:method: GET` and `:scheme: http` have numbers.
    let mut block = vec![0x82, 0x86];
    block.extend(field(":path", path));
    block.extend(field(":authority", "gateway"));
    block.extend(field("authorization", &format!("Bearer {token}")));
    block
}

/// A header field, spelt out.
pub fn field(name: &str, value: &str) -> Vec<u8> {
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
