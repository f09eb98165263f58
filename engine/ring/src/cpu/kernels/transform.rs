//! The transform and its inverse: a walk over the tree of nodes that [`crate::ntt`] describes.
//!
//! A *pass* takes up to three stages of a node on vectors that lie far apart; a *tail* takes all stages that are left
//! on eight adjacent vectors, the last ones inside pairs of them.

use super::fold::{fold, unfold};
use super::residues::{Factor, Prime};
use crate::NttTable;
use crate::cpu::simd::Lanes;
use crate::ntt::Twiddles;

#[inline(always)]
pub(super) unsafe fn ntt<V: Lanes>(table: &NttTable, x: &mut [u32]) {
    let len = length::<V>(table, x);
    // SAFETY: see `Factor`.
    unsafe {
        if let Some(i) = table.fold() {
            fold::<V>(table.modulus(), x, i);
        }
        forward_node::<V>(table, Prime::new(table.modulus()), x.as_mut_ptr(), len, 1);
    }
}

#[inline(always)]
pub(super) unsafe fn intt<V: Lanes>(table: &NttTable, x: &mut [u32], factor: u32) {
    let last = table.last_stage(factor);
    let len = length::<V>(table, x);
    assert!(len == 1 << table.log_n(), "the inverse's last factors are the full degree's");
    // SAFETY: see `Factor`.
    unsafe {
        let p = Prime::new(table.modulus());
        let last = [Factor::splat(last[0].w, last[0].quotient), Factor::splat(last[1].w, last[1].quotient)];
        let words = x;
        let x = words.as_mut_ptr();
        // Blocks of eight vectors first, then the passes from the smallest subtrees to the root: the mirror of
        // the forward walk.
        let mut sizes = [0usize; 8];
        let mut depth = 0;
        let mut size = len;
        while size > 8 * V::N {
            sizes[depth] = size;
            depth += 1;
            size >>= stages::<V>(size);
        }
        for block in 0..len / size {
            let start = x.add(block * size);
            let k = len / size + block;
            if size == 8 * V::N {
                inverse_tail(table, p, start, k, (size == len).then_some(last));
            } else {
                match size {
                    2 => inverse_pass::<V, 2>(table, p, start, size, k, Some(last)),
                    _ => inverse_pass::<V, 4>(table, p, start, size, k, Some(last)),
                }
            }
            // A subtree is finished as soon as its last block is: its words are still in the cache.
            for &subtree in sizes[..depth].iter().rev() {
                let end = (block + 1) * size;
                if !end.is_multiple_of(subtree) {
                    break;
                }
                let start = x.add(end - subtree);
                let k = len / subtree + end / subtree - 1;
                let last = (subtree == len).then_some(last);
                match stages::<V>(subtree) {
                    1 => inverse_pass::<V, 2>(table, p, start, subtree, k, last),
                    2 => inverse_pass::<V, 4>(table, p, start, subtree, k, last),
                    _ => inverse_pass::<V, 8>(table, p, start, subtree, k, last),
                }
            }
        }
        if let Some(i) = table.fold() {
            unfold::<V>(table.modulus(), words, i);
        }
    }
}

