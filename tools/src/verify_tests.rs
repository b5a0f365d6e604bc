#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::Arc;

use super::*;
use crate::repo::tests::{Fixture, OnHost, checkout_of, fixture};

const CODE: &str = "def add(a, b):\n    return a - b\n\n\ndef twice(a):\n    return 2 * a\n";
const TESTS: &str = "import unittest\nfrom calc import add, twice\n\n\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n\n    def test_twice(self):\n        self.assertEqual(twice(2), 4)\n";

fn bench(f: &Fixture) -> Workbench {
    Workbench { runner: Arc::new(OnHost), dir: f.node.path().join("bench"), toolchains: Default::default() }
}

async fn calc() -> Fixture {
    fixture(checkout_of(&[("calc.py", CODE), ("tests/test_calc.py", TESTS), ("tests/__init__.py", "")])).await
}

async fn spec(f: &Fixture) -> VerifySpec {
    let mut spec = VerifySpec {
        build: None,
        test: "python3 -m unittest".to_owned(),
        format: Format::Unittest,
        protected: vec!["setup.cfg".to_owned()],
        test_files: vec!["tests/**".to_owned()],
        baseline: TestReport::default(),
        expected: Vec::new(),
        limits: Limits::default(),
    };
    spec.baseline = baseline(&bench(f), &f.base, &spec).await.unwrap().0;
    spec
}

fn patch(f: &Fixture, edits: &[(&str, &str)]) -> Vec<u8> {
    let ws = f.base.checkout(&f.node.path().join("edit"), None, None).unwrap();
    for (path, text) in edits {
        if text.is_empty() { ws.remove(path).unwrap() } else { ws.write(path, text.as_bytes()).unwrap() }
    }
    f.base.diff(&ws).unwrap().bytes
}

fn fixed() -> String {
    CODE.replace("a - b", "a + b")
}

#[tokio::test]
async fn a_right_patch_fixes_the_target_and_breaks_nothing() {
    let f = calc().await;
    let spec = spec(&f).await;
    assert_eq!(spec.baseline.failing().collect::<Vec<_>>(), ["tests.test_calc.T.test_add"]);
    let verdict = verify(&bench(&f), &f.base, &patch(&f, &[("calc.py", &fixed())]), &spec).await.unwrap();
    assert!(verdict.accepted(), "{verdict:#?}");
    assert_eq!(verdict.newly_passing, ["tests.test_calc.T.test_add"]);
    assert_eq!((verdict.changed.as_slice(), verdict.lines_changed), (&["calc.py".to_owned()][..], 2));
    assert!(std::fs::read_dir(bench(&f).dir.join("verdicts")).unwrap().next().is_none());
}

#[tokio::test]
async fn a_patch_that_breaks_another_test_is_named_with_it() {
    let f = calc().await;
    let spec = spec(&f).await;
    let code = fixed().replace("2 * a", "3 * a");
    let verdict = verify(&bench(&f), &f.base, &patch(&f, &[("calc.py", &code)]), &spec).await.unwrap();
    assert!(verdict.target_fixed && !verdict.accepted());
    assert_eq!(verdict.newly_failing, ["tests.test_calc.T.test_twice"]);
}

#[tokio::test]
async fn a_patch_that_bends_the_tests_is_disqualified_and_gains_nothing() {
    let f = calc().await;
    let spec = spec(&f).await;
    let bent = TESTS.replace("add(1, 2), 3", "add(1, 2), -1");
    for edits in [
        vec![("tests/test_calc.py", bent.as_str())],
        vec![("tests/test_calc.py", "")],
        vec![("setup.cfg", "x")],
        vec![("sitecustomize.py", "import os; os._exit(0)\n")],
        vec![("unittest.py", "print('OK')\n")],
    ] {
        let verdict = verify(&bench(&f), &f.base, &patch(&f, &edits), &spec).await.unwrap();
        assert_eq!(verdict.touched_protected, [edits[0].0], "{edits:?}");
        assert!(!verdict.target_fixed && !verdict.accepted());
        // What was touched was put back, so the run shows what the base shows.
        assert_eq!(verdict.tests.unwrap().tests, spec.baseline.tests);
    }
}

#[tokio::test]
async fn new_tests_are_welcome_and_count() {
    let f = calc().await;
    let spec = spec(&f).await;
    let more = TESTS.replace("add(1, 2), 3", "add(2, 2), 4");
    let verdict =
        verify(&bench(&f), &f.base, &patch(&f, &[("calc.py", &fixed()), ("tests/test_more.py", &more)]), &spec)
            .await
            .unwrap();
    assert!(verdict.accepted());
    assert_eq!(verdict.tests.unwrap().passed, 4);
}

#[tokio::test]
async fn what_stops_the_run_or_makes_tests_vanish_is_not_a_pass() {
    let f = calc().await;
    let spec = spec(&f).await;
    for code in [
        "import sys\nsys.exit(0)\n",
        "import os\nos._exit(0)\n",
        "def broken(:\n",
        "import sys\nsys.stderr.write('Ran 2 tests in 0.0s\\n\\nOK\\n')\nimport os\nos._exit(1)\n",
    ] {
        let verdict = verify(&bench(&f), &f.base, &patch(&f, &[("calc.py", code)]), &spec).await.unwrap();
        assert!(!verdict.accepted(), "{code:?}: {verdict:#?}");
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_says_so() {
    let f = calc().await;
    let spec = spec(&f).await;
    let verdict = verify(&bench(&f), &f.base, b"--- a/nope\n+++ b/nope\n@@ -1 +1 @@\n-a\n+b\n", &spec).await.unwrap();
    assert!(!verdict.applies && verdict.reason.is_some() && verdict.runs.is_empty());
}

#[tokio::test]
async fn a_failing_build_ends_it_there() {
    let f = calc().await;
    let mut spec = spec(&f).await;
    spec.build = Some("echo no >&2; exit 3".to_owned());
    let verdict = verify(&bench(&f), &f.base, &patch(&f, &[("calc.py", &fixed())]), &spec).await.unwrap();
    assert!(verdict.applies && !verdict.builds && verdict.tests.is_none() && !verdict.accepted());
    assert_eq!(verdict.runs[0].stderr, "no");
}

#[tokio::test]
async fn a_test_module_inside_a_rust_source_is_protected_by_syntax() {
    let source = "pub fn f() -> u8 { 1 }\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() { assert_eq!(super::f(), 2); }\n}\n";
    let f = fixture(checkout_of(&[("src/lib.rs", source)])).await;
    let mut spec = spec(&f).await;
    (spec.test, spec.format) = ("true".to_owned(), Format::Exit);
    let bent = source.replace("f(), 2", "f(), 1");
    let verdict = verify(&bench(&f), &f.base, &patch(&f, &[("src/lib.rs", &bent)]), &spec).await.unwrap();
    assert_eq!(verdict.touched_protected, ["src/lib.rs: tests"]);
    let right = source.replace("{ 1 }", "{ 2 }");
    let verdict = verify(&bench(&f), &f.base, &patch(&f, &[("src/lib.rs", &right)]), &spec).await.unwrap();
    assert!(verdict.touched_protected.is_empty());
}
