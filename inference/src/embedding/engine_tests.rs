//! With the real model; `make setup` brings it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn engine(queue: usize) -> EmbeddingEngine {
    let config = EngineConfig { kind: EngineKind::Embedding, queue, ..EngineConfig::default() };
    let store = ModelStore::of_user().unwrap();
    let engine = from_config(&config, &store).unwrap_or_else(|e| panic!("{e}; run `make setup`"));
    loop {
        match engine.info().state {
            EngineState::Ready => return engine,
            EngineState::Failed { why } => panic!("{why}"),
            EngineState::Loading | EngineState::Draining => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn ask(texts: &[&str]) -> EmbedRequest {
    EmbedRequest { texts: texts.iter().map(|text| (*text).to_owned()).collect(), deadline_ms: 60_000 }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn what_means_the_same_is_near_as_in_the_models_own_card() {
    let engine = engine(4);
    let texts = ["A man is eating food.", "A man is eating a piece of bread.", "The kernel frees its pages."];
    let made = engine.embed(ask(&texts)).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!((made.model.as_str(), made.vectors.len(), made.vectors[0].len()), (MODEL, 3, 384));
    // By the reference implementation of sentence-transformers.
    assert!((dot(&made.vectors[0], &made.vectors[1]) - 0.7553).abs() < 5e-4);
    assert!(dot(&made.vectors[0], &made.vectors[2]) < 0.2);
    assert!(made.vectors.iter().all(|vector| (dot(vector, vector) - 1.0).abs() < 1e-5));
    assert_eq!(made.tokens, texts.iter().map(|text| engine.count_tokens(text)).sum::<u32>());
    assert_eq!((engine.stats().completed, engine.stats().queued, engine.stats().active), (1, 0, 0));
}

#[test]
fn a_vector_does_not_depend_on_who_is_in_the_batch_and_keeps_its_place() {
    let engine = engine(64);
    let texts: Vec<String> = (0..40).map(|n| format!("text {n} {}", "more words ".repeat(n % 13))).collect();
    let alone: Vec<_> = texts.iter().take(6).map(|text| engine.embed(ask(&[text])).unwrap()).collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = engine.embed(ask(&all)).unwrap().blocking_recv().unwrap().unwrap();
    for (n, alone) in alone.into_iter().enumerate() {
        let alone = alone.blocking_recv().unwrap().unwrap();
        assert!(dot(&alone.vectors[0], &all.vectors[n]) > 0.99999, "{n}");
    }
}

#[test]
fn of_a_long_text_its_beginning_is_read_and_an_empty_one_has_a_vector() {
    let engine = engine(4);
    let long = "word ".repeat(5000);
    let made = engine.embed(ask(&[&long, ""])).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!(made.tokens, LONGEST as u32 + 2);
    assert!(made.vectors.iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn more_than_may_wait_is_refused_and_what_is_late_is_told() {
    let engine = engine(1);
    let long: Vec<String> = (0..64).map(|n| format!("{n} {}", "word ".repeat(300))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let first = engine.embed(ask(&long)).unwrap();
    while engine.stats().active == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let late = engine.embed(EmbedRequest { deadline_ms: 1, ..ask(&["x"]) }).unwrap();
    assert!(matches!(engine.embed(ask(&["y"])), Err(EngineError::Busy { .. })));
    assert_eq!(first.blocking_recv().unwrap().unwrap().vectors.len(), 64);
    assert_eq!(late.blocking_recv().unwrap(), Err(EngineError::Deadline { after_ms: 1 }));
    assert!(matches!(engine.submit(Request::new(vec![], 1)), Err(EngineError::Unsupported(_))));
}
