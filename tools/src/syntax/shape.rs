//! Which sources are equal programs, however they are laid out.

use tree_sitter::Node;

use super::{Language, SyntaxError, functions};

/// A digest (hex) of a source's syntax tree, without what doesn't change what it does: layout, comments, docstrings, the kind
/// of quotes, semicolons that JavaScript puts in by itself, commas at the end of a list.
///
/// Equal digests mean equal programs; different ones may still do the same. What doesn't parse has no shape.
pub fn shape(source: &str, language: Language) -> Result<String, SyntaxError> {
    functions::check(source, language)?;
    let tree = language.parse(source)?;
    let mut hasher = blake3::Hasher::new();
    feed(tree.root_node(), source, language, &mut hasher);
    Ok(hasher.finalize().to_hex().to_string())
}

fn feed(node: Node<'_>, source: &str, language: Language, hasher: &mut blake3::Hasher) {
    if says_nothing(node, language) {
        return;
    }
    let text = source.get(node.byte_range()).unwrap_or_default();
    if node.child_count() == 0 {
        put(hasher, b'l', node.kind());
        put(hasher, b't', &plain(node, text));
        return;
    }
    put(hasher, b'(', node.kind());
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        feed(child, source, language, hasher);
    }
    put(hasher, b')', "");
}

/// Each piece with its length, so that no two sequences of pieces come to the same bytes.
fn put(hasher: &mut blake3::Hasher, mark: u8, text: &str) {
    hasher.update(&[mark]);
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

fn says_nothing(node: Node<'_>, language: Language) -> bool {
    let kind = node.kind();
    match language {
        _ if kind.contains("comment") => true,
        Language::Python if kind == "expression_statement" => {
            node.named_child_count() == 1 && node.named_child(0).is_some_and(|child| child.kind() == "string")
        }
        // They end a text on both sides; what is between them stands for itself.
        Language::JavaScript if matches!(kind, "'" | "\"") => true,
        Language::JavaScript if kind == ";" => node.parent().is_some_and(|parent| parent.kind() != "for_statement"),
        // In an array of JavaScript a comma may be a hole.
        _ if kind == "," => {
            let closes = node.next_sibling().is_some_and(|next| matches!(next.kind(), ")" | "]" | "}"));
            let only =
                node.parent().is_some_and(|parent| matches!(parent.kind(), "array" | "tuple" | "tuple_expression"));
            closes && !only
        }
        _ => false,
    }
}

/// A leaf's text; quotes are all the same.
fn plain(node: Node<'_>, text: &str) -> String {
    match node.kind() {
        "string_start" => text.trim_end_matches(['\'', '"']).to_lowercase(),
        "string_end" => String::new(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn same(a: &str, b: &str, language: Language) -> bool {
        shape(a, language).unwrap() == shape(b, language).unwrap()
    }

    #[test]
    fn layout_comments_and_quotes_make_no_other_program() {
        let python = "def f(a, b):\n    return {'x': a, \"y\": b}\n";
        let laid_out = "def f(\n    a,\n    b,\n):\n    \"\"\"Says what it does.\"\"\"\n    # so\n    return {\n        \"x\": a,\n        'y': b,\n    }\n";
        assert!(same(python, laid_out, Language::Python));
        assert!(same("f('a');\n", "f(\"a\") // so\n", Language::JavaScript));
        assert!(same("fn f() -> u8 { g(1, 2) }", "fn f() -> u8 {\n    // so\n    g(1, 2,)\n}\n", Language::Rust));
    }

    #[test]
    fn another_program_has_another_shape() {
        for (a, b, language) in [
            ("x = a - b\n", "x = b - a\n", Language::Python),
            ("x = (a,)\n", "x = (a)\n", Language::Python),
            ("x = f'{a}'\n", "x = '{a}'\n", Language::Python),
            ("if a:\n    f()\n    g()\n", "if a:\n    f()\ng()\n", Language::Python),
            ("x = 'ab'\n", "x = 'a b'\n", Language::Python),
            ("x = [1, ,];", "x = [1];", Language::JavaScript),
            ("x = 'a';", "x = `a`;", Language::JavaScript),
            ("fn f() -> u8 { 1 }", "fn f() -> u8 { 1; }", Language::Rust),
            ("fn f() { (1,) }", "fn f() { (1) }", Language::Rust),
        ] {
            assert!(!same(a, b, language), "{a} | {b}");
        }
        assert!(shape("def f(:\n", Language::Python).is_err());
    }
}
