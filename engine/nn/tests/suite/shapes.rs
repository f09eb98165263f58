//! Maps and networks that are not valid are refused when they are built, each with its reason.

use crate::common::*;
use pleura_nn::*;

const SPEC: WindowSpec = WindowSpec {
    input: [4, 5],
    output: [4, 5],
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    padding: [1, 1],
};

fn window() -> Window {
    Window::new(SPEC).unwrap()
}

fn too_large<T: std::fmt::Debug>(result: Result<T, ShapeError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, ShapeError::TooLarge { .. }), "{error}");
}

fn zero<T: std::fmt::Debug>(result: Result<T, ShapeError>, what: &str) {
    let error = result.unwrap_err();
    assert!(error.to_string().contains(what), "{what:?} is not in: {error}");
    assert!(matches!(error, ShapeError::Zero { .. }), "{error}");
}

#[test]
fn windows_without_extent_are_refused_by_name() {
    zero(Window::new(WindowSpec { input: [0, 5], ..SPEC }), "input height");
    zero(Window::new(WindowSpec { output: [4, 0], ..SPEC }), "output width");
    zero(Window::new(WindowSpec { kernel: [3, 0], ..SPEC }), "kernel width");
    zero(Window::new(WindowSpec { stride: [0, 1], ..SPEC }), "vertical stride");
    zero(Window::new(WindowSpec { dilation: [1, 0], ..SPEC }), "horizontal dilation");
}

#[test]
fn windows_that_reach_too_far_are_refused() {
    let huge = usize::MAX;
    too_large(Window::new(WindowSpec { input: [huge, 2], ..SPEC }));
    too_large(Window::new(WindowSpec { output: [1 << 20, 1 << 20], ..SPEC }));
    too_large(Window::new(WindowSpec { kernel: [huge, huge], ..SPEC }));
    too_large(Window::new(WindowSpec { stride: [huge, 1], ..SPEC }));
    too_large(Window::new(WindowSpec { dilation: [1, huge], ..SPEC }));
    too_large(Window::new(WindowSpec { padding: [huge, 1], ..SPEC }));
}

#[test]
fn windows_beyond_the_input_read_zeros() {
    let spec = WindowSpec { output: [9, 9], stride: [3, 3], padding: [7, 7], ..SPEC };
    let window = Window::new(spec).unwrap();
    let convolution = Convolution::new([1, 1], 1, window, vec![1.0; 9]).unwrap();
    let sums = Linear::new(convolution).apply(&[1.0; 20]);
    assert_eq!((sums.len(), sums[0], sums.iter().sum::<f64>()), (81, 0.0, 20.0));
    let means = Linear::new(Pool::new(1, window, false).unwrap()).apply(&[1.0; 20]);
    assert!(means.iter().all(|mean| *mean == 0.0 || (mean - 1.0).abs() < 1e-12), "{means:?}");
}

#[test]
fn convolutions_need_channels_groups_and_all_weights() {
    let new = |channels, groups, weights| Convolution::new(channels, groups, window(), vec![1.0; weights]);
    assert_eq!(new([2, 4], 2, 36).unwrap().weights().len(), 36);
    zero(new([0, 4], 1, 0), "input channels");
    zero(new([2, 0], 1, 0), "output channels");
    zero(new([2, 4], 0, 72), "groups");
    assert_eq!(new([2, 3], 2, 27).unwrap_err(), ShapeError::Groups { groups: 2, channels: [2, 3] });
    assert_eq!(new([3, 4], 2, 54).unwrap_err(), ShapeError::Groups { groups: 2, channels: [3, 4] });
    for found in [0, 71, 73] {
        let expected = ShapeError::Weights { map: "convolution", expected: 72, found };
        assert_eq!(new([2, 4], 1, found).unwrap_err(), expected);
    }
    too_large(new([usize::MAX, 1], 1, 9));
    too_large(new([1, 1 << 40], 1, 9));
}

#[test]
fn pools_need_channels() {
    zero(Pool::new(0, window(), true), "channels");
    too_large(Pool::new(usize::MAX, window(), true));
}

