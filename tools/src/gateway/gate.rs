//! The gateway's actor, which supervises the workspaces' actors, and the handle to both.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_runtime::Effects;
use fleet_runtime::actor::{Actor, ActorError, AskError, Context, Json, Message, Ref, ReplyTo, System};
use fleet_runtime::auth::Authorizer;
use fleet_runtime::supervise::{ChildOptions, Restart};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wincode::{SchemaRead, SchemaWrite};

use super::guard::EditGuard;
use super::tool_actor::{Answer, ToolActor, ToolArgs, ToolMsg};
use super::{ToolCall, ToolError, ToolResult, WorkspaceSpec};
use crate::repo::{BaseRepo, Patch, PathRules};
use crate::run::Workbench;

const NAME: &str = "tool-gateway";
/// A checkout of a large base takes a while.
const OPENING: Duration = Duration::from_secs(120);
const CLOSING: Duration = Duration::from_secs(30);

/// What a gateway needs.
#[derive(Clone)]
pub struct GatewayOptions {
    /// Where and with what commands are run. `bench.dir/workspaces` belongs to the gateway and is emptied at its start.
    pub bench: Workbench,
    /// Who decides over calls, usually [`crate::policy::Policy`].
    pub authorizer: Arc<dyn Authorizer>,
    /// What agents see of files, and how their edits get into them.
    pub guard: Arc<dyn EditGuard>,
    /// Workspaces that may be open at once; one more is refused as busy. 32 is plenty for one machine.
    pub max_workspaces: usize,
}

/// An open workspace. It stays open until it is closed, whoever drops this.
#[derive(Debug, Clone)]
pub struct WorkspaceRef {
    id: String,
    actor: Ref<ToolMsg>,
}

impl WorkspaceRef {
    /// Job and name of the workspace.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The way to the gateway; cheap to clone.
#[derive(Clone)]
pub struct GatewayHandle {
    actor: Ref<GatewayMsg>,
    shared: Arc<Shared>,
}

/// Handles that can't travel in a message wait here for the actor to take them by their ticket.
struct Shared {
    options: GatewayOptions,
    waiting: Mutex<HashMap<String, ToolArgs>>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
enum GatewayMsg {
    Open { id: String, ticket: String, reply: ReplyTo<Opened> },
    Close { id: String, reply: ReplyTo<bool> },
}

impl Message for GatewayMsg {
    const KIND: &'static str = "fleet.tool-gateway";
}

#[derive(Debug, SchemaWrite, SchemaRead)]
enum Opened {
    Workspace(Ref<ToolMsg>),
    Busy(String),
    Refused(String),
}

struct Gateway {
    shared: Arc<Shared>,
    open: HashSet<String>,
}

impl Actor for Gateway {
    type Msg = GatewayMsg;
    type Args = Arc<Shared>;

    async fn start(shared: Arc<Shared>, _: &Context<GatewayMsg>) -> Result<Self, ActorError> {
        // What lies there is of a former life; every workspace can be made again.
        let dir = shared.options.bench.dir.join("workspaces");
        let emptied = tokio::task::spawn_blocking(move || {
            crate::repo::remove_tree(&dir)?;
            std::fs::create_dir_all(&dir).map_err(crate::repo::RepoError::io(&dir))
        });
        emptied.await.map_err(ActorError::failed)?.map_err(ActorError::failed)?;
        Ok(Self { shared, open: HashSet::new() })
    }

    async fn handle(&mut self, msg: GatewayMsg, ctx: &Context<GatewayMsg>) -> Result<(), ActorError> {
        match msg {
            GatewayMsg::Open { id, ticket, reply } => reply.send(self.open(id, &ticket, ctx).await),
            GatewayMsg::Close { id, reply } => {
                let was_open = self.open.remove(&id);
                ctx.stop_child(&id).await;
                reply.send(was_open);
            }
        }
        Ok(())
    }
}

impl Gateway {
    async fn open(&mut self, id: String, ticket: &str, ctx: &Context<GatewayMsg>) -> Opened {
        let args = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket);
        let Some(args) = args else {
            return Opened::Refused("nobody waits for it any more".to_owned());
        };
        let max = self.shared.options.max_workspaces;
        if self.open.len() >= max {
            return Opened::Busy(format!("{max} workspaces are open"));
        }
        // Never restarted: its state would be another. Whoever uses it opens it again and repeats the calls.
        let options = ChildOptions { restart: Restart::Temporary, mailbox: 16, grace: CLOSING };
        match ctx.spawn_with::<ToolActor>(id.clone(), args, options).await {
            Ok(actor) => {
                self.open.insert(id);
                Opened::Workspace(actor)
            }
            Err(error) => Opened::Refused(error.to_string()),
        }
    }
}

impl GatewayHandle {
    /// Starts the gateway.
    pub async fn start(system: &System, options: GatewayOptions) -> Result<Self, ToolError> {
        let shared = Arc::new(Shared { options, waiting: Mutex::default() });
        let actor = system.spawn::<Gateway>(NAME, shared.clone(), ChildOptions::default()).await;
        let actor = actor.map_err(|error| ToolError::Gone(error.to_string()))?;
        Ok(Self { actor, shared })
    }

