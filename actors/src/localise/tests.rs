#![allow(clippy::unwrap_used, clippy::expect_used)]

use globset::{Glob, GlobSetBuilder};

use super::*;

fn globs(patterns: &[&str]) -> GlobSet {
    let mut builder = GlobSetBuilder::new();
    for p in patterns {
        builder.add(Glob::new(p).unwrap());
    }
    builder.build().unwrap()
}

fn file(path: &str, text: &str) -> SourceText {
    SourceText { path: path.into(), text: text.into() }
}

struct Case {
    files: Vec<SourceText>,
    failing: Vec<String>,
    passing: Vec<String>,
    output: &'static str,
    story: &'static str,
}

impl Case {
    fn rank(&self) -> Suspects {
        rank(&Evidence {
            spectrum: &[],
            files: &self.files,
            failing: &self.failing,
            passing: &self.passing,
            output: self.output,
            story: self.story,
            test_files: &globs(&["test_*.py", "tests/**", "*.test.js"]),
            protected: &globs(&["vendor/**"]),
        })
    }

    fn names(&self) -> Vec<String> {
        self.rank().candidates.into_iter().map(|c| c.function).collect()
    }
}

fn python() -> Case {
    Case {
        files: vec![
            file(
                "cart.py",
                "class Cart:\n    def __init__(self):\n        self.items = []\n\n    def add(self, item):\n        self.items.append(item)\n\n    def total(self):\n        return sum(price_of(i) for i in self.items)\n\n\ndef price_of(item):\n    return item.price\n\n\ndef unrelated(x):\n    return x\n",
            ),
            file(
                "test_cart.py",
                "import unittest\nfrom cart import Cart\n\n\nclass CartTest(unittest.TestCase):\n    def test_total(self):\n        cart = Cart()\n        cart.add(1)\n        self.assertEqual(cart.total(), 3)\n\n    def test_add(self):\n        cart = Cart()\n        cart.add(1)\n",
            ),
            file("vendor/x.py", "def total():\n    pass\n"),
        ],
        failing: vec!["test_total (test_cart.CartTest.test_total)".into()],
        passing: vec!["test_add (test_cart.CartTest.test_add)".into()],
        output: "File \"/work/test_cart.py\", line 9, in test_total\nAssertionError: 1 != 3",
        story: "The price of a cart ignores the quantity.",
    }
}

#[test]
fn what_only_the_failing_test_calls_comes_before_what_the_passing_one_calls_too() {
    let names = python().names();
    assert_eq!(names[0], "Cart.total");
    let place = |name: &str| names.iter().position(|n| n == name);
    assert!(place("price_of") < Some(3) && place("Cart.__init__") > place("price_of"), "{names:?}");
    assert!(!names.contains(&"unrelated".to_owned()), "{names:?}");
}

#[test]
fn tests_and_protected_files_are_never_suspected() {
    let suspects = python().rank();
    assert!(suspects.candidates.iter().all(|c| c.path == "cart.py"), "{suspects:?}");
    assert_eq!(suspects.considered, 5);
}

#[test]
fn a_stack_frame_outweighs_everything_else() {
    let mut case = python();
    case.output = "  File \"/work/cart.py\", line 13, in price_of\nAttributeError: price";
    assert_eq!(case.names()[0], "price_of");
    let first = case.rank().candidates.remove(0);
    assert!(first.reasons.iter().any(|r| r.contains("cart.py:13")), "{first:?}");
}

#[test]
fn the_same_evidence_gives_the_same_order() {
    assert_eq!(python().rank(), python().rank());
}

#[test]
fn without_any_evidence_every_function_is_a_suspect() {
    let mut case = python();
    case.files.retain(|f| f.path != "test_cart.py");
    (case.failing, case.passing, case.output, case.story) = (vec![], vec![], "", "");
    assert_eq!(case.names().len(), 5);
}

#[test]
fn rust_tests_inside_the_source_are_test_code_and_point_at_what_they_call() {
    let case = Case {
        files: vec![file(
            "src/lib.rs",
            "pub fn parse(s: &str) -> u32 {\n    digits(s)\n}\n\nfn digits(s: &str) -> u32 {\n    s.len() as u32\n}\n\npub fn other() {}\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n\n    #[test]\n    fn reads_a_number() {\n        assert_eq!(parse(\"12\"), 12);\n    }\n}\n",
        )],
        failing: vec!["tests::reads_a_number".into()],
        passing: vec![],
        output: "thread 'tests::reads_a_number' panicked at src/lib.rs:17:9:\nleft: 2",
        story: "Numbers are read wrongly.",
    };
    assert_eq!(case.names(), ["parse", "digits"]);
}

#[test]
fn javascript_tests_without_functions_are_found_by_their_title() {
    let case = Case {
        files: vec![
            file(
                "slug.js",
                "function slugify(s) {\n  return s;\n}\nfunction other() {}\nmodule.exports = { slugify };\n",
            ),
            file(
                "slug.test.js",
                "const { slugify } = require('./slug');\ntest('joins words', () => { assert.equal(slugify('a b'), 'a-b'); });\n",
            ),
        ],
        failing: vec!["joins words".into()],
        passing: vec![],
        output: "'a b' !== 'a-b'",
        story: "",
    };
    assert_eq!(case.names()[0], "slugify");
}
