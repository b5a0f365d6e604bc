//! The engines that this node can reach: its own, and those of its cluster.

use axum::Json;
use axum::extract::{Path, Query, State};

use crate::error::ApiError;
use crate::openai;
use crate::plain;
use crate::state::Shared;
use crate::wire::{EngineStatus, OnNode};

/// `GET /api/v1/engines`
pub(crate) async fn list(State(shared): State<Shared>) -> Json<Vec<EngineStatus>> {
    Json(openai::status(&shared.node.engines).await)
}

/// `POST /api/v1/engines/{name}/drain`
pub(crate) async fn drain(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(on): Query<OnNode>,
) -> Result<Json<Vec<EngineStatus>>, ApiError> {
    turn(&shared, &name, &on, true).await
}

/// `POST /api/v1/engines/{name}/resume`
pub(crate) async fn resume(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(on): Query<OnNode>,
) -> Result<Json<Vec<EngineStatus>>, ApiError> {
    turn(&shared, &name, &on, false).await
}

async fn turn(shared: &Shared, name: &str, on: &OnNode, drain: bool) -> Result<Json<Vec<EngineStatus>>, ApiError> {
    let turned = openai::drain(&shared.node.engines, name, on.node.as_deref(), drain).await;
    let turned = turned.map_err(|e| ApiError::busy(format!("the engine {:?}: {e}", plain::line(name))))?;
    if turned.is_empty() {
        let what = format!("no engine {:?} there", plain::line(name));
        return Err(ApiError::not_found(what, "list them with `fleet engine status`"));
    }
    Ok(Json(turned))
}
