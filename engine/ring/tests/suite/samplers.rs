//! Samplers: the words of ChaCha20 against its specification, and the distributions by their frequencies. Seeds are fixed, so
//! results never change between runs; thresholds are at about one in a million.
use pleura_ring::sample::{Label, Sampler, Seed};
use pleura_ring::*;
use std::sync::Arc;

const LABELS: [Label; 6] =
    [Label::Secret, Label::Ephemeral, Label::Error, Label::Public, Label::Dither, Label::Note];

#[test]
fn streams_are_chacha20_of_label_and_number() {
    let key: [u8; 32] = std::array::from_fn(|i| i as u8);
    // The block of RFC 8439, section 2.3.2.
    let words = chacha20_block(&key, 1, [0x0900_0000, 0x4a00_0000, 0]);
    assert_eq!(words[..4], [0xe4e7_f110, 0x1559_3bd1, 0x1fdd_0f50, 0xc471_20a3]);
    assert_eq!(words[12..], [0xd19c_12b5, 0xb94e_16de, 0xe883_d0cb, 0x4e3c_50a2]);

    for (label, place) in LABELS.into_iter().zip(1..) {
        for number in [0, 1, 77, u32::MAX] {
            let seed = Seed::from_bytes(&key);
            // More than one of the sampler's own blocks, 1024 words each.
            let count = 3000;
            let stream = || (0..).flat_map(|counter| chacha20_block(&key, counter, [place, number, 0]));

            let third = |x: u32| (u64::from(x) * 3) >> 32;
            let ternary: Vec<i8> = stream().take(count).map(|x| third(x) as i8 - 1).collect();
            assert_eq!(*seed.sampler(label, number).ternary(count), ternary);

            let heads = stream().map(|x| (x % (1 << 21)).count_ones() as i8).take(2 * count);
            let heads: Vec<i8> = heads.collect();
            let error: Vec<i8> = heads.chunks(2).map(|pair| pair[0] - pair[1]).collect();
            assert_eq!(*seed.sampler(label, number).error(RingKind::Cyclotomic, count), error);
        }
    }
}

/// Uniform words are those of a stream for each 1024 of a limb, whose nonce has the positions of its prime and of the 1024.
#[test]
fn uniform_words_are_those_of_their_streams() {
    let key: [u8; 32] = std::array::from_fn(|i| i as u8);
    let seed = Seed::from_bytes(&key);
    for log_n in [4, 9, 10, 12] {
        let ring = ring_of(log_n);
        let mut skipped = 0;
        for number in [0, 1, 77, u32::MAX] {
            let all = Poly::uniform(&ring, ring.limbs(), &seed, number);
            for (i, words) in all.words().chunks(ring.n()).enumerate() {
                let q = u64::from(ring.modulus(i).q());
                // Words of which each residue would get one more than it should, of all 2^32.
                let excess = (1u64 << 32) % q;
                for (chunk, words) in words.chunks(1024).enumerate() {
                    let nonce = [4, number, (i << 16 | chunk) as u32];
                    let stream =
                        (0..).flat_map(|counter| chacha20_block(&key, counter, nonce)).map(u64::from);
                    let products = stream.map(|x| x * q);
                    let kept =
                        products.inspect(|product| skipped += usize::from(product % (1 << 32) < excess));
                    let kept = kept.filter(|product| product % (1 << 32) >= excess);
                    let expected: Vec<_> =
                        kept.map(|product| (product >> 32) as u32).take(words.len()).collect();
                    assert_eq!(words, expected, "n = 2^{log_n}, number {number}, prime {i}, chunk {chunk}");
                }
            }
            for limbs in [Limbs::q(1), Limbs { q: 2, p: 1 }, Limbs::q(5)] {
                assert_eq!(Poly::uniform(&ring, limbs, &seed, number).words(), all.restrict(limbs).words());
            }
        }
        assert!(skipped > 0, "{log_n}");
    }
}

/// Each residue keeps as many words of a stream: all words below small powers of two are counted, by the rule for those below 2^32.
#[test]
fn each_residue_has_as_many_words() {
    for (bits, q) in [(8, 17u32), (8, 193), (10, 257), (10, 769), (12, 3329)] {
        let mut counts = vec![0; q as usize];
        for x in 0..1u32 << bits {
            let product = x * q;
            if product % (1 << bits) >= (1 << bits) % q {
                counts[(product >> bits) as usize] += 1;
            }
        }
        assert!(counts.iter().all(|&count| count == (1 << bits) / q), "{q}: {counts:?}");
    }
}

