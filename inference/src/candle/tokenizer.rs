//! Text to tokens and back, as the model was trained with.
//!
//! Two things are wrong for us in what candle builds from a GGUF file. For several pre-tokenizers it falls back to a
//! default that adds a space in front and doesn't split digits, which silently corrupts the prompt; those it gets wrong
//! are set right here, and a pre-tokenizer that nobody checked is refused. And it marks control tokens so that user
//! text which looks like one becomes one; here text never does, and control tokens come from the chat template only.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{PostProcessorWrapper, Tokenizer};

use super::gguf::{GgufFile, brief};
use super::hub;
use crate::EngineError;
use crate::checkpoint::Checkpoint;

/// Encoded and decoded at load: what does not come back the same is not a tokenizer for code.
const ROUND_TRIP: &str = "user\n  def f(x):\n\treturn x[10] + 2024  # naïve, 日本\r\n<|im_end|>\n";

/// More names of control tokens than any model has.
const MOST_CONTROL: usize = 1 << 16;

/// `tokenizer.ggml.token_type`, as llama.cpp numbers it.
const NORMAL: i64 = 1;
const USER_DEFINED: i64 = 4;

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// A control token's name; it never becomes text.
    Control(String),
}

/// One part of a prompt: text, in which nothing is a control token, or the name of a control token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PromptPart {
    Text(String),
    Control(String),
}

/// What a model's files say about its tokens.
pub(super) struct Words {
    /// Makes tokens of text. It knows no control tokens, or takes their names for text.
    pub(super) text: Tokenizer,
    pub(super) pieces: Vec<Piece>,
    /// The ids of control tokens by their names.
    pub(super) control: HashMap<String, u32>,
    /// Tokens that end a reply.
    pub(super) ends: Vec<u32>,
    /// What each prompt begins with.
    pub(super) begin: Option<u32>,
}

/// The tokenizer of one model.
pub(super) struct ModelTokenizer {
    text: Tokenizer,
    pieces: Vec<Piece>,
    control: HashMap<String, u32>,
    ends: Vec<u32>,
    /// Control tokens that don't end a turn: they have no place in a reply.
    forbidden: Vec<u32>,
    begin: Option<u32>,
}

impl ModelTokenizer {
    pub(super) fn load(file: &Checkpoint) -> Result<Self, EngineError> {
        let words = match file {
            Checkpoint::Gguf(gguf) => words(file, gguf)?,
            Checkpoint::Folder(folder) => hub::words(folder).map_err(|why| file.refuse(why))?,
        };
        let Words { text, pieces, control, ends, begin } = words;
        let ends = with_customary(ends, &control);
        if let Some(id) = ends.iter().chain(&begin).find(|id| **id as usize >= pieces.len()) {
            return Err(
                file.refuse(format_args!("the token {id} is to begin or end texts, but there are {}", pieces.len()))
            );
        }
        let forbidden = control.values().copied().filter(|id| !ends.contains(id)).collect();
        let tokenizer = Self { text, pieces, control, ends, forbidden, begin };
        tokenizer.check(file)?;
        Ok(tokenizer)
    }

    fn check(&self, file: &Checkpoint) -> Result<(), EngineError> {
        let mut back = Vec::new();
        for id in self.encode(ROUND_TRIP)? {
            back.extend_from_slice(self.bytes(id));
        }
        if back == ROUND_TRIP.as_bytes() {
            return Ok(());
        }
        let back = String::from_utf8_lossy(&back).into_owned();
        Err(file.refuse(format_args!("its tokenizer does not give back what it was given: {back:?}")))
    }

