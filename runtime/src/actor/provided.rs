//! What a node gives its actors to work with, by type: an actor that is started from afar brings arguments, not services.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::error::ActorError;

/// How long an actor waits for what its node hasn't provided yet: a node that starts may be given actors before all of
/// its parts are there.
const PATIENCE: Duration = Duration::from_secs(30);

type Anything = Arc<dyn Any + Send + Sync>;

#[derive(Default)]
pub(crate) struct Provided {
    by_type: RwLock<HashMap<TypeId, Anything>>,
    changed: watch::Sender<()>,
}

impl Provided {
    pub(crate) fn put<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.by_type.write().unwrap_or_else(PoisonError::into_inner).insert(TypeId::of::<T>(), Arc::new(value));
        self.changed.send_replace(());
    }

    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.by_type.write().unwrap_or_else(PoisonError::into_inner));
        // Not under the lock: whatever ends with a value may look for another one.
        drop(all);
    }

    pub(crate) async fn get<T: Clone + Send + Sync + 'static>(&self) -> Result<T, ActorError> {
        let mut changed = self.changed.subscribe();
        let there = async {
            loop {
                if let Some(value) = self.now() {
                    return value;
                }
                // The sender lives in `self`: it can't be gone.
                let _ = changed.changed().await;
            }
        };
        let missing = |_| ActorError::Failed(format!("this node has no {}", type_name::<T>()));
        tokio::time::timeout(PATIENCE, there).await.map_err(missing)
    }

    fn now<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let by_type = self.by_type.read().unwrap_or_else(PoisonError::into_inner);
        by_type.get(&TypeId::of::<T>())?.downcast_ref().cloned()
    }
}
