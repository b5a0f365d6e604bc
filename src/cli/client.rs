//! The node's HTTP API, as the CLI uses it. Turns every way a call can fail into a [`Failure`] with a remedy.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use fleet_actors::gate::Approval;
use fleet_api::ErrorBody;
use fleet_api::wire::{
    AccessBody, AccessGrant, AccessRecord, BASE_COMMIT, BlobStored, DecisionBody, EngineStatus, IDEMPOTENCY_KEY,
    Invitation, JobExplanation, NodeInfo, OnNode, StopBody, SubmitBody, Verdict,
};
use fleet_runtime::cluster::{ActorExplanation, ActorFilter, ActorRecord, NodeExplanation, NodeRecord};
use fleet_runtime::job::JobRecord;
use futures::{Stream, stream};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;

use super::args::Global;
use super::exit::Exit;
use super::failure::Failure;
use crate::state::{StateDir, StateError, read_token};

/// How long the node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an ordinary answer may take; a little more than the node's own deadline.
const ANSWER: Duration = Duration::from_secs(40);
/// How much of a file is read at once.
const PIECE: usize = 256 << 10;
/// How long an upload may take as a whole.
const UPLOAD: Duration = Duration::from_secs(15 * 60);

/// A connection to a node.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Client {
    /// Reads the token and makes ready to call. Without a token, says whether a node is there at all.
    pub async fn open(global: &Global) -> Result<Self, Failure> {
        let mut client = Self { http: http()?, server: server(&global.server)?, token: String::new() };
        match token(global) {
            Ok(token) => client.token = token,
            Err(refused) => {
                client.probe().await?;
                return Err(refused);
            }
        }
        Ok(client)
    }

    async fn probe(&self) -> Result<(), Failure> {
        let url = format!("{}/healthz", self.server);
        let asked = self.http.get(url).timeout(CONNECT).send().await;
        asked.map(drop).map_err(|e| self.unreachable(&e))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.server)).bearer_auth(&self.token)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(response).await)
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request.timeout(ANSWER)).await?;
        response.json().await.map_err(|e| {
            Failure::internal(
                format!("{} answered what this client can't read: {e}", self.server),
                "use a `fleet` of the node's version (fleet version)",
            )
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(self.request(Method::GET, path)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.ask(self.request(Method::POST, path).json(body)).await
    }

    /// What the node says of itself.
    pub async fn node(&self) -> Result<NodeInfo, Failure> {
        self.get("/node").await
    }

    /// Jobs, all or those in the given states.
    pub async fn jobs(&self, states: &[String]) -> Result<Vec<JobRecord>, Failure> {
        if states.is_empty() {
            return self.get("/jobs").await;
        }
        self.get(&format!("/jobs?state={}", part(&states.join(",")))).await
    }

    /// One job.
    pub async fn job(&self, id: &str) -> Result<JobRecord, Failure> {
        self.get(&format!("/jobs/{}", part(id))).await
    }

    /// A job, and why it is as it is.
    pub async fn explain_job(&self, id: &str) -> Result<JobExplanation, Failure> {
        self.get(&format!("/jobs/{}/explain", part(id))).await
    }

    /// What was done when, as a Chrome trace.
    pub async fn timeline(&self, job: Option<&str>) -> Result<serde_json::Value, Failure> {
        let which = job.map(|id| format!("?job={}", part(id))).unwrap_or_default();
        self.get(&format!("/timeline{which}")).await
    }

    /// Submits; repeating it with the same key gives the same job.
    pub async fn submit(&self, body: &SubmitBody, key: &str) -> Result<JobRecord, Failure> {
        let request = self.request(Method::POST, "/jobs").json(body);
        self.ask(request.header(IDEMPOTENCY_KEY, key)).await
    }

    /// Stops a job.
    pub async fn stop(&self, id: &str, reason: &str) -> Result<JobRecord, Failure> {
        let body = StopBody { reason: reason.to_owned() };
        self.post(&format!("/jobs/{}/stop", part(id)), &body).await
    }

    /// Deletes a job.
    pub async fn delete(&self, id: &str) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, &format!("/jobs/{}", part(id)));
        self.send(request.timeout(ANSWER)).await.map(drop)
    }

    /// The report as Markdown or JSON, as the node writes it.
    pub async fn report(&self, id: &str, json: bool) -> Result<String, Failure> {
        let format = if json { "json" } else { "md" };
        let path = format!("/jobs/{}/report?format={format}", part(id));
        let response = self.send(self.request(Method::GET, &path).timeout(ANSWER)).await?;
        response.text().await.map_err(|e| self.unreachable(&e))
    }

    /// What an attempt wants to change, as a diff; not escaped.
    pub async fn patch(&self, id: &str, attempt: u32) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.patch_bytes(id, attempt).await?).into_owned())
    }

    /// The same, to the byte.
    pub async fn patch_bytes(&self, id: &str, attempt: u32) -> Result<Bytes, Failure> {
        let path = format!("/jobs/{}/patches/{attempt}", part(id));
        let response = self.send(self.request(Method::GET, &path).timeout(ANSWER)).await?;
        response.bytes().await.map_err(|e| self.unreachable(&e))
    }

    /// Fetches the git bundle with the job's commit into a file; gives the commit that it rests on.
    pub async fn result(&self, id: &str, to: &Path) -> Result<String, Failure> {
        let path = format!("/jobs/{}/result", part(id));
        let mut response = self.send(self.request(Method::GET, &path).timeout(UPLOAD)).await?;
        let base = response.headers().get(BASE_COMMIT).and_then(|v| v.to_str().ok());
        let base = base.unwrap_or_default().to_owned();
        let unwritable = |e: std::io::Error| local("write", to, &e);
        let mut file = std::fs::File::create(to).map_err(unwritable)?;
        while let Some(piece) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            file.write_all(&piece).map_err(unwritable)?;
        }
        Ok(base)
    }

    /// Uploads a pack, piece by piece.
    pub async fn upload(&self, pack: &Path) -> Result<BlobStored, Failure> {
        let unreadable = |e: std::io::Error| local("read", pack, &e);
        let file = tokio::fs::File::open(pack).await.map_err(unreadable)?;
        let bytes = file.metadata().await.map_err(unreadable)?.len();
        let request = self
            .request(Method::POST, "/blobs")
            .header(reqwest::header::CONTENT_LENGTH, bytes)
            .body(reqwest::Body::wrap_stream(pieces(file)));
        let response = self.send(request.timeout(UPLOAD)).await?;
        response.json().await.map_err(|e| self.unreachable(&e))
    }

    /// What waits for a person.
    pub async fn approvals(&self) -> Result<Vec<Approval>, Failure> {
        self.get("/approvals").await
    }

    /// Decides.
    pub async fn decide(&self, id: &str, decision: Verdict, comment: &str) -> Result<serde_json::Value, Failure> {
        let body = DecisionBody { decision, comment: comment.to_owned() };
        self.post(&format!("/approvals/{}", part(id)), &body).await
    }

    /// The engines that the node can reach.
    pub async fn engines(&self) -> Result<Vec<EngineStatus>, Failure> {
        self.get("/engines").await
    }

    /// Has engines take no further requests, or take them again.
    pub async fn drain_engine(
        &self,
        engine: &str,
        node: Option<&str>,
        drain: bool,
    ) -> Result<Vec<EngineStatus>, Failure> {
        let path = format!("/engines/{}/{}", part(engine), if drain { "drain" } else { "resume" });
        let on = OnNode { node: node.map(str::to_owned) };
        self.ask(self.request(Method::POST, &path).query(&on)).await
    }

    /// The nodes of the cluster.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, Failure> {
        self.get("/nodes").await
    }

    /// A node, and why it is as it is.
    pub async fn explain_node(&self, node: &str) -> Result<NodeExplanation, Failure> {
        self.get(&format!("/nodes/{}", part(node))).await
    }

    /// Gives a node nothing new, and takes off it what can begin elsewhere.
    pub async fn drain(&self, node: &str) -> Result<NodeExplanation, Failure> {
        self.ask(self.request(Method::POST, &format!("/nodes/{}/drain", part(node)))).await
    }

    /// What another node joins by.
    pub async fn invite(&self) -> Result<Invitation, Failure> {
        self.ask(self.request(Method::POST, "/nodes/invitations")).await
    }

    /// Actors of the cluster.
    pub async fn actors(&self, filter: &ActorFilter) -> Result<Vec<ActorRecord>, Failure> {
        self.ask(self.request(Method::GET, "/actors").query(filter)).await
    }

    /// An actor, and why it is as it is.
    pub async fn explain_actor(&self, key: &str) -> Result<ActorExplanation, Failure> {
        self.get(&format!("/actor?key={}", part(key))).await
    }

    /// Ends an actor for good.
    pub async fn stop_actor(&self, key: &str) -> Result<serde_json::Value, Failure> {
        self.ask(self.request(Method::POST, &format!("/actor/stop?key={}", part(key)))).await
    }

    /// Issues a token.
    pub async fn issue(&self, body: &AccessBody) -> Result<AccessGrant, Failure> {
        self.post("/access", body).await
    }

    /// The tokens that were issued.
    pub async fn access(&self) -> Result<Vec<AccessRecord>, Failure> {
        self.get("/access").await
    }

    /// Takes a token back.
    pub async fn revoke(&self, name: &str) -> Result<AccessRecord, Failure> {
        self.ask(self.request(Method::DELETE, &format!("/access/{}", part(name)))).await
    }

    /// Opens a job's event stream after the event with this id.
    pub async fn events(&self, id: &str, after: Option<&str>, follow: bool) -> Result<Response, Failure> {
        let path = format!("/jobs/{}/events?follow={follow}", part(id));
        let mut request = self.request(Method::GET, &path);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        // No deadline for the whole: the stream is as long as the job. Who reads it watches for heartbeats.
        let opened = tokio::time::timeout(ANSWER, self.send(request)).await;
        opened.unwrap_or_else(|_| Err(self.silent()))
    }

    fn silent(&self) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("the node at {} doesn't answer in time", self.server),
            "look at fleetd's log; try again",
        )
        .coded("FLT-N002")
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() && !error.is_connect() {
            return self.silent();
        }
        Failure::new(
            Exit::Unreachable,
            format!("no node answers at {}: {}", self.server, root_cause(error)),
            "start one with `fleetd --config cluster.toml`, or name another with --server",
        )
        .coded("FLT-N001")
    }
}

