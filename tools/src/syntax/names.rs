//! Which names a piece of source uses. Good for guessing what a failing test is about: what it imports and calls.

use std::collections::BTreeSet;
use std::ops::Range;

use tree_sitter::Node;

use super::{Language, SyntaxError};

/// Every identifier in the source, or in the given bytes of it; strings and comments don't count.
pub fn names_used(
    source: &str,
    language: Language,
    within: Option<Range<usize>>,
) -> Result<BTreeSet<String>, SyntaxError> {
    let tree = language.parse(source)?;
    let within = within.unwrap_or(0..source.len());
    let mut names = BTreeSet::new();
    collect(tree.root_node(), source, &within, &mut names);
    Ok(names)
}

fn collect(node: Node<'_>, source: &str, within: &Range<usize>, names: &mut BTreeSet<String>) {
    if node.end_byte() <= within.start || node.start_byte() >= within.end {
        return;
    }
    if node.child_count() == 0 && node.kind().ends_with("identifier") {
        names.extend(source.get(node.byte_range()).map(str::to_owned));
    }
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        collect(child, source, within, names);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn imports_calls_and_attributes_count_and_strings_do_not() {
        let source = "from shop.cart import total\n# comment\nassert total([item.price]) == 'text'\n";
        let names = names_used(source, Language::Python, None).unwrap();
        let expected: Vec<_> = ["cart", "item", "price", "shop", "total"].into();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_range_narrows_it() {
        let source = "fn a() { b(); }\nfn c() { d(); }\n";
        let names = names_used(source, Language::Rust, Some(0..15)).unwrap();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }
}
