//! What the control node tells a member before it can work: a service of the composition, since it is made of what several
//! crates need to have alike on all nodes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleet_actors::options::TeamOptions;
use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, Ref, ReplyTo};
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

/// How long a member waits for it when it starts.
const PATIENCE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// What must be the same on all nodes.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// The key of secret placeholders, in hex: a placeholder means the same secret everywhere. It travels over mutual TLS
    /// only, to nodes of the cluster, and is never written by them.
    pub(super) redaction_key: String,
    /// How the team works.
    pub(super) team: TeamOptions,
    /// The engine for nodes that have none.
    pub(super) engine: String,
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Welcome(engine {})", self.engine)
    }
}

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum WelcomeMsg {
    Tell(ReplyTo<Json<Welcome>>),
}

impl Message for WelcomeMsg {
    const KIND: &'static str = "fleet.node.welcome";
}

/// Tells it.
pub(super) struct WelcomeService(Arc<Welcome>);

impl WelcomeService {
    pub(super) const NAME: &'static str = "welcome";
}

impl Actor for WelcomeService {
    type Msg = WelcomeMsg;
    type Args = Arc<Welcome>;

    async fn start(welcome: Arc<Welcome>, _: &Context<WelcomeMsg>) -> Result<Self, ActorError> {
        Ok(Self(welcome))
    }

    async fn handle(&mut self, msg: WelcomeMsg, _: &Context<WelcomeMsg>) -> Result<(), ActorError> {
        let WelcomeMsg::Tell(reply) = msg;
        reply.send(Json::new((*self.0).clone()));
        Ok(())
    }
}

/// Asks the control node until it answers.
pub(super) async fn ask(service: &Ref<WelcomeMsg>) -> anyhow::Result<Welcome> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match service.ask(DEADLINE, WelcomeMsg::Tell).await {
            Ok(welcome) => return welcome.take().map_err(|why| anyhow::anyhow!(why)).context(OTHER_VERSION),
            Err(error) if tokio::time::Instant::now() >= until => {
                return Err(error).context(
                    "FLT-N012: the control node doesn't answer\n  next: see whether its fleetd runs and that this node may reach its [cluster] listen address",
                );
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

const OTHER_VERSION: &str =
    "FLT-N013: the control node is of another version\n  next: run the same fleetd on all nodes";
