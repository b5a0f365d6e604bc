//! The engine with a real model, the smallest of the catalogue (some 20 tokens a second: few and short).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::OnceCell;

use super::*;
use crate::testing::{DEADLINE, complete};
use crate::{Constraint, Sampling, TokenEvent};

const NAME: &str = "smollm2-135m-instruct";

/// Where the model lies. Its absence is a failure: a skipped test proves nothing.
fn model() -> PathBuf {
    let store = ModelStore::of_user().unwrap();
    store.path(NAME).unwrap_or_else(|e| panic!("run `make setup`: {e}"))
}

fn open(kv_memory: ByteSize) -> Arc<CandleEngine> {
    let options = CandleOptions { context: 1024, kv_memory: Some(kv_memory), step: 32, ..CandleOptions::default() };
    Arc::new(CandleEngine::open(model(), options).unwrap())
}

/// One engine for the tests that don't care which: loading and the threads are shared by a process anyhow.
async fn shared() -> Arc<CandleEngine> {
    static ENGINE: OnceCell<Arc<CandleEngine>> = OnceCell::const_new();
    Arc::clone(ENGINE.get_or_init(|| async { open(ByteSize::mib(64)) }).await)
}

fn ask(text: &str, max_tokens: u32) -> Request {
    Request::new(vec![ChatMessage::user(text)], max_tokens)
}

/// Some 70 tokens, to be longer than a chunk or two.
fn long_text() -> String {
    let code = "def total(xs):\n    acc = 0\n    for x in xs:\n        acc += x\n    return acc\n";
    format!("Here is some code.\n{}", code.repeat(2))
}

#[tokio::test]
async fn a_reused_prefix_gives_the_same_tokens_as_a_computed_one() {
    let engine = shared().await;
    let prompts = ["Rename acc.", "Explain it.", "Explain it."].map(|task| format!("{}{task}", long_text()));
    let mut cached = Vec::new();
    for (i, prompt) in prompts.into_iter().enumerate() {
        let of = |project: String| Request { project, ..ask(&prompt, 8) };
        let reused = complete(engine.as_ref(), of("one".into())).await.unwrap();
        let computed = complete(engine.as_ref(), of(format!("other {i}"))).await.unwrap();
        assert_eq!(reused.text, computed.text);
        assert_eq!(computed.usage.cached_tokens, 0, "projects share nothing");
        cached.push(reused.usage.cached_tokens);
    }
    assert!(cached[0] == 0 && cached[1] >= 64 && cached[2] >= cached[1], "{cached:?}");
}

#[tokio::test]
async fn a_request_gives_the_same_tokens_alone_and_among_many() {
    let engine = shared().await;
    let request = |n: usize| Request {
        sampling: Sampling { temperature: 0.8, top_p: 0.9, seed: n as u64, ..Sampling::default() },
        // Nothing is taken from earlier ones, so that the prompts are computed in every mixture.
        project: format!("{n} {}", uuid::Uuid::new_v4()),
        ..ask(&format!("{}Say {n}.", "Some words before. ".repeat(n * 3)), 12)
    };
    let mut alone = Vec::new();
    for n in 0..6 {
        alone.push(complete(engine.as_ref(), request(n)).await.unwrap().text);
    }
    let together = (0..6).map(|n| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { complete(engine.as_ref(), request(n)).await.unwrap().text })
    });
    for (one, other) in alone.into_iter().zip(futures::future::join_all(together).await) {
        assert_eq!(other.unwrap(), one);
    }
}

#[tokio::test]
async fn requests_with_one_beginning_compute_it_once_though_they_come_together() {
    let engine = shared().await;
    let project = uuid::Uuid::new_v4().to_string();
    let start = long_text().repeat(4);
    let streams: Vec<_> = (0..4)
        .map(|n| engine.submit(Request { project: project.clone(), ..ask(&format!("{start}Part {n}."), 4) }).unwrap())
        .collect();
    let mut computed = Vec::new();
    for mut stream in streams {
        while let Some(event) = stream.next().await {
            if let TokenEvent::Done(usage) = event {
                computed.push(usage.prompt_tokens - usage.cached_tokens);
            }
        }
    }
    computed.sort_unstable();
    assert!(computed.len() == 4 && computed[2] < 64 && computed[3] > 200, "{computed:?}");
}

#[tokio::test]
async fn guessing_ahead_changes_no_token() {
    let guessing = shared().await;
    let options = CandleOptions { context: 1024, draft: 0, ..CandleOptions::default() };
    let plain = CandleEngine::open(model(), options).unwrap();
    let repeat = format!("Repeat this code exactly.\n{}", long_text());
    let before = guessing.stats().guessed_right;
    for sampling in [Sampling::default(), Sampling { temperature: 0.7, seed: 3, ..Sampling::default() }] {
        let request = || Request { sampling, ..ask(&repeat, 40) };
        let with = complete(guessing.as_ref(), request()).await.unwrap();
        assert_eq!(with.text, complete(&plain, request()).await.unwrap().text);
    }
    assert!(guessing.stats().guessed_right > before, "nothing was guessed");
}

