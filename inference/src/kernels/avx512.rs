//! The kernels' operations with AVX-512 and VNNI.
#![cfg(target_arch = "x86_64")]
// SAFETY of this file: `Isa`'s, which every caller keeps.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;

use half::f16;

use super::isa::Isa;

#[derive(Clone, Copy)]
pub(super) struct Avx512;

impl Isa for Avx512 {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;
    const ROWS: usize = 8;
    const BYTES_OFFSET: f32 = -128.0;

    #[inline(always)]
    unsafe fn fetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load_half(p: *const f16) -> Self::F {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: Self::F) {
        unsafe { _mm512_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> Self::B {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn nibbles(x: Self::B) -> (Self::B, Self::B) {
        unsafe {
            let low = _mm512_set1_epi8(15);
            (_mm512_and_si512(x, low), _mm512_and_si512(_mm512_srli_epi16::<4>(x), low))
        }
    }

    #[inline(always)]
    unsafe fn set(x: Self::B, mask: u64, bit: u8) -> Self::B {
        // The bit is clear, so adding sets it; there is no masked "or" of bytes.
        unsafe { _mm512_mask_add_epi8(x, mask, x, _mm512_set1_epi8(bit as i8)) }
    }

    #[inline(always)]
    unsafe fn zero() -> Self::I {
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, x: Self::B, word: i32) -> Self::I {
        unsafe { _mm512_dpbusd_epi32(sum, x, _mm512_set1_epi32(word)) }
    }

    #[inline(always)]
    unsafe fn dot_bytes(sum: Self::I, x: Self::B, word: i32) -> Self::I {
        unsafe { _mm512_dpbusd_epi32(sum, x, _mm512_set1_epi32(word)) }
    }

    #[inline(always)]
    unsafe fn plus(a: Self::I, b: Self::I) -> Self::I {
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn float(x: Self::I) -> Self::F {
        unsafe { _mm512_cvtepi32_ps(x) }
    }
}
