//! How references and reply ports get through an encoding.
//!
//! Both are live things that bytes can't hold. While a message is encoded or decoded *for a
//! link*, that link is the thread's current crossing: a reference is written as its address and
//! read back as one that sends over the link; a reply port stays behind in the link's
//! [`PortTable`] and is written as a token. Outside of a crossing a reference is still its
//! address (and can't be sent to), and a reply port is dead: nobody waits on its account.
//! A [`Payload`] isn't copied into the encoded bytes but travels beside them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use wincode::{SchemaRead, SchemaWrite};

use super::address::ActorAddr;
use super::reply::LeftPort;
use super::system::Home;
use crate::codec::{self, CodecError, Wire};
use crate::id::NodeId;
use crate::trace::{self, TraceContext};

/// The way to actors that this process can't reach directly.
pub(crate) trait Link: Send + Sync + 'static {
    /// Brings an encoded message to that life of that actor. An error means: certainly not delivered.
    fn deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Like [`Link::deliver`], but never waits for room.
    fn try_deliver(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<(), Refusal>;

    /// Resolves when nothing that was sent to earlier lives of the actor at `now` is still on its way: who follows it there
    /// before that would overtake what it has sent.
    fn part(&self, now: ActorAddr) -> BoxFuture<'_, ()> {
        let _ = now;
        Box::pin(std::future::ready(()))
    }

    /// Whether that is so now.
    fn has_parted(&self, now: ActorAddr) -> bool {
        let _ = now;
        true
    }

    /// Brings an answer to the other side's port; `None` says that there will be none.
    fn answer(&self, port: PortToken, answer: Option<Parcel>);

    /// The ports left behind on this side.
    fn ports(&self) -> &PortTable;

    /// The node at its other end, where it has one for good.
    fn node(&self) -> Option<NodeId>;

    /// The link that leads to an address which came over this one; none if nothing leads there.
    fn toward(&self, addr: ActorAddr) -> Option<Arc<dyn Link>>;

    /// The actors of this process, where an address that comes home is to be a local reference again.
    fn home(&self) -> Option<&Home>;
}

/// Names a message type on the wire: a hash of [`Message::KIND`](super::Message::KIND).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, SchemaWrite, SchemaRead)]
pub struct KindId(pub u64);

impl KindId {
    /// FNV-1a, 64 bits.
    pub const fn of(name: &str) -> Self {
        let (bytes, mut hash, mut at) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        Self(hash)
    }
}

/// An encoded message or answer: its bytes, and the payloads that travel beside them uncopied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) head: Bytes,
    pub(crate) attached: Vec<Bytes>,
    /// The reply port that it left behind, if any: who is to be told when it is refused.
    pub(crate) port: PortToken,
    /// The head begins with the trace that the message was sent in.
    pub(crate) traced: bool,
}

impl Parcel {
    /// Bytes of all parts.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.attached.iter().map(Bytes::len).sum::<usize>()
    }

    /// Takes along where its sender stands, if that is in a trace.
    pub(crate) fn stamp(&mut self) {
        if let Some(context) = trace::current() {
            self.head = context.stamp(&self.head);
            self.traced = true;
        }
    }

    /// The payloads one after the other, as they arrive.
    pub(crate) fn joined(&self) -> Bytes {
        match self.attached.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

/// A parcel as it arrives: the encoded bytes, then what was attached, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) head: Bytes,
    pub(crate) attached: Bytes,
    /// Where its sender stood. Boxed, since most have none.
    pub(crate) trace: Option<Box<TraceContext>>,
}

impl Arrived {
    /// `traced`: the head begins with the trace that the message was sent in.
    pub(crate) fn new(head: Bytes, attached: Bytes, traced: bool) -> Self {
        match traced {
            false => Self { head, attached, trace: None },
            true => {
                let (context, head) = TraceContext::unstamp(head);
                Self { head, attached, trace: context.map(Box::new) }
            }
        }
    }
}

