//! The tables of a ring that every kernel can read, its primes and their twiddles, and factors in the form that kernels read.

use pleura_ring::{NttTable, Ring, Shoup};
use pleura_shaders::{Factor, InverseLimb, LimbEntry, Prime};

/// Each prime of the ring, in order.
pub(crate) fn primes(ring: &Ring) -> Vec<Prime> {
    let n = ring.n();
    let count = ring.limbs().count();
    ring.moduli(ring.limbs())
        .enumerate()
        .map(|(i, modulus)| Prime {
            q: modulus.q(),
            q_inv: modulus.q_inv(),
            r: factor(modulus.r()),
            one_quotient: modulus.shoup(1).quotient,
            offset: modulus.reduce(1 << 31),
            forward: (i * n) as u32,
            inverse: ((count + i) * n) as u32,
            fold: ring.table(i).fold().map_or(Factor::default(), factor),
        })
        .collect()
}

/// The factors of each prime's forward transform, then those of each prime's inverse transform.
pub(crate) fn twiddles(ring: &Ring) -> Vec<Factor> {
    let tables: Vec<&NttTable> = ring.indices(ring.limbs()).map(|i| ring.table(i)).collect();
    let forward = tables.iter().map(|table| table.forward());
    let inverse = tables.iter().map(|table| table.inverse());
    forward
        .chain(inverse)
        .flat_map(|twiddles| twiddles.w.iter().zip(&twiddles.quotient))
        .map(|(&w, &quotient)| Factor { w, quotient })
        .collect()
}

/// A factor of the ring as kernels read it.
pub(crate) fn factor(shoup: Shoup) -> Factor {
    Factor { w: shoup.w, quotient: shoup.quotient }
}

/// A limb of an inverse transform whose result is multiplied by `scale`.
pub(crate) fn inverse_limb(ring: &Ring, base: LimbEntry, scale: u32) -> InverseLimb {
    let [sum, difference] = ring.table(base.prime as usize).last_stage(scale);
    InverseLimb { base, sum_factor: factor(sum), difference_factor: factor(difference) }
}
