//! The nearest of a few names to a mistyped one, by edit distance.

/// The name of `known` that `word` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    known
        .iter()
        .map(|name| (distance(&word, &name.chars().collect::<Vec<_>>()), *name))
        .filter(|(steps, name)| *steps <= name.len().max(word.len()).div_ceil(3))
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, name)| name)
}

/// Levenshtein distance, one row at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_stranger_is_not() {
        let known = ["max_running", "max_restarts", "listen"];
        assert_eq!(nearest("max_runing", &known), Some("max_running"));
        assert_eq!(nearest("Listen", &known), Some("listen"));
        assert_eq!(nearest("colour", &known), None);
    }
}
