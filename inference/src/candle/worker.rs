//! What the engine's thread owns, and its loop: take in what came, plan a step, compute it, choose tokens, hand them out.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_runtime::probe::ResourceProbe;

use super::active::{Active, Taken};
use super::constraint::{ActiveConstraint, Constraints};
use super::inbox::{Task, Waiting};
use super::template::ChatTemplate;
use super::tokenizer::ModelTokenizer;
use super::{CandleOptions, Shared};
use crate::checkpoint::Checkpoint;
#[cfg(feature = "cuda")]
use crate::gpu::admission::{Claim, admit};
use crate::graph::{Backend, Batch, CpuBackend, Means, Span};
#[cfg(feature = "cuda")]
use crate::graph::{GpuBackend, Shape, TensorBackend};
use crate::kernels::each;
use crate::paged::BLOCK;
use crate::schedule::{Drafts, Limits, Order, Plan, Rows, Scheduler};
use crate::{ChatMessage, EngineDevice, EngineError, Finish, NvmlProbe, PinId, Priority, Quantise, Request};

/// How long the thread sleeps when nothing is to be done; something that comes wakes it.
const IDLE: Duration = Duration::from_secs(3600);
/// When what waits can't begin: blocks are pinned. Looked at again after that.
const STUCK: Duration = Duration::from_millis(20);

/// For keys and values, unless it is set.
const KV_ON_CPU: u64 = 1 << 30;

/// A loaded model and what it is at work on.
pub(super) struct Worker {
    backend: Box<dyn Backend>,
    context: usize,
    tokenizer: Arc<ModelTokenizer>,
    template: ChatTemplate,
    constraints: Option<Constraints>,
    scheduler: Scheduler,
    drafts: Drafts,
    draft: usize,
    active: HashMap<u64, Box<Active>>,
    /// What waits in the scheduler and is counted in the inbox.
    costs: HashMap<u64, u64>,
    batch: Batch,
    logits: Vec<f32>,
    started: Instant,
}

/// One request with the rows of its step.
struct Choice<'p, 'l> {
    active: Box<Active>,
    rows: &'p Rows,
    logits: &'l mut [f32],
    taken: Taken,
}

impl Worker {
    pub(super) fn load(path: &Path, options: &CandleOptions) -> Result<Self, EngineError> {
        let gpu = gpu(&options.device)?;
        // On a GPU candle multiplies with what is not quantised as fast.
        let unsaid = if gpu.is_some() { Quantise::None } else { Quantise::Q8_0 };
        let file = Checkpoint::open(path, options.quantise.unwrap_or(unsaid))?;
        // Whatever it is that can't be done with it, it is the file's.
        Self::of(&file, gpu.as_deref(), options).map_err(|error| match error {
            EngineError::Model(_) | EngineError::Config(_) => error,
            other => file.refuse(other),
        })
    }

    fn of(file: &Checkpoint, gpu: Option<&str>, options: &CandleOptions) -> Result<Self, EngineError> {
        // Both take half a second with a large vocabulary, and neither uses more than one core all the time.
        let (words, backend) = std::thread::scope(|scope| {
            let words = scope.spawn(|| {
                let tokenizer = Arc::new(ModelTokenizer::load(file)?);
                let template = ChatTemplate::load(file, &tokenizer)?;
                Ok::<_, EngineError>((tokenizer, template))
            });
            let backend = backend(file, gpu, options);
            let words = words.join().unwrap_or_else(|_| Err(file.refuse("its tokenizer is damaged")));
            (words, backend)
        });
        let ((tokenizer, template), backend) = (words?, backend?);
        if tokenizer.vocabulary() > backend.vocabulary() {
            let (named, known) = (tokenizer.vocabulary(), backend.vocabulary());
            return Err(file.refuse(format_args!("it names {named} tokens, but its weights know {known}")));
        }
        let limits = Limits {
            step: options.step.max(1),
            sequences: options.sequences.max(1),
            draft: options.draft,
            draft_below: options.draft_below,
        };
        Ok(Self {
            context: backend.context(),
            scheduler: Scheduler::new(limits, backend.blocks()),
            backend,
            tokenizer,
            template,
            constraints: None,
            drafts: Drafts::default(),
            draft: options.draft,
            active: HashMap::new(),
            costs: HashMap::new(),
            batch: Batch::default(),
            logits: Vec::new(),
            started: Instant::now(),
        })
    }

    pub(super) fn tokenizer(&self) -> &Arc<ModelTokenizer> {
        &self.tokenizer
    }

