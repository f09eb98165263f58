//! Tensors of the codec: planes of numbers with a border of zeros, row by row or in tiles.
//!
//! # Layouts
//! * [`Layout::Rows`]: each plane carries a border of one zero, and its rows are contiguous, so that a tap of a convolution is one
//!   offset for all positions.
//! * [`Layout::Tiles`]: a plane is 16 smaller ones, its phases. Phase `4 r + c` holds the numbers at row `r` and column `c` of all
//!   tiles of 4x4 numbers, and zeros for tiles above, below and beside the plane. Each of the 6x6 numbers around a tile is one
//!   offset for all tiles, so that vectors hold neighbouring tiles and nothing is shuffled.

#![expect(
    clippy::indexing_slicing,
    reason = "places follow from the planes' shape: one outside of them is a bug, and stops"
)]

use ndarray::{Array3, ArrayView3};

/// Side of a tile.
pub(crate) const TILE: usize = 4;
/// Phases of a plane in tiles.
pub(crate) const PHASES: usize = TILE * TILE;
/// Vectors may reach this far past the last position of a plane.
pub(crate) const SLACK: usize = 32;

/// Order of a plane's numbers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Rows,
    Tiles,
}

/// A tensor `[channels, height, width]` with a border of zeros around each plane, or around each phase of it.
pub(crate) struct Planes {
    channels: usize,
    height: usize,
    width: usize,
    layout: Layout,
    /// The planes, and what their memory has beyond them.
    memory: Vec<f32>,
}

/// Memory that one layer leaves to the next, and one image to the next: the system would take as long to give and clear it as the
/// layers take to compute.
#[derive(Default)]
pub(crate) struct Workspace {
    /// Data of planes that are not needed any more.
    spare: Vec<Vec<f32>>,
    /// Scratch memory of a layer, of any content.
    pub(crate) scratch: Vec<f32>,
}

impl Workspace {
    /// Planes of any content with borders of zeros. Heights and widths of tiles are multiples of [`TILE`].
    pub(crate) fn bordered(&mut self, shape: [usize; 3], layout: Layout) -> Planes {
        let mut planes = self.uncleared(shape, layout);
        planes.clear_borders();
        planes
    }

    /// Planes of any content, to be overwritten with their borders.
    pub(crate) fn uncleared(&mut self, [channels, height, width]: [usize; 3], layout: Layout) -> Planes {
        let mut planes = Planes { channels, height, width, layout, memory: Vec::new() };
        let length = planes.length();
        // The smallest that is long enough, or the longest.
        let spare = self.spare.iter().enumerate();
        let best = spare.min_by_key(|(_, memory)| (memory.len() < length, memory.len().abs_diff(length)));
        if let Some((at, _)) = best {
            planes.memory = self.spare.swap_remove(at);
        }
        if planes.memory.len() < length {
            planes.memory.resize(length, 0.0);
        }
        planes
    }

    /// Keeps the memory of planes for others.
    pub(crate) fn recycle(&mut self, planes: Planes) {
        self.spare.push(planes.memory);
    }
}

impl Planes {
    /// The planes of an array `[channels, height, width]`, in rows.
    pub(crate) fn from_array(values: ArrayView3<'_, f32>, workspace: &mut Workspace) -> Self {
        let mut planes = workspace.bordered(values.dim().into(), Layout::Rows);
        for (row, values) in planes.rows_mut().zip(values.rows()) {
            row.iter_mut().zip(values).for_each(|(to, x)| *to = *x);
        }
        planes
    }

    /// As an array `[channels, height, width]`, without the border.
    pub(crate) fn into_array(self, workspace: &mut Workspace) -> Array3<f32> {
        let rows = self.into_layout(Layout::Rows, workspace);
        let mut out = Array3::zeros(rows.shape());
        out.iter_mut().zip(rows.rows().flatten()).for_each(|(to, x)| *to = *x);
        workspace.recycle(rows);
        out
    }

