#![allow(clippy::unwrap_used, clippy::expect_used)]
use futures::StreamExt;

use super::*;
use crate::TokenEvent;
use crate::testing::{DEADLINE, complete, complete_seeing};

fn engine(script: &str) -> MockEngine {
    MockEngine::new(MockOptions { script: Script::parse(script).unwrap(), ..MockOptions::default() })
}

fn ask(max_tokens: u32) -> Request {
    Request::new(vec![ChatMessage::user("hello")], max_tokens)
}

#[tokio::test]
async fn a_scripted_reply_comes_in_tokens_and_is_labelled_mock() {
    let mut seen = Vec::new();
    let engine = engine("replies: [{ text: 'one two three' }]");
    let reply = complete_seeing(&engine, ask(100), |text, tokens| seen.push((text.to_owned(), tokens))).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.mock, reply.model.as_str()), ("one two three", true, "mock:excellent"));
    assert_eq!((reply.usage.completion_tokens, reply.usage.finish), (4, Finish::Stop));
    assert_eq!(seen.iter().map(|(t, _)| t.as_str()).collect::<String>(), "one two three");
    assert_eq!(seen.iter().map(|(_, n)| n).sum::<u32>(), 4);
}

#[tokio::test]
async fn stop_texts_and_max_tokens_are_kept_to() {
    let engine = engine("replies: [{ text: 'one two three' }]");
    let stopped = complete(&engine, Request { stop: vec!["two".into()], ..ask(100) }).await.unwrap();
    assert_eq!((stopped.text.as_str(), stopped.usage.finish), ("one ", Finish::Stop));
    let cut = complete(&engine, ask(2)).await.unwrap();
    assert_eq!((cut.text.as_str(), cut.usage.finish), ("one two ", Finish::Length));
}

#[tokio::test]
async fn the_prefix_is_said_once() {
    let engine = engine("replies: [{ text: 'def f(x): pass' }]");
    let request = Request { assistant_prefix: Some("def f(".into()), ..ask(100) };
    assert_eq!(complete(&engine, request).await.unwrap().text, "def f(x): pass");
}

#[tokio::test]
async fn a_crash_ends_the_stream_and_the_next_request_is_served() {
    let engine = engine("replies: [{ attempt: 0, action: crash, after_tokens: 1, text: abcdefgh }, { text: fine }]");
    let events: Vec<_> = engine.submit(ask(10)).unwrap().collect().await;
    assert_eq!(events.last(), Some(&TokenEvent::Failed(EngineError::Gone)));
    let mut second = ask(10);
    second.tag.attempt = 1;
    assert_eq!(complete(&engine, second).await.unwrap().text, "fine");
}

#[tokio::test]
async fn a_hanging_request_ends_at_its_deadline() {
    let engine = engine("replies: [{ action: hang }]");
    let request = Request { deadline: Duration::from_millis(100), ..ask(10) };
    assert_eq!(complete(&engine, request).await.unwrap_err(), EngineError::Deadline { after_ms: 100 });
}

#[tokio::test]
async fn a_flood_goes_on_beyond_max_tokens_within_bounds_and_ends_with_its_reader() {
    let engine = engine("replies: [{ action: flood, text: 'water ' }]");
    let mut stream = engine.submit(ask(3)).unwrap();
    let mut bytes = 0;
    while bytes < 3 * FLOOD_UNREAD {
        let Some(TokenEvent::Text { text, .. }) = stream.next().await else { panic!("the flood ended") };
        assert!(text.len() <= FLOOD_UNREAD + 64);
        bytes += text.len();
    }
    drop(stream);
    let ended = async {
        while engine.stats().cancelled == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.unwrap();
}

#[tokio::test]
async fn more_requests_than_the_queue_holds_are_refused() {
    let script = Script::parse("replies: [{ action: hang }]").unwrap();
    let engine = MockEngine::new(MockOptions { script, queue: 2, ..MockOptions::default() });
    let _held = (engine.submit(ask(1)).unwrap(), engine.submit(ask(1)).unwrap());
    assert_eq!(engine.submit(ask(1)).unwrap_err(), EngineError::Busy { queued: 2 });
}
