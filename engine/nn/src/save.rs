//! Plans as bytes, for a cache: a description, then the coefficients of all weights as little-endian words.

use crate::layout::{Copies, Layout};
use crate::plan::{Operand, Plan, PlanError, Step};
use crate::{Coefficients, Report};
use pleura_ckks::{BlockLinearTransform, CompactPoly, Diagonal, Params, ParamsLiteral, Security};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    log_n: u32,
    levels: usize,
    scale_bits: u32,
    base_bits: u32,
    digit_limbs: usize,
    security: u32,
    steps: Vec<SavedStep>,
    layouts: Vec<Layout>,
    /// Position of each step's layout.
    layout_of: Vec<usize>,
    scales: Vec<f64>,
    error: f64,
    input_len: usize,
    output_len: usize,
    ranges: Vec<f64>,
    report: Report,
}

#[derive(Serialize, Deserialize)]
enum SavedStep {
    Input,
    Transform {
        input: usize,
        boost: u32,
        level: usize,
        to: usize,
        scale: f64,
        groups: [usize; 2],
        babies: Vec<i64>,
        giants: Vec<i64>,
        /// Input, output, baby, giant, logarithm of the coefficients.
        blocks: Vec<[u32; 5]>,
        folds: Vec<i64>,
        bias: Vec<f64>,
    },
    Relabel {
        input: usize,
        factor: f64,
        bias: Vec<f64>,
    },
    Pool(usize, Vec<i64>),
    Square(SavedOperand, Vec<f64>, f64),
    Polynomial(SavedOperand, Coefficients, f64),
    Product([SavedOperand; 2]),
    Sum([SavedOperand; 2], bool, f64),
}

/// Step, primes, whether aligned, boost.
type SavedOperand = (usize, usize, bool, u32);

/// Changes when the form does.
const VERSION: u32 = 4;

impl Plan {
    /// The plan as bytes, for [`Plan::from_bytes`] of the same version of this crate.
    ///
    /// # Errors
    /// [`PlanError::Damaged`] if a number does not fit its field, which no plan's does.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PlanError> {
        let literal = self.params.literal();
        let mut layouts: Vec<Layout> = Vec::new();
        let mut known: Vec<Arc<Layout>> = Vec::new();
        let mut layout_of = Vec::new();
        for layout in &self.layouts {
            let at = known.iter().position(|k| Arc::ptr_eq(k, layout)).unwrap_or_else(|| {
                known.push(layout.clone());
                layouts.push(Layout::clone(layout));
                known.len() - 1
            });
            layout_of.push(at);
        }
        let saved = Saved {
            version: VERSION,
            log_n: literal.log_n,
            levels: literal.levels,
            scale_bits: literal.scale_bits,
            base_bits: literal.base_bits,
            digit_limbs: literal.digit_limbs,
            security: literal.security.bits(),
            steps: self.steps.iter().map(save).collect(),
            layouts,
            layout_of,
            scales: self.scales.clone(),
            error: self.error,
            input_len: self.input_len,
            output_len: self.output_len,
            ranges: self.ranges.clone(),
            report: self.report.clone(),
        };
        let description = postcard::to_allocvec(&saved).map_err(|_| PlanError::Damaged)?;
        let mut bytes = (description.len() as u64).to_le_bytes().to_vec();
        bytes.extend(description);
        for step in &self.steps {
            if let Step::Transform { transform, .. } = step {
                let words = transform.diagonals.iter().flat_map(|d| d.poly.coefficients.iter());
                words.for_each(|c| bytes.extend(c.to_le_bytes()));
            }
        }
        Ok(bytes)
    }

    /// A plan that [`Plan::to_bytes`] saved. The bytes are checked for form; that nobody changed them is the caller's
    /// to check, with a digest.
    ///
    /// # Errors
    /// [`PlanError::Damaged`], [`PlanError::Params`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PlanError> {
        let (len, rest) = bytes.split_first_chunk::<8>().ok_or(PlanError::Damaged)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| PlanError::Damaged)?;
        let (description, mut words) = rest.split_at_checked(len).ok_or(PlanError::Damaged)?;
        let saved: Saved = postcard::from_bytes(description).map_err(|_| PlanError::Damaged)?;
        let security = Security::from_bits(saved.security).ok_or(PlanError::Damaged)?;
        if saved.version != VERSION {
            return Err(PlanError::Damaged);
        }
        let params = Params::new(ParamsLiteral {
            log_n: saved.log_n,
            levels: saved.levels,
            scale_bits: saved.scale_bits,
            base_bits: saved.base_bits,
            digit_limbs: saved.digit_limbs,
            security,
        })?;
        let mut steps = Vec::new();
        for (i, step) in saved.steps.into_iter().enumerate() {
            steps.push(load(step, i, &params, &mut words).ok_or(PlanError::Damaged)?);
        }
        let known: Vec<_> = saved.layouts.into_iter().map(Arc::new).collect();
        let sound = |l: &Arc<Layout>| {
            let within = |p: u32, end: usize| (p as usize % l.slots.max(1)) < end;
            let ciphertexts = l.places.iter().map(|&p| p as usize / l.slots.max(1) + 1).max().unwrap_or(1);
            let copies = match l.copies {
                Copies::None => true,
                Copies::Planes { planes, step } => {
                    let divides = |a: usize, b: usize| a > 0 && b.is_multiple_of(a);
                    divides(planes, l.slots) && divides(step, planes)
                }
                Copies::Period(period) => {
                    period > 0
                        && l.slots.is_multiple_of(period)
                        && l.places.iter().all(|&p| within(p, period))
                }
            };
            l.slots == params.n() / 2 && l.ciphertexts == ciphertexts && copies
        };
        let layouts: Option<Vec<_>> = saved.layout_of.iter().map(|&i| known.get(i).cloned()).collect();
        let layouts = layouts.filter(|l| l.len() == steps.len() && l.iter().all(sound));
        let len = |l: Option<&Arc<Layout>>| l.map_or(0, |l| l.places.len());
        let fits = |c: &Vec<f64>, l: &Arc<Layout>| c.len() == 1 || c.len() == l.places.len();
        let whole = |(step, l): (&Step, &Arc<Layout>)| match step {
            Step::Transform { transform: t, bias, .. } => {
                bias.len() == l.places.len() && t.level <= params.max_level() && t.target_level <= t.level
            }
            Step::Relabel { bias, .. } => bias.len() == l.places.len(),
            Step::Square { slope, .. } => fits(slope, l),
            Step::Polynomial { coefficients, .. } => coefficients.0.iter().all(|c| fits(c, l)),
            Step::Input | Step::Pool { .. } | Step::Product { .. } | Step::Sum { .. } => true,
        };
        let layouts = layouts.filter(|l| {
            let first_only = steps.iter().enumerate().all(|(i, s)| matches!(s, Step::Input) == (i == 0));
            first_only
                && len(l.first()) == saved.input_len
                && len(l.last()) == saved.output_len
                && steps.iter().zip(l).all(whole)
                && saved.report.layers.iter().all(|layer| layer.level <= params.max_level())
        });
        if !words.is_empty() || saved.scales.len() != steps.len() || saved.report.layers.len() != steps.len()
        {
            return Err(PlanError::Damaged);
        }
        Ok(Self {
            params,
            steps,
            layouts: layouts.ok_or(PlanError::Damaged)?,
            scales: saved.scales,
            error: saved.error,
            input_len: saved.input_len,
            output_len: saved.output_len,
            ranges: saved.ranges,
            report: saved.report,
        })
    }
}

