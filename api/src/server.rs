//! The listener: what every request passes before it gets to its handler
//! (trace → bound on requests → host and origin → token → deadline → access level → handler).

use std::future::Future;
use std::io;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use fleet_runtime::TraceContext;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::ApiError;
use crate::state::{ApiState, REQUEST_DEADLINE, Shared};
use crate::wire::TRACEPARENT;
use crate::{auth, node, openai, origin, routes};

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
        .layer(from_fn(openai::in_its_words))
        .layer(from_fn(within_trace))
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

/// Whatever is done on account of a request is in the caller's trace, or in a new one. The answer says in which.
async fn within_trace(request: Request, next: Next) -> Response {
    let shown = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let caller: Option<TraceContext> = shown.and_then(|text| text.parse().ok());
    let context = caller.as_ref().map_or_else(TraceContext::fresh, TraceContext::child);
    let (trace, id, parent) =
        (context.trace(), context.span(), caller.map(|caller| tracing::field::display(caller.span())));
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::info_span!(parent: None, "request", %trace, span = %id, parent, %method, path);
    let mut response = context.scope(span, next.run(request)).await;
    if let Ok(value) = HeaderValue::try_from(context.to_string()) {
        response.headers_mut().insert(TRACEPARENT, value);
    }
    response
}

async fn no_such_path() -> ApiError {
    ApiError::not_found("there is nothing at this path", "the API lies under /api/v1; see the manual")
}
