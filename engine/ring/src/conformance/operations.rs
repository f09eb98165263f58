//! The cases of each operation, a function each.

use super::switching::{
    By, baby_step_sums, baby_step_sums_divided, gadget_product, gadget_product_divided, relinearized_product,
};
use super::trial::{Failure, Fill, Outcome, Trial};
use crate::sample::Seed;
use crate::{
    Backend, BackendError, Batch, Coeff, Domain, Download, Gadget, IntegerMatrix, Limbs, Ntt, PolySource,
    RingError, Term, View,
};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// An operation's name and cases.
type Operation<B> = (&'static str, fn(&mut Trial<'_, B>) -> Outcome);

/// The suite, in the order of the trait.
pub(super) fn operations<B: Backend>() -> [Operation<B>; 22] {
    [
        ("upload", upload),
        ("upload_polys", upload_polys),
        ("concat", concat),
        ("ntt", ntt),
        ("intt", intt),
        ("add", add),
        ("add_assign", add_assign),
        ("sub_assign", sub_assign),
        ("neg_assign", neg_assign),
        ("mul_scalar", mul_scalar),
        ("mul_accumulate", mul_accumulate),
        ("matrix_product", matrix_product),
        ("automorphism", automorphism),
        ("mod_up", mod_up),
        ("gadget_product", gadget_product),
        ("expand_compact", expand),
        ("baby_step_sums", baby_step_sums),
        ("rescale", rescale),
        ("baby_step_sums_divided", baby_step_sums_divided),
        ("gadget_product_divided", gadget_product_divided),
        ("relinearized_product", relinearized_product),
        ("order", order),
    ]
}

fn upload<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for limbs in t.levels([(1, 0), (1, 3), (5, 2), (7, 3), (18, 3)]) {
        let x = t.input::<Coeff>(limbs, 3)?;
        t.same(&format!("{limbs:?}"), x.view())?;
        t.same("a slice", x.slice(1, 1))?;
        let x = t.input::<Ntt>(limbs, 2)?;
        t.same("transformed", x.slice(1, 1))?;
    }
    let short = vec![0; t.ring().words(Limbs::q(2), 1) - 1];
    match t.device.upload::<Ntt>(Limbs::q(2), 1, &short) {
        Err(BackendError::Shape { .. }) => Ok(()),
        _ => Err(Failure::Accepted { at: t.at("a word too few") }),
    }
}

fn upload_polys<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for limbs in t.levels([(2, 0), (2, 2)]) {
        let words = [1, 2, 3].map(|word| vec![word; t.ring().words(limbs, 1)]);
        let [first, second, third] = words.each_ref().map(Vec::as_slice);
        let apart = [third, first, second, first].map(PolySource::Words);
        let uploaded = t.device.upload_polys::<Ntt>(limbs, &apart);
        let uploaded = uploaded.map_err(|error| Failure::Device { at: t.at("apart"), error })?;
        t.same(&format!("{limbs:?}"), uploaded.view())?;
    }
    let [first, second] = [[7; 32], std::array::from_fn(|i| i as u8)].map(|bytes| Seed::from_bytes(&bytes));
    let uniform = |seed, number| PolySource::Uniform { seed, number, words: None };
    for limbs in t.levels([(1, 0), (3, 0), (2, 2), (5, 3), (18, 3)]) {
        let words = vec![1; t.ring().words(limbs, 1)];
        let words = PolySource::Words(&words);
        let last = uniform(&first, 0);
        let polys = [words, last, uniform(&second, 3), words, uniform(&first, u32::MAX), last];
        // Alone, in turn with others, and all that are left.
        for polys in [&polys[1..2], &polys, &polys[4..]] {
            let uploaded = t.device.upload_polys::<Ntt>(limbs, polys);
            let uploaded = uploaded.map_err(|error| Failure::Device { at: t.at("seeds"), error })?;
            t.same(&format!("{} of seeds, {limbs:?}", polys.len()), uploaded.view())?;
        }
        let write = |limb: usize, to: &mut [u32]| to.fill(limb as u32 + 1);
        let written = PolySource::Written(&write);
        let uploaded = t.device.upload_polys::<Ntt>(limbs, &[written, last, words, written]);
        let uploaded = uploaded.map_err(|error| Failure::Device { at: t.at("written"), error })?;
        t.same(&format!("written, {limbs:?}"), uploaded.view())?;
    }
    // As many words as there should be, but not in each polynomial.
    let words = vec![0; t.ring().words(Limbs::q(2), 2)];
    let (short, long) = words.split_at(words.len() / 2 - 1);
    match t.device.upload_polys::<Ntt>(Limbs::q(2), &[short, long].map(PolySource::Words)) {
        Err(BackendError::Shape { .. }) => Ok(()),
        _ => Err(Failure::Accepted { at: t.at("a word too few") }),
    }
}