/// A file, a piece at a time.
fn pieces(file: tokio::fs::File) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), file)))
    })
}

fn local(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::internal(
        format!("can't {what} {}: {error}", path.display()),
        "check the space for temporary files (TMPDIR)",
    )
}

fn http() -> Result<reqwest::Client, Failure> {
    fleet_runtime::net::install_crypto();
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        // The token goes to the address that was named, not where something on the way sends it.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| Failure::internal(format!("can't set up HTTP: {e}"), ""))
}

fn server(url: &str) -> Result<String, Failure> {
    let url = url.trim_end_matches('/');
    match url.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() && !rest.contains('/') => Ok(url.to_owned()),
        _ => Err(Failure::input(
            format!("--server {url:?} isn't an address of a node"),
            "write it as http://127.0.0.1:7400 (this release speaks plain HTTP on loopback only)",
        )),
    }
}

fn token(global: &Global) -> Result<String, Failure> {
    let refused = |e: StateError| Failure::new(Exit::Unauthorised, e.to_string(), "");
    let path = match &global.token_file {
        Some(path) => path.clone(),
        None => state_dir(global)?.token_file(),
    };
    read_token(Path::new(&path)).map_err(refused)
}

/// The state directory that the options name.
pub fn state_dir(global: &Global) -> Result<StateDir, Failure> {
    StateDir::resolve(global.state_dir.as_deref()).map_err(|e| Failure::input(e.to_string(), ""))
}

/// One part of a path: whatever a person typed can't leave its place in the URL.
fn part(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b',' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

async fn refused(response: Response) -> Failure {
    let status = response.status();
    let exit = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Unauthorised,
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE => Exit::NotFoundOrConflict,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::Unreachable,
        s if s.is_client_error() => Exit::BadInput,
        _ => Exit::Internal,
    };
    match response.json::<ErrorBody>().await {
        Ok(body) => Failure::new(exit, body.message, body.remedy).coded(body.code),
        Err(_) => {
            Failure::new(exit, format!("the node answered {status}"), "is this address a Fleet node's? See --server")
        }
    }
}
