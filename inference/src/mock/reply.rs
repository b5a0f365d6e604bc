//! What the mock engine says to a request: scripted, or made up so that it certainly solves nothing.

use std::time::Duration;

use super::script::{MockAction, ScriptEntry};
use super::{MockMode, MockOptions, schema};
use crate::{Constraint, Request};

/// Characters of a mock token: about what a real one has.
const TOKEN_CHARS: usize = 4;

/// A reply, cut into tokens.
pub(super) struct Reply {
    pub(super) tokens: Vec<String>,
    pub(super) delay: Duration,
    pub(super) action: Option<MockAction>,
    after_tokens: u32,
    /// What a flood repeats; never empty.
    pub(super) flood: Vec<String>,
}

impl Reply {
    pub(super) fn find(options: &MockOptions, request: &Request) -> Self {
        let entry = options.script.find(request, options.mode);
        let text = match entry {
            Some(entry) => entry.text.clone(),
            None => unscripted(options.mode, request),
        };
        let prefix = request.assistant_prefix.as_deref().unwrap_or_default();
        let tokens = tokens(text.strip_prefix(prefix).unwrap_or(&text));
        let flood = if tokens.is_empty() { vec!["flood ".to_owned()] } else { tokens.clone() };
        Self {
            flood,
            delay: entry.and_then(|e| e.delay_per_token).unwrap_or(options.token_delay),
            action: entry.and_then(|e| e.action),
            after_tokens: entry.map_or(0, |e: &ScriptEntry| e.after_tokens),
            tokens,
        }
    }

    /// Whether the fault comes now.
    pub(super) fn acts_at(&self, said: u32) -> bool {
        self.action.is_some() && (said >= self.after_tokens || said as usize >= self.tokens.len())
    }
}

fn tokens(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(TOKEN_CHARS).map(String::from_iter).collect()
}

fn unscripted(mode: MockMode, request: &Request) -> String {
    match (&request.constraint, mode) {
        (Constraint::JsonSchema(text), _) => schema::smallest_instance(text),
        (Constraint::Choice(choices), MockMode::Excellent) => choices.first().cloned().unwrap_or_default(),
        (Constraint::Choice(choices), _) => choices.last().cloned().unwrap_or_default(),
        (_, MockMode::Excellent) => missing(request),
        (_, MockMode::Poor) if request.tag.attempt % 2 == 1 => invalid(request),
        _ => unchanged(request),
    }
}

fn missing(request: &Request) -> String {
    let tag = &request.tag;
    format!(
        "[mock] no scripted reply for task {:?}, role {:?}, phase {:?}, attempt {}, round {}",
        tag.task, tag.role, tag.phase, tag.attempt, tag.round
    )
}

/// The code that the prompt shows, as it is there.
fn unchanged(request: &Request) -> String {
    let prefix = request.assistant_prefix.as_deref().unwrap_or_default();
    // The prefix may open a fence whose first line the prompt has not.
    let opening =
        prefix.rsplit_once("```").map_or(prefix, |(_, rest)| rest.split_once('\n').map_or("", |(_, code)| code));
    let contents = || request.messages.iter().rev().map(|m| m.content.as_str());
    let after_opening =
        || contents().find_map(|c| (!opening.is_empty()).then(|| c.split_once(opening))?.map(|(_, rest)| rest));
    let code = after_opening().map(|rest| rest.split("\n```").next().unwrap_or(rest));
    match code.or_else(|| contents().find_map(first_block)) {
        Some(code) => format!("{prefix}{code}\n"),
        None => format!("{prefix}pass  # [mock] the prompt shows no code\n"),
    }
}

/// The first fenced block of a text.
fn first_block(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("```")?;
    let (_, code) = after.split_once('\n')?;
    Some(code.split("\n```").next().unwrap_or(code))
}

/// No language that we know can parse it.
fn invalid(request: &Request) -> String {
    let prefix = request.assistant_prefix.as_deref().unwrap_or_default();
    format!("{prefix}((( [mock] attempt {} is not code )(\n", request.tag.attempt)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::{ChatMessage, RequestTag};

    fn said(mode: MockMode, request: &Request) -> String {
        let options = MockOptions { mode, ..MockOptions::default() };
        Reply::find(&options, request).tokens.concat()
    }

    fn request(attempt: u32, round: u32, prefix: Option<&str>) -> Request {
        let prompt = "Fix this:\n```python\ndef f(x):\n    return x + 2\n```\nfeedback";
        Request {
            tag: RequestTag { attempt, round, ..RequestTag::default() },
            assistant_prefix: prefix.map(str::to_owned),
            ..Request::new(vec![ChatMessage::user(prompt)], 100)
        }
    }

    #[test]
    fn poor_gives_the_code_back_or_something_that_is_no_code() {
        assert_eq!(said(MockMode::Poor, &request(0, 0, None)), "def f(x):\n    return x + 2\n");
        let prefixed = request(0, 0, Some("```python\ndef f("));
        assert_eq!(said(MockMode::Poor, &prefixed), "x):\n    return x + 2\n");
        assert!(said(MockMode::Poor, &request(1, 0, None)).starts_with("((("));
    }

    #[test]
    fn stubborn_says_the_same_whatever_comes_back() {
        let first = said(MockMode::Stubborn, &request(0, 0, None));
        assert_eq!(said(MockMode::Stubborn, &request(1, 0, None)), first);
        assert_eq!(said(MockMode::Stubborn, &request(2, 5, None)), first);
    }

    #[test]
    fn excellent_without_a_script_says_what_is_missing() {
        let text = said(MockMode::Excellent, &request(3, 1, None));
        assert!(text.starts_with("[mock] no scripted reply") && text.contains("attempt 3, round 1"), "{text}");
    }

    #[test]
    fn a_choice_is_the_first_or_where_the_mode_is_bad_the_last() {
        let constraint = Constraint::Choice(vec!["yes".into(), "no".into()]);
        let request = Request { constraint, ..request(0, 0, None) };
        assert_eq!(said(MockMode::Excellent, &request), "yes");
        assert_eq!(said(MockMode::Poor, &request), "no");
    }
}
