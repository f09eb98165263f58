//! Convolutions of 3x3 by Winograd's F(4x4, 3x3): 36 products for 16 results instead of 144.
//!
//! # Mathematics
//! `Y = A^T [(G g G^T) * (B^T d B)] A`, with `d` the 6x6 inputs around a tile of 4x4 results, `g` the 3x3 weights, `*` the product
//! of corresponding elements, and the matrices of Lavin and Gray ("Fast algorithms for convolutional neural networks", 2016) for the
//! points 0, 1, -1, 2, -2 and infinity. Weights are transformed once, in double precision. Inputs are transformed once for all
//! outputs; the sum over input channels is taken between the transforms, so that it costs a quarter of the products.
//!
//! Vectors hold neighbouring tiles ([`Layout::Tiles`]); between the transforms, all tiles of a plane lie side by side, without the
//! borders of its lines. One thread transforms a block of tiles and uses it at once. Sums over channels and transforms are taken in one order for each tile,
//! whatever the vector width and the number of threads. Results differ from the direct sum by roundings: some 5e-6 of the largest
//! result (tested).

#![expect(
    clippy::indexing_slicing,
    reason = "places follow from the planes' shape: one outside of them is a bug, and stops"
)]

use crate::groups::{GROUP, interleaved};
use crate::planes::{Layout, PHASES, Planes, SLACK, TILE, Workspace};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Inputs around a tile, in each direction.
const REACH: usize = TILE + 2;
/// Products for a tile.
const POINTS: usize = REACH * REACH;
/// Tiles whose transforms lie together: few enough that those of all channels stay in the core's own cache.
const BLOCK: usize = 32;
/// Tiles of the last block are a multiple of this.
const LAST: usize = 16;

/// A convolution with a kernel of 3x3 and padding 1, of planes in tiles.
pub(crate) struct Winograd {
    inputs: usize,
    outputs: usize,
    /// `[group][point][input]`, each with the transformed weights of the group's eight outputs.
    weights: Vec<Vec<[f32; GROUP]>>,
    bias: Vec<[f32; GROUP]>,
}

impl Winograd {
    /// From `weights[output][input][3][3]` and one bias per output.
    pub(crate) fn new(weights: &[f32], bias: &[f32]) -> Self {
        let outputs = bias.len();
        let each = weights.len() / outputs.max(1);
        let groups = weights.chunks(GROUP * each).map(|group| {
            // `[output][point][input]`
            let transformed: Vec<f32> = group.chunks_exact(each).flat_map(points).collect();
            interleaved(&transformed, POINTS * each / 9)
        });
        let weights = groups.collect();
        let bias = bias.chunks(GROUP).flat_map(|b| interleaved(b, 1)).collect();
        Self { inputs: each / 9, outputs, weights, bias }
    }

    /// The convolution of `x`, in tiles, or of its positive part if `relu`; plus `added`, planes of the shape of the result.
    pub(crate) fn apply(
        &self,
        x: &Planes,
        relu: bool,
        added: Option<&Planes>,
        workspace: &mut Workspace,
    ) -> Planes {
        let [_, height, width] = x.shape();
        let mut out = workspace.uncleared([self.outputs, height, width], Layout::Tiles);
        let grid = Grid {
            stride: x.stride(),
            phase: x.phase_area(),
            wide: width / TILE,
            tiles: width / TILE * (height / TILE),
        };
        let area = x.area();
        let each = POINTS * self.inputs;
        let tiles = grid.tiles.next_multiple_of(LAST);
        let alone = rayon::current_num_threads() == 1;
        let needed = if alone { tiles.min(BLOCK) } else { tiles } * each;
        let scratch = &mut workspace.scratch;
        if scratch.len() < needed {
            scratch.resize(needed, 0.0);
        }
        let transformed = &mut scratch[..needed];
        let added = added.map(Planes::data);
        if alone {
            for at in (0..tiles).step_by(BLOCK) {
                let length = (tiles - at).min(BLOCK) * each;
                let block = &mut transformed[..length];
                self.transform(x, relu, grid, at, block);
                self.multiply(block, grid, at, 0, added, out.data_mut());
            }
        } else {
            transformed
                .par_chunks_mut(BLOCK * each)
                .enumerate()
                .for_each(|(block, output)| self.transform(x, relu, grid, block * BLOCK, output));
            let transformed = &*transformed;
            // Each thread takes some groups of outputs for one block after the other.
            let share = self.weights.len().div_ceil(rayon::current_num_threads()).max(1);
            let shares = out.data_mut().par_chunks_mut(share * GROUP * area).enumerate();
            shares.for_each(|(thread, output)| {
                for (block, inputs) in transformed.chunks(BLOCK * each).enumerate() {
                    self.multiply(inputs, grid, block * BLOCK, thread * share, added, output);
                }
            });
        }
        out.clear_borders();
        out
    }

