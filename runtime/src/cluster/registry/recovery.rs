//! Taking a cluster over: what runs goes on, what doesn't begins anew, and nothing is placed before it can be known.

use super::core::{About, Again, Phase, Post, Registry, Run};
use super::event::Place;
use crate::cluster::message::{NodeAnswer, NodeReport, Running, ToNode};
use crate::id::{ActorId, Incarnation, NodeId};
use crate::placement::{Accepts, Amounts};
use crate::supervise::Restart;

impl Registry {
    /// From the book alone, before anybody was heard.
    pub(super) fn take_over(&mut self) {
        for (known, entry) in self.book.members().filter(|(known, _)| known.standing.is_living()) {
            let mut post = Post::fresh(known.incarnation, entry.totals.clone());
            // Who isn't up yet has been given nothing.
            post.settled = known.standing == crate::membership::Standing::Joining;
            // In the order of their lives: the latest one stays.
            self.posts.insert(known.node, post);
        }
        for (actor, entry) in self.book.actors() {
            let phase = if entry.place.is_some() { Phase::Unsure } else { Phase::Wanting };
            self.runs.insert(actor, Run { phase, waiting: Vec::new() });
        }
        self.open_when_due();
    }

    /// Nothing is placed before every lease is over that an earlier control node may have given.
    pub(super) fn open_when_due(&mut self) {
        if self.open || self.now.clock < self.membership.placement_allowed_from() {
            return;
        }
        self.open = true;
        let orphans: Vec<ActorId> = self.book.orphans().collect();
        orphans.into_iter().for_each(|actor| self.end(actor, "its owner is over", Vec::new()));
        let nodes: Vec<NodeId> = self.posts.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.offer(node));
        let mut wanting: Vec<(u64, ActorId)> =
            self.book.actors().filter(|(_, entry)| entry.place.is_none()).map(|(id, e)| (e.arrival, id)).collect();
        wanting.sort_unstable();
        wanting.into_iter().for_each(|(_, actor)| self.want(actor));
        self.broadcast_members();
    }

    /// Asks a node that was here before what it has, once it is heard again.
    pub(super) fn ask_for_report(&mut self, node: NodeId) {
        let Some(post) = self.posts.get_mut(&node).filter(|post| !post.settled && !post.asked) else { return };
        post.asked = true;
        let incarnation = post.incarnation;
        self.ask(node, ToNode::Report { incarnation }, About::Report(incarnation));
    }

    pub(super) fn reported(&mut self, node: NodeId, incarnation: Incarnation, answer: Option<NodeAnswer>) {
        let awaited = |post: &&mut Post| post.incarnation == incarnation && !post.settled;
        let Some(post) = self.posts.get_mut(&node).filter(awaited) else { return };
        let Some(NodeAnswer::Report(report)) = answer else {
            post.asked = false;
            return self.later(Again::Report(node));
        };
        post.settled = true;
        let NodeReport { view, running, exits } = report;
        post.view = Some(view);
        exits.iter().for_each(|exit| self.exited(node, incarnation, exit));
        let mut missing: Vec<ActorId> = self.book.on(node, incarnation).map(|(actor, _)| actor).collect();
        for one in running {
            missing.retain(|actor| *actor != one.life.actor);
            self.is_there(node, incarnation, one);
        }
        missing.into_iter().for_each(|actor| self.is_missing(node, actor));
        self.offer(node);
    }

    /// The node has this actor, running or about to.
    fn is_there(&mut self, node: NodeId, incarnation: Incarnation, one: Running) {
        let Running { key, life, reservation, addr } = one;
        let entry = self.book.actor(life.actor).filter(|entry| entry.generation == life.generation);
        let place = entry.and_then(|entry| entry.place.as_ref());
        if place.is_none_or(|place| !place.is_on(node, incarnation) || place.reservation != reservation) {
            // It is over, or lives elsewhere by now.
            let place = Place::new(node, incarnation, reservation, Amounts::default());
            return self.end_there(key, life, place, Vec::new());
        }
        match addr {
            Some(addr) => self.is_up(life.actor, addr),
            None => self.start_again(life.actor),
        }
    }

    /// It has a place there, and isn't there: the order to start it didn't arrive, or it was being moved.
    fn is_missing(&mut self, node: NodeId, actor: ActorId) {
        let permanent = self.book.actor(actor).is_some_and(|entry| entry.request.order.restart == Restart::Permanent);
        if permanent && self.accepts(node) == Accepts::Draining {
            if let Some(run) = self.runs.get_mut(&actor) {
                // To be stopped where it isn't: that is acknowledged at once, and it goes elsewhere.
                run.phase = Phase::Moving;
            }
            return self.go_on(actor);
        }
        self.start_again(actor);
    }

    fn start_again(&mut self, actor: ActorId) {
        if let Some(run) = self.runs.get_mut(&actor) {
            run.phase = Phase::Starting;
        }
        self.go_on(actor);
    }
}