    /// Tokens of plain text. Nothing in it becomes a control token.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let encoded = self.text.encode_fast(text, false);
        let ids = encoded.map_err(|e| EngineError::BadRequest(format!("not tokenizable: {e}")))?;
        let ids = ids.get_ids().to_vec();
        // The second lock on the door: whatever a tokenizer does, text has no control tokens.
        match ids.iter().find(|id| self.is_control(**id)) {
            None => Ok(ids),
            Some(id) => Err(EngineError::BadRequest(format!("text became the control token {id}"))),
        }
    }

    /// Tokens of a prompt. Neighbouring texts are tokenized together, as they would be in one string.
    pub(super) fn encode_prompt(&self, parts: &[PromptPart]) -> Result<Vec<u32>, EngineError> {
        let mut ids: Vec<u32> = Vec::new();
        let mut text = String::new();
        for part in parts {
            match part {
                PromptPart::Text(more) => text.push_str(more),
                PromptPart::Control(name) => {
                    ids.extend(self.encode(&std::mem::take(&mut text))?);
                    let id = self.control.get(name);
                    ids.push(*id.ok_or_else(|| EngineError::Failed(format!("no token {name}")))?);
                }
            }
        }
        ids.extend(self.encode(&text)?);
        if let Some(begin) = self.begin.filter(|b| ids.first() != Some(b)) {
            ids.insert(0, begin);
        }
        Ok(ids)
    }

    /// The bytes that a token adds to the text; none for control tokens and unknown ids.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        match self.pieces.get(id as usize) {
            Some(Piece::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    pub(super) fn is_control(&self, id: u32) -> bool {
        matches!(self.pieces.get(id as usize), Some(Piece::Control(_)))
    }

    /// Takes out of the question what is not for a reply.
    pub(super) fn forbid(&self, logits: &mut [f32]) {
        let known = self.pieces.len().min(logits.len());
        logits[known..].fill(f32::NEG_INFINITY);
        for id in &self.forbidden {
            if let Some(logit) = logits.get_mut(*id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// A token for people: its bytes, or the name of a control token.
    pub(super) fn name(&self, id: u32) -> Vec<u8> {
        match self.pieces.get(id as usize) {
            Some(Piece::Bytes(bytes)) => bytes.clone(),
            Some(Piece::Control(name)) => name.clone().into_bytes(),
            None => Vec::new(),
        }
    }

    /// The model's turn ends with any of these.
    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(super) fn control_names(&self) -> impl Iterator<Item = &str> {
        self.control.keys().map(String::as_str)
    }

    pub(super) fn vocabulary(&self) -> usize {
        self.pieces.len()
    }

    /// Every token's bytes in the form that the constraint engine wants: control tokens marked by 0xFF, which text never has.
    pub(super) fn trie_words(&self) -> Vec<Vec<u8>> {
        let words = self.pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Control(name) => [&[0xFF], name.as_bytes()].concat(),
        });
        words.collect()
    }
}

/// The ids of control tokens by their names.
pub(super) fn control(pieces: &[Piece]) -> Result<HashMap<String, u32>, String> {
    let control = pieces.iter().zip(0..).filter_map(|(piece, id)| match piece {
        Piece::Control(name) => Some((name.clone(), id)),
        Piece::Bytes(_) => None,
    });
    let control: HashMap<String, u32> = control.collect();
    // The template's text is searched for each of them.
    match control.len() > MOST_CONTROL || control.contains_key("") {
        true => Err(format!("{} control tokens, or one without a name", control.len())),
        false => Ok(control),
    }
}

/// What a GGUF file says.
fn words(file: &Checkpoint, gguf: &GgufFile) -> Result<Words, EngineError> {
    let adds_begin = matches!(file.value("tokenizer.ggml.add_bos_token"), Some(Value::Bool(true)));
    let pieces = pieces(file)?;
    let control = control(&pieces).map_err(|why| file.refuse(why))?;
    Ok(Words {
        pieces,
        control,
        text: text_tokenizer(file, gguf)?,
        begin: file.number("tokenizer.ggml.bos_token_id").filter(|_| adds_begin),
        ends: vec![file.required("tokenizer.ggml.eos_token_id")?],
    })
}

fn text_tokenizer(file: &Checkpoint, gguf: &GgufFile) -> Result<Tokenizer, EngineError> {
    let pre = file.text("tokenizer.ggml.pre").unwrap_or("default").to_owned();
    let built = Tokenizer::from_gguf(gguf.content());
    let mut tokenizer = built.map_err(|e| file.refuse(format_args!("tokenizer: {}", brief(&e))))?;
    let bytes = ByteLevel::new(false, true, true);
    let corrected: Option<PreTokenizerWrapper> = match pre.as_str() {
        // Checked token for token against llama.cpp.
        "qwen2" => None,
        "smollm" => Some(Sequence::new(vec![Digits::new(true).into(), bytes.into()]).into()),
        _ => return Err(file.refuse(format_args!("its pre-tokenizer {pre:?} is not supported"))),
    };
    if let Some(corrected) = corrected {
        tokenizer.with_pre_tokenizer(Some(corrected));
    }
    // Begin and end tokens are ours to add.
    tokenizer.with_post_processor(None::<PostProcessorWrapper>);
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

fn pieces(file: &Checkpoint) -> Result<Vec<Piece>, EngineError> {
    let array = |key: &str| {
        let values = file.value(key).and_then(|v| v.to_vec().ok());
        values.ok_or_else(|| file.refuse(format_args!("the metadata key {key} is missing")))
    };
    let tokens = array("tokenizer.ggml.tokens")?;
    let types = array("tokenizer.ggml.token_type")?;
    if tokens.len() != types.len() {
        return Err(file.refuse("it has not one type for each token"));
    }
    let unmap = byte_of_char();
    let one = |(token, kind): (&Value, &Value)| {
        let token = token.to_string().map_err(|e| file.refuse(brief(&e)))?;
        let kind = kind.to_i32().map(i64::from).or_else(|_| kind.to_u32().map(i64::from)).unwrap_or(0);
        let bytes = || token.chars().map(|c| unmap.get(&c).copied()).collect::<Option<Vec<u8>>>();
        Ok(match kind {
            NORMAL => bytes().map_or_else(|| Piece::Bytes(token.clone().into_bytes()), Piece::Bytes),
            USER_DEFINED => Piece::Bytes(token.clone().into_bytes()),
            _ => Piece::Control(token.clone()),
        })
    };
    tokens.iter().zip(types).map(one).collect()
}

/// The model's own end tokens and the customary names of such tokens: some files name only one of them.
fn with_customary(own: Vec<u32>, control: &HashMap<String, u32>) -> Vec<u32> {
    const NAMES: [&str; 5] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>"];
    let mut ends = Vec::new();
    for id in own.into_iter().chain(NAMES.iter().filter_map(|name| control.get(*name).copied())) {
        if !ends.contains(&id) {
            ends.push(id);
        }
    }
    ends
}

/// Byte-level BPE writes each byte as a printable character: printable Latin-1 as itself, the others from U+0100 on.
pub(super) fn byte_of_char() -> HashMap<char, u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let shifted = (0..=255_u8).filter(|b| !printable(*b)).zip(0x100_u32..);
    let shifted = shifted.filter_map(|(b, c)| Some((char::from_u32(c)?, b)));
    (0..=255_u8).filter(|b| printable(*b)).map(|b| (char::from(b), b)).chain(shifted).collect()
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
