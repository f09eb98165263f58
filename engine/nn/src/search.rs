//! Search: candidate ways to run a network are priced, and the cheapest at the smallest secure degree is taken.
//!
//! A candidate is a rewriting of the network, a kind of ring, a packing, and a parameter set. Its price is predicted from the number of
//! diagonals and rotations ([`crate::cost`]); nothing is encoded yet.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::batch_layout::BatchLayout;
use crate::calibration::Calibration;
use crate::candidate::{Candidate, Way};
use crate::channels::{self, ChannelLayouts, with_cleared_operands};
use crate::choice::{Lowered, choose};
use crate::cost::{Cost, LinearWork};
use crate::layout::{Copies, Layout, MAX_CIPHERTEXTS, MAX_WEIGHTS};
use crate::levels::{Levels, LinearKind, masked_nodes};
use crate::literals::{MAX_LEVELS, literals, smallest_degree};
use crate::lower::{Lowering, SplitSteps};
use crate::normalize::{Normalized, normalize};
use crate::options::{CompileOptions, Progress};
use crate::packing::{Packing, positions};
use crate::ranking::Ranking;
use crate::rewrite::{Merging, Pools, rewrite};
use crate::{CompileError, Linear, Network, NodeId, NodeMap, Op, Pool};
use pleura_ckks::{ParamsLiteral, RingKind};
use rayon::prelude::*;
use std::fmt;
use std::sync::Arc;

/// Bits of scale times range that are tried.
const MESSAGE_BITS: [f64; 6] = [31.0, 32.0, 33.0, 34.0, 35.0, 36.0];
/// Bits that are enough for the coefficients of polynomials.
const COEFFICIENT_BITS: f64 = 24.0;
/// Bits of precision beyond which there is no need to try.
const ENOUGH_BITS: f64 = 18.5;
/// Ratio of predicted seconds from which on a result of fewer bits is worth more special primes, which leave fewer digits and smaller keys.
const SHORT_RESULT_RATIO: f64 = 1.1;
/// Rewritings that are tried.
const MERGINGS: [Merging; 4] = [
    Merging { pools: Pools::Merged, convolutions: false },
    Merging { pools: Pools::Apart, convolutions: false },
    Merging { pools: Pools::Rotated, convolutions: false },
    Merging { pools: Pools::Merged, convolutions: true },
];
/// Most bytes of the ciphertexts that a step of a layout reads and makes.
pub(crate) const MAX_VALUE_BYTES: usize = 4 << 30;
/// Most entries of a matrix between ciphertexts of elements.
const MAX_ENTRIES: usize = 1 << 24;

/// A network rewritten in one way, with the ranges of its values.
struct Rewritten<'a> {
    network: Arc<Network>,
    /// Nodes whose slots without an element must be zero.
    masked: NodeMap<bool>,
    ranges: NodeMap<f64>,
    input_unit: f64,
    output_unit: f64,
    merging: Merging,
    ring: RingKind,
    log_n: u32,
    /// The ways that are tried; all of them without a list.
    ways: Option<&'a [Way]>,
    batch_layout: BatchLayout,
    /// Whether the network clears operands for channels that have ciphertexts of their own.
    is_cleared: bool,
}

/// Layouts of the nodes of a network, in slots that stand for a run of slots each.
struct Placed {
    layouts: NodeMap<Arc<Layout>>,
    run: usize,
    /// Slots between rows, if that is no power of two.
    columns: usize,
}

/// A search of candidates for one layout of a batch.
#[derive(Clone, Copy)]
struct Request<'a> {
    calibration: &'a Calibration,
    batch_layout: BatchLayout,
    ways: Option<&'a [Way]>,
    options: &'a CompileOptions,
}

/// Candidates, and facts for an error if there are none.
struct Found {
    candidates: Vec<Candidate>,
    fewest_levels: usize,
    refusal: Option<CompileError>,
}

