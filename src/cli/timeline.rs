//! `fleet timeline`: a trace of what was done when, for Perfetto.

use std::io::Write;
use std::path::Path;

use super::args::{Global, Output};
use super::client::Client;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::terminal::Terminal;

/// Writes the trace of a job, or of all, to the file that `--output` names, or to stdout.
pub async fn run(global: &Global, terminal: &Terminal, job: Option<&str>) -> Outcome {
    let trace = Client::open(global).await?.timeline(job).await?;
    let Output::File(file) = &global.output else {
        terminal.json(&trace)?;
        return Ok(Exit::Ok);
    };
    write(file, &trace).map_err(|e| {
        Failure::input(format!("can't write {}: {e}", file.display()), "name another file with --output")
    })?;
    let left_out = trace["otherData"]["jobs_left_out"].as_u64().unwrap_or(0);
    if left_out > 0 {
        terminal.careful(format_args!("the {left_out} oldest jobs are left out; ask for them by id"));
    }
    terminal.note(format_args!("written to {}; open it at https://ui.perfetto.dev", file.display()));
    Ok(Exit::Ok)
}

fn write(file: &Path, trace: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    serde_json::to_writer(&mut out, trace)?;
    out.flush()
}
