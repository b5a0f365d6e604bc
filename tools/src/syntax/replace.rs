//! Replaces one function and nothing else.
//!
//! Models give a function in many dresses: indented or not, inside its class, with `export` before it, with an import
//! above it. The function is taken out of the dress, brought to the indentation of the old one, and put in its place;
//! every byte before and after stays what it was.

use std::collections::BTreeSet;

use tree_sitter::{Node, Tree};

use super::functions::{Function, body_of, error_count, find};
use super::tests_in_rust::head_start;
use super::{Language, SyntaxError, names_used};

/// The source with the function `name` replaced by the one that `code` defines.
///
/// Decorators, attributes and doc comments of the old function stay, unless the new code brings its own.
pub fn replace_function(source: &str, language: Language, name: &str, code: &str) -> Result<String, SyntaxError> {
    let tree = language.parse(source)?;
    let all = find(&tree, source, language);
    let old = pick(&all, name)?;
    let new = Snippet::read(code, language, old)?;
    new.refuse_extras(source, language)?;
    let brings_head = new.head.is_some();
    let start = if brings_head { full_start(old, language) } else { old.node.start_byte() };
    let text = new.indented(&indent_at(source, start), old, language)?;
    let end = old.node.end_byte();
    let text = with_end_like(&source[start..end], text);
    let changed = format!("{}{}{}", &source[..start], text, &source[end..]);
    check(&tree, &all, source, &changed, language, &old.name)?;
    Ok(changed)
}

fn pick<'a, 'tree>(all: &'a [Function<'tree>], name: &str) -> Result<&'a Function<'tree>, SyntaxError> {
    let name = name.trim().trim_end_matches("()");
    let ending = |f: &&Function<'_>| {
        f.name == name || f.name.ends_with(&format!(".{name}")) || f.name.ends_with(&format!("::{name}"))
    };
    let exact: Vec<_> = all.iter().filter(|f| f.name == name).collect();
    let matching = if exact.is_empty() { all.iter().filter(ending).collect() } else { exact };
    match matching.as_slice() {
        [one] => Ok(one),
        [] => Err(SyntaxError::NoSuchFunction { name: name.to_owned(), known: listed(all.iter()) }),
        several => Err(SyntaxError::Ambiguous {
            name: name.to_owned(),
            count: several.len(),
            known: listed(several.iter().copied()),
        }),
    }
}