    pub(super) fn context(&self) -> u32 {
        self.context as u32
    }

    pub(super) fn describe(&self) -> String {
        self.backend.describe()
    }

    /// Works until the engine is dropped, or what it computes on is lost.
    pub(super) fn serve(&mut self, shared: &Shared) {
        let mut patience = IDLE;
        while let Some(tasks) = shared.inbox.take(patience) {
            let worked = self.turn(tasks, shared);
            if self.backend.is_lost() {
                return self.give_up(shared);
            }
            patience = match (worked, self.scheduler.is_idle()) {
                (true, _) => Duration::ZERO,
                (false, true) => IDLE,
                (false, false) => STUCK,
            };
        }
    }

    fn give_up(&mut self, shared: &Shared) {
        for id in self.active.keys().copied().collect::<Vec<_>>() {
            self.end(id, Err(EngineError::Gone), shared);
        }
    }

    /// Takes in what came and computes one step. False: there was nothing to compute.
    fn turn(&mut self, tasks: VecDeque<Task>, shared: &Shared) -> bool {
        for task in tasks {
            self.accept(task, shared);
        }
        self.end_cancelled(shared);
        let worked = self.step(shared);
        self.report(shared);
        worked
    }

    fn accept(&mut self, task: Task, shared: &Shared) {
        match task {
            Task::Unpin(pin) => self.scheduler.end(pin.0),
            Task::Pin { pin, project, messages } => {
                if let Err(error) = self.pin(pin, &project, &messages) {
                    tracing::warn!(%error, "a prefix could not be pinned");
                }
            }
            Task::Decode(waiting) => {
                let cost = waiting.cost();
                match self.prepare(&waiting.request) {
                    _ if waiting.sink.is_cancelled() || waiting.is_late() => {
                        shared.inbox.begun(cost);
                        let cancelled = waiting.sink.is_cancelled();
                        let mut active = Active::new(*waiting, 0, None);
                        let end = if cancelled { Ok(Finish::Cancelled) } else { Err(late(&active.waiting)) };
                        finish(&mut active, end, shared);
                    }
                    Ok((prompt, constraint)) => {
                        self.costs.insert(waiting.id, cost);
                        self.begin(*waiting, prompt, constraint);
                    }
                    Err(error) => {
                        shared.inbox.begun(cost);
                        let mut active = Active::new(*waiting, 0, None);
                        finish(&mut active, Err(error), shared);
                    }
                }
            }
        }
    }

    fn begin(&mut self, waiting: Waiting, prompt: Vec<u32>, constraint: Option<ActiveConstraint>) {
        let (id, request) = (waiting.id, &waiting.request);
        let deadline = waiting.since + request.deadline.min(Duration::from_secs(1 << 30));
        self.drafts.begin(id, &prompt);
        let length = prompt.len();
        self.scheduler.submit(Order {
            id,
            prompt,
            salt: request.project.as_str().into(),
            job: request.tag.job.as_str().into(),
            priority: request.priority,
            late_at: deadline.saturating_duration_since(self.started).as_millis() as u64,
            pin: false,
        });
        self.active.insert(id, Box::new(Active::new(waiting, length, constraint)));
    }

    fn prepare(&mut self, request: &Request) -> Result<(Vec<u32>, Option<ActiveConstraint>), EngineError> {
        let prefix = request.assistant_prefix.as_deref().unwrap_or_default();
        let parts = self.template.parts(&request.messages, &request.tools, Some(prefix))?;
        let prompt = self.tokenizer.encode_prompt(&parts)?;
        self.check_length(prompt.len(), request.max_tokens)?;
        Ok((prompt, self.constraint(request)?))
    }

    /// Computes the prefix that these messages make and keeps it.
    fn pin(&mut self, pin: PinId, project: &str, messages: &[ChatMessage]) -> Result<(), EngineError> {
        let prompt = self.tokenizer.encode_prompt(&self.template.parts(messages, &[], None)?)?;
        self.check_length(prompt.len(), 1)?;
        let half = self.scheduler.pool().len() / 2 * BLOCK;
        if !self.scheduler.fits(prompt.len() + half) {
            return Err(EngineError::Failed("more than half of the memory for keys and values would be pinned".into()));
        }
        self.scheduler.submit(Order {
            id: pin.0,
            prompt,
            salt: project.into(),
            job: "".into(),
            priority: Priority::High,
            late_at: u64::MAX,
            pin: true,
        });
        Ok(())
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
        if !self.scheduler.fits(prompt + max_tokens as usize) {
            return Err(EngineError::Busy { queued: self.scheduler.waiting() as u32 });
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

    fn end_cancelled(&mut self, shared: &Shared) {
        let gone = self.active.iter().filter(|(_, a)| a.waiting.sink.is_cancelled());
        for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id, Ok(Finish::Cancelled), shared);
        }
    }

