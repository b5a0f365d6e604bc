//! The kernels' operations with AVX2: each sixteen lanes are two registers.
#![cfg(target_arch = "x86_64")]
// SAFETY of this file: `Isa`'s, which every caller keeps.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;

use half::f16;

use super::isa::Isa;

#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// One half of `set`: the mask's 32 bits to 32 bytes.
#[inline(always)]
unsafe fn set_half(x: __m256i, mask: u32, bit: u8) -> __m256i {
    unsafe {
        // Byte i of the mask eight times over, then the one bit of it that is that byte's.
        let spread = _mm256_setr_epi8(
            0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
        );
        let bits = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let one = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(mask as i32), spread), bits);
        let chosen = _mm256_cmpeq_epi8(one, bits);
        _mm256_or_si256(x, _mm256_and_si256(chosen, _mm256_set1_epi8(bit as i8)))
    }
}

#[inline(always)]
unsafe fn sum_pairs(sum: __m256i, pairs: __m256i) -> __m256i {
    unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))) }
}

impl Isa for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];
    const ROWS: usize = 4;
    const BYTES_OFFSET: f32 = 0.0;

    #[inline(always)]
    unsafe fn fetch(p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    unsafe fn load_half(p: *const f16) -> Self::F {
        unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(p.cast())), _mm256_cvtph_ps(_mm_loadu_si128(p.add(8).cast()))] }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: Self::F) {
        unsafe {
            _mm256_storeu_ps(p, x[0]);
            _mm256_storeu_ps(p.add(8), x[1]);
        }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> Self::B {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())] }
    }

    #[inline(always)]
    unsafe fn nibbles(x: Self::B) -> (Self::B, Self::B) {
        unsafe {
            let low = _mm256_set1_epi8(15);
            let upper = |x| _mm256_and_si256(_mm256_srli_epi16::<4>(x), low);
            ([_mm256_and_si256(x[0], low), _mm256_and_si256(x[1], low)], [upper(x[0]), upper(x[1])])
        }
    }

    #[inline(always)]
    unsafe fn set(x: Self::B, mask: u64, bit: u8) -> Self::B {
        unsafe { [set_half(x[0], mask as u32, bit), set_half(x[1], (mask >> 32) as u32, bit)] }
    }

    #[inline(always)]
    unsafe fn zero() -> Self::I {
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn dot(sum: Self::I, x: Self::B, word: i32) -> Self::I {
        // Below 64 times 127 twice: the sum of two products fits 16 bits.
        unsafe {
            let w = _mm256_set1_epi32(word);
            [sum_pairs(sum[0], _mm256_maddubs_epi16(x[0], w)), sum_pairs(sum[1], _mm256_maddubs_epi16(x[1], w))]
        }
    }

    #[inline(always)]
    unsafe fn dot_bytes(sum: Self::I, x: Self::B, word: i32) -> Self::I {
        unsafe {
            let w = _mm256_set1_epi32(word);
            let size = _mm256_abs_epi8(w);
            // The sign of the activation goes to the weight: then the sum of two products fits 16 bits. Weights are at
            // least -127, so turning the sign around is exact.
            let half = |x| {
                let signed = _mm256_xor_si256(x, _mm256_set1_epi8(-128));
                _mm256_maddubs_epi16(size, _mm256_sign_epi8(signed, w))
            };
            [sum_pairs(sum[0], half(x[0])), sum_pairs(sum[1], half(x[1]))]
        }
    }

    #[inline(always)]
    unsafe fn plus(a: Self::I, b: Self::I) -> Self::I {
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn float(x: Self::I) -> Self::F {
        unsafe { [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])] }
    }
}
