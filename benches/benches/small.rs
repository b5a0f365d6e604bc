//! What takes microseconds: the wire codec and the frame around it.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fleet_runtime::codec;

fn wire(c: &mut Criterion) {
    let texts: Vec<String> = (0..8).map(|n| format!("section {n}: ").repeat(100)).collect();
    c.bench_function("encode 8 strings of 1 KB", |b| b.iter(|| codec::encode(black_box(&texts))));
    let Ok(bytes) = codec::encode(&texts) else { return };
    c.bench_function("decode 8 strings of 1 KB", |b| b.iter(|| codec::decode::<Vec<String>>(black_box(&bytes))));
    c.bench_function("frame and check 8 KB", |b| {
        b.iter(|| codec::unframe(&codec::frame(1, black_box(&bytes))).map(|(schema, body)| (schema, body.len())).ok());
    });
}

criterion_group!(benches, wire);
criterion_main!(benches);
