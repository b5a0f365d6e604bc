//! A model's files, checked: one GGUF file, or a folder of safetensors as the hub has them.
//!
//! ```text
//! GGUF file ─────────────────────────────────┐
//! config.json, *.safetensors → Form, Folder ─┴→ Checkpoint → Shape, tiles | tensors, tokenizer, template
//! ```
//! What loads a model asks by the names of GGUF's metadata and tensors, whichever it is. The rows of a safetensors matrix are
//! quantised when they are read, so beside what is made of them there are never more than some rows.

mod config;
mod folder;
mod header;
mod quantise;
mod rows;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use candle_core::Device;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor};
use sha2::{Digest, Sha256};

pub(crate) use self::folder::{Folder, INDEX, WEIGHTS, beside, files};
pub use self::quantise::Quantise;
pub(crate) use self::rows::Rows;
use crate::EngineError;
use crate::candle::{GgufFile, brief};

/// See the module.
pub(crate) enum Checkpoint {
    Gguf(GgufFile),
    Folder(Folder),
}

impl Checkpoint {
    /// A GGUF file; or a folder, its safetensors file or their index, whose matrices are to be held like that.
    pub(crate) fn open(path: &Path, quantise: Quantise) -> Result<Self, EngineError> {
        if !is_folder(path) {
            return GgufFile::open(path).map(Self::Gguf);
        }
        let opened = Folder::open(path, quantise);
        opened.map(Self::Folder).map_err(|why| EngineError::Model(format!("{}: {why}", path.display())))
    }

