//! The model's graph: names checked, nodes put in order, a few patterns recognized.

use crate::constant::Constant;
use crate::problem::Problem;
use crate::unsupported::Unsupported;
use crate::{ImportError, ImportOptions, proto};
use std::collections::{HashMap, HashSet};

/// The nodes that the output depends on, each after those it reads.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) steps: Vec<Step<'a>>,
    pub(crate) input: &'a proto::ValueInfo,
    pub(crate) output: &'a str,
    pub(crate) initializers: Vec<&'a proto::Tensor>,
}

/// A node, with what was understood of it.
#[derive(Clone, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) node: &'a proto::Node,
    pub(crate) name: String,
    pub(crate) op: &'a str,
    pub(crate) inputs: Vec<&'a str>,
}

/// Who makes a value.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Input(&'a proto::ValueInfo),
    Initializer(&'a proto::Tensor),
    /// A sparse constant, which is refused where it is read.
    Sparse,
    Step(usize),
}

/// Names of operators that a client computes.
pub(crate) const LARGEST: &str = "ArgMax at the end";
pub(crate) const SMALLEST: &str = "ArgMin at the end";
pub(crate) const PROBABILITIES: &str = "Sigmoid at the end";
pub(crate) const SHARES: &str = "Softmax at the end";
pub(crate) const LOGARITHMS: &str = "LogSoftmax at the end";
/// Functions of each element, and of all, that do not change which one is largest.
pub(crate) const MONOTONE: &str = "Sigmoid before a label";
pub(crate) const RISING: &str = "Softmax before a label";

/// The error that a step is used twice, or is none of the model.
const NO_STEP: ImportError =
    ImportError::Network(Problem::Internal("a step is used twice, or is none of the model"));

type Sources<'a> = HashMap<&'a str, Source<'a>>;

impl<'a> Graph<'a> {
    pub(crate) fn new(graph: &'a proto::Graph, options: &ImportOptions) -> Result<Self, ImportError> {
        let mut steps: Vec<Step<'a>> = graph.node.iter().enumerate().map(|(i, n)| Step::new(i, n)).collect();
        let sources = sources(graph, &steps)?;
        let output = choose_output(graph, options)?;
        recognize(&sources, &mut steps);
        leave_to_client(output, &sources, &mut steps);
        let (order, used) = order(output, &sources, &steps)?;
        let initializers =
            used.iter().filter_map(|s| if let Source::Initializer(t) = s { Some(*t) } else { None });
        let initializers = initializers.collect();
        let inputs = used.iter().filter_map(|s| if let Source::Input(v) = s { Some(*v) } else { None });
        let input = match *inputs.collect::<Vec<_>>() {
            [input] => input,
            [] => {
                // Sub-graphs read values that are no inputs of their node.
                let flow = order.iter().filter_map(|&i| steps.get(i)).find(|step| step.is_control_flow());
                return Err(match flow {
                    Some(step) => step.fail(Unsupported::ControlFlow.into()),
                    None => ImportError::ConstantOutput { output: output.to_owned() },
                });
            }
            [a, b, ..] => {
                return Err(ImportError::SeveralInputs { inputs: [a.name.clone(), b.name.clone()] });
            }
        };
        let mut steps: Vec<Option<Step<'a>>> = steps.into_iter().map(Some).collect();
        let steps = order.into_iter().map(|i| steps.get_mut(i).and_then(Option::take).ok_or(NO_STEP));
        Ok(Self { steps: steps.collect::<Result<_, _>>()?, input, output, initializers })
    }
}

impl<'a> Step<'a> {
    fn new(index: usize, node: &'a proto::Node) -> Self {
        let name = if node.name.is_empty() { format!("{}_{index}", node.op_type) } else { node.name.clone() };
        Self { node, name, op: &node.op_type, inputs: node.input.iter().map(String::as_str).collect() }
    }

    /// The error that this node cannot be imported.
    pub(crate) fn fail(&self, problem: Problem) -> ImportError {
        ImportError::Node { name: name_of(self.node), op: self.node.op_type.clone(), problem }
    }

    fn is_control_flow(&self) -> bool {
        Unsupported::operator(&self.node.op_type) == Unsupported::ControlFlow
    }

    fn attribute(&self, name: &str) -> Option<&'a proto::Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    /// An attribute that must be there.
    pub(crate) fn required_int(&self, name: &'static str) -> Result<i64, Problem> {
        self.attribute(name).map(|a| a.i).ok_or_else(|| Problem::missing(name))
    }

    pub(crate) fn float(&self, name: &'static str, default: f64) -> Result<f64, Problem> {
        let value = self.attribute(name).map_or(default, |a| a.f.into());
        if value.is_finite() { Ok(value) } else { Err(Problem::attribute(name, value, "a finite number")) }
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.attribute(name).map(|a| a.floats.as_slice())
    }

