#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use fleet_runtime::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::event::*;

fn limits(approve: Approve) -> Limits {
    Limits {
        proposals: 7,
        first: vec![1, 2],
        wave: 3,
        candidates: 2,
        probe: true,
        design_after: 1,
        max_tokens: 100_000,
        approve,
        pool: false,
    }
}

/// A tape of choices: whatever the world may answer is drawn from it.
struct World {
    tape: Vec<u8>,
    at: usize,
    decisions: u32,
}

impl World {
    fn draw(&mut self, n: u8) -> u8 {
        let byte = self.tape.get(self.at % self.tape.len().max(1)).copied().unwrap_or(0);
        self.at += 1;
        byte % n
    }

    /// The event that carrying out a command leads to.
    fn answer(&mut self, core: &StoryCore, command: &Command) -> StoryEvent {
        match command {
            Command::Accept => accepted(),
            Command::Enter { phase, round } => StoryEvent::Phase { phase: *phase, round: *round },
            Command::Baseline => baseline(match self.draw(12) {
                0 => BaselineOutcome::NothingToDo,
                1 => BaselineOutcome::Unrunnable,
                _ => BaselineOutcome::Failing,
            }),
            Command::Design => design(),
            Command::Plan => plan((self.draw(12) == 0).then(|| "2 tasks".to_owned())),
            Command::Localise => localised(if self.draw(12) == 0 { 0 } else { 1 + self.draw(4) }),
            Command::Propose(slot) => {
                let digest = self.draw(4);
                // The same program may come in several layouts, as `1` and `1b` do.
                let layout = ["", "b"][self.draw(2) as usize];
                proposal(slot, (digest > 0).then(|| format!("{digest}{layout}")))
            }
            Command::Forgo(slot) => proposal(slot, None),
            Command::Verify { attempt } => {
                let digest = core.attempts()[attempt].proposal.patch().unwrap().digest.clone();
                verdict(*attempt, &digest, self.measured())
            }
            Command::Probe => probes(self.draw(3) > 0),
            Command::Examine { attempt } => examined(*attempt, (0..self.draw(3)).map(|n| n.to_string()).collect()),
            Command::Rank { round } => {
                let Standing { places, winner, reason } = core.standing();
                StoryEvent::Ranked { round: *round, places, winner, reason }
            }
            Command::OpenGate { attempt, asked } => opened(*attempt, *asked),
            Command::AwaitGate { .. } => decided(core.best().unwrap(), self.decision(), "anna"),
            Command::DecideByPolicy { attempt } => decided(*attempt, GateDecision::Approved, "policy:auto"),
            Command::Commit { attempt } => committed(*attempt),
            Command::SkipDocs => StoryEvent::Skipped { phase: Phase::Docs, reason: "not asked for".into() },
            Command::End { success, summary, best } => {
                StoryEvent::Ended { success: *success, summary: summary.clone(), best: *best }
            }
        }
    }

    fn measured(&mut self) -> Measured {
        Measured {
            touched_protected: if self.draw(6) == 0 { vec!["tests/a.py".into()] } else { vec![] },
            applies: self.draw(8) > 0,
            builds: self.draw(6) > 0,
            target_fixed: self.draw(2) == 0,
            newly_failing: if self.draw(3) == 0 { vec!["t".into()] } else { vec![] },
            passed: u32::from(self.draw(5)),
            lines_changed: u32::from(self.draw(9)),
            special_cased: if self.draw(6) == 0 { vec!["37".into()] } else { vec![] },
            ..Measured::default()
        }
    }

    fn decision(&mut self) -> GateDecision {
        // A person who lets it go on for ever would never see an end.
        let answers = [GateDecision::Approved, GateDecision::Rejected, GateDecision::Expired];
        self.decisions += 1;
        answers[if self.decisions > 3 { 1 } else { self.draw(3) as usize }]
    }
}

