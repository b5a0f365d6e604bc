//! Where a request comes from. A page in the user's browser can send requests to loopback too; it can't forge
//! `Host` and `Origin`, so a name that isn't the node's own (DNS rebinding) or a foreign origin is refused.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::ApiError;

/// The names that the node answers to, without ports.
#[derive(Debug, Clone)]
pub struct HostNames(Arc<Vec<String>>);

impl Default for HostNames {
    /// The names of loopback.
    fn default() -> Self {
        Self::new(["127.0.0.1", "localhost", "[::1]"].map(str::to_owned))
    }
}

impl HostNames {
    /// These names and no others.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(Arc::new(names.into_iter().collect()))
    }

    fn knows(&self, authority: &str) -> bool {
        let name = without_port(authority);
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = one(headers, header::HOST)
            .ok_or_else(|| ApiError::bad_request("the request has no Host", "name the node's address"))?;
        if !self.knows(host) {
            return Err(refused("host", host));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let origin = origin.to_str().unwrap_or("?");
        match origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) {
            Some(authority) if self.knows(authority) => Ok(()),
            _ => Err(refused("origin", origin)),
        }
    }
}

fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    // Two of them is how a check and a handler come to look at different ones.
    values.next().is_none().then(|| first.to_str().ok())?
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => authority,
    }
}

fn refused(what: &str, value: &str) -> ApiError {
    let value: String = value.chars().take(100).collect();
    ApiError::forbidden(
        format!("{what} {:?} isn't this node's", crate::plain::line(&value)),
        "call the node by the address that it listens on",
    )
}

/// Refuses requests that name another host or come from another origin.
pub(crate) async fn check_origin(
    State(names): State<HostNames>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    names.check(request.headers())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn allowed(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        HostNames::default().check(&headers).is_ok()
    }

    #[test]
    fn the_names_of_loopback_are_known_with_any_port() {
        assert!(allowed("127.0.0.1:7400", None));
        assert!(allowed("LOCALHOST", Some("http://localhost:9")));
        assert!(allowed("[::1]:7400", None));
    }

    #[test]
    fn a_rebound_name_or_a_foreign_origin_is_refused() {
        assert!(!allowed("evil.example:7400", None));
        assert!(!allowed("127.0.0.1.evil.example", None));
        assert!(!allowed("127.0.0.1:7400", Some("https://evil.example")));
        assert!(!allowed("127.0.0.1:7400", Some("null")));
    }
}
