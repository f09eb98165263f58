//! From the nodes of the model to those of the network, one by one.

use crate::budget;
use crate::builder::{Builder, Tensor};
use crate::conformance::{self, MOVES, POINTWISE};
use crate::constant::{Constant, Int};
use crate::element::Element;
use crate::external::External;
use crate::graph::{Graph, LARGEST, LOGARITHMS, MONOTONE, PROBABILITIES, RISING, SHARES, SMALLEST, Step};
use crate::limits::MAX_RANK;
use crate::problem::Problem;
use crate::unsupported::Unsupported;
use crate::{ImportError, ImportOptions, proto};
use pleura_nn::{Network, ScoreTransform};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Most obstacles that are looked for.
const MAX_OBSTACLES: usize = 1000;

/// Everything known so far.
#[derive(Debug)]
pub(crate) struct Importer<'a> {
    values: HashMap<&'a str, Value>,
    /// Names whose values an obstacle hides.
    unknown: HashSet<&'a str>,
    /// Tensors of integers: they are moved, and computed with after a cast only.
    integers: HashSet<&'a str>,
    pub(crate) builder: Builder,
    pub(crate) keep_activations: bool,
    /// The batch size, if the file fixes it.
    pub(crate) batch: Int,
    pub(crate) opset: i64,
    pub(crate) notes: Vec<String>,
    pub(crate) scores: ScoreTransform,
    /// Scores that the client makes a label of.
    pub(crate) labelled: Option<Tensor>,
}

/// Value of a name in the model: a constant or an encrypted tensor. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Constant(Constant),
    Tensor(Tensor),
}

/// A network and what belongs to it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) network: Network,
    pub(crate) scores: ScoreTransform,
    pub(crate) notes: Vec<String>,
    pub(crate) external_files: Vec<PathBuf>,
}

/// Imports a graph.
pub(crate) fn import(
    name: String,
    graph: &Graph<'_>,
    opset: i64,
    options: &ImportOptions,
) -> Result<Built, ImportError> {
    let mut importer = Importer::new(graph, opset, options)?;
    let mut files = External::new(options.external_data.as_deref());
    let mut obstacles = importer.take_initializers(graph, &mut files);
    for step in &graph.steps {
        let Err(problem) = importer.take(step, &mut files) else { continue };
        let is_last =
            matches!(problem, Problem::Budget | Problem::Activations) || obstacles.len() >= MAX_OBSTACLES;
        obstacles.push(step.fail(importer.explained(problem)));
        if is_last {
            break;
        }
        importer.assume(step);
    }
    if obstacles.len() > 1 {
        return Err(ImportError::Several(obstacles));
    }
    if let Some(only) = obstacles.pop() {
        return Err(only);
    }
    let Some(Value::Tensor(output)) = importer.values.get(graph.output).cloned() else {
        return Err(ImportError::ConstantOutput { output: graph.output.to_owned() });
    };
    importer.finish(name, output, files)
}

impl<'a> Importer<'a> {
    /// An importer that knows the input of a graph only.
    fn new(graph: &Graph<'a>, opset: i64, options: &ImportOptions) -> Result<Self, ImportError> {
        let (batch, shape) = item_shape(graph.input, options)?;
        let (mut builder, input) = Builder::new(&graph.input.name, &shape);
        builder
            .budget
            .charge_activation(&shape)
            .map_err(|problem| ImportError::Tensor { tensor: graph.input.name.clone(), problem })?;
        let mut integers = HashSet::new();
        if !graph.input.has_floats() {
            integers.insert(graph.input.name.as_str());
        }
        Ok(Self {
            values: HashMap::from([(graph.input.name.as_str(), Value::Tensor(input))]),
            unknown: HashSet::new(),
            integers,
            builder,
            keep_activations: options.keep_activations,
            batch,
            opset,
            notes: Vec::new(),
            scores: ScoreTransform::Identity,
            labelled: None,
        })
    }

