//! What Fleet knows of a source file's syntax: where its functions are, how to replace one and nothing else,
//! which names it uses, which sources are equal programs, and which parts of a Rust file are its tests.
//!
//! Trees come from tree-sitter, which also reads files with errors in them; it isn't a compiler, and what parses here
//! may still be refused by one.

mod functions;
mod language;
mod names;
mod replace;
mod shape;
mod tests_in_rust;

pub use functions::{FunctionSpan, functions};
pub use language::Language;
pub use names::names_used;
pub use replace::replace_function;
pub use shape::shape;
pub use tests_in_rust::{TestRegion, test_regions, touched_tests};

/// A source could not be read or changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// The text doesn't parse.
    #[error("line {line}: {message}")]
    Parse {
        /// The first line with an error, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// There is no function of that name.
    #[error("there is no function {name:?}; the file has: {known}")]
    NoSuchFunction {
        /// The name that was asked for.
        name: String,
        /// The functions that there are.
        known: String,
    },
    /// More than one function has that name.
    #[error("{count} functions are named {name:?}; name one of: {known}")]
    Ambiguous {
        /// The name that was asked for.
        name: String,
        /// How many have it.
        count: usize,
        /// Their qualified names.
        known: String,
    },
    /// The new code doesn't define the function.
    #[error("the new code doesn't define {name:?}; give that function whole, and nothing else (it defines: {found})")]
    NotDefined {
        /// The function that should have been defined.
        name: String,
        /// What the code defines.
        found: String,
    },
    /// The new code brings something beside the function, and the function uses it.
    #[error("the new code defines {extra:?} beside the function; put it inside the function")]
    Extra {
        /// What it brings.
        extra: String,
    },
    /// The change would reach beyond the function.
    #[error("the change would alter {0:?} as well")]
    Leaks(String),
    /// The parser itself failed.
    #[error("the parser failed: {0}")]
    Parser(String),
}

/// Whether a text parses; if not, the first line with an error.
pub fn parses(source: &str, language: Language) -> Result<(), SyntaxError> {
    functions::check(source, language)
}
