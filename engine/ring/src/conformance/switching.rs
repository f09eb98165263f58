//! The cases of key switching.

use super::trial::{Failure, Fill, Outcome, Trial};
use crate::{
    Backend, Batch, Diagonals, Digits, Gadget, GadgetProduct, GadgetTerm, GaloisElement, Limbs, Ntt, Ring,
    TensorProduct, Term, View,
};

/// Sums of [`baby_step_sums`].
const SUMS: usize = 6;

/// Diagonals of [`baby_step_sums`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Factors {
    Polys,
    Compact,
    Numbers,
}

/// A case of [`gadget_product`] and [`baby_step_sums`].
struct Switch {
    name: &'static str,
    /// Ciphertext primes, special primes, primes in a digit.
    gadget: (usize, usize, usize),
    parts: usize,
    /// Whether `x` is over the ciphertext primes alone.
    over_q: bool,
    batch: usize,
    outputs: usize,
    first_switched: usize,
    /// Surplus of some keys over what the product needs: limbs of both kinds, and of all keys: digits.
    spare: usize,
    /// Input, output, whether there is a key, automorphism (by no step: none).
    terms: &'static [(usize, usize, bool, By)],
}

#[rustfmt::skip]
const SWITCHES: [Switch; 11] = {
    use By::{Conjugation, Steps};
    const NOTHING: By = Steps(0);
    [
        Switch { name: "relinearize", gadget: (7, 3, 3), parts: 3, over_q: true, batch: 2, outputs: 1, first_switched: 0, spare: 0,
            terms: &[(0, 0, true, NOTHING)] },
        Switch { name: "relinearize lower", gadget: (4, 2, 3), parts: 3, over_q: true, batch: 1, outputs: 1, first_switched: 0, spare: 1,
            terms: &[(0, 0, true, NOTHING)] },
        Switch { name: "rotate", gadget: (5, 2, 2), parts: 2, over_q: true, batch: 3, outputs: 1, first_switched: 0, spare: 1,
            terms: &[(0, 0, true, Steps(3))] },
        Switch { name: "rotate hoisted", gadget: (6, 3, 3), parts: 2, over_q: true, batch: 1, outputs: 4, first_switched: 0, spare: 0,
            terms: &[(0, 0, false, NOTHING), (0, 1, true, Steps(1)), (0, 2, true, Steps(-5)), (0, 3, true, Conjugation)] },
        Switch { name: "sum of rotations", gadget: (5, 2, 2), parts: 2, over_q: false, batch: 2, outputs: 1, first_switched: 1, spare: 1,
            terms: &[(0, 0, false, NOTHING), (1, 0, true, Steps(8)), (2, 0, true, Steps(-8)), (3, 0, true, Conjugation)] },
        Switch { name: "sums, one empty", gadget: (5, 3, 3), parts: 2, over_q: true, batch: 2, outputs: 3, first_switched: 1, spare: 1,
            terms: &[(2, 2, true, Steps(2)), (0, 0, false, Steps(2)), (1, 0, true, NOTHING), (1, 2, true, Conjugation), (0, 2, false, NOTHING)] },
        Switch { name: "three extended parts", gadget: (5, 2, 2), parts: 3, over_q: false, batch: 2, outputs: 2, first_switched: 1, spare: 1,
            terms: &[(0, 1, false, Conjugation), (1, 0, true, Steps(1)), (1, 1, true, NOTHING)] },
        Switch { name: "no key, over q", gadget: (5, 2, 2), parts: 2, over_q: true, batch: 2, outputs: 2, first_switched: 2, spare: 0,
            terms: &[(0, 1, false, Steps(1)), (1, 1, false, NOTHING), (1, 0, false, Conjugation)] },
        Switch { name: "no key", gadget: (3, 1, 1), parts: 3, over_q: false, batch: 1, outputs: 1, first_switched: 2, spare: 0,
            terms: &[(0, 0, false, NOTHING), (1, 0, false, Steps(1))] },
        Switch { name: "eighteen digits", gadget: (18, 1, 1), parts: 3, over_q: true, batch: 1, outputs: 1, first_switched: 0, spare: 0,
            terms: &[(0, 0, true, NOTHING), (1, 0, true, Steps(1))] },
        Switch { name: "one prime", gadget: (1, 1, 1), parts: 2, over_q: true, batch: 1, outputs: 1, first_switched: 0, spare: 2,
            terms: &[(0, 0, true, Steps(1))] },
    ]
};

pub(super) fn gadget_product<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for case in &SWITCHES {
        // Where digits are many, accumulators fill.
        let fill = if case.gadget.0 > 16 { Fill::Largest } else { Fill::Mixed };
        switch(t, case, fill, false, None, false)?;
        switch(t, case, Fill::Mixed, true, None, false)?;
    }
    Ok(())
}

/// Key switching followed by a division, in one call.
pub(super) fn gadget_product_divided<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    SWITCHES.iter().try_for_each(|case| switch(t, case, Fill::Mixed, true, None, true))
}

/// Sums of baby steps followed by a division, in one call.
pub(super) fn baby_step_sums_divided<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    sums_of_items(t, true)
}

