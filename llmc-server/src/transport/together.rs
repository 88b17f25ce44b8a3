//! A writer that says together what there is to say at a moment.
//!
//! Alone, a message is written at once. While others are on their way it waits for those who are ready to run now, so
//! that one system call, and one wake-up of the client, does for all of them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;

/// Bytes that may wait; who has more to say waits until they are written.
const MAX_WAITING_BYTES: usize = 64 << 10;

/// Clones write to the same.
pub(crate) struct Together<W>(Arc<Shared<W>>);

struct Shared<W> {
    state: Mutex<State<W>>,
    /// Whether more is about to be said.
    expects_more: Box<dyn Fn() -> bool + Send + Sync>,
}

struct State<W> {
    to: W,
    /// What a task is about to write; while there is something, there is exactly one such task.
    waiting: Vec<u8>,
    /// How much of it was written.
    written: usize,
    /// Who waits until there is room, or nothing is left.
    wakers: Vec<Waker>,
    /// Why nothing can be written any more.
    failed: Option<io::ErrorKind>,
}

impl<W> Clone for Together<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> Together<W> {
    /// Messages wait for others as long as `expects_more` says that there will be some.
    pub(crate) fn new(to: W, expects_more: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let state = State { to, waiting: Vec::new(), written: 0, wakers: Vec::new(), failed: None };
        Self(Arc::new(Shared { state: Mutex::new(state), expects_more: Box::new(expects_more) }))
    }

    /// Waits until everything is written, or cannot be.
    pub(crate) async fn written(&self) {
        poll_fn(|context| self.0.state().poll_empty(context)).await;
    }

    async fn write_out(self) {
        tokio::task::yield_now().await;
        poll_fn(|context| self.0.state().poll_write_out(context)).await;
    }
}

impl<W> Shared<W> {
    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: AsyncWrite + Unpin> State<W> {
    /// Ready once nothing waits.
    fn poll_empty(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.waiting.is_empty() {
            return Poll::Ready(());
        }
        self.wakers.push(context.waker().clone());
        Poll::Pending
    }

    /// Writes all that waits. Ready with nothing left, or when no more can be written.
    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let outcome = ready!(self.poll_all(context));
        self.failed = outcome.err().map(|error| error.kind());
        self.waiting.clear();
        self.written = 0;
        self.wakers.drain(..).for_each(Waker::wake);
        Poll::Ready(())
    }

    fn poll_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            let rest = &self.waiting[self.written..];
            match ready!(Pin::new(&mut self.to).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        Pin::new(&mut self.to).poll_flush(context)
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> AsyncWrite for Together<W> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        if let Some(failed) = state.failed {
            return Poll::Ready(Err(failed.into()));
        }
        let is_first = state.waiting.is_empty();
        if is_first && !(self.0.expects_more)() {
            return Pin::new(&mut state.to).poll_write(context, bytes);
        }
        let room = MAX_WAITING_BYTES.saturating_sub(state.waiting.len());
        if room == 0 {
            state.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        state.waiting.extend_from_slice(&bytes[..count]);
        drop(state);
        if is_first && count > 0 {
            tokio::spawn(Together(Arc::clone(&self.0)).write_out());
        }
        Poll::Ready(Ok(count))
    }

    /// What waits is on its way: nobody has to wait for it.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.waiting.is_empty() {
            Pin::new(&mut state.to).poll_flush(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Nobody has to wait here either: [`Together::written`] tells when all was written, as long as its caller likes.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.waiting.is_empty() {
            Pin::new(&mut state.to).poll_shutdown(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn pair(bytes: usize, busy: bool) -> (Together<DuplexStream>, DuplexStream, Arc<AtomicBool>) {
        let (ours, theirs) = duplex(bytes);
        let busy = Arc::new(AtomicBool::new(busy));
        let asked = Arc::clone(&busy);
        (Together::new(ours, move || asked.load(Ordering::Relaxed)), theirs, busy)
    }

    async fn arrived(theirs: &mut DuplexStream) -> usize {
        let mut bytes = [0; 1024];
        tokio::select! {
            biased;
            count = theirs.read(&mut bytes) => count.unwrap(),
            () = std::future::ready(()) => 0,
        }
    }

    #[tokio::test]
    async fn alone_a_message_is_written_at_once() {
        let (mut writer, mut theirs, _) = pair(1024, false);
        writer.write_all(b"alone\n").await.unwrap();
        assert_eq!(arrived(&mut theirs).await, 6);
    }

    #[tokio::test]
    async fn while_others_are_on_their_way_messages_go_out_in_one_piece() {
        let (mut writer, mut theirs, busy) = pair(1024, true);
        for _ in 0..10 {
            writer.write_all(b"one of ten\n").await.unwrap();
            writer.flush().await.unwrap();
        }
        // The last one is alone, and is not said before the others.
        busy.store(false, Ordering::Relaxed);
        writer.write_all(b"last\n").await.unwrap();
        assert_eq!(arrived(&mut theirs).await, 0);
        writer.written().await;
        assert_eq!(arrived(&mut theirs).await, 10 * 11 + 5);
        writer.write_all(b"alone\n").await.unwrap();
        assert_eq!(arrived(&mut theirs).await, 6);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_arrives_in_order_however_slow_the_reader_is() {
        let (mut writer, mut theirs, busy) = pair(100, true);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all
        });
        let mut said = Vec::new();
        for number in 0..20_000_u32 {
            busy.store(number % 7 != 0, Ordering::Relaxed);
            let message = format!("{number} is said\n");
            writer.write_all(message.as_bytes()).await.unwrap();
            said.extend_from_slice(message.as_bytes());
        }
        writer.written().await;
        drop(writer);
        assert!(reader.await.unwrap() == said);
    }

    #[tokio::test]
    async fn who_does_not_read_is_waited_for() {
        let (mut writer, theirs, _) = pair(16, true);
        let flood = vec![b'x'; MAX_WAITING_BYTES + 1000];
        let full = tokio::time::timeout(std::time::Duration::from_millis(50), writer.write_all(&flood)).await;
        assert!(full.is_err(), "it is not taken without a bound");
        drop(theirs);
        writer.written().await;
        assert_eq!(writer.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
