//! The suite that holds a [`Backend`] to the words of the scalar [`Cpu`].
//!
//! One function per operation of the trait, generic over the device. It runs on the reference, which records the
//! words of every result, then on the device with the same operands, whose words must be the same. Before each
//! case the device uploads and drops garbage, so that a result which relies on fresh memory shows itself, and
//! after it the operands must be as they were.

mod operations;

use crate::backend::{Backend, BackendError, Batch, Coeff, CompactPoly, Domain, Ntt, View};
use crate::{Cpu, Download, Limbs, Ring, RingError, Simd, primes_below};
use operations::operations;
use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

/// Logarithms of degrees that take a device through transforms of several shapes, in seconds.
pub const DEGREES: [u32; 3] = [10, 12, 13];

/// Beyond this degree there is one ring of few primes, to save memory and time: cases with more are left out.
const MAX_WIDE_LOG_N: u32 = 13;

/// What a device passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The device's name.
    pub device: String,
    /// How many results of each operation were compared.
    pub results: Vec<(&'static str, usize)>,
    /// How many words that was in all.
    pub words: u64,
}

/// Where in the suite something happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} ({case}) at n = 2^{log_n}, {primes} primes")]
pub struct Place {
    /// The operation, by its name in the trait.
    pub operation: &'static str,
    /// Which of its cases.
    pub case: String,
    /// Logarithm of the degree.
    pub log_n: u32,
    /// Which of the suite's two rings: `large` (all primes just below `2^30`) or `mixed` (20 to 30 bits).
    pub primes: &'static str,
}

/// Why a device failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A word of a result is wrong; the first one in memory order.
    #[error("{at}: poly {poly}, limb {limb}, coefficient {coefficient} is {got}, not {expected}")]
    Word {
        /// In which case.
        at: Place,
        /// Position in the batch.
        poly: usize,
        /// Position in the poly.
        limb: usize,
        /// Position in the limb.
        coefficient: usize,
        /// The reference's word.
        expected: u32,
        /// The device's word.
        got: u32,
    },
    /// A result has the wrong shape.
    #[error("{at}: {got:?} where {expected:?} are due (limbs, polys)")]
    Shape {
        /// In which case.
        at: Place,
        /// What is due.
        expected: (Limbs, usize),
        /// What came.
        got: (Limbs, usize),
    },
    /// The device reported an error.
    #[error("{at}: {error}")]
    Device {
        /// In which case.
        at: Place,
        /// What it said.
        error: BackendError,
    },
    /// An upload of too few words was not refused.
    #[error("{at}: accepted, though a word is missing")]
    Accepted {
        /// In which case.
        at: Place,
    },
    /// There is no ring of a degree, or no device for it.
    #[error("no device for n = 2^{log_n}: {reason}")]
    NoDevice {
        /// Logarithm of the degree.
        log_n: u32,
        /// What its constructor said.
        reason: String,
    },
}

/// Runs every operation on devices from `make`, at degrees given by their logarithms, for instance [`DEGREES`].
///
/// # Errors
/// The first [`Failure`].
pub fn check<B: Backend, E: Display>(
    log_degrees: &[u32],
    make: impl Fn(Arc<Ring>) -> Result<B, E>,
) -> Result<Report, Failure> {
    let mut report = Report::default();
    for &log_n in log_degrees {
        let no_device = |reason: String| Failure::NoDevice { log_n, reason };
        for (primes, ring) in rings(log_n).map_err(|e| no_device(e.to_string()))? {
            let reference = Cpu::with(ring.clone(), Simd::Scalar, 1).map_err(|e| no_device(e.to_string()))?;
            let device = make(ring).map_err(|e| no_device(e.to_string()))?;
            report.device = device.name();
            for ((name, record), (_, test)) in operations().into_iter().zip(operations()) {
                let at = Place { operation: name, case: String::new(), log_n, primes };
                let mut recorder = Trial::new(&reference, at.clone(), None);
                record(&mut recorder)?;
                let mut trial = Trial::new(&device, at, Some(recorder.recorded));
                test(&mut trial)?;
                match report.results.iter_mut().find(|(operation, _)| *operation == name) {
                    Some((_, results)) => *results += trial.results,
                    None => report.results.push((name, trial.results)),
                }
                report.words += trial.words;
            }
        }
    }
    Ok(report)
}

