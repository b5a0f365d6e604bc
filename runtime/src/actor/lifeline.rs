//! What ties one life of an actor to its parent and its children.
//!
//! Ends travel down it: the token is cancelled first (a handler may notice and hurry), then the
//! children are ended in order, then the actor itself. ractor alone would kill the children of
//! whatever ends, queue and all.

use std::sync::{Mutex, PoisonError};

use ractor::{ActorCell, ActorProcessingErr};
use tokio_util::sync::CancellationToken;

use super::error::ActorError;
use super::system::Home;
use crate::supervise::{Supervisor, SupervisorOptions};

pub(crate) struct Lifeline {
    home: Home,
    cancel: CancellationToken,
    family: Mutex<Option<Family>>,
}

struct Family {
    me: ActorCell,
    options: SupervisorOptions,
    /// Made with the first child: most actors have none.
    supervisor: Option<Supervisor>,
}

impl Lifeline {
    pub(crate) fn new(home: Home, cancel: CancellationToken) -> Self {
        Self { home, cancel, family: Mutex::new(None) }
    }

    pub(crate) fn attach(&self, me: ActorCell, options: SupervisorOptions) {
        *self.lock() = Some(Family { me, options, supervisor: None });
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn cancel_token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Asks this life to end in good order.
    pub(crate) fn stop(&self) {
        self.cancel.cancel();
        if let Some(family) = &*self.lock() {
            family.me.stop(None);
        }
    }

    /// The supervisor of the children, started when it is first needed.
    pub(crate) async fn supervisor(&self) -> Result<Supervisor, ActorError> {
        let (me, options) = match &*self.lock() {
            Some(Family { supervisor: Some(s), .. }) => return Ok(s.clone()),
            Some(family) => (family.me.clone(), family.options.clone()),
            None => return Err(ActorError::ParentEnding),
        };
        let fresh = Supervisor::start(self.home.clone(), self.cancel.clone(), options, Some(me)).await?;
        match &mut *self.lock() {
            // Two tasks of one actor may have raced here; the first one's supervisor counts.
            Some(Family { supervisor: Some(first), .. }) => {
                fresh.discard();
                Ok(first.clone())
            }
            Some(family) => {
                family.supervisor = Some(fresh.clone());
                Ok(fresh)
            }
            None => {
                fresh.discard();
                Err(ActorError::ParentEnding)
            }
        }
    }

    /// Ends the children in good order and lets no new ones start.
    pub(crate) async fn end_children(&self) {
        self.cancel.cancel();
        let family = self.lock().take();
        if let Some(Family { supervisor: Some(supervisor), .. }) = family {
            supervisor.stop().await;
        }
    }

    /// An error ends the actor, but not before its children have ended in good order.
    pub(crate) async fn fail_with(&self, result: Result<(), ActorError>) -> Result<(), ActorProcessingErr> {
        if let Err(e) = result {
            // Boxed: it is seldom needed, and would make the future of every handler larger.
            Box::pin(self.end_children()).await;
            return Err(e.into());
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Family>> {
        self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
