#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use proptest::prelude::*;
use toktrie::{ApproximateTokEnv, TokEnv};

use super::*;

const ROME: &str = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";

fn named(calls: &[ToolCall]) -> Vec<(&str, &str)> {
    calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect()
}

#[test]
fn calls_are_taken_out_and_what_is_said_around_them_stays() {
    let text = format!("I look.\n{ROME}\n{}\nDone.", ROME.replace("Rome", "Oslo"));
    let (content, calls) = split(&text);
    assert_eq!(content, "I look.Done.");
    assert_eq!(named(&calls), [("weather", r#"{"city":"Rome"}"#), ("weather", r#"{"city":"Oslo"}"#)]);
    assert_ne!(calls[0].id, calls[1].id);
}

#[test]
fn text_without_calls_is_left_as_it_is() {
    for text in ["", "  a < b \n", "<tool", "x <tool_call", "\n\n"] {
        assert_eq!(split(text), (text.to_owned(), vec![]));
    }
}

#[test]
fn what_only_looks_like_a_call_is_text_and_a_call_after_it_counts() {
    let wrong = "<tool_call>{\"name\": 3}</tool_call>";
    let (content, calls) = split(&format!("{wrong}{ROME}"));
    assert_eq!((content.as_str(), calls.len()), (wrong, 1));
    let cut = "<tool_call>{\"name\": \"now\"</tool_call>";
    let (content, calls) = split(&format!("{cut}{ROME}"));
    assert_eq!((content.as_str(), calls.len()), (cut, 1));
    assert_eq!(split("<tool_call>{\"name\": \"a\"").0, "<tool_call>{\"name\": \"a\"");
}

#[test]
fn a_mark_inside_an_argument_ends_nothing() {
    let text = r#"<tool_call>{"name": "write", "arguments": {"text": "a </tool_call> b"}}</tool_call>"#;
    assert_eq!(named(&split(text).1), [("write", r#"{"text":"a </tool_call> b"}"#)]);
}

#[test]
fn a_call_that_lacks_its_closing_mark_counts_and_arguments_may_be_missing_or_encoded_twice() {
    assert_eq!(named(&split("<tool_call>\n{\"name\": \"now\"}").1), [("now", "{}")]);
    let twice = r#"<tool_call>{"name": "f", "arguments": "{\"x\": 1}"}</tool_call>"#;
    assert_eq!(named(&split(twice).1), [("f", r#"{"x": 1}"#)]);
}

#[test]
fn text_comes_at_once_and_a_call_when_it_is_whole() {
    let mut splitter = Splitter::default();
    assert_eq!(splitter.push("I look. <to"), [Piece::Text("I look.".into())]);
    assert_eq!(splitter.push("ol_call>{\"name\": \"now\""), []);
    assert!(matches!(splitter.push("}</tool_call> ").as_slice(), [Piece::Call(call)] if call.name == "now"));
    assert_eq!(splitter.finish(), []);
}

fn tool(name: &str, parameters: &str) -> ToolSpec {
    ToolSpec { name: name.into(), description: String::new(), parameters: parameters.into() }
}

/// Whether a grammar takes this text, and whether the text may end there.
fn accepts(constraint: Result<Constraint, EngineError>, text: &str) -> bool {
    let Ok(Constraint::Lark(grammar)) = constraint else { panic!("{constraint:?}") };
    let env: TokEnv = ApproximateTokEnv::single_byte_env();
    let factory = Arc::new(ParserFactory::new_simple(&env).unwrap());
    let mut matcher = Matcher::new(factory.create_parser(TopLevelGrammar::from_lark(grammar)));
    assert_eq!(matcher.get_error(), None);
    text.bytes().all(|byte| matcher.consume_token(u32::from(byte)).is_ok()) && matcher.is_accepting().unwrap()
}

#[test]
fn a_required_call_is_held_to_the_form_and_to_the_schema_of_its_arguments() {
    let city = r##"{"type": "object", "properties": {"city": {"$ref": "#/$defs/City"}}, "required": ["city"],
        "additionalProperties": false, "$defs": {"City": {"type": "string"}}}"##;
    let tools = [tool("weather", city), tool("now", "")];
    let required = |text: &str| accepts(constraint(&tools, &ToolChoice::Required, 2), text);
    let now = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    assert!(required(ROME) && required(now) && required(&format!("{ROME}\n{now}")));
    assert!(!required(&format!("{ROME}\n{now}\n{now}")), "two at most");
    assert!(!required("It rains."));
    assert!(!required(&ROME.replace("\"Rome\"", "3")));
    let named = |text: &str| accepts(constraint(&tools, &ToolChoice::Named("now".into()), 2), text);
    assert!(named(now) && !named(ROME) && !named(&format!("{now}\n{now}")));
}

#[test]
fn a_model_that_may_decide_is_held_to_nothing_or_to_the_form_of_its_answer() {
    let tools = [tool("now", "")];
    assert_eq!(constraint(&tools, &ToolChoice::Auto, 1).unwrap(), Constraint::None);
    let either = calls_or_answer(&tools, r#"{"type": "integer"}"#, 1);
    assert!(accepts(either.clone(), "17") && !accepts(either.clone(), "x"));
    assert!(accepts(either, "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"));
}

#[test]
fn a_schema_that_cannot_be_held_is_refused_with_its_tool() {
    let tools = [tool("now", ""), tool("roll", r#"{"properties": {"dice": {"uniqueItems": true}}}"#)];
    let refused = constraint(&tools, &ToolChoice::Required, 1).unwrap_err().to_string();
    assert!(
        refused.contains(r#"tool "roll""#) && refused.contains(r#""uniqueItems" at #/properties/dice"#),
        "{refused}"
    );
    assert!(calls_or_answer(&tools[..1], "{", 1).is_err());
}

proptest! {
    #[test]
    fn it_makes_no_difference_in_which_pieces_a_text_comes(
        parts in proptest::collection::vec(prop_oneof![Just(ROME.to_owned()), "[a<\n tol_]{0,6}", Just(OPEN.to_owned())], 0..5),
        cut in 1_usize..9,
    ) {
        let text = parts.concat();
        let mut splitter = Splitter::default();
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in text.as_bytes().chunks(cut) {
            pieces.extend(splitter.push(std::str::from_utf8(piece).unwrap()));
        }
        pieces.extend(splitter.finish());
        let mut content = String::new();
        let mut calls = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(more) => content.push_str(&more),
                Piece::Call(call) => calls.push(call),
            }
        }
        let (whole, all) = split(&text);
        prop_assert_eq!(content, whole);
        prop_assert_eq!(named(&calls), named(&all));
    }
}
