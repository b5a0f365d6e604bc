//! `fleet-bench AREA…`: measures, prints every figure with its target, writes `target/bench/AREA.json`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use fleet_benches::{Figure, area, machine::Machine};

/// Measures an area of Fleet and compares each figure with its target.
#[derive(Parser)]
struct Args {
    /// What to measure; `all` for every area.
    #[arg(value_parser = area::names())]
    area: String,
    /// Where the figures are written, one JSON file an area.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().collect();
    if let [_, worker, rest @ ..] = words.as_slice()
        && worker == "__worker"
    {
        return area::runtime::worker(rest);
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
    for area in area::select(&args.area) {
        let figures = (area.run)().with_context(|| format!("measuring {}", area.name))?;
        write(&args.out, area.name, &figures)?;
        say(&table(area.name, &figures));
        missed.extend(figures.into_iter().filter(|f| !f.ok).map(|f| f.name));
    }
    if !missed.is_empty() {
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
    t.set_header([area, "value", "unit", "target", "against", ""]);
    for f in figures {
        let verdict = match (&f.target, f.ok) {
            (None, _) => "",
            (Some(_), true) => "ok",
            (Some(_), false) => "BELOW TARGET",
        };
        t.add_row([
            f.name.as_str(),
            &f.shown(),
            &f.unit,
            f.target.as_deref().unwrap_or("–"),
            f.peer.as_deref().unwrap_or("–"),
            verdict,
        ]);
    }
    t.to_string()
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn say(line: &str) {
    println!("{line}");
}