#[tokio::test]
async fn how_likely_each_token_was_can_be_asked_for() {
    let request = Request { logprobs: Some(3), ..ask("What is the capital of France?", 4) };
    let reply = complete(shared().await.as_ref(), request).await.unwrap();
    assert_eq!(reply.logprobs.len(), reply.usage.completion_tokens as usize);
    for token in &reply.logprobs {
        // Greedy: the chosen one is the likeliest.
        assert_eq!((token.top.len(), &token.top[0].0, token.top[0].1), (3, &token.bytes, token.logprob));
        assert!(token.logprob <= 0.0 && token.top.is_sorted_by(|a, b| a.1 >= b.1));
    }
}

#[tokio::test]
async fn thousands_of_cancelled_requests_leave_nothing_behind() {
    let engine = open(ByteSize::mib(64));
    complete(engine.as_ref(), ask("Hi", 1)).await.unwrap();
    for round in 0..200 {
        let streams: Vec<_> = (0..50).filter_map(|n| engine.submit(ask(&format!("{round} {n}"), 200)).ok()).collect();
        if round % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(streams);
    }
    let free = async {
        while engine.stats().kv_held_bytes > 0 || engine.stats().queued > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, free).await.unwrap();
    assert_eq!(engine.stats().active, 0);
    let reply = complete(engine.as_ref(), ask("Hi", 2)).await.unwrap();
    assert_eq!(reply.usage.completion_tokens, 2);
}

#[tokio::test]
async fn the_assistant_turn_goes_on_from_its_prefix() {
    let request = Request {
        assistant_prefix: Some("The capital of France is the city of".into()),
        ..ask("What is the capital of France?", 3)
    };
    let reply = complete(shared().await.as_ref(), request).await.unwrap();
    assert!(reply.text.starts_with("The capital of France is the city of Paris"), "{}", reply.text);
    assert_eq!((reply.usage.completion_tokens, reply.usage.finish, reply.mock), (3, Finish::Length, false));
    assert_eq!(reply.model, "SmolLM2-135M-Instruct.Q4_1");
}

#[tokio::test]
async fn a_schema_is_kept_to_and_a_choice_is_one_of_its_texts() {
    let engine = shared().await;
    let schema = r#"{"type":"object","properties":{"tool":{"enum":["read","write"]},"line":{"type":"integer","minimum":1,"maximum":99}},"required":["tool","line"],"additionalProperties":false}"#;
    let request = Request { constraint: Constraint::JsonSchema(schema.into()), ..ask("Read line 42.", 40) };
    let text = complete(engine.as_ref(), request).await.unwrap().text;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(["read", "write"].contains(&value["tool"].as_str().unwrap()), "{text}");
    assert!((1..=99).contains(&value["line"].as_i64().unwrap()), "{text}");
    let choices = vec!["needs \"work\"".to_owned(), "looks good".to_owned()];
    let request = Request { constraint: Constraint::Choice(choices.clone()), ..ask("Review this.", 10) };
    let text = complete(engine.as_ref(), request).await.unwrap().text;
    assert!(choices.contains(&text), "{text}");
}

#[tokio::test]
async fn a_seed_gives_the_same_text_again_and_another_seed_another() {
    let engine = shared().await;
    let sampled = |seed| Request {
        sampling: Sampling { temperature: 1.0, top_p: 0.95, seed, ..Sampling::default() },
        ..ask("Tell me a story.", 6)
    };
    let one = complete(engine.as_ref(), sampled(1)).await.unwrap().text;
    assert_eq!(complete(engine.as_ref(), sampled(1)).await.unwrap().text, one);
    assert_ne!(complete(engine.as_ref(), sampled(2)).await.unwrap().text, one);
}

#[tokio::test]
async fn a_cancelled_request_frees_the_engine_for_the_next() {
    let engine = open(ByteSize::b(0));
    let mut long = engine.submit(ask("Write a very long story.", 900)).unwrap();
    assert!(matches!(long.next().await, Some(TokenEvent::Text { .. })));
    drop(long);
    let reply = tokio::time::timeout(DEADLINE, complete(engine.as_ref(), ask("Hi", 2))).await;
    assert_eq!(reply.unwrap().unwrap().usage.completion_tokens, 2);
    assert_eq!(engine.stats().cancelled, 1);
}

#[tokio::test]
async fn a_stop_text_is_not_part_of_the_reply() {
    let prefix = "The capital of France is the city of";
    let request = Request {
        stop: vec!["Paris".into()],
        assistant_prefix: Some(prefix.into()),
        ..ask("What is the capital of France?", 8)
    };
    let reply = complete(shared().await.as_ref(), request).await.unwrap();
    assert_eq!((reply.text.trim_end(), reply.usage.finish), (prefix, Finish::Stop));
}

