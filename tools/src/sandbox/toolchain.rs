//! Compilers and interpreters that a command needs, found on the host and shown read-only inside.
//!
//! What lies below `/usr` is in the minimal root already. What lies below a home (rustup, pyenv, nvm) is shown alone,
//! never the home: beside it lie keys and tokens. The node's user may read such a home although the sandbox's user
//! can't, which is why the helper binds it before it drops privileges.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Bind, SandboxError};

/// Where Rust's sysroot is seen inside: its path on the host would differ from machine to machine in every message.
const RUST_INSIDE: &str = "/opt/rust";
const ASK_DEADLINE: Duration = Duration::from_secs(20);

/// One compiler or interpreter that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// `python3`, `rust` or `node`.
    pub name: String,
    /// What it says of itself, e.g. `rustc 1.95.0 (…)`.
    pub version: String,
}

/// What is shown of the host so that builds and tests can run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchains {
    /// What was found.
    pub found: Vec<Toolchain>,
    /// Directories to show.
    pub binds: Vec<Bind>,
    /// Directories for `PATH`, before the system's.
    pub path: Vec<String>,
    /// Environment that they need.
    pub env: Vec<(String, String)>,
}

impl Toolchains {
    /// The names that [`Toolchains::discover`] knows.
    pub const KNOWN: [&'static str; 3] = ["python3", "rust", "node"];

    /// Looks for the named ones (`python3`, `rust`, `node`); fails with a remedy if one isn't there.
    pub fn discover(names: &[&str]) -> Result<Self, SandboxError> {
        let mut all = Self::default();
        for name in names {
            match *name {
                "python3" => all.interpreter("python3", "import sys; print(sys.base_prefix)", "-c")?,
                "node" => {
                    all.interpreter("node", "require('path').dirname(require('path').dirname(process.execPath))", "-p")?
                }
                "rust" => all.rust()?,
                other => {
                    return Err(SandboxError::Refused(format!("no toolchain is called {other}")));
                }
            }
        }
        Ok(all)
    }

    /// Those of the known ones that this machine has.
    pub fn discover_all() -> Self {
        let mut all = Self::default();
        for name in Self::KNOWN {
            if let Ok(one) = Self::discover(&[name]) {
                all.found.extend(one.found);
                all.binds.extend(one.binds);
                all.path.extend(one.path);
                all.env.extend(one.env);
            }
        }
        all
    }

    fn interpreter(&mut self, name: &str, where_is_it: &str, flag: &str) -> Result<(), SandboxError> {
        let system = Path::new("/usr/bin").join(name);
        let program = if system.exists() { system } else { PathBuf::from(name) };
        let absent = || unavailable(name, &format!("install {name}"));
        let version = ask(&program, &["--version"]).ok_or_else(absent)?;
        let prefix = PathBuf::from(ask(&program, &[flag, where_is_it]).ok_or_else(absent)?);
        if !prefix.starts_with("/usr") {
            let prefix = shareable(&prefix)?;
            self.path.push(format!("{}/bin", prefix.display()));
            // At its own path: installed scripts name their interpreter absolutely.
            self.binds.push(Bind::same(prefix));
        }
        self.found.push(Toolchain { name: name.to_owned(), version });
        Ok(())
    }

    fn rust(&mut self) -> Result<(), SandboxError> {
        if !Path::new("/usr/bin/cc").exists() {
            return Err(unavailable("a linker for rust (/usr/bin/cc)", "install gcc or clang"));
        }
        let absent = || unavailable("rust", "install it with rustup or from the distribution");
        let (rustc, sysroot) = rustc_candidates()
            .into_iter()
            .find_map(|rustc| ask(&rustc, &["--print", "sysroot"]).map(|sysroot| (rustc, PathBuf::from(sysroot))))
            .ok_or_else(absent)?;
        let version = ask(&rustc, &["--version"]).ok_or_else(absent)?;
        if !sysroot.join("bin/cargo").exists() {
            return Err(unavailable(&format!("cargo in {}", sysroot.display()), "rustup component add cargo"));
        }
        if !sysroot.starts_with("/usr") {
            self.binds.push(Bind { source: shareable(&sysroot)?, target: RUST_INSIDE.into() });
            self.path.push(format!("{RUST_INSIDE}/bin"));
        }
        self.env.extend(
            [("CARGO_NET_OFFLINE", "true"), ("CARGO_TERM_COLOR", "never"), ("CARGO_HOME", "/tmp/cargo")].map(own),
        );
        self.found.push(Toolchain { name: "rust".to_owned(), version });
        Ok(())
    }
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn unavailable(what: &str, remedy: &str) -> SandboxError {
    SandboxError::Unavailable { what: format!("{what} was not found"), remedy: remedy.to_owned() }
}

/// A service's `PATH` seldom has `~/.cargo/bin`.
fn rustc_candidates() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let mut all = vec![PathBuf::from("rustc")];
    all.extend(home.map(|home| home.join("bin/rustc")));
    all
}

/// The real path of a toolchain, unless showing it would show a whole home or the whole machine.
fn shareable(path: &Path) -> Result<PathBuf, SandboxError> {
    let real = path.canonicalize().map_err(SandboxError::io(path))?;
    let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
    let too_wide = real.components().count() < 3 || home.is_some_and(|home| home.starts_with(&real));
    if too_wide {
        return Err(SandboxError::Refused(format!("{} holds more than a toolchain", real.display())));
    }
    Ok(real)
}

/// The first line that a program of the host answers. It runs in `/`, so that no project's settings choose for it.
fn ask(program: &Path, args: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + ASK_DEADLINE;
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut answer = String::new();
    child.stdout.take()?.take(4096).read_to_string(&mut answer).ok()?;
    let line = answer.lines().next()?.trim();
    (status.success() && !line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_home_is_never_a_toolchain() {
        let home = std::env::home_dir().unwrap();
        assert!(shareable(&home).is_err());
        assert!(shareable(Path::new("/")).is_err());
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(matches!(Toolchains::discover(&["cobol"]), Err(SandboxError::Refused(_))));
    }

    #[test]
    fn a_program_that_is_not_there_answers_nothing() {
        assert_eq!(ask(Path::new("/nonexistent/rustc"), &["--version"]), None);
    }
}
