//! Following actors of the cluster from any node.
//!
//! A node asks the control node again and again how those actors stand that somebody here follows: one call for all of them.
//! So nothing is lost when either of the two is started anew, and what was in between is left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::message::Followed;
use super::view::ActorEvent;
use crate::actor::ActorAddr;

/// What becomes of an actor of the cluster. Ends when it is dropped.
#[derive(Debug)]
pub struct ActorWatch {
    stands: watch::Receiver<Followed>,
    known: Option<ActorAddr>,
    over: bool,
}

impl ActorWatch {
    /// The next thing that has become of it; several of them since the last call are one. `None` after its end, and when
    /// this node ends. Waits for as long as that takes, also for an actor that nobody has asked for yet. Nothing is lost
    /// if this is dropped.
    pub async fn next(&mut self) -> Option<ActorEvent> {
        while !self.over {
            let stands = self.stands.borrow_and_update().clone();
            match stands {
                Followed::Is(Some(addr)) if self.known != Some(addr) => {
                    let first = self.known.replace(addr).is_none();
                    return Some(if first { ActorEvent::Up { addr } } else { ActorEvent::Moved { addr } });
                }
                Followed::Over(why) => {
                    self.over = true;
                    return Some(ActorEvent::Over { why });
                }
                Followed::Unknown if self.known.is_some() => {
                    self.over = true;
                    let why = "it is over, so long since that the reason isn't known any more".to_owned();
                    return Some(ActorEvent::Over { why });
                }
                Followed::Is(_) | Followed::Unknown => {}
            }
            if self.stands.changed().await.is_err() {
                return None;
            }
        }
        None
    }
}

/// The actors that somebody on this node follows.
#[derive(Debug, Default)]
pub(super) struct Following(Mutex<BTreeMap<String, watch::Sender<Followed>>>);

impl Following {
    pub fn follow(&self, key: &str) -> ActorWatch {
        let mut keys = self.lock();
        let fresh = || watch::channel(Followed::Is(None)).0;
        let stands = keys.entry(key.to_owned()).or_insert_with(fresh).subscribe();
        ActorWatch { stands, known: None, over: false }
    }

    /// What is to be asked for.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.lock();
        keys.retain(|_, stands| !stands.is_closed());
        keys.keys().cloned().collect()
    }

    pub fn take(&self, keys: &[String], stand: Vec<Followed>) {
        let known = self.lock();
        for (key, stands) in keys.iter().zip(stand) {
            if let Some(sender) = known.get(key) {
                sender.send_if_modified(|before| std::mem::replace(before, stands.clone()) != stands);
            }
        }
    }

    /// Whoever waits is told that nothing more comes.
    pub fn end(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Followed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
