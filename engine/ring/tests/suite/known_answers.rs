//! Transforms and products that were computed elsewhere, on every instruction set.
use pleura_ring::*;
use serde_json::Value;
use std::sync::Arc;

#[test]
fn transforms_match_known_answers() {
    let cases = cases(include_str!("../kat/ntt.json"));
    assert_eq!(cases.len(), 25);
    for case in cases {
        let (ring, limbs) = ring(&case);
        let input = words(&case, "input");
        let output = words(&case, "output");
        assert_eq!(u64::from(ring.table(0).psi()), case["psi"].as_u64().unwrap());

        let poly = Poly::from_words(&ring, limbs, input.clone()).unwrap().into_ntt();
        assert_eq!(poly.words(), output);
        assert_eq!(poly.into_coeff().words(), input);
        for simd in crate::support::simds() {
            let cpu = Cpu::with(ring.clone(), simd, 1).unwrap();
            let x = cpu.ntt(cpu.upload(limbs, 1, &input).unwrap());
            assert_eq!(cpu.download(x.view()).wait().unwrap(), output, "{} n = {}", simd.name(), ring.n());
            assert_eq!(
                cpu.download(cpu.intt(x).view()).wait().unwrap(),
                input,
                "{} n = {}",
                simd.name(),
                ring.n()
            );
        }
    }
}

#[test]
fn negacyclic_products_match_known_answers() {
    let cases = cases(include_str!("../kat/negacyclic_product.json"));
    assert_eq!(cases.len(), 3);
    for case in cases {
        let (ring, limbs) = ring(&case);
        let [a, b, product] = ["a", "b", "product"].map(|name| words(&case, name));

        let [x, y] = [&a, &b].map(|words| Poly::from_words(&ring, limbs, words.clone()).unwrap().into_ntt());
        assert_eq!(x.mul(&y).into_coeff().words(), product);
        for simd in crate::support::simds() {
            let cpu = Cpu::with(ring.clone(), simd, 1).unwrap();
            let x = cpu.ntt(cpu.upload(limbs, 2, &[a.clone(), b.clone()].concat()).unwrap());
            let xy =
                cpu.mul_accumulate(x.slice(0, 1), x.slice(1, 1), &[Term { out: 0, a: 0, b: 0 }], 1, limbs);
            assert_eq!(
                cpu.download(cpu.intt(xy).view()).wait().unwrap(),
                product,
                "{} n = {}",
                simd.name(),
                ring.n()
            );
        }
    }
}

fn cases(json: &str) -> Vec<Value> {
    serde_json::from_str::<Value>(json).unwrap()["cases"].as_array().unwrap().clone()
}

fn words(case: &Value, name: &str) -> Vec<u32> {
    case[name].as_array().unwrap().iter().map(|x| x.as_u64().unwrap().try_into().unwrap()).collect()
}

fn ring(case: &Value) -> (Arc<Ring>, Limbs) {
    let n = case["n"].as_u64().unwrap();
    let q = case["modulus"].as_u64().unwrap();
    (Arc::new(Ring::new(n.ilog2(), &[q.try_into().unwrap()], &[]).unwrap()), Limbs::q(1))
}
