//! Plans: a network compiled for ciphertexts, split into what a server and what a client needs.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::batch_search::{Chosen, search};
use crate::calibration::Calibration;
use crate::emit::emit;
use crate::error::MAX_LOG2_RANGE;
use crate::options::{CompileOptions, Progress};
use crate::scaler::Scalers;
use crate::scaling::Scaled;
use crate::server_plan::ServerPlan;
use crate::spec::{ClientSpec, DEFAULT_PUBLISH_BITS, Excess, SpecDescription, TensorSpec, beyond};
use crate::step::Program;
use crate::{CompileError, LayoutReport, Network, Node, NodeId, NodeMap, Op, Report};
use ndarray::{ArrayView, Dimension};
use pleura_ckks::Params;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Largest error to expect of a polynomial, in units of its range, that is accepted.
const MAX_POLYNOMIAL_ERROR: f64 = 1.0 / 16.0;
/// Choices that are tried for a requested precision after the first, and the bits by which more is asked for at least.
const ATTEMPTS: usize = 4;
const LEAST_RAISE: f64 = 0.25;

/// A compiled network: the server's half with the weights, the client's half without, and a report.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) server: Arc<ServerPlan>,
    pub(crate) client: Arc<ClientSpec>,
    pub(crate) notes: PlanNotes,
    pub(crate) report: Report,
}

/// Facts about a compilation that neither half of a plan needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanNotes {
    /// Largest magnitude at each node of the network as it was given, on the calibration items.
    pub(crate) ranges: NodeMap<f64>,
    /// Largest error to expect among the values of each step, in units of their range.
    pub(crate) errors: NodeMap<f64>,
    /// Choices of the compiler, in sentences.
    pub(crate) notes: Vec<String>,
    /// Layouts that were compared for the batch.
    pub(crate) layouts: Vec<LayoutReport>,
}

/// A network that is compiled, with the ranges of its values.
#[derive(Clone, Copy)]
struct Source<'a> {
    network: &'a Network,
    ranges: &'a NodeMap<f64>,
    calibration: &'a Calibration,
}

/// A choice and the program that came of it.
struct Emitted {
    chosen: Chosen,
    layouts: Vec<LayoutReport>,
    params: Params,
    program: Program,
    /// Largest error to expect among the values of each step, in units of their range.
    errors: NodeMap<f64>,
}

/// A node whose values leave the range that a plan was calibrated for.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeViolation {
    /// Name of the node.
    pub node: String,
    /// Largest magnitude on the calibration items, or largest distance from the offset.
    pub calibrated: f64,
    /// Largest magnitude on the item, or largest distance from the offset.
    pub found: f64,
    /// Offset of an input or a result that the client scales; zero elsewhere.
    pub offset: f64,
}

