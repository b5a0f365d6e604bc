//! The router over engines whose replies are scripted.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use fleet_runtime::actor::System;
use fleet_runtime::{Incarnation, NodeId};

use super::*;
use crate::{ChatMessage, Engine, MockEngine, MockOptions, Script};

const DEADLINE: Duration = Duration::from_secs(20);

struct World {
    system: System,
    engines: Vec<Arc<MockEngine>>,
    router: EngineRouter,
}

impl World {
    /// One engine a script, each on a node of its own, all with one name.
    async fn new(scripts: &[&str], queue: usize) -> Self {
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        let (mut engines, mut served) = (Vec::new(), Vec::new());
        for (n, script) in scripts.iter().enumerate() {
            let script = Script::parse(&format!("replies: [{script}]")).unwrap();
            let options = MockOptions { name: "local".into(), script, queue, ..MockOptions::default() };
            let engine = Arc::new(MockEngine::new(options));
            let handle = EngineHandle::start(&system, format!("engine-{n}"), engine.clone()).await.unwrap();
            engines.push(engine);
            served.push(Served { name: "local".into(), node: format!("node-{n}"), handle });
        }
        let router = EngineRouter::new(only(served), Wanted::LikeEngine("local".into()));
        Self { system, engines, router }
    }

    async fn ask(&self, text: &str) -> Result<String, EngineError> {
        let request = Request::new(vec![ChatMessage::user(text)], 50);
        self.router.complete(request, DEADLINE, |_, _| {}).await.map(|done| done.text)
    }

    fn done(&self) -> Vec<u64> {
        self.engines.iter().map(|engine| engine.stats().completed).collect()
    }
}

const SAYS: &str = "{ text: fine }";
const CRASHES: &str = "{ text: half a reply, action: crash, after_tokens: 1 }";

#[tokio::test]
async fn what_is_asked_at_once_is_spread_and_what_begins_alike_stays_together() {
    let world = World::new(&[SAYS, SAYS, SAYS], 64).await;
    let many = (0..30).map(|n| format!("{n} {}", "some text ".repeat(20)));
    let asked = join_all(many.collect::<Vec<_>>().iter().map(|text| world.ask(text))).await;
    assert!(asked.into_iter().all(|said| said.unwrap() == "fine"));
    assert!(world.done().iter().all(|n| *n >= 8), "{:?}", world.done());

    let world = World::new(&[SAYS, SAYS, SAYS], 64).await;
    for _ in 0..6 {
        world.ask("the same question of the same project").await.unwrap();
    }
    assert_eq!(world.done(), [6, 0, 0]);
}

#[tokio::test]
async fn where_an_engine_goes_away_another_one_answers_and_it_is_left_alone_for_a_while() {
    let world = World::new(&[CRASHES, SAYS], 64).await;
    for n in 0..5 {
        assert_eq!(world.ask(&format!("question {n}")).await.unwrap(), "fine");
    }
    assert_eq!((world.done(), world.engines[0].stats().failed), (vec![0, 5], 1));
    let alone = World::new(&[CRASHES], 64).await;
    assert_eq!(alone.ask("x").await, Err(EngineError::Gone));
}

#[tokio::test]
async fn a_stream_that_said_something_is_not_begun_anew() {
    let world = World::new(&[CRASHES, SAYS], 64).await;
    let request = Request::new(vec![ChatMessage::user("x")], 50);
    let mut answer = world.router.stream(request.clone(), DEADLINE).await.unwrap();
    assert!(matches!(answer.next().await, Some(TokenEvent::Text { .. })));
    let mut last = None;
    while let Some(event) = answer.next().await {
        last = Some(event);
    }
    assert_eq!(last, Some(TokenEvent::Failed(EngineError::Gone)));
    // The next one goes to the other engine.
    let mut answer = world.router.stream(request, DEADLINE).await.unwrap();
    while let Some(event) = answer.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TokenEvent::Done(_))));
}

#[tokio::test]
async fn busy_engines_are_passed_over_and_where_all_are_that_is_said() {
    let hangs = "{ text: '', action: hang }";
    let world = World::new(&[hangs, hangs], 1).await;
    let request = || Request::new(vec![ChatMessage::user("x")], 50);
    let router = world.router.clone();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (router, request) = (router.clone(), request());
            tokio::spawn(async move { router.complete(request, DEADLINE, |_, _| {}).await.map(|_| ()) })
        })
        .collect();
    while world.engines.iter().map(|engine| engine.stats().active).sum::<u32>() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(matches!(world.ask("y").await, Err(EngineError::Busy { .. })));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    // Cancelled ones don't count as waiting any more.
    let free = async {
        while world.engines.iter().any(|engine| engine.stats().active > 0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, free).await.unwrap();
}

#[tokio::test]
async fn engines_are_wanted_by_name_or_model_and_a_wrong_request_is_not_carried_around() {
    let world = World::new(&[SAYS, SAYS], 64).await;
    let by = |wanted: &str| world.router.wanting(Wanted::Called(wanted.into()));
    assert_eq!(by("local").candidates().await.len(), 2);
    assert_eq!(by("mock:excellent").candidates().await.len(), 2);
    assert_eq!(by("other").info().await.err(), Some(EngineError::Gone));
    let long = Request::new(vec![ChatMessage::user("word ".repeat(40_000))], 50);
    let refused = world.router.complete(long, DEADLINE, |_, _| {}).await;
    assert!(matches!(refused, Err(EngineError::PromptTooLong { .. })), "{refused:?}");
    assert_eq!(world.engines.iter().map(|engine| engine.stats().failed).sum::<u64>(), 1);
    drop(world.system);
}

#[tokio::test]
async fn requests_follow_their_pinned_beginning_and_leave_an_engine_that_is_drained() {
    let world = World::new(&[SAYS, SAYS], 64).await;
    let beginning = || ChatMessage::system("what all of the council are shown ".repeat(20));
    let _pinned = world.router.pin("", &[beginning()], DEADLINE).await.unwrap();
    let at = world.engines.iter().position(|engine| engine.stats().prefix_entries == 1).unwrap();
    for n in 0..4 {
        let request = Request::new(vec![beginning(), ChatMessage::user(format!("question {n}"))], 10);
        world.router.complete(request, DEADLINE, |_, _| {}).await.unwrap();
    }
    assert_eq!(world.done()[at], 4);
    let there = world.router.served().await;
    there[at].handle.drain(true, DEADLINE).await.unwrap();
    world.ask("anything").await.unwrap();
    let request = Request::new(vec![beginning(), ChatMessage::user("one more")], 10);
    world.router.complete(request, DEADLINE, |_, _| {}).await.unwrap();
    assert_eq!(world.done()[1 - at], 2);
    there[1 - at].handle.drain(true, DEADLINE).await.unwrap();
    assert_eq!(world.ask("anything").await.unwrap_err(), EngineError::Draining);
}
