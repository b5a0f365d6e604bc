//! Real work: what developers run has to run.

use fleet_tools::sandbox::{Run, Sandbox, SandboxOptions, Toolchains};

use crate::place::Place;

#[tokio::test]
async fn a_command_reads_stdin_writes_both_streams_and_ends_with_its_code() {
    let place = Place::new();
    let mut run = place.command(&["sh", "-c", "cat; echo bad >&2; exit 3"]);
    run.stdin = Some(b"\0\xffbytes".to_vec());
    let result = place.run(run).await;
    assert_eq!((result.exit, result.signal, result.stopped), (Some(3), None, None));
    assert_eq!(result.stdout.bytes(), Some(&b"\0\xffbytes"[..]));
    assert_eq!(result.stderr.text(), "bad\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_as_in_a_shell() {
    let place = Place::new();
    let result = place.run(place.command(&["no-such-program"])).await;
    assert_eq!(result.exit, Some(127), "{result:?}");
    assert!(result.stderr.text().contains("no-such-program"));
}

#[tokio::test]
async fn what_a_command_writes_is_there_afterwards_and_belongs_to_the_sandboxs_user() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    place.put("sub/in", "hello");
    let mut run = place.command(&["sh", "-c", "pwd; cp in out"]);
    run.cwd = Some("sub".into());
    assert_eq!(place.run(run).await.stdout.text(), "/work/sub\n");
    let out = place.workspace().join("sub/out");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "hello");
    if let Some((user, _)) = place.sandbox.owner() {
        assert_eq!(out.metadata().unwrap().uid(), user);
    }
}

#[tokio::test]
async fn python_runs_unit_tests_with_processes_sockets_and_temporary_files() {
    let place = Place::new();
    place.put(
        "test_all.py",
        r#"
import multiprocessing, os, socket, subprocess, sys, tempfile, threading, unittest
def square(n): return n * n
class All(unittest.TestCase):
    def test_subprocess(self): self.assertEqual(subprocess.check_output([sys.executable, "-c", "print(1)"]), b"1\n")
    def test_pool(self):
        with multiprocessing.Pool(2) as pool: self.assertEqual(pool.map(square, [1, 2, 3]), [1, 4, 9])
    def test_temporary(self):
        with tempfile.NamedTemporaryFile() as f: f.write(b"x")
    def test_fifo(self): os.mkfifo("/tmp/fifo")
    def test_loopback(self):
        server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hi")).start()
        self.assertEqual(socket.create_connection(server.getsockname()).recv(2), b"hi")
"#,
    );
    let mut run = place.command(&["python3", "-m", "unittest", "-v"]);
    run.toolchains = Toolchains::discover(&["python3"]).unwrap();
    let result = place.run(run).await;
    assert!(result.succeeded(), "{}", result.stderr.text());
    assert!(result.stderr.text().contains("Ran 5 tests"), "{}", result.stderr.text());
    assert!(!place.workspace().join("__pycache__").exists());
}

fn cargo_project(place: &Place) -> Run {
    place.put("Cargo.toml", "[package]\nname = \"sum\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    place.put("src/lib.rs", "pub fn sum(a: i32, b: i32) -> i32 { a + b }\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn adds() { assert_eq!(super::sum(1, 2), 3); }\n}\n");
    let mut run = place.command(&["cargo", "test"]);
    run.toolchains = Toolchains::discover(&["rust"]).unwrap();
    run
}

#[tokio::test]
async fn cargo_builds_links_and_tests_without_network_and_home() {
    let place = Place::new();
    let result = place.run(cargo_project(&place)).await;
    assert!(result.succeeded(), "{}\n{}", result.stdout.text(), result.stderr.text());
    assert!(result.stdout.text().contains("test tests::adds ... ok"));
    assert!(!place.workspace().join("target").exists(), "build output stays out of the workspace");
}

#[tokio::test]
async fn build_output_in_a_scratch_directory_serves_the_next_run() {
    let place = Place::new();
    let mut run = cargo_project(&place);
    let scratch = place.outside("scratch");
    std::fs::create_dir(&scratch).unwrap();
    place.sandbox.adopt(&scratch).unwrap();
    run.scratch = Some(scratch.clone());
    assert!(place.run(run.clone()).await.succeeded());
    assert!(scratch.join("target/debug").exists());
    let again = place.run(run).await;
    assert!(!again.stderr.text().contains("Compiling"), "{}", again.stderr.text());
}

#[tokio::test]
async fn node_runs_its_tests() {
    let place = Place::new();
    let Ok(toolchains) = Toolchains::discover(&["node"]) else {
        return;
    };
    place.put("a.test.mjs", "import test from 'node:test';\nimport assert from 'node:assert';\ntest('adds', () => assert.equal(1 + 1, 2));\n");
    let mut run = place.command(&["node", "--test"]);
    run.toolchains = toolchains;
    let result = place.run(run).await;
    assert!(result.succeeded(), "{} {}", result.stdout.text(), result.stderr.text());
}

#[tokio::test]
async fn git_works_on_files_of_the_workspace() {
    let place = Place::new();
    let script = "git init -q . && echo a > a && git add a && git -c user.name=a -c user.email=a@b commit -qm one && git log --format=%s";
    let result = place.run(place.command(&["sh", "-c", script])).await;
    assert_eq!(result.stdout.text(), "one\n", "{}", result.stderr.text());
}

#[test]
fn the_doctor_finds_every_layer_at_work() {
    let checks = Sandbox::doctor(&SandboxOptions::default());
    for name in ["bubblewrap", "seccomp", "control group", "user", "trial run"] {
        let check = checks.iter().find(|check| check.name == name).unwrap();
        assert!(check.ok, "{check:?}");
    }
}

#[test]
fn without_bubblewrap_nothing_runs_and_the_remedy_is_named() {
    let options = SandboxOptions { bwrap: "/nonexistent/bwrap".into(), ..SandboxOptions::default() };
    let refused = Sandbox::detect(&options).unwrap_err().to_string();
    assert!(refused.contains("bubblewrap") && refused.contains("install"), "{refused}");
}

#[tokio::test]
async fn without_a_control_group_nothing_runs_unless_allowed_by_name_and_then_every_result_says_so() {
    let nowhere = SandboxOptions { cgroup: Some("/no-such-group".into()), ..SandboxOptions::default() };
    let refused = Sandbox::detect(&nowhere).unwrap_err().to_string();
    assert!(refused.contains("allow_without_cgroup"), "{refused}");
    let allowed = SandboxOptions { allow_without_cgroup: true, ..nowhere };
    let place = Place::with(&allowed);
    let result = place.run(place.command(&["sh", "-c", "ulimit -v"])).await;
    assert_eq!(result.stdout.text(), "2097152\n", "the limit on each process remains");
    assert!(result.notes.iter().any(|note| note.contains("no control group")), "{:?}", result.notes);
    assert_eq!(result.tier, "bwrap+seccomp+rlimits");
    let told = Sandbox::doctor(&allowed).into_iter().any(|check| check.detail.contains("allow_without_cgroup"));
    assert!(told);
}

#[test]
fn a_helper_that_is_another_program_is_noticed() {
    let options = SandboxOptions { helper: Some("/bin/true".into()), ..SandboxOptions::default() };
    let refused = Sandbox::detect(&options).unwrap_err().to_string();
    assert!(refused.contains("sandbox_main"), "{refused}");
}
