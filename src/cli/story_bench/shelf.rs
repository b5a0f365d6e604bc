//! The folder that keeps a run: what was asked, what came, what was judged. A file is written whole or not at all, so that a
//! run goes on wherever it was interrupted.
//!
//! ```text
//! settings.json                       what the run was begun with
//! stories/NAME/{story.md,repo,base.bundle}
//! cells/NAME/{pool,fleet}-SEED.json   one for each finished job
//! events/NAME/{pool,fleet}-SEED.jsonl everything that the node recorded of it
//! judged/BASE/PATCH.json              what the hidden tests said of a patch
//! results.json, report.html           what came out
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::What;
use crate::cli::failure::Failure;

/// A run's folder, held by this process.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    /// Held as long as the file is open.
    _lock: File,
}

impl Shelf {
    /// Takes the folder, made if it isn't there.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(|e| unusable(dir, &e))?;
        let dir = dir.canonicalize().map_err(|e| unusable(dir, &e))?;
        let path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|e| unusable(&path, &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let what = format!("another run uses {}", dir.display());
                Err(Failure::input(what, "wait for it, or take another folder with --out").coded("FLT-B002"))
            }
            Err(TryLockError::Error(e)) => Err(unusable(&path, &e)),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn settings(&self) -> PathBuf {
        self.dir.join("settings.json")
    }

    /// A story's own folder.
    pub fn story(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.dir.join("stories").join(name);
        fs::create_dir_all(&dir).map_err(|e| unusable(&dir, &e))?;
        Ok(dir)
    }

    pub fn cell(&self, story: &str, what: What, place: u32) -> PathBuf {
        self.dir.join("cells").join(story).join(format!("{}-{place}.json", what.name()))
    }

    pub fn events(&self, story: &str, what: What, place: u32) -> PathBuf {
        self.dir.join("events").join(story).join(format!("{}-{place}.jsonl", what.name()))
    }

    pub fn judged(&self, base: &str, patch: &str) -> PathBuf {
        self.dir.join("judged").join(base).join(format!("{patch}.json"))
    }

    pub fn results(&self) -> PathBuf {
        self.dir.join("results.json")
    }

    pub fn page(&self) -> PathBuf {
        self.dir.join("report.html")
    }

    /// What a file has; none if it isn't there.
    pub fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Failure> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unusable(path, &e)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|e| {
            let next =
                "it was written by another version: delete it to have that part done again, or take another --out";
            Failure::input(format!("can't read {}: {e}", path.display()), next).coded("FLT-B002")
        })
    }

    /// Writes a value.
    pub fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(value)
            .map_err(|e| Failure::internal(format!("can't encode {}: {e}", path.display()), ""))?;
        text.push(b'\n');
        write_whole(path, &text)
    }
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        // A temporary file is its owner's alone; this one is to be shown around.
        let shown = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(shown)?;
        file.persist(path).map(drop).map_err(|e| e.error)
    });
    written.map_err(|e| unusable(path, &e))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    let next = "check the space on the disk, or take another folder with --out";
    Failure::input(format!("can't use {}: {error}", path.display()), next).coded("FLT-B002")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_is_used_by_one_run_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("out");
        let first = Shelf::open(&dir).unwrap();
        let second = Shelf::open(&dir).unwrap_err();
        assert!(second.what.contains("another run"), "{second}");
        drop(first);
        Shelf::open(&dir).unwrap();
    }

    #[test]
    fn what_was_written_is_read_and_what_was_not_is_none() {
        let place = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(place.path()).unwrap();
        let path = shelf.cell("s", What::Pool, 2);
        assert_eq!(shelf.read::<Vec<u32>>(&path).unwrap(), None);
        shelf.write(&path, &vec![1, 2]).unwrap();
        assert_eq!(shelf.read::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
        assert!(path.ends_with("cells/s/pool-2.json"));
        fs::write(&path, "[1,").unwrap();
        let damaged = shelf.read::<Vec<u32>>(&path).unwrap_err();
        assert!(damaged.next.contains("delete it"), "{damaged}");
    }
}
