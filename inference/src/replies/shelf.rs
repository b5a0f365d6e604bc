//! The files that replies are kept in: one each, named by its key, written whole or not at all, in bounded number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::Usage;

/// When there is too much, the oldest go until this part of the limit is left.
const LEFT: u64 = 9;
const OF: u64 = 10;

/// Replies on disk. Several processes may share a directory; then each keeps to the limit as far as it knows.
#[derive(Debug)]
pub struct ReplyCache {
    dir: PathBuf,
    /// Bytes of all files together.
    limit: u64,
    held: Mutex<u64>,
}

/// A reply as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// For people who look into the file.
    pub(super) model: String,
    /// What was decoded, without the request's `assistant_prefix`.
    pub(super) text: String,
    pub(super) tokens: u32,
    pub(super) usage: Usage,
}

struct Held {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl ReplyCache {
    /// Takes a directory, made if it isn't there, with at most so many bytes of replies. Only its owner may read it: a reply
    /// tells of its prompt.
    pub fn open(dir: impl Into<PathBuf>, limit: u64) -> io::Result<Self> {
        let dir = dir.into();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let cache = Self { dir, limit, held: Mutex::new(0) };
        let held: u64 = cache.list().iter().map(|file| file.bytes).sum();
        cache.count(held);
        Ok(cache)
    }

    /// What was kept under the key. A file that can't be read is as good as none.
    pub(super) fn find(&self, key: &str) -> Option<Kept> {
        let path = self.path(key);
        let file = File::open(&path).ok()?;
        let kept = serde_json::from_reader(io::BufReader::new(&file)).ok()?;
        // What is used last goes last.
        let _ = file.set_modified(SystemTime::now());
        Some(kept)
    }

    /// Keeps a reply; what can't be written is said in the log and missed by nobody.
    pub(super) fn keep(&self, key: &str, kept: &Kept) {
        if let Err(error) = self.write(key, kept) {
            tracing::warn!(%error, dir = %self.dir.display(), "a reply can't be kept");
        }
    }

    fn write(&self, key: &str, kept: &Kept) -> io::Result<()> {
        let (text, path) = (serde_json::to_vec(kept)?, self.path(key));
        let bytes = text.len() as u64;
        if bytes > self.limit {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let part = folder.join(format!("{}.part", uuid::Uuid::new_v4().simple()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        let written = file.write_all(&text).and_then(|()| fs::rename(&part, &path));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written?;
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner) + bytes;
        self.count(held);
        Ok(())
    }

    /// Takes note of how much there is, and removes what is too much.
    fn count(&self, held: u64) {
        let mut known = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *known = held;
        if held <= self.limit {
            return;
        }
        let mut files = self.list();
        files.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut left: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if left <= self.limit / OF * LEFT {
                break;
            }
            // If another process was faster, it is gone as well.
            let _ = fs::remove_file(&file.path);
            left -= file.bytes;
        }
        *known = left;
    }

    fn list(&self) -> Vec<Held> {
        let folders = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten();
        files
            .filter_map(|file| {
                let about = file.metadata().ok().filter(fs::Metadata::is_file)?;
                Some(Held { path: file.path(), bytes: about.len(), used: about.modified().ok()? })
            })
            .collect()
    }

    fn path(&self, key: &str) -> PathBuf {
        let (folder, name) = key.split_at(key.len().min(2));
        self.dir.join(folder).join(Path::new(name).with_extension("json"))
    }
}
