//! Every operation against its definition, computed without transforms, without lazy words and, where residues are
//! converted, with big integers.
use num_bigint::BigInt;
use pleura_ring::ntt::bit_reverse;
use pleura_ring::sample::Seed;
use pleura_ring::*;
use proptest::prelude::*;
use std::sync::Arc;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn products_are_those_of_the_schoolbook(ring in rings(2..=8, 1..=3), seed: u8) {
        let limbs = ring.limbs();
        let [a, b] = [0, 1].map(|i| uniform(&ring, limbs, seed, i));
        let expected = per_limb(&ring, limbs, |modulus, limb| schoolbook(ring.kind(), modulus, at(&a, &ring, limb), at(&b, &ring, limb)));
        for cpu in cpus(&ring) {
            let x = cpu.ntt(cpu.upload(limbs, 2, &[a.clone(), b.clone()].concat()).unwrap());
            let xy = cpu.mul_accumulate(x.slice(0, 1), x.slice(1, 1), &[Term { out: 0, a: 0, b: 0 }], 1, limbs);
            prop_assert_eq!(cpu.download(cpu.intt(xy).view()).wait().unwrap(), expected.clone());
        }
        let [a, b] = [a, b].map(|words| Poly::<Coeff>::from_words(&ring, limbs, words).unwrap().into_ntt());
        let product = a.mul(&b).into_coeff();
        prop_assert_eq!(product.words(), expected);
    }

    #[test]
    fn transforms_are_values_at_powers_of_psi(ring in rings(2..=8, 1..=3), seed: u8) {
        let limbs = ring.limbs();
        let a = uniform(&ring, limbs, seed, 0);
        let expected = per_limb(&ring, limbs, |modulus, limb| {
            let powers = powers_of_psi(&ring, limb);
            let a = at(&a, &ring, limb);
            (0..ring.n()).map(|i| {
                let point = exponent(ring.kind(), ring.log_n(), i);
                let terms = a.iter().enumerate().flat_map(|(j, &c)| {
                    let exponents = exponents(ring.kind(), ring.n(), j).into_iter().flatten();
                    exponents.map(move |e| (e * point, c))
                });
                terms.fold(0, |sum, (e, c)| modulus.add(sum, modulus.mul(c, powers[e % powers.len()])))
            }).collect()
        });
        for cpu in cpus(&ring) {
            let x = cpu.ntt(cpu.upload(limbs, 1, &a).unwrap());
            prop_assert_eq!(cpu.download(x.view()).wait().unwrap(), expected.clone());
            prop_assert_eq!(cpu.download(cpu.intt(x).view()).wait().unwrap(), a.clone());
        }
    }

    #[test]
    fn arithmetic_is_that_of_each_word(ring in rings(2..=12, 1..=3), seed: u8, scalar: u32) {
        let limbs = ring.limbs();
        let [mut a, mut b] = [0, 1].map(|i| uniform(&ring, limbs, seed, i));
        for (limb, m) in ring.moduli(limbs).enumerate() {
            let start = limb * ring.n();
            a[start..start + 4].copy_from_slice(&[0, 0, m.q() - 1, m.q() - 1]);
            b[start..start + 4].copy_from_slice(&[0, m.q() - 1, 0, m.q() - 1]);
        }
        let naive = |f: &dyn Fn(u64, u64, u64) -> u64| {
            per_limb(&ring, limbs, |m, limb| {
                let words = at(&a, &ring, limb).iter().zip(at(&b, &ring, limb));
                words.map(|(&x, &y)| (f(x.into(), y.into(), m.q().into()) % u64::from(m.q())) as u32).collect()
            })
        };
        let scalars: Vec<u32> = ring.moduli(limbs).map(|m| scalar % m.q()).collect();
        for cpu in cpus(&ring) {
            let y = cpu.upload::<Ntt>(limbs, 1, &b).unwrap();
            let changed = |f: &dyn Fn(&mut Batch<Cpu, Ntt>)| {
                let mut x = cpu.upload(limbs, 1, &a).unwrap();
                f(&mut x);
                cpu.download(x.view()).wait().unwrap()
            };
            prop_assert_eq!(changed(&|x| cpu.add_assign(x, 0, 1, y.view())), naive(&|x, y, _| x + y));
            prop_assert_eq!(changed(&|x| cpu.sub_assign(x, 0, 1, y.view())), naive(&|x, y, q| x + q - y));
            prop_assert_eq!(changed(&|x| cpu.neg_assign(x)), naive(&|x, _, q| q - x));
            let scaled = naive(&|x, _, q| x * (u64::from(scalar) % q));
            prop_assert_eq!(changed(&|x| *x = cpu.mul_scalar(x.view(), &scalars)), scaled);
            let x = cpu.upload::<Ntt>(limbs, 1, &a).unwrap();
            let product = cpu.mul_accumulate(x.view(), y.view(), &[Term { out: 0, a: 0, b: 0 }], 1, limbs);
            prop_assert_eq!(cpu.download(product.view()).wait().unwrap(), naive(&|x, y, _| x * y));
        }
    }

    #[test]
    fn transforms_are_linear(ring in rings(5..=10, 1..=4), seed: u8, scalar: u32) {
        let limbs = ring.limbs();
        let [a, b] = [0, 1].map(|i| uniform(&ring, limbs, seed, i));
        let scalar: Vec<u32> = ring.moduli(limbs).map(|m| m.reduce(scalar.into())).collect();
        for cpu in cpus(&ring) {
            let combine = |x: Batch<Cpu, Ntt>, y: Batch<Cpu, Ntt>| {
                let mut x = cpu.mul_scalar(x.view(), &scalar);
                cpu.sub_assign(&mut x, 0, 1, y.view());
                cpu.neg_assign(&mut x);
                cpu.add_assign(&mut x, 0, 1, y.view());
                cpu.download(x.view()).wait().unwrap()
            };
            // The same words, read as coefficients and as values.
            let direct = combine(cpu.upload(limbs, 1, &a).unwrap(), cpu.upload(limbs, 1, &b).unwrap());
            let direct = cpu.intt(cpu.upload(limbs, 1, &direct).unwrap());
            let [x, y] = [&a, &b].map(|words| cpu.intt(cpu.upload(limbs, 1, words).unwrap()));
            let combined = combine(cpu.ntt(x), cpu.ntt(y));
            prop_assert_eq!(cpu.download(cpu.ntt(direct).view()).wait().unwrap(), combined);
        }
    }

    #[test]
    fn automorphisms_substitute_a_power_of_x(ring in rings(2..=12, 1..=2), seed: u8, g: u32, h: u32) {
        let limbs = ring.limbs();
        let [g, h] = [g, h].map(|x| any_galois(&ring, x));
        let order = ring.kind().root_order(ring.n()) as u64;
        let both = u64::from(g.exponent()) * u64::from(h.exponent()) % order;
        let both = ring.galois(both as u32).unwrap();
        let a = uniform(&ring, limbs, seed, 0);
        let expected = per_limb(&ring, limbs, |modulus, limb| {
            let mut out = vec![0; order as usize];
            for (i, &c) in at(&a, &ring, limb).iter().enumerate() {
                for e in exponents(ring.kind(), ring.n(), i).into_iter().flatten() {
                    let e = e * g.exponent() as usize % order as usize;
                    out[e] = modulus.add(out[e], c);
                }
            }
            coefficients(ring.kind(), modulus, &out)
        });
        for cpu in cpus(&ring) {
            let x = cpu.upload::<Coeff>(limbs, 1, &a).unwrap();
            let permuted = cpu.automorphism(x.view(), g);
            prop_assert_eq!(cpu.download(permuted.view()).wait().unwrap(), expected.clone());
            let x = cpu.ntt(x);
            let transformed = cpu.automorphism(x.view(), g);
            let expected = cpu.download(cpu.ntt(permuted).view()).wait().unwrap();
            prop_assert_eq!(cpu.download(transformed.view()).wait().unwrap(), expected.clone());
            let poly = Poly::<Coeff>::from_words(&ring, limbs, a.clone()).unwrap().into_ntt();
            let permuted = poly.automorphism(g);
            prop_assert_eq!(permuted.words(), expected);
            // First g, then h, is their product.
            let twice = cpu.automorphism(transformed.view(), h);
            let at_once = cpu.automorphism(x.view(), both);
            prop_assert_eq!(cpu.download(twice.view()).wait().unwrap(), cpu.download(at_once.view()).wait().unwrap());
        }
    }

    #[test]
    fn rescale_divides_and_rounds(
        ring in chains(), seed: u8, q in 0usize..6, p in 0usize..3, to_q in 1usize..6, to_p in 0usize..3,
    ) {
        let from = Limbs { q: to_q + q, p: to_p + p };
        let to = Limbs { q: to_q, p: to_p };
        let from = clip(from, ring.limbs());
        let to = clip(to, ring.limbs());
        prop_assume!(from != to);
        rescale_is_right(&ring, from, to, &uniform(&ring, from, seed, 0));
    }

    #[test]
    fn mod_up_extends_the_centred_digits(
        ring in chains(), seed: u8, q in 1usize..=11, p in 1usize..=3, digit_limbs in 1usize..=4,
    ) {
        let gadget = Gadget { limbs: clip(Limbs { q, p }, ring.limbs()), digit_limbs };
        mod_up_is_right(&ring, gadget, &uniform(&ring, Limbs::q(gadget.limbs.q), seed, 0));
    }
}

