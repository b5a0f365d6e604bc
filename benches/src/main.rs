//! `fleet-bench AREA…`: measures, prints every figure with its target, writes `target/bench/AREA.json`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use fleet_benches::area::{self, Run};
use fleet_benches::{Figure, machine::Machine};

/// As in `fleetd`.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures an area of Fleet and compares each figure with its target.
#[derive(Parser)]
struct Args {
    /// What to measure; `all` for every area.
    #[arg(value_parser = area::names())]
    area: String,
    /// Where the figures are written, one JSON file an area.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Only see that it works: few of everything, and no target counts.
    #[arg(long)]
    quick: bool,
    /// Leaves one out of the comparison; may be given more than once.
    #[arg(long, value_name = "PEER", value_parser = ["stock", "erlang", "ray", "llama.cpp"])]
    without: Vec<String>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().collect();
    if let [_, role, rest @ ..] = words.as_slice()
        && role == area::ROLE
    {
        return area::role(rest);
    }
    let args = Args::parse();
    let machine = Machine::here();
    if machine.build == "debug" {
        say("note: this is an unoptimised build; run `make bench` for figures worth quoting");
    }
    say(&format!(
        "{} · {} processors · load {:.1} · {} build",
        machine.cpu, machine.processors, machine.load, machine.build
    ));
    let mut missed = Vec::new();
    let run = Run { quick: args.quick, without: args.without };
    for area in area::select(&args.area) {
        let figures = (area.run)(&run).with_context(|| format!("measuring {}", area.name))?;
        write(&args.out, area.name, &figures)?;
        say(&table(area.name, &figures));
        for why in figures.iter().filter_map(|f| f.missing.as_deref()).collect::<BTreeSet<_>>() {
            say(&format!("not measured: {why}"));
        }
        missed.extend(figures.into_iter().filter(Figure::misses).map(|f| f.name));
    }
    if !missed.is_empty() && !run.quick {
        bail!("below target: {}", missed.join("; "));
    }
    Ok(())
}

fn write(out: &std::path::Path, area: &str, figures: &[Figure]) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let file = out.join(format!("{area}.json"));
    std::fs::write(&file, serde_json::to_vec_pretty(figures)?).with_context(|| format!("writing {}", file.display()))
}

fn table(area: &str, figures: &[Figure]) -> String {
    let mut t = Table::new();
    t.load_style(UTF8_BORDERS_ONLY);
    t.set_content_arrangement(ContentArrangement::Dynamic);
    t.set_header([area, "value", "unit", "target", "", "aim", "against"]);
    for f in figures {
        t.add_row([
            f.name.as_str(),
            &f.shown(),
            &f.unit,
            f.target.as_deref().unwrap_or("–"),
            f.verdict(),
            &f.shown_aim(),
            f.peer.as_deref().unwrap_or("–"),
        ]);
    }
    t.to_string()
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn say(line: &str) {
    println!("{line}");
}
