//! One operation on one device, and how it can fail.

use crate::{
    Backend, BackendError, Batch, Coeff, CompactPoly, Domain, Download, Limbs, Ntt, Ring, RingKind, View,
};
use std::collections::VecDeque;

/// The place of a failure in the suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} ({case}) in the {} ring of n = 2^{log_n}, {primes} primes", kind.name())]
pub struct Place {
    /// The operation, by its name in the trait.
    pub operation: &'static str,
    /// The case of the operation.
    pub case: String,
    /// Kind of the ring.
    pub kind: RingKind,
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
        /// Place in the suite.
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
    #[error("{at}: {} where {} were expected", shape_text(got), shape_text(expected))]
    Shape {
        /// Place in the suite.
        at: Place,
        /// Limbs and number of polynomials that the operation must return.
        expected: (Limbs, usize),
        /// Limbs and number of polynomials that the device returned.
        got: (Limbs, usize),
    },
    /// The device reported an error.
    #[error("{at}: {error}")]
    Device {
        /// Place in the suite.
        at: Place,
        /// The device's error.
        error: BackendError,
    },
    /// An upload of too few words was not refused.
    #[error("{at}: accepted, though a word is missing")]
    Accepted {
        /// Place in the suite.
        at: Place,
    },
    /// There is no ring of a degree, or no device for it.
    #[error("no device for n = 2^{log_n}: {reason}")]
    NoDevice {
        /// Logarithm of the degree.
        log_n: u32,
        /// The constructor's error.
        reason: String,
    },
}

/// A shape in words.
fn shape_text((limbs, polys): &(Limbs, usize)) -> String {
    format!("{polys} polynomials over {} + {} primes", limbs.q, limbs.p)
}

pub(super) type Outcome = Result<(), Failure>;

/// Words of an operand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill {
    /// Random, an eighth of them 0, 1, `q - 1` or `(q - 1) / 2`.
    Mixed,
    /// `q - 1` throughout.
    Largest,
}

/// One operation on one device: its operands, and what becomes of its results.
pub(super) struct Trial<'a, B> {
    pub(super) device: &'a B,
    pub(super) at: Place,
    /// Results of the reference, in order; `None` while the reference itself runs.
    pub(super) expected: Option<VecDeque<Vec<u32>>>,
    pub(super) recorded: VecDeque<Vec<u32>>,
    pub(super) random: u64,
    pub(super) results: usize,
    pub(super) words: u64,
}

impl<'a, B: Backend> Trial<'a, B> {
    pub(super) fn new(device: &'a B, at: Place, expected: Option<VecDeque<Vec<u32>>>) -> Self {
        Self { device, at, expected, recorded: VecDeque::new(), random: 0, results: 0, words: 0 }
    }

    pub(super) fn ring(&self) -> &'a Ring {
        self.device.ring()
    }

    pub(super) fn at(&self, case: &str) -> Place {
        Place { case: case.to_owned(), ..self.at.clone() }
    }

    /// Limbs with `q` ciphertext and `p` special primes, or all of the ring if it has fewer.
    pub(super) fn limbs(&self, q: usize, p: usize) -> Limbs {
        let top = self.ring().limbs();
        Limbs { q: q.min(top.q), p: p.min(top.p) }
    }

    /// The levels that the ring has.
    pub(super) fn levels<const C: usize>(
        &self,
        levels: [(usize, usize); C],
    ) -> impl Iterator<Item = Limbs> + use<B, C> {
        let top = self.ring().limbs();
        levels.into_iter().map(|(q, p)| Limbs { q, p }).filter(move |&limbs| top.contains(limbs))
    }

    pub(super) fn input<D: Domain>(&mut self, limbs: Limbs, polys: usize) -> Result<Batch<B, D>, Failure> {
        self.filled(limbs, polys, Fill::Mixed)
    }

    pub(super) fn filled<D: Domain>(
        &mut self,
        limbs: Limbs,
        polys: usize,
        fill: Fill,
    ) -> Result<Batch<B, D>, Failure> {
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

    pub(super) fn uploaded<D: Domain>(
        &self,
        limbs: Limbs,
        polys: usize,
        words: &[u32],
    ) -> Result<Batch<B, D>, Failure> {
        let uploaded = self.device.upload(limbs, polys, words);
        uploaded.map_err(|error| Failure::Device { at: self.at("upload of operands"), error })
    }

    /// Five compact polynomials of different lengths, with the largest coefficients among them.
    pub(super) fn compact(&mut self) -> Result<B::CompactPolys, Failure> {
        let log_n = self.ring().log_n();
        self.compact_of([log_n, 1, log_n - 1, log_n.min(5), 0])
    }

    /// Five numbers as compact polynomials.
    pub(super) fn numbers(&mut self) -> Result<B::CompactPolys, Failure> {
        self.compact_of([0; 5])
    }

    fn compact_of(&mut self, log_lens: [u32; 5]) -> Result<B::CompactPolys, Failure> {
        let polys = log_lens.map(|log_len| CompactPoly {
            coefficients: (0..1 << log_len)
                .map(|i| match i % 7 {
                    3 => i32::MIN,
                    5 => i32::MAX,
                    _ => self.random() as i32,
                })
                .collect(),
        });
        let uploaded = self.device.upload_compact(&polys);
        uploaded.map_err(|error| Failure::Device { at: self.at("upload of compact polynomials"), error })
    }

    /// Polys whose conversion from each group of limbs sums the largest words, `y_i = d_i - 1` (see
    /// [`crate::convert`]), in every coefficient.
    pub(super) fn steep(
        &self,
        limbs: Limbs,
        polys: usize,
        groups: &[Vec<usize>],
    ) -> Result<Batch<B, Ntt>, Failure> {
        let ring = self.ring();
        let positions: Vec<_> = self.ring().indices(limbs).collect();
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
    pub(super) fn random(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 32) as u32
    }

    /// Runs an operation that gives `polys` polynomials over `limbs`, on a device whose free memory is dirty.
    pub(super) fn check<D: Domain>(
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
    pub(super) fn dirty(&self, limbs: usize) -> Result<(), BackendError> {
        let small = self.ring().n() <= 1 << 11;
        let others = (1..=64).filter(|limbs: &usize| small || limbs.is_power_of_two());
        let sizes: Vec<_> = others.chain([limbs; 3]).collect();
        let garbage = vec![u32::MAX; self.ring().words(Limbs::q(1), limbs.max(64))];
        sizes
            .into_iter()
            .map(|limbs| {
                let words = garbage.get(..self.ring().words(Limbs::q(1), limbs)).unwrap_or_default();
                self.device.upload::<Coeff>(Limbs::q(1), limbs, words)
            })
            .collect::<Result<Vec<_>, _>>()
            .map(drop)
    }

    /// Records the words of a batch or compares them with what was recorded.
    pub(super) fn same<D: Domain>(&mut self, case: &str, x: View<'_, B, D>) -> Outcome {
        self.same_words(case, x.limbs(), self.device.download(x))
    }

    /// Records the words of a download or compares them with what was recorded.
    pub(super) fn same_words(&mut self, case: &str, limbs: Limbs, download: Download) -> Outcome {
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
        let n = self.ring().n();
        let limbs = limbs.count();
        let poly = i / n / limbs;
        let limb = i / n % limbs;
        let coefficient = i % n;
        Err(Failure::Word { at: self.at(case), poly, limb, coefficient, expected, got })
    }
}
