//! What each test executes: the program spectrum of the base, where a language's own means give it.
//!
//! Today that is Python's `unittest`: a file on `PYTHONPATH` traces calls while a test runs. The repository's files stay as they
//! are, and the run is one like any other, in the sandbox and with its limits. For the other runners there is none.

use serde::{Deserialize, Serialize};

use crate::repo::BaseRepo;
use crate::results::Format;
use crate::run::Workbench;
use crate::verify::{Place, VerifyError, VerifySpec, blocking};

/// Read by Python when it starts.
const TRACER: &str = include_str!("spectrum.py");
/// Where it lies in the checkout.
const DIR: &str = ".fleet-spectrum";
/// Most bytes that are read of what it wrote.
const MAX_BYTES: usize = 8 << 20;

/// What one test executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The test, as the runner's report names it.
    pub test: String,
    /// Path and first line, from 1, of each function of the repository that it called.
    pub at: Vec<(String, u32)>,
}

/// Runs the base's tests once more and notes what each executes. Empty where that can't be known.
pub async fn spectrum(bench: &Workbench, base: &BaseRepo, spec: &VerifySpec) -> Result<Vec<Trace>, VerifyError> {
    if spec.format != Format::Unittest {
        return Ok(Vec::new());
    }
    let tree = {
        let base = base.clone();
        blocking(move || base.apply(b"")).await?
    };
    let place = Place::make(bench, base, tree).await?;
    place.workspace.write(&format!("{DIR}/sitecustomize.py"), TRACER.as_bytes())?;
    let command = format!(
        "FLEET_SPECTRUM=\"$PWD/{DIR}/seen\" PYTHONPATH=\"$PWD/{DIR}${{PYTHONPATH:+:$PYTHONPATH}}\"; export FLEET_SPECTRUM PYTHONPATH; {}",
        spec.test
    );
    bench.shell(&place.workspace, &command, &spec.limits).await?;
    let seen = place.workspace.read(&format!("{DIR}/seen"))?.unwrap_or_default();
    place.discard().await;
    Ok(read(&seen))
}

/// What can be read of what was written: a run that was stopped leaves half a line.
fn read(seen: &[u8]) -> Vec<Trace> {
    let text = String::from_utf8_lossy(&seen[..seen.len().min(MAX_BYTES)]);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_left_out() {
        let traces = read(b"{\"test\": \"t.T.a\", \"at\": [[\"a.py\", 3]]}\n{\"test\": \"t.T.b\", \"at\": [[\"a");
        assert_eq!(traces, [Trace { test: "t.T.a".into(), at: vec![("a.py".into(), 3)] }]);
    }
}
