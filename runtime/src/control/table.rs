//! The links of a node, and their order: one a peer, the older gone before the newer begins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::error::ControlError;
use super::events::{LinkEvent, LinkEvents, Listeners};
use super::link::{Link, LinkInfo, Side, Stage};
use super::lock;
use super::seal::LinkId;
use crate::id::NodeId;

/// Why a link was closed that another one replaces.
pub(super) const REPLACED: &str = "a newer link took its place";

#[derive(Default)]
pub(super) struct Table(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// All that ractor_cluster may still know.
    links: HashMap<LinkId, Arc<Link>>,
    /// The one that counts, for each peer.
    newest: HashMap<NodeId, Arc<Link>>,
    listeners: Listeners,
    ended: bool,
}

impl Table {
    /// Makes the link the peer's newest and closes the one before it, which is returned: it must be gone before
    /// ractor_cluster hears of this one, or its own election of sessions may keep the wrong one.
    ///
    /// Where both nodes dial at the same moment (`young`), each would replace the other's link: then the one that
    /// the lower node id dialled stays, at both ends.
    pub fn admit(&self, me: NodeId, link: &Arc<Link>, young: Duration) -> Result<Option<Arc<Link>>, ControlError> {
        let mut inner = lock(&self.0);
        if inner.ended {
            return Err(ControlError::Stopped);
        }
        let older = inner.newest.get(&link.peer).cloned();
        if let Some(older) = older.as_ref().filter(|older| !older.closed.is_cancelled()) {
            let crossing = older.side != link.side && older.since.elapsed() < young;
            if crossing && dialler(me, older) < dialler(me, link) {
                return Err(ControlError::Superseded(link.peer));
            }
        }
        if let Some(older) = &older {
            inner.close(older, REPLACED);
        }
        inner.links.insert(link.id, link.clone());
        inner.newest.insert(link.peer, link.clone());
        Ok(older)
    }

    /// The peer's gateway is known.
    pub fn up(&self, link: &Link) {
        let mut inner = lock(&self.0);
        if link.stage() == Stage::Starting && !link.closed.is_cancelled() {
            link.stage.send_replace(Stage::Up);
            inner.listeners.tell(LinkEvent::Up(link.peer));
        }
    }

    /// Nothing goes over it any more.
    pub fn close(&self, link: &Arc<Link>, why: &'static str) {
        lock(&self.0).close(link, why);
    }

    /// ractor_cluster has let go of it.
    pub fn gone(&self, link: &Arc<Link>) {
        let mut inner = lock(&self.0);
        inner.close(link, "its session ended");
        inner.links.remove(&link.id);
        if inner.newest.get(&link.peer).is_some_and(|newest| Arc::ptr_eq(newest, link)) {
            inner.newest.remove(&link.peer);
        }
        link.stage.send_replace(Stage::Gone);
    }

    pub fn by_id(&self, id: LinkId) -> Option<Arc<Link>> {
        lock(&self.0).links.get(&id).cloned()
    }

    /// The link of that label, as ractor_cluster gives it back.
    pub fn by_label(&self, label: &str) -> Option<Arc<Link>> {
        lock(&self.0).links.values().find(|link| link.id.to_string() == label).cloned()
    }

    /// The link over which a message to the peer can go now.
    pub fn usable(&self, peer: NodeId) -> Result<Arc<Link>, ControlError> {
        let inner = lock(&self.0);
        if inner.ended {
            return Err(ControlError::Stopped);
        }
        let link = inner.newest.get(&peer).filter(|link| link.stage() == Stage::Up && !link.closed.is_cancelled());
        link.cloned().ok_or(ControlError::NotSent(peer))
    }

    pub fn infos(&self) -> Vec<LinkInfo> {
        lock(&self.0).up().map(|link| link.info()).collect()
    }

    pub fn listen(&self) -> LinkEvents {
        let mut inner = lock(&self.0);
        let up: Vec<NodeId> = inner.up().map(|link| link.peer).collect();
        let ended = inner.ended;
        inner.listeners.listen(up.into_iter(), ended)
    }