impl Candidate {
    /// The ways to run `network` at the smallest degree that is secure, of those in `ways` if there is a list.
    /// `ranges` are the largest magnitudes at its nodes.
    pub(crate) fn ranked(
        network: &Network,
        ranges: &NodeMap<f64>,
        calibration: &Calibration,
        batch_layout: BatchLayout,
        ways: Option<&[Way]>,
        options: &CompileOptions,
        progress: Progress<'_>,
    ) -> Result<Ranking, CompileError> {
        let first =
            calibration.items.first().ok_or(CompileError::Internal("there are no calibration items"))?;
        let trace = network.trace(first);
        let request = Request { calibration, batch_layout, ways, options };
        let mut found = Found { candidates: Vec::new(), fewest_levels: usize::MAX, refusal: None };
        let mut tried: Vec<Network> = Vec::new();
        for (done, merging) in MERGINGS.into_iter().enumerate() {
            progress("choosing a layout", done, MERGINGS.len());
            // Nothing rotates between slots that are items.
            let is_left_out = ways.is_some_and(|ways| ways.iter().all(|way| way.merging != merging));
            if is_left_out || batch_layout == BatchLayout::SlotPerItem && merging.pools == Pools::Rotated {
                continue;
            }
            let network = rewrite(network, ranges, &trace, merging)
                .map_err(|_| CompileError::Internal("rewriting breaks the network"))?;
            if tried.contains(&network) {
                continue;
            }
            request.search(&network, false, merging, &mut found)?;
            if batch_layout == BatchLayout::Interleaved {
                let cleared = with_cleared_operands(&network)
                    .map_err(|_| CompileError::Internal("clearing operands breaks the network"))?;
                request.search(&cleared, true, merging, &mut found)?;
            }
            tried.push(network);
        }
        progress("choosing a layout", MERGINGS.len(), MERGINGS.len());
        request.ranking(found)
    }
}

/// The candidate of the least predicted seconds.
fn fastest(candidates: impl Iterator<Item = Candidate>) -> Option<Candidate> {
    candidates.min_by(|a, b| a.predicted_seconds().total_cmp(&b.predicted_seconds()))
}

