//! Notices that an agent goes in circles: the same call with the same result, or a short cycle of such.

use std::collections::VecDeque;

use super::{ToolCall, ToolResult};

/// Longest cycle that is looked for.
const PERIOD: usize = 3;

/// Watches the calls of one agent. Decides by their content alone, so the same calls always give the same signs.
#[derive(Debug, Clone)]
pub struct LoopGuard {
    window: VecDeque<blake3::Hash>,
    repeats: usize,
}

/// What the guard has noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoopSign {
    /// Nothing.
    Fine,
    /// The agent begins to repeat itself: tell it.
    Repeating(String),
    /// It has been told and still does: stop it.
    Stuck(String),
}

impl Default for LoopGuard {
    fn default() -> Self {
        Self::new(3)
    }
}

impl LoopGuard {
    /// Stuck means that a cycle was gone through `repeats` times (at least 2).
    pub fn new(repeats: usize) -> Self {
        Self { window: VecDeque::new(), repeats: repeats.max(2) }
    }

    /// Takes one call and its result into account.
    pub fn observe(&mut self, call: &ToolCall, result: &ToolResult) -> LoopSign {
        self.window.push_back(digest(call, result));
        if self.window.len() > PERIOD * self.repeats {
            self.window.pop_front();
        }
        let cycle = (1..=PERIOD).map(|period| (period, self.rounds(period))).find(|(_, rounds)| *rounds >= 2);
        match cycle {
            None => LoopSign::Fine,
            Some((period, rounds)) => {
                let what = match period {
                    1 => format!("the same call of {} gave the same result {rounds} times", call.tool),
                    _ => format!("the same {period} calls gave the same results {rounds} times"),
                };
                if rounds >= self.repeats {
                    LoopSign::Stuck(what)
                } else {
                    LoopSign::Repeating(format!("{what}; try something else"))
                }
            }
        }
    }

    /// How often the last `period` calls were made in a row, the last time included.
    fn rounds(&self, period: usize) -> usize {
        let calls: Vec<_> = self.window.iter().rev().collect();
        if calls.len() < period {
            return 0;
        }
        let cycle = &calls[..period];
        // A cycle that consists of one call only is found with period 1.
        if period > 1 && cycle.iter().all(|call| *call == cycle[0]) {
            return 0;
        }
        calls.chunks_exact(period).take_while(|round| *round == cycle).count()
    }
}

fn digest(call: &ToolCall, result: &ToolResult) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    // Lengths in front, so that no two different triples are the same bytes.
    for part in [call.tool.as_str(), &call.args.to_string(), &result.text] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn observe(guard: &mut LoopGuard, tool: &str, text: &str) -> LoopSign {
        guard.observe(&ToolCall::new(tool, json!({})), &ToolResult::said(text))
    }

    #[test]
    fn the_same_call_with_the_same_result_is_a_loop() {
        let mut guard = LoopGuard::default();
        assert_eq!(observe(&mut guard, "read", "a"), LoopSign::Fine);
        assert!(matches!(observe(&mut guard, "read", "a"), LoopSign::Repeating(_)));
        assert!(matches!(observe(&mut guard, "read", "a"), LoopSign::Stuck(_)));
    }

    #[test]
    fn the_same_call_with_another_result_is_progress() {
        let mut guard = LoopGuard::default();
        for n in 0..20 {
            assert_eq!(observe(&mut guard, "run_tests", &format!("{n} failed")), LoopSign::Fine);
        }
    }

    #[test]
    fn going_back_and_forth_is_a_loop() {
        let mut guard = LoopGuard::default();
        let signs: Vec<_> = (0..6).map(|n| observe(&mut guard, ["read", "write_file"][n % 2], "x")).collect();
        assert_eq!(signs[2], LoopSign::Fine);
        assert!(matches!(signs[3], LoopSign::Repeating(_)));
        assert!(matches!(signs[5], LoopSign::Stuck(_)));
    }
}
