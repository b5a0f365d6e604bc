use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::tokens::Recorder;
use super::*;
use crate::net::dial;
use crate::time::Timestamp;

/// A desk that keeps names in memory.
#[derive(Default)]
struct Desk(Mutex<HashMap<NodeName, NodeId>>);

impl JoinDesk for Desk {
    fn review<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<(), NetError>> {
        async move {
            let Newcomer { node, name, .. } = &applicant.newcomer;
            match self.0.lock().unwrap().get(name) {
                Some(owner) if owner != node => Err(NetError::NameTaken(name.to_string())),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn admit<'a>(&'a self, applicant: &'a Applicant) -> BoxFuture<'a, Result<Admission, NetError>> {
        async move {
            self.review(applicant).await?;
            let Newcomer { node, name, .. } = applicant.newcomer.clone();
            self.0.lock().unwrap().insert(name, node);
            Ok(Admission { control: vec!["10.0.0.1:7000".to_owned()] })
        }
        .boxed()
    }
}

/// A control node that lets machines join.
struct Control {
    cluster: TestCluster,
    addr: String,
    recorder: Arc<Recorder>,
    /// How each join ended, as the server saw it.
    outcomes: mpsc::Receiver<Result<Applicant, NetError>>,
    listener: Listener,
    _serving: JoinHandle<()>,
}

impl Control {
    fn start(options: NetOptions) -> Self {
        let cluster = TestCluster::new();
        let recorder = Arc::new(Recorder::default());
        let book = Arc::new(TokenBook::new(recorder.clone(), [], 100));
        let node = cluster.control.identity().node;
        let server = JoinServer::new(cluster.authority.clone(), node, book, Arc::new(Desk::default()), options.clone());
        let (listener, mut accepted) = listen(&cluster.control, &options);
        let (ended, outcomes) = mpsc::channel(100);
        let serving = tokio::spawn(async move {
            while let Some(Accepted { plane: Plane::Join, stream, addr, .. }) = accepted.recv().await {
                let (server, ended) = (server.clone(), ended.clone());
                tokio::spawn(async move { ended.send(server.serve(stream, addr).await).await });
            }
        });
        Self { addr: addr(&listener), cluster, recorder, outcomes, listener, _serving: serving }
    }

    fn token(&self) -> JoinToken {
        self.token_for(Duration::from_secs(600))
    }

    fn token_for(&self, life: Duration) -> JoinToken {
        let authority = &self.cluster.authority;
        authority.tokens().issue(authority.identity(), Timestamp::now(), life).unwrap()
    }

    async fn join(&self, token: &JoinToken, newcomer: &Newcomer) -> Result<Joined, NetError> {
        join_cluster(&self.addr, token, newcomer, &options()).await
    }

    async fn outcome(&mut self) -> Result<Applicant, NetError> {
        timeout(PATIENCE, self.outcomes.recv()).await.unwrap().unwrap()
    }

    /// Sends the frame over a good connection of the join plane; gives the answer.
    async fn answer_to(&self, frame: &Value) -> Value {
        let (mut stream, _) = dial::to_join(&self.addr, &self.token(), &options()).await.unwrap();
        let frame = serde_json::to_vec(frame).unwrap();
        stream.write_all(&(frame.len() as u32).to_be_bytes()).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        stream.flush().await.unwrap();
        read_answer(&mut stream).await
    }
}

async fn read_answer(stream: &mut PlaneStream) -> Value {
    let length = stream.read_u32().await.unwrap();
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

fn newcomer(text: &str) -> Newcomer {
    Newcomer { node: NodeId::new_random(), name: name(text), advertised: "127.0.0.1:7001".to_owned() }
}

/// A request that would be granted.
fn request(token: &str) -> Value {
    json!({
        "protocol": 1,
        "token": token,
        "node": NodeId::new_random(),
        "name": "worker",
        "advertised": "127.0.0.1:7001",
        "csr": STANDARD.encode(NodeKey::generate().unwrap().csr().unwrap()),
    })
}

fn with(mut request: Value, field: &str, value: impl Into<Value>) -> Value {
    request[field] = value.into();
    request
}

fn refused_with(result: Result<Joined, NetError>) -> String {
    match result {
        Err(NetError::JoinRefused { code, .. }) => code,
        other => panic!("not refused by the control node: {other:?}"),
    }
}

#[tokio::test]
async fn a_machine_joins_and_its_new_credentials_open_links() {
    let mut control = Control::start(options());
    let who = newcomer("worker-1");
    let token = control.token();

    let joined = control.join(&token, &who).await.unwrap();

    assert_eq!(joined.credentials.identity().node, who.node);
    assert_eq!(joined.credentials.identity().name, who.name);
    assert_eq!(joined.control, ["10.0.0.1:7000"]);
    assert_eq!(control.outcome().await.unwrap().newcomer, who);
    assert_eq!(control.recorder.recorded.lock().unwrap()[0].0, token.nonce());

    let dir = TempDir::new().unwrap();
    joined.credentials.store(dir.path()).unwrap();
    let loaded = NodeCredentials::load(dir.path()).unwrap();
    let other = control.cluster.member("other");
    let (listener, mut accepted) = listen(&other, &options());
    endpoint(&loaded, &options()).dial(&addr(&listener), Plane::Lane, Some(other.identity().node)).await.unwrap();
    assert_eq!(next(&mut accepted).await.peer.unwrap().node, who.node);
}

#[tokio::test]
async fn of_many_joins_with_one_token_exactly_one_succeeds() {
    let control = Control::start(options());
    let token = control.token();
    let machines: Vec<_> = (0..6).map(|i| newcomer(&format!("worker-{i}"))).collect();

    let ended = futures::future::join_all(machines.iter().map(|machine| control.join(&token, machine))).await;

    let (joined, refused): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!(joined.len(), 1);
    assert!(refused.into_iter().all(|refusal| refused_with(refusal) == "FLT-L025"));
    assert_eq!(control.recorder.recorded.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_that_expired_is_refused_with_the_remedy() {
    let control = Control::start(options());
    let error = control.join(&control.token_for(Duration::ZERO), &newcomer("worker")).await.unwrap_err();
    assert!(error.to_string().contains("FLT-L024") && error.to_string().contains("fleet node invite"), "{error}");
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let (control, other) = (Control::start(options()), TestCluster::new());
    let tokens = other.authority.tokens();
    let life = Duration::from_secs(600);
    let forged = tokens.issue(control.cluster.authority.identity(), Timestamp::now(), life).unwrap();
    assert_eq!(refused_with(control.join(&forged, &newcomer("worker")).await), "FLT-L023");
}

#[tokio::test]
async fn a_token_of_another_cluster_and_a_malformed_one_are_refused() {
    let (control, other) = (Control::start(options()), Control::start(options()));
    let answer = control.answer_to(&request(&other.token().expose())).await;
    assert_eq!((&answer["answer"], &answer["code"]), (&json!("refused"), &json!("FLT-L022")));
    assert_eq!(control.answer_to(&request("fleet-join-nonsense")).await["code"], "FLT-L020");
    assert_eq!(control.answer_to(&request(&control.token().expose())).await["answer"], "welcome");
}

#[tokio::test]
async fn a_server_whose_ca_is_not_the_token_s_never_sees_the_token() {
    let (control, mut other) = (Control::start(options()), Control::start(options()));
    let error = join_cluster(&other.addr, &control.token(), &newcomer("worker"), &options()).await.unwrap_err();
    assert!(matches!(error, NetError::OtherAuthority { .. }), "{error}");
    until(&other.listener, |stats| stats.refused(RefusedBecause::BrokeOff) == 1).await;
    assert!(other.outcomes.try_recv().is_err());
}

#[tokio::test]
async fn a_member_that_plays_control_node_never_sees_the_token() {
    let control = Control::start(options());
    let (listener, mut accepted) = listen(&control.cluster.member("thief"), &options());
    let error = join_cluster(&addr(&listener), &control.token(), &newcomer("worker"), &options()).await.unwrap_err();
    assert!(error.to_string().contains("isn't the control node's"), "{error}");
    until(&listener, |stats| stats.refused(RefusedBecause::BrokeOff) == 1).await;
    assert!(accepted.try_recv().is_err());
}

#[tokio::test]
async fn a_name_of_another_node_is_refused_and_the_token_stays_good() {
    let control = Control::start(options());
    control.join(&control.token(), &newcomer("worker")).await.unwrap();
    let token = control.token();
    assert_eq!(refused_with(control.join(&token, &newcomer("worker")).await), "FLT-L061");
    control.join(&token, &newcomer("worker-2")).await.unwrap();
}

#[tokio::test]
async fn nobody_joins_as_the_control_node() {
    let control = Control::start(options());
    let thief = Newcomer { node: control.cluster.control.identity().node, ..newcomer("thief") };
    assert_eq!(refused_with(control.join(&control.token(), &thief).await), "FLT-L062");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_said_and_leaves_the_token_good() {
    let control = Control::start(options());
    let good = request(&control.token().expose());
    for (field, value, code) in [
        ("protocol", json!(2), "FLT-L063"),
        ("name", json!("../etc"), "FLT-L009"),
        ("name", json!(""), "FLT-L009"),
        ("advertised", json!("0.0.0.0:7001"), "FLT-L064"),
        ("advertised", json!("host:0"), "FLT-L064"),
        ("advertised", json!("no port"), "FLT-L064"),
        ("csr", json!("AAAA"), "FLT-L007"),
        ("csr", json!("not base64!"), "FLT-L007"),
        ("node", json!("nobody"), "FLT-L044"),
    ] {
        let answer = control.answer_to(&with(good.clone(), field, value.clone())).await;
        assert_eq!(answer["code"], code, "{field} = {value}: {answer}");
    }
    assert_eq!(control.answer_to(&with(good, "advertised", "[::1]:7001")).await["answer"], "welcome");
}

#[tokio::test]
async fn an_oversize_frame_is_refused_before_it_is_read() {
    let mut control = Control::start(options());
    let (mut stream, _) = dial::to_join(&control.addr, &control.token(), &options()).await.unwrap();
    stream.write_all(&(1u32 << 30).to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();

    assert_eq!(read_answer(&mut stream).await["code"], "FLT-L065");
    closed(&mut stream).await;
    assert!(matches!(control.outcome().await, Err(NetError::FrameTooLarge { bytes: 1_073_741_824, .. })));
    control.join(&control.token(), &newcomer("worker")).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_joins_and_says_nothing_is_cut_off_at_the_deadline() {
    let mut control = Control::start(NetOptions { join_deadline: Duration::from_millis(100), ..options() });
    let (mut stream, _) = dial::to_join(&control.addr, &control.token(), &options()).await.unwrap();
    closed(&mut stream).await;
    assert_eq!(control.outcome().await.unwrap_err().code(), "FLT-L041");
    until(&control.listener, |stats| stats.established == 0).await;
}

#[tokio::test]
async fn joins_are_bounded_and_leave_members_alone() {
    let control = Control::start(NetOptions { max_joining: 2, join_deadline: PATIENCE, ..options() });
    let token = control.token();
    let _held = [
        dial::to_join(&control.addr, &token, &options()).await.unwrap(),
        dial::to_join(&control.addr, &token, &options()).await.unwrap(),
    ];
    let error = control.join(&token, &newcomer("worker")).await.unwrap_err();
    assert!(matches!(error, NetError::Refused { reason: Verdict::TooManyConnections, .. }), "{error}");
    let member = endpoint(&control.cluster.member("a"), &options());
    member.dial(&control.addr, Plane::Lane, None).await.unwrap();
}

#[tokio::test]
async fn a_use_that_could_not_be_recorded_gives_no_certificate() {
    let control = Control::start(options());
    let token = control.token();
    control.recorder.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(refused_with(control.join(&token, &newcomer("worker")).await), "FLT-L027");
    control.recorder.broken.store(false, std::sync::atomic::Ordering::SeqCst);
    control.join(&token, &newcomer("worker")).await.unwrap();
}
