//! The handle by which the rest of Fleet reaches an engine.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::{Completion, Engine, EngineError, EngineInfo, EngineStats, Request, TokenEvent};

/// A cheap clone; every call has a deadline.
#[derive(Clone)]
pub struct EngineHandle {
    engine: Arc<dyn Engine>,
}

impl EngineHandle {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Asks for a whole reply. `on_text` sees new text and the number of tokens so far as they come.
    pub async fn complete(
        &self,
        request: Request,
        deadline: Duration,
        on_text: impl FnMut(&str, u32) + Send,
    ) -> Result<Completion, EngineError> {
        complete(self.engine.as_ref(), request, deadline, on_text).await
    }

    pub async fn info(&self, _deadline: Duration) -> Result<EngineInfo, EngineError> {
        Ok(self.engine.info())
    }

    pub async fn stats(&self, _deadline: Duration) -> Result<EngineStats, EngineError> {
        Ok(self.engine.stats())
    }
}

/// Reads a whole reply from an engine. Dropped or late, the request is cancelled.
pub(crate) async fn complete(
    engine: &dyn Engine,
    request: Request,
    deadline: Duration,
    mut on_text: impl FnMut(&str, u32) + Send,
) -> Result<Completion, EngineError> {
    let mut text = request.assistant_prefix.clone().unwrap_or_default();
    let mut total = 0;
    let mut stream = engine.submit(request)?;
    let whole = async {
        while let Some(event) = stream.next().await {
            match event {
                TokenEvent::Text { text: more, tokens } => {
                    total += tokens;
                    text.push_str(&more);
                    on_text(&more, total);
                }
                TokenEvent::Done(usage) => return Ok(usage),
                TokenEvent::Failed(error) => return Err(error),
            }
        }
        Err(EngineError::Gone)
    };
    let late = |_| EngineError::Deadline { after_ms: deadline.as_millis() as u64 };
    let usage = tokio::time::timeout(deadline, whole).await.map_err(late)??;
    let info = engine.info();
    Ok(Completion { text, usage, model: info.model, engine: info.name, mock: info.mock })
}
