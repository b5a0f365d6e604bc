//! Carries out what the core decides: the ractor actor that owns the children.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::{ChildKey, Command, Exit, SupervisorCore};
use super::policy::{ChildOptions, Strategy, SupervisorOptions};
use crate::actor::{ActorError, Lifeline};

/// How long a killed actor may take to be gone; longer means that it blocks its thread.
const KILL: Duration = Duration::from_secs(1);

/// What a supervisor is told to do.
pub(super) enum Order {
    Spawn {
        name: String,
        child: Box<dyn Child>,
        options: ChildOptions,
        follower: Option<Follower>,
        reply: oneshot::Sender<Result<(), ActorError>>,
    },
    Stop {
        name: String,
        reply: oneshot::Sender<()>,
    },
    /// A delay is over.
    Due(u64),
}

impl ractor::Message for Order {}

/// Hears what becomes of a child, except by somebody's order.
pub(crate) type Follower = Box<dyn Fn(Fate) + Send>;

/// What became of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was started again.
    Restarted,
    /// It has ended for good.
    Over(String),
}

/// Something that can be started again and again.
pub(super) trait Child: Send {
    fn start(&self, supervisor: ActorCell, cancel: CancellationToken) -> BoxFuture<'static, Started>;

    /// A life has ended; messages wait for the next.
    fn move_out(&self);
}

/// What comes of a start.
pub(super) type Started = Result<Running, ActorError>;

/// One life of a child.
pub(super) struct Running {
    pub(super) cell: ActorCell,
    pub(super) lifeline: Arc<Lifeline>,
}

impl Running {
    /// Ends it in good order, or kills it when that takes too long.
    async fn end(self, grace: Duration) {
        self.lifeline.stop();
        self.cell.stop(None);
        if self.cell.wait(Some(grace)).await.is_ok() {
            return;
        }
        // Its children needn't suffer for it: they get their orderly end before the kill.
        self.lifeline.end_children().await;
        self.cell.kill();
        if self.cell.wait(Some(KILL)).await.is_err() {
            tracing::error!(actor = %self.cell.get_id(), "an actor blocks its thread and can't be killed");
        }
    }
}

pub(super) struct Driver;

pub(super) struct Nursery {
    core: SupervisorCore,
    options: SupervisorOptions,
    /// The parent's token: each life of a child gets a child of it.
    cancel: CancellationToken,
    began: Instant,
    last_key: u64,
    entries: HashMap<ChildKey, Entry>,
    /// Their names, and their present lives.
    names: HashMap<String, ChildKey>,
    lives: HashMap<ActorId, ChildKey>,
}

struct Entry {
    name: String,
    grace: Duration,
    child: Box<dyn Child>,
    running: Option<Running>,
    follower: Option<Follower>,
    last_exit: Option<Exit>,
}

impl Entry {
    fn tell(&self, fate: Fate) {
        if let Some(follower) = &self.follower {
            follower(fate);
        }
    }
}

impl ractor::Actor for Driver {
    type Msg = Order;
    type State = Nursery;
    type Arguments = (SupervisorOptions, CancellationToken);

    async fn pre_start(
        &self,
        _: ActorRef<Order>,
        (options, cancel): Self::Arguments,
    ) -> Result<Nursery, ActorProcessingErr> {
        Ok(Nursery {
            core: SupervisorCore::new(options.clone()),
            options,
            cancel,
            began: Instant::now(),
            last_key: 0,
            entries: HashMap::new(),
            names: HashMap::new(),
            lives: HashMap::new(),
        })
    }

    async fn handle(&self, me: ActorRef<Order>, order: Order, nursery: &mut Nursery) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Spawn { name, child, options, follower, reply } => {
                // The spawner may have gone; the child is the parent's all the same.
                let _ = reply.send(nursery.spawn(&me, name, child, options, follower).await);
                Ok(())
            }
            Order::Stop { name, reply } => {
                let result = nursery.stop_child(&me, &name).await;
                let _ = reply.send(());
                result
            }
            Order::Due(ticket) => nursery.start_due(&me, ticket).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Order>,
        event: SupervisionEvent,
        nursery: &mut Nursery,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, exit) = match event {
            SupervisionEvent::ActorTerminated(cell, _, why) if why.as_deref() == Some("killed") => (cell, Exit::Killed),
            SupervisionEvent::ActorTerminated(cell, ..) => (cell, Exit::Normal),
            SupervisionEvent::ActorFailed(cell, why) => (cell, Exit::Failed(why.to_string())),
            _ => return Ok(()),
        };
        nursery.on_exit(&me, cell.get_id(), exit).await
    }

    async fn post_stop(&self, _: ActorRef<Order>, nursery: &mut Nursery) -> Result<(), ActorProcessingErr> {
        nursery.end_all().await;
        Ok(())
    }
}

impl Nursery {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn spawn(
        &mut self,
        me: &ActorRef<Order>,
        name: String,
        child: Box<dyn Child>,
        options: ChildOptions,
        follower: Option<Follower>,
    ) -> Result<(), ActorError> {
        if self.names.contains_key(&name) {
            return Err(ActorError::NameTaken(name));
        }
        let starting = self.start(me, &*child);
        let running = starting.await?;
        self.last_key += 1;
        let key = ChildKey(self.last_key);
        self.core.add(key, options.restart, self.now());
        self.names.insert(name.clone(), key);
        self.lives.insert(running.cell.get_id(), key);
        let (grace, running, last_exit) = (options.grace, Some(running), None);
        self.entries.insert(key, Entry { name, grace, child, running, follower, last_exit });
        Ok(())
    }

