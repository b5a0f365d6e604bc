//! The script of the mock engine: which reply goes with which request.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::MockMode;
use crate::{EngineError, Request};

/// A fault to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MockAction {
    Hang,
    Flood,
    Crash,
}

/// One scripted reply. A key that is `None` matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptEntry {
    #[serde(deserialize_with = "text_key")]
    pub task: Option<String>,
    #[serde(deserialize_with = "text_key")]
    pub role: Option<String>,
    #[serde(deserialize_with = "text_key")]
    pub phase: Option<String>,
    #[serde(deserialize_with = "number_key")]
    pub attempt: Option<u32>,
    #[serde(deserialize_with = "number_key")]
    pub round: Option<u32>,
    pub contains: Option<String>,
    pub mode: Option<MockMode>,
    pub text: String,
    pub action: Option<MockAction>,
    pub after_tokens: u32,
    #[serde(with = "humantime_serde::option")]
    pub delay_per_token: Option<Duration>,
}

/// All scripted replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    replies: Vec<ScriptEntry>,
}

impl Script {
    pub fn new(replies: Vec<ScriptEntry>) -> Self {
        Self { replies }
    }

    /// Reads YAML, of which JSON is a part.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        serde_saphyr::from_str(text).map_err(|e| EngineError::Config(e.to_string()))
    }

    /// The entry for a request: the one with most keys, of equals the first.
    pub(super) fn find(&self, request: &Request, mode: MockMode) -> Option<&ScriptEntry> {
        let matching = self.replies.iter().filter(|e| e.matches(request, mode));
        // max_by_key gives the last of equals, so it goes through them backwards.
        matching.rev().max_by_key(|e| e.keys())
    }
}

impl ScriptEntry {
    fn matches(&self, request: &Request, mode: MockMode) -> bool {
        let tag = &request.tag;
        let text = |key: &Option<String>, is: &str| key.as_deref().is_none_or(|k| k == is);
        let number = |key: Option<u32>, is: u32| key.is_none_or(|k| k == is);
        let said = |what: &String| request.messages.iter().any(|m| m.content.contains(what.as_str()));
        text(&self.task, &tag.task)
            && text(&self.role, &tag.role)
            && text(&self.phase, &tag.phase)
            && number(self.attempt, tag.attempt)
            && number(self.round, tag.round)
            && self.contains.as_ref().is_none_or(said)
            && self.belongs_to(mode)
    }

    /// A good reply is for the excellent mode, unless it says otherwise; a fault is for every mode.
    fn belongs_to(&self, mode: MockMode) -> bool {
        match self.mode {
            Some(own) => own == mode,
            None => mode == MockMode::Excellent || self.action.is_some(),
        }
    }

    fn keys(&self) -> usize {
        let texts = [&self.task, &self.role, &self.phase, &self.contains].into_iter().flatten().count();
        let numbers = [self.attempt, self.round].into_iter().flatten().count();
        texts + numbers + usize::from(self.mode.is_some())
    }
}

fn text_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let key = Option::<String>::deserialize(deserializer)?;
    Ok(key.filter(|k| k != "*"))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberKey {
    Number(u32),
    Text(String),
}

fn number_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match Option::<NumberKey>::deserialize(deserializer)? {
        None => Ok(None),
        Some(NumberKey::Number(number)) => Ok(Some(number)),
        Some(NumberKey::Text(text)) if text == "*" => Ok(None),
        Some(NumberKey::Text(text)) => {
            Err(serde::de::Error::custom(format_args!("{text:?} is neither a number nor \"*\"")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::{ChatMessage, RequestTag};

    const SCRIPT: &str = r#"
replies:
  - text: anything
  - { role: developer, attempt: "*", text: developer }
  - { role: developer, attempt: 1, text: second try }
  - { role: developer, attempt: 1, text: never reached }
  - { role: architect, action: hang, after_tokens: 3, delay_per_token: 20ms }
  - { contains: def total, text: total }
"#;

    fn request(role: &str, attempt: u32, text: &str) -> Request {
        let tag = RequestTag { role: role.into(), attempt, ..RequestTag::default() };
        Request { tag, ..Request::new(vec![ChatMessage::user(text)], 10) }
    }

    #[test]
    fn the_entry_with_most_keys_wins_and_of_equals_the_first() {
        let script = Script::parse(SCRIPT).unwrap();
        let text = |r: Request| script.find(&r, MockMode::Excellent).unwrap().text.clone();
        assert_eq!(text(request("tester", 0, "")), "anything");
        assert_eq!(text(request("developer", 0, "")), "developer");
        assert_eq!(text(request("developer", 1, "")), "second try");
        assert_eq!(text(request("tester", 0, "def total(xs):")), "total");
    }

    #[test]
    fn good_replies_are_for_the_excellent_mode_and_faults_for_every_mode() {
        let script = Script::parse(SCRIPT).unwrap();
        assert!(script.find(&request("developer", 0, ""), MockMode::Poor).is_none());
        let hang = script.find(&request("architect", 0, ""), MockMode::Stubborn).unwrap();
        assert_eq!((hang.action, hang.after_tokens), (Some(MockAction::Hang), 3));
        assert_eq!(hang.delay_per_token, Some(Duration::from_millis(20)));
    }

    #[test]
    fn json_is_read_too_and_a_misspelled_key_is_an_error() {
        let json = r#"{"replies": [{"task": "t", "round": 2, "text": "x"}]}"#;
        assert_eq!(Script::parse(json).unwrap().replies[0].round, Some(2));
        assert!(Script::parse("replies: [{ rolle: developer }]").unwrap_err().to_string().contains("rolle"));
        assert!(Script::parse("replies: [{ attempt: first }]").is_err());
    }
}
