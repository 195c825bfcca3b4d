//! A client's socket that reports its traffic to [`Activity`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::frame_filter::FrameFilter;
use super::joined::poll_write_joined;
use super::preface::Preface;
use super::request_head::HeadFilter;
use crate::message::HttpVersion;

/// A watched socket. The bytes read to recognise the version are read again first.
pub(super) struct WatchedIo<I> {
    io: I,
    activity: Arc<Activity>,
    preface: Preface,
    /// Bytes of the preface that have been read again.
    reread: u8,
    filter: Filter,
}

/// Replaces what the HTTP library would hide.
enum Filter {
    Heads(HeadFilter),
    /// Boxed, so that HTTP/1.1 connections don't pay for its size.
    Frames(Box<FrameFilter>),
}

impl<I> WatchedIo<I> {
    /// Watches `io`, from which `preface` has been read.
    pub(super) fn new(io: I, preface: Preface, activity: Arc<Activity>) -> Self {
        let filter = match preface.version {
            HttpVersion::Http1 => Filter::Heads(HeadFilter::new()),
            HttpVersion::Http2 => Filter::Frames(Box::new(FrameFilter::new())),
        };
        Self { io, activity, preface, reread: 0, filter }
    }

    /// The rest of the preface, as far as it fits.
    #[cold]
    fn reread(&mut self, rest: usize, buf: &mut ReadBuf<'_>) {
        let rest = rest.min(buf.remaining());
        let start = usize::from(self.reread);
        buf.put_slice(self.preface.bytes().get(start..start + rest).unwrap_or_default());
        self.reread = u8::try_from(start + rest).unwrap_or(u8::MAX);
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WatchedIo<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let is_preface = match this.preface.bytes().len().saturating_sub(usize::from(this.reread)) {
            0 => {
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                false
            }
            rest => {
                this.reread(rest, buf);
                true
            }
        };
        let Some(new @ [_, ..]) = buf.filled_mut().get_mut(before..) else { return Poll::Ready(Ok(())) };
        match &mut this.filter {
            Filter::Heads(heads) => {
                heads.pass(new);
                this.activity.head_bytes_came(heads.is_in_a_head());
            }
            // HTTP/2's preface comes before the first frame.
            Filter::Frames(_) if is_preface => {}
            Filter::Frames(frames) => frames.pass(new),
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
