//! The state of the control node and the ways in and out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wincode::{SchemaRead, SchemaWrite};

use super::book::Book;
use super::event::{ClusterEvent, Place};
use super::outbox::Outbox;
use crate::actor::{ActorAddr, Life};
use crate::cluster::message::{ControlAnswer, NodeAnswer, ToControl, ToNode};
use crate::cluster::options::ClusterOptions;
use crate::id::{ActorId, Incarnation, NodeId};
use crate::membership::{ControlCore, Member, MembershipOptionsError};
use crate::placement::{Amounts, NodeView, PlacementCore, ReservationId, Resources};
use crate::time::Timestamp;

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cluster) struct Ticket(pub u64);

/// The moment of an input.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Now {
    /// CLOCK_BOOTTIME: what decisions rest on.
    pub clock: Duration,
    /// For people.
    pub wall: Timestamp,
}

/// What is to be done, in this order.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "each is carried out as soon as it is made, or waits for one fsync")]
pub(in crate::cluster) enum Act {
    Reply {
        ticket: Ticket,
        with: ControlAnswer,
    },
    /// Make a join token; it is the answer.
    Invite {
        ticket: Ticket,
    },
    /// Call this node, once.
    Tell {
        node: NodeId,
        what: ToNode,
    },
    /// Call this node and hand in what comes of it as [`Registry::answered`].
    Ask {
        node: NodeId,
        what: ToNode,
        about: About,
    },
}

/// What a node was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(in crate::cluster) enum About {
    Reserve(ReservationId),
    Start(Life),
    Stop(Life),
    Report(Incarnation),
}

/// Mistakes that the simulation is shown to find; never made outside of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Bug {
    /// Acts don't wait for the disk.
    ActsBeforeRecorded,
    /// An actor begins elsewhere as soon as its node is suspected.
    MovesOnSuspicion,
    /// A place's generations begin right behind the first of the place before.
    GenerationsOverlap,
}

/// Decides for the control node.
#[derive(Debug)]
pub(in crate::cluster) struct Registry {
    pub(super) options: ClusterOptions,
    pub(super) me: NodeId,
    pub(super) book: Book,
    pub(super) membership: ControlCore,
    pub(super) placement: PlacementCore,
    /// The latest life of each member.
    pub(super) posts: BTreeMap<NodeId, Post>,
    pub(super) runs: BTreeMap<ActorId, Run>,
    /// Actors that are over and may still be running.
    pub(super) stopping: BTreeMap<ActorId, Stopping>,
    /// What is to be asked again, and when.
    pub(super) again: BTreeSet<(Duration, Again)>,
    /// Whether anything may be placed yet.
    pub(super) open: bool,
    pub(super) outbox: Outbox,
    /// Why the last append failed, until one succeeds.
    stuck: Option<String>,
    pub(super) now: Now,
    #[cfg(test)]
    pub(in crate::cluster) bug: Option<Bug>,
}

/// A life of a node as it isn't recorded.
#[derive(Debug)]
pub(super) struct Post {
    pub incarnation: Incarnation,
    pub totals: Resources,
    /// What it said last to be free.
    pub view: Option<NodeView>,
    /// Its joining is on disk once so many records are.
    pub joined: u64,
    /// What runs there is known.
    pub settled: bool,
    /// It was asked what runs there.
    pub asked: bool,
    /// Placement has it.
    pub offered: bool,
}

/// How an actor of the book gets on.
#[derive(Debug)]
pub(super) struct Run {
    pub phase: Phase,
    /// Who is to be told where it lives.
    pub waiting: Vec<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has no place.
    Wanting,
    /// It was placed before this control node started; its node hasn't said yet whether it lives.
    Unsure,
    Starting,
    Up(ActorAddr),
    /// It is being stopped, to begin elsewhere.
    Moving,
}

#[derive(Debug)]
pub(super) struct Stopping {
    pub key: String,
    pub life: Life,
    pub place: Place,
    pub waiting: Vec<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Again {
    /// Start this actor, or move it off, as it stands.
    Actor(ActorId),
    Stop(ActorId),
    Report(NodeId),
}

/// After a call that brought nothing.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

impl Registry {
    /// Takes the cluster over, as the book tells of it.
    pub fn new(
        options: ClusterOptions,
        (me, incarnation): (NodeId, Incarnation),
        book: Book,
        now: Now,
    ) -> Result<Self, MembershipOptionsError> {
        let known: Vec<_> = book.members().map(|(known, _)| known.clone()).collect();
        let membership = match known.is_empty() {
            true => ControlCore::new(options.membership.clone(), now.clock)?,
            false => ControlCore::restarted(options.membership.clone(), known, now.clock)?,
        };
        let life = book.life + 1;
        let mut registry = Self {
            placement: PlacementCore::new(options.placement.clone(), Incarnation(life)),
            options,
            me,
            book,
            membership,
            posts: BTreeMap::new(),
            runs: BTreeMap::new(),
            stopping: BTreeMap::new(),
            again: BTreeSet::new(),
            open: false,
            outbox: Outbox::default(),
            stuck: None,
            now,
            #[cfg(test)]
            bug: None,
        };
        registry.record(ClusterEvent::Opened { life, node: me, incarnation });
        registry.take_over();
        Ok(registry)
    }