#[test]
fn conversions_from_fifteen_of_the_largest_primes_are_right() {
    let primes = primes_below(30.0, 1 << 7, 18, &[]).unwrap();
    let ring = Arc::new(Ring::new(7, &primes[..17], &primes[17..]).unwrap());
    // Digits of 15 and of 2; then dropping 15 primes, and 14 with the special one.
    let gadget = Gadget { limbs: ring.limbs(), digit_limbs: 15 };
    let digits = [(0..15).collect(), vec![15, 16]];
    for fill in EXTREMES {
        mod_up_is_right(&ring, gadget, &extreme(&ring, Limbs::q(17), &digits, fill));
        for (from, to) in [(Limbs::q(17), Limbs::q(2)), (ring.limbs(), Limbs::q(3))] {
            let dropped = ring.indices(from).filter(|&i| i >= to.q).collect();
            rescale_is_right(&ring, from, to, &extreme(&ring, from, &[dropped], fill));
        }
    }
}

#[test]
fn conversions_of_any_mixture_of_sizes_are_right() {
    let mut primes = Vec::new();
    for bits in [20.0, 30.0, 25.0, 22.0, 30.0, 28.0, 20.0, 21.0] {
        primes.extend(primes_below(bits, 1 << 7, 1, &primes).unwrap());
    }
    let ring = Arc::new(Ring::new(7, &primes[..6], &primes[6..]).unwrap());
    for fill in EXTREMES {
        for digit_limbs in 1..=6 {
            let gadget = Gadget { limbs: ring.limbs(), digit_limbs };
            let digits: Vec<_> = (0..gadget.digits()).map(|d| gadget.digit(d).collect()).collect();
            mod_up_is_right(&ring, gadget, &extreme(&ring, Limbs::q(6), &digits, fill));
        }
        for q in 1..=6 {
            let from = ring.limbs();
            let to = Limbs::q(q);
            let dropped = ring.indices(from).filter(|&i| i >= q).collect();
            rescale_is_right(&ring, from, to, &extreme(&ring, from, &[dropped], fill));
        }
    }
}

