//! Connections that end gently: a refusal may be sent while its request still arrives, and would be lost if the system
//! answered what is left of it with a reset.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_io_timeout::TimeoutStream;

/// Longest time for which a closed connection is still read.
const TIME: Duration = Duration::from_secs(2);
/// Most bytes that are read from a closed connection, and thrown away.
const BYTES: usize = 64 << 20;

/// A stream that is read after it was shut down, until its other end closes it.
pub(super) struct Linger {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    closing: Option<Pin<Box<Sleep>>>,
    left: usize,
}

impl Linger {
    pub(super) fn new(stream: TimeoutStream<TcpStream>) -> Self {
        Self { stream: Box::pin(stream), closing: None, left: BYTES }
    }
}

impl AsyncRead for Linger {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Linger {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(self.stream.as_mut().poll_shutdown(cx))?;
            self.closing = Some(Box::pin(sleep(TIME)));
        }
        let mut piece = [0; 8192];
        loop {
            if self.closing.as_mut().is_none_or(|end| end.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut piece);
            let read = ready!(self.stream.as_mut().poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            self.left = self.left.saturating_sub(count);
            if read.is_err() || count == 0 || self.left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
