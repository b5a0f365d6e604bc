//! The areas that can be measured, by name.

mod blobs;
mod journal;
pub mod runtime;

use anyhow::Result;

use crate::Figure;

/// A named set of figures that are measured together.
pub struct Area {
    /// What `make bench AREA=…` calls it.
    pub name: &'static str,
    /// Measures; may take minutes.
    pub run: fn() -> Result<Vec<Figure>>,
}

const AREAS: [Area; 3] = [
    Area { name: "blobs", run: blobs::measure },
    Area { name: "journal", run: journal::measure },
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
