//! The actor of one workspace: takes calls one by one, asks the policy, records, and does them.

use std::sync::Arc;

use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, ReplyTo};
use fleet_runtime::auth::{AccessQuery, Authorizer, Decision};
use fleet_runtime::{Author, EffectClass, EffectError, EffectSpec, Effects, Entity, Fact};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wincode::{SchemaRead, SchemaWrite};

use super::desk::{Desk, Trouble};
use super::guard::EditGuard;
use super::tools::{arguments, path_of};
use super::{ToolCall, ToolResult, WorkspaceSpec, runs, tool_info};
use crate::policy::path_args;
use crate::repo::{BaseRepo, Patch, PathRules};
use crate::run::Workbench;

/// What a tool actor is told.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum ToolMsg {
    /// Make this call.
    Call { call: Json<ToolCall>, reply: ReplyTo<Json<Answer<ToolResult>>> },
    /// Say what was changed.
    Patch { reply: ReplyTo<Json<Answer<Patch>>> },
}

impl Message for ToolMsg {
    const KIND: &'static str = "fleet.tools";
}

/// A result, or why there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer<T> {
    Done(T),
    NotRecorded(String),
    Failed(String),
}

/// What a tool actor is made of.
#[derive(Clone)]
pub(super) struct ToolArgs {
    pub(super) spec: Arc<WorkspaceSpec>,
    pub(super) base: BaseRepo,
    pub(super) effects: Effects,
    pub(super) rules: Arc<PathRules>,
    pub(super) bench: Workbench,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) guard: Arc<dyn EditGuard>,
}

pub(super) struct ToolActor {
    args: ToolArgs,
    desk: Desk,
    calls: u64,
}

impl Actor for ToolActor {
    type Msg = ToolMsg;
    type Args = ToolArgs;

    async fn start(args: ToolArgs, _: &Context<ToolMsg>) -> Result<Self, ActorError> {
        let (spec, base) = (args.spec.clone(), args.base.clone());
        let owner = args.bench.runner.owner();
        let dest = args.bench.dir.join("workspaces").join(format!("{}-{}", spec.job, spec.name));
        let made = tokio::task::spawn_blocking(move || base.checkout(&dest, Some(&spec.patch), owner)).await;
        let workspace = made.map_err(ActorError::failed)?.map_err(ActorError::failed)?;
        let desk = Desk {
            spec: args.spec.clone(),
            base: args.base.clone(),
            workspace,
            rules: args.rules.clone(),
            guard: args.guard.clone(),
        };
        Ok(Self { args, desk, calls: 0 })
    }

    async fn handle(&mut self, msg: ToolMsg, ctx: &Context<ToolMsg>) -> Result<(), ActorError> {
        let cancelled = ctx.cancelled();
        match msg {
            ToolMsg::Call { call, reply } => {
                let call = call.take().map_err(ActorError::failed)?;
                // Dropping the work kills what it runs.
                tokio::select! {
                    answer = self.call(call) => reply.send(Json::new(answer)),
                    () = cancelled.cancelled() => {}
                }
            }
            ToolMsg::Patch { reply } => {
                let (base, workspace) = (self.desk.base.clone(), self.desk.workspace.clone());
                let patch =
                    tokio::task::spawn_blocking(move || base.diff(&workspace)).await.map_err(ActorError::failed)?;
                reply.send(Json::new(patch.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Done)));
            }
        }
        Ok(())
    }

    async fn stopped(&mut self, _: &Context<ToolMsg>) {
        let workspace = self.desk.workspace.clone();
        let discarded = tokio::task::spawn_blocking(move || workspace.discard()).await;
        if let Ok(Err(error)) = discarded {
            tracing::warn!(%error, "a workspace could not be removed");
        }
    }
}

impl ToolActor {
    async fn call(&mut self, call: ToolCall) -> Answer<ToolResult> {
        let number = self.calls;
        self.calls += 1;
        let key = key(&self.args.spec.name, number, &call);
        let decision = self.decide(&call);
        let changes =
            tool_info(&call.tool).is_some_and(|tool| tool.changes) && matches!(decision, Decision::Allow { .. });
        if changes && self.args.effects.recorded(&key).is_some() {
            // Recorded in an earlier life of the node: what it changed is changed again here, and the answer is the old one.
            self.perform(&call).await;
        }
        let spec = self.effect(&key, &call, &decision);
        let action = async |_| {
            Ok::<_, String>(match &decision {
                Decision::Deny { rule, reason, hint } => denied(rule, reason, hint),
                Decision::Allow { .. } => self.perform(&call).await,
            })
        };
        let facts = |result: &ToolResult| vec![outcome_fact(&key, &call, result)];
        match self.args.effects.run_with_facts(spec, action, facts).await {
            Ok(result) => Answer::Done(result),
            Err(EffectError::Failed { error, .. }) => Answer::Failed(error),
            Err(error) => Answer::NotRecorded(error.to_string()),
        }
    }

