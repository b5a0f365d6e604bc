//! The API over a real connection, on a node with a real journal and a job kind that does next to nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_api::wire::{AccessGrant, AccessRecord, AccessState, BlobStored, JobExplanation, Readiness};
use fleet_api::{ApiOptions, ErrorBody, Route};
use fleet_inference::{EngineRouter, Wanted, only};
use fleet_runtime::actor::System;
use fleet_runtime::auth::AccessLevel;
use fleet_runtime::job::{JobContext, JobError, JobKind, JobOutcome, JobRecord, JobState};
use fleet_runtime::progress::{Progress, ProgressBus};
use fleet_runtime::{Author, Incarnation, NewEvent, NodeId, TraceContext, TraceId};
use futures::StreamExt;
use futures::future::BoxFuture;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use world::{OPERATOR, PO, VIEWER, World};

const DEADLINE: Duration = Duration::from_secs(30);

/// Records as many steps as its spec says; between them it waits to be let on, if asked to.
struct Steps {
    go_on: Arc<Notify>,
}

impl JobKind for Steps {
    fn name(&self) -> &str {
        "steps"
    }

    fn check(&self, spec: &Value) -> Result<(), String> {
        spec["steps"].as_u64().map(drop).ok_or("`steps` is missing".to_owned())
    }

    fn run(&self, ctx: JobContext) -> BoxFuture<'static, Result<JobOutcome, JobError>> {
        let go_on = self.go_on.clone();
        Box::pin(async move {
            for step in 0..ctx.spec["steps"].as_u64().unwrap_or(0) {
                if ctx.spec["hold"].as_bool() == Some(true) {
                    tokio::select! {
                        () = go_on.notified() => {}
                        () = ctx.cancel.cancelled() => return Err(JobError::Cancelled),
                    }
                }
                let payload = json!({ "step": step, "blob": ctx.spec["blob"] });
                let event = NewEvent::new(Author::Node("test".into()), "steps.step", payload);
                ctx.writer.append(event).await?;
            }
            Ok(JobOutcome { success: true, summary: "all steps taken".into(), detail: Value::Null })
        })
    }
}

struct TestNode {
    url: String,
    http: reqwest::Client,
    go_on: Arc<Notify>,
    progress: ProgressBus,
    ready: watch::Sender<Readiness>,
    system: System,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
}

impl TestNode {
    async fn start() -> Self {
        Self::with(ApiOptions::default()).await
    }

    async fn with(options: ApiOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
        let (progress, go_on) = (ProgressBus::new(), Arc::new(Notify::new()));
        let (ready, readiness) = watch::channel(Readiness { ready: true, waiting_for: vec![] });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = World {
            system: system.clone(),
            kinds: vec![Arc::new(Steps { go_on: go_on.clone() })],
            progress: progress.clone(),
            readiness,
            engines: EngineRouter::new(only(Vec::new()), Wanted::Called(String::new())),
            options,
        };
        let state = world.state(dir.path(), &url).await;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(fleet_api::serve(listener, state, async {
            let _ = stopped.await;
        }));
        fleet_runtime::net::install_crypto();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, http, go_on, progress, ready, system, stop: Some(stop), served, _dir: dir }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(PO)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn submit(&self, spec: Value, key: &str) -> Response {
        let body = json!({ "kind": "steps", "project": "p1", "title": "t", "spec": spec });
        let request = self.request(Method::POST, "/api/v1/jobs").json(&body);
        request.header("Idempotency-Key", key).send().await.unwrap()
    }

    async fn submitted(&self, spec: Value) -> JobRecord {
        let response = self.submit(spec, &uuid::Uuid::new_v4().to_string()).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json().await.unwrap()
    }

    async fn follow(&self, job: &str, after: Option<u64>) -> Follower {
        let mut request = self.request(Method::GET, &format!("/api/v1/jobs/{job}/events"));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after.to_string());
        }
        Follower::new(request.send().await.unwrap())
    }
}

