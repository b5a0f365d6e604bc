//! The place that an actor lives in, which outlasts its restarts.
//!
//! References point at a slot, never at a running instance. While an actor is being restarted
//! its messages wait here, within the same bound as its mailbox; when it has ended for good the
//! slot is closed and every sender is told `Gone`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::address::ActorAddr;
use super::error::SendError;
use super::host::Mail;
use crate::id::Generation;
use crate::trace;

/// How many messages may wait for one actor.
pub(crate) const MAILBOX: usize = 1024;

/// What a message from another node costs its sender until the actor has taken it. Paid by dropping it.
pub(crate) struct Toll {
    tally: Arc<dyn Tally>,
    bytes: u32,
    forgiven: bool,
}

/// Counts what has been taken.
pub(crate) trait Tally: Send + Sync {
    fn taken(self: Arc<Self>, bytes: u32);
}

impl Toll {
    pub(crate) fn new(tally: Arc<dyn Tally>, bytes: u32) -> Self {
        Self { tally, bytes, forgiven: false }
    }

    /// The message was refused: its sender hears of that by itself.
    pub(crate) fn forgive(mut self) {
        self.forgiven = true;
    }
}

impl Drop for Toll {
    fn drop(&mut self) {
        if !self.forgiven {
            self.tally.clone().taken(self.bytes);
        }
    }
}

pub(crate) struct Slot<M> {
    name: String,
    permits: Arc<Semaphore>,
    mailbox: usize,
    handled: AtomicU64,
    tenancy: Mutex<Tenancy<M>>,
}

struct Tenancy<M> {
    addr: ActorAddr,
    state: State<M>,
}

enum State<M> {
    Live(ActorRef<Mail<M>>),
    /// Not started yet, or between two lives: what arrives waits.
    Away(Vec<Mail<M>>),
    Gone,
}

impl<M: Send + 'static> Slot<M> {
    pub(crate) fn new(name: String, addr: ActorAddr, mailbox: usize) -> Arc<Self> {
        let mailbox = mailbox.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            name,
            permits: Arc::new(Semaphore::new(mailbox)),
            mailbox,
            handled: AtomicU64::new(0),
            tenancy: Mutex::new(Tenancy { addr, state: State::Away(Vec::new()) }),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its actor has a message in hand.
    pub(crate) fn takes_one(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that were taken, and those that wait.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let waiting = self.mailbox.saturating_sub(self.permits.available_permits());
        (self.handled.load(Ordering::Relaxed), waiting as u64)
    }

    pub(crate) fn addr(&self) -> ActorAddr {
        self.lock().addr
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.lock().state, State::Gone)
    }

    pub(crate) async fn send(&self, msg: M) -> Result<(), SendError> {
        let permit = self.permit().await?;
        self.put(Mail::new(msg, permit).within(trace::current().map(Box::new)))
    }

    pub(crate) fn try_send(&self, msg: M) -> Result<(), SendError> {
        let permit = self.try_permit()?;
        self.put(Mail::new(msg, permit).within(trace::current().map(Box::new)))
    }

    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, SendError> {
        self.permits.clone().acquire_owned().await.map_err(|_| SendError::Gone)
    }

    pub(crate) fn try_permit(&self) -> Result<OwnedSemaphorePermit, SendError> {
        use tokio::sync::TryAcquireError::{Closed, NoPermits};
        self.permits.clone().try_acquire_owned().map_err(|e| match e {
            NoPermits => SendError::Busy,
            Closed => SendError::Gone,
        })
    }

    /// Whether that is the present life of the actor; else which one is.
    pub(crate) fn admits(&self, at: ActorAddr) -> Result<(), ActorAddr> {
        let now = self.addr();
        if at.means(&now) { Ok(()) } else { Err(now) }
    }

    /// Delivers to exactly that life of the actor. An address of another life is refused: the present one comes back, and
    /// the message with it.
    pub(crate) fn put_at(&self, at: ActorAddr, mail: Mail<M>) -> Result<(), (ActorAddr, Mail<M>)> {
        let mut tenancy = self.lock();
        if !at.means(&tenancy.addr) {
            return Err((tenancy.addr, mail));
        }
        if let State::Gone = tenancy.state {
            return Err((at, mail));
        }
        if let Err(error) = tenancy.put(mail) {
            // What an instance doesn't take any more waits for the next, so this is a fault of ours.
            tracing::error!(%at, %error, "a message was lost on its way into a mailbox");
        }
        Ok(())
    }

    fn put(&self, mail: Mail<M>) -> Result<(), SendError> {
        self.lock().put(mail)
    }

    /// An instance is up: what has waited goes to it first, in the order in which it came.
    pub(crate) fn move_in(&self, instance: ActorRef<Mail<M>>) {
        let mut tenancy = self.lock();
        let before = std::mem::replace(&mut tenancy.state, State::Live(instance));
        if let State::Away(waiting) = before {
            for mail in waiting {
                // Fails only if the new instance has ended already; then this waits for the next.
                let _ = tenancy.put(mail);
            }
        }
    }

    /// The instance has ended and another will come, of the next generation.
    pub(crate) fn move_out(&self) -> Generation {
        let mut tenancy = self.lock();
        tenancy.addr.generation = tenancy.addr.generation.next();
        if let State::Live(_) = tenancy.state {
            tenancy.state = State::Away(Vec::new());
        }
        tenancy.addr.generation
    }

    /// Takes what waits between two lives.
    #[cfg(test)]
    pub(crate) fn take_waiting(&self) -> Vec<M> {
        let mut tenancy = self.lock();
        let State::Away(waiting) = &mut tenancy.state else { return Vec::new() };
        let waiting = std::mem::take(waiting);
        drop(tenancy);
        waiting.into_iter().map(Mail::into_body).collect()
    }

    /// Takes what waits, and closes.
    #[cfg(test)]
    pub(crate) fn close_and_take(&self) -> Vec<M> {
        let before = std::mem::replace(&mut self.lock().state, State::Gone);
        self.permits.close();
        let State::Away(waiting) = before else { return Vec::new() };
        waiting.into_iter().map(Mail::into_body).collect()
    }

    /// The actor has ended for good. Questions that wait here are told at once.
    pub(crate) fn close(&self) {
        let before = std::mem::replace(&mut self.lock().state, State::Gone);
        self.permits.close();
        // Outside the lock: dropping messages may run code of theirs.
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Tenancy<M>> {
        // The state is replaced whole, so a panic elsewhere can't have left it half-written.
        self.tenancy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Send + 'static> Tenancy<M> {
    fn put(&mut self, mail: Mail<M>) -> Result<(), SendError> {
        match &mut self.state {
            State::Live(instance) => match instance.send_message(mail) {
                Ok(()) => Ok(()),
                // It has ended and its supervisor hasn't said yet what follows: wait for that.
                Err(ractor::MessagingErr::SendErr(mail)) => {
                    self.state = State::Away(vec![mail]);
                    Ok(())
                }
                Err(e) => Err(SendError::NotSent(e.to_string())),
            },
            State::Away(waiting) => {
                waiting.push(mail);
                Ok(())
            }
            State::Gone => Err(SendError::Gone),
        }
    }
}
