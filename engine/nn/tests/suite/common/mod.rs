//! Networks built by hand, and encrypted runs of them that are compared with the plaintext networks.

#[path = "../../../../../tests/simd.rs"]
mod simd;

use ndarray::{ArrayD, Axis, aview1};
use pleura_ckks::{Ciphertext, EvaluationKeys, Security};
use pleura_nn::*;
use pleura_ring::Cpu;

/// Numbers in `[-1, 1)`, the same for the same seed.
pub(crate) fn reals(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    // The first words are as poor as the seed.
    (0..8).map(|_| next()).for_each(|_| ());
    (0..count).map(|_| next()).collect()
}

// Networks.

/// A network in the making. Weights are drawn so that values keep about their size; no two layers have the same ones.
pub(crate) struct Net {
    pub(crate) nodes: NodeMap<Node>,
    /// Factor of the weights and biases of affine layers that are added from now on.
    pub(crate) gain: f64,
}

/// A convolution or a pool: how its windows move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moves {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// On each side.
    pub(crate) padding: [usize; 2],
    pub(crate) groups: usize,
}

impl Moves {
    pub(crate) fn of(height: usize, width: usize) -> Self {
        Self { kernel: [height, width], stride: [1, 1], dilation: [1, 1], padding: [0, 0], groups: 1 }
    }

    pub(crate) fn stride(self, y: usize, x: usize) -> Self {
        Self { stride: [y, x], ..self }
    }

    pub(crate) fn dilation(self, y: usize, x: usize) -> Self {
        Self { dilation: [y, x], ..self }
    }

    pub(crate) fn padding(self, y: usize, x: usize) -> Self {
        Self { padding: [y, x], ..self }
    }

    pub(crate) fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Over a plane; `None` if no window fits.
    pub(crate) fn window(self, input: [usize; 2]) -> Option<Window> {
        let Self { kernel, stride, dilation, padding, .. } = self;
        let output = |axis: usize| {
            let room = input[axis] + 2 * padding[axis];
            let rest = room.checked_sub(dilation[axis] * (kernel[axis] - 1) + 1)?;
            Some(rest / stride[axis] + 1)
        };
        Window::new(WindowSpec { input, output: [output(0)?, output(1)?], kernel, stride, dilation, padding })
            .ok()
    }
}

impl Net {
    /// Only an input, which is node 0.
    pub(crate) fn new(shape: &[usize]) -> Self {
        Self { nodes: NodeMap::from(vec![Node::new("input", shape, Op::Input)]), gain: 1.0 }
    }

    pub(crate) fn build(self) -> Network {
        Network::new("test", self.nodes).unwrap()
    }

    pub(crate) fn last(&self) -> NodeId {
        self.nodes.last_id().unwrap()
    }

    pub(crate) fn shape(&self, x: NodeId) -> &[usize] {
        &self.nodes[x].shape
    }

    pub(crate) fn len(&self, x: NodeId) -> usize {
        self.nodes[x].len()
    }

    /// Numbers for the next node.
    pub(crate) fn draw(&self, count: usize) -> Vec<f64> {
        reals(count, self.nodes.len() as u64)
    }

    pub(crate) fn push(&mut self, kind: &str, shape: &[usize], op: Op) -> NodeId {
        let name = format!("{kind} {}", self.nodes.len());
        self.nodes.push(Node::new(name, shape, op))
    }

    pub(crate) fn linear(&mut self, kind: &str, x: NodeId, shape: &[usize], linear: Linear) -> NodeId {
        assert_eq!(linear.inputs(), self.len(x), "elements of {kind}");
        self.push(kind, shape, Op::Linear(x, linear))
    }

    /// Weights for sums of `terms` terms.
    fn weights(&self, count: usize, terms: usize) -> Vec<f64> {
        let size = self.gain * (3.0 / terms as f64).sqrt();
        self.draw(count).into_iter().map(|w| w * size).collect()
    }

    fn bias(&self, channels: usize, each: usize) -> Vec<f64> {
        let bias = reals(channels, 1000 + self.nodes.len() as u64);
        bias.into_iter().flat_map(|b| std::iter::repeat_n(0.3 * self.gain * b, each)).collect()
    }

