//! Residues as bytes: each takes as many bits as its prime has, lowest first.

use crate::Params;
use crate::wire_error::WireError;
use pleura_ring::{Limbs, Ntt, Poly};

/// Residues that fill whole words, whatever their width.
const BLOCK: usize = 32;

/// Length of a polynomial in bytes. At most `2^17` coefficients, some 200 limbs and as many digits, and `2^17` keys: sums of these
/// fit 64 bits.
pub(crate) fn poly_len(params: &Params, limbs: Limbs) -> u64 {
    params.ring().moduli(limbs).map(|m| limb_len(params, m.q())).sum()
}

/// Appends a polynomial.
pub(crate) fn put_poly(out: &mut Vec<u8>, params: &Params, poly: &Poly<Ntt>) {
    for (limb, modulus) in poly.words().chunks(params.n()).zip(params.ring().moduli(poly.limbs())) {
        let width = bits(modulus.q());
        let mut pending = 0;
        let mut held = 0;
        for &word in limb {
            pending |= u64::from(word) << held;
            held += width;
            if held >= u32::BITS {
                out.extend((pending as u32).to_le_bytes());
                pending >>= u32::BITS;
                held -= u32::BITS;
            }
        }
    }
}

/// Reads limb `index` of a polynomial.
///
/// # Errors
/// [`WireError::Length`], [`WireError::Residue`]; the limb has any words then.
pub(crate) fn unpack(
    params: &Params,
    limbs: Limbs,
    bytes: &[u8],
    index: usize,
    limb: &mut [u32],
) -> Result<(), WireError> {
    let expected = poly_len(params, limbs);
    let too_short = WireError::Length { expected, got: bytes.len() as u64 };
    let mut primes = params.ring().moduli(limbs).map(|m| m.q());
    let start = primes.by_ref().take(index).map(|prime| limb_len(params, prime)).sum::<u64>() as usize;
    let Some(prime) = primes.next() else { return Err(too_short) };
    let end = start + limb_len(params, prime) as usize;
    let words = bytes.get(start..end).ok_or(too_short)?.as_chunks().0;
    match bits(prime) {
        20 => unpack_blocks::<20>(words, limb),
        21 => unpack_blocks::<21>(words, limb),
        22 => unpack_blocks::<22>(words, limb),
        23 => unpack_blocks::<23>(words, limb),
        24 => unpack_blocks::<24>(words, limb),
        25 => unpack_blocks::<25>(words, limb),
        26 => unpack_blocks::<26>(words, limb),
        27 => unpack_blocks::<27>(words, limb),
        28 => unpack_blocks::<28>(words, limb),
        29 => unpack_blocks::<29>(words, limb),
        30 => unpack_blocks::<30>(words, limb),
        width => unpack_any(words, width, limb),
    }
    // Residues have 30 bits at most: the difference has the top bit where one is too large.
    let beyond = limb.iter().fold(0, |beyond, &value| beyond | (prime - 1).wrapping_sub(value));
    if beyond >> (u32::BITS - 1) == 0 {
        return Ok(());
    }
    Err(WireError::Residue { prime, value: limb.iter().copied().fold(prime, u32::max) })
}

fn bits(prime: u32) -> u32 {
    u32::BITS - prime.leading_zeros()
}

fn limb_len(params: &Params, prime: u32) -> u64 {
    params.n() as u64 / 8 * u64::from(bits(prime))
}

/// Residues of a width that the compiler knows: all shifts are constants.
#[expect(clippy::indexing_slicing, reason = "a residue of a block begins in one of its words")]
fn unpack_blocks<const WIDTH: usize>(words: &[[u8; 4]], limb: &mut [u32]) {
    let mask = (1 << WIDTH) - 1;
    for (words, out) in words.as_chunks::<WIDTH>().0.iter().zip(limb.as_chunks_mut::<BLOCK>().0) {
        let words = words.map(u32::from_le_bytes);
        for (i, residue) in out.iter_mut().enumerate() {
            let bit = i * WIDTH;
            let word = bit / 32;
            // The last residue ends with the block.
            let next = (word + 1).min(WIDTH - 1);
            let pair = u64::from(words[word]) | u64::from(words[next]) << 32;
            *residue = (pair >> (bit % 32)) as u32 & mask;
        }
    }
}

fn unpack_any(words: &[[u8; 4]], width: u32, limb: &mut [u32]) {
    let mut words = words.iter().map(|&word| u32::from_le_bytes(word));
    let mut pending = 0u64;
    let mut held = 0;
    for residue in limb {
        if held < width
            && let Some(word) = words.next()
        {
            pending |= u64::from(word) << held;
            held += u32::BITS;
        }
        *residue = pending as u32 & ((1 << width) - 1);
        pending >>= width;
        held -= width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_widths_are_unpacked_as_any_is() {
        let words: Vec<[u8; 4]> = (0..90u32).map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        type Unpack = fn(&[[u8; 4]], &mut [u32]);
        let known: [Unpack; 4] =
            [unpack_blocks::<20>, unpack_blocks::<25>, unpack_blocks::<29>, unpack_blocks::<30>];
        for (width, unpack) in [20, 25, 29, 30].into_iter().zip(known) {
            let mut expected = [0; 3 * BLOCK];
            let mut got = [0; 3 * BLOCK];
            unpack_any(&words, width, &mut expected);
            unpack(&words, &mut got);
            assert_eq!(got, expected, "{width} bits");
        }
    }
}
