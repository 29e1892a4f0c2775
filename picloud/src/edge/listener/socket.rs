//! A connection's socket, which notes in the connection's [`Pulse`] when the client takes or sends nothing.
//!
//! Where many connections are spoken on, an answer waits for the others that are ready as well, and they are sent one right
//! after another. Who asks over many connections, as a proxy does, is woken once for several of them then; it takes the kernel
//! as long to wake somebody as to send an answer.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::frames::IdleFrames;
use super::house::House;
use super::pulse::Pulse;

/// How many connections must be spoken on at the least for an answer to wait for others: where fewer are, none is ready as well
/// most of the time.
const COMPANY: usize = 16;

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pulse: Arc<Pulse>,
    /// Where the others are, if answers may wait for them.
    house: Option<Arc<House>>,
    /// Something came, and nothing was sent since then.
    asked: bool,
    /// Of HTTP/2, the frames that ask for nothing.
    frames: Option<IdleFrames>,
}

impl Socket {
    /// A socket that sends everything at once, and ends where too many frames of HTTP/2 ask for nothing.
    pub(super) fn of_frames(stream: TcpStream, pulse: &Arc<Pulse>) -> Self {
        Self { frames: Some(IdleFrames::new(Instant::now())), ..Self::new(stream, pulse) }
    }

    fn new(stream: TcpStream, pulse: &Arc<Pulse>) -> Self {
        Self { stream, pulse: Arc::clone(pulse), house: None, asked: false, frames: None }
    }

    /// One whose answers may wait for others of the `house`.
    pub(super) fn in_company(stream: TcpStream, pulse: &Arc<Pulse>, house: &Arc<House>) -> Self {
        Self { house: Some(Arc::clone(house)), ..Self::new(stream, pulse) }
    }

    /// Whether the first piece of an answer is to wait until everything else that is ready was looked at; then the task is
    /// woken.
    fn waits_for_others(&mut self, context: &mut Context<'_>) -> bool {
        let crowded = |house: &Arc<House>| house.serving.load(Ordering::Relaxed) >= COMPANY;
        std::mem::take(&mut self.asked)
            && self.house.as_ref().is_some_and(crowded)
            && pin!(tokio::task::yield_now()).poll(context).is_pending()
    }

    /// Notes whether the client took anything. The kernel takes more for a client only when a third of what waits for it is
    /// gone, so one that takes a byte now and then counts as one that takes nothing.
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.pulse.cannot_write(),
            Poll::Ready(written) => self.pulse.wrote(*written.as_ref().unwrap_or(&0)),
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
            self.pulse.read(bytes);
            self.asked = bytes > 0;
            let came = &into.filled()[before..];
            if self.frames.as_mut().is_some_and(|frames| !frames.count(came, Instant::now())) {
                return Poll::Ready(Err(io::Error::other("too many frames that ask for nothing")));
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
        if self.waits_for_others(context) {
            self.pulse.holds_back();
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Both versions of HTTP flush when nothing is left to be written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pulse.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
