//! Who may decide at a gate, and when it is too late. Pure.

use fleet_runtime::Timestamp;
use fleet_runtime::auth::{AccessLevel, Principal};
use serde::{Deserialize, Serialize};

use crate::event::GateDecision;

/// A question that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Names the gate; unique over all jobs.
    pub id: String,
    /// The job that waits.
    pub job: String,
    /// Its project.
    pub project: String,
    /// The attempt in question.
    pub attempt: u32,
    /// Since when.
    pub opened_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// What is asked.
    pub question: String,
    /// What may be answered.
    pub options: Vec<String>,
    /// What the answer can rest on.
    pub evidence: Vec<String>,
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Commit it.
    Approve,
    /// Don't.
    Reject,
}

/// Who decided what, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What.
    pub decision: GateDecision,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Why a decision was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum ApprovalError {
    /// No such gate is open.
    #[error("there is no approval `{id}`; see `fleet approval list`")]
    NotFound {
        /// What was asked for.
        id: String,
    },
    /// It was decided before; that decision stands.
    #[error("already decided: {decision:?} by {by} at {at}")]
    AlreadyDecided {
        /// What was decided.
        decision: GateDecision,
        /// By whom.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Not this person.
    #[error("{who} may not decide here; it takes access level `po`")]
    NotAllowed {
        /// Who tried.
        who: String,
    },
    /// Too late.
    #[error("the approval expired at {at}")]
    Expired {
        /// When it did.
        at: Timestamp,
    },
    /// The gate could not be reached or the decision not be recorded. Look again before deciding again.
    #[error("the decision could not be recorded: {why}")]
    Unavailable {
        /// Why.
        why: String,
    },
}

/// The state of one gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateCore {
    expires_at: Timestamp,
    decided: Option<Decided>,
}

impl GateCore {
    /// An open gate.
    pub fn new(expires_at: Timestamp) -> Self {
        Self { expires_at, decided: None }
    }

    /// What a person's answer leads to, if it may be given.
    pub fn answer(&self, answer: Decision, by: &Principal, now: Timestamp) -> Result<Decided, ApprovalError> {
        if by.level < AccessLevel::Po {
            return Err(ApprovalError::NotAllowed { who: by.name.clone() });
        }
        if let Some(Decided { decision, by, at }) = &self.decided {
            return Err(if *decision == GateDecision::Expired {
                ApprovalError::Expired { at: *at }
            } else {
                ApprovalError::AlreadyDecided { decision: *decision, by: by.clone(), at: *at }
            });
        }
        if now >= self.expires_at {
            return Err(ApprovalError::Expired { at: self.expires_at });
        }
        let decision = match answer {
            Decision::Approve => GateDecision::Approved,
            Decision::Reject => GateDecision::Rejected,
        };
        Ok(Decided { decision, by: by.name.clone(), at: now })
    }

    /// What the passing of time leads to.
    pub fn expire(&self, node: &str, now: Timestamp) -> Option<Decided> {
        let due = self.decided.is_none() && now >= self.expires_at;
        due.then(|| Decided { decision: GateDecision::Expired, by: node.to_owned(), at: now })
    }

    /// Takes note of what was recorded. The first decision stands.
    pub fn apply(&mut self, decided: Decided) {
        self.decided.get_or_insert(decided);
    }

    /// The decision, once there is one.
    pub fn decided(&self) -> Option<&Decided> {
        self.decided.as_ref()
    }

    /// When it is too late.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn person(level: AccessLevel) -> Principal {
        Principal { name: "anna".into(), level }
    }

    #[test]
    fn only_a_product_owner_decides() {
        let gate = GateCore::new(Timestamp(100));
        for level in [AccessLevel::Viewer, AccessLevel::Operator] {
            let refused = gate.answer(Decision::Approve, &person(level), Timestamp(1));
            assert_eq!(refused, Err(ApprovalError::NotAllowed { who: "anna".into() }));
        }
        let decided = gate.answer(Decision::Approve, &person(AccessLevel::Po), Timestamp(1)).unwrap();
        assert_eq!(decided.decision, GateDecision::Approved);
    }

    #[test]
    fn the_first_decision_stands() {
        let mut gate = GateCore::new(Timestamp(100));
        gate.apply(gate.answer(Decision::Reject, &person(AccessLevel::Po), Timestamp(1)).unwrap());
        let again = gate.answer(Decision::Approve, &person(AccessLevel::Po), Timestamp(2)).unwrap_err();
        assert!(matches!(again, ApprovalError::AlreadyDecided { decision: GateDecision::Rejected, .. }));
        assert_eq!(gate.expire("n1", Timestamp(200)), None);
    }

    #[test]
    fn what_expired_can_no_longer_be_decided() {
        let mut gate = GateCore::new(Timestamp(100));
        let po = person(AccessLevel::Po);
        assert_eq!(gate.expire("n1", Timestamp(99)), None);
        assert!(matches!(gate.answer(Decision::Approve, &po, Timestamp(100)), Err(ApprovalError::Expired { .. })));
        gate.apply(gate.expire("n1", Timestamp(100)).unwrap());
        assert!(matches!(gate.answer(Decision::Approve, &po, Timestamp(50)), Err(ApprovalError::Expired { .. })));
    }
}