    /// The file, or the folder.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Gguf(file) => file.path(),
            Self::Folder(folder) => folder.path(),
        }
    }

    /// An error about this model.
    pub(crate) fn refuse(&self, why: impl std::fmt::Display) -> EngineError {
        EngineError::Model(format!("{}: {why}", self.path().display()))
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Gguf(file) => file.value(key),
            Self::Folder(folder) => folder.form.metadata.get(key),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.to_string().ok().map(String::as_str)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        // Some writers store counts as signed integers.
        let value = self.value(key)?;
        value.to_u32().ok().or_else(|| u32::try_from(value.to_i32().ok()?).ok())
    }

    pub(crate) fn float(&self, key: &str) -> Option<f32> {
        self.value(key)?.to_f32().ok()
    }

    pub(crate) fn required(&self, key: &str) -> Result<u32, EngineError> {
        self.number(key).ok_or_else(|| self.refuse(format_args!("the metadata key {key} is missing")))
    }

    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        match self {
            Self::Gguf(file) => file.has_tensor(name),
            Self::Folder(folder) => folder.has(name),
        }
    }

    /// The format in which a tensor is held, and its dimensions, outermost first.
    pub(crate) fn about(&self, name: &str) -> Result<(GgmlDType, &[usize]), EngineError> {
        match self {
            Self::Gguf(file) => file.about(name),
            Self::Folder(folder) => folder.about(name).ok_or_else(|| self.no_tensor(name)),
        }
    }

    fn no_tensor(&self, name: &str) -> EngineError {
        self.refuse(format_args!("it has no tensor {name}"))
    }

    /// The rows of a matrix in the form in which it is held.
    pub(crate) fn rows(&self, name: &str) -> Result<Rows, EngineError> {
        match self {
            Self::Gguf(file) => {
                let (kind, dims) = file.about(name)?;
                let k = dims.last().copied().unwrap_or(1);
                let (file, at) = (file.handle(), file.place(name)?);
                Ok(Rows { file, at, k, stored: kind, held: kind, paired: None })
            }
            Self::Folder(folder) => folder.rows(name).cloned().ok_or_else(|| self.no_tensor(name)),
        }
    }

    /// Whether the rows of a tensor lie in the file as plain numbers, whatever is made of them.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// A tensor as candle holds it, in main memory.
    pub(crate) fn tensor(&self, name: &str) -> Result<QTensor, EngineError> {
        self.tensor_on(name, &Device::Cpu)
    }

    /// A tensor as candle holds it.
    pub(crate) fn tensor_on(&self, name: &str, device: &Device) -> Result<QTensor, EngineError> {
        if let Self::Gguf(file) = self {
            return file.tensor_on(name, device);
        }
        let (kind, dims) = self.about(name)?;
        let made = qtensor_from_ggml(kind, &self.bytes_of(name)?, dims.to_vec(), device);
        made.map_err(|e| self.refuse(format_args!("{name}: {}", brief(&e))))
    }

    /// A tensor of so many numbers.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, EngineError> {
        let fail = |e: candle_core::Error| self.refuse(format_args!("{name}: {}", brief(&e)));
        let (_, dims) = self.about(name)?;
        if dims.iter().product::<usize>() != len {
            return Err(self.refuse(format_args!("{name} is {dims:?} instead of [{len}]")));
        }
        let tensor = self.tensor(name)?.dequantize(&Device::Cpu).map_err(fail)?;
        tensor.flatten_all().and_then(|t| t.to_vec1()).map_err(fail)
    }

    /// A matrix that is held in the type it was trained in; `None`: it is quantised.
    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn matrix_on(&self, name: &str, device: &Device) -> Result<Option<candle_core::Tensor>, EngineError> {
        use candle_core::DType;
        let (kind, dims) = self.about(name)?;
        let dtype = match (self, kind) {
            (Self::Folder(_), GgmlDType::F32) => DType::F32,
            (Self::Folder(_), GgmlDType::F16) => DType::F16,
            (Self::Folder(_), GgmlDType::BF16) => DType::BF16,
            _ => return Ok(None),
        };
        let made = candle_core::Tensor::from_raw_buffer(&self.bytes_of(name)?, dtype, dims, device);
        made.map(Some).map_err(|e| self.refuse(format_args!("{name}: {}", brief(&e))))
    }

    fn bytes_of(&self, name: &str) -> Result<Vec<u8>, EngineError> {
        let (rows, (_, dims)) = (self.rows(name)?, self.about(name)?);
        let n = dims.iter().product::<usize>() / rows.k.max(1);
        rows.all(n).map_err(|e| self.refuse(format_args!("{name}: {e}")))
    }

    /// Bytes of all tensors, as they are held on a device that computes with them as they are.
    #[cfg(feature = "cuda")]
    pub(crate) fn tensor_bytes(&self) -> u64 {
        match self {
            Self::Gguf(file) => file.tensor_bytes(),
            Self::Folder(folder) => folder.bytes(),
        }
    }

    /// What each tensor is in the files, and its weights.
    pub(crate) fn stored(&self) -> Vec<(GgmlDType, usize)> {
        match self {
            Self::Gguf(file) => {
                let infos = file.content().tensor_infos.values();
                infos.map(|info| (info.ggml_dtype, info.shape.elem_count())).collect()
            }
            Self::Folder(folder) => folder.stored().collect(),
        }
    }

    /// What the model is called, for files that are made of it.
    pub(crate) fn stem(&self) -> String {
        match self {
            Self::Gguf(file) => file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Folder(folder) => format!("{}-{}", name_of(folder.path()), folder.quantise().name()),
        }
    }

    /// Tells what changes when what is loaded would be another: sizes, times and headers of the files.
    pub(crate) fn identify(&self, hash: &mut Sha256) -> io::Result<()> {
        match self {
            Self::Gguf(file) => {
                hash_file(hash, &file.handle())?;
                hash.update(file.header()?);
            }
            Self::Folder(folder) => hash.update(folder.hash()),
        }
        Ok(())
    }
}

/// Takes in a file's size and time.
fn hash_file(hash: &mut Sha256, file: &File) -> io::Result<()> {
    let about = file.metadata()?;
    let modified = about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    hash.update(about.len().to_le_bytes());
    hash.update(modified.as_nanos().to_le_bytes());
    Ok(())
}

/// Whether a path means a safetensors checkpoint.
pub(crate) fn is_folder(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_dir() || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")
}

/// What a model is called where only its path is known: the file's name without its ending, or the folder's.
pub fn name_of(path: &Path) -> String {
    let name = match is_folder(path) && !path.is_dir() {
        true => path.parent().and_then(Path::file_name),
        false if path.is_dir() => path.file_name(),
        false => path.file_stem(),
    };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
