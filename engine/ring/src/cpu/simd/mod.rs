//! Vectors of 32-bit words: the one interface that the kernels are written against, and its four forms.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod scalar;

use crate::RingError;
use std::str::FromStr;
use std::sync::OnceLock;

/// A vector instruction set that the `Cpu` backend can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Simd {
    /// Plain Rust, on every processor.
    Scalar,
    /// Four lanes, 64-bit Arm with NEON.
    Neon,
    /// Eight lanes, x86-64 with AVX2.
    Avx2,
    /// Sixteen lanes, x86-64 with AVX-512 F, DQ, BW and VL.
    Avx512,
}

/// The choice of this process.
static PREFERRED: OnceLock<Simd> = OnceLock::new();

impl Simd {
    /// All instruction sets, narrowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }

    /// Refuses a set that this processor lacks.
    ///
    /// # Errors
    /// [`RingError::BadSimd`]
    pub fn check(self) -> Result<(), RingError> {
        if self.is_available() { Ok(()) } else { Err(bad(self.name())) }
    }

    /// The set of host polynomials and of [`Cpu::new`](crate::Cpu::new): that of [`Simd::set_preferred`], or the widest.
    pub fn preferred() -> Self {
        *PREFERRED.get_or_init(Self::widest)
    }

    /// Chooses the set of host polynomials and of [`Cpu::new`](crate::Cpu::new), for the whole process and before either is
    /// used.
    ///
    /// # Errors
    /// [`RingError::BadSimd`] if this processor lacks the set, [`RingError::SimdInUse`] if another was chosen or used.
    pub fn set_preferred(self) -> Result<(), RingError> {
        self.check()?;
        match *PREFERRED.get_or_init(|| self) {
            chosen if chosen == self => Ok(()),
            chosen => Err(RingError::SimdInUse { chosen: chosen.name() }),
        }
    }

    /// The widest set of this processor.
    pub fn widest() -> Self {
        Self::ALL.into_iter().rfind(|simd| simd.is_available()).unwrap_or(Self::Scalar)
    }

    /// The name that [`Simd::from_str`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl FromStr for Simd {
    type Err = RingError;

    /// A set of this processor, by its [`Simd::name`].
    fn from_str(wanted: &str) -> Result<Self, RingError> {
        let named = Self::ALL.into_iter().find(|simd| simd.name() == wanted && simd.is_available());
        named.ok_or_else(|| bad(wanted))
    }
}

fn bad(wanted: &str) -> RingError {
    let available: Vec<_> = Simd::ALL.into_iter().filter(|s| s.is_available()).map(Simd::name).collect();
    RingError::BadSimd { wanted: wanted.to_owned(), available: available.join(", ") }
}

/// `N` words side by side.
///
/// # Safety
/// Every method may use instructions of its set, so callers run only where the set was detected; `load`,
/// `store` and `spread` also need `N` (for `spread`: `N / run`) valid words behind the pointer.
pub(crate) trait Lanes: Copy {
    /// Words in a vector.
    const N: usize;
    /// One 64-bit accumulator per lane.
    type Wide: Copy;

    unsafe fn load(p: *const u32) -> Self;
    /// Prefetches the cache line at `p`, which need not be valid.
    unsafe fn prefetch(p: *const u32);
    unsafe fn store(self, p: *mut u32);
    unsafe fn splat(x: u32) -> Self;
    /// `N / run` words from `p`, each repeated `run` times.
    unsafe fn spread(p: *const u32, run: usize) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// Low half of each product.
    unsafe fn mul_lo(self, other: Self) -> Self;
    /// Each odd lane moved down to the even lane below it; even results are all that counts.
    unsafe fn odd(self) -> Self;
    /// High half of each product with the factors `even` (even lanes count) and `odd` (as from [`Lanes::odd`]).
    unsafe fn mul_hi(self, even: Self, odd: Self) -> Self;
    /// With `x` and `y` cut into runs: even runs of both in the first result, odd runs in the second.
    unsafe fn exchange(x: Self, y: Self, run: usize) -> (Self, Self);
    /// `x0 y0 x1 y1 ...`
    unsafe fn zip(x: Self, y: Self) -> (Self, Self);
    /// The inverse of `zip`.
    unsafe fn unzip(x: Self, y: Self) -> (Self, Self);
    /// Lane `i` of the result is lane `pattern[i]`.
    unsafe fn permute(self, pattern: Self) -> Self;

    unsafe fn wide_zero() -> Self::Wide;
    /// `acc + a b`, each of `a` and `b` given as (itself, its [`Lanes::odd`]).
    unsafe fn wide_mac(acc: Self::Wide, a: (Self, Self), b: (Self, Self)) -> Self::Wide;
    /// High halves of the accumulators.
    unsafe fn wide_hi(acc: Self::Wide) -> Self;
    /// High halves of `(acc q_inv mod 2^32) q`: what Montgomery's reduction takes off.
    unsafe fn wide_montgomery(acc: Self::Wide, q_inv: Self, q: Self) -> Self;
    /// Low halves of `(acc + addend) >> shift`.
    unsafe fn wide_round(acc: Self::Wide, addend: u64, shift: u32) -> Self;
}
