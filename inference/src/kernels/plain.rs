//! The kernels' operations in plain Rust: for processors without AVX2, and the reference of the tests.

use half::f16;

use super::isa::Isa;

#[derive(Clone, Copy)]
pub(super) struct Plain;

/// Applies a function to each lane.
#[inline(always)]
fn each<T: Copy, U>(a: [T; 16], f: impl Fn(usize, T) -> U) -> [U; 16] {
    std::array::from_fn(|i| f(i, a[i]))
}

/// Four bytes of each of sixteen lanes with the four of a word.
#[inline(always)]
fn products(sum: [i32; 16], x: [u8; 64], word: i32, offset: i32) -> [i32; 16] {
    let w = word.to_le_bytes();
    each(sum, |lane, s| {
        let product = |k: usize| (i32::from(x[lane * 4 + k]) - offset) * i32::from(w[k] as i8);
        s + product(0) + product(1) + product(2) + product(3)
    })
}

impl Isa for Plain {
    type F = [f32; 16];
    type I = [i32; 16];
    type B = [u8; 64];
    const ROWS: usize = 4;
    const BYTES_OFFSET: f32 = 0.0;

    #[inline(always)]
    unsafe fn fetch(_: *const u8) {}

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        [x; 16]
    }

    #[inline(always)]
    unsafe fn load_half(p: *const f16) -> Self::F {
        // SAFETY: the caller's.
        each(unsafe { p.cast::<[f16; 16]>().read_unaligned() }, |_, h| h.to_f32())
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: Self::F) {
        // SAFETY: the caller's.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        each(a, |i, a| a * b[i])
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // Not `mul_add`: without the instruction that is a call of a slow function.
        each(a, |i, a| a * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> Self::B {
        // SAFETY: the caller's.
        unsafe { p.cast::<[u8; 64]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn nibbles(x: Self::B) -> (Self::B, Self::B) {
        (x.map(|b| b & 15), x.map(|b| b >> 4))
    }

    #[inline(always)]
    unsafe fn set(x: Self::B, mask: u64, bit: u8) -> Self::B {
        std::array::from_fn(|i| x[i] | if mask >> i & 1 == 1 { bit } else { 0 })
    }

    #[inline(always)]
    unsafe fn zero() -> Self::I {
        [0; 16]
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, x: Self::B, word: i32) -> Self::I {
        products(sum, x, word, 0)
    }

    #[inline(always)]
    unsafe fn dot_bytes(sum: Self::I, x: Self::B, word: i32) -> Self::I {
        products(sum, x, word, 128)
    }

    #[inline(always)]
    unsafe fn plus(a: Self::I, b: Self::I) -> Self::I {
        each(a, |i, a| a + b[i])
    }

    #[inline(always)]
    unsafe fn float(x: Self::I) -> Self::F {
        each(x, |_, x| x as f32)
    }
}
