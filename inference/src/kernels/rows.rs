//! What is done to rows of activations between the products.

use super::isa::{Isa, Level, on};
use super::parallel::{Shared, parallel_if};

/// `out = x / rms(x) * weight`, row by row; rows are as wide as `weight`. Zhang and Sennrich, 2019.
pub(crate) fn norm(level: Level, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let shared = Shared::new(out);
    parallel_if(x.len(), x.len() / width, |rows| {
        let (at, len) = (rows.start * width, rows.len() * width);
        let x = &x[at..at + len];
        // SAFETY: each thread has the rows of its range.
        unsafe {
            let out = shared.slice(at, len);
            on!(level, norm_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]));
        }
    });
}

#[inline(always)]
unsafe fn norm_rows<S: Isa>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let scale = inverse_rms(x, eps);
        for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * w;
        }
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let chunks = x.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().map(|v| v * v).sum();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v * v;
        }
    }
    let sum: f32 = lanes.iter().sum::<f32>() + rest;
    1.0 / (sum / x.len() as f32 + eps).sqrt()
}

/// The norm of each head by itself, in place: `heads` of `weight.len()` values from `column` on in rows of `width`.
pub(crate) fn norm_heads(x: &mut [f32], width: usize, column: usize, heads: usize, weight: &[f32], eps: f32) {
    let dim = weight.len();
    for row in x.chunks_exact_mut(width) {
        for head in row[column..column + heads * dim].chunks_exact_mut(dim) {
            let scale = inverse_rms(head, eps);
            for (v, w) in head.iter_mut().zip(weight) {
                *v *= scale * w;
            }
        }
    }
}

/// `x += y`.
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Adds to every row.
pub(crate) fn add_bias(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        add(row, bias);
    }
}

/// `out = silu(gate) * up`; a row of `x` is gate and up side by side, each `width` wide.
pub(crate) fn gate(level: Level, x: &[f32], width: usize, out: &mut [f32]) {
    let shared = Shared::new(out);
    parallel_if(x.len(), x.len() / (2 * width), |rows| {
        let (at, n) = (rows.start, rows.len());
        let x = &x[at * 2 * width..][..n * 2 * width];
        // SAFETY: each thread has the rows of its range.
        unsafe {
            let out = shared.slice(at * width, n * width);
            on!(level, gate_rows(x: &[f32], width: usize, out: &mut [f32]));
        }
    });
}

#[inline(always)]
unsafe fn gate_rows<S: Isa>(x: &[f32], width: usize, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (gate, up) = x.split_at(width);
        for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
            *out = g / (1.0 + exp(-g)) * u;
        }
    }
}

/// e to the x, to about 1e-6 of it: Cephes' `expf`, with 2^n by the exponent's bits. No branches, so that loops of it
/// become vectors.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let f = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4_f32;
    let p = p * f + 1.398_199_9e-3;
    let p = p * f + 8.333_452e-3;
    let p = p * f + 4.166_579_6e-2;
    let p = p * f + 1.666_666_6e-1;
    let p = p * f + 0.5;
    let p = p * f * f + f + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(((n as i32) << 23) as u32))
}

/// Turns pairs of each head by the angles of a position (RoFormer, Su et al. 2021), times `scale`. `halves`: the pairs
/// are `(i, i + dim/2)`, else `(2i, 2i + 1)`. `cos` and `sin` have `dim / 2` values.
pub(crate) fn rotate(heads: &mut [f32], cos: &[f32], sin: &[f32], halves: bool, scale: f32) {
    let half = cos.len();
    for head in heads.chunks_exact_mut(2 * half) {
        if halves {
            let (left, right) = head.split_at_mut(half);
            for (((a, b), c), s) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                let (x, y) = (*a * scale, *b * scale);
                (*a, *b) = (x * c - y * s, y * c + x * s);
            }
        } else {
            for ((pair, c), s) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
                let (x, y) = (pair[0] * scale, pair[1] * scale);
                (pair[0], pair[1]) = (x * c - y * s, y * c + x * s);
            }
        }
    }
}
