//! Actor kinds: actors that any node can start from a name, a version and encoded arguments.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use wincode::{SchemaRead, SchemaWrite};

use super::ClusterError;
use super::message::ExitNotice;
use super::nursery::Nursery;
use crate::actor::{Actor, ActorAddr, ActorError, Life, System};
use crate::codec::{self, Wire};
use crate::id::ActorId;
use crate::supervise::{ChildOptions, Fate, Follower, Restart, Supervisor};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
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
    nursery: OnceCell<Supervisor>,
    started: Mutex<HashMap<String, Started>>,
    news: Mutex<News>,
}

#[derive(Clone)]
struct Started {
    life: Life,
    order: Arc<SpawnOrder>,
    addr: Arc<OnceCell<AddrNow>>,
}

/// Pieces of news in one message.
const TOLD_AT_ONCE: usize = 1000;

/// Where an actor of this node is reached now: its generation rises with each restart.
type AddrNow = Arc<dyn Fn() -> ActorAddr + Send + Sync>;

/// What became of actors by itself, until it is [told](ActorKinds::told). At most one of each an actor.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    pub restarted: BTreeMap<ActorId, (Life, ActorAddr)>,
    pub exits: BTreeMap<ActorId, ExitNotice>,
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
        let (nursery, started, news) = Default::default();
        ActorKinds(Arc::new(Inner { system: system.clone(), kinds: self.0, nursery, started, news }))
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
        let started = entry.addr.get_or_try_init(|| self.start_child(&*starter, life, &order)).await.map(|addr| addr());
        if started.is_err() {
            self.started().remove(&order.key);
        }
        started
    }

    async fn start_child(
        &self,
        starter: &dyn Starter,
        life: Life,
        order: &SpawnOrder,
    ) -> Result<AddrNow, ClusterError> {
        let nursery = self.0.nursery.get_or_try_init(|| Nursery::start(&self.0.system)).await;
        let failed = |source| ClusterError::Start { name: order.kind.name.clone(), source };
        let (inner, key) = (Arc::downgrade(&self.0), order.key.clone());
        let follower: Follower = Box::new(move |fate| {
            if let Some(inner) = inner.upgrade() {
                inner.heard(&key, life, fate);
            }
        });
        starter.start(nursery.map_err(failed)?, life, order, follower).await
    }

    /// Ends the actor that was started under this key; says whether there was one.
    pub async fn stop(&self, key: &str) -> bool {
        let known = self.started().remove(key);
        if known.is_some()
            && let Some(nursery) = self.0.nursery.get()
        {
            nursery.stop_child(&child_name(key)).await;
        }
        known.is_some()
    }

    /// Returns when that life of an actor doesn't run here (any more); another one isn't touched.
    pub(super) async fn stop_life(&self, key: &str, life: Life) {
        {
            let mut started = self.started();
            if started.get(key).is_some_and(|started| started.life != life) {
                return;
            }
            started.remove(key);
        }
        // Even where it isn't known: it may be ending just now.
        if let Some(nursery) = self.0.nursery.get() {
            nursery.stop_child(&child_name(key)).await;
        }
    }

    /// Ends all actors that were started for others.
    pub(super) async fn stop_all(&self) {
        let keys: Vec<String> = self.started().keys().cloned().collect();
        futures::future::join_all(keys.iter().map(|key| self.stop(key))).await;
    }

    /// How many actors were started for others.
    pub(super) fn count(&self) -> usize {
        self.started().len()
    }

    /// Where that life of an actor is reached now; `None` while it starts, or if it isn't here.
    pub(super) fn addr(&self, key: &str, life: Life) -> Option<ActorAddr> {
        let started = self.started().get(key).filter(|started| started.life == life).cloned()?;
        started.addr.get().map(|addr| addr())
    }

    /// What nobody was told yet, or a part of it that fits into a message.
    pub(super) fn news(&self) -> Option<News> {
        let news = self.0.news();
        let some = !news.restarted.is_empty() || !news.exits.is_empty();
        some.then(|| News {
            restarted: news.restarted.iter().take(TOLD_AT_ONCE).map(|(actor, now)| (*actor, *now)).collect(),
            exits: news.exits.iter().take(TOLD_AT_ONCE).map(|(actor, exit)| (*actor, exit.clone())).collect(),
        })
    }

    /// The end of that life, if nobody was told of it yet.
    pub(super) fn exit_of(&self, life: Life) -> Option<ExitNotice> {
        self.0.news().exits.get(&life.actor).filter(|exit| exit.life == life).cloned()
    }

    /// That much of it is known by now.
    pub(super) fn told(&self, told: &News) {
        let mut news = self.0.news();
        news.restarted.retain(|actor, now| told.restarted.get(actor) != Some(now));
        news.exits.retain(|actor, now| told.exits.get(actor) != Some(now));
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

impl Inner {
    fn heard(&self, key: &str, life: Life, fate: Fate) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(addr) = started.get(key).filter(|started| started.life == life).map(|started| started.addr.clone())
        else {
            return;
        };
        let mut news = self.news();
        match fate {
            Fate::Restarted => {
                let addr = addr.get().map(|addr| addr());
                news.restarted.extend(addr.map(|addr| (life.actor, (life, addr))));
            }
            Fate::Over(why) => {
                started.remove(key);
                news.restarted.remove(&life.actor);
                news.exits.insert(life.actor, ExitNotice { life, why });
            }
        }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn child_name(key: &str) -> String {
    format!("kind/{key}")
}

trait Starter: Send + Sync {
    fn start<'a>(
        &'a self,
        nursery: &'a Supervisor,
        life: Life,
        order: &'a SpawnOrder,
        follower: Follower,
    ) -> BoxFuture<'a, Result<AddrNow, ClusterError>>;
}

struct Of<A>(std::marker::PhantomData<fn() -> A>);

impl<A: ActorKind> Starter for Of<A> {
    fn start<'a>(
        &'a self,
        nursery: &'a Supervisor,
        life: Life,
        order: &'a SpawnOrder,
        follower: Follower,
    ) -> BoxFuture<'a, Result<AddrNow, ClusterError>> {
        Box::pin(async move {
            let name = || order.kind.name.clone();
            let args: A::Args =
                codec::decode(&order.args).map_err(|source| ClusterError::BadArguments { name: name(), source })?;
            let options = ChildOptions { restart: order.restart, ..ChildOptions::default() };
            let key = child_name(&order.key);
            let started = nursery.spawn_followed::<A>(life, key, args, options, Some(follower)).await;
            let started = started.map_err(|source: ActorError| ClusterError::Start { name: name(), source })?;
            let addr: AddrNow = Arc::new(move || started.addr());
            Ok(addr)
        })
    }
}
