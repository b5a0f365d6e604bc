//! The block formats of GGUF files that have tiles of their own: 32 weights, decoded to small integers and scales.
//!
//! Layouts as in llama.cpp's `ggml-common.h`. A weight is `scale * (q - offset)`, or `scale * q + min`.

use candle_core::quantized::GgmlDType;
use half::f16;

/// How the bytes of a tensor are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Q4_0,
    Q4_1,
    Q5_0,
    Q8_0,
    Q4K,
    Q6K,
}

/// Thirty-two weights of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) q: [u8; 32],
    /// Of the first and the last sixteen.
    pub(super) scale: [f32; 2],
    pub(super) min: f32,
}

impl Format {
    pub(crate) fn of(kind: GgmlDType) -> Option<Self> {
        Some(match kind {
            GgmlDType::Q4_0 => Self::Q4_0,
            GgmlDType::Q4_1 => Self::Q4_1,
            GgmlDType::Q5_0 => Self::Q5_0,
            GgmlDType::Q8_0 => Self::Q8_0,
            GgmlDType::Q4K => Self::Q4K,
            GgmlDType::Q6K => Self::Q6K,
            _ => return None,
        })
    }

    /// Weights and bytes of one unit of the file.
    pub(crate) fn unit(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of a row of `k` weights; `None` where they don't fill whole units.
    pub(crate) fn row_bytes(self, k: usize) -> Option<usize> {
        let (weights, bytes) = self.unit();
        (k > 0 && k.is_multiple_of(weights)).then(|| k / weights * bytes)
    }

    /// What is taken from each integer.
    pub(super) fn offset(self) -> f32 {
        match self {
            Self::Q4_0 => 8.0,
            Self::Q4_1 | Self::Q4K => 0.0,
            Self::Q5_0 => 16.0,
            Self::Q8_0 => 128.0,
            Self::Q6K => 32.0,
        }
    }

    /// Block `b` of a row.
    pub(super) fn block(self, row: &[u8], b: usize) -> Block {
        let (weights, bytes) = self.unit();
        let per_unit = weights / 32;
        let unit = &row[b / per_unit * bytes..][..bytes];
        match self {
            Self::Q4_0 => small(half_at(unit, 0), 0.0, nibbles(&unit[2..18])),
            Self::Q4_1 => small(half_at(unit, 0), half_at(unit, 2), nibbles(&unit[4..20])),
            Self::Q5_0 => small(half_at(unit, 0), 0.0, five(&unit[2..6], &unit[6..22])),
            // -128 is never written by a quantiser; as -127 it suits every instruction set.
            Self::Q8_0 => {
                let q = std::array::from_fn(|i| (i16::from(unit[2 + i] as i8).max(-127) + 128) as u8);
                small(half_at(unit, 0), 0.0, q)
            }
            Self::Q4K => q4k(unit, b % per_unit),
            Self::Q6K => q6k(unit, b % per_unit),
        }
    }

    /// The weights of one row.
    pub(crate) fn dequantise(self, row: &[u8], out: &mut [f32]) {
        let offset = self.offset();
        for (b, out) in out.chunks_exact_mut(32).enumerate() {
            let block = self.block(row, b);
            for (i, (w, q)) in out.iter_mut().zip(block.q).enumerate() {
                *w = block.scale[i / 16] * (f32::from(q) - offset) + block.min;
            }
        }
    }
}

fn small(scale: f32, min: f32, q: [u8; 32]) -> Block {
    Block { q, scale: [scale; 2], min }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The lower halves of sixteen bytes, then the upper ones.
fn nibbles(bytes: &[u8]) -> [u8; 32] {
    std::array::from_fn(|i| if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 })
}

fn five(high: &[u8], low: &[u8]) -> [u8; 32] {
    let low = nibbles(low);
    std::array::from_fn(|i| low[i] | (high[i / 8] >> (i % 8) & 1) << 4)
}

/// `f16 d, f16 dmin, 12 bytes of eight 6-bit scales and minima, 128 bytes of nibbles`.
fn q4k(unit: &[u8], j: usize) -> Block {
    let (d, dmin) = (half_at(unit, 0), half_at(unit, 2));
    let s = &unit[4..16];
    let (scale, min) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4)
    };
    let pair = &unit[16 + j / 2 * 32..][..32];
    let q = std::array::from_fn(|i| if j.is_multiple_of(2) { pair[i] & 15 } else { pair[i] >> 4 });
    // As a tile keeps them.
    let kept = |x: f32| f16::from_f32(x).to_f32();
    small(kept(d * f32::from(scale)), kept(-dmin * f32::from(min)), q)
}

/// `128 bytes of lower nibbles, 64 of upper pairs of bits, 16 signed scales, f16 d`.
fn q6k(unit: &[u8], j: usize) -> Block {
    let d = half_at(unit, 208);
    // Each half of 128 weights has four blocks of 32.
    let (half, part) = (j / 4, j % 4);
    let (low, high) = (&unit[half * 64..], &unit[128 + half * 32..]);
    let q = std::array::from_fn(|i| {
        let nibble = low[part % 2 * 32 + i] >> (part / 2 * 4) & 15;
        nibble | (high[i] >> (2 * part) & 3) << 4
    });
    let scale = |i: usize| f16::from_f32(d * f32::from(unit[192 + j * 2 + i] as i8)).to_f32();
    Block { q, scale: [scale(0), scale(1)], min: 0.0 }
}
