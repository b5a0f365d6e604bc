//! A safetensors checkpoint as the hub's repositories have it: a folder with `config.json`, the tokenizer's files and the
//! weights, whole in `model.safetensors` or in parts that `model.safetensors.index.json` lists.
//!
//! It is taken in with suspicion, as GGUF files are: before anything large is allocated, each tensor that such a model has must
//! be there with its shape and a type that is known, and none besides; and nothing outside of the folder is read because a
//! file says so. From then on tensors and metadata have the names that GGUF files have for them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use sha2::{Digest, Sha256};

use super::config::{Expected, Form};
use super::header::{self, Pairs, Placed, Shard};
use super::quantise::Quantise;
use super::rows::Rows;

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The largest models have some two hundred parts.
const MOST_SHARDS: usize = 1024;

/// Files that belong to the weights, and what each may have at most: tokenizers of 250,000 words have 35 MB.
const BESIDE: [(&str, u64); 5] = [
    ("config.json", 1 << 20),
    ("tokenizer.json", 64 << 20),
    ("tokenizer_config.json", 16 << 20),
    ("generation_config.json", 1 << 20),
    ("chat_template.jinja", 1 << 20),
];
const LONGEST_INDEX: u64 = 32 << 20;

/// A tensor of the model.
struct Tensor {
    rows: Rows,
    dims: Vec<usize>,
}

/// A checked folder.
pub(crate) struct Folder {
    path: PathBuf,
    pub(super) form: Form,
    /// By the names of GGUF files.
    tensors: HashMap<String, Tensor>,
    quantise: Quantise,
    /// What the weights are: of the configuration, and each part's size, time and header.
    hash: [u8; 32],
}

impl Folder {
    /// The folder, or its weights or their index. The error is the reason, with the file's name where it is not the folder.
    pub(super) fn open(path: &Path, quantise: Quantise) -> Result<Self, String> {
        let (dir, parts) = parts(path)?;
        let config = read(&dir, "config.json")?.ok_or("it has no config.json")?;
        let form = Form::read(&config).map_err(in_file("config.json"))?;
        let mut shards = Vec::new();
        let mut hash = Sha256::new_with_prefix(&config);
        for name in parts.files() {
            let shard = header::open(&dir.join(name)).map_err(in_file(name))?;
            super::hash_file(&mut hash, &shard.file).map_err(|e| in_file(name)(e.to_string()))?;
            hash.update(&shard.header);
            shards.push((name, shard));
        }
        hash.update(quantise.name());
        parts.check(&shards)?;
        let tensors = tensors(&form, shards, quantise)?;
        Ok(Self { path: dir, form, tensors, quantise, hash: hash.finalize().into() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn quantise(&self) -> Quantise {
        self.quantise
    }

    pub(super) fn hash(&self) -> &[u8] {
        &self.hash
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Format and dimensions, outermost first.
    pub(super) fn about(&self, name: &str) -> Option<(GgmlDType, &[usize])> {
        let tensor = self.tensors.get(name)?;
        Some((tensor.rows.held, &tensor.dims))
    }

    pub(super) fn rows(&self, name: &str) -> Option<&Rows> {
        Some(&self.tensors.get(name)?.rows)
    }

    /// What each tensor is in the files, and its weights.
    pub(super) fn stored(&self) -> impl Iterator<Item = (GgmlDType, usize)> {
        self.tensors.values().map(|tensor| (tensor.rows.stored, tensor.dims.iter().product()))
    }

    /// Bytes of all tensors as they are held.
    #[cfg(feature = "cuda")]
    pub(super) fn bytes(&self) -> u64 {
        let bytes = |tensor: &Tensor| tensor.dims.iter().product::<usize>() / tensor.rows.k * tensor.rows.bytes();
        self.tensors.values().map(|tensor| bytes(tensor) as u64).sum()
    }

    /// A file of [`BESIDE`], if it is there.
    pub(crate) fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        read(&self.path, name)
    }
}

fn in_file(name: &str) -> impl Fn(String) -> String {
    move |why| format!("{name}: {why}")
}

/// The weights' files.
struct Parts {
    /// For each tensor the file that has it; `None`: all are in one.
    index: Option<BTreeMap<String, String>>,
    one: String,
}

/// The folder that a path means, and the files of its weights.
fn parts(path: &Path) -> Result<(PathBuf, Parts), String> {
    if path.is_dir() {
        let whole = path.join(WEIGHTS).exists();
        let file = if whole { WEIGHTS } else { INDEX };
        if !whole && !path.join(INDEX).exists() {
            return Err(format!("it has neither {WEIGHTS} nor {INDEX}"));
        }
        return parts(&path.join(file));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let index = match name.ends_with(".json") {
        true => Some(index(path).map_err(in_file(&name))?),
        false => None,
    };
    Ok((dir, Parts { index, one: name }))
}

fn index(path: &Path) -> Result<BTreeMap<String, String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: Pairs<String>,
    }
    let text = limited(path, LONGEST_INDEX)?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| format!("it is no index of weights ({e})"))?;
    let Pairs(map) = index.weight_map;
    for (tensor, file) in &map {
        let mut parts = Path::new(file).components();
        let plain =
            matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == file.as_str());
        if !plain || file.starts_with('.') || !file.ends_with(".safetensors") {
            return Err(format!("tensor {tensor} is to be in {file:?}, which is no file of safetensors beside it"));
        }
    }
    let files: BTreeSet<_> = map.iter().map(|(_, file)| file).collect();
    if files.is_empty() || files.len() > MOST_SHARDS {
        return Err(format!("it names {} files", files.len()));
    }
    Ok(map.into_iter().collect())
}

