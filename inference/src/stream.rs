//! The stream between an engine and the reader of one request.
//!
//! Text that the reader has not taken yet is joined into one event, so an engine never waits for a reader, a slow
//! reader costs nobody but itself, and what waits is bounded by the request's `max_tokens`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::Stream;

use crate::{EngineError, TokenEvent, TokenLogprob, Usage};

#[derive(Debug, Default)]
struct Shared {
    text: String,
    tokens: u32,
    logprobs: Vec<TokenLogprob>,
    /// `Done` or `Failed`, once there.
    end: Option<TokenEvent>,
    reader: Option<Waker>,
    cancelled: bool,
    /// Who waits for the cancellation.
    engine: Option<Waker>,
}

/// The decoding of one request. Dropping it cancels the request.
#[derive(Debug)]
pub struct TokenStream {
    shared: Arc<Mutex<Shared>>,
    ended: bool,
}

impl TokenStream {
    /// A stream and the end that an engine writes to.
    pub(crate) fn channel() -> (TokenSink, Self) {
        let shared = Arc::new(Mutex::new(Shared::default()));
        (TokenSink(Arc::clone(&shared)), Self { shared, ended: false })
    }

    /// Tells the engine to stop. The last event then is `Done` with `Finish::Cancelled`.
    pub fn cancel(&self) {
        let mut shared = lock(&self.shared);
        shared.cancelled = true;
        let engine = shared.engine.take();
        drop(shared);
        if let Some(engine) = engine {
            engine.wake();
        }
    }
}

impl Stream for TokenStream {
    type Item = TokenEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TokenEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut shared = lock(&self.shared);
        if !shared.text.is_empty() || shared.tokens > 0 {
            let text = std::mem::take(&mut shared.text);
            let tokens = std::mem::take(&mut shared.tokens);
            let logprobs = std::mem::take(&mut shared.logprobs);
            return Poll::Ready(Some(TokenEvent::Text { text, tokens, logprobs }));
        }
        let Some(end) = shared.end.take() else {
            shared.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(shared);
        self.ended = true;
        Poll::Ready(Some(end))
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The engine's end of a [`TokenStream`]. Dropped without an end, it ends the stream with `Gone`.
#[derive(Debug)]
pub(crate) struct TokenSink(Arc<Mutex<Shared>>);

impl TokenSink {
    /// The reader went away or cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        lock(&self.0).cancelled
    }

    /// Resolves when the reader went away or cancelled. For one waiter.
    pub(crate) async fn cancelled(&self) {
        std::future::poll_fn(|cx| {
            let mut shared = lock(&self.0);
            if shared.cancelled {
                return Poll::Ready(());
            }
            shared.engine = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn text(&self, text: &str, tokens: u32) {
        self.tokens(text, tokens, Vec::new());
    }

    /// Text, the number of tokens that made it, and how likely they were.
    pub(crate) fn tokens(&self, text: &str, tokens: u32, mut logprobs: Vec<TokenLogprob>) {
        let mut shared = lock(&self.0);
        shared.text.push_str(text);
        shared.tokens += tokens;
        shared.logprobs.append(&mut logprobs);
        wake(shared);
    }

    /// Bytes of text that the reader has not taken yet.
    pub(crate) fn unread(&self) -> usize {
        lock(&self.0).text.len()
    }

    pub(crate) fn done(&self, usage: Usage) {
        self.end(TokenEvent::Done(usage));
    }

    pub(crate) fn fail(&self, error: EngineError) {
        self.end(TokenEvent::Failed(error));
    }

    fn end(&self, event: TokenEvent) {
        let mut shared = lock(&self.0);
        // The first end counts: a sink that is dropped afterwards adds nothing.
        shared.end.get_or_insert(event);
        wake(shared);
    }
}

impl Drop for TokenSink {
    fn drop(&mut self) {
        // The reader may have taken the end already; it asks for nothing after it.
        self.fail(EngineError::Gone);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Nothing panics while it holds the lock; the state is whole at every moment anyhow.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(mut shared: MutexGuard<'_, Shared>) {
    let reader = shared.reader.take();
    drop(shared);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use futures::StreamExt;

    use super::*;
    use crate::Finish;

    fn usage() -> Usage {
        Usage {
            prompt_tokens: 1,
            cached_tokens: 0,
            completion_tokens: 3,
            finish: Finish::Stop,
            prefill_ms: 0,
            decode_ms: 0,
            cost_micros: 0,
            replayed: false,
        }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_everything_in_fewer_pieces() {
        let (sink, stream) = TokenStream::channel();
        sink.text("a", 1);
        sink.text("", 1);
        sink.text("b", 1);
        sink.done(usage());
        drop(sink);
        let events: Vec<_> = stream.collect().await;
        let text = TokenEvent::Text { text: "ab".into(), tokens: 3, logprobs: Vec::new() };
        assert_eq!(events, [text, TokenEvent::Done(usage())]);
    }

    #[tokio::test]
    async fn an_engine_that_vanishes_is_seen_as_gone() {
        let (sink, stream) = TokenStream::channel();
        let reader = tokio::spawn(stream.collect::<Vec<_>>());
        tokio::task::yield_now().await;
        drop(sink);
        assert_eq!(reader.await.unwrap(), [TokenEvent::Failed(EngineError::Gone)]);
    }

    #[test]
    fn dropping_the_stream_cancels() {
        let (sink, stream) = TokenStream::channel();
        assert!(!sink.is_cancelled());
        drop(stream);
        assert!(sink.is_cancelled());
    }

    #[tokio::test]
    async fn who_waits_for_the_cancellation_is_woken() {
        let (sink, stream) = TokenStream::channel();
        let waiting = tokio::spawn(async move { sink.cancelled().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(stream);
        waiting.await.unwrap();
    }
}