/// Reads server-sent events as they come.
struct Follower {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<Bytes>>,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Sse {
    id: Option<u64>,
    name: String,
    data: Value,
}

impl Follower {
    fn new(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self { bytes: response.bytes_stream().boxed(), text: String::new() }
    }

    async fn next(&mut self) -> Option<Sse> {
        tokio::time::timeout(DEADLINE, self.read()).await.expect("no event in time")
    }

    async fn read(&mut self) -> Option<Sse> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let sse = parse(block);
                self.text = rest.to_owned();
                if let Some(sse) = sse {
                    return Some(sse);
                }
                continue;
            }
            let piece = self.bytes.next().await?.ok()?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    async fn until(&mut self, name: &str) -> Vec<Sse> {
        let mut seen = Vec::new();
        while let Some(sse) = self.next().await {
            let last = sse.name == name;
            seen.push(sse);
            if last {
                break;
            }
        }
        seen
    }
}

fn parse(block: &str) -> Option<Sse> {
    let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    Some(Sse {
        id: field("id").map(|id| id.parse().unwrap()),
        name: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

async fn refusal(response: Response, status: StatusCode) -> ErrorBody {
    assert_eq!(response.status(), status);
    let body: ErrorBody = response.json().await.unwrap();
    assert!(body.code.starts_with("FLT-") && !body.remedy.is_empty(), "{body:?}");
    body
}

#[tokio::test]
async fn a_caller_without_a_known_token_is_told_nothing_but_how_to_show_one() {
    let node = TestNode::start().await;
    let url = format!("{}/api/v1/jobs", node.url);
    let requests = [
        node.http.get(&url),
        node.http.get(&url).bearer_auth("wrong"),
        node.http.get(&url).bearer_auth(&PO[..PO.len() - 1]),
        node.http.get(format!("{url}?token={PO}")),
        node.http.get(&url).basic_auth("anna", Some(PO)),
    ];
    for request in requests {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"fleet\"");
        assert_eq!(refusal(response, StatusCode::UNAUTHORIZED).await.code, "FLT-A401");
    }
}

/// What a request to this route comes to, with nothing in it.
async fn status_of(node: &TestNode, route: &Route, token: Option<&str>) -> StatusCode {
    let path = route.path.replace("{id}", "k3m9x2p7qa").replace("{name}", "nobody").replace("{attempt}", "1");
    let method: Method = route.method.parse().unwrap();
    let request = node.http.request(method, format!("{}{path}", node.url));
    let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn every_route_lets_those_through_who_have_its_level_and_nobody_else() {
    let node = TestNode::start().await;
    let levels = [(VIEWER, AccessLevel::Viewer), (OPERATOR, AccessLevel::Operator), (PO, AccessLevel::Po)];
    for route in fleet_api::routes() {
        let bare = status_of(&node, &route, None).await;
        let Some(least) = route.level else {
            assert_eq!(bare, StatusCode::OK, "{route:?}");
            continue;
        };
        assert_eq!(bare, StatusCode::UNAUTHORIZED, "{route:?}");
        for (token, level) in levels {
            let status = status_of(&node, &route, Some(token)).await;
            let let_through = status != StatusCode::FORBIDDEN && status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(let_through, level >= least, "{level:?} at {route:?}: {status}");
        }
    }
}

/// Written by hand, so that a level that is changed is changed here too.
#[test]
fn looking_is_for_viewers_doing_for_operators_and_deciding_for_product_owners() {
    let table: Vec<String> = fleet_api::routes()
        .iter()
        .filter(|route| route.method != "GET" || route.level != Some(AccessLevel::Viewer))
        .map(|route| format!("{} {} {}", route.level.map_or("anyone", AccessLevel::as_str), route.method, route.path))
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[tokio::test]
async fn a_refusal_names_the_level_that_is_needed() {
    let node = TestNode::start().await;
    let upload = node.http.post(format!("{}/api/v1/blobs", node.url)).bearer_auth(VIEWER).body("x");
    let said = refusal(upload.send().await.unwrap(), StatusCode::FORBIDDEN).await;
    assert!(said.message.contains("vera") && said.message.contains("viewer") && said.message.contains("operator"));
    assert!(said.remedy.contains("fleet access create NAME --level operator"), "{said:?}");
}

#[tokio::test]
async fn a_token_that_is_issued_opens_what_its_level_allows_until_it_is_revoked() {
    let node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 1, "hold": true })).await.id.to_string();
    let wanted = json!({ "name": "otto", "level": "operator", "expires_in_seconds": 3600 });
    let issue = || node.request(Method::POST, "/api/v1/access").json(&wanted).send();
    let grant: AccessGrant = issue().await.unwrap().json().await.unwrap();
    assert_eq!((grant.access.state, grant.access.issued_by), (AccessState::Valid, Author::Person("anna".into())));
    refusal(issue().await.unwrap(), StatusCode::CONFLICT).await;

    let as_otto =
        |method, path: &str| node.http.request(method, format!("{}{path}", node.url)).bearer_auth(&grant.token);
    let path = format!("/api/v1/jobs/{job}/events");
    let mut follower = Follower::new(as_otto(Method::GET, &path).send().await.unwrap());
    follower.until("job.started").await;
    let more = as_otto(Method::POST, "/api/v1/access").json(&wanted);
    refusal(more.send().await.unwrap(), StatusCode::FORBIDDEN).await;

    let revoke = || node.request(Method::DELETE, "/api/v1/access/otto").send();
    assert_eq!(revoke().await.unwrap().json::<AccessRecord>().await.unwrap().state, AccessState::Revoked);
    refusal(revoke().await.unwrap(), StatusCode::NOT_FOUND).await;
    let gone = refusal(as_otto(Method::GET, "/api/v1/jobs").send().await.unwrap(), StatusCode::UNAUTHORIZED).await;
    assert!(gone.message.contains("revoked"), "{gone:?}");
    assert_eq!(follower.next().await, None, "a stream ends with the token that opened it");

    let all: Vec<AccessRecord> = node.get("/api/v1/access").await.json().await.unwrap();
    let seen: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.level, one.state)).collect();
    assert_eq!(seen, [("otto", AccessLevel::Operator, AccessState::Revoked)]);
}

