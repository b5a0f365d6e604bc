#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::syntax::functions;
use proptest::prelude::*;

const PYTHON: &str = "import os\n\nX = 1  # kept\n\ndef f(a):\n    return a\n\n\nclass A:\n    \"\"\"Doc.\"\"\"\n\n    @property\n    def g(self):\n        return 1\n\n    def h(self, x):\n        # comment\n        return x\n\n\ndef last():\n    pass\n";
const RUST: &str = "use std::fmt;\n\n/// Doc.\n#[inline]\npub fn f(a: u8) -> u8 {\n    a\n}\n\nimpl S {\n    /// M.\n    pub fn m(&self) -> u8 {\n        1\n    }\n}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() {}\n}\n";
const JS: &str = "'use strict';\n\nexport function f(a) {\n  return a;\n}\n\nconst g = (x) => x + 1;\n\nclass A {\n  m(x) {\n    return x;\n  }\n}\n\nexports.h = function () {\n  return 1;\n};\n";

fn replaced(source: &str, language: Language, name: &str, code: &str) -> String {
    replace_function(source, language, name, code).unwrap()
}

#[test]
fn a_top_level_function_is_replaced_in_each_language() {
    let python = replaced(PYTHON, Language::Python, "f", "```python\ndef f(a):\n    return a + 1\n```");
    assert_eq!(python, PYTHON.replace("    return a\n", "    return a + 1\n"));
    let rust = replaced(RUST, Language::Rust, "f", "pub fn f(a: u8) -> u8 {\n    a + 1\n}");
    assert_eq!(rust, RUST.replace("    a\n}", "    a + 1\n}"));
    let js = replaced(JS, Language::JavaScript, "f", "export function f(a) {\n  return a + 1;\n}");
    assert_eq!(js, JS.replace("return a;", "return a + 1;"));
}

#[test]
fn a_method_may_come_bare_or_inside_its_class() {
    let expected = PYTHON.replace("return x\n", "return -x\n");
    for code in [
        "def h(self, x):\n    # comment\n    return -x",
        "class A:\n    def h(self, x):\n        # comment\n        return -x\n",
        "    def h(self, x):\n        # comment\n        return -x\n",
    ] {
        assert_eq!(replaced(PYTHON, Language::Python, "A.h", code), expected, "{code}");
    }
    let expected = JS.replace("return x;", "return -x;");
    for code in
        ["m(x) {\n  return -x;\n}", "class A {\n  m(x) {\n    return -x;\n  }\n}", "function m(x) {\n  return -x;\n}"]
    {
        assert_eq!(replaced(JS, Language::JavaScript, "A.m", code), expected, "{code}");
    }
    let expected = RUST.replace("        1\n", "        2\n");
    for code in ["pub fn m(&self) -> u8 {\n    2\n}", "impl S {\n    pub fn m(&self) -> u8 {\n        2\n    }\n}"] {
        assert_eq!(replaced(RUST, Language::Rust, "S::m", code), expected, "{code}");
    }
}

#[test]
fn what_is_in_front_of_a_function_stays_unless_the_new_one_brings_its_own() {
    let kept = replaced(PYTHON, Language::Python, "g", "def g(self):\n    return 2");
    assert_eq!(kept, PYTHON.replace("return 1", "return 2"));
    let own = replaced(PYTHON, Language::Python, "A.g", "@cached\ndef g(self):\n    return 2");
    assert_eq!(own, PYTHON.replace("@property", "@cached").replace("return 1", "return 2"));
    let rust = replaced(RUST, Language::Rust, "f", "/// New.\npub fn f(a: u8) -> u8 {\n    a\n}");
    assert_eq!(rust, RUST.replace("/// Doc.\n#[inline]\n", "/// New.\n"));
}

#[test]
fn arrow_functions_and_assigned_ones_are_replaced_whole() {
    let js = replaced(JS, Language::JavaScript, "g", "const g = (x) => x + 2");
    assert_eq!(js, JS.replace("x + 1", "x + 2"));
    let js = replaced(JS, Language::JavaScript, "h", "exports.h = function () {\n  return 2;\n};");
    assert_eq!(js, JS.replace("return 1;", "return 2;"));
}

#[test]
fn the_text_of_a_string_over_lines_is_not_indented() {
    let code = "def h(self, x):\n    y = '''\nraw\n  text'''\n    return y";
    let python = replaced(PYTHON, Language::Python, "A.h", code);
    assert!(python.contains("        y = '''\nraw\n  text'''\n        return y\n"), "{python}");
}

