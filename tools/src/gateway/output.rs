//! Makes a program's output fit to be read by a model or a person: no control sequences, no endless lines, a budget.

/// Characters of one tool result.
pub const BUDGET: usize = 10_000;

/// Characters of one line.
pub const LINE: usize = 2_000;

/// Text without terminal control: escape sequences and carriage-return overwriting are gone, other controls too.
pub fn strip_controls(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' | '\u{9b}' => skip_escape(c, &mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            // A progress bar overwrites its line; what matters is what it left there.
            '\r' => plain.truncate(plain.rfind('\n').map_or(0, |at| at + 1)),
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

fn skip_escape(start: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let kind = if start == '\u{9b}' { Some('[') } else { chars.next() };
    match kind {
        Some('[') => {
            // Parameters, then one final byte.
            for c in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    break;
                }
            }
        }
        Some(']' | 'P' | '^' | '_' | 'X') => {
            // A string, up to BEL or ESC \.
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) || c == '\n' {
                    break;
                }
            }
        }
        Some('(' | ')' | '#' | '%') => drop(chars.next()),
        _ => {}
    }
}

/// Cuts endless lines, then the middle if the whole is still over the budget; says what was left out.
pub fn fit(text: &str, budget: usize) -> String {
    let clamped: Vec<String> = text.lines().map(clamp_line).collect();
    let total: usize = clamped.iter().map(|line| line.chars().count() + 1).sum();
    if total <= budget {
        return clamped.join("\n");
    }
    let head = take_lines(clamped.iter(), budget / 2);
    let tail = take_lines(clamped[head..].iter().rev(), budget / 2);
    let left_out = clamped.len() - head - tail;
    let mut kept = clamped[..head].to_vec();
    kept.push(format!("[... {left_out} lines left out; narrow the request to see them ...]"));
    kept.extend_from_slice(&clamped[clamped.len() - tail..]);
    kept.join("\n")
}

fn take_lines<'a>(lines: impl Iterator<Item = &'a String>, budget: usize) -> usize {
    let mut used = 0;
    lines
        .take_while(|line| {
            used += line.chars().count() + 1;
            used <= budget
        })
        .count()
}

fn clamp_line(line: &str) -> String {
    let length = line.chars().count();
    if length <= LINE {
        return line.to_owned();
    }
    let half = LINE / 2;
    let head: String = line.chars().take(half).collect();
    let tail: String = line.chars().skip(length - half).collect();
    format!("{head}[... {} characters ...]{tail}", length - 2 * half)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_titles_and_progress_bars_are_gone() {
        let text = "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}ok\r\n10%\r20%\r100%\nend\u{8}\u{0}";
        assert_eq!(strip_controls(text), "red ok\n100%\nend");
    }

    #[test]
    fn a_long_output_keeps_head_and_tail_and_says_so() {
        let text: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
        let fitted = fit(&text, BUDGET);
        assert!(fitted.starts_with("line 0\n") && fitted.ends_with("line 4999"));
        assert!(fitted.contains("lines left out"));
        assert!(fitted.chars().count() <= BUDGET + 80);
    }

    #[test]
    fn one_endless_line_is_clamped_before_it_eats_the_budget() {
        let text = format!("first\n{}\nlast", "x".repeat(119_000));
        let fitted = fit(&text, BUDGET);
        assert!(fitted.starts_with("first\n") && fitted.ends_with("\nlast"));
        assert!(fitted.chars().count() < 2_100);
    }

    proptest! {
        #[test]
        fn whatever_comes_out_is_plain_and_within_the_budget(text in "\\PC{0,50}(\\x1b\\[[0-9;]{0,5}[a-z]|\\r|\\n|\\x07){0,5}\\PC{0,3000}") {
            let plain = strip_controls(&text);
            prop_assert!(!plain.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            prop_assert!(fit(&plain, 500).chars().count() <= 500 + 80 + 40);
        }
    }
}
