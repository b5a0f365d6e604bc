//! A weight matrix in tiles: sixteen rows of outputs by thirty-two inputs, laid out as the products read them.
//!
//! The planes of a matrix of `n × k`, for each tile in order of rows, then of inputs:
//!
//! | plane | bytes a tile | what |
//! | --- | --- | --- |
//! | low | 256 or 512 | groups of 64 bytes: four inputs of each row; nibbles hold inputs i and i + 16, or whole bytes |
//! | high | 0, 64 or 128 | the fifth and sixth bits: for each of eight groups a mask of 64 |
//! | scale | 32 or 64 | one f16 a row, or one for each half of the inputs |
//! | min | 0 or 32 | one f16 a row |
//!
//! Rows beyond `n` are zero. The form is kept in a file, so it must not depend on the machine: little-endian.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use half::f16;

use super::blocks::Format;
use super::parallel::{Shared, parallel};

/// Outputs of a tile.
pub(super) const ROWS: usize = 16;
/// Inputs of a tile.
pub(super) const DEPTH: usize = 32;
/// Where planes begin: at whole cache lines.
const ALIGN: usize = 64;

/// What the tiles of a matrix are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Four bits, scale and min.
    Four,
    /// Five bits less 16, and a scale.
    Five,
    /// Six bits less 32, and two scales.
    Six,
    /// Eight bits less 128, and a scale.
    Eight,
}

impl Kind {
    fn of(format: Format) -> Self {
        match format {
            Format::Q4_0 | Format::Q4_1 | Format::Q4K => Self::Four,
            Format::Q5_0 => Self::Five,
            Format::Q6K => Self::Six,
            Format::Q8_0 => Self::Eight,
        }
    }

    /// Bytes a tile of the four planes.
    fn bytes(self) -> [usize; 4] {
        match self {
            Self::Four => [256, 0, 32, 32],
            Self::Five => [256, 64, 32, 0],
            Self::Six => [256, 128, 64, 0],
            Self::Eight => [512, 0, 32, 0],
        }
    }
}

/// Where the planes of a matrix lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planes {
    pub(super) kind: Kind,
    pub(super) n: usize,
    pub(super) k: usize,
    ranges: [Range<usize>; 4],
}

impl Planes {
    /// `None` where this shape has no tiles.
    pub(crate) fn of(format: Format, n: usize, k: usize) -> Option<Self> {
        format.row_bytes(k)?;
        let kind = Kind::of(format);
        let tiles = n.div_ceil(ROWS).checked_mul(k / DEPTH).filter(|t| *t > 0)?;
        let mut at = 0;
        let ranges = kind.bytes().map(|bytes| {
            let range = at..at + tiles * bytes;
            at = range.end.next_multiple_of(ALIGN);
            range
        });
        Some(Self { kind, n, k, ranges })
    }

    /// Bytes of all planes.
    pub(crate) fn len(&self) -> usize {
        self.ranges.iter().map(|r| r.end).max().unwrap_or(0).next_multiple_of(ALIGN)
    }

    pub(super) fn panels(&self) -> usize {
        self.n.div_ceil(ROWS)
    }