#[test]
fn conversions_of_primes_of_one_size_are_within_two_to_the_minus_26() {
    for bits in [20.0, 25.0, 28.0, 29.0, 30.0] {
        let primes = primes_below(bits, 1 << 5, 15, &[]).unwrap();
        let sum: BigInt = primes.iter().map(|&d| BigInt::from(d)).sum();
        assert!(sum << 26 <= BigInt::from(1) << shift(&primes), "{bits}");
        let ring = Ring::new(5, &primes, &primes_below(bits, 1 << 5, 1, &primes).unwrap()).unwrap();
        let conversion = ring.conversion(&(0..15).collect::<Vec<_>>(), &[15]).unwrap();
        assert_eq!(conversion.fixed_point_bits(), shift(&primes));
    }
}

/// Checks `|y D - x| <= D (1/2 + tolerance)` modulo the product of all primes.
fn rescale_is_right(ring: &Arc<Ring>, from: Limbs, to: Limbs, coefficients: &[u32]) {
    let kept = Crt::new(ring, to, |_| true);
    let dropped = Crt::new(ring, from, |i| !kept.positions.contains(&i));
    let all = Crt::new(ring, from, |_| true);
    for cpu in cpus(ring) {
        let x = cpu.ntt(cpu.upload(from, 1, coefficients).unwrap());
        let y = cpu.download(cpu.intt(cpu.rescale(x.view(), to)).view()).wait().unwrap();
        for c in 0..ring.n() {
            let x = all.value(ring, coefficients, c);
            let y = kept.value(ring, &y, c);
            let distance = all.centre(y * &dropped.product - &x);
            assert!(dropped.near_half(&distance), "{}: {from:?} to {to:?}: {x}", cpu.name());
        }
    }
}

