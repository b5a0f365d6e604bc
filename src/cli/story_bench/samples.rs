//! Records as a run would leave them.

use fleet_actors::event::EngineLabel;

use super::folder::Part;
use super::record::{Attempt, Hidden, Record, What};
use super::settings::{Begun, FORMAT, Settings, StoryNote};
use crate::cli::args::{Arm, StoryKind};

pub fn note(name: &str, kind: StoryKind) -> StoryNote {
    StoryNote {
        name: name.into(),
        kind,
        part: Part::of(name),
        title: format!("Story {name}"),
        seed: 7,
        digest: "ab".repeat(32),
        base: "cd".repeat(20),
        places: vec![],
    }
}

pub fn begun(seeds: u32, stories: Vec<StoryNote>) -> Begun {
    let settings = Settings {
        format: FORMAT,
        engine: "local".into(),
        model: "a-model".into(),
        mock: false,
        node: "0.1.0".into(),
        arms: Arm::ALL.to_vec(),
        seeds,
        pool: 8,
        budget_tokens: 10_000,
        draws: 2000,
        stories,
    };
    let date = "2025-01-01 00:00:00 UTC".into();
    Begun { run: "r1".into(), date, command: "fleet bench stories".into(), version: "0.1.0".into(), settings }
}

/// A job whose proposals, each of another program, pass and are right as told; each reads 80 tokens and writes 20.
pub fn record(story: &str, what: What, place: u32, proposals: &[(bool, bool)]) -> Record {
    let attempt = |(n, (passes, right)): (usize, &(bool, bool))| Attempt {
        attempt: n as u32,
        tokens_in: 80,
        tokens_out: 20,
        tool_runs: 1,
        patch: Some(format!("{place}-{n}")),
        program: Some(format!("{place}-{n}")),
        lines: 2,
        passes: *passes,
        hidden: passes.then(|| Hidden { right: *right, ..Hidden::default() }),
        ..Attempt::default()
    };
    let n = proposals.len() as u64;
    Record {
        story: story.into(),
        what: Some(what),
        place,
        seed: 7 + u64::from(place),
        job: "j".into(),
        engine: EngineLabel { name: "local".into(), model: "a-model".into(), mock: false },
        seconds: 4.0,
        calls: n as u32,
        tokens_in: 80 * n,
        tokens_out: 20 * n,
        tool_runs: n as u32,
        attempts: proposals.iter().enumerate().map(attempt).collect(),
        ..Record::default()
    }
}
