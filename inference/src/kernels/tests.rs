#![allow(clippy::unwrap_used, clippy::expect_used)]
use half::f16;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::*;
use crate::paged::BLOCK;

fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0).collect()
}

fn close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    let size = theirs.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * size, "{i}: {a} instead of {b}, of at most {size}");
    }
}

fn fill(planes: &Planes, format: Format, raw: &[u8], out: &mut [u8]) {
    let row = raw.len() / planes.n;
    let read = |first: usize, out: &mut [u8]| {
        out.copy_from_slice(&raw[first * row..][..out.len()]);
        Ok::<_, std::convert::Infallible>(())
    };
    planes.fill(format, out, read).unwrap();
}

/// A matrix as a file has it, in tiles and in full.
fn matrix(kind: GgmlDType, n: usize, k: usize, seed: u64) -> (Packed, Vec<f32>) {
    let weights = Tensor::from_vec(random(seed, n * k), (n, k), &Device::Cpu).unwrap();
    let quantised = QTensor::quantize(&weights, kind).unwrap();
    let format = Format::of(kind).unwrap();
    let raw = quantised.data().unwrap();
    let planes = Planes::of(format, n, k).unwrap();
    let mut bytes = vec![0; planes.len()];
    fill(&planes, format, &raw, &mut bytes);
    let full = quantised.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (Packed::new(planes, std::sync::Arc::new(bytes), 0).unwrap(), full)
}

const FORMATS: [GgmlDType; 6] =
    [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K];

fn product(level: Level, weights: &Packed, x: &[f32], m: usize) -> Vec<f32> {
    let mut quantised = Quantised::default();
    quantised.fill(level, x, weights.k());
    let mut out = vec![0.0; m * weights.n()];
    matmul(level, &[Part { weights, column: 0 }], &quantised, &mut out, weights.n());
    out
}

