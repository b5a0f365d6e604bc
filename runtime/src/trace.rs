//! What belongs together in the logs of several nodes.
//!
//! A trace begins with a request to the API or with a job. Whatever is done on its account is a span of it, and says so in
//! every log line: the fields `trace` (the same everywhere), `span` (this piece of work) and `parent` (the one that caused
//! it). The context is the task's; a message takes it along, also to another node, and the handling of that message is a
//! span of its own there. A message that is sent outside of a trace carries nothing and costs nothing.
//!
//! Text has the form of W3C Trace Context, so that a caller's own tracing goes on in ours. Nothing is collected here: the
//! logs are what is searched, and `fleet timeline` draws what the journal knows.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use crate::id::JobId;

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Bytes of a context in front of an encoded message.
pub(crate) const STAMP: usize = 24;

/// Names a trace: 32 hex digits, not all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId([u8; 16]);

/// Names a span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

/// Where something stands: in which trace, on whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
}

/// Text that isn't a trace context: `00-` 32 hex digits `-` 16 hex digits `-` 2 hex digits, neither id all zeros.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a trace context")]
pub struct BadTraceparent;

/// Where the present task stands, if it is in a trace.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// Works on `future` on account of that job, as a span of the job's trace; `run` counts its starts.
pub fn for_job<F: Future>(job: &JobId, run: u32, future: F) -> impl Future<Output = F::Output> + use<F> {
    let context = TraceContext::of_job(job);
    let (trace, span) = (context.trace, context.span);
    context.scope(tracing::info_span!(parent: None, "job", %trace, %span, %job, run), future)
}

impl TraceContext {
    /// A new trace.
    pub fn fresh() -> Self {
        Self { trace: TraceId(at_least_one(rand::random::<u128>().to_be_bytes())), span: SpanId::fresh() }
    }

    /// In the trace of that job, which follows from its id: all of its runs are in it, on whichever node.
    pub fn of_job(job: &JobId) -> Self {
        Self { trace: TraceId::of_job(job), span: SpanId::fresh() }
    }

    /// A piece of work on this one's account.
    pub fn child(&self) -> Self {
        Self { trace: self.trace, span: SpanId::fresh() }
    }

    pub fn trace(&self) -> TraceId {
        self.trace
    }

    pub fn span(&self) -> SpanId {
        self.span
    }

    /// Works on `future` in this context; `span` is what its log lines show.
    pub fn scope<F: Future>(self, span: tracing::Span, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future.instrument(span))
    }

    /// The span of a message's handling by an actor of that name and kind. No child of the tracing span it is made in:
    /// that is the sender's where both are on one node, and each hop would put one more into every line.
    pub(crate) fn handling(&self, sent: &Self, actor: &str, kind: &str, node: impl fmt::Display) -> tracing::Span {
        let (trace, span, parent) = (self.trace, self.span, sent.span);
        tracing::info_span!(parent: None, "handle", %trace, %span, %parent, actor, kind, %node)
    }

    /// Puts it in front of an encoded message.
    pub(crate) fn stamp(&self, encoded: &[u8]) -> Bytes {
        let mut stamped = Vec::with_capacity(STAMP + encoded.len());
        stamped.extend_from_slice(&self.trace.0);
        stamped.extend_from_slice(&self.span.0.get().to_be_bytes());
        stamped.extend_from_slice(encoded);
        stamped.into()
    }

    /// Takes what was put in front off again. Whatever isn't a context is none: a trace is never worth a message.
    pub(crate) fn unstamp(mut stamped: Bytes) -> (Option<Self>, Bytes) {
        let Some(stamp) = stamped.first_chunk::<STAMP>() else { return (None, stamped) };
        let (trace, span) = stamp.split_at(16);
        let trace = trace.try_into().ok().and_then(TraceId::new);
        let span = span.try_into().ok().map(u64::from_be_bytes).and_then(SpanId::new);
        let context = trace.zip(span).map(|(trace, span)| Self { trace, span });
        (context, stamped.split_off(STAMP))
    }
}

impl TraceId {
    /// That of all that is done for a job.
    pub fn of_job(job: &JobId) -> Self {
        let hash = blake3::derive_key("fleet 2026-11 trace id of a job", job.as_str().as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(at_least_one(bytes))
    }

    fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }
}

impl SpanId {
    fn fresh() -> Self {
        Self(NonZeroU64::new(rand::random()).unwrap_or(NonZeroU64::MIN))
    }

    fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

/// All zeros name no trace.
fn at_least_one(mut bytes: [u8; 16]) -> [u8; 16] {
    if bytes == [0; 16] {
        bytes[15] = 1;
    }
    bytes
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TraceId {
    type Err = BadTraceparent;

    fn from_str(text: &str) -> Result<Self, BadTraceparent> {
        let number = hex(text, 32).and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.and_then(|number| Self::new(number.to_be_bytes())).ok_or(BadTraceparent)
    }
}

impl FromStr for SpanId {
    type Err = BadTraceparent;

    fn from_str(text: &str) -> Result<Self, BadTraceparent> {
        let number = hex(text, 16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.and_then(Self::new).ok_or(BadTraceparent)
    }
}

impl TryFrom<String> for TraceId {
    type Error = BadTraceparent;

    fn try_from(text: String) -> Result<Self, BadTraceparent> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(trace: TraceId) -> Self {
        trace.to_string()
    }
}

/// The text, if it is so many hex digits as the standard has them: lower case, and nothing else.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_hex = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_hex)).then_some(text)
}

/// As `traceparent` has it, always sampled: what is logged is for the log's filter to say.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

impl FromStr for TraceContext {
    type Err = BadTraceparent;

    /// Reads a `traceparent`. Of a later version than 00 what is known of it is taken, as the standard wants it.
    fn from_str(text: &str) -> Result<Self, BadTraceparent> {
        let mut parts = text.trim().split('-');
        let mut part = || parts.next().ok_or(BadTraceparent);
        let (version, trace, span, flags) = (part()?, part()?, part()?, part()?);
        let known = hex(version, 2).is_some_and(|version| version != "ff") && hex(flags, 2).is_some();
        if !known || (version == "00" && parts.next().is_some()) {
            return Err(BadTraceparent);
        }
        Ok(Self { trace: trace.parse()?, span: span.parse()? })
    }
}

#[cfg(test)]
mod tests;
