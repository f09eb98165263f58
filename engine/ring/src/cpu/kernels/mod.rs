//! The kernels of one limb, written once over [`Lanes`] and compiled for each instruction set.
//!
//! Words enter and leave canonical, in `[0, q)`; between the stages of a transform they stay lazily below `4q`
//! (forward) or `2q` (inverse), after D. Harvey (2014).
//!
//! Everything is `inline(always)` down to the intrinsics, and hot code calls no closure and no library function that takes
//! one: those may stay functions of their own, compiled without the instruction set, at a third of the speed.
#![expect(clippy::indexing_slicing, reason = "array indices are constants once the loops are unrolled")]

mod fold;
mod matrix;
mod residues;
mod transform;

#[cfg(target_arch = "aarch64")]
use super::simd::neon::Neon;
use super::simd::{Lanes, Simd, scalar::Scalar};
#[cfg(target_arch = "x86_64")]
use super::simd::{avx2::Avx2, avx512::Avx512};
use crate::{Modulus, NttPermutation, NttTable, Shoup};
pub(crate) use matrix::ROWS;
use matrix::matrix;
use residues::{Factor, LAZY_PRODUCTS, Prime, span};
use transform::{intt, ntt};

/// Prefetch distance of diagonals, in words. They come from main memory and each word is used once; the processor's own prefetching stops
/// at the end of a page.
const AHEAD: usize = 512;

/// Prefetch distance of keys and digits, in words of all digits together, and the largest for one: what is on its way has room in the nearest
/// cache.
const ALL_AHEAD: usize = 1536;

/// Vectors that sums over few terms take at a time.
const BLOCK: usize = 4;

/// One limb's share of a gadget product, or a part of it as long as the outputs.
pub(crate) struct GadgetLimb<'a> {
    /// The first word of the part, a multiple of the vector width.
    pub(crate) start: usize,
    /// Per digit: the extended limb and the two limbs of the key; empty where nothing is switched.
    pub(crate) digits: &'a [[&'a [u32]; 3]],
    /// Addends of the two results, before the permutation, times `factor`.
    pub(crate) addends: [Option<&'a [u32]>; 2],
    pub(crate) factor: u32,
    /// Applied to everything but the keys.
    pub(crate) permutation: Option<&'a NttPermutation>,
    /// Whether the results are added to what the outputs hold.
    pub(crate) accumulate: bool,
}

/// A product of [`Kernels::dot_pair`]: a diagonal, each word of which stands for `2^log_run` neighbouring words, and one part of
/// both polynomials of a ciphertext.
pub(crate) struct PairTerm<'a> {
    pub(crate) diagonal: &'a [u32],
    pub(crate) log_run: u32,
    pub(crate) x: [&'a [u32]; 2],
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*);)*) => {
        /// The kernels of one instruction set.
        #[derive(Clone, Copy)]
        pub(crate) struct Kernels {
            /// Words in a vector.
            pub(crate) width: usize,
            $($(#[$doc])* pub(crate) $name: fn($($arg: $type),*),)*
        }

        impl Kernels {
            /// The kernels of an instruction set, or the widest narrower one whose vectors fit degree `n`.
            #[cfg_attr(
                not(any(target_arch = "x86_64", target_arch = "aarch64")),
                expect(unused_variables, reason = "one lane fits any degree")
            )]
            pub(crate) fn new(simd: Simd, n: usize) -> Self {
                match simd {
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx512 if n >= 8 * Avx512::N && simd.is_available() => avx512::KERNELS,
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx2 | Simd::Avx512 if n >= 8 * Avx2::N && simd.is_available() => avx2::KERNELS,
                    #[cfg(target_arch = "aarch64")]
                    Simd::Neon if n >= 8 * Neon::N && simd.is_available() => neon::KERNELS,
                    _ => plain::KERNELS,
                }
            }
        }

        kernels!(@set plain Scalar any(), "", $($name($($arg: $type),*);)*);
        #[cfg(target_arch = "aarch64")]
        kernels!(@set neon Neon all(), "neon", $($name($($arg: $type),*);)*);
        #[cfg(target_arch = "x86_64")]
        kernels!(@set avx2 Avx2 all(), "avx2", $($name($($arg: $type),*);)*);
        #[cfg(target_arch = "x86_64")]
        kernels!(@set avx512 Avx512 all(), "avx512f,avx512dq,avx512bw,avx512vl",
            $($name($($arg: $type),*);)*);
    };
    (@set $set:ident $lanes:ident $vector:meta, $features:literal, $($name:ident($($arg:ident: $type:ty),*);)*) => {
        mod $set {
            use super::*;

            pub(super) const KERNELS: Kernels = Kernels {
                width: $lanes::N,
                $($name: |$($arg),*| {
                    #[cfg_attr($vector, target_feature(enable = $features))]
                    unsafe fn $name($($arg: $type),*) {
                        // SAFETY: this is compiled for the set of these lanes.
                        unsafe { super::$name::<$lanes>($($arg),*) }
                    }
                    // SAFETY: `Kernels::new` hands this set out only where it was detected.
                    unsafe { $name($($arg),*) }
                },)*
            };
        }
    };
}

