//! What comes to the engine's thread: bounded in requests and in tokens, which are estimated before they are counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stream::TokenSink;
use crate::{ChatMessage, EngineError, PinId, Request};

/// A request and where its tokens go.
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) request: Request,
    pub(super) sink: TokenSink,
    pub(super) since: Instant,
}

impl Waiting {
    pub(super) fn is_late(&self) -> bool {
        self.since.elapsed() >= self.request.deadline
    }

    /// About what it will hold, in tokens: code has some three bytes each.
    pub(super) fn cost(&self) -> u64 {
        let bytes: usize = self.request.messages.iter().map(|m| m.content.len()).sum();
        bytes as u64 / 3 + u64::from(self.request.max_tokens)
    }
}

/// One thing for the engine's thread to do.
pub(super) enum Task {
    Decode(Box<Waiting>),
    Pin { pin: PinId, project: String, messages: Vec<ChatMessage> },
    Unpin(PinId),
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    /// Requests and tokens that wait here and in the scheduler.
    requests: usize,
    tokens: u64,
    closed: bool,
}

/// The engine thread's inbox.
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
    requests: usize,
    tokens: u64,
}

impl Inbox {
    /// So many requests and tokens may wait.
    pub(super) fn new(requests: usize, tokens: u64) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), requests, tokens }
    }

    pub(super) fn push(&self, task: Task) -> Result<(), EngineError> {
        let mut state = self.lock();
        if state.closed {
            return Err(EngineError::Gone);
        }
        if let Task::Decode(waiting) = &task {
            // One that is larger than all that may wait is let in alone: whether it fits at all is said later.
            let tokens = state.tokens + waiting.cost();
            if state.requests >= self.requests || (state.tokens > 0 && tokens > self.tokens) {
                return Err(EngineError::Busy { queued: state.requests as u32 });
            }
            state.requests += 1;
            state.tokens = tokens;
        }
        state.tasks.push_back(task);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// A request waits no longer: it was begun, or ended before.
    pub(super) fn begun(&self, cost: u64) {
        let mut state = self.lock();
        state.requests = state.requests.saturating_sub(1);
        state.tokens = state.tokens.saturating_sub(cost);
    }

    /// What has come, waiting for it at most so long. `None` once the inbox is closed.
    pub(super) fn take(&self, patience: Duration) -> Option<VecDeque<Task>> {
        let state = self.lock();
        let nothing = |state: &mut State| state.tasks.is_empty() && !state.closed;
        let waited = self.changed.wait_timeout_while(state, patience, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed { None } else { Some(std::mem::take(&mut state.tasks)) }
    }

    /// Nothing is taken or given any more; what waits is dropped, which ends its streams.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.tasks);
        drop(state);
        self.changed.notify_all();
        drop(dropped);
    }

    /// Whether its engine is being dropped.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Requests that wait.
    pub(super) fn len(&self) -> u32 {
        self.lock().requests as u32
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; the state is whole at every moment anyhow.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::TokenStream;

    fn waiting(bytes: usize) -> (Task, TokenStream) {
        let (sink, stream) = TokenStream::channel();
        let request = Request::new(vec![ChatMessage::user("x".repeat(bytes))], 10);
        (Task::Decode(Box::new(Waiting { id: 1, request, sink, since: Instant::now() })), stream)
    }

    #[test]
    fn a_full_inbox_says_busy_until_something_was_begun_and_a_closed_one_gone() {
        let inbox = Inbox::new(2, 1000);
        inbox.push(waiting(3).0).unwrap();
        inbox.push(waiting(3).0).unwrap();
        assert_eq!(inbox.push(waiting(3).0).unwrap_err(), EngineError::Busy { queued: 2 });
        inbox.begun(11);
        inbox.push(waiting(3).0).unwrap();
        inbox.close();
        assert_eq!(inbox.push(waiting(3).0).unwrap_err(), EngineError::Gone);
        assert!(inbox.take(Duration::ZERO).is_none());
    }

    #[test]
    fn tokens_are_bounded_but_a_large_request_gets_in_alone() {
        let inbox = Inbox::new(64, 1000);
        inbox.push(waiting(9000).0).unwrap();
        assert_eq!(inbox.push(waiting(3).0).unwrap_err(), EngineError::Busy { queued: 1 });
        inbox.begun(3010);
        for _ in 0..4 {
            inbox.push(waiting(600).0).unwrap();
        }
        assert!(inbox.push(waiting(600).0).is_err());
        assert_eq!((inbox.take(Duration::ZERO).unwrap().len(), inbox.len()), (5, 4));
    }
}
