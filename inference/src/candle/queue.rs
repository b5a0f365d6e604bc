//! What waits for the engine thread: bounded, by priority, in order of arrival within one.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::stream::TokenSink;
use crate::{ChatMessage, EngineError, PinId, Priority, Request};

/// A request and where its tokens go.
pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) sink: TokenSink,
    pub(super) since: Instant,
}

impl Waiting {
    pub(super) fn is_late(&self) -> bool {
        self.since.elapsed() >= self.request.deadline
    }

    pub(super) fn late(&self) -> EngineError {
        EngineError::Deadline { after_ms: self.request.deadline.as_millis() as u64 }
    }
}

/// One thing for the engine thread to do.
pub(super) enum Task {
    Decode(Box<Waiting>),
    Pin { pin: PinId, messages: Vec<ChatMessage> },
    Unpin(PinId),
}

impl Task {
    fn priority(&self) -> Priority {
        match self {
            Self::Decode(waiting) => waiting.request.priority,
            Self::Pin { .. } | Self::Unpin(_) => Priority::Normal,
        }
    }
}

struct State {
    tasks: VecDeque<Task>,
    closed: bool,
}

/// The engine thread's queue.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let state = Mutex::new(State { tasks: VecDeque::new(), closed: false });
        Self { state, changed: Condvar::new(), capacity }
    }

    pub(super) fn push(&self, task: Task) -> Result<(), EngineError> {
        let mut state = self.lock();
        if state.closed {
            return Err(EngineError::Gone);
        }
        // Unpinning frees memory: it is never refused, and there is at most one for each pin.
        if state.tasks.len() >= self.capacity && !matches!(task, Task::Unpin(_)) {
            return Err(EngineError::Busy { queued: state.tasks.len() as u32 });
        }
        let behind = |t: &Task| t.priority() >= task.priority();
        let at = state.tasks.iter().rposition(behind).map_or(0, |i| i + 1);
        state.tasks.insert(at, task);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next task; `None` once the queue is closed.
    pub(super) fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.tasks.pop_front() {
                Some(task) => return Some(task),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
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

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn len(&self) -> u32 {
        self.lock().tasks.len() as u32
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

    fn waiting(name: &str, priority: Priority) -> (Task, TokenStream) {
        let (sink, stream) = TokenStream::channel();
        let request = Request { priority, ..Request::new(vec![ChatMessage::user(name)], 1) };
        (Task::Decode(Box::new(Waiting { request, sink, since: Instant::now() })), stream)
    }

    fn name(task: Task) -> String {
        match task {
            Task::Decode(waiting) => waiting.request.messages[0].content.clone(),
            Task::Pin { .. } | Task::Unpin(_) => "pin".into(),
        }
    }

    #[test]
    fn higher_priority_goes_first_and_equals_keep_their_order() {
        let queue = Queue::new(8);
        for (n, p) in [("a", Priority::Low), ("b", Priority::Normal), ("c", Priority::High), ("d", Priority::Normal)] {
            queue.push(waiting(n, p).0).unwrap();
        }
        let order: Vec<_> = (0..4).map(|_| name(queue.next().unwrap())).collect();
        assert_eq!(order, ["c", "b", "d", "a"]);
    }

    #[test]
    fn a_full_queue_says_busy_and_a_closed_one_gone() {
        let queue = Queue::new(1);
        queue.push(waiting("a", Priority::Normal).0).unwrap();
        let refused = queue.push(waiting("b", Priority::High).0);
        assert_eq!(refused.unwrap_err(), EngineError::Busy { queued: 1 });
        queue.close();
        assert_eq!(queue.push(waiting("c", Priority::Normal).0).unwrap_err(), EngineError::Gone);
        assert!(queue.next().is_none());
    }
}
