//! The layout of a batch: every way for items to share ciphertexts is planned as far as its price, and the cheapest is taken.

use crate::batch_layout::BatchLayout;
use crate::calibration::Calibration;
use crate::candidate::{Candidate, Way};
use crate::options::{CompileOptions, Progress};
use crate::packing::positions;
use crate::report::LayoutReport;
use crate::search::MAX_VALUE_BYTES;
use crate::{CompileError, Network, NodeMap};

/// The cheapest layout for a batch.
pub(crate) struct Chosen {
    pub(crate) candidate: Candidate,
    pub(crate) layout: BatchLayout,
    /// Calibration of the candidate's network.
    pub(crate) calibration: Calibration,
    /// A sentence on the choice.
    pub(crate) note: String,
    /// Predicted seconds of the batch.
    seconds: f64,
}

/// A search, and what it found so far.
struct Search<'a> {
    network: &'a Network,
    ranges: &'a NodeMap<f64>,
    calibration: &'a Calibration,
    options: &'a CompileOptions,
    batch: usize,
    /// Ways that are tried for items side by side.
    ways: Option<Vec<Way>>,
    best: Option<Chosen>,
    tried: Vec<LayoutReport>,
}

/// The cheapest way to run `network` on [`CompileOptions::batch`] items, and every layout that was tried. `ranges` are the largest magnitudes at its nodes.
pub(crate) fn search(
    network: &Network,
    ranges: &NodeMap<f64>,
    calibration: &Calibration,
    options: &CompileOptions,
    progress: Progress<'_>,
) -> Result<(Chosen, Vec<LayoutReport>), CompileError> {
    let batch = options.batch.max(1);
    let mut search =
        Search { network, ranges, calibration, options, batch, ways: None, best: None, tried: Vec::new() };
    if let Some(layout) = options.layout {
        if matches!(layout, BatchLayout::SideBySide(items) if items > 1) {
            let single = Candidate::ranked(
                network,
                ranges,
                calibration,
                BatchLayout::SINGLE,
                None,
                options,
                progress,
            )?;
            search.ways = Some(single.promising());
        }
        search.consider(layout, progress)?;
    } else {
        let single = search.consider(BatchLayout::SINGLE, progress)?;
        let room = search.best.as_ref().map_or(0, |best| 1 << best.candidate.literal.log_n);
        search.consider_groups(room / positions(network.input_shape()), single, progress);
        if batch > 1 {
            search.try_layout(BatchLayout::Interleaved, progress);
            search.try_layout(BatchLayout::SlotPerItem, progress);
        }
    }
    let Search { best, mut tried, .. } = search;
    let best = best.ok_or(CompileError::TooManyElements)?;
    for other in &mut tried {
        other.chosen = other.layout == best.layout.to_string();
        if !other.chosen && other.refusal.is_none() {
            other.refusal = Some(format!("{:.1} times the seconds", other.predicted_seconds / best.seconds));
        }
    }
    Ok((best, tried))
}

impl Search<'_> {
    /// Powers of two of items side by side, up to as many as there is room for in a ciphertext of one channel, and while they get
    /// cheaper. `single` is the predicted seconds of single items.
    fn consider_groups(&mut self, room: usize, single: f64, progress: Progress<'_>) {
        let mut last = single;
        let mut count = 2;
        while count <= room.min(self.batch.next_power_of_two()) {
            let Some(seconds) = self.try_layout(BatchLayout::SideBySide(count), progress) else { return };
            if seconds > last {
                return;
            }
            last = seconds;
            count *= 2;
        }
    }

    /// The predicted seconds of a layout; none, and a note, if it has no plan.
    fn try_layout(&mut self, layout: BatchLayout, progress: Progress<'_>) -> Option<f64> {
        let seconds = self.consider(layout, progress);
        seconds.map_err(|error| self.tried.push(LayoutReport::refused(layout, error.to_string()))).ok()
    }

    /// Plans a layout as far as its price; returns the predicted seconds of the batch.
    fn consider(&mut self, layout: BatchLayout, progress: Progress<'_>) -> Result<f64, CompileError> {
        let (network, calibration) = self.grouped(layout)?;
        let is_any_way = self.options.precision.is_some() || !matches!(layout, BatchLayout::SideBySide(_));
        let ways = self.ways.as_deref().filter(|_| !is_any_way);
        let ranking =
            Candidate::ranked(&network, self.ranges, &calibration, layout, ways, self.options, progress)?;
        if layout == BatchLayout::SINGLE {
            self.ways = Some(ranking.promising());
        }
        let (candidate, note) = ranking.best(self.options.precision, &calibration)?;
        let mut report = report(&candidate, layout, self.batch);
        let seconds = report.predicted_seconds;
        // What there is no other plan for is not refused.
        let fits = candidate.value_bytes() <= MAX_VALUE_BYTES || self.best.is_none();
        if !fits {
            report.refusal =
                Some(format!("more than {} GiB of ciphertexts at a time", MAX_VALUE_BYTES >> 30));
        }
        self.tried.push(report);
        if fits && self.best.as_ref().is_none_or(|best| seconds < best.seconds) {
            self.best = Some(Chosen { candidate, layout, calibration, note, seconds });
        }
        Ok(seconds)
    }

    /// The network and the calibration items of a group.
    fn grouped(&self, layout: BatchLayout) -> Result<(Network, Calibration), CompileError> {
        match layout {
            BatchLayout::SlotPerItem | BatchLayout::Interleaved | BatchLayout::SideBySide(1) => {
                Ok((self.network.clone(), self.calibration.side_by_side(1)))
            }
            BatchLayout::SideBySide(count) => {
                let grouped = self.network.side_by_side(count).map_err(|_| CompileError::TooManyElements)?;
                Ok((grouped, self.calibration.side_by_side(count)))
            }
        }
    }
}

/// A layout in figures, for a batch.
fn report(candidate: &Candidate, layout: BatchLayout, batch: usize) -> LayoutReport {
    let items = candidate.items();
    LayoutReport {
        layout: layout.to_string(),
        items,
        ring: candidate.literal.ring.name().to_owned(),
        log_n: candidate.literal.log_n,
        input_ciphertexts: candidate.input_ciphertexts(),
        value_bytes: candidate.value_bytes(),
        predicted_seconds: candidate.predicted_seconds() * batch.div_ceil(items) as f64,
        chosen: false,
        refusal: None,
    }
}
