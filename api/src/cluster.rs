//! The cluster over HTTP: nodes, actors, invitations. The control node knows the answers; any node asks it.

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::cluster::{
    ActorExplanation, ActorFilter, ActorRecord, ClusterError, ClusterNode, NodeExplanation, NodeRecord,
};

use crate::auth::require_level;
use crate::error::ApiError;
use crate::plain;
use crate::state::Shared;
use crate::wire::{Invitation, Named};

impl Shared {
    fn cluster(&self, who: &Principal, least: AccessLevel) -> Result<&ClusterNode, ApiError> {
        require_level(who, least)?;
        self.node
            .cluster
            .as_ref()
            .ok_or_else(|| ApiError::not_found("this node is in no cluster", "start it with fleetd"))
    }
}

/// `GET /api/v1/nodes`
pub(crate) async fn nodes(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
) -> Result<Json<Vec<NodeRecord>>, ApiError> {
    let cluster = shared.cluster(&who, AccessLevel::Viewer)?;
    cluster.nodes().await.map(Json).map_err(refused)
}

/// `GET /api/v1/nodes/{name}`
pub(crate) async fn explain_node(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<NodeExplanation>, ApiError> {
    let cluster = shared.cluster(&who, AccessLevel::Viewer)?;
    let found = cluster.explain_node(&name).await.map_err(refused)?;
    found.map(Json).ok_or_else(|| no_node(&name))
}

/// `POST /api/v1/nodes/{name}/drain`
pub(crate) async fn drain(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<NodeExplanation>, ApiError> {
    let cluster = shared.cluster(&who, AccessLevel::Operator)?;
    if cluster.explain_node(&name).await.map_err(refused)?.is_none() {
        return Err(no_node(&name));
    }
    cluster.drain(&name).await.map_err(refused)?;
    let now = cluster.explain_node(&name).await.map_err(refused)?;
    now.map(Json).ok_or_else(|| no_node(&name))
}

/// `POST /api/v1/nodes/invitations`
pub(crate) async fn invite(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
) -> Result<Json<Invitation>, ApiError> {
    let cluster = shared.cluster(&who, AccessLevel::Po)?;
    let nodes = cluster.nodes().await.map_err(refused)?;
    let control = nodes.into_iter().find(|node| node.is_control).map(|node| node.addr);
    let control = control.ok_or_else(|| ApiError::busy("the control node isn't in its own list yet"))?;
    let token = cluster.invite().await.map_err(refused)?;
    Ok(Json(Invitation { control, token }))
}

/// `GET /api/v1/actors`
pub(crate) async fn actors(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Query(filter): Query<ActorFilter>,
) -> Result<Json<Vec<ActorRecord>>, ApiError> {
    let cluster = shared.cluster(&who, AccessLevel::Viewer)?;
    cluster.actors(filter).await.map(Json).map_err(refused)
}

/// `GET /api/v1/actor?key=KEY`: a key may hold slashes.
pub(crate) async fn explain_actor(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Query(Named { key }): Query<Named>,
) -> Result<Json<ActorExplanation>, ApiError> {
    let cluster = shared.cluster(&who, AccessLevel::Viewer)?;
    let found = cluster.explain_actor(&key).await.map_err(refused)?;
    found.map(Json).ok_or_else(|| no_actor(&key))
}

/// `POST /api/v1/actor/stop?key=KEY`
pub(crate) async fn stop_actor(
    State(shared): State<Shared>,
    Extension(who): Extension<Principal>,
    Query(Named { key }): Query<Named>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let cluster = shared.cluster(&who, AccessLevel::Operator)?;
    if cluster.explain_actor(&key).await.map_err(refused)?.is_none() {
        return Err(no_actor(&key));
    }
    cluster.stop_actor(&key).await.map_err(refused)?;
    Ok(Json(serde_json::json!({ "key": key, "by": who.name })))
}

fn no_node(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no node {:?}", plain::line(name)), "list the nodes with `fleet node list`")
}

fn no_actor(key: &str) -> ApiError {
    ApiError::not_found(format!("there is no actor {:?}", plain::line(key)), "list the actors with `fleet actor list`")
}

fn refused(error: ClusterError) -> ApiError {
    ApiError::busy(format!("{}: {error}", error.code()))
}
