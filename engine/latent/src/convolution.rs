//! Convolutions over zero-padded planes: a direct product in registers, written once for all vector widths.
//!
//! # Mathematics
//! `y[o][p] = b[o] + sum_{i, t} w[o][i][t] x[i][p + tap(t)]`, a cross-correlation as in PyTorch. Each plane carries a border of one zero,
//! and its rows are contiguous, so a tap is one offset for all positions and positions need no rows: a vector of neighbouring
//! positions, times one weight, for eight output channels at once. The few sums that fall on the border are cleared afterwards. A
//! channel's sum is taken in one order on every thread, so results do not depend on the number of threads.

use ndarray::{Array3, ArrayView3};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Output channels per task.
const GROUP: usize = 8;
/// A row of a tile may reach this far past the last position; no vector pair is longer.
const SLACK: usize = 32;

/// A tensor `[channels, height, width]` with a border of zeros around each plane.
#[derive(Clone)]
pub(crate) struct Planes {
    channels: usize,
    height: usize,
    width: usize,
    data: Vec<f32>,
}

impl Planes {
    pub(crate) fn zeros([channels, height, width]: [usize; 3]) -> Self {
        let mut planes = Self { channels, height, width, data: Vec::new() };
        planes.data = vec![0.0; channels * planes.area()];
        planes
    }

    /// The planes of an array `[channels, height, width]`.
    pub(crate) fn from_array(values: ArrayView3<'_, f32>) -> Self {
        let mut planes = Self::zeros(values.dim().into());
        for (row, values) in planes.rows_mut().zip(values.rows()) {
            row.iter_mut().zip(values).for_each(|(to, x)| *to = *x);
        }
        planes
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// As an array `[channels, height, width]`, without the border.
    pub(crate) fn to_array(&self) -> Array3<f32> {
        let mut out = Array3::zeros(self.shape());
        out.iter_mut().zip(self.rows().flatten()).for_each(|(to, x)| *to = *x);
        out
    }

    pub(crate) fn relu(mut self) -> Self {
        self.data.iter_mut().for_each(|x| *x = x.max(0.0));
        self
    }

    pub(crate) fn add(mut self, other: &Self) -> Self {
        self.data.iter_mut().zip(&other.data).for_each(|(x, y)| *x += y);
        self
    }

    /// `[c, h r, w r] -> [c r^2, h, w]`, channel `c r^2 + dy r + dx`.
    pub(crate) fn unshuffle(&self, r: usize) -> Self {
        let mut out = Self::zeros([self.channels * r * r, self.height / r, self.width / r]);
        let height = self.height;
        let short = out.height;
        let source: Vec<&[f32]> = self.rows().collect();
        for (k, row) in out.rows_mut().enumerate() {
            let channel = k / short;
            let y = k % short;
            let c = channel / (r * r);
            let dy = channel / r % r;
            let dx = channel % r;
            let Some(from) = source.get(c * height + y * r + dy) else { continue };
            row.iter_mut().zip(from.iter().skip(dx).step_by(r)).for_each(|(to, x)| *to = *x);
        }
        out
    }

    /// `[c r^2, h, w] -> [c, h r, w r]`, the inverse of [`unshuffle`](Self::unshuffle).
    pub(crate) fn shuffle(&self, r: usize) -> Self {
        let mut out = Self::zeros([self.channels / (r * r), self.height * r, self.width * r]);
        let height = self.height;
        let tall = out.height;
        let source: Vec<&[f32]> = self.rows().collect();
        for (k, row) in out.rows_mut().enumerate() {
            let c = k / tall;
            let y = k % tall;
            for dx in 0..r {
                let channel = c * r * r + y % r * r + dx;
                let Some(from) = source.get(channel * height + y / r) else { continue };
                row.iter_mut().skip(dx).step_by(r).zip(*from).for_each(|(to, x)| *to = *x);
            }
        }
        out
    }

    fn stride(&self) -> usize {
        self.width + 2
    }

    fn area(&self) -> usize {
        (self.height + 2) * self.stride() + SLACK
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let height = self.height;
        let width = self.width;
        self.data
            .chunks_exact(self.area())
            .flat_map(move |plane| plane.chunks_exact(width + 2).skip(1).take(height))
            .filter_map(move |row| row.get(1..=width))
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let height = self.height;
        let width = self.width;
        let area = self.area();
        self.data
            .chunks_exact_mut(area)
            .flat_map(move |plane| plane.chunks_exact_mut(width + 2).skip(1).take(height))
            .filter_map(move |row| row.get_mut(1..=width))
    }
}

/// A convolution of stride 1 that keeps the size: kernel 3 with padding 1, or kernel 1.
pub(crate) struct Convolution {
    outputs: usize,
    kernel: usize,
    /// `[group][input][tap]`, each with the weights of the group's eight outputs.
    weights: Vec<Vec<[f32; GROUP]>>,
    bias: Vec<[f32; GROUP]>,
}

impl Convolution {
    /// From `weights[output][input][kernel][kernel]` and one bias per output.
    pub(crate) fn new(kernel: usize, weights: &[f32], bias: &[f32]) -> Self {
        let outputs = bias.len();
        let each = weights.len() / outputs.max(1);
        let weights = weights.chunks(GROUP * each).map(|group| interleaved(group, each)).collect();
        let bias = bias.chunks(GROUP).flat_map(|b| interleaved(b, 1)).collect();
        Self { outputs, kernel, weights, bias }
    }

