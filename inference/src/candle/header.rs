//! The header of a GGUF file, walked from end to end before anybody takes anything from it.
//!
//! Candle's reader bounds each text and array by the file's size, but makes 32 bytes of each element however small it is,
//! follows arrays in arrays, divides by what the file says is its alignment, and takes the last of two entries with one
//! name. So what it is going to read is counted here first, and what no model needs is refused with its place.

use std::collections::HashSet;
use std::io::{BufRead, Seek};

/// The largest models have some thousand tensors and some hundred metadata keys.
const MOST_TENSORS: u64 = 100_000;
const MOST_KEYS: u64 = 10_000;
/// Elements of all arrays together: vocabularies of 300,000 tokens with types, scores and merges have a million.
const MOST_ELEMENTS: u64 = 1 << 22;
/// Bytes of a name, and of a text: chat templates have some ten thousand.
const LONGEST_NAME: u64 = 1 << 10;
const LONGEST_TEXT: u64 = 1 << 20;
const MOST_DIMENSIONS: u32 = 4;
const MOST_ALIGNMENT: u32 = 1 << 20;
/// Version 1 had other integer widths and is long gone.
const VERSIONS: [u32; 2] = [2, 3];

const UINT32: u32 = 4;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Walks the header of a file of so many bytes, from its first byte.
pub(super) fn check(reader: &mut (impl BufRead + Seek), size: u64) -> Result<(), String> {
    let mut walk = Walk { reader, at: 0, size, elements: 0 };
    if size < 24 {
        return Err(format!("it has only {size} bytes, that is no model"));
    }
    if walk.bytes::<4>()? != *b"GGUF" {
        return Err("it is not a GGUF file".into());
    }
    let version = walk.word()?;
    if !VERSIONS.contains(&version) {
        return Err(format!("its GGUF version {version} is not supported (2 and 3 are)"));
    }
    let (tensors, keys) = (walk.long()?, walk.long()?);
    if tensors == 0 || tensors > MOST_TENSORS || keys > MOST_KEYS {
        return Err(format!("it claims {tensors} tensors and {keys} metadata keys"));
    }
    let mut names = HashSet::new();
    for _ in 0..keys {
        let key = walk.name(&mut names)?;
        walk.value(&key)?;
    }
    names.clear();
    for _ in 0..tensors {
        let name = walk.name(&mut names)?;
        walk.tensor(&name)?;
    }
    Ok(())
}

struct Walk<'r, R> {
    reader: &'r mut R,
    at: u64,
    size: u64,
    elements: u64,
}

impl<R: BufRead + Seek> Walk<'_, R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.room(N as u64)?;
        self.reader.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn word(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn long(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn room(&self, bytes: u64) -> Result<(), String> {
        let (at, size) = (self.at, self.size);
        if bytes > size - at {
            return Err(format!("it is cut short: {bytes} bytes are needed at byte {at}, the file ends at {size}"));
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        self.room(bytes)?;
        // Less than the file's size, which is a signed number.
        self.reader.seek_relative(bytes as i64).map_err(|e| e.to_string())?;
        self.at += bytes;
        Ok(())
    }

    fn text(&mut self, longest: u64) -> Result<Vec<u8>, String> {
        let (at, len) = (self.at, self.long()?);
        self.room(len)?;
        if len > longest {
            return Err(format!("the text at byte {at} has {len} bytes, at most {longest} are allowed"));
        }
        let mut text = vec![0; len as usize];
        self.reader.read_exact(&mut text).map_err(|e| e.to_string())?;
        self.at += len;
        Ok(text)
    }

    /// A name that was not there before.
    fn name(&mut self, names: &mut HashSet<String>) -> Result<String, String> {
        let at = self.at;
        let name = String::from_utf8(self.text(LONGEST_NAME)?);
        let name = name.map_err(|_| format!("the name at byte {at} is not UTF-8"))?;
        if !names.insert(name.clone()) {
            return Err(format!("the name {name:?} at byte {at} stands there twice"));
        }
        Ok(name)
    }

    fn value(&mut self, key: &str) -> Result<(), String> {
        let (at, kind) = (self.at, self.word()?);
        if key == "general.alignment" {
            let alignment = if kind == UINT32 { self.word()? } else { 0 };
            if !alignment.is_power_of_two() || alignment > MOST_ALIGNMENT {
                return Err(format!("{key} at byte {at} is no power of two"));
            }
            return Ok(());
        }
        if kind != ARRAY {
            return self.single(key, kind, at);
        }
        let (kind, len) = (self.word()?, self.long()?);
        self.elements = self.elements.saturating_add(len);
        if self.elements > MOST_ELEMENTS {
            return Err(format!("{key} at byte {at} has {len} elements, {MOST_ELEMENTS} in all are allowed"));
        }
        match width(kind) {
            Some(width) => self.skip(width * len),
            None => (0..len).try_for_each(|_| self.single(key, kind, at)),
        }
    }

    /// A value that is no array.
    fn single(&mut self, key: &str, kind: u32, at: u64) -> Result<(), String> {
        match width(kind) {
            Some(width) => self.skip(width),
            None if kind == TEXT => {
                let at = self.at;
                let text = self.text(LONGEST_TEXT)?;
                // What is shown to people may be damaged; a token may not.
                if key.starts_with("tokenizer.") && std::str::from_utf8(&text).is_err() {
                    return Err(format!("the text at byte {at} in {key} is not UTF-8"));
                }
                Ok(())
            }
            None => Err(format!("{key} at byte {at} is of the type {kind}, which is none or has no place there")),
        }
    }

    fn tensor(&mut self, name: &str) -> Result<(), String> {
        let (at, dimensions) = (self.at, self.word()?);
        if dimensions == 0 || dimensions > MOST_DIMENSIONS {
            return Err(format!("tensor {name} at byte {at} has {dimensions} dimensions"));
        }
        // Dimensions, type and offset; whether they make sense is looked at when all are known.
        self.skip(u64::from(dimensions) * 8 + 4 + 8)
    }
}

/// Bytes of a value whose type has a width.
fn width(kind: u32) -> Option<u64> {
    Some(match kind {
        // Two integers and the truth values.
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        UINT32 | 5 | 6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}