kernels! {
    /// Forward transform in place. Fewer words than the table's degree are a polynomial in a power of `X`; each of the results
    /// then stands for a run of words of the full transform.
    ntt(table: &NttTable, x: &mut [u32]);
    /// Inverse transform in place, then a product by `factor`.
    intt(table: &NttTable, x: &mut [u32], factor: u32);
    /// `x += y`
    add(modulus: &Modulus, x: &mut [u32], y: &[u32]);
    /// `x -= y`
    sub(modulus: &Modulus, x: &mut [u32], y: &[u32]);
    /// `x = -x`
    neg(modulus: &Modulus, x: &mut [u32]);
    /// `x *= factor`
    mul_scalar(modulus: &Modulus, x: &mut [u32], factor: Shoup);
    /// `x *= y`
    mul(modulus: &Modulus, x: &mut [u32], y: &[u32]);
    /// `t = (x - t) factor`
    sub_mul(modulus: &Modulus, t: &mut [u32], x: &[u32], factor: Shoup);
    /// `x mod q` of signed words.
    residues(modulus: &Modulus, x: &[i32], out: &mut [u32]);
    /// `out0 = sum diagonal x[0]`, `out1 = sum diagonal x[1]` over the terms.
    dot_pair(modulus: &Modulus, terms: &[PairTerm<'_>], out0: &mut [u32], out1: &mut [u32]);
    /// `out = sum a b` over the terms.
    dot(modulus: &Modulus, terms: &[[&[u32]; 2]], out: &mut [u32]);
    /// `outs[r] = sum weight[c][r] x[columns[c]]`, where `weights` has as many residues for each column as there are `outs`: four
    /// or one.
    matrix(modulus: &Modulus, x: &[&[u32]], columns: &[u32], weights: &[u32], outs: &mut [&mut [u32]]);
    /// `out = sum source weight / 2^32`; at most fifteen sources below `2^30`, weights in Montgomery form.
    convert(modulus: &Modulus, sources: &[&[u32]], weights: &[u32], out: &mut [u32]);
    /// `out = x` where `x` is below the threshold, and `x - source` elsewhere: a conversion from one prime.
    lift(modulus: &Modulus, source: &Modulus, threshold: u32, x: &[u32], out: &mut [u32]);
    /// `out = floor(1/2 + sum source weight / 2^shift)`
    quotient(sources: &[&[u32]], weights: &[u32], shift: u32, out: &mut [u32]);
    /// Both results of a gadget product's limb.
    gadget(modulus: &Modulus, limb: &GadgetLimb<'_>, out0: &mut [u32], out1: &mut [u32]);
    /// `out[i] = x[source(i)]`
    permute(permutation: &NttPermutation, x: &[u32], out: &mut [u32]);
}

#[inline(always)]
unsafe fn add<V: Lanes>(modulus: &Modulus, x: &mut [u32], y: &[u32]) {
    let n = span::<V>(x.len(), &[y]);
    let out = x.as_mut_ptr();
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        for i in (0..n).step_by(V::N) {
            let a = V::load(out.add(i));
            let b = V::load(y.as_ptr().add(i));
            p.below_q(a.add(b)).store(out.add(i));
        }
    }
}

#[inline(always)]
unsafe fn sub<V: Lanes>(modulus: &Modulus, x: &mut [u32], y: &[u32]) {
    let n = span::<V>(x.len(), &[y]);
    let out = x.as_mut_ptr();
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        for i in (0..n).step_by(V::N) {
            let a = V::load(out.add(i));
            let b = V::load(y.as_ptr().add(i));
            p.difference(a, b).store(out.add(i));
        }
    }
}

#[inline(always)]
unsafe fn neg<V: Lanes>(modulus: &Modulus, x: &mut [u32]) {
    let n = span::<V>(x.len(), &[]);
    let out = x.as_mut_ptr();
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        for i in (0..n).step_by(V::N) {
            let a = V::load(out.add(i));
            p.below_q(p.q.sub(a)).store(out.add(i));
        }
    }
}

