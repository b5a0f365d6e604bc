//! How references and reply ports get through an encoding.
//!
//! Both are live things that bytes can't hold. While a message is encoded or decoded *for a
//! link*, that link is the thread's current crossing: a reference is written as its address and
//! read back as one that sends over the link; a reply port stays behind in the link's
//! [`PortTable`] and is written as a token. Outside of a crossing a reference is still its
//! address (and can't be sent to), and a reply port is dead: nobody waits on its account.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use wincode::{SchemaRead, SchemaWrite};

use super::address::ActorAddr;
use super::reply::LeftPort;
use crate::codec::{self, CodecError, Wire};

/// The way to actors that this process can't reach directly.
pub trait Link: Send + Sync + 'static {
    /// Brings an encoded message to that life of that actor. An error means: certainly not delivered.
    fn deliver(&self, to: ActorAddr, kind: &'static str, payload: Bytes) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Like [`Link::deliver`], but never waits for room.
    fn try_deliver(&self, to: ActorAddr, kind: &'static str, payload: Bytes) -> Result<(), Refusal>;

    /// Brings an answer to the other side's port; `None` says that there will be none.
    fn answer(&self, port: PortToken, payload: Option<Vec<u8>>);

    /// The ports left behind on this side.
    fn ports(&self) -> &PortTable;
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

/// Names a reply port on the side that left it behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, SchemaWrite, SchemaRead)]
pub struct PortToken(u64);

impl PortToken {
    /// No port: nobody waits.
    pub const NONE: Self = Self(0);
}

/// The reply ports that one side of a link has left behind, until they are answered.
///
/// Its size is bounded by the questions in flight, and those by their deadlines: an entry whose
/// asker gave up goes when the other side answers or drops its end, or with the link.
#[derive(Default)]
pub struct PortTable(Mutex<Ports>);

#[derive(Default)]
struct Ports {
    last: u64,
    left: HashMap<PortToken, Box<dyn LeftPort>>,
}

impl PortTable {
    fn leave(&self, port: Box<dyn LeftPort>) -> PortToken {
        let mut ports = self.lock();
        ports.last += 1;
        let token = PortToken(ports.last);
        ports.left.insert(token, port);
        token
    }

    /// Gives an answer to its port; a token that isn't known (any more) is ignored.
    pub fn answer(&self, token: PortToken, payload: Option<&[u8]>, link: &Arc<dyn Link>) -> Result<(), CodecError> {
        let port = self.lock().left.remove(&token);
        match (port, payload) {
            (Some(port), Some(payload)) => port.answer(payload, link),
            _ => Ok(()),
        }
    }

    /// How many questions wait for an answer from the other side.
    pub fn waiting(&self) -> usize {
        self.lock().left.len()
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
}

thread_local! {
    // A stack: answering a port while another message is being decoded may nest.
    static CROSSINGS: RefCell<Vec<Crossing>> = const { RefCell::new(Vec::new()) };
}

/// Encodes for a link. When it fails, the ports that the message held are told at once.
pub fn encode_crossing<T: Wire>(value: &T, link: &Arc<dyn Link>) -> Result<Vec<u8>, CodecError> {
    let (bytes, left) = pack(value, link)?;
    left.keep();
    Ok(bytes)
}

/// Encodes for a link; the ports left behind are forgotten unless the message gets there.
pub(super) fn pack<T: Wire>(value: &T, link: &Arc<dyn Link>) -> Result<(Vec<u8>, LeftPorts), CodecError> {
    let (result, left) = within(link, || codec::encode(value));
    let left = LeftPorts { link: link.clone(), tokens: left };
    Ok((result?, left))
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
        self.link.ports().forget(&self.tokens);
    }
}

/// Decodes what came over a link.
pub fn decode_crossing<T: Wire>(bytes: &[u8], link: &Arc<dyn Link>) -> Result<T, CodecError> {
    within(link, || codec::decode(bytes)).0
}

fn within<T>(link: &Arc<dyn Link>, f: impl FnOnce() -> T) -> (T, Vec<PortToken>) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CROSSINGS.with_borrow_mut(|c| c.pop());
        }
    }
    CROSSINGS.with_borrow_mut(|c| c.push(Crossing { link: link.clone(), left: Vec::new() }));
    let leave = Leave;
    let result = f();
    let left = CROSSINGS.with_borrow_mut(|c| c.last_mut().map(|top| std::mem::take(&mut top.left))).unwrap_or_default();
    drop(leave);
    (result, left)
}

pub(super) fn current_link() -> Option<Arc<dyn Link>> {
    CROSSINGS.with_borrow(|c| c.last().map(|top| top.link.clone()))
}

pub(super) fn leave_port(port: Box<dyn LeftPort>) -> Option<PortToken> {
    let link = current_link()?;
    let token = link.ports().leave(port);
    CROSSINGS.with_borrow_mut(|c| {
        if let Some(top) = c.last_mut() {
            top.left.push(token);
        }
    });
    Some(token)
}