#[tokio::test]
async fn a_page_in_the_browser_cannot_reach_the_node_under_another_name_or_from_another_origin() {
    let node = TestNode::start().await;
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let request = node.request(Method::GET, "/healthz").header(name, value);
        refusal(request.send().await.unwrap(), StatusCode::FORBIDDEN).await;
    }
    let own = node.request(Method::GET, "/healthz").header("origin", &node.url);
    assert_eq!(own.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_same_key_gives_the_same_job_and_another_spec_under_it_is_a_conflict() {
    let node = TestNode::start().await;
    let first: JobRecord = node.submit(json!({ "steps": 1 }), "k").await.json().await.unwrap();
    let again: JobRecord = node.submit(json!({ "steps": 1 }), "k").await.json().await.unwrap();
    assert_eq!(first.id, again.id);
    assert_eq!(first.by, Author::Person("anna".into()));
    refusal(node.submit(json!({ "steps": 2 }), "k").await, StatusCode::CONFLICT).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_submit_is_said() {
    let node = TestNode::start().await;
    let bad = node.submit(json!({}), "k").await;
    assert!(refusal(bad, StatusCode::BAD_REQUEST).await.message.contains("`steps` is missing"));
    let post = |body: Value| node.request(Method::POST, "/api/v1/jobs").header("Idempotency-Key", "k2").json(&body);
    let whole = json!({ "kind": "steps", "project": "p", "title": "t", "spec": { "steps": 1 } });
    for (key, value) in [("kind", json!("dance")), ("project", json!("../x")), ("colour", json!("red"))] {
        let mut body = whole.clone();
        body[key] = value;
        refusal(post(body).send().await.unwrap(), StatusCode::BAD_REQUEST).await;
    }
    let keyless = node.request(Method::POST, "/api/v1/jobs").json(&whole);
    refusal(keyless.send().await.unwrap(), StatusCode::BAD_REQUEST).await;
    let mut huge = whole.clone();
    huge["spec"]["text"] = json!("x".repeat(2 << 20));
    refusal(post(huge).send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test]
async fn a_follower_sees_every_event_once_over_as_many_connections_as_it_takes() {
    let node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 6, "hold": true })).await.id.to_string();
    let mut all: Vec<Sse> = Vec::new();
    for step in 0..6 {
        let mut follower = node.follow(&job, all.last().and_then(|sse| sse.id)).await;
        node.go_on.notify_one();
        all.extend(follower.until("steps.step").await);
        assert_eq!(all.last().unwrap().data["envelope"]["payload"]["step"], step);
    }
    let mut follower = node.follow(&job, all.last().unwrap().id).await;
    all.extend(follower.until("job.ended").await);
    assert_eq!(follower.next().await, None, "the stream closes after job.ended");

    let ids: Vec<u64> = all.iter().map(|sse| sse.id.unwrap()).collect();
    assert!(ids.windows(2).all(|w| w[0] < w[1]), "{ids:?}");
    let seqs: Vec<u64> = all.iter().map(|sse| sse.data["envelope"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "something was missed");

    let path = format!("/api/v1/jobs/{job}/events");
    let over = node.request(Method::GET, &path).header("Last-Event-ID", *ids.last().unwrap());
    assert_eq!(over.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let nonsense = node.request(Method::GET, &path).header("Last-Event-ID", "x");
    refusal(nonsense.send().await.unwrap(), StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn a_stream_that_does_not_follow_ends_when_it_has_caught_up() {
    let node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 1, "hold": true })).await;
    let path = format!("/api/v1/jobs/{}/events?follow=false", job.id);
    let mut follower = Follower::new(node.get(&path).await);
    let seen = follower.until("caught_up").await;
    assert_eq!(seen.first().unwrap().name, "job.submitted");
    assert_eq!(seen.last().unwrap().id, None);
    assert_eq!(follower.next().await, None);
}

#[tokio::test]
async fn progress_of_the_job_is_told_in_passing_without_control_characters() {
    let node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 1, "hold": true })).await;
    let mut follower = node.follow(job.id.as_str(), None).await;
    follower.until("job.started").await;
    let text = "\u{1b}[2J\u{202e}hello".to_owned();
    node.progress.publish(Progress { job: job.id, source: "dev".into(), text, tokens: Some(3) });
    let told = follower.next().await.unwrap();
    assert_eq!((told.id, told.name.as_str()), (None, "progress"));
    assert_eq!(told.data, json!({ "source": "dev", "text": "\\u{1b}[2J\\u{202e}hello", "tokens": 3 }));
}

