//! Prefixes that are kept in an engine's cache for somebody, and let go of when that somebody does, or falls silent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::actor::Ref;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::EngineMsg;
use crate::{Engine, PinId};

/// A pin whose holder hasn't been heard of for so long is let go of.
const KEPT: Duration = if cfg!(test) { Duration::from_millis(600) } else { Duration::from_secs(30) };

/// The pins that came through one engine actor. Dropped, all are let go of.
#[derive(Default)]
pub(super) struct Pins(HashMap<PinId, watch::Sender<()>>);

impl Pins {
    /// Keeps a prefix for as long as it is renewed.
    pub(super) fn keep(&mut self, engine: &Arc<dyn Engine>, pin: PinId) {
        let (renew, mut renewed) = watch::channel(());
        let engine = Arc::clone(engine);
        tokio::spawn(async move {
            while let Ok(Ok(())) = tokio::time::timeout(KEPT, renewed.changed()).await {}
            engine.unpin(pin);
        });
        self.0.retain(|_, renew| !renew.is_closed());
        self.0.insert(pin, renew);
    }

    /// Its holder is still there. One that was let go of already stays so.
    pub(super) fn renew(&self, pin: PinId) {
        if let Some(renew) = self.0.get(&pin) {
            renew.send_replace(());
        }
    }

    pub(super) fn release(&mut self, pin: PinId) {
        self.0.remove(&pin);
    }
}

/// A prefix that an engine keeps in its cache for as long as this lives.
#[must_use = "the prefix is let go of when this is dropped"]
pub struct Pinned {
    pin: PinId,
    engine: Ref<EngineMsg>,
    pub(super) renewing: JoinHandle<()>,
}

impl Pinned {
    pub(super) fn new(pin: PinId, engine: Ref<EngineMsg>) -> Self {
        let to = engine.clone();
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(KEPT / 3).await;
                // A full mailbox is no reason to let go, an engine that is gone has let go itself.
                let _ = to.try_tell(EngineMsg::Renew(pin));
            }
        });
        Self { pin, engine, renewing }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.renewing.abort();
        // If this isn't heard, the silence will be.
        let _ = self.engine.try_tell(EngineMsg::Unpin(self.pin));
    }
}
