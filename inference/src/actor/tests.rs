#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Duration;

use fleet_runtime::actor::{System, check_wire};
use fleet_runtime::{Incarnation, NodeId};

use super::*;
use crate::{ChatMessage, MockEngine, MockOptions, Sampling, Script};

const DEADLINE: Duration = Duration::from_secs(20);

async fn start(script: &str) -> (System, EngineHandle, Arc<MockEngine>) {
    let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
    let script = Script::parse(script).unwrap();
    let engine = Arc::new(MockEngine::new(MockOptions { script, ..MockOptions::default() }));
    let handle = EngineHandle::start(&system, "engine", engine.clone()).await.unwrap();
    (system, handle, engine)
}

fn ask(max_tokens: u32) -> Request {
    Request::new(vec![ChatMessage::user("hello")], max_tokens)
}

/// Waits for the engine to have nothing at work.
async fn idle(engine: &MockEngine) -> EngineStats {
    let idle = async {
        loop {
            let stats = engine.stats();
            if stats.active == 0 {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, idle).await.unwrap()
}

#[tokio::test]
async fn a_completion_comes_through_the_actor_with_its_label() {
    let (_system, handle, _) = start("replies: [{ text: one two three }]").await;
    let mut seen = String::new();
    let request = Request { assistant_prefix: Some("> ".into()), ..ask(100) };
    let reply = handle.complete(request, DEADLINE, |text, _| seen.push_str(text)).await.unwrap();
    assert_eq!((reply.text.as_str(), seen.as_str(), reply.mock), ("> one two three", "one two three", true));
    assert_eq!(handle.info(DEADLINE).await.unwrap().model, "mock:excellent");
    assert_eq!(handle.stats(DEADLINE).await.unwrap().completed, 1);
}

#[tokio::test]
async fn a_refusal_reaches_the_asker() {
    let (_system, handle, _) = start("replies: []").await;
    let error = handle.complete(ask(1_000_000), DEADLINE, |_, _| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::PromptTooLong { max_tokens: 1_000_000, .. }), "{error:?}");
}

#[tokio::test]
async fn a_hanging_engine_is_left_at_the_deadline_and_freed() {
    let (_system, handle, engine) = start("replies: [{ action: hang, after_tokens: 1, text: abcd }]").await;
    let error = handle.complete(ask(10), Duration::from_millis(200), |_, _| {}).await.unwrap_err();
    assert_eq!(error, EngineError::Deadline { after_ms: 200 });
    idle(&engine).await;
}

#[tokio::test]
async fn an_asker_that_goes_away_cancels_its_request() {
    let (_system, handle, engine) = start("replies: [{ action: flood, text: 'water ' }]").await;
    let (seen, mut first) = tokio::sync::mpsc::channel(1);
    let asking = tokio::spawn(async move {
        handle
            .complete(ask(10), DEADLINE, |_, _| {
                let _ = seen.try_send(());
            })
            .await
    });
    first.recv().await.unwrap();
    asking.abort();
    assert_eq!(idle(&engine).await.cancelled, 1);
}

#[tokio::test]
async fn an_engine_that_crashes_or_an_actor_that_is_stopped_ends_the_request() {
    let script = "replies: [{ action: crash, after_tokens: 1, text: abcd }, { attempt: 1, action: hang }]";
    let (system, handle, engine) = start(script).await;
    assert_eq!(handle.complete(ask(10), DEADLINE, |_, _| {}).await.unwrap_err(), EngineError::Gone);
    let mut hanging = ask(10);
    hanging.tag.attempt = 1;
    let asking = tokio::spawn(async move { handle.complete(hanging, DEADLINE, |_, _| {}).await });
    let started = async {
        while engine.stats().active == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, started).await.unwrap();
    system.stop("engine").await;
    let ended = tokio::time::timeout(DEADLINE, asking).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err(), EngineError::Gone);
}

/// Takes requests and knows nothing of them: what a later life of an engine is to those who asked the one before.
struct Forgetful;

impl Actor for Forgetful {
    type Msg = EngineMsg;
    type Args = Arc<MockEngine>;