#[tokio::test]
async fn followers_are_bounded_and_a_place_is_free_again_when_one_leaves() {
    let node = TestNode::with(ApiOptions { max_followers: 1, ..ApiOptions::default() }).await;
    let job = node.submitted(json!({ "steps": 1, "hold": true })).await.id.to_string();
    let mut held = node.follow(&job, None).await;
    held.next().await;
    let path = format!("/api/v1/jobs/{job}/events");
    refusal(node.get(&path).await, StatusCode::SERVICE_UNAVAILABLE).await;
    drop(held);
    let freed = async {
        while node.get(&path).await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, freed).await.unwrap();
}

#[tokio::test]
async fn uploads_keep_to_the_limit_whether_they_announce_their_size_or_not() {
    let node = TestNode::start().await;
    let upload = |body: reqwest::Body| node.request(Method::POST, "/api/v1/blobs").body(body).send();
    let stored: BlobStored = upload("a pack".into()).await.unwrap().json().await.unwrap();
    assert_eq!((stored.bytes, stored.digest.len()), (6, 64));
    let large = upload(vec![0u8; 65 << 10].into()).await.unwrap();
    refusal(large, StatusCode::PAYLOAD_TOO_LARGE).await;
    let pieces = futures::stream::iter((0..65).map(|_| Ok::<_, std::io::Error>(vec![0u8; 1 << 10])));
    let chunked = upload(reqwest::Body::wrap_stream(pieces)).await.unwrap();
    refusal(chunked, StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test]
async fn deleting_a_job_deletes_its_blobs_but_not_those_that_another_job_needs() {
    let node = TestNode::start().await;
    let put = async |text: &'static str| {
        let stored = node.request(Method::POST, "/api/v1/blobs").body(text).send().await.unwrap();
        stored.json::<BlobStored>().await.unwrap().digest
    };
    let (shared, own) = (put("shared").await, put("own").await);
    let both = json!({ "steps": 1, "blob": [shared, own] });
    let first = node.submitted(both).await.id.to_string();
    let second = node.submitted(json!({ "steps": 1, "blob": shared })).await.id.to_string();
    for job in [&first, &second] {
        node.follow(job, None).await.until("job.ended").await;
    }
    let delete = node.request(Method::DELETE, &format!("/api/v1/jobs/{first}"));
    assert_eq!(delete.send().await.unwrap().status(), StatusCode::NO_CONTENT);

    refusal(node.get(&format!("/api/v1/jobs/{first}")).await, StatusCode::NOT_FOUND).await;
    let there = |digest: &str| node._dir.path().join("blobs").join(&digest[..2]).join(&digest[2..]).exists();
    assert_eq!((there(&shared), there(&own)), (true, false));
}

