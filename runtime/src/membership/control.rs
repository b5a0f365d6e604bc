//! The control node's view of all nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::known::{KnownMember, MemberEvent, Standing, SuspicionReason};
use super::life::{Life, Member, Suspicion};
use super::message::{Grant, NodeFacts, NodeLoad, Refusal, RefusalReason, Renewal};
use super::options::{MembershipOptions, MembershipOptionsError};
use crate::id::{Incarnation, NodeId};

/// What the control node is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlCommand {
    /// Send this. Drop it if there is no link: a grant that waited is worth nothing.
    GrantLease { node: NodeId, grant: Grant },
    /// Send this. The node must come back with a higher incarnation.
    Refuse { node: NodeId, refusal: Refusal },
    /// Ask these members whether they reach the target; hand in what they find as
    /// [`ControlCore::on_probe_result`].
    AskToProbe { target: NodeId, through: Vec<NodeId> },
    /// Write this down and tell whoever follows the members.
    Event { node: NodeId, incarnation: Incarnation, event: MemberEvent },
}

/// An incarnation that was overtaken by the next while its lease may still be in force.
#[derive(Debug)]
struct Ending {
    node: NodeId,
    incarnation: Incarnation,
    lease_end: Duration,
}

/// Grants leases and decides who is suspect, dead or gone. `now` is the control node's CLOCK_BOOTTIME.
///
/// Ended members stay on the list, so that their incarnation is never taken again, until they rejoin;
/// [`forget`](Self::forget) hides them. They cost some hundred bytes for each node that ever joined.
#[derive(Debug)]
pub struct ControlCore {
    options: MembershipOptions,
    /// The latest incarnation of each.
    lives: BTreeMap<NodeId, Life>,
    endings: Vec<Ending>,
    placement_from: Duration,
    last_input: Duration,
    /// Whose turn it is to probe.
    next_prober: usize,
}

impl ControlCore {
    /// The control node of a cluster that has no members yet.
    pub fn new(options: MembershipOptions, now: Duration) -> Result<Self, MembershipOptionsError> {
        options.validate()?;
        Ok(Self {
            options,
            lives: BTreeMap::new(),
            endings: Vec::new(),
            placement_from: now,
            last_input: now,
            next_prober: 0,
        })
    }

    /// The control node after a restart, with all members that its events tell of, old incarnations
    /// included.
    ///
    /// When the last grants were given isn't written down (that would be an fsync a renewal). None can
    /// have been given later than now, so every lease is taken to end one lease from now,
    /// and nothing is placed until then.
    pub fn restarted(
        options: MembershipOptions,
        known: Vec<KnownMember>,
        now: Duration,
    ) -> Result<Self, MembershipOptionsError> {
        let mut core = Self::new(options, now)?;
        core.placement_from = now + core.options.lease;
        for member in known {
            let node = member.node;
            let life = Life::restored(member, &core.options, now);
            match core.lives.remove(&node) {
                Some(other) if other.incarnation > life.incarnation => {
                    core.overtaken(node, &life);
                    core.lives.insert(node, other);
                }
                other => {
                    if let Some(older) = other {
                        core.overtaken(node, &older);
                    }
                    core.lives.insert(node, life);
                }
            }
        }
        Ok(core)
    }

    /// A node that has shown its identity wants to be a member. Not refused means accepted.
    ///
    /// An incarnation that is still living when the next one joins isn't dead by that: a process may
    /// have been started beside a frozen one. Its lease runs out as any other, then it is `Dead`.
    pub fn on_joined(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        facts: NodeFacts,
        now: Duration,
    ) -> Vec<ControlCommand> {
        self.settle(now);
        let mut commands = Vec::new();
        if let Some(life) = self.lives.get_mut(&node) {
            match life.refuses(incarnation) {
                None => {
                    life.linked = true;
                    return commands;
                }
                Some(_) if incarnation > life.incarnation => {}
                Some(refusal) => return vec![ControlCommand::Refuse { node, refusal }],
            }
        }
        if let Some(former) = self.lives.remove(&node) {
            let ended = self.overtaken(node, &former);
            commands.extend(ended.then(|| event(node, former.incarnation, MemberEvent::Dead { lease_ended: now })));
        }
        self.lives.insert(node, Life::new(incarnation, facts, &self.options, now));
        commands.push(event(node, incarnation, MemberEvent::Joined));
        commands
    }

