//! Which facts of a stream belong to which role in which phase.
//!
//! A table, not code: the first row whose role and phase match decides (`*` matches any). What a
//! row doesn't name is left out and listed as such. Developers don't see each other's proposals or
//! their verdicts: their work is worth more while it is independent; what one of them has to
//! know of its own attempt comes as a material.

/// One row: the entity kinds that a role sees in a phase, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Role, or `*`.
    pub role: String,
    /// Phase, or `*`.
    pub phase: String,
    /// Entity kinds in reading order, each with its priority (0 = must, larger gives way first).
    pub kinds: Vec<(String, u8)>,
}

impl Scope {
    /// A row from literals.
    #[must_use]
    pub fn new(role: &str, phase: &str, kinds: &[(&str, u8)]) -> Self {
        Self {
            role: role.to_owned(),
            phase: phase.to_owned(),
            kinds: kinds.iter().map(|(kind, priority)| ((*kind).to_owned(), *priority)).collect(),
        }
    }

    fn covers(&self, role: &str, phase: &str) -> bool {
        matches(&self.role, role) && matches(&self.phase, phase)
    }
}

fn matches(pattern: &str, value: &str) -> bool {
    pattern == "*" || pattern == value
}

/// The rows, first match wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeTable(Vec<Scope>);

impl ScopeTable {
    /// A table of one's own.
    #[must_use]
    pub fn new(rows: Vec<Scope>) -> Self {
        Self(rows)
    }

    /// The kinds that this role sees in this phase; none where no row matches.
    #[must_use]
    pub fn kinds(&self, role: &str, phase: &str) -> &[(String, u8)] {
        self.0.iter().find(|row| row.covers(role, phase)).map_or(&[], |row| &row.kinds)
    }
}

impl Default for ScopeTable {
    fn default() -> Self {
        let intent = [("story", 1), ("acceptance", 1), ("constraint", 1)];
        let with = |more: &[(&'static str, u8)]| [&intent[..], more].concat();
        Self(vec![
            Scope::new("architect", "design", &with(&[("baseline", 2), ("decision", 2)])),
            Scope::new("architect", "plan", &with(&[("decision", 1), ("baseline", 2)])),
            Scope::new(
                "architect",
                "*",
                &with(&[("decision", 1), ("plan", 2), ("task", 2), ("proposal", 3), ("verdict", 3), ("baseline", 4)]),
            ),
            Scope::new("developer", "*", &with(&[("decision", 1), ("task", 1), ("baseline", 3)])),
            Scope::new("*", "*", &with(&[("decision", 2), ("task", 2)])),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_developer_never_sees_the_proposals_of_others() {
        let table = ScopeTable::default();
        for phase in ["build", "test", "docs", "anything"] {
            let kinds = table.kinds("developer", phase);
            assert!(!kinds.is_empty());
            assert!(!kinds.iter().any(|(kind, _)| kind == "proposal" || kind == "verdict"));
        }
    }

    #[test]
    fn the_first_matching_row_decides() {
        let table = ScopeTable::new(vec![Scope::new("a", "*", &[("x", 1)]), Scope::new("*", "*", &[("y", 1)])]);
        assert_eq!(table.kinds("a", "p"), [("x".to_owned(), 1)]);
        assert_eq!(table.kinds("b", "p"), [("y".to_owned(), 1)]);
        assert!(ScopeTable::new(Vec::new()).kinds("a", "p").is_empty());
    }
}
