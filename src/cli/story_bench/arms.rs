//! What each arm makes of a story, computed from the recorded pool of independent proposals, or read off the team's own run.
//! Pure.
//!
//! An arm that uses several proposals takes them in a random order, without putting any back, as long as they fit into the
//! budget of tokens; the first one is taken in any case. Its figures are means over many such draws.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use crate::cli::args::Arm;

/// One proposal of a pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tried {
    pub tokens_in: f64,
    pub tokens_out: f64,
    pub seconds: f64,
    pub tool_runs: f64,
    /// What tells programs apart; none where nothing was changed.
    pub program: Option<String>,
    /// Lines changed.
    pub lines: u32,
    /// It passed the visible tests.
    pub passes: bool,
    /// It passed the hidden ones, too.
    pub right: bool,
}

impl Tried {
    fn tokens(&self) -> f64 {
        self.tokens_in + self.tokens_out
    }
}

/// What an arm does with a story and one seed, on average. The first three are between 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// It says that the story is done.
    pub declared: f64,
    /// It ends right: a change that passes the hidden tests; where nothing can or need be done, none.
    pub right: f64,
    /// It says that the story is done, and it isn't.
    pub false_success: f64,
    /// Proposals made.
    pub proposals: f64,
    pub tokens_in: f64,
    pub tokens_out: f64,
    pub seconds: f64,
    pub tool_runs: f64,
}

/// How an arm ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub declared: bool,
    /// The declared change passes the hidden tests.
    pub right: bool,
}

impl Figures {
    /// The figures of one end.
    pub fn of(end: End, solvable: bool) -> Self {
        let right = if solvable { end.declared && end.right } else { !end.declared };
        let number = |yes: bool| f64::from(u8::from(yes));
        Self {
            declared: number(end.declared),
            right: number(right),
            false_success: number(end.declared && !right),
            ..Self::default()
        }
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.all().into_iter().zip(other.values()) {
            *mine += theirs;
        }
    }

    fn divided(mut self, by: f64) -> Self {
        self.all().into_iter().for_each(|figure| *figure /= by);
        self
    }

    /// The mean of several.
    pub fn mean<'a>(of: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut sum, mut n) = (Self::default(), 0_u32);
        for figures in of {
            sum.add(figures);
            n += 1;
        }
        sum.divided(f64::from(n.max(1)))
    }

    fn all(&mut self) -> [&mut f64; 8] {
        let Self { declared, right, false_success, proposals, tokens_in, tokens_out, seconds, tool_runs } = self;
        [declared, right, false_success, proposals, tokens_in, tokens_out, seconds, tool_runs]
    }

    fn values(&self) -> [f64; 8] {
        let mut copy = *self;
        copy.all().map(|figure| *figure)
    }
}

/// How a pool is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draws {
    /// Tokens that an arm may use.
    pub budget: f64,
    pub draws: u32,
    pub solvable: bool,
}

/// What an arm would have come to. The team isn't drawn from a pool, so it has no figures here.
pub fn from_pool(arm: Arm, pool: &[Tried], how: Draws, dice: &mut Dice) -> Option<Figures> {
    let choose: fn(&[&Tried]) -> End = match arm {
        // Each proposal is as likely as the others, so there is nothing to be drawn.
        Arm::Single => {
            let each: Vec<Figures> = pool.iter().map(|tried| used(&[tried], first(&[tried]), how.solvable)).collect();
            return Some(if each.is_empty() { nothing(how.solvable) } else { Figures::mean(&each) });
        }
        Arm::Majority => majority,
        Arm::BestOfN => best,
        Arm::Fleet => return None,
    };
    if pool.is_empty() {
        return Some(nothing(how.solvable));
    }
    let mut order: Vec<&Tried> = pool.iter().collect();
    let draws = (0..how.draws.max(1)).map(|_| {
        let n = order.len();
        dice.draw(&mut order, n);
        let taken = &order[..fitting(&order, how.budget)];
        used(taken, choose(taken), how.solvable)
    });
    let draws: Vec<Figures> = draws.collect();
    Some(Figures::mean(&draws))
}

/// Nothing was proposed, because the base passes already or nothing could be begun with.
fn nothing(solvable: bool) -> Figures {
    Figures::of(End { declared: false, right: false }, solvable)
}

/// How many of these, in their order, fit into the budget; at least one.
fn fitting(order: &[&Tried], budget: f64) -> usize {
    let mut left = budget;
    let fit = order.iter().take_while(|tried| {
        left -= tried.tokens();
        left >= 0.0
    });
    fit.count().max(1)
}

fn used(taken: &[&Tried], end: End, solvable: bool) -> Figures {
    let sum = |each: fn(&Tried) -> f64| taken.iter().map(|tried| each(tried)).sum();
    Figures {
        proposals: taken.len() as f64,
        tokens_in: sum(|tried| tried.tokens_in),
        tokens_out: sum(|tried| tried.tokens_out),
        seconds: sum(|tried| tried.seconds),
        tool_runs: sum(|tried| tried.tool_runs),
        ..Figures::of(end, solvable)
    }
}

const NOT_DONE: End = End { declared: false, right: false };

/// The first one, if it passes.
fn first(taken: &[&Tried]) -> End {
    taken.first().map_or(NOT_DONE, |tried| End { declared: tried.passes, right: tried.right })
}

/// The smallest that passes; of equals the first.
fn best(taken: &[&Tried]) -> End {
    let passing = taken.iter().filter(|tried| tried.passes);
    passing.min_by_key(|tried| tried.lines).map_or(NOT_DONE, |tried| End { declared: true, right: tried.right })
}

/// The program that came most often; of equals the one that came first.
fn majority(taken: &[&Tried]) -> End {
    let mut votes: HashMap<&str, usize> = HashMap::new();
    for program in taken.iter().filter_map(|tried| tried.program.as_deref()) {
        *votes.entry(program).or_default() += 1;
    }
    let of = |tried: &Tried| tried.program.as_deref().and_then(|program| votes.get(program)).copied().unwrap_or(0);
    let most = taken.iter().rev().max_by_key(|tried| of(tried)).filter(|tried| of(tried) > 0);
    most.map_or(NOT_DONE, |tried| End { declared: true, right: tried.passes && tried.right })
}

/// How likely one of `n` proposals, drawn from `all` of which so many are right, is right: 1 − C(all−right, n) / C(all, n).
pub fn coverage(all: usize, right: usize, n: usize) -> f64 {
    let (n, wrong) = (n.min(all), all.saturating_sub(right));
    if n > wrong {
        return if right > 0 { 1.0 } else { 0.0 };
    }
    1.0 - (0..n).map(|k| (wrong - k) as f64 / (all - k) as f64).product::<f64>()
}

#[cfg(test)]
#[path = "arms_tests.rs"]
mod tests;
