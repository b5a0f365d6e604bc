//! Places in source that failure output points at: stack frames, panics, assertion sites.

/// A place in a file of the repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// The file, as in the repository.
    pub path: String,
    /// 1-based line.
    pub line: u32,
}

/// All places that a text points at, of files that the repository has, in order of appearance.
///
/// Python writes `File "/work/cart.py", line 12`, Rust `src/lib.rs:12:5`, Node
/// `(file:///work/cart.js:12:5)`. All name a path that ends like one of the repository's, then the line.
pub fn frames(text: &str, paths: &[String]) -> Vec<Frame> {
    let mut found: Vec<(usize, Frame)> = Vec::new();
    for path in paths {
        for (at, _) in text.match_indices(path.as_str()) {
            let before = text[..at].chars().next_back();
            let whole = before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'));
            if let Some(line) = line_after(&text[at + path.len()..]).filter(|_| whole) {
                found.push((at, Frame { path: path.clone(), line }));
            }
        }
    }
    // Of two paths that end alike (`a.py`, `x/a.py`) both match at different offsets; the longer
    // one starts earlier on the same text and is the one that is meant.
    found.sort_by_key(|(at, frame)| (at + frame.path.len(), *at));
    found.dedup_by_key(|(at, frame)| *at + frame.path.len());
    let mut frames: Vec<Frame> = Vec::new();
    for (_, frame) in found {
        if !frames.contains(&frame) {
            frames.push(frame);
        }
    }
    frames
}

fn line_after(rest: &str) -> Option<u32> {
    let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix("\", line "))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, u32)> {
        let paths = ["cart.py".to_owned(), "pkg/cart.py".into(), "src/lib.rs".into(), "a.js".into()];
        frames(text, &paths).into_iter().map(|f| (f.path, f.line)).collect()
    }

    #[test]
    fn the_three_languages_are_read() {
        assert_eq!(found("  File \"/work/cart.py\", line 12, in total"), [("cart.py".into(), 12)]);
        assert_eq!(found("thread 'x' panicked at src/lib.rs:7:5:"), [("src/lib.rs".into(), 7)]);
        assert_eq!(found("at f (file:///work/a.js:3:9)"), [("a.js".into(), 3)]);
    }

    #[test]
    fn the_longer_path_is_meant_and_a_longer_name_is_another_file() {
        assert_eq!(found("File \"/work/pkg/cart.py\", line 2"), [("pkg/cart.py".into(), 2)]);
        assert_eq!(found("File \"/work/mycart.py\", line 2"), []);
        assert_eq!(found("cart.py is fine"), []);
    }
}
