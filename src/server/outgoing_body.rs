//! The body of an answer: whole, or a stream that may fail.

use std::error::Error;

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;

use super::cut_off::CutOff;

/// Why a body ended prematurely.
pub(super) type BodyError = Box<dyn Error + Send + Sync>;

/// How much of a body is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it, in one frame.
    Whole,
    /// This many bytes; the rest may have to be waited for.
    Partial(usize),
}

/// A body that a handler may answer with. An error is visible to the client: HTTP/1.1 cuts the answer short and
/// closes the connection, HTTP/2 resets the stream. The server keeps the body until its end was passed to the HTTP
/// library, or the client has disconnected, so guards of the answer can live in it.
pub(crate) trait OutgoingBody:
    Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static
{
    fn extent(&self) -> Extent;

    /// When the answer must be cut off, whether or not the client takes any of it; `None`: never. Asked once.
    fn cut_off(&mut self) -> Option<CutOff> {
        None
    }
}

impl OutgoingBody for Full<Bytes> {
    fn extent(&self) -> Extent {
        Extent::Whole
    }
}
