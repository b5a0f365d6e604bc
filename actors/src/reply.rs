//! What an agent's reply means: tool calls, a rewritten function, or nothing usable.
//!
//! Small models keep a format only when it is forced on them, larger ones bring their own habits.
//! So reading is lenient about the wrapping and strict about the content: a reply is tool calls if
//! it contains a JSON object with a `tool`, code if it contains a fenced block, else it is talk.

use serde_json::Value;

/// A tool call as the model wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedCall {
    /// Name of the tool.
    pub tool: String,
    /// Its arguments.
    pub args: Value,
}

/// What a reply asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Call these, in this order.
    Calls(Vec<WantedCall>),
    /// The function, rewritten.
    Code(String),
    /// Neither.
    Talk,
}

/// Most calls taken from one reply; the rest is cut off, as a flood.
pub const MAX_CALLS: usize = 8;

/// Reads a reply. `prefix` is the text that the reply was made to begin with: a scripted engine or
/// a stubborn model may answer as if it were not there.
pub fn read(text: &str, prefix: Option<&str>) -> Reply {
    let own = prefix.and_then(|p| text.strip_prefix(p)).unwrap_or(text);
    for candidate in [own, text] {
        let calls = calls(candidate);
        if !calls.is_empty() {
            return Reply::Calls(calls);
        }
    }
    // What goes on after the prefix may itself be a whole fenced block: then the prefix is dropped.
    let fenced = if own.trim_start().starts_with("```") { own } else { text };
    match block(fenced) {
        Some(code) if !code.trim().is_empty() => Reply::Code(code),
        _ => Reply::Talk,
    }
}

/// All tool calls in a text: JSON objects, an array of them, or one per line, fenced or not.
fn calls(text: &str) -> Vec<WantedCall> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['{', '[']) {
        let tail = &rest[start..];
        let mut stream = serde_json::Deserializer::from_str(tail).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                let end = stream.byte_offset().max(1);
                collect(value, &mut found);
                rest = &tail[end..];
            }
            _ => rest = &tail[1..],
        }
        if found.len() >= MAX_CALLS {
            found.truncate(MAX_CALLS);
            break;
        }
    }
    found
}

fn collect(value: Value, found: &mut Vec<WantedCall>) {
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| collect(item, found)),
        Value::Object(mut object) => {
            if let Some(Value::String(tool)) = object.remove("tool") {
                let args = object.remove("args").unwrap_or_else(|| Value::Object(object));
                found.push(WantedCall { tool, args });
            }
        }
        _ => {}
    }
}

/// The first fenced block; one that is never closed reaches to the end, because decoding stops
/// before the closing fence.
fn block(text: &str) -> Option<String> {
    let open = text.find("```")?;
    let after = &text[open + 3..];
    let (_, body) = after.split_once('\n')?;
    let end = closing(body).unwrap_or(body.len());
    Some(body[..end].trim_end().to_owned() + "\n")
}

fn closing(body: &str) -> Option<usize> {
    let mut offset = 0;
    for line in body.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fenced_block_is_code_whether_closed_or_cut_by_a_stop_text() {
        let want = Reply::Code("def f():\n    return 1\n".into());
        assert_eq!(read("Sure:\n```python\ndef f():\n    return 1\n```\nDone", None), want);
        assert_eq!(read("```python\ndef f():\n    return 1", Some("```python\ndef f():\n")), want);
    }

    #[test]
    fn a_whole_block_after_a_forced_beginning_replaces_it() {
        let text = "```python\ndef f():\n```python\ndef f():\n    return 2\n```";
        let want = Reply::Code("def f():\n    return 2\n".into());
        assert_eq!(read(text, Some("```python\ndef f():\n")), want);
    }

    #[test]
    fn tool_calls_are_read_alone_several_in_an_array_and_behind_a_forced_beginning() {
        let call = |tool: &str| WantedCall { tool: tool.into(), args: json!({"path": "a"}) };
        let one = r#"{"tool":"read","args":{"path":"a"}}"#;
        assert_eq!(read(one, None), Reply::Calls(vec![call("read")]));
        let flat = r#"{"tool":"read","path":"a"}"#;
        assert_eq!(read(flat, None), Reply::Calls(vec![call("read")]));
        let two = format!("first {one} then\n```json\n[{}]\n```", one.replace("read", "list"));
        assert_eq!(read(&two, None), Reply::Calls(vec![call("read"), call("list")]));
        let prefix = "```python\ndef f():\n";
        assert_eq!(read(&format!("{prefix}{one}"), Some(prefix)), Reply::Calls(vec![call("read")]));
    }

    #[test]
    fn a_dictionary_in_code_is_not_a_call() {
        let text = "```python\ndef f():\n    return {\"tool\": x, 'a': [1]}\n```";
        assert!(matches!(read(text, None), Reply::Code(_)));
    }

    #[test]
    fn talk_and_an_empty_block_are_nothing_usable() {
        assert_eq!(read("I would change the loop.", None), Reply::Talk);
        assert_eq!(read("```python\n\n```", None), Reply::Talk);
        assert_eq!(read("", None), Reply::Talk);
    }

    #[test]
    fn a_flood_of_calls_is_cut() {
        let text = r#"{"tool":"list"}"#.repeat(50);
        let Reply::Calls(calls) = read(&text, None) else { panic!() };
        assert_eq!(calls.len(), MAX_CALLS);
    }
}