    /// Reads the constants of a graph. Returns the obstacles: constants that cannot be read, whose names become
    /// unknown.
    fn take_initializers(&mut self, graph: &Graph<'a>, files: &mut External<'_>) -> Vec<ImportError> {
        let mut obstacles = Vec::new();
        for &tensor in &graph.initializers {
            match files.parse(tensor) {
                Ok(constant) => {
                    self.values.insert(&tensor.name, Value::Constant(constant));
                }
                Err(problem) => {
                    self.unknown.insert(&tensor.name);
                    obstacles.push(ImportError::Tensor { tensor: tensor.name.clone(), problem });
                }
            }
        }
        obstacles
    }

    /// The network that ends in a tensor, or in the scores that the client makes a label of.
    fn finish(self, name: String, output: Tensor, files: External<'_>) -> Result<Built, ImportError> {
        let (scores, output) = match (self.scores, self.labelled) {
            (ScoreTransform::ArgMax { last, .. }, Some(scores)) => {
                (ScoreTransform::ArgMax { axes: output.shape.len(), last }, scores)
            }
            (scores, _) => (scores, output),
        };
        let network = self.builder.finish(name, &output).map_err(ImportError::Network)?;
        Ok(Built { network, scores, notes: self.notes, external_files: files.into_read() })
    }

    /// Takes the node over, unless an obstacle hides what it reads.
    fn take(&mut self, step: &Step<'a>, files: &mut External<'_>) -> Result<(), Problem> {
        conformance::check(step, self.opset)?;
        if step.inputs.iter().any(|name| self.unknown.contains(name)) {
            self.unknown.extend(step.node.output.iter().map(String::as_str));
            // Attention moves the batch axis before, which says less of what is in the way.
            return match step.op {
                "Softmax" | "LogSoftmax" => Err(Unsupported::Softmax.into()),
                _ => Ok(()),
            };
        }
        let moves = MOVES.contains(&step.op);
        let of_integers = step.inputs.iter().any(|name| self.integers.contains(name));
        if of_integers && !moves && !matches!(step.op, "Cast" | "CastLike" | "Shape" | "Size") {
            return Err(Problem::ElementType { found: "an integer type", expected: "floating point".into() });
        }
        let has_batch = self.reads_batch_of_constants(step)?;
        let mut outputs = match (step.op, step.tensor("value")) {
            ("Constant", Some(tensor)) => vec![Value::Constant(files.parse(tensor)?)],
            _ => self.run(step)?,
        };
        if has_batch {
            outputs = outputs.into_iter().map(Value::with_batch).collect::<Result<_, _>>()?;
        }
        let names = step.node.output.iter().map(String::as_str);
        if of_integers && moves {
            self.integers.extend(names.clone());
        }
        self.values.extend(names.zip(outputs));
        Ok(())
    }

    /// Whether the results have the batch axis of a constant. Such a constant has one row for all items, so operators
    /// that would see the number of rows are refused.
    fn reads_batch_of_constants(&self, step: &Step<'_>) -> Result<bool, Problem> {
        let values = (0..step.inputs.len()).map(|i| self.optional(step, i)).collect::<Result<Vec<_>, _>>()?;
        let is_batched = |value: &Option<Value>| matches!(value, Some(Value::Constant(c)) if c.has_batch);
        let Some(last) = values.iter().rposition(is_batched) else { return Ok(false) };
        let rank = values.iter().flatten().map(|value| value.full_shape().len()).max();
        match step.op {
            "Shape" => Ok(false),
            "Cast" | "CastLike" => Ok(values.first().is_some_and(is_batched)),
            "Concat" => Ok(true),
            op if MOVES.contains(&op) && last == 0 => Ok(true),
            op if POINTWISE.contains(&op)
                && values.iter().flatten().all(|v| !v.has_batch() || Some(v.full_shape().len()) == rank) =>
            {
                Ok(true)
            }
            _ => Err(Problem::MixesBatch),
        }
    }

    /// A problem with shapes or indices, and that the batch size may be the reason if the file fixes it at several items.
    fn explained(&self, problem: Problem) -> Problem {
        let is_of_shapes = matches!(
            problem,
            Problem::MixesBatch
                | Problem::Shape { .. }
                | Problem::Index { .. }
                | Problem::Broadcast { .. }
                | Problem::Reshape { .. }
                | Problem::Concat { .. }
        );
        match self.batch {
            Int::Known(size) if size > 1 && is_of_shapes => {
                Problem::FixedBatch { size, problem: Box::new(problem) }
            }
            _ => problem,
        }
    }

