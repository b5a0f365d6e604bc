//! What a caller is told when a request can't be served: a status, a stable code, what happened, what to do next.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// The body of every answer that isn't a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable: `FLT-…`.
    pub code: String,
    /// What happened and where.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// A request that wasn't served.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    remedy: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), remedy: remedy.into() }
    }

    /// The request itself is wrong.
    pub fn bad_request(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "FLT-A400", message, remedy)
    }

    /// No token, or not this node's.
    pub fn unauthorised() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "FLT-A401",
            "this node wants its token, as `Authorization: Bearer TOKEN`",
            "use the token file of the node's state directory, or one with an issued token (fleet --token-file FILE)",
        )
    }

    /// The token was this cluster's once.
    pub fn over(what: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "FLT-A401",
            format!("this token {what}"),
            "ask a product owner for a new one (fleet access create NAME --level LEVEL)",
        )
    }

    /// The caller is known but may not do this.
    pub fn forbidden(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FLT-A403", message, remedy)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "FLT-A404", message, remedy)
    }

    /// Its state doesn't allow this.
    pub fn conflict(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "FLT-A409", message, remedy)
    }

    /// More bytes than this node takes.
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "FLT-A413",
            format!("the body is larger than the {limit} bytes that this node takes"),
            "make it smaller, or raise [api] in the node's configuration",
        )
    }

    /// Full for the moment; safe to try again.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "FLT-A503", message, "try again in a moment")
    }

    /// The node didn't manage in time; what was asked may or may not have happened.
    pub fn deadline() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "FLT-A504",
            "the node didn't answer in time",
            "look at the state of the job before trying again",
        )
    }

    /// A fault of the node. The details go to its log, not to the caller.
    pub fn internal(why: impl std::fmt::Display) -> Self {
        tracing::error!(%why, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "FLT-A500", format!("the node failed: {why}"), "see fleetd's log")
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> &str {
        &self.remedy
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { code: self.code.to_owned(), message: self.message.clone(), remedy: self.remedy.clone() };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let value = axum::http::HeaderValue::from_static("Bearer realm=\"fleet\"");
            response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, value);
        }
        // For whoever has to say the same in another protocol's words.
        response.extensions_mut().insert(self);
        response
    }
}
