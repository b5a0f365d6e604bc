//! Names that git gives.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::RepoError;

/// The id of a commit: 40 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommitId {
    type Err = RepoError;

    fn from_str(text: &str) -> Result<Self, RepoError> {
        if is_oid(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RepoError::BadName { what: "commit id", value: text.chars().take(80).collect() })
        }
    }
}

impl TryFrom<String> for CommitId {
    type Error = RepoError;

    fn try_from(text: String) -> Result<Self, RepoError> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn is_oid(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A key becomes part of a ref's name, so it is letters, digits and hyphens only.
pub(crate) fn check_key(key: &str) -> Result<(), RepoError> {
    let fine = !key.is_empty()
        && key.len() <= 64
        && !key.starts_with('-')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if fine { Ok(()) } else { Err(RepoError::BadName { what: "key", value: key.chars().take(80).collect() }) }
}