/// Checks that each digit is one integer in all limbs, congruent to the digit and at most `D (1/2 + tolerance)`.
fn mod_up_is_right(ring: &Arc<Ring>, gadget: Gadget, coefficients: &[u32]) {
    let limbs = gadget.limbs;
    let base = Limbs::q(gadget.limbs.q);
    for cpu in cpus(ring) {
        let x = cpu.ntt(cpu.upload(base, 1, coefficients).unwrap());
        let y = cpu.intt(cpu.mod_up(x.view(), gadget));
        for d in 0..gadget.digits() {
            let digit = Crt::new(ring, base, |i| gadget.digit(d).contains(&i));
            let words = cpu.download(y.slice(d, 1)).wait().unwrap();
            for c in 0..ring.n() {
                let low = digit.value(ring, coefficients, c);
                let right = [low.clone(), low - &digit.product].into_iter().any(|v| {
                    digit.near_half(&v)
                        && ring
                            .moduli(limbs)
                            .enumerate()
                            .all(|(limb, m)| residue(&v, m.q()) == at(&words, ring, limb)[c])
                });
                assert!(right, "{}: digit {d} of {gadget:?}, coefficient {c}", cpu.name());
            }
        }
    }
}

/// Some of the primes of some limbs, and the integers modulo their product.
struct Crt {
    /// Positions of the primes in the ring, and of their limbs in a polynomial.
    positions: Vec<usize>,
    limbs: Vec<usize>,
    primes: Vec<u32>,
    product: BigInt,
    /// 1 modulo one prime, 0 modulo the others.
    units: Vec<BigInt>,
}

impl Crt {
    fn new(ring: &Ring, limbs: Limbs, keep: impl Fn(usize) -> bool) -> Self {
        let (limbs, positions): (Vec<_>, Vec<_>) =
            ring.indices(limbs).enumerate().filter(|&(_, i)| keep(i)).unzip();
        let primes: Vec<u32> = positions.iter().map(|&i| ring.modulus(i).q()).collect();
        let product: BigInt = primes.iter().map(|&q| BigInt::from(q)).product();
        let units = primes
            .iter()
            .map(|&q| {
                let others = &product / q;
                let inverse = Modulus::new(q).unwrap().inv(residue(&others, q));
                others * inverse
            })
            .collect();
        Self { positions, limbs, primes, product, units }
    }

    /// Coefficient `c` of a poly, from 0 to the product.
    fn value(&self, ring: &Ring, poly: &[u32], c: usize) -> BigInt {
        let terms = self.limbs.iter().zip(&self.units).map(|(&limb, unit)| unit * at(poly, ring, limb)[c]);
        terms.sum::<BigInt>() % &self.product
    }

    /// The representative nearest to zero.
    fn centre(&self, x: BigInt) -> BigInt {
        let low = ((x % &self.product) + &self.product) % &self.product;
        if &low * 2 > self.product { low - &self.product } else { low }
    }

    /// Whether `|x| <= D (1/2 + sum d_i / 2^shift)`, the bound that `convert` states.
    fn near_half(&self, x: &BigInt) -> bool {
        let shift = shift(&self.primes);
        let sum: BigInt = self.primes.iter().map(|&d| BigInt::from(d)).sum();
        BigInt::from(x.magnitude().clone()) << (shift + 1)
            <= &self.product * ((BigInt::from(1) << shift) + sum * 2)
    }
}

fn shift(primes: &[u32]) -> u32 {
    31 + primes.iter().min().unwrap().ilog2()
}

fn residue(x: &BigInt, q: u32) -> u32 {
    (((x % q) + q) % q).try_into().unwrap()
}