/// The subtree of node `k` on its `len` words: a pass over all of them, then block by block, so that the blocks
/// stay in the nearest cache.
#[inline(always)]
unsafe fn forward_node<V: Lanes>(table: &NttTable, p: Prime<V>, x: *mut u32, len: usize, k: usize) {
    // The walk's depth is at most five; an explicit stack of (block, node) replaces recursion, which cannot be
    // inlined into a function compiled for an instruction set.
    let mut stack = [(0usize, 0usize, 0usize); 48];
    let mut top = 1;
    stack[0] = (0, len, k);
    while top > 0 {
        top -= 1;
        let (start, len, k) = stack[top];
        // SAFETY: see `Factor`; the blocks partition the slice.
        unsafe {
            let x = x.add(start);
            if len == 8 * V::N {
                forward_tail(table, p, x, k);
                continue;
            }
            let children = 1 << stages::<V>(len);
            match children {
                2 => forward_pass::<V, 2>(table, p, x, len, k),
                4 => forward_pass::<V, 4>(table, p, x, len, k),
                _ => forward_pass::<V, 8>(table, p, x, len, k),
            }
            if len > 8 * V::N {
                for child in (0..children).rev() {
                    stack[top] = (start + child * (len / children), len / children, k * children + child);
                    top += 1;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn forward_pass<V: Lanes, const C: usize>(
    table: &NttTable,
    p: Prime<V>,
    x: *mut u32,
    len: usize,
    k: usize,
) {
    let stride = len / C;
    // SAFETY: see `Factor`.
    unsafe {
        let w = subtree_factors::<V, C>(table.forward(), k);
        // Transforms of less than eight words end here. Outside the loop, which the compiler vectorizes for one lane.
        if V::N == 1 && stride == 1 {
            let mut v = load_strided(x, stride);
            subtree(&mut v, &w, p);
            for x in &mut v {
                *x = p.below_q(p.below_2q(*x));
            }
            store_strided(v, x, stride);
            return;
        }
        for j in (0..stride).step_by(V::N) {
            let mut v = load_strided(x.add(j), stride);
            subtree(&mut v, &w, p);
            store_strided(v, x.add(j), stride);
        }
    }
}

/// All stages below node `k` on eight vectors: three across vectors, the rest inside pairs of them.
#[inline(always)]
unsafe fn forward_tail<V: Lanes>(table: &NttTable, p: Prime<V>, x: *mut u32, k: usize) {
    // SAFETY: see `Factor`.
    unsafe {
        let mut v: [V; 8] = load_strided(x, V::N);
        subtree(&mut v, &subtree_factors(table.forward(), k), p);
        if V::N >= 16 {
            forward_inside::<V, 8>(table, p, &mut v, 4 * k * (V::N / 8));
        }
        if V::N >= 8 {
            forward_inside::<V, 4>(table, p, &mut v, 4 * k * (V::N / 4));
        }
        if V::N >= 4 {
            forward_inside::<V, 2>(table, p, &mut v, 4 * k * (V::N / 2));
        }
        if V::N >= 2 {
            forward_inside::<V, 1>(table, p, &mut v, 4 * k * V::N);
        }
        for pair in 0..4 {
            let a = v[2 * pair];
            let b = v[2 * pair + 1];
            let (a, b) = V::zip(p.below_q(p.below_2q(a)), p.below_q(p.below_2q(b)));
            a.store(x.add(2 * pair * V::N));
            b.store(x.add((2 * pair + 1) * V::N));
        }
    }
}

/// One stage inside the pairs of eight vectors, whose butterflies span `RUN` words; `node` is its first node.
#[inline(always)]
unsafe fn forward_inside<V: Lanes, const RUN: usize>(
    table: &NttTable,
    p: Prime<V>,
    v: &mut [V; 8],
    node: usize,
) {
    for pair in 0..4 {
        // SAFETY: see `Factor`.
        unsafe {
            let w = Factor::nodes(table.forward(), node + pair * (V::N / RUN), RUN);
            let (a, b) = V::exchange(v[2 * pair], v[2 * pair + 1], RUN);
            (v[2 * pair], v[2 * pair + 1]) = butterfly(a, b, w, p);
        }
    }
}

#[inline(always)]
unsafe fn inverse_pass<V: Lanes, const C: usize>(
    table: &NttTable,
    p: Prime<V>,
    x: *mut u32,
    len: usize,
    k: usize,
    last: Option<[Factor<V>; 2]>,
) {
    let stride = len / C;
    // SAFETY: see `Factor`.
    unsafe {
        let w = subtree_factors::<V, C>(table.inverse(), k);
        // Two loops, so that the inner passes carry no test for the last stage.
        match last {
            None => {
                for j in (0..stride).step_by(V::N) {
                    let mut v = load_strided(x.add(j), stride);
                    subtree_inverse(&mut v, &w, p, None);
                    store_strided(v, x.add(j), stride);
                }
            }
            Some(last) => {
                for j in (0..stride).step_by(V::N) {
                    let mut v = load_strided(x.add(j), stride);
                    subtree_inverse(&mut v, &w, p, Some(last));
                    store_strided(v, x.add(j), stride);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn inverse_tail<V: Lanes>(
    table: &NttTable,
    p: Prime<V>,
    x: *mut u32,
    k: usize,
    last: Option<[Factor<V>; 2]>,
) {
    // SAFETY: see `Factor`.
    unsafe {
        let mut v: [V; 8] = load_strided(x, V::N);
        for pair in 0..4 {
            (v[2 * pair], v[2 * pair + 1]) = V::unzip(v[2 * pair], v[2 * pair + 1]);
        }
        if V::N >= 2 {
            inverse_inside::<V, 1>(table, p, &mut v, 4 * k * V::N);
        }
        if V::N >= 4 {
            inverse_inside::<V, 2>(table, p, &mut v, 4 * k * (V::N / 2));
        }
        if V::N >= 8 {
            inverse_inside::<V, 4>(table, p, &mut v, 4 * k * (V::N / 4));
        }
        if V::N >= 16 {
            inverse_inside::<V, 8>(table, p, &mut v, 4 * k * (V::N / 8));
        }
        subtree_inverse(&mut v, &subtree_factors(table.inverse(), k), p, last);
        store_strided(v, x, V::N);
    }
}

/// The mirror of [`forward_inside`].
#[inline(always)]
unsafe fn inverse_inside<V: Lanes, const RUN: usize>(
    table: &NttTable,
    p: Prime<V>,
    v: &mut [V; 8],
    node: usize,
) {
    for pair in 0..4 {
        // SAFETY: see `Factor`.
        unsafe {
            let w = Factor::nodes(table.inverse(), node + pair * (V::N / RUN), RUN);
            let (a, b) = butterfly_inverse(v[2 * pair], v[2 * pair + 1], w, p);
            (v[2 * pair], v[2 * pair + 1]) = V::exchange(a, b, RUN);
        }
    }
}

/// Number of stages in the pass at a node of `len` words, chosen so that the walk ends at a block of eight vectors.
fn stages<V: Lanes>(len: usize) -> u32 {
    let log = len.ilog2();
    match log.saturating_sub((8 * V::N).ilog2()) {
        0 => log.min(3),
        1 => 1,
        2 | 4 => 2,
        _ => 3,
    }
}

/// The length, which the unchecked accesses below rely on: a shorter one walks the same tree less deep.
#[inline(always)]
fn length<V: Lanes>(table: &NttTable, x: &[u32]) -> usize {
    let len = x.len();
    let n = 1 << table.log_n();
    let fits = len.is_power_of_two() && len <= n && (V::N == 1 || len >= 8 * V::N);
    assert!(fits, "a transform of {len} words, degree {n}");
    len
}

/// The twiddles of the subtree of `C` leaves below node `k`, by their place in it.
#[inline(always)]
unsafe fn subtree_factors<V: Lanes, const C: usize>(twiddles: &Twiddles, k: usize) -> [Factor<V>; C] {
    // SAFETY: see `Factor`.
    unsafe {
        let mut w = [Factor::node(twiddles, k); C];
        for (place, w) in w.iter_mut().enumerate().skip(2) {
            let level = place.ilog2();
            *w = Factor::node(twiddles, (k << level) + place - (1 << level));
        }
        w
    }
}

/// `C` vectors that lie `stride` words apart.
#[inline(always)]
unsafe fn load_strided<V: Lanes, const C: usize>(x: *const u32, stride: usize) -> [V; C] {
    // SAFETY: see `Factor`.
    unsafe {
        let mut v = [V::load(x); C];
        for (i, v) in v.iter_mut().enumerate() {
            *v = V::load(x.add(i * stride));
        }
        v
    }
}

#[inline(always)]
unsafe fn store_strided<V: Lanes, const C: usize>(v: [V; C], x: *mut u32, stride: usize) {
    for (i, v) in v.iter().enumerate() {
        // SAFETY: see `Factor`.
        unsafe { v.store(x.add(i * stride)) }
    }
}

/// The stages of a subtree of `C` leaves on `C` vectors, from its root down.
#[inline(always)]
unsafe fn subtree<V: Lanes, const C: usize>(v: &mut [V; C], w: &[Factor<V>; C], p: Prime<V>) {
    // SAFETY: see `Factor`.
    unsafe {
        stage::<V, C, 1>(v, w, p);
        if C >= 4 {
            stage::<V, C, 2>(v, w, p);
        }
        if C >= 8 {
            stage::<V, C, 4>(v, w, p);
        }
    }
}

/// The inverse walk, from the leaves up; `last` holds the factors of the whole transform's last stage.
#[inline(always)]
unsafe fn subtree_inverse<V: Lanes, const C: usize>(
    v: &mut [V; C],
    w: &[Factor<V>; C],
    p: Prime<V>,
    last: Option<[Factor<V>; 2]>,
) {
    // SAFETY: see `Factor`.
    unsafe {
        if C >= 8 {
            stage_inverse::<V, C, 4>(v, w, p);
        }
        if C >= 4 {
            stage_inverse::<V, C, 2>(v, w, p);
        }
        let Some([sum, difference]) = last else {
            stage_inverse::<V, C, 1>(v, w, p);
            return;
        };
        for i in 0..C / 2 {
            let x = v[i];
            let y = v[i + C / 2];
            v[i] = p.below_q(sum.mul(x.add(y), p.q));
            v[i + C / 2] = p.below_q(difference.mul(x.add(p.two_q).sub(y), p.q));
        }
    }
}

/// One stage of `BLOCKS` blocks: a flat loop of constant length, since only such loops are sure to be unrolled.
#[inline(always)]
unsafe fn stage<V: Lanes, const C: usize, const BLOCKS: usize>(
    v: &mut [V; C],
    w: &[Factor<V>; C],
    p: Prime<V>,
) {
    for pair in 0..C / 2 {
        let (block, i, j) = place::<C>(BLOCKS, pair);
        // SAFETY: see `Factor`.
        (v[i], v[j]) = unsafe { butterfly(v[i], v[j], w[BLOCKS + block], p) };
    }
}

#[inline(always)]
unsafe fn stage_inverse<V: Lanes, const C: usize, const BLOCKS: usize>(
    v: &mut [V; C],
    w: &[Factor<V>; C],
    p: Prime<V>,
) {
    for pair in 0..C / 2 {
        let (block, i, j) = place::<C>(BLOCKS, pair);
        // SAFETY: see `Factor`.
        (v[i], v[j]) = unsafe { butterfly_inverse(v[i], v[j], w[BLOCKS + block], p) };
    }
}

/// Block and operands of a butterfly, the `pair`-th of a stage of `blocks` blocks on `C` vectors.
#[inline(always)]
fn place<const C: usize>(blocks: usize, pair: usize) -> (usize, usize, usize) {
    let half = C / 2 / blocks;
    let block = pair / half;
    let i = pair % half;
    (block, block * 2 * half + i, block * 2 * half + half + i)
}

/// Forward butterfly: `[0, 4q)` in and out.
#[inline(always)]
unsafe fn butterfly<V: Lanes>(x: V, y: V, w: Factor<V>, p: Prime<V>) -> (V, V) {
    // SAFETY: see `Factor`.
    unsafe {
        let x = p.below_2q(x);
        let t = w.mul(y, p.q);
        (x.add(t), x.add(p.two_q).sub(t))
    }
}

/// Inverse butterfly: `[0, 2q)` in and out.
#[inline(always)]
unsafe fn butterfly_inverse<V: Lanes>(x: V, y: V, w: Factor<V>, p: Prime<V>) -> (V, V) {
    // SAFETY: see `Factor`.
    unsafe { (p.below_2q(x.add(y)), w.mul(x.add(p.two_q).sub(y), p.q)) }
}

/// # Safety
/// As for every function here, see [`Factor`].
impl<V: Lanes> Factor<V> {
    #[inline(always)]
    unsafe fn node(twiddles: &Twiddles, node: usize) -> Self {
        // SAFETY: see the block's contract; nodes of a transform are below its degree.
        unsafe { Self::splat(*twiddles.w.get_unchecked(node), *twiddles.quotient.get_unchecked(node)) }
    }

    #[inline(always)]
    unsafe fn nodes(twiddles: &Twiddles, node: usize, run: usize) -> Self {
        // SAFETY: see the block's contract; `node + N / run` does not exceed the degree.
        unsafe {
            let even = V::spread(twiddles.quotient.as_ptr().add(node), run);
            Self { w: V::spread(twiddles.w.as_ptr().add(node), run), even, odd: even.odd() }
        }
    }
}
