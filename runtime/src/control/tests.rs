//! Two processes a test, since ractor's tables know one node a process: the test runs itself again as node A (so that
//! tests may share a process), which runs the test binary once more as node B. Real TLS between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod links;
mod messages;
mod peer;

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::id::NodeId;
use crate::net::{Authority, Endpoint, Listener, NetOptions, NodeCredentials, NodeKey, NodeName, Plane};

const PATIENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(5);
const ROLE: &str = "FLEET_TEST_CONTROL_ROLE";

/// Runs the body in a process of its own.
fn alone<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(ROLE).is_some_and(|role| role == "node") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(body());
    }
    let Output { status, stdout, stderr } = itself(test, "node", &[]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && stdout.contains("1 passed"), "{test}: {status}\n{stdout}\n{stderr}");
}

fn itself(test: &str, role: &str, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("control::tests::{test}"), "--nocapture", "--test-threads=1"]).args(args);
    command.env(ROLE, role).stdin(Stdio::null());
    command
}

/// Node A, which listens, and what its handler has seen.
struct NodeA {
    plane: ControlPlane,
    b: NodeId,
    seen: Seen,
    addr: SocketAddr,
    dir: TempDir,
    _listener: Listener,
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(NodeId, String)>>>);

/// `echo X` gives X; all else is noted.
impl ControlHandler for Seen {
    fn handle(&self, from: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let text = String::from_utf8(message).unwrap();
        let echo = text.strip_prefix("echo ").map(|echo| echo.as_bytes().to_vec());
        if echo.is_none() {
            lock(&self.0).push((from, text));
        }
        async move { Ok(echo.unwrap_or_default()) }.boxed()
    }
}

impl NodeA {
    async fn start(options: ControlOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::open_or_create(&dir.path().join("ca")).unwrap();
        let credentials = |text: &str| {
            let (key, name): (_, NodeName) = (NodeKey::generate().unwrap(), text.parse().unwrap());
            let life = NetOptions::default().certificate_lifetime;
            let certificate = authority.sign(&key.csr().unwrap(), NodeId::new_random(), &name, life).unwrap();
            NodeCredentials::assemble(key, certificate, authority.identity().ca.clone()).unwrap()
        };
        let (a, b) = (credentials("a"), credentials("b"));
        b.store(&dir.path().join("b")).unwrap();
        let seen = Seen::default();
        let plane = ControlPlane::start(a.identity().clone(), options, Arc::new(seen.clone())).await.unwrap();
        let endpoint = Endpoint::new(a, NetOptions::default()).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listener, mut accepted) = endpoint.listen(any, &[Plane::Control], Arc::new(|_: NodeId| true)).unwrap();
        let attaching = plane.clone();
        tokio::spawn(async move {
            while let Some(next) = accepted.recv().await {
                let plane = attaching.clone();
                tokio::spawn(async move { plane.attach(&next.peer.unwrap(), next.stream, Side::Accepted).await });
            }
        });
        let addr = listener.local_addr();
        Self { plane, b: b.identity().node, seen, addr, dir, _listener: listener }
    }

    /// Starts node B as another process and waits for its link.
    async fn with_b(self) -> (Self, ProcessB) {
        let mut events = self.plane.events();
        let b = self.start_b();
        assert_eq!(next(&mut events).await, LinkEvent::Up(self.b));
        (self, b)
    }

    fn start_b(&self) -> ProcessB {
        let mut command = itself("peer::node_b", "peer", &["--ignored"]);
        command.env("FLEET_TEST_DIR", self.dir.path().join("b")).env("FLEET_TEST_ADDR", self.addr.to_string());
        command.env("FLEET_TEST_A", self.plane.inner().me().node.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        ProcessB(command.spawn().unwrap())
    }

    async fn ask(&self, what: &str) -> Result<String, ControlError> {
        let answer = self.plane.call(self.b, what.as_bytes().to_vec(), SOON).await?;
        Ok(String::from_utf8(answer).unwrap())
    }
}

/// Node B, killed when dropped.
struct ProcessB(Child);

impl ProcessB {
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for ProcessB {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn next(events: &mut LinkEvents) -> LinkEvent {
    timeout(PATIENCE, events.next()).await.expect("nothing happened in time").expect("the plane has ended")
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
