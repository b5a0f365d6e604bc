//! Tries every layer of the sandbox on this machine, by using it.
//!
//! A layer isn't believed because a file exists: the last check runs a command inside, which reports how it sees
//! itself, and that has to show each layer at work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::Uid;

use super::cgroup::{self, Parents};
use super::helper::HELPER_ARGUMENT;
use super::helper::spec::{read_reply, write_request};
use super::{Check, Limits, Run, RunResult, Sandbox, SandboxError, SandboxOptions, Toolchains, seccomp};

/// What a node ends up with, and what was found on the way.
pub(super) struct Survey {
    pub(super) checks: Vec<Check>,
    /// None if a layer that must be there isn't.
    pub(super) sandbox: Option<Sandbox>,
}

pub(super) fn survey(options: &SandboxOptions) -> Survey {
    let mut checks = vec![bubblewrap(&options.bwrap), filters()];
    let parents = cgroups(options, &mut checks);
    checks.push(user(options));
    if checks.iter().any(|check| !check.ok) {
        return Survey { checks, sandbox: None };
    }
    let sandbox = Sandbox::assemble(options, parents);
    let trial = trial(&sandbox);
    let works = trial.ok;
    checks.push(trial);
    Survey { checks, sandbox: works.then_some(sandbox) }
}

fn check(name: &str, found: Result<String, (String, String)>) -> Check {
    let (ok, detail, remedy) = match found {
        Ok(detail) => (true, detail, None),
        Err((detail, remedy)) => (false, detail, Some(remedy)),
    };
    Check { name: name.to_owned(), ok, detail, remedy }
}

fn bubblewrap(program: &Path) -> Check {
    let remedy =
        "install bubblewrap 0.8 or newer (`apt install bubblewrap`, `dnf install bubblewrap`) or set sandbox.bwrap";
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    check(
        "bubblewrap",
        match said {
            Ok(said) if said.status.success() => Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned()),
            Ok(said) => Err((format!("{} --version: {}", program.display(), said.status), remedy.to_owned())),
            Err(error) => Err((format!("{}: {error}", program.display()), remedy.to_owned())),
        },
    )
}

fn filters() -> Check {
    let remedy = "run the node on x86_64, aarch64 or riscv64";
    check(
        "seccomp",
        match seccomp::programs() {
            Ok(programs) => Ok(format!("{} filter programs", programs.len())),
            Err(why) => Err((why, remedy.to_owned())),
        },
    )
}

fn cgroups(options: &SandboxOptions, checks: &mut Vec<Check>) -> Option<Parents> {
    let (found, parents) = match cgroup::discover(options.cgroup.as_deref()) {
        Ok(parents) => (Ok(format!("{} bounds memory and processes of each run", parents.version())), Some(parents)),
        Err(missing) if options.allow_without_cgroup => (
            Ok(format!(
                "{}; allowed by sandbox.allow_without_cgroup: several processes may exceed the memory limit",
                missing.what
            )),
            None,
        ),
        Err(missing) => (Err((missing.what, missing.remedy)), None),
    };
    checks.push(check("control group", found));
    parents
}

fn user(options: &SandboxOptions) -> Check {
    let remedy = "set sandbox.uid to a user that owns nothing, such as 64123";
    let me = Uid::current();
    check(
        "user",
        match options.uid {
            _ if !me.is_root() => Ok(format!("commands run as the node's user {me}")),
            0 => Err(("commands would run as root".to_owned(), remedy.to_owned())),
            uid => Ok(format!("the node is root; commands run as user {uid}")),
        },
    )
}

/// What the command inside is asked: who it is, what it may, what it sees.
const TRIAL: &str = "cat /proc/self/status; id -u; ls /proc/sys/kernel >/dev/null; \
    test -w / && echo root-writable; test -w /proc/sys/kernel/hostname && echo sys-writable; \
    echo net: $(tail -n +3 /proc/net/dev | cut -d: -f1); touch /work/trial && echo work-writable";

