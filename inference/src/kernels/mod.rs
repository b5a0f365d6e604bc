//! The arithmetic of the CPU backend: products with quantised weights, attention over paged keys and values, and the
//! small operations between them.
//!
//! ```text
//! GGUF blocks → Packed (tiles of 16 outputs × 32 inputs) ─┐
//! activations → Quantised (8 bits, blocks of 32) ─────────┴→ matmul → rows of f32
//! ```
//! Every kernel is written once, over the operations of an instruction set ([`isa::Isa`]); which set is used is found at
//! run time: AVX-512 with VNNI, AVX2, or plain Rust, which is the reference of the tests. AMX is never used: what CPUID
//! says of it is not to be trusted in a virtual machine.
//!
//! **A row's result depends on that row alone.** Each output is summed in one order, whatever else is in the batch and
//! however the rows are cut into tiles, so a request gives the same tokens alone and among others, in one chunk or in
//! several, with its prefix computed or taken from the cache. This holds on one instruction set; two of them differ in
//! the last bits.
//!
//! This is the crate's one module with `unsafe`: intrinsics, and writes of several threads into parts of one slice that
//! don't overlap.
#![allow(unsafe_code)]

mod attention;
mod avx2;
mod avx512;
mod blocks;
mod isa;
mod matmul;
mod memory;
mod packed;
mod parallel;
mod plain;
mod quantised;
mod rows;

pub(crate) use attention::{Attention, KvLayer, Span, attend};
pub(crate) use blocks::Format;
pub(crate) use isa::Level;
pub(crate) use matmul::{Part, matmul};
pub(crate) use memory::large;
pub(crate) use packed::{Bytes, Packed, Planes};
pub(crate) use parallel::each;
pub(crate) use quantised::Quantised;
pub(crate) use rows::{add, add_bias, gate, norm, norm_heads, rotate};

#[cfg(test)]
mod tests;
