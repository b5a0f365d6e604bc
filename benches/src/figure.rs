//! One measured number with its unit, its target and what it was compared with.

use serde::Serialize;

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Target {
    /// Larger is better: at least this much.
    AtLeast(f64),
    /// Smaller is better: at most this much.
    AtMost(f64),
}

impl Target {
    /// Whether `value` reaches the target.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Target::AtLeast(t) => value >= t,
            Target::AtMost(t) => value <= t,
        }
    }

    /// How a person reads it: `≥ 30000` or `≤ 8`.
    pub fn show(self) -> String {
        match self {
            Target::AtLeast(t) => format!("≥ {}", trim(t)),
            Target::AtMost(t) => format!("≤ {}", trim(t)),
        }
    }
}

/// One row of `target/bench/AREA.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured, in the words of the documentation.
    pub name: String,
    /// The measured value, in `unit`.
    pub value: f64,
    /// Unit of `value` and of the target: `1/s`, `µs`, `ms`, `x` (a ratio).
    pub unit: String,
    /// What it has to reach; none for a figure that is only reported.
    pub target: Option<String>,
    /// What it was measured against, in the same run.
    pub peer: Option<String>,
    /// Whether the target holds; true where there is none.
    pub ok: bool,
}

impl Figure {
    /// A figure without a target.
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { name: name.into(), value, unit: unit.to_owned(), target: None, peer: None, ok: true }
    }

    /// Sets the target and judges the value by it.
    #[must_use]
    pub fn must(mut self, target: Target) -> Self {
        self.ok = target.holds(self.value);
        self.target = Some(target.show());
        self
    }

    /// Names what the value was measured against.
    #[must_use]
    pub fn against(mut self, peer: &str) -> Self {
        self.peer = Some(peer.to_owned());
        self
    }

    /// The value with as many digits as it deserves.
    pub fn shown(&self) -> String {
        trim(self.value)
    }
}

/// Three significant digits for small numbers, none behind the point for large ones.
fn trim(v: f64) -> String {
    let digits = match v.abs() {
        a if a >= 100.0 || a == a.trunc() => 0,
        a if a >= 1.0 => 2,
        _ => 4,
    };
    format!("{v:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_below_its_floor_is_not_ok() {
        let f = Figure::new("appends", 29_999.0, "1/s").must(Target::AtLeast(30_000.0));
        assert!(!f.ok);
        assert_eq!(f.target.as_deref(), Some("≥ 30000"));
    }

    #[test]
    fn a_figure_without_a_target_is_only_reported() {
        assert!(Figure::new("p99", 1.0, "ms").ok);
    }
}
