//! A node's own view: its lease, and whether it may act.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::{Grant, Refusal, RefusalReason, Renewal};
use super::options::{MembershipOptions, MembershipOptionsError};
use crate::id::{Incarnation, NodeId};

/// Probes for others that may be under way; one more is not made. Far more than one control node asks for.
const MAX_PROBES: usize = 64;

/// What the node is to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeCommand {
    /// Send the control node this with what is known of us ([`NodeFacts`](super::NodeFacts)): the two
    /// are a join and its first renewal. Repeated until it is answered. Drop it if there is no link.
    SendJoin(Renewal),
    /// Send the control node this, ahead of everything else. Drop it if there is no link: one that
    /// waited would ask for a lease that has passed.
    SendRenewal(Renewal),
    /// The lease is over: start no effect, kill the sandboxes. Actors stay, and wait.
    Fence,
    /// There is a lease again, and nothing of ours was started elsewhere: go on.
    Unfence,
    /// This incarnation is over and its actors may live elsewhere. Stop them all, write the new
    /// incarnation down, then call [`NodeCore::on_ready`]. With [`RefusalReason::OldIncarnation`], for a node
    /// that was a member, another process has our identity: better to stop.
    MustRejoin { incarnation: Incarnation, why: RefusalReason },
    /// Tell the control node that this incarnation does nothing more.
    SayLeft { incarnation: Incarnation },
    /// Answer a member that wants to know whether it reaches us.
    ReplyProbe { to: NodeId, incarnation: Incarnation },
    /// Ask this member for a sign of life; hand its answer in as [`NodeCore::on_probe_answer`].
    Probe { target: NodeId },
    /// Tell the control node what came of it.
    ReportProbe { target: NodeId, reached: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asks to be a member; not answered yet.
    Joining,
    Member,
    /// Refused; the actors of the old incarnation are being stopped.
    Clearing,
    Gone,
}

/// Keeps the lease and knows when it is over. `now` is this node's CLOCK_BOOTTIME.
#[derive(Debug)]
pub struct NodeCore {
    options: MembershipOptions,
    incarnation: Incarnation,
    state: State,
    seq: u64,
    /// When the last renewal of this incarnation was sent.
    last_sent: Option<Duration>,
    next_due: Duration,
    acked: Option<Duration>,
    /// Until when effects may start, by the best grant so far.
    may_act_until: Option<Duration>,
    /// Whether `Fence` was the last that was said about it. A node begins without a lease.
    fenced: bool,
    /// Members we were asked to look for, and until when we wait.
    probes: BTreeMap<NodeId, Duration>,
}

impl NodeCore {
    /// A node that begins to join with this incarnation, higher than any it had.
    pub fn new(
        options: MembershipOptions,
        incarnation: Incarnation,
        now: Duration,
    ) -> Result<Self, MembershipOptionsError> {
        options.validate()?;
        Ok(Self {
            options,
            incarnation,
            state: State::Joining,
            seq: 0,
            last_sent: None,
            next_due: now,
            acked: None,
            may_act_until: None,
            fenced: true,
            probes: BTreeMap::new(),
        })
    }

    /// Whether an effect may start now. True only under a lease that can't have run out anywhere.
    ///
    /// To be asked, with the time of this very moment, before each effect: it depends on no
    /// tick, so a process that was frozen gets "no" at the first question after it wakes.
    pub fn may_start_effects(&self, now: Duration) -> bool {
        self.state == State::Member && self.may_act_until.is_some_and(|until| now < until)
    }

