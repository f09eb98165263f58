//! Sums of the largest words that there are, at every length around which accumulators are folded. With all words
//! `q - 1`, that is -1, and primes just below `2^30`, each sum has a closed form.
use pleura_ring::*;
use std::sync::Arc;

/// One more than two rounds of sixteen, twice over.
const MAX_TERMS: usize = 66;

#[test]
fn sums_of_products_of_the_largest_words() {
    let ring = ring(3, 1);
    let limbs = Limbs::q(3);
    for cpu in cpus(&ring) {
        let x = cpu.upload(limbs, 1, &largest(&ring, limbs, 1)).unwrap();
        let terms: Vec<_> =
            (0..=MAX_TERMS).flat_map(|out| (0..out).map(move |_| Term { out, a: 0, b: 0 })).collect();
        let sums = cpu.mul_accumulate(x.view(), x.view(), &terms, MAX_TERMS + 1, limbs);
        for count in 0..=MAX_TERMS {
            let expected = vec![count as u32; ring.words(limbs, 1)];
            assert_eq!(
                cpu.download(sums.slice(count, 1)).wait().unwrap(),
                expected,
                "{}: {count} terms",
                cpu.name()
            );
        }
    }
}

#[test]
fn gadget_products_of_the_largest_words() {
    let ring = ring(35, 1);
    for cpu in cpus(&ring) {
        for count in (1..=18).chain([28, 29, 30, 31, 32, 33, 34, 35]) {
            let gadget = Gadget { limbs: Limbs { q: count, p: 1 }, digit_limbs: 1 };
            let digits = cpu.upload(gadget.limbs, count, &largest(&ring, gadget.limbs, count)).unwrap();
            let key = cpu.upload(gadget.limbs, 2 * count, &largest(&ring, gadget.limbs, 2 * count)).unwrap();
            for (parts, over_q) in [(2, true), (2, false), (3, true), (3, false)] {
                let x_limbs = if over_q { Limbs::q(count) } else { gadget.limbs };
                let x = cpu.upload(x_limbs, parts, &largest(&ring, x_limbs, parts)).unwrap();
                for terms in 1..=3 {
                    let galois = ring.conjugation();
                    let term = || GadgetTerm { input: 0, output: 0, key: Some(key.view()), galois };
                    let terms: Vec<_> = (0..terms).map(|_| term()).collect();
                    let digits = Digits::Extended(digits.view());
                    let terms = &terms[..];
                    let x = x.view();
                    let first_switched = 0;
                    let batch = 1;
                    let outputs = 1;
                    let product = GadgetProduct { gadget, x, digits, first_switched, terms, batch, outputs };
                    let out = cpu.gadget_product(&product);
                    let out = cpu.download(out.view()).wait().unwrap();
                    for (i, (words, m)) in out
                        .chunks(ring.n())
                        .zip(ring.moduli(gadget.limbs).chain(ring.moduli(gadget.limbs)))
                        .enumerate()
                    {
                        let part = i / (count + 1);
                        let limb = i % (count + 1);
                        let addend = match (part == 0 || parts == 3, over_q) {
                            (false, _) => 0,
                            (true, false) => m.neg(1),
                            (true, true) if limb < count => m.neg(m.reduce(ring.modulus(35).q().into())),
                            (true, true) => 0,
                        };
                        let expected = m.mul(terms.len() as u32, m.add(m.reduce(count as u64), addend));
                        assert!(
                            words.iter().all(|&word| word == expected),
                            "{}: {count} digits, {parts} parts, over q: {over_q}, {} terms",
                            cpu.name(),
                            terms.len()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn transforms_of_the_largest_words_at_every_degree() {
    for (log_n, kind) in (2..=17).flat_map(|log_n| RingKind::ALL.map(|kind| (log_n, kind))) {
        let primes = primes_below(30.0, 2 << log_n, 1, &[]).unwrap();
        let ring = Arc::new(Ring::of_kind(kind, log_n, &primes, &[]).unwrap());
        let limbs = ring.limbs();
        let n = ring.n();
        // The transform of -1 (1 + X + ... ) is -2 / (1 - x) at each point x of a cyclotomic ring, as x^n = -1.
        let m = ring.modulus(0);
        let psi = ring.table(0).psi();
        let expected: Vec<u32> = (0..n)
            .map(|i| {
                let e = ((ntt::bit_reverse(i, log_n) << kind.log_spacing()) + 1) as u64;
                let point = m.pow(psi, e);
                let sum = match kind {
                    RingKind::Cyclotomic => m.mul(2, m.inv(m.sub(1, point))),
                    // x^(1-n) + ... + x^(n-1), with x^n = i.
                    RingKind::ConjugateInvariant => {
                        let i = m.pow(point, n as u64);
                        let last = m.mul(i, m.inv(point));
                        let ends = m.sub(m.inv(last), m.mul(last, point));
                        m.mul(ends, m.inv(m.sub(1, point)))
                    }
                };
                m.neg(sum)
            })
            .collect();
        for cpu in cpus(&ring) {
            let x = cpu.ntt(cpu.upload(limbs, 1, &largest(&ring, limbs, 1)).unwrap());
            assert!(cpu.download(x.view()).wait().unwrap() == expected, "{} n = 2^{log_n}", cpu.name());
            assert!(
                cpu.download(cpu.intt(x).view()).wait().unwrap() == largest(&ring, limbs, 1),
                "{} n = 2^{log_n}",
                cpu.name()
            );
            // All values -1: the constant -1.
            let constant = cpu.intt(cpu.upload(limbs, 1, &largest(&ring, limbs, 1)).unwrap());
            let constant = cpu.download(constant.view()).wait().unwrap();
            assert!(
                constant[0] == m.q() - 1 && constant[1..].iter().all(|&c| c == 0),
                "{} n = 2^{log_n}",
                cpu.name()
            );
        }
    }
}

fn ring(q: usize, p: usize) -> Arc<Ring> {
    // Seven is the least log_n at which every instruction set runs on its own vectors.
    let primes = primes_below(30.0, 1 << 7, q + p, &[]).unwrap();
    assert!(primes.iter().all(|&q| q > (1 << 30) - (1 << 18)));
    Arc::new(Ring::new(7, &primes[..q], &primes[q..]).unwrap())
}

fn cpus(ring: &Arc<Ring>) -> impl Iterator<Item = Cpu> {
    crate::support::simds().into_iter().map(|simd| Cpu::with(ring.clone(), simd, 1).unwrap())
}

fn largest(ring: &Ring, limbs: Limbs, polys: usize) -> Vec<u32> {
    let poly: Vec<u32> = ring.moduli(limbs).flat_map(|m| std::iter::repeat_n(m.q() - 1, ring.n())).collect();
    poly.repeat(polys)
}
