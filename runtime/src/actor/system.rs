//! The actors of one process: their root, and the table by which a link finds them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use wincode::{SchemaRead, SchemaWrite};

use super::address::ActorAddr;
use super::crossing::{Arrived, KindId, Link, PortTable, Refusal, decode_crossing};
use super::error::{ActorError, SendError};
use super::figures::{ActorFigures, SlotFigures};
use super::host::Mail;
use super::provided::Provided;
use super::reference::Ref;
use super::slot::{Slot, Toll};
use super::{Actor, Message};
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::supervise::{ChildOptions, Supervisor, SupervisorOptions};

/// The actor system of one process. Cheap to clone.
#[derive(Clone)]
pub struct System {
    home: Home,
    root: Supervisor,
}

impl System {
    /// Starts an empty system for this life of a node.
    pub async fn start(node: NodeId, incarnation: Incarnation) -> Result<Self, ActorError> {
        let home = Home::new(node, incarnation);
        let options = SupervisorOptions::default();
        let root = Supervisor::start(home.clone(), CancellationToken::new(), options, None).await?;
        let (provided, ended) = (TakenBack(home.clone()), root.clone());
        tokio::spawn(async move {
            ended.ended().await;
            drop(provided);
        });
        Ok(Self { home, root })
    }

    /// Starts an actor at the root.
    pub async fn spawn<A: Actor>(
        &self,
        name: impl Into<String>,
        args: A::Args,
        options: ChildOptions,
    ) -> Result<Ref<A::Msg>, ActorError> {
        self.root.spawn::<A>(name.into(), args, options).await
    }

    /// Starts an actor at the root that any node reaches by this node and its name, in whichever life both are:
    /// see [`ActorAddr::service`].
    pub async fn spawn_service<A: Actor>(
        &self,
        name: &str,
        args: A::Args,
        options: ChildOptions,
    ) -> Result<Ref<A::Msg>, ActorError> {
        let life = Life { actor: ActorId::of_service(name), generation: Generation(1) };
        self.spawn_as::<A>(life, name.to_owned(), args, options).await
    }

    /// Gives the actors of this process something to work with, in place of an earlier value of its type. They get it by
    /// [`Context::provided`](super::Context::provided).
    pub fn provide<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.home.provided().put(value);
    }

    /// Starts an actor at the root as the next life of one that may have lived elsewhere.
    pub(crate) async fn spawn_as<A: Actor>(
        &self,
        life: Life,
        name: String,
        args: A::Args,
        options: ChildOptions,
    ) -> Result<Ref<A::Msg>, ActorError> {
        self.root.spawn_as::<A>(life, name, args, options).await
    }

    /// Ends an actor at the root in good order, with all that it started.
    pub async fn stop(&self, name: &str) {
        self.root.stop_child(name).await;
    }

    /// Ends every actor in good order, youngest first. Returns when all have ended.
    pub async fn shutdown(&self) {
        self.root.stop().await;
    }

    /// Resolves when the root has ended: after [`System::shutdown`], or because it gave up.
    pub async fn ended(&self) {
        self.root.ended().await;
    }

    /// What its actors have done and have before them.
    pub fn figures(&self) -> ActorFigures {
        self.home.figures()
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }
}

/// What is provided is given up with the system, also where its whole runtime is dropped: it may hold the system itself.
struct TakenBack(Home);

impl Drop for TakenBack {
    fn drop(&mut self) {
        self.0.provided().clear();
    }
}

/// Which actor it is, and how often it has begun to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Life {
    pub(crate) actor: ActorId,
    pub(crate) generation: Generation,
}

impl Life {
    pub(crate) fn first() -> Self {
        Self { actor: ActorId::new_random(), generation: Generation(1) }
    }

    /// Whether this is an earlier life of the same actor.
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        self.actor == other.actor && self.generation < other.generation
    }
}

/// Where the actors of this process live, by id.
#[derive(Clone)]
pub(crate) struct Home(Arc<Inner>);

struct Inner {
    node: NodeId,
    incarnation: Incarnation,
    slots: RwLock<HashMap<ActorId, Weak<dyn AnySlot>>>,
    /// Messages that actors have handled which are no more, by kind.
    past: Mutex<HashMap<&'static str, u64>>,
    ports: PortTable,
    provided: Provided,
}

impl Home {
    fn new(node: NodeId, incarnation: Incarnation) -> Self {
        let (slots, past, ports, provided) = Default::default();
        Self(Arc::new(Inner { node, incarnation, slots, past, ports, provided }))
    }

    pub(crate) fn provided(&self) -> &Provided {
        &self.0.provided
    }

    /// What was asked of other nodes and isn't answered yet.
    pub(crate) fn ports(&self) -> &PortTable {
        &self.0.ports
    }

    /// Makes the place for a new actor.
    pub(crate) fn settle<M: Message>(&self, name: String, mailbox: usize, life: Life) -> Arc<Slot<M>> {
        let Life { actor, generation } = life;
        let addr = ActorAddr { node: self.0.node, incarnation: self.0.incarnation, actor, generation };
        let slot = Slot::new(name, addr, mailbox);
        let any: Arc<dyn AnySlot> = slot.clone();
        self.0.slots.write().unwrap_or_else(PoisonError::into_inner).insert(addr.actor, Arc::downgrade(&any));
        slot
    }