impl From<&Parcel> for Arrived {
    fn from(parcel: &Parcel) -> Self {
        Self::new(parcel.head.clone(), parcel.joined(), parcel.traced)
    }
}

/// Why the other side didn't take a message.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Refusal {
    Gone,
    Busy,
    /// That life of the actor is over; this is its present one.
    Moved(ActorAddr),
    /// Not readable as a message of that actor, or no way to get there.
    NotSent(String),
}

/// Names a reply port on the side that left it behind. Zero is no port: nobody waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, SchemaWrite, SchemaRead)]
pub struct PortToken(pub(crate) u64);

impl PortToken {
    /// No port.
    pub const NONE: Self = Self(0);
}

/// The reply ports that this side of its links has left behind, until they are answered. All links to nodes share one: a
/// question that followed its actor to another node is answered from there.
///
/// Its size is bounded by the questions in flight, and those by their deadlines: an entry whose
/// asker gave up goes when the other side answers or drops its end, or with the link.
#[derive(Default)]
pub(crate) struct PortTable(Mutex<Ports>);

#[derive(Default)]
struct Ports {
    last: u64,
    left: HashMap<PortToken, Left>,
}

struct Left {
    port: Box<dyn LeftPort>,
    /// Where its question went.
    toward: Option<NodeId>,
}

impl PortTable {
    fn leave(&self, port: Box<dyn LeftPort>, toward: Option<NodeId>) -> PortToken {
        let mut ports = self.lock();
        ports.last += 1;
        let token = PortToken(ports.last);
        ports.left.insert(token, Left { port, toward });
        token
    }

    /// Gives an answer to its port; a token that isn't known (any more) is ignored.
    pub(crate) fn answer(
        &self,
        token: PortToken,
        answer: Option<Arrived>,
        link: &Arc<dyn Link>,
    ) -> Result<(), CodecError> {
        let port = self.lock().left.remove(&token);
        match (port, answer) {
            (Some(left), Some(answer)) => left.port.answer(answer, link),
            _ => Ok(()),
        }
    }

    /// Tells the asker that its question was certainly not delivered.
    pub(crate) fn refuse(&self, token: PortToken, why: Refusal) {
        let port = self.lock().left.remove(&token);
        if let Some(left) = port {
            left.port.refuse(why);
        }
    }

    /// The question goes to that node now: the loss of the link there is what its asker must be told of.
    pub(crate) fn redirect(&self, token: PortToken, node: NodeId) {
        if token != PortToken::NONE
            && let Some(left) = self.lock().left.get_mut(&token)
        {
            left.toward = Some(node);
        }
    }

    /// The link to that node is lost: no answer will come from there.
    pub(crate) fn clear(&self, node: NodeId) {
        let of_node = |_: &PortToken, left: &mut Left| left.toward == Some(node);
        let lost: Vec<_> = self.lock().left.extract_if(of_node).collect();
        drop(lost);
    }

