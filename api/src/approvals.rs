//! What waits for a person, and the person's decision. Who may decide, and that it is decided once, is the gate's.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use fleet_actors::gate::{Approval, ApprovalError, Decision};
use fleet_runtime::auth::{AccessLevel, Principal};

use crate::auth::require_level;
use crate::error::ApiError;
use crate::state::Shared;
use crate::wire::{DecisionBody, Verdict};

/// `GET /api/v1/approvals`
pub(crate) async fn list(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
) -> Result<Json<Vec<Approval>>, ApiError> {
    require_level(&who, AccessLevel::Viewer)?;
    shared.node.approvals.list().await.map(Json).map_err(refused)
}

/// `POST /api/v1/approvals/{id}`
pub(crate) async fn decide(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    body: Result<Json<DecisionBody>, JsonRejection>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let body = crate::jobs::json(body)?;
    let decision = match body.decision {
        Verdict::Approve => Decision::Approve,
        Verdict::Reject => Decision::Reject,
    };
    let decided = shared.node.approvals.decide(&id, decision, who.clone(), &body.comment).await;
    decided.map_err(refused)?;
    Ok(Json(serde_json::json!({ "id": id, "decision": body.decision, "by": who.name })))
}

fn refused(error: ApprovalError) -> ApiError {
    let said = error.to_string();
    match error {
        ApprovalError::NotFound { .. } => ApiError::not_found(said, "list what waits with `fleet approval list`"),
        ApprovalError::AlreadyDecided { .. } => {
            ApiError::conflict(said, "the first decision stands; see the job's report")
        }
        ApprovalError::Expired { .. } => ApiError::conflict(said, "submit the story again"),
        ApprovalError::NotAllowed { .. } => ApiError::forbidden(said, "ask someone with that access level"),
        ApprovalError::Unavailable { .. } => ApiError::busy(said),
    }
}
