//! The engine beside llama.cpp: the same file, two threads each, back to back, ratios within a pair.
//!
//! Each measurement is a process of its own, so that nothing but the one who is measured is at work. llama.cpp is built
//! by `scripts/bench-llamacpp` from its source with AVX-512 where the machine has it, and without AMX. Guessing ahead is off
//! where the two are compared: it depends on the text, and gets figures of its own.

mod engine;
mod peer;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use fleet_inference::models::ModelStore;
use serde::Deserialize;

use super::Run;
use crate::{Figure, Target};
use peer::Peer;

/// How this program is told to be the engine of a measurement.
pub const ENGINE: &str = "engine";
/// The text whose likelihood is compared: some 600 tokens of code and prose.
const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/texts/code.txt");
const PEER: &str = "llama.cpp, same file, 2 threads";

/// One model of the comparison.
struct Subject {
    name: &'static str,
    /// For figures.
    short: &'static str,
}

const SUBJECTS: [Subject; 3] = [
    Subject { name: "smollm2-135m-instruct", short: "135M Q4_1" },
    Subject { name: "qwen2.5-coder-0.5b-instruct", short: "0.5B Q4_K_M" },
    Subject { name: "qwen2.5-coder-1.5b-instruct", short: "1.5B Q4_K_M" },
];

/// Tokens a second.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Speed {
    prefill: f64,
    decode1: f64,
    decode8: f64,
    decode16: f64,
}

/// Sixteen requests with one beginning of a thousand tokens, in one project and each in its own.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Shared {
    apart_s: f64,
    shared_s: f64,
    apart_kv: f64,
    shared_kv: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Likelihood {
    nll: f64,
    tokens: usize,
}

/// Text that repeats its prompt, with and without guessing ahead, in tokens a second.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Guessing {
    without: f64,
    with: f64,
}

/// Seconds that a token takes, free and held to a schema, of one stream and of eight.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Schema {
    free1: f64,
    held1: f64,
    free8: f64,
    held8: f64,
}

/// A part of the measurement; see [`engine`].
pub fn engine(args: &[String]) -> Result<()> {
    engine::run(args)
}

/// Median of five pairs for each model that is here.
pub fn measure(run: &Run) -> Result<Vec<Figure>> {
    let store = ModelStore::of_user()?;
    let peer = Peer::find(run);
    let mut figures = Vec::new();
    for subject in SUBJECTS.iter().take(run.count(SUBJECTS.len(), 1)) {
        match store.path(subject.name) {
            Ok(model) => figures.extend(of_model(run, subject, &model, &peer)?),
            Err(e) => figures.push(Figure::or_missing(
                format!("{}: all", subject.short),
                Err(format!("{}: {e}", subject.name)),
                "x",
            )),
        }
    }
    ensure!(figures.iter().any(|f| f.value.is_some()), "no model is here: fleet model pull {}", SUBJECTS[0].name);
    Ok(figures)
}

fn of_model(run: &Run, subject: &Subject, model: &PathBuf, peer: &Peer) -> Result<Vec<Figure>> {
    let name = |what: &str| format!("{}: {what}", subject.short);
    let mut pairs = Vec::new();
    for _ in 0..run.count(5, 1) {
        let ours: Speed = ours(run, "speed", model)?;
        pairs.push((ours, peer.ask::<Speed>("speed", model)));
    }
    let mut figures = speeds(&name, &pairs);
    let shared: Shared = ours(run, "shared", model)?;
    figures.push(
        Figure::new(name("16 requests with 1k in common, times faster"), shared.apart_s / shared.shared_s, "x")
            .must(Target::AtLeast(3.0)),
    );
    figures.push(
        Figure::new(name("their keys and values, of what they take apart"), shared.shared_kv / shared.apart_kv, "x")
            .must(Target::AtMost(0.25)),
    );
    // The first start makes the tiles; what counts is the second.
    start(run, model)?;
    let starts = (0..run.count(5, 1)).map(|_| start(run, model)).collect::<Result<Vec<_>>>()?;
    let started = Figure::new(name("start to first token, second start"), median(starts), "s");
    figures.push(started.must(Target::AtMost(3.0)).aim(Target::AtMost(1.0)));
    let guessing: Guessing = ours(run, "guess", model)?;
    figures.push(Figure::new(name("guessing ahead, code repeated"), guessing.with / guessing.without, "x"));
    figures.extend(schema(run, &name, model)?);
    figures.push(likelihood(run, name("NLL of a text, apart"), model, peer)?);
    Ok(figures)
}