    /// These numbers in a layout.
    pub(crate) fn into_layout(self, layout: Layout, workspace: &mut Workspace) -> Self {
        if self.layout == layout {
            return self;
        }
        let mut out = workspace.bordered(self.shape(), layout);
        let stride = self.width / TILE + 1;
        let phase = out.phase_area();
        let tiles = PHASES * phase;
        // Lines of phases that hold a row: beginnings in the phases of a channel.
        let begin =
            |y: usize, column: usize| (y % TILE * TILE + column) * phase + (y / TILE + 1) * stride + 1;
        for channel in 0..self.channels {
            for y in 0..self.height {
                for column in 0..TILE {
                    let at = channel * tiles + begin(y, column);
                    let row = channel * self.height + y;
                    match layout {
                        Layout::Tiles => {
                            let from = self.row(row);
                            out.memory[at..at + stride - 1]
                                .iter_mut()
                                .zip(from.iter().skip(column).step_by(TILE))
                                .for_each(|(to, x)| *to = *x);
                        }
                        Layout::Rows => {
                            let from = &self.memory[at..at + stride - 1];
                            out.row_mut(row)
                                .iter_mut()
                                .skip(column)
                                .step_by(TILE)
                                .zip(from)
                                .for_each(|(to, x)| *to = *x);
                        }
                    }
                }
            }
        }
        workspace.recycle(self);
        out
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// All planes with their borders, one after the other.
    pub(crate) fn data(&self) -> &[f32] {
        &self.memory[..self.length()]
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        let length = self.length();
        &mut self.memory[..length]
    }

    /// Clears the borders of all planes, or of all their phases.
    pub(crate) fn clear_borders(&mut self) {
        let stride = self.stride();
        let (length, lines) = match self.layout {
            Layout::Rows => (self.area(), self.height),
            Layout::Tiles => (self.phase_area(), self.height / TILE),
        };
        let right = if self.layout == Layout::Rows { self.width + 1 } else { 0 };
        for plane in self.data_mut().chunks_exact_mut(length) {
            for (number, line) in plane.chunks_mut(stride).enumerate() {
                if number == 0 || number > lines {
                    line.fill(0.0);
                } else if let Some(first) = line.first_mut() {
                    *first = 0.0;
                    line.iter_mut().skip(right).take(usize::from(right > 0)).for_each(|last| *last = 0.0);
                }
            }
        }
    }

    pub(crate) fn relu(mut self) -> Self {
        self.data_mut().iter_mut().for_each(|x| *x = x.max(0.0));
        self
    }

    /// The positive part.
    pub(crate) fn positive(&self, workspace: &mut Workspace) -> Self {
        let mut out = workspace.uncleared(self.shape(), self.layout);
        out.data_mut().iter_mut().zip(self.data()).for_each(|(y, x)| *y = x.max(0.0));
        out
    }

    pub(crate) fn add(mut self, other: &Self) -> Self {
        self.data_mut().iter_mut().zip(other.data()).for_each(|(x, y)| *x += y);
        self
    }

    /// `[c, h r, w r] -> [c r^2, h, w]` of planes in rows, channel `c r^2 + dy r + dx`.
    pub(crate) fn unshuffle(self, r: usize, workspace: &mut Workspace) -> Self {
        let shape = [self.channels * r * r, self.height / r, self.width / r];
        let mut out = workspace.bordered(shape, Layout::Rows);
        let height = self.height;
        let short = out.height;
        let source: Vec<&[f32]> = self.rows().collect();
        for (k, row) in out.rows_mut().enumerate() {
            let channel = k / short;
            let y = k % short;
            let c = channel / (r * r);
            let dy = channel / r % r;
            let dx = channel % r;
            let from = source[c * height + y * r + dy];
            row.iter_mut().zip(from.iter().skip(dx).step_by(r)).for_each(|(to, x)| *to = *x);
        }
        workspace.recycle(self);
        out
    }

    /// `[c r^2, h, w] -> [c, h r, w r]` of planes in rows, the inverse of [`unshuffle`](Self::unshuffle).
    pub(crate) fn shuffle(self, r: usize, workspace: &mut Workspace) -> Self {
        let shape = [self.channels / (r * r), self.height * r, self.width * r];
        let mut out = workspace.bordered(shape, Layout::Rows);
        let height = self.height;
        let tall = out.height;
        let source: Vec<&[f32]> = self.rows().collect();
        for (k, row) in out.rows_mut().enumerate() {
            let c = k / tall;
            let y = k % tall;
            for dx in 0..r {
                let channel = c * r * r + y % r * r + dx;
                let from = source[channel * height + y / r];
                row.iter_mut().skip(dx).step_by(r).zip(from).for_each(|(to, x)| *to = *x);
            }
        }
        workspace.recycle(self);
        out
    }

    /// Distance of a line of positions to the next, in rows or in a phase.
    pub(crate) fn stride(&self) -> usize {
        match self.layout {
            Layout::Rows => self.width + 2,
            // A zero at the end of a line is the one before the next.
            Layout::Tiles => self.width / TILE + 1,
        }
    }

    /// Numbers of a plane with its border.
    pub(crate) fn area(&self) -> usize {
        match self.layout {
            Layout::Rows => (self.height + 2) * self.stride() + SLACK,
            Layout::Tiles => PHASES * self.phase_area(),
        }
    }

    /// Numbers of a phase with its border.
    pub(crate) fn phase_area(&self) -> usize {
        (self.height / TILE + 2) * (self.width / TILE + 1) + 1 + SLACK
    }

    /// Numbers of all planes.
    fn length(&self) -> usize {
        self.channels * self.area()
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.channels * self.height).map(|row| self.row(row))
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let height = self.height;
        let width = self.width;
        let area = self.area();
        self.data_mut()
            .chunks_exact_mut(area)
            .flat_map(move |plane| plane.chunks_exact_mut(width + 2).skip(1).take(height))
            .map(move |row| &mut row[1..=width])
    }

