//! Convolutions and averages over volumes, compared with their definitions.

use crate::model::{Builder, int, ints, numbers};
use crate::proto::Attribute;

/// Movement along depth, height and width.
#[derive(Clone, Copy)]
struct Motion {
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    before: [usize; 3],
    after: [usize; 3],
}

impl Motion {
    fn output(&self, input: [usize; 3], ceil: bool) -> [usize; 3] {
        [0, 1, 2].map(|a| {
            let reach = self.dilation[a] * (self.kernel[a] - 1) + 1;
            let room = input[a] + self.before[a] + self.after[a] - reach;
            let windows = if ceil { room.div_ceil(self.stride[a]) } else { room / self.stride[a] } + 1;
            if ceil && (windows - 1) * self.stride[a] >= input[a] + self.before[a] {
                windows - 1
            } else {
                windows
            }
        })
    }

    /// Places that the window at `at` reads, in the padded volume, each with its tap.
    fn places(&self, at: [usize; 3]) -> Vec<([usize; 3], [usize; 3])> {
        let [depth, height, width] = self.kernel;
        let taps = (0..depth).flat_map(|z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x])));
        taps.map(|tap| ([0, 1, 2].map(|a| at[a] * self.stride[a] + tap[a] * self.dilation[a]), tap)).collect()
    }

    fn attributes(&self) -> Vec<Attribute> {
        let list = |values: &[usize]| values.iter().map(|&x| x as i64).collect::<Vec<_>>();
        vec![
            ints("kernel_shape", &list(&self.kernel)),
            ints("strides", &list(&self.stride)),
            ints("dilations", &list(&self.dilation)),
            ints("pads", &list(&[self.before, self.after].concat())),
        ]
    }
}

const MOTIONS: [Motion; 3] = [
    Motion { kernel: [2, 3, 3], stride: [1, 1, 1], dilation: [1, 1, 1], before: [0, 0, 0], after: [0, 0, 0] },
    Motion { kernel: [3, 1, 2], stride: [2, 1, 3], dilation: [1, 1, 1], before: [1, 0, 1], after: [2, 0, 0] },
    Motion { kernel: [2, 2, 2], stride: [3, 2, 1], dilation: [2, 1, 2], before: [1, 1, 0], after: [1, 0, 1] },
];
const SIZE: [usize; 3] = [5, 4, 6];

fn positions([depth, height, width]: [usize; 3]) -> Vec<[usize; 3]> {
    (0..depth).flat_map(|z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x]))).collect()
}

/// Position in the volume without padding; `None` in the padding.
fn inside(motion: &Motion, place: [usize; 3]) -> Option<[usize; 3]> {
    let at = [0, 1, 2].map(|a| place[a].wrapping_sub(motion.before[a]));
    (0..3).all(|a| at[a] < SIZE[a]).then_some(at)
}

fn element(x: &[f64], channel: usize, [z, y, w]: [usize; 3]) -> f64 {
    x[((channel * SIZE[0] + z) * SIZE[1] + y) * SIZE[2] + w]
}

#[test]
fn convolutions_over_volumes() {
    for motion in MOTIONS {
        for groups in [1, 2] {
            let channels = 4;
            let outputs = 6;
            let per_group = 4 / groups;
            let [depth, height, width] = motion.kernel;
            let weights = numbers(outputs * per_group * depth * height * width, 1);
            let bias = numbers(outputs, 2);
            let dims = [outputs, per_group, depth, height, width].map(|n| n as i64);
            let attributes = [motion.attributes(), vec![int("group", groups as i64)]].concat();
            let size = SIZE.map(|n| n as i64);
            let model = Builder::new(&[channels as i64, size[0], size[1], size[2]]);
            let model = model.floats("w", &dims, &weights).floats("b", &[outputs as i64], &bias);
            let model = model.node("Conv", "x w b", "y", &attributes);
            let x = numbers(channels * SIZE.iter().product::<usize>(), 0);
            let shape = motion.output(SIZE, false);
            let mut expected = Vec::new();
            for (output, bias) in bias.iter().enumerate() {
                for at in positions(shape) {
                    let mut sum = f64::from(*bias as f32);
                    for (place, [i, j, k]) in motion.places(at) {
                        let Some(place) = inside(&motion, place) else { continue };
                        for input in 0..per_group {
                            let weight =
                                (((output * per_group + input) * depth + i) * height + j) * width + k;
                            let channel = output / (outputs / groups) * per_group + input;
                            sum += f64::from(weights[weight] as f32) * element(&x, channel, place);
                        }
                    }
                    expected.push(sum);
                }
            }
            model.gives(&[outputs, shape[0], shape[1], shape[2]], &expected);
        }
    }
}

#[test]
fn averages_over_volumes() {
    for motion in MOTIONS {
        for (ceil, count_padding) in [(false, false), (false, true), (true, false), (true, true)] {
            let flags = [("ceil_mode", ceil), ("count_include_pad", count_padding)];
            let flags = flags.map(|(name, on)| int(name, i64::from(on)));
            let attributes = [motion.attributes(), flags.to_vec()].concat();
            let size = SIZE.map(|n| n as i64);
            let model = Builder::new(&[2, size[0], size[1], size[2]]).opset(19);
            let model = model.node("AveragePool", "x", "y", &attributes);
            let x = numbers(2 * SIZE.iter().product::<usize>(), 0);
            let shape = motion.output(SIZE, ceil);
            let mut expected = Vec::new();
            for channel in 0..2 {
                for at in positions(shape) {
                    let places = motion.places(at);
                    let values: Vec<f64> = places
                        .iter()
                        .filter_map(|(place, _)| Some(element(&x, channel, inside(&motion, *place)?)))
                        .collect();
                    // Padding counts as far as it was asked for.
                    let count = if count_padding {
                        places
                            .iter()
                            .filter(|(place, _): &&([usize; 3], [usize; 3])| {
                                (0..3).all(|a| place[a] < SIZE[a] + motion.before[a] + motion.after[a])
                            })
                            .count()
                    } else {
                        values.len()
                    };
                    expected.push(values.iter().sum::<f64>() / count as f64);
                }
            }
            model.gives(&[2, shape[0], shape[1], shape[2]], &expected);
            let places: Vec<_> = positions(shape).into_iter().flat_map(|at| motion.places(at)).collect();
            let exceeds = places
                .iter()
                .any(|(place, _)| (0..3).any(|a| place[a] >= SIZE[a] + motion.before[a] + motion.after[a]));
            let notes = model.import().unwrap().notes;
            assert_eq!(notes.len(), usize::from(exceeds && count_padding), "{notes:?}");
        }
    }
}

#[test]
fn volumes_whose_kernels_do_not_fit_are_refused() {
    let model =
        Builder::new(&[1, 4, 4, 4]).floats("w", &[1, 1, 3, 3], &[0.0; 9]).node("Conv", "x w", "y", &[]);
    assert!(model.error().contains("kernel"), "{}", model.error());
    let model = Builder::new(&[1, 2, 4, 4]).floats("w", &[1, 1, 3, 3, 3], &[0.0; 27]);
    let error = model.node("Conv", "x w", "y", &[]).error();
    assert!(error.contains('3') && error.contains('2'), "{error}");
    let model = Builder::new(&[1, 3, 4, 4]).node("AveragePool", "x", "y", &[ints("kernel_shape", &[2, 2])]);
    assert!(model.error().contains("kernel_shape"), "{}", model.error());
}
