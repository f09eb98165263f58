//! One lane: the reference that the vector sets must equal bit for bit.

use super::Lanes;

#[derive(Clone, Copy)]
pub(crate) struct Scalar(u32);

impl Lanes for Scalar {
    const N: usize = 1;
    type Wide = u64;

    #[inline(always)]
    unsafe fn load(p: *const u32) -> Self {
        // SAFETY: the caller vouches for the pointer.
        Self(unsafe { p.read() })
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const u32) {
        let _ = p;
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut u32) {
        // SAFETY: the caller vouches for the pointer.
        unsafe { p.write(self.0) }
    }
    #[inline(always)]
    unsafe fn splat(x: u32) -> Self {
        Self(x)
    }
    #[inline(always)]
    unsafe fn spread(p: *const u32, _run: usize) -> Self {
        // SAFETY: the caller vouches for the pointer.
        unsafe { Self::load(p) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
    #[inline(always)]
    unsafe fn mul_lo(self, other: Self) -> Self {
        Self(self.0.wrapping_mul(other.0))
    }
    #[inline(always)]
    unsafe fn odd(self) -> Self {
        self
    }
    #[inline(always)]
    unsafe fn mul_hi(self, even: Self, _odd: Self) -> Self {
        Self(((u64::from(self.0) * u64::from(even.0)) >> 32) as u32)
    }
    #[inline(always)]
    unsafe fn exchange(x: Self, y: Self, _run: usize) -> (Self, Self) {
        (x, y)
    }
    #[inline(always)]
    unsafe fn zip(x: Self, y: Self) -> (Self, Self) {
        (x, y)
    }
    #[inline(always)]
    unsafe fn unzip(x: Self, y: Self) -> (Self, Self) {
        (x, y)
    }
    #[inline(always)]
    unsafe fn permute(self, _pattern: Self) -> Self {
        self
    }
    #[inline(always)]
    unsafe fn wide_zero() -> u64 {
        0
    }
    #[inline(always)]
    unsafe fn wide_mac(acc: u64, a: (Self, Self), b: (Self, Self)) -> u64 {
        acc.wrapping_add(u64::from(a.0.0) * u64::from(b.0.0))
    }
    #[inline(always)]
    unsafe fn wide_hi(acc: u64) -> Self {
        Self((acc >> 32) as u32)
    }
    #[inline(always)]
    unsafe fn wide_montgomery(acc: u64, q_inv: Self, q: Self) -> Self {
        Self(((u64::from((acc as u32).wrapping_mul(q_inv.0)) * u64::from(q.0)) >> 32) as u32)
    }
    #[inline(always)]
    unsafe fn wide_round(acc: u64, addend: u64, shift: u32) -> Self {
        Self((acc.wrapping_add(addend) >> shift) as u32)
    }
}
