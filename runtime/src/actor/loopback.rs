//! A link from a process to itself, on which everything is encoded, framed and decoded.
//!
//! For tests: what works over it works between nodes as far as messages are concerned. It never
//! takes a short cut: a reference that crosses it sends over it again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use wincode::{SchemaRead, SchemaWrite};

use super::Message;
use super::address::ActorAddr;
use super::crossing::{Link, PortTable, PortToken, Refusal, decode_crossing, encode_crossing};
use super::reference::Ref;
use super::system::{Home, Packet, System};
use crate::codec::{self, CodecError, Wire};

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
    Deliver { to: ActorAddr, kind: String, payload: Vec<u8> },
    Answer { port: PortToken, payload: Option<Vec<u8>> },
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

    async fn arrive(&self, bytes: Vec<u8>) -> Result<(), Refusal> {
        let (to, kind, payload) = self.unpack(&bytes)?;
        let slot = self.home.as_ref().and_then(|h| h.find(to)).ok_or(Refusal::Gone)?;
        slot.deliver(Packet { to, kind: &kind, payload }, &self.link()?, PATIENCE).await
    }

    fn unpack(&self, bytes: &[u8]) -> Result<(ActorAddr, String, Bytes), Refusal> {
        match unframe(bytes).map_err(|e| Refusal::NotSent(e.to_string()))? {
            Frame::Deliver { to, kind, payload } => Ok((to, kind, payload.into())),
            Frame::Answer { .. } => Err(Refusal::NotSent("an answer isn't a message".into())),
        }
    }

    fn take_answer(&self, bytes: &[u8]) -> Result<(), CodecError> {
        if let Frame::Answer { port, payload } = unframe(bytes)?
            && let Ok(link) = self.link()
        {
            self.ports.answer(port, payload.as_deref(), &link)?;
        }
        Ok(())
    }
}

fn frame(frame: &Frame) -> Result<Vec<u8>, CodecError> {
    Ok(codec::frame(SCHEMA, &codec::encode(frame)?))
}

fn unframe(bytes: &[u8]) -> Result<Frame, CodecError> {
    let (_, payload) = codec::unframe(bytes)?;
    codec::decode(payload)
}

fn packet(to: ActorAddr, kind: &str, payload: &Bytes) -> Result<Vec<u8>, Refusal> {
    let deliver = Frame::Deliver { to, kind: kind.to_owned(), payload: payload.to_vec() };
    frame(&deliver).map_err(|e| Refusal::NotSent(e.to_string()))
}

impl Link for Loopback {
    fn deliver(&self, to: ActorAddr, kind: &'static str, payload: Bytes) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move { self.arrive(packet(to, kind, &payload)?).await })
    }

    fn try_deliver(&self, to: ActorAddr, kind: &'static str, payload: Bytes) -> Result<(), Refusal> {
        let (to, kind, payload) = self.unpack(&packet(to, kind, &payload)?)?;
        let slot = self.home.as_ref().and_then(|h| h.find(to)).ok_or(Refusal::Gone)?;
        slot.try_deliver(Packet { to, kind: &kind, payload }, &self.link()?)
    }

    fn answer(&self, port: PortToken, payload: Option<Vec<u8>>) {
        let answered = frame(&Frame::Answer { port, payload }).and_then(|bytes| self.take_answer(&bytes));
        if let Err(e) = answered {
            tracing::warn!(error = %e, "an answer was lost on the loop-back link");
        }
    }

    fn ports(&self) -> &PortTable {
        &self.ports
    }
}

/// Sends a message through the codec and returns what arrives, for a test to compare and use.
///
/// Reply ports in it work: what the copy answers reaches the original's asker.
pub fn check_wire<M: Wire>(msg: &M) -> Result<M, CodecError> {
    let link: Arc<dyn Link> = Loopback::with(None);
    let bytes = encode_crossing(msg, &link)?;
    decode_crossing(&bytes, &link)
}
