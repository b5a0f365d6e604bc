//! Opening a GGUF file with suspicion.
//!
//! A model file is untrusted data until it is proven, and often just cut short. Before anything large is allocated the
//! header is read with bounds, and every tensor's place is checked against the file's size. What the model code can't
//! do (another architecture, an unknown tokenizer, scaled RoPE) is refused where it would matter, not guessed.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QTensor};

use super::header;
use crate::EngineError;

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
        header::check(&mut reader, size).map_err(&fail)?;
        reader.rewind().map_err(|e| fail(e.to_string()))?;
        let content = Content::read(&mut reader);
        let content = content.map_err(|e| fail(format!("its header can't be read ({})", brief(&e))))?;
        check_tensors(&content, size).map_err(&fail)?;
        let file = Arc::new(reader.into_inner());
        Ok(Self { content, file, path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
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

    /// Bytes of all tensors, as they are held on a device that computes with them as they are.
    #[cfg(feature = "cuda")]
    pub(crate) fn tensor_bytes(&self) -> u64 {
        let bytes = |info: &TensorInfo| {
            let blocks = info.shape.elem_count() / info.ggml_dtype.block_size();
            (blocks * info.ggml_dtype.type_size()) as u64
        };
        self.content.tensor_infos.values().map(bytes).sum()
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

    /// An error about this file.
    pub(crate) fn refuse(&self, why: impl std::fmt::Display) -> EngineError {
        EngineError::Model(format!("{}: {why}", self.path.display()))
    }
}

/// Each tensor lies in the file, and none in another: so all together are no larger than the file.
fn check_tensors(content: &Content, size: u64) -> Result<(), String> {
    let mut places = Vec::new();
    for (name, info) in &content.tensor_infos {
        let end = check_tensor(name, info, content.tensor_data_offset, size)?;
        places.push((content.tensor_data_offset + info.offset, end, name));
    }
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        None => Ok(()),
        Some(pair) => {
            let ((_, end, one), (start, _, other)) = (pair[0], pair[1]);
            Err(format!("tensor {one} ends at byte {end}, but {other} begins at {start}"))
        }
    }
}

/// Gives where it ends.
fn check_tensor(name: &str, info: &TensorInfo, data: u64, size: u64) -> Result<u64, String> {
    let product = |n: Option<u64>, d: &usize| n?.checked_mul(*d as u64);
    let elements = info.shape.dims().iter().fold(Some(1_u64), product);
    let block = info.ggml_dtype.block_size() as u64;
    let bytes = elements
        .filter(|n| *n > 0 && n % block == 0)
        .and_then(|n| (n / block).checked_mul(info.ggml_dtype.type_size() as u64))
        .ok_or_else(|| format!("tensor {name} has the impossible shape {:?}", info.shape))?;
    let end = data.checked_add(info.offset).and_then(|at| at.checked_add(bytes));
    match end {
        Some(end) if end <= size => Ok(end),
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