    async fn start(_: Self::Args, _: &Context<EngineMsg>) -> Result<Self, ActorError> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: EngineMsg, _: &Context<EngineMsg>) -> Result<(), ActorError> {
        match msg {
            EngineMsg::Submit { reply, .. } => reply.send(Ok(MockEngine::new(MockOptions::default()).info())),
            EngineMsg::IsDecoding { reply, .. } => reply.send(false),
            _ => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_request_that_its_engine_has_forgotten_ends_long_before_its_deadline() {
    let (system, _, engine) = start("replies: []").await;
    let options = fleet_runtime::supervise::ChildOptions::default();
    let forgetful = system.spawn::<Forgetful>("forgetful", engine, options).await.unwrap();
    let handle = EngineHandle::new(&system, forgetful);
    let began = tokio::time::Instant::now();
    let error = handle.complete(ask(10), Duration::from_secs(600), |_, _| {}).await.unwrap_err();
    assert_eq!(error, EngineError::Gone);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_engine_that_is_long_at_work_is_left_at_it() {
    let (_system, handle, _) = start("replies: [{ action: hang, after_tokens: 1, text: abcd }]").await;
    let error = handle.complete(ask(10), Duration::from_secs(1), |_, _| {}).await.unwrap_err();
    assert_eq!(error, EngineError::Deadline { after_ms: 1000 });
}

#[test]
fn messages_travel_unchanged() {
    let request = Request {
        sampling: Sampling { temperature: 0.7, seed: u64::MAX, ..Sampling::default() },
        constraint: crate::Constraint::Choice(vec!["a".into(), "b".into()]),
        ..ask(7)
    };
    assert_eq!(check_wire(&CarriedRequest(request.clone())).unwrap().0, request);
    let failed = TokenItem::Event(TokenEvent::Failed(EngineError::Busy { queued: 3 }));
    assert_eq!(format!("{:?}", check_wire(&failed).unwrap()), format!("{failed:?}"));
}

#[derive(SchemaWrite, SchemaRead)]
struct CarriedRequest(Request);

async fn pinned(engine: &MockEngine, count: u32) {
    let seen = async {
        while engine.stats().prefix_entries != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.unwrap();
}

#[tokio::test]
async fn a_prefix_is_pinned_while_its_holder_lives_and_the_actor_does() {
    let (system, handle, engine) = start("replies: [{ text: one }]").await;
    let prefix = vec![ChatMessage::system("all of the council reads this")];
    let pin = handle.pin("p", prefix.clone(), DEADLINE).await.unwrap();
    pinned(&engine, 1).await;
    // Longer than a silent one is kept.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(engine.stats().prefix_entries, 1);
    drop(pin);
    pinned(&engine, 0).await;

    let silent = handle.pin("p", prefix.clone(), DEADLINE).await.unwrap();
    pinned(&engine, 1).await;
    // Its node dies: nothing is heard any more, not even that it was let go of.
    silent.renewing.abort();
    std::mem::forget(silent);
    pinned(&engine, 0).await;

    let _held = handle.pin("p", prefix, DEADLINE).await.unwrap();
    pinned(&engine, 1).await;
    system.shutdown().await;
    pinned(&engine, 0).await;
}

#[tokio::test]
async fn a_drained_engine_ends_what_it_has_and_takes_more_when_it_is_resumed() {
    let (_system, handle, engine) = start("replies: [{ text: one two three, delay_per_token: 50ms }]").await;
    let begun = tokio::spawn({
        let handle = handle.clone();
        async move { handle.complete(ask(100), DEADLINE, |_, _| {}).await }
    });
    while engine.stats().active == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(handle.drain(true, DEADLINE).await.unwrap().state, EngineState::Draining);
    assert_eq!(handle.info(DEADLINE).await.unwrap().state, EngineState::Draining);
    let refused = handle.complete(ask(100), DEADLINE, |_, _| {}).await.unwrap_err();
    assert_eq!(refused, EngineError::Draining);
    assert_eq!(begun.await.unwrap().unwrap().text, "one two three");
    assert_eq!(handle.drain(false, DEADLINE).await.unwrap().state, EngineState::Ready);
    handle.complete(ask(100), DEADLINE, |_, _| {}).await.unwrap();
}