    fn decide(&self, call: &ToolCall) -> Decision {
        let spec = &self.args.spec;
        let args = match path_of(&call.args) {
            Some(path) => path_args(path, &self.args.rules, |path| self.args.base.has(path)),
            None => json!({}),
        };
        let query = AccessQuery { role: spec.role.clone(), phase: spec.phase.clone(), tool: call.tool.clone(), args };
        self.args.authorizer.decide(&query)
    }

    fn effect(&self, key: &str, call: &ToolCall, decision: &Decision) -> EffectSpec {
        let spec = &self.args.spec;
        let (Decision::Allow { rule } | Decision::Deny { rule, .. }) = decision;
        let what = json!({
            "tool": call.tool, "args": call.args, "workspace": spec.name, "role": spec.role, "phase": spec.phase,
            "allowed": matches!(decision, Decision::Allow { .. }), "rule": rule,
        });
        // A role holds no slash: it would end there.
        let by = Author::Agent { role: spec.role.replace('/', "-"), name: spec.agent.clone() };
        EffectSpec { key: key.to_owned(), class: EffectClass::Repeatable, by, what, facts: Vec::new() }
    }

    /// Does it. Whatever goes wrong becomes a result that the agent can read.
    async fn perform(&self, call: &ToolCall) -> ToolResult {
        let result = match call.tool.as_str() {
            "run_tests" => runs::run_tests(&self.args.bench, &self.desk).await.map_err(|error| error.to_string()),
            "exec" => match arguments(&call.tool, &call.args) {
                Ok(args) => runs::exec(&self.args.bench, &self.desk, &args).await.map_err(|error| error.to_string()),
                Err(result) => Ok(*result),
            },
            _ => self.at_the_desk(call).await,
        };
        result.unwrap_or_else(|error| {
            tracing::warn!(tool = call.tool, %error, "a tool failed");
            ToolResult::refused(format!("the tool itself failed, which isn't your doing: {error}"))
        })
    }

    async fn at_the_desk(&self, call: &ToolCall) -> Result<ToolResult, String> {
        let (desk, call) = (self.desk.clone(), call.clone());
        let done = tokio::task::spawn_blocking(move || match edit_or_look(&desk, &call) {
            Ok(result) => Ok(result),
            Err(Trouble::No(result)) => Ok(*result),
            Err(Trouble::Node(error)) => Err(error.to_string()),
        });
        done.await.map_err(|error| error.to_string())?
    }
}

fn edit_or_look(desk: &Desk, call: &ToolCall) -> Result<ToolResult, Trouble> {
    let tool = call.tool.as_str();
    match tool {
        "list" => desk.list(&arguments(tool, &call.args).map_err(Trouble::No)?),
        "read" => desk.read(&arguments(tool, &call.args).map_err(Trouble::No)?),
        "search" => desk.search(&arguments(tool, &call.args).map_err(Trouble::No)?),
        "replace_function" => desk.replace_function(&arguments(tool, &call.args).map_err(Trouble::No)?),
        "write_file" => desk.write_file(&arguments(tool, &call.args).map_err(Trouble::No)?),
        other => Err(Trouble::No(Box::new(ToolResult::refused(format!("there is no tool {other:?}"))))),
    }
}

/// The call's number keeps the order, its digest keeps another call from getting the recorded result of this one.
fn key(workspace: &str, number: u64, call: &ToolCall) -> String {
    let digest = blake3::hash(format!("{}\n{}", call.tool, call.args).as_bytes()).to_hex();
    format!("tool/{workspace}/{number}/{}", &digest[..8])
}

fn denied(rule: &str, reason: &str, hint: &str) -> ToolResult {
    ToolResult { denied: Some(rule.to_owned()), ..ToolResult::refused(format!("denied by {rule}: {reason}; {hint}")) }
}

fn outcome_fact(key: &str, call: &ToolCall, result: &ToolResult) -> Fact {
    let about = path_of(&call.args).or_else(|| call.args.get("command").and_then(Value::as_str)).unwrap_or_default();
    let ending = match &result.denied {
        Some(rule) => format!("denied by {rule}"),
        None => if result.ok { "ok" } else { "not ok" }.to_owned(),
    };
    let title = format!("{} {about}: {ending}", call.tool).chars().take(200).collect();
    let body = result.text.chars().take(2_000).collect();
    Fact::Entity(Entity { kind: "tool_run".to_owned(), id: key.to_owned(), title, body })
}
