//! The choice among ways to run a network: which maps are merged, where channels lie, how large the parameters are.

use crate::arrange::{self, Channels, Levels, LinearKind, Order, PRIME_BITS, Packing};
use crate::cost::{Cost, LinearWork};
use crate::layout::Layout;
use crate::lower::{Lowering, Split};
use crate::plan::{PlanError, PlanOptions, Progress};
use crate::report::{LayerReport, ParameterReport, Report};
use crate::rewrite::{Merging, Pools, is_monic, rewrite, tiling_pool};
use crate::{Linear, Network, Op};
use pleura_ckks::{Params, ParamsLiteral, Security};
use rayon::prelude::*;
use std::sync::Arc;

/// One way to run a network, as far as its costs need.
pub(crate) struct Draft {
    pub(crate) network: Arc<Network>,
    pub(crate) levels: Arc<Levels>,
    pub(crate) literal: ParamsLiteral,
    pub(crate) layouts: Vec<Arc<Layout>>,
    /// Of linear nodes.
    pub(crate) works: Vec<Option<(Split, LinearWork)>>,
    /// Predicted.
    seconds: f64,
    threads: usize,
    label: String,
}

/// Bits of scale times range that are tried.
const MESSAGE_BITS: [f64; 6] = [31.0, 32.0, 33.0, 34.0, 35.0, 36.0];
/// Bits that are enough for the coefficients of polynomials.
const COEFFICIENT_BITS: f64 = 24.0;
/// Bits of precision beyond which there is no need to try.
const ENOUGH_BITS: f64 = 18.5;
/// Levels at most: parameters have no more.
const MAX_LEVELS: usize = 100;
/// A typical value, in units of the range.
const TYPICAL: f64 = 0.15;
/// Special primes at most: they are dropped together with up to three of a level.
const MAX_SPECIAL: usize = 12;
/// Bits by which the smallest modulus exceeds scale times range.
const BASE_BITS: f64 = 12.0;
/// Degrees that are tried.
const LOG_DEGREES: std::ops::RangeInclusive<u32> = 12..=17;
/// Seconds to encode and encrypt one ciphertext, about.
const CLIENT_SECONDS: f64 = 0.003;

/// What is merged: pools, and whether convolutions are.
const STRATEGIES: [(Pools, bool); 4] =
    [(Pools::Merged, false), (Pools::Apart, false), (Pools::Rotated, false), (Pools::Merged, true)];

impl Draft {
    /// The cheapest way at the smallest degree that is secure.
    pub(crate) fn best(
        network: &Network,
        ranges: &[f64],
        items: &[Vec<f64>],
        options: &PlanOptions,
        progress: Progress<'_>,
    ) -> Result<Self, PlanError> {
        let trace = network.trace(items.first().map(Vec::as_slice).unwrap_or_default());
        let mut drafts: Vec<Self> = Vec::new();
        let mut tried: Vec<Arc<Network>> = Vec::new();
        let mut needed = usize::MAX;
        for (number, (pools, convolutions)) in STRATEGIES.into_iter().enumerate() {
            progress("choosing a layout", number, STRATEGIES.len());
            let rewritten =
                rewrite(network, &ranges.to_vec().into(), &trace, Merging { pools, convolutions });
            let rewritten = Arc::new(rewritten.map_err(PlanError::Rewrite)?);
            if tried.contains(&rewritten) {
                continue;
            }
            tried.push(rewritten.clone());
            let ranges = crate::plan::ranges(&rewritten, items)?;
            let levels = Levels::new(&rewritten, &ranges, MESSAGE_BITS[0], pools);
            needed = needed.min(levels.total);
            let Some(log_n) = literals(&levels, options.security).and_then(|l| Some(l.first()?.log_n)) else {
                continue;
            };
            let merged = match (pools, convolutions) {
                (_, true) => "pools and convolutions merged".to_owned(),
                (pools, false) => format!("pools {pools:?}"),
            };
            let mut seen: Vec<Vec<Arc<Layout>>> = Vec::new();
            for (order, channels, packing) in [
                (Order::Reader, Channels::Inner, Packing::Spread),
                (Order::Reader, Channels::Inner, Packing::Dense),
                (Order::Reader, Channels::Outer, Packing::Dense),
                (Order::Maker, Channels::Inner, Packing::Dense),
                (Order::Natural, Channels::Outer, Packing::Dense),
            ] {
                let layouts =
                    arrange::layouts(&rewritten, 1 << (log_n - 1), pools, (order, channels, packing));
                if seen.contains(&layouts) {
                    continue;
                }
                let label =
                    format!("{merged}, channels {channels:?} in the {order:?}'s order, input {packing:?}");
                drafts.extend(Self::new(
                    &rewritten,
                    &ranges,
                    (log_n, pools),
                    &layouts,
                    options,
                    label.to_lowercase(),
                ));
                seen.push(layouts);
            }
        }
        progress("choosing a layout", STRATEGIES.len(), STRATEGIES.len());
        drafts.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let too_deep = PlanError::TooDeep { levels: needed, security: options.security.bits() };
        let milliseconds = |d: &Self| format!("{:.0} ms with {}", 1e3 * d.seconds, d.label);
        let others: Vec<_> = drafts.iter().skip(1).take(2).map(milliseconds).collect();
        let mut best = drafts.into_iter().next().ok_or(too_deep)?;
        let mut label = format!("chosen: {}", milliseconds(&best));
        if !others.is_empty() {
            label = format!("{label}; rather than {}", others.join(", or "));
        }
        best.label = label;
        Ok(best)
    }

