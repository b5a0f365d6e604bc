//! The decisions of a supervisor: pure, driven by what happened and when.
//!
//! A child is up, stopping (because a sibling's end takes it along) or waiting for its start.
//! Every wait has a ticket; a start that is due under an older ticket has been overtaken by
//! another incident and is dropped.

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::{Restart, Strategy, SupervisorOptions};

/// Names a child within its supervisor; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildKey(pub u64);

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It stopped in good order.
    Normal,
    /// Its handler failed or panicked, or it didn't start.
    Failed(String),
    /// It was killed.
    Killed,
}

/// What the supervisor is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End this child in good order; its exit will be reported.
    Stop(ChildKey),
    /// After this delay ask [`SupervisorCore::due`] who is to be started under this ticket.
    StartAfter { ticket: u64, after: Duration },
    /// The child has ended for good.
    Forget(ChildKey),
    /// The child has used up its restarts and ends for good, alone.
    GiveUp(ChildKey, String),
    /// Give up: end all children, then fail with this reason.
    Escalate(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Stopping,
    /// To be started; `None` until a ticket says when.
    Waiting(Option<u64>),
}

#[derive(Debug)]
struct Child {
    key: ChildKey,
    restart: Restart,
    state: State,
    up_since: Duration,
    /// In a row, without a long life between.
    failures: u32,
    /// Its restarts, where each child has its own account.
    restarts: VecDeque<Duration>,
}

/// Decides for the children of one parent. Times are counted from the supervisor's start.
#[derive(Debug)]
pub struct SupervisorCore {
    options: SupervisorOptions,
    /// In the order in which they were added, which is the order of starts and of keys. There may be very many.
    children: Vec<Child>,
    restarts: VecDeque<Duration>,
    last_ticket: u64,
    /// The delay of the group restart that waits for the last child to stop.
    pending: Duration,
}

impl SupervisorCore {
    pub fn new(options: SupervisorOptions) -> Self {
        Self { options, children: Vec::new(), restarts: VecDeque::new(), last_ticket: 0, pending: Duration::ZERO }
    }

    /// A new child, already up. Its key is greater than any before.
    pub fn add(&mut self, key: ChildKey, restart: Restart, now: Duration) {
        let restarts = VecDeque::new();
        self.children.push(Child { key, restart, state: State::Up, up_since: now, failures: 0, restarts });
    }

    /// Somebody ends this child on purpose; it won't be restarted, nor its exit reported.
    pub fn remove(&mut self, key: ChildKey) -> Vec<Command> {
        if let Some(at) = self.position(key) {
            self.children.remove(at);
        }
        self.start_when_all_down()
    }

    /// Whether this child is to be up now.
    pub fn is_up(&self, key: ChildKey) -> bool {
        self.position(key).is_some_and(|at| self.children[at].state == State::Up)
    }

    pub fn children(&self) -> impl Iterator<Item = ChildKey> {
        self.children.iter().map(|c| c.key)
    }

    /// A child has ended.
    pub fn on_exit(&mut self, key: ChildKey, exit: &Exit, now: Duration) -> Vec<Command> {
        let Some(at) = self.position(key) else {
            return Vec::new();
        };
        match self.children[at].state {
            State::Up if self.children[at].wants_restart(exit) => self.incident(at, exit, now),
            State::Up => self.forget(at),
            State::Stopping if self.children[at].restart == Restart::Temporary => {
                let mut commands = self.forget(at);
                commands.extend(self.start_when_all_down());
                commands
            }
            State::Stopping => {
                self.children[at].state = State::Waiting(None);
                self.start_when_all_down()
            }
            // It had not been started: nothing that can have ended.
            State::Waiting(_) => Vec::new(),
        }
    }

    /// Who is to be started under this ticket, in order. Ask again before each.
    pub fn due(&self, ticket: u64) -> Vec<ChildKey> {
        let due = |c: &&Child| c.state == State::Waiting(Some(ticket));
        self.children.iter().filter(due).map(|c| c.key).collect()
    }

    /// A child that was due is up.
    pub fn on_started(&mut self, key: ChildKey, now: Duration) {
        if let Some(at) = self.position(key) {
            self.children[at].state = State::Up;
            self.children[at].up_since = now;
        }
    }

