//! Checks of plans and client specifications: a description that contradicts itself or its parameters is refused.
//!
//! The checks hold for every plan that the compiler makes, and run on it too. They bound everything that a server or
//! a client allocates or indexes by, and recompute every scale.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::error::MAX_LOG2_RANGE;
use crate::layout::{Copies, Layout, MAX_CIPHERTEXTS};
use crate::levels::{chebyshev_scale, polynomial_depth};
use crate::scaler::Scaler;
use crate::server_plan::ServerPlan;
use crate::spec::{ClientSpec, SCALE_TOLERANCE, TensorSpec};
use crate::step::{Operand, Step, StepKind};
use crate::{BatchLayout, Coefficients, NodeId, PlanFileError, ScoreTransform};
use pleura_ckks::{BlockLinearTransform, MatrixTransform, Params};

/// Largest degree of a polynomial.
const MAX_DEGREE: usize = 1 << 8;
/// Most axes that a function of scores adds.
const MAX_AXES: usize = 64;
/// Most bits that an operand is multiplied by.
const MAX_SCALE_UP: u32 = 120;
/// Largest ratio of an offset to its unit: more would not be exact.
const MAX_MULTIPLE: f64 = (1u64 << 53) as f64;

/// Refuses a plan unless a condition holds.
fn ensure(holds: bool, what: &'static str) -> Result<(), PlanFileError> {
    if holds { Ok(()) } else { Err(PlanFileError::Invalid { what }) }
}

impl ServerPlan {
    /// Refuses steps that contradict each other, their layouts or the parameters.
    pub(crate) fn check(&self) -> Result<(), PlanFileError> {
        let program = &self.program;
        ensure(!program.steps.is_empty(), "a plan without steps")?;
        for layout in program.layouts.values() {
            check_layout(layout, &self.params)?;
        }
        for (id, step) in program.steps.iter() {
            ensure(program.layouts.get(step.layout).is_some(), "the layout of a step")?;
            ensure(step.level <= self.params.max_level(), "the level of a step")?;
            check_scale(step.scale, step.level, &self.params)?;
            ensure(step.predicted_seconds.is_finite(), "the predicted time of a step")?;
            ensure(step.reads().into_iter().all(|read| read < id), "the operand of a step")?;
            ensure(
                matches!(step.kind, StepKind::Input) == (id == program.input_node()),
                "the input of a plan",
            )?;
            self.check_step(id, step)?;
        }
        self.input.check_spec(&self.params)?;
        self.output.check_spec(&self.params)?;
        for (tensor, id) in [(&self.input, program.input_node()), (&self.output, program.output_node())] {
            let step = &program.steps[id];
            let same = tensor.level == step.level && tensor.scale == step.scale;
            ensure(same && tensor.layout == *program.layout(id), "the form of inputs or results")?;
        }
        Ok(())
    }

    fn check_step(&self, id: NodeId, step: &Step) -> Result<(), PlanFileError> {
        let layout = self.program.layout(id);
        let (level, scale) = match &step.kind {
            StepKind::Input => (self.params.max_level(), step.scale),
            StepKind::Linear { input, scale_up_log2, transform, rotate_and_sum, bias } => {
                check_values(bias, layout, false)?;
                self.check_transform(*input, transform, layout)?;
                check_rotations(rotate_and_sum)?;
                let scale = self.check_scale_up(*input, *scale_up_log2)? * transform.scale;
                (transform.target_level, scale / self.divisor(transform.level, transform.target_level))
            }
            StepKind::Matrix { input, scale_up_log2, transform, bias } => {
                check_values(bias, layout, false)?;
                self.check_matrix(*input, transform, layout)?;
                let scale = self.check_scale_up(*input, *scale_up_log2)? * transform.scale;
                (transform.target_level, scale / self.divisor(transform.level, transform.target_level))
            }
            StepKind::SetScale { input, factor, bias } => {
                check_values(bias, layout, false)?;
                ensure(factor.is_finite() && *factor != 0.0, "the factor of a step")?;
                self.check_ciphertexts(*input, layout)?;
                let operand = &self.program.steps[*input];
                (operand.level, operand.scale / factor.abs())
            }
            StepKind::SumPool { input, rotate_and_sum } => {
                check_rotations(rotate_and_sum)?;
                self.check_ciphertexts(*input, layout)?;
                let operand = &self.program.steps[*input];
                let count: f64 = rotate_and_sum.iter().map(|group| group.len() as f64 + 1.0).product();
                (operand.level, operand.scale * count)
            }
            StepKind::Square { input, slope, constant } => {
                check_values(slope, layout, true)?;
                ensure(constant.is_finite(), "the constant of a square")?;
                let (level, scale) = self.check_factor(input, layout)?;
                (level, scale * scale)
            }
            StepKind::Chebyshev { input, coefficients } => {
                check_coefficients(coefficients, layout)?;
                self.check_ciphertexts(*input, layout)?;
                let operand = &self.program.steps[*input];
                let degree = coefficients.degree();
                let depth = polynomial_depth(degree);
                ensure(depth <= operand.level, "the level of a polynomial")?;
                let operand_scale = chebyshev_scale(&self.params, operand.level, degree);
                ensure(same_scale(operand.scale, operand_scale), "the scale of a polynomial's operand")?;
                (operand.level - depth, step.scale)
            }
            StepKind::Mul { inputs: [a, b] } => {
                let a = self.check_factor(a, layout)?;
                let b = self.check_factor(b, layout)?;
                (a.0.min(b.0), a.1 * b.1)
            }
            StepKind::Add { inputs: [a, b], .. } => {
                let levels = [self.check_addend(a, step, layout)?, self.check_addend(b, step, layout)?];
                (levels[0].min(levels[1]), step.scale)
            }
        };
        ensure(step.level == level, "the level of a step")?;
        ensure(same_scale(step.scale, scale), "the scale of a step")
    }