fn listed<'a, 'tree: 'a>(functions: impl Iterator<Item = &'a Function<'tree>>) -> String {
    let names: Vec<_> = functions.take(40).map(|f| f.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The new function as the model gave it.
struct Snippet {
    text: String,
    /// Start of decorators, attributes or doc comments before the function, if there are any.
    head: Option<usize>,
    start: usize,
    end: usize,
    /// What stands beside the function at the top of the code, by name.
    extras: Vec<String>,
    short_name: String,
}

impl Snippet {
    fn read(code: &str, language: Language, old: &Function<'_>) -> Result<Self, SyntaxError> {
        let short = short(&old.name);
        let mut found = Vec::new();
        for text in dresses(code, language, old) {
            let tree = language.parse(&text)?;
            let functions = find(&tree, &text, language);
            let wanted = functions
                .iter()
                .find(|f| f.name == old.name)
                .or_else(|| functions.iter().find(|f| short_of(f) == short));
            let Some(wanted) = wanted else {
                found.extend(functions.iter().map(|f| f.name.clone()));
                continue;
            };
            if wanted.whole.has_error() {
                super::parses(&text, language)?;
            }
            return Ok(Self::of(&text, wanted, &functions, &tree, language));
        }
        // Code that doesn't parse explains better why nothing was found in it.
        super::parses(&dedent(code), language)?;
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        Err(SyntaxError::NotDefined { name: old.name.clone(), found })
    }

    fn of(text: &str, wanted: &Function<'_>, all: &[Function<'_>], tree: &Tree, language: Language) -> Self {
        let (start, full) = (wanted.node.start_byte(), full_start(wanted, language));
        let inside = |f: &Function<'_>| {
            f.node.start_byte() >= wanted.whole.start_byte() && f.node.end_byte() <= wanted.whole.end_byte()
        };
        let mut extras: Vec<String> = all.iter().filter(|f| !inside(f)).map(|f| short(&f.name).to_owned()).collect();
        extras.extend(top_names(tree.root_node(), text, wanted.whole));
        Self {
            text: text.to_owned(),
            head: (full < start).then_some(full),
            start,
            end: wanted.node.end_byte(),
            extras,
            short_name: short(&wanted.name).to_owned(),
        }
    }

    /// What the code brings beside the function is dropped; that is only right if the function doesn't need it.
    fn refuse_extras(&self, source: &str, language: Language) -> Result<(), SyntaxError> {
        if self.extras.is_empty() {
            return Ok(());
        }
        let known = names_used(source, language, None)?;
        let used = names_used(&self.text, language, Some(self.start..self.end))?;
        let own: BTreeSet<&String> = self.extras.iter().filter(|extra| **extra != self.short_name).collect();
        match own.into_iter().find(|extra| used.contains(*extra) && !known.contains(*extra)) {
            Some(extra) => Err(SyntaxError::Extra { extra: extra.clone() }),
            None => Ok(()),
        }
    }

    /// The indentation that is dress: that of the first line, or, where the first line was cut out of its indentation,
    /// that of the lines after it.
    fn own_indent(&self, start: usize, indent: &str, old: &Function<'_>, language: Language) -> String {
        let first = indent_at(&self.text, start);
        if !first.is_empty() || indent.is_empty() {
            return first;
        }
        let lines: Vec<&str> = self.text[start..self.end].lines().collect();
        let hangs = match language {
            // With a decorator in front, the least indented line is the `def` itself.
            Language::Python if self.head.is_some() => least_indent(&lines) == indent.len(),
            Language::Python => {
                body_of(old.node).is_some_and(|body| body.start_position().column == least_indent(&lines))
            }
            Language::Rust | Language::JavaScript => {
                lines.len() > 1 && lines.last().is_some_and(|last| indent_of(last) == indent.len())
            }
        };
        if hangs { indent.to_owned() } else { first }
    }

    /// The function with its lines at `indent`; the first line is where the old one begins.
    fn indented(&self, indent: &str, old: &Function<'_>, language: Language) -> Result<String, SyntaxError> {
        let start = self.head.unwrap_or(self.start);
        let own_indent = self.own_indent(start, indent, old, language);
        let tree = language.parse(&self.text)?;
        let fixed = string_lines(tree.root_node());
        let first = self.text[..start].matches('\n').count();
        let mut text = String::new();
        for (n, line) in self.text[start..self.end].split('\n').enumerate() {
            if n == 0 {
                text.push_str(line);
                continue;
            }
            text.push('\n');
            if fixed.contains(&(first + n)) {
                text.push_str(line);
            } else if !line.trim().is_empty() {
                text.push_str(indent);
                text.push_str(line.strip_prefix(own_indent.as_str()).unwrap_or_else(|| line.trim_start()));
            }
        }
        Ok(text)
    }
}

/// How far the least indented line after the first is indented.
fn least_indent(lines: &[&str]) -> usize {
    lines.iter().skip(1).filter(|line| !line.trim().is_empty()).map(|line| indent_of(line)).min().unwrap_or(0)
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The code in the forms in which it may parse: as it is, and for a method inside something that holds methods.
fn dresses(code: &str, language: Language, old: &Function<'_>) -> Vec<String> {
    let plain = dedent(code);
    let mut forms = vec![plain.clone()];
    if language == Language::JavaScript && old.node.kind() == "method_definition" {
        // A model that writes a method as a function means the method.
        let method = plain.replacen("function ", "", 1);
        forms = vec![format!("class _ {{\n{plain}\n}}"), plain.clone(), format!("class _ {{\n{method}\n}}")];
        forms.retain(|form| {
            Language::JavaScript.parse(form).is_ok_and(|tree| has_method(&tree, form, short(&old.name)))
        });
    }
    forms
}

fn has_method(tree: &Tree, source: &str, name: &str) -> bool {
    find(tree, source, Language::JavaScript)
        .iter()
        .any(|f| f.node.kind() == "method_definition" && short_of(f) == name && !f.node.has_error())
}

/// Names that the code defines or imports at its top, beside the function.
fn top_names(root: Node<'_>, source: &str, function: Node<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = root.walk();
    for child in root.named_children(&mut cursor) {
        if child.start_byte() <= function.start_byte() && child.end_byte() >= function.end_byte() {
            continue;
        }
        identifiers(child, source, &mut names);
    }
    names
}

fn identifiers(node: Node<'_>, source: &str, names: &mut Vec<String>) {
    if node.child_count() == 0 && node.kind().ends_with("identifier") {
        names.extend(source.get(node.byte_range()).map(str::to_owned));
    }
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        identifiers(child, source, names);
    }
}

