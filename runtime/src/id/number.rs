//! Ids that count.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::IdError;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize, SchemaWrite, SchemaRead,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            pub fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError {
                    kind: $kind,
                    text: text.to_owned(),
                    rule: "a whole number",
                })
            }
        }
    };
}

number_id!(
    /// A fencing number: a writer with an older one is refused. 0 is "never claimed".
    Generation,
    "generation"
);
number_id!(
    /// Place of an event in the whole journal, from 1. Rises, may have gaps, is never used twice.
    Position,
    "position"
);
number_id!(
    /// Place of an event in its stream, from 1, without gaps. 0 is "before the first".
    Seq,
    "seq"
);
number_id!(
    /// A life of a node: rises with each start.
    Incarnation,
    "incarnation"
);
