#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
// The trait has the name of our enum.
use proptest::strategy::Strategy as Generate;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn core(strategy: Strategy, children: &[Restart]) -> SupervisorCore {
    let mut core = SupervisorCore::new(SupervisorOptions { strategy, ..Default::default() });
    for (n, restart) in children.iter().enumerate() {
        core.add(ChildKey(n as u64), *restart, Duration::ZERO);
    }
    core
}

fn failed() -> Exit {
    Exit::Failed("test".into())
}

fn start_after(commands: &[Command]) -> (u64, Duration) {
    match commands.last() {
        Some(Command::StartAfter { ticket, after }) => (*ticket, *after),
        other => panic!("no start is planned: {other:?}"),
    }
}

use Restart::{Permanent, Temporary, Transient};

#[test]
fn one_for_one_restarts_only_the_one_that_failed() {
    let mut core = core(Strategy::OneForOne, &[Permanent, Permanent, Permanent]);
    let commands = core.on_exit(ChildKey(1), &failed(), SECOND);
    let (ticket, _) = start_after(&commands);
    assert_eq!(commands.len(), 1);
    assert_eq!(core.due(ticket), [ChildKey(1)]);
}

#[test]
fn one_for_all_stops_the_others_youngest_first_and_starts_all_in_order() {
    let mut core = core(Strategy::OneForAll, &[Permanent, Permanent, Permanent]);
    let commands = core.on_exit(ChildKey(1), &failed(), SECOND);
    assert_eq!(commands, [Command::Stop(ChildKey(2)), Command::Stop(ChildKey(0))]);
    assert_eq!(core.on_exit(ChildKey(2), &Exit::Normal, SECOND), []);
    let (ticket, _) = start_after(&core.on_exit(ChildKey(0), &Exit::Normal, SECOND));
    assert_eq!(core.due(ticket), [ChildKey(0), ChildKey(1), ChildKey(2)]);
}

#[test]
fn rest_for_one_takes_along_only_those_started_later() {
    let mut core = core(Strategy::RestForOne, &[Permanent, Permanent, Permanent]);
    let commands = core.on_exit(ChildKey(1), &failed(), SECOND);
    assert_eq!(commands, [Command::Stop(ChildKey(2))]);
    let (ticket, _) = start_after(&core.on_exit(ChildKey(2), &Exit::Normal, SECOND));
    assert_eq!(core.due(ticket), [ChildKey(1), ChildKey(2)]);
    assert!(core.is_up(ChildKey(0)));
}

#[test]
fn a_transient_child_is_restarted_after_a_failure_and_forgotten_after_a_good_end() {
    let mut core = core(Strategy::OneForOne, &[Transient, Transient]);
    start_after(&core.on_exit(ChildKey(0), &Exit::Killed, SECOND));
    let forget = core.on_exit(ChildKey(1), &Exit::Normal, SECOND);
    assert_eq!(forget, [Command::Forget(ChildKey(1))]);
}

#[test]
fn a_temporary_child_that_a_sibling_takes_along_does_not_come_back() {
    let mut core = core(Strategy::OneForAll, &[Permanent, Temporary]);
    assert_eq!(core.on_exit(ChildKey(0), &failed(), SECOND), [Command::Stop(ChildKey(1))]);
    let commands = core.on_exit(ChildKey(1), &Exit::Normal, SECOND);
    assert_eq!(commands[0], Command::Forget(ChildKey(1)));
    assert_eq!(core.due(start_after(&commands).0), [ChildKey(0)]);
}

#[test]
fn a_start_that_another_incident_has_overtaken_is_not_due_any_more() {
    let mut core = core(Strategy::OneForAll, &[Permanent, Permanent]);
    core.on_exit(ChildKey(0), &failed(), SECOND);
    let (first, _) = start_after(&core.on_exit(ChildKey(1), &Exit::Normal, SECOND));
    core.on_started(ChildKey(0), SECOND);
    let commands = core.on_start_failed(ChildKey(1), "no luck", SECOND);
    assert_eq!(commands, [Command::Stop(ChildKey(0))]);
    assert_eq!(core.due(first), []);
}

#[test]
fn delays_double_up_to_the_limit_and_begin_anew_after_a_long_life() {
    let mut core = core(Strategy::OneForOne, &[Permanent]);
    let backoff = Backoff::default();
    let mut delays = Vec::new();
    for n in 0..3 {
        let (ticket, after) = start_after(&core.on_exit(ChildKey(0), &failed(), SECOND * n));
        assert_eq!(core.due(ticket).len(), 1);
        core.on_started(ChildKey(0), SECOND * n);
        delays.push(after);
    }
    assert_eq!(delays, [backoff.initial, backoff.initial * 2, backoff.initial * 4]);
    assert_eq!(backoff.after(40), backoff.max);
    let (_, after) = start_after(&core.on_exit(ChildKey(0), &failed(), SECOND * 3600));
    assert_eq!(after, backoff.initial);
}

#[test]
fn the_restart_that_is_one_too_many_escalates_with_the_last_reason() {
    let mut core = core(Strategy::OneForOne, &[Permanent]);
    let max = Intensity::default().max_restarts;
    for _ in 0..max {
        start_after(&core.on_exit(ChildKey(0), &failed(), SECOND));
        core.on_started(ChildKey(0), SECOND);
    }
    let commands = core.on_exit(ChildKey(0), &failed(), SECOND);
    assert!(matches!(&commands[..], [Command::Escalate(why)] if why.contains("failed: test")));
}

