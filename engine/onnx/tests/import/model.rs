//! Small models, built by hand.

use crate::proto::{
    Attribute, Dimension, Entry, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type, ValueInfo,
};
use pleura_nn::{Network, Op};
use pleura_onnx::{ImportError, ImportOptions, Imported};
use prost::Message;

/// A model whose output is that of its last node.
#[derive(Clone)]
pub(crate) struct Builder(pub(crate) Model);

impl Builder {
    /// Input `x` of items of this shape, any number of them.
    pub(crate) fn new(item: &[i64]) -> Self {
        let dims = std::iter::once(None).chain(item.iter().map(|&d| Some(d)));
        Self::with_dims(&dims.collect::<Vec<_>>())
    }

    /// Input `x` of this shape, dynamic where there is none.
    pub(crate) fn with_dims(dims: &[Option<i64>]) -> Self {
        let input = ValueInfo { name: "x".into(), r#type: Some(tensor_type(1, dims)) };
        let graph = Graph { name: "test".into(), input: vec![input], ..Graph::default() };
        let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
        Self(Model {
            ir_version: 8,
            graph: Some(graph),
            opset_import,
            metadata_props: Vec::<Entry>::new(),
            functions: Vec::new(),
        })
    }

    pub(crate) fn opset(mut self, version: i64) -> Self {
        self.0.opset_import[0].version = version;
        self
    }

    pub(crate) fn graph(&mut self) -> &mut Graph {
        self.0.graph.as_mut().unwrap()
    }

    pub(crate) fn tensor(mut self, tensor: Tensor) -> Self {
        self.graph().initializer.push(tensor);
        self
    }

    pub(crate) fn floats(self, name: &str, dims: &[i64], values: &[f64]) -> Self {
        let float_data = values.iter().map(|&x| x as f32).collect();
        self.tensor(Tensor {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: 1,
            float_data,
            ..Tensor::default()
        })
    }

    pub(crate) fn ints(self, name: &str, values: &[i64]) -> Self {
        self.tensor(int_tensor(name, values))
    }

    pub(crate) fn scalar(self, name: &str, value: f64) -> Self {
        self.floats(name, &[], &[value])
    }

    /// Names are separated by spaces, `_` is one left out.
    pub(crate) fn node(mut self, op: &str, inputs: &str, outputs: &str, attribute: &[Attribute]) -> Self {
        let names =
            |list: &str| list.split_whitespace().map(|n| if n == "_" { "" } else { n }.into()).collect();
        let input: Vec<String> = names(inputs);
        let output: Vec<String> = names(outputs);
        let name = format!("/{}", output[0]);
        let op_type = op.into();
        let attribute = attribute.to_vec();
        let last = ValueInfo { name: output[0].clone(), r#type: None };
        self.graph().node.push(Node {
            input,
            output,
            name,
            op_type,
            attribute,
            domain: String::new(),
            overload: String::new(),
        });
        self.graph().output = vec![last];
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    pub(crate) fn import_with(&self, options: &ImportOptions) -> Result<Imported, ImportError> {
        pleura_onnx::import(&self.bytes(), options)
    }

    pub(crate) fn import(&self) -> Result<Imported, ImportError> {
        self.import_with(&ImportOptions::default())
    }

    #[track_caller]
    pub(crate) fn network(&self) -> Network {
        self.import().unwrap().network
    }

    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.import().unwrap_err().to_string()
    }

    /// Checks the result for the item that [`numbers`] makes, and its shape.
    #[track_caller]
    pub(crate) fn gives(&self, shape: &[usize], expected: &[f64]) {
        let network = self.network();
        let x = numbers(network.input_shape().iter().product(), 0);
        assert_eq!(network.output_shape(), shape);
        assert_close(&network.evaluate_flat(&x), expected);
    }
}

pub(crate) fn tensor_type(elem_type: i32, dims: &[Option<i64>]) -> Type {
    let dim = dims.iter().map(|&dim_value| {
        let dim_param = dim_value.is_none().then(|| "n".into());
        Dimension { dim_value, dim_param }
    });
    Type { tensor_type: Some(TensorType { elem_type, shape: Some(Shape { dim: dim.collect() }) }) }
}

pub(crate) fn int_tensor(name: &str, values: &[i64]) -> Tensor {
    let dims = vec![values.len() as i64];
    Tensor { name: name.into(), dims, data_type: 7, int64_data: values.to_vec(), ..Tensor::default() }
}

pub(crate) fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i, r#type: 2, ..Attribute::default() }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.to_vec(), r#type: 7, ..Attribute::default() }
}

pub(crate) fn float(name: &str, f: f32) -> Attribute {
    Attribute { name: name.into(), f, r#type: 1, ..Attribute::default() }
}

pub(crate) fn text(name: &str, s: &str) -> Attribute {
    Attribute { name: name.into(), s: s.into(), r#type: 3, ..Attribute::default() }
}

pub(crate) fn tensor(name: &str, t: Tensor) -> Attribute {
    Attribute { name: name.into(), t: Some(Box::new(t)), r#type: 4, ..Attribute::default() }
}

/// Multiples of 1/8 between -2 and 2, exact in single precision.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed + 1);
    (0..count).map(|_| (random.next() % 33) as f64 / 8.0 - 2.0).collect()
}

/// splitmix64
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[track_caller]
pub(crate) fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "number of elements");
    let size = expected.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-5 * size, "element {i}: {a} instead of {b}\n{found:?}\n{expected:?}");
    }
}

/// `I` input, `L` linear, `+`, `-`, `*`, `P` with the degree.
pub(crate) fn kinds(network: &Network) -> String {
    let kind = |op: &Op| match op {
        Op::Input => "I".into(),
        Op::Linear(..) => "L".into(),
        Op::Add(..) => "+".into(),
        Op::Sub(..) => "-".into(),
        Op::Mul(..) => "*".into(),
        Op::Polynomial(_, c) => format!("P{}", c.degree()),
        Op::Chebyshev(_, c) => format!("C{}", c.degree()),
        Op::Activation(..) => "A".into(),
    };
    network.nodes().iter().map(|node| kind(&node.op)).collect::<Vec<String>>().join(" ")
}