    /// Goes on behind an obstacle, to find the next ones: with a tensor of the shape that the node would make, if
    /// that is known.
    fn assume(&mut self, step: &Step<'a>) {
        let shaped = match step.op {
            _ if conformance::keeps_shape(step.op) => self.value(step, 0),
            "MaxPool" | "LpPool" => self.average_pool(step),
            "GlobalMaxPool" | "GlobalLpPool" => self.global_average_pool(step),
            _ => Err(Problem::Internal("the shape is not known")),
        };
        let mut names = step.node.output.iter().map(String::as_str);
        if let (Ok(value @ Value::Tensor(_)), Some(first)) = (shaped, names.next()) {
            self.values.insert(first, value);
        } else {
            self.unknown.extend(step.node.output.first().map(String::as_str));
        }
        self.unknown.extend(names);
    }

    /// The results of a node.
    fn run(&mut self, step: &Step<'_>) -> Result<Vec<Value>, Problem> {
        let one = |value: Value| vec![value];
        match step.op {
            "Constant" => constant_node(step).map(one),
            "ConstantOfShape" => self.constant_of_shape(step).map(one),
            "Range" => self.range(step).map(one),
            "Shape" => self.shape(step).map(one),
            "Size" => self.size(step).map(one),
            "Identity" => self.value(step, 0).map(one),
            "Dropout" => self.dropout(step).map(one),
            "Cast" => self.cast(step).map(one),
            "CastLike" => self.cast_like(step).map(one),
            "Reshape" => self.reshape(step).map(one),
            "Flatten" => self.flatten(step).map(one),
            "Squeeze" => self.squeeze(step).map(one),
            "Unsqueeze" => self.unsqueeze(step).map(one),
            "Transpose" => self.transpose(step).map(one),
            "Slice" => self.slice(step).map(one),
            "Split" => self.split(step),
            "Gather" => self.gather(step).map(one),
            "GatherElements" => self.gather_elements(step).map(one),
            "GatherND" => self.gather_nd(step).map(one),
            "Scatter" | "ScatterElements" => self.scatter_elements(step).map(one),
            "ScatterND" => self.scatter_nd(step).map(one),
            "Concat" => self.concat(step).map(one),
            "Expand" => self.expand(step).map(one),
            "Tile" => self.tile(step).map(one),
            "Pad" => self.pad(step).map(one),
            "DepthToSpace" | "SpaceToDepth" => self.depth_and_space(step).map(one),
            "Resize" | "Upsample" => self.resize(step).map(one),
            _ => self.compute(step).map(one),
        }
    }

    /// The result of an arithmetic operator, a layer or an activation.
    fn compute(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        match step.op {
            "Add" | "Sub" | "Mul" | "Div" => self.binary(step, step.op),
            "Sum" | "Mean" => self.sum(step),
            "Pow" => self.power(step),
            "Neg" => self.scaled(step, -1.0),
            "CumSum" => self.cumulative_sum(step),
            "Trilu" => self.triangle(step),
            "Where" => self.choice(step),
            "Conv" => self.convolution(step),
            "ConvTranspose" => self.transposed_convolution(step),
            "BatchNormalization" => self.batch_normalization(step),
            "AveragePool" => self.average_pool(step),
            "GlobalAveragePool" => self.global_average_pool(step),
            "Gemm" => self.gemm(step),
            "MatMul" => self.matmul(step),
            "Einsum" => self.einsum(step),
            "ReduceMean" | "ReduceSum" | "ReduceSumSquare" | "ReduceProd" | "ReduceMax" | "ReduceMin" => {
                self.reduce(step)
            }
            LARGEST | SMALLEST => self.label(step),
            PROBABILITIES | SHARES | LOGARITHMS | MONOTONE | RISING => self.probabilities(step),
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor"
                if self.are_constant(step) =>
            {
                self.binary(step, step.op)
            }
            "Not" | "Sign" | "Sqrt" | "Log" | "Floor" | "Ceil" | "Round" | "Reciprocal" | "Abs" | "Exp"
            | "Mod" | "Min" | "Max"
                if self.are_constant(step) =>
            {
                self.fold(step)
            }
            _ => self.activation(step),
        }
    }

