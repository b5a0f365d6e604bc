//! An agent's turns: think, act through the gateway, observe, until there is a change or an end of patience.
//!
//! It asks the model for one function, or the file around it; a reply that is tool calls is carried out
//! and answered with what was observed, a reply that is code becomes one edit, which ends the work.
//! Everything it does is an effect under a key made of attempt and turn. So an agent that is begun
//! again goes the same way through the recorded part and works on from there.

use std::panic::AssertUnwindSafe;

use fleet_inference::{ChatMessage, Constraint, RequestTag};
use fleet_memory::estimate_tokens;
use fleet_tools::gateway::{
    GatewayHandle, LoopGuard, LoopSign, ToolCall, ToolError, ToolResult, WorkspaceRef, WorkspaceSpec,
};
use fleet_tools::syntax::{Language, functions};
use futures::FutureExt;
use serde_json::json;

use super::agent::{author, empty_proposal, name};
use super::council::{Assignment, Finding, Finished};
use super::services::QUICK;
use super::think::{Answer, Question, Show, seed};
use super::work::{StepError, Work, format_of};
use super::{material, steps};
use crate::event::{EngineLabel, Form, PatchNote, Phase, Proposal, ProposalEnd};
use crate::localise::SourceText;
use crate::prompt::{self, Ask};
use crate::reply::{self, Reply};

/// One agent's work on one proposal.
pub(super) struct Turns<'a> {
    work: &'a Work,
    assignment: Assignment,
    proposal: Proposal,
    findings: Vec<Finding>,
    guard: LoopGuard,
}

/// What the agent works on.
struct Target {
    language: Language,
    opening: String,
    file: SourceText,
}

impl Target {
    fn fence(&self) -> &'static str {
        self.language.fence()
    }
}

impl<'a> Turns<'a> {
    pub(super) fn new(work: &'a Work, assignment: Assignment) -> Self {
        let proposal = empty_proposal(work, &assignment, "nothing was written".into());
        Self { work, assignment, proposal, findings: Vec::new(), guard: LoopGuard::default() }
    }

