//! What a client hands over when it submits a story: the job's `spec`, as JSON.

use serde::{Deserialize, Serialize};

use crate::story::{Story, StoryError};

/// How the last decision, whether the change is committed, is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approve {
    /// A person decides at the gate.
    #[default]
    Ask,
    /// Policy decides: what was verified is committed. Recorded as decided by `policy:auto`.
    PolicyAuto,
}

/// What one story may use. A field that is absent takes the team's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoryLimits {
    /// Proposals at most, over all waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposals: Option<u32>,
    /// Gather proposals: all are made and executed, even after one passes, none answers another, and nothing is
    /// committed. For measuring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<bool>,
    /// Tokens (prompt and reply together) after which no further proposal is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Minutes after which the story is given up. A backstop: it never ranks anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u64>,
}

/// The specification of a job of kind `story`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorySpec {
    /// The whole story file.
    pub story: String,
    /// Commit that the work starts from, as hex.
    pub base_commit: String,
    /// Blob that holds the base pack (a git bundle).
    pub base_pack: String,
    /// Size of the base pack.
    pub pack_bytes: u64,
    /// Who decides at the gate.
    #[serde(default)]
    pub approve: Approve,
    /// What the story may use.
    #[serde(default)]
    pub limits: StoryLimits,
    /// What the client calls the repository; for people only, never opened.
    #[serde(default)]
    pub client_repo_label: String,
}

/// Why a specification was refused, before anything was done.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not the JSON of a story.
    #[error("the job's specification can't be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The story file is wrong.
    #[error(transparent)]
    Story(#[from] StoryError),
    /// A field has a value that can't be right.
    #[error("`{field}` {why}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// Most proposals of one story. More is a mistake on any machine of today.
const MAX_PROPOSALS: u32 = 256;

impl StorySpec {
    /// Reads a specification and checks everything that can be checked without the repository.
    pub fn read(spec: &serde_json::Value) -> Result<(Self, Story), SpecError> {
        let spec: Self = serde_json::from_value(spec.clone())?;
        spec.check()?;
        let story = Story::parse(&spec.story)?;
        Ok((spec, story))
    }

    fn check(&self) -> Result<(), SpecError> {
        let hex = |s: &str| s.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        if self.base_commit.len() != 40 || !hex(&self.base_commit) {
            return field("base_commit", "must be a full commit id (40 lower-case hex digits)");
        }
        if self.base_pack.len() != 64 || !hex(&self.base_pack) {
            return field("base_pack", "must be the digest of an uploaded blob (64 hex digits)");
        }
        let proposals = self.limits.proposals.unwrap_or(1);
        if proposals == 0 || proposals > MAX_PROPOSALS {
            return field("limits.proposals", &format!("must be 1 to {MAX_PROPOSALS}"));
        }
        Ok(())
    }
}

fn field(field: &'static str, why: &str) -> Result<(), SpecError> {
    Err(SpecError::Field { field, why: why.into() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn spec() -> serde_json::Value {
        json!({
            "story": "---\ntitle: a\ntest: make test\n---\nb",
            "base_commit": "a".repeat(40),
            "base_pack": "b".repeat(64),
            "pack_bytes": 10,
        })
    }

    #[test]
    fn what_is_absent_asks_a_person_and_takes_the_defaults() {
        let (spec, story) = StorySpec::read(&spec()).unwrap();
        assert_eq!(spec.approve, Approve::Ask);
        assert_eq!(spec.limits, StoryLimits::default());
        assert_eq!(story.title, "a");
    }

    #[test]
    fn wrong_fields_are_named() {
        for (key, value, named) in [
            ("base_commit", json!("HEAD"), "base_commit"),
            ("base_pack", json!("x"), "base_pack"),
            ("limits", json!({"proposals": 0}), "limits.proposals"),
            ("limits", json!({"proposal": 3}), "proposal"),
            ("story", json!("no front matter"), "front matter"),
            ("unknown", json!(1), "unknown"),
        ] {
            let mut spec = spec();
            spec[key] = value;
            let error = StorySpec::read(&spec).unwrap_err().to_string();
            assert!(error.contains(named), "{key}: {error}");
        }
    }
}