fn concat<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let x = t.input::<Ntt>(t.limbs(7, 3), 3)?;
    let y = t.input::<Ntt>(Limbs { q: 5, p: 2 }, 2)?;
    for limbs in t.levels([(5, 2), (5, 0), (3, 2), (1, 1), (1, 0)]) {
        let views = [x.slice(1, 2), y.view(), x.slice(0, 1), y.slice(1, 1)];
        t.check(&format!("to {limbs:?}"), limbs, 6, |d| d.concat(&views, limbs))?;
    }
    let z = t.input::<Coeff>(Limbs::q(4), 2)?;
    t.check("one view", Limbs::q(4), 2, |d| d.concat(&[z.view()], Limbs::q(4)))?;
    t.same("operand", x.view())
}

fn ntt<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for limbs in t.levels([(1, 0), (4, 2), (7, 3), (18, 3)]) {
        for fill in [Fill::Mixed, Fill::Largest] {
            let x = t.filled(limbs, 3, fill)?;
            t.check(&format!("{limbs:?}, {fill:?}"), limbs, 3, |d| d.ntt(x))?;
        }
    }
    if t.ring().log_n() == MANY_LOG_N {
        let x = t.input(Limbs::q(1), MANY)?;
        t.check("many", Limbs::q(1), MANY, |d| d.ntt(x))?;
    }
    Ok(())
}

fn intt<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for limbs in t.levels([(1, 0), (4, 2), (7, 3), (18, 3)]) {
        for fill in [Fill::Mixed, Fill::Largest] {
            let x = t.filled(limbs, 3, fill)?;
            t.check(&format!("{limbs:?}, {fill:?}"), limbs, 3, |d| d.intt(x))?;
        }
    }
    Ok(())
}

fn add<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let x = t.input::<Ntt>(t.limbs(7, 3), 4)?;
    let y = t.input::<Ntt>(t.limbs(6, 2), 3)?;
    for limbs in t.levels([(1, 0), (5, 0), (5, 2)]) {
        for (count, polys) in [(4, 3), (4, 1), (2, 2), (0, 1), (0, 0)] {
            let case = format!("{limbs:?}, {count} by {polys}");
            t.check(&case, limbs, 4, |d| d.add(x.view(), y.slice(0, polys), count, limbs))?;
        }
    }
    t.check("twice", y.limbs(), 3, |d| d.add(y.view(), y.view(), 3, y.limbs()))?;
    t.same("operand", x.view())
}

/// More polynomials than a dimension of a GPU's grid, at the degree where they are short.
const MANY: usize = 65_537;
const MANY_LOG_N: u32 = 4;

fn add_assign<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    if t.ring().log_n() == MANY_LOG_N {
        let mut x = t.input::<Ntt>(Limbs::q(1), MANY)?;
        let y = t.input(Limbs::q(1), 3)?;
        t.check("many", Limbs::q(1), MANY, |d| {
            d.add_assign(&mut x, 0, MANY, y.view());
            x
        })?;
    }
    zip_assign::<B, Coeff>(t, &[(1, 2)], |d, x, at, count, y| d.add_assign(x, at, count, y))?;
    zip_assign::<B, Ntt>(t, &[(1, 0), (5, 2)], |d, x, at, count, y| d.add_assign(x, at, count, y))
}

