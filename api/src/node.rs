//! What the node says of itself: who it is, that it lives, whether it is ready.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use crate::error::ApiError;
use crate::state::Shared;
use crate::wire::NodeInfo;

/// `GET /api/v1/node`
pub(crate) async fn info(State(shared): State<Shared>) -> Result<Json<NodeInfo>, ApiError> {
    Ok(Json((*shared.node.node).clone()))
}

/// `GET /healthz`: the process answers. Needs no token and tells nothing else.
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether jobs are run now, and if not, what is waited for.
pub(crate) async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let readiness = shared.node.readiness.borrow().clone();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}