    /// How many questions wait for an answer from the other side.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().left.len()
    }

    /// The same for one node.
    pub(crate) fn waiting_for(&self, node: NodeId) -> usize {
        self.lock().left.values().filter(|left| left.toward == Some(node)).count()
    }

    fn forget(&self, tokens: &[PortToken]) {
        let mut ports = self.lock();
        let dropped: Vec<_> = tokens.iter().filter_map(|t| ports.left.remove(t)).collect();
        drop(ports);
        drop(dropped);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Crossing {
    link: Arc<dyn Link>,
    left: Vec<PortToken>,
    attached: Vec<Bytes>,
    arrived: Bytes,
    /// A payload was read that isn't among what arrived.
    torn: bool,
}

thread_local! {
    // A stack: answering a port while another message is being decoded may nest.
    static CROSSINGS: RefCell<Vec<Crossing>> = const { RefCell::new(Vec::new()) };
}

/// Encodes for a link. When it fails, the ports that the message held are told at once.
pub(crate) fn encode_crossing<T: Wire>(value: &T, link: &Arc<dyn Link>) -> Result<Parcel, CodecError> {
    let (parcel, left) = pack(value, link)?;
    left.keep();
    Ok(parcel)
}

/// Encodes for a link; the ports left behind are forgotten unless the message gets there.
pub(super) fn pack<T: Wire>(value: &T, link: &Arc<dyn Link>) -> Result<(Parcel, LeftPorts), CodecError> {
    let (result, done) = within(link, Bytes::new(), || codec::encode(value));
    let port = done.left.first().copied().unwrap_or_default();
    let left = LeftPorts { link: done.link, tokens: done.left };
    Ok((Parcel { head: result?.into(), attached: done.attached, port, traced: false }, left))
}

/// The ports that one message left behind. Dropped (not sent after all), their askers are told.
pub(super) struct LeftPorts {
    link: Arc<dyn Link>,
    tokens: Vec<PortToken>,
}

impl LeftPorts {
    /// The message is on its way: the ports wait for their answers.
    pub(super) fn keep(mut self) {
        self.tokens.clear();
    }
}

impl Drop for LeftPorts {
    fn drop(&mut self) {
        if !self.tokens.is_empty() {
            self.link.ports().forget(&self.tokens);
        }
    }
}

/// Decodes what came over a link.
pub(crate) fn decode_crossing<T: Wire>(arrived: Arrived, link: &Arc<dyn Link>) -> Result<T, CodecError> {
    let Arrived { head, attached, .. } = arrived;
    let (result, done) = within(link, attached, || codec::decode(&head));
    if done.torn {
        return Err(CodecError::BadFrame("a payload that it names didn't come with it"));
    }
    result
}

fn within<T>(link: &Arc<dyn Link>, arrived: Bytes, f: impl FnOnce() -> T) -> (T, Crossing) {
    /// Takes the crossing away again, also when decoding panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CROSSINGS.with_borrow_mut(|c| c.pop());
        }
    }
    let fresh = |arrived| Crossing { link: link.clone(), left: Vec::new(), attached: Vec::new(), arrived, torn: false };
    CROSSINGS.with_borrow_mut(|c| c.push(fresh(arrived)));
    let leave = Leave;
    let result = f();
    std::mem::forget(leave);
    let done = CROSSINGS.with_borrow_mut(|c| c.pop()).unwrap_or_else(|| fresh(Bytes::new()));
    (result, done)
}

pub(super) fn current_link() -> Option<Arc<dyn Link>> {
    CROSSINGS.with_borrow(|c| c.last().map(|top| top.link.clone()))
}

pub(super) fn leave_port(port: Box<dyn LeftPort>) -> Option<PortToken> {
    let link = current_link()?;
    let token = link.ports().leave(port, link.node());
    CROSSINGS.with_borrow_mut(|c| {
        if let Some(top) = c.last_mut() {
            top.left.push(token);
        }
    });
    Some(token)
}

/// Attaches bytes to the message that is being encoded; gives where they will lie among all that is attached.
///
/// Called twice for one encoding (size, then bytes): the second call finds what the first one attached.
pub(super) fn attach(bytes: &Bytes) -> Option<u64> {
    CROSSINGS.with_borrow_mut(|c| {
        let top = c.last_mut()?;
        let mut at = 0;
        for there in &top.attached {
            if there.as_ptr() == bytes.as_ptr() && there.len() == bytes.len() {
                return Some(at);
            }
            at += there.len() as u64;
        }
        top.attached.push(bytes.clone());
        Some(at)
    })
}

/// Takes attached bytes out of what arrived.
pub(super) fn detach(at: u64, len: u64) -> Bytes {
    CROSSINGS.with_borrow_mut(|c| {
        let Some(top) = c.last_mut() else { return Bytes::new() };
        let end = at.checked_add(len).and_then(|end| usize::try_from(end).ok());
        match (usize::try_from(at), end) {
            (Ok(at), Some(end)) if end <= top.arrived.len() => top.arrived.slice(at..end),
            _ => {
                top.torn = true;
                Bytes::new()
            }
        }
    })
}