#[inline(always)]
unsafe fn mul_scalar<V: Lanes>(modulus: &Modulus, x: &mut [u32], factor: Shoup) {
    let n = span::<V>(x.len(), &[]);
    let out = x.as_mut_ptr();
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        let factor = Factor::splat(factor.w, factor.quotient);
        for i in (0..n).step_by(V::N) {
            let a = V::load(out.add(i));
            p.below_q(factor.mul(a, p.q)).store(out.add(i));
        }
    }
}

#[inline(always)]
unsafe fn mul<V: Lanes>(modulus: &Modulus, x: &mut [u32], y: &[u32]) {
    let n = span::<V>(x.len(), &[y]);
    let out = x.as_mut_ptr();
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        for i in (0..n).step_by(V::N) {
            let a = V::load(out.add(i));
            let b = V::load(y.as_ptr().add(i));
            p.reduce(V::wide_mac(V::wide_zero(), (a, a.odd()), (b, b.odd()))).store(out.add(i));
        }
    }
}

#[inline(always)]
unsafe fn sub_mul<V: Lanes>(modulus: &Modulus, t: &mut [u32], x: &[u32], factor: Shoup) {
    let n = span::<V>(t.len(), &[x]);
    let out = t.as_mut_ptr();
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        let factor = Factor::splat(factor.w, factor.quotient);
        for i in (0..n).step_by(V::N) {
            let a = V::load(out.add(i));
            let b = V::load(x.as_ptr().add(i));
            p.below_q(factor.mul(b.add(p.q).sub(a), p.q)).store(out.add(i));
        }
    }
}

#[inline(always)]
unsafe fn dot<V: Lanes>(modulus: &Modulus, terms: &[[&[u32]; 2]], out: &mut [u32]) {
    let n = span::<V>(out.len(), terms.as_flattened());
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        for i in (0..n).step_by(V::N) {
            let mut acc = V::wide_zero();
            let mut room = LAZY_PRODUCTS;
            for [a, b] in terms {
                if room == 0 {
                    acc = p.fold(acc);
                    room = LAZY_PRODUCTS - 1;
                }
                V::prefetch(a.as_ptr().wrapping_add(i + AHEAD));
                let a = V::load(a.as_ptr().add(i));
                let b = V::load(b.as_ptr().add(i));
                acc = V::wide_mac(acc, (a, a.odd()), (b, b.odd()));
                room -= 1;
            }
            p.reduce(acc).store(out.as_mut_ptr().add(i));
        }
    }
}

#[inline(always)]
unsafe fn residues<V: Lanes>(modulus: &Modulus, x: &[i32], out: &mut [u32]) {
    let x: &[u32] = bytemuck::cast_slice(x);
    let n = span::<V>(out.len(), &[x]);
    let one = modulus.shoup(1);
    let offset = modulus.reduce(1 << 31);
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        let one = Factor::splat(one.w, one.quotient);
        let offset = V::splat(offset);
        let sign = V::splat(1 << 31);
        for i in (0..n).step_by(V::N) {
            let above_zero = V::load(x.as_ptr().add(i)).add(sign);
            let residue = p.below_q(one.mul(above_zero, p.q));
            p.difference(residue, offset).store(out.as_mut_ptr().add(i));
        }
    }
}

