//! The whole way through the real sandbox: import, edit, run, verify; in the three languages.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::path::Path;
use std::sync::Arc;

use crate::repo::tests::checkout_of;
use crate::repo::{BaseRepo, Caps, RepoError, client};
use crate::results::{Format, TestReport};
use crate::run::Workbench;
use crate::sandbox::{Limits, Sandbox, SandboxOptions, Toolchains};
use crate::verify::{Verdict, VerifySpec, baseline, verify};

struct Story {
    files: &'static [(&'static str, &'static str)],
    test: &'static str,
    format: Format,
    tests: &'static str,
    fix: (&'static str, &'static str, &'static str),
    toolchain: &'static str,
}

const PYTHON: Story = Story {
    files: &[
        ("calc.py", "def add(a, b):\n    return a - b\n"),
        (
            "test_calc.py",
            "import unittest, calc\nclass T(unittest.TestCase):\n    def test_add(self): self.assertEqual(calc.add(1, 2), 3)\n",
        ),
    ],
    test: "python3 -m unittest",
    format: Format::Unittest,
    tests: "test_*.py",
    fix: ("calc.py", "a - b", "a + b"),
    toolchain: "python3",
};

const RUST: Story = Story {
    files: &[
        ("Cargo.toml", "[package]\nname = \"calc\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/lib.rs", "pub fn add(a: u8, b: u8) -> u8 { a - b }\n"),
        ("tests/calc.rs", "#[test]\nfn adds() { assert_eq!(calc::add(2, 1), 3); }\n"),
    ],
    test: "cargo test --offline",
    format: Format::Libtest,
    tests: "tests/**",
    fix: ("src/lib.rs", "a - b", "a + b"),
    toolchain: "rust",
};

const JAVASCRIPT: Story = Story {
    files: &[
        ("calc.js", "exports.add = (a, b) => a - b;\n"),
        (
            "calc.test.js",
            "const { test } = require('node:test');\nconst assert = require('node:assert');\ntest('adds', () => assert.strictEqual(require('./calc.js').add(1, 2), 3));\n",
        ),
    ],
    test: "node --test",
    format: Format::Node,
    tests: "*.test.js",
    fix: ("calc.js", "a - b", "a + b"),
    toolchain: "node",
};

fn bench(dir: &Path, toolchain: &str) -> Workbench {
    let sandbox = Sandbox::detect(&SandboxOptions::default()).unwrap();
    Workbench {
        runner: Arc::new(sandbox),
        dir: dir.join("bench"),
        toolchains: Toolchains::discover(&[toolchain]).unwrap(),
    }
}

async fn import(bench: &Workbench, files: &[(&str, &str)], dir: &Path) -> Result<BaseRepo, RepoError> {
    let user = checkout_of(files);
    let facts = client::inspect(user.path()).unwrap();
    let pack = dir.join("pack");
    client::make_pack(&facts, &pack).unwrap();
    BaseRepo::import(&pack, &facts.head, &dir.join("job"), &Caps::default(), &*bench.runner).await
}

async fn judged(story: &Story) -> (TestReport, Verdict, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), story.toolchain);
    let base = import(&bench, story.files, dir.path()).await.unwrap();
    let mut spec = VerifySpec {
        build: None,
        test: story.test.to_owned(),
        format: story.format,
        protected: Vec::new(),
        test_files: vec![story.tests.to_owned()],
        baseline: TestReport::default(),
        expected: Vec::new(),
        limits: Limits::default(),
    };
    spec.baseline = baseline(&bench, &base, &spec).await.unwrap().0;
    let workspace = base.checkout(&dir.path().join("ws"), None, bench.runner.owner()).unwrap();
    let (path, from, to) = story.fix;
    let text = String::from_utf8(workspace.read(path).unwrap().unwrap()).unwrap();
    workspace.write(path, text.replace(from, to).as_bytes()).unwrap();
    let run = bench.shell(&workspace, story.test, &spec.limits).await.unwrap();
    assert!(run.succeeded(), "{}\n{}", run.stdout.text(), run.stderr.text());
    let patch = base.diff(&workspace).unwrap();
    let verdict = verify(&bench, &base, &patch.bytes, &spec).await.unwrap();
    (spec.baseline, verdict, patch.paths())
}

async fn is_solved(story: &Story) {
    let (baseline, verdict, changed) = judged(story).await;
    assert!(!baseline.ok && baseline.complete && baseline.failed == 1, "{baseline:#?}");
    assert!(verdict.accepted(), "{verdict:#?}");
    assert_eq!(verdict.newly_passing.len(), 1);
    // Build output and lock files of the run are no part of the patch.
    assert_eq!(changed, [story.fix.0]);
    assert!(verdict.runs[0].tier.starts_with("bwrap"), "{:?}", verdict.runs[0].tier);
}

#[tokio::test]
async fn a_python_story_is_solved_in_the_sandbox() {
    is_solved(&PYTHON).await;
}

#[tokio::test]
async fn a_rust_story_is_solved_in_the_sandbox() {
    is_solved(&RUST).await;
}

#[tokio::test]
async fn a_javascript_story_is_solved_in_the_sandbox() {
    is_solved(&JAVASCRIPT).await;
}

#[tokio::test]
async fn a_damaged_bundle_is_refused_by_the_sandbox_before_it_reaches_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), "python3");
    let user = checkout_of(PYTHON.files);
    let facts = client::inspect(user.path()).unwrap();
    let pack = dir.path().join("pack");
    client::make_pack(&facts, &pack).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let at = bytes.len() - 25;
    bytes[at] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let job = dir.path().join("job");
    let result = BaseRepo::import(&pack, &facts.head, &job, &Caps::default(), &*bench.runner).await;
    assert!(matches!(&result, Err(RepoError::BadBundle(why)) if why.contains("unpack")), "{result:?}");
    assert!(!job.join("base.git").exists());
    assert_eq!(std::fs::read_dir(&job).unwrap().count(), 0);
}