fn accepted() -> StoryEvent {
    StoryEvent::Accepted {
        title: "t".into(),
        story_hash: "h".into(),
        description: String::new(),
        acceptance: vec![],
        constraints: vec![],
        base_commit: "c".into(),
        repo: "r".into(),
        build: None,
        test: "make test".into(),
        approve: Approve::Ask,
        seed: 0,
        engine: EngineLabel::default(),
    }
}

fn baseline(outcome: BaselineOutcome) -> StoryEvent {
    StoryEvent::Baseline {
        outcome,
        why: "because".into(),
        failing: vec![],
        passed: 1,
        failed: 1,
        runs: vec![],
        effect: "baseline".into(),
    }
}

fn design() -> StoryEvent {
    StoryEvent::Design {
        summary: "s".into(),
        approach: "a".into(),
        risks: vec![],
        bundle: "b".into(),
        effect: "design".into(),
        spend: Spend::default(),
    }
}

fn plan(refused: Option<String>) -> StoryEvent {
    StoryEvent::Plan { tasks: vec![], refused, bundle: "b".into(), effect: "plan".into(), spend: Spend::default() }
}

fn localised(n: u8) -> StoryEvent {
    let candidates = (0..n).map(|i| Candidate { forms: vec![Form::Function], ..suspect(i.into(), 1) }).collect();
    StoryEvent::Localised { candidates, considered: 9 }
}

fn suspect(i: u32, score: u32) -> Candidate {
    Candidate {
        path: "a.py".into(),
        function: format!("f{i}"),
        line: 1,
        score,
        reasons: vec![],
        forms: vec![Form::Function, Form::File],
    }
}

fn proposal(slot: &Slot, digest: Option<String>) -> StoryEvent {
    let end = match digest {
        Some(digest) => {
            ProposalEnd::Patch { patch: PatchNote { shape: shape(&digest), digest, bytes: 1, lines: 1, files: vec![] } }
        }
        None => ProposalEnd::Nothing { why: "no idea".into() },
    };
    StoryEvent::Proposal(Proposal {
        attempt: slot.attempt,
        round: slot.round,
        repairs: slot.repairs,
        builds_on: slot.builds_on,
        form: slot.form,
        role: "developer".into(),
        agent: "dev-1".into(),
        engine: EngineLabel::default(),
        target: format!("a.py:f{}", slot.candidate),
        seed: "0".into(),
        temperature: 0.0,
        bundle: "b".into(),
        end,
        effects: vec![],
        spend: Spend { calls: 1, prompt_tokens: 400, completion_tokens: 50, wall_ms: 5 },
    })
}

/// That of digests that differ in their layout alone.
fn shape(digest: &str) -> Option<String> {
    Some(digest.trim_end_matches('b').to_owned())
}

fn verdict(attempt: u32, digest: &str, measured: Measured) -> StoryEvent {
    StoryEvent::Verdict {
        attempt,
        patch: digest.into(),
        measured,
        said: String::new(),
        runs: vec![],
        effect: "e".into(),
    }
}

fn probes(usable: bool) -> StoryEvent {
    StoryEvent::Probes {
        file: usable.then(|| ProbeFile { path: "tests/more.py".into(), digest: "d".into() }),
        why: "because".into(),
        bundle: "b".into(),
        effect: "probe".into(),
        spend: Spend::default(),
    }
}

fn examined(attempt: u32, passed: Vec<String>) -> StoryEvent {
    StoryEvent::Examined { attempt, passed, failed: vec![], effect: "e".into() }
}

fn opened(attempt: u32, asked: Asked) -> StoryEvent {
    StoryEvent::GateOpened {
        gate: "g".into(),
        attempt,
        asked,
        question: "?".into(),
        evidence: vec![],
        expires_at: Timestamp(9),
    }
}

fn decided(attempt: u32, decision: GateDecision, by: &str) -> StoryEvent {
    StoryEvent::GateDecided {
        gate: "g".into(),
        attempt,
        decision,
        by: by.into(),
        comment: "so".into(),
        at: Timestamp(1),
    }
}