    fn new(
        network: &Arc<Network>,
        ranges: &[f64],
        (log_n, pools): (u32, Pools),
        layouts: &[Arc<Layout>],
        options: &PlanOptions,
        label: String,
    ) -> Option<Self> {
        let slots = 1 << (log_n - 1);
        let last = network.nodes().len() - 1;
        // A layout where neighbours do not lie evenly is not for rotated pools.
        let rotations: Vec<_> = (0..=last).map(|i| pool_rotations(network, layouts, pools, i)).collect();
        if rotations.iter().any(|r| matches!(r, Some(None))) {
            return None;
        }
        // Diagonals do not depend on the parameters.
        let lowered: Vec<_> = (0..network.nodes().len())
            .into_par_iter()
            .map(|i| {
                let (linear, from, to) = linear_at(network, layouts, pools, i)?;
                let lowering = Lowering::new(linear, from, to, i == last);
                let planar = arrange::planar(linear).is_some();
                // An estimate: with channels innermost, taps of the middle row repeat every row, edges or not.
                let period = match (!planar || i == last, arrange::has_edges(linear), to.inner) {
                    (true, ..) | (_, _, false) => arrange::repeat(to),
                    (_, true, true) => arrange::repeat(to) * 2 / 3,
                    (_, false, true) => (slots / 8).min(512),
                };
                let work = LinearWork {
                    groups: [from.ciphertexts, to.ciphertexts],
                    period,
                    folds: lowering.folds().len(),
                    ..LinearWork::default()
                };
                Some((lowering.places(), work))
            })
            .collect();
        let mut drafts = Vec::new();
        for message_bits in MESSAGE_BITS {
            let levels = Arc::new(Levels::new(network, ranges, message_bits, pools));
            if message_bits > MESSAGE_BITS[0] && levels.coefficient_bits < COEFFICIENT_BITS {
                continue;
            }
            let Some(literals) = literals(&levels, options.security) else { continue };
            let fitting = literals.iter().filter(|l| l.log_n == log_n);
            let drafted = fitting.map(|&literal| {
                let cost = Cost::new(&literal, options.threads);
                let at = |i: usize| levels.nodes.get(i).map_or(0, |n| levels.total - n.consumed);
                let mut seconds = 0.0;
                let mut works = Vec::new();
                for (i, node) in network.nodes().iter().enumerate() {
                    let count = layouts.get(i).map_or(1, |l| l.ciphertexts);
                    let level = node.op.reads().iter().map(|id| at(id.index())).min().unwrap_or(levels.total);
                    let work = lowered.get(i).and_then(Option::as_ref).map(|(places, work)| {
                        let work = LinearWork { diagonals: places.len(), level, to: at(i), ..*work };
                        cost.split(places, slots, work)
                    });
                    seconds += match (&node.op, &work) {
                        (_, Some((_, work))) => cost.linear(work),
                        (Op::Input, _) => count as f64 * CLIENT_SECONDS,
                        (Op::Linear(..), _) => {
                            let rotated = rotations.get(i).cloned().flatten().flatten().unwrap_or_default();
                            cost.rotations(rotated.len(), count, level)
                        }
                        (Op::Polynomial(_, c), _) => c.degree() as f64 / 2.0 * cost.product(count, at(i)),
                        (Op::Mul(..), _) => cost.product(count, at(i)),
                        _ => cost.pointwise(count, level),
                    };
                    works.push(work);
                }
                let (network, levels) = (network.clone(), levels.clone());
                let (layouts, label) = (layouts.to_vec(), label.clone());
                Self { network, levels, literal, layouts, works, seconds, threads: options.threads, label }
            });
            drafts.extend(drafted.min_by(|a, b| a.seconds.total_cmp(&b.seconds)));
        }
        // A level is worth a bit, up to the bits that are enough.
        let price = |d: &Self| d.error().log2().max(-ENOUGH_BITS) + d.levels.total as f64;
        drafts
            .into_iter()
            .min_by(|a, b| price(a).total_cmp(&price(b)).then_with(|| a.error().total_cmp(&b.error())))
    }

