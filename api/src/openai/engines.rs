//! The engines that a node can reach, and which of them a model's name means.

use std::time::Duration;

use fleet_inference::{EngineError, EngineInfo, EngineRouter, EngineState, KnownEngine, Served, Wanted};
use futures::future::join_all;

use super::error::OpenAiError;
use crate::wire::EngineStatus;

/// How long an engine may take to say what it is.
const WORD: Duration = Duration::from_secs(3);

/// The engines that a model's name means, and what the first of them is.
pub(super) struct Known {
    pub(super) router: EngineRouter,
    pub(super) info: EngineInfo,
}

/// The engines that are called so, or else those with a model that is; one is ready.
pub(super) async fn find(router: &EngineRouter, model: &str) -> Result<Known, OpenAiError> {
    let router = router.wanting(Wanted::Called(model.to_owned()));
    let mut there = router.candidates().await;
    let best = there.iter().position(|one| one.info.state == EngineState::Ready).unwrap_or(0);
    if there.is_empty() {
        return Err(OpenAiError::no_model(model, &names(&router.all().await)));
    }
    ready(there.swap_remove(best).info).map(|info| Known { router, info })
}

/// By what its engines can be addressed: their names, then their models'.
pub(super) fn names(all: &[KnownEngine]) -> Vec<String> {
    let mut names = Vec::new();
    for name in all.iter().map(|known| &known.info.name).chain(all.iter().map(|known| &known.info.model)) {
        if !name.is_empty() && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn ready(info: EngineInfo) -> Result<EngineInfo, OpenAiError> {
    let name = &info.name;
    match &info.state {
        EngineState::Ready => Ok(info),
        EngineState::Loading => {
            let message = format!("The engine `{name}` is still loading its model; try again in a moment.");
            Err(OpenAiError::unavailable("engine_loading", message))
        }
        EngineState::Draining => {
            let message = format!("The engine `{name}` takes no requests: it is being drained.");
            Err(OpenAiError::unavailable("engine_draining", message))
        }
        EngineState::Failed { why } => {
            Err(OpenAiError::unavailable("engine_failed", format!("The engine `{name}` has failed: {why}")))
        }
    }
}

/// What every engine says of itself and has done; of one that doesn't answer, why.
pub(crate) async fn status(router: &EngineRouter) -> Vec<EngineStatus> {
    join_all(router.served().await.into_iter().map(status_of)).await
}

/// Has the engines of this name, those of one node or all, take no further requests, or take them again. None of that
/// name: nothing.
pub(crate) async fn drain(
    router: &EngineRouter,
    name: &str,
    node: Option<&str>,
    drain: bool,
) -> Result<Vec<EngineStatus>, EngineError> {
    let mut there = router.served().await;
    there.retain(|served| served.name == name && node.is_none_or(|node| served.node == node));
    let told = there.iter().map(|served| served.handle.drain(drain, WORD));
    futures::future::try_join_all(told).await?;
    Ok(join_all(there.into_iter().map(status_of)).await)
}

async fn status_of(served: Served) -> EngineStatus {
    match futures::future::try_join(served.handle.info(WORD), served.handle.stats(WORD)).await {
        Ok((info, stats)) => EngineStatus::new(served.node, info, stats),
        Err(error) => EngineStatus::unreachable(served.name, served.node, &unreached(&error)),
    }
}

fn unreached(error: &EngineError) -> String {
    match error {
        EngineError::Deadline { .. } => "it doesn't answer".to_owned(),
        error => error.to_string(),
    }
}
