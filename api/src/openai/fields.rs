//! The fields of a request's body, taken one by one, so that whatever is wrong is said with the field's name, and what
//! nobody took is noticed.

use axum::body::to_bytes;
use axum::extract::Request;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::OpenAiError;

/// The largest body: a prompt of some million tokens.
const MAX_BYTES: usize = 8 << 20;
/// How long a body may take to arrive.
const ARRIVAL: std::time::Duration = std::time::Duration::from_secs(30);

/// What is left of a body.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body that is a JSON object.
    pub(super) async fn read(request: Request) -> Result<Self, OpenAiError> {
        let read = tokio::time::timeout(ARRIVAL, to_bytes(request.into_body(), MAX_BYTES)).await;
        let late = |_| OpenAiError::unreadable("it didn't arrive in time");
        let bytes = read.map_err(late)?.map_err(|error| match is_limit(&error) {
            true => OpenAiError::too_large(MAX_BYTES),
            false => OpenAiError::unreadable(error),
        })?;
        Self::parse(&bytes)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, OpenAiError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(OpenAiError::unreadable("it is no JSON object")),
            Err(error) => Err(OpenAiError::unreadable(error)),
        }
    }

    /// A field that may be missing or null.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, OpenAiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let wrong = |e| OpenAiError::param(name, "invalid_type", format!("Invalid value for `{name}`: {e}"));
                serde_json::from_value(value).map(Some).map_err(wrong)
            }
        }
    }

    /// A field that must be there.
    pub(super) fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, OpenAiError> {
        let missing =
            || OpenAiError::param(name, "missing_required_parameter", format!("Missing required parameter: `{name}`."));
        self.take(name)?.ok_or_else(missing)
    }

    /// A number between two bounds.
    pub(super) fn number<T>(&mut self, name: &str, least: T, most: T) -> Result<Option<T>, OpenAiError>
    where
        T: DeserializeOwned + PartialOrd + std::fmt::Display,
    {
        let number = self.take::<T>(name)?;
        match &number {
            Some(n) if !(*n >= least && *n <= most) => {
                let message = format!("Invalid `{name}`: {n} isn't between {least} and {most}.");
                Err(OpenAiError::param(name, "invalid_value", message))
            }
            _ => Ok(number),
        }
    }

    /// Passes over a field that changes no answer.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }

    /// Refuses these unless they are left out, or say what is done anyway.
    pub(super) fn refuse(&mut self, names: &[(&str, &str)]) -> Result<(), OpenAiError> {
        for (name, why) in names {
            if self.0.remove(*name).is_some_and(|value| !value.is_null()) {
                return Err(OpenAiError::unsupported(*name, why));
            }
        }
        Ok(())
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), OpenAiError> {
        match self.0.into_iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(OpenAiError::unknown(&name)),
            None => Ok(()),
        }
    }
}

/// Whether it was the limit that ended the reading.
fn is_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}
