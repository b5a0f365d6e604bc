//! Who calls, and what the caller may do: a bearer token stands for a principal, whose level every route names.
//!
//! A token is taken from the `Authorization` header and from nowhere else: what stands in a URL ends in logs and histories.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use fleet_runtime::auth::{AccessLevel, Principal};

use crate::access::Pass;
use crate::error::ApiError;
use crate::state::Shared;

/// Where the node's figures are.
const METRICS: &str = "/metrics";

/// Lets a request through only with a token that holds, and says who it is to those who come after.
pub(crate) async fn require_token(
    State(shared): State<Shared>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let pass = match bearer(request.headers()) {
        Some(shown) => shared.node.access.recognise(shown).await?,
        None if shared.node.options.metrics_without_token && request.uri().path() == METRICS => Pass::scraper(),
        None => return Err(ApiError::unauthorised()),
    };
    request.extensions_mut().insert(pass.who.clone());
    request.extensions_mut().insert(pass);
    Ok(next.run(request).await)
}

/// Refuses a principal who is below the level that a route needs.
pub(crate) async fn require_level(
    State(least): State<AccessLevel>,
    Extension(who): Extension<Principal>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if who.level < least {
        let (has, needs) = (who.level.as_str(), least.as_str());
        return Err(ApiError::forbidden(
            format!("{} has the access level {has}; this needs {needs}", who.name),
            format!("ask a product owner for a token of that level (fleet access create NAME --level {needs})"),
        ));
    }
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
