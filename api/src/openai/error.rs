//! What a client of the OpenAI protocol is told when it can't be served: that protocol's status, body and codes.

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fleet_inference::EngineError;
use serde_json::{Value, json};

use crate::error::ApiError;

/// Below it everything speaks the OpenAI protocol.
const ROOT: &str = "/v1/";
/// When a client that was told to wait should come again.
const AGAIN: Duration = Duration::from_secs(1);

/// A request that wasn't served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenAiError {
    pub(super) status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    /// The field of the request that is wrong.
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
}

impl OpenAiError {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, kind, code, param: None, message: message.into(), retry_after: None }
    }

    /// This field can't be what it is.
    pub(super) fn param(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::invalid(Some(code), message) }
    }

    fn invalid(code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message)
    }

    /// A field that this server doesn't know.
    pub(super) fn unknown(param: &str) -> Self {
        let message = format!("Unrecognized request argument supplied: {}", crate::plain::line(param));
        Self::param(param, "unknown_parameter", message)
    }

    /// A field that OpenAI has, that would change the answer, and that this server doesn't do.
    pub(super) fn unsupported(param: impl Into<String>, what: &str) -> Self {
        let param = param.into();
        let message = format!("`{param}`: {what}");
        Self::param(param, "unsupported_parameter", message)
    }

    /// The body isn't JSON, or no object.
    pub(super) fn unreadable(why: impl std::fmt::Display) -> Self {
        Self::invalid(None, format!("The body of the request can't be read: {why}"))
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("The body is larger than the {limit} bytes that this node takes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", Some("request_too_large"), message)
    }

    pub(super) fn no_model(model: &str, known: &[String]) -> Self {
        let name = crate::plain::line(model);
        let message = format!("The model `{name}` does not exist here. There is: {}", known.join(", "));
        Self { status: StatusCode::NOT_FOUND, ..Self::param("model", "model_not_found", message) }
    }

    /// Everything is in use.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "requests", Some("rate_limit_exceeded"), message);
        Self { retry_after: Some(AGAIN), ..error }
    }

    /// The engine can't answer now.
    pub(super) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some(code), message);
        Self { retry_after: Some(AGAIN), ..error }
    }

    /// A refusal or failure of the engine. Its own constraint error names the field that the constraint came from.
    pub(super) fn of_engine(error: &EngineError, constrained_by: Option<&'static str>) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Busy { .. } => Self::busy(message),
            EngineError::PromptTooLong { prompt_tokens, context, max_tokens, .. } => {
                let message = format!(
                    "This model's maximum context length is {context} tokens. However, you requested {} tokens ({prompt_tokens} in the messages, {max_tokens} in the completion).",
                    u64::from(*prompt_tokens) + u64::from(*max_tokens)
                );
                Self::param("messages", "context_length_exceeded", message)
            }
            EngineError::Constraint(_) => {
                Self { param: constrained_by.map(str::to_owned), ..Self::invalid(Some("invalid_schema"), message) }
            }
            EngineError::BadRequest(_) => Self::invalid(Some("invalid_value"), message),
            EngineError::Unsupported(_) => Self::invalid(Some("unsupported_value"), message),
            EngineError::Model(_) | EngineError::Config(_) => Self::unavailable("engine_failed", message),
            EngineError::Draining => Self::unavailable("engine_draining", message),
            EngineError::Gone | EngineError::Cancelled => Self::unavailable("engine_gone", message),
            EngineError::Deadline { .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", Some("timeout"), message)
            }
            EngineError::Failed(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", Some("engine_failed"), message)
            }
        }
    }

    /// What the listener itself refused, in this protocol's words.
    fn of_api(error: &ApiError) -> Self {
        let status = error.status();
        let (kind, code) = match status {
            StatusCode::UNAUTHORIZED => ("invalid_request_error", "invalid_api_key"),
            StatusCode::FORBIDDEN => ("invalid_request_error", "insufficient_permissions"),
            StatusCode::NOT_FOUND => ("invalid_request_error", "unknown_url"),
            status if status.is_client_error() => ("invalid_request_error", "invalid_request"),
            _ => ("server_error", "server_error"),
        };
        let again = status == StatusCode::SERVICE_UNAVAILABLE;
        let error = Self::new(status, kind, Some(code), format!("{error}; {}", error.remedy()));
        Self { retry_after: again.then_some(AGAIN), ..error }
    }

    pub(super) fn body(&self) -> Value {
        json!({ "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code } })
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        response
    }
}

/// Says in this protocol what the listener refused before a handler of this protocol saw it.
pub(crate) async fn in_its_words(request: Request, next: Next) -> Response {
    let ours = request.uri().path().starts_with(ROOT);
    let response = next.run(request).await;
    match response.extensions().get::<ApiError>() {
        Some(error) if ours => {
            let mut said = OpenAiError::of_api(error).into_response();
            if let Some(value) = response.headers().get(header::WWW_AUTHENTICATE) {
                said.headers_mut().insert(header::WWW_AUTHENTICATE, value.clone());
            }
            said
        }
        _ => response,
    }
}