    /// Input `i`, which may not be left out.
    pub(crate) fn value(&self, step: &Step<'_>, i: usize) -> Result<Value, Problem> {
        self.optional(step, i)?.ok_or_else(|| Problem::missing(format!("input {i}")))
    }

    /// Input `i`, if there.
    pub(crate) fn optional(&self, step: &Step<'_>, i: usize) -> Result<Option<Value>, Problem> {
        match step.inputs.get(i) {
            None | Some(&"") => Ok(None),
            Some(&name) => match self.values.get(name) {
                Some(value) => Ok(Some(value.clone())),
                None => Err(Problem::ExtraResult { name: name.to_owned() }),
            },
        }
    }

    /// Input `i`, which must depend on the network's.
    pub(crate) fn tensor(&self, step: &Step<'_>, i: usize) -> Result<Tensor, Problem> {
        match self.value(step, i)? {
            Value::Tensor(x) => Ok(x),
            Value::Constant(_) => Err(Problem::Constant { input: i }),
        }
    }

    /// Input `i`, which must not depend on the network's.
    pub(crate) fn constant(
        &self,
        step: &Step<'_>,
        i: usize,
        what: &'static str,
    ) -> Result<Constant, Problem> {
        self.optional_constant(step, i, what)?.ok_or_else(|| Problem::missing(format!("{what} (input {i})")))
    }

    /// Input `i`, if there, which must not depend on the network's.
    pub(crate) fn optional_constant(
        &self,
        step: &Step<'_>,
        i: usize,
        what: &'static str,
    ) -> Result<Option<Constant>, Problem> {
        match self.optional(step, i)? {
            None => Ok(None),
            Some(Value::Constant(c)) => Ok(Some(c)),
            Some(Value::Tensor(_)) => Err(Problem::Encrypted { what, input: i }),
        }
    }

    /// Integers, by input `i` in new models and by an attribute in old ones.
    pub(crate) fn integers(
        &self,
        step: &Step<'_>,
        i: usize,
        name: &'static str,
    ) -> Result<Option<Vec<Int>>, Problem> {
        if let Some(list) = step.ints(name) {
            return Ok(Some(list.iter().map(|&x| Int::Known(x)).collect()));
        }
        let constant = self.optional_constant(step, i, name)?;
        constant.map(|c| c.to_ints().map(|list| list.to_vec())).transpose()
    }

    /// As [`Importer::integers`], where the batch size has no place.
    pub(crate) fn known(
        &self,
        step: &Step<'_>,
        i: usize,
        name: &'static str,
    ) -> Result<Option<Vec<i64>>, Problem> {
        self.integers(step, i, name)?.map(|list| list.into_iter().map(Int::known).collect()).transpose()
    }

    /// Whether a name is that of a tensor of integers.
    pub(crate) fn is_integer(&self, name: &str) -> bool {
        self.integers.contains(name)
    }

    pub(crate) fn are_constant(&self, step: &Step<'_>) -> bool {
        let constant = |name: &&str| matches!(self.values.get(name), Some(Value::Constant(_)));
        step.inputs.iter().all(|name| name.is_empty() || constant(name))
    }
}

impl Value {
    /// The shape, the batch axis of a tensor having extent one.
    pub(crate) fn full_shape(&self) -> Vec<usize> {
        match self {
            Self::Constant(c) => c.shape.clone(),
            Self::Tensor(x) => x.full_shape(),
        }
    }

    /// Whether axis 0 is the batch.
    pub(crate) fn has_batch(&self) -> bool {
        match self {
            Self::Constant(c) => c.has_batch,
            Self::Tensor(_) => true,
        }
    }

    /// The value, axis 0 being the batch.
    pub(crate) fn with_batch(self) -> Result<Self, Problem> {
        match self {
            Self::Constant(c) => c.with_batch(true).map(Self::Constant),
            Self::Tensor(_) => Ok(self),
        }
    }

