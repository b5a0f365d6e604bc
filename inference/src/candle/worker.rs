//! What the engine thread owns: weights, tokenizer, template, caches; and how one request goes through them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Tensor;

use super::CandleOptions;
use super::constraint::{ActiveConstraint, Constraints};
use super::gguf::{GgufFile, brief};
use super::kv::KvCache;
use super::model::Model;
use super::prefix::PrefixCache;
use super::queue::Waiting;
use super::sampler::Sampler;
use super::template::ChatTemplate;

use super::tokenizer::ModelTokenizer;
use crate::text::TextOut;
use crate::{ChatMessage, EngineError, Finish, PinId, Request, Usage};

/// A loaded model, one sequence at a time.
pub(super) struct Worker {
    model: Model,
    tokenizer: Arc<ModelTokenizer>,
    template: ChatTemplate,
    constraints: Option<Constraints>,
    cache: KvCache,
    prefixes: PrefixCache,
}

/// Why a computation stopped before its end.
enum Halt {
    Cancelled,
    Failed(EngineError),
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

impl From<candle_core::Error> for Halt {
    fn from(error: candle_core::Error) -> Self {
        Self::Failed(EngineError::Failed(brief(&error)))
    }
}

/// What decoding has come to.
struct Progress {
    usage: Usage,
    started: Instant,
}

impl Worker {
    pub(super) fn load(path: &Path, options: &CandleOptions) -> Result<Self, EngineError> {
        let mut file = GgufFile::open(path)?;
        let tokenizer = Arc::new(ModelTokenizer::load(&file)?);
        let template = ChatTemplate::load(&file, &tokenizer)?;
        let model = Model::load(&mut file, options.context as usize)?;
        let failed = |e: candle_core::Error| EngineError::Model(brief(&e));
        let cache = KvCache::new(model.shape(), model.context(), options.chunk).map_err(failed)?;
        let prefixes = PrefixCache::new(model.shape().kv_bytes(), options.prefix_cache.as_u64());
        Ok(Self { model, tokenizer, template, constraints: None, cache, prefixes })
    }

    pub(super) fn tokenizer(&self) -> &Arc<ModelTokenizer> {
        &self.tokenizer
    }

    pub(super) fn context(&self) -> u32 {
        self.model.context() as u32
    }

    /// Bytes and entries of the prefix cache.
    pub(super) fn prefixes(&self) -> (u64, u32) {
        (self.prefixes.bytes(), self.prefixes.entries())
    }

    /// After a fault nothing is known of the cache.
    pub(super) fn reset(&mut self) {
        self.cache.cut(0);
    }

    pub(super) fn unpin(&mut self, pin: PinId) {
        self.prefixes.unpin(pin);
    }

    /// Computes the prefix that these messages make and keeps it.
    pub(super) fn pin(&mut self, pin: PinId, messages: &[ChatMessage]) -> Result<(), EngineError> {
        let prompt = self.tokenizer.encode_prompt(&self.template.parts(messages, None)?)?;
        self.check_length(prompt.len(), 1)?;
        let done = self.prefill(&prompt, &|| Ok(()));
        match done.and_then(|_| Ok(self.prefixes.keep(&self.cache, Some(pin))?)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(EngineError::Failed("the prefix is too short to keep, or the prefix cache too small".into()))
            }
            Err(Halt::Failed(error)) => Err(error),
            Err(Halt::Cancelled) => Err(EngineError::Cancelled),
        }
    }

    /// Decodes one request into its sink, whose end is left to the caller.
    /// Stops between two tokens, or two chunks of the prompt, when the reader is gone, time is up or the engine closes.
    pub(super) fn run(&mut self, waiting: &Waiting, closing: &dyn Fn() -> bool) -> Result<Usage, EngineError> {
        let request = &waiting.request;
        let mut progress = Progress::new();
        match self.decode(waiting, closing, &mut progress) {
            Ok(finish) => Ok(progress.end(finish)),
            Err(Halt::Cancelled) => Ok(progress.end(Finish::Cancelled)),
            Err(Halt::Failed(error)) => {
                tracing::debug!(%error, id = %request.id, job = %request.tag.job, "a request failed");
                Err(error)
            }
        }
    }