/// Coefficients to generate modulo a group of primes with product `D`.
#[derive(Clone, Copy)]
enum Extreme {
    /// `y_i = d_i - 1`: the largest sums of a conversion.
    Steep,
    /// Integers next to `D/2`.
    Half,
    /// Integers next to 0.
    Zero,
}

const EXTREMES: [Extreme; 3] = [Extreme::Steep, Extreme::Half, Extreme::Zero];

/// Coefficients that are extreme for conversions from each group of primes.
fn extreme(ring: &Ring, limbs: Limbs, groups: &[Vec<usize>], fill: Extreme) -> Vec<u32> {
    let words = ring.indices(limbs).flat_map(|i| {
        let modulus = ring.modulus(i);
        let group = groups.iter().find(|group| group.contains(&i));
        let crt = Crt::new(ring, ring.limbs(), |j| group.is_some_and(|group| group.contains(&j)));
        (0..ring.n()).map(move |c| {
            let offset = BigInt::from(c) - ring.n() / 2;
            match fill {
                Extreme::Steep => residue(&-(&crt.product / modulus.q()), modulus.q()),
                Extreme::Half => residue(&(&crt.product / 2 + offset), modulus.q()),
                Extreme::Zero => residue(&offset, modulus.q()),
            }
        })
    });
    words.collect()
}

/// The product of two elements, term by term in powers of `X`.
fn schoolbook(kind: RingKind, modulus: &Modulus, a: &[u32], b: &[u32]) -> Vec<u32> {
    let n = a.len();
    let order = kind.root_order(n);
    let mut out = vec![0; order];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let term = modulus.mul(x, y);
            for e in exponents(kind, n, i).into_iter().flatten() {
                for f in exponents(kind, n, j).into_iter().flatten() {
                    out[(e + f) % order] = modulus.add(out[(e + f) % order], term);
                }
            }
        }
    }
    coefficients(kind, modulus, &out)
}

/// The powers of `X` that coefficient `j` counts for.
fn exponents(kind: RingKind, n: usize, j: usize) -> [Option<usize>; 2] {
    match kind {
        RingKind::ConjugateInvariant if j > 0 => [Some(j), Some(4 * n - j)],
        _ => [Some(j), None],
    }
}

/// The coefficients of a sum of powers of `X` below the order of its root of unity, half of which is the power that is -1. Those of
/// a conjugate-invariant ring appear twice.
fn coefficients(kind: RingKind, modulus: &Modulus, powers: &[u32]) -> Vec<u32> {
    let half = powers.len() / 2;
    let reduced: Vec<u32> = (0..half).map(|e| modulus.sub(powers[e], powers[e + half])).collect();
    if kind == RingKind::Cyclotomic {
        return reduced;
    }
    let n = half / 2;
    assert_eq!(reduced[n], 0, "X^n + X^-n = 0");
    assert!((1..n).all(|j| reduced[2 * n - j] == modulus.neg(reduced[j])), "X -> X^-1 changes the element");
    reduced[..n].to_vec()
}

/// The exponent of the point of word `i`.
fn exponent(kind: RingKind, log_n: u32, i: usize) -> usize {
    match kind {
        RingKind::Cyclotomic => 2 * bit_reverse(i, log_n) + 1,
        RingKind::ConjugateInvariant => 4 * bit_reverse(i, log_n) + 1,
    }
}

/// All powers of the root of unity of a limb.
fn powers_of_psi(ring: &Ring, limb: usize) -> Vec<u32> {
    let modulus = ring.modulus(limb);
    let powers = std::iter::successors(Some(1), |&p| Some(modulus.mul(p, ring.table(limb).psi())));
    powers.take(ring.kind().root_order(ring.n())).collect()
}

/// An automorphism for any number.
fn any_galois(ring: &Ring, number: u32) -> GaloisElement {
    let order = ring.kind().root_order(ring.n()) as u32;
    let lowest_bits = if ring.kind() == RingKind::Cyclotomic { number | 1 } else { number & !3 | 1 };
    ring.galois(lowest_bits % order).unwrap()
}