    /// A renewal has arrived, by whatever path. Granted even where the lease has run out, as long as
    /// nobody was told so: no actor has started elsewhere.
    pub fn on_renewal(&mut self, node: NodeId, renewal: Renewal, load: NodeLoad, now: Duration) -> Vec<ControlCommand> {
        self.settle(now);
        let incarnation = renewal.incarnation;
        let unknown = Refusal { incarnation, why: RefusalReason::Unknown, above: incarnation };
        let Some(life) = self.lives.get_mut(&node) else {
            return vec![ControlCommand::Refuse { node, refusal: unknown }];
        };
        if let Some(refusal) = life.refuses(incarnation) {
            return vec![ControlCommand::Refuse { node, refusal }];
        }
        if !life.hear(&renewal, load, now) {
            return Vec::new();
        }
        let mut commands = vec![ControlCommand::GrantLease { node, grant: life.grant(&renewal, &self.options, now) }];
        let unheard = life.unheard(&renewal);
        if unheard >= self.options.suspect_after {
            let since = now.saturating_sub(unheard);
            commands.extend(self.suspect(node, SuspicionReason::Unacknowledged, since, now));
        } else if life.standing == Standing::Joining && renewal.acked.is_some() {
            life.standing = Standing::Up;
            commands.push(event(node, incarnation, MemberEvent::Up));
        } else if life.linked && life.suspicion.take().is_some() {
            commands.push(event(node, incarnation, MemberEvent::Recovered));
        }
        commands
    }

    /// There is a link to this incarnation again (after a restart of ours: for the first time). If it was
    /// suspect, it counts as recovered with its next renewal.
    pub fn on_link_up(&mut self, node: NodeId, incarnation: Incarnation, now: Duration) {
        self.settle(now);
        if let Some(life) = self.living(node, incarnation) {
            life.linked = true;
        }
    }

    /// The link to this incarnation broke: suspect at once, but not dead.
    ///
    /// `kill -9` breaks it within a millisecond, and then waiting for the lease is time lost. But so does
    /// a switch, a proxy or a firewall that resets connections, and then the node is alive, acts
    /// by a lease that we gave it, and can't be told to stop. The two look the same from here. Only the
    /// lease is an answer to both.
    pub fn on_link_down(&mut self, node: NodeId, incarnation: Incarnation, now: Duration) -> Vec<ControlCommand> {
        self.settle(now);
        let Some(life) = self.living(node, incarnation) else {
            return Vec::new();
        };
        life.linked = false;
        self.suspect(node, SuspicionReason::LinkDown, now, now)
    }

    /// A member that was asked to look for another has an answer. Kept for `explain` while the suspicion
    /// lasts; it neither clears nor confirms it, because the lease is between the two alone.
    pub fn on_probe_result(&mut self, target: NodeId, by: NodeId, reached: bool, now: Duration) {
        self.settle(now);
        if let Some(suspicion) = self.lives.get_mut(&target).and_then(|life| life.suspicion.as_mut()) {
            suspicion.probes.insert(by, reached);
        }
    }

    /// Empties a node: no new work. When all that it had is gone, it says so itself ([`on_left`](Self::on_left)).
    pub fn drain(&mut self, node: NodeId, now: Duration) -> Vec<ControlCommand> {
        self.settle(now);
        match self.lives.get_mut(&node) {
            Some(life) if matches!(life.standing, Standing::Joining | Standing::Up) => {
                life.standing = Standing::Draining;
                vec![event(node, life.incarnation, MemberEvent::Draining)]
            }
            _ => Vec::new(),
        }
    }

    /// The node says that it has stopped everything and goes. No lease to wait for: it gave its own up.
    pub fn on_left(&mut self, node: NodeId, incarnation: Incarnation, now: Duration) -> Vec<ControlCommand> {
        self.settle(now);
        let Some(life) = self.living(node, incarnation) else {
            return Vec::new();
        };
        life.end(Standing::Left);
        vec![event(node, incarnation, MemberEvent::Left)]
    }

    /// Takes a node off the list. One that lives gets no lease any more and is dead when the present one has
    /// run out. It may come back, with a higher incarnation: to keep it out, revoke its certificate.
    pub fn forget(&mut self, node: NodeId, now: Duration) -> Vec<ControlCommand> {
        self.settle(now);
        match self.lives.get_mut(&node) {
            Some(life) if !life.forgotten => {
                life.forgotten = true;
                vec![event(node, life.incarnation, MemberEvent::Forgotten)]
            }
            _ => Vec::new(),
        }
    }

