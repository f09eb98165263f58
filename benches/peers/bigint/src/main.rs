//! Big-integer crates on what Paillier spends its time on: products and powers modulo n^2 (4096 bits) and p^2 (2048 bits).
//!
//! One thread; the median of eleven rounds. Every crate gets the same numbers and has to agree with the others. `dashu-int`
//! 0.6.2 is not among them: its `Reduced::pow` panics on these sizes ("not enough memory allocated").

use std::hint::black_box;
use std::time::Instant;

/// Products in a row for one measurement of a product.
const PRODUCTS: usize = 200;

struct Case {
    modulus: Vec<u8>,
    base: Vec<u8>,
    exponent: Vec<u8>,
}

struct Figures {
    product_us: f64,
    power_ms: f64,
    /// `base^exponent`, big-endian without leading zeros.
    result: Vec<u8>,
}

type Worker = fn(&Case) -> Figures;

fn main() {
    let workers: [(&str, Worker); 5] = [
        ("crypto-bigint, boxed", boxed),
        ("crypto-bigint, fixed", fixed),
        ("num-bigint", num),
        ("malachite-nz", malachite),
        ("rug (GMP)", rug_gmp),
    ];
    for (bits, exponent_bits) in [(4096, 2048), (2048, 1024)] {
        let mut modulus = random(bits / 8, 1);
        modulus[0] |= 0x80;
        *modulus.last_mut().unwrap() |= 1;
        let mut base = random(bits / 8, 2);
        base[0] &= 0x7f;
        let case = Case { modulus, base, exponent: random(exponent_bits / 8, 3) };
        println!("modulus of {bits} bits, exponent of {exponent_bits}: product in us, power in ms");
        let mut expected: Option<Vec<u8>> = None;
        for (name, worker) in workers {
            let Figures { product_us, power_ms, result } = worker(&case);
            println!("  {name:22} {product_us:8.2} {power_ms:8.2}");
            let first = expected.get_or_insert_with(|| result.clone());
            assert_eq!(*first, result, "{name} disagrees");
        }
    }
}

fn boxed(case: &Case) -> Figures {
    use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
    use crypto_bigint::{BoxedUint, Odd};
    let bits = 8 * case.modulus.len() as u32;
    let read = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, 8 * bytes.len() as u32).unwrap();
    let params = BoxedMontyParams::new_vartime(Odd::new(read(&case.modulus)).unwrap());
    let base = BoxedMontyForm::new(BoxedUint::from_be_slice(&case.base, bits).unwrap(), &params);
    let exponent = read(&case.exponent);
    let product_us = products(base.clone(), |x| x.mul(&base));
    let (power_ms, power) = powers(|| base.pow(&exponent).retrieve());
    Figures { product_us, power_ms, result: trimmed(power.to_be_bytes().to_vec()) }
}

fn fixed(case: &Case) -> Figures {
    if case.modulus.len() == 512 { fixed_of::<64, 32>(case) } else { fixed_of::<32, 16>(case) }
}

fn fixed_of<const L: usize, const E: usize>(case: &Case) -> Figures
where
    crypto_bigint::Uint<L>: crypto_bigint::Encoding,
    crypto_bigint::Uint<E>: crypto_bigint::Encoding,
{
    use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
    use crypto_bigint::{Odd, Uint};
    let params = FixedMontyParams::new_vartime(Odd::new(Uint::<L>::from_be_slice(&case.modulus)).unwrap());
    let base = FixedMontyForm::new(&Uint::<L>::from_be_slice(&case.base), &params);
    let exponent = Uint::<E>::from_be_slice(&case.exponent);
    let product_us = products(base, |x| x.mul(&base));
    let (power_ms, power) = powers(|| base.pow(&exponent).retrieve());
    let bytes = crypto_bigint::Encoding::to_be_bytes(&power);
    Figures { product_us, power_ms, result: trimmed(bytes.as_ref().to_vec()) }
}

fn num(case: &Case) -> Figures {
    use num_bigint::BigUint;
    let [n, base, exponent] = [&case.modulus, &case.base, &case.exponent].map(|b| BigUint::from_bytes_be(b));
    let product_us = products(base.clone(), |x| x * &base % &n);
    let (power_ms, power) = powers(|| base.modpow(&exponent, &n));
    Figures { product_us, power_ms, result: power.to_bytes_be() }
}

fn malachite(case: &Case) -> Figures {
    use malachite_base::num::arithmetic::traits::ModPow;
    use malachite_base::num::conversion::traits::PowerOf2Digits;
    use malachite_nz::natural::Natural;
    let read =
        |bytes: &[u8]| Natural::from_power_of_2_digits_desc(8, bytes.iter().copied()).unwrap();
    let [n, base, exponent] = [&case.modulus, &case.base, &case.exponent].map(|b| read(b));
    let product_us = products(base.clone(), |x| x * &base % &n);
    let (power_ms, power) = powers(|| (&base).mod_pow(&exponent, &n));
    Figures { product_us, power_ms, result: power.to_power_of_2_digits_desc(8) }
}

fn rug_gmp(case: &Case) -> Figures {
    use rug::Integer;
    use rug::integer::Order;
    let [n, base, exponent] =
        [&case.modulus, &case.base, &case.exponent].map(|b| Integer::from_digits(b, Order::MsfBe));
    let product_us = products(base.clone(), |x| Integer::from(x * &base) % &n);
    let (power_ms, power) = powers(|| Integer::from(base.pow_mod_ref(&exponent, &n).unwrap()));
    Figures { product_us, power_ms, result: {
        let mut bytes = vec![0u8; power.significant_digits::<u8>()];
        power.write_digits(&mut bytes, Order::MsfBe);
        bytes
    } }
}

fn products<T: Clone>(start: T, step: impl Fn(T) -> T) -> f64 {
    median(|| {
        let clock = Instant::now();
        let mut x = black_box(start.clone());
        for _ in 0..PRODUCTS {
            x = step(x);
        }
        black_box(x);
        clock.elapsed().as_secs_f64()
    }) / PRODUCTS as f64
        * 1e6
}

fn powers<T>(power: impl Fn() -> T) -> (f64, T) {
    let seconds = median(|| {
        let clock = Instant::now();
        black_box(power());
        clock.elapsed().as_secs_f64()
    });
    (seconds * 1e3, power())
}

fn median(mut once: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..11).map(|_| once()).collect();
    times.sort_by(f64::total_cmp);
    times[5]
}

fn trimmed(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|&b| b == 0).collect()
}

fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}
