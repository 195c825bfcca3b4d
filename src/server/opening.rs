//! How a connection opens: HTTP/2 with its preface, or HTTP/1.1 with anything else.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How every HTTP/2 connection begins (RFC 9113 section 3.4), and no HTTP/1.1 request does.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was read to find out, to be read again by whoever speaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// What is spoken.
    pub speaks: Speaks,
    bytes: [u8; PREFACE.len()],
    len: usize,
}

/// The two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 or 1.0.
    Lines,
    /// HTTP/2.
    Frames,
}

impl Opening {
    /// The bytes that were read.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Reads until it is clear what is spoken. `None` if the client leaves before it said anything.
    pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut bytes = [0; PREFACE.len()];
        let mut len = 0;
        while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
            let read = io.read(room).await?;
            if read == 0 && len == 0 {
                return Ok(None);
            }
            len += read;
            let so_far = bytes.get(..len).unwrap_or_default();
            if read == 0 || !PREFACE.starts_with(so_far) {
                return Ok(Some(Self { speaks: Speaks::Lines, bytes, len }));
            }
        }
        Ok(Some(Self { speaks: Speaks::Frames, bytes, len }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces arrive one by one.
    async fn read(pieces: &[&[u8]]) -> Option<Opening> {
        let mut reading = tokio_test_io(pieces);
        Opening::read(&mut reading).await.unwrap()
    }

    fn tokio_test_io(pieces: &[&[u8]]) -> impl AsyncRead + Unpin + use<> {
        pieces.iter().fold(Box::new(tokio::io::empty()) as Box<dyn AsyncRead + Unpin>, |before, piece| {
            Box::new(before.chain(io::Cursor::new(piece.to_vec())))
        })
    }

    #[tokio::test]
    async fn the_whole_preface_is_http_2_and_anything_else_is_not() {
        for pieces in [
            &[&PREFACE[..]] as &[&[u8]],
            &[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\nmore"],
            &[b"P", b"R", &PREFACE[2..]],
        ] {
            let opening = read(pieces).await.unwrap();
            assert_eq!((opening.speaks, opening.bytes()), (Speaks::Frames, &PREFACE[..]));
        }
        for text in
            ["GET / HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1\r\n", "PRI * HTTP/2.1\r\n\r\n", "P", "\r\nGET /"]
        {
            let opening = read(&[text.as_bytes()]).await.unwrap();
            assert_eq!(opening.speaks, Speaks::Lines, "{text:?}");
            assert!(text.as_bytes().starts_with(opening.bytes()) && !opening.bytes().is_empty());
        }
        assert_eq!(read(&[]).await, None, "gone without a word");
    }
}
