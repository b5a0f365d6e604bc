//! Links that come and go, told in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::lock;
use crate::id::NodeId;

/// A change of the links. For one node they alternate, beginning with `Up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// There is a link: calls go through.
    Up(NodeId),
    /// There is none any more.
    Down(NodeId),
}

impl LinkEvent {
    /// Whose link it is.
    pub fn node(self) -> NodeId {
        match self {
            Self::Up(node) | Self::Down(node) => node,
        }
    }
}

#[derive(Default)]
struct Queue {
    events: Mutex<(VecDeque<LinkEvent>, bool)>,
    news: Notify,
}

/// The changes since [`ControlPlane::events`](super::ControlPlane::events), beginning with the links that were up then.
///
/// A reader that is late is told no more than three changes of a node: further ones cancel out in pairs.
pub struct LinkEvents(Arc<Queue>);

impl LinkEvents {
    /// The next change. `None` once the control plane has stopped and all was told. Nothing is lost if it is
    /// dropped before it resolves.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        loop {
            let news = self.0.news.notified();
            {
                let mut queue = lock(&self.0.events);
                if let Some(event) = queue.0.pop_front() {
                    return Some(event);
                }
                if queue.1 {
                    return None;
                }
            }
            news.await;
        }
    }
}

/// All who listen.
#[derive(Default)]
pub(super) struct Listeners(Vec<Weak<Queue>>);

impl Listeners {
    pub fn listen(&mut self, up: impl Iterator<Item = NodeId>, ended: bool) -> LinkEvents {
        let queue = Arc::new(Queue::default());
        *lock(&queue.events) = (up.map(LinkEvent::Up).collect(), ended);
        self.0.retain(|listener| listener.strong_count() > 0);
        self.0.push(Arc::downgrade(&queue));
        LinkEvents(queue)
    }

    pub fn tell(&mut self, event: LinkEvent) {
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            push(&mut lock(&queue.events).0, event);
            queue.news.notify_one();
        }
    }

    pub fn end(&mut self) {
        for queue in self.0.drain(..).filter_map(|listener| listener.upgrade()) {
            lock(&queue.events).1 = true;
            queue.news.notify_one();
        }
    }
}

/// Holds three events a node at most. The last of three and a fourth cancel out: so the reader ends up knowing what is,
/// and is told of a `Down` and of an `Up` if there was one, however late it is.
fn push(queue: &mut VecDeque<LinkEvent>, event: LinkEvent) {
    let of_node = |waiting: &LinkEvent| waiting.node() == event.node();
    if queue.iter().filter(|waiting| of_node(waiting)).count() < 3 {
        queue.push_back(event);
    } else if let Some(at) = queue.iter().rposition(of_node) {
        queue.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reader_is_told_three_changes_of_a_node_at_most_and_none_is_of_a_kind_missed() {
        let (a, b) = (NodeId::new_random(), NodeId::new_random());
        let (up, down, other) = (LinkEvent::Up(a), LinkEvent::Down(a), LinkEvent::Up(b));
        for (first, second) in [(up, down), (down, up)] {
            let mut queue = VecDeque::from([other]);
            push(&mut queue, first);
            for _ in 0..100 {
                push(&mut queue, second);
                assert_eq!(queue, [other, first, second]);
                push(&mut queue, first);
                assert_eq!(queue, [other, first, second, first]);
            }
        }
    }

    #[tokio::test]
    async fn a_listener_begins_with_what_is_up_and_ends_with_the_plane() {
        let (a, mut listeners) = (NodeId::new_random(), Listeners::default());
        let mut events = listeners.listen([a].into_iter(), false);
        listeners.end();
        assert_eq!(events.next().await, Some(LinkEvent::Up(a)));
        assert_eq!(events.next().await, None);
    }
}
