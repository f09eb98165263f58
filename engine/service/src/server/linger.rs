//! Connections that end gently: a refusal may be sent while its request still arrives, and would be lost if the system
//! answered what is left of it with a reset. Receivers that take bytes, but too slowly, are broken off.

use super::body::SLOWEST;
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
    /// Time that a receiver has besides that for its bytes.
    idle: Duration,
    /// End of the time for what is sent, once the receiver has made it wait.
    sending: Option<Pin<Box<Sleep>>>,
}

impl Linger {
    pub(super) fn new(stream: TimeoutStream<TcpStream>, idle: Duration) -> Self {
        Self { stream: Box::pin(stream), closing: None, left: BYTES, idle, sending: None }
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
        let written = self.stream.as_mut().poll_write(cx, bytes);
        let idle = self.idle;
        match &written {
            Poll::Pending => {
                let end = self.sending.get_or_insert_with(|| Box::pin(sleep(idle)));
                if end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Poll::Ready(Ok(count)) => {
                if let Some(end) = &mut self.sending {
                    let later = end.deadline() + Duration::from_secs_f64(*count as f64 / SLOWEST as f64);
                    end.as_mut().reset(later);
                }
            }
            Poll::Ready(Err(_)) => (),
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All that there was to send is with the system.
        self.sending = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    #[tokio::test]
    async fn receivers_that_take_little_at_a_time_are_broken_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut receiver = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut piece = [0; 100];
            while receiver.read(&mut piece).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        // No timeout for single pauses.
        let mut sender = Linger::new(TimeoutStream::new(stream), Duration::from_millis(300));
        let all = vec![0; 64 << 20];
        let written = timeout(Duration::from_secs(20), sender.write_all(&all)).await.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn receivers_of_average_patience_get_all() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut receiver = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let received = tokio::spawn(async move {
            let mut piece = vec![0; 1 << 20];
            let mut count = 0;
            loop {
                match receiver.read(&mut piece).await.unwrap() {
                    0 => return count,
                    more => count += more,
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        let mut sender = Linger::new(TimeoutStream::new(stream), Duration::from_millis(300));
        sender.write_all(&vec![0; 64 << 20]).await.unwrap();
        drop(sender);
        assert_eq!(received.await.unwrap(), 64 << 20);
    }
}