/// Sums over the steps of one item each, with a diagonal for each item or for all, and a sum of none.
fn sums_of_items<B: Backend>(t: &mut Trial<'_, B>, divided: bool) -> Outcome {
    for case in &SWITCHES {
        for (shared, factors) in [
            (true, Factors::Polys),
            (true, Factors::Numbers),
            (true, Factors::Compact),
            (false, Factors::Compact),
        ] {
            let mut terms = Vec::new();
            for out in (0..SUMS).filter(|&out| out != 3) {
                let item = out % case.batch;
                for output in 0..case.outputs {
                    let a = if shared { (out + output) % 5 } else { item };
                    terms.push(Term { out, a, b: output * case.batch + item });
                }
            }
            switch(t, case, Fill::Mixed, true, Some((&terms, factors)), divided)?;
        }
    }
    Ok(())
}

/// Products of ciphertexts, whose factors and key may have more limbs.
pub(super) fn relinearized_product<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for (q, p, digit_limbs, batch) in [(7, 3, 3, 5), (4, 2, 3, 1)] {
        let limbs = Limbs { q, p };
        let gadget = Gadget { limbs, digit_limbs };
        if !t.ring().limbs().contains(limbs) {
            continue;
        }
        let base = Limbs::q(q);
        let a = t.filled(t.limbs(q + 1, p), 1 + 2 * batch, Fill::Mixed)?;
        let b = t.filled(base, 2 * batch, Fill::Largest)?;
        let key = t.filled(t.limbs(q, p + 1), 2 * gadget.digits(), Fill::Mixed)?;
        let product = TensorProduct { gadget, a: a.slice(1, 2 * batch), b: b.view(), key: key.view(), batch };
        let by_definition = t.expected.is_none();
        for to in [base, Limbs::q(q - 1)] {
            t.check(&format!("{batch} products of {q}+{p} to {}", to.q), to, 2 * batch, |d| {
                if !by_definition {
                    return d.relinearized_product(&product, to);
                }
                let terms = product.terms(&(0..batch).collect::<Vec<_>>());
                let tensor = d.mul_accumulate(product.a, product.b, &terms, 3 * batch, base);
                let keyed = product.keyed();
                d.rescale(d.gadget_product(&product.switched(&tensor, &keyed)).view(), to)
            })?;
            t.same("operand", a.view())?;
            t.same("operand", b.view())?;
        }
    }
    Ok(())
}

pub(super) fn baby_step_sums<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for case in SWITCHES.iter().filter(|case| case.outputs > 1) {
        let steps = case.outputs * case.batch;
        // Sums of all steps once, of one, of none, and of enough terms that accumulators are folded; and sums of the same steps, two
        // or more of them.
        let apart: [usize; SUMS] = [steps, 1, 0, 35, 0, 0];
        let in_pairs = [35, 35, steps, 0, 1, steps];
        // Five sums of the same steps, each once.
        let alike = [steps, steps, steps, 0, steps, steps];
        let in_threes = [35, steps, 35, steps, 35, steps];
        let in_fours = [35, 35, 0, 35, 35, 0];
        for (fill, fresh, factors, counts) in [
            (Fill::Mixed, false, Factors::Polys, apart),
            (Fill::Largest, true, Factors::Polys, apart),
            (Fill::Largest, true, Factors::Polys, in_pairs),
            (Fill::Mixed, true, Factors::Compact, in_pairs),
            (Fill::Mixed, true, Factors::Numbers, in_pairs),
            (Fill::Largest, true, Factors::Numbers, alike),
            (Fill::Mixed, false, Factors::Compact, in_threes),
            (Fill::Largest, false, Factors::Polys, in_fours),
        ] {
            let mut terms = Vec::new();
            for (out, count) in counts.into_iter().enumerate() {
                terms.extend((0..count).map(|i| Term { out, a: (i + out) % 5, b: i % steps }));
            }
            switch(t, case, fill, fresh, Some((&terms, factors)), false)?;
        }
    }
    sums_of_items(t, false)
}

