//! Asking an engine directly, without an actor in between, for the tests of the engines.

use std::time::Duration;

use futures::StreamExt;

use crate::{Completion, Engine, EngineError, Request, TokenEvent};

/// Longer than anything takes on a busy machine, shorter than a person's patience.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Reads a whole reply.
pub(crate) async fn complete(engine: &dyn Engine, request: Request) -> Result<Completion, EngineError> {
    complete_seeing(engine, request, |_, _| {}).await
}

/// Reads a whole reply and sees each piece of it.
pub(crate) async fn complete_seeing(
    engine: &dyn Engine,
    request: Request,
    mut on_text: impl FnMut(&str, u32),
) -> Result<Completion, EngineError> {
    let mut text = request.assistant_prefix.clone().unwrap_or_default();
    let mut logprobs = Vec::new();
    let mut stream = engine.submit(request)?;
    loop {
        let next = tokio::time::timeout(DEADLINE, stream.next()).await;
        match next.ok().flatten() {
            Some(TokenEvent::Text { text: more, tokens, logprobs: mut likely }) => {
                text.push_str(&more);
                logprobs.append(&mut likely);
                on_text(&more, tokens);
            }
            Some(TokenEvent::Done(usage)) => {
                let info = engine.info();
                return Ok(Completion { text, logprobs, usage, model: info.model, engine: info.name, mock: info.mock });
            }
            Some(TokenEvent::Failed(error)) => return Err(error),
            None => return Err(EngineError::Failed("the stream did not end".into())),
        }
    }
}
