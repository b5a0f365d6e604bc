//! Where the functions of a file are, and what they are called.

use serde::{Deserialize, Serialize};
use tree_sitter::{Node, Tree};

use super::tests_in_rust::is_test_attribute;
use super::{Language, SyntaxError};

/// A function of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpan {
    /// Qualified by what it lies in: `Class.method`, `module::function`, `Type::method`.
    pub name: String,
    /// First byte, with decorators; without attributes and comments before it.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// First line, from 1.
    pub line: usize,
    /// Everything before the body, on one line.
    pub signature: String,
    /// It is a test, or lies in a test module or class.
    pub is_test: bool,
}

impl FunctionSpan {
    /// The name without what it lies in.
    pub fn short_name(&self) -> &str {
        self.name.rsplit(['.', ':']).next().unwrap_or(&self.name)
    }
}

/// A function as a node of the tree.
pub(super) struct Function<'tree> {
    pub(super) name: String,
    /// The definition itself: the inner node of a decorated one, the declaration that holds an arrow function.
    pub(super) node: Node<'tree>,
    /// The definition with its decorators.
    pub(super) whole: Node<'tree>,
    pub(super) is_test: bool,
}

/// The functions of a source, in order; nested ones follow the one that they lie in.
pub fn functions(source: &str, language: Language) -> Result<Vec<FunctionSpan>, SyntaxError> {
    let tree = language.parse(source)?;
    Ok(find(&tree, source, language).iter().map(|function| span(function, source)).collect())
}

fn span(function: &Function<'_>, source: &str) -> FunctionSpan {
    let (start, end) = (function.whole.start_byte(), function.whole.end_byte());
    let body = body_of(function.node).map_or(end, |body| body.start_byte());
    let signature = source[function.node.start_byte()..body].split_whitespace().collect::<Vec<_>>().join(" ");
    FunctionSpan {
        name: function.name.clone(),
        start,
        end,
        line: function.whole.start_position().row + 1,
        signature: signature.trim_end_matches(['{', ' ', ':']).to_owned(),
        is_test: function.is_test,
    }
}

/// The body of a function, also of one that a variable holds.
pub(super) fn body_of(node: Node<'_>) -> Option<Node<'_>> {
    node.child_by_field_name("body").or_else(|| {
        let holder = held_in(node)?;
        holder.child_by_field_name("body")
    })
}

/// The function that a declaration or assignment holds.
fn held_in(node: Node<'_>) -> Option<Node<'_>> {
    let inner = match node.kind() {
        "lexical_declaration" | "variable_declaration" => node.named_child(0)?.child_by_field_name("value")?,
        "expression_statement" => node.named_child(0)?.child_by_field_name("right")?,
        "pair" | "field_definition" => node.child_by_field_name("value")?,
        _ => return None,
    };
    matches!(inner.kind(), "arrow_function" | "function_expression" | "generator_function").then_some(inner)
}

pub(super) fn find<'tree>(tree: &'tree Tree, source: &str, language: Language) -> Vec<Function<'tree>> {
    let mut walk = Walk { source, language, found: Vec::new() };
    walk.visit(tree.root_node(), &Place::default());
    walk.found
}

/// What a node lies in.
#[derive(Clone, Default)]
struct Place {
    path: String,
    in_tests: bool,
}

impl Place {
    fn inside(&self, name: &str, separator: &str, tests: bool) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}{separator}{name}", self.path) };
        Self { path, in_tests: self.in_tests || tests }
    }
}

struct Walk<'s, 'tree> {
    source: &'s str,
    language: Language,
    found: Vec<Function<'tree>>,
}

impl<'tree> Walk<'_, 'tree> {
    fn visit(&mut self, node: Node<'tree>, place: &Place) {
        let inside = match self.language {
            Language::Python => self.python(node, place),
            Language::Rust => self.rust(node, place),
            Language::JavaScript => self.javascript(node, place),
        };
        let inside = inside.as_ref().unwrap_or(place);
        let mut cursor = node.walk();
        let children: Vec<_> = node.named_children(&mut cursor).collect();
        for child in children {
            self.visit(child, inside);
        }
    }

    fn text(&self, node: Node<'_>) -> &str {
        self.source.get(node.byte_range()).unwrap_or_default()
    }

    fn field(&self, node: Node<'_>, field: &str) -> Option<String> {
        node.child_by_field_name(field).map(|node| self.text(node).to_owned())
    }

    fn push(&mut self, node: Node<'tree>, whole: Node<'tree>, place: Place) -> Option<Place> {
        self.found.push(Function { name: place.path.clone(), node, whole, is_test: place.in_tests });
        Some(place)
    }

    fn python(&mut self, node: Node<'tree>, place: &Place) -> Option<Place> {
        let name = self.field(node, "name");
        match node.kind() {
            "class_definition" => {
                let bases = self.field(node, "superclasses").unwrap_or_default();
                Some(place.inside(&name?, ".", bases.contains("TestCase")))
            }
            "function_definition" => {
                let whole = node.parent().filter(|parent| parent.kind() == "decorated_definition").unwrap_or(node);
                let name = name?;
                let place = place.inside(&name, ".", name.starts_with("test_"));
                self.push(node, whole, place)
            }
            _ => None,
        }
    }

    fn rust(&mut self, node: Node<'tree>, place: &Place) -> Option<Place> {
        match node.kind() {
            "mod_item" | "trait_item" => {
                Some(place.inside(&self.field(node, "name")?, "::", is_test_attribute(node, self.source)))
            }
            "impl_item" => {
                let of = self.field(node, "type")?;
                let of = of.split('<').next().unwrap_or_default().trim().to_owned();
                Some(place.inside(&of, "::", is_test_attribute(node, self.source)))
            }
            "function_item" => {
                let place = place.inside(&self.field(node, "name")?, "::", is_test_attribute(node, self.source));
                self.push(node, node, place)
            }
            _ => None,
        }
    }

    fn javascript(&mut self, node: Node<'tree>, place: &Place) -> Option<Place> {
        match node.kind() {
            "class_declaration" | "class" => Some(place.inside(&self.field(node, "name")?, ".", false)),
            "function_declaration" | "generator_function_declaration" | "method_definition" => {
                let place = place.inside(&self.field(node, "name")?, ".", false);
                self.push(node, node, place)
            }
            "lexical_declaration" | "variable_declaration" if node.named_child_count() == 1 => {
                let holder = held_in(node).and(node.named_child(0))?;
                let place = place.inside(&self.field(holder, "name")?, ".", false);
                self.push(node, node, place)
            }
            "expression_statement" => {
                let assigned = held_in(node).and(node.named_child(0))?;
                let left = self.field(assigned, "left")?;
                let name = left.strip_prefix("module.exports.").or(left.strip_prefix("exports.")).unwrap_or(&left);
                let place = place.inside(name, ".", false);
                self.push(node, node, place)
            }
            _ => None,
        }
    }
}

