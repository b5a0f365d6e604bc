//! The part of an output that says what went wrong.

/// Characters kept of one failure.
const FAILURE: usize = 2_000;

/// Clips the text of one failure.
pub(super) fn clip(text: &str) -> String {
    crate::gateway::output::fit(text.trim_matches('\n'), FAILURE)
}

/// Of a run that broke: from the first line that reports an error, else the end of what was printed.
pub(super) fn of_run(stdout: &str, stderr: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| is_error(line)).unwrap_or(lines.len().saturating_sub(40));
    let end = (first + 40).min(lines.len());
    clip(&lines[first..end].join("\n"))
}

fn is_error(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("error") || line.starts_with("Traceback") || line.contains("Error:") || line.starts_with("fatal")
}
