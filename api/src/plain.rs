//! Text from models, tools and repositories, made safe to show in a terminal.
//!
//! A control character could move the cursor, repaint what was said before, or set the window's title; a
//! bidirectional override could make a path read backwards. Both are shown as what they are (`\u{1b}`).

use std::borrow::Cow;

/// Escapes what could act on a terminal; line ends and tabs stay.
pub fn text(raw: &str) -> Cow<'_, str> {
    escape(raw, |c| c == '\n' || c == '\t')
}

/// Escapes what could act on a terminal, line ends and tabs too: the result is one line.
pub fn line(raw: &str) -> Cow<'_, str> {
    escape(raw, |_| false)
}

fn escape(raw: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let acts = |c: char| is_active(c) && !keep(c);
    if !raw.chars().any(acts) {
        return Cow::Borrowed(raw);
    }
    let mut safe = String::with_capacity(raw.len() + 16);
    for c in raw.chars() {
        match c {
            _ if !acts(c) => safe.push(c),
            '\n' | '\r' | '\t' => safe.push(' '),
            _ => safe.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(safe)
}

/// C0 and C1 controls, DEL, and what changes the direction or hides text.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{line, text};

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(text("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\nc");
        assert_eq!(text("\u{9b}31m \u{202e}txt"), "\\u{9b}31m \\u{202e}txt");
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(line("a\r\nb\tc"), "a  b c");
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for raw in ["straße", "日本語", "✓ ok"] {
            assert!(matches!(text(raw), std::borrow::Cow::Borrowed(_)));
        }
    }
}
