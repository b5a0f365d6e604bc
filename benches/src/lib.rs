//! The benchmark suite's own parts: what a figure is, and how a run of figures is shown and kept.
//!
//! An *area* is a function that measures and returns [`Figure`]s. The runner (`src/main.rs`) prints them
//! beside their targets and writes `target/bench/AREA.json`. Criterion covers what takes microseconds
//! (`benches/small.rs`); everything that needs a disk, a process or minutes is measured here.

pub mod area;
pub mod figure;
pub mod machine;

pub use figure::{Figure, Target};