    pub(crate) fn string(&self, name: &str) -> Option<&'a str> {
        self.attribute(name).and_then(|a| std::str::from_utf8(&a.s).ok())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a proto::Tensor> {
        self.attribute(name).and_then(|a| a.t.as_deref())
    }
}

/// The name of a node for errors: that of its first result if it has none of its own.
pub(crate) fn name_of(node: &proto::Node) -> String {
    if !node.name.is_empty() {
        return node.name.clone();
    }
    let output = node.output.first().map_or("", String::as_str);
    format!("the node that makes {output:?}")
}

/// Every name and who defines it.
fn sources<'a>(graph: &'a proto::Graph, steps: &[Step<'a>]) -> Result<Sources<'a>, ImportError> {
    let mut out = Sources::new();
    for tensor in &graph.initializer {
        if out.insert(&tensor.name, Source::Initializer(tensor)).is_some() {
            let tensor = tensor.name.clone();
            return Err(ImportError::Tensor { tensor, problem: Problem::DuplicateConstant });
        }
    }
    for sparse in graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()) {
        out.insert(&sparse.name, Source::Sparse);
    }
    let mut inputs = HashSet::new();
    for input in &graph.input {
        if !inputs.insert(input.name.as_str()) {
            let tensor = input.name.clone();
            return Err(ImportError::Tensor { tensor, problem: Problem::DuplicateInput });
        }
        // Old files list initializers among the inputs.
        out.entry(&input.name).or_insert(Source::Input(input));
    }
    for (i, step) in steps.iter().enumerate() {
        for name in step.node.output.iter().filter(|name| !name.is_empty()) {
            if out.insert(name, Source::Step(i)).is_some() {
                return Err(step.fail(Problem::Duplicate { name: name.clone() }));
            }
        }
    }
    Ok(out)
}

fn choose_output<'a>(graph: &'a proto::Graph, options: &ImportOptions) -> Result<&'a str, ImportError> {
    let mut names = graph.output.iter().map(|output| output.name.as_str());
    let owned = || graph.output.iter().map(|output| output.name.clone()).collect();
    match (&options.output, graph.output.as_slice()) {
        (Some(chosen), _) => names
            .find(|name| name == chosen)
            .ok_or_else(|| ImportError::UnknownOutput { chosen: chosen.clone(), names: owned() }),
        (None, [only]) => Ok(&only.name),
        (None, []) => Err(ImportError::NoOutput),
        (None, _) => Err(ImportError::SeveralOutputs { names: owned() }),
    }
}

/// Marks the function at the end that a client computes from what it decrypts. Behind it, elements may only be moved.
///
/// A label of probabilities is that of the scores: only the last of the two remains.
fn leave_to_client<'a>(output: &'a str, sources: &Sources<'a>, steps: &mut [Step<'a>]) {
    let mut name = output;
    let mut labels = false;
    let mut in_order = true;
    for _ in 0..steps.len() {
        let Some(&Source::Step(i)) = sources.get(name) else { return };
        let Some(step) = steps.get_mut(i) else { return };
        let is_result = step.node.output.first().is_some_and(|first| first == name);
        if !is_result || !matches!(step.node.domain.as_str(), "" | "ai.onnx") {
            return;
        }
        let Some(&before) = step.inputs.first() else { return };
        match step.op {
            "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" | "Cast" => {}
            "Transpose" | "Slice" | "Gather" => in_order = false,
            "ArgMax" | "ArgMin" if in_order && !labels => {
                labels = true;
                step.op = if step.op == "ArgMax" { LARGEST } else { SMALLEST };
            }
            "Sigmoid" if labels && !in_order => return,
            "Sigmoid" => {
                step.op = if labels { MONOTONE } else { PROBABILITIES };
                return;
            }
            "Softmax" | "LogSoftmax" if in_order => {
                step.op = match step.op {
                    _ if labels => RISING,
                    "Softmax" => SHARES,
                    _ => LOGARITHMS,
                };
                return;
            }
            _ => return,
        }
        name = before;
    }
}

/// Marks products that are one activation: `x sigmoid(x)`, `x hardsigmoid(x)`, `x (1 + erf(x / sqrt 2))`.
fn recognize<'a>(sources: &Sources<'a>, steps: &mut [Step<'a>]) {
    let found: Vec<(usize, &'static str, &'a str)> = (steps.iter().enumerate())
        .filter(|(_, step)| step.op == "Mul")
        .filter_map(|(i, step)| {
            let &[a, b] = step.inputs.as_slice() else { return None };
            let (op, x) = gate(a, b, sources, steps).or_else(|| gate(b, a, sources, steps))?;
            Some((i, op, x))
        })
        .collect();
    for (i, op, x) in found {
        if let Some(step) = steps.get_mut(i) {
            step.op = op;
            step.inputs = vec![x];
        }
    }
}

