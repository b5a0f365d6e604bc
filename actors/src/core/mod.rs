//! The story's state machine: which events lead to which commands. Pure.
//!
//! `apply` folds what was recorded; `next` says what is to be done now, and says the same whenever
//! it is asked in the same state. Nothing here waits, reads a clock or knows what is in progress:
//! whoever drives the core leaves out the commands that it is carrying out already. So a story that
//! was killed anywhere goes on by folding its journal and asking `next`.
//!
//! ```text
//! accepted → baseline → suspects → build(0) → test(0) ─┬─ gate → commit → docs skipped → done
//!                                     ↑                │
//!                                     └── build(n+1) ──┘ nothing passed, proposals are left
//! ```
//!
//! Proposals come in waves: the first is one, the next a few, the later ones as many as an engine
//! answers together. What the waves before showed decides what the next one is about. The architect
//! is asked for a design and a plan only when cheap tries have failed (`design_after`).

mod rank;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};

pub use rank::{Standing, rank};
pub use schedule::Slot;
use schedule::Suspect;

use crate::event::{Asked, BaselineOutcome, GateDecision, Measured, PatchNote, Phase, Proposal, StoryEvent};
use crate::spec::Approve;

/// The figures that shape a story's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Proposals of the whole story, at least 1.
    pub proposals: u32,
    /// Proposals of the first waves.
    pub first: Vec<u32>,
    /// Proposals of each later wave, at least 1.
    pub wave: u32,
    /// Suspected functions that proposals are spread over, at least 1.
    pub candidates: u32,
    /// Whether further tests are written where several different changes pass.
    pub probe: bool,
    /// Waves before the architect is asked for a design and a plan.
    pub design_after: u32,
    /// All proposals are made and executed in one wave, none answers another, and nothing is committed.
    pub pool: bool,
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
        /// Which wave, for build and test.
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
        /// The lowest attempt with this program.
        attempt: u32,
    },
    /// Let further tests be written → `Probes`.
    Probe,
    /// Run a change that passes with them → `Examined`.
    Examine {
        /// The lowest attempt with this program.
        attempt: u32,
    },
    /// Record the order of all proposals so far → `Ranked`.
    Rank {
        /// The wave that is complete now.
        round: u32,
    },
    /// Ask a person → `GateOpened`.
    OpenGate {
        /// The attempt in question.
        attempt: u32,
        /// What is asked about it.
        asked: Asked,
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
            Self::Examine { attempt } => format!("examine/{attempt}"),
            Self::Rank { round } => format!("rank/{round}"),
            Self::Probe => "probe".into(),
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
    /// The attempt that was executed for it: itself, or the first with an equal program.
    pub executed: Option<u32>,
    /// Further tests that it passes.
    pub further: Option<BTreeSet<String>>,
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
    suspects: Option<Vec<Suspect>>,
    attempts: BTreeMap<u32, Attempt>,
    ranked: Option<(u32, Option<u32>)>,
    best: Option<u32>,
    /// Whether there are further tests.
    probes: Option<bool>,
    /// The order takes them into account.
    chosen: bool,
    gate: Option<(String, Asked)>,
    decision: Option<(GateDecision, u32, String)>,
    /// How often a person let it go on, and how many attempts there were when one did last.
    went_on: u32,
    went_on_at: usize,
    committed: bool,
    docs_skipped: bool,
    tokens: u64,
    ended: Option<bool>,
}