    fn start(&self, me: &ActorRef<Order>, child: &dyn Child) -> BoxFuture<'static, Started> {
        let starting = child.start(me.get_cell(), self.cancel.child_token());
        let cancel = self.cancel.clone();
        // Given up when the parent is to end, so that a slow start can't hold it back.
        Box::pin(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(ActorError::ParentEnding),
                started = starting => started,
            }
        })
    }

    async fn stop_child(&mut self, me: &ActorRef<Order>, name: &str) -> Result<(), ActorProcessingErr> {
        let Some(key) = self.names.get(name).copied() else {
            return Ok(());
        };
        let commands = self.core.remove(key);
        if let Some(mut entry) = self.take_out(key)
            && let Some(running) = entry.running.take()
        {
            running.end(entry.grace).await;
        }
        self.carry_out(me, commands).await
    }

    async fn on_exit(&mut self, me: &ActorRef<Order>, who: ActorId, exit: Exit) -> Result<(), ActorProcessingErr> {
        let Some(key) = self.lives.remove(&who) else { return Ok(()) };
        let Some(entry) = self.entries.get_mut(&key) else { return Ok(()) };
        entry.running = None;
        entry.child.move_out();
        if exit != Exit::Normal {
            tracing::warn!(actor = %entry.name, %exit, "an actor ended");
        }
        let commands = self.core.on_exit(key, &exit, self.began.elapsed());
        entry.last_exit = Some(exit);
        self.carry_out(me, commands).await
    }

    async fn start_due(&mut self, me: &ActorRef<Order>, ticket: u64) -> Result<(), ActorProcessingErr> {
        // Asked anew each time: a failed start may change who else is due.
        while let Some(key) = self.core.due(ticket).first().copied() {
            let Some(entry) = self.entries.get(&key) else {
                break;
            };
            let starting = self.start(me, &*entry.child);
            match starting.await {
                Ok(running) => {
                    self.core.on_started(key, self.now());
                    if let Some(entry) = self.entries.get_mut(&key) {
                        self.lives.insert(running.cell.get_id(), key);
                        entry.running = Some(running);
                        entry.tell(Fate::Restarted);
                    }
                }
                Err(ActorError::ParentEnding) => break,
                Err(e) => {
                    let commands = self.core.on_start_failed(key, &e.to_string(), self.now());
                    self.carry_out(me, commands).await?;
                }
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, me: &ActorRef<Order>, commands: Vec<Command>) -> Result<(), ActorProcessingErr> {
        for command in commands {
            match command {
                Command::Stop(key) => self.end_one(key).await,
                Command::StartAfter { ticket, after } => {
                    let after = self.options.backoff.spread(after, rand::random());
                    // ractor's timer is a task that ends by itself and finds this actor gone, if it is.
                    drop(me.send_after(after, move || Order::Due(ticket)));
                }
                Command::Forget(key) => {
                    if let Some(entry) = self.take_out(key) {
                        let why = entry.last_exit.as_ref().map_or_else(|| "ended".to_owned(), ToString::to_string);
                        entry.tell(Fate::Over(format!("it {why}")));
                    }
                }
                Command::GiveUp(key, why) => {
                    if let Some(entry) = self.take_out(key) {
                        tracing::warn!(actor = %entry.name, why, "an actor is given up");
                        entry.tell(Fate::Over(why));
                    }
                }
                Command::Escalate(why) => {
                    self.end_all().await;
                    return Err(ActorError::Escalated(why).into());
                }
            }
        }
        Ok(())
    }

    /// It is nobody's child any more.
    fn take_out(&mut self, key: ChildKey) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.names.remove(&entry.name);
        if let Some(running) = &entry.running {
            self.lives.remove(&running.cell.get_id());
        }
        Some(entry)
    }

    /// Ends a life whose exit is going to be reported: the entry stays.
    async fn end_one(&mut self, key: ChildKey) {
        let Some(entry) = self.entries.get(&key) else {
            return;
        };
        let Some(running) = &entry.running else {
            return;
        };
        let life = Running { cell: running.cell.clone(), lifeline: running.lifeline.clone() };
        life.end(entry.grace).await;
    }

    async fn end_all(&mut self) {
        self.cancel.cancel();
        let mut order: Vec<_> = self.core.children().collect();
        order.reverse();
        let ends = order.iter().filter_map(|key| self.entries.remove(key)).map(|entry| async move {
            // The entry goes last: closing the slot says that the actor has ended.
            let Entry { grace, child, running, .. } = entry;
            if let Some(running) = running {
                running.end(grace).await;
            }
            drop(child);
        });
        match self.options.strategy {
            // They don't depend on each other, so their ends needn't either.
            Strategy::OneForOne | Strategy::EachForItself => drop(join_all(ends).await),
            Strategy::OneForAll | Strategy::RestForOne => {
                for end in ends {
                    end.await;
                }
            }
        }
        self.entries.clear();
        self.names.clear();
        self.lives.clear();
    }
}
