//! Reports: a plan and the fidelity of its results in figures.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::step::{Program, Step, StepKind};
use crate::{BatchLayout, DeviceClass, NodeId, ServerPlan};
use ndarray::{ArrayView, Axis, Dimension};
use pleura_ckks::{BlockLinearTransform, Ciphertext, EvaluationKeys, MatrixTransform, Params};
use serde::{Deserialize, Serialize};

/// A plan in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the network.
    pub network: String,
    /// Class of devices that the plan was made for.
    pub planned_for: DeviceClass,
    /// The parameter set.
    pub parameters: ParameterReport,
    /// The steps, in order.
    pub layers: Vec<LayerReport>,
    /// Items that a group of ciphertexts holds.
    pub items: usize,
    /// How the items of a group share its ciphertexts.
    pub layout: String,
    /// Ciphertexts that a client sends for a group.
    pub input_ciphertexts: usize,
    /// Bytes of a group's ciphertexts on the wire, as sent.
    pub input_bytes: usize,
    /// Ciphertexts that come back for a group.
    pub output_ciphertexts: usize,
    /// Bytes of a group's results on the wire.
    pub output_bytes: usize,
    /// Number of rotation keys.
    pub rotation_keys: usize,
    /// Bytes of all evaluation keys on a device.
    pub key_bytes: usize,
    /// Bytes of all evaluation keys on the wire.
    pub key_wire_bytes: usize,
    /// Bytes of all encoded weights.
    pub weight_bytes: usize,
    /// Predicted peak memory of client and server in one process, in bytes, for one group at a time.
    pub predicted_peak_bytes: usize,
    /// Predicted bytes of a GPU's memory for the plan, the keys of one client and one group at a time.
    pub predicted_device_bytes: usize,
    /// Predicted precision of results: `-log2` of the largest error to expect among the values of an item, in units of their range.
    /// The server's half of a plan does not tell it.
    pub predicted_bits: Option<f64>,
    /// Predicted seconds of an inference of a group on devices of the class, encryption included.
    pub predicted_seconds: f64,
    /// Layouts that were compared for the batch.
    pub layouts: Vec<LayoutReport>,
    /// Choices of the compiler, in sentences.
    pub notes: Vec<String>,
}

/// A way for the items of a batch to share ciphertexts, in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayoutReport {
    /// The layout in words.
    pub layout: String,
    /// Items of a group; 0 if there is no plan.
    pub items: usize,
    /// Kind of the ring, as in [`ParameterReport`].
    pub ring: String,
    /// Logarithm of the ring degree.
    pub log_n: u32,
    /// Ciphertexts that a client sends for a group.
    pub input_ciphertexts: usize,
    /// Most bytes of the ciphertexts that a step reads and makes.
    pub value_bytes: usize,
    /// Predicted seconds of the whole batch on devices of the plan's class, encryption included.
    pub predicted_seconds: f64,
    /// Whether the plan has this layout.
    pub chosen: bool,
    /// Why the plan has another.
    pub refusal: Option<String>,
}

/// A parameter set in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ParameterReport {
    /// Kind of the ring: `cyclotomic` or `conjugate-invariant`.
    pub ring: String,
    /// Logarithm of the ring degree.
    pub log_n: u32,
    /// Values in a ciphertext.
    pub slots: usize,
    /// Levels that the computation consumes.
    pub levels: usize,
    /// Bits of the primes of each level.
    pub scale_bits: u32,
    /// Bits of the ciphertext modulus.
    pub log2_q: f64,
    /// Bits of the whole modulus, special primes included.
    pub log2_qp: f64,
    /// Bits that the security table allows at this degree.
    pub max_log2_qp: f64,
    /// Bits of security.
    pub security: u32,
}

/// A step in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Names of the network's nodes that the step computes.
    pub name: String,
    /// `input`, `linear`, `matrix`, `pool`, `scale`, `square`, `polynomial`, `product`, or `add` for sums and differences.
    pub kind: String,
    /// Layout of the result.
    pub layout: String,
    /// Ciphertexts of the result.
    pub ciphertexts: usize,
    /// Diagonals of a linear step.
    pub diagonals: usize,
    /// Rotations, hoisted ones included.
    pub rotations: usize,
    /// Level that the step starts at.
    pub level: usize,
    /// Bytes of the step's weights.
    pub bytes: usize,
    /// Predicted precision of the step's values, as for [`Report::predicted_bits`].
    pub predicted_bits: Option<f64>,
    /// Predicted seconds on devices of the plan's class.
    pub predicted_seconds: f64,
}

