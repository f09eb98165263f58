//! Sixteen lanes of AVX-512.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one reason for all: `Lanes` runs only where AVX-512 was detected, on pointers its caller vouches for"
)]

use super::Lanes;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512i);

/// Lanes 1, 3, 5, ... of sixteen.
const ODD: __mmask16 = 0xaaaa;

impl Lanes for Avx512 {
    const N: usize = 16;
    type Wide = [__m512i; 2];

    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        Self(unsafe { _mm512_loadu_si512(p.cast()) })
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        unsafe { _mm512_storeu_si512(p.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn splat(x: u32) -> Self {
        Self(unsafe { _mm512_set1_epi32(x as i32) })
    }
    #[inline(always)]
    unsafe fn spread(p: *const u32, run: usize) -> Self {
        Self(unsafe {
            match run {
                1 => _mm512_loadu_si512(p.cast()),
                2 => {
                    let words = _mm512_cvtepu32_epi64(_mm256_loadu_si256(p.cast()));
                    _mm512_or_si512(words, _mm512_slli_epi64::<32>(words))
                }
                4 => {
                    let index = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                    _mm512_permutexvar_epi32(index, _mm512_castsi128_si512(_mm_loadu_si128(p.cast())))
                }
                _ => {
                    let index = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
                    _mm512_permutexvar_epi32(index, _mm512_castsi128_si512(_mm_loadl_epi64(p.cast())))
                }
            }
        })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { _mm512_sub_epi32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { _mm512_min_epu32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul_lo(self, other: Self) -> Self {
        Self(unsafe { _mm512_mullo_epi32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn odd(self) -> Self {
        Self(unsafe { _mm512_shuffle_epi32::<0b11_11_01_01>(self.0) })
    }
    #[inline(always)]
    unsafe fn mul_hi(self, even: Self, odd: Self) -> Self {
        unsafe {
            let lo = _mm512_mul_epu32(self.0, even.0);
            let hi = _mm512_mul_epu32(self.odd().0, odd.0);
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
                    Self(_mm512_mask_shuffle_epi32::<0b10_10_00_00>(x, ODD, y)),
                    Self(_mm512_mask_shuffle_epi32::<0b11_11_01_01>(y, !ODD, x)),
                ),
                2 => (Self(_mm512_unpacklo_epi64(x, y)), Self(_mm512_unpackhi_epi64(x, y))),
                4 => (
                    Self(_mm512_mask_shuffle_i64x2::<0b10_10_00_00>(x, 0b1100_1100, y, y)),
                    Self(_mm512_mask_shuffle_i64x2::<0b11_11_01_01>(y, 0b0011_0011, x, x)),
                ),
                _ => (
                    Self(_mm512_shuffle_i64x2::<0b01_00_01_00>(x, y)),
                    Self(_mm512_shuffle_i64x2::<0b11_10_11_10>(x, y)),
                ),
            }
        }
    }
    #[inline(always)]
    unsafe fn zip(x: Self, y: Self) -> (Self, Self) {
        unsafe {
            let lo = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let hi = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (Self(_mm512_permutex2var_epi32(x.0, lo, y.0)), Self(_mm512_permutex2var_epi32(x.0, hi, y.0)))
        }
    }
    #[inline(always)]
    unsafe fn unzip(x: Self, y: Self) -> (Self, Self) {
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            (Self(_mm512_permutex2var_epi32(x.0, even, y.0)), Self(_mm512_permutex2var_epi32(x.0, odd, y.0)))
        }
    }
    #[inline(always)]
    unsafe fn permute(self, pattern: Self) -> Self {
        Self(unsafe { _mm512_permutexvar_epi32(pattern.0, self.0) })
    }
    #[inline(always)]
    unsafe fn wide_zero() -> Self::Wide {
        unsafe { [_mm512_setzero_si512(); 2] }
    }
    #[inline(always)]
    unsafe fn wide_mac(acc: Self::Wide, a: (Self, Self), b: (Self, Self)) -> Self::Wide {
        let [even, odd] = acc;
        unsafe {
            [
                _mm512_add_epi64(even, _mm512_mul_epu32(a.0.0, b.0.0)),
                _mm512_add_epi64(odd, _mm512_mul_epu32(a.1.0, b.1.0)),
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
            let even = _mm512_mul_epu32(_mm512_mul_epu32(even, q_inv.0), q.0);
            let odd = _mm512_mul_epu32(_mm512_mul_epu32(odd, q_inv.0), q.0);
            high_halves(even, odd)
        }
    }
    #[inline(always)]
    unsafe fn wide_round(acc: Self::Wide, addend: u64, shift: u32) -> Self {
        let [even, odd] = acc;
        unsafe {
            let addend = _mm512_set1_epi64(addend as i64);
            let count = _mm_cvtsi32_si128(shift as i32);
            let even = _mm512_srl_epi64(_mm512_add_epi64(even, addend), count);
            let odd = _mm512_srl_epi64(_mm512_add_epi64(odd, addend), count);
            Self(_mm512_mask_shuffle_epi32::<0b10_10_00_00>(even, ODD, odd))
        }
    }
}

/// High halves of the even products in the even lanes, of the odd products in the odd lanes.
///
/// Written out because the compiler turns the intrinsic into a two-source permutation, which runs at half the
/// speed of this masked move and competes with the multiplications.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn high_halves(even: __m512i, odd: __m512i) -> Avx512 {
    let mut out = odd;
    unsafe {
        std::arch::asm!(
            "vmovshdup {out}{{{mask}}}, {even}",
            out = inout(zmm_reg) out,
            even = in(zmm_reg) even,
            mask = in(kreg) !ODD,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    Avx512(out)
}
