//! Where runs take place: a workspace, a sandbox, and eyes on the host's processes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet_tools::sandbox::{Limits, Run, RunResult, Sandbox, SandboxOptions};
use tempfile::TempDir;

/// A sandbox of this machine and a workspace that belongs to it.
pub struct Place {
    pub sandbox: Sandbox,
    root: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::with(&SandboxOptions::default())
    }

    pub fn with(options: &SandboxOptions) -> Self {
        let sandbox = Sandbox::detect(options).unwrap();
        let root = tempfile::tempdir().unwrap();
        let place = Self { sandbox, root };
        std::fs::create_dir(place.workspace()).unwrap();
        place.adopt();
        place
    }

    /// Beside the workspace: on the host, not in the sandbox.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    pub fn put(&self, path: &str, text: &str) {
        let path = self.workspace().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.adopt();
    }

    fn adopt(&self) {
        self.sandbox.adopt(&self.workspace()).unwrap();
    }

    pub fn command(&self, argv: &[&str]) -> Run {
        let mut run = Run::new(argv.iter().copied(), self.workspace());
        run.limits.wall = Duration::from_secs(60);
        run
    }

    pub fn python(&self, program: &str) -> Run {
        self.command(&["python3", "-c", program])
    }

    pub async fn run(&self, run: Run) -> RunResult {
        self.sandbox.run(run, std::future::pending()).await.unwrap()
    }

    /// What an attack prints; it must have run to its end.
    pub async fn attack(&self, program: &str) -> String {
        self.attack_within(program, Limits::default()).await
    }

    pub async fn attack_within(&self, program: &str, limits: Limits) -> String {
        let mut run = self.python(program);
        run.limits = limits;
        let result = self.run(run).await;
        assert_eq!(result.exit, Some(0), "the attack itself is broken: {}", result.stderr.text());
        result.stdout.text().trim().to_owned()
    }
}

/// Waits for a condition; fails with its description when it doesn't come.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes of the host whose command line holds `mark`, ours excepted.
pub fn processes(mark: &str) -> Vec<i32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id().cast_signed())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark))
        })
        .collect()
}

/// A number that no other process has in its command line.
pub fn mark() -> String {
    format!("{}", uuid::Uuid::new_v4().as_u128() % 100_000_000 + 100_000_000)
}