    /// The transform of a block of tiles from `at` on, `[point][input][tile]`.
    fn transform(&self, x: &Planes, relu: bool, grid: Grid, at: usize, output: &mut [f32]) {
        let tiles = output.len() / (POINTS * self.inputs);
        Arch::new().dispatch(Inputs { input: x.data(), area: x.area(), grid, at, tiles, relu, output });
    }

    /// Results of transformed tiles from `at` on, of the groups of outputs from `first` on whose planes are `output`.
    fn multiply(
        &self,
        inputs: &[f32],
        grid: Grid,
        at: usize,
        first: usize,
        added: Option<&[f32]>,
        output: &mut [f32],
    ) {
        let tiles = inputs.len() / (POINTS * self.inputs);
        let weights = &self.weights[first..];
        let bias = &self.bias[first..];
        let added = added.map(|added| &added[first * GROUP * PHASES * grid.phase..]);
        Arch::new().dispatch(Outputs { inputs, tiles, weights, bias, grid, at, added, output });
    }
}

/// Places of the tiles of a plane: tile `t` is number `t % wide` of line `t / wide`.
#[derive(Clone, Copy)]
struct Grid {
    /// Distance of a line to the next, in a phase.
    stride: usize,
    /// Numbers of a phase.
    phase: usize,
    /// Tiles of a line.
    wide: usize,
    /// Tiles of a plane.
    tiles: usize,
}

impl Grid {
    /// Position of a tile in a phase.
    #[inline(always)]
    fn place(self, tile: usize) -> usize {
        (tile / self.wide + 1) * self.stride + 1 + tile % self.wide
    }

    /// Tiles from `tile` to the end of its line, or to `end`.
    #[inline(always)]
    fn run(self, tile: usize, end: usize) -> usize {
        (self.wide - tile % self.wide).min(end - tile)
    }

    /// Runs of a vector of `lanes` tiles from `tile` on, none of which is `end` or after it; returns their number.
    #[inline(always)]
    fn runs(self, tile: usize, lanes: usize, end: usize, runs: &mut [Run; SLACK]) -> usize {
        let end = end.min(tile + lanes);
        let mut next = tile;
        let mut count = 0;
        for run in runs {
            if next >= end {
                break;
            }
            *run = Run { lane: next - tile, place: self.place(next), length: self.run(next, end) };
            next += run.length;
            count += 1;
        }
        count
    }
}

/// `[point][input]` of the weights `[input][3][3]` of an output: `G g G^T`.
fn points(weights: &[f32]) -> Vec<f32> {
    const G: [[f64; 3]; REACH] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let (kernels, _) = weights.as_chunks::<9>();
    let mut out = vec![0.0; POINTS * kernels.len()];
    for (input, kernel) in kernels.iter().enumerate() {
        let (lines, _) = kernel.as_chunks::<3>();
        // `g G^T`
        let lines: Vec<[f64; REACH]> = lines
            .iter()
            .map(|line| G.map(|column| line.iter().zip(column).map(|(w, g)| f64::from(*w) * g).sum()))
            .collect();
        let places = out.iter_mut().skip(input).step_by(kernels.len());
        let at = G.iter().flat_map(|row| (0..REACH).map(move |column| (row, column)));
        for (place, (row, column)) in places.zip(at) {
            *place = lines.iter().zip(row).map(|(line, g)| g * line[column]).sum::<f64>() as f32;
        }
    }
    out
}