#[test]
fn streams_are_reproducible_and_differ() {
    let seeds = [[0; 32], [1; 32], std::array::from_fn(|i| u8::from(i == 31))].map(|b| Seed::from_bytes(&b));
    let draw = |sampler: &mut Sampler| sampler.error(RingKind::Cyclotomic, 64).to_vec();
    let mut seen = Vec::new();
    for seed in &seeds {
        assert_eq!(
            draw(&mut seed.sampler(Label::Error, 3)),
            draw(&mut seed.clone().sampler(Label::Error, 3))
        );
        for label in LABELS {
            for number in [0, 1, 2, 256, u32::MAX] {
                // A second draw continues the stream.
                let mut sampler = seed.sampler(label, number);
                seen.push(draw(&mut sampler));
                seen.push(draw(&mut sampler));
            }
        }
    }
    for (i, words) in seen.iter().enumerate() {
        assert!(!seen[..i].contains(words), "stream {i} repeats another");
    }
}

/// Fractions are the next two words, low one first, without the lowest twelve bits, and a derived seed is the first eight.
#[test]
fn fractions_and_derived_seeds_are_words_of_the_stream() {
    let key = [9; 32];
    let seed = Seed::from_bytes(&key);
    let words = || (0..).flat_map(|counter| chacha20_block(&key, counter, [5, 7, 0]));
    let mut sampler = seed.sampler(Label::Dither, 7);
    for pair in words().take(6000).collect::<Vec<_>>().chunks(2) {
        let bits = (u64::from(pair[1]) << 32 | u64::from(pair[0])) >> 12;
        let fraction = sampler.fraction();
        assert_eq!(fraction, (bits as f64 + 0.5) / (1u64 << 52) as f64);
        assert!(0.0 < fraction && fraction < 1.0);
    }
    let bytes: Vec<u8> = words().take(8).flat_map(u32::to_le_bytes).collect();
    assert_eq!(seed.derive(Label::Dither, 7).as_bytes().as_slice(), bytes);
    assert_ne!(seed.derive(Label::Dither, 8).as_bytes().as_slice(), bytes);
    assert_ne!(seed.derive(Label::Public, 7).as_bytes().as_slice(), bytes);
}

#[test]
fn seeds_of_the_system_differ() {
    let [a, b] = [Seed::from_os().unwrap(), Seed::from_os().unwrap()];
    assert_ne!(a.as_bytes(), b.as_bytes());
    assert_eq!(Seed::from_bytes(a.as_bytes()).as_bytes(), a.as_bytes());
}

#[test]
fn ternary_coefficients_are_uniform() {
    for number in 0..4 {
        let draws = Seed::from_bytes(&[5; 32]).sampler(Label::Secret, number).ternary(1 << 18);
        let counts = [-1, 0, 1].map(|value| draws.iter().filter(|&&x| x == value).count());
        assert_eq!(counts.iter().sum::<usize>(), draws.len());
        chi_square("ternary", &counts, &[1.0 / 3.0; 3]);
    }
}

#[test]
fn errors_are_centred_binomial() {
    // B(42, 1/2) - 21: binomial coefficients over 2^42.
    let mut probabilities = vec![0.5f64.powi(42)];
    for k in 1..=42 {
        probabilities.push(probabilities[k - 1] * (43 - k) as f64 / k as f64);
    }
    for number in 0..4 {
        let draws =
            Seed::from_bytes(&[6; 32]).sampler(Label::Error, number).error(RingKind::Cyclotomic, 1 << 20);
        let mut counts = vec![0; 43];
        for &x in draws.iter() {
            counts[usize::try_from(x + 21).unwrap()] += 1;
        }
        chi_square("binomial", &counts, &probabilities);

        let moment = |k| draws.iter().map(|&x| f64::from(x).powi(k)).sum::<f64>() / draws.len() as f64;
        let variance = moment(2);
        let kurtosis = moment(4) / moment(2).powi(2);
        // Within five standard errors.
        assert!(moment(1).abs() < 0.016, "mean {}", moment(1));
        assert!((variance - 10.5).abs() < 0.072, "variance {variance}");
        assert!(moment(3).abs() < 0.65, "third moment {}", moment(3));
        assert!((kurtosis - (3.0 - 2.0 / 42.0)).abs() < 0.024, "kurtosis {kurtosis}");
    }
}

#[test]
fn errors_of_conjugate_invariant_rings_are_spherical() {
    let n = 64;
    let draw = |kind, number| Seed::from_bytes(&[8; 32]).sampler(Label::Error, number).error(kind, n);
    let draws: Vec<_> = (0..1 << 14).map(|number| draw(RingKind::ConjugateInvariant, number)).collect();
    let variance = |i: usize| draws.iter().map(|e| f64::from(e[i]).powi(2)).sum::<f64>() / draws.len() as f64;
    // Within five standard errors: 1 is shorter than the rest of the basis by the root of two.
    assert!((variance(0) - 21.0).abs() < 1.16, "{}", variance(0));
    assert!((1..n).all(|i| (variance(i) - 10.5).abs() < 0.58));
    // All but the first are those of a cyclotomic ring.
    assert_eq!(draws[0][1..], draw(RingKind::Cyclotomic, 0)[1..]);
}

