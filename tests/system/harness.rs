//! A real node and a real client: `fleetd` with the mock engine on a free port, its state in a temporary directory,
//! and a git repository with one failing test to solve.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up; generous, because other builds share the machine.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A temporary place with a node's configuration and state, and a repository.
pub struct Place {
    dir: tempfile::TempDir,
    port: u16,
    /// More keys of `[cluster]`: what the node offers.
    offer: &'static str,
}

/// A running node; killed when dropped.
pub struct Node {
    child: Child,
    log: PathBuf,
}

/// What a run of `fleet` came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A place whose node answers by this script of the fixtures.
    pub fn new(script: &str) -> Self {
        Self::offering(script, "")
    }

    /// The same for a node that offers this to actors, in keys of `[cluster]`.
    pub fn offering(script: &str, offer: &'static str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), port: free_port(), offer };
        place.configure(script, "");
        fs::create_dir(place.temporary()).unwrap();
        make_repo(&place.repo());
        place
    }

    /// Writes the node's configuration anew, with more keys at its end.
    pub fn configure(&self, script: &str, more: &str) {
        let text = format!(
            "[node]\nlisten = \"127.0.0.1:{}\"\n\n[cluster]\nlisten = \"127.0.0.1:0\"\n{}\n[inference]\nallow_mock = true\n\n\
             [[inference.engine]]\nname = \"scripted\"\nkind = \"mock\"\nscript = \"{}\"\n\n{more}",
            self.port,
            self.offer,
            fixture(script).display(),
        );
        fs::write(self.config(), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("cluster.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Where the node puts temporary files.
    pub fn temporary(&self) -> PathBuf {
        self.path().join("tmp")
    }

    pub fn repo(&self) -> PathBuf {
        self.path().join("repo")
    }

    pub fn story(&self) -> PathBuf {
        fixture("clamp/story.md")
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn token(&self) -> String {
        fs::read_to_string(self.state().join("token")).unwrap().trim().to_owned()
    }

    /// `fleetd` on this place, not yet started.
    pub fn fleetd(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetd"));
        command.arg("--config").arg(self.config()).arg("--state-dir").arg(self.state());
        command.env_remove("FLEET_STATE_DIR").env_remove("FLEET_LOG");
        command.env("TMPDIR", self.temporary());
        command
    }

    /// Starts a node and waits until it is ready.
    pub fn start(&self) -> Node {
        Node::start(self.fleetd(), self.path().join("fleetd.log"), &self.url())
    }

    /// `fleet` with these arguments, speaking to this place's node.
    pub fn fleet(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.env("FLEET_SERVER", self.url()).env("FLEET_STATE_DIR", self.state());
        command.env_remove("FLEET_TOKEN_FILE").env("NO_COLOR", "1");
        command
    }

    /// Runs `fleet` to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.fleet(args))
    }

    /// Submits the fixture's story with these further arguments.
    pub fn submit(&self, more: &[&str]) -> Ran {
        let (repo, story) = (self.repo(), self.story());
        let mut args = vec!["job", "submit", "--repo", repo.to_str().unwrap()];
        args.extend(["--story", story.to_str().unwrap()]);
        args.extend(more);
        self.run(&args)
    }

    /// Submits, returns at once, and gives the job's id.
    pub fn submit_detached(&self, more: &[&str]) -> String {
        let mut args = vec!["--detach"];
        args.extend(more);
        let ran = self.submit(&args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout.trim().to_owned()
    }

    /// The state of a job.
    pub fn job_state(&self, job: &str) -> String {
        let ran = self.run(&["job", "status", job, "-o", "json"]);
        let record: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        record["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Runs git in the repository.
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.repo(), args)
    }
}

impl Node {
    /// Starts a node that will serve there, and waits until it is ready.
    pub fn start(mut fleetd: Command, log: PathBuf, url: &str) -> Self {
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = fleetd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let (mut node, url) = (Self { child, log }, format!("{url}/readyz"));
        node.wait_until(|| http_status(&url) == Some(200));
        node
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let (signal, pid) = (format!("-{name}"), self.pid().to_string());
        assert!(Command::new("kill").args([&signal, &pid]).status().unwrap().success());
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "fleetd doesn't stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a condition while the node lives.
    pub fn wait_until(&mut self, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + DEADLINE;
        while !holds() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("fleetd ended ({status}):\n{}", self.log());
            }
            assert!(Instant::now() < until, "waited too long; fleetd said:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- fleetd said:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, within the deadline.
pub fn finish(mut command: Command) -> Ran {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |stream: &mut dyn Read| {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    let errors = std::thread::spawn(move || read(&mut err));
    let output = std::thread::spawn(move || read(&mut out));
    let until = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} doesn't end; stderr:\n{}", errors.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Ran { code: status.code(), stdout: output.join().unwrap(), stderr: errors.join().unwrap() }
}

/// A file of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The status of a GET, without a client library: the node must answer anybody.
pub fn http_status(url: &str) -> Option<u16> {
    use std::io::Write;
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Runs git and gives its stdout.
pub fn git(repo: &Path, args: &[&str]) -> String {
    let output: Output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgSign=false"])
        .args(args)
        .current_dir(repo)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository with a history of two commits and a test that fails.
fn make_repo(repo: &Path) {
    fs::create_dir_all(repo.join("tests")).unwrap();
    git(repo, &["init", "-q"]);
    fs::write(repo.join("README.md"), "# ranges\n").unwrap();
    git(repo, &["add", "-A"]);
    git(repo, &["commit", "-q", "-m", "Start"]);
    for (from, to) in [("ranges.py", "ranges.py"), ("test_ranges.py", "tests/test_ranges.py")] {
        fs::copy(fixture("clamp").join(from), repo.join(to)).unwrap();
    }
    fs::write(repo.join("tests/__init__.py"), "").unwrap();
    git(repo, &["add", "-A"]);
    git(repo, &["commit", "-q", "-m", "Add ranges"]);
}

/// Numbers that look random and are the same each time: where a test kills, it kills there again.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (Knuth's MMIX generator; the high bits are the good ones).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Command lines of processes that mention this text.
pub fn processes_with(text: &str) -> Vec<String> {
    let command_line = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(text).then_some(line)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(command_line).collect()
}

/// Files and directories directly below a directory; none if it isn't there.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(dir).into_iter().flatten().flatten();
    listed.map(|entry| entry.path()).collect()
}