/// The transform of a block of tiles of all input channels.
struct Inputs<'a> {
    input: &'a [f32],
    /// Numbers of a channel.
    area: usize,
    grid: Grid,
    /// First tile.
    at: usize,
    tiles: usize,
    relu: bool,
    /// `[point][input][tile]`
    output: &'a mut [f32],
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    /// No closures in here: they would be compiled without the instruction set.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.input.len() / self.area.max(1);
        let zero = simd.splat_f32s(0.0);
        let Grid { stride, phase, .. } = self.grid;
        let end = self.grid.tiles.min(self.at + self.tiles);
        for (channel, plane) in self.input.chunks_exact(self.area).enumerate() {
            let mut tile = self.at;
            while tile < end {
                // A vector may reach beyond its line, whose next one overwrites the rest.
                let run = self.grid.run(tile, end).min(S::F32_LANES);
                let place = self.grid.place(tile) - stride - 1;
                // `B^T d`, column by column.
                let mut half = [[zero; REACH]; REACH];
                for column in 0..REACH {
                    let mut d = [zero; REACH];
                    for (row, d) in d.iter_mut().enumerate() {
                        let at = place + around(row, column, phase, stride);
                        let x = S::as_simd_f32s(&plane[at..at + S::F32_LANES]).0[0];
                        *d = if self.relu { simd.max_f32s(x, zero) } else { x };
                    }
                    for (half, x) in half.iter_mut().zip(&input_transform(simd, d)) {
                        half[column] = *x;
                    }
                }
                let first = tile - self.at;
                for (row, half) in half.iter().enumerate() {
                    for (column, &x) in input_transform(simd, *half).iter().enumerate() {
                        let at = ((row * REACH + column) * channels + channel) * self.tiles;
                        let length = S::F32_LANES.min(self.tiles - first);
                        let to = &mut self.output[at + first..at + first + length];
                        match S::as_mut_simd_f32s(to).0 {
                            [to] => *to = x,
                            _ => simd.partial_store_f32s(to, x),
                        }
                    }
                }
                tile += run;
            }
        }
    }
}

/// Distance from a tile's position to the number at a row and column of those around it.
#[inline(always)]
fn around(row: usize, column: usize, phase: usize, stride: usize) -> usize {
    // Row 0 is the last of the tile above, row 5 the first of the tile below.
    let line = row.div_ceil(TILE);
    let place = column.div_ceil(TILE);
    ((row + TILE - 1) % TILE * TILE + (column + TILE - 1) % TILE) * phase + line * stride + place
}

/// `B^T d`
#[inline(always)]
fn input_transform<S: Simd>(simd: S, d: [S::f32s; REACH]) -> [S::f32s; REACH] {
    let [d0, d1, d2, d3, d4, d5] = d;
    let four = simd.splat_f32s(4.0);
    let minus_four = simd.splat_f32s(-4.0);
    let minus_five = simd.splat_f32s(-5.0);
    let a = simd.mul_add_e_f32s(minus_four, d2, d4);
    let b = simd.mul_add_e_f32s(minus_four, d1, d3);
    let c = simd.sub_f32s(d4, d2);
    let e = simd.sub_f32s(d3, d1);
    let e = simd.add_f32s(e, e);
    [
        simd.mul_add_e_f32s(four, d0, simd.mul_add_e_f32s(minus_five, d2, d4)),
        simd.add_f32s(a, b),
        simd.sub_f32s(a, b),
        simd.add_f32s(c, e),
        simd.sub_f32s(c, e),
        simd.mul_add_e_f32s(four, d1, simd.mul_add_e_f32s(minus_five, d3, d5)),
    ]
}

/// Sums over input channels for groups of outputs and a block of tiles, and the transform of the sums.
struct Outputs<'a> {
    /// `[point][input][tile]`
    inputs: &'a [f32],
    tiles: usize,
    /// `[group][point][input]`
    weights: &'a [Vec<[f32; GROUP]>],
    bias: &'a [[f32; GROUP]],
    grid: Grid,
    /// First tile.
    at: usize,
    /// Planes that are added to the results.
    added: Option<&'a [f32]>,
    /// Planes of the groups.
    output: &'a mut [f32],
}

/// Neighbouring tiles of a line among those of a vector.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Lane of the first one.
    lane: usize,
    /// Position of the first one in a phase.
    place: usize,
    length: usize,
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 && 2 * S::F32_LANES <= self.tiles {
            self.run::<S, 2>(simd);
        } else {
            self.run::<S, 1>(simd);
        }
    }
}

