//! Who needs a blob.

use std::fmt;
use std::str::FromStr;

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::{CheckedText, TextRule};
use crate::id::{IdError, JobId};

/// Names whoever needs a blob: a job, a council. Opaque to blobs; what one holder holds can be given up at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Holder(#[wincode(with = "CheckedText<Holder>")] String);

impl TextRule for Holder {
    const REFUSAL: &'static str = "not a valid holder";

    fn allows(text: &str) -> bool {
        (1..=200).contains(&text.len()) && !text.chars().any(char::is_control)
    }
}

impl Holder {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&JobId> for Holder {
    fn from(job: &JobId) -> Self {
        Self(format!("job/{job}"))
    }
}

impl FromStr for Holder {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused =
            || IdError { kind: "holder", text: text.to_owned(), rule: "1 to 200 bytes, no control characters" };
        Self::allows(text).then(|| Self(text.to_owned())).ok_or_else(refused)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
