//! Several items as one network.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[test]
fn items_side_by_side_are_computed_each_on_its_own() {
    for name in ["lola", "hefnet_16_32_64", "lenet5_se", "odd", "separable"] {
        let path = format!("{}/../../models/reference/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let onnx = std::fs::read(path).unwrap();
        let network = pleura_onnx::import(&onnx, &Default::default()).unwrap().network;
        let len: usize = network.input_shape().iter().product();
        let items: Vec<Vec<f64>> =
            (0..2).map(|k| (0..len).map(|i| ((i * (k + 2)) as f64 * 0.37).sin()).collect()).collect();
        let both = network.side_by_side(2).unwrap().evaluate_flat(&items.concat());
        let each: Vec<f64> = items.iter().flat_map(|item| network.evaluate_flat(item)).collect();
        let worst = both.iter().zip(&each).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(both.len() == each.len() && worst < 1e-9, "{name}: {worst}");
    }
}