    /// A convolution with bias.
    pub(crate) fn conv(&mut self, x: NodeId, channels: usize, moves: Moves) -> NodeId {
        let &[inputs, height, width] = self.shape(x) else { panic!("no planes") };
        let window = moves.window([height, width]).unwrap();
        let terms = inputs / moves.groups * moves.kernel[0] * moves.kernel[1];
        let weights = self.weights(channels * terms, terms);
        let map = Convolution::new([inputs, channels], moves.groups, window, weights).unwrap();
        let [height, width] = window.output();
        let bias = self.bias(channels, height * width);
        let linear = Linear::new(map).plus(&bias);
        self.linear("convolution", x, &[channels, height, width], linear)
    }

    pub(crate) fn pool(&mut self, x: NodeId, moves: Moves, count_padding: bool) -> NodeId {
        let &[channels, height, width] = self.shape(x) else { panic!("no planes") };
        let window = moves.window([height, width]).unwrap();
        let [height, width] = window.output();
        let map = Pool::new(channels, window, count_padding).unwrap();
        self.linear("pool", x, &[channels, height, width], Linear::new(map))
    }

    /// The mean of each plane.
    pub(crate) fn global_pool(&mut self, x: NodeId) -> NodeId {
        let &[_, height, width] = self.shape(x) else { panic!("no planes") };
        self.pool(x, Moves::of(height, width), true)
    }

    pub(crate) fn dense(&mut self, x: NodeId, outputs: usize) -> NodeId {
        let inputs = self.len(x);
        let weights = self.weights(inputs * outputs, inputs);
        let linear = Linear::new(Dense::new(inputs, weights).unwrap()).plus(&self.bias(outputs, 1));
        self.linear("dense", x, &[outputs], linear)
    }

    /// Gives a node another shape.
    pub(crate) fn reshape(&mut self, x: NodeId, shape: &[usize]) -> NodeId {
        let identity = Linear::identity(self.len(x));
        self.linear("reshape", x, shape, identity)
    }

    /// A factor and an addend for each channel.
    pub(crate) fn batch_norm(&mut self, x: NodeId) -> NodeId {
        let shape = self.shape(x).to_vec();
        let each = self.len(x) / shape[0];
        let factors = self.draw(shape[0]).into_iter().map(|f| self.gain * (f + 1.5));
        let factors = factors.flat_map(|f| std::iter::repeat_n(f, each)).collect();
        let linear = Linear::scale(factors).plus(&self.bias(shape[0], each));
        self.linear("norm", x, &shape, linear)
    }

    /// `factor x + addend`
    pub(crate) fn affine(&mut self, x: NodeId, factor: f64, addend: f64) -> NodeId {
        let len = self.len(x);
        let shape = self.shape(x).to_vec();
        let linear = Linear::scale(vec![factor; len]).plus(&vec![addend; len]);
        self.linear("scale", x, &shape, linear)
    }

    /// Output `i` is input `sources[i]`.
    pub(crate) fn select(&mut self, x: NodeId, shape: &[usize], sources: Vec<Option<u32>>) -> NodeId {
        let map = Gather::new(self.len(x), sources).unwrap();
        self.linear("select", x, shape, Linear::new(map))
    }

    /// Zeros around planes: above, left, below, right.
    pub(crate) fn pad(&mut self, x: NodeId, [above, left, below, right]: [usize; 4]) -> NodeId {
        let &[channels, height, width] = self.shape(x) else { panic!("no planes") };
        let shape = [channels, above + height + below, left + width + right];
        let mut sources = Vec::new();
        for channel in 0..channels {
            for y in 0..shape[1] {
                for x in 0..shape[2] {
                    let inside = (above..above + height).contains(&y) && (left..left + width).contains(&x);
                    sources.push(inside.then(|| ((channel * height + y - above) * width + x - left) as u32));
                }
            }
        }
        self.select(x, &shape, sources)
    }

    /// A value for each channel becomes a plane of it.
    pub(crate) fn spread(&mut self, x: NodeId, shape: &[usize]) -> NodeId {
        let each = shape[1] * shape[2];
        let sources = (0..shape[0] * each).map(|i| Some((i / each) as u32)).collect();
        self.select(x, shape, sources)
    }

    /// One polynomial for all elements.
    pub(crate) fn polynomial(&mut self, x: NodeId, coefficients: &[f64]) -> NodeId {
        self.coefficients(x, coefficients.iter().map(|&c| vec![c]).collect())
    }

    /// `coefficients[power][channel]`
    pub(crate) fn per_channel(&mut self, x: NodeId, coefficients: &[Vec<f64>]) -> NodeId {
        let each = self.len(x) / self.shape(x)[0];
        self.coefficients(
            x,
            coefficients
                .iter()
                .map(|c| c.iter().flat_map(|&c| std::iter::repeat_n(c, each)).collect())
                .collect(),
        )
    }

