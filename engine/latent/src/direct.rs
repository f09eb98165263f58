//! Convolutions as direct products in registers, written once for all vector widths.
//!
//! # Mathematics
//! `y[o][p] = b[o] + sum_{i, t} w[o][i][t] x[i][p + tap(t)]`. Planes carry a border of zeros and their rows are contiguous, so a tap
//! is one offset for all positions and positions need no rows: a vector of neighbouring positions, times one weight, for eight output
//! channels at once. The few sums that fall on the border are cleared afterwards. A channel's sum is taken in one order on every
//! thread, so results do not depend on the number of threads.

#![expect(
    clippy::indexing_slicing,
    reason = "places follow from the planes' shape: one outside of them is a bug, and stops"
)]

use crate::groups::{GROUP, interleaved};
use crate::planes::{Layout, Planes, SLACK, Workspace};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// A convolution of stride 1 that keeps the size, of planes in rows: kernel 3 with padding 1, or kernel 1.
pub(crate) struct Direct {
    outputs: usize,
    kernel: usize,
    /// `[group][input][tap]`, each with the weights of the group's eight outputs.
    weights: Vec<Vec<[f32; GROUP]>>,
    bias: Vec<[f32; GROUP]>,
}

impl Direct {
    /// From `weights[output][input][kernel][kernel]` and one bias per output.
    pub(crate) fn new(kernel: usize, weights: &[f32], bias: &[f32]) -> Self {
        let outputs = bias.len();
        let each = weights.len() / outputs.max(1);
        let weights = weights.chunks(GROUP * each).map(|group| interleaved(group, each)).collect();
        let bias = bias.chunks(GROUP).flat_map(|b| interleaved(b, 1)).collect();
        Self { outputs, kernel, weights, bias }
    }

    /// The convolution of `x`.
    pub(crate) fn apply(&self, x: &Planes, workspace: &mut Workspace) -> Planes {
        let [_, height, width] = x.shape();
        let mut out = workspace.uncleared([self.outputs, height, width], Layout::Rows);
        let stride = x.stride();
        let area = x.area();
        let centre = stride + 1;
        let taps: Vec<usize> = match self.kernel {
            1 => vec![centre],
            _ => (0..9).map(|t| t / 3 * stride + t % 3).collect(),
        };
        let span = height.saturating_sub(1) * stride + width;
        // Each thread takes some groups of outputs for one block of positions after the other.
        let share = self.weights.len().div_ceil(rayon::current_num_threads()).max(1);
        let shares = out.data_mut().par_chunks_mut(share * GROUP * area);
        shares.zip(self.weights.par_chunks(share)).zip(self.bias.par_chunks(share)).for_each(
            |((output, weights), bias)| {
                let task = Task { input: x.data(), area, taps: &taps, span, centre, weights, bias, output };
                Arch::new().dispatch(task);
            },
        );
        out.clear_borders();
        out
    }
}

/// Groups of output planes.
struct Task<'a> {
    input: &'a [f32],
    area: usize,
    taps: &'a [usize],
    span: usize,
    centre: usize,
    weights: &'a [Vec<[f32; GROUP]>],
    bias: &'a [[f32; GROUP]],
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
            let groups = self.output.chunks_mut(GROUP * self.area).zip(self.weights).zip(self.bias);
            for ((output, weights), bias) in groups {
                let mut sums = [[simd.splat_f32s(0.0); V]; GROUP];
                for (sum, &bias) in sums.iter_mut().zip(bias) {
                    *sum = [simd.splat_f32s(bias); V];
                }
                let planes = self.input.chunks_exact(self.area);
                for (plane, weights) in planes.zip(weights.chunks_exact(self.taps.len())) {
                    for (&tap, weights) in self.taps.iter().zip(weights) {
                        let x = &S::as_simd_f32s(&plane[at + tap..at + tap + tile]).0[..V];
                        for (sum, &weight) in sums.iter_mut().zip(weights) {
                            let weight = simd.splat_f32s(weight);
                            for (sum, &x) in sum.iter_mut().zip(x) {
                                *sum = simd.mul_add_e_f32s(weight, x, *sum);
                            }
                        }
                    }
                }
                let at = self.centre + at;
                for (plane, sum) in output.chunks_exact_mut(self.area).zip(&sums) {
                    S::as_mut_simd_f32s(&mut plane[at..at + tile]).0.copy_from_slice(sum);
                }
            }
        }
    }
}