impl Outputs<'_> {
    /// No closures in here: they would be compiled without the instruction set.
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let width = V * S::F32_LANES;
        const { assert!(V * S::F32_LANES <= SLACK) }
        let zero = simd.splat_f32s(0.0);
        let channels = self.inputs.len() / (POINTS * self.tiles);
        let area = PHASES * self.grid.phase;
        let end = self.grid.tiles.min(self.at + self.tiles);
        let mut products = [[[zero; V]; GROUP]; POINTS];
        let groups = self.output.chunks_mut(GROUP * area).zip(self.weights).zip(self.bias).enumerate();
        for (group, ((output, weights), bias)) in groups {
            for first in (0..self.tiles).step_by(width) {
                let points = self.inputs.chunks_exact(channels * self.tiles);
                let weights = weights.chunks_exact(channels);
                for ((sums, inputs), weights) in products.iter_mut().zip(points).zip(weights) {
                    let mut totals = [[zero; V]; GROUP];
                    for (tiles, weights) in inputs.chunks_exact(self.tiles).zip(weights) {
                        let x = &S::as_simd_f32s(&tiles[first..first + width]).0[..V];
                        for (total, &weight) in totals.iter_mut().zip(weights) {
                            let weight = simd.splat_f32s(weight);
                            for (total, &x) in total.iter_mut().zip(x) {
                                *total = simd.mul_add_e_f32s(weight, x, *total);
                            }
                        }
                    }
                    for (sum, total) in sums.iter_mut().zip(totals) {
                        *sum = total;
                    }
                }
                for v in 0..V {
                    let mut runs = [Run::default(); SLACK];
                    let count =
                        self.grid.runs(self.at + first + v * S::F32_LANES, S::F32_LANES, end, &mut runs);
                    let runs = &runs[..count];
                    for (lane, (plane, &bias)) in output.chunks_exact_mut(area).zip(bias).enumerate() {
                        let bias = simd.splat_f32s(bias);
                        let from = (group * GROUP + lane) * area;
                        let added = self.added.map(|added| &added[from..from + area]);
                        store_tiles(simd, &products, [lane, v], bias, plane, added, runs);
                    }
                }
            }
        }
    }
}

/// Writes `A^T m A` plus a bias, and plus what is added, to the 16 phases of a plane, with `m` the products of a lane and vector.
#[inline(always)]
fn store_tiles<S: Simd, const V: usize>(
    simd: S,
    products: &[[[S::f32s; V]; GROUP]; POINTS],
    [lane, v]: [usize; 2],
    bias: S::f32s,
    plane: &mut [f32],
    added: Option<&[f32]>,
    runs: &[Run],
) {
    // `m A`, row by row: `[column][row]`.
    let mut half = [[bias; REACH]; TILE];
    for (row, products) in products.as_chunks::<REACH>().0.iter().enumerate() {
        let mut m = [bias; REACH];
        for (m, products) in m.iter_mut().zip(products) {
            *m = products[lane][v];
        }
        for (half, y) in half.iter_mut().zip(&output_transform(simd, m)) {
            half[row] = *y;
        }
    }
    let phase = plane.len() / PHASES;
    for (column, half) in half.iter().enumerate() {
        for (row, &y) in output_transform(simd, *half).iter().enumerate() {
            let from = (row * TILE + column) * phase;
            store_runs(simd, simd.add_f32s(y, bias), plane, added, from, runs);
        }
    }
}

/// Writes a vector of tiles to the phase that begins at `from`, plus what is added there.
#[inline(always)]
fn store_runs<S: Simd>(
    simd: S,
    y: S::f32s,
    plane: &mut [f32],
    added: Option<&[f32]>,
    from: usize,
    runs: &[Run],
) {
    let [first, rest @ ..] = runs else { return };
    // The vector may reach beyond its line: what follows is overwritten by the next lines, or cleared as a border.
    let at = from + first.place;
    let to = &mut S::as_mut_simd_f32s(&mut plane[at..at + S::F32_LANES]).0[0];
    *to = match added {
        Some(added) => simd.add_f32s(y, S::as_simd_f32s(&added[at..at + S::F32_LANES]).0[0]),
        None => y,
    };
    if rest.is_empty() {
        return;
    }
    let mut lanes = [0.0_f32; SLACK];
    S::as_mut_simd_f32s(&mut lanes).0[0] = y;
    for run in rest {
        let at = from + run.place;
        let to = &mut plane[at..at + run.length];
        let from = &lanes[run.lane..run.lane + run.length];
        match added {
            Some(added) => {
                let added = &added[at..at + run.length];
                to.iter_mut().zip(from).zip(added).for_each(|((to, y), x)| *to = y + x);
            }
            None => to.copy_from_slice(from),
        }
    }
}