#[inline(always)]
unsafe fn dot_pair<V: Lanes>(modulus: &Modulus, terms: &[PairTerm<'_>], out0: &mut [u32], out1: &mut [u32]) {
    let n = span::<V>(out0.len(), &[out1]);
    for term in terms {
        let enough = term.diagonal.len() << term.log_run >= n;
        assert!(enough && term.x[0].len() == n && term.x[1].len() == n, "limbs of unequal length");
    }
    // SAFETY: see `Factor`; the diagonals reach as far as the words they count for.
    unsafe {
        let p = Prime::<V>::new(modulus);
        for i in (0..n).step_by(V::N) {
            let mut acc0 = V::wide_zero();
            let mut acc1 = V::wide_zero();
            let mut room = LAZY_PRODUCTS;
            for term in terms {
                if room == 0 {
                    (acc0, acc1) = (p.fold(acc0), p.fold(acc1));
                    room = LAZY_PRODUCTS - 1;
                }
                let word = term.diagonal.as_ptr().add(i >> term.log_run);
                let w = if term.log_run >= V::N.ilog2() {
                    let w = V::splat(*word);
                    (w, w)
                } else {
                    if term.log_run == 0 {
                        V::prefetch(word.wrapping_add(AHEAD));
                    }
                    let w = V::spread(word, 1 << term.log_run);
                    (w, w.odd())
                };
                let x0 = V::load(term.x[0].as_ptr().add(i));
                let x1 = V::load(term.x[1].as_ptr().add(i));
                acc0 = V::wide_mac(acc0, w, (x0, x0.odd()));
                acc1 = V::wide_mac(acc1, w, (x1, x1.odd()));
                room -= 1;
            }
            p.reduce(acc0).store(out0.as_mut_ptr().add(i));
            p.reduce(acc1).store(out1.as_mut_ptr().add(i));
        }
    }
}

#[inline(always)]
unsafe fn convert<V: Lanes>(modulus: &Modulus, sources: &[&[u32]], weights: &[u32], out: &mut [u32]) {
    let n = span::<V>(out.len(), sources);
    assert!(sources.len() <= LAZY_PRODUCTS && sources.len() == weights.len());
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        let blocks = n - n % (BLOCK * V::N);
        for i in (0..blocks).step_by(BLOCK * V::N) {
            for (k, acc) in weighted_sums::<V, BLOCK>(sources, weights, i).into_iter().enumerate() {
                p.montgomery(acc).store(out.as_mut_ptr().add(i + k * V::N));
            }
        }
        for i in (blocks..n).step_by(V::N) {
            let [acc] = weighted_sums::<V, 1>(sources, weights, i);
            p.montgomery(acc).store(out.as_mut_ptr().add(i));
        }
    }
}

#[inline(always)]
unsafe fn lift<V: Lanes>(modulus: &Modulus, source: &Modulus, threshold: u32, x: &[u32], out: &mut [u32]) {
    let n = span::<V>(out.len(), &[x]);
    let one = modulus.shoup(1);
    let below = source.q() - threshold;
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::<V>::new(modulus);
        let one = Factor::splat(one.w, one.quotient);
        let source = V::splat(source.q());
        let threshold = V::splat(threshold);
        let offset = V::splat(modulus.reduce(u64::from(below)));
        for i in (0..n).step_by(V::N) {
            // The representative, and as much more as brings the least one to zero.
            let above = V::load(x.as_ptr().add(i)).sub(threshold);
            let above = above.min(above.add(source));
            let residue = p.below_q(one.mul(above, p.q));
            p.difference(residue, offset).store(out.as_mut_ptr().add(i));
        }
    }
}

#[inline(always)]
unsafe fn quotient<V: Lanes>(sources: &[&[u32]], weights: &[u32], shift: u32, out: &mut [u32]) {
    let n = span::<V>(out.len(), sources);
    let half = 1 << (shift - 1);
    // SAFETY: see `Factor`.
    unsafe {
        let blocks = n - n % (BLOCK * V::N);
        for i in (0..blocks).step_by(BLOCK * V::N) {
            for (k, acc) in weighted_sums::<V, BLOCK>(sources, weights, i).into_iter().enumerate() {
                V::wide_round(acc, half, shift).store(out.as_mut_ptr().add(i + k * V::N));
            }
        }
        for i in (blocks..n).step_by(V::N) {
            let [acc] = weighted_sums::<V, 1>(sources, weights, i);
            V::wide_round(acc, half, shift).store(out.as_mut_ptr().add(i));
        }
    }
}

/// `sum source weight` of the `B` vectors from word `i` on: several at a time, so that pointers and weights are read once for
/// all of them.
#[inline(always)]
unsafe fn weighted_sums<V: Lanes, const B: usize>(
    sources: &[&[u32]],
    weights: &[u32],
    i: usize,
) -> [V::Wide; B] {
    // SAFETY: see `Factor`.
    unsafe {
        let mut acc = [V::wide_zero(); B];
        for (source, &weight) in sources.iter().zip(weights) {
            let w = V::splat(weight);
            let source = source.as_ptr().add(i);
            for (k, acc) in acc.iter_mut().enumerate() {
                let y = V::load(source.add(k * V::N));
                *acc = V::wide_mac(*acc, (y, y.odd()), (w, w));
            }
        }
        acc
    }
}