fn committed(attempt: u32) -> StoryEvent {
    StoryEvent::Committed {
        attempt,
        commit: "c".into(),
        branch: "fleet/j".into(),
        bundle: "b".into(),
        bundle_bytes: 1,
        trailers: vec![],
        effect: "commit".into(),
    }
}

/// Plays a story to its end. Which of the commands at hand is carried out first is drawn as well.
fn play(approve: Approve, tape: Vec<u8>) -> Vec<StoryEvent> {
    let mut world = World { tape, at: 0, decisions: 0 };
    let mut core = StoryCore::new(limits(approve));
    let mut events = Vec::new();
    loop {
        let commands = core.next();
        if commands.is_empty() {
            return events;
        }
        let keys: BTreeSet<String> = commands.iter().map(Command::key).collect();
        assert_eq!(keys.len(), commands.len(), "two commands are the same work: {commands:?}");
        let pick = world.draw(u8::try_from(commands.len()).unwrap()) as usize;
        check_command(&events, &commands[pick]);
        let event = world.answer(&core, &commands[pick]);
        core.apply(&event);
        events.push(event);
        assert!(events.len() < 300, "the story never ends: {events:?}");
    }
}

/// What must hold before a commit is even tried, read off the events alone.
fn check_command(events: &[StoryEvent], command: &Command) {
    let Command::Commit { attempt } = command else { return };
    let program = events.iter().find_map(|e| match e {
        StoryEvent::Proposal(p) if p.attempt == *attempt => p.patch().map(|p| p.program().to_owned()),
        _ => None,
    });
    let passed = events.iter().any(
        |e| matches!(e, StoryEvent::Verdict { patch, measured, .. } if shape(patch) == program && measured.passes()),
    );
    let approved = events.iter().any(
        |e| matches!(e, StoryEvent::GateDecided { decision: GateDecision::Approved, attempt: a, .. } if a == attempt),
    );
    assert!(passed && approved, "commit of {attempt}: passed {passed}, approved {approved}");
}

fn refold(approve: Approve, events: &[StoryEvent]) -> StoryCore {
    let mut core = StoryCore::new(limits(approve));
    events.iter().for_each(|e| core.apply(e));
    core
}

proptest! {
    #[test]
    fn any_interleaving_of_outcomes_ends_and_commits_only_what_passed_and_was_approved(
        tape in proptest::collection::vec(any::<u8>(), 1..200), auto in any::<bool>()
    ) {
        let approve = if auto { Approve::PolicyAuto } else { Approve::Ask };
        let events = play(approve, tape);
        let Some(StoryEvent::Ended { success, .. }) = events.last() else { panic!("no end") };
        let commits = events.iter().filter(|e| matches!(e, StoryEvent::Committed { .. })).count();
        prop_assert_eq!(*success, commits == 1);
    }

    #[test]
    fn folding_any_prefix_again_issues_the_same_commands(
        tape in proptest::collection::vec(any::<u8>(), 1..200)
    ) {
        let events = play(Approve::Ask, tape);
        let mut live = StoryCore::new(limits(Approve::Ask));
        for n in 0..events.len() {
            prop_assert_eq!(live.next(), refold(Approve::Ask, &events[..n]).next());
            live.apply(&events[n]);
        }
        prop_assert!(live.next().is_empty());
    }

    #[test]
    fn no_program_is_verified_twice(tape in proptest::collection::vec(any::<u8>(), 1..200)) {
        let mut seen = BTreeSet::new();
        for event in play(Approve::Ask, tape) {
            if let StoryEvent::Verdict { patch, .. } = event {
                prop_assert!(seen.insert(shape(&patch)));
            }
        }
    }
}

