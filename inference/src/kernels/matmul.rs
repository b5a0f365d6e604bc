//! The product of quantised weights with quantised activations.

use half::f16;

use super::isa::{Isa, Level, on};
use super::packed::{Kind, Packed, ROWS};
use super::parallel::{Shared, parallel};
use super::quantised::Quantised;

/// A matrix, and the column of the output where its first row goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) weights: &'a Packed,
    pub(crate) column: usize,
}

/// `out[row][column + i] = weights[i] · x[row]` for each part; rows of `out` are `width` apart.
///
/// # Panics
/// If the shapes don't fit.
pub(crate) fn matmul(level: Level, parts: &[Part<'_>], x: &Quantised, out: &mut [f32], width: usize) {
    assert!(out.len() >= x.rows * width, "the output's size");
    for part in parts {
        assert_eq!(part.weights.k(), x.blocks * 32, "the inputs of a product");
        assert!(part.column + part.weights.n() <= width, "the outputs of a product");
    }
    let panels: usize = parts.iter().map(|part| part.weights.planes().panels()).sum();
    let out = Shared::new(out);
    parallel(panels, |range| {
        let mut first = 0;
        for part in parts {
            let panels = part.weights.planes().panels();
            let (from, to) = (range.start.max(first), range.end.min(first + panels));
            if from < to {
                let weights = Weights::of(part.weights);
                let job = Job { weights: &weights, x, out: &out, width, column: part.column };
                let (from, to) = (from - first, to - first);
                let job = &job;
                // SAFETY: the level was found on this processor; each panel's columns are written by one thread.
                unsafe { on!(level, run(job: &Job<'_, '_>, from: usize, to: usize)) };
            }
            first += panels;
        }
    });
}

/// The planes of a matrix as the kernels read them.
struct Weights<'a> {
    kind: Kind,
    n: usize,
    low: &'a [u8],
    high: &'a [u8],
    scale: &'a [u8],
    min: &'a [u8],
}

impl<'a> Weights<'a> {
    fn of(packed: &'a Packed) -> Self {
        let [low, high, scale, min] = [0, 1, 2, 3].map(|plane| packed.plane(plane));
        Self { kind: packed.planes().kind, n: packed.n(), low, high, scale, min }
    }
}

struct Job<'a, 'o> {
    weights: &'a Weights<'a>,
    x: &'a Quantised,
    out: &'a Shared<'o, f32>,
    width: usize,
    column: usize,
}

#[inline(always)]
unsafe fn run<S: Isa>(job: &Job<'_, '_>, from: usize, to: usize) {
    for panel in from..to {
        // SAFETY: the caller's.
        unsafe {
            match job.weights.kind {
                Kind::Four => rows::<S, Four>(job, panel),
                Kind::Five => rows::<S, Five>(job, panel),
                Kind::Six => rows::<S, Six>(job, panel),
                Kind::Eight => rows::<S, Eight>(job, panel),
            }
        }
    }
}

/// All rows of activations with one panel of weights, as many at a time as fit the registers.
#[inline(always)]
unsafe fn rows<S: Isa, T: Tile>(job: &Job<'_, '_>, panel: usize) {
    let (mut row, end) = (0, job.x.rows);
    // SAFETY: the caller's.
    unsafe {
        while S::ROWS >= 8 && end - row >= 8 {
            tile::<S, T, 8>(job, panel, row);
            row += 8;
        }
        while end - row >= 4 {
            tile::<S, T, 4>(job, panel, row);
            row += 4;
        }
        match end - row {
            3 => tile::<S, T, 3>(job, panel, row),
            2 => tile::<S, T, 2>(job, panel, row),
            1 => tile::<S, T, 1>(job, panel, row),
            _ => {}
        }
    }
}

/// What differs between the kinds of tiles, known when the kernels are compiled.
trait Tile {
    /// Masks of further bits beside the nibbles.
    const HIGH: usize = 0;
    const BYTES: bool = false;
    /// A scale for each half of the inputs.
    const SPLIT: bool = false;
    /// `None`: there is a plane of minima. Else every min is that many scales.
    const MIN: Option<f32>;
}

struct Four;
struct Five;
struct Six;
struct Eight;

impl Tile for Four {
    const MIN: Option<f32> = None;
}
impl Tile for Five {
    const HIGH: usize = 1;
    const MIN: Option<f32> = Some(-16.0);
}
impl Tile for Six {
    const HIGH: usize = 2;
    const SPLIT: bool = true;
    const MIN: Option<f32> = Some(-32.0);
}
impl Tile for Eight {
    const BYTES: bool = true;
    const MIN: Option<f32> = Some(0.0);
}