fn trial(sandbox: &Sandbox) -> Check {
    check(
        "trial run",
        match try_it(sandbox) {
            Ok(result) => verdict(sandbox, &result),
            Err(error) => Err((error.to_string(), remedy_for(&error.to_string()))),
        },
    )
}

fn try_it(sandbox: &Sandbox) -> Result<RunResult, SandboxError> {
    let dir =
        tempfile::Builder::new().prefix("fleet-trial-").tempdir().map_err(SandboxError::io("a temporary directory"))?;
    sandbox.adopt(dir.path())?;
    let mut run = Run::new(["/bin/sh", "-c", TRIAL], dir.path());
    run.limits = Limits { wall: Duration::from_secs(10), ..Limits::default() };
    sandbox.run_blocking(&run)
}

fn verdict(sandbox: &Sandbox, result: &RunResult) -> Result<String, (String, String)> {
    let text = result.stdout.text();
    let holds = |line: &str| text.lines().any(|found| found.split_whitespace().collect::<Vec<_>>().join(" ") == line);
    let needed = [
        "Seccomp: 2",
        "NoNewPrivs: 1",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "1000",
        "net: lo",
        "work-writable",
    ];
    let mut wrong: Vec<_> =
        needed.iter().filter(|line| !holds(line)).map(|line| format!("`{line}` is missing")).collect();
    wrong.extend(["root-writable", "sys-writable"].iter().filter(|line| holds(line)).map(|line| format!("`{line}`")));
    if wrong.is_empty() {
        return Ok(format!("{} in {} ms", sandbox.tier(), result.wall_ms));
    }
    let detail = format!("{} (stderr: {})", wrong.join(", "), result.stderr.text().trim());
    Err((detail, remedy_for(&result.stderr.text())))
}

fn remedy_for(text: &str) -> String {
    let namespaces = ["namespace", "uid map", "RTM_NEWADDR", "Operation not permitted", "Permission denied"];
    if namespaces.iter().any(|sign| text.contains(sign)) {
        return "allow user namespaces: sysctl user.max_user_namespaces > 0 and kernel.unprivileged_userns_clone = 1 where it \
            exists; on Ubuntu install the AppArmor profile bwrap-userns-restrict; in a container allow unshare and mount or \
            start the pod with hostUsers: false"
            .to_owned();
    }
    "see the detail; `bwrap --unshare-all --ro-bind / / true` run by hand may say more".to_owned()
}

/// What of the known toolchains this machine has; none of them is needed for the sandbox itself.
pub(super) fn toolchains() -> Vec<Check> {
    Toolchains::KNOWN
        .iter()
        .map(|name| {
            check(
                &format!("toolchain {name}"),
                match Toolchains::discover(&[name]) {
                    Ok(all) => Ok(all.found.iter().map(|one| one.version.clone()).collect::<Vec<_>>().join(", ")),
                    Err(SandboxError::Unavailable { what, remedy }) => Err((what, remedy)),
                    Err(error) => Err((error.to_string(), "put it where it can be shown alone".to_owned())),
                },
            )
        })
        .collect()
}

impl Sandbox {
    /// Runs without a tokio runtime; the helper keeps the deadline.
    fn run_blocking(&self, run: &Run) -> Result<RunResult, SandboxError> {
        let spec = self.resolve(run)?;
        let mut helper = Command::new(self.helper())
            .arg(HELPER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(SandboxError::io(self.helper()))?;
        let program = self.helper().display();
        let lost = |error: std::io::Error| {
            SandboxError::HelperLost(format!("{error}; is {program} a program that calls sandbox_main?"))
        };
        let (Some(mut stdin), Some(mut stdout)) = (helper.stdin.take(), helper.stdout.take()) else {
            return Err(SandboxError::HelperLost("it has no pipes".to_owned()));
        };
        let answer = write_request(&mut stdin, &spec, None).and_then(|()| read_reply(&mut stdout));
        drop(stdin);
        let _ = helper.wait();
        let (reply, clips) = answer.map_err(lost)?;
        self.result(reply, clips)
    }
}

/// The running program, also after its file was replaced by a newer one.
pub(super) fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}