    /// A node, which the carrier has authenticated, says something. `fresh` is for an actor that it may ask for.
    pub fn said(&mut self, from: NodeId, what: ToControl, ticket: Ticket, fresh: ActorId, now: Now) {
        self.now = now;
        match what {
            ToControl::Join { renewal, facts, totals, view } => {
                self.join((from, ticket), renewal, facts, totals, view);
            }
            ToControl::Renew { renewal, load, view } => self.renew((from, ticket), renewal, load, view),
            ToControl::Left { incarnation } => {
                let commands = self.membership.on_left(from, incarnation, now.clock);
                self.members(commands, &mut None);
                self.reply(ticket, ControlAnswer::Done);
            }
            ToControl::Probed { target, reached } => {
                self.membership.on_probe_result(target, from, reached, now.clock);
                self.reply(ticket, ControlAnswer::Done);
            }
            ToControl::News { incarnation, restarted, exits } => {
                restarted.into_iter().for_each(|(life, addr)| self.restarted(life, addr));
                exits.iter().for_each(|exit| self.exited(from, incarnation, exit));
                self.reply(ticket, ControlAnswer::Done);
            }
            ToControl::Find { key } => self.find(&key, ticket),
            ToControl::Follow { keys } => self.follow(keys, ticket),
            ToControl::Nodes => self.answer_nodes(ticket),
            ToControl::Count => self.answer_counts(ticket),
            ToControl::Actors { filter, after } => self.answer_actors(filter, after.as_deref(), ticket),
            ToControl::ExplainActor { key } => self.answer_actor(&key, ticket),
            ToControl::ExplainNode { node } => self.answer_node(&node, ticket),
            what => self.ordered(from, what, ticket, fresh),
        }
    }

    /// What only a member may ask for.
    fn ordered(&mut self, from: NodeId, what: ToControl, ticket: Ticket, fresh: ActorId) {
        let member = self.membership.member(from, self.now.clock);
        if !member.is_some_and(|member| is_living(&member)) {
            let why = format!("node {from} is not a member (any more); only members may ask for that");
            return self.reply(ticket, ControlAnswer::No(why));
        }
        if let Some(why) = self.cannot_write().filter(|_| !self.is_there_already(&what)) {
            return self.outbox.at_once(Act::Reply { ticket, with: ControlAnswer::No(why) });
        }
        match what {
            ToControl::Spawn(request) => self.spawn(request, ticket, fresh),
            ToControl::Stop { key } => self.stop(&key, ticket),
            ToControl::Drain { node } => self.drain(&node, ticket),
            ToControl::Invite => self.outbox.then(Act::Invite { ticket }),
            // All others were taken before.
            _ => self.reply(ticket, ControlAnswer::Done),
        }
    }

    /// What came of an [`Act::Ask`]; `None` where no answer came.
    pub fn answered(&mut self, node: NodeId, about: About, answer: Option<NodeAnswer>, now: Now) {
        self.now = now;
        match (about, answer) {
            (About::Reserve(reservation), Some(NodeAnswer::Reserved(result))) => {
                let commands = self.placement.reserve_result(reservation, node, result, now.clock);
                self.place(commands);
            }
            // Placement gives up waiting by itself.
            (About::Reserve(_), _) => {}
            (About::Start(life), answer) => self.started(node, life, answer),
            (About::Stop(life), answer) => self.stopped(life, answer),
            (About::Report(incarnation), answer) => self.reported(node, incarnation, answer),
        }
    }

