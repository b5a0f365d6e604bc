//! One ractor actor per life of one of ours.
//!
//! ractor gives the loop, the supervision events and the kill; everything that a user of actors
//! sees is added here: the bounded mailbox, an orderly end of the children whatever ended the
//! parent, and errors instead of panics.

use std::any::Any;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::OwnedSemaphorePermit;

use super::Actor;
use super::Message;
use super::context::Context;
use super::error::ActorError;
use super::lifeline::Lifeline;
use super::slot::{Slot, Toll};
use crate::trace::TraceContext;

/// A message in a mailbox, with the room that it takes there.
///
/// The hand-written `ractor::Message` is what keeps our messages local: with ractor's `cluster`
/// feature many plain types are remotable by themselves, and each remotable actor would be
/// mirrored on every connected node.
pub(crate) struct Mail<M> {
    body: M,
    room: OwnedSemaphorePermit,
    toll: Option<Toll>,
    /// Where its sender stood. Boxed, since most have none and each place in a mailbox has room for it.
    trace: Option<Box<TraceContext>>,
}

impl<M> Mail<M> {
    pub(crate) fn new(body: M, room: OwnedSemaphorePermit) -> Self {
        Self { body, room, toll: None, trace: None }
    }

    /// For a message from another node.
    pub(crate) fn with(self, toll: Option<Toll>) -> Self {
        Self { toll, ..self }
    }

    /// Sent in that trace.
    pub(crate) fn within(self, trace: Option<Box<TraceContext>>) -> Self {
        Self { trace, ..self }
    }

    #[cfg(test)]
    pub(crate) fn into_body(self) -> M {
        self.body
    }

    /// It was refused after all.
    pub(crate) fn forgive(self) {
        if let Some(toll) = self.toll {
            toll.forgive();
        }
    }
}

impl<M: Send + 'static> ractor::Message for Mail<M> {}

/// Hosts one life of an `A`.
struct Host<A>(PhantomData<fn() -> A>);

/// What one life starts from.
struct Birth<A: Actor> {
    args: A::Args,
    slot: Arc<Slot<A::Msg>>,
    lifeline: Arc<Lifeline>,
}

struct Life<A: Actor> {
    actor: A,
    ctx: Context<A::Msg>,
}

/// Starts one life of an actor under `supervisor`.
pub(crate) async fn start_child<A: Actor>(
    args: A::Args,
    slot: Arc<Slot<A::Msg>>,
    lifeline: Arc<Lifeline>,
    supervisor: ActorCell,
) -> Result<ActorCell, ActorError> {
    let birth = Birth { args, slot, lifeline };
    let host = Host::<A>(PhantomData);
    match <Host<A> as ractor::Actor>::spawn_linked(None, host, birth, supervisor).await {
        Ok((instance, _)) => Ok(instance.get_cell()),
        Err(ractor::SpawnErr::StartupFailed(e)) => Err(as_actor_error(e)),
        Err(e) => Err(ActorError::failed(e)),
    }
}

impl<A: Actor> ractor::Actor for Host<A> {
    type Msg = Mail<A::Msg>;
    type State = Life<A>;
    type Arguments = Birth<A>;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, birth: Birth<A>) -> Result<Life<A>, ActorProcessingErr> {
        let Birth { args, slot, lifeline } = birth;
        lifeline.attach(myself.get_cell(), A::supervision());
        let ctx = Context::new(slot, lifeline);
        let started = caught(pin!(A::start(args, &ctx))).await;
        match started {
            Ok(actor) => Ok(Life { actor, ctx }),
            Err(e) => {
                ctx.lifeline().end_children().await;
                Err(e.into())
            }
        }
    }

    async fn post_start(&self, myself: ActorRef<Self::Msg>, life: &mut Life<A>) -> Result<(), ActorProcessingErr> {
        life.ctx.slot().move_in(myself);
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        mail: Mail<A::Msg>,
        life: &mut Life<A>,
    ) -> Result<(), ActorProcessingErr> {
        let Mail { body, room, toll, trace } = mail;
        // The message has been taken: from here it isn't waiting any more.
        drop((room, toll));
        let Life { actor, ctx } = life;
        let ctx = &*ctx;
        ctx.slot().takes_one();
        let result = {
            let piece = pin!(actor.handle(body, ctx));
            match trace {
                None => caught(piece).await,
                // Boxed: the future of a handler has to stay small for those who aren't traced.
                Some(sent) => Box::pin(traced(*sent, ctx, caught(piece))).await,
            }
        };
        ctx.lifeline().fail_with(result).await
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        life: &mut Life<A>,
    ) -> Result<(), ActorProcessingErr> {
        // The only ractor child is the supervisor of our children, and it fails when it gives up.
        let SupervisionEvent::ActorFailed(_, why) = event else {
            return Ok(());
        };
        life.ctx.lifeline().fail_with(Err(as_actor_error(why))).await
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, life: &mut Life<A>) -> Result<(), ActorProcessingErr> {
        life.ctx.lifeline().end_children().await;
        let goodbye = async {
            life.actor.stopped(&life.ctx).await;
            Ok(())
        };
        caught(pin!(goodbye)).await.map_err(Into::into)
    }
}

/// Handles a message on account of whoever sent it.
async fn traced<M: Message, T>(sent: TraceContext, ctx: &Context<M>, handling: impl Future<Output = T>) -> T {
    let context = sent.child();
    let addr = ctx.slot().addr();
    let span = context.handling(&sent, ctx.name(), M::KIND, addr.node);
    let handled = context.scope(span, async {
        tracing::debug!(target: "fleet_runtime::trace", "a message is handled");
        handling.await
    });
    handled.await
}

/// Runs a piece of an actor; a panic becomes an error like any other.
///
/// It is run where it lies: a handler's future may have kilobytes, and each move would copy them, for every message.
async fn caught<T>(mut piece: Pin<&mut impl Future<Output = Result<T, ActorError>>>) -> Result<T, ActorError> {
    let polled = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| piece.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(result),
        Err(panic) => Poll::Ready(Err(ActorError::Panicked(panic_text(&*panic)))),
    });
    polled.await
}

/// The text of a panic, where it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into())
}

fn as_actor_error(e: ActorProcessingErr) -> ActorError {
    match e.downcast::<ActorError>() {
        Ok(e) => *e,
        Err(e) => ActorError::failed(e),
    }
}