    pub(super) async fn run(mut self) -> Result<Finished, StepError> {
        let target = self.target().await?;
        let shown = self.work.show(self.show(&target).await?).await?;
        self.proposal.bundle.clone_from(&shown.bundle.hash);
        let ask = Ask {
            system: &self.assignment.role.prompt,
            path: &self.assignment.candidate.path,
            function: &self.assignment.candidate.function,
            form: self.assignment.form,
            fence: target.fence(),
            repair: self.assignment.repairs.is_some(),
            adds: self.assignment.builds_on.is_some(),
            tools: &self.assignment.role.tools,
        };
        let messages = prompt::build(&shown.bundle.render(), &ask);
        let workspace = OpenWorkspace::new(self.work.services.gateway.clone(), self.open().await?);
        let working = AssertUnwindSafe(self.work_in(messages, &target, &workspace.inner));
        let worked = working.catch_unwind().await;
        // Also after a panic: the next life of this agent opens it again under the same name.
        workspace.close().await;
        match worked {
            Ok(result) => result?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let shown = (!self.assignment.shown).then_some(shown.event);
        Ok(Finished { proposal: self.proposal, shown, findings: self.findings })
    }

    async fn work_in(
        &mut self,
        messages: Vec<ChatMessage>,
        target: &Target,
        workspace: &WorkspaceRef,
    ) -> Result<(), StepError> {
        self.converse(messages, target, workspace).await?;
        self.take_patch(workspace).await
    }

    async fn target(&self) -> Result<Target, StepError> {
        let candidate = &self.assignment.candidate;
        let file = match &self.assignment.builds_on {
            Some((_, patch)) => self.patched(patch).await?,
            None => steps::read_file(self.work, &candidate.path).await?,
        };
        let language = Language::of(&candidate.path)
            .ok_or_else(|| StepError::Failed(format!("{}: no known language", candidate.path)))?;
        let first = match self.assignment.form {
            Form::File => file.text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default().to_owned(),
            Form::Function => {
                let spans = functions(&file.text, language).map_err(|e| StepError::Failed(e.to_string()))?;
                let span = spans.into_iter().find(|s| s.name == candidate.function);
                let begins = if language == Language::Python { ":" } else { " {" };
                format!("{}{begins}", span.map(|s| s.signature).unwrap_or_default())
            }
        };
        Ok(Target { language, opening: prompt::opening(language.fence(), &first), file })
    }

    /// The file as a recorded patch leaves it.
    async fn patched(&self, patch: &str) -> Result<SourceText, StepError> {
        let path = &self.assignment.candidate.path;
        let text = steps::patched_file(self.work, patch, path).await?;
        let text =
            text.ok_or_else(|| StepError::Failed(format!("{path} is gone after the change that is added to")))?;
        Ok(SourceText { path: path.clone(), text })
    }

    /// What this agent is shown: what all are shown first, its own file and feedback last.
    async fn show(&self, target: &Target) -> Result<Show, StepError> {
        let report = self.work.baseline()?.report;
        let mut materials = Vec::new();
        materials.extend(material::failures(&report));
        materials.extend(material::test_source(&steps::sources(self.work).await?, &report));
        materials.push(material::source(&target.file, &self.assignment.candidate.function));
        if let Some((attempt, said)) = &self.assignment.repairs {
            let code = self.earlier_try().await?.unwrap_or_default();
            materials.push(material::feedback(*attempt, &code, said));
        }
        if let Some((attempt, patch)) = &self.assignment.builds_on {
            let patch = steps::patch_bytes(self.work, patch).await?;
            materials.push(material::in_place(*attempt, &String::from_utf8_lossy(&patch)));
        }
        Ok(Show {
            role: self.assignment.role.acts_as.name(),
            phase: Phase::Build,
            task: self.assignment.task.clone(),
            purpose: Some(steps::purpose(self.assignment.attempt)),
            budget: self.work.services.options.agent.context_tokens,
            materials,
        })
    }

    /// The function as the attempt that is to be repaired wrote it.
    async fn earlier_try(&self) -> Result<Option<String>, StepError> {
        let Some(digest) = &self.assignment.repair_patch else { return Ok(None) };
        let candidate = &self.assignment.candidate;
        let text = steps::patched_file(self.work, digest, &candidate.path).await?;
        Ok(text.and_then(|t| material::function_text(&t, &candidate.path, &candidate.function)))
    }

    async fn open(&self) -> Result<WorkspaceRef, StepError> {
        let story = &self.work.story;
        let patch = match &self.assignment.builds_on {
            Some((_, patch)) => steps::patch_bytes(self.work, patch).await?,
            None => Vec::new(),
        };
        let spec = WorkspaceSpec {
            job: self.work.ctx.job.clone(),
            project: self.work.ctx.writer.project().clone(),
            name: format!("a{}", self.assignment.attempt),
            role: self.assignment.role.acts_as.name().into(),
            agent: name(&self.assignment),
            phase: Phase::Build.name().into(),
            patch,
            build: story.build.clone(),
            test: story.test.clone(),
            format: format_of(story.results),
            protected: story.protected.clone(),
            test_files: story.test_files.clone(),
            limits: self.work.run_limits(),
        };
        let base = self.work.base().await?.clone();
        let open = self.work.services.gateway.open(spec, base, self.work.ctx.effects.clone());
        self.work.cancellable(async { open.await.map_err(tool_error) }).await
    }

    async fn converse(
        &mut self,
        mut messages: Vec<ChatMessage>,
        target: &Target,
        workspace: &WorkspaceRef,
    ) -> Result<(), StepError> {
        let steps = self.assignment.role.steps.unwrap_or(self.work.services.options.agent.max_steps).max(1);
        for turn in 0..steps {
            let answer = match self.think(&messages, target, turn).await {
                Ok(answer) => answer,
                // The model could not answer: that is this attempt's end, not the story's.
                Err(StepError::Failed(why)) => return self.give_up(why),
                Err(e) => return Err(e),
            };
            messages.push(ChatMessage::assistant(answer.text.clone()));
            let observed = match reply::read(&answer.text, Some(&target.opening)) {
                Reply::Talk => "There was no code in your answer.".to_owned(),
                Reply::Code(code) => match self.act(workspace, self.edit(&code)).await? {
                    Acted::Done(result) if result.ok => return Ok(()),
                    // It sees nothing to change here; asked again it says the same at the same price.
                    Acted::Done(result) if result.unchanged() => return self.give_up(UNCHANGED.into()),
                    Acted::Done(result) => result.text,
                    Acted::Stuck(why) => return self.give_up(why),
                },
                Reply::Calls(calls) => match self.act_all(workspace, calls).await? {
                    Ok(observed) => observed,
                    Err(why) => return self.give_up(why),
                },
            };
            let candidate = &self.assignment.candidate;
            let form = self.assignment.form;
            messages.push(prompt::observation(&observed, form, &candidate.function, target.fence()));
        }
        self.give_up(format!("no change after {steps} turns"))
    }

    fn give_up(&mut self, why: String) -> Result<(), StepError> {
        self.proposal.end = ProposalEnd::Nothing { why };
        Ok(())
    }

    async fn think(&mut self, messages: &[ChatMessage], target: &Target, turn: u32) -> Result<Answer, StepError> {
        let options = &self.work.services.options.agent;
        let attempt = self.assignment.attempt;
        let sampled = self.assignment.role.temperature.unwrap_or(options.temperature);
        let key = format!("propose/{attempt}/think/{turn}");
        let question = Question {
            key: key.clone(),
            by: author(&self.assignment),
            engine: self.assignment.role.engine.clone(),
            messages: messages.to_vec(),
            prefix: Some(target.opening.clone()),
            constraint: Constraint::None,
            stop: vec!["\n```".into()],
            // What was refused once is the likeliest answer still: later turns have to be sampled.
            temperature: if turn == 0 { self.proposal.temperature } else { sampled },
            seed: seed(self.work.story.seed, attempt).wrapping_add(u64::from(turn)),
            max_tokens: self.reply_tokens(target),
            tag: RequestTag {
                job: self.work.ctx.job.to_string(),
                task: self.assignment.task.clone().unwrap_or_default(),
                role: self.assignment.role.name.clone(),
                phase: Phase::Build.name().into(),
                attempt: self.assignment.place,
                round: self.assignment.round,
            },
            bundle: self.proposal.bundle.clone(),
        };
        let answer = self.work.ask(question).await?;
        self.proposal.spend.add(&answer.spend);
        let (name, model) = (answer.engine.clone(), answer.model.clone());
        self.proposal.engine = EngineLabel { name, model, mock: answer.mock };
        self.proposal.effects.push(key);
        Ok(answer)
    }

    /// A file needs as much room as it has, and some to grow.
    fn reply_tokens(&self, target: &Target) -> u32 {
        let usual = self.assignment.role.reply_tokens.unwrap_or(self.work.services.options.agent.reply_tokens);
        match self.assignment.form {
            Form::Function => usual,
            Form::File => usual.max(estimate_tokens(&target.file.text).saturating_mul(3) / 2),
        }
    }

    /// The tool call that puts the code in its place. Nothing is written, let alone run, that doesn't parse.
    fn edit(&self, code: &str) -> ToolCall {
        let candidate = &self.assignment.candidate;
        match self.assignment.form {
            Form::Function => {
                let args = json!({ "path": candidate.path, "name": candidate.function, "code": code });
                ToolCall::new("replace_function", args)
            }
            Form::File => ToolCall::new("write_file", json!({ "path": candidate.path, "content": code })),
        }
    }

    /// Carries out the calls of one reply. Err: the agent goes in circles.
    async fn act_all(
        &mut self,
        workspace: &WorkspaceRef,
        calls: Vec<reply::WantedCall>,
    ) -> Result<Result<String, String>, StepError> {
        let mut observed = Vec::new();
        for call in calls {
            let call = ToolCall::new(call.tool, call.args);
            let tool = call.tool.clone();
            match self.act(workspace, call).await? {
                Acted::Done(result) => observed.push(format!("{tool}: {}", result.text)),
                Acted::Stuck(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(observed.join("\n\n")))
    }

    async fn act(&mut self, workspace: &WorkspaceRef, call: ToolCall) -> Result<Acted, StepError> {
        let deadline = self.work.services.options.runs.wall * 2 + QUICK;
        let calling = self.work.services.gateway.call(workspace, call.clone(), deadline);
        let mut result = self.work.cancellable(async { calling.await.map_err(tool_error) }).await?;
        self.note(&call, &result);
        Ok(match self.guard.observe(&call, &result) {
            LoopSign::Fine => Acted::Done(Box::new(result)),
            LoopSign::Repeating(hint) => {
                result.text = format!("{}\n{hint}", result.text);
                Acted::Done(Box::new(result))
            }
            LoopSign::Stuck(why) => {
                self.findings.push(Finding { what: "loop".into(), detail: why.clone() });
                Acted::Stuck(format!("stopped, it went in circles: {why}"))
            }
        })
    }

    /// What was denied, or was stopped for using too much, goes into the report.
    fn note(&mut self, call: &ToolCall, result: &ToolResult) {
        let tried = crate::plain::short(&format!("{} {}", call.tool, call.args), 200);
        if let Some(rule) = &result.denied {
            let detail = format!("{tried}: {rule}: {}", crate::plain::short(&result.text, 300));
            self.findings.push(Finding { what: "denied".into(), detail });
        }
        if let Some(stopped) = result.run.as_ref().and_then(|r| r.stopped) {
            self.findings.push(Finding { what: "limits".into(), detail: format!("{tried}: stopped ({stopped:?})") });
        }
    }

    /// The change in the workspace becomes the proposal, however the conversation ended.
    async fn take_patch(&mut self, workspace: &WorkspaceRef) -> Result<(), StepError> {
        let asking = self.work.services.gateway.patch(workspace, QUICK);
        let patch = self.work.cancellable(async { asking.await.map_err(tool_error) }).await?;
        if patch.is_empty() {
            if matches!(&self.proposal.end, ProposalEnd::Nothing { why } if why == "nothing was written") {
                self.proposal.end = ProposalEnd::Nothing { why: UNCHANGED.into() };
            }
            return Ok(());
        }
        let (bytes, lines, files) = (patch.bytes.len() as u64, patch.lines, patch.paths());
        let shape = steps::program_of(self.work, patch.bytes.clone(), files.clone()).await?;
        let digest = self.work.ctx.keep(patch.bytes).await?.to_string();
        self.proposal.end = ProposalEnd::Patch { patch: PatchNote { digest, bytes, lines, files, shape } };
        Ok(())
    }
}

/// A workspace that is closed whatever becomes of the agent.
struct OpenWorkspace {
    gateway: GatewayHandle,
    inner: WorkspaceRef,
    closed: bool,
}

impl OpenWorkspace {
    fn new(gateway: GatewayHandle, inner: WorkspaceRef) -> Self {
        Self { gateway, inner, closed: false }
    }

    async fn close(mut self) {
        self.closed = true;
        self.gateway.close(self.inner.clone()).await;
    }
}

impl Drop for OpenWorkspace {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // The agent was cancelled in the middle; it can't wait, so the runtime closes after it.
        let (gateway, workspace) = (self.gateway.clone(), self.inner.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { gateway.close(workspace).await });
        }
    }
}

const UNCHANGED: &str = "it came back unchanged";

/// What came of one call.
enum Acted {
    Done(Box<ToolResult>),
    /// The agent goes in circles.
    Stuck(String),
}

/// The gateway answers what an agent did wrong with a result; an error is the world's fault.
fn tool_error(e: ToolError) -> StepError {
    match e {
        ToolError::BadSpec(why) => StepError::Failed(why),
        e => StepError::Broken(e.to_string()),
    }
}