impl Parts {
    fn files(&self) -> Vec<&str> {
        match &self.index {
            None => vec![&self.one],
            Some(index) => index.values().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect(),
        }
    }

    /// Index and parts say the same.
    fn check(&self, shards: &[(&str, Shard)]) -> Result<(), String> {
        let Some(index) = &self.index else { return Ok(()) };
        let mut found = 0;
        for (file, shard) in shards {
            for tensor in &shard.tensors {
                match index.get(&tensor.name) {
                    Some(named) if named == file => found += 1,
                    Some(named) => return Err(format!("{file} has tensor {}, which is to be in {named}", tensor.name)),
                    None => return Err(format!("{file} has tensor {}, which {} doesn't name", tensor.name, self.one)),
                }
            }
        }
        if found == index.len() {
            return Ok(());
        }
        let there = |name: &String| shards.iter().any(|(_, shard)| shard.tensors.iter().any(|t| t.name == *name));
        let (name, file) = index.iter().find(|(name, _)| !there(name)).unzip();
        Err(format!("{} has no tensor {}, which is to be in it", file.map_or("?", |f| f), name.map_or("?", |n| n)))
    }
}

/// The tensors that the model has to have, by the names of GGUF files.
fn tensors(form: &Form, shards: Vec<(&str, Shard)>, quantise: Quantise) -> Result<HashMap<String, Tensor>, String> {
    let mut found = HashMap::new();
    for (file, shard) in shards {
        let handle = Arc::new(shard.file);
        found
            .extend(shard.tensors.into_iter().map(|placed| (placed.name.clone(), (file, Arc::clone(&handle), placed))));
    }
    // Else the first that is missing is named; unless a lie would have them listed by the million.
    if form.count() > 2 * found.len() + 10_000 {
        let (wanted, here) = (form.count(), found.len());
        return Err(format!("config.json: such a model has {wanted} tensors, but there are {here}"));
    }
    let mut tensors = HashMap::new();
    for expected in form.expected() {
        let (file, handle, placed) =
            found.remove(&expected.theirs).ok_or_else(|| format!("it has no tensor {}", expected.theirs))?;
        let tensor = tensor(&expected, handle, &placed, quantise).map_err(in_file(file))?;
        tensors.insert(expected.ours, tensor);
    }
    match found.keys().filter(|name| !form.is_needless(name)).min() {
        None => Ok(tensors),
        Some(name) => Err(format!("a {} has no place for the tensor {name}", form.architecture)),
    }
}

fn tensor(wanted: &Expected, file: Arc<std::fs::File>, placed: &Placed, quantise: Quantise) -> Result<Tensor, String> {
    let (name, dims) = (&placed.name, &wanted.dims);
    let stored = match placed.dtype.as_str() {
        "F32" => GgmlDType::F32,
        "F16" => GgmlDType::F16,
        "BF16" => GgmlDType::BF16,
        other => {
            return Err(format!(
                "tensor {name} is of the type {other:?}, which is not supported (F32, F16 and BF16 are)"
            ));
        }
    };
    if placed.shape.len() != dims.len() || placed.shape.iter().zip(dims).any(|(has, wants)| *has != *wants as u64) {
        return Err(format!("tensor {name} is {:?} instead of {dims:?}", placed.shape));
    }
    let product = |n: Option<u64>, d: &usize| n?.checked_mul(*d as u64);
    let bytes = dims.iter().fold(Some(stored.type_size() as u64), product).filter(|bytes| *bytes > 0);
    let has = placed.at.end - placed.at.start;
    if bytes != Some(has) {
        return Err(format!("tensor {name} has {has} bytes, which can't be {dims:?} of {stored:?}"));
    }
    let (k, held) = match dims[..] {
        [_, k] => (k, quantise.of(k, stored)),
        // Each is a row of its own where they are to change places.
        [n] => (if wanted.paired.is_some() { 1 } else { n }, GgmlDType::F32),
        _ => return Err(format!("tensor {name} has {} dimensions", dims.len())),
    };
    // A head of an odd size has no halves; whoever reads the model's form refuses it.
    let paired = wanted.paired.filter(|dim| *dim > 0 && dim % 2 == 0);
    Ok(Tensor { rows: Rows { file, at: placed.at.start, k, stored, held, paired }, dims: dims.clone() })
}

/// A file of [`BESIDE`] in a folder, if it is there.
fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
    let most = BESIDE.iter().find(|(known, _)| *known == name).map_or(0, |(_, most)| *most);
    let path = dir.join(name);
    match path.exists() {
        true => limited(&path, most).map(Some).map_err(in_file(name)),
        false => Ok(None),
    }
}

fn limited(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = header::regular(path)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    match bytes.len() as u64 > most {
        true => Err(format!("it has more than {most} bytes")),
        false => Ok(bytes),
    }
}

/// The files of a checkpoint, the weights or their index first: what a copy of it needs.
pub(crate) fn files(path: &Path) -> Result<(PathBuf, Vec<String>), String> {
    let (dir, parts) = parts(path)?;
    let mut files = vec![parts.one.clone()];
    if parts.index.is_some() {
        files.extend(parts.files().into_iter().map(str::to_owned));
    }
    let beside = BESIDE.iter().map(|(name, _)| (*name).to_owned());
    files.extend(beside.filter(|name| dir.join(name).exists()));
    Ok((dir, files))
}

/// The names of the files that may lie beside the weights.
pub(crate) fn beside() -> impl Iterator<Item = &'static str> {
    BESIDE.iter().map(|(name, _)| *name)
}
