//! Gadget products against their formula, and what key switching is for: `out_0 + out_1 s = P (x_0 + x_1 s')`.
use num_bigint::BigInt;
use pleura_ring::ntt::bit_reverse;
use pleura_ring::sample::{Label, Seed};
use pleura_ring::*;
use proptest::prelude::*;
use std::sync::Arc;

/// A gadget product's shape; words come from `seed`.
#[derive(Clone, Debug)]
struct Case {
    kind: RingKind,
    log_n: u32,
    gadget: Gadget,
    parts: usize,
    over_q: bool,
    fresh: bool,
    batch: usize,
    inputs: usize,
    outputs: usize,
    first_switched: usize,
    spare: usize,
    /// Input, output, whether there is a key (unless the input comes before first_switched), exponent.
    terms: Vec<(usize, usize, bool, u32)>,
    seed: u8,
}

prop_compose! {
    fn cases()(
        (kind, log_n, seed) in (kinds(), prop_oneof![Just(3), Just(6), Just(7)], any::<u8>()),
        (q, p, digit_limbs) in (1usize..=7, 1usize..=3, 1usize..=3),
        (three, over_q, fresh) in any::<(bool, bool, bool)>(),
        (batch, inputs, outputs, first_switched, spare) in (1usize..=2, 1usize..=3, 1usize..=3, 0usize..=3, 0usize..=1),
        terms in prop::collection::vec(any::<(usize, usize, bool, u32)>(), 1..=6),
    ) -> Case {
        let terms = terms.into_iter().enumerate();
        let terms = terms.map(|(i, (input, output, key, exponent))| {
            // The last input must be named: it says how many there are.
            let input = if i == 0 { inputs - 1 } else { input % inputs };
            (input, output % outputs, key && input >= first_switched, exponent)
        });
        let gadget = Gadget { limbs: Limbs { q, p }, digit_limbs };
        let parts = if three { 3 } else { 2 };
        let first_switched = first_switched.min(inputs);
        Case { kind, log_n, gadget, parts, over_q, fresh, batch, inputs, outputs, first_switched, spare, terms: terms.collect(), seed }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_gadget_product_is_its_formula(case in cases()) {
        let Case { gadget, parts, batch, inputs, outputs, first_switched, .. } = case;
        let ring = ring(case.kind, case.log_n, 8, 4);
        let limbs = gadget.limbs;
        let base = Limbs::q(gadget.limbs.q);
        let key_limbs = Limbs { q: limbs.q + case.spare, p: limbs.p + case.spare };
        let words = |limbs, polys, number: u32| -> Vec<u32> {
            let seed = Seed::from_bytes(&[case.seed; 32]);
            let first = number << 16;
            (0..polys).flat_map(|i| Poly::uniform(&ring, limbs, &seed, first + i as u32).words().to_vec()).collect()
        };
        let x_limbs = if case.over_q { base } else { limbs };
        let x_polys = parts * inputs * batch;
        let switched = (inputs - first_switched) * batch;
        let x = words(x_limbs, x_polys, 0);
        let last = words(base, switched, 1);
        let key_polys = 2 * (gadget.digits() + case.spare);
        let keys: Vec<_> = (2..).zip(&case.terms).map(|(number, t)| t.2.then(|| words(key_limbs, key_polys, number))).collect();

        for simd in crate::support::simds() {
            let cpu = Cpu::with(ring.clone(), simd, 1).unwrap();
            let last = cpu.upload(base, switched, &last).unwrap();
            let digits = cpu.mod_up(last.view(), gadget);
            let digit_words = cpu.download(digits.view()).wait().unwrap();
            let uploaded: Vec<_> = keys.iter().map(|k| k.as_ref().map(|k| cpu.upload(key_limbs, key_polys, k).unwrap())).collect();
            let mut terms = Vec::new();
            for (&(input, output, _, exponent), key) in case.terms.iter().zip(&uploaded) {
                let galois = any_galois(&ring, exponent);
                terms.push(GadgetTerm { input, output, key: key.as_ref().map(Batch::view), galois });
            }
            let x_batch = cpu.upload(x_limbs, x_polys, &x).unwrap();
            let choice = if case.fresh { Digits::Fresh(last.view()) } else { Digits::Extended(digits.view()) };
            let x_view = x_batch.view();
            let product = GadgetProduct { gadget, x: x_view, digits: choice, first_switched, terms: &terms, batch, outputs };
            let got = cpu.gadget_product(&product);
            let steps = got.polys() / 2;
            let sums: Vec<_> = (0..2 * steps).map(|i| Term { out: i % 3, a: i * i % steps, b: i % steps }).collect();
            let second = sums.iter().map(|t| Term { out: 4 + t.out, a: t.a, b: steps + t.b });
            let both: Vec<_> = sums.iter().copied().chain(second).collect();
            let direct = cpu.mul_accumulate(got.view(), got.view(), &both, 8, limbs);
            let fused = cpu.baby_step_sums(&product, Diagonals::Polys(got.view()), &sums, 4);
            prop_assert!(cpu.download(fused.view()).wait().unwrap() == cpu.download(direct.view()).wait().unwrap());
            let got = cpu.download(got.view()).wait().unwrap();

            let word = |words: &[u32], of: Limbs, poly: usize, limb: usize, c: usize| {
                words[(poly * of.count() + of.position(limbs, limb)) * ring.n() + c]
            };
            let mut expected = Vec::new();
            for (part, output, item) in triples(2, outputs, batch) {
                for (limb, m) in ring.moduli(limbs).enumerate() {
                    let special = ring.moduli(Limbs { q: 0, p: limbs.p }).fold(1, |acc, p| m.mul(acc, p.q()));
                    for c in 0..ring.n() {
                        let mut sum = 0;
                        for (&(input, _, keyed, g), key) in case.terms.iter().zip(&keys).filter(|(t, _)| t.1 == output) {
                            let from = source(&ring, c, any_galois(&ring, g).exponent());
                            if part == 0 || !keyed || parts == 3 {
                                let poly = (part * inputs + input) * batch + item;
                                let addend = match (case.over_q, limb < limbs.q) {
                                    (true, true) => m.mul(special, x[(poly * limbs.q + limb) * ring.n() + from]),
                                    (true, false) => 0,
                                    (false, _) => word(&x, limbs, poly, limb, from),
                                };
                                sum = m.add(sum, addend);
                            }
                            for d in 0..key.as_ref().map_or(0, |_| gadget.digits()) {
                                let poly = ((input - first_switched) * batch + item) * gadget.digits() + d;
                                let digit = word(&digit_words, limbs, poly, limb, from);
                                let key = word(key.as_ref().unwrap(), key_limbs, 2 * d + part, limb, c);
                                sum = m.add(sum, m.mul(digit, key));
                            }
                        }
                        expected.push(sum);
                    }
                }
            }
            prop_assert!(got == expected, "{}: {case:?}", cpu.name());
        }
    }

    #[test]
    fn a_key_switch_moves_to_another_secret(
        kind in kinds(), seed: u8, q in 1usize..=7, p in 1usize..=3, digit_limbs in 1usize..=3, g: u32, log_n in prop_oneof![Just(4), Just(7)],
    ) {
        // Digits below the product of the special primes, as parameters have them, keep the error small.
        let ring = ring(kind, log_n, 7, 3);
        let digit_limbs = digit_limbs.min(p);
        let gadget = Gadget { limbs: Limbs { q, p }, digit_limbs };
        let base = Limbs::q(q);
        let n = ring.n();
        let galois = any_galois(&ring, g);
        let seed = Seed::from_bytes(&[seed; 32]);
        let secret = Poly::from_small(&ring, ring.limbs(), &seed.sampler(Label::Secret, 0).ternary(n)).into_ntt();
        let (key, key_polys) = noiseless_key(&ring, gadget, p, &secret, &secret.automorphism(galois), &seed);
        let x = [0, 1].map(|i| Poly::uniform(&ring, base, &seed, 100 + i));
        let words = [x[0].words(), x[1].words()].concat();
        // What a keyless secret sees: s(x_0 + x_1 secret).
        let mut plain = x[1].mul(&secret);
        plain.add_assign(&x[0]);
        let plain = plain.automorphism(galois);

        for simd in crate::support::simds() {
            let cpu = Cpu::with(ring.clone(), simd, 1).unwrap();
            let x = cpu.upload(base, 2, &words).unwrap();
            let key = cpu.upload(ring.limbs(), key_polys, &key).unwrap();
            let terms = [GadgetTerm { input: 0, output: 0, key: Some(key.view()), galois }];
            let digits = Digits::Fresh(x.slice(1, 1));
            let terms = &terms[..];
            let product = GadgetProduct { gadget, x: x.view(), digits, first_switched: 0, terms, batch: 1, outputs: 1 };
            let out = cpu.gadget_product(&product);
            let seen = |x: &Batch<Cpu, Ntt>| {
                let part = |i| Poly::from_words(&ring, x.limbs(), cpu.download(x.slice(i, 1)).wait().unwrap()).unwrap();
                let mut sum = part(1);
                sum = sum.mul(&secret);
                sum.add_assign(&part(0));
                sum
            };
            // P times the plain value, exactly: sum_d digit_d g_d = x_1 modulo the ciphertext primes, and the gadget
            // vector vanishes modulo the special ones.
            let phase = seen(&out);
            for (limb, m) in ring.moduli(gadget.limbs).enumerate() {
                let product = ring.moduli(Limbs { q: 0, p }).fold(1, |acc, p| m.mul(acc, p.q()));
                for c in 0..n {
                    let expected = if limb < q { m.mul(product, plain.words()[limb * n + c]) } else { 0 };
                    prop_assert_eq!(phase.words()[limb * n + c], expected);
                }
            }
            // Divided by P, each part is off by a half and a little, times 1 and the secret.
            let mut error = seen(&cpu.rescale(out.view(), base));
            error.sub_assign(&plain);
            let bound = BigInt::from(kind.root_order(n) / 4 + 1);
            for value in centred(&ring, base, error.into_coeff().words()) {
                prop_assert!(-&bound <= value && value <= bound, "{value}");
            }
        }
    }
}

/// For each digit `(-a s + P g_d t, a)`, over all limbs, with `P` of the first `p` special primes and `g_d` the unit
/// modulo the primes of the digit.
fn noiseless_key(
    ring: &Arc<Ring>,
    gadget: Gadget,
    p: usize,
    s: &Poly<Ntt>,
    t: &Poly<Ntt>,
    seed: &Seed,
) -> (Vec<u32>, usize) {
    let mut words = Vec::new();
    for d in 0..gadget.digits() {
        let a = Poly::uniform(ring, ring.limbs(), seed, d as u32);
        let mut shifted = t.clone();
        for (index, limb) in shifted.limbs_mut() {
            let m = ring.modulus(index);
            let special = ring.moduli(Limbs { q: 0, p }).fold(1, |acc, p| m.mul(acc, p.q()));
            let factor = if gadget.digit(d).contains(&index) { special } else { 0 };
            limb.iter_mut().for_each(|word| *word = m.mul(*word, factor));
        }
        shifted.sub_assign(&a.mul(s));
        words.extend_from_slice(shifted.words());
        words.extend_from_slice(a.words());
    }
    (words, 2 * gadget.digits())
}

/// The coefficients of a poly as integers, nearest to zero.
fn centred(ring: &Ring, limbs: Limbs, words: &[u32]) -> Vec<BigInt> {
    let product: BigInt = ring.moduli(limbs).map(|m| BigInt::from(m.q())).product();
    (0..ring.n())
        .map(|c| {
            let terms = ring.moduli(limbs).enumerate().map(|(limb, m)| {
                let others = &product / m.q();
                let inverse = m.inv((&others % m.q()).try_into().unwrap());
                others * m.mul(inverse, words[limb * ring.n() + c])
            });
            let low = terms.sum::<BigInt>() % &product;
            if &low * 2 > product { low - &product } else { low }
        })
        .collect()
}

/// Where `X -> X^g` takes word `i` of a transformed limb from, by the exponents of `psi`.
fn source(ring: &Ring, i: usize, g: u32) -> usize {
    let spacing = 1 << ring.kind().log_spacing();
    let exponent = (spacing * bit_reverse(i, ring.log_n()) + 1) * g as usize % (spacing * ring.n());
    bit_reverse(exponent / spacing, ring.log_n())
}

/// An automorphism for any number.
fn any_galois(ring: &Ring, number: u32) -> GaloisElement {
    let order = ring.kind().root_order(ring.n()) as u32;
    let lowest_bits = if ring.kind() == RingKind::Cyclotomic { number | 1 } else { number & !3 | 1 };
    ring.galois(lowest_bits % order).unwrap()
}

fn kinds() -> impl Strategy<Value = RingKind> {
    prop_oneof![Just(RingKind::Cyclotomic), Just(RingKind::ConjugateInvariant)]
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / (b * c), i / c % b, i % c))
}

/// Ciphertext primes of 26 to 29 bits, special primes of 30.
fn ring(kind: RingKind, log_n: u32, q: usize, p: usize) -> Arc<Ring> {
    let mut primes = Vec::new();
    for i in 0..q {
        primes.extend(
            primes_below(26.0 + i as f64 * 0.4, kind.root_order(1 << log_n) / 2, 1, &primes).unwrap(),
        );
    }
    let special = primes_below(30.0, kind.root_order(1 << log_n) / 2, p, &primes).unwrap();
    Arc::new(Ring::of_kind(kind, log_n, &primes, &special).unwrap())
}
