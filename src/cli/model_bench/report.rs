//! All that a run found out: as data, and as tables for people.

use serde::Serialize;

use super::machine::Machine;
use super::plan::Stage;
use super::recommend::{Reason, Recommendation};
use super::rows::{Came, Row};
use super::which::Chosen;
use crate::cli::{figures, table};

/// The columns of the rows.
pub const COLUMNS: [&str; 13] = [
    "STAGE",
    "SETTING",
    "STREAMS",
    "PROMPT",
    "TOKENS/S",
    "PREFILL/S",
    "FIRST",
    "LAST",
    "MEMORY",
    "KV",
    "B/TOKEN",
    "AGAIN",
    "NOTE",
];

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub version: String,
    pub command: String,
    pub date: String,
    pub machine: Machine,
    pub model: Chosen,
    /// The context that was measured with.
    pub context: u32,
    /// Seconds that it took.
    pub took_s: f64,
    /// Whether all that was planned was tried.
    pub complete: bool,
    pub rows: Vec<Row>,
    pub recommendation: Option<Recommendation>,
}

impl Report {
    /// The whole for people.
    pub fn text(&self) -> String {
        let mut rows = table::table(COLUMNS);
        self.rows.iter().for_each(|row| table::row(&mut rows, cells(row)));
        let mut text = table::text(&rows);
        if let Some(recommended) = &self.recommendation {
            let mut reasons = table::table(["SET", "TO", "BECAUSE"]);
            for Reason { key, value, why } in &recommended.reasons {
                table::row(&mut reasons, [key.clone(), value.clone(), why.clone()]);
            }
            text.push_str(&format!("\n\n{}\n\n{}", table::text(&reasons), recommended.toml));
        }
        text
    }
}

/// A row as [`COLUMNS`] say.
pub fn cells(row: &Row) -> [String; 13] {
    let (load, none) = (row.load(), || "-".to_owned());
    let mut cells = [const { String::new() }; 13];
    let figures = match (&row.came, row.measured()) {
        (_, Some(point)) => {
            let held = point.kv_held > 0 && point.kv_tokens > 0;
            [
                figures::rate(point.tokens_per_s),
                figures::rate(point.prefill_per_s),
                figures::time(point.first_token_ms),
                figures::time(point.last_first_token_ms),
                figures::bytes(point.memory),
                if held { figures::bytes(point.kv_held) } else { none() },
                if held { figures::bytes(point.kv_held / point.kv_tokens) } else { none() },
                point.preempted.to_string(),
                String::new(),
            ]
        }
        (came, None) => {
            let mut figures = [const { String::new() }; 9];
            figures.fill_with(none);
            figures[8] = note(came);
            figures
        }
    };
    let head = [row.stage.name().to_owned(), setting(row), load.streams.to_string(), load.filled.to_string()];
    cells.iter_mut().zip(head.into_iter().chain(figures)).for_each(|(cell, text)| *cell = text);
    cells
}

/// What a stage varies beside the load.
pub fn setting(row: &Row) -> String {
    let (threads, kv_memory, draft) = row.setting();
    match row.stage {
        Stage::Threads | Stage::Load if threads == 1 => "1 thread".to_owned(),
        Stage::Threads | Stage::Load => format!("{threads} threads"),
        Stage::Kv => figures::bytes(kv_memory),
        Stage::Draft => {
            let repeats = if row.load().repeats { "repeats" } else { "other" };
            format!("draft {draft}, {repeats}")
        }
    }
}

fn note(came: &Came) -> String {
    match came {
        Came::Point(point) => {
            let takes = point.left_out_s.unwrap_or(0.0);
            format!("left out: takes {}", figures::time(takes * 1e3))
        }
        Came::Died(died) => {
            let more = match died.not_tried {
                0 => String::new(),
                n => format!("; {n} more not tried"),
            };
            format!("died: {}{more}", died.why)
        }
    }
}