fn speeds(name: &dyn Fn(&str) -> String, pairs: &[(Speed, Result<Speed, String>)]) -> Vec<Figure> {
    type Of = fn(&Speed) -> f64;
    let rows: [(&str, Of, f64, f64); 4] = [
        ("prefill of 512", |s| s.prefill, 1.3, 2.0),
        ("decode, 1 stream", |s| s.decode1, 1.0, 1.3),
        ("decode, 8 streams", |s| s.decode8, 2.0, 3.0),
        ("decode, 16 streams", |s| s.decode16, 2.5, 4.0),
    ];
    let mut figures = Vec::new();
    for (what, of, must, aim) in rows {
        let rates = pairs.iter().map(|(ours, _)| of(ours)).collect();
        figures.push(Figure::new(name(what), median(rates), "tokens/s"));
        let ratios: Result<Vec<f64>, String> =
            pairs.iter().map(|(ours, theirs)| Ok(of(ours) / of(theirs.as_ref().map_err(Clone::clone)?))).collect();
        let ratio = Figure::or_missing(name(&format!("{what}, over llama.cpp")), ratios.map(median), "x");
        figures.push(ratio.must(Target::AtLeast(must)).aim(Target::AtLeast(aim)).against(PEER));
    }
    figures
}

fn schema(run: &Run, name: &dyn Fn(&str) -> String, model: &PathBuf) -> Result<Vec<Figure>> {
    let rounds = (0..run.count(5, 1)).map(|_| ours(run, "schema", model)).collect::<Result<Vec<Schema>>>()?;
    let figure = |what: &str, of: fn(&Schema) -> f64| {
        let slower = median(rounds.iter().map(of).collect());
        Figure::new(name(what), slower, "x").must(Target::AtMost(1.05))
    };
    let one = figure("held to a JSON schema, time of a token, 1 stream", |s| s.held1 / s.free1);
    let eight = figure("held to a JSON schema, time of a token, 8 streams", |s| s.held8 / s.free8);
    Ok(vec![one, eight])
}

fn likelihood(run: &Run, name: String, model: &PathBuf, peer: &Peer) -> Result<Figure> {
    let ours: Likelihood = ours_of(run, "nll", model, &[TEXT])?;
    let apart = peer.ask_of::<Likelihood>("nll", model, &[TEXT]).and_then(|theirs| {
        if theirs.tokens != ours.tokens {
            return Err(format!("{} tokens instead of {}", ours.tokens, theirs.tokens));
        }
        Ok((ours.nll / theirs.nll - 1.0).abs() * 100.0)
    });
    Ok(Figure::or_missing(name, apart, "%").must(Target::AtMost(0.5)).against(PEER))
}

/// Seconds from the start of a process to its first token.
fn start(run: &Run, model: &PathBuf) -> Result<f64> {
    let began = Instant::now();
    peer::first_line(peer::this_program(run.quick)?.arg("start").arg(model))?;
    Ok(began.elapsed().as_secs_f64())
}

fn ours<T: for<'a> Deserialize<'a>>(run: &Run, what: &str, model: &PathBuf) -> Result<T> {
    ours_of(run, what, model, &[])
}

fn ours_of<T: for<'a> Deserialize<'a>>(run: &Run, what: &str, model: &PathBuf, more: &[&str]) -> Result<T> {
    let line = peer::first_line(peer::this_program(run.quick)?.arg(what).arg(model).args(more))?;
    serde_json::from_str(&line).with_context(|| format!("the engine said {line:?}"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Refuses what isn't a measurement.
fn unknown(what: &[String]) -> Result<()> {
    bail!("no such measurement: {what:?}")
}
