//! The header of a safetensors file: eight bytes of length, then JSON that names each tensor's type, shape and place.
//!
//! It is read with bounds and believed only where it agrees with the file: every byte behind it belongs to one tensor and to
//! no other, as the format has it.

use std::fmt;
use std::fs::{self, File};
use std::marker::PhantomData;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

/// The largest models have some ten thousand tensors of a hundred bytes of header each.
const LONGEST: u64 = 32 << 20;
const MOST_TENSORS: usize = 100_000;
const MOST_DIMENSIONS: usize = 8;

/// One file.
pub(super) struct Shard {
    pub(super) file: File,
    /// The JSON.
    pub(super) header: Vec<u8>,
    pub(super) tensors: Vec<Placed>,
}

/// A tensor and where its bytes are in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) at: Range<u64>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Opens a file and checks its header; the error is the reason without the path.
pub(super) fn open(path: &Path) -> Result<Shard, String> {
    let file = regular(path)?;
    let bytes = file.metadata().map_err(|e| e.to_string())?.len();
    let mut length = [0; 8];
    if bytes < 8 {
        return Err(format!("it has only {bytes} bytes, that is no model"));
    }
    file.read_exact_at(&mut length, 0).map_err(|e| e.to_string())?;
    let length = u64::from_le_bytes(length);
    if length > bytes - 8 {
        return Err(format!("it is cut short: its header is to have {length} bytes, the file has {bytes}"));
    }
    if length > LONGEST {
        return Err(format!("its header has {length} bytes, at most {LONGEST} are allowed"));
    }
    let mut header = vec![0; length as usize];
    file.read_exact_at(&mut header, 8).map_err(|e| e.to_string())?;
    let tensors = tensors(&header, 8 + length, bytes)?;
    Ok(Shard { file, header, tensors })
}

/// A file that is one: opening a pipe would wait for whoever writes into it.
pub(super) fn regular(path: &Path) -> Result<File, String> {
    match fs::metadata(path) {
        Ok(about) if about.is_file() => File::open(path).map_err(|e| e.to_string()),
        Ok(_) => Err("it is not a file".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn tensors(header: &[u8], data: u64, end: u64) -> Result<Vec<Placed>, String> {
    let Pairs(entries) = serde_json::from_slice::<Pairs<Entry>>(header)
        .map_err(|e| format!("its header is not that of a safetensors file ({e})"))?;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let [from, to] = entry.data_offsets;
        if from > to || to > end - data {
            let has = end - data;
            return Err(format!(
                "tensor {name} is to be at the bytes {from} to {to}, but there are {has}: it is cut short"
            ));
        }
        if entry.shape.len() > MOST_DIMENSIONS {
            return Err(format!("tensor {name} has {} dimensions", entry.shape.len()));
        }
        tensors.push(Placed { name, dtype: entry.dtype, shape: entry.shape, at: data + from..data + to });
    }
    tensors.sort_by_key(|tensor| (tensor.at.start, tensor.at.end));
    let mut at = data;
    for tensor in &tensors {
        let (name, start) = (&tensor.name, tensor.at.start);
        if start < at {
            return Err(format!("tensor {name} begins at byte {start}, within another one that ends at {at}"));
        }
        if start > at {
            return Err(format!("it says nothing of the bytes {at} to {start}, before tensor {name}"));
        }
        at = tensor.at.end;
    }
    match at == end {
        true => Ok(tensors),
        false => Err(format!("it says nothing of the bytes {at} to {end}")),
    }
}

/// A JSON object whose names are all different, in its order.
pub(super) struct Pairs<T>(pub(super) Vec<(String, T)>);

/// What may stand in such an object.
pub(super) trait Entries: Sized {
    /// `None`: nothing of ours.
    fn next<'de, M: MapAccess<'de>>(map: &mut M, name: &str) -> Result<Option<Self>, M::Error>;
}

impl Entries for Entry {
    fn next<'de, M: MapAccess<'de>>(map: &mut M, name: &str) -> Result<Option<Self>, M::Error> {
        if name == "__metadata__" {
            return map.next_value::<IgnoredAny>().map(|_| None);
        }
        map.next_value().map(Some)
    }
}

impl Entries for String {
    fn next<'de, M: MapAccess<'de>>(map: &mut M, _: &str) -> Result<Option<Self>, M::Error> {
        map.next_value().map(Some)
    }
}

impl<'de, T: Entries> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Walk(PhantomData))
    }
}

struct Walk<T>(PhantomData<T>);

impl<'de, T: Entries> Visitor<'de> for Walk<T> {
    type Value = Pairs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by their names")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<T>, M::Error> {
        let (mut pairs, mut names) = (Vec::new(), std::collections::HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if names.len() == MOST_TENSORS {
                return Err(M::Error::custom(format_args!("more than {MOST_TENSORS} tensors")));
            }
            if !names.insert(name.clone()) {
                return Err(M::Error::custom(format_args!("the name {name:?} stands there twice")));
            }
            if let Some(value) = T::next(&mut map, &name)? {
                pairs.push((name, value));
            }
        }
        Ok(Pairs(pairs))
    }
}
