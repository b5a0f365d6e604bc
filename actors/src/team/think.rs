//! Asking the model, and what it is shown.

use std::time::{Duration, Instant};

use fleet_inference::{ChatMessage, Constraint, EngineError, Finish, Request, RequestTag, Sampling, Wanted};
use fleet_memory::{BundleRequest, ContextBundle, Material};
use fleet_runtime::progress::Progress;
use fleet_runtime::{Author, EffectClass};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::services::QUICK;
use super::work::{Fault, StepError, Work};
use crate::event::{Phase, SectionNote, Spend, StoryEvent};

/// How often a full engine is asked again, a second apart.
const BUSY_TRIES: u32 = 600;

/// Something to ask.
pub(crate) struct Question {
    /// Key of the effect.
    pub key: String,
    /// Who asks.
    pub by: Author,
    /// The engine that is to answer; none: the usual one.
    pub engine: Option<String>,
    pub messages: Vec<ChatMessage>,
    pub prefix: Option<String>,
    pub constraint: Constraint,
    pub stop: Vec<String>,
    pub temperature: f32,
    pub seed: u64,
    pub max_tokens: u32,
    pub tag: RequestTag,
    /// Hash of what the agent was shown.
    pub bundle: String,
}

/// What is recorded of a reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub text: String,
    pub finish: Finish,
    pub engine: String,
    pub model: String,
    pub mock: bool,
    #[serde(flatten)]
    pub spend: Spend,
    /// Of the prompt's tokens, those that the engine had computed before.
    pub cached_tokens: u32,
    pub prefill_ms: u64,
    pub decode_ms: u64,
    /// It was kept from an earlier, equal request; what it cost is what it cost then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// A bundle, whether it was recorded already, and the event that records it.
pub(crate) struct Shown {
    pub bundle: ContextBundle,
    pub event: StoryEvent,
}

/// What an agent is to be shown.
pub(crate) struct Show {
    pub role: &'static str,
    pub phase: Phase,
    /// The task of the plan, for the scope of facts.
    pub task: Option<String>,
    /// What it is shown for, as people read it.
    pub purpose: Option<String>,
    pub budget: u32,
    pub materials: Vec<Material>,
}

impl Work {
    /// Makes a context bundle.
    pub async fn show(&self, show: Show) -> Result<Shown, StepError> {
        let request = BundleRequest {
            stream: self.ctx.writer.stream().clone(),
            project: self.ctx.writer.project().clone(),
            role: show.role.into(),
            phase: show.phase.name().into(),
            task: show.task,
            budget_tokens: show.budget,
            materials: show.materials,
        };
        let made = self.services.memory.bundle(request, QUICK);
        let bundle = self.cancellable(async { made.await.map_err(|e| StepError::Broken(e.to_string())) }).await?;
        let event = bundle_event(&bundle, show.phase, show.purpose);
        Ok(Shown { bundle, event })
    }

    /// Asks the model, or gives the recorded answer.
    pub async fn ask(&self, question: Question) -> Result<Answer, StepError> {
        let what = json!({
            "ask": question.tag.role, "phase": question.tag.phase, "bundle": question.bundle,
            "prompt": prompt_hash(&question), "temperature": question.temperature,
            "seed": format!("{:016x}", question.seed), "max_tokens": question.max_tokens,
        });
        let (key, by) = (question.key.clone(), question.by.clone());
        self.effect(&key, EffectClass::Repeatable, by, what, || self.complete(question)).await
    }

    async fn complete(&self, question: Question) -> Result<Answer, Fault> {
        let deadline = self.services.options.agent.reply_deadline;
        let began = Instant::now();
        let source = question.by.to_string();
        let project = self.ctx.writer.project().to_string();
        let usual = &self.services.engine;
        let named = question.engine.clone().map(|name| usual.wanting(Wanted::Called(name)));
        let engine = named.unwrap_or_else(|| usual.clone());
        let request = Request { project, ..request(question, deadline) };
        for _ in 0..BUSY_TRIES {
            let progress = |text: &str, tokens: u32| {
                self.ctx.progress.publish(Progress {
                    job: self.ctx.job.clone(),
                    source: source.clone(),
                    text: text.to_owned(),
                    tokens: Some(u64::from(tokens)),
                });
            };
            match engine.complete(request.clone(), deadline, progress).await {
                Ok(done) => {
                    let usage = done.usage;
                    return Ok(Answer {
                        text: done.text,
                        finish: usage.finish,
                        engine: done.engine,
                        model: done.model,
                        mock: done.mock,
                        spend: Spend {
                            calls: 1,
                            prompt_tokens: usage.prompt_tokens.into(),
                            completion_tokens: usage.completion_tokens.into(),
                            wall_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                        },
                        cached_tokens: usage.cached_tokens,
                        prefill_ms: usage.prefill_ms,
                        decode_ms: usage.decode_ms,
                        replayed: usage.replayed,
                    });
                }
                Err(EngineError::Busy { .. } | EngineError::Draining) => {
                    tokio::time::sleep(Duration::from_secs(1)).await
                }
                Err(e) => return Err(fault(e)),
            }
        }
        Err(Fault::Broken("no engine had room for it".into()))
    }
}

/// An engine that went away, or never came up, has said nothing about the question.
fn fault(e: EngineError) -> Fault {
    match e {
        EngineError::Gone | EngineError::Cancelled | EngineError::Model(_) | EngineError::Config(_) => {
            Fault::Broken(e.to_string())
        }
        e => Fault::Outcome(e.to_string()),
    }
}

fn request(question: Question, deadline: Duration) -> Request {
    Request {
        assistant_prefix: question.prefix,
        sampling: Sampling {
            temperature: question.temperature,
            top_p: if question.temperature > 0.0 { 0.95 } else { 1.0 },
            seed: question.seed,
            ..Sampling::default()
        },
        constraint: question.constraint,
        stop: question.stop,
        tag: question.tag,
        deadline,
        ..Request::new(question.messages, question.max_tokens)
    }
}

/// Pins down what was asked without recording it: it may be long, and the bundle says what it held.
fn prompt_hash(question: &Question) -> String {
    let mut hasher = blake3::Hasher::new();
    for message in &question.messages {
        for part in [message.role.as_str(), &message.content] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.update(question.prefix.as_deref().unwrap_or_default().as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn bundle_event(bundle: &ContextBundle, phase: Phase, purpose: Option<String>) -> StoryEvent {
    let sections = bundle.sections.iter().map(|s| SectionNote {
        kind: s.kind.clone(),
        id: s.id.clone(),
        tokens: s.tokens,
        why: None,
    });
    let omitted = bundle.omitted.iter().map(|o| SectionNote {
        kind: o.kind.clone(),
        id: o.id.clone(),
        tokens: o.tokens,
        why: Some(o.why.clone()),
    });
    StoryEvent::Bundle {
        hash: bundle.hash.clone(),
        role: bundle.role.clone(),
        phase,
        task: purpose,
        tokens: bundle.tokens,
        position: bundle.position.0,
        sections: sections.collect(),
        omitted: omitted.collect(),
    }
}

/// The seed of one attempt of a story: the same story and attempt always sample alike.
pub(crate) fn seed(story: u64, attempt: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&story.to_le_bytes());
    bytes[8..].copy_from_slice(&attempt.to_le_bytes());
    let hash = blake3::hash(&bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
