//! Further tests that tell rivals apart: what their file looks like, and what can be used of a reply.
//!
//! Several different changes may pass the visible tests. What a model writes as further tests is often wrong, so none of
//! them refuses a change; but independent changes that agree on the same of them are likelier to be right.
//! Source: B. Chen et al., CodeT: Code Generation with Generated Tests, ICLR 2023 (arXiv 2207.10397), section 2.2.

use fleet_tools::syntax::{Language, functions, parses};

use crate::localise::SourceText;

/// The beginning of a test file, and where a file that begins so goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What language it is in.
    pub language: Language,
    /// A path beside the existing test file, found by the same runner.
    pub path: String,
    /// Everything before the first test.
    pub head: String,
}

/// The frame that further tests of a test file stand in; none where they can't be a file of their own.
pub fn frame(tests: &SourceText) -> Option<Frame> {
    let language = Language::of(&tests.path)?;
    let (dir, name) = tests.path.rsplit_once('/').map_or(("", tests.path.as_str()), |(dir, name)| (dir, name));
    let name = match language {
        Language::Python => format!("test_more_{}", name.strip_prefix("test_").unwrap_or(name)),
        Language::JavaScript => format!("more-{name}"),
        // Only a file under tests/ is a test by being there.
        Language::Rust if dir == "tests" || dir.ends_with("/tests") => format!("more_{name}"),
        Language::Rust => return None,
    };
    let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
    let first = first_test(&tests.text, language)?;
    let head = tests.text.get(..first)?.trim_end();
    (!head.is_empty()).then(|| Frame { language, path, head: format!("{head}\n") })
}

/// Where the first test begins, at the beginning of its line.
fn first_test(text: &str, language: Language) -> Option<usize> {
    if language == Language::Python {
        let spans = functions(text, language).ok()?;
        let first = spans.iter().find(|s| s.short_name().starts_with("test"))?;
        return Some(text.get(..first.start)?.rfind('\n').map_or(0, |n| n + 1));
    }
    let marks: &[&str] = if language == Language::Rust { &["#[test]"] } else { &["test(", "it("] };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if marks.iter().any(|mark| line.trim_start().starts_with(mark)) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// The longest part of a written test file that parses and has a test, counted in whole tests.
pub fn usable(written: &str, frame: &Frame) -> Option<String> {
    let mut text = written.trim_end().to_owned() + "\n";
    if !text.starts_with(frame.head.trim_end()) {
        text = format!("{}{text}", frame.head);
    }
    let last_mark = |text: &str| {
        let marks: &[&str] = match frame.language {
            Language::Python => &["def test"],
            Language::Rust => &["#[test]"],
            Language::JavaScript => &["test(", "it("],
        };
        let mut at = 0;
        let mut last = None;
        for line in text.split_inclusive('\n') {
            if at >= frame.head.trim_end().len() && marks.iter().any(|m| line.trim_start().starts_with(m)) {
                last = Some(at);
            }
            at += line.len();
        }
        last
    };
    loop {
        let last = last_mark(&text)?;
        if parses(&text, frame.language).is_ok() {
            return Some(text);
        }
        // A reply that was cut ends within a test.
        text.truncate(last);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn file(path: &str, text: &str) -> SourceText {
        SourceText { path: path.into(), text: text.into() }
    }

    const PYTHON: &str = "import unittest\nfrom a import f\n\n\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(f(), 1)\n";

    #[test]
    fn a_frame_is_what_stands_before_the_first_test() {
        let frame = frame(&file("tests/test_a.py", PYTHON)).unwrap();
        assert_eq!(frame.path, "tests/test_more_a.py");
        assert_eq!(frame.head, "import unittest\nfrom a import f\n\n\nclass T(unittest.TestCase):\n");
        let js =
            super::frame(&file("tests/a.test.js", "import test from 'node:test';\n\ntest('x', () => {});\n")).unwrap();
        assert_eq!((js.path.as_str(), js.head.as_str()), ("tests/more-a.test.js", "import test from 'node:test';\n"));
        let rust = super::frame(&file("tests/a.rs", "use a::f;\n\n#[test]\nfn x() {}\n")).unwrap();
        assert_eq!((rust.path.as_str(), rust.head.as_str()), ("tests/more_a.rs", "use a::f;\n"));
        assert_eq!(super::frame(&file("src/lib.rs", "#[test]\nfn x() {}\n")), None);
    }

    #[test]
    fn a_reply_that_was_cut_keeps_its_whole_tests() {
        let frame = frame(&file("tests/test_a.py", PYTHON)).unwrap();
        let written = format!(
            "{}    def test_one(self):\n        self.assertEqual(f(), 1)\n\n    def test_two(self):\n        self.assertEq(f(",
            frame.head
        );
        let kept = usable(&written, &frame).unwrap();
        assert!(kept.contains("test_one") && !kept.contains("test_two"), "{kept}");
        assert_eq!(usable("    def test_one(self:", &frame), None);
        // Only the tests, without the head that they were to begin with.
        assert!(usable("    def test_one(self):\n        pass\n", &frame).unwrap().starts_with("import unittest"));
    }
}
