//! The captured outputs are real: Python 3.11, cargo 1.95, Node 20.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;

fn names(report: &TestReport, wanted: TestOutcome) -> Vec<&str> {
    report.tests.iter().filter(|(_, o)| **o == wanted).map(|(n, _)| n.as_str()).collect()
}

fn counts(report: &TestReport) -> [u32; 3] {
    [report.passed, report.failed, report.skipped]
}

#[test]
fn unittest_names_what_failed_and_counts_the_rest() {
    let report = parse_text(Format::Unittest, "", include_str!("captured/unittest_failing.txt"), Some(1), true);
    let failing = ["test_a.A.test_bad", "test_a.A.test_err", "test_a.A.test_sub", "unittest.loader._FailedTest.test_b"];
    assert_eq!(names(&report, TestOutcome::Failed), failing);
    assert_eq!(counts(&report), [3, 4, 1]);
    assert!(report.complete && !report.ok);
    let bad = report.failures.iter().find(|f| f.test == "test_a.A.test_bad").unwrap();
    assert!(bad.text.contains("AssertionError: 1 != 2") && !bad.text.contains("Ran 8"));
}

#[test]
fn unittest_v_names_every_test() {
    let report = parse_text(Format::Unittest, "", include_str!("captured/unittest_verbose.txt"), Some(1), true);
    assert_eq!(names(&report, TestOutcome::Passed), ["test_a.A.test_doc", "test_a.A.test_ok", "test_a.A.test_xf"]);
    assert_eq!(names(&report, TestOutcome::Skipped), ["test_a.A.test_skip"]);
    assert_eq!(names(&report, TestOutcome::Failed).len(), 4);
    assert_eq!(counts(&report), [3, 4, 1]);
    assert!(report.complete);
}

#[test]
fn a_passing_run_is_ok_whatever_the_tests_print() {
    let (out, err) = (include_str!("captured/unittest_ok.stdout.txt"), include_str!("captured/unittest_ok.stderr.txt"));
    let report = parse_text(Format::Unittest, out, err, Some(0), true);
    assert!(report.ok && report.complete);
    assert_eq!(counts(&report), [2, 0, 0]);
}

#[test]
fn libtest_reads_every_binary_and_doc_test() {
    let (out, err) =
        (include_str!("captured/libtest_failing.stdout.txt"), include_str!("captured/libtest_failing.stderr.txt"));
    let report = parse_text(Format::Libtest, out, err, Some(101), true);
    assert_eq!(names(&report, TestOutcome::Failed), ["tests::fails"]);
    assert_eq!(names(&report, TestOutcome::Skipped), ["tests::ignored"]);
    assert_eq!(
        names(&report, TestOutcome::Passed),
        ["doc cap: src/lib.rs - add (line 1)", "tests/it.rs: adds", "tests::adds", "tests::panics"]
    );
    assert!(report.complete && !report.ok);
    assert_eq!(report.failures.len(), 1);
    assert!(report.failures[0].text.contains("left == right"));
}

#[test]
fn a_build_that_breaks_is_incomplete_and_shows_the_error() {
    let (out, err) =
        (include_str!("captured/libtest_broken.stdout.txt"), include_str!("captured/libtest_broken.stderr.txt"));
    let report = parse_text(Format::Libtest, out, err, Some(101), true);
    assert!(!report.complete && !report.ok && report.tests.is_empty());
    assert_eq!(report.failures[0].test, RUN);
    assert!(report.failures[0].text.starts_with("error: expected expression"));
}

#[test]
fn node_reads_tap_and_spec_alike() {
    for text in [include_str!("captured/node_tap.txt"), include_str!("captured/node_spec.txt")] {
        let report = parse_text(Format::Node, text, "", Some(1), true);
        assert_eq!(names(&report, TestOutcome::Failed), ["fails # here", "suite > inner bad"]);
        assert_eq!(names(&report, TestOutcome::Passed), ["adds", "other file", "suite > deep > x", "suite > inner ok"]);
        assert_eq!(names(&report, TestOutcome::Skipped), ["skipped", "todo"]);
        assert_eq!(counts(&report), [4, 2, 2]);
        assert!(report.complete && !report.ok);
        let boom = report.failures.iter().find(|f| f.test == "suite > inner bad").unwrap();
        assert!(boom.text.contains("boom"), "{boom:?}");
    }
    // The difference of a long value: its own `...` doesn't end the details.
    let long = "TAP version 13\nnot ok 1 - long\n  ---\n  error: |-\n    + actual\n    ...\n    -   1\n  ...\n1..1\n\
                # tests 1\n# pass 0\n# fail 1\n";
    let report = parse_text(Format::Node, long, "", Some(1), true);
    assert!(report.failures[0].text.contains("-   1"), "{report:?}");
    assert!(parse_text(Format::Node, include_str!("captured/node_tap_ok.txt"), "", Some(0), true).ok);
}

#[test]
fn a_forged_summary_does_not_make_a_report_complete() {
    let forged =
        "running 2 tests\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
    assert!(!parse_text(Format::Libtest, forged, "", Some(0), true).ok);
    let twice = "running 1 test\ntest a ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
    assert!(!parse_text(Format::Libtest, twice, "", Some(0), true).ok);
    let cut = "FAIL: test_x (a.A.test_x)\n----\nRan 1 test in 0.1s\n\nOK\n";
    assert!(!parse_text(Format::Unittest, "", cut, Some(1), true).ok);
}

#[test]
fn the_exit_code_and_missing_output_have_the_last_word() {
    let err = include_str!("captured/unittest_ok.stderr.txt");
    assert!(!parse_text(Format::Unittest, "", err, Some(1), true).ok);
    assert!(!parse_text(Format::Unittest, "", err, Some(0), false).ok);
    assert!(!parse_text(Format::Unittest, "", err, None, false).ok);
    assert!(parse_text(Format::Exit, "", "", Some(0), true).ok);
    let failed = parse_text(Format::Exit, "", "boom", Some(3), true);
    assert_eq!((failed.ok, counts(&failed)), (false, [0, 1, 0]));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(lines in proptest::collection::vec(prop_oneof![
        Just("running 1 test".to_owned()), Just("test a ... ok".to_owned()), Just("Ran 1 test in 0.0s".to_owned()), Just("OK".to_owned()),
        Just("ok 1 - a".to_owned()), Just("    not ok 1 - b # SKIP".to_owned()), Just("▶ s".to_owned()), Just("  ✖ x (1ms)".to_owned()),
        Just("TAP version 13".to_owned()), Just("---- a stdout ----".to_owned()), Just("test_x (a.B) ... ok".to_owned()), "\\PC{0,20}",
    ], 0..15)) {
        let text = lines.join("\n");
        for format in [Format::Unittest, Format::Libtest, Format::Node, Format::Exit] {
            for (out, err) in [(text.as_str(), ""), ("", text.as_str()), (text.as_str(), text.as_str())] {
                let report = parse_text(format, out, err, Some(0), true);
                prop_assert!(!report.ok || (report.complete && report.failing().next().is_none()));
            }
        }
    }
}