    pub(crate) fn coefficients(&mut self, x: NodeId, coefficients: Vec<Vec<f64>>) -> NodeId {
        let shape = self.shape(x).to_vec();
        self.push("polynomial", &shape, Op::Polynomial(x, Coefficients(coefficients)))
    }

    pub(crate) fn activation(&mut self, x: NodeId, activation: Activation) -> NodeId {
        let shape = self.shape(x).to_vec();
        self.push("activation", &shape, Op::Activation(x, activation))
    }

    /// A quadratic as trained networks have them.
    pub(crate) fn act(&mut self, x: NodeId) -> NodeId {
        self.polynomial(x, &[0.1, 0.6, 0.2])
    }

    pub(crate) fn square(&mut self, x: NodeId) -> NodeId {
        self.polynomial(x, &[0.0, 0.0, 1.0])
    }

    pub(crate) fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let shape = self.shape(a).to_vec();
        self.push("add", &shape, Op::Add(a, b))
    }

    pub(crate) fn sub(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let shape = self.shape(a).to_vec();
        self.push("sub", &shape, Op::Sub(a, b))
    }

    pub(crate) fn product(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let shape = self.shape(a).to_vec();
        self.push("product", &shape, Op::Mul(a, b))
    }
}

/// The input of every network.
pub(crate) const X: NodeId = NodeId::INPUT;

/// A network on items of a shape.
pub(crate) fn net(shape: &[usize], layers: impl FnOnce(&mut Net)) -> Network {
    let mut net = Net::new(shape);
    layers(&mut net);
    net.build()
}

