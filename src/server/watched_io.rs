//! A client's socket that tells [`Activity`] what passes through it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::joined::poll_write_joined;
use super::opening::{Opening, Speaks};
use super::request_line::RequestLines;

/// A socket, watched. What was read of it to find out what it speaks is read again first.
pub struct WatchedIo<I> {
    io: I,
    activity: Arc<Activity>,
    opening: Opening,
    /// Bytes of the opening that were read again.
    reread: usize,
    /// Of HTTP/1.1.
    lines: Option<RequestLines>,
}

impl<I> WatchedIo<I> {
    /// Watches `io`, of which `opening` was read.
    pub fn new(io: I, opening: Opening, activity: Arc<Activity>) -> Self {
        let lines = match opening.speaks {
            Speaks::Lines => Some(RequestLines::new()),
            Speaks::Frames => None,
        };
        Self { io, activity, opening, reread: 0, lines }
    }

    /// The rest of the opening, as far as there is room for it.
    #[cold]
    fn reread(&mut self, rest: usize, buf: &mut ReadBuf<'_>) {
        let rest = rest.min(buf.remaining());
        buf.put_slice(self.opening.bytes().get(self.reread..self.reread + rest).unwrap_or_default());
        self.reread += rest;
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WatchedIo<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match this.opening.bytes().len() - this.reread {
            0 => ready!(Pin::new(&mut this.io).poll_read(cx, buf))?,
            rest => this.reread(rest, buf),
        }
        if let (Some(lines), Some(new)) = (&mut this.lines, buf.filled_mut().get_mut(before..))
            && !new.is_empty()
        {
            lines.pass(new);
            this.activity.head_bytes_came(lines.are_in_a_head());
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> WatchedIo<I> {
    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Pending => self.activity.write_blocked(),
            Poll::Ready(_) => self.activity.wrote(),
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for WatchedIo<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.written(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = poll_write_joined(&mut this.io, cx, slices);
        this.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