/// The activation and its argument, if `gate` is the factor that makes one of `x`.
fn gate<'a>(
    x: &'a str,
    gate: &'a str,
    sources: &Sources<'a>,
    steps: &[Step<'a>],
) -> Option<(&'static str, &'a str)> {
    let step = producer(gate, sources, steps)?;
    let reads = |step: &Step<'a>, name: &str| step.inputs.first().is_some_and(|&first| first == name);
    let near =
        |name: &str, value: f64| scalar(name, sources, steps).is_some_and(|c| (c - value).abs() < 3e-4);
    match step.op {
        "Sigmoid" if reads(step, x) => Some(("Silu", x)),
        "HardSigmoid" if reads(step, x) => {
            let usual = |name, value: f64| step.float(name, value).is_ok_and(|c| (c - value).abs() < 3e-4);
            let is_usual = step.has("alpha") && usual("alpha", 1.0 / 6.0) && usual("beta", 0.5);
            is_usual.then_some(("HardSwish", x))
        }
        "Add" => {
            let &[p, q] = step.inputs.as_slice() else { return None };
            let erf = if near(q, 1.0) { p } else { q };
            if !near(q, 1.0) && !near(p, 1.0) {
                return None;
            }
            let erf = producer(erf, sources, steps).filter(|step| step.op == "Erf")?;
            let scaled = producer(erf.inputs.first()?, sources, steps)?;
            let &[argument, factor] = scaled.inputs.as_slice() else { return None };
            let expected = match scaled.op {
                "Div" => std::f64::consts::SQRT_2,
                "Mul" => std::f64::consts::FRAC_1_SQRT_2,
                _ => return None,
            };
            if !near(factor, expected) {
                return None;
            }
            if argument == x {
                return Some(("TwiceGelu", x));
            }
            let half = producer(x, sources, steps).filter(|step| step.op == "Mul")?;
            let &[y, c] = half.inputs.as_slice() else { return None };
            let halves = (y == argument && near(c, 0.5)) || (c == argument && near(y, 0.5));
            halves.then_some(("Gelu", argument))
        }
        _ => None,
    }
}

fn producer<'s, 'a>(name: &str, sources: &Sources<'a>, steps: &'s [Step<'a>]) -> Option<&'s Step<'a>> {
    match sources.get(name) {
        Some(&Source::Step(i)) => {
            steps.get(i).filter(|step| matches!(step.node.domain.as_str(), "" | "ai.onnx"))
        }
        _ => None,
    }
}

fn scalar(name: &str, sources: &Sources<'_>, steps: &[Step<'_>]) -> Option<f64> {
    let tensor = match sources.get(name)? {
        Source::Initializer(tensor) => tensor,
        Source::Step(i) => steps.get(*i).filter(|step| step.op == "Constant")?.tensor("value")?,
        Source::Input(_) | Source::Sparse => return None,
    };
    // Only small ones: others are not worth the work.
    let small = tensor.dims.iter().all(|&d| d == 1);
    if small { Constant::parse(tensor).ok()?.scalar().ok() } else { None }
}

/// The steps that a value depends on, in order, and what else it reads.
fn order<'a>(
    output: &'a str,
    sources: &Sources<'a>,
    steps: &[Step<'a>],
) -> Result<(Vec<usize>, Vec<Source<'a>>), ImportError> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; steps.len()];
    let mut order = Vec::new();
    let mut used = Vec::new();
    let mut seen = HashSet::new();
    // Steps that are open, each with how many of its inputs were looked at; a list, for models may be deeper than
    // the stack.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut next: Option<(&str, Option<usize>)> = Some((output, None));
    loop {
        if let Some((name, reader)) = next.take() {
            match sources.get(name) {
                None => {
                    let name = name.to_owned();
                    return Err(match reader.and_then(|i| steps.get(i)) {
                        Some(step) => step.fail(Problem::Undefined { name }),
                        None => ImportError::UndefinedOutput { output: name },
                    });
                }
                Some(&Source::Step(i)) => match states.get_mut(i) {
                    Some(state @ State::New) => {
                        *state = State::Open;
                        open.push((i, 0));
                    }
                    Some(State::Open) => {
                        return Err(steps.get(i).map_or(NO_STEP, |step| step.fail(Problem::Cycle)));
                    }
                    Some(State::Done) => {}
                    None => return Err(NO_STEP),
                },
                Some(Source::Sparse) => {
                    return Err(ImportError::Tensor { tensor: name.to_owned(), problem: Problem::Sparse });
                }
                Some(source) => {
                    if seen.insert(name) {
                        used.push(*source);
                    }
                }
            }
        }
        let Some((i, looked_at)) = open.last_mut() else { return Ok((order, used)) };
        let i = *i;
        let step = steps.get(i).ok_or(NO_STEP)?;
        match step.inputs.get(*looked_at) {
            Some(&name) => {
                *looked_at += 1;
                if !name.is_empty() {
                    next = Some((name, Some(i)));
                }
            }
            None => {
                open.pop();
                order.push(i);
                *states.get_mut(i).ok_or(NO_STEP)? = State::Done;
            }
        }
    }
}
