//! OpenAI's protocol over a real connection, in front of an engine whose replies are scripted.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::sync::Arc;
use std::time::Duration;

use fleet_api::ApiOptions;
use fleet_api::wire::{EngineStatus, Readiness};
use fleet_inference::{
    ChatMessage, Constraint, Engine, EngineError, EngineHandle, EngineInfo, EngineKind, EngineRouter, EngineState,
    EngineStats, MockEngine, MockOptions, OpenAiEngine, OpenAiOptions, PinId, Request, Script, Served, TokenStream,
    Wanted, only,
};
use fleet_runtime::actor::System;
use fleet_runtime::progress::ProgressBus;
use fleet_runtime::{Incarnation, NodeId};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use world::{OPERATOR, VIEWER, World};

const DEADLINE: Duration = Duration::from_secs(30);
const SCRIPT: &str = r#"
replies:
  - { contains: hello, text: "Good morning to you" }
  - { contains: hello, attempt: 1, text: "Hi" }
  - contains: weather
    text: |-
      I look. <tool_call>
      {"name": "weather", "arguments": {"city": "Rome"}}
      </tool_call>
      <tool_call>
      {"name": "now", "arguments": {}}
      </tool_call>
  - { contains: flood, action: flood, text: "water " }
  - { contains: hang, action: hang, text: "" }
  - { contains: crash, action: crash, after_tokens: 1, text: "half a reply" }
"#;

struct Node {
    url: String,
    http: reqwest::Client,
    mock: Arc<MockEngine>,
    _system: System,
    _served: tokio::task::JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
    _ready: watch::Sender<Readiness>,
}

