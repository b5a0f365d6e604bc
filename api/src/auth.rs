//! Who calls: a bearer token, compared in constant time, stands for a principal.
//!
//! A token is taken from the `Authorization` header and from nowhere else: what stands in a URL ends in logs and histories.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use fleet_runtime::auth::{AccessLevel, Principal};
use subtle::ConstantTimeEq;

use crate::error::ApiError;

/// The tokens that a node knows, and whom each stands for.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Vec<(String, Principal)>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the tokens themselves: this may end in a log.
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// One token for one principal.
    pub fn single(token: String, principal: Principal) -> Self {
        Self(Arc::new(vec![(token, principal)]))
    }

    /// Several tokens.
    pub fn new(tokens: Vec<(String, Principal)>) -> Self {
        Self(Arc::new(tokens))
    }

    /// Whom this token stands for. Looks at every token, so that time tells nothing about which one was near.
    fn principal(&self, shown: &str) -> Option<Principal> {
        let mut found = None;
        for (token, principal) in self.0.iter() {
            if bool::from(token.as_bytes().ct_eq(shown.as_bytes())) {
                found = Some(principal.clone());
            }
        }
        found
    }
}

/// Lets a request through only with a known token, and says who it is to those who come after.
pub(crate) async fn require_token(
    State(tokens): State<Tokens>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let principal =
        bearer(request.headers()).and_then(|shown| tokens.principal(shown)).ok_or_else(ApiError::unauthorised)?;
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Refuses a principal who is below the level that an action needs.
pub(crate) fn require_level(who: &Principal, least: AccessLevel) -> Result<(), ApiError> {
    if who.level >= least {
        return Ok(());
    }
    Err(ApiError::forbidden(
        format!("{} may look but not do this", who.name),
        "ask someone with the needed access level",
    ))
}
