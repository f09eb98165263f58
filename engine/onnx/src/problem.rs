//! Reasons to refuse a tensor or a node.

use crate::limits::{MAX_ACTIVATIONS, MAX_ELEMENTS, MAX_RANK, MAX_TOTAL};
use crate::unsupported::Unsupported;
use pleura_nn::{Function, NetworkError, ShapeError};

/// Reason to refuse a tensor or a node, and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The operator, or the way it is used, cannot run on encrypted values.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The operator is an activation that is no polynomial, and [`ImportOptions::keep_activations`](crate::ImportOptions::keep_activations)
    /// is not set.
    #[error(
        "ciphertexts cannot compute {function}; replace it by a polynomial such as a*x^2 + b*x + c and train, \
         or let a polynomial be fitted to it"
    )]
    Activation {
        /// The activation.
        function: Function,
    },
    /// Items of a batch would mix, or the batch axis would move.
    #[error(
        "it changes the batch axis, which must stay first: items of a batch may not mix; export the network as it \
         treats one item"
    )]
    MixesBatch,
    /// A layer of features reads a tensor whose only axis is the batch.
    #[error(
        "the only axis that it reads is the first, which is the batch: an item is one number; export the network with a batch \
         axis before the features"
    )]
    NoFeatures,
    /// The file fixes the batch at several items, and something has no meaning for one of them.
    #[error(
        "{problem}; the file fixes the batch at {size} items, and this may be why: export it for one item, or with an open batch axis"
    )]
    FixedBatch {
        /// Items of a batch, as the file says.
        size: i64,
        /// The problem with one item.
        problem: Box<Problem>,
    },
    /// A constant names the elements that are not zero.
    #[error("sparse constants are not supported; store it as a dense tensor")]
    Sparse,
    /// A number depends on the batch size.
    #[error(
        "it computes with the batch size, which must not matter for an item; export the network as it treats one item"
    )]
    BatchSize,
    /// A layer behaves as in training.
    #[error("it is in training mode; call model.eval() before the export")]
    TrainingMode,
    /// The operator belongs to a library other than ONNX.
    #[error("operators of the domain {domain:?} are not supported; export with standard ONNX operators only")]
    Domain {
        /// Domain of the operator.
        domain: String,
    },

    /// An input or an attribute is missing.
    #[error("its {what} is missing; export the model again")]
    Missing {
        /// The input or attribute.
        what: String,
    },
    /// An input that must be constant depends on the encrypted input.
    #[error("its {what} (input {input}) depends on the encrypted input; only constants are supported there")]
    Encrypted {
        /// Role of the input.
        what: &'static str,
        /// Position of the input.
        input: usize,
    },
    /// An input that must depend on the encrypted input is constant.
    #[error("its input {input} is constant; simplify the model before, for example by onnxsim")]
    Constant {
        /// Position of the input.
        input: usize,
    },
    /// An attribute, or a constant that acts as one, has a value that is not supported.
    #[error("its {name} is {found}, where {expected} is needed; correct the model or export it again")]
    Attribute {
        /// Name of the attribute.
        name: &'static str,
        /// Value in the model.
        found: String,
        /// Values that are supported.
        expected: String,
    },
    /// A function of the model is made of operators of another version.
    #[error(
        "it is made of version {found} of the operators in a model of version {opset}; inline functions before"
    )]
    FunctionVersion {
        /// Version of the function.
        found: i64,
        /// Version of the model.
        opset: i64,
    },
    /// A function of the model has the name of one of ONNX's operators.
    #[error(
        "the model defines a function of this operator's name, and either may be meant; inline functions before"
    )]
    FunctionName,
    /// Functions call each other without end, or grow.
    #[error("the functions that it calls are too deep or too large; inline functions before")]
    FunctionSize,
    /// The operator has no such attribute.
    #[error(
        "version {opset} of the operator has no attribute {name:?}, which might change the result; export with standard \
         ONNX operators only"
    )]
    UnknownAttribute {
        /// Name of the attribute.
        name: String,
        /// Version of the operators.
        opset: i64,
    },
    /// An attribute stands twice.
    #[error("its attribute {name:?} stands there twice; export the model again")]
    DuplicateAttribute {
        /// Name of the attribute.
        name: String,
    },
    /// An attribute has another type than in the specification.
    #[error("its attribute {name:?} has another type than the operator's; export the model again")]
    AttributeType {
        /// Name of the attribute.
        name: String,
    },
    /// The operator has more inputs or outputs than in the specification.
    #[error(
        "it has {found} {what} where version {opset} of the operator has at most {limit}; export the model again"
    )]
    Operands {
        /// Inputs or outputs.
        what: &'static str,
        /// Number in the model.
        found: usize,
        /// Number in the specification.
        limit: usize,
        /// Version of the operators.
        opset: i64,
    },
    /// The operator is not part of this version of the operators.
    #[error("version {opset} of the operators does not have it; export the model again")]
    Version {
        /// Version of the operators.
        opset: i64,
    },
    /// Constants of different types meet, or a type that the operator does not take.
    #[error(
        "it computes with elements of type {found} where {expected} is needed; insert a Cast and export again"
    )]
    ElementType {
        /// Type in the model.
        found: &'static str,
        /// Types that are supported.
        expected: String,
    },
    /// An integer is too large for its type, in a way that processors treat differently.
    #[error("{value} does not fit its type {element}; correct the constants")]
    Overflow {
        /// The number.
        value: String,
        /// Name of the type.
        element: &'static str,
    },
    /// A list has the wrong length.
    #[error("its {what} has {found} numbers where {expected} are needed; correct the model")]
    Count {
        /// The list.
        what: &'static str,
        /// Length of the list.
        found: usize,
        /// Length that is needed.
        expected: usize,
    },
    /// A tensor has an unsuitable shape.
    #[error("its {what} has the shape {found:?}, where {expected} is needed; correct the model")]
    Shape {
        /// The tensor.
        what: &'static str,
        /// Shape of the tensor.
        found: Vec<usize>,
        /// Description of the shapes that are supported.
        expected: String,
    },
    /// Integers are needed and the constant holds numbers of floating point.
    #[error("a constant holds numbers of floating point where integers are needed; export the model again")]
    NotIntegers,
    /// A kernel does not fit the padded input.
    #[error(
        "its kernel reaches over {reach} positions and the padded input has {extent}; correct the model, or give \
         items of a larger shape"
    )]
    Kernel {
        /// Positions from the first tap to the last.
        reach: usize,
        /// Positions of the padded input.
        extent: usize,
    },
    /// An axis does not exist.
    #[error("there is no axis {axis} in a tensor of {rank} axes; correct the model")]
    Axis {
        /// Axis that the model names; negative ones count from the end.
        axis: i64,
        /// Number of axes of the tensor.
        rank: usize,
    },
    /// An index does not exist.
    #[error("there is no index {index} on an axis of extent {extent}; correct the model")]
    Index {
        /// Index that the model names; negative ones count from the end.
        index: i64,
        /// Extent of the axis.
        extent: usize,
    },
    /// Two shapes do not broadcast to each other.
    #[error("shapes {left:?} and {right:?} do not broadcast; correct the model")]
    Broadcast {
        /// One shape.
        left: Vec<usize>,
        /// The other shape.
        right: Vec<usize>,
    },
    /// A tensor is given a shape with another number of elements.
    #[error("a tensor of shape {from:?} cannot have the shape {to:?}; correct the model")]
    Reshape {
        /// Shape of the tensor.
        from: Vec<usize>,
        /// Shape that the model asks for; -1 stands for a free axis.
        to: Vec<i64>,
    },
    /// Tensors that are joined differ in more than one axis.
    #[error("its inputs have the shapes {shapes:?}, which differ beside axis {axis}; correct the model")]
    Concat {
        /// Shapes of the inputs.
        shapes: Vec<Vec<usize>>,
        /// Axis along which they are joined.
        axis: usize,
    },
    /// A tensor has no elements.
    #[error("it makes an empty tensor of shape {shape:?}; correct the model")]
    Empty {
        /// Shape of the tensor.
        shape: Vec<usize>,
    },

    /// The degree of a polynomial is too high.
    #[error("a polynomial of degree {degree}, at most {limit} is supported; use a lower degree")]
    Degree {
        /// Degree of the polynomial.
        degree: usize,
        /// Highest supported degree.
        limit: usize,
    },
    /// Coefficients overflow, or a constant divisor is zero.
    #[error("its coefficients overflow or divide by zero; correct the constants")]
    Coefficients,
    /// A constant holds NaN or infinity.
    #[error("its {what} holds NaN or infinity; check the training, correct the constants and export again")]
    NotFinite {
        /// The constant.
        what: &'static str,
    },
    /// Constants have no result under the operator.
    #[error("{op} of {left} and {right} has no result; correct the model")]
    NoResult {
        /// The operator.
        op: String,
        /// Left operand.
        left: i64,
        /// Right operand.
        right: i64,
    },
    /// The operator is not supported on constants.
    #[error("{op} of constants is not supported; simplify the model before, for example by onnxsim")]
    Fold {
        /// The operator.
        op: String,
    },

    /// A tensor has too many axes.
    #[error("a tensor of {found} axes, at most {MAX_RANK} are supported; export a network of smaller rank")]
    Rank {
        /// Number of axes.
        found: usize,
    },
    /// A tensor has too many elements.
    #[error("a tensor of shape {shape:?} has more than {limit} elements; make the network smaller")]
    Elements {
        /// Shape of the tensor.
        shape: Vec<usize>,
        /// Greatest number of elements.
        limit: usize,
    },
    /// All tensors that depend on the input have too many elements together.
    #[error(
        "the network's values have more than {MAX_ACTIVATIONS} elements in all; make it or its input smaller"
    )]
    Activations,
    /// All tensors together have too many elements.
    #[error("the network's tensors have more than {MAX_TOTAL} elements in all; make it smaller")]
    Budget,
    /// A shape has a negative extent.
    #[error("its shape {found:?} is not valid; correct the model")]
    Extents {
        /// Shape in the model.
        found: Vec<i64>,
    },

    /// A name is defined twice.
    #[error("{name:?} is defined a second time; export the model again")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Two constants have this tensor's name.
    #[error("there are two constants of this name; export the model again")]
    DuplicateConstant,
    /// Two inputs have this tensor's name.
    #[error("there are two inputs of this name; export the model again")]
    DuplicateInput,
    /// The node reads a name that nothing defines.
    #[error("it reads {name:?}, which nothing defines; export the model again")]
    Undefined {
        /// The name.
        name: String,
    },
    /// The node reads a further output of a node that has only one at inference.
    #[error(
        "it reads {name:?}, an extra result of a node that has none at inference; export the model after model.eval()"
    )]
    ExtraResult {
        /// The name.
        name: String,
    },
    /// The node depends on its own output.
    #[error("it depends on its own output; only graphs without cycles can be imported")]
    Cycle,

    /// The elements of a tensor are stored in another file, and the options name no directory.
    #[error(
        "its data is in the file {location:?}; set `ImportOptions::external_data` to the directory of the model, or \
         export with the weights inside the model (external_data=False)"
    )]
    External {
        /// Path in the model.
        location: String,
    },
    /// The elements of a tensor are stored in a file that cannot be read.
    #[error("its data in the file {location:?} cannot be read: {reason}")]
    ExternalFile {
        /// Path in the model.
        location: String,
        /// The reason.
        reason: String,
    },
    /// The elements of a tensor have a type that is not supported.
    #[error("its elements have type {found}; export in float32")]
    DataType {
        /// ONNX's number of the type.
        found: i64,
    },
    /// The bytes of a tensor are no whole number of elements.
    #[error("its {bytes} bytes are not a multiple of {element}; export the model again")]
    Bytes {
        /// Number of bytes.
        bytes: usize,
        /// Bytes of an element.
        element: usize,
    },
    /// A tensor has fewer or more elements than its shape.
    #[error("its shape {shape:?} has {expected} elements and the file {found}; export the model again")]
    Stored {
        /// Shape of the tensor.
        shape: Vec<usize>,
        /// Elements of the shape.
        expected: usize,
        /// Elements in the file.
        found: usize,
    },

    /// The input is no tensor.
    #[error("the input is no tensor; export a network of tensors")]
    InputKind,
    /// The input has elements of a type that is not supported.
    #[error("the input has elements of type {found}; export with a float32 input")]
    InputType {
        /// ONNX's number of the type.
        found: i32,
    },
    /// The input has no shape, in the model or in [`ImportOptions::input_shape`](crate::ImportOptions::input_shape).
    #[error("the input has no shape; export the model with one, or give the shape of an item")]
    InputShapeMissing,
    /// An axis of the input has no fixed extent, in the model or in the options.
    #[error(
        "an axis beside the batch has no fixed size; export the model with fixed sizes, or give the shape of an item"
    )]
    InputAxisOpen,
    /// The options give another shape than the model.
    #[error(
        "an item was said to have shape {chosen:?}, but the model has items of shape [{}]",
        extents(declared)
    )]
    InputShape {
        /// Shape in the options.
        chosen: Vec<usize>,
        /// Shape in the model; `None` is an axis without fixed extent.
        declared: Vec<Option<i64>>,
    },
    /// An item has too many axes.
    #[error("an item of the input has {found} axes besides the batch axis, at most {} are supported", MAX_RANK - 1)]
    InputRank {
        /// Number of axes without the batch axis.
        found: usize,
    },

    /// A map cannot be built from the node's shapes and weights.
    #[error(transparent)]
    Map(#[from] ShapeError),
    /// The imported nodes do not make a network, which is an error of the importer.
    #[error("{0}; this is an error of the importer, please report it")]
    Network(#[from] NetworkError),
    /// The importer contradicts itself.
    #[error("{0}; this is an error of the importer, please report it")]
    Internal(&'static str),
}

impl Problem {
    /// Shorthand for [`Problem::Missing`].
    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::Missing { what: what.into() }
    }

    /// Shorthand for [`Problem::Attribute`].
    pub(crate) fn attribute(name: &'static str, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Attribute { name, found: found.to_string(), expected: expected.into() }
    }

    /// Shorthand for [`Problem::Shape`].
    pub(crate) fn shape(what: &'static str, found: &[usize], expected: impl Into<String>) -> Self {
        Self::Shape { what, found: found.to_vec(), expected: expected.into() }
    }

    /// Shorthand for [`Problem::Elements`] with the limit of computed tensors.
    pub(crate) fn elements(shape: &[usize]) -> Self {
        Self::Elements { shape: shape.to_vec(), limit: MAX_ELEMENTS }
    }
}

fn extents(declared: &[Option<i64>]) -> String {
    let text = declared.iter().map(|extent| extent.map_or("?".into(), |extent| extent.to_string()));
    text.collect::<Vec<_>>().join(", ")
}