#[test]
fn code_that_is_not_that_function_is_refused_with_a_reason() {
    let refused = |name: &str, code: &str| replace_function(PYTHON, Language::Python, name, code).unwrap_err();
    assert!(matches!(refused("nope", "def nope(): pass"), SyntaxError::NoSuchFunction { .. }));
    assert!(matches!(refused("f", "def other(): pass"), SyntaxError::NotDefined { .. }));
    assert!(matches!(refused("f", "just words about it"), SyntaxError::Parse { .. } | SyntaxError::NotDefined { .. }));
    assert!(matches!(refused("f", "def f(a:\n    return"), SyntaxError::Parse { .. }));
    assert!(matches!(refused("f", "import math\ndef f(a):\n    return math.floor(a)"), SyntaxError::Extra { .. }));
    assert!(matches!(refused("f", "def aid(): pass\ndef f(a):\n    return aid()"), SyntaxError::Extra { .. }));
}

#[test]
fn what_comes_beside_the_function_and_is_not_needed_is_dropped() {
    let code = "import os\n\ndef f(a):\n    return os.sep\n\nprint(f(1))\n";
    assert_eq!(replaced(PYTHON, Language::Python, "f", code), PYTHON.replace("return a\n", "return os.sep\n"));
}

#[test]
fn of_two_functions_of_one_name_none_is_guessed() {
    let source = "class A:\n    def m(self): return 1\nclass B:\n    def m(self): return 2\n";
    assert!(matches!(
        replace_function(source, Language::Python, "m", "def m(self): return 3"),
        Err(SyntaxError::Ambiguous { count: 2, .. })
    ));
    assert!(replaced(source, Language::Python, "B.m", "def m(self): return 3").ends_with("return 3\n"));
}

#[test]
fn a_file_with_an_error_elsewhere_can_still_be_mended() {
    let source = "def f(a):\n    return a\n\ndef broken(:\n    pass\n";
    let changed = replaced(source, Language::Python, "f", "def f(a):\n    return 2");
    assert_eq!(changed, source.replace("return a", "return 2"));
}

fn body() -> impl Strategy<Value = (Language, &'static str, String)> {
    let expression = "[a-z]{1,6}( [+*-] [a-z0-9]{1,4}){0,3}";
    prop_oneof![
        expression.prop_map(|e| (Language::Python, PYTHON, format!("    v = {e}\n    return v"))),
        expression.prop_map(|e| (Language::Rust, RUST, format!("{{\n    let v = {e};\n    v\n}}"))),
        expression.prop_map(|e| (Language::JavaScript, JS, format!("{{\n  const v = {e};\n  return v;\n}}"))),
    ]
}

proptest! {
    /// Whatever comes in, either nothing changes or only the bytes of that one function do.
    #[test]
    fn only_the_bytes_of_that_function_change((language, source, body) in body(), pick in 0usize..10, junk in "[ a-z(){}:;'\"\n#]{0,20}", with_junk in any::<bool>()) {
        let all = functions(source, language).unwrap();
        let target = &all[pick % all.len()];
        let head = source[target.start..].split(body.chars().next().filter(|c| *c == '{').unwrap_or(':')).next().unwrap();
        let head = head.lines().last().unwrap();
        let code = match language {
            Language::Python => format!("{}:\n{body}", &target.signature),
            _ => format!("{head}{body}"),
        };
        let code = if with_junk { code + &junk } else { code };
        if let Ok(changed) = replace_function(source, language, &target.name, &code) {
            let start = source[..target.start].len();
            prop_assert_eq!(&changed[..start], &source[..start]);
            let tail = &source[target.end..];
            prop_assert!(changed.ends_with(tail));
            let after = functions(&changed, language).unwrap();
            let others = |fs: &[crate::syntax::FunctionSpan], text: &str| fs.iter().filter(|f| !f.name.starts_with(&target.name)).map(|f| (f.name.clone(), text[f.start..f.end].to_owned())).collect::<Vec<_>>();
            prop_assert_eq!(others(&after, &changed), others(&all, source));
        }
    }

    #[test]
    fn any_text_is_taken_or_refused_without_a_panic(code in "\\PC{0,200}") {
        for (language, source, name) in [(Language::Python, PYTHON, "f"), (Language::Rust, RUST, "f"), (Language::JavaScript, JS, "A.m")] {
            let _ = replace_function(source, language, name, &code);
        }
    }

    #[test]
    fn replacing_a_function_by_itself_changes_nothing(pick in 0usize..10, which in 0usize..3) {
        let (language, source) = [(Language::Python, PYTHON), (Language::Rust, RUST), (Language::JavaScript, JS)][which];
        let all = functions(source, language).unwrap();
        let target = &all[pick % all.len()];
        if let Ok(same) = replace_function(source, language, &target.name, &source[target.start..target.end]) {
            prop_assert_eq!(same, source);
        }
    }
}
