//! What agents are shown beside the facts of the story: failing tests, source, feedback.
//!
//! Order is that of reading and of what council members share: the failure first, the file next,
//! what concerns one attempt only at the end.

use fleet_memory::{Material, estimate_tokens};
use fleet_tools::results::TestReport;
use fleet_tools::syntax::{Language, functions};

use crate::event::Candidate;
use crate::localise::SourceText;

/// Failing tests whose output is shown.
const SHOWN_FAILURES: usize = 3;
/// Lines of one failing test's output.
const FAILURE_LINES: usize = 24;
/// Lines of a change that is added to.
const PATCH_LINES: usize = 60;
/// Tokens of a file that is shown whole.
const WHOLE_FILE_TOKENS: u32 = 1500;

/// What the failing tests say.
pub(crate) fn failures(report: &TestReport) -> Option<Material> {
    let texts: Vec<String> = report
        .failures
        .iter()
        .take(SHOWN_FAILURES)
        .map(|f| format!("{}:\n{}", f.test, clip(&f.text, FAILURE_LINES)))
        .collect();
    (!texts.is_empty()).then(|| material("failing test", "output", "What the failing tests say", texts.join("\n\n"), 1))
}

/// The source of the failing tests, where they can be found.
pub(crate) fn test_source(files: &[SourceText], report: &TestReport) -> Option<Material> {
    let mut texts = failing_tests(files, report);
    texts.truncate(SHOWN_FAILURES);
    (!texts.is_empty()).then(|| material("failing test", "source", "The failing tests", texts.join("\n\n"), 2))
}

/// The functions that are the failing tests, as text.
pub(crate) fn failing_tests(files: &[SourceText], report: &TestReport) -> Vec<String> {
    let mut texts = Vec::new();
    for file in files {
        let Some(language) = Language::of(&file.path) else { continue };
        for span in functions(&file.text, language).unwrap_or_default() {
            let simple = span.name.rsplit(['.', ':']).next().unwrap_or(&span.name);
            let failing =
                report.failing().any(|t| t.split(|c: char| !c.is_alphanumeric() && c != '_').any(|p| p == simple));
            if failing && simple.len() > 3 {
                texts.push(file.text.get(span.start..span.end).unwrap_or_default().to_owned());
            }
        }
    }
    texts
}

/// The files of the repository, by name only.
pub(crate) fn file_list(files: &[SourceText]) -> Material {
    let names: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    material("file list", "base", "Files", names.join("\n"), 3)
}

/// The suspects, for whoever decides how.
pub(crate) fn suspects(candidates: &[Candidate], shown: usize, files: &[SourceText]) -> Vec<Material> {
    let source = |c: &Candidate| {
        let file = files.iter().find(|f| f.path == c.path)?;
        function_text(&file.text, &c.path, &c.function)
    };
    let of = |c: &Candidate| {
        Some(material(
            "source",
            &format!("{}:{}", c.path, c.function),
            &format!("{} in {}", c.function, c.path),
            source(c)?,
            2,
        ))
    };
    candidates.iter().take(shown).filter_map(of).collect()
}

/// The file that holds the function to be rewritten: whole if it is small, else its outline and the function.
pub(crate) fn source(file: &SourceText, function: &str) -> Material {
    let fence = Language::of(&file.path).map_or("", Language::fence);
    if estimate_tokens(&file.text) <= WHOLE_FILE_TOKENS {
        let body = format!("```{fence}\n{}\n```", file.text.trim_end());
        return material("source file", &file.path, &format!("The file {}", file.path), body, 0);
    }
    let body = format!("```{fence}\n{}\n```", outline(file, function));
    material("source file", &file.path, &format!("The file {}, shortened", file.path), body, 0)
}

/// Every function's signature in order, and the one in question whole.
fn outline(file: &SourceText, function: &str) -> String {
    let Some(language) = Language::of(&file.path) else { return file.text.clone() };
    let spans = functions(&file.text, language).unwrap_or_default();
    let head = spans.iter().map(|s| s.start).min().unwrap_or(0);
    let mut lines = vec![file.text.get(..head).unwrap_or_default().trim_end().to_owned()];
    for span in spans {
        if span.name == function {
            lines.push(file.text.get(span.start..span.end).unwrap_or_default().to_owned());
        } else {
            lines.push(format!("{} ...", span.signature));
        }
    }
    lines.join("\n")
}

/// The text of a function.
pub(crate) fn function_text(source: &str, path: &str, function: &str) -> Option<String> {
    let language = Language::of(path)?;
    let span = functions(source, language).ok()?.into_iter().find(|s| s.name == function)?;
    source.get(span.start..span.end).map(str::to_owned)
}

/// An earlier try and what came of it.
pub(crate) fn feedback(attempt: u32, code: &str, said: &str) -> Material {
    let body = format!("The try:\n{}\n\nWhat the run said:\n{}", code.trim_end(), clip(said, FAILURE_LINES));
    material("feedback", &format!("attempt-{attempt}"), "An earlier try that did not pass", body, 0)
}

/// The part of a change that is in place already.
pub(crate) fn in_place(attempt: u32, patch: &str) -> Material {
    let body = format!("```diff\n{}\n```", clip(patch.trim_end(), PATCH_LINES));
    material("feedback", &format!("in-place-{attempt}"), "A part of the change that is in place already", body, 0)
}

pub(crate) fn material(kind: &str, id: &str, title: &str, body: String, priority: u8) -> Material {
    Material { kind: kind.into(), id: id.into(), title: title.into(), body, priority }
}

/// The first and the last lines; runners say what is wrong at one of the ends.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= max {
        return lines.join("\n");
    }
    let (head, tail) = (max / 3, max - max / 3);
    let gap = format!("[… {} lines …]", lines.len() - head - tail);
    let end = &lines[lines.len() - tail..];
    [&lines[..head], &[gap.as_str()], end].concat().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_long_output_are_kept() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        let clipped = clip(&text, 9);
        assert_eq!(clipped.lines().count(), 10);
        assert!(clipped.starts_with("0\n1\n2\n[… 91 lines …]\n94"), "{clipped}");
    }
}
