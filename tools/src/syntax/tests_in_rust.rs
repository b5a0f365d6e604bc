//! Test modules and test functions inside Rust sources: they can't be protected by file, so they are by syntax.

use std::ops::Range;

use tree_sitter::Node;

use super::{Language, SyntaxError};

/// A test module or function, with the attributes and comments in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRegion {
    /// Where it lies in the modules of the file, `tests` or `outer::tests`.
    pub name: String,
    /// Its bytes.
    pub range: Range<usize>,
}

/// The outermost test modules and functions of a Rust source, in order.
pub fn test_regions(source: &str) -> Result<Vec<TestRegion>, SyntaxError> {
    let tree = Language::Rust.parse(source)?;
    let root = tree.root_node();
    if has_inner_test_attribute(root, source) {
        return Ok(vec![TestRegion { name: "(file)".to_owned(), range: 0..source.len() }]);
    }
    let mut regions = Vec::new();
    collect(root, source, "", &mut regions);
    Ok(regions)
}

/// The test regions of `before` that `after` doesn't hold unaltered at the same place. New ones don't matter.
pub fn touched_tests(before: &str, after: &str) -> Result<Vec<String>, SyntaxError> {
    let mut left: Vec<(String, &str)> = test_regions(after)?.into_iter().map(|r| (r.name, &after[r.range])).collect();
    let mut touched = Vec::new();
    for region in test_regions(before)? {
        let text = &before[region.range];
        // Each may stand in for one only, so that of two equal ones none can be dropped.
        match left.iter().position(|(name, other)| *name == region.name && *other == text) {
            Some(at) => drop(left.swap_remove(at)),
            None => touched.push(region.name),
        }
    }
    Ok(touched)
}

fn collect(node: Node<'_>, source: &str, path: &str, regions: &mut Vec<TestRegion>) {
    let mut cursor = node.walk();
    for child in node.named_children(&mut cursor) {
        let name = || {
            let own = child.child_by_field_name("name").or_else(|| child.child_by_field_name("type"));
            let own = own.and_then(|own| source.get(own.byte_range())).unwrap_or_default();
            // Whatever hides the place from the compiler has to change what is in front of it.
            let head = source.get(head_start(child)..child.start_byte()).unwrap_or_default().trim();
            let own = if head.is_empty() || is_test_attribute(child, source) {
                own.to_owned()
            } else {
                format!("{own}[{head}]")
            };
            if path.is_empty() { own } else { format!("{path}::{own}") }
        };
        match child.kind() {
            "attribute_item" | "inner_attribute_item" | "line_comment" | "block_comment" => {}
            _ if is_test_attribute(child, source) => {
                regions.push(TestRegion { name: name(), range: head_start(child)..child.end_byte() })
            }
            "mod_item" | "impl_item" | "trait_item" => collect(child, source, &name(), regions),
            "declaration_list" => collect(child, source, path, regions),
            _ => {}
        }
    }
}

/// Where the attributes and doc comments in front of an item begin.
pub(super) fn head_start(node: Node<'_>) -> usize {
    heads(node).last().map_or(node.start_byte(), |head| head.start_byte())
}

/// Attributes and comments directly in front of an item, nearest first.
fn heads(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    std::iter::successors(node.prev_sibling(), Node::prev_sibling)
        .take_while(|before| matches!(before.kind(), "attribute_item" | "line_comment" | "block_comment"))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .skip_while(|head| head.kind() != "attribute_item" && !is_doc(*head))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
}

fn is_doc(node: Node<'_>) -> bool {
    node.child_by_field_name("doc").is_some()
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`, `#[cfg(all(test, …))]` in front of an item.
pub(super) fn is_test_attribute(node: Node<'_>, source: &str) -> bool {
    heads(node)
        .filter(|head| head.kind() == "attribute_item")
        .any(|head| says_test(source.get(head.byte_range()).unwrap_or_default()))
}

fn has_inner_test_attribute(root: Node<'_>, source: &str) -> bool {
    let mut cursor = root.walk();
    root.named_children(&mut cursor)
        .take_while(|child| {
            matches!(child.kind(), "inner_attribute_item" | "line_comment" | "block_comment" | "shebang")
        })
        .filter(|child| child.kind() == "inner_attribute_item")
        .any(|child| says_test(source.get(child.byte_range()).unwrap_or_default()))
}

fn says_test(attribute: &str) -> bool {
    let inner = attribute.trim_start_matches(['#', '!']).trim().trim_start_matches('[').trim_end_matches(']').trim();
    let path = inner.split(['(', '=']).next().unwrap_or_default().trim();
    match path {
        "cfg" | "cfg_attr" => {
            let words: Vec<&str> = inner.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '"').collect();
            let negated = inner.replace(' ', "").contains("not(test)");
            words.contains(&"test") && !negated
        }
        path => matches!(
            path.rsplit("::").next().map(str::trim),
            Some("test" | "rstest" | "test_case" | "proptest" | "bench")
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const SOURCE: &str = "//! Doc.\n\npub fn add(a: u8) -> u8 { a }\n\n/// Tests.\n#[cfg(test)]\nmod tests {\n    use super::*;\n\n    #[test]\n    fn adds() { assert_eq!(add(1), 1); }\n}\n\nmod inner {\n    #[tokio::test]\n    async fn waits() {}\n}\n";

    #[test]
    fn test_modules_and_functions_are_found_with_what_is_in_front_of_them() {
        let regions = test_regions(SOURCE).unwrap();
        assert_eq!(regions.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["tests", "inner::waits"]);
        assert!(SOURCE[regions[0].range.clone()].starts_with("/// Tests."));
    }

    #[test]
    fn code_that_only_compiles_without_tests_is_no_test() {
        assert!(
            test_regions("#[cfg(not(test))]\nmod real {}\n#[cfg(feature = \"test\")]\nmod f {}\n").unwrap().is_empty()
        );
    }

    #[test]
    fn a_change_beside_the_tests_touches_none() {
        let after = SOURCE.replace("{ a }", "{ a + 0 }") + "\n#[cfg(test)]\nmod more { #[test] fn new() {} }\n";
        assert!(touched_tests(SOURCE, &after).unwrap().is_empty());
    }

    #[test]
    fn every_way_to_disarm_a_test_is_noticed() {
        let ways = [
            SOURCE.replace("assert_eq!(add(1), 1);", ""),
            SOURCE.replace("#[cfg(test)]\nmod tests", "#[cfg(any())]\nmod tests"),
            SOURCE.replace("#[cfg(test)]\nmod tests", "#[cfg(any())]\n#[cfg(test)]\nmod tests"),
            SOURCE.replace("    #[test]\n", "    #[test]\n    #[ignore]\n"),
            SOURCE
                .replace("#[cfg(test)]\nmod tests {", "mod off {\n#[cfg(test)]\nmod tests {")
                .replace("\nmod inner", "}\nmod inner"),
            SOURCE.replace("mod inner {", "#[cfg(any())]\nmod inner {"),
            SOURCE.replace("/// Tests.", "/*").replace("\nmod inner", "*/\nmod inner"),
            SOURCE.replace("/// Tests.", "gone! {").replace("\nmod inner", "}\nmod inner"),
        ];
        for way in ways {
            assert!(!touched_tests(SOURCE, &way).unwrap().is_empty(), "{way}");
        }
    }
}