/// Differences between encrypted results and those of the plaintext network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Largest absolute difference.
    pub max_abs_error: f64,
    /// Mean absolute difference.
    pub mean_abs_error: f64,
    /// `-log2` of the largest difference over the largest plaintext value of the batch.
    pub bits: f64,
    /// Share of items whose largest score is the same one.
    pub label_agreement: f64,
}

/// Approximate bytes of a process without keys, weights and ciphertexts.
const PROCESS_BYTES: usize = 64 << 20;

impl Report {
    /// The figures of a plan, with the compiler's notes; the layouts it compared are not known to it.
    pub fn new(plan: &ServerPlan, notes: &[String]) -> Self {
        let params = &plan.params;
        let program = &plan.program;
        let keys = plan.key_request();
        let layers: Vec<LayerReport> = program.steps.ids().map(|id| LayerReport::new(program, id)).collect();
        let weight_bytes = layers.iter().map(|layer| layer.bytes).sum();
        let peak = program.steps.ids().map(|id| working_bytes(params, program, id)).fold(0, usize::max);
        let key_bytes = keys.bytes(params);
        let input = &plan.input;
        let output = &plan.output;
        let relin_keys = usize::from(keys.relin_level().is_some());
        let one = |level: usize, seeded: bool| Ciphertext::encoded_len(params, level, 2, seeded) as usize;
        Self {
            network: plan.network.clone(),
            planned_for: plan.device,
            parameters: ParameterReport::new(params),
            items: input.items(),
            layout: input.batch.to_string(),
            input_ciphertexts: input.layout.ciphertexts,
            input_bytes: input.layout.ciphertexts * one(input.level, true),
            output_ciphertexts: output.layout.ciphertexts,
            output_bytes: output.layout.ciphertexts * one(output.level, false),
            rotation_keys: keys.count() - relin_keys,
            key_bytes,
            key_wire_bytes: EvaluationKeys::encoded_len(params, &keys) as usize,
            weight_bytes,
            // Client and server in one process hold the keys twice, for a moment, and storage is kept for reuse.
            predicted_peak_bytes: 2 * (key_bytes + weight_bytes + peak) + PROCESS_BYTES,
            predicted_device_bytes: plan.device_bytes(1),
            predicted_bits: None,
            predicted_seconds: layers.iter().map(|layer| layer.predicted_seconds).sum(),
            layers,
            layouts: Vec::new(),
            notes: notes.to_vec(),
        }
    }
}

impl LayoutReport {
    /// A layout without a plan.
    pub(crate) fn refused(layout: BatchLayout, reason: String) -> Self {
        Self { layout: layout.to_string(), refusal: Some(reason), ..Self::default() }
    }
}

impl ParameterReport {
    /// The figures of a parameter set.
    pub fn new(params: &Params) -> Self {
        let literal = params.literal();
        let levels = params.max_level();
        Self {
            ring: literal.ring.name().to_owned(),
            log_n: literal.log_n,
            slots: params.slots(),
            levels,
            scale_bits: literal.scale_bits,
            log2_q: params.log2_q(levels),
            log2_qp: params.log2_qp(levels),
            max_log2_qp: literal.security.max_log2_qp(literal.log_n),
            security: literal.security.bits(),
        }
    }
}

impl LayerReport {
    /// The figures of a step.
    fn new(program: &Program, id: NodeId) -> Self {
        let step = &program.steps[id];
        let layout = program.layout(id);
        let kind = kind(&step.kind).to_owned();
        let mut report = Self {
            name: if step.name.is_empty() { kind.clone() } else { step.name.clone() },
            kind,
            layout: layout.description.clone(),
            ciphertexts: layout.ciphertexts,
            level: step.start_level(|id| program.level(id)),
            predicted_seconds: step.predicted_seconds,
            ..Self::default()
        };
        match &step.kind {
            StepKind::Linear { transform, rotate_and_sum, .. } => {
                let rotations = |steps: &[i64]| steps.iter().filter(|&&step| step != 0).count();
                report.diagonals = transform.diagonals.len();
                report.bytes = weight_bytes(transform);
                report.rotations = rotations(&transform.baby_steps) * transform.inputs
                    + (rotations(&transform.giant_steps) + rotate_and_sum.iter().flatten().count())
                        * transform.outputs;
            }
            StepKind::Matrix { transform, .. } => report.bytes = matrix_bytes(transform),
            StepKind::SumPool { rotate_and_sum, .. } => {
                report.rotations = rotate_and_sum.iter().flatten().count() * layout.ciphertexts;
            }
            _ => {}
        }
        report
    }
}