/// A driver that does what the core says, with chance deciding who fails next.
struct Model {
    core: SupervisorCore,
    now: Duration,
    up: BTreeSet<ChildKey>,
    restart: BTreeMap<ChildKey, Restart>,
    forgotten: BTreeSet<ChildKey>,
    timers: Vec<u64>,
    incidents: Vec<Duration>,
    given_up: BTreeSet<ChildKey>,
    escalated: bool,
}

impl Model {
    fn new(strategy: Strategy, children: &[Restart]) -> Self {
        let keys: Vec<_> = (0..children.len() as u64).map(ChildKey).collect();
        Self {
            core: core(strategy, children),
            now: Duration::ZERO,
            up: keys.iter().copied().collect(),
            restart: keys.iter().copied().zip(children.iter().copied()).collect(),
            forgotten: BTreeSet::new(),
            timers: Vec::new(),
            incidents: Vec::new(),
            given_up: BTreeSet::new(),
            escalated: false,
        }
    }

    fn exit(&mut self, key: ChildKey, exit: &Exit) {
        if self.up.remove(&key) {
            let commands = self.core.on_exit(key, exit, self.now);
            self.obey(commands);
        }
    }

    fn obey(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Stop(key) => {
                    assert!(self.up.contains(&key), "only what is up is stopped");
                    self.exit(key, &Exit::Normal);
                }
                Command::StartAfter { ticket, .. } => self.timers.push(ticket),
                Command::Forget(key) => assert!(self.forgotten.insert(key), "forgotten once"),
                Command::GiveUp(key, _) => assert!(self.forgotten.insert(key) && self.given_up.insert(key)),
                Command::Escalate(_) => self.escalated = true,
            }
        }
    }

    fn fire_timers(&mut self, start_fails: bool) {
        for ticket in std::mem::take(&mut self.timers) {
            let mut fails = start_fails;
            while let Some(key) = self.core.due(ticket).first().copied() {
                assert!(!self.forgotten.contains(&key), "what is forgotten never starts again");
                if std::mem::take(&mut fails) {
                    self.incidents.push(self.now);
                    let commands = self.core.on_start_failed(key, "start", self.now);
                    self.obey(commands);
                } else {
                    assert!(self.up.insert(key), "nothing is started twice");
                    self.core.on_started(key, self.now);
                }
                if self.escalated {
                    return;
                }
            }
        }
    }
}

fn any_restart() -> impl Generate<Value = Restart> {
    prop_oneof![Just(Permanent), Just(Transient), Just(Temporary)]
}

fn any_strategy() -> impl Generate<Value = Strategy> {
    let one = Just(Strategy::OneForOne);
    prop_oneof![one, Just(Strategy::OneForAll), Just(Strategy::RestForOne), Just(Strategy::EachForItself)]
}

proptest! {
    /// Whatever fails in whatever order, once the timers have fired everyone who should be up is.
    #[test]
    fn what_is_to_be_up_comes_up_again_unless_it_gave_up(
        strategy in any_strategy(),
        children in prop::collection::vec(any_restart(), 1..6),
        script in prop::collection::vec((0u64..6, 0u8..3, 0u64..20, any::<bool>()), 0..40),
    ) {
        let mut model = Model::new(strategy, &children);
        for (who, how, seconds, start_fails) in script {
            model.now += SECOND * u32::try_from(seconds).unwrap();
            let exit = match how { 0 => Exit::Normal, 1 => failed(), _ => Exit::Killed };
            model.exit(ChildKey(who), &exit);
            if model.escalated { break; }
            model.fire_timers(start_fails);
            if model.escalated { break; }
        }
        if !model.escalated {
            while !model.timers.is_empty() {
                model.now += Duration::from_secs(60);
                model.fire_timers(false);
            }
            for key in model.restart.keys() {
                prop_assert_eq!(model.up.contains(key), !model.forgotten.contains(key), "{:?}", key);
            }
            for (key, restart) in &model.restart {
                prop_assert!(*restart != Permanent || model.up.contains(key) || model.given_up.contains(key));
            }
        }
    }

    /// Within any period there are never more restarts than allowed.
    #[test]
    fn it_gives_up_rather_than_restart_too_often(
        strategy in any_strategy(),
        gaps in prop::collection::vec(0u64..15, 1..60),
    ) {
        let mut model = Model::new(strategy, &[Permanent, Permanent]);
        let limits = Intensity::default();
        let mut incidents: Vec<Duration> = Vec::new();
        for gap in gaps {
            model.now += SECOND * u32::try_from(gap).unwrap();
            incidents.push(model.now);
            model.exit(ChildKey(0), &failed());
            let recent = incidents.iter().filter(|t| model.now - **t <= limits.within).count();
            let one_too_many = recent > limits.max_restarts as usize;
            prop_assert_eq!(model.escalated || model.given_up.contains(&ChildKey(0)), one_too_many);
            // Where each is for itself, the other lives on.
            prop_assert_eq!(model.escalated, one_too_many && strategy != Strategy::EachForItself);
            if one_too_many { break; }
            model.fire_timers(false);
        }
    }
}
