//! Attention over paged keys and values: each sequence's are in blocks of [`BLOCK`] tokens, anywhere in the layer's pool.
//!
//! Keys and values are f16. Those of one block and head:
//!
//! ```text
//! keys   [2][dim][16]   two halves of sixteen tokens, so that sixteen scores come from one row of lanes
//! values [32][dim]
//! ```
//! Work is cut into tiles of eight tokens of a sequence and one head of keys; the query heads that share it go together.

use std::cell::RefCell;

use half::f16;

use super::isa::{Isa, Level, on};
use super::memory::zeroed;
use super::parallel::{Shared, parallel};
use super::rows::exp;
use crate::paged::BLOCK;

/// Tokens whose attention is computed together.
const TILE: usize = 8;
/// Tokens in one row of keys.
const LANES: usize = 16;

/// The keys and values of one layer, for all blocks.
#[derive(Debug)]
pub(crate) struct KvLayer {
    keys: Vec<f16>,
    values: Vec<f16>,
    heads: usize,
    dim: usize,
}

impl KvLayer {
    /// Zeroed memory; the system gives it page by page when it is first written. `None` if it has not that much.
    pub(crate) fn new(blocks: usize, heads: usize, dim: usize) -> Option<Self> {
        let len = blocks.checked_mul(BLOCK * heads * dim)?;
        Some(Self { keys: zeroed(len)?, values: zeroed(len)?, heads, dim })
    }

    /// Puts the key and value of a token at a place of a block; each is `heads * dim` long.
    pub(crate) fn put(&mut self, block: usize, place: usize, key: &[f32], value: &[f32]) {
        let (dim, size) = (self.dim, BLOCK * self.dim);
        for head in 0..self.heads {
            let at = (block * self.heads + head) * size;
            let (half, lane) = (place / LANES, place % LANES);
            let keys = &mut self.keys[at + half * LANES * dim..][..LANES * dim];
            for (to, x) in keys[lane..].iter_mut().step_by(LANES).zip(&key[head * dim..][..dim]) {
                *to = f16::from_f32(*x);
            }
            let values = &mut self.values[at + place * dim..][..dim];
            for (to, x) in values.iter_mut().zip(&value[head * dim..][..dim]) {
                *to = f16::from_f32(*x);
            }
        }
    }

    pub(crate) fn copy_block(&mut self, from: usize, to: usize) {
        let size = self.heads * BLOCK * self.dim;
        self.keys.copy_within(from * size..(from + 1) * size, to * size);
        self.values.copy_within(from * size..(from + 1) * size, to * size);
    }
}

/// The rows of one sequence in a batch.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Its first row.
    pub(crate) row: usize,
    pub(crate) rows: usize,
    /// The position of its first row in the sequence.
    pub(crate) position: usize,
    /// The blocks of the whole sequence, in order.
    pub(crate) blocks: Vec<u32>,
}

/// The form of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) dim: usize,
    /// A row of queries, keys and values.
    pub(crate) width: usize,
}

/// One piece of work: some rows of a span and a head of keys.
#[derive(Clone, Copy)]
struct Tile<'a> {
    span: &'a Span,
    from: usize,
    rows: usize,
    head: usize,
}

/// `out[row] = softmax(q · k) v` for every row, heads side by side. Queries stand first in rows of `form.width` and are
/// scaled already. Each row sees the tokens of its sequence up to itself.
pub(crate) fn attend(level: Level, form: Attention, kv: &KvLayer, spans: &[Span], q: &[f32], out: &mut [f32]) {
    let mut tiles = Vec::new();
    for span in spans {
        for from in (0..span.rows).step_by(TILE) {
            let rows = TILE.min(span.rows - from);
            tiles.extend((0..form.kv_heads).map(|head| Tile { span, from, rows, head }));
        }
    }
    // The longest first, so that no thread is left with one at the end.
    tiles.sort_by_key(|tile| std::cmp::Reverse(tile.span.position + tile.from));
    let out = Shared::new(out);
    let tiles = &tiles[..];
    parallel(tiles.len(), |range| {
        for tile in &tiles[range] {
            let (form, kv, out) = (&form, kv, &out);
            // SAFETY: the level was found on this processor; a tile's rows and heads are its own.
            unsafe {
                on!(level, one(form: &Attention, kv: &KvLayer, tile: &Tile<'_>, q: &[f32], out: &Shared<'_, f32>));
            }
        }
    });
}

thread_local! {
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

#[inline(always)]
unsafe fn one<S: Isa>(form: &Attention, kv: &KvLayer, tile: &Tile<'_>, q: &[f32], out: &Shared<'_, f32>) {
    let mut scores = SCORES.take();
    let group = form.heads / form.kv_heads;
    let last = tile.span.position + tile.from + tile.rows;
    let halves = last.div_ceil(LANES);
    let vectors = tile.rows * group;
    scores.resize(scores.len().max(vectors * halves * LANES), 0.0);
    let work = Work { form, kv, tile, group, halves, last };
    // SAFETY: the caller's; the scores were made large enough.
    unsafe {
        let mut vector = 0;
        while vector < vectors {
            let n = (vectors - vector).min(8);
            match n {
                8 => keys::<S, 8>(&work, q, vector, &mut scores),
                4..8 => keys::<S, 4>(&work, q, vector, &mut scores),
                2 | 3 => keys::<S, 2>(&work, q, vector, &mut scores),
                _ => keys::<S, 1>(&work, q, vector, &mut scores),
            }
            vector += match n {
                8 => 8,
                4..8 => 4,
                2 | 3 => 2,
                _ => 1,
            };
        }
        for vector in 0..vectors {
            let seen = tile.span.position + tile.from + vector / group + 1;
            softmax(&mut scores[vector * halves * LANES..][..halves * LANES], seen);
        }
        let mut vector = 0;
        while vector < vectors {
            match vectors - vector {
                1 => values::<S, 1>(&work, vector, &scores, out),
                2 | 3 => values::<S, 2>(&work, vector, &scores, out),
                _ => values::<S, 4>(&work, vector, &scores, out),
            }
            vector += match vectors - vector {
                1 => 1,
                2 | 3 => 2,
                _ => 4,
            };
        }
    }
    SCORES.set(scores);
}

struct Work<'a> {
    form: &'a Attention,
    kv: &'a KvLayer,
    tile: &'a Tile<'a>,
    /// Query heads a head of keys.
    group: usize,
    /// Rows of keys that are looked at.
    halves: usize,
    /// Tokens that the last row sees.
    last: usize,
}