fn attempts(measured: Vec<Measured>) -> BTreeMap<u32, Attempt> {
    let slot = |attempt| Slot {
        attempt,
        round: 0,
        place: attempt,
        candidate: 0,
        nth: attempt,
        repairs: None,
        builds_on: None,
        form: Form::Function,
    };
    (0..)
        .zip(measured)
        .map(|(n, m)| {
            let StoryEvent::Proposal(proposal) = proposal(&slot(n), Some(n.to_string())) else { unreachable!() };
            (n, Attempt { proposal, verdict: Some(m), executed: Some(n), further: None })
        })
        .collect()
}

fn passing(lines_changed: u32) -> Measured {
    Measured { applies: true, builds: true, target_fixed: true, passed: 5, lines_changed, ..Measured::default() }
}

#[test]
fn the_smallest_change_that_passes_wins_and_says_why() {
    let breaks = Measured { newly_failing: vec!["t".into()], ..passing(1) };
    let cheats = Measured { touched_protected: vec!["test_a.py".into()], ..passing(1) };
    let standing = rank(&attempts(vec![cheats, breaks, passing(9), passing(2), passing(2)]));
    let places: Vec<u32> = standing.places.iter().map(|p| p.attempt).collect();
    assert_eq!(places, [3, 4, 2, 1, 0]);
    assert_eq!(standing.winner, Some(3));
    assert!(standing.places[1].reason.contains("equal in everything, and later"));
    assert!(standing.places[2].reason.contains("9 lines changed against 2"));
    assert!(standing.places[3].reason.contains("1 newly failing against 0"));
    assert!(standing.places[4].reason.contains("disqualified, it touched test_a.py"));
}

#[test]
fn without_a_passing_attempt_there_is_a_best_one_but_no_winner() {
    let close = Measured { target_fixed: false, ..passing(1) };
    let standing = rank(&attempts(vec![Measured::default(), close]));
    assert_eq!(standing.winner, None);
    assert_eq!(standing.places[0].attempt, 1);
    assert!(standing.reason.contains("none passes; the best, attempt 1"));
}

/// A story whose base fails, with suspects of these points.
fn begun(limits: Limits, scores: &[u32]) -> StoryCore {
    let candidates = (0..).zip(scores).map(|(i, score)| suspect(i, *score)).collect();
    let mut core = StoryCore::new(limits);
    core.apply(&accepted());
    core.apply(&baseline(BaselineOutcome::Failing));
    core.apply(&StoryEvent::Localised { candidates, considered: 9 });
    core
}

/// Who each slot of a wave is about.
fn about(core: &StoryCore, wave: u32) -> Vec<u32> {
    core.slots(wave).iter().map(|s| s.candidate).collect()
}

/// Plays a wave: what each slot proposes, and what is seen of it.
fn wave(core: &mut StoryCore, n: u32, of: impl Fn(&Slot) -> Option<(String, Measured)>) {
    for slot in core.slots(n) {
        let what = of(&slot);
        core.apply(&proposal(&slot, what.as_ref().map(|(digest, _)| digest.clone())));
        if let Some((digest, measured)) = what {
            core.apply(&verdict(slot.attempt, &digest, measured));
        }
    }
    let Standing { places, winner, reason } = core.standing();
    core.apply(&StoryEvent::Ranked { round: n, places, winner, reason });
}

#[test]
fn when_the_budget_is_used_up_the_missing_proposals_are_forgone() {
    let mut core = begun(Limits { max_tokens: 450, first: vec![], ..limits(Approve::Ask) }, &[1, 1]);
    for event in [
        StoryEvent::Phase { phase: Phase::Design, round: 0 },
        design(),
        plan(None),
        StoryEvent::Phase { phase: Phase::Build, round: 0 },
    ] {
        core.apply(&event);
    }
    let Command::Propose(first) = core.next()[0] else { panic!("{:?}", core.next()) };
    core.apply(&proposal(&first, Some("1".into())));
    let (forgone, others): (Vec<Command>, Vec<Command>) =
        core.next().into_iter().partition(|c| matches!(c, Command::Forgo(_)));
    assert_eq!((forgone.len(), others), (2, vec![Command::Verify { attempt: 0 }]));
}

