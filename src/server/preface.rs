//! How a connection opens: HTTP/2 with its preface, or HTTP/1.1 with anything else.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::message::HttpVersion;

/// The start of every HTTP/2 connection (RFC 9113 section 3.4), and of no HTTP/1.1 request.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes read to recognise the version. The HTTP library gets to read them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preface {
    /// The version that the client uses.
    pub version: HttpVersion,
    bytes: [u8; PREFACE.len()],
    len: u8,
}

impl Preface {
    /// The bytes that were read.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Reads until the version is clear. `None` if the client disconnects before it has sent anything.
    pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
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
                return Ok(Some(Self::of(HttpVersion::Http1, bytes, len)));
            }
        }
        Ok(Some(Self::of(HttpVersion::Http2, bytes, len)))
    }

    fn of(version: HttpVersion, bytes: [u8; PREFACE.len()], len: usize) -> Self {
        // At most 24.
        Self { version, bytes, len: u8::try_from(len).unwrap_or(u8::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces arrive one by one.
    async fn read(pieces: &[&[u8]]) -> Option<Preface> {
        let mut reading = tokio_test_io(pieces);
        Preface::read(&mut reading).await.unwrap()
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
            let preface = read(pieces).await.unwrap();
            assert_eq!((preface.version, preface.bytes()), (HttpVersion::Http2, &PREFACE[..]));
        }
        for text in
            ["GET / HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1\r\n", "PRI * HTTP/2.1\r\n\r\n", "P", "\r\nGET /"]
        {
            let preface = read(&[text.as_bytes()]).await.unwrap();
            assert_eq!(preface.version, HttpVersion::Http1, "{text:?}");
            assert!(text.as_bytes().starts_with(preface.bytes()) && !preface.bytes().is_empty());
        }
        assert_eq!(read(&[]).await, None, "gone without a word");
    }
}
