//! What decides a reply, as one digest: two requests with the same key would get the same text.

use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{ChatMessage, Constraint, EngineConfig, EngineInfo, EngineState, Request, Sampling, ToolSpec};

/// Raised when the same request would get another reply than before, or files look different.
const FORM: u32 = 1;

/// All of a request that has to do with its reply. Not: its id, its tag, its deadline, its priority.
#[derive(Serialize)]
struct Asked<'a> {
    form: u32,
    about: &'a str,
    model: &'a str,
    /// A reply may end where the context does.
    context: u32,
    /// No project learns what another one has asked.
    project: &'a str,
    messages: &'a [ChatMessage],
    prefix: Option<&'a str>,
    tools: &'a [ToolSpec],
    sampling: Sampling,
    logit_bias: &'a [(u32, f32)],
    constraint: &'a Constraint,
    stop: &'a [String],
    max_tokens: u32,
}

/// The request's key; none where its reply isn't kept.
pub(super) fn key(about: &str, info: &EngineInfo, request: &Request) -> Option<String> {
    if info.state != EngineState::Ready || request.logprobs.is_some() {
        return None;
    }
    // The likeliest token doesn't hang on the seed.
    let seed = if request.sampling.temperature > 0.0 { request.sampling.seed } else { 0 };
    let asked = Asked {
        form: FORM,
        about,
        model: &info.model,
        context: info.context,
        project: &request.project,
        messages: &request.messages,
        prefix: request.assistant_prefix.as_deref(),
        tools: &request.tools,
        sampling: Sampling { seed, ..request.sampling },
        logit_bias: &request.logit_bias,
        constraint: &request.constraint,
        stop: &request.stop,
        max_tokens: request.max_tokens,
    };
    let text = serde_json::to_vec(&asked).ok()?;
    Some(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What of an engine's configuration decides a reply. A name of the catalogue stands for a checksum; a file's content could
/// change behind its path, so its size and age are taken in.
pub(super) fn about(config: &EngineConfig) -> String {
    let EngineConfig { kind, model, device, quantise, base_url, .. } = config;
    let device = String::from(device.clone());
    let file = Path::new(model).metadata().ok().map(|file| {
        let age = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        (file.len(), age.map(|age| age.as_nanos()))
    });
    format!("{} {model:?} {file:?} {device} {quantise:?} {base_url:?}", kind.as_str())
}