    fn decode(
        &mut self,
        waiting: &Waiting,
        closing: &dyn Fn() -> bool,
        progress: &mut Progress,
    ) -> Result<Finish, Halt> {
        let request = &waiting.request;
        let go_on = || match (waiting.sink.is_cancelled(), waiting.is_late()) {
            (true, _) => Err(Halt::Cancelled),
            (_, true) => Err(Halt::Failed(waiting.late())),
            _ if closing() => Err(Halt::Failed(EngineError::Gone)),
            _ => Ok(()),
        };
        go_on()?;
        let prompt = self.prompt(request)?;
        self.check_length(prompt.len(), request.max_tokens)?;
        let mut constraint = self.constraint(request)?;
        progress.usage.prompt_tokens = prompt.len() as u32;
        let (mut state, cached) = self.prefill(&prompt, &go_on)?;
        progress.prefilled(cached);
        let mut sampler = Sampler::new(request.sampling);
        let mut out = TextOut::new(&request.stop);
        while progress.usage.completion_tokens < request.max_tokens {
            go_on()?;
            let token = self.choose(&state, &mut sampler, constraint.as_mut())?;
            if self.tokenizer.ends().contains(&token) {
                waiting.sink.text(&out.finish(), 0);
                return Ok(Finish::Stop);
            }
            progress.usage.completion_tokens += 1;
            let complete = accept(constraint.as_mut(), token)?;
            let (text, stopped) = out.push(self.tokenizer.bytes(token));
            waiting.sink.text(&text, 1);
            if stopped || complete {
                let rest = if stopped { String::new() } else { out.finish() };
                waiting.sink.text(&rest, 0);
                return Ok(Finish::Stop);
            }
            if progress.usage.completion_tokens < request.max_tokens {
                state = self.model.extend(&[token], &mut self.cache)?;
            }
        }
        waiting.sink.text(&out.finish(), 0);
        Ok(Finish::Length)
    }

    fn prompt(&self, request: &Request) -> Result<Vec<u32>, EngineError> {
        let prefix = request.assistant_prefix.as_deref().unwrap_or_default();
        self.tokenizer.encode_prompt(&self.template.parts(&request.messages, Some(prefix))?)
    }

    fn check_length(&self, prompt: usize, max_tokens: u32) -> Result<(), EngineError> {
        let (prompt_tokens, context) = (prompt as u32, self.context());
        let allowed = context.saturating_sub(max_tokens);
        if prompt_tokens == 0 || max_tokens == 0 {
            return Err(EngineError::BadRequest("there is nothing to read or nothing to write".into()));
        }
        if prompt_tokens > allowed {
            return Err(EngineError::PromptTooLong { prompt_tokens, allowed, context, max_tokens });
        }
        Ok(())
    }

    fn constraint(&mut self, request: &Request) -> Result<Option<ActiveConstraint>, EngineError> {
        if request.constraint == crate::Constraint::None {
            return Ok(None);
        }
        let constraints = match self.constraints.take() {
            Some(constraints) => constraints,
            None => Constraints::new(&self.tokenizer)?,
        };
        self.constraints.insert(constraints).start(&request.constraint)
    }

    /// Brings the whole prompt into the cache. Gives the state after it, and how many tokens were there already.
    fn prefill(&mut self, prompt: &[u32], go_on: &dyn Fn() -> Result<(), Halt>) -> Result<(Tensor, usize), Halt> {
        let (cached, mut state) = self.prefixes.prepare(&mut self.cache, prompt)?;
        for chunk in prompt[cached..].chunks(self.cache.chunk()) {
            go_on()?;
            state = Some(self.model.extend(chunk, &mut self.cache)?);
        }
        let state = state.ok_or_else(|| EngineError::Failed("an empty prompt".into()))?;
        self.cache.end_prompt(&state);
        Ok((state, cached))
    }

    fn choose(
        &self,
        state: &Tensor,
        sampler: &mut Sampler,
        constraint: Option<&mut ActiveConstraint>,
    ) -> Result<u32, Halt> {
        let mut logits = self.model.logits(state)?;
        // Rows beyond the vocabulary are padding, and control tokens that end nothing have no place in a reply.
        for (id, logit) in (0..).zip(&mut logits) {
            if self.tokenizer.never_decoded(id) {
                *logit = f32::NEG_INFINITY;
            }
        }
        if let Some(constraint) = constraint {
            constraint.mask(&mut logits)?;
        }
        let token = sampler.next(&mut logits);
        Ok(token.ok_or_else(|| EngineError::Failed("no token can follow".into()))?)
    }
}

fn accept(constraint: Option<&mut ActiveConstraint>, token: u32) -> Result<bool, EngineError> {
    constraint.map_or(Ok(false), |c| c.accept(token))
}

impl Progress {
    fn new() -> Self {
        let usage = Usage {
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            finish: Finish::Stop,
            prefill_ms: 0,
            decode_ms: 0,
            cost_micros: 0,
        };
        Self { usage, started: Instant::now() }
    }

    fn prefilled(&mut self, cached: usize) {
        self.usage.cached_tokens = cached as u32;
        self.usage.prefill_ms = self.started.elapsed().as_millis() as u64;
    }

    fn end(self, finish: Finish) -> Usage {
        let total = self.started.elapsed().as_millis() as u64;
        Usage { finish, decode_ms: total - self.usage.prefill_ms.min(total), ..self.usage }
    }
}