impl Fidelity {
    /// Compares results, `[items, ..]`: those of the plaintext network and decrypted ones. Values that are not
    /// numbers, results of different shapes, and no results at all differ infinitely.
    pub fn new<D: Dimension>(plaintext: ArrayView<'_, f64, D>, decrypted: ArrayView<'_, f64, D>) -> Self {
        let plaintext = plaintext.into_dyn();
        let decrypted = decrypted.into_dyn();
        if plaintext.shape() != decrypted.shape() || plaintext.ndim() == 0 || plaintext.is_empty() {
            let infinite = f64::INFINITY;
            return Self {
                max_abs_error: infinite,
                mean_abs_error: infinite,
                bits: -infinite,
                label_agreement: 0.0,
            };
        }
        let differences = plaintext.iter().zip(&decrypted).map(|(a, b)| match (a - b).abs() {
            difference if difference.is_nan() => f64::INFINITY,
            difference => difference,
        });
        let (largest, sum) = differences.fold((0.0f64, 0.0), |(largest, sum), d| (largest.max(d), sum + d));
        let scale = match plaintext.iter().fold(0.0f64, |m, x| m.max(x.abs())) {
            0.0 => 1.0,
            largest => largest,
        };
        let items = plaintext.axis_iter(Axis(0)).zip(decrypted.axis_iter(Axis(0)));
        let same = items.filter(|(a, b)| label(a.view()) == label(b.view())).count();
        Self {
            max_abs_error: largest,
            mean_abs_error: sum / plaintext.len() as f64,
            bits: -(largest.max(f64::MIN_POSITIVE) / scale).log2(),
            label_agreement: same as f64 / plaintext.len_of(Axis(0)) as f64,
        }
    }
}

/// Position of the largest score of an item, in row-major order: the first of equal ones, or of those that are no numbers; `None`
/// without scores.
pub fn label<D: Dimension>(scores: ArrayView<'_, f64, D>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (i, &score) in scores.iter().enumerate() {
        if best.is_none_or(|(_, largest)| score > largest || score.is_nan() && !largest.is_nan()) {
            best = Some((i, score));
        }
    }
    best.map(|(i, _)| i)
}

fn kind(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::Input => "input",
        StepKind::Linear { .. } => "linear",
        StepKind::Matrix { .. } => "matrix",
        StepKind::SetScale { .. } => "scale",
        StepKind::SumPool { .. } => "pool",
        StepKind::Square { .. } => "square",
        StepKind::Chebyshev { .. } => "polynomial",
        StepKind::Mul { .. } => "product",
        StepKind::Add { .. } => "add",
    }
}

/// Bytes of the columns and values of a matrix.
fn matrix_bytes(transform: &MatrixTransform) -> usize {
    8 * transform.matrix.entries()
}

fn weight_bytes(transform: &BlockLinearTransform) -> usize {
    transform.diagonals.iter().map(|diagonal| 4 * diagonal.poly.coefficients.len()).sum()
}

/// Bytes that a step takes while it runs, about.
fn working_bytes(params: &Params, program: &Program, id: NodeId) -> usize {
    let poly = |limbs: usize| 4 * limbs * params.n();
    let Step { kind, .. } = &program.steps[id];
    match kind {
        StepKind::Linear { transform, .. } => {
            let gadget = params.gadget(transform.level);
            let q = params.limbs(transform.level).q;
            let inputs = transform.inputs;
            let outputs = transform.outputs;
            let sums = 2 * transform.giant_steps.len() * outputs * poly(q + gadget.limbs.p);
            let ciphertexts = (2 * inputs + 3 * outputs) * poly(q);
            let per_thread = weight_bytes(transform) + gadget.digits() * inputs * poly(2);
            sums + ciphertexts + per_thread * rayon::current_num_threads()
        }
        // What the client encodes and encrypts, and its copy on the device.
        StepKind::Input => 6 * program.layout(id).ciphertexts * poly(params.limbs(program.steps[id].level).q),
        StepKind::Matrix { transform, .. } => {
            let count = transform.matrix.columns() + 3 * transform.matrix.rows().len();
            2 * count * poly(params.limbs(transform.level).q)
        }
        _ => {
            let level = program.steps[id].start_level(|id| program.level(id));
            10 * program.layout(id).ciphertexts * poly(params.limbs(level).q)
        }
    }
}
