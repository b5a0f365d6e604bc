//! Uploads: a base pack goes straight to the blob store, piece by piece, never whole in memory.

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use crate::error::ApiError;
use crate::state::{Shared, UPLOAD_PAUSE};
use crate::wire::BlobStored;

/// `POST /api/v1/blobs`
pub(crate) async fn put(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let limit = shared.node.blobs.max_bytes().as_u64();
    if announced(&headers).is_some_and(|bytes| bytes > limit) {
        return Err(ApiError::too_large(limit));
    }
    let mut fault = None;
    let pieces = bounded(body.into_data_stream(), limit, &mut fault);
    let stored = shared.node.blobs.put_stream(Box::pin(pieces)).await;
    if let Some(fault) = fault {
        return Err(fault.told(limit));
    }
    let (digest, bytes) = stored.map_err(ApiError::internal)?;
    let stored = BlobStored { digest: digest.to_string(), bytes };
    Ok((StatusCode::CREATED, Json(stored)))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Why an upload was cut off.
enum Fault {
    TooLarge,
    Paused,
    Broken(String),
}

impl Fault {
    fn told(self, limit: u64) -> ApiError {
        match self {
            Self::TooLarge => ApiError::too_large(limit),
            Self::Paused => ApiError::bad_request("the upload paused too long", "try again"),
            Self::Broken(why) => ApiError::bad_request(format!("the upload broke off: {why}"), "try again"),
        }
    }
}

/// The body's pieces while they stay within the limit and keep coming; else an error, and the reason in `fault`.
fn bounded(body: BodyDataStream, limit: u64, fault: &mut Option<Fault>) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((body, 0u64, fault), move |(mut body, seen, fault)| async move {
        let (why, said) = match tokio::time::timeout(UPLOAD_PAUSE, body.next()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(piece))) => {
                let seen = seen + piece.len() as u64;
                if seen <= limit {
                    return Ok(Some((piece, (body, seen, fault))));
                }
                (Fault::TooLarge, "too large".to_owned())
            }
            Ok(Some(Err(e))) => (Fault::Broken(e.to_string()), e.to_string()),
            Err(_) => (Fault::Paused, "paused".to_owned()),
        };
        *fault = Some(why);
        Err(std::io::Error::other(said))
    })
}
