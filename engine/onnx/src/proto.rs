//! The part of ONNX's protocol buffers that networks here can use; fields that are not named are skipped.

use prost::Message;

/// `ModelProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    /// Version of the file format.
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    /// The network.
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<Graph>,
    /// Versions of the operators.
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSet>,
    /// Whatever the author wrote down.
    #[prost(message, repeated, tag = "14")]
    pub(crate) metadata_props: Vec<Entry>,
    /// Operators of the model's own.
    #[prost(message, repeated, tag = "25")]
    pub(crate) functions: Vec<Function>,
}

/// `FunctionProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Function {
    /// Name of the function.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Names of its inputs.
    #[prost(string, repeated, tag = "4")]
    pub(crate) input: Vec<String>,
    /// Names of its outputs.
    #[prost(string, repeated, tag = "5")]
    pub(crate) output: Vec<String>,
    /// Names of its attributes without defaults.
    #[prost(string, repeated, tag = "6")]
    pub(crate) attribute: Vec<String>,
    /// The operators.
    #[prost(message, repeated, tag = "7")]
    pub(crate) node: Vec<Node>,
    /// Versions of the operators.
    #[prost(message, repeated, tag = "9")]
    pub(crate) opset_import: Vec<OperatorSet>,
    /// Domain of the function.
    #[prost(string, tag = "10")]
    pub(crate) domain: String,
    /// Attributes with defaults.
    #[prost(message, repeated, tag = "11")]
    pub(crate) attribute_proto: Vec<Attribute>,
    /// Which of several functions of the name.
    #[prost(string, tag = "13")]
    pub(crate) overload: String,
}

/// `OperatorSetIdProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSet {
    /// Empty for ONNX's own.
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    /// Version of the operator set.
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

/// `StringStringEntryProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    /// Name.
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `GraphProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    /// The operators.
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<Node>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// Named constants.
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<Tensor>,
    /// Named constants, of which only some elements are stored.
    #[prost(message, repeated, tag = "15")]
    pub(crate) sparse_initializer: Vec<SparseTensor>,
    /// Inputs; in old files the initializers too.
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfo>,
    /// Outputs.
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfo>,
}

/// `NodeProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    /// Names of values; an optional one that is absent is empty.
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    /// Names of values.
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    /// Name of the node, may be empty.
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    /// Attributes.
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
    /// Whose operator it is; empty for ONNX's own.
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
    /// Which of several functions of the name.
    #[prost(string, tag = "8")]
    pub(crate) overload: String,
}

/// `AttributeProto`. Sub-graphs are among the fields skipped: what has one is refused by its name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    /// Name.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// A number.
    #[prost(float, tag = "2")]
    pub(crate) f: f32,
    /// An integer.
    #[prost(int64, tag = "3")]
    pub(crate) i: i64,
    /// A string.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) s: Vec<u8>,
    /// A tensor.
    #[prost(message, optional, boxed, tag = "5")]
    pub(crate) t: Option<Box<Tensor>>,
    /// Numbers.
    #[prost(float, repeated, tag = "7")]
    pub(crate) floats: Vec<f32>,
    /// Integers.
    #[prost(int64, repeated, tag = "8")]
    pub(crate) ints: Vec<i64>,
    /// Name of the attribute of a function that it takes the place of.
    #[prost(string, tag = "21")]
    pub(crate) ref_attr_name: String,
    /// Which of these it is.
    #[prost(int32, tag = "20")]
    pub(crate) r#type: i32,
}

/// `TensorProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    /// Shape of the tensor.
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    /// Type of the elements.
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    /// Elements of type float.
    #[prost(float, repeated, tag = "4")]
    pub(crate) float_data: Vec<f32>,
    /// Elements of all types of up to 32 bits but float.
    #[prost(int32, repeated, tag = "5")]
    pub(crate) int32_data: Vec<i32>,
    /// Elements of type int64.
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64_data: Vec<i64>,
    /// Name of the tensor.
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    /// Elements of any type, little endian.
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw_data: Vec<u8>,
    /// Elements of type double.
    #[prost(double, repeated, tag = "10")]
    pub(crate) double_data: Vec<f64>,
    /// Elements of type uint32 and uint64.
    #[prost(uint64, repeated, tag = "11")]
    pub(crate) uint64_data: Vec<u64>,
    /// Where the elements are if they are in another file.
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<Entry>,
    /// One if they are in another file.
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

/// `SparseTensorProto`, of which only the name is read.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SparseTensor {
    /// Elements that are not zero, with the name of the tensor.
    #[prost(message, optional, tag = "1")]
    pub(crate) values: Option<Tensor>,
}

/// `ValueInfoProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    /// Name of the value.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Type of the value.
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<Type>,
}

/// `TypeProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    /// Set for tensors.
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<TensorType>,
}

/// `TypeProto.Tensor`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    /// Type of the elements.
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    /// Shape of the tensor, if known.
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

/// `TensorShapeProto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    /// One per axis.
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    /// Extent of the axis, if static.
    #[prost(int64, optional, tag = "1")]
    pub(crate) dim_value: Option<i64>,
    /// Name of the axis, if dynamic.
    #[prost(string, optional, tag = "2")]
    pub(crate) dim_param: Option<String>,
}
