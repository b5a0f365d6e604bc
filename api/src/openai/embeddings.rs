//! Vectors for texts.

use axum::Json;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::DEADLINE;
use super::engines::find;
use super::error::OpenAiError;
use super::fields::Fields;
use crate::state::Shared;

/// Texts in one request; as many as OpenAI takes.
const MOST: usize = 2048;

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
    Other(serde::de::IgnoredAny),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

struct Ask {
    model: String,
    texts: Vec<String>,
    encoding: Encoding,
    dimensions: Option<usize>,
}

impl Ask {
    fn new(mut fields: Fields) -> Result<Self, OpenAiError> {
        fields.ignore(&["user"]);
        let ask = Self {
            model: fields.need("model")?,
            texts: texts(fields.need("input")?)?,
            encoding: fields.take("encoding_format")?.unwrap_or_default(),
            dimensions: fields.take("dimensions")?,
        };
        fields.end()?;
        Ok(ask)
    }
}

fn texts(input: Input) -> Result<Vec<String>, OpenAiError> {
    let texts = match input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
        Input::Other(_) => return Err(OpenAiError::unsupported("input", "only texts are supported")),
    };
    if texts.is_empty() || texts.len() > MOST || texts.iter().any(String::is_empty) {
        let message = format!("Invalid `input`: between 1 and {MOST} texts, none of them empty.");
        return Err(OpenAiError::param("input", "invalid_value", message));
    }
    Ok(texts)
}

/// `POST /v1/embeddings`
pub(crate) async fn embed(State(shared): State<Shared>, request: Request) -> Result<Json<Value>, OpenAiError> {
    let ask = Ask::new(Fields::read(request).await?)?;
    let _place = super::chat::place(&shared)?;
    let engine = find(&shared.node.engines, &ask.model).await?;
    let made = engine.router.embed(ask.texts, DEADLINE).await.map_err(|e| OpenAiError::of_engine(&e, Some("input")))?;
    let length = made.vectors.first().map_or(0, Vec::len);
    if ask.dimensions.is_some_and(|wanted| wanted != length) {
        return Err(OpenAiError::unsupported("dimensions", &format!("this model's vectors have {length}")));
    }
    let data = made.vectors.iter().enumerate().map(
        |(index, vector)| json!({ "object": "embedding", "index": index, "embedding": encode(vector, ask.encoding) }),
    );
    Ok(Json(json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": made.model,
        "usage": { "prompt_tokens": made.tokens, "total_tokens": made.tokens },
    })))
}

/// As numbers, or as the bytes of little-endian 32-bit floats.
fn encode(vector: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            STANDARD.encode(bytes).into()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(body: Value) -> Result<Ask, Value> {
        Ask::new(Fields::parse(body.to_string().as_bytes()).unwrap()).map_err(|e| e.body()["error"]["param"].clone())
    }

    #[test]
    fn a_text_or_several_are_taken_and_tokens_are_not() {
        assert_eq!(read(json!({ "model": "m", "input": "a" })).ok().unwrap().texts, ["a"]);
        assert_eq!(read(json!({ "model": "m", "input": ["a", "b"] })).ok().unwrap().texts, ["a", "b"]);
        for input in [json!([1, 2]), json!([[1]]), json!([]), json!([""])] {
            assert_eq!(read(json!({ "model": "m", "input": input })).err().unwrap(), "input");
        }
    }

    #[test]
    fn base64_is_little_endian() {
        assert_eq!(encode(&[1.0, -2.5], Encoding::Base64), "AACAPwAAIMA=");
        assert_eq!(encode(&[1.0, -2.5], Encoding::Float), json!([1.0, -2.5]));
    }
}
