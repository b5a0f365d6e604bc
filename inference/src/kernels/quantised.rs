//! Activations in eight bits: blocks of 32 with one scale, rounded to nearest.

use super::isa::{Isa, Level, on};
use super::packed::DEPTH;
use super::parallel::{Shared, parallel_if};

/// Rows of activations; the buffers are used again.
#[derive(Debug, Default)]
pub(crate) struct Quantised {
    pub(super) rows: usize,
    pub(super) blocks: usize,
    /// `[rows][blocks][32]`
    pub(super) q: Vec<i8>,
    /// `[rows][blocks]`
    pub(super) scale: Vec<f32>,
    /// Scale times the sum of a block's integers, and of its two halves: `[rows][blocks][3]`.
    pub(super) sums: Vec<[f32; 3]>,
}

impl Quantised {
    /// Takes in rows of `k` values.
    pub(crate) fn fill(&mut self, level: Level, x: &[f32], k: usize) {
        (self.rows, self.blocks) = (x.len() / k, k / DEPTH);
        let blocks = self.rows * self.blocks;
        self.q.resize(blocks * DEPTH, 0);
        self.scale.resize(blocks, 0.0);
        self.sums.resize(blocks, [0.0; 3]);
        let (q, scale, sums) = (Shared::new(&mut self.q), Shared::new(&mut self.scale), Shared::new(&mut self.sums));
        parallel_if(x.len(), blocks, |range| {
            let (at, n) = (range.start, range.len());
            // SAFETY: each thread has the blocks of its range.
            unsafe {
                let (q, scale) = (q.slice(at * DEPTH, n * DEPTH), scale.slice(at, n));
                let sums = sums.slice(at, n);
                let x = &x[at * DEPTH..][..n * DEPTH];
                on!(level, all(x: &[f32], q: &mut [i8], scale: &mut [f32], sums: &mut [[f32; 3]]));
            }
        });
    }
}

/// # Safety
/// [`Isa`]'s. Compiled for its instruction set, the compiler makes vectors of these loops.
#[inline(always)]
unsafe fn all<S: Isa>(x: &[f32], q: &mut [i8], scale: &mut [f32], sums: &mut [[f32; 3]]) {
    for (((x, q), scale), sums) in x.chunks_exact(DEPTH).zip(q.chunks_exact_mut(DEPTH)).zip(scale).zip(sums) {
        let largest = x.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
        let d = largest / 127.0;
        let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
        let mut halves = [0_i32; 2];
        for (half, sum) in halves.iter_mut().enumerate() {
            for i in half * 16..half * 16 + 16 {
                // Rounds to nearest, ties to even, as the addition of 1.5 * 2^23 does.
                let rounded = (x[i] * inverse + 12_582_912.0) - 12_582_912.0;
                let integer = rounded as i32;
                *sum += integer;
                q[i] = integer as i8;
            }
        }
        *scale = d;
        let [a, b] = halves.map(|sum| sum as f32 * d);
        *sums = [a + b, a, b];
    }
}