impl Work<'_> {
    /// Row and query head of a vector: the heads of one token stand together.
    #[inline(always)]
    fn place(&self, vector: usize) -> (usize, usize) {
        let row = self.tile.span.row + self.tile.from + vector / self.group;
        (row, self.tile.head * self.group + vector % self.group)
    }

    /// Where sixteen tokens of a block begin, keys and values alike.
    #[inline(always)]
    fn block(&self, half: usize) -> usize {
        let block = self.tile.span.blocks[half * LANES / BLOCK] as usize;
        (block * self.kv.heads + self.tile.head) * BLOCK * self.kv.dim + half * LANES % BLOCK * self.kv.dim
    }
}

/// The scores of `R` vectors.
#[inline(always)]
unsafe fn keys<S: Isa, const R: usize>(work: &Work<'_>, q: &[f32], first: usize, scores: &mut [f32]) {
    let dim = work.form.dim;
    let mut queries = [q.as_ptr(); R];
    for (r, query) in queries.iter_mut().enumerate() {
        let (row, head) = work.place(first + r);
        *query = q[row * work.form.width + head * dim..][..dim].as_ptr();
    }
    for half in 0..work.halves {
        let at = work.block(half);
        let keys = work.kv.keys[at..at + LANES * dim].as_ptr();
        // SAFETY: both slices were taken whole; scores have a place for every vector and half.
        unsafe {
            let mut sums = [S::splat(0.0); R];
            for e in 0..dim {
                let key = S::load_half(keys.add(e * LANES));
                for r in 0..R {
                    sums[r] = S::fma(S::splat(*queries[r].add(e)), key, sums[r]);
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                S::store(scores.as_mut_ptr().add(((first + r) * work.halves + half) * LANES), *sum);
            }
        }
    }
}

/// Softmax of the first `seen` scores; the others become zero. Sums in one order, however many others there are.
#[inline(always)]
fn softmax(row: &mut [f32], seen: usize) {
    let (row, beyond) = row.split_at_mut(seen.next_multiple_of(LANES));
    beyond.fill(0.0);
    row[seen..].fill(f32::NEG_INFINITY);
    let mut max = [f32::NEG_INFINITY; LANES];
    for chunk in row.chunks_exact(LANES) {
        for (max, x) in max.iter_mut().zip(chunk) {
            *max = max.max(*x);
        }
    }
    let max = max.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    for x in row.iter_mut() {
        *x = exp(*x - max);
    }
    row[seen..].fill(0.0);
    let mut sums = [0.0_f32; LANES];
    for chunk in row.chunks_exact(LANES) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    let inverse = 1.0 / sums.iter().sum::<f32>();
    for x in row {
        *x *= inverse;
    }
}

/// The weighted values of `R` vectors, as many columns at a time as there are registers for.
#[inline(always)]
unsafe fn values<S: Isa, const R: usize>(work: &Work<'_>, first: usize, scores: &[f32], out: &Shared<'_, f32>) {
    let dim = work.form.dim;
    let mut column = 0;
    // SAFETY: the caller's; heads are a multiple of `LANES` wide.
    unsafe {
        while column + 4 * LANES <= dim {
            columns::<S, R, 4>(work, first, column, scores, out);
            column += 4 * LANES;
        }
        while column < dim {
            columns::<S, R, 1>(work, first, column, scores, out);
            column += LANES;
        }
    }
}

#[inline(always)]
unsafe fn columns<S: Isa, const R: usize, const C: usize>(
    work: &Work<'_>,
    first: usize,
    column: usize,
    scores: &[f32],
    out: &Shared<'_, f32>,
) {
    let (dim, heads) = (work.form.dim, work.form.heads);
    let ld = work.halves * LANES;
    // SAFETY: the columns are within a head; scores have a place for every vector and token, and blocks for every token.
    unsafe {
        let mut sums = [[S::splat(0.0); C]; R];
        for half in 0..work.halves {
            let at = work.block(half) + column;
            // Of the last tokens' neighbours nothing is known: they may be what another sequence left there.
            let places = LANES.min(work.last - half * LANES);
            let values = work.kv.values[at..at + (places - 1) * dim + C * LANES].as_ptr();
            for place in 0..places {
                let value = values.add(place * dim);
                let mut lanes = [S::load_half(value); C];
                for (c, lanes) in lanes.iter_mut().enumerate().skip(1) {
                    *lanes = S::load_half(value.add(c * LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let weight = S::splat(*scores.as_ptr().add((first + r) * ld + half * LANES + place));
                    for (sum, v) in sums.iter_mut().zip(lanes) {
                        *sum = S::fma(weight, v, *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let (row, head) = work.place(first + r);
            let to = out.slice((row * heads + head) * dim + column, C * LANES);
            for (c, sum) in sums.iter().enumerate() {
                S::store(to.as_mut_ptr().add(c * LANES), *sum);
            }
        }
    }
}