/// Small and fast: a convolution, a quadratic, a dense layer.
pub(crate) fn small() -> Network {
    net(&[2, 5, 6], |n| {
        let x = n.conv(X, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        n.dense(x, 4);
    })
}

/// An item for a network.
pub(crate) fn item(network: &Network, seed: u64) -> Vec<f64> {
    reals(network.input_shape().iter().product(), 7000 + seed)
}

/// Some items for a network, none of which has seed 0.
pub(crate) fn calibration(network: &Network) -> Vec<Vec<f64>> {
    (1..=3).map(|seed| item(network, seed)).collect()
}

// Runs.

pub(crate) fn options(network: &Network) -> CompileOptions {
    CompileOptions {
        security: Security::InsecureForTests,
        calibration: Some(batch(network.input_shape(), &calibration(network))),
        threads: 2,
        ..CompileOptions::default()
    }
}

pub(crate) fn compile(network: &Network, options: &CompileOptions) -> Result<Plan, CompileError> {
    Plan::compile(network, options, &mut |_, _, _| ())
}

/// Flat items as an array, the batch axis first.
pub(crate) fn batch(shape: &[usize], items: &[Vec<f64>]) -> ArrayD<f64> {
    let dimensions: Vec<usize> = std::iter::once(items.len()).chain(shape.iter().copied()).collect();
    ArrayD::from_shape_vec(dimensions, items.concat()).unwrap()
}

/// The items of an array, each flat.
pub(crate) fn flat(array: &ArrayD<f64>) -> Vec<Vec<f64>> {
    array.axis_iter(Axis(0)).map(|item| item.iter().copied().collect()).collect()
}

/// A client and the keys that its server needs.
pub(crate) fn client(plan: &Plan) -> (Client, EvaluationKeys) {
    let client = Client::new(plan.client_spec().clone()).unwrap();
    let keys = client.evaluation_keys().unwrap();
    (client, keys)
}

pub(crate) fn server(plan: &Plan) -> Server<Cpu> {
    let device = Cpu::new(plan.params().ring().clone()).unwrap();
    Server::new(plan.server_plan().clone(), device).unwrap()
}

pub(crate) fn encrypt(client: &Client, items: &[Vec<f64>]) -> Vec<Ciphertext> {
    client.encrypt(batch(client.spec().input_shape(), items).view()).unwrap()
}

pub(crate) fn infer(
    session: &Session<Cpu>,
    ciphertexts: &[Ciphertext],
) -> Result<Vec<Ciphertext>, InferenceError> {
    session.infer(ciphertexts, &mut |_, _| ())
}

pub(crate) fn decrypt(client: &Client, ciphertexts: &[Ciphertext]) -> Vec<Vec<f64>> {
    flat(&client.decrypt_unrounded(ciphertexts).unwrap())
}

/// Encrypts, infers and decrypts items, all in one go.
pub(crate) fn encrypted(plan: &Plan, items: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (client, keys) = client(plan);
    let session = server(plan).open_session(keys).unwrap();
    let sent = encrypt(&client, items);
    assert_eq!(sent.len(), items.len() * plan.report().input_ciphertexts);
    let got = infer(&session, &sent).unwrap();
    assert_eq!(got.len(), items.len() * plan.report().output_ciphertexts);
    decrypt(&client, &got)
}

/// Bits to which `got` is `want`, relative to the largest value of `want` or `range`.
pub(crate) fn bits(want: &[f64], got: &[f64], range: f64) -> f64 {
    assert_eq!(want.len(), got.len(), "elements of the result");
    assert!(got.iter().all(|x| x.is_finite()), "the result is not finite");
    let largest = want.iter().fold(range, |m, x| m.max(x.abs()));
    let worst = want.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    -(worst.max(f64::MIN_POSITIVE) / if largest == 0.0 { 1.0 } else { largest }).log2()
}

/// Largest value that a network makes of its calibration items.
pub(crate) fn output_range(network: &Network) -> f64 {
    let results = calibration(network).into_iter().flat_map(|item| network.evaluate_flat(&item));
    results.fold(0.0, |m, x| m.max(x.abs()))
}

/// Runs a network with and without encryption, on an item that it was not calibrated with if there is one within its
/// ranges. The results agree to the given number of bits of their range. With `PLEURA_BITS` set, prints how many
/// agree.
#[track_caller]
pub(crate) fn runs(network: Network, min_bits: f64) {
    let plan = compile(&network, &options(&network)).unwrap_or_else(|error| panic!("{error}"));
    // Nothing is promised for an item that leaves the calibrated ranges by far.
    let item = [0, 10, 11, 12, 13, 1]
        .map(|seed| item(&network, seed))
        .into_iter()
        .find(|item| plan.range_violations(&network, aview1(item)).is_empty())
        .unwrap();
    let got = encrypted(&plan, std::slice::from_ref(&item));
    let bits = bits(&network.evaluate_flat(&item), &got[0], output_range(&network));
    tell(bits, min_bits, &plan);
    let layers =
        plan.report().layers.iter().map(|l| format!("\n  {} at level {}: {}", l.kind, l.level, l.name));
    let layers: String = layers.collect();
    assert!(bits >= min_bits, "{bits:.1} bits, where {min_bits} are expected, of{layers}");
}

pub(crate) fn tell(bits: f64, min_bits: f64, plan: &Plan) {
    if std::env::var_os("PLEURA_BITS").is_some() {
        let p = &plan.report().parameters;
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let predicted = plan.report().predicted_bits.unwrap_or_default();
        eprintln!(
            "{bits:5.1} of {min_bits} bits, {predicted:.1} predicted, 2^{}, {} levels: {name}",
            p.log_n, p.levels
        );
    }
}

// Files.

/// A reference network's file.
pub(crate) fn reference(file: &str) -> Vec<u8> {
    let path = format!("{}/../../models/reference/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first item of a NumPy file of many.
pub(crate) fn first_item(file: &str) -> Vec<f64> {
    let bytes = reference(file);
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let len = shape.split(',').skip(1).filter_map(|d| d.trim().parse::<usize>().ok()).product();
    let values: Vec<f64> = if header.contains("'<f4'") {
        bytes[start..].chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    } else {
        assert!(header.contains("'<f8'"), "{header}");
        bytes[start..].chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    values[..len].to_vec()
}

/// Each channel is multiplied by a polynomial of what all of them are on average.
pub(crate) fn squeeze_and_excitation(spread_first: bool) -> Network {
    net(&[3, 6, 6], |n| {
        let map = n.conv(X, 8, Moves::of(3, 3).padding(1, 1));
        let map = n.act(map);
        let x = n.global_pool(map);
        let x = n.dense(x, 4);
        let x = n.act(x);
        let mut x = n.dense(x, 8);
        let gate = |n: &mut Net, x| n.polynomial(x, &[0.5, 0.12, 0.0, -1e-5]);
        if spread_first {
            x = n.spread(x, &[8, 6, 6]);
            x = gate(n, x);
        } else {
            x = gate(n, x);
            x = n.spread(x, &[8, 6, 6]);
        }
        let x = n.product(map, x);
        let x = n.act(x);
        n.dense(x, 5);
    })
}