fn sub_assign<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    zip_assign::<B, Coeff>(t, &[(1, 2)], |d, x, at, count, y| d.sub_assign(x, at, count, y))?;
    zip_assign::<B, Ntt>(t, &[(1, 0), (5, 2)], |d, x, at, count, y| d.sub_assign(x, at, count, y))
}

fn zip_assign<B: Backend, D: Domain>(
    t: &mut Trial<'_, B>,
    levels: &[(usize, usize)],
    operation: impl Fn(&B, &mut Batch<B, D>, usize, usize, View<'_, B, D>),
) -> Outcome {
    for limbs in levels.iter().map(|&(q, p)| Limbs { q, p }) {
        // `y` may have more limbs; its polys are used in turns.
        for y_limbs in [limbs, t.limbs(7, 3)] {
            let y = t.input(y_limbs, 6)?;
            for (at, count, polys) in [(0, 5, 5), (1, 3, 3), (1, 4, 1), (0, 5, 2), (2, 0, 1)] {
                let mut x = t.input(limbs, 5)?;
                let case = format!("{limbs:?} and {y_limbs:?}, {count} from {at} by {polys}");
                t.check(&case, limbs, 5, |d| {
                    operation(d, &mut x, at, count, y.slice(1, polys));
                    x
                })?;
            }
            t.same("operand", y.view())?;
        }
    }
    Ok(())
}

fn neg_assign<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for limbs in t.levels([(1, 0), (5, 2), (7, 3)]) {
        let mut x = t.input::<Ntt>(limbs, 3)?;
        t.check(&format!("{limbs:?}"), limbs, 3, |d| {
            d.neg_assign(&mut x);
            x
        })?;
    }
    Ok(())
}

fn mul_scalar<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    for limbs in t.levels([(1, 0), (5, 2), (7, 3)]) {
        let moduli: Vec<u32> = t.ring().moduli(limbs).map(|m| m.q()).collect();
        for scalar in [|_| 0, |_| 1, |q| q - 1, |q| q / 2, |q| q / 3 + 5] {
            let x = t.input::<Coeff>(limbs, 4)?;
            let scalar: Vec<u32> = moduli.iter().copied().map(scalar).collect();
            t.check(&format!("{limbs:?} by {scalar:?}"), limbs, 3, |d| d.mul_scalar(x.slice(1, 3), &scalar))?;
            t.same("operand", x.view())?;
        }
    }
    Ok(())
}

fn mul_accumulate<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let a_limbs = t.limbs(7, 3);
    let b_limbs = t.limbs(6, 2);
    let limbs = Limbs { q: 4, p: 1 };
    for fill in [Fill::Mixed, Fill::Largest] {
        let a = t.filled(a_limbs, 6, fill)?;
        let b = t.filled(b_limbs, 7, fill)?;
        let pointwise: Vec<_> = (0..5).map(|i| Term { out: i, a: i, b: i }).collect();
        let tensor = [(0, 0, 2), (1, 0, 3), (1, 1, 2), (2, 1, 3)].map(|(out, a, b)| Term { out, a, b });
        // As many terms in an output as fill an accumulator once or twice, one more, and none.
        let counts = [1, 15, 16, 17, 0, 31, 32, 33, 49];
        let terms = counts
            .iter()
            .enumerate()
            .flat_map(|(out, &n)| (0..n).map(move |i| Term { out, a: i % 5, b: i % 6 }));
        let mut sums: Vec<_> = terms.collect();
        sums.sort_by_key(|t| (t.b, t.a, t.out));
        for (name, terms, outputs) in
            [("pointwise", &pointwise[..], 5), ("tensor", &tensor, 3), ("sums", &sums, 9)]
        {
            t.check(&format!("{name}, {fill:?}"), limbs, outputs, |d| {
                d.mul_accumulate(a.slice(1, 5), b.slice(1, 6), terms, outputs, limbs)
            })?;
        }
        t.check("square", b_limbs, 7, |d| {
            let terms: Vec<_> = (0..7).map(|i| Term { out: i, a: i, b: 6 - i }).collect();
            d.mul_accumulate(b.view(), b.view(), &terms, 7, b_limbs)
        })?;
        t.same("operand", b.view())?;
    }
    Ok(())
}

