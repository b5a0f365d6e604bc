//! The engine in front of a server whose answers are scripted, over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::*;
use crate::{ChatMessage, Constraint, TokenEvent};

const KEY: &str = "sk-of-the-test";

/// What the server says next.
enum Says {
    /// These chunks, then the end of the stream.
    Chunks(Vec<Value>),
    /// These chunks, then the connection breaks.
    Breaks(Vec<Value>),
    /// Nothing, for ever.
    Hangs,
    Refuses(u16, Option<u32>, Value),
}

#[derive(Clone, Default)]
struct Script {
    next: Arc<Mutex<VecDeque<Says>>>,
    asked: Arc<Mutex<Vec<Value>>>,
    gone: Arc<Mutex<u32>>,
    owner: &'static str,
}

/// Tells when the server's side of a stream is dropped.
struct Leaves(Arc<Mutex<u32>>);

impl Drop for Leaves {
    fn drop(&mut self) {
        *lock(&self.0) += 1;
    }
}

async fn models(State(script): State<Script>, headers: HeaderMap) -> Response {
    if headers.get("authorization").and_then(|key| key.to_str().ok()) != Some(&format!("Bearer {KEY}")) {
        let error = json!({ "error": { "message": "wrong key", "code": "invalid_api_key" } });
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    Json(json!({ "data": [{ "id": "big", "owned_by": script.owner, "max_model_len": 777 }] })).into_response()
}

async fn chat(State(script): State<Script>, Json(body): Json<Value>) -> Response {
    lock(&script.asked).push(body);
    let (chunks, more) = match lock(&script.next).pop_front().expect("asked more often than scripted") {
        Says::Refuses(status, after, body) => {
            let mut answer = (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
            if let Some(after) = after {
                answer.headers_mut().insert("retry-after", after.into());
            }
            return answer;
        }
        Says::Chunks(chunks) => (chunks, 0),
        Says::Breaks(chunks) => (chunks, 1),
        Says::Hangs => (vec![], 2),
    };
    let leaves = Leaves(script.gone.clone());
    let data = chunks.into_iter().map(|chunk| chunk.to_string()).chain((more == 0).then(|| "[DONE]".to_owned()));
    let events =
        stream::iter(data.collect::<Vec<_>>()).map(|data| Ok::<_, std::io::Error>(Event::default().data(data)));
    let end = stream::once(async move {
        match more {
            1 => {
                // What was said must be on its way, or the whole answer is lost.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some(Err(std::io::Error::other("cut")))
            }
            2 => std::future::pending().await,
            _ => None,
        }
    });
    let all = events.chain(end.filter_map(|end| async move { end })).map(move |event| {
        let _ = &leaves;
        event
    });
    Sse::new(all).into_response()
}

async fn embeddings(Json(body): Json<Value>) -> Json<Value> {
    let texts = body["input"].as_array().unwrap().len();
    // Out of order: the index counts.
    let data =
        (0..texts).rev().map(|n| json!({ "index": n, "embedding": [3.0 * (n + 1) as f32, 4.0 * (n + 1) as f32] }));
    Json(json!({ "data": data.collect::<Vec<_>>(), "model": "big", "usage": { "prompt_tokens": 9 } }))
}

struct World {
    engine: OpenAiEngine,
    script: Script,
    _served: tokio::task::JoinHandle<Result<(), std::io::Error>>,
}

impl World {
    async fn new(owner: &'static str, says: impl IntoIterator<Item = Says>) -> Self {
        Self::with(owner, says, |_| {}).await
    }

    async fn with(
        owner: &'static str,
        says: impl IntoIterator<Item = Says>,
        set: impl FnOnce(&mut OpenAiOptions),
    ) -> Self {
        let script = Script { next: Arc::new(Mutex::new(says.into_iter().collect())), owner, ..Script::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = options(format!("http://{}/v1/", listener.local_addr().unwrap()));
        set(&mut options);
        let routes = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(chat))
            .route("/v1/embeddings", post(embeddings))
            .with_state(script.clone());
        let served = tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { engine: OpenAiEngine::new(options).unwrap(), script, _served: served }
    }

    async fn ask(&self, request: Request) -> (String, TokenEvent) {
        let mut stream = self.engine.submit(request).unwrap();
        let mut text = String::new();
        loop {
            match stream.next().await.unwrap() {
                TokenEvent::Text { text: more, .. } => text.push_str(&more),
                end => return (text, end),
            }
        }
    }

    async fn usage(&self, request: Request) -> (String, Usage) {
        match self.ask(request).await {
            (text, TokenEvent::Done(usage)) => (text, usage),
            other => panic!("{other:?}"),
        }
    }

    async fn error(&self, request: Request) -> EngineError {
        match self.ask(request).await.1 {
            TokenEvent::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn asked(&self) -> Vec<Value> {
        lock(&self.script.asked).clone()
    }
}

fn options(base_url: String) -> OpenAiOptions {
    OpenAiOptions {
        name: "far".into(),
        base_url,
        model: String::new(),
        api_key: Some(KEY.into()),
        context: None,
        queue: 2,
        requests: 2,
        requests_per_minute: 0,
        tokens_per_minute: 0,
        retries: 2,
        price_in: 0.5,
        price_out: 2.0,
        dialect: None,
    }
}

fn request() -> Request {
    Request::new(vec![ChatMessage::user("hello")], 50)
}

fn said(text: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
}

fn reply(texts: &[&str], reason: &str) -> Vec<Value> {
    let mut chunks: Vec<Value> = texts.iter().map(|text| said(text)).collect();
    chunks.push(json!({ "choices": [{ "delta": {}, "finish_reason": reason }] }));
    let details = json!({ "cached_tokens": 64 });
    chunks.push(json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": details } }));
    chunks
}

#[tokio::test]
async fn a_reply_comes_with_what_it_cost() {
    let world = World::new("someone", [Says::Chunks(reply(&["good ", "mor", "ning"], "stop"))]).await;
    let (text, usage) = world.usage(request()).await;
    assert_eq!(text, "good morning");
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens), (100, 64, 10));
    assert_eq!((usage.finish, usage.cost_micros), (Finish::Stop, 50 + 20));
    let info = world.engine.info();
    assert_eq!((info.model.as_str(), info.context, info.state), ("big", 777, EngineState::Ready));
    let body = &world.asked()[0];
    assert_eq!(body["messages"], json!([{ "role": "user", "content": "hello" }]));
    assert_eq!((&body["max_completion_tokens"], &body["stream"]), (&json!(50), &json!(true)));
    assert_eq!((world.engine.stats().completed, world.engine.stats().active), (1, 0));
}

#[tokio::test]
async fn what_passes_is_asked_again_and_what_does_not_is_told_at_once() {
    let busy = || Says::Refuses(429, Some(0), json!({ "error": { "message": "slow down" } }));
    let down = Says::Refuses(503, None, json!("down"));
    let world = World::new("x", [busy(), down, Says::Chunks(reply(&["yes"], "length"))]).await;
    assert_eq!(world.usage(request()).await.1.finish, Finish::Length);
    assert_eq!(world.asked().len(), 3);

    let world = World::with("x", [busy(), busy()], |options| options.retries = 1).await;
    assert_eq!(world.error(request()).await, EngineError::Busy { queued: 0 });

    let long = "This model's maximum context length is 777 tokens. However, you requested 900 tokens (850 in the messages, 50 in the completion).";
    let refusals = [
        Says::Refuses(400, None, json!({ "error": { "message": long, "code": "context_length_exceeded" } })),
        Says::Refuses(400, None, json!({ "error": { "message": "no such field" } })),
        Says::Refuses(404, None, json!({ "error": { "message": "no model" } })),
    ];
    let world = World::new("x", refusals).await;
    let too_long = EngineError::PromptTooLong { prompt_tokens: 850, allowed: 727, context: 777, max_tokens: 50 };
    assert_eq!(world.error(request()).await, too_long);
    let wrong = world.error(request()).await.to_string();
    assert!(wrong.contains("bad request") && wrong.contains("no such field"), "{wrong}");
    assert!(matches!(world.error(request()).await, EngineError::Model(why) if why.contains("check base_url")));
    assert_eq!(world.engine.stats().failed, 3);
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_model_are_faults_of_the_configuration() {
    let world = World::with("x", [], |options| options.api_key = Some("sk-wrong".into())).await;
    assert!(matches!(world.error(request()).await, EngineError::Model(why) if why.contains("check api_key_env")));
    let world = World::with("x", [], |options| options.model = "small".into()).await;
    assert!(matches!(world.error(request()).await, EngineError::Model(why) if why.contains("it has: big")));
    assert!(matches!(world.engine.info().state, EngineState::Failed { .. }));
    for url in ["far", "ftp://x/v1", "http://user@x/v1"] {
        assert!(matches!(OpenAiEngine::new(options(url.into())), Err(EngineError::Config(_))), "{url}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_or_says_an_error_fails_and_what_came_was_given_out() {
    let cut = Says::Breaks(vec![said("half")]);
    let early = Says::Chunks(vec![said("half")]);
    let error = Says::Chunks(vec![said("half"), json!({ "error": { "message": "out of memory" } })]);
    let world = World::new("x", [cut, early, error]).await;
    for told in ["broke", "in the middle", "out of memory"] {
        let (text, end) = world.ask(request()).await;
        assert_eq!(text, "half");
        assert!(matches!(&end, TokenEvent::Failed(EngineError::Failed(why)) if why.contains(told)), "{end:?}");
    }
    assert_eq!(world.asked().len(), 3);
}

#[tokio::test]
async fn who_goes_away_frees_the_server_and_a_deadline_is_kept() {
    let world = World::new("x", [Says::Hangs, Says::Hangs]).await;
    let stream = world.engine.submit(request()).unwrap();
    while world.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(stream);
    let left = async {
        while *lock(&world.script.gone) == 0 || world.engine.stats().active > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), left).await.unwrap();
    assert_eq!(world.engine.stats().cancelled, 1);
    let late = Request { deadline: Duration::from_millis(100), ..request() };
    assert_eq!(world.error(late).await, EngineError::Deadline { after_ms: 100 });
}

#[tokio::test]
async fn more_than_may_wait_is_refused() {
    let world = World::new("x", [Says::Hangs, Says::Hangs]).await;
    while world.engine.info().state == EngineState::Loading {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The task that looked for the server may not be gone yet: it counts until it is.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let taken: Vec<_> = (0..4).map(|_| world.engine.submit(request()).unwrap()).collect();
    assert!(matches!(world.engine.submit(request()), Err(EngineError::Busy { .. })));
    drop(taken);
}

#[tokio::test]
async fn calls_of_tools_become_the_text_that_models_write_them_in() {
    let call = |index: usize, name: Option<&str>, arguments: &str| {
        let call = json!({ "index": index, "function": { "name": name, "arguments": arguments } });
        json!({ "choices": [{ "delta": { "tool_calls": [call] } }] })
    };
    let mut chunks =
        vec![said("I look."), call(0, Some("now"), "{\"zone\""), call(1, Some("then"), ""), call(0, None, ": 1}")];
    chunks.extend(reply(&[], "tool_calls"));
    let world = World::new("x", [Says::Chunks(chunks)]).await;
    let (text, _) = world.usage(request()).await;
    let (said, calls) = crate::tools::split(&text);
    let calls: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!((said.as_str(), calls), ("I look.", vec![("now", "{\"zone\":1}"), ("then", "{}")]));
}

#[tokio::test]
async fn a_stop_text_ends_the_reply_wherever_it_is_looked_for() {
    let world = World::new("x", [Says::Chunks(reply(&["one T", "WO three"], "stop"))]).await;
    let stop: Vec<String> = ["a1", "a2", "a3", "a4", "TWO"].map(String::from).into();
    assert_eq!(world.usage(Request { stop, ..request() }).await.0, "one ");
    assert_eq!(world.asked()[0]["stop"], json!(["a1", "a2", "a3", "a4"]));
}

#[tokio::test]
async fn a_begun_reply_is_gone_on_with_and_not_said_twice() {
    let begun = || Request { assistant_prefix: Some("def f(".into()), ..request() };
    let again = || Says::Chunks(reply(&["de", "f f(", "x)"], "stop"));
    let on = Says::Chunks(reply(&["x)"], "stop"));
    let world = World::new("x", [again(), on]).await;
    assert_eq!(world.usage(begun()).await.0, "x)");
    assert_eq!(world.usage(begun()).await.0, "x)");
    assert_eq!(world.asked()[0]["messages"][1], json!({ "role": "assistant", "content": "def f(" }));
    let world = World::new("vllm", [again()]).await;
    world.usage(begun()).await;
    assert_eq!(world.asked()[0]["continue_final_message"], true);
}

#[tokio::test]
async fn each_dialect_is_asked_for_what_it_can() {
    let with = |constraint| Request { constraint, ..request() };
    let choice = || Constraint::Choice(vec!["yes".into(), "no".into()]);
    let plain = World::new("x", [Says::Chunks(reply(&["{\"choice\": ", "\"no\"}"], "stop"))]).await;
    assert_eq!(plain.usage(with(choice())).await.0, "no");
    assert_eq!(plain.asked()[0]["response_format"]["json_schema"]["strict"], true);
    assert!(matches!(plain.error(with(Constraint::Regex("a*".into()))).await, EngineError::Unsupported(_)));

    let sampled = || {
        let mut request = with(choice());
        (request.sampling.top_k, request.sampling.repeat_penalty, request.sampling.seed) = (7, 1.5, u64::MAX);
        request
    };
    let vllm = World::new("vllm", [Says::Chunks(reply(&["no"], "stop"))]).await;
    vllm.usage(sampled()).await;
    let body = &vllm.asked()[0];
    assert_eq!(body["structured_outputs"], json!({ "choice": ["yes", "no"] }));
    assert_eq!(
        (&body["top_k"], &body["repetition_penalty"], &body["seed"]),
        (&json!(7), &json!(1.5), &json!(i64::MAX))
    );
    let llama = World::new("llamacpp", [Says::Chunks(reply(&["no"], "stop"))]).await;
    llama.usage(sampled()).await;
    let body = &llama.asked()[0];
    assert_eq!((&body["grammar"], &body["repeat_penalty"]), (&json!("root ::= \"yes\" | \"no\""), &json!(1.5)));
}

#[tokio::test]
async fn vectors_come_in_the_order_of_their_texts_and_with_length_one() {
    let world = World::new("x", []).await;
    let asked = EmbedRequest { texts: vec!["a".into(), "b".into()], deadline_ms: 10_000 };
    let made = world.engine.embed(asked).unwrap().await.unwrap().unwrap();
    assert_eq!((made.tokens, made.model.as_str(), made.vectors.len()), (9, "big", 2));
    assert!(made.vectors.iter().all(|v| (v[0] - 0.6).abs() < 1e-6 && (v[1] - 0.8).abs() < 1e-6));
}

#[tokio::test]
async fn a_rate_is_kept() {
    let says = || Says::Chunks(reply(&["x"], "stop"));
    let world = World::with("x", [says(), says()], |options| options.tokens_per_minute = 600).await;
    world.usage(Request { max_tokens: 590, ..request() }).await;
    let late = Request { max_tokens: 300, deadline: Duration::from_millis(300), ..request() };
    assert!(matches!(world.error(late).await, EngineError::Deadline { .. }));
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let engine = OpenAiEngine::new(options(format!("http://{address}/v1"))).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.info().state, EngineState::Loading);
    let script = Script::default();
    let routes = Router::new().route("/v1/models", get(models)).with_state(script);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let served = tokio::spawn(async move { axum::serve(listener, routes).await });
    let there = async {
        while engine.info().state != EngineState::Ready {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), there).await.unwrap();
    served.abort();
}
