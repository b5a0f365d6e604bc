//! One request while it is decoded: from the logits of its rows to the tokens that come next, and to text.

use std::time::Instant;

use super::constraint::ActiveConstraint;
use super::inbox::Waiting;
use super::sampler::{Sampler, logprob};
use super::tokenizer::ModelTokenizer;
use crate::text::TextOut;
use crate::{EngineError, Finish, TokenLogprob, Usage};

/// What the rows of one step came to.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Tokens that follow; the last one's row is not computed yet, nor are those that a grammar forced after it.
    pub(super) tokens: Vec<u32>,
    /// Rows that stand: those of tokens that were there, and of guesses that were right.
    pub(super) guessed_right: usize,
    pub(super) end: Option<Result<Finish, EngineError>>,
}

/// A request that is being decoded.
pub(super) struct Active {
    pub(super) waiting: Waiting,
    sampler: Sampler,
    constraint: Option<ActiveConstraint>,
    out: TextOut,
    pub(super) usage: Usage,
    /// When its first row was computed, and when its first token came.
    pub(super) begun: Option<Instant>,
    first: Option<Instant>,
}

impl Active {
    pub(super) fn new(waiting: Waiting, prompt: usize, constraint: Option<ActiveConstraint>) -> Self {
        let usage = Usage {
            prompt_tokens: prompt as u32,
            cached_tokens: 0,
            completion_tokens: 0,
            finish: Finish::Stop,
            prefill_ms: 0,
            decode_ms: 0,
            cost_micros: 0,
            replayed: false,
        };
        let request = &waiting.request;
        let sampler = Sampler::new(request.sampling, &request.logit_bias);
        let out = TextOut::new(&request.stop);
        Self { sampler, constraint, out, usage, begun: None, first: None, waiting }
    }

    /// Chooses what follows the rows; each is as long as the model's vocabulary. The rows after the first are those of
    /// the guesses: one counts if the token before it is the guessed one.
    pub(super) fn take(&mut self, rows: &mut [f32], width: usize, guesses: &[u32], words: &ModelTokenizer) -> Taken {
        let mut taken = Taken::default();
        for (at, row) in rows.chunks_exact_mut(width).enumerate() {
            match self.step(row, words, &mut taken) {
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => {
                    taken.end = Some(Err(error));
                    break;
                }
            }
            // Several tokens at once: a grammar forced them, and they aren't computed.
            let right = taken.tokens.len() == at + 1 && guesses.get(at) == taken.tokens.last();
            if !right {
                break;
            }
            taken.guessed_right += 1;
        }
        taken
    }

    /// One token, and those that a grammar forces after it. True: the end.
    fn step(&mut self, row: &mut [f32], words: &ModelTokenizer, taken: &mut Taken) -> Result<bool, EngineError> {
        self.first.get_or_insert_with(Instant::now);
        let wanted = self.waiting.request.logprobs;
        let before = wanted.map(|_| row.to_vec());
        words.forbid(row);
        if let Some(constraint) = &mut self.constraint {
            constraint.mask(row)?;
        }
        let token = self.sampler.next(row).ok_or_else(|| EngineError::Failed("no token can follow".into()))?;
        if words.ends().contains(&token) {
            return Ok(self.end(taken, Finish::Stop));
        }
        let likely = |token: u32| match (&before, wanted) {
            (Some(logits), Some(top)) => vec![logprob(logits, token, top as usize, words)],
            _ => Vec::new(),
        };
        let likelihood = likely(token);
        if self.push(token, likelihood, words, taken)? {
            return Ok(true);
        }
        for forced in self.constraint.as_mut().map(ActiveConstraint::forced).unwrap_or_default() {
            self.sampler.saw(forced);
            // It was not chosen: the only one that could follow is certain.
            let certain =
                wanted.map(|_| TokenLogprob { bytes: words.bytes(forced).to_vec(), logprob: 0.0, top: Vec::new() });
            if self.push(forced, certain.into_iter().collect(), words, taken)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes in a token. True: the end.
    fn push(
        &mut self,
        token: u32,
        likelihood: Vec<TokenLogprob>,
        words: &ModelTokenizer,
        taken: &mut Taken,
    ) -> Result<bool, EngineError> {
        taken.tokens.push(token);
        self.usage.completion_tokens += 1;
        let complete = self.constraint.as_mut().map_or(Ok(false), |c| c.accept(token))?;
        let (text, stopped) = self.out.push(words.bytes(token));
        self.waiting.sink.tokens(&text, 1, likelihood);
        if stopped {
            taken.end = Some(Ok(Finish::Stop));
            return Ok(true);
        }
        if complete {
            return Ok(self.end(taken, Finish::Stop));
        }
        if self.usage.completion_tokens >= self.waiting.request.max_tokens {
            return Ok(self.end(taken, Finish::Length));
        }
        Ok(false)
    }

    fn end(&mut self, taken: &mut Taken, finish: Finish) -> bool {
        self.waiting.sink.text(&self.out.finish(), 0);
        taken.end = Some(Ok(finish));
        true
    }

    /// What it cost.
    pub(super) fn usage(&self, finish: Finish) -> Usage {
        let now = Instant::now();
        let begun = self.begun.unwrap_or(now);
        let first = self.first.unwrap_or(now);
        let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_millis() as u64;
        Usage { finish, prefill_ms: ms(begun, first), decode_ms: ms(first, now), ..self.usage }
    }
}
