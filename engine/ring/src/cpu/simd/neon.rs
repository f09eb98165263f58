//! Four lanes of NEON.
//!
//! NEON multiplies neighbouring lanes into wide ones, where AVX multiplies every other lane: the operands from
//! [`Lanes::odd`] are not needed.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one reason for all: `Lanes` runs only where NEON was detected, on pointers its caller vouches for"
)]

use super::Lanes;
use std::arch::aarch64::*;

#[derive(Clone, Copy)]
pub(crate) struct Neon(uint32x4_t);

/// The bytes of a word, repeated for each lane.
const BYTES: u32 = 0x0302_0100;

impl Lanes for Neon {
    const N: usize = 4;
    /// Accumulators of the lanes 0 and 1, and 2 and 3.
    type Wide = [uint64x2_t; 2];

    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        Self(unsafe { vld1q_u32(p) })
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u32) {
        // There is no stable intrinsic.
        let _ = p;
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        unsafe { vst1q_u32(p, self.0) }
    }
    #[inline(always)]
    unsafe fn splat(x: u32) -> Self {
        Self(unsafe { vdupq_n_u32(x) })
    }
    #[inline(always)]
    unsafe fn spread(p: *const u32, run: usize) -> Self {
        Self(unsafe {
            match run {
                1 => vld1q_u32(p),
                2 => {
                    let words = vld1_u32(p);
                    let words = vcombine_u32(words, words);
                    vzip1q_u32(words, words)
                }
                _ => vld1q_dup_u32(p),
            }
        })
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(unsafe { vaddq_u32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(unsafe { vsubq_u32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(unsafe { vminq_u32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn mul_lo(self, other: Self) -> Self {
        Self(unsafe { vmulq_u32(self.0, other.0) })
    }
    #[inline(always)]
    unsafe fn odd(self) -> Self {
        self
    }
    #[inline(always)]
    unsafe fn mul_hi(self, even: Self, _odd: Self) -> Self {
        unsafe { high_halves(products(self.0, even.0)) }
    }
    #[inline(always)]
    unsafe fn exchange(x: Self, y: Self, run: usize) -> (Self, Self) {
        let x = x.0;
        let y = y.0;
        unsafe {
            match run {
                1 => (Self(vtrn1q_u32(x, y)), Self(vtrn2q_u32(x, y))),
                _ => (
                    Self(vcombine_u32(vget_low_u32(x), vget_low_u32(y))),
                    Self(vcombine_u32(vget_high_u32(x), vget_high_u32(y))),
                ),
            }
        }
    }
    #[inline(always)]
    unsafe fn zip(x: Self, y: Self) -> (Self, Self) {
        unsafe { (Self(vzip1q_u32(x.0, y.0)), Self(vzip2q_u32(x.0, y.0))) }
    }
    #[inline(always)]
    unsafe fn unzip(x: Self, y: Self) -> (Self, Self) {
        unsafe { (Self(vuzp1q_u32(x.0, y.0)), Self(vuzp2q_u32(x.0, y.0))) }
    }
    #[inline(always)]
    unsafe fn permute(self, pattern: Self) -> Self {
        unsafe {
            // Four bytes for each lane: those of word `pattern`.
            let bytes = vmlaq_u32(vdupq_n_u32(BYTES), pattern.0, vdupq_n_u32(0x0404_0404));
            let words = vqtbl1q_u8(vreinterpretq_u8_u32(self.0), vreinterpretq_u8_u32(bytes));
            Self(vreinterpretq_u32_u8(words))
        }
    }
    #[inline(always)]
    unsafe fn wide_zero() -> Self::Wide {
        unsafe { [vdupq_n_u64(0); 2] }
    }
    #[inline(always)]
    unsafe fn wide_mac(acc: Self::Wide, a: (Self, Self), b: (Self, Self)) -> Self::Wide {
        let [low, high] = acc;
        let a = a.0.0;
        let b = b.0.0;
        unsafe { [vmlal_u32(low, vget_low_u32(a), vget_low_u32(b)), vmlal_high_u32(high, a, b)] }
    }
    #[inline(always)]
    unsafe fn wide_hi(acc: Self::Wide) -> Self {
        unsafe { high_halves(acc) }
    }
    #[inline(always)]
    unsafe fn wide_montgomery(acc: Self::Wide, q_inv: Self, q: Self) -> Self {
        unsafe { high_halves(products(vmulq_u32(low_halves(acc), q_inv.0), q.0)) }
    }
    #[inline(always)]
    unsafe fn wide_round(acc: Self::Wide, addend: u64, shift: u32) -> Self {
        unsafe {
            let addend = vdupq_n_u64(addend);
            // A shift to the left by a negative count is one to the right.
            let count = vdupq_n_s64(-i64::from(shift));
            let [low, high] = acc;
            let low = vshlq_u64(vaddq_u64(low, addend), count);
            let high = vshlq_u64(vaddq_u64(high, addend), count);
            Self(low_halves([low, high]))
        }
    }
}

#[inline(always)]
unsafe fn products(x: uint32x4_t, y: uint32x4_t) -> [uint64x2_t; 2] {
    unsafe { [vmull_u32(vget_low_u32(x), vget_low_u32(y)), vmull_high_u32(x, y)] }
}

#[inline(always)]
unsafe fn low_halves(wide: [uint64x2_t; 2]) -> uint32x4_t {
    let [low, high] = wide;
    unsafe { vuzp1q_u32(vreinterpretq_u32_u64(low), vreinterpretq_u32_u64(high)) }
}

#[inline(always)]
unsafe fn high_halves(wide: [uint64x2_t; 2]) -> Neon {
    let [low, high] = wide;
    Neon(unsafe { vuzp2q_u32(vreinterpretq_u32_u64(low), vreinterpretq_u32_u64(high)) })
}