#[test]
fn uniform_words_are_uniform_modulo_every_prime() {
    let ring = ring_of(10);
    let seed = Seed::from_bytes(&[7; 32]);
    let primes: Vec<u32> = ring.moduli(ring.limbs()).map(Modulus::q).collect();
    let mut by_size = vec![vec![0; 256]; primes.len()];
    let mut by_low_bits = by_size.clone();
    let mut by_next = by_size.clone();
    for number in 0..64 {
        let poly = Poly::uniform(&ring, ring.limbs(), &seed, number);
        for (i, (words, &q)) in poly.words().chunks(ring.n()).zip(&primes).enumerate() {
            assert!(words.iter().all(|&x| x < q));
            let size = |x: u32, parts: u64| (u64::from(x) * parts / u64::from(q)) as usize;
            for &x in words {
                by_size[i][size(x, 256)] += 1;
                by_low_bits[i][x as usize % 256] += 1;
            }
            for pair in words.chunks(2) {
                by_next[i][size(pair[0], 16) * 16 + size(pair[1], 16)] += 1;
            }
        }
    }
    for (i, q) in primes.iter().enumerate() {
        for (what, counts) in [("size", &by_size), ("low bits", &by_low_bits), ("pairs", &by_next)] {
            chi_square(&format!("{what} modulo {q}"), &counts[i], &[1.0 / 256.0; 256]);
        }
    }
}

#[test]
fn uniform_words_never_reach_a_small_prime() {
    for q in [17u32, 41, 97, 193] {
        let ring = Arc::new(Ring::new(2, &[q], &[]).unwrap());
        let seed = Seed::from_bytes(&[8; 32]);
        let mut counts = vec![0; q as usize];
        for number in 0..10_000 {
            for &word in Poly::uniform(&ring, ring.limbs(), &seed, number).words() {
                counts[word as usize] += 1;
            }
        }
        chi_square(&format!("modulo {q}"), &counts, &vec![1.0 / f64::from(q); q as usize]);
    }
}

/// Primes of many sizes, among them one just above a sixth of `2^32`, where a sixth of the words is skipped.
fn ring_of(log_n: u32) -> Arc<Ring> {
    let mut primes = Vec::new();
    for bits in [25.0, 20.0, 22.5, 25.01, 29.42, 29.9, 30.0] {
        primes.extend(primes_below(bits, 1 << 12, 1, &primes).unwrap());
    }
    assert!(primes.iter().any(|q| (1u64 << 32) % u64::from(*q) > 1 << 28));
    Arc::new(Ring::new(log_n, &primes[..5], &primes[5..]).unwrap())
}

/// Pearson's statistic against its quantile at about one in a million (Wilson and Hilferty 1931), with rare values
/// taken together.
fn chi_square(what: &str, counts: &[usize], probabilities: &[f64]) {
    let total = counts.iter().sum::<usize>() as f64;
    let mut statistic = 0.0;
    let mut cells = 0;
    let mut rare = (0.0, 0.0);
    for (&count, probability) in counts.iter().zip(probabilities) {
        let expected = total * probability;
        if expected < 20.0 {
            rare = (rare.0 + count as f64, rare.1 + expected);
        } else {
            statistic += (count as f64 - expected).powi(2) / expected;
            cells += 1;
        }
    }
    if rare.1 > 5.0 {
        statistic += (rare.0 - rare.1).powi(2) / rare.1;
        cells += 1;
    }
    let freedom = f64::from(cells - 1);
    let quantile = freedom * (1.0 - 2.0 / (9.0 * freedom) + 4.75 * (2.0 / (9.0 * freedom)).sqrt()).powi(3);
    assert!(
        statistic < quantile,
        "{what}: {statistic:.1} with {freedom} degrees of freedom, limit {quantile:.1}"
    );
    // Nor too good to be true.
    let lowest =
        freedom * (1.0 - 2.0 / (9.0 * freedom) - 4.75 * (2.0 / (9.0 * freedom)).sqrt()).max(0.0).powi(3);
    assert!(
        statistic >= lowest,
        "{what}: {statistic:.1} with {freedom} degrees of freedom, limit {lowest:.1}"
    );
}

/// The block function of RFC 8439, section 2.3.
fn chacha20_block(key: &[u8; 32], counter: u32, nonce: [u32; 3]) -> [u32; 16] {
    let mut state = [0; 16];
    state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    for (word, bytes) in state[4..12].iter_mut().zip(key.chunks(4)) {
        *word = u32::from_le_bytes(bytes.try_into().unwrap());
    }
    state[12] = counter;
    state[13..].copy_from_slice(&nonce);
    let start = state;
    for round in 0..20 {
        // Columns, then diagonals.
        let shift = if round % 2 == 0 { [0, 0, 0] } else { [1, 2, 3] };
        for i in 0..4 {
            let [a, b, c, d] = [i, 4 + (i + shift[0]) % 4, 8 + (i + shift[1]) % 4, 12 + (i + shift[2]) % 4];
            for (x, y, z, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
                state[x] = u32::wrapping_add(state[x], state[y]);
                state[z] = (state[z] ^ state[x]).rotate_left(bits);
            }
        }
    }
    std::array::from_fn(|i| start[i].wrapping_add(state[i]))
}
