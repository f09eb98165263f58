//! Transforms: of limbs that fit a workgroup's memory in one pass, of larger ones in two, with conversions and compact polynomials on the way in
//! and division on the way out.

use crate::Gpu;
use crate::backend::{Call, GpuCompactPolys, Row, poly};
use crate::device::{Block, Device};
use crate::memory::{GpuBuffer, Groups};
use pleura_ring::convert::Target;
use pleura_ring::{BasisConversion, Batch, Gadget, Limbs, Ntt, Ring, View};
use std::sync::{Arc, PoisonError};

/// The kernels of a forward transform: in one pass, or a head and the rest.
#[derive(Clone, Copy)]
pub(crate) struct Forward {
    whole: &'static str,
    head: &'static str,
    rest: &'static str,
}

/// Of words as they are.
pub(crate) const NTT: Forward = Forward { whole: "ntt", head: "ntt_head", rest: "ntt_rest" };

/// Of coefficients converted from other primes.
const CONVERTED: Forward = Forward { whole: "ntt_converted", head: "ntt_head_converted", rest: "ntt_rest" };

/// The same, then taken from the value they are the remainder of.
const RESCALED: Forward =
    Forward { whole: "ntt_converted_rescaled", head: "ntt_head_converted", rest: "ntt_rest_rescaled" };

/// Of compact polynomials.
const COMPACT: Forward = Forward { whole: "ntt_compact", head: "ntt_head_compact", rest: "ntt_rest" };

/// Stages of a head.
const HEAD: u32 = 4;

/// What a thread holds.
const LOG_THREAD_WORDS: u32 = 4;

/// Logarithm of the largest degree that a device transforms.
pub(crate) fn max_log(device: &Device) -> u32 {
    device.max_log_block + HEAD
}

/// The tables of a ring's primes and of their twiddles, as the kernels read them.
pub(crate) fn tables(ring: &Ring) -> (Vec<u32>, Vec<u32>) {
    let (n, all) = (ring.n(), ring.limbs());
    let (mut primes, mut twiddles) = (Vec::new(), Vec::with_capacity(4 * ring.words(all, 1)));
    for (i, modulus) in ring.moduli(all).enumerate() {
        let (r, one) = (modulus.r(), modulus.shoup(1));
        let (forward, inverse) = ((i * n) as u32, ((all.count() + i) * n) as u32);
        let offset = modulus.reduce(1 << 31);
        primes.extend([
            modulus.q(),
            modulus.q_inv(),
            r.w,
            r.quotient,
            one.quotient,
            offset,
            forward,
            inverse,
        ]);
    }
    let each = |i| ring.table(i).forward();
    for table in ring.indices(all).map(each).chain(ring.indices(all).map(|i| ring.table(i).inverse())) {
        twiddles.extend(table.w.iter().zip(&table.quotient).flat_map(|(&w, &quotient)| [w, quotient]));
    }
    (primes, twiddles)
}