#[test]
fn waves_grow_and_the_architect_is_asked_only_after_cheap_tries_failed() {
    let mut core = begun(limits(Approve::Ask), &[1, 1]);
    assert_eq!([0, 1, 2, 3, 4].map(|w| core.slots(w).len()), [1, 2, 3, 1, 0]);
    core.apply(&StoryEvent::Phase { phase: Phase::Build, round: 0 });
    assert!(matches!(core.next()[..], [Command::Propose(Slot { attempt: 0, nth: 0, .. })]), "{:?}", core.next());
    wave(&mut core, 0, |_| None);
    assert_eq!(core.next(), [Command::Enter { phase: Phase::Design, round: 1 }]);
    core.apply(&StoryEvent::Phase { phase: Phase::Design, round: 1 });
    assert_eq!(core.next(), [Command::Design]);
    // One that passed at once never gets there.
    let mut core = begun(limits(Approve::Ask), &[1, 1]);
    wave(&mut core, 0, |_| Some(("1".into(), passing(1))));
    assert_eq!(core.next(), [Command::OpenGate { attempt: 0, asked: Asked::Commit }]);
}

#[test]
fn a_refused_plan_is_no_reason_to_give_up() {
    let mut core = begun(limits(Approve::Ask), &[1, 1]);
    wave(&mut core, 0, |_| None);
    core.apply(&design());
    core.apply(&plan(Some("2 tasks".into())));
    assert_eq!(core.next(), [Command::Enter { phase: Phase::Build, round: 1 }]);
}

#[test]
fn a_repair_answers_a_run_and_begins_afresh_where_there_was_none() {
    let mut core = begun(Limits { first: vec![], wave: 4, proposals: 12, ..limits(Approve::Ask) }, &[1, 1]);
    assert_eq!(about(&core, 0), [0, 1, 0, 1]);
    let fails = Measured { target_fixed: false, ..passing(1) };
    // Attempt 2 comes to the same program as 0, in another layout; about the other function nothing comes.
    wave(&mut core, 0, |s| match s.attempt {
        0 => Some(("1".into(), fails.clone())),
        2 => Some(("1b".into(), fails.clone())),
        _ => None,
    });
    assert_eq!(core.attempts()[&2].executed, Some(0));
    let tries: Vec<(u32, u32, Option<u32>)> = core.slots(1).iter().map(|s| (s.candidate, s.nth, s.repairs)).collect();
    assert_eq!(tries, [(0, 2, None), (0, 3, Some(0)), (0, 4, None), (1, 2, None)]);
    // What was answered once isn't answered again.
    wave(&mut core, 1, |_| None);
    assert!(core.slots(2).iter().all(|s| s.repairs.is_none()), "{:?}", core.slots(2));
}

#[test]
fn proposals_move_to_the_function_where_a_change_got_somewhere() {
    let mut core = begun(Limits { first: vec![], wave: 4, proposals: 12, ..limits(Approve::Ask) }, &[1, 1]);
    let nothing = Measured { target_fixed: false, ..passing(1) };
    let something = Measured { newly_passing: vec!["t".into()], newly_failing: vec!["u".into()], ..nothing.clone() };
    wave(&mut core, 0, |s| match s.candidate {
        0 => Some((s.attempt.to_string(), nothing.clone())),
        _ => Some((s.attempt.to_string(), something.clone())),
    });
    assert_eq!(about(&core, 1), [1, 1, 1, 1]);
}

#[test]
fn what_got_somewhere_is_kept_and_added_to_elsewhere() {
    let limits = Limits { first: vec![2], wave: 8, proposals: 12, ..limits(Approve::Ask) };
    let mut core = begun(limits, &[3, 2]);
    let half = Measured { newly_passing: vec!["t".into()], target_fixed: false, ..passing(1) };
    wave(&mut core, 0, |s| (s.candidate == 0).then(|| ("1".into(), half.clone())));
    let slots = core.slots(1);
    let adding: Vec<&Slot> = slots.iter().filter(|s| s.builds_on.is_some()).collect();
    assert!(matches!(adding[..], [Slot { candidate: 1, builds_on: Some(0), repairs: None, .. }]), "{slots:?}");
}

