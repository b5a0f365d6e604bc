//! The only way to an actor.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wincode::adapter::FromInto;
use wincode::{SchemaRead, SchemaWrite};

use super::Message;
use super::address::ActorAddr;
use super::crossing::{self, LeftPorts, Link, Parcel, Refusal};
use super::error::{AskError, SendError};
use super::reply::ReplyTo;
use super::slot::Slot;
use super::system::Home;
use crate::codec::Wire;

/// A reference to an actor: cheap to clone, sendable in messages, good over the actor's restarts.
#[derive(SchemaWrite, SchemaRead)]
pub struct Ref<M> {
    #[wincode(with = "FromInto<ActorAddr, Target<M>>")]
    target: Target<M>,
}

enum Target<M> {
    Here(Arc<Slot<M>>),
    There(Arc<Remote>),
}

struct Remote {
    /// The last life of the actor that we heard of.
    addr: Mutex<ActorAddr>,
    /// None: the address was read outside of a crossing, so there is no way to it.
    link: Option<Arc<dyn Link>>,
}

impl<M: Message> Ref<M> {
    /// Sends, and waits while the mailbox is full. At most once: `Ok` means queued, not handled.
    pub async fn tell(&self, msg: M) -> Result<(), SendError> {
        match &self.target {
            Target::Here(slot) => slot.send(msg).await,
            Target::There(remote) => remote.tell(msg).await,
        }
    }

    /// Sends if there is room now.
    pub fn try_tell(&self, msg: M) -> Result<(), SendError> {
        match &self.target {
            Target::Here(slot) => slot.try_send(msg),
            Target::There(remote) => remote.try_tell(msg),
        }
    }

    /// Asks, and waits for the answer until the deadline.
    ///
    /// A replier that drops its port unanswered (it failed, or chose not to answer) is reported
    /// at once as [`AskError::Unknown`]; the deadline is only for silence.
    pub async fn ask<R, F>(&self, deadline: Duration, question: F) -> Result<R, AskError>
    where
        R: Wire + Send + 'static,
        F: FnOnce(ReplyTo<R>) -> M,
    {
        let until = tokio::time::Instant::now() + deadline;
        let (reply, answer) = ReplyTo::open();
        match tokio::time::timeout_at(until, self.tell(question(reply))).await {
            Ok(sent) => sent?,
            Err(_) => return Err(AskError::Busy),
        }
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(refusal))) => Err(Self::refused(refusal)),
            Ok(Err(_)) => Err(AskError::Unknown("nobody answers any more")),
            Err(_) => Err(AskError::Unknown("the deadline has passed")),
        }
    }
}

impl<M: Message> Ref<M> {
    /// A question came back from the other side unread.
    fn refused(refusal: Refusal) -> AskError {
        match refusal {
            Refusal::Gone => AskError::Gone,
            Refusal::Busy => AskError::Busy,
            Refusal::NotSent(why) => AskError::NotSent(why),
            Refusal::Moved(to) => AskError::NotSent(format!("the actor is at {to} by now")),
        }
    }
}

impl<M: Send + 'static> Ref<M> {
    /// The address of the actor's present life, as far as is known here.
    pub fn addr(&self) -> ActorAddr {
        self.target.addr()
    }

    /// True once the actor is known to have ended for good.
    pub fn is_gone(&self) -> bool {
        match &self.target {
            Target::Here(slot) => slot.is_gone(),
            Target::There(_) => false,
        }
    }

    pub(crate) fn here(slot: Arc<Slot<M>>) -> Self {
        Self { target: Target::Here(slot) }
    }

    /// A local reference where the actor lives here; else one that sends over `link`.
    pub(crate) fn resolve(addr: ActorAddr, home: Option<&Home>, link: Option<Arc<dyn Link>>) -> Self {
        Self { target: Target::resolve(addr, home, link) }
    }

    pub(crate) fn there(addr: ActorAddr, link: Arc<dyn Link>) -> Self {
        Self { target: Target::remote(addr, Some(link)) }
    }
}

impl<M: Send + 'static> Target<M> {
    fn addr(&self) -> ActorAddr {
        match self {
            Self::Here(slot) => slot.addr(),
            Self::There(remote) => remote.addr(),
        }
    }
}