#[test]
fn products_are_those_of_the_dequantised_weights() {
    let (n, k) = (40, 512);
    for kind in FORMATS {
        let (packed, full) = matrix(kind, n, k, 1);
        for m in [1, 2, 3, 4, 7, 8, 13] {
            let x = random(2, m * k);
            let exact: Vec<f32> = (0..m * n)
                .map(|i| full[i % n * k..][..k].iter().zip(&x[i / n * k..]).map(|(w, x)| w * x).sum())
                .collect();
            for level in Level::all() {
                close(&product(level, &packed, &x, m), &exact, 0.02);
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_what_the_plain_one_gives() {
    for kind in FORMATS {
        let (packed, _) = matrix(kind, 48, 768, 3);
        let x = random(4, 9 * 768);
        let plain = product(Level::Plain, &packed, &x, 9);
        for level in Level::all() {
            close(&product(level, &packed, &x, 9), &plain, 2e-6);
        }
    }
}

#[test]
fn a_row_gives_the_same_alone_and_among_others() {
    for kind in FORMATS {
        let (packed, _) = matrix(kind, 32, 256, 5);
        let x = random(6, 11 * 256);
        for level in Level::all() {
            let together = product(level, &packed, &x, 11);
            for m in 0..11 {
                assert_eq!(product(level, &packed, &x[m * 256..][..256], 1), together[m * 32..][..32], "{kind:?} {m}");
            }
        }
    }
}

#[test]
fn rows_of_the_file_are_dequantised_as_candle_does() {
    for kind in FORMATS {
        let (n, k) = (4, 512);
        let weights = Tensor::from_vec(random(7, n * k), (n, k), &Device::Cpu).unwrap();
        let quantised = QTensor::quantize(&weights, kind).unwrap();
        let full: Vec<f32> = quantised.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let format = Format::of(kind).unwrap();
        let mut out = vec![0.0; n * k];
        let raw = quantised.data().unwrap();
        for (row, out) in raw.chunks_exact(format.row_bytes(k).unwrap()).zip(out.chunks_exact_mut(k)) {
            format.dequantise(row, out);
        }
        // Scales are rounded to f16 where a file has them in two parts.
        close(&out, &full, 1e-3);
    }
}

proptest! {
    /// Any bytes are weights, though hardly any a quantiser's: the instruction sets have to agree on them, too.
    #[test]
    fn any_bytes_give_the_same_on_every_instruction_set(seed in any::<u64>(), kind in 0_usize..6) {
        let format = Format::of(FORMATS[kind]).unwrap();
        let (n, k) = (16, 256);
        let mut raw = vec![0; n * format.row_bytes(k).unwrap()];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut raw);
        // Scales that are numbers, and of moderate size.
        let (_, unit) = format.unit();
        for unit in raw.chunks_exact_mut(unit) {
            let scales: &[usize] = match format {
                Format::Q4_1 | Format::Q4K => &[0, 2],
                Format::Q6K => &[208],
                _ => &[0],
            };
            for at in scales {
                unit[*at..at + 2].copy_from_slice(&f16::from_f32(0.01).to_le_bytes());
            }
        }
        let planes = Planes::of(format, n, k).unwrap();
        let mut bytes = vec![0; planes.len()];
        fill(&planes, format, &raw, &mut bytes);
        let packed = Packed::new(planes, std::sync::Arc::new(bytes), 0).unwrap();
        let x = random(seed, 3 * k);
        let plain = product(Level::Plain, &packed, &x, 3);
        for level in Level::all() {
            close(&product(level, &packed, &x, 3), &plain, 1e-5);
        }
    }
}

/// Attention by its definition, over the values as f16 keeps them.
fn reference(form: Attention, q: &[f32], keys: &[f32], values: &[f32], rows: usize, position: usize) -> Vec<f32> {
    let (dim, group) = (form.dim, form.heads / form.kv_heads);
    let kept = |x: f32| f16::from_f32(x).to_f32();
    let mut out = Vec::new();
    for row in 0..rows {
        for head in 0..form.heads {
            let at = |t: usize| (t * form.kv_heads + head / group) * dim;
            let q = &q[row * form.width + head * dim..][..dim];
            let score = |t: usize| q.iter().zip(&keys[at(t)..][..dim]).map(|(q, k)| q * kept(*k)).sum::<f32>();
            let scores: Vec<f32> = (0..=position + row).map(score).collect();
            let max = scores.iter().copied().fold(f32::MIN, f32::max);
            let total: f32 = scores.iter().map(|s| (s - max).exp()).sum();
            for e in 0..dim {
                let weighted =
                    scores.iter().enumerate().map(|(t, s)| (s - max).exp() / total * kept(values[at(t) + e]));
                out.push(weighted.sum::<f32>());
            }
        }
    }
    out
}

#[test]
fn attention_over_scattered_blocks_is_attention() {
    for (heads, kv_heads, dim) in [(9, 3, 64), (4, 2, 16), (12, 2, 128), (3, 3, 80)] {
        let width = (heads + 2 * kv_heads) * dim;
        let form = Attention { heads, kv_heads, dim, width };
        let (position, rows) = (45, 19);
        let tokens = position + rows;
        let (keys, values) = (random(1, tokens * kv_heads * dim), random(2, tokens * kv_heads * dim));
        let q = random(3, rows * width);
        let blocks = vec![5, 0, 3];
        let mut kv = KvLayer::new(7, kv_heads, dim).unwrap();
        // What others left behind must not matter, whatever it is.
        let foreign = vec![f32::INFINITY; kv_heads * dim];
        for block in 0..7 {
            for place in 0..BLOCK {
                kv.put(block, place, &foreign, &foreign);
            }
        }
        let of = |x: &[f32], t: usize| x[t * kv_heads * dim..][..kv_heads * dim].to_vec();
        for t in 0..tokens {
            kv.put(blocks[t / BLOCK] as usize, t % BLOCK, &of(&keys, t), &of(&values, t));
        }
        let expected = reference(form, &q, &keys, &values, rows, position);
        for level in Level::all() {
            let mut out = vec![0.0; rows * heads * dim];
            attend(level, form, &kv, &[Span { row: 0, rows, position, blocks: blocks.clone() }], &q, &mut out);
            close(&out, &expected, 1e-4);
            // One by one they give the very same.
            for row in 0..rows {
                let mut alone = vec![0.0; heads * dim];
                let span = Span { row: 0, rows: 1, position: position + row, blocks: blocks.clone() };
                attend(level, form, &kv, &[span], &q[row * width..][..width], &mut alone);
                assert_eq!(alone, out[row * heads * dim..][..heads * dim], "row {row}");
            }
        }
    }
}

#[test]
fn the_exponential_is_exact_to_the_last_digits() {
    for i in -8000..=800 {
        let x = i as f32 / 100.0;
        let (ours, exact) = (super::rows::exp(x), f64::from(x).exp());
        assert!((f64::from(ours) - exact).abs() <= 2e-7 * exact, "exp({x}) = {ours} instead of {exact}");
    }
}