impl Gpu {
    /// Forward transform of limbs of `2^log_n` words.
    pub(crate) fn forward<'a>(
        &self,
        kernels: Forward,
        log_n: u32,
        extra: [u32; 4],
        limbs: &[[u32; 8]],
        terms: &[u32],
        rows: impl Iterator<Item = Row<'a>> + Clone,
    ) {
        let cost = u64::from(log_n).div_ceil(2);
        let call = Call { kernel: kernels.whole, block: None, log_n, extra, limbs, terms, cost };
        if log_n <= self.device.max_log_block {
            // A compact polynomial of fewer words than a thread holds is transformed in as many copies as fit.
            let (short, log) = (extra[0], log_n);
            let block = match short {
                0 => Block::whole(log),
                copies => Block { log, first: log - copies, stages: log - copies },
            };
            self.call(&Call { block: Some(block), ..call }, rows);
            return;
        }
        self.call(&Call { kernel: kernels.head, ..call }, rows.clone());
        // The rest is in place; what it is taken from stays.
        let rest = rows.map(|row| Row { chunks: [row.chunks[0], None, row.chunks[2], None, None], ..row });
        let block = Some(Block::whole(log_n - HEAD));
        self.call(&Call { kernel: kernels.rest, block, ..call }, rest);
    }

    /// Inverse transform of the ring's limbs, scaled by the factor in each limb's entry.
    pub(crate) fn inverse<'a>(&self, limbs: &[[u32; 8]], rows: impl Iterator<Item = Row<'a>> + Clone) {
        let log_n = self.ring.log_n();
        let cost = u64::from(log_n).div_ceil(2);
        let call = Call { kernel: "intt", block: None, log_n, extra: [0; 4], limbs, terms: &[], cost };
        if log_n <= self.device.max_log_block {
            self.call(&Call { block: Some(Block::whole(log_n)), ..call }, rows);
            return;
        }
        self.call(&Call { block: Some(Block::whole(log_n - HEAD)), ..call }, rows.clone());
        let head = rows.map(|row| Row { chunks: [row.chunks[0], None, None, None, None], ..row });
        self.call(&Call { kernel: "intt_head", ..call }, head);
    }

    /// Puts the factors of the inverse's last stage into a limb's entry, so that the result is multiplied by `factor`.
    pub(crate) fn set_factor(&self, entry: &mut [u32; 8], factor: u32) {
        let [sum, difference] = self.ring.table(entry[0] as usize).last_stage(factor);
        [entry[4], entry[5], entry[6], entry[7]] = [sum.w, sum.quotient, difference.w, difference.quotient];
    }

    /// The digits of each poly of a view, extended to all limbs.
    pub(crate) fn extended(&self, x: View<'_, Gpu, Ntt>, gadget: Gadget) -> Batch<Gpu, Ntt> {
        let (digits, limbs, log_n) = (gadget.digits(), gadget.limbs, self.ring.log_n());
        let out = self.extension(x, gadget);
        // Each digit's own limbs are there already.
        let own = |d: usize| gadget.digit(d).map(move |limb| (d, limb));
        let entry = |(d, limb): (usize, usize)| {
            let (to, from) = ((d * limbs.count() + limb) << log_n, limb << log_n);
            [limb as u32, to as u32, from as u32, 0, 0, 0, 0, 0]
        };
        let entries: Vec<_> = (0..digits).flat_map(own).map(entry).collect();
        let rows = (0..x.polys()).map(|i| Row::map(out.at(i), poly(x, i)));
        self.pointwise("concat", [0; 4], &entries, rows);
        let polys = out.split(limbs.count() << log_n, digits);
        Batch::from_buffer(polys, limbs, x.polys() * digits)
    }

    /// For each poly of a view room for its digits, `[digit][limb]`, with all limbs but each digit's own filled.
    pub(crate) fn extension(&self, x: View<'_, Gpu, Ntt>, gadget: Gadget) -> GpuBuffer {
        let (digits, limbs, log_n) = (gadget.digits(), gadget.limbs, self.ring.log_n());
        assert!(x.limbs() == Limbs::q(limbs.q), "ModUp of {:?} to {limbs:?}", x.limbs());
        let positions: Vec<_> = self.ring.indices(limbs).collect();
        let (mut sources, mut targets, mut terms) = (Vec::new(), Vec::new(), Vec::new());
        for d in 0..digits {
            let digit = gadget.digit(d);
            let others = positions.iter().copied().enumerate().filter(|(limb, _)| !digit.contains(limb));
            let conversion = self.conversion(digit.clone().collect(), others.clone().map(|o| o.1).collect());
            sources.extend(digit.clone().zip(conversion.qhat_inv()).map(|(limb, &scale)| {
                let offset = (limb << log_n) as u32;
                let mut entry = [limb as u32, offset, offset, 0, 0, 0, 0, 0];
                self.set_factor(&mut entry, scale);
                entry
            }));
            for ((limb, prime), target) in others.zip(conversion.targets()) {
                let to = ((d * limbs.count() + limb) << log_n) as u32;
                let from = (digit.start << log_n) as u32;
                targets.push([prime as u32, to, from, 0, terms.len() as u32, 0, 0, 0]);
                push_conversion(&mut terms, &conversion, &target.qhat);
            }
        }
        let coefficients = self.alloc(x.limbs(), x.polys(), Groups::Each);
        self.inverse(&sources, (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i))));
        let out = self.alloc(limbs, x.polys() * digits, Groups::Neighbours(digits));
        let out = out.join(digits);
        let rows = (0..x.polys()).map(|i| Row::map(out.at(i), coefficients.at(i)));
        self.forward(CONVERTED, log_n, [0; 4], &targets, &terms, rows);
        out
    }

    /// Division by the primes that `to` lacks.
    pub(crate) fn divided(&self, x: View<'_, Gpu, Ntt>, to: Limbs) -> Batch<Gpu, Ntt> {
        let (from, log_n) = (x.limbs(), self.ring.log_n());
        assert!(from.contains(to) && from != to, "rescale from {from:?} to {to:?}");
        let (all, kept): (Vec<_>, Vec<_>) =
            (self.ring.indices(from).collect(), self.ring.indices(to).collect());
        let dropped: Vec<_> = all.iter().enumerate().filter(|(_, prime)| !kept.contains(prime)).collect();
        let conversion = self.conversion(dropped.iter().map(|(_, prime)| **prime).collect(), kept.clone());
        let source = |(i, ((limb, prime), &scale)): (usize, (&(usize, &usize), &u32))| {
            let mut entry = [**prime as u32, (i << log_n) as u32, (limb << log_n) as u32, 0, 0, 0, 0, 0];
            self.set_factor(&mut entry, scale);
            entry
        };
        let sources: Vec<_> = dropped.iter().zip(conversion.qhat_inv()).enumerate().map(source).collect();
        let mut terms = Vec::new();
        let mut target = |(limb, (prime, target)): (usize, (&usize, &Target))| {
            let (at, before) = ((limb << log_n) as u32, (from.position(to, limb) << log_n) as u32);
            let table = terms.len() as u32;
            push_conversion(&mut terms, &conversion, &target.qhat);
            [*prime as u32, at, 0, before, table, target.inverse.w, target.inverse.quotient, 0]
        };
        let targets: Vec<_> = kept.iter().zip(conversion.targets()).enumerate().map(&mut target).collect();

        let coefficients = self.device.alloc(dropped.len() << log_n, x.polys(), Groups::Each);
        self.inverse(&sources, (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i))));
        let out = self.alloc(to, x.polys(), Groups::Each);
        let rows = (0..x.polys()).map(|i| {
            let ((out, out_at), (x, x_at), (y, y_at)) = (out.at(i), coefficients.at(i), poly(x, i));
            Row {
                chunks: [Some(out), Some(x), Some(y), None, None],
                entry: [out_at, x_at, y_at, 0, 0, 0, 0, 0],
            }
        });
        self.forward(RESCALED, log_n, [0; 4], &targets, &terms, rows);
        Batch::from_buffer(out, to, x.polys())
    }

    /// Compact polynomials at full length.
    pub(crate) fn expanded(
        &self,
        polys: &GpuCompactPolys,
        start: usize,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Gpu, Ntt> {
        let (out, log_n) = (self.alloc(limbs, count, Groups::Each), self.ring.log_n());
        let positions: Vec<_> = self.ring.indices(limbs).collect();
        let wanted: Vec<_> = (start..start + count).collect();
        let (short, log_runs) = self.transformed_compact(polys, &wanted, &positions);
        for log_run in 0..=log_n {
            let entry = |(i, &prime): (usize, &usize)| {
                let (to, from) = (i << log_n, i << (log_n - log_run));
                [prime as u32, to as u32, from as u32, 0, 0, 0, 0, 0]
            };
            let entries: Vec<_> = positions.iter().enumerate().map(entry).collect();
            let same = log_runs.iter().enumerate().filter(|(_, run)| **run == log_run).map(|(i, _)| i);
            let rows = same.map(|i| Row::map(out.at(i), short.at(i)));
            self.pointwise("expand_compact", [log_run, 0, 0, 0], &entries, rows);
        }
        Batch::from_buffer(out, limbs, count)
    }

    /// Some compact polynomials, transformed modulo the primes at some positions: each `[prime][word]`, and how many neighbouring words of a
    /// limb each word counts for (the logarithm).
    pub(crate) fn transformed_compact(
        &self,
        polys: &GpuCompactPolys,
        wanted: &[usize],
        positions: &[usize],
    ) -> (GpuBuffer, Vec<u32>) {
        let log_n = self.ring.log_n();
        let log_len = |i: usize| polys.log_lens.get(i).copied().unwrap_or(0);
        // A thread's worth at least.
        let log_stored = |i: usize| log_len(i).max(LOG_THREAD_WORDS);
        let sizes: Vec<_> = wanted.iter().map(|&i| positions.len() << log_stored(i)).collect();
        let out = self.device.alloc_sizes(&sizes);
        for log in 0..=log_n {
            let stored = log.max(LOG_THREAD_WORDS);
            let entry = |(i, &prime): (usize, &usize)| [prime as u32, (i << stored) as u32, 0, 0, 0, 0, 0, 0];
            let entries: Vec<_> = positions.iter().enumerate().map(entry).collect();
            let same = wanted.iter().enumerate().filter(|(_, i)| log_len(**i) == log);
            let rows = same.map(|(place, &i)| Row::map(out.at(place), polys.buffer.at(i)));
            self.forward(COMPACT, stored, [stored - log, 0, 0, 0], &entries, &[], rows);
        }
        (out, wanted.iter().map(|&i| log_n - log_stored(i)).collect())
    }

    #[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
    fn conversion(&self, sources: Vec<usize>, targets: Vec<usize>) -> Arc<BasisConversion> {
        let mut conversions = self.conversions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (sources, targets);
        if let Some(conversion) = conversions.get(&key) {
            return conversion.clone();
        }
        let conversion = BasisConversion::new(&self.ring, &key.0, &key.1).expect("a digit of 1 to 15 primes");
        let conversion = Arc::new(conversion);
        conversions.insert(key, conversion.clone());
        conversion
    }
}

/// The table of a conversion to one prime, as `load_converted` reads it.
fn push_conversion(terms: &mut Vec<u32>, conversion: &BasisConversion, qhat: &[u32]) {
    terms.extend([conversion.inv_fixed_point().len() as u32, conversion.fixed_point_bits()]);
    let quotients = conversion.inv_fixed_point().iter().copied().chain([0]);
    terms.extend(qhat.iter().zip(quotients).flat_map(|(&qhat, quotient)| [qhat, quotient]));
}
