//! Opening a GGUF file with suspicion.
//!
//! A model file is untrusted data until it is proven, and often just cut short. Before anything large is allocated the
//! header is read with bounds, and every tensor's place is checked against the file's size. What the model code can't
//! do (another architecture, an unknown tokenizer, scaled RoPE) is refused where it would matter, not guessed.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QTensor};

use crate::EngineError;

const MAGIC: &[u8; 4] = b"GGUF";
/// Version 1 had other integer widths and is long gone.
const VERSIONS: [u32; 2] = [2, 3];
/// The largest models have some thousand tensors and some hundred metadata keys.
const MAX_TENSORS: u64 = 100_000;
const MAX_METADATA: u64 = 10_000;

/// A checked GGUF file.
pub(crate) struct GgufFile {
    content: Content,
    file: Arc<File>,
    path: PathBuf,
}

impl GgufFile {
    pub(crate) fn open(path: &Path) -> Result<Self, EngineError> {
        let fail = |why: String| EngineError::Model(format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(|e| fail(e.to_string()))?;
        let size = file.metadata().map_err(|e| fail(e.to_string()))?.len();
        let mut reader = BufReader::new(file);
        check_header(&mut reader, size).map_err(&fail)?;
        reader.rewind().map_err(|e| fail(e.to_string()))?;
        // The reader bounds its allocations, but divides by what the file says is its alignment.
        let content = catch_unwind(AssertUnwindSafe(|| Content::read(&mut reader)))
            .map_err(|_| fail("its header is damaged".into()))?
            .map_err(|e| fail(format!("its header can't be read, it may be cut short ({})", brief(&e))))?;
        for (name, info) in &content.tensor_infos {
            check_tensor(name, info, content.tensor_data_offset, size).map_err(&fail)?;
        }
        let file = Arc::new(reader.into_inner());
        Ok(Self { content, file, path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// A tensor as candle holds it, in main memory.
    pub(crate) fn tensor(&self, name: &str) -> Result<QTensor, EngineError> {
        self.tensor_on(name, &Device::Cpu)
    }

    /// A tensor as candle holds it.
    pub(crate) fn tensor_on(&self, name: &str, device: &Device) -> Result<QTensor, EngineError> {
        let tensor = self.content.tensor(&mut &*self.file, name, device);
        tensor.map_err(|e| self.refuse(brief(&e)))
    }

    /// A tensor's format and dimensions, outermost first.
    pub(crate) fn about(&self, name: &str) -> Result<(GgmlDType, &[usize]), EngineError> {
        let info = self.info(name)?;
        Ok((info.ggml_dtype, info.shape.dims()))
    }

    /// Where a tensor's bytes begin in the file.
    pub(crate) fn place(&self, name: &str) -> Result<u64, EngineError> {
        Ok(self.content.tensor_data_offset + self.info(name)?.offset)
    }

    /// A tensor's bytes.
    pub(crate) fn raw(&self, name: &str) -> Result<Vec<u8>, EngineError> {
        let info = self.info(name)?;
        // Shape and size were checked against the file's when it was opened.
        let units = info.shape.elem_count() / info.ggml_dtype.block_size();
        let mut bytes = vec![0; units * info.ggml_dtype.type_size()];
        self.file.read_exact_at(&mut bytes, self.place(name)?).map_err(|e| self.refuse(e))?;
        Ok(bytes)
    }

    /// All that stands before the tensors' bytes.
    pub(crate) fn header(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.content.tensor_data_offset).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, EngineError> {
        self.content.tensor_infos.get(name).ok_or_else(|| self.refuse(format_args!("it has no tensor {name}")))
    }

    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
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

    /// An error about this file.
    pub(crate) fn refuse(&self, why: impl std::fmt::Display) -> EngineError {
        EngineError::Model(format!("{}: {why}", self.path.display()))
    }

    pub(crate) fn required(&self, key: &str) -> Result<u32, EngineError> {
        self.number(key).ok_or_else(|| self.refuse(format_args!("the metadata key {key} is missing")))
    }
}

fn check_header(reader: &mut impl Read, size: u64) -> Result<(), String> {
    let mut head = [0; 24];
    reader.read_exact(&mut head).map_err(|_| format!("it has only {size} bytes, that is no model"))?;
    if head[..4] != *MAGIC {
        return Err("it is not a GGUF file".into());
    }
    let word = |at: usize| head[at..at + 4].iter().rev().fold(0_u64, |n, b| n << 8 | u64::from(*b));
    let long = |at: usize| word(at) | word(at + 4) << 32;
    if !VERSIONS.iter().any(|v| u64::from(*v) == word(4)) {
        return Err(format!("its GGUF version {} is not supported (2 and 3 are)", word(4)));
    }
    let (tensors, metadata) = (long(8), long(16));
    if tensors == 0 || tensors > MAX_TENSORS || metadata > MAX_METADATA {
        return Err(format!("it claims {tensors} tensors and {metadata} metadata keys"));
    }
    Ok(())
}

fn check_tensor(name: &str, info: &TensorInfo, data: u64, size: u64) -> Result<(), String> {
    let product = |n: Option<u64>, d: &usize| n?.checked_mul(*d as u64);
    let elements = info.shape.dims().iter().fold(Some(1_u64), product);
    let block = info.ggml_dtype.block_size() as u64;
    let bytes = elements
        .filter(|n| *n > 0 && n % block == 0)
        .and_then(|n| (n / block).checked_mul(info.ggml_dtype.type_size() as u64))
        .ok_or_else(|| format!("tensor {name} has the impossible shape {:?}", info.shape))?;
    let end = data.checked_add(info.offset).and_then(|at| at.checked_add(bytes));
    match end {
        Some(end) if end <= size => Ok(()),
        Some(end) => Err(format!("it is cut short: tensor {name} ends at byte {end}, the file at {size}")),
        None => Err(format!("tensor {name} has an impossible offset")),
    }
}

impl From<candle_core::Error> for EngineError {
    fn from(error: candle_core::Error) -> Self {
        Self::Failed(brief(&error))
    }
}

/// Candle's errors carry a backtrace in later lines.
pub(crate) fn brief(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
