//! Ids that people read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::IdError;
use crate::codec::{CheckedText, TextRule};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $kind:literal, $says:literal, $allows:expr) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            SchemaWrite, SchemaRead,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(#[wincode(with = $schema)] String);

        impl TextRule for $name {
            const REFUSAL: &'static str = concat!("not a valid ", $kind);

            fn allows(text: &str) -> bool {
                let allows: fn(&str) -> bool = $allows;
                allows(text)
            }
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                if Self::allows(&text) {
                    Ok(Self(text))
                } else {
                    Err(IdError { kind: $kind, text, rule: $says })
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_id!(
    /// A job; its result is the branch `fleet/<job>`.
    JobId, "CheckedText<JobId>", "job id", "10 characters a-z or 0-9",
    |t| t.len() == 10 && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
);

text_id!(
    /// A project: the repository's root commit, or a name that the user gave.
    ProjectId, "CheckedText<ProjectId>", "project id", "1 to 64 of A-Z a-z 0-9 . _ -, not starting with . or -",
    |t| (1..=64).contains(&t.len())
        && !t.starts_with(['.', '-'])
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
);

text_id!(
    /// A stream of the journal: `job/<id>`, `node/<name>`.
    StreamId, "CheckedText<StreamId>", "stream id",
    "segments of A-Z a-z 0-9 . _ - joined by /, at most 200 characters, none empty or starting with .",
    |t| t.len() <= 200
        && t.split('/').all(|s| {
            !s.is_empty()
                && !s.starts_with('.')
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
);

/// Crockford's alphabet: no letter that reads as a digit.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl JobId {
    /// 50 random bits. Whoever takes it as new checks that it is.
    pub fn new_random() -> Self {
        let bits: u64 = rand::random();
        Self((0..10).map(|i| char::from(BASE32[(bits >> (5 * i)) as usize & 31])).collect())
    }
}

impl StreamId {
    pub const JOB_PREFIX: &'static str = "job/";
    pub const NODE_PREFIX: &'static str = "node/";

    pub fn job(job: &JobId) -> Self {
        Self(format!("{}{job}", Self::JOB_PREFIX))
    }

    /// The stream of a node, by its configured name.
    pub fn node(name: &str) -> Result<Self, IdError> {
        format!("{}{name}", Self::NODE_PREFIX).parse()
    }

    /// The job whose stream this is.
    pub fn as_job(&self) -> Option<JobId> {
        self.0.strip_prefix(Self::JOB_PREFIX)?.parse().ok()
    }
}