    /// Lets no new link or message in. `false` where that is so already.
    pub fn end(&self) -> bool {
        !std::mem::replace(&mut lock(&self.0).ended, true)
    }

    /// Closes all links and ends the listeners; returns the links that ractor_cluster still has.
    pub fn close_all(&self, why: &'static str) -> Vec<Arc<Link>> {
        let mut inner = lock(&self.0);
        inner.ended = true;
        let links: Vec<Arc<Link>> = inner.links.values().cloned().collect();
        links.iter().for_each(|link| inner.close(link, why));
        inner.listeners.end();
        links
    }
}

impl Inner {
    fn close(&mut self, link: &Arc<Link>, why: &'static str) {
        link.close(why);
        let was = link.stage();
        if was < Stage::Closing {
            link.stage.send_replace(Stage::Closing);
        }
        if was == Stage::Up {
            self.listeners.tell(LinkEvent::Down(link.peer));
        }
    }

    fn up(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.newest.values().filter(|link| link.stage() == Stage::Up)
    }
}

fn dialler(me: NodeId, link: &Link) -> NodeId {
    match link.side {
        Side::Dialled => me,
        Side::Accepted => link.peer,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::control::ControlOptions;

    const YOUNG: Duration = Duration::from_secs(5);

    fn link(n: u8, peer: NodeId, side: Side) -> Arc<Link> {
        Arc::new(Link::new(LinkId([n; 8]), &[n; 32], peer, side, &ControlOptions::default()))
    }

    /// The two ids, the lower first.
    fn two() -> (NodeId, NodeId) {
        let (a, b) = (NodeId::new_random(), NodeId::new_random());
        (a.min(b), a.max(b))
    }

    #[test]
    fn of_two_links_dialled_at_once_both_ends_keep_the_same() {
        let (low, high) = two();
        for low_first_at_low in [true, false] {
            for low_first_at_high in [true, false] {
                let kept = |me: NodeId, peer: NodeId, low_first: bool| {
                    let table = Table::default();
                    let side = |dialler| if dialler == me { Side::Dialled } else { Side::Accepted };
                    let by_low = link(1, peer, side(low));
                    let by_high = link(2, peer, side(high));
                    let order = if low_first { [&by_low, &by_high] } else { [&by_high, &by_low] };
                    let results = order.map(|link| table.admit(me, link, YOUNG).is_ok());
                    assert!(results[0] && results[1] != low_first);
                    assert_eq!(by_high.closed.is_cancelled(), !low_first);
                    assert!(!by_low.closed.is_cancelled());
                };
                kept(low, high, low_first_at_low);
                kept(high, low, low_first_at_high);
            }
        }
    }

    #[tokio::test]
    async fn a_newer_link_closes_the_older_which_goes_before_the_newer_comes() {
        let (low, high) = two();
        let table = Table::default();
        let mut events = table.listen();
        // Not crossing: the same side has dialled anew, or the older one isn't young.
        for (n, side, young) in
            [(1, Side::Dialled, YOUNG), (2, Side::Dialled, YOUNG), (3, Side::Accepted, Duration::ZERO)]
        {
            let newer = link(n, high, side);
            let older = table.admit(low, &newer, young).unwrap();
            assert_eq!(older.is_some(), n > 1);
            assert!(table.usable(high).is_err(), "not up yet");
            if let Some(older) = older {
                assert!(older.closed.is_cancelled());
                table.gone(&older);
                assert_eq!(events.next().await, Some(LinkEvent::Down(high)));
            }
            table.up(&newer);
            assert_eq!(events.next().await, Some(LinkEvent::Up(high)));
            assert_eq!(table.usable(high).unwrap().id, newer.id);
        }
        assert_eq!(table.infos().len(), 1);
        assert_eq!(table.close_all("over").len(), 1);
        assert!(matches!(table.usable(high), Err(ControlError::Stopped)));
        assert!(matches!(table.admit(low, &link(4, high, Side::Dialled), YOUNG), Err(ControlError::Stopped)));
    }
}
