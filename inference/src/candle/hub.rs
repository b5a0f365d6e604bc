//! What the files of a hub's repository say about text: `tokenizer.json`, `tokenizer_config.json`, the ids that end a reply, and
//! the chat template.
//!
//! The tokenizer is built without its added tokens, so nothing in a text can become one, however the text spells it; the names
//! of control tokens are looked for only in what the chat template writes, as with GGUF files.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::Tokenizer;

use super::tokenizer::{Piece, Words, byte_of_char, control};
use crate::checkpoint::Folder;

/// More than any model has: an id beyond it would be room for nothing.
const MOST_TOKENS: usize = 1 << 22;

type Said = Map<String, Value>;

/// A token that stands beside the vocabulary of pairs.
#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

impl Added {
    /// Some files call control tokens ordinary. Their names are what gives them away.
    fn is_control(&self) -> bool {
        let framed = |open: &str, close: &str| self.content.starts_with(open) && self.content.ends_with(close);
        self.special || framed("<|", "|>") || framed("<｜", "｜>")
    }
}

/// Tokenizer and vocabulary of a folder.
pub(super) fn words(folder: &Folder) -> Result<Words, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("tokenizer.json: {e}");
    let mut said = object(folder, "tokenizer.json")?.ok_or("it has no tokenizer.json")?;
    check(&said).map_err(|e| wrong(&e))?;
    let added: Vec<Added> = match said.remove("added_tokens") {
        Some(added) => serde_json::from_value(added).map_err(|e| wrong(&e))?,
        None => Vec::new(),
    };
    // Chance has no place in a prompt, and what stands before and after it is the template's.
    said.retain(|key, _| matches!(key.as_str(), "version" | "normalizer" | "pre_tokenizer" | "decoder" | "model"));
    if let Some(model) = said.get_mut("model").and_then(Value::as_object_mut) {
        model.remove("dropout");
    }
    let text: Tokenizer = serde_json::from_value(Value::Object(said)).map_err(|e| wrong(&e))?;
    let vocabulary = text.get_vocab(false);
    let pieces = pieces(&vocabulary, &added).map_err(|e| wrong(&e))?;
    let id = |name: &str| {
        let added = added.iter().find(|token| token.content == name).map(|token| token.id);
        added.or_else(|| vocabulary.get(name).copied())
    };
    let config = object(folder, "tokenizer_config.json")?.unwrap_or_default();
    let adds_begin = config.get("add_bos_token").and_then(Value::as_bool).unwrap_or(false);
    let begin = token(&config, "bos_token").filter(|_| adds_begin).and_then(|name| id(&name));
    let mut ends = Vec::new();
    for file in ["config.json", "generation_config.json"] {
        if let Some(said) = object(folder, file)? {
            ends.extend(ids(said.get("eos_token_id")).ok_or_else(|| format!("{file}: eos_token_id is no token"))?);
        }
    }
    ends.extend(token(&config, "eos_token").and_then(|name| id(&name)));
    if ends.is_empty() {
        return Err("no file says which token ends a reply (eos_token_id, eos_token)".into());
    }
    let control = control(&pieces)?;
    Ok(Words { text, pieces, control, ends, begin })
}

/// The chat template, and what it calls the tokens that begin and end a text.
pub(super) fn template(folder: &Folder) -> Result<(String, String, String), String> {
    let config = object(folder, "tokenizer_config.json")?.unwrap_or_default();
    let named = |templates: &Vec<Value>| {
        let default = templates.iter().find(|template| template.get("name").is_some_and(|name| name == "default"));
        default.and_then(|template| Some(template.get("template")?.as_str()?.to_owned()))
    };
    let source = match (folder.beside("chat_template.jinja")?, config.get("chat_template")) {
        (Some(file), _) => Some(String::from_utf8(file).map_err(|_| "chat_template.jinja is not UTF-8")?),
        (None, Some(Value::String(source))) => Some(source.clone()),
        (None, Some(Value::Array(templates))) => named(templates),
        _ => None,
    };
    let source = source.ok_or("it has no chat template")?;
    let name = |key| token(&config, key).unwrap_or_default();
    Ok((source, name("bos_token"), name("eos_token")))
}

