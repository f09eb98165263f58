//! Ranking: the candidates of a search in the order of their price.

use crate::CompileError;
use crate::calibration::Calibration;
use crate::candidate::{Candidate, Way};

/// Ratio of predicted seconds up to which a way is promising for several items, too, and the most such ways.
const PROMISING_RATIO: f64 = 1.3;
const MAX_PROMISING: usize = 4;

/// Candidates of a search, the cheapest first.
pub(crate) struct Ranking(Vec<Candidate>);

impl Ranking {
    /// Candidates in the order of their price for a batch.
    pub(crate) fn new(mut candidates: Vec<Candidate>, batch: usize) -> Self {
        candidates.sort_by(|a, b| a.price(batch).total_cmp(&b.price(batch)));
        Self(candidates)
    }

    /// Ways that are nearly as cheap as the cheapest: where several items share ciphertexts, one of them is likely to be it.
    pub(crate) fn promising(&self) -> Vec<Way> {
        let preferred = || self.0.iter().filter(|c| c.is_preferred);
        let most = preferred().next().map_or(0.0, Candidate::predicted_seconds) * PROMISING_RATIO;
        preferred().filter(|c| c.predicted_seconds() <= most).map(|c| c.way).take(MAX_PROMISING).collect()
    }

    /// The cheapest candidate, with a sentence on the choice. If it is predicted to have fewer bits than `precision`, the cheapest one that has as
    /// many.
    ///
    /// # Errors
    /// [`CompileError::Precision`]
    pub(crate) fn best(
        self,
        precision: Option<f64>,
        calibration: &Calibration,
    ) -> Result<(Candidate, String), CompileError> {
        let preferred = self.0.iter().position(|c| c.is_preferred);
        let mut first = preferred.ok_or(CompileError::Internal("a ranking is empty"))?;
        if let Some(requested) = precision {
            first = self.precise(first, requested, calibration)?;
        }
        let mut ranked = self.0.into_iter().skip(first);
        let best = ranked.next().ok_or(CompileError::Internal("a ranking is empty"))?;
        let mut choice = format!("layout: {best}");
        if let Some(next) = ranked.find(|next| next.description != best.description) {
            choice = format!("{choice}; next best: {next}");
        }
        Ok((best, choice))
    }

    /// Position of a candidate whose results are predicted to have at least this many bits of precision: `preferred`, or the cheapest.
    fn precise(
        &self,
        preferred: usize,
        requested: f64,
        calibration: &Calibration,
    ) -> Result<usize, CompileError> {
        let mut most = f64::NEG_INFINITY;
        let candidates = self.0.iter().enumerate();
        for (position, candidate) in candidates.clone().skip(preferred).take(1).chain(candidates) {
            match candidate.is_precise(requested, calibration)? {
                Ok(()) => return Ok(position),
                Err(bits) => most = most.max(bits),
            }
        }
        Err(CompileError::Precision { requested, most })
    }
}
