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
            inner.close(older, "a newer link took its place");
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
