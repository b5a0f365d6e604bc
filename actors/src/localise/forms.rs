//! In which form a change is asked for, the function or its whole file.

use fleet_memory::estimate_tokens;

use super::SourceText;
use crate::event::Form;

/// What runners, interpreters and compilers say of a name that isn't there yet.
const MISSING: &[&str] = &[
    "cannot import name",
    "has no attribute",
    "is not defined",
    "is not a function",
    "does not provide an export named",
    "unexpected keyword argument",
    "No module named",
    "cannot find function",
    "cannot find value",
    "cannot find type",
    "no method named",
    "no function or associated item named",
    "unresolved import",
];

/// The forms for functions of a file, the more promising one first.
///
/// One function is the cheaper one and leaves less to go wrong; a whole file, if it has at most `limit` tokens, can
/// also bring what is new. Where the failure says that something is missing, nothing but a new thing will do.
pub fn forms(file: &SourceText, output: &str, limit: u32) -> Vec<Form> {
    if estimate_tokens(&file.text) > limit {
        return vec![Form::Function];
    }
    let missing = MISSING.iter().any(|said| output.contains(said));
    if missing { vec![Form::File, Form::Function] } else { vec![Form::Function, Form::File] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_if_it_is_small_and_first_if_something_is_missing() {
        let file = SourceText { path: "a.py".into(), text: "def f():\n    return 1\n".into() };
        assert_eq!(forms(&file, "AssertionError: 1 != 2", 100), [Form::Function, Form::File]);
        assert_eq!(forms(&file, "ImportError: cannot import name 'g' from 'a'", 100), [Form::File, Form::Function]);
        assert_eq!(forms(&file, "ImportError: cannot import name 'g' from 'a'", 2), [Form::Function]);
    }
}