#[inline(always)]
unsafe fn gadget<V: Lanes>(modulus: &Modulus, limb: &GadgetLimb<'_>, out0: &mut [u32], out1: &mut [u32]) {
    let words = span::<V>(out0.len(), &[out1]);
    let end = limb.start + words;
    let sources = limb.digits.as_flattened().iter().chain(limb.addends.iter().flatten());
    assert!(sources.into_iter().all(|source| source.len() >= end), "a part beyond its limb");
    if let Some(permutation) = limb.permutation {
        let full = limb
            .digits
            .iter()
            .flatten()
            .chain(limb.addends.iter().flatten())
            .all(|s| s.len() == permutation.len());
        assert!(permutation.width() == V::N && full, "a permutation of other limbs");
    }
    // SAFETY: see `Factor`; sources of a permutation lie inside the limb.
    unsafe {
        let p = Prime::<V>::new(modulus);
        let one = V::splat(1);
        let factor = V::splat(limb.factor);
        let ahead = (ALL_AHEAD / limb.digits.len().max(1)).min(AHEAD);
        for offset in (0..words).step_by(V::N) {
            let i = limb.start + offset;
            let fetch = Fetch::<V>::new(limb.permutation, i);
            let next = Fetch::<V>::source(limb.permutation, i + ahead);
            let outs = [out0.as_mut_ptr().add(offset), out1.as_mut_ptr().add(offset)];
            let mut acc = [V::wide_zero(); 2];
            let mut room = LAZY_PRODUCTS;
            for c in 0..2 {
                if let Some(addend) = limb.addends[c] {
                    let x = fetch.load(addend);
                    acc[c] = V::wide_mac(acc[c], (x, x.odd()), (factor, factor));
                }
                if limb.accumulate {
                    let x = V::load(outs[c]);
                    acc[c] = V::wide_mac(acc[c], (x, x.odd()), (one, one));
                }
            }
            room -= 2;
            for [ext, key0, key1] in limb.digits {
                if room == 0 {
                    acc = [p.fold(acc[0]), p.fold(acc[1])];
                    room = LAZY_PRODUCTS - 1;
                }
                let x = fetch.load(ext);
                let x = (x, x.odd());
                V::prefetch(ext.as_ptr().wrapping_add(next));
                V::prefetch(key0.as_ptr().wrapping_add(i + ahead));
                V::prefetch(key1.as_ptr().wrapping_add(i + ahead));
                let k0 = V::load(key0.as_ptr().add(i));
                let k1 = V::load(key1.as_ptr().add(i));
                acc[0] = V::wide_mac(acc[0], x, (k0, k0.odd()));
                acc[1] = V::wide_mac(acc[1], x, (k1, k1.odd()));
                room -= 1;
            }
            p.reduce(acc[0]).store(outs[0]);
            p.reduce(acc[1]).store(outs[1]);
        }
    }
}

#[inline(always)]
unsafe fn permute<V: Lanes>(permutation: &NttPermutation, x: &[u32], out: &mut [u32]) {
    let n = span::<V>(out.len(), &[x]);
    assert!(permutation.width() == V::N && permutation.len() == n, "a permutation of other limbs");
    for i in (0..n).step_by(V::N) {
        // SAFETY: see `Factor`; sources of a permutation lie inside the limb.
        unsafe { Fetch::<V>::new(Some(permutation), i).load(x).store(out.as_mut_ptr().add(i)) }
    }
}

/// Source block of output word `i`.
struct Fetch<V> {
    start: usize,
    pattern: Option<V>,
}

/// # Safety
/// As for [`Factor`].
impl<V: Lanes> Fetch<V> {
    #[inline(always)]
    unsafe fn new(permutation: Option<&NttPermutation>, i: usize) -> Self {
        let Some(permutation) = permutation else {
            return Self { start: i, pattern: None };
        };
        // SAFETY: see the block's contract; the table has a source per block and a pattern per lane.
        unsafe {
            let first = *permutation.source().get_unchecked(i / V::N) as usize;
            let pattern = first % V::N;
            let row = permutation.patterns().as_ptr().add(pattern * V::N);
            Self { start: first - pattern, pattern: Some(V::load(row)) }
        }
    }

    /// Where the words of output word `i` come from, or those of the last.
    #[inline(always)]
    fn source(permutation: Option<&NttPermutation>, i: usize) -> usize {
        match permutation {
            Some(permutation) => {
                let last = permutation.source().len() - 1;
                permutation.source()[last.min(i / V::N)] as usize
            }
            None => i,
        }
    }

    #[inline(always)]
    unsafe fn load(&self, x: &[u32]) -> V {
        // SAFETY: see the block's contract.
        unsafe {
            let v = V::load(x.as_ptr().add(self.start));
            match self.pattern {
                Some(pattern) => v.permute(pattern),
                None => v,
            }
        }
    }
}