    fn check_transform(
        &self,
        input: NodeId,
        transform: &BlockLinearTransform,
        layout: &Layout,
    ) -> Result<(), PlanFileError> {
        let fits = transform.inputs == self.program.layout(input).ciphertexts
            && transform.outputs == layout.ciphertexts
            && transform.level == self.program.level(input)
            && transform.target_level < transform.level;
        ensure(fits && transform.scale.is_finite() && transform.scale > 0.0, "a linear transform")?;
        let steps = 1..=self.params.slots();
        let fits =
            steps.contains(&transform.baby_steps.len()) && steps.contains(&transform.giant_steps.len());
        ensure(fits, "the steps of a linear transform")?;
        for diagonal in &transform.diagonals {
            let fits = diagonal.input < transform.inputs
                && diagonal.output < transform.outputs
                && diagonal.baby_step < transform.baby_steps.len()
                && diagonal.giant_step < transform.giant_steps.len();
            let len = diagonal.poly.coefficients.len();
            ensure(
                fits && len.is_power_of_two() && len <= self.params.n(),
                "a diagonal of a linear transform",
            )?;
        }
        Ok(())
    }

    /// Scale of an operand that is multiplied by a power of two.
    fn check_scale_up(&self, input: NodeId, scale_up_log2: u32) -> Result<f64, PlanFileError> {
        ensure(scale_up_log2 <= MAX_SCALE_UP, "the factor of an operand")?;
        Ok(self.program.steps[input].scale * f64::from(scale_up_log2).exp2())
    }

    fn check_matrix(
        &self,
        input: NodeId,
        transform: &MatrixTransform,
        layout: &Layout,
    ) -> Result<(), PlanFileError> {
        let fits = transform.matrix.columns() == self.program.layout(input).ciphertexts
            && transform.matrix.rows().len() == layout.ciphertexts
            && transform.level == self.program.level(input)
            && transform.target_level < transform.level;
        ensure(fits && transform.scale.is_finite() && transform.scale > 0.0, "a matrix between ciphertexts")
    }

    /// Level and scale of an operand of a product after its division.
    fn check_factor(&self, operand: &Operand, layout: &Layout) -> Result<(usize, f64), PlanFileError> {
        self.check_ciphertexts(operand.node, layout)?;
        let Step { level: from, scale, .. } = self.program.steps[operand.node];
        ensure(
            operand.rescale_by <= from && operand.scale_up_log2 <= MAX_SCALE_UP,
            "the factor of an operand",
        )?;
        let level = from - operand.rescale_by;
        Ok((level, scale * f64::from(operand.scale_up_log2).exp2() / self.divisor(from, level)))
    }

    /// Level of an operand of a sum.
    fn check_addend(&self, operand: &Operand, sum: &Step, layout: &Layout) -> Result<usize, PlanFileError> {
        self.check_ciphertexts(operand.node, layout)?;
        let Step { level: from, scale, .. } = self.program.steps[operand.node];
        if operand.aligned {
            ensure(operand.rescale_by <= from, "the level of a sum")?;
            return Ok(from - operand.rescale_by);
        }
        ensure(same_scale(scale, sum.scale), "the scale of a sum")?;
        Ok(from)
    }

    fn check_ciphertexts(&self, operand: NodeId, layout: &Layout) -> Result<(), PlanFileError> {
        ensure(self.program.layout(operand).ciphertexts == layout.ciphertexts, "the ciphertexts of a step")
    }
}

