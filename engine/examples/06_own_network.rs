//! A network that is built in Rust, layer by layer, and runs on encrypted images.
//!
//! `cargo run --release --example 06_own_network`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use ndarray::Array;
use pleura::nn::{
    Coefficients, CompileOptions, Convolution, Fidelity, Linear, Network, Node, NodeMap, Op, Plan, Window,
    WindowSpec,
};
use pleura::{Device, Pipeline};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // A 16x16 image of one channel, a 3x3 convolution of stride 2 to four channels, then x^2/4 + x of each element.
    let window = WindowSpec {
        input: [16, 16],
        output: [8, 8],
        kernel: [3, 3],
        stride: [2, 2],
        dilation: [1, 1],
        padding: [1, 1],
    };
    let weights = (0..4 * 9).map(|i| f64::from(i % 7 - 3) / 12.0).collect();
    let convolution = Convolution::new([1, 4], 1, Window::new(window)?, weights)?;
    let activation = Coefficients(vec![vec![0.0], vec![1.0], vec![0.25]]);

    // Nodes are in the order of computation, and the last one is the result. Shapes are those of one item.
    let mut nodes = NodeMap::default();
    let input = nodes.push(Node::new("input", [1, 16, 16], Op::Input));
    let features = nodes.push(Node::new("conv", [4, 8, 8], Op::Linear(input, Linear::new(convolution))));
    nodes.push(Node::new("activation", [4, 8, 8], Op::Polynomial(features, activation)));
    let network = Network::new("own", nodes)?;

    let images = Array::from_shape_fn((2, 1, 16, 16), |(item, _, y, x)| ((16 * y + x + item) as f64).sin());
    let options =
        CompileOptions { calibration: Some(images.clone().into_dyn()), ..CompileOptions::default() };
    let plan = Plan::compile(&network, &options, &mut |_, _, _| ())?;
    let outcome = Pipeline::new(&plan, &Device::cpu(None))?.run(images.view())?;

    let fidelity = Fidelity::new(network.evaluate(images.view())?.view(), outcome.published.view());
    println!("results {:?}, error at most {:.1e}", outcome.published.shape(), fidelity.max_abs_error);
    assert_eq!(outcome.published.shape(), [2, 4, 8, 8]);
    // Published values are rounded, so this is about a unit of their last bit.
    assert!(fidelity.max_abs_error < 1.5 * f64::from(-plan.client_spec().publish_bits()).exp2());
    Ok(())
}