impl<M> Target<M> {
    fn remote(addr: ActorAddr, link: Option<Arc<dyn Link>>) -> Self {
        Self::There(Arc::new(Remote { addr: Mutex::new(addr), link }))
    }
}

impl Remote {
    fn addr(&self) -> ActorAddr {
        *self.addr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell<M: Message>(&self, msg: M) -> Result<(), SendError> {
        let link = self.link()?;
        let (parcel, left) = pack_for(&msg, link)?;
        let mut to = self.addr();
        while let Err(refusal) = link.deliver(to, M::KIND_ID, parcel.clone()).await {
            // A refused message was not delivered, so the new life may get it: still at most once.
            if let Refusal::Moved(now) = refusal {
                link.part(now).await;
            }
            to = self.follow(to, refusal)?;
        }
        left.keep();
        Ok(())
    }

    fn try_tell<M: Message>(&self, msg: M) -> Result<(), SendError> {
        let link = self.link()?;
        let (parcel, left) = pack_for(&msg, link)?;
        let mut to = self.addr();
        while let Err(refusal) = link.try_deliver(to, M::KIND_ID, parcel.clone()) {
            if matches!(refusal, Refusal::Moved(now) if !link.has_parted(now)) {
                return Err(SendError::Busy);
            }
            to = self.follow(to, refusal)?;
        }
        left.keep();
        Ok(())
    }

    fn link(&self) -> Result<&Arc<dyn Link>, SendError> {
        let no_way = || SendError::NotSent(format!("no link leads to {}", self.addr()));
        self.link.as_ref().ok_or_else(no_way)
    }

    /// What a refusal means to the sender: a later life than the one tried, or an error.
    fn follow(&self, tried: ActorAddr, refusal: Refusal) -> Result<ActorAddr, SendError> {
        match refusal {
            Refusal::Gone => Err(SendError::Gone),
            Refusal::Busy => Err(SendError::Busy),
            Refusal::NotSent(why) => Err(SendError::NotSent(why)),
            Refusal::Moved(to) => {
                let mut addr = self.addr.lock().unwrap_or_else(PoisonError::into_inner);
                // Another user of this reference may have heard of it already.
                if to.follows(&addr) {
                    *addr = to;
                }
                match addr.follows(&tried) {
                    true => Ok(*addr),
                    false => Err(SendError::NotSent(format!("{tried} was refused"))),
                }
            }
        }
    }
}

fn pack_for<M: Message>(msg: &M, link: &Arc<dyn Link>) -> Result<(Parcel, LeftPorts), SendError> {
    let (mut parcel, left) = crossing::pack(msg, link).map_err(|e| SendError::NotSent(e.to_string()))?;
    parcel.stamp();
    Ok((parcel, left))
}

impl<M: Send + 'static> From<&Target<M>> for ActorAddr {
    fn from(target: &Target<M>) -> Self {
        target.addr()
    }
}

impl<M: Send + 'static> From<ActorAddr> for Target<M> {
    fn from(addr: ActorAddr) -> Self {
        let came_over = crossing::current_link();
        let home = came_over.as_ref().and_then(|link| link.home());
        Self::resolve(addr, home, came_over.as_ref().and_then(|link| link.toward(addr)))
    }
}

impl<M: Send + 'static> Target<M> {
    fn resolve(addr: ActorAddr, home: Option<&Home>, link: Option<Arc<dyn Link>>) -> Self {
        match home.and_then(|home| home.find(addr)?.as_any().downcast().ok()) {
            Some(slot) => Self::Here(slot),
            None => Self::remote(addr, link),
        }
    }
}

impl<M> Clone for Ref<M> {
    fn clone(&self) -> Self {
        Self {
            target: match &self.target {
                Target::Here(slot) => Target::Here(slot.clone()),
                Target::There(remote) => Target::There(remote.clone()),
            },
        }
    }
}

impl<M: Send + 'static> fmt::Debug for Ref<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Here(slot) => write!(f, "Ref({} {})", slot.name(), slot.addr()),
            Target::There(remote) => write!(f, "Ref(remote {})", remote.addr()),
        }
    }
}
