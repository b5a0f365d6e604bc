//! Reading the base and what patches make of it.

use std::sync::Arc;

use fleet_runtime::Digest;
use fleet_tools::syntax::{Language, shape};

use crate::localise::SourceText;
use crate::team::work::{StepError, Work, blocking, step};

/// Source files that are looked at; a repository with more is looked at in part.
const MAX_FILES: usize = 600;
/// Longest source file that is looked at.
const MAX_FILE_BYTES: usize = 256 * 1024;

/// The source files of the base in languages that are known, by path.
pub(crate) async fn sources(work: &Work) -> Result<Arc<Vec<SourceText>>, StepError> {
    let base = work.base().await?.clone();
    let read = blocking(move || {
        let paths: Vec<String> =
            base.head_files().filter(|p| Language::of(p).is_some()).take(MAX_FILES).map(str::to_owned).collect();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let Some(bytes) = base.read(&path)? else { continue };
            if let Ok(text) = String::from_utf8(bytes)
                && text.len() <= MAX_FILE_BYTES
            {
                files.push(SourceText { path, text });
            }
        }
        Ok(Arc::new(files))
    });
    work.grounds.sources.get_or_try_init(|| async { read.await.map_err(step) }).await.cloned()
}

/// One text file of the base.
pub(crate) async fn read_file(work: &Work, path: &str) -> Result<SourceText, StepError> {
    let base = work.base().await?.clone();
    let wanted = path.to_owned();
    let bytes = blocking(move || base.read(&wanted)).await.map_err(step)?;
    let text = bytes.and_then(|b| String::from_utf8(b).ok());
    let text = text.ok_or_else(|| StepError::Failed(format!("{path} is not a text file of the base")))?;
    Ok(SourceText { path: path.to_owned(), text })
}

/// A file as a recorded patch leaves it.
pub(crate) async fn patched_file(work: &Work, patch: &str, path: &str) -> Result<Option<String>, StepError> {
    let patch = patch_bytes(work, patch).await?;
    let base = work.base().await?.clone();
    let path = path.to_owned();
    let bytes = blocking(move || base.read_in(&base.apply(&patch)?, &path)).await.map_err(step)?;
    Ok(bytes.and_then(|b| String::from_utf8(b).ok()))
}

/// What tells the program that a patch leads to from others, however it is laid out; none where that isn't known.
pub(crate) async fn program_of(work: &Work, patch: Vec<u8>, paths: Vec<String>) -> Result<Option<String>, StepError> {
    let base = work.base().await?.clone();
    let shaped = blocking(move || {
        let tree = base.apply(&patch)?;
        let mut hasher = blake3::Hasher::new();
        for path in paths {
            let Some(language) = Language::of(&path) else { return Ok(None) };
            let text = base.read_in(&tree, &path)?.and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(Ok(shape)) = text.map(|text| shape(&text, language)) else { return Ok(None) };
            for part in [path, shape] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        Ok(Some(hasher.finalize().to_hex().to_string()))
    });
    shaped.await.map_err(step)
}

/// A recorded patch.
pub(crate) async fn patch_bytes(work: &Work, digest: &str) -> Result<Vec<u8>, StepError> {
    let digest: Digest = digest.parse().map_err(|e| StepError::Failed(format!("patch {digest}: {e}")))?;
    Ok(work.ctx.blobs.get(&digest).await?.to_vec())
}
