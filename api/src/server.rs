//! The listener: which path leads where, and what every request passes before it gets there
//! (bound on requests → host and origin → token → deadline → handler).

use std::future::Future;
use std::io;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::ApiError;
use crate::state::{ApiState, MAX_JSON_BYTES, REQUEST_DEADLINE, Shared};
use crate::{approvals, auth, blobs, cluster, events, jobs, node, origin, results};

/// Serves until `shutdown` resolves; then takes no more requests, ends the streams and lets the rest finish.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (close, closing) = watch::channel(false);
    let app = router(Shared::new(state, closing));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            shutdown.await;
            // Streams never end by themselves; they would hold the shutdown up for ever.
            let _ = close.send(true);
        })
        .await
}

fn router(shared: Shared) -> Router {
    let quick = Router::new()
        .route("/jobs", get(jobs::list).post(jobs::submit))
        .route("/jobs/{id}", get(jobs::status).delete(jobs::delete))
        .route("/jobs/{id}/stop", post(jobs::stop))
        .route("/jobs/{id}/report", get(results::report))
        .route("/jobs/{id}/result", get(results::result))
        .route("/jobs/{id}/patches/{attempt}", get(results::patch))
        .route("/approvals", get(approvals::list))
        .route("/approvals/{id}", post(approvals::decide))
        .route("/node", get(node::info))
        .route("/nodes", get(cluster::nodes))
        .route("/nodes/invitations", post(cluster::invite))
        .route("/nodes/{name}", get(cluster::explain_node))
        .route("/nodes/{name}/drain", post(cluster::drain))
        .route("/actors", get(cluster::actors))
        .route("/actor", get(cluster::explain_actor))
        .route("/actor/stop", post(cluster::stop_actor))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .layer(from_fn(within_deadline));
    let long = Router::new()
        .route("/blobs", post(blobs::put))
        .route("/jobs/{id}/events", get(events::follow))
        .layer(DefaultBodyLimit::disable());
    let api = quick.merge(long).layer(from_fn_with_state(shared.node.tokens.clone(), auth::require_token));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(node::health))
        .route("/readyz", get(node::ready))
        .fallback(no_such_path)
        .layer(from_fn_with_state(shared.node.hosts.clone(), origin::check_origin))
        .layer(from_fn_with_state(shared.clone(), within_bound))
        .with_state(shared)
}

async fn within_deadline(request: Request, next: Next) -> Result<Response, ApiError> {
    tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await.map_err(|_| ApiError::deadline())
}

async fn within_bound(State(shared): State<Shared>, request: Request, next: Next) -> Result<Response, ApiError> {
    let _permit =
        shared.requests.try_acquire().map_err(|_| ApiError::busy("the node serves as many requests as it may"))?;
    Ok(next.run(request).await)
}

async fn no_such_path() -> ApiError {
    ApiError::not_found("there is nothing at this path", "the API lies under /api/v1; see the manual")
}
