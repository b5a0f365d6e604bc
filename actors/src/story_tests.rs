#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const GOOD: &str = "---
title: Total ignores quantities
build: python3 -m compileall -q .
test: python3 -m unittest -v
results: unittest
test_files:
  - test_*.py
protected: [setup.cfg]
acceptance:
  - The total counts every item.
seed: 7
---

The cart's total is wrong.
";

#[test]
fn a_complete_story_is_read_with_all_its_parts() {
    let story = Story::parse(GOOD).unwrap();
    assert_eq!(story.title, "Total ignores quantities");
    assert_eq!(story.results, ResultsFormat::Unittest);
    assert_eq!(story.seed, 7);
    assert_eq!(story.description, "The cart's total is wrong.");
    assert!(story.test_file_set().is_match("test_cart.py"));
    assert!(story.protected_set().is_match("setup.cfg"));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_read_too() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert_eq!(Story::parse(&text).unwrap().title, "Total ignores quantities");
}

#[test]
fn without_test_globs_the_conventions_hold() {
    let story = Story::parse("---\ntitle: a\ntest: make test\n---\nb").unwrap();
    assert!(story.test_file_set().is_match("tests/deep/a.rs"));
    assert!(story.test_file_set().is_match("pkg/test_a.py"));
    assert!(!story.test_file_set().is_match("pkg/a.py"));
    assert_eq!(story.results, ResultsFormat::Exit);
}

#[test]
fn an_error_names_line_column_and_remedy() {
    let cases = [
        ("no front matter", "Hello\n", 1, 1, "front matter"),
        ("never closed", "---\ntitle: a\n", 2, 1, "---"),
        ("unknown key", "---\ntitle: a\ntest: x\ntset: y\n---\n", 4, 1, "the keys are"),
        ("wrong format", "---\ntitle: a\ntest: x\nresults: junit\n---\n", 4, 10, "unittest, libtest"),
        ("empty test", "---\ntitle: a\ntest: ''\n---\n", 3, 1, "python3 -m unittest"),
        ("empty title", "---\ntest: x\ntitle: ' '\n---\n", 3, 1, "one line"),
        ("bad glob", "---\ntitle: a\ntest: x\nprotected: ['[']\n---\n", 4, 1, "globs such as"),
        ("bad yaml", "---\ntitle: [a\ntest: x\n---\n", 2, 8, "YAML"),
    ];
    for (name, text, line, column, remedy) in cases {
        let error = Story::parse(text).expect_err(name);
        assert_eq!((error.line, error.column), (line, column), "{name}: {error}");
        assert!(error.to_string().contains(remedy), "{name}: {error}");
    }
}

#[test]
fn a_story_without_a_test_command_says_how_to_add_one() {
    let error = Story::parse("---\ntitle: a\n---\nbody").unwrap_err();
    assert!(error.what.contains("test"), "{error}");
    assert!(error.remedy.contains("test: python3 -m unittest -v"), "{error}");
}

#[test]
fn a_huge_story_is_refused_before_it_is_parsed() {
    let text = format!("{GOOD}{}", "x".repeat(MAX_STORY_BYTES));
    assert!(Story::parse(&text).unwrap_err().what.contains("bytes"));
}