/// A ring of mixed primes, and one of primes just below `2^30`, where accumulators come closest to overflow.
fn rings(log_n: u32) -> Result<Vec<(&'static str, Arc<Ring>)>, RingError> {
    let n = 1 << log_n.min(17);
    let wide = log_n <= MAX_WIDE_LOG_N;
    let mut primes = Vec::new();
    for bits in [30, 20, 27, 22, 29, 24, 26, 30, 23, 28] {
        // A prime of b bits needs room for several candidates 1 mod 2n.
        primes.extend(primes_below(f64::from(bits.max(log_n + 7)), n, 1, &primes)?);
    }
    let (q, p) = primes.split_at(if wide { 7 } else { 5 });
    let p = p.split_at(if wide { 3 } else { 2 }).0;
    let mut rings = vec![("mixed", Arc::new(Ring::new(log_n, q, p)?))];
    if wide {
        let primes = primes_below(30.0, n, 21, &[])?;
        let (q, p) = primes.split_at(18);
        rings.insert(0, ("large", Arc::new(Ring::new(log_n, q, p)?)));
    }
    Ok(rings)
}

type Outcome = Result<(), Failure>;

/// Words of an operand.
#[derive(Clone, Copy, Debug)]
enum Fill {
    /// Random, an eighth of them 0, 1, `q - 1` or `(q - 1) / 2`.
    Mixed,
    /// `q - 1` throughout.
    Largest,
}

/// One operation on one device: its operands, and what becomes of its results.
struct Trial<'a, B> {
    device: &'a B,
    at: Place,
    /// What the reference computed; without it, this is the reference.
    expected: Option<VecDeque<Vec<u32>>>,
    recorded: VecDeque<Vec<u32>>,
    random: u64,
    results: usize,
    words: u64,
}

impl<'a, B: Backend> Trial<'a, B> {
    fn new(device: &'a B, at: Place, expected: Option<VecDeque<Vec<u32>>>) -> Self {
        Self { device, at, expected, recorded: VecDeque::new(), random: 0, results: 0, words: 0 }
    }

