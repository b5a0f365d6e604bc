//! Durable appends: 64 producers, events of 1 KB, redacted, fsynced before they are acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fleet_memory::SecretRedactor;
use fleet_runtime::{
    Author, Journal, JournalOptions, NewEvent, ProjectId, Redactor, SqliteJournal, StreamId, StreamWriter,
};
use serde_json::json;

use super::Run;
use crate::{Figure, Target};

const PRODUCERS: usize = 64;
/// Events that one producer has in flight at a time: its own group, acknowledged together.
const BATCH: usize = 16;
/// Milliseconds of a round, and of a quick one.
const RUN: (usize, usize) = (5_000, 200);
const ROUNDS: usize = 3;

/// Median of three runs.
pub fn measure(run: &Run) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut single = Vec::new();
    let mut grouped = Vec::new();
    let mut acks = Vec::new();
    let length = Duration::from_millis(run.count(RUN.0, RUN.1) as u64);
    for _ in 0..run.count(ROUNDS, 1) {
        let (rate, p99) = runtime.block_on(round(1, length))?;
        single.push(rate);
        acks.push(p99);
        grouped.push(runtime.block_on(round(BATCH, length))?.0);
    }
    Ok(vec![
        Figure::new("appends of 1 KB, 64 producers, 16 in flight each", median(grouped), "1/s")
            .must(Target::AtLeast(30_000.0)),
        Figure::new("appends of 1 KB, 64 producers, 1 in flight each", median(single), "1/s"),
        Figure::new("acknowledged after, p99, 1 in flight each", median(acks), "ms"),
        Figure::new("redaction of a 4 KB message", redaction()?, "ms").must(Target::AtMost(0.5)),
    ])
}

async fn round(in_flight: usize, length: Duration) -> Result<(f64, f64)> {
    let dir = tempfile::tempdir()?;
    let (journal, _) = SqliteJournal::open(dir.path(), &JournalOptions::default())?;
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let redactor: Arc<dyn Redactor> = Arc::new(SecretRedactor::new([7; 32]));
    let mut producers = Vec::new();
    let until = Instant::now() + length;
    for n in 0..PRODUCERS {
        let stream: StreamId = format!("bench/{n}").parse()?;
        let writer = StreamWriter::open(journal.clone(), redactor.clone(), stream, "bench".parse()?).await?;
        producers.push(tokio::spawn(produce(writer, until, in_flight)));
    }
    let began = Instant::now();
    let mut waits = Vec::new();
    for producer in producers {
        waits.extend(producer.await??);
    }
    let rate = (waits.len() * in_flight) as f64 / began.elapsed().as_secs_f64();
    waits.sort_by(f64::total_cmp);
    Ok((rate, waits[waits.len() * 99 / 100]))
}

async fn produce(writer: StreamWriter, until: Instant, in_flight: usize) -> Result<Vec<f64>> {
    let mut waits = Vec::new();
    while Instant::now() < until {
        let sent = Instant::now();
        writer.append_all(vec![event(); in_flight]).await?;
        waits.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    Ok(waits)
}

/// An event whose payload is about 1 KB of what tools say.
fn event() -> NewEvent {
    let line = "test tests::a_window_ends_before_the_next_begins ... ok\n";
    NewEvent {
        by: Author::Node("bench".into()),
        kind: "bench.event".into(),
        version: 1,
        caused_by: None,
        facts: Vec::new(),
        payload: json!({ "text": line.repeat(18) }),
    }
}

fn redaction() -> Result<f64> {
    let redactor = SecretRedactor::new([7; 32]);
    let project: ProjectId = "bench".parse()?;
    let text = "warning: unused variable `token`\n  --> src/session.rs:41:9\n".repeat(4096 / 59);
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        std::hint::black_box(redactor.redact(&project, &text));
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