#[tokio::test]
async fn a_job_that_has_no_result_says_why() {
    let node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 1, "hold": true })).await.id.to_string();
    let path = format!("/api/v1/jobs/{job}/result");
    assert!(refusal(node.get(&path).await, StatusCode::CONFLICT).await.message.contains("hasn't ended"));
    let delete = node.request(Method::DELETE, &format!("/api/v1/jobs/{job}"));
    refusal(delete.send().await.unwrap(), StatusCode::CONFLICT).await;
    node.go_on.notify_one();
    node.follow(&job, None).await.until("job.ended").await;
    assert!(refusal(node.get(&path).await, StatusCode::CONFLICT).await.message.contains("without a commit"));
    let report = node.get(&format!("/api/v1/jobs/{job}/report?format=json")).await;
    assert_eq!(report.json::<Value>().await.unwrap()["job"], job);
}

#[tokio::test]
async fn health_needs_no_token_and_readiness_says_what_is_waited_for() {
    let node = TestNode::start().await;
    let get = |path: &str| node.http.get(format!("{}{path}", node.url)).send();
    assert_eq!(get("/healthz").await.unwrap().status(), StatusCode::OK);
    assert_eq!(get("/readyz").await.unwrap().status(), StatusCode::OK);
    node.ready.send_replace(Readiness { ready: false, waiting_for: vec!["engine local".into()] });
    let response = get("/readyz").await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.json::<Readiness>().await.unwrap().waiting_for, ["engine local"]);
    refusal(node.get("/api/v1/nothing").await, StatusCode::NOT_FOUND).await;
    refusal(node.get("/elsewhere").await, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn a_closing_node_ends_its_streams_and_itself() {
    let mut node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 1, "hold": true })).await.id.to_string();
    let mut follower = node.follow(&job, None).await;
    follower.until("job.started").await;
    node.stop.take().unwrap().send(()).unwrap();
    assert_eq!(follower.next().await, None);
    drop(node.http);
    tokio::time::timeout(DEADLINE, node.served).await.unwrap().unwrap().unwrap();
    node.system.shutdown().await;
}