/// `A^T m`
#[inline(always)]
fn output_transform<S: Simd>(simd: S, m: [S::f32s; REACH]) -> [S::f32s; TILE] {
    let [m0, m1, m2, m3, m4, m5] = m;
    let near = simd.add_f32s(m1, m2);
    let near_odd = simd.sub_f32s(m1, m2);
    let far = simd.add_f32s(m3, m4);
    let far_odd = simd.sub_f32s(m3, m4);
    let two = simd.splat_f32s(2.0);
    let four = simd.splat_f32s(4.0);
    let eight = simd.splat_f32s(8.0);
    [
        simd.add_f32s(m0, simd.add_f32s(near, far)),
        simd.mul_add_e_f32s(two, far_odd, near_odd),
        simd.mul_add_e_f32s(four, far, near),
        simd.add_f32s(simd.mul_add_e_f32s(eight, far_odd, near_odd), m5),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::direct::Direct;
    use ndarray::Array3;

    /// Numbers from -1 to 1.
    fn random(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let numbers = (0..count).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        });
        numbers.collect()
    }

    #[test]
    fn results_are_those_of_the_direct_product() {
        for [inputs, outputs, height, width] in
            [[1, 1, 4, 4], [16, 64, 64, 64], [5, 12, 8, 20], [64, 4, 32, 32], [128, 128, 16, 16]]
        {
            let weights = random(outputs * inputs * 9, 1);
            let bias = random(outputs, 2);
            let values = random(inputs * height * width, 3);
            let values = Array3::from_shape_vec([inputs, height, width], values).unwrap();
            let winograd = Winograd::new(&weights, &bias);
            let direct = Direct::new(3, &weights, &bias);
            // Memory that another layer used.
            let mut memory = Workspace::default();
            memory.scratch = vec![f32::NAN; 1000];
            memory.recycle(Planes::from_array(
                Array3::from_elem([9, 64, 64], f32::NAN).view(),
                &mut Workspace::default(),
            ));
            for relu in [false, true] {
                let x = Planes::from_array(values.view(), &mut memory);
                let x = if relu { x.relu() } else { x };
                let expected = direct.apply(&x, &mut memory).into_array(&mut memory);
                let x = Planes::from_array(values.view(), &mut memory);
                let x = x.into_layout(Layout::Tiles, &mut memory);
                let result = winograd.apply(&x, relu, None, &mut memory);
                // Zeros around the phases are what the next layer reads.
                let data = result.data().to_vec();
                let rows = result.into_layout(Layout::Rows, &mut memory);
                let tiles = rows.into_layout(Layout::Tiles, &mut memory);
                assert_eq!(tiles.data(), data);
                let found = tiles.into_array(&mut memory);
                let largest = expected.iter().fold(0.0_f32, |most, y| most.max(y.abs()));
                let error = (&found - &expected).iter().fold(0.0_f32, |most, e| most.max(e.abs()));
                assert!(error < 1e-5 * largest, "{inputs} {outputs} {height}x{width}: {error} of {largest}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let winograd = Winograd::new(&random(40 * 7 * 9, 1), &random(40, 2));
        let values = Array3::from_shape_vec([7, 32, 32], random(7 * 32 * 32, 3)).unwrap();
        let memory = &mut Workspace::default();
        let x = Planes::from_array(values.view(), memory).into_layout(Layout::Tiles, memory);
        let added = Array3::from_shape_vec([40, 32, 32], random(40 * 32 * 32, 4)).unwrap();
        let added = Planes::from_array(added.view(), memory).into_layout(Layout::Tiles, memory);
        let results = [1, 2, 3, 7].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut memory = Workspace::default();
            pool.install(|| winograd.apply(&x, false, Some(&added), &mut memory).into_array(&mut memory))
        });
        assert!(results.iter().all(|result| *result == results[0]));
        let sum = winograd.apply(&x, false, None, memory).add(&added).into_array(memory);
        assert!(sum == results[0]);
    }
}
