//! Every operation compared with the plaintext computation, and, bit for bit, with itself in batches, on other devices and with
//! other threads. Scales are exact.

use crate::common::*;
use num_bigint::BigUint;
use pleura_ckks::*;
use pleura_ring::Cpu;
use proptest::prelude::*;
use std::sync::LazyLock;

/// A setup in each kind of ring.
static SETUPS: LazyLock<[Setup; 2]> = LazyLock::new(|| {
    RingKind::ALL.map(|ring| {
        Setup::new(ParamsLiteral { ring, ..DEEP }, |p| {
            let keys = KeyRequest::new().relin(8).rotations(p, [1, 2, 4, 5, -3], 8).conjugation(p, 8);
            keys.merge(&transform(p, p.max_log_slots()).keys())
        })
    })
});

/// Operands of the operations, on the device.
struct Operands {
    x: CiphertextBatch<Cpu>,
    y: CiphertextBatch<Cpu>,
    plain: PreparedPlaintext<Cpu>,
    transform: PreparedTransform<Cpu>,
}

/// The operands as plaintext values.
struct Clear {
    x: Vec<Complex64>,
    y: Vec<Complex64>,
    plain: Vec<Complex64>,
}

type Device = Evaluator<Cpu>;
type Outcome = Result<CiphertextBatch<Cpu>, EvalError>;
type Operation =
    (&'static str, fn(&Device, &Operands, &PreparedKeys<Cpu>) -> Outcome, fn(&Clear) -> Vec<Complex64>);

const OPERATIONS: [Operation; 24] = [
    ("add", |e, o, _| e.add(&o.x, &o.y), |c| zip(&c.x, &c.y, |x, y| x + y)),
    ("sub", |e, o, _| e.sub(&o.x, &o.y), |c| zip(&c.x, &c.y, |x, y| x - y)),
    ("neg", |e, o, _| e.neg(&o.x), |c| map(&c.x, |x| -x)),
    ("add_plain", |e, o, _| e.add_plain(&o.x, &o.plain), |c| zip(&c.x, &c.plain, |x, p| x + p)),
    ("mul_plain", |e, o, _| e.mul_plain(&o.x, &o.plain), |c| zip(&c.x, &c.plain, |x, p| x * p)),
    ("add_const", |e, o, _| e.add_const(&o.x, -0.7), |c| map(&c.x, |x| x - 0.7)),
    ("mul_const", |e, o, _| e.mul_const(&o.x, -0.7, 1e8), |c| map(&c.x, |x| x * -0.7)),
    ("mul", |e, o, k| e.mul(&o.x, &o.y, k), |c| zip(&c.x, &c.y, |x, y| x * y)),
    ("mul_rescale", |e, o, k| e.mul_rescale(&o.x, &o.y, k), |c| zip(&c.x, &c.y, |x, y| x * y)),
    ("square_rescale", |e, o, k| e.square_rescale(&o.x, k), |c| map(&c.x, |x| x * x)),
    ("mul_no_relin", |e, o, _| e.mul_no_relin(&o.x, &o.y), |c| zip(&c.x, &c.y, |x, y| x * y)),
    (
        "sum of products, relinearized once",
        |e, o, k| {
            let sum = e.add(&e.mul_no_relin(&o.x, &o.y)?, &e.mul_no_relin(&o.y, &o.y)?)?;
            e.relinearize_rescale(&e.neg(&sum)?, k)
        },
        |c| zip(&c.x, &c.y, |x, y| -x * y - y * y),
    ),
    (
        "two parts less three",
        |e, o, k| {
            let scaled = e.mul_const(&o.x, 1.0, o.y.scale())?;
            e.relinearize(&e.sub(&scaled, &e.mul_no_relin(&o.x, &o.y)?)?, k)
        },
        |c| zip(&c.x, &c.y, |x, y| x - x * y),
    ),
    (
        "three parts and plain ones",
        |e, o, k| {
            let product = e.add_const(&e.mul_no_relin(&o.x, &o.y)?, 0.5)?;
            e.relinearize(&e.rescale(&e.mul_plain(&e.rescale(&product)?, &o.plain)?)?, k)
        },
        |c| zip(&zip(&c.x, &c.y, |x, y| x * y + 0.5), &c.plain, |x, p| x * p),
    ),
    ("rescale", |e, o, _| e.rescale(&e.mul_const(&o.x, 1.0, 1e9)?), |c| c.x.clone()),
    ("to_level", |e, o, _| e.to_level(&o.x, 2), |c| c.x.clone()),
    ("drop_level", |e, o, _| e.drop_level(&o.x, 0), |c| c.x.clone()),
    ("add of two levels", |e, o, _| e.add(&e.drop_level(&o.x, 3)?, &o.y), |c| zip(&c.x, &c.y, |x, y| x + y)),
    ("rotate", |e, o, k| e.rotate(&o.x, 5, k), |c| rotated(&c.x, 5)),
    ("rotate to the right", |e, o, k| e.rotate(&o.x, -3, k), |c| rotated(&c.x, -3)),
    ("rotate_many", |e, o, k| Ok(e.rotate_many(&o.x, &[1, 0, 5], k)?.remove(2)), |c| rotated(&c.x, 5)),
    ("conjugate", |e, o, k| e.conjugate(&o.x, k), |c| map(&c.x, |x| x.conj())),
    (
        "inner_sum",
        |e, o, k| e.inner_sum(&o.x, 8, k),
        |c| (0..c.x.len()).map(|i| (i..i + 8).map(|j| c.x[j % c.x.len()]).sum()).collect(),
    ),
    ("polynomial", |e, o, k| e.polynomial(&o.x, &cubic(), k), |c| map(&c.x, |x| 0.25 - x + 0.5 * x * x * x)),
];

fn cubic() -> Polynomial {
    Polynomial::new(Basis::Power, vec![0.25, -1.0, 0.0, 0.5]).unwrap()
}

/// Three diagonals, of two giant steps unless there are few slots.
fn transform(params: &Params, log_slots: u32) -> LinearTransform {
    let slots = 1 << log_slots;
    LinearTransform::new(params, 8, slots, diagonals(params, slots)).unwrap()
}

fn diagonals(params: &Params, slots: usize) -> Vec<(i64, Vec<Complex64>)> {
    let steps = [0, 1, 40].into_iter().filter(|&k| k < slots as i64);
    steps.map(|k| (k, numbers(params, slots, k as u64))).collect()
}

fn applied(x: &[Complex64], diagonals: &[(i64, Vec<Complex64>)]) -> Vec<Complex64> {
    let zero = vec![Complex64::ZERO; x.len()];
    diagonals.iter().fold(zero, |sum, (k, d)| zip(&sum, &zip(d, &rotated(x, *k), |d, x| d * x), |a, b| a + b))
}

/// Random inputs, as the client sends them.
fn inputs(s: &Setup, log_slots: u32, items: u64, seed: u64) -> Vec<Ciphertext> {
    (0..items).map(|item| s.encrypt(&numbers(&s.params, 1 << log_slots, seed + item))).collect()
}

fn operands(s: &Setup, e: &Device, x: &[Ciphertext], y: &[Ciphertext]) -> Operands {
    let log_slots = x[0].log_slots();
    let plain = s.encoder.encode(&numbers(&s.params, 1 << log_slots, 3)).unwrap();
    Operands {
        x: e.upload(x).unwrap(),
        y: e.upload(y).unwrap(),
        plain: e.upload_plaintext(&plain, 8).unwrap(),
        transform: e.prepare_transform(&transform(&s.params, log_slots), &s.encoder).unwrap(),
    }
}

/// The results of all operations, the linear transform among them.
fn results(e: &Device, o: &Operands, keys: &PreparedKeys<Cpu>) -> Vec<(&'static str, Vec<Ciphertext>)> {
    let mut out: Vec<_> = OPERATIONS.iter().map(|(name, run, _)| (*name, run(e, o, keys))).collect();
    out.push(("transform", e.transform(&o.x, &o.transform, keys)));
    out.into_iter().map(|(name, result)| (name, e.download(&result.unwrap()).unwrap())).collect()
}

fn bytes(ciphertexts: &[Ciphertext]) -> Vec<Vec<u8>> {
    ciphertexts.iter().map(Ciphertext::to_bytes).collect()
}

/// Fewer values than slots are repeated over all of them: the operations are those of the shorter vector.
#[test]
fn operations_equal_the_plaintext_computation() {
    for (s, log_slots) in SETUPS.iter().flat_map(|s| [0, 1, 3, 6, s.params.max_log_slots()].map(|l| (s, l))) {
        let slots = 1 << log_slots;
        let numbers = |seed| numbers(&s.params, slots, seed);
        let clear = Clear { x: numbers(1), y: numbers(2), plain: numbers(3) };
        let operands = operands(s, &s.evaluator, &inputs(s, log_slots, 1, 1), &inputs(s, log_slots, 1, 2));
        let mut want: Vec<_> = OPERATIONS.iter().map(|(_, _, expected)| expected(&clear)).collect();
        want.push(applied(&clear.x, &diagonals(&s.params, slots)));
        for ((name, got), want) in results(&s.evaluator, &operands, &s.keys).iter().zip(want) {
            assert_eq!(got[0].log_slots(), log_slots, "{name}");
            let precision = Precision::of(&s.decrypt(&got[0]), &want);
            assert!(
                precision.min > 9.0 - s.params.noise_bits(),
                "{name} on 2^{log_slots} slots: {precision}"
            );
        }
    }
}

#[test]
fn items_of_a_batch_do_not_mix() {
    let [s, _] = &*SETUPS;
    let x = inputs(s, 9, 8, 10);
    let y = inputs(s, 9, 8, 20);
    let singles: Vec<_> = (0..8)
        .map(|i| {
            let operands = operands(s, &s.evaluator, &x[i..=i], &y[i..=i]);
            results(&s.evaluator, &operands, &s.keys)
        })
        .collect();
    for items in [1, 3, 8] {
        let together = operands(s, &s.evaluator, &x[..items], &y[..items]);
        for (op, (name, got)) in results(&s.evaluator, &together, &s.keys).iter().enumerate() {
            let want: Vec<_> = singles[..items].iter().map(|r| r[op].1[0].to_bytes()).collect();
            assert!(bytes(got) == want, "{name} of {items}");
        }
    }
}

#[test]
fn devices_agree_bit_for_bit() {
    for s in &*SETUPS {
        let x = inputs(s, 9, 2, 30);
        let y = inputs(s, 9, 2, 40);
        let want = results(&s.evaluator, &operands(s, &s.evaluator, &x, &y), &s.keys);
        for (device, e) in evaluators(&s.params) {
            let keys = e.upload_keys(&s.evaluation).unwrap();
            for ((name, got), (_, want)) in results(&e, &operands(s, &e, &x, &y), &keys).iter().zip(&want) {
                assert!(bytes(got) == bytes(want), "{name} on {device}");
            }
        }
    }
}

/// Operations that are the same by definition give the same bits.
#[test]
fn fused_operations_equal_their_parts() {
    SETUPS.iter().for_each(fused_operations_are_equal);
}

fn fused_operations_are_equal(s: &Setup) {
    let e = &s.evaluator;
    let keys = &s.keys;
    let slots = s.slots() as i64;
    let o = operands(s, e, &inputs(s, slots.ilog2(), 2, 50), &inputs(s, slots.ilog2(), 2, 60));
    let same = |name: &str, a: Outcome, b: Outcome| {
        let fetch = |x: Outcome| bytes(&e.download(&x.unwrap()).unwrap());
        assert!(fetch(a) == fetch(b), "{name}");
    };
    let product = e.mul_no_relin(&o.x, &o.y).unwrap();
    same("mul", e.mul(&o.x, &o.y, keys), e.relinearize(&product, keys));
    same("mul_rescale", e.mul_rescale(&o.x, &o.y, keys), e.relinearize_rescale(&product, keys));
    same("square_rescale", e.square_rescale(&o.x, keys), e.mul_rescale(&o.x, &o.x, keys));
    for (many, steps) in e.rotate_many(&o.x, &[5, 1, -3, 1], keys).unwrap().into_iter().zip([5, 1, -3, 1]) {
        same("rotate_many", Ok(many), e.rotate(&o.x, steps, keys));
    }
    assert!(e.rotate_many(&o.x, &[], keys).unwrap().is_empty());
    same("rotation by nothing", e.rotate(&o.x, 0, keys), e.drop_level(&o.x, 8));
    same("rotation all around", e.rotate(&o.x, slots, keys), e.drop_level(&o.x, 8));
    same("rotation further", e.rotate(&o.x, slots + 1, keys), e.rotate(&o.x, 1, keys));
    same("the sum of one", e.inner_sum(&o.x, 1, keys), e.drop_level(&o.x, 8));
    same("a level that it is at", e.to_level(&o.x, 8), e.drop_level(&o.x, 8));
    same("negation twice", e.neg(&e.neg(&o.x).unwrap()), e.drop_level(&o.x, 8));
}

/// A product that was not rescaled reaches any lower level at its usual scale.
#[test]
fn to_level_is_exact_from_any_scale() {
    let [s, _] = &*SETUPS;
    let e = &s.evaluator;
    let a = vector(s.slots(), 1);
    let x = s.load(&a);
    let square = (e.mul(&x, &x, &s.keys).unwrap(), map(&a, |a| a * a));
    let odd = |log2: f64| (e.mul_const(&x, 1.0, log2.exp2().round()).unwrap(), a.clone());
    for (x, want) in [square, odd(10.3), odd(25.0), odd(27.9), odd(40.5)] {
        for level in (0..8).rev() {
            match e.to_level(&x, level) {
                Ok(y) => {
                    assert_eq!((y.level(), y.scale()), (level, s.params.scale(level)));
                    assert_near(&s.values(&y), &want, 14.0);
                }
                // One level is too few for a factor with no integer near.
                Err(error) => {
                    assert!(level >= 6 && matches!(error, EvalError::OutOfLevels { .. }), "{level}: {error}")
                }
            }
        }
    }
}

// Scales.

/// A positive rational number.
#[derive(Clone)]
struct Ratio {
    over: BigUint,
    under: BigUint,
}

impl Ratio {
    fn of(x: f64) -> Self {
        let exponent = ((x.to_bits() >> 52) as i64) - 1075;
        let mantissa = BigUint::from(x.to_bits() & ((1 << 52) - 1) | 1 << 52);
        let one = BigUint::from(1u32);
        if exponent >= 0 {
            Self { over: mantissa << exponent as u64, under: one }
        } else {
            Self { over: mantissa, under: one << (-exponent) as u64 }
        }
    }

    fn times(&self, other: &Self) -> Self {
        Self { over: &self.over * &other.over, under: &self.under * &other.under }
    }

    /// Divided by the primes that the level has over the one below.
    fn rescaled(&self, params: &Params, level: usize) -> Self {
        let dropped = params.ring().moduli(params.limbs(level)).skip(params.limbs(level - 1).q);
        Self { over: self.over.clone(), under: dropped.fold(self.under.clone(), |under, m| under * m.q()) }
    }

    /// Whether `x` is within `2^-bits` of it.
    fn is_near(&self, x: f64, bits: u32) -> bool {
        let x = Self::of(x);
        let left = &self.over * &x.under;
        let right = &x.over * &self.under;
        let distance = if left > right { &left - &right } else { &right - &left };
        distance << bits <= left
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is computed, the scale says how values and coefficients relate.
    #[test]
    fn scales_are_exact(kind in 0usize..2, scale_bits in prop::sample::select(vec![28, 36, 50]), chain in prop::collection::vec((0..7, 20f64..40.0), 30)) {
        let literal = ParamsLiteral { ring: RingKind::ALL[kind], levels: 5, scale_bits, base_bits: 75, ..DEEP };
        let s = Setup::new(literal, |p| KeyRequest::new().relin(5).rotations(p, [1], 5));
        let e = &s.evaluator;
        let mut x = s.load(&numbers(&s.params, 512, 1));
        let mut exact = Ratio::of(s.params.scale(5));
        for (op, log2) in chain {
            let level = x.level();
            let scale = log2.exp2();
            // Squares of scales near 1 stay there for ever, and their rounding errors double.
            if x.scale() < 1000.0 {
                break;
            }
            // Divided while it is divisible: a modulus that the scale exceeds proves nothing.
            if x.scale() > s.params.scale(level) * 1000.0 {
                if level == 0 {
                    break;
                }
                (x, exact) = (e.rescale(&x).unwrap(), exact.rescaled(&s.params, level));
                continue;
            }
            // A product that the modulus does not hold is refused.
            let product = x.scale() * if op < 2 { x.scale() } else { scale };
            if op < 4 && product.log2() + 1.0 > s.params.log2_q(level) {
                let refused = e.mul_const(&x, 0.3, product / x.scale()).err();
                let refused = matches!(refused, Some(EvalError::ScaleTooLarge { .. }));
                prop_assert!(refused, "a scale of 2^{}", product.log2());
                continue;
            }
            (x, exact) = match op {
                0 => (e.mul(&x, &x, &s.keys).unwrap(), exact.times(&exact)),
                1 if level > 0 => (e.square_rescale(&x, &s.keys).unwrap(), exact.times(&exact).rescaled(&s.params, level)),
                2 => (e.mul_const(&x, 0.3, scale).unwrap(), exact.times(&Ratio::of(scale))),
                3 => {
                    let plain = s.encoder.encode_at(&numbers(&s.params, 512, 2), scale).unwrap();
                    let plain = e.upload_plaintext(&plain, level).unwrap();
                    (e.mul_plain(&x, &plain).unwrap(), exact.times(&Ratio::of(scale)))
                }
                4 => (e.rotate(&x, 1, &s.keys).unwrap(), exact),
                // Too few levels for a scale so odd leave it as it is.
                5 if level > 0 => match e.to_level(&x, level - 1) {
                    Ok(y) => (y, Ratio::of(s.params.scale(level - 1))),
                    Err(error) => {
                        prop_assert_eq!(error, EvalError::OutOfLevels { needed: level + 1, level });
                        (x, exact)
                    }
                },
                6 if level > 0 => {
                    let below = s.params.scale(level - 1);
                    let usual = s.params.scale(level);
                    let linear = LinearTransform::new(&s.params, level, 512, [(1, numbers(&s.params, 512, 3))]).unwrap();
                    let prepared = e.prepare_transform(&linear, &s.encoder).unwrap();
                    let factor = Ratio { over: Ratio::of(below).over, under: Ratio::of(below).under }
                        .times(&Ratio { over: Ratio::of(usual).under, under: Ratio::of(usual).over });
                    (e.transform(&x, &prepared, &s.keys).unwrap(), exact.times(&factor))
                }
                _ => (e.add(&x, &x).unwrap(), exact),
            };
            prop_assert!(exact.is_near(x.scale(), 44), "operation {op} at level {level}");
        }
        // The client reads the same scale.
        prop_assert_eq!(s.fetch(&x).scale(), x.scale());
    }
}

#[test]
fn other_scales_are_refused() {
    let [s, _] = &*SETUPS;
    let e = &s.evaluator;
    let a = vector(s.slots(), 1);
    let x = s.load(&a);
    let plain = |scale| e.upload_plaintext(&s.encoder.encode_at(&a, scale).unwrap(), 8).unwrap();
    let near = |bits: i32| x.scale() * (1.0 + f64::from(-bits).exp2());
    for bits in [1, 10, 20, 30, 40, 43] {
        let y = s.load(&a).with_scale(near(bits));
        let results = [e.add(&x, &y), e.sub(&y, &x), e.add_plain(&x, &plain(near(bits)))];
        assert!(results.iter().all(|r| matches!(r, Err(EvalError::ScaleMismatch { .. }))), "{bits}");
    }
    // Rounding on another path.
    let y = s.load(&a).with_scale(near(45));
    assert!(e.add(&x, &y).is_ok() && e.sub(&x, &y).is_ok() && e.add_plain(&x, &plain(near(45))).is_ok());
    // Another scale for the same coefficients is another value.
    let third = s.load(&a).with_scale(x.scale() * 3.0);
    assert_near(&s.values(&third), &map(&a, |a| a / 3.0), 14.0);
}