/// Sixteen outputs of `R` rows.
#[inline(always)]
unsafe fn tile<S: Isa, T: Tile, const R: usize>(job: &Job<'_, '_>, panel: usize, row: usize) {
    let (x, blocks) = (job.x, job.x.blocks);
    // SAFETY: the planes have `panels * blocks` tiles, the activations `rows * blocks` blocks; the instruction set is the
    // caller's.
    unsafe {
        let mut sums = [S::splat(0.0); R];
        for b in 0..blocks {
            let at = panel * blocks + b;
            // While these rows are computed, the next panel is on its way. One row takes no longer than its weights do.
            if R > 2 {
                fetch::<S, T>(job.weights, at + blocks);
            }
            let groups = groups::<S, T>(job.weights, at);
            let scale = job.weights.scale.as_ptr().cast::<f16>().add(at * if T::SPLIT { 32 } else { 16 });
            let first = S::load_half(scale);
            let second = if T::SPLIT { S::load_half(scale.add(16)) } else { first };
            let offset = if T::BYTES { S::BYTES_OFFSET } else { T::MIN.unwrap_or(0.0) };
            let min = match T::MIN {
                None => S::load_half(job.weights.min.as_ptr().cast::<f16>().add(at * 16)),
                Some(_) => S::mul(first, S::splat(offset)),
            };
            let min_second = if T::SPLIT { S::mul(second, S::splat(offset)) } else { min };
            for (r, sum) in sums.iter_mut().enumerate() {
                let of = (row + r) * blocks + b;
                let words = x.q.as_ptr().add(of * 32).cast::<i32>();
                let (mut one, mut two) = (S::zero(), S::zero());
                for g in 0..4 {
                    let (u, w) = (words.add(g).read_unaligned(), words.add(4 + g).read_unaligned());
                    if T::BYTES {
                        one = S::dot_bytes(one, groups[g], u);
                        two = S::dot_bytes(two, groups[4 + g], w);
                    } else {
                        one = S::dot(one, groups[g], u);
                        two = S::dot(two, groups[4 + g], w);
                    }
                }
                let d = S::splat(*x.scale.as_ptr().add(of));
                let [whole, left, right] = *x.sums.as_ptr().add(of);
                if T::SPLIT {
                    *sum = S::fma(S::float(one), S::mul(first, d), *sum);
                    *sum = S::fma(S::float(two), S::mul(second, d), *sum);
                    *sum = S::fma(min, S::splat(left), *sum);
                    *sum = S::fma(min_second, S::splat(right), *sum);
                } else {
                    *sum = S::fma(S::float(S::plus(one, two)), S::mul(first, d), *sum);
                    if !T::BYTES || S::BYTES_OFFSET != 0.0 {
                        *sum = S::fma(min, S::splat(whole), *sum);
                    }
                }
            }
        }
        put::<S, R>(job, panel, row, &sums);
    }
}

/// Asks for a tile that will be needed soon. One beyond the end does no harm: nothing is read.
#[inline(always)]
unsafe fn fetch<S: Isa, T: Tile>(weights: &Weights<'_>, at: usize) {
    let low = if T::BYTES { 512 } else { 256 };
    let scales = if T::SPLIT { 64 } else { 32 };
    // SAFETY: the caller's.
    unsafe {
        for line in 0..low / 64 {
            S::fetch(weights.low.as_ptr().wrapping_add(at * low + line * 64));
        }
        for plane in 0..T::HIGH {
            S::fetch(weights.high.as_ptr().wrapping_add((at * T::HIGH + plane) * 64));
        }
        S::fetch(weights.scale.as_ptr().wrapping_add(at * scales));
        if T::MIN.is_none() {
            S::fetch(weights.min.as_ptr().wrapping_add(at * 32));
        }
    }
}

/// The eight groups of a tile: four inputs of each output, as bytes.
#[inline(always)]
unsafe fn groups<S: Isa, T: Tile>(weights: &Weights<'_>, at: usize) -> [S::B; 8] {
    // SAFETY: the caller's.
    unsafe {
        // Loops, not closures: those would be functions of their own, compiled for no instruction set.
        if T::BYTES {
            let low = weights.low.as_ptr().add(at * 512);
            let mut groups = [S::bytes(low); 8];
            for (g, group) in groups.iter_mut().enumerate().skip(1) {
                *group = S::bytes(low.add(g * 64));
            }
            return groups;
        }
        let low = weights.low.as_ptr().add(at * 256);
        let mut groups = [S::bytes(low); 8];
        for g in 0..4 {
            (groups[g], groups[4 + g]) = S::nibbles(S::bytes(low.add(g * 64)));
        }
        let high = weights.high.as_ptr().add(at * 64 * T::HIGH).cast::<u64>();
        for plane in 0..T::HIGH {
            for (g, group) in groups.iter_mut().enumerate() {
                *group = S::set(*group, high.add(plane * 8 + g).read_unaligned(), 16 << plane);
            }
        }
        groups
    }
}

#[inline(always)]
unsafe fn put<S: Isa, const R: usize>(job: &Job<'_, '_>, panel: usize, row: usize, sums: &[S::F; R]) {
    let columns = ROWS.min(job.weights.n - panel * ROWS);
    for (r, sum) in sums.iter().enumerate() {
        let at = (row + r) * job.width + job.column + panel * ROWS;
        // SAFETY: these columns are this thread's; sixteen lanes fit both targets.
        unsafe {
            let out = job.out.slice(at, columns);
            if columns == ROWS {
                S::store(out.as_mut_ptr(), *sum);
            } else {
                let mut all = [0.0; ROWS];
                S::store(all.as_mut_ptr(), *sum);
                out.copy_from_slice(&all[..columns]);
            }
        }
    }
}
