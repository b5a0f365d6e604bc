//! The handle of a supervisor: starts and ends the children of one parent.

use std::sync::Arc;

use futures::future::BoxFuture;
use ractor::{ActorCell, ActorRef};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::driver::{Child, Driver, Follower, Order, Running, Started};
use super::policy::{ChildOptions, SupervisorOptions};
use crate::actor::{Actor, ActorError, Home, Life, Lifeline, Ref, Slot, start_child};

/// Cheap to clone; made for each parent when it starts its first child.
#[derive(Clone)]
pub(crate) struct Supervisor {
    home: Home,
    driver: ActorRef<Order>,
}

impl Supervisor {
    pub(crate) async fn start(
        home: Home,
        cancel: CancellationToken,
        options: SupervisorOptions,
        parent: Option<ActorCell>,
    ) -> Result<Self, ActorError> {
        // Boxed: this is part of every handler that starts children, and those have to be small.
        let starting: BoxFuture<'_, _> = match parent {
            Some(parent) => Box::pin(ractor::Actor::spawn_linked(None, Driver, (options, cancel), parent)),
            None => Box::pin(ractor::Actor::spawn(None, Driver, (options, cancel))),
        };
        match starting.await {
            Ok((driver, _)) => Ok(Self { home, driver }),
            Err(_) => Err(ActorError::ParentEnding),
        }
    }

    /// Starts a child and waits until it is up.
    pub(crate) async fn spawn<A: Actor>(
        &self,
        name: String,
        args: A::Args,
        options: ChildOptions,
    ) -> Result<Ref<A::Msg>, ActorError> {
        self.spawn_as::<A>(Life::first(), name, args, options).await
    }

    /// The same for an actor that may have lived before.
    pub(crate) async fn spawn_as<A: Actor>(
        &self,
        life: Life,
        name: String,
        args: A::Args,
        options: ChildOptions,
    ) -> Result<Ref<A::Msg>, ActorError> {
        self.spawn_followed::<A>(life, name, args, options, None).await
    }

    /// The same for one whose fate somebody wants to hear.
    pub(crate) async fn spawn_followed<A: Actor>(
        &self,
        life: Life,
        name: String,
        args: A::Args,
        options: ChildOptions,
        follower: Option<Follower>,
    ) -> Result<Ref<A::Msg>, ActorError> {
        let slot = self.home.settle::<A::Msg>(name.clone(), options.mailbox, life);
        let child = Box::new(ChildOf::<A> { args, slot: slot.clone(), home: self.home.clone() });
        let (reply, started) = oneshot::channel();
        let order = Order::Spawn { name, child, options, follower, reply };
        self.driver.send_message(order).map_err(|_| ActorError::ParentEnding)?;
        started.await.map_err(|_| ActorError::ParentEnding)??;
        Ok(Ref::here(slot))
    }

    /// Ends a child in good order; returns when it has ended.
    pub(crate) async fn stop_child(&self, name: &str) {
        let (reply, stopped) = oneshot::channel();
        let order = Order::Stop { name: name.to_owned(), reply };
        if self.driver.send_message(order).is_ok() {
            // An error means that the supervisor has ended, and the child with it.
            let _ = stopped.await;
        }
    }

    /// Ends all children in good order, and itself.
    pub(crate) async fn stop(&self) {
        self.driver.stop(None);
        self.ended().await;
    }

    pub(crate) async fn ended(&self) {
        let _ = self.driver.wait(None).await;
    }

    /// It was made for nothing.
    pub(crate) fn discard(&self) {
        self.driver.stop(None);
    }
}

/// A child of a known kind, as the driver sees it: something that can be started again.
struct ChildOf<A: Actor> {
    args: A::Args,
    slot: Arc<Slot<A::Msg>>,
    home: Home,
}

impl<A: Actor> Child for ChildOf<A> {
    fn start(&self, supervisor: ActorCell, cancel: CancellationToken) -> BoxFuture<'static, Started> {
        let lifeline = Arc::new(Lifeline::new(self.home.clone(), cancel));
        let starting = start_child::<A>(self.args.clone(), self.slot.clone(), lifeline.clone(), supervisor);
        Box::pin(async move { Ok(Running { cell: starting.await?, lifeline }) })
    }

    fn move_out(&self) {
        self.slot.move_out();
    }
}

impl<A: Actor> Drop for ChildOf<A> {
    // Whatever ended the supervisor, even a kill: nobody may wait for an actor that won't come back.
    fn drop(&mut self) {
        self.home.forget(self.slot.addr().actor);
        self.slot.close();
    }
}