impl Plan {
    /// Compiles a network: rewrites it, searches the cheapest packing and parameters, encodes the weights, and compares
    /// every step with the plaintext network on a calibration item.
    ///
    /// # Errors
    /// [`CompileError`]
    ///
    /// ```
    /// use pleura_nn::{Coefficients, CompileOptions, Network, Node, NodeMap, Op, Plan};
    /// let mut nodes = NodeMap::default();
    /// let x = nodes.push(Node::new("x", [4], Op::Input));
    /// nodes.push(Node::new("square", [4], Op::Polynomial(x, Coefficients(vec![vec![0.0], vec![0.0], vec![1.0]]))));
    /// let network = Network::new("square", nodes)?;
    /// let plan = Plan::compile(&network, &CompileOptions::default(), &mut |_, _, _| ())?;
    /// assert!(plan.params().max_level() >= 1, "a square needs a level");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compile(
        network: &Network,
        options: &CompileOptions,
        progress: Progress<'_>,
    ) -> Result<Self, CompileError> {
        if let Some((id, activation)) = network.activations().next() {
            let node = network[id].name.clone();
            return Err(CompileError::Activation { node, function: activation.function.name() });
        }
        let calibration = Calibration::new(network, options.calibration.as_ref(), &options.ranges)?;
        let ranges = calibration.ranges(network, 1.0)?;
        check_magnitude(network, &ranges, NodeId::INPUT, 1.0)?;
        check_magnitude(network, &ranges, network.output(), 1.0)?;
        let Scaled { network: scaled, calibration, scalers } = Scaled::new(network, calibration, options)?;
        let scaled_ranges = calibration.ranges(&scaled, 1.0)?;
        let source = Source { network: &scaled, ranges: &scaled_ranges, calibration: &calibration };
        let Emitted { chosen, layouts, params, program, errors } = source.emit_precise(options, progress)?;
        let Chosen { candidate, layout, note, .. } = chosen;
        let tensor = |id: NodeId, range: f64, unit: f64, shape: &[usize]| TensorSpec {
            shape: shape.to_vec(),
            unit,
            layout: program.layout(id).clone(),
            batch: layout,
            level: program.level(id),
            scale: program.steps[id].scale,
            range,
        };
        // Scaled inputs may be as large as their units.
        let input_range = if scalers.input.is_some() { 1.0 } else { scaled_ranges[NodeId::INPUT] };
        let first = program.input_node();
        let last = program.output_node();
        let server = ServerPlan {
            params: params.clone(),
            network: network.name().to_owned(),
            device: options.device,
            input: tensor(first, input_range, candidate.input_unit, network.input_shape()),
            output: tensor(
                last,
                scaled_ranges[scaled.output()],
                candidate.output_unit,
                network.output_shape(),
            ),
            program,
            digest: [0; 32],
        }
        .sealed()?;
        let client = ClientSpec {
            key_request: server.key_request(),
            params,
            description: SpecDescription {
                network: server.network.clone(),
                input: server.input.clone(),
                output: server.output.clone(),
                error: errors[candidate.network.output()],
                metadata: options.metadata.clone(),
                plan_digest: server.digest,
            },
            scalers,
        };
        let notes =
            std::iter::once(note).chain(rounding_note(&client)).chain(client.scalers.notes()).collect();
        Ok(Self::assemble(server, client, PlanNotes { ranges, errors, notes, layouts }))
    }

    /// A plan of parts that belong together.
    pub(crate) fn assemble(server: ServerPlan, client: ClientSpec, notes: PlanNotes) -> Self {
        let mut report = Report::new(&server, &notes.notes);
        report.layouts.clone_from(&notes.layouts);
        report.predicted_bits = Some(-client.expected_error().log2());
        for (layer, error) in report.layers.iter_mut().zip(notes.errors.values()) {
            layer.predicted_bits = Some(-error.log2());
        }
        Self { server: Arc::new(server), client: Arc::new(client), notes, report }
    }

    /// The server's half.
    pub fn server_plan(&self) -> &Arc<ServerPlan> {
        &self.server
    }

    /// The client's half.
    pub fn client_spec(&self) -> &Arc<ClientSpec> {
        &self.client
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.server.params
    }

    /// Parameters, layers, sizes and predicted times in figures.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Nodes of `network`, from which the plan was compiled, whose values on `item` exceed four times their
    /// calibrated range: beyond eight times, values may overflow. `item` has the network's input shape; nothing is
    /// found on any other.
    pub fn range_violations<D: Dimension>(
        &self,
        network: &Network,
        item: ArrayView<'_, f64, D>,
    ) -> Vec<RangeViolation> {
        let item: Vec<f64> = item.iter().copied().collect();
        if item.len() != network.input_shape().iter().product::<usize>() {
            return Vec::new();
        }
        self.violations_of(network, &network.trace(&item))
    }

    /// As [`Plan::range_violations`], of the values that [`Network::trace`] gives for an item.
    pub fn violations_of(&self, network: &Network, trace: &NodeMap<Vec<f64>>) -> Vec<RangeViolation> {
        let violations = trace.iter().enumerate().filter_map(|(place, (id, values))| {
            let Excess { found, offset, calibrated } = self.excess(network, id, values)?;
            // A node without a name is part of the next one that has a name.
            let named = network.nodes().iter().skip(place).find(|node| !node.name.is_empty());
            let node = named.map_or_else(String::new, |node| node.name.clone());
            Some(RangeViolation { node, calibrated, found: (found - offset).abs(), offset })
        });
        violations.collect()
    }

    /// The value of a node that exceeds its range most, if one does by more than four times; inputs and results in the units of their scaler.
    fn excess(&self, network: &Network, id: NodeId, values: &[f64]) -> Option<Excess> {
        let Scalers { input, output } = &self.client.scalers;
        let scaler = match id {
            NodeId::INPUT => input.as_ref().map(|scaler| (scaler, &self.server.input)),
            id if id == network.output() => output.as_ref().map(|scaler| (scaler, &self.server.output)),
            _ => None,
        };
        match scaler {
            Some((scaler, tensor)) => beyond(tensor.range, Some(scaler), values),
            None => beyond(*self.notes.ranges.get(id)?, None, values),
        }
    }
}