/// Checks a gadget product, or sums of its steps times five diagonals; with `divided`, divided by the special primes.
fn switch<B: Backend>(
    t: &mut Trial<'_, B>,
    case: &Switch,
    fill: Fill,
    fresh: bool,
    sums: Option<(&[Term], Factors)>,
    divided: bool,
) -> Outcome {
    let Switch { parts, batch, outputs, first_switched, spare, terms, .. } = *case;
    let (q, p, digit_limbs) = case.gadget;
    let limbs = Limbs { q, p };
    let gadget = Gadget { limbs, digit_limbs };
    if !t.ring().limbs().contains(limbs) {
        return Ok(());
    }
    let base = Limbs::q(q);
    let wider = t.limbs(q + spare, p + spare);
    let count = gadget.digits();
    let inputs = 1 + terms.iter().map(|t| t.0).max().unwrap_or(0);
    let x_polys = parts * inputs * batch;
    let switched = (inputs - first_switched) * batch;
    let x = t.filled(if case.over_q { base } else { limbs }, 1 + x_polys, fill)?;
    let digits = match fresh {
        true => t.filled(base, 1 + switched, fill)?,
        false => t.filled(limbs, 1 + switched * count, fill)?,
    };
    let keys = keys(t, case, [wider, limbs], count + spare, fill)?;
    let mut products = Vec::new();
    for (&(input, output, _, by), key) in terms.iter().zip(&keys) {
        let key = key.as_ref().map(Batch::view);
        products.push(GadgetTerm { input, output, key, galois: by.element(t.ring()) });
    }
    let diagonals = t.filled(wider, 6, fill)?;
    let numbers = sums.is_some_and(|(_, factors)| factors == Factors::Numbers);
    let compact = if numbers { t.numbers()? } else { t.compact()? };
    let product = GadgetProduct {
        gadget,
        x: x.slice(1, x_polys),
        digits: match fresh {
            true => Digits::Fresh(digits.slice(1, switched)),
            false => Digits::Extended(digits.slice(1, switched * count)),
        },
        first_switched,
        terms: &products,
        batch,
        outputs,
    };
    let name = format!("{}, {} digits, {fill:?}", case.name, if fresh { "fresh" } else { "extended" });
    let sums = sums.map(|(terms, factors)| (terms, factors, diagonals.slice(1, 5), &compact));
    check_product(t, &name, &product, sums, if divided { base } else { limbs })?;
    t.same("operand", x.view())?;
    t.same("operand", digits.view())
}

/// Terms of sums of steps, the kind of their diagonals, and diagonals of both kinds.
type Sums<'a, B> = (&'a [Term], Factors, View<'a, B, Ntt>, &'a <B as Backend>::CompactPolys);

/// Checks a gadget product, or sums of its steps, as it is or divided down to fewer limbs.
fn check_product<B: Backend>(
    t: &mut Trial<'_, B>,
    name: &str,
    product: &GadgetProduct<'_, B>,
    sums: Option<Sums<'_, B>>,
    to: Limbs,
) -> Outcome {
    let limbs = product.gadget.limbs;
    let steps = product.outputs * product.batch;
    let by_definition = t.expected.is_none();
    let down = |d: &B, x: Batch<B, Ntt>| if to == limbs { x } else { d.rescale(x.view(), to) };
    let Some((terms, factors, polys, compact)) = sums else {
        return t.check(name, to, 2 * steps, |d| match by_definition || to == limbs {
            true => down(d, d.gadget_product(product)),
            false => d.gadget_product_divided(product, to),
        });
    };
    let diagonals = match factors {
        Factors::Polys => Diagonals::Polys(polys),
        Factors::Compact | Factors::Numbers => Diagonals::Compact(compact),
    };
    t.check(name, to, 2 * SUMS, |d| match by_definition {
        // The reference's own fused form is tested too.
        true => {
            let expanded = d.expand_compact(compact, 0, 5, limbs);
            let factors = if factors == Factors::Polys { polys } else { expanded.view() };
            let terms = terms_of_both_parts(terms, SUMS, steps);
            down(d, d.mul_accumulate(factors, d.gadget_product(product).view(), &terms, 2 * SUMS, limbs))
        }
        false if to == limbs => d.baby_step_sums(product, diagonals, terms, SUMS),
        false => d.baby_step_sums_divided(product, diagonals, terms, SUMS, to),
    })
}

/// Terms of sums of the first part of ciphertexts, followed by the terms of the second part.
fn terms_of_both_parts(terms: &[Term], sums: usize, steps: usize) -> Vec<Term> {
    let mut both = Vec::with_capacity(2 * terms.len());
    for part in 0..2 {
        both.extend(terms.iter().map(|t| Term { out: part * sums + t.out, a: t.a, b: part * steps + t.b }));
    }
    both
}

/// The key of each term that has one, in turn over more limbs and over those of the gadget.
fn keys<B: Backend>(
    t: &mut Trial<'_, B>,
    case: &Switch,
    [wider, exact]: [Limbs; 2],
    digits: usize,
    fill: Fill,
) -> Result<Vec<Option<Batch<B, Ntt>>>, Failure> {
    let mut keys = Vec::new();
    for (i, (.., keyed, _)) in case.terms.iter().enumerate() {
        let limbs = if i / 2 % 2 == 0 { wider } else { exact };
        let key = keyed.then(|| t.filled(limbs, 2 * digits, fill)).transpose()?;
        // A key that was computed may lie elsewhere than one that came from the host.
        keys.push(if i % 2 == 0 { key } else { key.map(|key| t.device.concat(&[key.view()], limbs)) });
    }
    Ok(keys)
}

/// An automorphism at any degree.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Steps(i64),
    Conjugation,
}

impl By {
    pub(super) fn element(self, ring: &Ring) -> GaloisElement {
        match self {
            Self::Steps(steps) => ring.rotation(steps),
            Self::Conjugation if ring.conjugation() != GaloisElement::IDENTITY => ring.conjugation(),
            // Where slots are real, a rotation stands for it.
            Self::Conjugation => ring.rotation(ring.slots() as i64 / 2),
        }
    }
}
