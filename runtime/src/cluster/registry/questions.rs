//! What people are told: computed from the state that decides, never kept beside it.

use std::collections::HashMap;

use super::book::{ActorEntry, OverEntry};
use super::core::{Phase, Registry, Stopping, Ticket};
use crate::actor::Json;
use crate::cluster::message::ControlAnswer;
use crate::cluster::registry::actors::RESTARTS;
use crate::cluster::view::{
    ActorCounts, ActorExplanation, ActorFilter, ActorPage, ActorRecord, ActorState, NodeExplanation, NodeRecord, labels,
};
use crate::id::{ActorId, Generation, Incarnation, NodeId};
use crate::membership::{Member, MemberState};
use crate::placement::{PlaceState, Request};
use crate::time::Timestamp;

/// Actors looked at for one page: some hundred bytes each, an answer may have 4 MiB.
const PAGE: usize = 2000;
/// Keys of a node's actors that are named.
const NAMED: usize = 100;

impl Registry {
    pub(super) fn answer_nodes(&mut self, ticket: Ticket) {
        let members: Vec<Member> = self.membership.members(self.now.clock).collect();
        let there = self.book.actors().filter_map(|(_, entry)| entry.place.as_ref());
        let mut actors: HashMap<(NodeId, Incarnation), usize> = HashMap::new();
        there.for_each(|place| *actors.entry((place.node, place.incarnation)).or_default() += 1);
        let on = |member: &Member| actors.get(&(member.node, member.incarnation)).copied().unwrap_or(0);
        let mut nodes: Vec<NodeRecord> = members.iter().map(|member| self.node_record(member, on(member))).collect();
        nodes.sort_by(|a, b| (!a.is_control, &a.name).cmp(&(!b.is_control, &b.name)));
        self.inform(ticket, ControlAnswer::Nodes(Json::new(nodes)));
    }

    fn node_record(&self, member: &Member, actors: usize) -> NodeRecord {
        let (node, incarnation) = (member.node, member.incarnation);
        let entry = self.book.member(node, incarnation).map(|(_, entry)| entry);
        let post = self.posts.get(&node).filter(|post| post.incarnation == incarnation);
        let suspected = member.suspicion.as_ref().map(|suspicion| self.wall(suspicion.since));
        let recorded = entry.map(|entry| entry.since).unwrap_or_default();
        NodeRecord {
            id: node,
            name: member.facts.name.clone(),
            addr: member.facts.addr.clone(),
            incarnation,
            state: member.state,
            since: suspected.unwrap_or(recorded),
            level: member.level,
            suspicion: member.suspicion.as_ref().map(|suspicion| suspicion.why),
            labels: labels(&entry.map(|entry| entry.totals.clone()).unwrap_or_default(), &member.facts.labels),
            totals: entry.map(|entry| entry.totals.amounts.clone()).unwrap_or_default(),
            free: post.and_then(|post| post.view.as_ref()).map(|view| view.free.clone()),
            actors,
            load: member.load,
            is_control: node == self.me,
        }
    }

    /// A time of the clock of leases as people count it.
    fn wall(&self, then: std::time::Duration) -> Timestamp {
        let ago = i64::try_from(self.now.clock.saturating_sub(then).as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.now.wall.0.saturating_sub(ago))
    }

    pub(super) fn answer_actors(&mut self, filter: ActorFilter, after: Option<&str>, ticket: Ticket) {
        let node = filter.node.as_ref().map(|name| self.named(name));
        let wanted = |record: &ActorRecord, on: Option<NodeId>| {
            filter.key_prefix.as_ref().is_none_or(|prefix| record.key.starts_with(prefix))
                && filter.kind.as_ref().is_none_or(|kind| kind_name(&record.kind) == kind)
                && filter.state.is_none_or(|state| record.state == state)
                && node.is_none_or(|node| node.is_some() && node == on)
        };
        let mut page = ActorPage::default();
        for (actor, entry) in self.book.keys_after(after).take(PAGE) {
            page.more_after = Some(entry.request.order.key.clone());
            let record = self.actor_record(actor, entry);
            if wanted(&record, entry.place.as_ref().map(|place| place.node)) {
                page.actors.push(record);
            }
        }
        // What is over has no order of its own: it comes with the last page.
        if page.more_after.is_none() {
            let stopping = self.stopping.values().filter_map(|stopping| self.stopping_record(stopping));
            page.actors.extend(stopping.filter(|record| wanted(record, None)));
            if filter.with_over || filter.state == Some(ActorState::Over) {
                let over = self.book.all_over().filter(|over| !self.stopping.contains_key(&over.actor));
                page.actors.extend(over.map(over_record).filter(|record| wanted(record, None)));
            }
        }
        self.inform(ticket, ControlAnswer::Actors(Json::new(page)));
    }

