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
            Target::AtLeast(t) => format!("≥ {t}"),
            Target::AtMost(t) => format!("≤ {t}"),
        }
    }
}

/// One row of `target/bench/AREA.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured, in the words of the documentation.
    pub name: String,
    /// The measured value, in `unit`; none where it couldn't be measured.
    pub value: Option<f64>,
    /// Unit of `value` and of the target: `1/s`, `µs`, `ms`, `x` (a ratio).
    pub unit: String,
    /// What it has to reach; none for a figure that is only reported.
    pub target: Option<String>,
    /// Where it should get to beyond its target.
    pub aim: Option<String>,
    /// What it was measured against, in the same run.
    pub peer: Option<String>,
    /// Whether the target holds; true where there is none, false where there is one and no value.
    pub ok: bool,
    /// Whether the aim is reached.
    pub aim_reached: Option<bool>,
    /// Why there is no value.
    pub missing: Option<String>,
}

impl Figure {
    /// A figure without a target.
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self::or_missing(name, Ok(value), unit)
    }

    /// A figure without a target, that may not have been measured for a reason.
    pub fn or_missing(name: impl Into<String>, value: Result<f64, String>, unit: &str) -> Self {
        let (target, aim, peer, aim_reached) = (None, None, None, None);
        let missing = value.as_ref().err().cloned();
        Self {
            name: name.into(),
            value: value.ok(),
            unit: unit.to_owned(),
            target,
            aim,
            peer,
            ok: true,
            aim_reached,
            missing,
        }
    }

    /// Sets the target and judges the value by it.
    #[must_use]
    pub fn must(mut self, target: Target) -> Self {
        self.ok = self.value.is_some_and(|value| target.holds(value));
        self.target = Some(target.show());
        self
    }

    /// Sets where it should get to. Missing it is no failure.
    #[must_use]
    pub fn aim(mut self, aim: Target) -> Self {
        self.aim_reached = self.value.map(|value| aim.holds(value));
        self.aim = Some(aim.show());
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
        self.value.map_or_else(|| "–".to_owned(), trim)
    }

    /// What a person reads of its target: nothing where there is none.
    pub fn verdict(&self) -> &'static str {
        match (&self.target, &self.value) {
            (_, None) => "not measured",
            (None, _) => "",
            (Some(_), _) if self.ok => "ok",
            (Some(_), _) => "BELOW TARGET",
        }
    }

    /// Whether the target was missed. It wasn't where there is nothing to compare with; but what needs nobody else has to
    /// be measured.
    pub fn misses(&self) -> bool {
        !self.ok && (self.value.is_some() || self.peer.is_none())
    }

    /// The aim and whether it is reached.
    pub fn shown_aim(&self) -> String {
        let aim = self.aim.as_deref().unwrap_or("–");
        if self.aim_reached == Some(true) { format!("{aim}, reached") } else { aim.to_owned() }
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

    #[test]
    fn a_figure_that_lacks_its_peer_neither_holds_nor_fails() {
        let why = || Err("not installed".to_owned());
        let f = Figure::or_missing("over Ray", why(), "x").must(Target::AtLeast(100.0)).against("Ray");
        assert!(!f.ok && !f.misses());
        assert!(Figure::or_missing("spawn", why(), "1/s").must(Target::AtLeast(1.0)).misses());
        assert_eq!(f.verdict(), "not measured");
        assert_eq!(f.shown(), "–");
    }

    #[test]
    fn an_aim_out_of_reach_is_no_failure() {
        let f = Figure::new("idle actor", 14.0, "KiB").must(Target::AtMost(16.0)).aim(Target::AtMost(12.0));
        assert!(f.ok);
        assert_eq!(f.aim_reached, Some(false));
    }
}