#[test]
fn matrices_need_whole_rows() {
    assert_eq!(Dense::new(3, vec![1.0; 6]).unwrap().outputs(), 2);
    zero(Dense::new(0, vec![1.0; 6]), "inputs");
    zero(Dense::new(3, vec![]), "weights");
    assert_eq!(Dense::new(3, vec![1.0; 7]).unwrap_err(), ShapeError::Rows { inputs: 3, found: 7 });
    too_large(Dense::new(1 << 40, vec![1.0]));
}

#[test]
fn gathers_read_inputs_only() {
    assert!(Gather::new(2, vec![Some(1), None, Some(0)]).is_ok());
    let error = Gather::new(2, vec![None, Some(2)]).unwrap_err();
    assert_eq!(error, ShapeError::Source { entry: 1, input: 2, inputs: 2 });
    too_large(Gather::new(1 << 40, vec![None]));
}

#[test]
fn sparse_rows_lie_within_the_entries() {
    let entries = || vec![(0, 1.0), (1, 2.0), (2, 3.0)];
    assert_eq!(Sparse::new(3, vec![0, 0, 3], entries()).unwrap().outputs(), 2);
    for (starts, row, found) in [
        (vec![], 0, None),
        (vec![1, 3], 0, Some(1)),
        (vec![0, 2, 1, 3], 2, Some(1)),
        (vec![0, 2], 1, Some(2)),
        (vec![0, 4], 1, Some(4)),
    ] {
        let error = Sparse::new(3, starts, entries()).unwrap_err();
        assert_eq!(error, ShapeError::Starts { row, found, entries: 3 });
    }
    let error = Sparse::new(2, vec![0, 3], entries()).unwrap_err();
    assert_eq!(error, ShapeError::Source { entry: 2, input: 2, inputs: 2 });
    too_large(Sparse::new(1 << 40, vec![0], vec![]));
}

fn node(op: Op) -> Node {
    Node::new("n", [3], op)
}

fn refused(nodes: Vec<Node>) -> NetworkError {
    Network::new("refused", NodeMap::from(nodes)).unwrap_err()
}

#[test]
fn networks_start_with_their_only_input() {
    let x = NodeId::INPUT;
    assert_eq!(refused(vec![]), NetworkError::NoInput);
    assert_eq!(refused(vec![node(Op::Add(x, x))]), NetworkError::NoInput);
    assert_eq!(
        refused(vec![node(Op::Input), node(Op::Input)]),
        NetworkError::SecondInput { node: "n".into() }
    );
}

#[test]
fn nodes_read_earlier_nodes_of_their_network() {
    let x = NodeId::INPUT;
    let other = NodeMap::new(5, |id| id);
    for (read, index) in [(other.values()[1], 1), (other.values()[4], 4)] {
        let error = refused(vec![node(Op::Input), node(Op::Add(x, read))]);
        assert_eq!(error, NetworkError::Order { node: "n".into(), read: index });
    }
}

#[test]
fn lengths_of_operands_and_results_must_fit() {
    let x = NodeId::INPUT;
    let length = |expected, found| NetworkError::Length { node: "n".into(), expected, found };
    let four = Node::new("four", [4], Op::Input);
    for op in [Op::Add(x, x), Op::Sub(x, x), Op::Mul(x, x), Op::Polynomial(x, Coefficients(vec![]))] {
        assert_eq!(refused(vec![four.clone(), node(op)]), length(3, 4));
    }
    let to_three = Linear::new(Dense::new(5, vec![1.0; 15]).unwrap());
    assert_eq!(refused(vec![four.clone(), node(Op::Linear(x, to_three))]), length(5, 4));
    assert_eq!(refused(vec![four, node(Op::Linear(x, Linear::identity(4)))]), length(4, 3));
    let lists = Coefficients(vec![vec![1.0], vec![1.0; 3], vec![1.0; 2]]);
    let error = refused(vec![node(Op::Input), node(Op::Polynomial(x, lists))]);
    let expected = NetworkError::Coefficients { node: "n".into(), power: 2, found: 2, elements: 3 };
    assert_eq!(error, expected);
}

#[test]
fn tensors_without_elements_or_with_too_many_are_refused() {
    for shape in [vec![0], vec![2, 0, 3], vec![1 << 20, 1 << 20], vec![usize::MAX, usize::MAX]] {
        let error = refused(vec![Node::new("n", shape.clone(), Op::Input)]);
        assert_eq!(error, NetworkError::Elements { node: "n".into(), shape });
    }
}