    /// A walk over the phases, of some nanoseconds an actor: nothing is written of any of them.
    pub(super) fn answer_counts(&mut self, ticket: Ticket) {
        let mut counts = ActorCounts::new();
        for (actor, _) in self.book.actors() {
            *counts.entry(state_in(self.runs.get(&actor).map(|run| run.phase))).or_default() += 1;
        }
        let stopping = self.stopping.values().filter(|stopping| self.stopping_record(stopping).is_some()).count();
        counts.insert(ActorState::Stopping, stopping as u64);
        self.inform(ticket, ControlAnswer::Counts(Json::new(counts)));
    }

    fn actor_record(&self, actor: ActorId, entry: &ActorEntry) -> ActorRecord {
        let phase = self.runs.get(&actor).map(|run| run.phase);
        let addr = phase.and_then(|phase| if let Phase::Up(addr) = phase { Some(addr) } else { None });
        let state = state_in(phase);
        let generation = addr.map_or(entry.generation, |addr| addr.generation);
        ActorRecord {
            key: entry.request.order.key.clone(),
            id: actor,
            kind: entry.request.order.kind.to_string(),
            state,
            node: entry.place.as_ref().map(|place| self.name_of(place.node)),
            addr,
            generation,
            since: entry.since,
            restarts: restarts(entry.placed, generation),
        }
    }

    fn stopping_record(&self, stopping: &Stopping) -> Option<ActorRecord> {
        let over = self.book.over(&stopping.key).filter(|over| over.actor == stopping.life.actor)?;
        let node = Some(self.name_of(stopping.place.node));
        Some(ActorRecord { state: ActorState::Stopping, node, ..over_record(over) })
    }

    pub(super) fn name_of(&self, node: NodeId) -> String {
        let member = self.membership.member(node, self.now.clock);
        member.map_or_else(|| node.to_string(), |member| member.facts.name).to_owned()
    }

    pub(super) fn answer_actor(&mut self, key: &str, ticket: Ticket) {
        let explained = match self.book.by_key(key) {
            Some((actor, entry)) => Some(self.explain(actor, entry)),
            None => self.book.over(key).map(|over| {
                let record = self.stopping.get(&over.actor).and_then(|stopping| self.stopping_record(stopping));
                let record = record.unwrap_or_else(|| over_record(over));
                ActorExplanation { record, why: vec![over.why.clone()], placement: None }
            }),
        };
        self.inform(ticket, ControlAnswer::Actor(Json::new(explained)));
    }

    fn explain(&self, actor: ActorId, entry: &ActorEntry) -> ActorExplanation {
        let record = self.actor_record(actor, entry);
        let node = record.node.clone().unwrap_or_default();
        let mut why = match record.state {
            ActorState::Placing if !self.open => vec![self.not_open()],
            ActorState::Starting => vec![format!("node {node} was told to start it and hasn't said yet that it is up")],
            ActorState::Moving => vec![format!("it is being stopped on node {node}, which is drained")],
            ActorState::Recovering => {
                vec![format!("node {node} hasn't been heard of since the control node was started")]
            }
            ActorState::Up => vec![format!("it runs on node {node}")],
            ActorState::Placing | ActorState::Stopping | ActorState::Over => Vec::new(),
        };
        why.extend(self.cannot_write());
        why.extend(entry.left.as_ref().map(|left| format!("it left its last place because {left}")));
        if entry.failures > 0 {
            let most = self.options.start_attempts;
            why.push(format!("{} of {most} starts in a row have failed", entry.failures));
        }
        let asked: &Request = &entry.request.demand.request;
        why.push(format!(
            "it asks for {asked}, and when it ends it is started again: {:?}",
            entry.request.order.restart
        ));
        let placement = self.placement.explain(actor, self.now.clock);
        let placement = placement.filter(|placement| !matches!(placement.state, PlaceState::Placed { .. }));
        ActorExplanation { record, why, placement }
    }