/// A sample of a page in the text format of Prometheus: name with labels, and value.
fn samples(page: &str) -> Vec<(String, f64)> {
    let mut family = None;
    let mut seen = std::collections::BTreeSet::new();
    let mut samples = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(fleet_api::metrics::names::ALL.iter().any(|m| m.name == name && m.kind.as_str() == kind), "{line}");
            assert!(seen.insert(name.to_owned()), "{name} comes twice");
            family = Some(name);
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.unwrap()).unwrap_or_else(|| panic!("{line} is in another's place"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            assert!(series == name || (series.ends_with("\"}") && series[name.len()..].starts_with('{')), "{line}");
            samples.push((series.to_owned(), value.parse().unwrap()));
        }
    }
    samples
}

#[tokio::test]
async fn the_figures_are_in_prometheus_format_and_count_what_has_happened() {
    let node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 2 })).await.id.to_string();
    node.follow(&job, None).await.until("job.ended").await;
    let response = node.get("/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let samples = samples(&response.text().await.unwrap());
    let value = |series: &str| samples.iter().find(|(name, _)| name == series).map(|(_, value)| *value);
    assert_eq!(value("fleet_jobs{state=\"succeeded\"}"), Some(1.0));
    assert_eq!(value("fleet_jobs{state=\"queued\"}"), Some(0.0));
    assert_eq!(value("fleet_jobs_ended_total{state=\"succeeded\"}"), Some(1.0));
    assert_eq!(value("fleet_journal_appended_events_total{kind=\"steps.step\"}"), Some(2.0));
    assert_eq!(value("fleet_job_queue_wait_seconds_count"), Some(1.0));
    assert_eq!(value("fleet_metrics_behind_events"), Some(0.0));
    assert_eq!(value("fleet_http_requests_active"), Some(1.0));
    let again = node.get("/metrics").await.text().await.unwrap();
    assert!(again.contains("fleet_jobs_ended_total{state=\"succeeded\"} 1\n"), "counted twice");
}

