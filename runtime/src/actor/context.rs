//! What an actor knows of its surroundings.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Actor;
use super::error::ActorError;
use super::lifeline::Lifeline;
use super::reference::Ref;
use super::slot::Slot;
use crate::supervise::{ChildOptions, Restart, Supervisor};

/// Handed to every call of an actor: its own reference, its children, its end.
pub struct Context<M> {
    slot: Arc<Slot<M>>,
    lifeline: Arc<Lifeline>,
}

impl<M: Send + 'static> Context<M> {
    pub(super) fn new(slot: Arc<Slot<M>>, lifeline: Arc<Lifeline>) -> Self {
        Self { slot, lifeline }
    }

    /// This actor's own reference. Asking oneself never gets an answer; telling oneself is fine.
    pub fn myself(&self) -> Ref<M> {
        Ref::here(self.slot.clone())
    }

    /// The name under which the parent started it.
    pub fn name(&self) -> &str {
        self.slot.name()
    }

    /// Starts a child and waits until it is up. Names are unique among siblings.
    ///
    /// A child must not ask its parent in `start`: the parent is waiting right here.
    pub async fn spawn<A: Actor>(
        &self,
        name: impl Into<String>,
        args: A::Args,
        restart: Restart,
    ) -> Result<Ref<A::Msg>, ActorError> {
        let options = ChildOptions { restart, ..ChildOptions::default() };
        self.spawn_with::<A>(name, args, options).await
    }

    /// Like [`Context::spawn`], with every choice open.
    pub async fn spawn_with<A: Actor>(
        &self,
        name: impl Into<String>,
        args: A::Args,
        options: ChildOptions,
    ) -> Result<Ref<A::Msg>, ActorError> {
        let name = name.into();
        // Boxed: this is part of a handler's future, which is moved for every message.
        Box::pin(async move { self.lifeline.supervisor().await?.spawn::<A>(name, args, options).await }).await
    }

    /// What this node provides of that type ([`System::provide`](super::System::provide)). Waits for it up to 30 s: a node
    /// that starts may be given actors before all of its parts are there.
    pub async fn provided<T: Clone + Send + Sync + 'static>(&self) -> Result<T, ActorError> {
        self.lifeline.home().provided().get().await
    }

    /// Ends a child in good order (and its children with it); it isn't restarted.
    pub async fn stop_child(&self, name: &str) {
        if let Ok(supervisor) = self.lifeline.supervisor().await {
            supervisor.stop_child(name).await;
        }
    }

    /// Ends this actor after the present message. A permanent child is started again.
    pub fn stop(&self) {
        self.lifeline.stop();
    }

    /// Cancelled when this actor is to end: a long handler watches it.
    pub fn cancelled(&self) -> CancellationToken {
        self.lifeline.cancel_token().clone()
    }

    /// For those who start children on others' behalf.
    pub(crate) async fn supervisor(&self) -> Result<Supervisor, ActorError> {
        self.lifeline.supervisor().await
    }

    pub(super) fn slot(&self) -> &Slot<M> {
        &self.slot
    }

    pub(super) fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }
}
