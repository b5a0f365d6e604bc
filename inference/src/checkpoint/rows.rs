//! The rows of a tensor, read from its file when they are needed and given in the form in which they are held.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use half::{bf16, f16};

/// Rows that are made together: enough that a read is worth its call.
const TOGETHER: usize = 16;

/// See the module.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(super) file: Arc<File>,
    /// Where the first begins.
    pub(super) at: u64,
    /// Weights a row.
    pub(super) k: usize,
    /// What the file has.
    pub(super) stored: GgmlDType,
    /// What is given.
    pub(super) held: GgmlDType,
    /// Rows of a head whose halves are to be interleaved: see [`origin`].
    pub(super) paired: Option<usize>,
}

/// Bytes of a row of `k` weights, which fill whole blocks.
pub(super) fn row_bytes(kind: GgmlDType, k: usize) -> usize {
    k / kind.block_size() * kind.type_size()
}

/// The row of the file that is to be row `row`. RoPE turns dimensions in pairs. Where the model's code turns (2i, 2i + 1), as
/// it does for llama, and the weights were trained for (i, i + d/2), as all on the hub are, rows i and i + d/2 become neighbours:
/// what llama.cpp's converter does.
fn origin(row: usize, dim: usize) -> usize {
    let (head, place) = (row / dim, row % dim);
    head * dim + place / 2 + place % 2 * (dim / 2)
}

impl Rows {
    /// Bytes of a row as it is given.
    pub(crate) fn bytes(&self) -> usize {
        row_bytes(self.held, self.k)
    }

    /// Fills `out` with whole rows from `first` on.
    pub(crate) fn read(&self, first: usize, out: &mut [u8]) -> io::Result<()> {
        let stored = row_bytes(self.stored, self.k);
        if self.stored == self.held && self.paired.is_none() {
            return self.file.read_exact_at(out, self.at + (first * stored) as u64);
        }
        let (mut raw, mut floats) = (vec![0; stored], vec![0.0; self.k]);
        for (i, out) in out.chunks_exact_mut(self.bytes()).enumerate() {
            self.raw(first + i, &mut raw)?;
            match self.stored == self.held {
                true => out.copy_from_slice(&raw),
                false => {
                    widen(self.stored, &raw, &mut floats);
                    quantise(self.held, &floats, out)?;
                }
            }
        }
        Ok(())
    }

    /// All `n` rows, made on all threads.
    pub(crate) fn all(&self, n: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; n * self.bytes()];
        let parts = bytes.chunks_mut((TOGETHER * self.bytes()).max(1)).zip((0..).step_by(TOGETHER));
        let mut parts: Vec<_> = parts.map(|(out, first)| (first, out, Ok(()))).collect();
        crate::kernels::each(&mut parts, |(first, out, done)| *done = self.read(*first, out));
        parts.into_iter().try_for_each(|(_, _, done)| done)?;
        Ok(bytes)
    }

    /// A row as numbers; only of what is stored as numbers.
    pub(crate) fn floats(&self, row: usize, out: &mut [f32]) -> io::Result<()> {
        let mut raw = vec![0; row_bytes(self.stored, self.k)];
        self.raw(row, &mut raw)?;
        widen(self.stored, &raw, out);
        Ok(())
    }

    fn raw(&self, row: usize, out: &mut [u8]) -> io::Result<()> {
        let row = self.paired.map_or(row, |dim| origin(row, dim));
        self.file.read_exact_at(out, self.at + (row * out.len()) as u64)
    }
}

fn widen(kind: GgmlDType, raw: &[u8], out: &mut [f32]) {
    let halves = || raw.chunks_exact(2).map(|b| [b[0], b[1]]);
    match kind {
        GgmlDType::F16 => out.iter_mut().zip(halves()).for_each(|(x, b)| *x = f16::from_le_bytes(b).to_f32()),
        GgmlDType::BF16 => out.iter_mut().zip(halves()).for_each(|(x, b)| *x = bf16::from_le_bytes(b).to_f32()),
        _ => {
            let words = raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            out.iter_mut().zip(words).for_each(|(x, word)| *x = word);
        }
    }
}

/// As candle quantises, which is as llama.cpp does.
fn quantise(kind: GgmlDType, x: &[f32], out: &mut [u8]) -> io::Result<()> {
    let mut blocks = kind.cpu_zeros(x.len());
    blocks.from_float(x);
    let made = QTensor::new(QStorage::Cpu(blocks), (1, x.len())).map_err(io::Error::other)?;
    out.copy_from_slice(&made.data().map_err(io::Error::other)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_each_head_are_interleaved() {
        let rows: Vec<usize> = (0..16).map(|row| origin(row, 8)).collect();
        assert_eq!(rows, [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
    }
}