    /// Until when [`may_start_effects`](Self::may_start_effects) holds as things are; `None` without a
    /// lease. For a timer that is more exact than the tick.
    pub fn may_act_until(&self) -> Option<Duration> {
        self.may_act_until.filter(|_| self.state == State::Member)
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Time has passed. To be called every [`tick_every`](MembershipOptions::tick_every), from a thread
    /// that nothing holds up.
    pub fn tick(&mut self, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        if now >= self.next_due {
            commands.extend(self.renew(now));
        }
        let overdue = self.probes.extract_if(.., |_, until| now >= *until);
        commands.extend(overdue.map(|(target, _)| NodeCommand::ReportProbe { target, reached: false }));
        commands
    }

    /// There is a link to the control node again: no need to wait for the next turn.
    pub fn on_link_up(&mut self, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        commands.extend(self.renew(now));
        commands
    }

    /// The control node has granted a renewal.
    pub fn on_grant(&mut self, grant: Grant, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        let asked_for = self.last_sent.is_some_and(|last| grant.echo <= last);
        if !matches!(self.state, State::Joining | State::Member) || grant.incarnation != self.incarnation || !asked_for
        {
            return commands;
        }
        self.state = State::Member;
        let was_fenced = self.fenced;
        let news = self.acked.is_none_or(|acked| grant.echo > acked);
        self.acked = self.acked.max(Some(grant.echo));
        // A control node with a shorter lease than ours has the last word.
        let usable = self.options.fence_after.min(grant.valid_for.saturating_sub(self.options.margin()));
        self.may_act_until = self.may_act_until.max(Some(grant.echo + usable));
        if was_fenced && self.may_start_effects(now) {
            self.fenced = false;
            commands.push(NodeCommand::Unfence);
        }
        // Who had no lease says at once that it hears: the control node waits for that.
        if was_fenced && news {
            commands.extend(self.renew(now));
        }
        commands
    }

    /// The control node has refused this incarnation.
    pub fn on_refused(&mut self, refusal: Refusal, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        if refusal.incarnation != self.incarnation || matches!(self.state, State::Clearing | State::Gone) {
            return commands;
        }
        commands.extend(self.give_up(State::Clearing));
        self.incarnation = self.incarnation.max(refusal.above).next();
        commands.push(NodeCommand::MustRejoin { incarnation: self.incarnation, why: refusal.why });
        commands
    }

    /// All actors of the refused incarnation have stopped and the new one is written down.
    pub fn on_ready(&mut self, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        if self.state == State::Clearing {
            self.state = State::Joining;
            commands.extend(self.renew(now));
        }
        commands
    }

    /// Everything here has stopped, and the node goes. For good: a process that wants to come back starts
    /// with a higher incarnation.
    pub fn leave(&mut self, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        if self.state != State::Gone {
            commands.extend(self.give_up(State::Gone));
            commands.push(NodeCommand::SayLeft { incarnation: self.incarnation });
        }
        commands
    }

    /// A member wants to know whether it reaches us.
    pub fn on_probe(&mut self, from: NodeId, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        commands.push(NodeCommand::ReplyProbe { to: from, incarnation: self.incarnation });
        commands
    }

    /// The control node wants to know whether we reach this member.
    pub fn on_asked_to_probe(&mut self, target: NodeId, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        if self.probes.len() < MAX_PROBES {
            self.probes.insert(target, now + self.options.probe_timeout);
            commands.push(NodeCommand::Probe { target });
        }
        commands
    }

    /// A member that we looked for has answered.
    pub fn on_probe_answer(&mut self, target: NodeId, now: Duration) -> Vec<NodeCommand> {
        let mut commands = self.settle(now);
        if self.probes.remove(&target).is_some() {
            commands.push(NodeCommand::ReportProbe { target, reached: true });
        }
        commands
    }

    fn renew(&mut self, now: Duration) -> Option<NodeCommand> {
        let Self { incarnation, seq, acked, .. } = *self;
        let renewal = Renewal { incarnation, seq, sent_at: now, acked };
        let command = match self.state {
            State::Joining => NodeCommand::SendJoin(renewal),
            State::Member => NodeCommand::SendRenewal(renewal),
            State::Clearing | State::Gone => return None,
        };
        self.seq += 1;
        self.last_sent = Some(now);
        // From now and not from when it was due: after a pause there is nothing to catch up on.
        self.next_due = now + self.options.renew_every;
        Some(command)
    }

    /// Drops the lease and whatever else belonged to this incarnation.
    fn give_up(&mut self, state: State) -> Option<NodeCommand> {
        self.state = state;
        self.last_sent = None;
        self.acked = None;
        self.may_act_until = None;
        let fence = (!self.fenced).then_some(NodeCommand::Fence);
        self.fenced = true;
        fence
    }

    /// Says `Fence` if the lease ended since the last input, be it that nobody looked meanwhile.
    fn settle(&mut self, now: Duration) -> Vec<NodeCommand> {
        let ended = !self.fenced && !self.may_start_effects(now);
        self.fenced |= ended;
        ended.then_some(NodeCommand::Fence).into_iter().collect()
    }
}
