//! The story's state machine: which events lead to which commands. Pure.
//!
//! `apply` folds what was recorded; `next` says what is to be done now, and says the same whenever
//! it is asked in the same state. Nothing here waits, reads a clock or knows what is in progress:
//! whoever drives the core leaves out the commands that it is carrying out already. So a story that
//! was killed anywhere goes on by folding its journal and asking `next`.
//!
//! ```text
//! accepted → baseline → suspects → design → plan → build(0) → test(0) ─┬─ gate → commit → docs skipped → done
//!                                                     ↑                │
//!                                                     └── build(n+1) ──┘ nothing passed, a round is left
//! ```

mod rank;
mod schedule;

use std::collections::BTreeMap;

pub use rank::{Standing, rank};
pub use schedule::Slot;
use schedule::Suspects;

use crate::event::{BaselineOutcome, GateDecision, Measured, Phase, Proposal, StoryEvent};
use crate::spec::Approve;

/// The figures that shape a story's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Proposals of a round, at least 1.
    pub proposals: u32,
    /// Rounds of repair after the first one.
    pub repair_rounds: u32,
    /// Suspected functions that proposals are spread over, at least 1.
    pub candidates: u32,
    /// Tokens after which no further proposal is started.
    pub max_tokens: u64,
    /// Who decides at the gate.
    pub approve: Approve,
}

/// Something to be done. Carrying it out leads to the event named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// Fetch the base, read the story → `Accepted`.
    Accept,
    /// Record that a phase begins → `Phase`.
    Enter {
        /// Which.
        phase: Phase,
        /// Which round, for build and test.
        round: u32,
    },
    /// Build and test the base → `Baseline`.
    Baseline,
    /// Ask the architect → `Design`.
    Design,
    /// Ask for the tasks → `Plan`.
    Plan,
    /// Rank the suspects → `Localised`.
    Localise,
    /// Let an agent propose → `Proposal`.
    Propose(Slot),
    /// Record that a proposal is not made because the budget is used up → `Proposal`.
    Forgo(Slot),
    /// Execute a proposal → `Verdict`.
    Verify {
        /// The lowest attempt with this patch.
        attempt: u32,
    },
    /// Record the order of all proposals so far → `Ranked`.
    Rank {
        /// The round that is complete now.
        round: u32,
    },
    /// Ask a person → `GateOpened`.
    OpenGate {
        /// The attempt in question.
        attempt: u32,
    },
    /// Wait for the person → `GateDecided`.
    AwaitGate {
        /// The gate.
        gate: String,
    },
    /// Let policy decide → `GateDecided`.
    DecideByPolicy {
        /// The attempt in question.
        attempt: u32,
    },
    /// Make the commit → `Committed`.
    Commit {
        /// The attempt.
        attempt: u32,
    },
    /// Record that documentation is left out → `Skipped`.
    SkipDocs,
    /// Record the end → `Ended`.
    End {
        /// Whether there is a verified commit.
        success: bool,
        /// Why it ends so.
        summary: String,
        /// The attempt that is the best evidence.
        best: Option<u32>,
    },
}

impl Command {
    /// What tells commands in progress apart. A proposal is the same work whether made or forgone.
    pub fn key(&self) -> String {
        match self {
            Self::Propose(slot) | Self::Forgo(slot) => format!("propose/{}", slot.attempt),
            Self::Verify { attempt } => format!("verify/{attempt}"),
            Self::Enter { phase, round } => format!("enter/{phase}/{round}"),
            Self::Rank { round } => format!("rank/{round}"),
            Self::Accept => "accept".into(),
            Self::Baseline => "baseline".into(),
            Self::Design => "design".into(),
            Self::Plan => "plan".into(),
            Self::Localise => "localise".into(),
            Self::OpenGate { .. } | Self::AwaitGate { .. } | Self::DecideByPolicy { .. } => "gate".into(),
            Self::Commit { .. } => "commit".into(),
            Self::SkipDocs => "docs".into(),
            Self::End { .. } => "end".into(),
        }
    }
}

/// What is known about one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What was proposed.
    pub proposal: Proposal,
    /// What was seen of it.
    pub verdict: Option<Measured>,
}

/// The state of one story.
#[derive(Debug, Clone, PartialEq)]
pub struct StoryCore {
    limits: Limits,
    accepted: bool,
    phase: Option<(Phase, u32)>,
    baseline: Option<(BaselineOutcome, String)>,
    designed: bool,
    plan: Option<Option<String>>,
    suspects: Option<Suspects>,
    attempts: BTreeMap<u32, Attempt>,
    ranked: Option<(u32, Option<u32>)>,
    best: Option<u32>,
    gate: Option<String>,
    decision: Option<(GateDecision, u32, String)>,
    committed: bool,
    docs_skipped: bool,
    tokens: u64,
    ended: Option<bool>,
}

