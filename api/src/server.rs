//! The listener: what every request passes before it gets to its handler
//! (bound on requests → host and origin → token → deadline → access level → handler).

use std::future::Future;
use std::io;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::ApiError;
use crate::state::{ApiState, REQUEST_DEADLINE, Shared};
use crate::{auth, node, origin, routes};

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
    routes::guarded()
        .layer(from_fn_with_state(shared.clone(), auth::require_token))
        .route("/healthz", get(node::health))
        .route("/readyz", get(node::ready))
        .route("/openapi.json", get(routes::openapi))
        .fallback(no_such_path)
        .layer(from_fn_with_state(shared.node.hosts.clone(), origin::check_origin))
        .layer(from_fn_with_state(shared.clone(), within_bound))
        .with_state(shared)
}

pub(crate) async fn within_deadline(request: Request, next: Next) -> Result<Response, ApiError> {
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