impl StoryCore {
    /// A story of which nothing has happened yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                proposals: limits.proposals.max(1),
                wave: limits.wave.max(1),
                candidates: limits.candidates.max(1),
                ..limits
            },
            accepted: false,
            phase: None,
            baseline: None,
            designed: false,
            plan: None,
            suspects: None,
            attempts: BTreeMap::new(),
            ranked: None,
            best: None,
            probes: None,
            chosen: false,
            gate: None,
            decision: None,
            went_on: 0,
            went_on_at: 0,
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
            StoryEvent::Localised { candidates, .. } => self.suspects = Some(schedule::suspects(candidates)),
            StoryEvent::Proposal(proposal) => self.apply_proposal(proposal),
            StoryEvent::Verdict { attempt, patch, measured, .. } => self.apply_verdict(*attempt, patch, measured),
            StoryEvent::Probes { file, spend, .. } => {
                self.tokens += spend.tokens();
                self.probes = Some(file.is_some());
            }
            StoryEvent::Examined { attempt, passed, .. } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.further = Some(passed.iter().cloned().collect());
                }
            }
            StoryEvent::Ranked { round, places, winner, .. } => {
                self.ranked = Some((*round, *winner));
                self.best = places.first().map(|p| p.attempt);
                self.chosen = self.probes == Some(true) && self.rivals().iter().all(|n| self.is_examined(*n));
            }
            StoryEvent::GateOpened { gate, asked, .. } => self.gate = Some((gate.clone(), *asked)),
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
        // What was executed once is known for every later attempt that comes to an equal program.
        let known = proposal.patch().and_then(|patch| {
            let same = |a: &&Attempt| a.proposal.patch().is_some_and(|p| p.program() == patch.program());
            let before = self.attempts.values().find(same)?;
            Some((before.executed, before.verdict.as_ref().map(|m| of_patch(m, patch))))
        });
        let (executed, verdict) = known.unwrap_or_default();
        let attempt = Attempt { proposal: proposal.clone(), verdict, executed, further: None };
        self.attempts.entry(proposal.attempt).or_insert(attempt);
    }

    /// A verdict is about a program, so it holds for every attempt that came to the same one.
    fn apply_verdict(&mut self, executed: u32, digest: &str, measured: &Measured) {
        let of = |a: &Attempt| a.proposal.patch().filter(|p| p.digest == digest).map(|p| p.program().to_owned());
        let Some(program) = self.attempts.get(&executed).and_then(of) else { return };
        for attempt in self.attempts.values_mut() {
            let Some(patch) = attempt.proposal.patch().filter(|p| p.program() == program) else { continue };
            if attempt.verdict.is_none() {
                attempt.verdict = Some(of_patch(measured, patch));
                attempt.executed = Some(executed);
            }
        }
    }

    /// The first decision is the decision; only who lets it go on will be asked again.
    fn apply_decision(&mut self, decision: GateDecision, attempt: u32, by: &str, comment: &str) {
        if matches!((&self.gate, decision), (Some((_, Asked::GoOn)), GateDecision::Approved)) {
            self.gate = None;
            self.went_on += 1;
            self.went_on_at = self.attempts.len();
            return;
        }
        let said = if comment.is_empty() { by.to_owned() } else { format!("{by}: {comment}") };
        self.decision.get_or_insert((decision, attempt, said));
    }

    /// What is to be done now. Empty only at the end.
    pub fn next(&self) -> Vec<Command> {
        if self.ended.is_some() {
            return Vec::new();
        }
        self.prepare().or_else(|| self.search()).unwrap_or_else(|| self.finish())
    }

    /// Up to the suspects. None when that is behind.
    fn prepare(&self) -> Option<Vec<Command>> {
        if !self.accepted {
            return Some(vec![Command::Accept]);
        }
        match &self.baseline {
            None => return Some(vec![Command::Baseline]),
            Some((BaselineOutcome::Failing, _)) => {}
            Some((_, why)) => return Some(self.fail(why.clone())),
        }
        match &self.suspects {
            None => Some(self.within(Phase::Design, 0, Command::Localise)),
            Some(suspects) if suspects.is_empty() => {
                Some(self.fail("no function was found that a change could begin with".into()))
            }
            Some(_) => None,
        }
    }

    /// Waves of proposing and executing. None when a wave has a winner.
    fn search(&self) -> Option<Vec<Command>> {
        let (wave, winner) = match self.ranked {
            None => (0, None),
            Some((wave, winner)) => (wave + 1, winner),
        };
        if self.limits.pool && wave > 0 {
            return Some(self.pooled());
        }
        if winner.is_some() {
            return self.choose(wave - 1);
        }
        if wave > 0 && (self.size(wave) == 0 || self.budget_used() || self.exhausted(wave)) {
            return Some(self.unsolved(wave));
        }
        if wave >= self.limits.design_after && !self.limits.pool {
            if !self.designed {
                return Some(self.within(Phase::Design, wave, Command::Design));
            }
            if self.plan.is_none() {
                return Some(self.within(Phase::Plan, wave, Command::Plan));
            }
        }
        Some(self.play(wave))
    }

    /// Where several different changes pass, further tests may tell them apart. None when that is behind.
    fn choose(&self, wave: u32) -> Option<Vec<Command>> {
        let rivals = self.rivals();
        if rivals.len() < 2 || !self.limits.probe || self.decision.is_some() {
            return None;
        }
        match self.probes {
            None if self.budget_used() => None,
            None => Some(vec![Command::Probe]),
            Some(false) => None,
            Some(true) => {
                let open: Vec<u32> = rivals.into_iter().filter(|n| !self.is_examined(*n)).collect();
                if open.is_empty() {
                    return (!self.chosen).then(|| vec![Command::Rank { round: wave }]);
                }
                Some(open.into_iter().map(|attempt| Command::Examine { attempt }).collect())
            }
        }
    }

    /// The attempts that were executed and pass, one for each program.
    fn rivals(&self) -> Vec<u32> {
        self.attempts.iter().filter(|(n, a)| a.executed == Some(**n) && self.passes(**n)).map(|(n, _)| *n).collect()
    }

    fn is_examined(&self, attempt: u32) -> bool {
        self.attempts.get(&attempt).is_some_and(|a| a.further.is_some())
    }

    /// Nothing passed, and there is nothing left to try with. A person who is there may give more.
    fn unsolved(&self, waves: u32) -> Vec<Command> {
        let why = self.why_unsolved(waves);
        let executed = self.best.filter(|n| self.attempts.get(n).is_some_and(|a| a.verdict.is_some()));
        match (self.limits.approve, &self.decision, &self.gate, executed) {
            (_, Some((GateDecision::Expired, ..)), ..) => self.fail(format!("{why}; nobody said whether to go on")),
            (_, Some((_, _, said)), ..) => self.fail(format!("{why}; not to go on was decided by {said}")),
            (Approve::Ask, None, None, Some(attempt)) => vec![Command::OpenGate { attempt, asked: Asked::GoOn }],
            (Approve::Ask, None, Some((gate, _)), _) => vec![Command::AwaitGate { gate: gate.clone() }],
            _ => self.fail(why),
        }
    }

    /// One wave: proposals, which are executed as they come, then the order.
    fn play(&self, wave: u32) -> Vec<Command> {
        let missing: Vec<Slot> =
            self.slots(wave).into_iter().filter(|s| !self.attempts.contains_key(&s.attempt)).collect();
        if !missing.is_empty() {
            if self.phase != Some((Phase::Build, wave)) {
                return vec![Command::Enter { phase: Phase::Build, round: wave }];
            }
            let act = if self.budget_used() { Command::Forgo } else { Command::Propose };
            // Proposals first: an engine is slower than a sandbox, and works while that does.
            return missing.into_iter().map(act).chain(self.unverified()).collect();
        }
        if self.phase != Some((Phase::Test, wave)) {
            return vec![Command::Enter { phase: Phase::Test, round: wave }];
        }
        let unverified = self.unverified();
        if unverified.is_empty() { vec![Command::Rank { round: wave }] } else { unverified }
    }

    /// One verification for each program that has no verdict, under its lowest attempt.
    fn unverified(&self) -> Vec<Command> {
        let mut seen = Vec::new();
        let mut commands = Vec::new();
        for (&attempt, state) in &self.attempts {
            let Some(patch) = state.proposal.patch() else { continue };
            if state.verdict.is_none() && !seen.contains(&patch.program()) {
                seen.push(patch.program());
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
            (Approve::Ask, None) => Command::OpenGate { attempt, asked: Asked::Commit },
            (Approve::Ask, Some((gate, _))) => Command::AwaitGate { gate: gate.clone() },
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

    /// The end of a story that only gathers proposals.
    fn pooled(&self) -> Vec<Command> {
        let passed = self.attempts.keys().filter(|n| self.passes(**n)).count();
        let summary = format!("a pool of {}: {passed} pass", self.told());
        vec![Command::End { success: true, summary, best: self.best }]
    }

    fn why_unsolved(&self, waves: u32) -> String {
        let why = if self.budget_used() {
            "; the budget of tokens is used up"
        } else if self.size(waves) > 0 {
            "; the last ones brought nothing new"
        } else {
            ""
        };
        format!("no proposal passed: {}, in {waves} waves{why}", self.told())
    }

    fn told(&self) -> String {
        let programs: BTreeSet<&str> =
            self.attempts.values().filter_map(|a| a.proposal.patch()).map(PatchNote::program).collect();
        let made = self.attempts.values().filter(|a| a.proposal.patch().is_some()).count();
        let all = self.attempts.len();
        format!("{all} attempts, {made} of them with a change, {} different programs", programs.len())
    }

    /// Whether no further proposal may be started.
    pub fn budget_used(&self) -> bool {
        self.tokens >= self.limits.max_tokens.saturating_mul(u64::from(self.went_on) + 1)
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

/// What was seen of an equal program, with the size of this patch.
fn of_patch(measured: &Measured, patch: &PatchNote) -> Measured {
    Measured { lines_changed: patch.lines, ..measured.clone() }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