impl Node {
    async fn start(options: MockOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        let script = Script::parse(SCRIPT).unwrap();
        let mock = Arc::new(MockEngine::new(MockOptions { name: "scripted".into(), script, ..options }));
        let mut served = Vec::new();
        let engines: [(&str, Arc<dyn Engine>); 2] = [("scripted", mock.clone()), ("slow", Arc::new(Loading))];
        for (name, engine) in engines {
            let handle = EngineHandle::start(&system, format!("engine-{name}"), engine).await.unwrap();
            served.push(Served { name: name.into(), node: "local".into(), handle });
        }
        let (ready, readiness) = watch::channel(Readiness { ready: true, waiting_for: vec![] });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = World {
            system: system.clone(),
            kinds: vec![],
            progress: ProgressBus::new(),
            readiness,
            engines: EngineRouter::new(only(served), Wanted::Called("scripted".into())),
            options: ApiOptions::default(),
        };
        let state = world.state(dir.path(), &url).await;
        let served = tokio::spawn(fleet_api::serve(listener, state, std::future::pending()));
        fleet_runtime::net::install_crypto();
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        Self { url, http, mock, _system: system, _served: served, _dir: dir, _ready: ready }
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> Response {
        self.http.post(format!("{}{path}", self.url)).bearer_auth(token).json(&body).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(VIEWER).send().await.unwrap().json().await.unwrap()
    }

    /// Says this to the scripted engine, with more fields.
    async fn say(&self, text: &str, more: Value) -> Response {
        let mut body = json!({ "model": "scripted", "messages": [{ "role": "user", "content": text }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/chat/completions", OPERATOR, body).await
    }

    async fn stream(&self, text: &str, mut more: Value) -> Vec<Value> {
        more["stream"] = true.into();
        let answer = self.say(text, more).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        let text = answer.text().await.unwrap();
        let data: Vec<&str> = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
        let done = *data.last().unwrap() == "[DONE]";
        let chunks: Vec<Value> =
            data.iter().filter(|data| **data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect();
        assert_eq!(done, !chunks.iter().any(|chunk| chunk["error"].is_object()), "{text}");
        chunks
    }

    /// Waits until the engine decodes nothing.
    async fn idle(&self) -> EngineStats {
        let idle = async {
            while self.mock.stats().active > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.mock.stats()
        };
        tokio::time::timeout(DEADLINE, idle).await.unwrap()
    }
}

/// An engine that never has its model.
struct Loading;

impl Engine for Loading {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            name: "slow".into(),
            model: "giant".into(),
            kind: EngineKind::Candle,
            mock: false,
            context: 0,
            state: EngineState::Loading,
        }
    }

    fn submit(&self, _: Request) -> Result<TokenStream, EngineError> {
        Err(EngineError::Gone)
    }

    fn pin(&self, _: &str, _: &[ChatMessage]) -> Result<PinId, EngineError> {
        Err(EngineError::Gone)
    }

    fn unpin(&self, _: PinId) {}

    fn stats(&self) -> EngineStats {
        EngineStats::default()
    }

    fn count_tokens(&self, _: &str) -> u32 {
        0
    }
}

async fn refusal(answer: Response, status: u16) -> (String, Value, Value) {
    assert_eq!(answer.status().as_u16(), status);
    let body: Value = answer.json().await.unwrap();
    let error = &body["error"];
    assert!(error["message"].is_string() && error["type"].is_string(), "{body}");
    (error["message"].as_str().unwrap().to_owned(), error["param"].clone(), error["code"].clone())
}

fn content(chunks: &[Value], index: usize) -> String {
    let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap());
    choices.filter(|choice| choice["index"] == index).filter_map(|choice| choice["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn a_completion_has_the_form_that_clients_know() {
    let node = Node::start(MockOptions::default()).await;
    let body: Value = node.say("hello", json!({ "user": "someone" })).await.json().await.unwrap();
    assert_eq!((&body["object"], &body["model"]), (&"chat.completion".into(), &"mock:excellent".into()));
    let choice = &body["choices"][0];
    assert_eq!(choice["message"], json!({ "role": "assistant", "content": "Good morning to you", "refusal": null }));
    assert_eq!((&choice["finish_reason"], &choice["logprobs"]), (&"stop".into(), &Value::Null));
    assert_eq!(body["usage"]["total_tokens"], 2 + 5);
    let cut: Value = node.say("hello", json!({ "max_tokens": 1 })).await.json().await.unwrap();
    assert_eq!(
        (&cut["choices"][0]["finish_reason"], &cut["usage"]["completion_tokens"]),
        (&"length".into(), &1.into())
    );
    let stopped: Value = node.say("hello", json!({ "stop": [" to"] })).await.json().await.unwrap();
    assert_eq!(stopped["choices"][0]["message"]["content"], "Good morning");
}

#[tokio::test]
async fn several_choices_are_several_attempts_whole_and_in_a_stream() {
    let node = Node::start(MockOptions::default()).await;
    let body: Value = node.say("hello", json!({ "n": 2 })).await.json().await.unwrap();
    let text = |n: usize| body["choices"][n]["message"]["content"].as_str().unwrap();
    assert_eq!((text(0), text(1)), ("Good morning to you", "Hi"));
    assert_eq!((&body["usage"]["prompt_tokens"], &body["usage"]["completion_tokens"]), (&2.into(), &6.into()));
    let chunks = node.stream("hello", json!({ "n": 2 })).await;
    assert_eq!((content(&chunks, 0), content(&chunks, 1)), ("Good morning to you".into(), "Hi".into()));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[tokio::test]
async fn a_stream_begins_with_the_role_and_ends_with_the_reason_and_the_cost() {
    let node = Node::start(MockOptions::default()).await;
    let chunks = node.stream("hello", json!({ "stream_options": { "include_usage": true } })).await;
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(content(&chunks, 0), "Good morning to you");
    let [.., reason, cost] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(reason["choices"][0], json!({ "index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop" }));
    assert_eq!((&cost["choices"], &cost["usage"]["completion_tokens"]), (&json!([]), &5.into()));
    let (last, others) = chunks.split_last().unwrap();
    assert!(last["usage"].is_object() && others.iter().all(|chunk| chunk["usage"] == Value::Null));
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk["object"] == "chat.completion.chunk"));
}

fn tools() -> Value {
    let tool =
        |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } });
    json!([tool("weather"), tool("now")])
}

