//! Text of models, tools and stories, made safe to show.
//!
//! Such text may hold terminal control sequences, invisible characters that turn the reading
//! direction around, or Markdown that pretends to be the report's own. Here it becomes visible
//! text. Nothing is dropped silently: what can't be shown is shown as its code.

use std::fmt::Write;

/// One line, control characters written out. For terminals and logs.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            c if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => push(&mut out, c),
        }
    }
    out
}

/// One line of at most `max` characters.
pub fn short(text: &str, max: usize) -> String {
    let whole = line(text);
    match whole.char_indices().nth(max) {
        None => whole,
        Some((cut, _)) => format!("{}…", &whole[..cut]),
    }
}

/// One line within Markdown: nothing of it is markup.
pub fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in line(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '~' | '&') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Inline code within Markdown.
pub fn code(text: &str) -> String {
    let text = line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A fenced block within Markdown that its content can't close.
pub fn block(text: &str, language: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            c => push(&mut out, c),
        }
    }
    let fence = "`".repeat(longest_run(&out).max(2) + 1);
    format!("{fence}{language}\n{out}\n{fence}")
}

fn push(out: &mut String, c: char) {
    let hidden = c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    if hidden {
        // Writing to a String can't fail.
        let _ = write!(out, "\\u{{{:x}}}", c as u32);
    } else {
        out.push(c);
    }
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_direction_marks_become_visible() {
        assert_eq!(line("a\u{1b}[31mred\u{202e}x\r\n b"), "a\\u{1b}[31mred\\u{202e}x b");
    }

    #[test]
    fn a_block_can_not_be_closed_by_its_content() {
        assert_eq!(block("x\n```\n# owned", "text"), "````text\nx\n```\n# owned\n````");
    }

    #[test]
    fn markup_within_a_line_is_text() {
        assert_eq!(inline("<b> | `x`"), "\\<b\\> \\| \\`x\\`");
        assert_eq!(code("a`b"), "``a`b``");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(short("äöü", 2), "äö…");
        assert_eq!(short("äö", 2), "äö");
    }
}
