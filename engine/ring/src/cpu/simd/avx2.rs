//! Eight lanes of AVX2.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one reason for all: `Lanes` runs only where AVX2 was detected, on pointers its caller vouches for"
)]

use super::Lanes;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256i);

const ODD: i32 = 0b1010_1010;

impl Lanes for Avx2 {
    const N: usize = 8;
    type Wide = [__m256i; 2];

    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        Self(unsafe { _mm256_loadu_si256(p.cast()) })
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        unsafe { _mm256_storeu_si256(p.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn splat(x: u32) -> Self {
        Self(unsafe { _mm256_set1_epi32(x as i32) })
    }
    #[inline(always)]
    unsafe fn spread(p: *const u32, run: usize) -> Self {
        Self(unsafe {
            match run {
                1 => _mm256_loadu_si256(p.cast()),
                2 => {
                    let words = _mm256_castsi128_si256(_mm_loadu_si128(p.cast()));
                    _mm256_permutevar8x32_epi32(words, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3))
                }
                _ => {
                    let words = _mm256_castsi128_si256(_mm_loadl_epi64(p.cast()));
                    _mm256_permutevar8x32_epi32(words, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1))
                }
            }
        })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm256_sub_epi32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { _mm256_min_epu32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul_lo(self, other: Self) -> Self {
        Self(unsafe { _mm256_mullo_epi32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn odd(self) -> Self {
        Self(unsafe { _mm256_srli_epi64::<32>(self.0) })
    }
    #[inline(always)]
    unsafe fn mul_hi(self, even: Self, odd: Self) -> Self {
        unsafe {
            let lo = _mm256_mul_epu32(self.0, even.0);
            let hi = _mm256_mul_epu32(self.odd().0, odd.0);
            high_halves(lo, hi)
        }
    }
    #[inline(always)]
    unsafe fn exchange(x: Self, y: Self, run: usize) -> (Self, Self) {
        let x = x.0;
        let y = y.0;
        unsafe {
            match run {
                1 => (
                    Self(_mm256_blend_epi32::<ODD>(x, _mm256_slli_epi64::<32>(y))),
                    Self(_mm256_blend_epi32::<ODD>(_mm256_srli_epi64::<32>(x), y)),
                ),
                2 => (Self(_mm256_unpacklo_epi64(x, y)), Self(_mm256_unpackhi_epi64(x, y))),
                _ => (
                    Self(_mm256_permute2x128_si256::<0x20>(x, y)),
                    Self(_mm256_permute2x128_si256::<0x31>(x, y)),
                ),
            }
        }
    }
    #[inline(always)]
    unsafe fn zip(x: Self, y: Self) -> (Self, Self) {
        unsafe {
            let lo = Self(_mm256_unpacklo_epi32(x.0, y.0));
            let hi = Self(_mm256_unpackhi_epi32(x.0, y.0));
            Self::exchange(lo, hi, 4)
        }
    }
    #[inline(always)]
    unsafe fn unzip(x: Self, y: Self) -> (Self, Self) {
        unsafe {
            let (lo, hi) = Self::exchange(x, y, 4);
            // Within each half, lo = x0 y0 x1 y1 and hi = x2 y2 x3 y3.
            let lo = _mm256_shuffle_epi32::<0b11_01_10_00>(lo.0);
            let hi = _mm256_shuffle_epi32::<0b11_01_10_00>(hi.0);
            (Self(_mm256_unpacklo_epi64(lo, hi)), Self(_mm256_unpackhi_epi64(lo, hi)))
        }
    }
    #[inline(always)]
    unsafe fn permute(self, pattern: Self) -> Self {
        Self(unsafe { _mm256_permutevar8x32_epi32(self.0, pattern.0) })
    }
    #[inline(always)]
    unsafe fn wide_zero() -> Self::Wide {
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn wide_mac(acc: Self::Wide, a: (Self, Self), b: (Self, Self)) -> Self::Wide {
        let [even, odd] = acc;
        unsafe {
            [
                _mm256_add_epi64(even, _mm256_mul_epu32(a.0.0, b.0.0)),
                _mm256_add_epi64(odd, _mm256_mul_epu32(a.1.0, b.1.0)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn wide_hi(acc: Self::Wide) -> Self {
        let [even, odd] = acc;
        unsafe { high_halves(even, odd) }
    }
    #[inline(always)]
    unsafe fn wide_montgomery(acc: Self::Wide, q_inv: Self, q: Self) -> Self {
        let [even, odd] = acc;
        unsafe {
            let even = _mm256_mul_epu32(_mm256_mul_epu32(even, q_inv.0), q.0);
            let odd = _mm256_mul_epu32(_mm256_mul_epu32(odd, q_inv.0), q.0);
            high_halves(even, odd)
        }
    }
    #[inline(always)]
    unsafe fn wide_round(acc: Self::Wide, addend: u64, shift: u32) -> Self {
        let [even, odd] = acc;
        unsafe {
            let addend = _mm256_set1_epi64x(addend as i64);
            let count = _mm_cvtsi32_si128(shift as i32);
            let even = _mm256_srl_epi64(_mm256_add_epi64(even, addend), count);
            let odd = _mm256_srl_epi64(_mm256_add_epi64(odd, addend), count);
            Self(_mm256_blend_epi32::<ODD>(even, _mm256_slli_epi64::<32>(odd)))
        }
    }
}

#[inline(always)]
unsafe fn high_halves(even: __m256i, odd: __m256i) -> Avx2 {
    Avx2(unsafe { _mm256_blend_epi32::<ODD>(_mm256_srli_epi64::<32>(even), odd) })
}