impl Request<'_> {
    /// Adds the candidates for a rewritten network, at the smallest degree that is secure.
    fn search(
        &self,
        network: &Network,
        is_cleared: bool,
        merging: Merging,
        found: &mut Found,
    ) -> Result<(), CompileError> {
        let Self { calibration, batch_layout, ways, options } = *self;
        let ranges = calibration.ranges(network, 1.0)?;
        let Normalized { network, ranges, input_unit, output_unit } =
            normalize(network, &ranges, merging.pools)
                .map_err(|_| CompileError::Internal("normalization breaks the network"))?;
        let levels = Levels::new(&network, &ranges, MESSAGE_BITS[0], merging.pools)?;
        found.fewest_levels = found.fewest_levels.min(levels.total);
        let network = Arc::new(network);
        for &ring in &options.rings {
            let Some(log_n) = smallest_degree(ring, &levels, options.security) else { continue };
            let rewritten = Rewritten {
                network: network.clone(),
                masked: masked_nodes(&network),
                ranges: ranges.clone(),
                input_unit,
                output_unit,
                merging,
                ring,
                log_n,
                ways,
                batch_layout,
                is_cleared,
            };
            match rewritten.candidates(options) {
                Ok(candidates) => found.candidates.extend(candidates),
                Err(error @ CompileError::Layout { .. }) => found.refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The candidates, or why there are none.
    fn ranking(&self, mut found: Found) -> Result<Ranking, CompileError> {
        let least = found.candidates.iter().min_by_key(|candidate| candidate.weights());
        let too_many = least.filter(|least| least.weights() > MAX_WEIGHTS).map(too_many_weights);
        if let Some(error) = too_many {
            return Err(error);
        }
        found.candidates.retain(|candidate| candidate.weights() <= MAX_WEIGHTS);
        if !found.candidates.is_empty() {
            return Ok(Ranking::new(found.candidates, self.options.batch));
        }
        let is_side_by_side = matches!(self.batch_layout, BatchLayout::SideBySide(_));
        Err(match found.refusal {
            Some(refusal) => refusal,
            None if !is_side_by_side && found.fewest_levels <= MAX_LEVELS => CompileError::TooManyElements,
            None => {
                CompileError::TooDeep { levels: found.fewest_levels, security: self.options.security.bits() }
            }
        })
    }
}

/// The error that a candidate has too many weights, and which node has most of them.
fn too_many_weights(candidate: &Candidate) -> CompileError {
    let most = candidate.network.ids().max_by_key(|&id| candidate.weights_of(id));
    let node = most.map_or_else(String::new, |id| candidate.network[id].name.clone());
    CompileError::TooManyWeights { node, weights: candidate.weights() }
}

impl Rewritten<'_> {
    /// One candidate for each packing that leads to a layout of its own.
    fn candidates(&self, options: &CompileOptions) -> Result<Vec<Candidate>, CompileError> {
        let mut seen: Vec<NodeMap<Arc<Layout>>> = Vec::new();
        let mut candidates = Vec::new();
        let mut run = 1;
        let placed = match self.batch_layout {
            BatchLayout::SideBySide(_) => None,
            BatchLayout::Interleaved if !self.is_cleared => {
                let room = self.slots() / positions(self.network.input_shape());
                run = room.min(most_interleaved(options));
                if run < 2 {
                    return Ok(candidates);
                }
                None
            }
            BatchLayout::SlotPerItem => Some(Placed {
                layouts: NodeMap::new(self.network.len(), |id| {
                    Arc::new(Layout::each(1, self.network[id].len()))
                }),
                run: self.slots(),
                columns: 1,
            }),
            BatchLayout::Interleaved => {
                let ChannelLayouts { layouts, items, columns } =
                    channels::layouts(&self.network, self.slots())?;
                if items > most_interleaved(options) {
                    return Ok(candidates);
                }
                Some(Placed { layouts, run: items, columns })
            }
        };
        if let Some(placed) = placed {
            let way = Way { merging: self.merging, packing: Packing::ALL[0], ring: self.ring };
            let described = format!("{}, {}{}", self.batch_layout, self.merging, slots_in_words(self.ring));
            candidates.extend(self.parameters(way, described, &placed, options)?);
            return Ok(candidates);
        }
        for packing in Packing::ALL {
            let way = Way { merging: self.merging, packing, ring: self.ring };
            if self.ways.is_some_and(|ways| !ways.contains(&way)) {
                continue;
            }
            let layouts = packing.layouts(&self.network, self.slots() / run, self.merging.pools);
            // Runs are not copied within a position, as a client's channels may be.
            if run > 1 && matches!(layouts[NodeId::INPUT].copies, Copies::Planes { .. }) {
                continue;
            }
            if !seen.contains(&layouts) {
                let described = format!("{packing}, {}{}", self.merging, slots_in_words(self.ring));
                let placed = Placed { layouts, run, columns: 1 };
                candidates.extend(self.parameters(way, described, &placed, options)?);
                seen.push(placed.layouts);
            }
        }
        Ok(candidates)
    }

    /// The preferred parameters for a layout, and those of every size of messages if a precision is requested; none if a pool needs rotations
    /// that the layout does not allow, or no parameters are deep enough.
    fn parameters(
        &self,
        way: Way,
        description: String,
        placed: &Placed,
        options: &CompileOptions,
    ) -> Result<Vec<Candidate>, CompileError> {
        let Placed { layouts, run, .. } = placed;
        // Diagonals do not depend on the parameters.
        let lowered: Vec<Option<Lowered>> =
            self.network.ids().collect::<Vec<_>>().into_par_iter().map(|id| self.lower(id, placed)).collect();
        let Some(lowered) = lowered.into_iter().collect::<Option<NodeMap<Lowered>>>() else {
            return Ok(Vec::new());
        };
        let mut candidates = Vec::new();
        for message_bits in MESSAGE_BITS {
            let levels = Levels::new(&self.network, &self.ranges, message_bits, self.merging.pools)?;
            if message_bits > MESSAGE_BITS[0] && levels.coefficient_bits < COEFFICIENT_BITS {
                continue;
            }
            let priced = |levels: &Levels, literal: ParamsLiteral| Candidate {
                nodes: choose(
                    &self.network,
                    &lowered,
                    layouts,
                    levels,
                    &Cost::new(&literal, options.device, options.threads),
                ),
                network: self.network.clone(),
                input_unit: self.input_unit,
                output_unit: self.output_unit,
                ranges: self.ranges.clone(),
                pools: self.merging.pools,
                levels: levels.clone(),
                literal,
                layouts: layouts.clone(),
                batch_layout: self.batch_layout,
                run: *run,
                way,
                description: description.clone(),
                is_preferred: false,
                device: options.device,
            };
            let long = literals(self.ring, &levels, options.security, self.log_n);
            let special = long.iter().map(|literal| literal.digit_limbs).fold(0, usize::max);
            let best = fastest(long.into_iter().map(|literal| priced(&levels, literal)));
            let Some(best) = best else { continue };
            let levels = levels.with_short_result();
            let short = literals(self.ring, &levels, options.security, self.log_n).into_iter();
            let short = short.filter(|literal| literal.digit_limbs > special);
            let short = fastest(short.map(|literal| priced(&levels, literal)));
            let most = best.predicted_seconds() / SHORT_RESULT_RATIO;
            candidates.push(short.filter(|short| short.predicted_seconds() < most).unwrap_or(best));
        }
        // A level is worth a bit, up to the bits that are enough.
        let price = |c: &Candidate| c.error().log2().max(-ENOUGH_BITS) + c.levels.total as f64;
        let preferred = candidates
            .iter_mut()
            .min_by(|a, b| price(a).total_cmp(&price(b)).then_with(|| a.error().total_cmp(&b.error())));
        if let Some(preferred) = preferred {
            preferred.is_preferred = true;
        }
        candidates.retain(|candidate| candidate.is_preferred || options.precision.is_some());
        Ok(candidates)
    }

    /// Diagonals and rotations of a node, or entries of its matrix; none if the layout does not allow the rotations of a pool or has
    /// too many entries.
    fn lower(&self, id: NodeId, placed: &Placed) -> Option<Lowered> {
        let Placed { layouts, run, columns } = placed;
        let masked = self.masked[id];
        let Op::Linear(x, linear) = &self.network[id].op else { return Some(Lowered::Pointwise) };
        Some(match LinearKind::of(linear, masked, self.merging.pools) {
            LinearKind::SetScale(_) => Lowered::Pointwise,
            LinearKind::SumPool(pool) => Lowered::SumPool { doublings: pool_doublings(pool, &layouts[*x])? },
            LinearKind::Transform if self.batch_layout == BatchLayout::SlotPerItem => {
                let work = LinearWork {
                    inputs: linear.inputs(),
                    outputs: linear.outputs(),
                    diagonals: entries(linear)?,
                    period: 1,
                    ..LinearWork::default()
                };
                Lowered::Matrix { work }
            }
            LinearKind::Transform => {
                let from = &layouts[*x];
                let to = &layouts[id];
                let mut lowering = Lowering::new(linear, from, to, masked);
                let places = lowering.places();
                let period = if self.batch_layout == BatchLayout::Interleaved {
                    lowering.operand_is_clear = *x == NodeId::INPUT || self.masked[*x];
                    match lowering.longest(0) {
                        1 => 1,
                        longest => (longest * run).next_power_of_two(),
                    }
                } else {
                    self.estimated_period(linear, to, masked)
                };
                let work = LinearWork {
                    inputs: from.ciphertexts,
                    outputs: to.ciphertexts,
                    diagonals: places.len(),
                    period,
                    ..LinearWork::default()
                };
                Lowered::Transform {
                    splits: SplitSteps::all(&places, from.slots, *columns),
                    work,
                    doublings: lowering.doublings(),
                }
            }
        })
    }

    fn slots(&self) -> usize {
        self.ring.slots(1 << self.log_n)
    }

    /// Slots after which the diagonals of a transform repeat: with channels innermost, the taps of the middle row
    /// repeat every row, borders or not.
    fn estimated_period(&self, linear: &Linear, to: &Layout, masked: bool) -> usize {
        let slots = self.slots();
        if linear.planes().is_none() || masked || !to.inner {
            to.period()
        } else if linear.has_borders() {
            to.period() * 2 / 3
        } else {
            (slots / 8).min(512)
        }
    }
}

impl fmt::Display for Merging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.pools, self.convolutions) {
            (_, true) => "pooling and convolutions merged",
            (Pools::Merged, false) => "pooling merged",
            (Pools::Apart, false) => "pooling apart",
            (Pools::Rotated, false) => "pooling by rotations",
        })
    }
}