#[tokio::test]
async fn calls_are_taken_out_of_the_text_where_tools_were_offered() {
    let node = Node::start(MockOptions::default()).await;
    let body: Value = node.say("weather?", json!({ "tools": tools() })).await.json().await.unwrap();
    let choice = &body["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&"tool_calls".into(), &"I look.".into()));
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({ "name": "weather", "arguments": "{\"city\":\"Rome\"}" }));
    let plain: Value = node.say("weather?", json!({})).await.json().await.unwrap();
    assert!(plain["choices"][0]["message"]["content"].as_str().unwrap().contains("<tool_call>"));

    let chunks = node.stream("weather?", json!({ "tools": tools() })).await;
    assert_eq!(content(&chunks, 0), "I look.");
    let calls: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    let names: Vec<(&Value, &Value)> = calls.iter().map(|call| (&call["index"], &call["function"]["name"])).collect();
    assert_eq!(names, [(&json!(0), &json!("weather")), (&json!(1), &json!("now"))]);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_protocols_own_words() {
    let node = Node::start(MockOptions { context: 100, ..MockOptions::default() }).await;
    let (_, param, code) = refusal(node.say("x", json!({ "temperature": 9 })).await, 400).await;
    assert_eq!((param, code), ("temperature".into(), "invalid_value".into()));
    let (said, param, code) = refusal(node.say("x", json!({ "model": "gpt-17" })).await, 404).await;
    assert_eq!((param, code), ("model".into(), "model_not_found".into()));
    assert!(said.contains("scripted, slow, mock:excellent"), "{said}");
    let (_, param, code) = refusal(node.say(&"long ".repeat(200), json!({})).await, 400).await;
    assert_eq!((param, code), ("messages".into(), "context_length_exceeded".into()));
    refusal(node.say("x", json!({ "stream": true, "max_tokens": 100 })).await, 400).await;
    let answer = node.say("x", json!({ "model": "giant" })).await;
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(refusal(answer, 503).await.2, "engine_loading");
    let (_, _, code) = refusal(node.say("crash", json!({})).await, 503).await;
    assert_eq!(code, "engine_gone");
    let embed = json!({ "model": "scripted", "input": "x" });
    assert_eq!(refusal(node.post("/v1/embeddings", OPERATOR, embed).await, 400).await.2, "unsupported_value");
    let unread = node.http.post(format!("{}/v1/chat/completions", node.url)).bearer_auth(OPERATOR).body("{");
    refusal(unread.send().await.unwrap(), 400).await;
    let huge = node.say(&"x".repeat(9 << 20), json!({})).await;
    assert_eq!(refusal(huge, 413).await.2, "request_too_large");
}

#[tokio::test]
async fn without_a_bound_a_prompt_of_more_than_half_the_context_is_answered_too() {
    let node = Node::start(MockOptions { context: 100, ..MockOptions::default() }).await;
    let body: Value = node.say(&format!("hello{}", " ".repeat(300)), json!({})).await.json().await.unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "Good morning to you");
}

#[tokio::test]
async fn a_wrong_key_or_too_low_a_level_is_refused_in_the_protocols_own_words() {
    let node = Node::start(MockOptions::default()).await;
    let body = json!({ "model": "scripted", "messages": [] });
    let wrong = node.post("/v1/chat/completions", "sk-wrong", body.clone()).await;
    assert!(wrong.headers().contains_key("www-authenticate"));
    assert_eq!(refusal(wrong, 401).await.2, "invalid_api_key");
    let (said, _, code) = refusal(node.post("/v1/chat/completions", VIEWER, body).await, 403).await;
    assert!(code == "insufficient_permissions" && said.contains("needs operator"), "{said}");
    assert_eq!(refusal(node.post("/v1/completions", OPERATOR, json!({})).await, 404).await.2, "unknown_url");
}

