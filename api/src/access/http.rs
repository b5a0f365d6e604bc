//! Access over HTTP: issue, list, revoke.

use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use fleet_runtime::auth::Principal;
use fleet_runtime::{Author, Timestamp};

use super::{AccessError, Issued, Refused};
use crate::error::ApiError;
use crate::plain;
use crate::state::Shared;
use crate::wire::{AccessBody, AccessGrant, AccessRecord, AccessState};

/// `POST /api/v1/access`
pub(crate) async fn issue(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    body: Result<Json<AccessBody>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let AccessBody { name, level, expires_in_seconds } = crate::jobs::json(body)?;
    let lives = expires_in_seconds.map(Duration::from_secs);
    let wanted = Principal { name, level };
    let issued = shared.node.access.issue(Author::Person(who.name), wanted, lives).await;
    let (token, issued) = issued.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(AccessGrant { token, access: record(&issued) })))
}

/// `GET /api/v1/access`
pub(crate) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<AccessRecord>>, ApiError> {
    let all = shared.node.access.list().await.map_err(refused)?;
    Ok(Json(all.iter().map(record).collect()))
}

/// `DELETE /api/v1/access/{name}`
pub(crate) async fn revoke(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<AccessRecord>, ApiError> {
    let revoked = shared.node.access.revoke(Author::Person(who.name), &name).await;
    revoked.map(|issued| Json(record(&issued))).map_err(refused)
}

fn record(issued: &Issued) -> AccessRecord {
    let state = match issued {
        issued if issued.revoked_at.is_some() => AccessState::Revoked,
        issued if !issued.holds(Timestamp::now()) => AccessState::Expired,
        _ => AccessState::Valid,
    };
    AccessRecord {
        name: issued.principal.name.clone(),
        level: issued.principal.level,
        state,
        issued_by: issued.by.clone(),
        issued_at: issued.at,
        expires_at: issued.expires_at,
        revoked_at: issued.revoked_at,
    }
}

fn refused(error: AccessError) -> ApiError {
    let said = plain::line(&error.to_string()).into_owned();
    match error {
        AccessError::Refused(Refused::Name(_)) => ApiError::bad_request(
            said,
            "use letters, digits, dots, dashes, underscores and @, beginning with a letter or digit, 64 at most",
        ),
        AccessError::Refused(Refused::Taken(name)) => {
            ApiError::conflict(said, format!("take another name, or first: fleet access revoke {name}"))
        }
        AccessError::Refused(Refused::TooMany) => ApiError::conflict(said, "revoke some with `fleet access revoke`"),
        AccessError::Refused(Refused::Unknown(_)) => {
            ApiError::not_found(said, "list the tokens with `fleet access list`")
        }
        AccessError::Journal(_) => ApiError::busy(said),
    }
}