#[tokio::test]
async fn a_prompt_that_leaves_no_room_is_refused_with_both_numbers() {
    let error = complete(shared().await.as_ref(), ask(&"word ".repeat(600), 500)).await.unwrap_err();
    let EngineError::PromptTooLong { prompt_tokens, allowed: 524, context: 1024, max_tokens: 500 } = error else {
        panic!("{error:?}")
    };
    assert!(prompt_tokens > 600, "{error}");
    assert!(error.to_string().contains("524") && error.to_string().contains(&prompt_tokens.to_string()));
}

#[tokio::test]
async fn a_request_whose_deadline_has_passed_fails_and_says_so() {
    let request = Request { deadline: Duration::from_millis(1), ..ask("Hi", 200) };
    let error = complete(shared().await.as_ref(), request).await.unwrap_err();
    assert_eq!(error, EngineError::Deadline { after_ms: 1 });
}

#[tokio::test]
async fn a_pinned_prefix_is_there_for_the_first_prompt_that_begins_with_it() {
    let engine = open(ByteSize::mib(64));
    let pinned = vec![ChatMessage::system("You are terse."), ChatMessage::user(long_text())];
    let pin = engine.pin("", &pinned).unwrap();
    // Something else in between, so that only the copy can help.
    complete(engine.as_ref(), ask("Hi", 1)).await.unwrap();
    let reply = complete(engine.as_ref(), Request::new(pinned, 1)).await.unwrap();
    assert!(reply.usage.cached_tokens >= 64, "{:?}", reply.usage);
    assert!(engine.stats().prefix_entries >= 1);
    engine.unpin(pin);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_fails_the_engine_and_every_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let whole = std::fs::read(model()).unwrap();
    let mut other_version = whole[..4096].to_vec();
    other_version[4] = 9;
    let cases: [(&[u8], &str); 5] = [
        (&whole[..whole.len() / 2], "cut short"),
        (&whole[..100_000], "cut short"),
        (b"PK\x03\x04 this is a zip archive, not a model", "not a GGUF file"),
        (b"GGUF", "that is no model"),
        (&other_version, "version 9"),
    ];
    for (bytes, why) in cases {
        std::fs::write(&path, bytes).unwrap();
        let engine = Arc::new(CandleEngine::open(&path, CandleOptions::default()).unwrap());
        let error = complete(engine.as_ref(), ask("Hi", 1)).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(matches!(engine.info().state, EngineState::Failed { .. }));
    }
}

mod tokens {
    use super::super::template::ChatTemplate;
    use super::super::tokenizer::{ModelTokenizer, PromptPart};
    use super::*;
    use crate::Quantise;
    use crate::checkpoint::Checkpoint;

    fn load() -> (ModelTokenizer, ChatTemplate) {
        let file = Checkpoint::open(&model(), Quantise::Q8_0).unwrap();
        let tokenizer = ModelTokenizer::load(&file).unwrap();
        let template = ChatTemplate::load(&file, &tokenizer).unwrap();
        (tokenizer, template)
    }

    fn text(tokenizer: &ModelTokenizer, ids: &[u32]) -> String {
        let bytes = ids.iter().flat_map(|id| tokenizer.bytes(*id).to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_conversation_has_the_tokens_that_the_model_was_trained_with() {
        let (tokenizer, template) = load();
        let messages = [ChatMessage::system("Be kind."), ChatMessage::user("Hi 2024")];
        let parts = template.parts(&messages, &[], Some("")).unwrap();
        let spelled: String = parts
            .iter()
            .map(|p| match p {
                PromptPart::Text(text) | PromptPart::Control(text) => text.as_str(),
            })
            .collect();
        assert_eq!(
            spelled,
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi 2024<|im_end|>\n<|im_start|>assistant\n"
        );
        let ids = tokenizer.encode_prompt(&parts).unwrap();
        assert_eq!(
            ids,
            [1, 9690, 198, 6077, 1942, 30, 2, 198, 1, 4093, 198, 26843, 216, 34, 32, 34, 36, 2, 198, 1, 520, 9531, 198]
        );
    }

    #[test]
    fn digits_spaces_and_other_scripts_come_back_as_they_were() {
        let (tokenizer, _) = load();
        for sample in ["", " leading", "a  b\t\tc\n\n\n", "x=1234567890", "naïve café 日本語 🙂", "\u{0}\u{7f}"]
        {
            let ids = tokenizer.encode(sample).unwrap();
            assert_eq!(text(&tokenizer, &ids), sample);
        }
        // Each digit is a token of its own, without a space put in front.
        assert_eq!(tokenizer.encode("2024").unwrap(), [34, 32, 34, 36]);
    }
}
