//! A chat completion as it comes: server-sent events, one chunk each, then `[DONE]`.
//!
//! The answer's status waits a moment for the first token, so that what an engine refuses is an error with its own status.
//! After that moment, or after the first token, what goes wrong is told as an event with an error, and the stream ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use fleet_inference::tools::{Piece, Splitter};
use fleet_inference::{EngineError, Finish, TokenEvent, TokenLogprob, Usage};
use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::ask::Ask;
use super::chat::begin;
use super::engines::Known;
use super::error::OpenAiError;
use super::reply::{Head, call, finish, logprobs, usage};
use crate::access::Pass;
use crate::state::{HEARTBEAT, Shared};

/// How long the status waits for the first token.
const FIRST_TOKEN: Duration = Duration::from_secs(2);
const CHUNK: &str = "chat.completion.chunk";
const DONE: &str = "[DONE]";

type Happened = (usize, Result<TokenEvent, EngineError>);

/// Answers with a stream.
pub(super) async fn stream(
    shared: Shared,
    pass: Pass,
    place: OwnedSemaphorePermit,
    ask: Ask,
    engine: Known,
) -> Result<Response, OpenAiError> {
    let (head, ask, engine) = (Head::new(&engine.info), std::sync::Arc::new(ask), std::sync::Arc::new(engine));
    let choices: SelectAll<_> = (0..ask.choices)
        .map(|n| {
            let (ask, engine) = (ask.clone(), engine.clone());
            let begun = stream::once(async move { begin(&engine, &ask, n).await });
            begun.flat_map(events).map(move |event| (n as usize, event)).boxed()
        })
        .collect();
    let mut choices = Box::pin(choices.peekable());
    if let Ok(Some((_, Err(error) | Ok(TokenEvent::Failed(error))))) =
        tokio::time::timeout(FIRST_TOKEN, choices.as_mut().peek()).await
    {
        return Err(OpenAiError::of_engine(error, ask.constrained_by));
    }
    let writer = Writer::new(head, &ask, choices, Leave { closing: shared.closing, pass, _place: place });
    let events = stream::unfold(writer, |mut writer| async move {
        let lines = writer.next().await?;
        let events = lines.into_iter().map(|data| Ok::<_, Infallible>(Event::default().data(data)));
        Some((stream::iter(events), writer))
    });
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok(Sse::new(events.flatten()).keep_alive(keep_alive).into_response())
}

/// The events of one choice, from the first one on.
fn events(
    begun: Result<(fleet_inference::RoutedAnswer, TokenEvent), EngineError>,
) -> BoxStream<'static, Result<TokenEvent, EngineError>> {
    match begun {
        Err(error) => stream::iter([Err(error)]).boxed(),
        Ok((answer, first)) => stream::iter([first]).chain(answer.into_stream()).map(Ok).boxed(),
    }
}

/// What lets the client listen.
struct Leave {
    closing: watch::Receiver<bool>,
    /// A stream ends with the token that opened it.
    pass: Pass,
    _place: OwnedSemaphorePermit,
}

/// Writes chunks. Dropped, with the client's connection, it cancels what is still being decoded.
struct Writer {
    head: Head,
    choices: Pin<Box<dyn Stream<Item = Happened> + Send>>,
    written: Vec<Written>,
    constrained_by: Option<&'static str>,
    with_usage: bool,
    with_logprobs: bool,
    begun: bool,
    ended: bool,
    leave: Leave,
}

/// One choice, as far as it is written.
#[derive(Default)]
struct Written {
    /// Takes the calls out, where tools were offered.
    splitter: Option<Splitter>,
    calls: usize,
    usage: Option<Usage>,
}

impl Writer {
    fn new(head: Head, ask: &Ask, choices: impl Stream<Item = Happened> + Send + 'static, leave: Leave) -> Self {
        let written = || Written { splitter: ask.calls.then(Splitter::default), ..Written::default() };
        Self {
            head,
            choices: Box::pin(choices),
            written: (0..ask.choices).map(|_| written()).collect(),
            constrained_by: ask.constrained_by,
            with_usage: ask.stream_usage,
            with_logprobs: ask.logprobs,
            begun: false,
            ended: false,
            leave,
        }
    }

