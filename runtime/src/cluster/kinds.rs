//! Actor kinds: actors that any node can start from a name, a version and encoded arguments.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use wincode::{SchemaRead, SchemaWrite};

use super::ClusterError;
use crate::actor::{Actor, ActorAddr, Life, System};
use crate::codec::{self, Wire};
use crate::supervise::{ChildOptions, Restart};

/// An actor that may be started from afar.
pub trait ActorKind: Actor<Args: Wire + Sync> {
    /// Names the kind in the whole cluster, such as `acme.crawler`.
    const NAME: &'static str;
    /// Rises when its arguments change. A node refuses versions that it doesn't have.
    const VERSION: u16;
}

/// A kind's name and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
pub struct KindName {
    pub name: String,
    pub version: u16,
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// An actor that is to be started.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct SpawnOrder {
    pub kind: KindName,
    /// The encoded arguments.
    pub args: Vec<u8>,
    /// Names the actor among those that this node starts for others. The same key again gives the same actor, so an
    /// order whose answer was lost can be repeated.
    pub key: String,
    /// Whether it is started again on this node when it fails.
    pub restart: Restart,
}

impl SpawnOrder {
    /// An order for an actor of kind `A`.
    pub fn new<A: ActorKind>(key: impl Into<String>, args: &A::Args, restart: Restart) -> Result<Self, ClusterError> {
        let name = || A::NAME.to_owned();
        let args = codec::encode(args).map_err(|source| ClusterError::BadArguments { name: name(), source })?;
        Ok(Self { kind: KindName { name: name(), version: A::VERSION }, args, key: key.into(), restart })
    }
}

/// The kinds that this node can start, and what it has started of them. Cheap to clone.
#[derive(Clone)]
pub struct ActorKinds(Arc<Inner>);

struct Inner {
    system: System,
    kinds: BTreeMap<KindName, Arc<dyn Starter>>,
    started: Mutex<HashMap<String, Started>>,
}

#[derive(Clone)]
struct Started {
    life: Life,
    order: Arc<SpawnOrder>,
    addr: Arc<OnceCell<ActorAddr>>,
}

/// Collects kinds.
#[derive(Default)]
pub struct KindsBuilder(BTreeMap<KindName, Arc<dyn Starter>>);

impl KindsBuilder {
    /// Adds a kind. Two of one name and version are a mistake in the program: the later one counts.
    #[must_use]
    pub fn with<A: ActorKind>(mut self) -> Self {
        let name = KindName { name: A::NAME.to_owned(), version: A::VERSION };
        self.0.insert(name, Arc::new(Of::<A>(std::marker::PhantomData)));
        self
    }

    /// The kinds, to be started in `system`.
    pub fn build(self, system: &System) -> ActorKinds {
        ActorKinds(Arc::new(Inner { system: system.clone(), kinds: self.0, started: Mutex::default() }))
    }
}

impl ActorKinds {
    pub fn builder() -> KindsBuilder {
        KindsBuilder::default()
    }

    /// What this node can start.
    pub fn names(&self) -> impl Iterator<Item = &KindName> {
        self.0.kinds.keys()
    }

    /// Starts an actor, or gives the one that was started under this key.
    pub async fn start(&self, order: SpawnOrder) -> Result<ActorAddr, ClusterError> {
        let known = self.started().get(&order.key).map(|started| started.life);
        self.start_as(known.unwrap_or_else(Life::first), order).await
    }

    /// The same as a given life of an actor. An earlier life of it that still runs here is ended first.
    pub(super) async fn start_as(&self, life: Life, order: SpawnOrder) -> Result<ActorAddr, ClusterError> {
        let known = || self.names().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let starter = self.0.kinds.get(&order.kind).cloned().ok_or_else(|| ClusterError::UnknownKind {
            name: order.kind.name.clone(),
            version: order.kind.version,
            known: known(),
        })?;
        let earlier = self.started().get(&order.key).is_some_and(|started| started.life.precedes(&life));
        if earlier {
            self.stop(&order.key).await;
        }
        let entry = self.entry(life, &order)?;
        let started = entry.addr.get_or_try_init(|| starter.start(&self.0.system, life, &order)).await.copied();
        if started.is_err() {
            self.started().remove(&order.key);
        }
        started
    }

    /// Ends the actor that was started under this key; says whether there was one.
    pub async fn stop(&self, key: &str) -> bool {
        let known = self.started().remove(key);
        if known.is_some() {
            self.0.system.stop(&child_name(key)).await;
        }
        known.is_some()
    }

    fn started(&self) -> MutexGuard<'_, HashMap<String, Started>> {
        self.0.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, life: Life, order: &SpawnOrder) -> Result<Started, ClusterError> {
        let mut started = self.started();
        let fresh = || Started { life, order: Arc::new(order.clone()), addr: Arc::default() };
        let entry = started.entry(order.key.clone()).or_insert_with(fresh).clone();
        match entry.life == life && *entry.order == *order {
            true => Ok(entry),
            false => Err(ClusterError::KeyTaken(order.key.clone())),
        }
    }
}

fn child_name(key: &str) -> String {
    format!("kind/{key}")
}

trait Starter: Send + Sync {
    fn start<'a>(
        &'a self,
        system: &'a System,
        life: Life,
        order: &'a SpawnOrder,
    ) -> BoxFuture<'a, Result<ActorAddr, ClusterError>>;
}

struct Of<A>(std::marker::PhantomData<fn() -> A>);

impl<A: ActorKind> Starter for Of<A> {
    fn start<'a>(
        &'a self,
        system: &'a System,
        life: Life,
        order: &'a SpawnOrder,
    ) -> BoxFuture<'a, Result<ActorAddr, ClusterError>> {
        Box::pin(async move {
            let name = || order.kind.name.clone();
            let args: A::Args =
                codec::decode(&order.args).map_err(|source| ClusterError::BadArguments { name: name(), source })?;
            let options = ChildOptions { restart: order.restart, ..ChildOptions::default() };
            let started = system.spawn_as::<A>(life, child_name(&order.key), args, options).await;
            started.map(|actor| actor.addr()).map_err(|source| ClusterError::Start { name: name(), source })
        })
    }
}