    /// A row of all channels, of planes in rows.
    fn row(&self, row: usize) -> &[f32] {
        let at = self.row_start(row);
        &self.memory[at..at + self.width]
    }

    fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let at = self.row_start(row);
        &mut self.memory[at..at + self.width]
    }

    fn row_start(&self, row: usize) -> usize {
        let stride = self.width + 2;
        row / self.height * ((self.height + 2) * stride + SLACK) + (row % self.height + 1) * stride + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_hold_the_same_numbers() {
        let values = Array3::from_shape_fn([3, 8, 12], |(c, y, x)| (100 * c + 12 * y + x) as f32 + 1.0);
        let mut memory = Workspace::default();
        // Recycled memory is cleared.
        memory.spare.push(vec![f32::NAN; 10_000]);
        let rows = Planes::from_array(values.view(), &mut memory);
        let data = rows.data().to_vec();
        let tiles = rows.into_layout(Layout::Tiles, &mut memory);
        assert_eq!(tiles.data().iter().filter(|x| **x != 0.0).count(), values.len());
        assert_eq!(tiles.data().iter().sum::<f32>(), values.sum());
        // Row 1, column 2 of the tiles of the second channel.
        let line = tiles.area() + 6 * tiles.phase_area() + tiles.stride() + 1;
        assert_eq!(tiles.data()[line..line + 4], [115.0, 119.0, 123.0, 0.0]);
        let again = tiles.into_layout(Layout::Rows, &mut memory);
        assert_eq!(again.data(), data);
        let shuffled = again.unshuffle(2, &mut memory).shuffle(2, &mut memory);
        assert_eq!(shuffled.into_array(&mut memory), values);
        assert!(memory.spare.len() < 4, "memory is used again");
    }
}