/// Lines (from 0) that begin inside a string, whose text mustn't be moved. Docstrings may be: their indentation is dress.
fn string_lines(root: Node<'_>) -> BTreeSet<usize> {
    fn collect(node: Node<'_>, lines: &mut BTreeSet<usize>) {
        let is_string = matches!(
            node.kind(),
            "string" | "template_string" | "raw_string_literal" | "string_literal" | "block_comment"
        );
        if is_string {
            let is_docstring =
                node.parent().is_some_and(|p| p.kind() == "expression_statement" && p.prev_named_sibling().is_none());
            if !is_docstring && node.kind() != "block_comment" {
                lines.extend(node.start_position().row + 1..=node.end_position().row);
            }
            return;
        }
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            collect(child, lines);
        }
    }
    let mut lines = BTreeSet::new();
    collect(root, &mut lines);
    lines
}

/// Where the function begins with decorators, attributes and doc comments.
fn full_start(function: &Function<'_>, language: Language) -> usize {
    match language {
        Language::Python => function.whole.start_byte(),
        Language::Rust => head_start(function.node),
        Language::JavaScript => function.node.start_byte(),
    }
}

/// The white space between the start of the line and `at`.
fn indent_at(source: &str, at: usize) -> String {
    let line = source[..at].rfind('\n').map_or(0, |end| end + 1);
    source[line..at].chars().take_while(|c| *c == ' ' || *c == '\t').collect()
}

/// Removes the indentation that all lines share, and code fences around them.
fn dedent(code: &str) -> String {
    let code = code.replace("\r\n", "\n");
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("```")).collect();
    let common = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    let cut: Vec<&str> = lines.iter().map(|line| line.get(common..).unwrap_or("")).collect();
    let mut text = cut.join("\n");
    text.push('\n');
    text
}

/// A JavaScript declaration keeps the semicolon it had, or had not.
fn with_end_like(old: &str, new: String) -> String {
    let new = new.trim_end().to_owned();
    match (old.ends_with(';'), new.ends_with(';')) {
        (true, false) if new.contains("=>") || new.contains("= function") => new + ";",
        _ => new,
    }
}

/// The change must leave every other function as it was, and mustn't bring new errors.
fn check(
    tree: &Tree,
    all: &[Function<'_>],
    source: &str,
    changed: &str,
    language: Language,
    name: &str,
) -> Result<(), SyntaxError> {
    let new_tree = language.parse(changed)?;
    if error_count(&new_tree) > error_count(tree) {
        super::parses(changed, language)?;
    }
    let new = find(&new_tree, changed, language);
    let others = |functions: &[Function<'_>], text: &str| -> Vec<(String, String)> {
        let below = |f: &Function<'_>| {
            f.name == name || f.name.starts_with(&format!("{name}.")) || f.name.starts_with(&format!("{name}::"))
        };
        functions
            .iter()
            .filter(|f| !below(f) && !name.starts_with(&f.name))
            .map(|f| (f.name.clone(), text[f.whole.byte_range()].to_owned()))
            .collect()
    };
    let (before, after) = (others(all, source), others(&new, changed));
    if let Some((other, _)) = before.iter().find(|function| !after.contains(function)) {
        return Err(SyntaxError::Leaks(other.clone()));
    }
    if let Some((other, _)) = after.iter().find(|function| !before.contains(function)) {
        return Err(SyntaxError::Leaks(other.clone()));
    }
    let defined = new.iter().any(|f| f.name == name && body_of(f.node).is_some());
    if defined { Ok(()) } else { Err(SyntaxError::NotDefined { name: name.to_owned(), found: listed(new.iter()) }) }
}

fn short(name: &str) -> &str {
    name.rsplit(['.', ':']).next().unwrap_or(name)
}

fn short_of<'a>(function: &'a Function<'_>) -> &'a str {
    short(&function.name)
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