impl RangeViolation {
    /// Number of times that the calibrated range would fit into the found one.
    pub fn times(&self) -> f64 {
        self.found / self.calibrated
    }
}

impl fmt::Display for RangeViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, calibrated, found, offset } = self;
        if *offset == 0.0 {
            write!(f, "{node} reaches {found:.3e}, but was calibrated up to {calibrated:.3e}")
        } else {
            write!(f, "{node} is {found:.3e} away from {offset}, but was calibrated up to {calibrated:.3e}")
        }
    }
}

impl Source<'_> {
    /// A program of the requested precision. Candidates are chosen by estimates; where the weights leave less, more is asked for.
    fn emit_precise(self, options: &CompileOptions, progress: Progress<'_>) -> Result<Emitted, CompileError> {
        let mut emitted = self.emit(options, progress)?;
        let Some(requested) = options.precision else { return Ok(emitted) };
        let mut asked = requested;
        let mut most = f64::NEG_INFINITY;
        for _ in 0..ATTEMPTS {
            let bits = emitted.bits();
            if bits >= requested {
                return Ok(emitted);
            }
            most = most.max(bits);
            asked += (requested - bits).max(LEAST_RAISE);
            let raised = CompileOptions { precision: Some(asked), ..options.clone() };
            emitted = match self.emit(&raised, progress) {
                Err(CompileError::Precision { .. }) => break,
                emitted => emitted?,
            };
        }
        Err(CompileError::Precision { requested, most })
    }

    fn emit(self, options: &CompileOptions, progress: Progress<'_>) -> Result<Emitted, CompileError> {
        let Self { network, ranges, calibration } = self;
        let (chosen, layouts) = search(network, ranges, calibration, options, progress)?;
        let Chosen { candidate, calibration, .. } = &chosen;
        check_magnitude(network, ranges, NodeId::INPUT, candidate.input_unit)?;
        check_magnitude(network, ranges, network.output(), candidate.output_unit)?;
        if let Some((polynomial_error, id)) = candidate.polynomial_error()
            && let Node { name, op: Op::Chebyshev(_, c), .. } = &candidate.network[id]
            && polynomial_error > MAX_POLYNOMIAL_ERROR
        {
            let bits = (-polynomial_error.log2()).max(0.0) as i32;
            return Err(CompileError::Imprecise { node: name.clone(), degree: c.degree(), bits });
        }
        let params = Params::new(candidate.literal)?;
        let program = emit(candidate, &params, calibration, progress)?;
        let errors = candidate.expected_errors(&program, calibration)?;
        Ok(Emitted { chosen, layouts, params, program, errors })
    }
}

impl Emitted {
    /// Bits of precision to expect of results.
    fn bits(&self) -> f64 {
        -self.errors[self.chosen.candidate.network.output()].log2()
    }
}

/// A sentence on results of fewer exact bits than are published of others.
fn rounding_note(spec: &ClientSpec) -> Option<String> {
    let bits = spec.exact_bits();
    (bits < DEFAULT_PUBLISH_BITS).then(|| {
        format!("results are expected to be exact to {bits} bits of their range, and are rounded to as many")
    })
}

/// Refuses inputs or results whose range or unit has no place in the bytes of a plan.
fn check_magnitude(
    network: &Network,
    ranges: &NodeMap<f64>,
    id: NodeId,
    unit: f64,
) -> Result<(), CompileError> {
    let range = ranges[id];
    if [range, unit].iter().any(|size| size.log2().abs() > MAX_LOG2_RANGE) {
        return Err(CompileError::Magnitude { node: network[id].name.clone(), range });
    }
    Ok(())
}
