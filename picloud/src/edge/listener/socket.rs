//! The socket of a connection, which drives the connection's timers.
//!
//! With many active connections the first write of a response is deferred until all other ready tasks have run, so that the responses of
//! several connections are written in one burst. A client with many connections, such as a proxy, then wakes up once for all of them; a
//! wake-up costs the kernel as much as a write.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::frame_rate_limit::FrameRateLimit;
use super::state::ListenerState;
use super::timers::ConnectionTimers;

/// The minimum number of active connections to defer writes. With fewer, there is seldom another response to write.
const DEFER_CONNECTIONS_MIN: usize = 16;

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    timers: Arc<ConnectionTimers>,
    /// Set where writes can be deferred.
    state: Option<Arc<ListenerState>>,
    /// Whether bytes were read and nothing was written since.
    has_read: bool,
    /// Set for HTTP/2.
    frames: Option<FrameRateLimit>,
}

impl Socket {
    /// A socket that writes at once and fails on too many control frames.
    pub(super) fn http2(stream: TcpStream, timers: &Arc<ConnectionTimers>) -> Self {
        Self { frames: Some(FrameRateLimit::new(Instant::now())), ..Self::new(stream, timers) }
    }

    fn new(stream: TcpStream, timers: &Arc<ConnectionTimers>) -> Self {
        Self { stream, timers: Arc::clone(timers), state: None, has_read: false, frames: None }
    }

    /// A socket that can defer writes.
    pub(super) fn http1(
        stream: TcpStream,
        timers: &Arc<ConnectionTimers>,
        state: &Arc<ListenerState>,
    ) -> Self {
        Self { state: Some(Arc::clone(state)), ..Self::new(stream, timers) }
    }

    /// Whether to defer the first write of a response until all other ready tasks have run; then the task is woken.
    fn defers_write(&mut self, context: &mut Context<'_>) -> bool {
        let is_busy =
            |state: &Arc<ListenerState>| state.buffered.load(Ordering::Relaxed) >= DEFER_CONNECTIONS_MIN;
        std::mem::take(&mut self.has_read)
            && self.state.as_ref().is_some_and(is_busy)
            && pin!(tokio::task::yield_now()).poll(context).is_pending()
    }

    /// Records whether a write blocked. The kernel accepts more only when a third of the send buffer is free, so a client that reads single
    /// bytes counts as one that reads nothing.
    fn record(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.timers.write_blocked(),
            Poll::Ready(written) => self.timers.write_completed(*written.as_ref().unwrap_or(&0)),
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if let Poll::Ready(Ok(())) = read {
            let bytes = into.filled().len() - before;
            self.timers.bytes_read(bytes);
            self.has_read = bytes > 0;
            let new = &into.filled()[before..];
            if self.frames.as_mut().is_some_and(|frames| !frames.accept(new, Instant::now())) {
                return Poll::Ready(Err(io::Error::other("too many HTTP/2 control frames")));
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.defers_write(context) {
            self.timers.write_deferred();
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.record(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.record(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when nothing is left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.timers.flush_completed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
