//! A link from a process to itself, on which everything is encoded, framed and decoded.
//!
//! For tests: what works over it works between nodes as far as messages are concerned. It never
//! takes a short cut: a reference that crosses it sends over it again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use wincode::{SchemaRead, SchemaWrite};

use super::Message;
use super::address::ActorAddr;
use super::crossing::{Arrived, KindId, Link, Parcel, PortTable, PortToken, Refusal, decode_crossing, encode_crossing};
use super::reference::Ref;
use super::system::{AnySlot, Home, Packet, System};
use crate::codec::{self, CodecError, Wire};
use crate::id::NodeId;

/// The frame schema of loop-back packets; it never leaves the process.
const SCHEMA: u16 = 0;
/// How long a packet waits for room in a mailbox.
const PATIENCE: Duration = Duration::from_secs(5);

/// The link. Keep it for as long as references made by it are used.
pub struct Loopback {
    home: Option<Home>,
    ports: PortTable,
    me: Weak<Self>,
}

/// What travels.
#[derive(SchemaWrite, SchemaRead)]
enum Frame {
    Deliver { to: ActorAddr, kind: KindId, sent: Pieces },
    Answer { port: PortToken, sent: Option<Pieces> },
}

#[derive(SchemaWrite, SchemaRead)]
struct Pieces {
    head: Vec<u8>,
    attached: Vec<u8>,
    traced: bool,
}

impl From<Parcel> for Pieces {
    fn from(parcel: Parcel) -> Self {
        Self { head: parcel.head.to_vec(), attached: parcel.joined().to_vec(), traced: parcel.traced }
    }
}

impl From<Pieces> for Arrived {
    fn from(pieces: Pieces) -> Self {
        Self::new(pieces.head.into(), pieces.attached.into(), pieces.traced)
    }
}

impl Loopback {
    pub fn new(system: &System) -> Arc<Self> {
        Self::with(Some(system.home().clone()))
    }

    /// The same actor, reached over the link.
    pub fn remote<M: Message>(self: &Arc<Self>, to: &Ref<M>) -> Ref<M> {
        Ref::there(to.addr(), self.clone())
    }

    /// How many questions wait for an answer from the other side.
    pub fn waiting(&self) -> usize {
        self.ports.waiting()
    }

    fn with(home: Option<Home>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { home, ports: PortTable::default(), me: me.clone() })
    }

    fn link(&self) -> Result<Arc<dyn Link>, Refusal> {
        let me = self.me.upgrade().ok_or_else(|| Refusal::NotSent("the link is down".into()))?;
        Ok(me)
    }

    fn slot(&self, to: ActorAddr) -> Result<Arc<dyn AnySlot>, Refusal> {
        self.home.as_ref().and_then(|home| home.find(to)).ok_or(Refusal::Gone)
    }

    fn take_answer(&self, bytes: &[u8]) -> Result<(), CodecError> {
        if let Frame::Answer { port, sent } = unframe(bytes)?
            && let Ok(link) = self.link()
        {
            self.ports.answer(port, sent.map(Into::into), &link)?;
        }
        Ok(())
    }
}

/// Sends a message through encoding and framing.
fn through(to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<Packet, Refusal> {
    let not_sent = |e: CodecError| Refusal::NotSent(e.to_string());
    let bytes = frame(&Frame::Deliver { to, kind, sent: parcel.into() }).map_err(not_sent)?;
    match unframe(&bytes).map_err(not_sent)? {
        Frame::Deliver { to, kind, sent } => Ok(Packet { to, kind, arrived: sent.into(), toll: None }),
        Frame::Answer { .. } => Err(Refusal::NotSent("an answer isn't a message".into())),
    }
}

fn frame(frame: &Frame) -> Result<Vec<u8>, CodecError> {
    Ok(codec::frame(SCHEMA, &codec::encode(frame)?))
}

fn unframe(bytes: &[u8]) -> Result<Frame, CodecError> {
    let (_, payload) = codec::unframe(bytes)?;
    codec::decode(payload)
}

impl Link for Loopback {
    fn deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let packet = through(to, kind, parcel)?;
            self.slot(packet.to)?.deliver(packet, &self.link()?, PATIENCE).await
        })
    }

    fn try_deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<(), Refusal> {
        let packet = through(to, kind, parcel)?;
        self.slot(packet.to)?.try_deliver(packet, &self.link()?).map_err(Into::into)
    }

    fn answer(&self, port: PortToken, answer: Option<Parcel>) {
        let answered = frame(&Frame::Answer { port, sent: answer.map(Into::into) });
        if let Err(e) = answered.and_then(|bytes| self.take_answer(&bytes)) {
            tracing::warn!(error = %e, "an answer was lost on the loop-back link");
        }
    }

    fn ports(&self) -> &PortTable {
        &self.ports
    }

    fn node(&self) -> Option<NodeId> {
        None
    }

    fn toward(&self, _: ActorAddr) -> Option<Arc<dyn Link>> {
        self.link().ok()
    }

    fn home(&self) -> Option<&Home> {
        None
    }
}

/// Sends a message through the codec and returns what arrives, for a test to compare and use.
///
/// Reply ports in it work: what the copy answers reaches the original's asker.
pub fn check_wire<M: Wire>(msg: &M) -> Result<M, CodecError> {
    let link: Arc<dyn Link> = Loopback::with(None);
    let parcel = encode_crossing(msg, &link)?;
    decode_crossing((&parcel).into(), &link)
}
