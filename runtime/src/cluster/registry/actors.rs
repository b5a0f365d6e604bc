//! Actors of the cluster: asked for, placed, started, moved, stopped, over.

use super::core::{About, Again, Bug, Phase, Registry, Run, Stopping, Ticket};
use super::event::{ClusterEvent, Place};
use crate::actor::{ActorAddr, Life};
use crate::cluster::message::{ControlAnswer, ExitNotice, Followed, NodeAnswer, SpawnRequest, ToNode};
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::placement::{Accepts, Command, PlacementError};
use crate::supervise::Restart;

/// Generations that a place has for the restarts on its node; the next place begins behind them. In decimal, so that
/// people can read 3000002 as the fourth place and the first restart there.
pub(in crate::cluster) const RESTARTS: u64 = 1_000_000;
/// Who may wait for one actor; the one who has waited longest makes room for the next.
const MAX_WAITING: usize = 64;
/// Records that aren't on disk; with more, nothing new is taken on.
const MAX_BEHIND: usize = 10_000;
/// Bytes of an actor's arguments. What is larger belongs into a blob.
const MAX_ARGS: usize = 256 << 10;

impl Registry {
    pub(super) fn spawn(&mut self, request: SpawnRequest, ticket: Ticket, fresh: ActorId) {
        let key = request.order.key.clone();
        if let Some((actor, entry)) = self.book.by_key(&key) {
            if entry.request != request {
                let why = format!("the key {key:?} was used for another actor");
                return self.reply(ticket, ControlAnswer::Spawned(Err(why)));
            }
            return self.wait_for(actor, ticket);
        }
        if let Some(why) = self.objection(&request) {
            return self.reply(ticket, ControlAnswer::Spawned(Err(why)));
        }
        self.record(ClusterEvent::Spawned { actor: fresh, request: Box::new(request) });
        self.runs.insert(fresh, Run { phase: Phase::Wanting, waiting: vec![ticket] });
        self.want(fresh);
    }

    /// Why an actor isn't taken on at all.
    fn objection(&self, request: &SpawnRequest) -> Option<String> {
        let order = &request.order;
        if self.stopping.values().any(|stopping| stopping.key == order.key) {
            return Some(format!("the actor {:?} before it is being stopped; ask again", order.key));
        }
        if order.args.len() > MAX_ARGS {
            return Some(format!("arguments of {} bytes are over the limit of {MAX_ARGS}", order.args.len()));
        }
        if let Some(owner) = request.owner.as_ref().filter(|owner| self.book.by_key(owner).is_none()) {
            return Some(format!("its owner {owner:?} is no actor of the cluster (any more)"));
        }
        let behind = self.outbox.behind();
        (behind > MAX_BEHIND).then(|| format!("the journal is {behind} records behind; ask again later"))
    }

    fn wait_for(&mut self, actor: ActorId, ticket: Ticket) {
        let Some(run) = self.runs.get_mut(&actor) else { return };
        if let Phase::Up(addr) = run.phase {
            return self.reply(ticket, ControlAnswer::Spawned(Ok(addr)));
        }
        run.waiting.push(ticket);
        if run.waiting.len() > MAX_WAITING {
            let longest = run.waiting.remove(0);
            self.reply(longest, ControlAnswer::No("too many wait for this actor; ask again".into()));
        }
    }

    pub(super) fn find(&mut self, key: &str, ticket: Ticket) {
        let addr = self.book.by_key(key).and_then(|(actor, _)| self.addr_of(actor));
        self.reply(ticket, ControlAnswer::Found(addr));
    }

    /// Where it lives, or is to live by all that is known.
    pub(in crate::cluster) fn addr_of(&self, actor: ActorId) -> Option<ActorAddr> {
        let entry = self.book.actor(actor)?;
        let life = Life { actor, generation: entry.generation };
        match self.runs.get(&actor)?.phase {
            Phase::Up(addr) => Some(addr),
            Phase::Unsure => entry.place.as_ref().map(|place| place.addr(life)),
            Phase::Wanting | Phase::Starting | Phase::Moving => None,
        }
    }