    fn ring(&self) -> &'a Ring {
        self.device.ring()
    }

    fn at(&self, case: &str) -> Place {
        Place { case: case.to_owned(), ..self.at.clone() }
    }

    /// So many limbs, or all that the ring has.
    fn limbs(&self, q: usize, p: usize) -> Limbs {
        let top = self.ring().limbs();
        Limbs { q: q.min(top.q), p: p.min(top.p) }
    }

    /// Those of some limbs that the ring has.
    fn levels<const C: usize>(&self, levels: [(usize, usize); C]) -> impl Iterator<Item = Limbs> + use<B, C> {
        let top = self.ring().limbs();
        levels.into_iter().map(|(q, p)| Limbs { q, p }).filter(move |&limbs| top.contains(limbs))
    }

    fn input<D: Domain>(&mut self, limbs: Limbs, polys: usize) -> Result<Batch<B, D>, Failure> {
        self.filled(limbs, polys, Fill::Mixed)
    }

    fn filled<D: Domain>(&mut self, limbs: Limbs, polys: usize, fill: Fill) -> Result<Batch<B, D>, Failure> {
        let ring = self.ring();
        let mut words = Vec::with_capacity(ring.words(limbs, polys));
        for modulus in (0..polys).flat_map(|_| ring.moduli(limbs)) {
            let q = modulus.q();
            if let Fill::Largest = fill {
                words.resize(words.len() + ring.n(), q - 1);
                continue;
            }
            let first_edge = words.len() + self.random() as usize % 8;
            words.extend((0..ring.n()).map(|_| ((u64::from(self.random()) * u64::from(q)) >> 32) as u32));
            let edges = [0, 1, q - 1, q / 2].into_iter().cycle();
            for (word, edge) in words.iter_mut().skip(first_edge).step_by(8).zip(edges) {
                *word = edge;
            }
        }
        self.uploaded(limbs, polys, &words)
    }

    fn uploaded<D: Domain>(&self, limbs: Limbs, polys: usize, words: &[u32]) -> Result<Batch<B, D>, Failure> {
        let uploaded = self.device.upload(limbs, polys, words);
        uploaded.map_err(|error| Failure::Device { at: self.at("upload of operands"), error })
    }

    /// Five compact polynomials of different lengths, with the largest coefficients among them.
    fn compact(&mut self) -> Result<B::CompactPolys, Failure> {
        let log_n = self.ring().log_n();
        let polys = [log_n, 1, log_n - 1, log_n.min(5), 0].map(|log_len| {
            let coefficient = |i: u32| match i % 7 {
                3 => i32::MIN,
                5 => i32::MAX,
                _ => self.random() as i32,
            };
            CompactPoly { coefficients: (0..1 << log_len).map(coefficient).collect() }
        });
        let uploaded = self.device.upload_compact(&polys);
        uploaded.map_err(|error| Failure::Device { at: self.at("upload of compact polynomials"), error })
    }

    /// Polys whose conversion from each group of limbs sums the largest words, `y_i = d_i - 1` (see
    /// [`crate::convert`]), in every coefficient.
    fn steep(&self, limbs: Limbs, polys: usize, groups: &[Vec<usize>]) -> Result<Batch<B, Ntt>, Failure> {
        let (ring, positions): (_, Vec<_>) = (self.ring(), self.ring().indices(limbs).collect());
        let words = (0..polys).flat_map(|_| &positions).flat_map(|&i| {
            let modulus = ring.modulus(i);
            let group = groups.iter().find(|group| group.contains(&i)).into_iter().flatten();
            let others = group.filter(|&&j| j != i).map(|&j| ring.modulus(j).q());
            let word = modulus.neg(others.fold(1, |product, d| modulus.mul(product, d)));
            std::iter::repeat_n(word, ring.n())
        });
        Ok(self.device.ntt(self.uploaded(limbs, polys, &words.collect::<Vec<_>>())?))
    }

    /// The next word of splitmix64 (Steele, Lea, Flood, 2014).
    fn random(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 32) as u32
    }

    /// Runs an operation that gives `polys` polynomials over `limbs`, on a device whose free memory is dirty.
    fn check<D: Domain>(
        &mut self,
        case: &str,
        limbs: Limbs,
        polys: usize,
        operation: impl FnOnce(&B) -> Batch<B, D>,
    ) -> Outcome {
        if self.expected.is_some() {
            self.dirty(limbs.count() * polys)
                .map_err(|error| Failure::Device { at: self.at("upload of garbage"), error })?;
        }
        let out = operation(self.device);
        if (out.limbs(), out.polys()) != (limbs, polys) {
            return Err(Failure::Shape {
                at: self.at(case),
                expected: (limbs, polys),
                got: (out.limbs(), out.polys()),
            });
        }
        self.same(case, out.view())
    }

    /// Leaves garbage in storage of the result's size, in `limbs` limbs, and of other sizes for scratch memory.
    fn dirty(&self, limbs: usize) -> Result<(), BackendError> {
        let small = self.ring().n() <= 1 << 11;
        let others = (1..=64).filter(|limbs: &usize| small || limbs.is_power_of_two());
        let sizes: Vec<_> = others.chain([limbs; 3]).collect();
        let garbage = vec![u32::MAX; self.ring().words(Limbs::q(1), limbs.max(64))];
        let upload = |limbs| {
            let words = garbage.get(..self.ring().words(Limbs::q(1), limbs)).unwrap_or_default();
            self.device.upload::<Coeff>(Limbs::q(1), limbs, words)
        };
        sizes.into_iter().map(upload).collect::<Result<Vec<_>, _>>().map(drop)
    }

    /// Records the words of a batch or compares them with what was recorded.
    fn same<D: Domain>(&mut self, case: &str, x: View<'_, B, D>) -> Outcome {
        self.same_words(case, x.limbs(), self.device.download(x))
    }

    /// Records the words of a download or compares them with what was recorded.
    fn same_words(&mut self, case: &str, limbs: Limbs, download: Download) -> Outcome {
        let words = download.wait().map_err(|error| Failure::Device { at: self.at(case), error })?;
        let Some(expected) = &mut self.expected else {
            self.recorded.push_back(words);
            return Ok(());
        };
        let expected = expected.pop_front().unwrap_or_default();
        if words.len() != expected.len() {
            let error = BackendError::Shape { expected: expected.len(), got: words.len() };
            return Err(Failure::Device { at: self.at(case), error });
        }
        self.results += 1;
        self.words += words.len() as u64;
        let difference = words.iter().zip(&expected).enumerate().find(|(_, (got, expected))| got != expected);
        let Some((i, (&got, &expected))) = difference else {
            return Ok(());
        };
        let (n, limbs) = (self.ring().n(), limbs.count());
        let (poly, limb, coefficient) = (i / n / limbs, i / n % limbs, i % n);
        Err(Failure::Word { at: self.at(case), poly, limb, coefficient, expected, got })
    }
}