    /// Gives the value another shape with the same number of elements.
    pub(crate) fn reshaped(&self, shape: Vec<usize>) -> Result<Self, Problem> {
        let from = self.full_shape();
        if budget::elements(&shape)? != from.iter().product::<usize>() {
            return Err(Problem::Reshape { from, to: shape.iter().map(|&extent| extent as i64).collect() });
        }
        match (self, shape.as_slice()) {
            (Self::Constant(c), _) => Ok(Self::Constant(c.reshaped(shape))),
            (Self::Tensor(x), [1, item @ ..]) => Ok(Self::Tensor(x.reshaped(item.to_vec()))),
            (Self::Tensor(_), _) => Err(Problem::MixesBatch),
        }
    }
}

/// A constant that is given by numbers.
fn constant_node(step: &Step<'_>) -> Result<Value, Problem> {
    if step.node.attribute.len() != 1 {
        return Err(Unsupported::ConstantKind.into());
    }
    let floats = |list: &[f32]| list.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let ints = |list: &[i64]| list.iter().map(|&x| Int::Known(x)).collect::<Vec<_>>();
    let constant = if step.has("value_float") {
        Constant::rounded(vec![], vec![step.float("value_float", 0.0)?], Element::Float)?
    } else if let Some(list) = step.floats("value_floats") {
        Constant::rounded(vec![list.len()], floats(list), Element::Float)?
    } else if step.has("value_int") {
        Constant::ints(vec![], vec![Int::Known(step.int("value_int", 0))])
    } else if let Some(list) = step.ints("value_ints") {
        Constant::ints(vec![list.len()], ints(list))
    } else {
        return Err(Unsupported::ConstantKind.into());
    };
    Ok(Value::Constant(constant))
}

impl proto::ValueInfo {
    /// Whether elements are of floating point.
    fn has_floats(&self) -> bool {
        let tensor_type = self.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        tensor_type.is_some_and(|t| Element::new(t.elem_type.into()).is_ok_and(Element::is_float))
    }
}

/// The batch size and the shape of an item.
fn item_shape(input: &proto::ValueInfo, options: &ImportOptions) -> Result<(Int, Vec<usize>), ImportError> {
    let fail = |problem: Problem| ImportError::Tensor { tensor: input.name.clone(), problem };
    let tensor_type = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let tensor_type = tensor_type.ok_or_else(|| fail(Problem::InputKind))?;
    // Floating point of all widths, and bytes, which images may be.
    if !matches!(tensor_type.elem_type, 1 | 2 | 10 | 11 | 16) {
        return Err(fail(Problem::InputType { found: tensor_type.elem_type }));
    }
    let sizes = tensor_type.shape.as_ref().map(|shape| shape.dim.iter().map(|d| d.dim_value));
    let sizes: Option<Vec<Option<i64>>> = sizes.map(|sizes| sizes.map(|d| d.filter(|&d| d > 0)).collect());
    let (batch, item) = match (sizes.as_deref(), &options.input_shape) {
        (Some([batch, ..]), Some(chosen)) => {
            (*batch, chosen.iter().map(|&d| i64::try_from(d).ok()).collect())
        }
        (Some([batch, item @ ..]), None) => (*batch, item.to_vec()),
        (_, Some(chosen)) => (None, chosen.iter().map(|&d| i64::try_from(d).ok()).collect()),
        (_, None) => {
            return Err(fail(Problem::InputShapeMissing));
        }
    };
    if let (Some([_, declared @ ..]), Some(chosen)) = (sizes.as_deref(), &options.input_shape) {
        let agrees = declared.len() == item.len()
            && declared.iter().zip(&item).all(|(declared, chosen)| declared.is_none() || declared == chosen);
        if !agrees {
            let chosen = chosen.clone();
            let declared = declared.to_vec();
            return Err(fail(Problem::InputShape { chosen, declared }));
        }
    }
    let shape = item
        .iter()
        .map(|d| usize::try_from((*d)?).ok().filter(|&d| d > 0))
        .collect::<Option<Vec<usize>>>()
        .ok_or_else(|| fail(Problem::InputAxisOpen))?;
    if shape.len() >= MAX_RANK {
        return Err(fail(Problem::InputRank { found: shape.len() }));
    }
    budget::elements(&shape).map_err(fail)?;
    Ok((batch.map_or(Int::Batch, Int::Known), shape))
}