impl ClientSpec {
    /// Refuses layouts, scales, ranges and names that contradict each other or the parameters.
    pub(crate) fn check(&self) -> Result<(), PlanFileError> {
        let description = &self.description;
        description.input.check_spec(&self.params)?;
        description.output.check_spec(&self.params)?;
        ensure(description.error.is_finite() && description.error > 0.0, "the expected error")?;
        let classes = description.metadata.classes.len();
        let outputs = description.output.shape.iter().product();
        ensure(description.input.batch == description.output.batch, "the layout of a batch")?;
        let many_axes =
            matches!(description.metadata.scores, ScoreTransform::ArgMax { axes, .. } if axes > MAX_AXES);
        ensure(!many_axes, "the function of scores")?;
        for (scaler, tensor) in
            [(&self.scalers.input, &description.input), (&self.scalers.output, &description.output)]
        {
            scaler.as_ref().map_or(Ok(()), |scaler| scaler.check(tensor))?;
        }
        ensure(classes == 0 || classes == outputs, "the number of class names")
    }

    /// Refuses the specification of another plan.
    pub(crate) fn check_belongs_to(&self, plan: &ServerPlan) -> Result<(), PlanFileError> {
        if self.description.plan_digest == plan.digest {
            return Ok(());
        }
        let short = |digest: &[u8; 32]| digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let expected = short(&self.description.plan_digest);
        let got = short(&plan.digest);
        Err(PlanFileError::OtherPlan { expected, got })
    }
}

impl Scaler {
    /// Units are powers of two, and offsets multiples of them.
    fn check(&self, tensor: &TensorSpec) -> Result<(), PlanFileError> {
        let elements: usize = tensor.shape.iter().product();
        let lengths = [self.offsets.len(), self.units.len()];
        ensure(lengths == [elements; 2], "the number of offsets and units")?;
        let are_powers = self.units.iter().all(|unit| is_power(*unit));
        ensure(are_powers, "the units of elements")?;
        let are_multiples = self.offsets.iter().zip(&self.units).all(|(offset, unit)| {
            let multiple = offset / unit;
            multiple.fract() == 0.0 && multiple.abs() < MAX_MULTIPLE
        });
        ensure(are_multiples, "the offsets of elements")
    }
}

/// Whether a unit is a power of two that a plan may have.
fn is_power(unit: f64) -> bool {
    let log2 = unit.log2();
    log2.fract() == 0.0 && log2.exp2() == unit && log2.abs() <= MAX_LOG2_RANGE
}

impl TensorSpec {
    fn check_spec(&self, params: &Params) -> Result<(), PlanFileError> {
        check_layout(&self.layout, params)?;
        ensure(self.level <= params.max_level(), "the level of inputs or results")?;
        check_scale(self.scale, self.level, params)?;
        let elements = self.shape.iter().try_fold(1usize, |product, &len| product.checked_mul(len));
        let elements = match self.batch {
            BatchLayout::SideBySide(items) => elements.and_then(|elements| elements.checked_mul(items)),
            BatchLayout::SlotPerItem if self.layout.copies != Copies::Period(1) => None,
            BatchLayout::SlotPerItem => elements,
            BatchLayout::Interleaved if self.layout.run() < 2 => None,
            BatchLayout::Interleaved => elements,
        };
        ensure(elements == Some(self.layout.elements()), "the shape of inputs or results")?;
        ensure(is_power(self.unit), "the unit of inputs or results")?;
        ensure(self.range.log2().abs() <= MAX_LOG2_RANGE, "the range of inputs or results")
    }
}

fn check_layout(layout: &Layout, params: &Params) -> Result<(), PlanFileError> {
    let slots = params.slots();
    let places = || layout.places.iter().map(|&place| place as usize);
    ensure(layout.slots == slots && !layout.places.is_empty(), "the slots of a layout")?;
    let ciphertexts = places().map(|place| place / slots + 1).fold(0, usize::max);
    ensure(
        layout.ciphertexts == ciphertexts && ciphertexts <= MAX_CIPHERTEXTS,
        "the ciphertexts of a layout",
    )?;
    let copies = match layout.copies {
        Copies::None => true,
        Copies::Planes { planes, step } => {
            planes > 0 && slots.is_multiple_of(planes) && step > 0 && planes.is_multiple_of(step)
        }
        Copies::Period(period) => {
            period > 0 && slots.is_multiple_of(period) && places().all(|place| place % slots < period)
        }
        Copies::Runs { run, period } => {
            let room = period.checked_sub(run);
            run > 0
                && slots.checked_rem(period) == Some(0)
                && places().all(|place| room.is_some_and(|room| place % slots <= room))
        }
    };
    ensure(copies, "the copies of a layout")
}

/// Scales are numbers of at least one, and at most the modulus.
fn check_scale(scale: f64, level: usize, params: &Params) -> Result<(), PlanFileError> {
    ensure((0.0..=params.log2_q(level)).contains(&scale.log2()), "a scale")
}