    /// Time has passed. To be called every [`tick_every`](MembershipOptions::tick_every).
    pub fn tick(&mut self, now: Duration) -> Vec<ControlCommand> {
        self.settle(now);
        let mut commands = Vec::new();
        self.endings.retain(|ending| {
            let over = now >= ending.lease_end;
            let dead = MemberEvent::Dead { lease_ended: ending.lease_end };
            commands.extend(over.then(|| event(ending.node, ending.incarnation, dead)));
            !over
        });
        let mut silent = Vec::new();
        for (&node, life) in self.lives.iter_mut().filter(|(_, life)| life.standing.is_living()) {
            if now >= life.lease_end {
                life.end(Standing::Dead);
                let dead = MemberEvent::Dead { lease_ended: life.lease_end };
                commands.push(event(node, life.incarnation, dead));
            } else if life.rhythm.is_suspicious(now) {
                silent.push((node, life.rhythm.last()));
            }
        }
        for (node, since) in silent {
            commands.extend(self.suspect(node, SuspicionReason::Silent, since, now));
        }
        commands
    }

    /// Whether something new may be placed there now.
    pub fn accepts_work(&self, node: NodeId, now: Duration) -> bool {
        let accepts = |life: &Life| life.is_sound() && life.standing == Standing::Up && now < life.lease_end;
        now >= self.placement_from && self.lives.get(&node).is_some_and(accepts)
    }

    /// From when on anything may be placed: at once, or one lease after a restart.
    pub fn placement_allowed_from(&self) -> Duration {
        self.placement_from
    }

    /// The latest incarnation of a node that isn't forgotten.
    pub fn member(&self, node: NodeId, now: Duration) -> Option<Member> {
        self.lives.get(&node).filter(|life| listed(life)).map(|life| life.view(node, now))
    }

    /// All of them, by id.
    pub fn members(&self, now: Duration) -> impl Iterator<Item = Member> {
        self.lives.iter().filter(|(_, life)| listed(life)).map(move |(node, life)| life.view(*node, now))
    }

    /// Takes a pause of our own into account: what it exceeds the allowed one by is nobody's silence.
    ///
    /// Leases only get longer by that, so it is safe. And as the allowed part counts, a control node that
    /// stalls over and over still sees the dead as dead.
    fn settle(&mut self, now: Duration) {
        let pause = now.saturating_sub(self.last_input).saturating_sub(self.options.max_pause);
        self.last_input = self.last_input.max(now);
        if pause.is_zero() {
            return;
        }
        self.lives.values_mut().for_each(|life| life.skip(pause));
        self.endings.iter_mut().for_each(|ending| ending.lease_end += pause);
    }

    fn living(&mut self, node: NodeId, incarnation: Incarnation) -> Option<&mut Life> {
        self.lives.get_mut(&node).filter(|life| life.incarnation == incarnation && life.standing.is_living())
    }

    /// A later incarnation has taken this one's place. True if it has ended by that.
    fn overtaken(&mut self, node: NodeId, former: &Life) -> bool {
        if !former.standing.is_living() {
            return false;
        }
        if !former.never_granted {
            let Life { incarnation, lease_end, .. } = *former;
            self.endings.push(Ending { node, incarnation, lease_end });
        }
        former.never_granted
    }

    fn suspect(&mut self, node: NodeId, why: SuspicionReason, since: Duration, now: Duration) -> Vec<ControlCommand> {
        let Some(life) = self.lives.get_mut(&node) else {
            return Vec::new();
        };
        // Who isn't up yet has nothing that anybody would have to worry about.
        if !life.standing.is_member() || life.suspicion.is_some() {
            return Vec::new();
        }
        life.suspicion = Some(Suspicion { why, since, probes: BTreeMap::new() });
        let level = life.rhythm.level(now);
        let mut commands = vec![event(node, life.incarnation, MemberEvent::Suspect { why, level, since })];
        let through = self.probers(node);
        if !through.is_empty() {
            commands.push(ControlCommand::AskToProbe { target: node, through });
        }
        commands
    }

    /// Sound members in turn, so that one that sees badly isn't asked every time.
    fn probers(&mut self, target: NodeId) -> Vec<NodeId> {
        let sound = self.lives.iter().filter(|(node, life)| **node != target && life.is_sound());
        let sound: Vec<NodeId> = sound.map(|(node, _)| *node).collect();
        let count = self.options.probes.min(sound.len());
        let first = self.next_prober;
        self.next_prober = first.wrapping_add(count);
        sound.iter().cycle().skip(first % sound.len().max(1)).take(count).copied().collect()
    }
}

fn listed(life: &Life) -> bool {
    !life.forgotten || life.standing.is_living()
}

fn event(node: NodeId, incarnation: Incarnation, event: MemberEvent) -> ControlCommand {
    ControlCommand::Event { node, incarnation, event }
}
