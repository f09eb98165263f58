//! Checks nodes against the ONNX specification of their operator and version; nothing in a node is ignored.

use crate::graph::Step;
use crate::operators::OPERATORS;
use crate::problem::Problem;
use crate::unsupported::Unsupported;

/// Operators that move elements and do not compute with them.
pub(crate) const MOVES: &[&str] = &[
    "Identity",
    "Dropout",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Split",
    "Gather",
    "GatherElements",
    "GatherND",
    "Concat",
    "Expand",
    "Tile",
    "Pad",
    "DepthToSpace",
    "SpaceToDepth",
];

/// Operators on elements at one position of operands that are broadcast to each other.
pub(crate) const POINTWISE: &[&str] = &[
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Sum",
    "Mean",
    "Neg",
    "Where",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Not",
];

/// Whether an operator's result has the shape of its first input, be it accepted or not.
pub(crate) fn keeps_shape(op: &str) -> bool {
    const OTHERS: &[&str] = &[
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Silu",
        "Swish",
        "Gelu",
        "TwiceGelu",
        "Softplus",
        "Softsign",
        "Mish",
        "Abs",
        "Exp",
        "Erf",
        "ThresholdedRelu",
        "Shrink",
        "Softmax",
        "LogSoftmax",
        "Hardmax",
        "Sqrt",
        "Log",
        "Reciprocal",
        "Sin",
        "Cos",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "LayerNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "LpNormalization",
        "LRN",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "BatchNormalization",
        "CumSum",
        "Pow",
        "Neg",
        "Cast",
    ];
    OTHERS.contains(&op)
}

/// Refuses an operator that is not accepted, and inputs, outputs and attributes that it does not have.
pub(crate) fn check(step: &Step<'_>, opset: i64) -> Result<(), Problem> {
    let node = step.node;
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return Err(Problem::Domain { domain: node.domain.clone() });
    }
    let Some(schema) = OPERATORS.iter().find(|schema| schema.name == node.op_type) else {
        return Err(Unsupported::operator(&node.op_type).into());
    };
    if !schema.exists(opset) {
        return Err(Problem::Version { opset });
    }
    let (fewest, most) = schema.input_count(opset);
    // Inputs and outputs left out at the end do not count.
    let count = |names: &[String]| names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    let inputs = count(&node.input);
    if inputs > most {
        return Err(Problem::Operands { what: "inputs", found: inputs, limit: most, opset });
    }
    if inputs < fewest {
        return Err(Problem::missing(format!("input {inputs}")));
    }
    let outputs = count(&node.output);
    if outputs > schema.outputs {
        return Err(Problem::Operands { what: "outputs", found: outputs, limit: schema.outputs, opset });
    }
    for (i, attribute) in node.attribute.iter().enumerate() {
        let name = &attribute.name;
        let Some(known) = schema.attribute(name, opset) else {
            return Err(Problem::UnknownAttribute { name: name.clone(), opset });
        };
        if node.attribute.iter().take(i).any(|other| other.name == *name) {
            return Err(Problem::DuplicateAttribute { name: name.clone() });
        }
        // Old files do not say which type an attribute has.
        if !attribute.ref_attr_name.is_empty() || attribute.r#type != 0 && attribute.r#type != known.kind {
            return Err(Problem::AttributeType { name: name.clone() });
        }
    }
    Ok(())
}