    /// Makes the planes of a matrix; `out` has [`Planes::len`] bytes, all zero. `read` gives rows of that format from a row
    /// on, as many as fill its slice; it is called on all threads, for a few rows at a time.
    ///
    /// # Panics
    /// If `out` is too small.
    pub(crate) fn fill<E: Send + Sync>(
        &self,
        format: Format,
        out: &mut [u8],
        read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let row_bytes = format.row_bytes(self.k).unwrap_or_default();
        assert!(out.len() >= self.len() && Kind::of(format) == self.kind, "the planes' size");
        let out = Shared::new(out);
        let failed = OnceLock::new();
        parallel(self.panels(), |panels| {
            let mut raw = vec![0; ROWS * row_bytes];
            for panel in panels {
                let rows = ROWS.min(self.n - panel * ROWS);
                let raw = &mut raw[..rows * row_bytes];
                match read(panel * ROWS, raw) {
                    // SAFETY: each panel is given to one thread.
                    Ok(()) => unsafe { self.fill_panel(format, panel, raw, &out) },
                    Err(error) => return drop(failed.set(error)),
                }
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// # Safety
    /// No other thread may have the same panel.
    unsafe fn fill_panel(&self, format: Format, panel: usize, raw: &[u8], out: &Shared<'_, u8>) {
        let (blocks, row_bytes) = (self.k / DEPTH, format.row_bytes(self.k).unwrap_or(1));
        for b in 0..blocks {
            // SAFETY: the tile is of this panel.
            let mut tile = unsafe { self.tile(out, panel * blocks + b) };
            for (lane, row) in raw.chunks_exact(row_bytes).enumerate() {
                tile.put(self.kind, format, lane, &format.block(row, b));
            }
        }
    }

    /// # Safety
    /// No other thread may have the same tile.
    unsafe fn tile<'a>(&self, out: &Shared<'a, u8>, index: usize) -> Tile<'a> {
        let part = |plane: usize| {
            let bytes = self.kind.bytes()[plane];
            // SAFETY: planes don't overlap, nor do tiles within one; that nobody else has this tile is the caller's.
            unsafe { out.slice(self.ranges[plane].start + index * bytes, bytes) }
        };
        Tile { low: part(0), high: part(1), scale: part(2), min: part(3) }
    }
}

struct Tile<'a> {
    low: &'a mut [u8],
    high: &'a mut [u8],
    scale: &'a mut [u8],
    min: &'a mut [u8],
}

impl Tile<'_> {
    fn put(&mut self, kind: Kind, format: Format, lane: usize, block: &super::blocks::Block) {
        for (i, q) in block.q.iter().enumerate() {
            let (group, byte) = (i / 4, lane * 4 + i % 4);
            match kind {
                Kind::Eight => self.low[group * 64 + byte] = *q,
                _ if i < 16 => self.low[group * 64 + byte] |= q & 15,
                _ => self.low[(group - 4) * 64 + byte] |= q << 4,
            }
            for plane in 0..self.high.len() / 64 {
                if q >> (4 + plane) & 1 == 1 {
                    self.high[plane * 64 + group * 8 + byte / 8] |= 1 << (byte % 8);
                }
            }
        }
        let put = |plane: &mut [u8], at: usize, x: f32| {
            plane[at * 2..][..2].copy_from_slice(&f16::from_f32(x).to_le_bytes());
        };
        put(self.scale, lane, block.scale[0]);
        if kind == Kind::Six {
            put(self.scale, ROWS + lane, block.scale[1]);
        }
        if kind == Kind::Four {
            // Four bits less eight are four bits with a min.
            put(self.min, lane, block.min - format.offset() * block.scale[0]);
        }
    }
}

/// The owner of some bytes.
pub(crate) type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A matrix whose planes lie in someone's bytes.
#[derive(Clone)]
pub(crate) struct Packed {
    planes: Planes,
    bytes: Bytes,
    at: usize,
}

impl Packed {
    /// The planes that begin at `at`; `None` if they don't fit.
    pub(crate) fn new(planes: Planes, bytes: Bytes, at: usize) -> Option<Self> {
        let end = at.checked_add(planes.len())?;
        (end <= (*bytes).as_ref().len()).then_some(Self { planes, bytes, at })
    }

    /// Outputs.
    pub(crate) fn n(&self) -> usize {
        self.planes.n
    }

    /// Inputs.
    pub(crate) fn k(&self) -> usize {
        self.planes.k
    }

    pub(super) fn planes(&self) -> &Planes {
        &self.planes
    }

    pub(super) fn plane(&self, plane: usize) -> &[u8] {
        let range = &self.planes.ranges[plane];
        &(*self.bytes).as_ref()[self.at + range.start..self.at + range.end]
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({:?} {}x{})", self.planes.kind, self.planes.n, self.planes.k)
    }
}
