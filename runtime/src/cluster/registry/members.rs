//! Members: what membership decides, written down and passed on to placement.

use super::book::MemberEntry;
use super::core::{Act, Bug, Post, Registry, Ticket, is_living};
use super::event::ClusterEvent;
use crate::cluster::message::{ControlAnswer, MemberAddr, ToNode};
use crate::id::{ActorId, Incarnation, NodeId};
use crate::membership::{ControlCommand, KnownMember, Member, MemberEvent, MemberState, NodeFacts, NodeLoad, Renewal};
use crate::placement::{Accepts, NodeUp, NodeView, Resources};

/// Who waits for an answer to a renewal.
type Asker = Option<(NodeId, Ticket)>;

/// Bytes of what a node says of itself, as it is written down.
const MAX_DESCRIPTION: usize = 128 << 10;

impl Registry {
    pub(super) fn join(
        &mut self,
        (node, ticket): (NodeId, Ticket),
        renewal: Renewal,
        facts: NodeFacts,
        totals: Resources,
        view: NodeView,
    ) {
        let described = serde_json::to_vec(&(&facts, &totals)).map_or(usize::MAX, |json| json.len());
        if described > MAX_DESCRIPTION {
            let why = format!("node {node} describes itself in {described} bytes; {MAX_DESCRIPTION} are allowed");
            return self.reply(ticket, ControlAnswer::No(why));
        }
        let mut asker = Some((node, ticket));
        let incarnation = renewal.incarnation;
        let joined = self.membership.on_joined(node, incarnation, facts, self.now.clock);
        if !joined.iter().any(|command| matches!(command, ControlCommand::Refuse { .. })) {
            self.take_post(node, incarnation, totals, view);
        }
        self.members(joined, &mut asker);
        if asker.is_some() {
            let commands = self.membership.on_renewal(node, renewal, NodeLoad::default(), self.now.clock);
            self.members(commands, &mut asker);
        }
        self.dismiss(asker);
    }

    fn take_post(&mut self, node: NodeId, incarnation: Incarnation, totals: Resources, view: NodeView) {
        if self.posts.get(&node).is_none_or(|post| post.incarnation != incarnation) {
            // Nothing new goes to the life before. What it has stays there until its lease is over.
            let commands = self.placement.node_down(node, self.now.clock);
            self.posts.insert(node, Post::fresh(incarnation, totals));
            self.place(commands);
        }
        if let Some(post) = self.posts.get_mut(&node) {
            post.view = Some(view);
        }
    }

    pub(super) fn renew(&mut self, (node, ticket): (NodeId, Ticket), renewal: Renewal, load: NodeLoad, view: NodeView) {
        let (mut asker, now) = (Some((node, ticket)), self.now.clock);
        let commands = self.membership.on_renewal(node, renewal, load, now);
        self.members(commands, &mut asker);
        if let Some(post) = self.posts.get_mut(&node).filter(|post| post.incarnation == renewal.incarnation) {
            post.view = Some(view.clone());
            let commands = self.placement.node_view(node, renewal.incarnation, view, now);
            self.place(commands);
            self.ask_for_report(node);
        }
        self.dismiss(asker);
    }

    fn dismiss(&mut self, asker: Asker) {
        if let Some((_, ticket)) = asker {
            self.reply(ticket, ControlAnswer::Done);
        }
    }

    /// Carries on what membership has decided.
    pub(super) fn members(&mut self, commands: Vec<ControlCommand>, asker: &mut Asker) {
        let mut changed = false;
        for command in commands {
            match command {
                ControlCommand::GrantLease { node, grant } => {
                    let Some((_, ticket)) = asker.take_if(|(asking, _)| *asking == node) else { continue };
                    let act = Act::Reply { ticket, with: ControlAnswer::Granted(grant) };
                    let joined = self.posts.get(&node).is_some_and(|post| self.outbox.is_durable(post.joined));
                    if joined { self.outbox.at_once(act) } else { self.act(act) }
                }
                ControlCommand::Refuse { node, refusal } => {
                    if let Some((_, ticket)) = asker.take_if(|(asking, _)| *asking == node) {
                        self.reply(ticket, ControlAnswer::Refused(refusal));
                    }
                }
                ControlCommand::AskToProbe { target, through } => {
                    through.into_iter().for_each(|node| self.tell(node, ToNode::Probe { target }));
                }
                ControlCommand::Event { node, incarnation, event } => {
                    tracing::info!(%node, %incarnation, ?event, "member");
                    changed = true;
                    self.happened(node, incarnation, event);
                }
            }
        }
        if changed {
            self.broadcast_members();
        }
    }

    pub(super) fn broadcast_members(&mut self) {
        let living = self.membership.members(self.now.clock).filter(is_living);
        let addr = |m: Member| MemberAddr { node: m.node, incarnation: m.incarnation, addr: m.facts.addr };
        let members = ToNode::Members(living.map(addr).collect());
        self.broadcast(&members);
    }

    fn happened(&mut self, node: NodeId, incarnation: Incarnation, event: MemberEvent) {
        let lost: Vec<ActorId> = self.book.on(node, incarnation).map(|(actor, _)| actor).collect();
        match event {
            MemberEvent::Joined => self.joined(node, incarnation),
            MemberEvent::Suspect { .. } if self.has(Bug::MovesOnSuspicion) => {
                let commands = self.placement.node_accepts(node, Accepts::Suspect, self.now.clock);
                self.place(commands);
                lost.into_iter().for_each(|actor| self.lost(actor));
            }
            // Not recorded: whoever is well, or isn't, is found so again.
            MemberEvent::Suspect { .. } | MemberEvent::Recovered => self.pass_on(node, incarnation),
            MemberEvent::Up => {
                self.record(ClusterEvent::Member { node, incarnation, event });
                self.offer(node);
            }
            MemberEvent::Draining => {
                self.record(ClusterEvent::Member { node, incarnation, event });
                self.pass_on(node, incarnation);
                lost.into_iter().for_each(|actor| self.move_off(actor));
            }
            MemberEvent::Dead { .. } | MemberEvent::Left => {
                self.record(ClusterEvent::Member { node, incarnation, event });
                self.gone(node, incarnation);
                lost.into_iter().for_each(|actor| self.lost(actor));
            }
            MemberEvent::Forgotten => self.record(ClusterEvent::Member { node, incarnation, event }),
        }
    }