    /// Opens a workspace: a fresh checkout of base and patch, with an actor of its own.
    pub async fn open(&self, spec: WorkspaceSpec, base: BaseRepo, effects: Effects) -> Result<WorkspaceRef, ToolError> {
        check_name(&spec.name)?;
        let rules = PathRules::compile(&spec.protected, &spec.test_files).map_err(ToolError::BadSpec)?;
        let id = format!("{}-{}", spec.job, spec.name);
        let ticket = uuid::Uuid::new_v4().to_string();
        let options = &self.shared.options;
        let args = ToolArgs {
            spec: Arc::new(spec),
            base,
            effects,
            rules: Arc::new(rules),
            bench: options.bench.clone(),
            authorizer: options.authorizer.clone(),
            guard: options.guard.clone(),
        };
        self.waiting().insert(ticket.clone(), args);
        let question = |reply| GatewayMsg::Open { id: id.clone(), ticket: ticket.clone(), reply };
        let opened = self.actor.ask(OPENING, question).await;
        self.waiting().remove(&ticket);
        match opened.map_err(|error| asked(error, OPENING))? {
            Opened::Workspace(actor) => Ok(WorkspaceRef { id, actor }),
            Opened::Busy(why) => Err(ToolError::Busy(why)),
            Opened::Refused(why) => Err(ToolError::BadSpec(why)),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, ToolArgs>> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call. Calls on one workspace are made one after the other.
    pub async fn call(
        &self,
        workspace: &WorkspaceRef,
        call: ToolCall,
        deadline: Duration,
    ) -> Result<ToolResult, ToolError> {
        let answer = workspace.actor.ask(deadline, |reply| ToolMsg::Call { call: Json::new(call), reply }).await;
        taken(answer, deadline)
    }

    /// What was changed in the workspace, against the base.
    pub async fn patch(&self, workspace: &WorkspaceRef, deadline: Duration) -> Result<Patch, ToolError> {
        let answer = workspace.actor.ask(deadline, |reply| ToolMsg::Patch { reply }).await;
        taken(answer, deadline)
    }

    /// Closes a workspace and removes it; kills what runs in it.
    pub async fn close(&self, workspace: WorkspaceRef) {
        let closed = self.actor.ask(CLOSING, |reply| GatewayMsg::Close { id: workspace.id.clone(), reply }).await;
        if let Err(error) = closed {
            tracing::warn!(workspace = workspace.id, %error, "a workspace was not closed in time");
        }
    }
}

fn taken<T: Serialize + DeserializeOwned>(
    answer: Result<Json<Answer<T>>, AskError>,
    deadline: Duration,
) -> Result<T, ToolError> {
    let answer = answer.map_err(|error| asked(error, deadline))?;
    match answer.take().map_err(ToolError::Gone)? {
        Answer::Done(value) => Ok(value),
        Answer::NotRecorded(why) => Err(ToolError::NotRecorded(why)),
        Answer::Failed(why) => Err(ToolError::Unknown { why, deadline }),
    }
}

fn asked(error: AskError, deadline: Duration) -> ToolError {
    match error {
        AskError::Busy | AskError::NotSent(_) => ToolError::Busy(error.to_string()),
        AskError::Gone => ToolError::Gone(error.to_string()),
        AskError::Unknown(why) => ToolError::Unknown { why: why.to_owned(), deadline },
    }
}

/// The name becomes part of a directory's and of a key.
fn check_name(name: &str) -> Result<(), ToolError> {
    let fine = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fine { Ok(()) } else { Err(ToolError::BadSpec(format!("{name:?} isn't a name for a workspace"))) }
}
