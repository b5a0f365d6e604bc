//! The areas that can be measured, by name.

mod blobs;
mod faults;
mod inference;
mod jobs;
mod journal;
mod nodes;
mod overload;
mod runtime;

use anyhow::Result;

use crate::Figure;

/// How much of it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Just enough to see that it works: the figures aren't worth quoting.
    pub quick: bool,
    /// Whom to leave out of a comparison: `stock`, `erlang`, `ray`, `llama.cpp`.
    pub without: Vec<String>,
}

impl Run {
    /// That many, or `few` if it has to be quick.
    fn count(&self, full: usize, few: usize) -> usize {
        if self.quick { few } else { full }
    }
}

/// The argument by which this program starts itself as a part of what it measures.
pub const ROLE: &str = "__role";

/// Such a part; runs until its standard input ends.
pub fn role(args: &[String]) -> Result<()> {
    match args {
        [role, rest @ ..] if role == blobs::WORKER => blobs::worker(rest),
        [role, rest @ ..] if role == faults::WORKER => faults::worker(rest),
        [role, rest @ ..] if role == inference::ENGINE => inference::engine(rest),
        [role, rest @ ..] if role == overload::WORKER => overload::worker(rest),
        _ => runtime::role(args),
    }
}

/// A named set of figures that are measured together.
pub struct Area {
    /// What `make bench AREA=…` calls it.
    pub name: &'static str,
    /// Measures; may take minutes.
    pub run: fn(&Run) -> Result<Vec<Figure>>,
}

const AREAS: [Area; 7] = [
    Area { name: "blobs", run: blobs::measure },
    Area { name: "faults", run: faults::measure },
    Area { name: "inference", run: inference::measure },
    Area { name: "jobs", run: jobs::measure },
    Area { name: "journal", run: journal::measure },
    Area { name: "overload", run: overload::measure },
    Area { name: "runtime", run: runtime::measure },
];

/// What the command line accepts.
pub fn names() -> Vec<&'static str> {
    AREAS.iter().map(|a| a.name).chain(["all"]).collect()
}

/// The area of that name, or all of them.
pub fn select(name: &str) -> impl Iterator<Item = &'static Area> {
    AREAS.iter().filter(move |a| name == "all" || a.name == name)
}