    fn joined(&mut self, node: NodeId, incarnation: Incarnation) {
        let facts = self.membership.member(node, self.now.clock).map(|member| member.facts).unwrap_or_default();
        let Some(totals) = self.posts.get(&node).map(|post| post.totals.clone()) else { return };
        self.record(ClusterEvent::Joined { node, incarnation, facts, totals });
        let mark = self.outbox.mark();
        if let Some(post) = self.posts.get_mut(&node) {
            post.joined = mark;
        }
    }

    /// Takes off the list whoever has been gone for long: by the calendar, which goes on while this node is down. Nothing
    /// but the list depends on it.
    pub(super) fn forget_gone(&mut self) {
        let (after, now) = (self.options.forget_after, self.now);
        if after.is_zero() {
            return;
        }
        let is_due = |(known, entry): &(&KnownMember, &MemberEntry)| {
            let gone = !known.standing.is_living() && !known.forgotten;
            gone && now.wall.since(entry.since) >= after
        };
        let due = self.book.members().filter(is_due).map(|(known, _)| (known.node, known.incarnation));
        for (node, incarnation) in due.collect::<Vec<_>>() {
            let is_it = |member: &Member| member.incarnation == incarnation && !is_living(member);
            if self.membership.member(node, now.clock).is_some_and(|member| is_it(&member)) {
                let commands = self.membership.forget(node, now.clock);
                self.members(commands, &mut None);
            }
        }
    }

    /// That life of the node is over, and so is whatever ran there.
    fn gone(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.posts.get(&node).is_some_and(|post| post.incarnation == incarnation) {
            self.posts.remove(&node);
            let commands = self.placement.node_down(node, self.now.clock);
            self.place(commands);
        }
        let ended = self.stopping.extract_if(.., |_, stopping| stopping.place.is_on(node, incarnation));
        let waiting: Vec<Ticket> = ended.flat_map(|(_, stopping)| stopping.waiting).collect();
        waiting.into_iter().for_each(|ticket| self.reply(ticket, ControlAnswer::Done));
    }

    /// Tells placement whether the node takes new work.
    fn pass_on(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.posts.get(&node).is_some_and(|post| post.incarnation == incarnation) {
            let commands = self.placement.node_accepts(node, self.accepts(node), self.now.clock);
            self.place(commands);
        }
    }

    pub(super) fn accepts(&self, node: NodeId) -> Accepts {
        match self.membership.member(node, self.now.clock) {
            Some(member) if member.state == MemberState::Draining => Accepts::Draining,
            Some(member) if member.suspicion.is_none() => Accepts::Yes,
            _ => Accepts::Suspect,
        }
    }

    /// Gives a node to placement, once it is up and what runs there is known. Whatever has a place there is taken up first.
    pub(super) fn offer(&mut self, node: NodeId) {
        let (open, now, accepts) = (self.open, self.now.clock, self.accepts(node));
        let up = self.membership.member(node, now).is_some_and(|member| {
            matches!(member.state, MemberState::Alive | MemberState::Suspect | MemberState::Draining)
        });
        let ready = |post: &&mut Post| open && up && post.settled && !post.offered;
        let Some(post) = self.posts.get_mut(&node).filter(ready) else { return };
        let Some(view) = post.view.clone() else { return };
        post.offered = true;
        let (incarnation, totals) = (post.incarnation, post.totals.clone());
        // Not yet: what it has is to be counted before anything new is planned.
        let up = NodeUp { node, incarnation, totals, view, accepts: Accepts::Suspect };
        let mut commands = self.placement.node_up(up, now);
        for (actor, entry) in self.book.on(node, incarnation) {
            let Some(place) = &entry.place else { continue };
            let held = (place.reservation, place.amounts.clone());
            self.placement.adopt(actor, node, held, entry.request.demand.group.clone());
        }
        commands.extend(self.placement.node_accepts(node, accepts, now));
        self.place(commands);
        self.tell_moved(node);
    }

    pub(super) fn drain(&mut self, name: &str, ticket: Ticket) {
        let Some(node) = self.named(name) else {
            return self.reply(ticket, ControlAnswer::No(format!("there is no node {name:?}")));
        };
        let commands = self.membership.drain(node, self.now.clock);
        self.members(commands, &mut None);
        let state = self.membership.member(node, self.now.clock).map(|member| member.state);
        match state {
            Some(MemberState::Draining) => self.reply(ticket, ControlAnswer::Done),
            _ => self.reply(ticket, ControlAnswer::No(format!("node {name:?} is gone already"))),
        }
    }

    /// The node of that name or id.
    pub(super) fn named(&self, name: &str) -> Option<NodeId> {
        let is_it = |member: &Member| member.facts.name == name || member.node.to_string() == name;
        self.membership.members(self.now.clock).filter(is_it).max_by_key(is_living).map(|member| member.node)
    }
}

impl Post {
    pub(super) fn fresh(incarnation: Incarnation, totals: Resources) -> Self {
        Self { incarnation, totals, view: None, joined: 0, settled: true, asked: false, offered: false }
    }
}