    pub(super) fn follow(&mut self, keys: Vec<String>, ticket: Ticket) {
        let standing = |key: &String| match self.book.by_key(key) {
            Some((actor, _)) => Followed::Is(self.addr_of(actor)),
            None => match self.book.over(key) {
                Some(over) => Followed::Over(over.why.clone()),
                None => Followed::Unknown,
            },
        };
        let standings = keys.iter().map(standing).collect();
        self.reply(ticket, ControlAnswer::Followed(standings));
    }

    /// It has no place and gets one as soon as anything may be placed.
    pub(super) fn want(&mut self, actor: ActorId) {
        let Some(run) = self.runs.get_mut(&actor) else { return };
        run.phase = Phase::Wanting;
        let Some(demand) = self.book.actor(actor).map(|entry| entry.request.demand.clone()) else { return };
        if !self.open {
            return;
        }
        let mut commands = self.placement.released(actor, self.now.clock);
        match self.placement.request(actor, demand, self.now.clock) {
            Ok(more) => commands.extend(more),
            Err(PlacementError::AlreadyRequested(_)) => {}
            Err(why) => self.over(actor, &why.to_string()),
        }
        self.place(commands);
    }

    /// Carries on what placement has decided.
    pub(super) fn place(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Reserve { node, incarnation, reservation, request, ttl } => {
                    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                    let what = ToNode::Reserve { incarnation, reservation, request, ttl_ms };
                    let about = About::Reserve(reservation);
                    // A reservation runs out by itself: it needn't wait for the disk.
                    self.outbox.at_once(super::core::Act::Ask { node, what, about });
                }
                Command::Release { node, reservation } => self.tell(node, ToNode::Release { reservation }),
                Command::Placed { id, node, reservation, assigned } => {
                    let incarnation = self.posts.get(&node).map_or(Incarnation(0), |post| post.incarnation);
                    self.placed(id, Place::new(node, incarnation, reservation, assigned));
                }
                Command::Waiting { id, why } => tracing::debug!(actor = %id, ?why, "an actor waits for a place"),
                Command::Failed { id, why } => self.over(id, &why.to_string()),
            }
        }
    }

    fn placed(&mut self, actor: ActorId, place: Place) {
        let wanting = self.runs.get(&actor).is_some_and(|run| run.phase == Phase::Wanting);
        let Some(entry) = self.book.actor(actor).filter(|_| wanting) else {
            let (node, reservation) = (place.node, place.reservation);
            let commands = self.placement.released(actor, self.now.clock);
            self.tell(node, ToNode::Release { reservation });
            return self.place(commands);
        };
        let generation = match self.has(Bug::GenerationsOverlap) {
            true => entry.generation.next(),
            false => next_place(entry.generation),
        };
        self.record(ClusterEvent::Placed { actor, generation, place });
        self.enter(actor, Phase::Starting);
        self.go_on(actor);
    }

    fn enter(&mut self, actor: ActorId, phase: Phase) {
        if let Some(run) = self.runs.get_mut(&actor) {
            run.phase = phase;
        }
    }

    /// Asks its node for what is to be done next with an actor that has a place.
    pub(super) fn go_on(&mut self, actor: ActorId) {
        let (Some(run), Some(entry)) = (self.runs.get(&actor), self.book.actor(actor)) else { return };
        let Some(Place { node, incarnation, reservation, .. }) = entry.place.clone() else { return };
        let life = Life { actor, generation: entry.generation };
        match run.phase {
            Phase::Starting => {
                let order = entry.request.order.clone();
                self.ask(node, ToNode::Start { incarnation, reservation, life, order }, About::Start(life));
            }
            Phase::Moving => {
                let key = entry.request.order.key.clone();
                self.ask(node, ToNode::Stop { incarnation, reservation, life, key }, About::Stop(life));
            }
            Phase::Wanting | Phase::Unsure | Phase::Up(_) => {}
        }
    }

    pub(super) fn started(&mut self, node: NodeId, life: Life, answer: Option<NodeAnswer>) {
        let actor = life.actor;
        let starting = self.runs.get(&actor).is_some_and(|run| run.phase == Phase::Starting);
        let Some(entry) = self.book.actor(actor).filter(|entry| starting && entry.generation == life.generation) else {
            return;
        };
        if entry.place.as_ref().is_none_or(|place| place.node != node) {
            return;
        }
        match answer {
            Some(NodeAnswer::Started(Ok(addr))) => self.up(actor, addr),
            Some(NodeAnswer::Started(Err(why))) => {
                let again = entry.placed > 1 && entry.failures + 1 < self.options.start_attempts;
                if again {
                    self.vacate(actor, why, true);
                } else {
                    self.free(actor);
                    self.over(actor, &why);
                }
            }
            Some(NodeAnswer::NotHeld) => self.vacate(actor, "its reservation had run out".into(), false),
            // Whether it lives there isn't known, and not even `NotMe` says so: the life of the node that was asked may
            // only be frozen. It is asked again until it answers or its lease is over.
            _ => self.later(Again::Actor(actor)),
        }
    }

    fn up(&mut self, actor: ActorId, addr: ActorAddr) {
        if self.book.actor(actor).is_some_and(|entry| entry.placed > 1) {
            self.broadcast(&ToNode::Moved(vec![addr]));
        }
        self.is_up(actor, addr);
    }

    pub(super) fn is_up(&mut self, actor: ActorId, addr: ActorAddr) {
        let Some(run) = self.runs.get_mut(&actor) else { return };
        run.phase = Phase::Up(addr);
        let waiting = std::mem::take(&mut run.waiting);
        waiting.into_iter().for_each(|ticket| self.reply(ticket, ControlAnswer::Spawned(Ok(addr))));
        if self.accepts(addr.node) == Accepts::Draining {
            self.move_off(actor);
        }
    }

    /// Where actors are that have moved: for a node that may have missed it.
    pub(super) fn tell_moved(&mut self, node: NodeId) {
        let moved = self.book.actors().filter(|(_, entry)| entry.placed > 1);
        let moved: Vec<ActorAddr> = moved.filter_map(|(actor, _)| self.addr_of(actor)).collect();
        for some in moved.chunks(1000) {
            self.tell(node, ToNode::Moved(some.to_vec()));
        }
    }

    /// It certainly isn't there any more, and begins elsewhere.
    fn vacate(&mut self, actor: ActorId, why: String, failed: bool) {
        let Some(generation) = self.book.actor(actor).map(|entry| entry.generation) else { return };
        self.record(ClusterEvent::Vacated { actor, generation, why, failed });
        self.want(actor);
    }

    /// A life of its node is over, and so is its own there.
    pub(super) fn lost(&mut self, actor: ActorId) {
        let Some(entry) = self.book.actor(actor) else { return };
        if entry.request.order.restart == Restart::Temporary {
            return self.over(actor, "its node is gone, and it isn't to be started again");
        }
        self.want(actor);
    }

    /// Its node is being drained: it is stopped there, to begin elsewhere. What has an end of its own may come to it.
    pub(super) fn move_off(&mut self, actor: ActorId) {
        let permanent = self.book.actor(actor).is_some_and(|entry| entry.request.order.restart == Restart::Permanent);
        let up = self.runs.get(&actor).is_some_and(|run| matches!(run.phase, Phase::Up(_)));
        if permanent && up {
            self.enter(actor, Phase::Moving);
            self.go_on(actor);
        }
    }

    /// What came of stopping it, be it to move or for good.
    pub(super) fn stopped(&mut self, life: Life, answer: Option<NodeAnswer>) {
        let actor = life.actor;
        let done = matches!(answer, Some(NodeAnswer::Done));
        let is_it = |stopping: &Stopping| stopping.life == life;
        if self.stopping.get(&actor).is_some_and(is_it)
            && let Some(stopping) = self.stopping.remove(&actor)
        {
            if done {
                if self.book.actor(actor).is_none() {
                    self.free(actor);
                }
                stopping.waiting.into_iter().for_each(|ticket| self.reply(ticket, ControlAnswer::Done));
            } else {
                self.stopping.insert(actor, stopping);
                self.later(Again::Stop(actor));
            }
            return;
        }
        let moving = self.runs.get(&actor).is_some_and(|run| run.phase == Phase::Moving);
        match self.book.actor(actor).filter(|entry| moving && entry.generation == life.generation) {
            Some(_) if done => self.vacate(actor, "its node is being drained".into(), false),
            Some(_) => self.later(Again::Actor(actor)),
            None => {}
        }
    }

    /// Its place is free again.
    fn free(&mut self, actor: ActorId) {
        let commands = self.placement.released(actor, self.now.clock);
        self.place(commands);
    }

    pub(super) fn stop(&mut self, key: &str, ticket: Ticket) {
        if let Some(stopping) = self.stopping.values_mut().find(|stopping| stopping.key == key) {
            stopping.waiting.push(ticket);
            return;
        }
        let Some((actor, entry)) = self.book.by_key(key) else {
            return self.reply(ticket, ControlAnswer::Done);
        };
        if entry.place.is_none() {
            self.reply(ticket, ControlAnswer::Done);
            return self.end(actor, "it was stopped", Vec::new());
        }
        self.end(actor, "it was stopped", vec![ticket]);
    }

    /// Ends it for good, wherever it is; `waiting` are told when it has ended there.
    pub(super) fn end(&mut self, actor: ActorId, why: &str, waiting: Vec<Ticket>) {
        let Some(entry) = self.book.actor(actor) else { return };
        let (key, life) = (entry.request.order.key.clone(), Life { actor, generation: entry.generation });
        let place = entry.place.clone();
        let commands = if place.is_none() { self.placement.cancel(actor, self.now.clock) } else { Vec::new() };
        self.over(actor, why);
        self.place(commands);
        if let Some(place) = place {
            self.end_there(key, life, place, waiting);
        }
    }

    /// Sees to it that this doesn't run there any more.
    pub(super) fn end_there(&mut self, key: String, life: Life, place: Place, waiting: Vec<Ticket>) {
        self.stopping.insert(life.actor, Stopping { key, life, place, waiting });
        self.ask_to_stop(life.actor);
    }

    pub(super) fn ask_to_stop(&mut self, actor: ActorId) {
        let Some(Stopping { key, life, place, .. }) = self.stopping.get(&actor) else { return };
        let Place { node, incarnation, reservation, .. } = *place;
        let (life, key) = (*life, key.clone());
        self.ask(node, ToNode::Stop { incarnation, reservation, life, key }, About::Stop(life));
    }

    /// It has ended for good, says its node.
    pub(super) fn exited(&mut self, node: NodeId, incarnation: Incarnation, exit: &ExitNotice) {
        if self.lives_there(exit.life, node, incarnation) {
            self.free(exit.life.actor);
            self.over(exit.life.actor, &exit.why);
        }
    }

    /// Its node has started it again, under a higher generation of the same place.
    pub(super) fn restarted(&mut self, life: Life, addr: ActorAddr) {
        let newer = |known: &ActorAddr| known.generation < addr.generation;
        let is_up =
            self.runs.get(&life.actor).is_some_and(|run| matches!(&run.phase, Phase::Up(known) if newer(known)));
        if is_up && self.lives_there(life, addr.node, addr.incarnation) {
            self.enter(life.actor, Phase::Up(addr));
        }
    }

    fn lives_there(&self, life: Life, node: NodeId, incarnation: Incarnation) -> bool {
        let entry = self.book.actor(life.actor).filter(|entry| entry.generation == life.generation);
        entry.and_then(|entry| entry.place.as_ref()).is_some_and(|place| place.is_on(node, incarnation))
    }

    /// It is no more; whoever waits for it is told why.
    pub(super) fn over(&mut self, actor: ActorId, why: &str) {
        let Some(entry) = self.book.actor(actor) else { return };
        let (moved, key) = (entry.placed > 1, entry.request.order.key.clone());
        tracing::info!(%actor, why, "an actor of the cluster is over");
        self.record(ClusterEvent::Over { actor, why: why.to_owned() });
        let waiting = self.runs.remove(&actor).map(|run| run.waiting).unwrap_or_default();
        for ticket in waiting {
            self.reply(ticket, ControlAnswer::Spawned(Err(why.to_owned())));
        }
        if moved {
            self.broadcast(&ToNode::Ended(actor));
        }
        // What is owned before its owner: then none of them has anything to end, however long the line is.
        for owned in self.book.owned_by(&key).into_iter().rev() {
            self.end(owned, "its owner is over", Vec::new());
        }
    }
}

/// The first generation of the next place: higher than any that restarts on the place before can have given it.
fn next_place(before: Generation) -> Generation {
    match before {
        Generation(0) => Generation(1),
        Generation(n) => Generation((n / RESTARTS + 1).saturating_mul(RESTARTS).saturating_add(1)),
    }
}