    /// The link to a node has come or gone.
    pub fn link(&mut self, node: NodeId, up: bool, now: Now) {
        self.now = now;
        let Some(incarnation) = self.membership.member(node, now.clock).map(|member| member.incarnation) else {
            return;
        };
        match up {
            true => {
                self.membership.on_link_up(node, incarnation, now.clock);
                self.tell_moved(node);
            }
            false => {
                let commands = self.membership.on_link_down(node, incarnation, now.clock);
                self.members(commands, &mut None);
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        let commands = self.membership.tick(now.clock);
        self.members(commands, &mut None);
        self.forget_gone();
        self.open_when_due();
        let commands = self.placement.tick(now.clock);
        self.place(commands);
        while let Some((_, what)) = self.again.first().copied().filter(|(due, _)| *due <= now.clock) {
            self.again.pop_first();
            match what {
                Again::Actor(actor) => self.go_on(actor),
                Again::Stop(actor) => self.ask_to_stop(actor),
                Again::Report(node) => self.ask_for_report(node),
            }
        }
    }

    /// What may be done now.
    pub fn acts(&mut self) -> Vec<Act> {
        self.outbox.take_ready()
    }

    /// What is to be appended to the journal next, unless an append is under way; and whether the book has nothing else
    /// that isn't there.
    pub fn next_batch(&mut self) -> Option<(Vec<(ClusterEvent, Timestamp)>, bool)> {
        self.outbox.next_batch()
    }

    pub fn appended(&mut self) {
        self.stuck = None;
        self.outbox.appended();
    }

    /// The append has failed, or nobody knows. Until one succeeds nothing new is taken on; what is under way waits.
    pub fn not_appended(&mut self, why: String) {
        self.stuck = Some(why);
        self.outbox.not_appended();
        let Some(why) = self.cannot_write() else { return };
        // Who waits is told. What was asked for stays, and is done once it can be.
        self.outbox.answer_held(&why);
        let without_place = self.runs.values_mut().filter(|run| !matches!(run.phase, Phase::Up(_)));
        for ticket in without_place.flat_map(|run| run.waiting.drain(..)) {
            self.outbox.at_once(Act::Reply { ticket, with: ControlAnswer::No(why.clone()) });
        }
    }

    /// That nothing can be written down, and why.
    pub(super) fn cannot_write(&self) -> Option<String> {
        let said = |why| {
            format!("the cluster's state can't be written down: {why}; this is tried again every second; ask again")
        };
        self.stuck.as_ref().map(said)
    }

    /// An order for an actor that lives asks for nothing new.
    fn is_there_already(&self, what: &ToControl) -> bool {
        let ToControl::Spawn(request) = what else { return false };
        self.book
            .by_key(&request.order.key)
            .is_some_and(|(actor, entry)| entry.request == *request && self.addr_of(actor).is_some())
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    pub fn members_now(&self, now: Duration) -> Vec<Member> {
        self.membership.members(now).collect()
    }

    pub(super) fn record(&mut self, event: ClusterEvent) {
        self.book.apply(&event, self.now.wall);
        self.outbox.record(event, self.now.wall);
    }

    pub(super) fn act(&mut self, act: Act) {
        if self.has(Bug::ActsBeforeRecorded) {
            return self.outbox.at_once(act);
        }
        self.outbox.then(act);
    }

    pub(super) fn reply(&mut self, ticket: Ticket, with: ControlAnswer) {
        self.act(Act::Reply { ticket, with });
    }

    /// Answers a person's question. While nothing can be written down that doesn't wait for the disk: the answer says it.
    pub(super) fn inform(&mut self, ticket: Ticket, with: ControlAnswer) {
        match self.stuck {
            Some(_) => self.outbox.at_once(Act::Reply { ticket, with }),
            None => self.reply(ticket, with),
        }
    }

    pub(super) fn tell(&mut self, node: NodeId, what: ToNode) {
        self.act(Act::Tell { node, what });
    }

    pub(super) fn ask(&mut self, node: NodeId, what: ToNode, about: About) {
        self.act(Act::Ask { node, what, about });
    }

    pub(super) fn broadcast(&mut self, what: &ToNode) {
        let living: Vec<NodeId> =
            self.membership.members(self.now.clock).filter(is_living).map(|member| member.node).collect();
        living.into_iter().for_each(|node| self.tell(node, what.clone()));
    }

    pub(super) fn later(&mut self, what: Again) {
        self.again.insert((self.now.clock + PAUSE, what));
    }

    #[cfg(test)]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "in tests it is asked")]
    pub(super) const fn has(&self, _: Bug) -> bool {
        false
    }
}

pub(super) fn is_living(member: &Member) -> bool {
    use crate::membership::MemberState::{Dead, Left};
    !matches!(member.state, Dead | Left)
}

impl Place {
    pub(super) fn new(node: NodeId, incarnation: Incarnation, reservation: ReservationId, amounts: Amounts) -> Self {
        Self { node, incarnation, reservation, amounts }
    }

    /// Where the actor is reached if that life of it is up there.
    pub(super) fn addr(&self, life: Life) -> ActorAddr {
        ActorAddr { node: self.node, incarnation: self.incarnation, actor: life.actor, generation: life.generation }
    }
}