/// Fails at the first error of the tree.
pub(super) fn check(source: &str, language: Language) -> Result<(), SyntaxError> {
    let tree = language.parse(source)?;
    match first_error(tree.root_node()) {
        None => Ok(()),
        Some(node) => Err(SyntaxError::Parse { line: node.start_position().row + 1, message: describe(node, source) }),
    }
}

fn first_error(node: Node<'_>) -> Option<Node<'_>> {
    if !node.has_error() {
        return None;
    }
    if node.is_error() || node.is_missing() {
        return Some(node);
    }
    let mut cursor = node.walk();
    let children: Vec<_> = node.children(&mut cursor).collect();
    children.into_iter().find_map(first_error)
}

fn describe(node: Node<'_>, source: &str) -> String {
    if node.is_missing() {
        return format!("{:?} is missing", node.kind());
    }
    let text: String =
        source.get(node.byte_range()).unwrap_or_default().lines().next().unwrap_or_default().chars().take(60).collect();
    format!("doesn't parse at {text:?}")
}

pub(super) fn error_count(tree: &Tree) -> usize {
    fn count(node: Node<'_>) -> usize {
        if !node.has_error() {
            return 0;
        }
        let mut cursor = node.walk();
        let below: usize = node.children(&mut cursor).map(count).sum();
        below + usize::from(node.is_error() || node.is_missing())
    }
    count(tree.root_node())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn names(source: &str, language: Language) -> Vec<String> {
        functions(source, language).unwrap().into_iter().map(|f| f.name).collect()
    }

    #[test]
    fn python_functions_are_named_by_class_and_function() {
        let source = "def f(a, b=1) -> int:\n    def g():\n        pass\n    return 1\n\nclass A(unittest.TestCase):\n    @property\n    def x(self):\n        return 1\n    async def test_y(self): pass\n";
        assert_eq!(names(source, Language::Python), ["f", "f.g", "A.x", "A.test_y"]);
        let found = functions(source, Language::Python).unwrap();
        assert_eq!(found[0].signature, "def f(a, b=1) -> int");
        assert!(source[found[2].start..].starts_with("@property"));
        assert!(found[3].is_test && !found[0].is_test);
        assert_eq!(found[2].short_name(), "x");
    }

    #[test]
    fn rust_functions_are_named_by_module_and_type() {
        let source = "pub fn f() {}\nmod m { pub(crate) fn g<T>(t: T) -> T { t } }\nstruct S<T>(T);\nimpl<T: Clone> S<T> { fn new(t: T) -> Self { S(t) } }\ntrait Tr { fn d(&self) -> u8 { 1 } fn n(&self); }\n#[cfg(test)]\nmod tests { #[test] fn works() {} fn helper() {} }\n#[tokio::test]\nasync fn t() {}\n";
        assert_eq!(
            names(source, Language::Rust),
            ["f", "m::g", "S::new", "Tr::d", "tests::works", "tests::helper", "t"]
        );
        let tests: Vec<_> = functions(source, Language::Rust).unwrap().into_iter().map(|f| f.is_test).collect();
        assert_eq!(tests, [false, false, false, false, true, true, true]);
    }

    #[test]
    fn javascript_functions_are_found_in_all_their_forms() {
        let source = "export function f(a) { return a; }\nconst g = (x) => x + 1;\nclass A { constructor() {} async m() {} static s() {} #p() {} }\nexports.h = function () {};\nmodule.exports.k = () => 1;\nfunction* gen() {}\nexport default function d() {}\nlet notAFunction = 3;\n";
        assert_eq!(
            names(source, Language::JavaScript),
            ["f", "g", "A.constructor", "A.m", "A.s", "A.#p", "h", "k", "gen", "d"]
        );
    }

    #[test]
    fn the_first_line_that_does_not_parse_is_named() {
        assert!(check("def f():\n    return 1\n", Language::Python).is_ok());
        let error = check("def f():\n    return 1\n\ndef g(:\n    pass\n", Language::Python).unwrap_err();
        assert!(matches!(error, SyntaxError::Parse { line: 4, .. }), "{error:?}");
        assert!(check("fn f( {", Language::Rust).is_err());
        assert!(check("function f( {", Language::JavaScript).is_err());
    }
}