    /// The actor has ended for good.
    pub(crate) fn forget(&self, actor: ActorId) {
        let mut slots = self.0.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.remove(&actor).and_then(|slot| slot.upgrade());
        if let Some(SlotFigures { kind, handled, .. }) = slot.as_ref().map(|slot| slot.figures()) {
            *self.past().entry(kind).or_default() += handled;
        }
        // Before the slot, whose messages may run code of theirs when they are dropped.
        drop(slots);
        drop(slot);
    }

    fn figures(&self) -> ActorFigures {
        let mut all = ActorFigures::new();
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        let here: Vec<Arc<dyn AnySlot>> = slots.values().filter_map(Weak::upgrade).collect();
        here.iter().for_each(|slot| slot.figures().add_to(&mut all));
        for (kind, handled) in &*self.past() {
            all.entry(kind).or_default().handled += handled;
        }
        // As above: one of them may have ended meanwhile.
        drop(slots);
        drop(here);
        all
    }

    fn past(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, u64>> {
        self.0.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, addr: ActorAddr) -> Option<Arc<dyn AnySlot>> {
        if addr.node != self.0.node || (addr.incarnation != self.0.incarnation && !addr.is_service()) {
            return None;
        }
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(&addr.actor)?.upgrade()
    }
}

/// A slot whose message type isn't known here.
pub(crate) trait AnySlot: Send + Sync {
    /// Decodes and queues a message; waits for room up to `patience`.
    fn deliver<'a>(
        self: Arc<Self>,
        packet: Packet,
        link: &'a Arc<dyn Link>,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), Refusal>>;

    /// Decodes and queues a message if there is room now. Gives the packet back where there isn't.
    fn try_deliver(&self, packet: Packet, link: &Arc<dyn Link>) -> Result<(), Undelivered>;

    fn figures(&self) -> SlotFigures;

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Why a message isn't in the mailbox.
pub(crate) enum Undelivered {
    /// There is no room now; here it is back.
    Full(Box<Packet>),
    Refused(Refusal),
}

impl From<Undelivered> for Refusal {
    fn from(why: Undelivered) -> Self {
        match why {
            Undelivered::Full(_) => Self::Busy,
            Undelivered::Refused(refusal) => refusal,
        }
    }
}

/// An encoded message on its way into a slot.
pub(crate) struct Packet {
    pub(crate) to: ActorAddr,
    pub(crate) kind: KindId,
    pub(crate) arrived: Arrived,
    /// Paid when the actor has taken the message; forgiven when it is refused.
    pub(crate) toll: Option<Toll>,
}

impl Packet {
    /// It will not be delivered.
    pub(crate) fn refused(self, why: Refusal) -> Refusal {
        forgive(self.toll);
        why
    }
}

fn forgive(toll: Option<Toll>) {
    if let Some(toll) = toll {
        toll.forgive();
    }
}

impl<M: Message> AnySlot for Slot<M> {
    fn deliver<'a>(
        self: Arc<Self>,
        packet: Packet,
        link: &'a Arc<dyn Link>,
        patience: Duration,
    ) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let room = tokio::time::timeout(patience, self.permit()).await;
            match room.map_err(|_| Refusal::Busy).and_then(|room| room.map_err(refused)) {
                Ok(room) => self.open(packet, link, room),
                Err(why) => Err(packet.refused(why)),
            }
        })
    }

    fn try_deliver(&self, packet: Packet, link: &Arc<dyn Link>) -> Result<(), Undelivered> {
        match self.try_permit() {
            Ok(room) => self.open(packet, link, room).map_err(Undelivered::Refused),
            Err(SendError::Busy) => Err(Undelivered::Full(Box::new(packet))),
            Err(e) => Err(Undelivered::Refused(packet.refused(refused(e)))),
        }
    }

    fn figures(&self) -> SlotFigures {
        let (handled, waiting) = self.counts();
        SlotFigures { kind: M::KIND, handled, waiting }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<M: Message> Slot<M> {
    fn open(
        &self,
        packet: Packet,
        link: &Arc<dyn Link>,
        room: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<(), Refusal> {
        if packet.kind != M::KIND_ID {
            let why = format!("the message is of another kind than the actor's ({})", M::KIND);
            return Err(packet.refused(Refusal::NotSent(why)));
        }
        // Before decoding: what is going to be refused must not take its reply ports along.
        if let Err(now) = self.admits(packet.to) {
            return Err(packet.refused(Refusal::Moved(now)));
        }
        let Packet { to, mut arrived, toll, .. } = packet;
        let trace = arrived.trace.take();
        let msg = match decode_crossing(arrived, link) {
            Ok(msg) => msg,
            Err(e) => {
                forgive(toll);
                return Err(Refusal::NotSent(e.to_string()));
            }
        };
        self.put_at(to, Mail::new(msg, room).with(toll).within(trace)).map_err(|(now, mail)| {
            mail.forgive();
            if now == to { Refusal::Gone } else { Refusal::Moved(now) }
        })
    }
}

fn refused(e: SendError) -> Refusal {
    match e {
        SendError::NotSent(why) => Refusal::NotSent(why),
        SendError::Busy => Refusal::Busy,
        SendError::Gone => Refusal::Gone,
    }
}
