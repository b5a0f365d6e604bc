//! What the actors of one job share on one node: the imported base and its sources. A cache; whoever is the last to use it
//! drops it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fleet_runtime::JobId;
use fleet_tools::repo::BaseRepo;
use tokio::sync::OnceCell;

use crate::localise::SourceText;

/// Those of one job.
#[derive(Default)]
pub(crate) struct Grounds {
    /// Imported once, however many agents want it at the same time.
    pub base: OnceCell<BaseRepo>,
    /// The base's source files, read once.
    pub sources: OnceCell<Arc<Vec<SourceText>>>,
}

/// Those of the jobs that are at work on this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct NodeGrounds(Arc<Mutex<HashMap<JobId, Weak<Grounds>>>>);

impl NodeGrounds {
    pub(crate) fn of(&self, job: &JobId) -> Arc<Grounds> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, grounds| grounds.strong_count() > 0);
        if let Some(grounds) = known.get(job).and_then(Weak::upgrade) {
            return grounds;
        }
        let fresh = Arc::new(Grounds::default());
        known.insert(job.clone(), Arc::downgrade(&fresh));
        fresh
    }
}