fn save(step: &Step) -> SavedStep {
    let operand = |o: &Operand| (o.step, o.primes, o.aligned, o.boost);
    match step {
        Step::Input => SavedStep::Input,
        Step::Transform { input, boost, transform: t, folds, bias } => SavedStep::Transform {
            input: *input,
            boost: *boost,
            level: t.level,
            to: t.target_level,
            scale: t.scale,
            groups: [t.inputs, t.outputs],
            babies: t.baby_steps.clone(),
            giants: t.giant_steps.clone(),
            blocks: t
                .diagonals
                .iter()
                .map(|d| {
                    let log_len = d.poly.coefficients.len().ilog2();
                    [d.input as u32, d.output as u32, d.baby_step as u32, d.giant_step as u32, log_len]
                })
                .collect(),
            folds: folds.clone(),
            bias: bias.clone(),
        },
        Step::Relabel { input, factor, bias } => {
            SavedStep::Relabel { input: *input, factor: *factor, bias: bias.clone() }
        }
        Step::Pool { input, rotations } => SavedStep::Pool(*input, rotations.clone()),
        Step::Square { input, slope, constant } => {
            SavedStep::Square(operand(input), slope.clone(), *constant)
        }
        Step::Polynomial { input, coefficients, scale } => {
            SavedStep::Polynomial(operand(input), coefficients.clone(), *scale)
        }
        Step::Product { inputs } => SavedStep::Product(inputs.each_ref().map(operand)),
        Step::Sum { inputs, negative, scale } => {
            SavedStep::Sum(inputs.each_ref().map(operand), *negative, *scale)
        }
    }
}

/// A step, whose weights are taken from the front of `words`.
fn load(step: SavedStep, number: usize, params: &Params, words: &mut &[u8]) -> Option<Step> {
    let operand = |(step, primes, aligned, boost): SavedOperand| {
        (step < number).then_some(Operand { step, primes, aligned, boost })
    };
    let read = |input: usize| (input < number).then_some(input);
    Some(match step {
        SavedStep::Input => Step::Input,
        SavedStep::Transform {
            input,
            boost,
            level,
            to,
            scale,
            groups: [inputs, outputs],
            babies: baby_steps,
            giants: giant_steps,
            blocks,
            folds,
            bias,
        } => {
            let mut diagonals = Vec::with_capacity(blocks.len().min(words.len()));
            for [input, output, baby, giant, log_len] in blocks {
                let len = 1usize.checked_shl(log_len).filter(|&len| len <= params.n())?;
                let (own, rest) = words.split_at_checked(4 * len)?;
                *words = rest;
                let word = |w: &[u8]| w.try_into().map(i32::from_le_bytes).unwrap_or_default();
                let poly = CompactPoly { coefficients: own.chunks_exact(4).map(word).collect() };
                let [input, output, baby_step, giant_step] = [input, output, baby, giant].map(|i| i as usize);
                diagonals.push(Diagonal { input, output, baby_step, giant_step, poly });
            }
            let transform = BlockLinearTransform {
                level,
                target_level: to,
                scale,
                inputs,
                outputs,
                baby_steps,
                giant_steps,
                diagonals,
            };
            Step::Transform { input: read(input)?, boost, transform, folds, bias }
        }
        SavedStep::Relabel { input, factor, bias } => Step::Relabel { input: read(input)?, factor, bias },
        SavedStep::Pool(input, rotations) => Step::Pool { input: read(input)?, rotations },
        SavedStep::Square(o, slope, constant) => Step::Square { input: operand(o)?, slope, constant },
        SavedStep::Polynomial(o, coefficients, scale) => {
            Step::Polynomial { input: operand(o)?, coefficients, scale }
        }
        SavedStep::Product([a, b]) => Step::Product { inputs: [operand(a)?, operand(b)?] },
        SavedStep::Sum([a, b], negative, scale) => {
            Step::Sum { inputs: [operand(a)?, operand(b)?], negative, scale }
        }
    })
}
