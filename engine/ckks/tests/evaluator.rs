//! Precision, in bits, of every operation against the same computation in the clear.

use pleura_ckks::*;
use pleura_ring::Cpu;

struct Setup { params: Params, encoder: Encoder, secret: SecretKey, evaluator: Evaluator<Cpu>, keys: PreparedKeys<Cpu> }

fn setup(literal: Literal, request: impl Fn(&Params) -> KeyRequest) -> Setup {
    let params = Params::new(literal).unwrap();
    let encoder = Encoder::new(&params);
    let secret = SecretKey::generate(&params).unwrap();
    let evaluator = Evaluator::new(&params, Cpu::new(params.ring().clone()).unwrap()).unwrap();
    let keys = evaluator.prepare_keys(&secret.evaluation_keys(&request(&params)).unwrap()).unwrap();
    Setup { params, encoder, secret, evaluator, keys }
}
fn vector(slots: usize, seed: u64) -> Vec<Complex64> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || { s ^= s << 13; s ^= s >> 7; s ^= s << 17; (s >> 11) as f64 / (1u64 << 52) as f64 - 1.0 };
    (0..slots).map(|_| Complex64::new(next(), next())).collect()
}
impl Setup {
    fn load(&self, v: &[Complex64]) -> Ciphertexts<Cpu> {
        self.evaluator.load(&[self.secret.encrypt(&self.encoder.encode(v).unwrap()).unwrap()]).unwrap()
    }
    fn bits(&self, x: &Ciphertexts<Cpu>, want: &[Complex64]) -> Precision {
        let got = self.secret.decrypt(&self.encoder, &self.evaluator.fetch(x).unwrap()[0]).unwrap();
        Precision::of(got.for_key_owner(), want)
    }
}

#[test]
fn smoke() {
    for literal in [Literal::N13, Literal::N14, Literal { scale_bits: 40, levels: 3, base_bits: 60, digit_limbs: 3, ..Literal::N14 }, Literal { scale_bits: 50, levels: 3, base_bits: 80, digit_limbs: 4, ..Literal::N14 }] {
        let s = setup(literal, |p| KeyRequest::new().relin(p.max_level()).rotations(p, [1, 5, -3], p.max_level()).conjugation(p, p.max_level()));
        let slots = s.params.n() / 2;
        let (a, b) = (vector(slots, 1), vector(slots, 2));
        let (x, y) = (s.load(&a), s.load(&b));
        println!("{literal:?} scales {:?}", (0..=s.params.max_level()).map(|l| s.params.scale(l).log2()).collect::<Vec<_>>());
        println!("fresh {}", s.bits(&x, &a));
        println!("add {}", s.bits(&s.evaluator.add(&x, &y).unwrap(), &a.iter().zip(&b).map(|(a, b)| a + b).collect::<Vec<_>>()));
        println!("mul {}", s.bits(&s.evaluator.mul(&x, &y, &s.keys).unwrap(), &a.iter().zip(&b).map(|(a, b)| a * b).collect::<Vec<_>>()));
        println!("mul_rescale {}", s.bits(&s.evaluator.mul_rescale(&x, &y, &s.keys).unwrap(), &a.iter().zip(&b).map(|(a, b)| a * b).collect::<Vec<_>>()));
        for steps in [1i64, 5, -3] {
            let mut want = a.clone(); want.rotate_left(steps.rem_euclid(slots as i64) as usize);
            println!("rotate {steps} {}", s.bits(&s.evaluator.rotate(&x, steps, &s.keys).unwrap(), &want));
        }
        let many = s.evaluator.rotate_many(&x, &[0, 1, 5], &s.keys).unwrap();
        let mut want = a.clone(); want.rotate_left(5);
        println!("hoisted {} {}", s.bits(&many[0], &a), s.bits(&many[2], &want));
        println!("conj {}", s.bits(&s.evaluator.conjugate(&x, &s.keys).unwrap(), &a.iter().map(|z| z.conj()).collect::<Vec<_>>()));
        let real: Vec<_> = a.iter().map(|z| Complex64::from(z.re)).collect();
        let x = s.load(&real);
        for (p, f) in [(Polynomial::new(Basis::Power, vec![0.5, -1.0, 0.25, 0.5]).unwrap(), "cubic"), (Polynomial::interpolate(|x| (2.0*x).sin(), -1.0, 1.0, 7).unwrap(), "sin7")] {
            let y = s.evaluator.polynomial(&x, &p, &s.keys).unwrap();
            println!("{f} level {} {}", y.level(), s.bits(&y, &real.iter().map(|z| Complex64::from(p.evaluate(z.re))).collect::<Vec<_>>()));
        }
    }
}

#[test]
fn transforms() {
    let s = setup(Literal::N14, |_| KeyRequest::new());
    let slots = s.params.n() / 2;
    let level = 7;
    for count in [1usize, 8, 64] {
        let diagonals: Vec<(i64, Vec<Complex64>)> = (0..count as i64).map(|k| (k, vector(slots, 100 + k as u64).iter().map(|z| z / count as f64).collect())).collect();
        let t = LinearTransform::new(&s.params, level, slots, diagonals.clone()).unwrap();
        let keys = s.evaluator.prepare_keys(&s.secret.evaluation_keys(&t.keys()).unwrap()).unwrap();
        let p = s.evaluator.prepare_transform(&t, &s.encoder).unwrap();
        let a = vector(slots, 3);
        let x = s.evaluator.to_level(&s.load(&a), level).unwrap();
        let want: Vec<Complex64> = (0..slots).map(|i| diagonals.iter().map(|(k, d)| d[i] * a[(i + *k as usize) % slots]).sum()).collect();
        let t0 = std::time::Instant::now();
        let y = s.evaluator.transform(&x, &p, &keys).unwrap();
        println!("{count} diagonals, steps {:?}: {} {:?}", t.steps(), s.bits(&y, &want), t0.elapsed());
        for _ in 0..3 { let t0 = std::time::Instant::now(); let _ = s.evaluator.transform(&x, &p, &keys).unwrap(); println!("{:?}", t0.elapsed()); }
    }
}