impl StoryCore {
    /// A story of which nothing has happened yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits { proposals: limits.proposals.max(1), candidates: limits.candidates.max(1), ..limits },
            accepted: false,
            phase: None,
            baseline: None,
            designed: false,
            plan: None,
            suspects: None,
            attempts: BTreeMap::new(),
            ranked: None,
            best: None,
            gate: None,
            decision: None,
            committed: false,
            docs_skipped: false,
            tokens: 0,
            ended: None,
        }
    }

    /// Folds one recorded event. What comes after the end changes nothing.
    pub fn apply(&mut self, event: &StoryEvent) {
        if self.ended.is_some() {
            return;
        }
        match event {
            StoryEvent::Accepted { .. } => self.accepted = true,
            StoryEvent::Phase { phase, round } => self.phase = Some((*phase, *round)),
            StoryEvent::Baseline { outcome, why, .. } => self.baseline = Some((*outcome, why.clone())),
            StoryEvent::Design { spend, .. } => {
                self.tokens += spend.tokens();
                self.designed = true;
            }
            StoryEvent::Plan { refused, spend, .. } => {
                self.tokens += spend.tokens();
                self.plan = Some(refused.clone());
            }
            StoryEvent::Localised { candidates, .. } => self.suspects = Some(Suspects::of(candidates)),
            StoryEvent::Proposal(proposal) => self.apply_proposal(proposal),
            StoryEvent::Verdict { patch, measured, .. } => self.apply_verdict(patch, measured),
            StoryEvent::Ranked { round, places, winner, .. } => {
                self.ranked = Some((*round, *winner));
                self.best = places.first().map(|p| p.attempt);
            }
            StoryEvent::GateOpened { gate, .. } => self.gate = Some(gate.clone()),
            StoryEvent::GateDecided { decision, attempt, by, comment, .. } => {
                self.apply_decision(*decision, *attempt, by, comment);
            }
            StoryEvent::Committed { .. } => self.committed = true,
            StoryEvent::Skipped { phase, .. } => self.docs_skipped |= *phase == Phase::Docs,
            StoryEvent::Ended { success, .. } => self.ended = Some(*success),
            StoryEvent::Bundle { .. } | StoryEvent::Violation { .. } => {}
        }
    }

    fn apply_proposal(&mut self, proposal: &Proposal) {
        self.tokens += proposal.spend.tokens();
        // What was executed once is known for every later attempt that comes to the same patch.
        let same =
            |a: &&Attempt| proposal.patch().is_some_and(|p| a.proposal.patch().is_some_and(|q| q.digest == p.digest));
        let verdict = self.attempts.values().find(same).and_then(|a| a.verdict.clone());
        let attempt = Attempt { proposal: proposal.clone(), verdict };
        self.attempts.entry(proposal.attempt).or_insert(attempt);
    }

    /// A verdict is about a patch, so it holds for every attempt that came to the same one.
    fn apply_verdict(&mut self, digest: &str, measured: &Measured) {
        for attempt in self.attempts.values_mut() {
            if attempt.proposal.patch().is_some_and(|p| p.digest == digest) {
                attempt.verdict.get_or_insert_with(|| measured.clone());
            }
        }
    }

    /// The first decision is the decision.
    fn apply_decision(&mut self, decision: GateDecision, attempt: u32, by: &str, comment: &str) {
        let said = if comment.is_empty() { by.to_owned() } else { format!("{by}: {comment}") };
        self.decision.get_or_insert((decision, attempt, said));
    }

    /// What is to be done now. Empty only at the end.
    pub fn next(&self) -> Vec<Command> {
        if self.ended.is_some() {
            return Vec::new();
        }
        self.prepare().or_else(|| self.build_and_test()).unwrap_or_else(|| self.finish())
    }

    /// Up to the plan. None when that is behind.
    fn prepare(&self) -> Option<Vec<Command>> {
        if !self.accepted {
            return Some(vec![Command::Accept]);
        }
        match &self.baseline {
            None => return Some(vec![Command::Baseline]),
            Some((BaselineOutcome::Failing, _)) => {}
            Some((_, why)) => return Some(self.fail(why.clone())),
        }
        match self.suspects {
            None => return Some(self.within(Phase::Design, 0, Command::Localise)),
            Some(Suspects { all: 0, .. }) => {
                return Some(self.fail("no function was found that a change could begin with".into()));
            }
            Some(_) => {}
        }
        if !self.designed {
            return Some(self.within(Phase::Design, 0, Command::Design));
        }
        match &self.plan {
            None => Some(self.within(Phase::Plan, 0, Command::Plan)),
            Some(Some(refused)) => Some(self.fail(format!("the plan was refused: {refused}"))),
            Some(None) => None,
        }
    }

    /// Rounds of proposing and executing. None when a round has a winner.
    fn build_and_test(&self) -> Option<Vec<Command>> {
        let (round, winner) = match self.ranked {
            None => (0, None),
            Some((round, winner)) => (round + 1, winner),
        };
        if winner.is_some() {
            return None;
        }
        if round > self.limits.repair_rounds || (round > 0 && self.budget_used()) {
            return Some(self.fail(self.why_unsolved(round)));
        }
        Some(self.play(round))
    }

    /// One round: all proposals, then all verdicts, then the order.
    fn play(&self, round: u32) -> Vec<Command> {
        let missing: Vec<Slot> =
            self.slots(round).into_iter().filter(|s| !self.attempts.contains_key(&s.attempt)).collect();
        if !missing.is_empty() {
            if self.phase != Some((Phase::Build, round)) {
                return vec![Command::Enter { phase: Phase::Build, round }];
            }
            let act = if self.budget_used() { Command::Forgo } else { Command::Propose };
            return missing.into_iter().map(act).collect();
        }
        if self.phase != Some((Phase::Test, round)) {
            return vec![Command::Enter { phase: Phase::Test, round }];
        }
        let unverified = self.unverified();
        if unverified.is_empty() { vec![Command::Rank { round }] } else { unverified }
    }

    /// One verification for each patch that has no verdict, under its lowest attempt.
    fn unverified(&self) -> Vec<Command> {
        let mut seen = Vec::new();
        let mut commands = Vec::new();
        for (&attempt, state) in &self.attempts {
            let Some(patch) = state.proposal.patch() else { continue };
            if state.verdict.is_none() && !seen.contains(&&patch.digest) {
                seen.push(&patch.digest);
                commands.push(Command::Verify { attempt });
            }
        }
        commands
    }

    /// From the winner to the end.
    fn finish(&self) -> Vec<Command> {
        let Some((_, Some(winner))) = self.ranked else { return Vec::new() };
        match &self.decision {
            None => vec![self.ask(winner)],
            Some((GateDecision::Approved, attempt, _)) => self.deliver(*attempt),
            Some((GateDecision::Rejected, _, said)) => self.fail(format!("rejected by {said}")),
            Some((GateDecision::Expired, ..)) => self.fail("nobody decided before the approval expired".into()),
        }
    }

    fn ask(&self, attempt: u32) -> Command {
        match (self.limits.approve, &self.gate) {
            (Approve::PolicyAuto, _) => Command::DecideByPolicy { attempt },
            (Approve::Ask, None) => Command::OpenGate { attempt },
            (Approve::Ask, Some(gate)) => Command::AwaitGate { gate: gate.clone() },
        }
    }

    fn deliver(&self, attempt: u32) -> Vec<Command> {
        // Belt and braces: what was approved must also have been seen to pass.
        if !self.passes(attempt) {
            return self.fail(format!("attempt {attempt} was approved, but no run of it passed"));
        }
        if !self.committed {
            return vec![Command::Commit { attempt }];
        }
        if !self.docs_skipped {
            return vec![Command::SkipDocs];
        }
        let summary = format!("attempt {attempt} was verified and committed");
        self.within(Phase::Done, 0, Command::End { success: true, summary, best: Some(attempt) })
    }

    fn within(&self, phase: Phase, round: u32, command: Command) -> Vec<Command> {
        if self.phase == Some((phase, round)) { vec![command] } else { vec![Command::Enter { phase, round }] }
    }

    fn fail(&self, summary: String) -> Vec<Command> {
        vec![Command::End { success: false, summary, best: self.best }]
    }

    fn why_unsolved(&self, rounds: u32) -> String {
        let made = self.attempts.values().filter(|a| a.proposal.patch().is_some()).count();
        let budget = if self.budget_used() { "; the budget of tokens is used up" } else { "" };
        format!(
            "no proposal passed: {} attempts in {rounds} rounds, {made} of them with a change{budget}",
            self.attempts.len()
        )
    }

    /// Whether no further proposal may be started.
    pub fn budget_used(&self) -> bool {
        self.tokens >= self.limits.max_tokens
    }

    /// Whether an attempt was seen to pass.
    pub fn passes(&self, attempt: u32) -> bool {
        self.attempts.get(&attempt).and_then(|a| a.verdict.as_ref()).is_some_and(Measured::passes)
    }

    /// All attempts so far.
    pub fn attempts(&self) -> &BTreeMap<u32, Attempt> {
        &self.attempts
    }

    /// The end, if it was reached: whether with success.
    pub fn ended(&self) -> Option<bool> {
        self.ended
    }

    /// The attempt that stands first so far.
    pub fn best(&self) -> Option<u32> {
        self.best
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