    /// A child that was due didn't start: the same as if it had started and failed at once.
    pub fn on_start_failed(&mut self, key: ChildKey, why: &str, now: Duration) -> Vec<Command> {
        self.on_started(key, now);
        self.on_exit(key, &Exit::Failed(why.to_owned()), now)
    }

    fn incident(&mut self, at: usize, exit: &Exit, now: Duration) -> Vec<Command> {
        if let Some(reason) = self.one_too_many(at, exit, now) {
            return match self.options.strategy {
                Strategy::EachForItself => vec![Command::GiveUp(self.children.remove(at).key, reason)],
                _ => vec![Command::Escalate(reason)],
            };
        }
        let delay = self.delay(at, now);
        self.children[at].state = State::Waiting(None);
        match self.options.strategy {
            Strategy::OneForOne | Strategy::EachForItself => {
                let ticket = self.next_ticket();
                self.children[at].state = State::Waiting(Some(ticket));
                vec![Command::StartAfter { ticket, after: delay }]
            }
            Strategy::OneForAll => self.take_along(0, delay),
            Strategy::RestForOne => self.take_along(at, delay),
        }
    }

    /// Stops those from `first` on that are up, youngest first; starts all when the last is down.
    fn take_along(&mut self, first: usize, delay: Duration) -> Vec<Command> {
        let mut commands = Vec::new();
        for child in self.children[first..].iter_mut().rev() {
            match child.state {
                State::Up => {
                    child.state = State::Stopping;
                    commands.push(Command::Stop(child.key));
                }
                State::Stopping => {}
                State::Waiting(_) => child.state = State::Waiting(None),
            }
        }
        self.pending = self.pending.max(delay);
        commands.extend(self.start_when_all_down());
        commands
    }

    fn start_when_all_down(&mut self) -> Vec<Command> {
        if let Strategy::OneForOne | Strategy::EachForItself = self.options.strategy {
            // Nobody waits for anybody else.
            return Vec::new();
        }
        let stopping = self.children.iter().any(|c| c.state == State::Stopping);
        let waiting = self.children.iter().any(|c| c.state == State::Waiting(None));
        if stopping || !waiting {
            return Vec::new();
        }
        // One ticket for all that wait, so that they start together and in order.
        let ticket = self.next_ticket();
        for child in &mut self.children {
            if matches!(child.state, State::Waiting(_)) {
                child.state = State::Waiting(Some(ticket));
            }
        }
        let after = std::mem::take(&mut self.pending);
        vec![Command::StartAfter { ticket, after }]
    }

    /// Counts this restart; the reason to give up, if it is one too many.
    fn one_too_many(&mut self, at: usize, exit: &Exit, now: Duration) -> Option<String> {
        let within = self.options.intensity.within;
        let restarts = match self.options.strategy {
            Strategy::EachForItself => &mut self.children[at].restarts,
            _ => &mut self.restarts,
        };
        while restarts.front().is_some_and(|then| now.saturating_sub(*then) > within) {
            restarts.pop_front();
        }
        restarts.push_back(now);
        let max = self.options.intensity.max_restarts as usize;
        (restarts.len() > max).then(|| {
            let key = self.children[at].key.0;
            format!("more than {max} restarts within {within:?}; last: child {key} {exit}")
        })
    }

    fn delay(&mut self, at: usize, now: Duration) -> Duration {
        let child = &mut self.children[at];
        if now.saturating_sub(child.up_since) >= self.options.intensity.within {
            child.failures = 0;
        }
        child.failures = child.failures.saturating_add(1);
        self.options.backoff.after(child.failures)
    }

    fn forget(&mut self, at: usize) -> Vec<Command> {
        vec![Command::Forget(self.children.remove(at).key)]
    }

    fn next_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    fn position(&self, key: ChildKey) -> Option<usize> {
        self.children.binary_search_by_key(&key, |child| child.key).ok()
    }
}

impl Child {
    fn wants_restart(&self, exit: &Exit) -> bool {
        match self.restart {
            Restart::Permanent => true,
            Restart::Transient => *exit != Exit::Normal,
            Restart::Temporary => false,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Normal => f.write_str("ended"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Killed => f.write_str("was killed"),
        }
    }
}
