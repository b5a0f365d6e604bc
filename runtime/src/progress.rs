//! What is worth seeing and not worth keeping: a model's words as they come, a tool's output.
//!
//! Nothing may rest on it: a slow watcher misses items and is told how many.

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::id::JobId;

/// One sign of life of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub job: JobId,
    /// Who says it: an agent, an engine, a tool.
    pub source: String,
    pub text: String,
    /// Tokens decoded so far, where that makes sense.
    pub tokens: Option<u64>,
}

/// Carries progress to whoever watches. Cheap to clone; publishing never waits.
#[derive(Clone, Debug)]
pub struct ProgressBus {
    tx: broadcast::Sender<Progress>,
}

impl ProgressBus {
    /// Items kept for a watcher that lags behind.
    pub const CAPACITY: usize = 1024;

    pub fn new() -> Self {
        Self { tx: broadcast::Sender::new(Self::CAPACITY) }
    }

    pub fn publish(&self, progress: Progress) {
        // An error means that nobody watches.
        let _ = self.tx.send(progress);
    }

    /// Sees everything from now on.
    pub fn watch(&self) -> ProgressWatch {
        ProgressWatch { rx: self.tx.subscribe() }
    }
}

impl Default for ProgressBus {
    fn default() -> Self {
        Self::new()
    }
}

/// What a watcher sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressItem {
    Progress(Progress),
    /// So many items were missed here.
    Missed(u64),
}

/// One watcher's end of the bus.
#[derive(Debug)]
pub struct ProgressWatch {
    rx: broadcast::Receiver<Progress>,
}

impl ProgressWatch {
    /// The next item; `None` once the bus is gone.
    pub async fn next(&mut self) -> Option<ProgressItem> {
        match self.rx.recv().await {
            Ok(progress) => Some(ProgressItem::Progress(progress)),
            Err(broadcast::error::RecvError::Lagged(n)) => Some(ProgressItem::Missed(n)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn line(n: usize) -> Progress {
        Progress { job: JobId::new_random(), source: "test".into(), text: n.to_string(), tokens: None }
    }

    #[tokio::test]
    async fn a_watcher_sees_what_is_published_after_it_came() {
        let bus = ProgressBus::new();
        bus.publish(line(0));
        let mut watch = bus.watch();
        let seen = line(1);
        bus.publish(seen.clone());
        assert_eq!(watch.next().await, Some(ProgressItem::Progress(seen)));
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_how_much_it_missed_and_never_holds_the_publisher() {
        let bus = ProgressBus::new();
        let mut watch = bus.watch();
        for n in 0..ProgressBus::CAPACITY + 7 {
            bus.publish(line(n));
        }
        assert_eq!(watch.next().await, Some(ProgressItem::Missed(7)));
        assert!(matches!(watch.next().await, Some(ProgressItem::Progress(p)) if p.text == "7"));
    }
}
