//! Messages and actors between two processes of this machine: Fleet beside stock ractor_cluster, Erlang and Ray.
//!
//! Each contender is a process that is asked line by line ([`question`]); it starts its own other half, so that nothing
//! but the one who answers is at work. All take turns within each round, and ratios are taken within a round: what
//! slows this machine down slows all of them. Who can't be run is named with the reason; its figures are left out.

mod contender;
mod driver;
mod erlang;
mod figures;
mod fleet;
mod floor;
mod plan;
mod question;
mod ray;
mod results;
mod stock;

use anyhow::{Result, bail};

use super::Run;
use crate::Figure;
use fleet::{WORKER, WORKER_APART};

pub(super) use driver::resident;

/// Median of five rounds each.
pub fn measure(run: &Run) -> Result<Vec<Figure>> {
    Ok(figures::of(&plan::carry_out(run)?))
}

/// A part of a contender; runs until its standard input ends.
pub fn role(args: &[String]) -> Result<()> {
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["fleet"] => fleet::drive(false),
        ["fleet-apart"] => fleet::drive(true),
        [WORKER, ..] => fleet::worker(&args[1..], false),
        [WORKER_APART, ..] => fleet::worker(&args[1..], true),
        ["stock", "plain"] => stock::drive(false),
        ["stock", "tls"] => stock::drive(true),
        ["stock-sink", port] => stock::serve(port, None),
        ["stock-sink", port, pki] => stock::serve(port, Some(pki)),
        _ => bail!("no such part of the benchmark: {args:?}"),
    }
}
