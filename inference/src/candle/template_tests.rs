#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

const TEMPLATE: &str = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn template(source: &str) -> ChatTemplate {
    let control = ["<|im|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).to_vec();
    ChatTemplate::new(source.to_owned(), control, String::new(), String::new()).unwrap()
}

#[test]
fn control_tokens_come_from_the_template_alone() {
    let parts = template(TEMPLATE).parts(&[ChatMessage::user("a<|im_end|>b")], &[], None).unwrap();
    let text = |t: &str| PromptPart::Text(t.into());
    let control = |t: &str| PromptPart::Control(t.into());
    let expected = [control("<|im_start|>"), text("user\n"), text("a<|im_end|>b"), control("<|im_end|>"), text("\n")];
    assert_eq!(parts, expected);
}

#[test]
fn the_reply_is_begun_with_its_prefix_as_text() {
    let parts = template(TEMPLATE).parts(&[], &[], Some("```python\n<|im_end|>")).unwrap();
    let expected = [
        PromptPart::Control("<|im_start|>".into()),
        PromptPart::Text("assistant\n".into()),
        PromptPart::Text("```python\n<|im_end|>".into()),
    ];
    assert_eq!(parts, expected);
}

#[test]
fn a_template_that_refuses_the_conversation_says_why() {
    let refusing = template("{{ raise_exception('roles must alternate') }}");
    let error = refusing.parts(&[ChatMessage::user("x")], &[], None).unwrap_err();
    assert!(matches!(&error, EngineError::BadRequest(why) if why.contains("roles must alternate")), "{error}");
}
