use fleet_runtime::*;
use std::sync::Arc;
use std::time::Instant;
#[tokio::main(worker_threads = 2)]
async fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let shared = std::env::args().nth(2).is_some();
    for (name, own) in [("raw append", false)] {
        let path = std::path::PathBuf::from(&dir).join(name.replace(' ', "-"));
        let (j, _) = SqliteJournal::open(&path, &JournalOptions::default()).unwrap();
        let j: Arc<dyn Journal> = Arc::new(j);
        let n = 4000u64;
        let t = Instant::now();
        let tasks: Vec<_> = (0..64)
            .map(|p| {
                let j = j.clone();
                tokio::spawn(async move {
                    let stream: StreamId = format!("job/p{}", if shared { 0 } else { p }).parse().unwrap();
                    let project: ProjectId = "p".parse().unwrap();
                    let by = Author::Node("n1".into());
                    let pad = "x".repeat(960);
                    let w = StreamWriter::open(j.clone(), Arc::new(NoSecrets), stream.clone(), project.clone())
                        .await
                        .unwrap();
                    let mut lat = Vec::new();
                    for i in 0..n {
                        let e = NewEvent::new(by.clone(), "bench.event", serde_json::json!({"i": i, "pad": pad}));
                        let t = Instant::now();
                        if own {
                            w.append(e).await.unwrap();
                        } else {
                            j.append(Append {
                                stream: stream.clone(),
                                project: project.clone(),
                                expected: Expected::Any,
                                generation: Generation(64),
                                events: vec![Redacted::event(&NoSecrets, &project, e)],
                            })
                            .await
                            .unwrap();
                        }
                        lat.push(t.elapsed().as_micros() as u64);
                    }
                    lat
                })
            })
            .collect();
        let mut lat = Vec::new();
        for t in tasks {
            lat.extend(t.await.unwrap());
        }
        let s = t.elapsed().as_secs_f64();
        lat.sort();
        println!(
            "{name}: {:.0}/s  p50 {} us p99 {} us max {}",
            64.0 * n as f64 / s,
            lat[lat.len() / 2],
            lat[lat.len() * 99 / 100],
            lat[lat.len() - 1]
        );
    }
}