    /// One step. False: there was nothing to compute.
    fn step(&mut self, shared: &Shared) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        let mut plan = self.scheduler.plan(now, &mut self.drafts);
        for id in std::mem::take(&mut plan.late) {
            if let Some(active) = self.active.get(&id) {
                let error = late(&active.waiting);
                self.end(id, Err(error), shared);
            }
        }
        for (from, to) in &plan.copies {
            self.backend.copy_block(*from, *to);
        }
        if plan.rows.is_empty() {
            return false;
        }
        self.note_begun(&plan, shared);
        if let Err(error) = self.compute(&plan) {
            for rows in &plan.rows {
                self.end(rows.id, Err(error.clone()), shared);
            }
            return true;
        }
        self.choose(&plan, shared);
        true
    }

    fn note_begun(&mut self, plan: &Plan, shared: &Shared) {
        for rows in &plan.rows {
            if let Some(cost) = self.costs.remove(&rows.id) {
                shared.inbox.begun(cost);
            }
            if let Some(active) = self.active.get_mut(&rows.id)
                && active.begun.is_none()
            {
                active.begun = Some(Instant::now());
                active.usage.cached_tokens = self.scheduler.found(rows.id) as u32;
            }
        }
    }

    /// The logits of the rows that are wanted: of complete ones the last, and those of the guesses.
    fn compute(&mut self, plan: &Plan) -> Result<(), EngineError> {
        let batch = &mut self.batch;
        batch.tokens.clear();
        batch.spans.clear();
        batch.outputs.clear();
        for rows in &plan.rows {
            let row = batch.tokens.len();
            batch.tokens.extend_from_slice(&rows.tokens);
            let blocks = rows.blocks.clone();
            batch.spans.push(Span { row, rows: rows.tokens.len(), position: rows.position, blocks });
            if rows.complete && self.active.contains_key(&rows.id) {
                batch.outputs.extend(batch.tokens.len() - 1 - rows.guessed..batch.tokens.len());
            }
        }
        let computed = catch_unwind(AssertUnwindSafe(|| self.backend.step(&self.batch, &mut self.logits)));
        computed.unwrap_or_else(|_| Err(EngineError::Failed("a panic while computing; the engine goes on".into())))
    }

    fn choose(&mut self, plan: &Plan, shared: &Shared) {
        let width = self.backend.vocabulary();
        let mut logits = &mut self.logits[..];
        let mut choices = Vec::new();
        for rows in plan.rows.iter().filter(|rows| rows.complete) {
            let Some(active) = self.active.remove(&rows.id) else { continue };
            let (own, others) = logits.split_at_mut((rows.guessed + 1) * width);
            logits = others;
            choices.push(Choice { active, rows, logits: own, taken: Taken::default() });
        }
        let words = &*self.tokenizer;
        each(&mut choices, |choice| {
            let guesses = &choice.rows.tokens[choice.rows.tokens.len() - choice.rows.guessed..];
            let take = AssertUnwindSafe(|| choice.active.take(choice.logits, width, guesses, words));
            let panicked = || Err(EngineError::Failed("a panic while choosing; the engine goes on".into()));
            choice.taken = catch_unwind(take).unwrap_or_else(|_| Taken { end: Some(panicked()), ..Taken::default() });
        });
        let chosen: Vec<_> = choices.into_iter().map(|c| (c.active, c.rows, c.taken)).collect();
        let mut done = Plan::default();
        for rows in plan.rows.iter().filter(|rows| !chosen.iter().any(|(_, of, _)| of.id == rows.id)) {
            self.scheduler.computed(rows.id, rows.tokens.len(), 0, &mut done);
        }
        for (active, rows, taken) in chosen {
            self.active.insert(rows.id, active);
            self.drafts.judged(rows.id, rows.guessed, taken.guessed_right, self.draft);
            self.drafts.extend(rows.id, &taken.tokens);
            self.scheduler.decoded(rows.id, &taken.tokens);
            let standing = rows.tokens.len() - rows.guessed + taken.guessed_right;
            self.scheduler.computed(rows.id, standing, taken.guessed_right, &mut done);
            if let Some(end) = taken.end {
                self.end(rows.id, end, shared);
            }
        }
    }

    /// Ends a request: what it held is free, and its reader is told.
    fn end(&mut self, id: u64, end: Result<Finish, EngineError>, shared: &Shared) {
        self.scheduler.end(id);
        self.drafts.end(id);
        if let Some(cost) = self.costs.remove(&id) {
            shared.inbox.begun(cost);
        }
        if let Some(mut active) = self.active.remove(&id) {
            finish(&mut active, end, shared);
        }
    }

    fn report(&self, shared: &Shared) {
        let block = self.backend.shape().kv_bytes() * BLOCK as u64;
        let pool = self.scheduler.pool();
        let tally = self.scheduler.tally();
        let mut stats = super::lock(&shared.stats);
        stats.active = self.scheduler.running() as u32;
        stats.prefix_entries = pool.published() as u32;
        stats.prefix_bytes = pool.published() as u64 * block;
        stats.kv_bytes = pool.len() as u64 * block;
        stats.kv_held_bytes = (pool.len() - pool.available()) as u64 * block;
        stats.weight_bytes = self.backend.weight_bytes();
        stats.preempted = tally.preempted;
        (stats.guessed, stats.guessed_right) = (tally.guessed, tally.guessed_right);
    }
}

