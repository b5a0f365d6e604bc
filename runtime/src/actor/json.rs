//! A value with serde but without the wire codec, carried in a message as JSON text.
//!
//! For what is open-ended by nature (a job's spec, a record with such a part). What is hot or
//! large gets the wire codec instead.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wincode::adapter::FromInto;
use wincode::{SchemaRead, SchemaWrite};

/// Carries a `T` as JSON. Decoding can't refuse inside a message, so [`Json::take`] does.
#[derive(Clone, SchemaWrite, SchemaRead)]
pub struct Json<T> {
    #[wincode(with = "FromInto<String, Carried<T>>")]
    value: Carried<T>,
}

#[derive(Clone)]
struct Carried<T>(Result<T, String>);

impl<T> Json<T> {
    pub fn new(value: T) -> Self {
        Self { value: Carried(Ok(value)) }
    }

    /// The value, or why the text that arrived isn't one.
    pub fn take(self) -> Result<T, String> {
        self.value.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Serialize> From<&Carried<T>> for String {
    fn from(carried: &Carried<T>) -> Self {
        // A value that can't be written travels as empty text, which the receiver refuses.
        carried.0.as_ref().ok().and_then(|v| serde_json::to_string(v).ok()).unwrap_or_default()
    }
}

impl<T: DeserializeOwned> From<String> for Carried<T> {
    fn from(text: String) -> Self {
        Self(serde_json::from_str(&text).map_err(|e| e.to_string()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value.0 {
            Ok(value) => value.fmt(f),
            Err(why) => write!(f, "<unreadable: {why}>"),
        }
    }
}
