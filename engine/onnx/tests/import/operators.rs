//! Each operator against naive arithmetic.

use crate::model::{Builder, assert_close, float, int, ints, kinds, numbers, tensor, text};
use crate::proto::Tensor;
use pleura_onnx::ImportOptions;

/// A convolution as its definition says, each tuple being (height, width).
struct Naive {
    channels: [usize; 2],
    groups: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    before: [usize; 2],
    output: [usize; 2],
}

impl Naive {
    fn convolve(&self, x: &[f64], w: &[f64], bias: &[f64]) -> Vec<f64> {
        let [h, width] = self.input;
        let mut out = Vec::new();
        let depth = self.channels[0] / self.groups;
        let per_group = self.channels[1] / self.groups;
        for o in 0..self.channels[1] {
            for y in 0..self.output[0] {
                for z in 0..self.output[1] {
                    let mut sum = bias[o];
                    for i in 0..depth {
                        for a in 0..self.kernel[0] {
                            for b in 0..self.kernel[1] {
                                let row = (y * self.stride[0] + a * self.dilation[0]) as i64
                                    - self.before[0] as i64;
                                let column = (z * self.stride[1] + b * self.dilation[1]) as i64
                                    - self.before[1] as i64;
                                if (0..h as i64).contains(&row) && (0..width as i64).contains(&column) {
                                    let from = (o / per_group * depth + i) * h * width;
                                    let weight =
                                        w[((o * depth + i) * self.kernel[0] + a) * self.kernel[1] + b];
                                    sum += weight * x[from + row as usize * width + column as usize];
                                }
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }
}

#[test]
fn convolution_strided_dilated_grouped_padded() {
    let naive = Naive {
        channels: [4, 6],
        groups: 2,
        input: [9, 8],
        kernel: [3, 2],
        stride: [2, 1],
        dilation: [1, 2],
        before: [1, 0],
        output: [5, 9],
    };
    let w = numbers(6 * 2 * 6, 1);
    let b = numbers(6, 2);
    let attributes = [
        ints("strides", &[2, 1]),
        ints("dilations", &[1, 2]),
        ints("pads", &[1, 0, 1, 3]),
        ints("kernel_shape", &[3, 2]),
        int("group", 2),
    ];
    let model = Builder::new(&[4, 9, 8]).floats("w", &[6, 2, 3, 2], &w).floats("b", &[6], &b);
    let x = numbers(4 * 72, 0);
    model.node("Conv", "x w b", "y", &attributes).gives(&[6, 5, 9], &naive.convolve(&x, &w, &b));
}

#[test]
fn convolution_pads_itself() {
    for (auto, before) in [("SAME_UPPER", 0), ("SAME_LOWER", 1)] {
        let naive = Naive {
            channels: [1, 1],
            groups: 1,
            input: [4, 4],
            kernel: [2, 2],
            stride: [1, 1],
            dilation: [1, 1],
            before: [before, before],
            output: [4, 4],
        };
        let w = numbers(4, 1);
        let model = Builder::new(&[1, 4, 4]).floats("w", &[1, 1, 2, 2], &w);
        let expected = naive.convolve(&numbers(16, 0), &w, &[0.0]);
        model.node("Conv", "x w", "y", &[text("auto_pad", auto)]).gives(&[1, 4, 4], &expected);
    }
}

#[test]
fn convolution_in_one_dimension() {
    let naive = Naive {
        channels: [2, 3],
        groups: 1,
        input: [1, 7],
        kernel: [1, 3],
        stride: [1, 2],
        dilation: [1, 1],
        before: [0, 1],
        output: [1, 4],
    };
    let w = numbers(18, 1);
    let model = Builder::new(&[2, 7]).floats("w", &[3, 2, 3], &w);
    let model = model.node("Conv", "x w", "y", &[ints("strides", &[2]), ints("pads", &[1, 1])]);
    model.gives(&[3, 4], &naive.convolve(&numbers(14, 0), &w, &[0.0; 3]));
}

#[test]
fn transposed_convolution_is_the_transpose() {
    // <conv(y), x> = <y, transposed(x)> for every x and y.
    let naive = Naive {
        channels: [4, 2],
        groups: 2,
        input: [8, 6],
        kernel: [3, 2],
        stride: [2, 1],
        dilation: [1, 2],
        before: [1, 1],
        output: [4, 6],
    };
    let w = numbers(2 * 2 * 6, 1);
    let attributes = [
        ints("strides", &[2, 1]),
        ints("dilations", &[1, 2]),
        ints("pads", &[1, 1, 1, 1]),
        ints("output_padding", &[1, 0]),
        int("group", 2),
    ];
    let model = Builder::new(&[2, 4, 6]).floats("w", &[2, 2, 3, 2], &w).floats("b", &[4], &[0.0; 4]);
    let network = model.node("ConvTranspose", "x w b", "y", &attributes).network();
    assert_eq!(network.output_shape(), [4, 8, 6]);
    let x = numbers(48, 0);
    let found = network.evaluate_flat(&x);
    for i in 0..found.len() {
        let mut unit = vec![0.0; found.len()];
        unit[i] = 1.0;
        let expected: f64 = naive.convolve(&unit, &w, &[0.0; 2]).iter().zip(&x).map(|(a, b)| a * b).sum();
        assert_close(&[found[i]], &[expected]);
    }
}

#[test]
fn batch_normalization() {
    let x = numbers(12, 0);
    let s = [1.5, -2.0];
    let b = [0.5, 1.0];
    let m = [0.25, -1.0];
    let v = [4.0, 0.25];
    let model = Builder::new(&[2, 2, 3]).floats("s", &[2], &s).floats("b", &[2], &b);
    let model = model.floats("m", &[2], &m).floats("v", &[2], &v);
    let expected: Vec<f64> =
        (0..12).map(|i| (x[i] - m[i / 6]) / (v[i / 6] + 0.125f64).sqrt() * s[i / 6] + b[i / 6]).collect();
    let model = model.node("BatchNormalization", "x s b m v", "y", &[float("epsilon", 0.125)]);
    model.gives(&[2, 2, 3], &expected);
    assert_eq!(kinds(&model.network()), "I L");
}

/// Average pooling of one 5x5 plane: kernel 3, stride 2, padding 1 before and 0 after.
fn naive_pool(x: &[f64], count_padding: bool, ceil: bool) -> Vec<f64> {
    let rows = if ceil { 3 } else { 2 };
    let mut out = Vec::new();
    for y in 0..rows {
        for z in 0..rows {
            let mut sum = 0.0;
            let mut count = 0;
            for row in 2 * y..2 * y + 3 {
                for column in 2 * z..2 * z + 3 {
                    // The plane starts at 1 and ends at 6, where the padded one does, too.
                    if (1..6).contains(&row) && (1..6).contains(&column) {
                        sum += x[(row - 1) * 5 + column - 1];
                        count += 1;
                    } else if count_padding && row < 6 && column < 6 {
                        count += 1;
                    }
                }
            }
            out.push(sum / f64::from(count));
        }
    }
    out
}

#[test]
fn average_pool() {
    let x = numbers(25, 0);
    for (count, ceil) in [(false, false), (false, true), (true, false), (true, true)] {
        let attributes = [
            ints("kernel_shape", &[3, 3]),
            ints("strides", &[2, 2]),
            ints("pads", &[1, 1, 0, 0]),
            int("count_include_pad", count.into()),
            int("ceil_mode", ceil.into()),
        ];
        let rows = if ceil { 3 } else { 2 };
        let model = Builder::new(&[1, 5, 5]).node("AveragePool", "x", "y", &attributes);
        model.gives(&[1, rows, rows], &naive_pool(&x, count, ceil));
        // Implementations differ there.
        let is_noted = model.import().unwrap().notes.iter().any(|note| note.contains("onnxruntime"));
        assert_eq!(is_noted, count && ceil);
    }
}

#[test]
fn means_and_sums() {
    let x = numbers(24, 0);
    let spatial: Vec<f64> = x.chunks(12).map(|c| c.iter().sum::<f64>() / 12.0).collect();
    Builder::new(&[2, 3, 4]).node("GlobalAveragePool", "x", "y", &[]).gives(&[2, 1, 1], &spatial);
    let mean =
        Builder::new(&[2, 3, 4]).node("ReduceMean", "x", "y", &[ints("axes", &[-1, 2]), int("keepdims", 0)]);
    mean.gives(&[2], &spatial);
    let sums: Vec<f64> = spatial.iter().map(|m| m * 12.0).collect();
    let sum = Builder::new(&[2, 3, 4]).ints("axes", &[2, 3]);
    sum.node("ReduceSum", "x axes", "y", &[]).gives(&[2, 1, 1], &sums);
    let across: Vec<f64> = (0..12).map(|i| (x[i] + x[i + 12]) / 2.0).collect();
    Builder::new(&[2, 3, 4]).node("ReduceMean", "x", "y", &[ints("axes", &[1])]).gives(&[1, 3, 4], &across);
    let squares: Vec<f64> = x.chunks(4).map(|c| c.iter().map(|x| x * x).sum()).collect();
    let model =
        Builder::new(&[2, 3, 4]).node("ReduceSumSquare", "x", "y", &[ints("axes", &[3]), int("keepdims", 0)]);
    model.gives(&[2, 3], &squares);
    assert_eq!(kinds(&model.network()), "I P2 L");
}

#[test]
fn matrices() {
    let x = numbers(3, 0);
    let w = numbers(6, 1);
    let b = numbers(2, 2);
    let product = |row: usize| (0..3).map(|i| w[row * 3 + i] * x[i]).sum::<f64>();
    let plain: Vec<f64> = (0..2).map(|o| 0.5 * product(o) + 2.0 * b[o]).collect();
    let attributes = [int("transB", 1), float("alpha", 0.5), float("beta", 2.0)];
    let model = Builder::new(&[3]).floats("w", &[2, 3], &w).floats("b", &[2], &b);
    let model = model.node("Gemm", "x w b", "y", &attributes);
    model.gives(&[2], &plain);
    assert_eq!(kinds(&model.network()), "I L");

    let columns: Vec<f64> = (0..2).map(|o| (0..3).map(|i| w[i * 2 + o] * x[i]).sum()).collect();
    Builder::new(&[3]).floats("w", &[3, 2], &w).node("Gemm", "x w", "y", &[]).gives(&[2], &columns);
    Builder::new(&[3]).floats("w", &[3, 2], &w).node("MatMul", "x w", "y", &[]).gives(&[2], &columns);

    // Leading axes, and the constant on the left.
    let x = numbers(12, 0);
    let right: Vec<f64> = (0..8).map(|i| (0..3).map(|k| x[i / 2 * 3 + k] * w[k * 2 + i % 2]).sum()).collect();
    let model = Builder::new(&[2, 2, 3]).floats("w", &[3, 2], &w).node("MatMul", "x w", "y", &[]);
    model.gives(&[2, 2, 2], &right);
    let left: Vec<f64> = (0..8).map(|i| (0..3).map(|k| w[i / 4 * 3 + k] * x[k * 4 + i % 4]).sum()).collect();
    Builder::new(&[3, 4]).floats("w", &[2, 3], &w).node("MatMul", "w x", "y", &[]).gives(&[2, 4], &left);
    let vector: Vec<f64> = (0..4).map(|i| (0..3).map(|k| x[i * 3 + k] * w[k]).sum()).collect();
    Builder::new(&[4, 3]).floats("w", &[3], &w[..3]).node("MatMul", "x w", "y", &[]).gives(&[4], &vector);
}

#[test]
fn views_move_nothing() {
    let x = numbers(24, 0);
    let new = || Builder::new(&[2, 3, 4]);
    new().node("Flatten", "x", "y", &[]).gives(&[24], &x);
    new().ints("s", &[0, -1]).node("Reshape", "x s", "y", &[]).gives(&[24], &x);
    new().ints("s", &[-1, 24]).node("Reshape", "x s", "y", &[]).gives(&[24], &x);
    new().ints("s", &[1, 6, 4]).node("Reshape", "x s", "y", &[]).gives(&[6, 4], &x);
    let one = Builder::with_dims(&[1, 2, 3, 4].map(Some)).ints("s", &[1, 6, -1]);
    one.node("Reshape", "x s", "y", &[]).gives(&[6, 4], &x);
    new().ints("s", &[-1, 0, 12]).node("Reshape", "x s", "y", &[]).gives(&[2, 12], &x);
    new().ints("a", &[1, -1]).node("Unsqueeze", "x a", "y", &[]).gives(&[1, 2, 3, 4, 1], &x);
    let model = Builder::new(&[1, 6, 1]).node("Squeeze", "x", "y", &[ints("axes", &[1, 3])]);
    model.opset(11).gives(&[6], &numbers(6, 0));
    let model = new().node("Dropout", "x", "a mask", &[]).node("Identity", "a", "b", &[]);
    model.node("Cast", "b", "y", &[int("to", 10)]).gives(&[2, 3, 4], &x);
}

/// PyTorch's export of `x.view(x.size(0), -1)`.
#[test]
fn shapes_computed_from_the_batch() {
    let zero = Tensor { data_type: 7, int64_data: vec![0], ..Tensor::default() };
    for dims in [[None, Some(2), Some(12)], [Some(4), Some(2), Some(12)], [Some(1), Some(2), Some(12)]] {
        let model = Builder::with_dims(&dims).ints("axis", &[0]).ints("rest", &[-1]);
        let model = model.node("Shape", "x", "shape", &[]).node(
            "Constant",
            "",
            "zero",
            &[tensor("value", zero.clone())],
        );
        let model = model.node("Gather", "shape zero", "n", &[int("axis", 0)]);
        let model =
            model.node("Unsqueeze", "n axis", "n1", &[]).node("Concat", "n1 rest", "to", &[int("axis", 0)]);
        model.node("Reshape", "x to", "y", &[]).gives(&[24], &numbers(24, 0));
    }
    // A shape from products, quotients and casts: channel shuffle.
    let x = numbers(8, 0);
    let model =
        Builder::new(&[4, 2]).ints("zero", &[0]).ints("one", &[1]).ints("two", &[2]).ints("three", &[3]);
    let model = model.node("Shape", "x", "shape", &[]).node("Slice", "shape zero one", "n", &[]);
    let model = model.node("Gather", "shape one", "c", &[]).node("Div", "c two", "half", &[]);
    let model =
        model.node("Cast", "half", "as_float", &[int("to", 1)]).node("Floor", "as_float", "floor", &[]);
    let model = model.node("Cast", "floor", "again", &[int("to", 7)]);
    let model = model.node("Slice", "shape two three", "l", &[]);
    let model =
        model.node("Concat", "n two again l", "to", &[int("axis", 0)]).node("Reshape", "x to", "r", &[]);
    let model = model.node("Transpose", "r", "t", &[ints("perm", &[0, 2, 1, 3])]);
    let model = model.node("Reshape", "t shape", "y", &[]);
    model.gives(&[4, 2], &[x[0], x[1], x[4], x[5], x[2], x[3], x[6], x[7]]);
}

/// `expand` as PyTorch exports it, through Where on the placeholder -1.
#[test]
fn expansion() {
    let x = numbers(3, 0);
    let expected: Vec<f64> = x.iter().flat_map(|&x| [x, x]).collect();
    let model = Builder::new(&[3, 1]).ints("to", &[-1, -1, 2]).ints("rank", &[3]).ints("minus", &[-1]);
    let one = Tensor { dims: vec![1], data_type: 7, int64_data: vec![1], ..Tensor::default() };
    let model = model.node("ConstantOfShape", "rank", "ones", &[tensor("value", one)]);
    let model = model.node("Mul", "ones minus", "minuses", &[]).node("Equal", "to minuses", "same", &[]);
    let model = model.node("Where", "same ones to", "shape", &[]).node("Expand", "x shape", "y", &[]);
    model.gives(&[3, 2], &expected);
    let model = Builder::new(&[3, 1]).ints("r", &[1, 1, 2]).node("Tile", "x r", "y", &[]);
    model.gives(&[3, 2], &expected);
}

#[test]
fn elements_picked() {
    let x = numbers(24, 0);
    let at = |c: usize, y: usize, z: usize| x[c * 12 + y * 4 + z];
    let new = || Builder::new(&[2, 3, 4]);
    let mut expected = Vec::new();
    for z in 0..4 {
        for c in 0..2 {
            expected.extend((0..3).map(|y| at(c, y, z)));
        }
    }
    new().node("Transpose", "x", "y", &[ints("perm", &[0, 3, 1, 2])]).gives(&[4, 2, 3], &expected);

    let slice = new().ints("s", &[0, -1, 3]).ints("e", &[i64::MAX, i64::MIN, 0]);
    let slice = slice.ints("a", &[0, 2, 3]).ints("t", &[1, -1, -2]);
    let expected: Vec<f64> = (0..2)
        .flat_map(|c| (0..3).rev().flat_map(move |y| [3, 1].map(|z| (c, y, z))))
        .map(|(c, y, z)| at(c, y, z))
        .collect();
    slice.node("Slice", "x s e a t", "y", &[]).gives(&[2, 3, 2], &expected);
    let old = [ints("starts", &[1]), ints("ends", &[2]), ints("axes", &[1])];
    new().opset(9).node("Slice", "x", "y", &old).gives(&[1, 3, 4], &x[12..]);

    let expected: Vec<f64> = (0..6).flat_map(|r| [x[r * 4 + 3], x[r * 4]]).collect();
    let gather = new().ints("i", &[-1, 0]).node("Gather", "x i", "y", &[int("axis", 3)]);
    gather.gives(&[2, 3, 2], &expected);
    let one = Tensor { name: "i".into(), data_type: 7, int64_data: vec![1], ..Tensor::default() };
    new().tensor(one).node("Gather", "x i", "y", &[int("axis", 1)]).gives(&[3, 4], &x[12..]);

    let split = new().ints("s", &[1, 3]).node("Split", "x s", "a b", &[int("axis", 3)]);
    let expected: Vec<f64> = (0..6).flat_map(|r| [1, 2, 3].map(|z| x[r * 4 + z])).collect();
    split.clone().node("Identity", "b", "y", &[]).gives(&[2, 3, 3], &expected);
    // Swapped and put together again.
    let swapped: Vec<f64> = (0..6).flat_map(|r| [1, 2, 3, 0].map(|z| x[r * 4 + z])).collect();
    split.node("Concat", "b a", "y", &[int("axis", -1)]).gives(&[2, 3, 4], &swapped);
}

#[test]
fn concatenation_with_constants() {
    let x = numbers(4, 0);
    let model = Builder::new(&[2, 2]).floats("c", &[1, 1, 2], &[7.0, 8.0]).node("Mul", "x x", "s", &[]);
    let model = model.node("Concat", "x c s", "y", &[int("axis", 1)]);
    let expected = [x[0], x[1], x[2], x[3], 7.0, 8.0, x[0] * x[0], x[1] * x[1], x[2] * x[2], x[3] * x[3]];
    model.gives(&[5, 2], &expected);
}

#[test]
fn padding() {
    let x = numbers(4, 0);
    let [a, b, c, d] = [x[0], x[1], x[2], x[3]];
    let pads = [0, 0, 0, 1, 0, 0, 1, 0];
    let model = Builder::new(&[1, 2, 2]).ints("p", &pads).scalar("v", 3.0);
    model.node("Pad", "x p v", "y", &[]).gives(&[1, 3, 3], &[3.0, a, b, 3.0, c, d, 3.0, 3.0, 3.0]);
    let old = [ints("pads", &pads), text("mode", "reflect")];
    let model = Builder::new(&[1, 2, 2]).opset(10).node("Pad", "x", "y", &old);
    model.gives(&[1, 3, 3], &[b, a, b, d, c, d, b, a, b]);
    let model =
        Builder::new(&[1, 2, 2]).ints("p", &[-1, 1]).ints("axes", &[3]).node("Pad", "x p _ axes", "y", &[]);
    let model = model.opset(18);
    model.gives(&[1, 2, 2], &[b, 0.0, d, 0.0]);
}

#[test]
fn resizing() {
    let x = numbers(2, 0);
    let doubled = [x[0], x[0], x[1], x[1], x[0], x[0], x[1], x[1]];
    let scales = |b: Builder| b.floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let asymmetric = [text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor")];
    scales(Builder::new(&[1, 1, 2])).node("Resize", "x _ s", "y", &asymmetric).gives(&[1, 2, 4], &doubled);
    scales(Builder::new(&[1, 1, 2])).node("Resize", "x _ s", "y", &[]).gives(&[1, 2, 4], &doubled);
    scales(Builder::new(&[1, 1, 2])).opset(9).node("Upsample", "x s", "y", &[]).gives(&[1, 2, 4], &doubled);
    let sizes = Builder::with_dims(&[Some(3), Some(1), Some(1), Some(2)]).ints("t", &[3, 1, 2, 4]);
    sizes.node("Resize", "x _ _ t", "y", &asymmetric).gives(&[1, 2, 4], &doubled);
    let x = numbers(8, 0);
    let model = Builder::new(&[4, 1, 2]).node("DepthToSpace", "x", "y", &[int("blocksize", 2)]);
    model.gives(&[1, 2, 4], &[x[0], x[2], x[1], x[3], x[4], x[6], x[5], x[7]]);
    let model = model.node("SpaceToDepth", "y", "z", &[int("blocksize", 2)]);
    model.gives(&[4, 1, 2], &x);
}

#[test]
fn tensors_broadcast_to_each_other() {
    let x = numbers(12, 0);
    let gate: Vec<f64> = x.chunks(6).map(|c| c.iter().sum::<f64>() / 6.0).collect();
    let base = Builder::new(&[2, 2, 3]).node("GlobalAveragePool", "x", "g", &[]);
    let with = |f: fn(f64, f64) -> f64| (0..12).map(|i| f(x[i], gate[i / 6])).collect::<Vec<_>>();
    let model = base.clone().node("Mul", "x g", "y", &[]);
    model.gives(&[2, 2, 3], &with(|a, b| a * b));
    assert_eq!(kinds(&model.network()), "I L L *");
    base.clone().node("Add", "g x", "y", &[]).gives(&[2, 2, 3], &with(|a, b| a + b));
    base.clone().node("Sub", "g x", "y", &[]).gives(&[2, 2, 3], &with(|a, b| b - a));
    base.clone().node("Sum", "g x x", "y", &[]).gives(&[2, 2, 3], &with(|a, b| 2.0 * a + b));
    base.node("Mean", "g x", "y", &[]).gives(&[2, 2, 3], &with(|a, b| 0.5 * (a + b)));
    // A constant wider than the tensor.
    let model = Builder::new(&[2, 1]).floats("c", &[3], &[1.0, 2.0, 3.0]).node("Mul", "x c", "y", &[]);
    let x = numbers(2, 0);
    model.gives(&[2, 3], &[x[0], 2.0 * x[0], 3.0 * x[0], x[1], 2.0 * x[1], 3.0 * x[1]]);
}

#[test]
fn weights_of_all_types() {
    let half = |x: f64| -> u16 {
        // 1.5, -0.25 and 2: signs, exponents and one bit of mantissa.
        [(1.5, 0x3e00), (-0.25, 0xb400), (2.0, 0x4000)].iter().find(|(v, _)| *v == x).unwrap().1
    };
    let values = [1.5, -0.25, 2.0];
    let whole = [3i8, -2, 127];
    let raw: Vec<(i32, Vec<u8>)> = vec![
        (1, values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect()),
        (11, values.iter().flat_map(|&x| f64::to_le_bytes(x)).collect()),
        (10, values.iter().flat_map(|&x| half(x).to_le_bytes()).collect()),
        (16, values.iter().flat_map(|&x| ((x as f32).to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect()),
        (3, whole.iter().flat_map(|x| x.to_le_bytes()).collect()),
        (5, whole.iter().flat_map(|&x| i16::from(x).to_le_bytes()).collect()),
        (6, whole.iter().flat_map(|&x| i32::from(x).to_le_bytes()).collect()),
        (7, whole.iter().flat_map(|&x| i64::from(x).to_le_bytes()).collect()),
    ];
    let x = numbers(3, 0);
    for (data_type, raw_data) in raw {
        let expected: Vec<f64> = if matches!(data_type, 3..=7) {
            x.iter().zip(whole).map(|(x, w)| x * f64::from(w)).collect()
        } else {
            x.iter().zip(values).map(|(x, w)| x * w).collect()
        };
        let w = Tensor { name: "w".into(), dims: vec![3], data_type, raw_data, ..Tensor::default() };
        let model = Builder::new(&[3]).tensor(w).node("Cast", "w", "v", &[int("to", 1)]);
        model.node("Mul", "x v", "y", &[]).gives(&[3], &expected);
    }
    let int32_data = vec![0x3e00, 0xb400, 0x4000];
    let w = Tensor { name: "w".into(), dims: vec![3], data_type: 10, int32_data, ..Tensor::default() };
    let expected: Vec<f64> = x.iter().zip(values).map(|(x, w)| x * w).collect();
    Builder::new(&[3]).tensor(w).node("Mul", "x w", "y", &[]).gives(&[3], &expected);
}

#[test]
fn integers_are_no_weights() {
    let w = Tensor {
        name: "w".into(),
        dims: vec![3],
        data_type: 7,
        int64_data: vec![1, 2, 3],
        ..Tensor::default()
    };
    let error = Builder::new(&[3]).tensor(w).node("Mul", "x w", "y", &[]).error();
    assert!(error.contains("type int64 where floating point is needed"), "{error}");
}

#[test]
fn options() {
    let open = Builder::with_dims(&[None, Some(2), None]).node("Flatten", "x", "y", &[]);
    assert!(open.error().contains("give the shape of an item"), "{}", open.error());
    let options = ImportOptions { input_shape: Some(vec![2, 5]), ..ImportOptions::default() };
    assert_eq!(open.import_with(&options).unwrap().network.output_shape(), [10]);
    let options = ImportOptions { input_shape: Some(vec![3, 5]), ..ImportOptions::default() };
    assert!(open.import_with(&options).is_err());

    let mut two = Builder::new(&[2]).node("Neg", "x", "a", &[]).node("Mul", "x x", "b", &[]);
    let first = crate::proto::ValueInfo { name: "a".into(), r#type: None };
    two.graph().output.push(first);
    assert!(two.error().contains("the outputs \"b\", \"a\"; choose one"), "{}", two.error());
    let options = ImportOptions { output: Some("a".into()), ..ImportOptions::default() };
    assert_eq!(kinds(&two.import_with(&options).unwrap().network), "I L");
}

#[test]
fn nodes_in_any_order() {
    let mut model = Builder::new(&[2]).node("Mul", "a x", "b", &[]).node("Neg", "x", "a", &[]);
    model.graph().output[0].name = "b".into();
    let x = numbers(2, 0);
    model.gives(&[2], &[-x[0] * x[0], -x[1] * x[1]]);
}

/// Before version 7, a right side was put beside an axis of the left, and normalization said that it was no training.
#[test]
fn old_operators() {
    let x = numbers(6, 0);
    let model = Builder::new(&[2, 3]).opset(6).floats("c", &[2], &[1.0, 2.0]);
    let model = model.node("Add", "x c", "a", &[int("broadcast", 1), int("axis", 1)]);
    let expected: Vec<f64> = (0..6).map(|i| x[i] + if i < 3 { 1.0 } else { 2.0 }).collect();
    model.gives(&[2, 3], &expected);
    let normalized = model.node("BatchNormalization", "x c c c c", "y", &[]);
    assert!(normalized.error().contains("model.eval()"), "{}", normalized.error());
}

#[test]
fn constants_are_computed() {
    let x = numbers(3, 0);
    let bound = |name: &str, value: f64| Tensor {
        name: name.into(),
        data_type: 1,
        float_data: vec![value as f32],
        ..Tensor::default()
    };
    let model =
        Builder::new(&[3]).tensor(bound("from", 1.0)).tensor(bound("to", 2.5)).tensor(bound("by", 0.5));
    let model =
        model.node("Range", "from to by", "r", &[]).node("Sqrt", "r", "s", &[]).node("Pow", "s to", "p", &[]);
    let model = model.node("Max", "p to", "m", &[]).node("Mul", "x m", "y", &[]);
    let expected: Vec<f64> =
        x.iter().zip([1.0f64, 1.5, 2.0]).map(|(x, r)| x * r.sqrt().powf(2.5).max(2.5)).collect();
    model.gives(&[3], &expected);
    let product = Builder::new(&[2, 3]).ints("one", &[1]).node("Shape", "x", "s", &[int("start", 1)]);
    let product = product.node("ReduceProd", "s", "n", &[int("keepdims", 1)]);
    let product = product.node("Shape", "x", "b", &[int("end", 1)]).node("Mul", "b one", "b1", &[]);
    let product = product.node("Concat", "b1 n", "to", &[int("axis", 0)]).node("Reshape", "x to", "y", &[]);
    product.gives(&[6], &numbers(6, 0));
}

#[test]
fn shapes_of_fewer_axes_begin_behind_the_batch() {
    let x = numbers(3, 0);
    let model = Builder::with_dims(&[2, 3, 1, 1].map(Some)).ints("s", &[2, 2]);
    let expected: Vec<f64> = (0..12).map(|i| x[i / 4]).collect();
    model.node("Expand", "x s", "y", &[]).gives(&[3, 2, 2], &expected);
    let model = Builder::with_dims(&[2, 3, 1, 1].map(Some)).ints("s", &[2, 3, 1, 2]);
    let expected: Vec<f64> = (0..6).map(|i| x[i / 2]).collect();
    model.node("Expand", "x s", "y", &[]).gives(&[3, 1, 2], &expected);
}