#[test]
fn every_third_try_is_written_in_the_other_form() {
    let core = begun(Limits { pool: true, proposals: 6, ..limits(Approve::Ask) }, &[1]);
    let forms: Vec<bool> = core.slots(0).iter().map(|s| s.form == Form::File).collect();
    assert_eq!(forms, [false, false, true, false, false, true]);
}

#[test]
fn it_ends_early_when_nothing_new_comes() {
    let mut core = begun(Limits { first: vec![], wave: 16, proposals: 64, ..limits(Approve::PolicyAuto) }, &[1, 1]);
    let fails = Measured { target_fixed: false, ..passing(1) };
    wave(&mut core, 0, |_| Some(("1".into(), fails.clone())));
    assert!(!matches!(core.next()[..], [Command::End { .. }]), "{:?}", core.next());
    wave(&mut core, 1, |_| Some(("1".into(), fails.clone())));
    let [Command::End { success: false, summary, .. }] = &core.next()[..] else { panic!("{:?}", core.next()) };
    assert!(summary.contains("1 different programs") && summary.contains("nothing new"), "{summary}");
}

#[test]
fn a_person_may_let_it_go_on_when_nothing_passed() {
    let limits = Limits { first: vec![], wave: 3, proposals: 3, design_after: 9, ..limits(Approve::Ask) };
    let mut core = begun(limits, &[1, 1]);
    let fails = Measured { target_fixed: false, ..passing(1) };
    wave(&mut core, 0, |s| Some((s.attempt.to_string(), fails.clone())));
    let [Command::OpenGate { attempt, asked: Asked::GoOn }] = core.next()[..] else { panic!("{:?}", core.next()) };
    core.apply(&opened(attempt, Asked::GoOn));
    assert_eq!(core.next(), [Command::AwaitGate { gate: "g".into() }]);
    let mut refused = core.clone();
    core.apply(&decided(attempt, GateDecision::Approved, "anna"));
    assert_eq!(core.next(), [Command::Enter { phase: Phase::Build, round: 1 }]);
    assert_eq!(core.slots(1).iter().map(|s| s.attempt).collect::<Vec<_>>(), [3, 4, 5]);
    refused.apply(&decided(attempt, GateDecision::Rejected, "anna"));
    let [Command::End { success: false, summary, .. }] = &refused.next()[..] else { panic!("{:?}", refused.next()) };
    assert!(summary.ends_with("not to go on was decided by anna: so"), "{summary}");
}

#[test]
fn a_pool_makes_all_proposals_and_commits_none() {
    let mut core = begun(Limits { pool: true, proposals: 6, ..limits(Approve::Ask) }, &[2, 1]);
    assert_eq!(about(&core, 0), [0, 1, 0, 0, 1, 0]);
    assert!(core.slots(0).iter().all(|s| s.repairs.is_none()));
    wave(&mut core, 0, |s| Some((s.attempt.to_string(), passing(1))));
    let [Command::End { success: true, summary, .. }] = &core.next()[..] else { panic!("{:?}", core.next()) };
    assert_eq!(summary, "a pool of 6 attempts, 6 of them with a change, 6 different programs: 6 pass");
}

