//! Node B: dials node A, again whenever the link is lost, and does what it is told.

use std::io::Read;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::*;
use crate::control::seal::Kind;
use crate::supervise::ChildOptions;
use crate::{Actor, ActorError, Context, Incarnation, System};

const ACTORS: usize = 1000;

struct Idle;

impl Actor for Idle {
    type Msg = IdleMsg;
    type Args = ();

    async fn start((): (), _: &Context<IdleMsg>) -> Result<Self, ActorError> {
        Ok(Self)
    }

    async fn handle(&mut self, _: IdleMsg, _: &Context<IdleMsg>) -> Result<(), ActorError> {
        Ok(())
    }
}

#[derive(wincode::SchemaWrite, wincode::SchemaRead)]
struct IdleMsg;

impl crate::Message for IdleMsg {
    const KIND: &'static str = "test.control.idle";
}

#[derive(Clone, Default)]
struct Does(Arc<Shared>);

#[derive(Default)]
struct Shared {
    notes: Mutex<Vec<String>>,
    plane: OnceLock<(ControlPlane, Endpoint, NodeId)>,
}

impl ControlHandler for Does {
    fn handle(&self, from: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let shared = self.0.clone();
        let text = String::from_utf8_lossy(&message[..message.len().min(200)]).into_owned();
        async move {
            let (what, rest) = text.split_once(' ').unwrap_or((&text, ""));
            let (plane, _, a) = shared.plane.get().unwrap();
            assert_eq!(from, *a);
            // A's end may be up a moment before this one.
            until("the link", || !plane.links().is_empty()).await;
            Ok(match what {
                "echo" => rest.as_bytes().to_vec(),
                "no" => return Err("because".into()),
                "panic" => panic!("as told"),
                "slow" => {
                    sleep(Duration::from_millis(rest.parse().unwrap())).await;
                    b"late".to_vec()
                }
                "big" => vec![7; rest.parse().unwrap()],
                "length" => message.len().to_string().into_bytes(),
                "note" => {
                    lock(&shared.notes).push(rest.into());
                    Vec::new()
                }
                "notes" => lock(&shared.notes).join(",").into_bytes(),
                "ask-back" => plane.call(from, format!("echo {rest}").into_bytes(), SOON).await.unwrap(),
                "cast-back" => plane.cast(from, rest.as_bytes().to_vec()).map(|()| Vec::new()).unwrap(),
                "forge" => {
                    let link = plane.inner().table.usable(from).unwrap();
                    let victim = rest.parse().unwrap();
                    let answer = link.send(victim, Kind::Call, b"echo forged".to_vec(), SOON).unwrap();
                    let answered = timeout(Duration::from_millis(300), answer).await.is_ok();
                    if answered { b"answered".to_vec() } else { b"ignored".to_vec() }
                }
                "detach" => {
                    plane.detach(from);
                    Vec::new()
                }
                "dial" => {
                    dial(&shared).await.map_err(|e| e.to_string())?;
                    Vec::new()
                }
                other => return Err(format!("{other}?")),
            })
        }
        .boxed()
    }
}

async fn dial(shared: &Shared) -> Result<(), ControlError> {
    let (plane, endpoint, a) = shared.plane.get().unwrap();
    let addr = std::env::var("FLEET_TEST_ADDR").unwrap();
    let (stream, peer) = endpoint.dial(&addr, Plane::Control, Some(*a)).await?;
    plane.attach(&peer, stream, Side::Dialled).await
}

#[test]
#[ignore = "a process that the other tests start"]
fn node_b() {
    if std::env::var_os(ROLE).is_none_or(|role| role != "peer") {
        return;
    }
    // Nobody needs this process once its parent is gone.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let credentials = NodeCredentials::load(&PathBuf::from(std::env::var_os("FLEET_TEST_DIR").unwrap())).unwrap();
        let me = credentials.identity().clone();
        let system = System::start(me.node, Incarnation(1)).await.unwrap();
        for n in 0..ACTORS {
            system.spawn::<Idle>(format!("idle {n}"), (), ChildOptions::default()).await.unwrap();
        }
        let does = Does::default();
        let options = ControlOptions { max_handlers: 8, ..Default::default() };
        let plane = ControlPlane::start(me, options, Arc::new(does.clone())).await.unwrap();
        let mut events = plane.events();
        let a = std::env::var("FLEET_TEST_A").unwrap().parse().unwrap();
        let endpoint = Endpoint::new(credentials, NetOptions::default()).unwrap();
        assert!(does.0.plane.set((plane.clone(), endpoint, a)).is_ok());
        loop {
            // A second link that a test asked for comes up by itself.
            if plane.links().is_empty() && dial(&does.0).await.is_err() {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
            while events.next().await != Some(LinkEvent::Down(a)) {}
        }
    });
}
