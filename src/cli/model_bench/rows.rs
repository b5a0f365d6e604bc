//! What was measured, row by row; also what could not be, and why.

use fleet_inference::bench::{Load, Point};
use serde::{Deserialize, Serialize};

use super::plan::{Stage, Task};

/// One row of the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub stage: Stage,
    #[serde(flatten)]
    pub came: Came,
}

/// What came of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// It was measured, or left out because it takes too long.
    Point(Point),
    /// Its engine ended before.
    Died(Died),
}

/// An engine that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Died {
    pub threads: u32,
    pub kv_memory: u64,
    pub draft: u32,
    /// What it was under.
    pub load: Load,
    /// Loads of that engine that weren't tried.
    pub not_tried: usize,
    pub why: String,
}

impl Row {
    /// The row of an engine that ended after so many points.
    pub fn died(task: &Task, points: usize, why: String) -> Option<Self> {
        let part = &task.part;
        let died = Died {
            threads: task.threads,
            kv_memory: part.kv_memory,
            draft: part.draft,
            load: *part.loads.get(points)?,
            not_tried: part.loads.len() - points - 1,
            why,
        };
        Some(Self { stage: task.stage, came: Came::Died(died) })
    }

    /// The load.
    pub fn load(&self) -> &Load {
        match &self.came {
            Came::Point(point) => &point.load,
            Came::Died(died) => &died.load,
        }
    }

    /// Threads, bytes for keys and values, tokens guessed ahead.
    pub fn setting(&self) -> (u32, u64, u32) {
        match &self.came {
            Came::Point(Point { threads, kv_memory, draft, .. })
            | Came::Died(Died { threads, kv_memory, draft, .. }) => (*threads, *kv_memory, *draft),
        }
    }

    /// The point, if it was measured.
    pub fn measured(&self) -> Option<&Point> {
        match &self.came {
            Came::Point(point) if point.left_out_s.is_none() => Some(point),
            _ => None,
        }
    }
}

/// The points of a stage, or of all, with those that were left out.
pub fn points(rows: &[Row], stage: Option<Stage>) -> impl Iterator<Item = &Point> {
    rows.iter().filter(move |row| stage.is_none_or(|stage| row.stage == stage)).filter_map(|row| match &row.came {
        Came::Point(point) => Some(point),
        Came::Died(_) => None,
    })
}

/// The points of a stage that were measured.
pub fn measured(rows: &[Row], stage: Stage) -> impl Iterator<Item = &Point> {
    points(rows, Some(stage)).filter(|point| point.left_out_s.is_none())
}