fn object(folder: &Folder, name: &str) -> Result<Option<Said>, String> {
    let text = folder.beside(name)?;
    text.map(|text| serde_json::from_slice(&text).map_err(|e| format!("{name}: {e}"))).transpose()
}

/// The name of a token, which stands there by itself or with its properties.
fn token(config: &Said, key: &str) -> Option<String> {
    let said = config.get(key)?;
    said.as_str().or_else(|| said.get("content")?.as_str()).map(str::to_owned)
}

/// One id, several, or none.
fn ids(said: Option<&Value>) -> Option<Vec<u32>> {
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
    match said {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(several)) => several.iter().map(id).collect(),
        Some(one) => id(one).map(|id| vec![id]),
    }
}

/// Byte-level BPE, made of parts that lose nothing of a text.
fn check(said: &Said) -> Result<(), String> {
    let kind = |value: &Value| value.get("type").and_then(Value::as_str).unwrap_or("?").to_owned();
    let model = said.get("model").ok_or("it has no model")?;
    let by_bytes = !model.get("byte_fallback").and_then(Value::as_bool).unwrap_or(false);
    let mut splits = Vec::new();
    flatten(said.get("pre_tokenizer"), "pretokenizers", &mut splits);
    if kind(model) != "BPE" || !by_bytes || !splits.iter().any(|part| kind(part) == "ByteLevel") {
        return Err(format!("a tokenizer of the type {} that isn't BPE of bytes is not supported", kind(model)));
    }
    let known = ["ByteLevel", "Split", "Digits"];
    if let Some(other) = splits.iter().map(|part| kind(part)).find(|kind| !known.contains(&kind.as_str())) {
        return Err(format!("its pre-tokenizer {other} is not supported"));
    }
    let mut normal = Vec::new();
    flatten(said.get("normalizer"), "normalizers", &mut normal);
    match normal.iter().map(|part| kind(part)).find(|kind| kind != "NFC") {
        None => Ok(()),
        Some(other) => Err(format!("its normalizer {other} is not supported")),
    }
}

/// The parts of a sequence, and of those within it.
fn flatten<'a>(said: Option<&'a Value>, within: &str, parts: &mut Vec<&'a Value>) {
    let Some(said) = said.filter(|said| !said.is_null()) else { return };
    match said.get(within).and_then(Value::as_array) {
        Some(several) => several.iter().for_each(|part| flatten(Some(part), within, parts)),
        None => parts.push(said),
    }
}

/// What each token stands for, by its id.
fn pieces(vocabulary: &HashMap<String, u32>, added: &[Added]) -> Result<Vec<Piece>, String> {
    let unmap = byte_of_char();
    let last = vocabulary.values().copied().chain(added.iter().map(|token| token.id)).max();
    let count = last.map_or(0, |id| id as usize + 1);
    if count == 0 || count > MOST_TOKENS {
        return Err(format!("it has tokens up to the id {}", last.unwrap_or(0)));
    }
    // Ids that no token has are not to be chosen, as control tokens aren't.
    let mut pieces: Vec<Option<Piece>> = vec![None; count];
    for (token, id) in vocabulary {
        let bytes = token.chars().map(|c| unmap.get(&c).copied()).collect::<Option<Vec<u8>>>();
        let piece = Piece::Bytes(bytes.unwrap_or_else(|| token.clone().into_bytes()));
        if pieces[*id as usize].replace(piece).is_some() {
            return Err(format!("two tokens have the id {id}"));
        }
    }
    for token in added {
        let own = vocabulary.get(&token.content) == Some(&token.id);
        let piece = match token.is_control() {
            true => Piece::Control(token.content.clone()),
            false => Piece::Bytes(token.content.clone().into_bytes()),
        };
        if pieces[token.id as usize].replace(piece).is_some() && !own {
            return Err(format!("two tokens have the id {}", token.id));
        }
    }
    let unused =
        |(piece, id): (Option<Piece>, usize)| piece.unwrap_or_else(|| Piece::Control(format!("<|unused {id}|>")));
    Ok(pieces.into_iter().zip(0..).map(unused).collect())
}