#[test]
fn where_runs_can_not_tell_agreement_does() {
    let slot = |attempt| Slot {
        attempt,
        round: 0,
        place: attempt,
        candidate: 0,
        nth: attempt,
        repairs: None,
        builds_on: None,
        form: Form::Function,
    };
    let mut all = attempts(vec![passing(1), passing(5)]);
    let StoryEvent::Proposal(proposal) = proposal(&slot(2), Some("1b".into())) else { unreachable!() };
    all.insert(2, Attempt { proposal, verdict: Some(passing(6)), executed: Some(1), further: None });
    let standing = rank(&all);
    assert_eq!(standing.winner, Some(1));
    assert!(standing.places[0].reason.contains("2 attempts came to it"), "{standing:?}");
    assert!(standing.places[2].reason.contains("fewer attempts came to it, 1 against 2"), "{standing:?}");
}

#[test]
fn rivals_are_told_apart_by_what_they_agree_on() {
    let mut core = begun(Limits { first: vec![], wave: 3, proposals: 3, ..limits(Approve::Ask) }, &[1]);
    wave(&mut core, 0, |s| Some((s.attempt.to_string(), passing(s.attempt + 1))));
    assert_eq!(core.best(), Some(0));
    assert_eq!(core.next(), [Command::Probe]);
    core.apply(&probes(true));
    let open = core.next();
    assert_eq!(open, [0, 1, 2].map(|attempt| Command::Examine { attempt }));
    core.apply(&examined(0, vec!["a".into()]));
    core.apply(&examined(1, vec!["a".into(), "b".into()]));
    core.apply(&examined(2, vec!["a".into(), "b".into()]));
    assert_eq!(core.next(), [Command::Rank { round: 0 }]);
    let Standing { places, winner, reason } = core.standing();
    assert_eq!(winner, Some(1));
    assert!(reason.contains("agreement on further tests 4"), "{reason}");
    core.apply(&StoryEvent::Ranked { round: 0, places, winner, reason });
    assert_eq!(core.next(), [Command::OpenGate { attempt: 1, asked: Asked::Commit }]);
    // Without any that can be used, the order stands as it was.
    let mut core = begun(Limits { first: vec![], wave: 3, proposals: 3, ..limits(Approve::Ask) }, &[1]);
    wave(&mut core, 0, |s| Some((s.attempt.to_string(), passing(s.attempt + 1))));
    core.apply(&probes(false));
    assert_eq!(core.next(), [Command::OpenGate { attempt: 0, asked: Asked::Commit }]);
}

#[test]
fn a_change_with_the_tests_own_values_stands_behind_and_never_wins() {
    let special = Measured { special_cased: vec!["37".into()], ..passing(1) };
    let standing = rank(&attempts(vec![special.clone(), passing(9)]));
    assert_eq!(standing.winner, Some(1));
    assert!(standing.places[1].reason.contains("special-cased for the tests' own 37"), "{standing:?}");
    assert_eq!(rank(&attempts(vec![special])).winner, None);
}

#[test]
fn what_was_rejected_ends_with_who_and_why() {
    let events = play(Approve::Ask, vec![2; 1]);
    let told = events.iter().any(|e| matches!(e, StoryEvent::Ended { .. }));
    assert!(told);
    let mut core = StoryCore::new(limits(Approve::Ask));
    core.accepted = true;
    core.baseline = Some((BaselineOutcome::Failing, String::new()));
    core.apply(&localised(1));
    core.ranked = Some((0, Some(0)));
    core.apply(&decided(0, GateDecision::Rejected, "anna"));
    core.apply(&decided(0, GateDecision::Approved, "boris"));
    let [Command::End { success: false, summary, .. }] = &core.next()[..] else { panic!() };
    assert_eq!(summary, "rejected by anna: so");
}

#[test]
fn a_suspect_that_little_speaks_against_gets_no_proposal_at_first() {
    let limits = || Limits { first: vec![3], ..limits(Approve::Ask) };
    assert_eq!(about(&begun(limits(), &[12, 3, 2]), 0), [0, 0, 1]);
    let mut core = begun(limits(), &[12, 2, 2]);
    assert_eq!(about(&core, 0), [0, 0, 0]);
    wave(&mut core, 0, |_| None);
    assert!(about(&core, 1).contains(&1), "{:?}", about(&core, 1));
}