fn matrix_product<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    // Rows of the same columns, some and none of them, with as many entries as fill an accumulator once or twice, and one more.
    let counts = [5, 5, 5, 5, 1, 16, 16, 16, 16, 16, 0, 17, 33, 40, 40, 40, 40, 33];
    let value = |row: usize, column: u32| match (row + column as usize) % 5 {
        0 => i32::MIN,
        1 => i32::MAX,
        2 => -1,
        other => (row as i32 - 7) * 12_345 + other as i32 * column as i32,
    };
    let rows = counts.iter().enumerate().map(|(row, &n)| (0..n).map(|c| (c, value(row, c))).collect());
    let mixed = matrix(t, 40, rows.collect())?;
    let diagonal = matrix(t, 6, (0..6).map(|i| vec![(i, 3 - i as i32)]).collect())?;
    for fill in [Fill::Mixed, Fill::Largest] {
        let x = t.filled(t.limbs(3, 1), 41, fill)?;
        for limbs in [Limbs { q: 2, p: 1 }, Limbs::q(2)] {
            t.check(&format!("{limbs:?}, {fill:?}"), limbs, 18, |d| {
                d.matrix_product(x.slice(1, 40), &mixed, limbs)
            })?;
        }
        t.check(&format!("vectors, {fill:?}"), Limbs::q(3), 18, |d| {
            d.matrix_product(x.slice(2, 18), &diagonal, Limbs::q(3))
        })?;
        t.same("operand", x.view())?;
    }
    Ok(())
}

fn matrix<B: Backend>(
    t: &Trial<'_, B>,
    columns: usize,
    rows: Vec<Vec<(u32, i32)>>,
) -> Result<IntegerMatrix, Failure> {
    IntegerMatrix::new(columns, rows)
        .map_err(|error: RingError| Failure::NoDevice { log_n: t.at.log_n, reason: error.to_string() })
}

fn automorphism<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let limbs = Limbs { q: 5, p: 2 };
    let x = t.input::<Ntt>(limbs, 4)?;
    let y = t.input::<Coeff>(limbs, 4)?;
    for by in [0, 1, -1, 7, 100, -37].map(By::Steps).into_iter().chain([By::Conjugation]) {
        let g = by.element(t.ring());
        t.check(&format!("{by:?}, transformed"), limbs, 3, |d| d.automorphism(x.slice(1, 3), g))?;
        t.check(&format!("{by:?}, coefficients"), limbs, 3, |d| d.automorphism(y.slice(1, 3), g))?;
    }
    t.same("operand", x.view())
}

fn mod_up<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let short_last_digit = [(18, 3, 15), (7, 3, 3), (7, 2, 2), (4, 3, 3), (2, 3, 3), (1, 3, 2)];
    let full_digits = [(18, 1, 1), (7, 1, 1), (6, 3, 2), (3, 3, 3), (1, 1, 1)];
    for (q, p, digit_limbs) in short_last_digit.into_iter().chain(full_digits) {
        let gadget = Gadget { limbs: Limbs { q, p }, digit_limbs };
        if !t.ring().limbs().contains(gadget.limbs) {
            continue;
        }
        let digits: Vec<_> = (0..gadget.digits()).map(|d| gadget.digit(d).collect()).collect();
        let polys = if q > 7 { 1 } else { 2 };
        let x = t.input(Limbs::q(q), 1 + polys)?;
        for (words, x) in [("mixed", x), ("steep", t.steep(Limbs::q(q), 1 + polys, &digits)?)] {
            let case = format!("{q}+{p} in digits of {digit_limbs}, {words}");
            t.check(&case, gadget.limbs, polys * digits.len(), |d| d.mod_up(x.slice(1, polys), gadget))?;
            t.same("operand", x.view())?;
        }
    }
    Ok(())
}