    /// The error to expect, in units of the ranges: every linear step adds what its division rounds, and the rounding of its
    /// weights, which grows with their number.
    pub(crate) fn error(&self) -> f64 {
        let Self { levels, literal, works, network, .. } = self;
        let division = 0.25 * f64::from(1u32 << literal.log_n) / levels.message_bits.exp2();
        let of_work = |(i, work): (usize, &Option<(Split, LinearWork)>)| {
            let (_, work) = work.as_ref()?;
            let read = network.nodes().get(i)?.op.reads().first()?.index();
            let weights = levels.weight_bits(read, i);
            let terms = work.diagonals as f64 / work.groups[1] as f64;
            let rounded = (terms * 2.0 * work.period as f64 / 12.0).sqrt() * TYPICAL / weights.exp2();
            Some(division * division + rounded * rounded)
        };
        // Inner sums of polynomials have about as many bits as their coefficients.
        let polynomials = 0.25 * f64::from(1u32 << literal.log_n) / levels.coefficient_bits.exp2();
        (works.iter().enumerate().filter_map(of_work).sum::<f64>() + polynomials * polynomials).sqrt()
    }

    /// What is known before weights are encoded.
    pub(crate) fn report(&self, params: &Params) -> Report {
        let Self { network, levels, layouts, literal, .. } = self;
        let cost = Cost::new(literal, self.threads);
        let top = params.max_level();
        let layers = network.nodes().iter().enumerate().map(|(i, node)| {
            let level_of = |i: usize| levels.nodes.get(i).map_or(top, |n| top - n.consumed);
            let layout = layouts.get(i);
            let ciphertexts = layout.map_or(1, |l| l.ciphertexts);
            let work = self.works.get(i).and_then(Option::as_ref);
            let start = node.op.reads().iter().map(|id| level_of(id.index())).min().unwrap_or(top);
            let (kind, level, seconds) = match &node.op {
                Op::Input => ("input", top, ciphertexts as f64 * CLIENT_SECONDS),
                Op::Linear(..) => match work {
                    Some((_, work)) => ("linear", start, cost.linear(work)),
                    None => match pool_rotations(network, layouts, levels.pools, i).flatten() {
                        Some(r) => ("pool", start, cost.rotations(r.len(), ciphertexts, start)),
                        None => ("scale", start, 0.0),
                    },
                },
                Op::Polynomial(_, c) if is_monic(c) => {
                    ("square", level_of(i), cost.product(ciphertexts, level_of(i)))
                }
                Op::Polynomial(_, c) => {
                    let level = level_of(i) + arrange::polynomial_depth(c.degree());
                    ("polynomial", level, c.degree() as f64 / 2.0 * cost.product(ciphertexts, level_of(i)))
                }
                Op::Mul(..) => ("product", level_of(i), cost.product(ciphertexts, level_of(i))),
                Op::Add(..) | Op::Sub(..) => ("add", start, cost.pointwise(ciphertexts, start)),
            };
            LayerReport {
                name: if node.name.is_empty() { kind.to_owned() } else { node.name.clone() },
                kind: kind.to_owned(),
                layout: layout.map(|l| l.description.clone()).unwrap_or_default(),
                ciphertexts,
                level,
                predicted_seconds: seconds,
                ..LayerReport::default()
            }
        });
        let layers: Vec<_> = layers.collect();
        Report {
            network: network.name().to_owned(),
            parameters: ParameterReport {
                log_n: literal.log_n,
                slots: params.n() / 2,
                levels: top,
                scale_bits: literal.scale_bits,
                log2_q: params.log2_q(top),
                log2_qp: params.log2_qp(top),
                max_log2_qp: literal.security.max_log2_qp(literal.log_n),
                security: literal.security.bits(),
            },
            predicted_seconds: layers.iter().map(|l| l.predicted_seconds).sum(),
            layers,
            notes: vec![self.label.clone()],
            ..Report::default()
        }
    }
}

