//! The link to this very process, for a reference that was made for another node and whose actor has come here since.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;

use super::address::ActorAddr;
use super::crossing::{KindId, Link, Parcel, PortTable, PortToken, Refusal};
use super::system::{AnySlot, Home, Packet};
use crate::id::NodeId;

/// How long a message waits for room in a mailbox.
const PATIENCE: Duration = Duration::from_secs(30);

/// Delivers here what was encoded for elsewhere.
pub(crate) struct Inward {
    home: Home,
    me: Weak<Self>,
}

impl Inward {
    pub(crate) fn new(home: Home) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { home, me: me.clone() })
    }

    fn arrive(&self, to: ActorAddr, kind: KindId, parcel: &Parcel) -> Result<(Arc<dyn AnySlot>, Packet), Refusal> {
        let slot = self.home.find(to).ok_or(Refusal::Gone)?;
        Ok((slot, Packet { to, kind, arrived: parcel.into(), toll: None }))
    }

    fn link(&self) -> Result<Arc<dyn Link>, Refusal> {
        let me: Arc<dyn Link> = self.me.upgrade().ok_or(Refusal::Gone)?;
        Ok(me)
    }
}

impl Link for Inward {
    fn deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let (slot, packet) = self.arrive(to, kind, &parcel)?;
            slot.deliver(packet, &self.link()?, PATIENCE).await
        })
    }

    fn try_deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<(), Refusal> {
        let (slot, packet) = self.arrive(to, kind, &parcel)?;
        slot.try_deliver(packet, &self.link()?).map_err(Into::into)
    }

    fn answer(&self, port: PortToken, answer: Option<Parcel>) {
        let Ok(link) = self.link() else { return };
        if let Err(e) = self.home.ports().answer(port, answer.as_ref().map(Into::into), &link) {
            tracing::warn!(error = %e, "an answer can't be read");
        }
    }

    fn ports(&self) -> &PortTable {
        self.home.ports()
    }

    fn node(&self) -> Option<NodeId> {
        None
    }

    fn toward(&self, _: ActorAddr) -> Option<Arc<dyn Link>> {
        self.link().ok()
    }

    fn home(&self) -> Option<&Home> {
        Some(&self.home)
    }
}