    fn not_open(&self) -> String {
        let wait = self.membership.placement_allowed_from().saturating_sub(self.now.clock);
        format!("the control node was started anew and places nothing for another {:.1} s", wait.as_secs_f32())
    }

    pub(super) fn answer_node(&mut self, name: &str, ticket: Ticket) {
        let member = self.named(name).and_then(|node| self.membership.member(node, self.now.clock));
        let explained = member.map(|member| self.explain_member(&member));
        self.inform(ticket, ControlAnswer::Node(Json::new(explained)));
    }

    fn explain_member(&self, member: &Member) -> NodeExplanation {
        let (node, now) = (member.node, self.now.clock);
        let takes_work = self.open && self.membership.accepts_work(node, now);
        let mut why: Vec<String> = self.why_of(member);
        why.extend(self.cannot_write());
        if !self.open {
            why.push(self.not_open());
        }
        let post = self.posts.get(&node);
        if post.is_some_and(|post| !post.settled) {
            why.push("it hasn't said yet what it has run since before the control node was started".into());
        }
        if takes_work {
            why.push("it takes new work".into());
        }
        let promised = self.placement.promised_to(node);
        if !promised.is_nothing() {
            why.push(format!("{promised} is promised to actors that are being placed"));
        }
        let here = self.book.on(node, member.incarnation).map(|(_, entry)| entry.request.order.key.clone());
        NodeExplanation {
            record: self.node_record(member, self.book.on(node, member.incarnation).count()),
            why,
            takes_work,
            silent_for: now.saturating_sub(member.last_renewal),
            promised,
            actors: here.take(NAMED).collect(),
        }
    }

    fn why_of(&self, member: &Member) -> Vec<String> {
        let now = self.now.clock;
        let left = member.lease_ends.saturating_sub(now).as_secs_f32();
        let mut why = match member.state {
            MemberState::Joining => vec!["it has joined and hasn't said yet that it hears us".to_owned()],
            MemberState::Alive => vec!["it renews its lease".to_owned()],
            MemberState::Suspect => Vec::new(),
            MemberState::Draining => {
                vec!["it is drained: it gets nothing new, and permanent actors leave it".to_owned()]
            }
            MemberState::Dead => vec!["its lease has run out; its actors begin elsewhere".to_owned()],
            MemberState::Left => vec!["it said that it leaves".to_owned()],
        };
        if let Some(suspicion) = &member.suspicion {
            let silent = now.saturating_sub(suspicion.since).as_secs_f32();
            why.push(format!("{}; the last good sign came {silent:.1} s ago", suspicion.why));
            why.push(format!(
                "unless it renews, its lease is over in {left:.1} s, and then its actors begin elsewhere"
            ));
            for (by, reached) in &suspicion.probes {
                let reaches = if *reached { "reaches it" } else { "doesn't reach it" };
                why.push(format!("node {} {reaches}", self.name_of(*by)));
            }
        }
        if !member.linked && member.suspicion.is_none() && matches!(member.state, MemberState::Alive) {
            why.push("no link leads to it now".into());
        }
        why
    }
}

fn state_in(phase: Option<Phase>) -> ActorState {
    match phase {
        Some(Phase::Up(_)) => ActorState::Up,
        Some(Phase::Starting) => ActorState::Starting,
        Some(Phase::Moving) => ActorState::Moving,
        Some(Phase::Unsure) => ActorState::Recovering,
        Some(Phase::Wanting) | None => ActorState::Placing,
    }
}

fn over_record(over: &OverEntry) -> ActorRecord {
    ActorRecord {
        key: over.key.clone(),
        id: over.actor,
        kind: over.kind.clone(),
        state: ActorState::Over,
        node: None,
        addr: None,
        generation: over.generation,
        since: over.at,
        restarts: restarts(over.placed, over.generation),
    }
}

/// Places after the first, and restarts on the present one.
fn restarts(placed: u32, generation: Generation) -> u64 {
    u64::from(placed.saturating_sub(1)) + (generation.0 % RESTARTS).saturating_sub(1)
}

/// A kind is written as `name vN`.
fn kind_name(kind: &str) -> &str {
    kind.rsplit_once(" v").map_or(kind, |(name, _)| name)
}