#[tokio::test]
async fn engines_are_listed_by_their_names_and_their_models() {
    let node = Node::start(MockOptions::default()).await;
    let models = node.get("/v1/models").await;
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["scripted", "slow", "mock:excellent", "giant"]);
    let one = node.get("/v1/models/mock:excellent").await;
    assert_eq!((&one["engine"], &one["mock"], &one["object"]), (&"scripted".into(), &true.into(), &"model".into()));
    let status: Vec<EngineStatus> = serde_json::from_value(node.get("/api/v1/engines").await).unwrap();
    let states: Vec<(&str, &str)> = status.iter().map(|e| (e.name.as_str(), e.state.as_str())).collect();
    assert_eq!(states, [("scripted", "ready"), ("slow", "loading")]);
}

#[tokio::test]
async fn a_full_engine_says_when_to_come_again() {
    let node = Node::start(MockOptions { queue: 1, ..MockOptions::default() }).await;
    let hanging = tokio::spawn({
        let body = json!({ "model": "scripted", "messages": [{ "role": "user", "content": "hang" }] });
        let request = node.http.post(format!("{}/v1/chat/completions", node.url)).bearer_auth(OPERATOR).json(&body);
        async move { request.send().await }
    });
    let taken = async {
        while node.mock.stats().active == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, taken).await.unwrap();
    for stream in [false, true] {
        let answer = node.say("hello", json!({ "stream": stream })).await;
        assert_eq!(answer.headers()["retry-after"], "1");
        assert_eq!(refusal(answer, 429).await.2, "rate_limit_exceeded");
    }
    hanging.abort();
    assert_eq!(node.idle().await.cancelled, 1);
}

#[tokio::test]
async fn another_node_can_be_asked_as_an_engine() {
    let node = Node::start(MockOptions { context: 500, ..MockOptions::default() }).await;
    let options = OpenAiOptions {
        name: "far".into(),
        base_url: format!("{}/v1", node.url),
        model: "scripted".into(),
        api_key: Some(OPERATOR.into()),
        ..OpenAiOptions::default()
    };
    let far: Arc<dyn Engine> = Arc::new(OpenAiEngine::new(options).unwrap());
    let handle = EngineHandle::start(&node._system, "far", far.clone()).await.unwrap();
    let ask = |text: &str| Request {
        assistant_prefix: Some("Good ".into()),
        constraint: Constraint::Regex(".*".into()),
        ..Request::new(vec![ChatMessage::user(text)], 100)
    };
    let said = handle.complete(ask("hello"), DEADLINE, |_, _| {}).await.unwrap();
    assert_eq!((said.text.as_str(), said.usage.completion_tokens), ("Good morning to you", 4));
    assert_eq!((far.info().context, far.info().state), (500, EngineState::Ready));
    let long = handle.complete(ask(&"long ".repeat(500)), DEADLINE, |_, _| {}).await;
    assert!(matches!(long, Err(EngineError::PromptTooLong { context: 500, max_tokens: 100, .. })), "{long:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_of_a_stream_frees_the_engine() {
    let node = Node::start(MockOptions::default()).await;
    let mut answer = node.say("flood", json!({ "stream": true, "n": 2 })).await;
    answer.chunk().await.unwrap().unwrap();
    assert_eq!(node.mock.stats().active, 2);
    drop(answer);
    assert_eq!(node.idle().await.cancelled, 2);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_and_without_a_word_of_being_done() {
    let node = Node::start(MockOptions::default()).await;
    let chunks = node.stream("crash", json!({})).await;
    assert_eq!(chunks.last().unwrap()["error"]["code"], "engine_gone");
}