/// The weights, where they are to be.
fn backend(file: &Checkpoint, gpu: Option<&str>, options: &CandleOptions) -> Result<Box<dyn Backend>, EngineError> {
    let (context, wanted) = (options.context as usize, options.kv_memory.map(|bytes| bytes.as_u64()));
    if let Some(uuid) = gpu {
        return on_gpu(file, uuid, options);
    }
    let kv_bytes = wanted.unwrap_or(KV_ON_CPU);
    Ok(Box::new(CpuBackend::load(file, &Means { context, kv_bytes, tiles: options.tiles.as_deref() })?))
}

/// The GPU to be used, if any.
fn gpu(device: &EngineDevice) -> Result<Option<String>, EngineError> {
    match device {
        EngineDevice::Cuda(uuid) => Ok(Some(uuid.clone())),
        EngineDevice::Auto if cfg!(feature = "cuda") => {
            let gpus = NvmlProbe.gpus();
            Ok(gpus.into_iter().max_by_key(|gpu| gpu.memory_bytes).map(|gpu| gpu.uuid))
        }
        EngineDevice::Auto | EngineDevice::Cpu => Ok(None),
    }
}

#[cfg(feature = "cuda")]
fn on_gpu(file: &Checkpoint, uuid: &str, options: &CandleOptions) -> Result<Box<dyn Backend>, EngineError> {
    let gpu = crate::graph::Gpu::open(uuid)?;
    let loading = gpu.loading();
    let shape = Shape::read(file)?;
    let context = options.context as usize;
    let claim = Claim {
        weights: file.tensor_bytes(),
        sequence: (context.min(shape.context).div_ceil(BLOCK) * BLOCK) as u64 * shape.kv_bytes(),
        kv: options.kv_memory.map(|bytes| bytes.as_u64()),
        sharers: options.gpu_sharers,
    };
    let kv = admit(gpu.memory()?, claim)?;
    let backend = TensorBackend::load(file, &gpu.device, context, |_| Ok(kv))?;
    drop(loading);
    Ok(Box::new(GpuBackend { backend, gpu, failed: false }))
}

#[cfg(not(feature = "cuda"))]
fn on_gpu(_: &Checkpoint, uuid: &str, _: &CandleOptions) -> Result<Box<dyn Backend>, EngineError> {
    Err(EngineError::Config(format!(
        "this program was built without CUDA and can't use {uuid}: build it with `make cuda`, or set device = \"cpu\""
    )))
}

fn late(waiting: &Waiting) -> EngineError {
    EngineError::Deadline { after_ms: waiting.request.deadline.as_millis() as u64 }
}

fn finish(active: &mut Active, end: Result<Finish, EngineError>, shared: &Shared) {
    let end = end.map(|finish| active.usage(finish));
    super::lock(&shared.stats).count(&end);
    let waiting = &active.waiting;
    match end {
        Ok(usage) => waiting.sink.done(usage),
        Err(error) => {
            tracing::debug!(%error, id = %waiting.request.id, job = %waiting.request.tag.job, "a request failed");
            waiting.sink.fail(error);
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