    pub(crate) fn apply(&self, x: &Planes) -> Planes {
        let mut out = Planes::zeros([self.outputs, x.height, x.width]);
        let stride = x.stride();
        let area = x.area();
        let centre = stride + 1;
        let taps: Vec<usize> = match self.kernel {
            1 => vec![centre],
            _ => (0..9).map(|t| t / 3 * stride + t % 3).collect(),
        };
        let span = x.height.saturating_sub(1) * stride + x.width;
        let groups = out.data.par_chunks_mut(GROUP * area).zip(&self.weights).zip(&self.bias);
        groups.for_each(|((output, weights), bias)| {
            let task = Task { input: &x.data, area, taps: &taps, span, centre, weights, bias, output };
            Arch::new().dispatch(task);
        });
        out.data.par_chunks_mut(area).for_each(|plane| wipe_border(plane, x.width, span + centre));
        out
    }
}

fn interleaved(rows: &[f32], length: usize) -> Vec<[f32; GROUP]> {
    let mut out = vec![[0.0; GROUP]; length];
    for (lane, row) in rows.chunks_exact(length.max(1)).enumerate() {
        for (group, value) in out.iter_mut().zip(row) {
            if let Some(slot) = group.get_mut(lane) {
                *slot = *value;
            }
        }
    }
    out
}

fn wipe_border(plane: &mut [f32], width: usize, end: usize) {
    if let Some(tail) = plane.get_mut(end..) {
        tail.fill(0.0);
    }
    for row in plane.chunks_exact_mut(width + 2) {
        if let [first, .., last] = row {
            (*first, *last) = (0.0, 0.0);
        }
    }
}

/// One group of output planes.
struct Task<'a> {
    input: &'a [f32],
    area: usize,
    taps: &'a [usize],
    span: usize,
    centre: usize,
    weights: &'a [[f32; GROUP]],
    bias: &'a [f32; GROUP],
    output: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, 2>(simd) } else { self.run::<S, 1>(simd) }
    }
}

impl Task<'_> {
    /// No closures in here: they would be compiled without the instruction set.
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let tile = V * S::F32_LANES;
        const { assert!(V * S::F32_LANES <= SLACK) }
        for at in (0..self.span).step_by(tile) {
            let mut sums = [[simd.splat_f32s(0.0); V]; GROUP];
            for (sum, &bias) in sums.iter_mut().zip(self.bias) {
                *sum = [simd.splat_f32s(bias); V];
            }
            let planes = self.input.chunks_exact(self.area);
            for (plane, weights) in planes.zip(self.weights.chunks_exact(self.taps.len())) {
                for (&tap, weights) in self.taps.iter().zip(weights) {
                    let Some(x) = plane.get(at + tap..at + tap + tile) else { continue };
                    let Some(x) = S::as_simd_f32s(x).0.first_chunk::<V>() else { continue };
                    for (sum, &weight) in sums.iter_mut().zip(weights) {
                        let weight = simd.splat_f32s(weight);
                        for (sum, &x) in sum.iter_mut().zip(x) {
                            *sum = simd.mul_add_e_f32s(weight, x, *sum);
                        }
                    }
                }
            }
            let at = self.centre + at;
            for (plane, sum) in self.output.chunks_exact_mut(self.area).zip(&sums) {
                let Some(y) = plane.get_mut(at..at + tile) else { continue };
                S::as_mut_simd_f32s(y).0.copy_from_slice(sum);
            }
        }
    }
}