fn same_scale(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() <= SCALE_TOLERANCE
}

/// One finite value for each element, or, if `shared`, one for all.
fn check_values(values: &[f64], layout: &Layout, shared: bool) -> Result<(), PlanFileError> {
    let fits = values.len() == layout.elements() || (shared && values.len() == 1);
    ensure(fits && values.iter().all(|value| value.is_finite()), "the constants of a step")
}

fn check_coefficients(coefficients: &Coefficients, layout: &Layout) -> Result<(), PlanFileError> {
    ensure((2..=MAX_DEGREE).contains(&coefficients.degree()), "the degree of a polynomial")?;
    let leading = coefficients.0.last().is_some_and(|list| list.iter().any(|c| *c != 0.0));
    ensure(leading, "the leading coefficient of a polynomial")?;
    coefficients.0.iter().try_for_each(|values| check_values(values, layout, true))
}

fn check_rotations(groups: &[Vec<i64>]) -> Result<(), PlanFileError> {
    ensure(groups.iter().all(|group| !group.is_empty()), "the rotations of a step")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CompileOptions, Dense, Linear, Network, Node, NodeMap, Op, Plan};

    type Change = fn(&mut Scaler);

    #[test]
    fn scalers_have_powers_of_two_and_multiples_of_them() {
        let mut nodes = NodeMap::default();
        let x = nodes.push(Node::new("x", [2], Op::Input));
        let dense = Linear::new(Dense::new(2, vec![0.5; 2]).unwrap()).plus(&[1e6]);
        nodes.push(Node::new("dense", [1], Op::Linear(x, dense)));
        let network = Network::new("dense", nodes).unwrap();
        let items =
            ndarray::Array2::from_shape_fn((20, 2), |(i, j)| if j == 0 { 2000.0 } else { 0.0 } + i as f64);
        let options = CompileOptions { calibration: Some(items.into_dyn()), ..CompileOptions::default() };
        let plan = Plan::compile(&network, &options, &mut |_, _, _| ()).unwrap();
        let spec = plan.client_spec();
        assert_eq!(spec.check(), Ok(()));
        assert!(spec.scalers.input.is_some() && spec.scalers.output.is_some());
        let changes: [(Change, &str); 7] = [
            (|s| s.units[0] *= 1.5, "the units of elements"),
            (|s| s.units[0] = 0.0, "the units of elements"),
            (|s| s.units[0] = -1.0, "the units of elements"),
            (|s| s.units[0] = 300f64.exp2(), "the units of elements"),
            (|s| s.offsets[0] += s.units[0] / 2.0, "the offsets of elements"),
            (|s| s.offsets[0] = f64::NAN, "the offsets of elements"),
            (|s| s.units.push(1.0), "the number of offsets and units"),
        ];
        for (change, what) in changes {
            let mut wrong = ClientSpec::clone(spec);
            change(wrong.scalers.output.as_mut().unwrap());
            assert_eq!(wrong.check(), Err(PlanFileError::Invalid { what }));
            assert!(ClientSpec::from_bytes(&wrong.to_bytes().unwrap()).is_err(), "{what}");
        }
    }

    #[test]
    fn linear_transforms_have_steps_and_no_more_than_slots() {
        let mut nodes = NodeMap::default();
        let x = nodes.push(Node::new("x", [4], Op::Input));
        let dense = Linear::new(Dense::new(4, vec![0.5; 8]).unwrap());
        nodes.push(Node::new("dense", [2], Op::Linear(x, dense)));
        let network = Network::new("dense", nodes).unwrap();
        let plan = Plan::compile(&network, &CompileOptions::default(), &mut |_, _, _| ()).unwrap();
        let check = |change: &dyn Fn(&mut BlockLinearTransform)| {
            let mut plan = ServerPlan::clone(plan.server_plan());
            for (_, step) in plan.program.steps.iter_mut() {
                if let StepKind::Linear { transform, .. } = &mut step.kind {
                    change(transform);
                }
            }
            plan.check()
        };
        assert_eq!(check(&|_| ()), Ok(()));
        let refused = Err(PlanFileError::Invalid { what: "the steps of a linear transform" });
        let slots = plan.params().slots();
        let without_diagonals = |transform: &mut BlockLinearTransform| transform.diagonals.clear();
        assert_eq!(check(&without_diagonals), Ok(()));
        for steps in [vec![], vec![0; slots + 1]] {
            let [baby, giant] = [true, false].map(|baby| {
                check(&|transform| {
                    without_diagonals(transform);
                    *(if baby { &mut transform.baby_steps } else { &mut transform.giant_steps }) =
                        steps.clone();
                })
            });
            assert_eq!((baby, giant), (refused.clone(), refused.clone()));
        }
    }
}