/// Rings of both kinds with primes of 20 to 30 bits.
fn rings(
    log_n: std::ops::RangeInclusive<u32>,
    primes: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Arc<Ring>> {
    (kinds(), log_n, prop::collection::vec(20.0..=30.0, primes))
        .prop_map(|(kind, log_n, bits)| mixed(kind, log_n, &bits, 0))
}

/// Rings with up to eight ciphertext primes and three special ones, of sizes as far apart as chains have them.
fn chains() -> impl Strategy<Value = Arc<Ring>> {
    let special = 28.0..=30.0;
    (
        kinds(),
        prop_oneof![Just(4), Just(7)],
        prop::collection::vec(20.0..=30.0, 2..=8),
        prop::collection::vec(special, 3),
    )
        .prop_map(|(kind, log_n, q, p)| mixed(kind, log_n, &[q, p].concat(), 3))
}

fn kinds() -> impl Strategy<Value = RingKind> {
    prop_oneof![Just(RingKind::Cyclotomic), Just(RingKind::ConjugateInvariant)]
}

fn mixed(kind: RingKind, log_n: u32, bits: &[f64], special: usize) -> Arc<Ring> {
    let mut primes = Vec::new();
    for &bits in bits {
        primes.extend(primes_below(bits, kind.root_order(1 << log_n) / 2, 1, &primes).unwrap());
    }
    let (q, p) = primes.split_at(primes.len() - special);
    Arc::new(Ring::of_kind(kind, log_n, q, p).unwrap())
}

fn clip(limbs: Limbs, top: Limbs) -> Limbs {
    Limbs { q: limbs.q.min(top.q), p: limbs.p.min(top.p) }
}

fn cpus(ring: &Arc<Ring>) -> impl Iterator<Item = Cpu> {
    crate::support::simds().into_iter().map(|simd| Cpu::with(ring.clone(), simd, 1).unwrap())
}

fn uniform(ring: &Arc<Ring>, limbs: Limbs, seed: u8, number: u32) -> Vec<u32> {
    Poly::uniform(ring, limbs, &Seed::from_bytes(&[seed; 32]), number).words().to_vec()
}

/// One limb of a poly.
fn at<'a>(poly: &'a [u32], ring: &Ring, limb: usize) -> &'a [u32] {
    &poly[limb * ring.n()..(limb + 1) * ring.n()]
}

fn per_limb(ring: &Ring, limbs: Limbs, f: impl Fn(&Modulus, usize) -> Vec<u32>) -> Vec<u32> {
    ring.moduli(limbs).enumerate().flat_map(|(limb, modulus)| f(modulus, limb)).collect()
}

#[test]
fn a_compact_polynomial_is_the_polynomial_in_a_power_of_x() {
    for (log_n, kind) in [4, 8, 11].into_iter().flat_map(|log_n| RingKind::ALL.map(|kind| (log_n, kind))) {
        let n = 1usize << log_n;
        let primes = primes_below(29.0, 2 * n, 3, &[]).unwrap();
        let ring = Arc::new(Ring::of_kind(kind, log_n, &primes[..2], &primes[2..]).unwrap());
        for simd in crate::support::simds() {
            let cpu = Cpu::with(ring.clone(), simd, 1).unwrap();
            let compact: Vec<_> = (0..=log_n)
                .map(|log_len| CompactPoly {
                    coefficients: (0..1i32 << log_len).map(|i| (i - 9).wrapping_mul(0x3519_a7c1)).collect(),
                })
                .collect();
            let uploaded = cpu.upload_compact(&compact).unwrap();
            let words = cpu
                .download(cpu.expand_compact(&uploaded, 0, compact.len(), ring.limbs()).view())
                .wait()
                .unwrap();
            for (short, words) in compact.iter().zip(words.chunks(ring.words(ring.limbs(), 1))) {
                let mut coefficients = vec![0i64; n];
                let gap = n / short.coefficients.len();
                for (i, &c) in short.coefficients.iter().enumerate() {
                    coefficients[i * gap] = c.into();
                }
                let poly = Poly::from_signed(&ring, ring.limbs(), &coefficients).into_ntt();
                assert_eq!(poly.words(), words, "2^{log_n}, {} coefficients", short.coefficients.len());
            }
            let odd = CompactPoly { coefficients: vec![1; 3].into() };
            assert!(matches!(cpu.upload_compact(&[odd]), Err(BackendError::Shape { got: 3, .. })));
        }
    }
}