    /// The data of the next events; none when all is said.
    async fn next(&mut self) -> Option<Vec<String>> {
        if self.ended {
            return None;
        }
        if !std::mem::replace(&mut self.begun, true) {
            let role = json!({ "role": "assistant", "content": "", "refusal": null });
            return Some((0..self.written.len()).map(|n| self.chunk(n, role.clone(), None, None)).collect());
        }
        let happened = tokio::select! {
            happened = self.choices.next() => happened,
            _ = self.leave.closing.changed() => Some((0, Err(EngineError::Gone))),
            () = self.leave.pass.over() => return None,
        };
        let Some((n, event)) = happened else { return Some(self.end()) };
        match event {
            Ok(TokenEvent::Text { text, logprobs, .. }) => Some(self.text(n, &text, &logprobs)),
            Ok(TokenEvent::Done(usage)) if usage.finish != Finish::Cancelled => Some(self.finish(n, usage)),
            Ok(TokenEvent::Done(_)) => self.fail(&EngineError::Gone),
            Ok(TokenEvent::Failed(error)) | Err(error) => self.fail(&error),
        }
    }

    fn text(&mut self, n: usize, text: &str, likely: &[TokenLogprob]) -> Vec<String> {
        let pieces = match &mut self.written[n].splitter {
            Some(splitter) => splitter.push(text),
            None if text.is_empty() => Vec::new(),
            None => vec![Piece::Text(text.to_owned())],
        };
        let mut likely = (self.with_logprobs && !likely.is_empty()).then(|| logprobs(likely));
        if pieces.is_empty() && likely.is_some() {
            return vec![self.chunk(n, json!({}), likely, None)];
        }
        pieces.into_iter().map(|piece| self.piece(n, piece, likely.take())).collect()
    }

    fn piece(&mut self, n: usize, piece: Piece, likely: Option<Value>) -> String {
        let delta = match piece {
            Piece::Text(text) => json!({ "content": text }),
            Piece::Call(made) => {
                let mut call = call(&made);
                call["index"] = self.written[n].calls.into();
                self.written[n].calls += 1;
                json!({ "tool_calls": [call] })
            }
        };
        self.chunk(n, delta, likely, None)
    }

    fn finish(&mut self, n: usize, usage: Usage) -> Vec<String> {
        self.written[n].usage = Some(usage);
        let rest = self.written[n].splitter.take().map(Splitter::finish).unwrap_or_default();
        let mut chunks: Vec<String> = rest.into_iter().map(|piece| self.piece(n, piece, None)).collect();
        let reason = finish(usage.finish, self.written[n].calls > 0);
        chunks.push(self.chunk(n, json!({}), None, Some(reason)));
        chunks
    }

    /// What comes after the last choice has ended.
    fn end(&mut self) -> Vec<String> {
        self.ended = true;
        let mut last = Vec::new();
        if self.with_usage {
            let costs: Vec<Usage> = self.written.iter().filter_map(|choice| choice.usage).collect();
            let mut chunk = self.head.object(CHUNK, Vec::new());
            chunk["usage"] = usage(&costs);
            last.push(chunk.to_string());
        }
        last.push(DONE.to_owned());
        last
    }

    fn fail(&mut self, error: &EngineError) -> Option<Vec<String>> {
        self.ended = true;
        Some(vec![OpenAiError::of_engine(error, self.constrained_by).body().to_string()])
    }

    fn chunk(&self, n: usize, delta: Value, likely: Option<Value>, reason: Option<&str>) -> String {
        let choice = json!({ "index": n, "delta": delta, "logprobs": likely, "finish_reason": reason });
        let mut chunk = self.head.object(CHUNK, vec![choice]);
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk.to_string()
    }
}
