//! Real sockets on loopback, real certificates, deadlines shortened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod files;
mod flood;
mod joins;
mod links;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::id::NodeId;

const PATIENCE: Duration = Duration::from_secs(20);

/// A control node's authority and its own credentials.
struct TestCluster {
    authority: Arc<Authority>,
    control: NodeCredentials,
    _dir: TempDir,
}

impl TestCluster {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Arc::new(Authority::open_or_create(dir.path()).unwrap());
        let life = NetOptions::default().certificate_lifetime;
        let control = authority.control_credentials(NodeId::new_random(), &name("control"), life).unwrap();
        Self { authority, control, _dir: dir }
    }

    fn member(&self, text: &str) -> NodeCredentials {
        self.member_for(text, NetOptions::default().certificate_lifetime)
    }

    fn member_for(&self, text: &str, lifetime: Duration) -> NodeCredentials {
        let key = NodeKey::generate().unwrap();
        let certificate =
            self.authority.sign(&key.csr().unwrap(), NodeId::new_random(), &name(text), lifetime).unwrap();
        NodeCredentials::assemble(key, certificate, self.authority.identity().ca.clone()).unwrap()
    }
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn options() -> NetOptions {
    NetOptions { handshake_deadline: Duration::from_secs(10), dial_deadline: PATIENCE, ..NetOptions::default() }
}

fn endpoint(credentials: &NodeCredentials, options: &NetOptions) -> Endpoint {
    Endpoint::new(credentials.clone(), options.clone()).unwrap()
}

/// Serves all planes, lets everyone in.
fn listen(credentials: &NodeCredentials, options: &NetOptions) -> (Listener, mpsc::Receiver<Accepted>) {
    listen_on(credentials, options, &Plane::ALL)
}

fn listen_on(
    credentials: &NodeCredentials,
    options: &NetOptions,
    planes: &[Plane],
) -> (Listener, mpsc::Receiver<Accepted>) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    endpoint(credentials, options).listen(any, planes, Arc::new(|_: NodeId| true)).unwrap()
}

fn addr(listener: &Listener) -> String {
    listener.local_addr().to_string()
}

async fn next(accepted: &mut mpsc::Receiver<Accepted>) -> Accepted {
    timeout(PATIENCE, accepted.recv()).await.expect("nothing was accepted in time").expect("the listener is gone")
}

/// Waits until the listener's counters are as wanted.
async fn until(listener: &Listener, wanted: impl Fn(&NetStats) -> bool) -> NetStats {
    let start = Instant::now();
    loop {
        let stats = listener.stats();
        if wanted(&stats) {
            return stats;
        }
        assert!(start.elapsed() < PATIENCE, "never came: {stats:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the other side has closed the connection.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut sink = [0; 1024];
    let gone = async { while matches!(stream.read(&mut sink).await, Ok(n) if n > 0) {} };
    timeout(PATIENCE, gone).await.expect("the connection stays open");
}

async fn echo_works(here: &mut PlaneStream, there: &mut PlaneStream) {
    here.write_all(b"hello").await.unwrap();
    here.flush().await.unwrap();
    let mut heard = [0; 5];
    there.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}