#[tokio::test]
async fn figures_need_a_token_unless_the_configuration_says_otherwise() {
    let closed = TestNode::start().await;
    let open = TestNode::with(ApiOptions { metrics_without_token: true, ..ApiOptions::default() }).await;
    let bare = |node: &TestNode, path: &str| node.http.get(format!("{}{path}", node.url)).send();
    assert_eq!(bare(&closed, "/metrics").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(bare(&open, "/metrics").await.unwrap().status(), StatusCode::OK);
    assert_eq!(bare(&open, "/api/v1/jobs").await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

/// Whether a value is as a schema of the document says; a field that the schema hasn't is a fault too.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(document, document.pointer(&name[1..]).unwrap(), value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return if value.is_null() {
            assert_eq!(any[1]["type"], "null", "{at}")
        } else {
            fits(document, &any[0], value, at)
        };
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = match &schema["type"] {
        Value::Null => return,
        Value::Array(several) => several.clone(),
        one => vec![one.clone()],
    };
    assert!(wanted.iter().any(|wanted| wanted == kind), "{at} is {value}, not {wanted:?}");
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{at} is {value}");
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(document, &schema["items"], item, &format!("{at}[{n}]"));
    }
    let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else { return };
    for (name, field) in fields {
        let schema = properties.get(name).unwrap_or_else(|| panic!("{at}.{name} isn't in the document"));
        fits(document, schema, field, &format!("{at}.{name}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{at} has no {name}");
    }
}

#[tokio::test]
async fn answers_are_as_the_openapi_document_says() {
    let node = TestNode::start().await;
    let document: Value =
        node.http.get(format!("{}/openapi.json", node.url)).send().await.unwrap().json().await.unwrap();
    let over = node.submitted(json!({ "steps": 1 })).await.id.to_string();
    node.follow(&over, None).await.until("job.ended").await;
    let open = node.submitted(json!({ "steps": 1, "hold": true })).await.id.to_string();
    let check = async |request: RequestBuilder, method: &str, path: &str, status: &str| {
        let response = request.send().await.unwrap();
        let answers = &document["paths"][path][method]["responses"];
        let known = answers.get(status).unwrap_or(&document["components"]["responses"]["Error"]);
        let ok = response.status().is_success();
        assert_eq!(ok, status != "default", "{method} {path}: {}", response.status());
        fits(&document, &known["content"]["application/json"]["schema"], &response.json().await.unwrap(), path);
    };
    let get = |path: &str| node.request(Method::GET, path);
    check(get("/api/v1/jobs"), "get", "/api/v1/jobs", "200").await;
    for job in [&over, &open] {
        check(get(&format!("/api/v1/jobs/{job}")), "get", "/api/v1/jobs/{id}", "200").await;
        check(get(&format!("/api/v1/jobs/{job}/explain")), "get", "/api/v1/jobs/{id}/explain", "200").await;
        check(get(&format!("/api/v1/timeline?job={job}")), "get", "/api/v1/timeline", "200").await;
    }
    check(get("/api/v1/timeline"), "get", "/api/v1/timeline", "200").await;
    check(get("/api/v1/node"), "get", "/api/v1/node", "200").await;
    check(get("/api/v1/approvals"), "get", "/api/v1/approvals", "200").await;
    check(get("/readyz"), "get", "/readyz", "200").await;
    check(get("/api/v1/jobs/none"), "get", "/api/v1/jobs/{id}", "default").await;
    check(get("/api/v1/nodes"), "get", "/api/v1/nodes", "default").await;
    let upload = node.request(Method::POST, "/api/v1/blobs").body("x");
    check(upload, "post", "/api/v1/blobs", "201").await;
    let issue = node.request(Method::POST, "/api/v1/access").json(&json!({ "name": "otto", "level": "viewer" }));
    check(issue, "post", "/api/v1/access", "201").await;
    check(get("/api/v1/access"), "get", "/api/v1/access", "200").await;
    let revoke = node.request(Method::DELETE, "/api/v1/access/otto");
    check(revoke, "delete", "/api/v1/access/{name}", "200").await;
    let stop = node.request(Method::POST, &format!("/api/v1/jobs/{open}/stop")).json(&json!({}));
    check(stop, "post", "/api/v1/jobs/{id}/stop", "200").await;
}

#[tokio::test]
async fn explain_says_why_a_job_is_as_it_is_and_what_it_did_last() {
    let node = TestNode::start().await;
    let job = node.submitted(json!({ "steps": 1, "hold": true })).await.id.to_string();
    node.follow(&job, None).await.until("job.started").await;
    let path = format!("/api/v1/jobs/{job}/explain");
    let explained: JobExplanation = node.get(&path).await.json().await.unwrap();
    assert_eq!((explained.job.state, explained.waits_for.len()), (JobState::Running, 0));
    assert_eq!(explained.trace, Some(TraceId::of_job(&explained.job.id)));
    assert!(explained.last.unwrap().line.contains("started"), "its last line is that it started");
    node.go_on.notify_one();
    node.follow(&job, None).await.until("job.ended").await;
    let explained: JobExplanation = node.get(&path).await.json().await.unwrap();
    assert_eq!(explained.job.why.as_deref(), Some("all steps taken"));
}

#[tokio::test]
async fn a_request_is_in_the_trace_of_its_caller_or_in_a_new_one_and_the_answer_says_which() {
    let node = TestNode::start().await;
    let trace_of = |response: &Response| -> TraceContext {
        response.headers()["traceparent"].to_str().unwrap().parse().expect("a traceparent")
    };
    let callers = TraceContext::fresh();
    let asked = node.request(Method::GET, "/api/v1/jobs").header("traceparent", callers.to_string());
    let answered = trace_of(&asked.send().await.unwrap());
    assert_eq!(answered.trace(), callers.trace());
    assert_ne!(answered.span(), callers.span());
    let (one, other) = (node.get("/api/v1/jobs").await, node.get("/api/v1/jobs").await);
    assert_ne!(trace_of(&one).trace(), trace_of(&other).trace());
    let nonsense =
        node.request(Method::GET, "/api/v1/jobs/none").header("traceparent", "nonsense").send().await.unwrap();
    assert_eq!(nonsense.status(), StatusCode::NOT_FOUND);
    trace_of(&nonsense);
}
