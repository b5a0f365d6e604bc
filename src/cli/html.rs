//! Pages that people keep: one file that needs nothing from elsewhere and runs no script; its policy says so to the browser.
//! Light or dark as the reader's system is. Everything that isn't a number is escaped.

use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// A page up to its first heading.
pub fn open(title: &str) -> String {
    let title = escaped(title);
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    add(&mut out, &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">"));
    add(&mut out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    add(&mut out, "<meta name=\"color-scheme\" content=\"light dark\">");
    add(
        &mut out,
        &format!("<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>"),
    );
    out
}

/// The end of a page.
pub fn close(out: &mut String) {
    out.push_str("</main>\n</body>\n</html>\n");
}

/// What a page is about: names with what they are.
pub fn facts<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut out = String::from("<dl>\n");
    for (name, value) in rows {
        add(&mut out, &format!("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(&value)));
    }
    out + "</dl>"
}

/// A line of its own. Writing to a string can't fail.
pub fn add(out: &mut String, line: &str) {
    let _ = writeln!(out, "{line}");
}

/// What HTML would take for more than text is written so that it is text.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