/// `x`, then `2 x`, and the sum of nodes chosen from them.
fn chain(sum: impl Fn(NodeId, NodeId) -> Op) -> Network {
    let mut nodes = NodeMap::default();
    let x = nodes.push(Node::new("x", [3], Op::Input));
    let twice = nodes.push(Node::new("twice", [3], Op::Linear(x, Linear::scale(vec![2.0; 3]))));
    nodes.push(Node::new("unused", [3], Op::Linear(x, Linear::identity(3))));
    nodes.push(Node::new("sum", [3], sum(x, twice)));
    Network::new("chain", nodes).unwrap()
}

#[test]
fn copies_are_refused_if_there_are_none_or_too_many() {
    let network = chain(Op::Add);
    for copies in [0, 1 << 40, usize::MAX] {
        let error = network.side_by_side(copies).unwrap_err();
        assert!(matches!(error, NetworkError::Elements { .. }), "{error}");
    }
}

#[test]
fn nodes_that_the_output_does_not_need_are_left_out() {
    let network = chain(Op::Add);
    let output = network.output();
    let kept = network.ending_in(output);
    let names: Vec<&str> = kept.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["x", "twice", "sum"]);
    assert_eq!(kept.evaluate_flat(&[1.0, 2.0, 3.0]), [3.0, 6.0, 9.0]);
}

#[test]
fn the_first_layer_splits_off_unless_the_input_is_read_again() {
    assert!(chain(Op::Add).split_first().is_none());
    let network = chain(|_, twice| Op::Mul(twice, twice));
    let output = network.output();
    let network = network.ending_in(output);
    let (first, rest) = network.split_first().unwrap();
    assert_eq!((first.name.as_str(), rest.nodes().len()), ("twice", 2));
    assert_eq!(rest.evaluate_flat(&[2.0, 4.0, 6.0]), network.evaluate_flat(&[1.0, 2.0, 3.0]));
}

#[test]
fn convolutions_are_sums_in_the_order_of_rows() {
    for (size, kernel, stride, dilation, padding) in [
        ([5, 7], [3, 3], [1, 1], [1, 1], [1, 1]),
        ([8, 6], [2, 3], [2, 3], [1, 2], [0, 4]),
        ([1, 4], [3, 1], [1, 2], [2, 1], [3, 0]),
        ([4, 4], [4, 4], [1, 1], [1, 1], [0, 0]),
    ] {
        // Windows may lie beyond the input on every side.
        let output = [4, 5];
        let window =
            Window::new(WindowSpec { input: size, output, kernel, stride, dilation, padding }).unwrap();
        let weights = (0..6 * 2 * kernel[0] * kernel[1]).map(|i| 1.0 / (i + 3) as f64).collect();
        let linear = Linear::new(Convolution::new([4, 6], 2, window, weights).unwrap());
        let x: Vec<f64> = (0..linear.inputs()).map(|i| (i as f64 * 0.7).sin()).collect();
        let found = linear.apply(&x);
        assert_eq!(found.len(), 6 * 20);
        for (i, y) in found.iter().enumerate() {
            let mut sum = 0.0;
            linear.row(i, &mut |j, weight| sum += weight * x[j]);
            assert_eq!(y.to_bits(), sum.to_bits(), "{size:?} {kernel:?} {i}");
        }
    }
}

/// Layers without activations between them become one map, whose rows have few entries however many paths lead to them.
#[test]
fn a_chain_of_layers_is_one_map() {
    let weights = |k: usize| {
        (0..9_usize).map(|i| if (i + k).is_multiple_of(3) { 0.9 } else { 0.05 }).collect::<Vec<f64>>()
    };
    let layer = |k: usize| Linear::new(Dense::new(3, weights(k)).unwrap());
    let chain = (1..40).fold(layer(0), |chain, k| chain.then(layer(k)));
    let x = [1.0, -2.0, 0.5];
    let mut y = [0.0; 3];
    for (output, y) in y.iter_mut().enumerate() {
        chain.row(output, &mut |input, weight| *y += weight * x[input]);
    }
    for (a, b) in y.iter().zip(chain.apply(&x)) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
    let network = net(&[3], |n| _ = (0..40).fold(X, |x, _| n.dense(x, 3)));
    let plan = compile(&network, &options(&network)).unwrap();
    assert_eq!(plan.report().layers.len(), 2);
}