/// A linear node that is a transform, with its layouts.
pub(crate) fn linear_at<'a>(
    network: &'a Network,
    layouts: &'a [Arc<Layout>],
    pools: Pools,
    node: usize,
) -> Option<(&'a Linear, &'a Layout, &'a Layout)> {
    match &network.nodes().get(node)?.op {
        Op::Linear(x, linear)
            if arrange::linear_kind(linear, node + 1 == network.nodes().len(), pools)
                == LinearKind::Transform =>
        {
            Some((linear, layouts.get(x.index())?, layouts.get(node)?))
        }
        _ => None,
    }
}

/// The rotations that a node sums over, if it is a pool that is made so; none if its layout does not allow them.
pub(crate) fn pool_rotations(
    network: &Network,
    layouts: &[Arc<Layout>],
    pools: Pools,
    node: usize,
) -> Option<Option<Vec<i64>>> {
    let Op::Linear(x, linear) = &network.nodes().get(node)?.op else { return None };
    if arrange::linear_kind(linear, node + 1 == network.nodes().len(), pools) != LinearKind::Pool {
        return None;
    }
    let window = tiling_pool(linear)?.window();
    let strides = layouts.get(x.index())?.strides(window.input());
    let doublings = |stride: usize, kernel: usize| (0..kernel.ilog2()).map(move |j| (stride << j) as i64);
    Some(strides.map(|[down, across]| {
        doublings(down, window.kernel()[0]).chain(doublings(across, window.kernel()[1])).collect()
    }))
}

/// Parameter sets of the smallest secure degree, one for each number of special primes.
fn literals(levels: &Levels, security: Security) -> Option<Vec<ParamsLiteral>> {
    let total = levels.total;
    LOG_DEGREES.into_iter().find_map(|log_n| {
        // Small primes are rare at large degrees, where there is room enough for larger ones.
        let base = (levels.message_bits + BASE_BITS).max(if log_n > 14 { 58.0 } else { 0.0 }) as u32;
        let literal = |digit_limbs| ParamsLiteral {
            log_n,
            levels: total,
            scale_bits: PRIME_BITS,
            base_bits: base,
            digit_limbs,
            security,
        };
        let bits = |digits: usize| f64::from(base) + (PRIME_BITS as usize * total + 30 * digits) as f64;
        let fits =
            |&d: &usize| bits(d) <= security.max_log2_qp(log_n) && d <= total + 2 && total <= MAX_LEVELS;
        let found: Vec<_> = (1..=MAX_SPECIAL).filter(fits).map(literal).collect();
        (!found.is_empty()).then_some(found)
    })
}
