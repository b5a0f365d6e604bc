//! What can be asked: every engine by its own name and by its model's.

use axum::Json;
use axum::extract::{Path, State};
use fleet_inference::KnownEngine;
use serde_json::{Value, json};

use super::engines::names;
use super::error::OpenAiError;
use crate::state::Shared;

/// `GET /v1/models`
pub(crate) async fn list(State(shared): State<Shared>) -> Json<Value> {
    let all = shared.node.engines.all().await;
    let data: Vec<Value> = names(&all).iter().filter_map(|name| model(&shared, name, &all)).collect();
    Json(json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn show(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, OpenAiError> {
    let all = shared.node.engines.all().await;
    model(&shared, &id, &all).map(Json).ok_or_else(|| OpenAiError::no_model(&id, &names(&all)))
}

/// `max_model_len`, `engine` and `mock` are more than OpenAI says.
fn model(shared: &Shared, name: &str, all: &[KnownEngine]) -> Option<Value> {
    let by_name = all.iter().find(|known| known.info.name == name);
    let info = &by_name.or_else(|| all.iter().find(|known| known.info.model == name))?.info;
    Some(json!({
        "id": name,
        "object": "model",
        "created": shared.node.node.started_at.millis() / 1000,
        "owned_by": "fleet",
        "max_model_len": (info.context > 0).then_some(info.context),
        "engine": info.name,
        "model": info.model,
        "mock": info.mock,
    }))
}