/// Most items that are interleaved: more than a batch has would leave slots empty. A batch of one has no layout to choose, and says
/// nothing of one that is asked for.
fn most_interleaved(options: &CompileOptions) -> usize {
    if options.batch > 1 { options.batch.next_power_of_two() } else { usize::MAX }
}

/// Words on the slots of a ring, for a description; none for complex ones.
fn slots_in_words(ring: RingKind) -> &'static str {
    match ring {
        RingKind::Cyclotomic => "",
        RingKind::ConjugateInvariant => ", real slots",
    }
}

/// Entries of a map's matrix, those of an input that comes several times counted as often; none if there are too many, or too many
/// ciphertexts.
fn entries(linear: &Linear) -> Option<usize> {
    let mut entries = 0usize;
    if linear.inputs().max(linear.outputs()) > MAX_CIPHERTEXTS {
        return None;
    }
    for row in 0..linear.outputs() {
        linear.row(row, &mut |_, _| entries += 1);
        if entries > MAX_ENTRIES {
            return None;
        }
    }
    Some(entries)
}

/// Rotations that double the windows of a pool until they are summed, if the layout has even strides.
fn pool_doublings(pool: &Pool, layout: &Layout) -> Option<Vec<i64>> {
    let window = pool.window();
    let [down, across] = layout.strides(window.input())?;
    let [height, width] = window.kernel();
    let doublings = |stride: usize, kernel: usize| (0..kernel.ilog2()).map(move |j| (stride << j) as i64);
    Some(doublings(down, height).chain(doublings(across, width)).collect())
}
