//! Whether this node may act now.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked at by whoever waits. A clock is behind it and nobody who could tell: a frozen process is to
/// notice at its first step.
const LOOK: Duration = Duration::from_millis(100);

/// Says whether effects may start now: whether the node holds its lease. Asked again before each effect. Cheap to clone.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permit {
    /// What that says, each time it is asked. It must not block.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    /// For a node that is in no cluster.
    pub fn always() -> Self {
        Self::new(|| true)
    }

    pub fn holds(&self) -> bool {
        (self.0)()
    }

    /// Resolves when it holds.
    pub async fn granted(&self) {
        while !self.holds() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Resolves when it doesn't hold any more.
    pub async fn withdrawn(&self) {
        while self.holds() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({})", if self.holds() { "holds" } else { "withdrawn" })
    }
}
