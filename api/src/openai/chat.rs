//! Chat completions: asks the engine for every choice, and answers with all of them, or as they come.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use fleet_inference::{EngineError, Finish, RoutedAnswer, TokenEvent};
use futures::future::try_join_all;
use tokio::sync::OwnedSemaphorePermit;

use super::DEADLINE;
use super::ask::Ask;
use super::chunks;
use super::engines::{Known, find};
use super::error::OpenAiError;
use super::fields::Fields;
use super::reply::{Choice, Head, usage};
use crate::access::Pass;
use crate::state::Shared;

/// `POST /v1/chat/completions`
pub(crate) async fn complete(
    State(shared): State<Shared>,
    Extension(pass): Extension<Pass>,
    request: Request,
) -> Result<Response, OpenAiError> {
    let ask = Ask::new(Fields::read(request).await?, &pass.who.name)?;
    let place = place(&shared)?;
    let engine = find(&shared.node.engines, &ask.model).await?;
    if ask.stream {
        return chunks::stream(shared, pass, place, ask, engine).await;
    }
    let head = Head::new(&engine.info);
    let choices = try_join_all((0..ask.choices).map(|n| whole(&engine, &ask, n))).await;
    let choices = choices.map_err(|e| OpenAiError::of_engine(&e, ask.constrained_by))?;
    let costs: Vec<_> = choices.iter().map(|choice| choice.usage).collect();
    let choices = choices.into_iter().enumerate().map(|(n, choice)| choice.object(n, ask.calls, ask.logprobs));
    let mut object = head.object("chat.completion", choices.collect());
    object["usage"] = usage(&costs);
    Ok(Json(object).into_response())
}

/// A place among the requests that engines may be asked at once.
pub(super) fn place(shared: &Shared) -> Result<OwnedSemaphorePermit, OpenAiError> {
    Arc::clone(&shared.completions)
        .try_acquire_owned()
        .map_err(|_| OpenAiError::busy("This node serves as many completions as it may; try again in a moment."))
}

async fn whole(engine: &Known, ask: &Ask, n: u32) -> Result<Choice, EngineError> {
    let (mut answer, mut event) = begin(engine, ask, n).await?;
    let (mut text, mut logprobs) = (String::new(), Vec::new());
    loop {
        match event {
            TokenEvent::Text { text: more, logprobs: mut likely, .. } => {
                text.push_str(&more);
                logprobs.append(&mut likely);
            }
            // Nobody here has cancelled it.
            TokenEvent::Done(usage) if usage.finish == Finish::Cancelled => return Err(EngineError::Gone),
            TokenEvent::Done(usage) => return Ok(Choice { text, logprobs, usage }),
            TokenEvent::Failed(error) => return Err(error),
        }
        event = answer.next().await.ok_or(EngineError::Gone)?;
    }
}

/// Asks for a choice and waits for its first event. Where the client gave no bound and the prompt leaves less than is
/// usually asked for, asks again for what it leaves.
pub(super) async fn begin(engine: &Known, ask: &Ask, n: u32) -> Result<(RoutedAnswer, TokenEvent), EngineError> {
    let mut request = ask.request(n, engine.info.context);
    loop {
        let refused = match engine.router.stream(request, DEADLINE).await {
            Err(refused) => refused,
            Ok(mut answer) => match answer.next().await {
                Some(TokenEvent::Failed(refused)) => refused,
                Some(event) => return Ok((answer, event)),
                None => return Err(EngineError::Gone),
            },
        };
        let EngineError::PromptTooLong { prompt_tokens, context, max_tokens, .. } = refused else {
            return Err(refused);
        };
        let fits = ask.what_fits(prompt_tokens, context).filter(|fits| *fits < max_tokens).ok_or(refused)?;
        request = ask.request(n, engine.info.context);
        request.max_tokens = fits;
    }
}