fn expand<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let compact = t.compact()?;
    let limbs = t.limbs(7, 3);
    for (start, count) in [(0, 5), (2, 2)] {
        let case = format!("{count} from {start}");
        t.check(&case, limbs, count, |d| d.expand_compact(&compact, start, count, limbs))?;
    }
    Ok(())
}

fn rescale<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let ciphertext_primes =
        [((7, 0), (6, 0)), ((7, 0), (5, 0)), ((4, 0), (1, 0)), ((2, 0), (1, 0)), ((6, 2), (5, 2))];
    let special_primes = [((7, 3), (7, 0)), ((5, 2), (5, 0)), ((1, 2), (1, 0)), ((5, 3), (5, 1))];
    let both = [((7, 3), (6, 0)), ((5, 2), (4, 0)), ((5, 3), (2, 1)), ((18, 3), (6, 0))];
    for ((q, p), (to_q, to_p)) in ciphertext_primes.into_iter().chain(special_primes).chain(both) {
        let from = Limbs { q, p };
        let to = Limbs { q: to_q, p: to_p };
        if !t.ring().limbs().contains(from) {
            continue;
        }
        let mut dropped: Vec<_> = t.ring().indices(from).collect();
        dropped.retain(|&i| t.ring().indices(to).all(|kept| kept != i));
        let x = t.input(from, 3)?;
        for (words, x) in [("mixed", x), ("steep", t.steep(from, 3, &[dropped])?)] {
            t.check(&format!("{q}+{p} to {to_q}+{to_p}, {words}"), to, 2, |d| d.rescale(x.slice(1, 2), to))?;
            t.same("operand", x.view())?;
        }
    }
    Ok(())
}

/// Operations that follow each other without a wait, on memory that comes free in between.
fn order<B: Backend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut limbs = t.limbs(6, 0);
    let terms = [(0, 0, 1), (1, 1, 1), (1, 0, 0)].map(|(out, a, b)| Term { out, a, b });
    let start = t.input::<Coeff>(limbs, 2)?;
    let addend = t.input::<Ntt>(limbs, 2)?;
    t.check("rounds of a computation", Limbs::q(2), 2, |d| {
        let mut x = d.ntt(start);
        while limbs.q > 2 {
            let product = d.mul_accumulate(x.view(), x.view(), &terms, 2, limbs);
            x = d.automorphism(product.view(), By::Steps(1).element(d.ring()));
            drop(product);
            d.sub_assign(&mut x, 0, 2, addend.slice(1, 1));
            limbs.q -= 1;
            x = d.rescale(x.view(), limbs);
            d.neg_assign(&mut x);
            x = d.ntt(d.intt(x));
        }
        d.concat(&[x.slice(1, 1), x.slice(0, 1)], limbs)
    })?;
    let mut x = t.input::<Coeff>(limbs, 3)?;
    let before = t.device.download(x.view());
    t.device.neg_assign(&mut x);
    let after = t.device.download(x.slice(1, 2));
    let awaited = t.device.download(x.slice(0, 2));
    // What the downloads read is no longer there.
    drop(x);
    let other = t.input::<Coeff>(limbs, 3)?;
    t.same_words("a later download, waited for first", limbs, after)?;
    t.same_words("an earlier download, waited for last", limbs, before)?;
    t.same_words("a download that is awaited", limbs, Download::ready(awaited_result(awaited)))?;
    t.same("what was uploaded between", other.view())
}

/// The result of a future, polled until it is ready.
fn awaited_result<T>(future: impl Future<Output = T> + Unpin) -> T {
    let mut future = future;
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = Pin::new(&mut future).poll(&mut context) {
            return result;
        }
        std::thread::yield_now();
    }
}
