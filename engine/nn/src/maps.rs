//! Linear maps with a shape of their own, each checked when it is built.

use crate::shape_error::{ShapeError, at_least_one, elements};
use crate::window::{Window, WindowSpec};

/// A cross-correlation of `[channel][y][x]` tensors, without bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    channels: [usize; 2],
    groups: usize,
    window: Window,
    weights: Vec<f64>,
}

/// A matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    inputs: usize,
    weights: Vec<f64>,
}

/// Output `i` is input `sources[i]`, or zero: padding, transposing, slicing, repeating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    inputs: usize,
    sources: Vec<Option<u32>>,
}

/// Averages over windows of `[channel][y][x]` tensors, channel by channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    channels: usize,
    window: Window,
    count_padding: bool,
}

/// A matrix of which only some entries are stored, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    inputs: usize,
    starts: Vec<u32>,
    entries: Vec<(u32, f64)>,
}

impl Convolution {
    /// A convolution of `channels` (input, output), which are cut into `groups` that are convolved each by itself.
    /// `weights` are `[output channel][input channel of the group][y][x]`.
    ///
    /// # Errors
    /// [`ShapeError`] if there are no channels, the groups do not divide them, there are too few or too many weights,
    /// or a tensor is too large.
    pub fn new(
        channels: [usize; 2],
        groups: usize,
        window: Window,
        weights: Vec<f64>,
    ) -> Result<Self, ShapeError> {
        at_least_one("number of input channels", channels[0])?;
        at_least_one("number of output channels", channels[1])?;
        at_least_one("number of groups", groups)?;
        if channels.iter().any(|count| count % groups != 0) {
            return Err(ShapeError::Groups { groups, channels });
        }
        elements("input", &[channels[0], window.input_area()])?;
        elements("output", &[channels[1], window.output_area()])?;
        let depth = channels[0] / groups;
        let expected = elements("list of weights", &[channels[1], depth, window.kernel_area()])?;
        if weights.len() != expected {
            return Err(ShapeError::Weights { map: "convolution", expected, found: weights.len() });
        }
        Ok(Self { channels, groups, window, weights })
    }

    /// Input and output channels.
    pub fn channels(&self) -> [usize; 2] {
        self.channels
    }

    /// Number of groups into which the channels are cut.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Movement of the windows.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// `[output channel][input channel of the group][y][x]`
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// `copies` convolutions on tensors one after the other.
    pub(crate) fn repeated(&self, copies: usize) -> Result<Self, ShapeError> {
        let [inputs, outputs] = self.channels.map(|channels| channels.checked_mul(copies));
        let channels = inputs.zip(outputs).map(|(inputs, outputs)| [inputs, outputs]);
        let channels = channels.ok_or(ShapeError::TooLarge { what: "input" })?;
        elements("input", &[channels[0], self.window.input_area()])?;
        Self::new(channels, self.groups * copies, self.window, self.weights.repeat(copies))
    }

    /// The product with `x`. Each sum is taken in the order of [`Convolution::row`].
    pub(crate) fn apply(&self, x: &[f64]) -> Vec<f64> {
        let plane = self.window.output_area();
        let depth = self.channels[0] / self.groups;
        let each = self.channels[1] / self.groups;
        let taps = self.window.kernel_area();
        let mut out = vec![0.0; self.channels[1] * plane];
        let planes = out.chunks_exact_mut(plane).zip(self.weights.chunks_exact(depth * taps));
        for (channel, (y, kernels)) in planes.enumerate() {
            let inputs = x.chunks_exact(self.window.input_area()).skip(channel / each * depth);
            for (x, kernel) in inputs.zip(kernels.chunks_exact(taps)) {
                self.window.add_products(x, kernel, y);
            }
        }
        out
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "`new` checks that each output channel has its weights")]
    pub(crate) fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        let plane = self.window.output_area();
        let channel = output / plane;
        let position = output % plane;
        let depth = self.channels[0] / self.groups;
        let first = channel / (self.channels[1] / self.groups) * depth;
        let taps = self.window.kernel_area();
        let size = self.window.input_area();
        for i in 0..depth {
            let kernel = &self.weights[(channel * depth + i) * taps..][..taps];
            self.window.taps(position, |tap, at| f((first + i) * size + at, kernel[tap]));
        }
    }
}

impl Dense {
    /// The matrix `weights[row * inputs + column]`.
    ///
    /// # Errors
    /// [`ShapeError`] if there are no inputs, or the weights are none or not a whole number of rows.
    pub fn new(inputs: usize, weights: Vec<f64>) -> Result<Self, ShapeError> {
        at_least_one("number of inputs", inputs)?;
        at_least_one("number of weights", weights.len())?;
        elements("input", &[inputs])?;
        if !weights.len().is_multiple_of(inputs) {
            return Err(ShapeError::Rows { inputs, found: weights.len() });
        }
        Ok(Self { inputs, weights })
    }

    /// Columns.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows.
    pub fn outputs(&self) -> usize {
        self.weights.len() / self.inputs
    }

    /// The entries, row by row.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    pub(crate) fn apply(&self, x: &[f64]) -> Vec<f64> {
        let rows = self.weights.chunks(self.inputs);
        rows.map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "`new` checks that each row has its weights")]
    pub(crate) fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        let row = &self.weights[output * self.inputs..][..self.inputs];
        row.iter().enumerate().for_each(|(i, &weight)| f(i, weight));
    }
}

impl Gather {
    /// The map from `inputs` elements whose output `i` is input `sources[i]`, or zero.
    ///
    /// # Errors
    /// [`ShapeError::Source`] if a source is no input, [`ShapeError::TooLarge`] if there are too many elements.
    pub fn new(inputs: usize, sources: Vec<Option<u32>>) -> Result<Self, ShapeError> {
        elements("input", &[inputs])?;
        elements("output", &[sources.len()])?;
        check_sources(inputs, sources.iter().enumerate().filter_map(|(i, source)| Some((i, (*source)?))))?;
        Ok(Self { inputs, sources })
    }

    /// Elements of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The source of each output, or `None` for zero.
    pub fn sources(&self) -> &[Option<u32>] {
        &self.sources
    }

    /// `copies` maps on tensors one after the other.
    pub(crate) fn repeated(&self, copies: usize) -> Result<Self, ShapeError> {
        let inputs = elements("input", &[self.inputs, copies])?;
        elements("output", &[self.sources.len(), copies])?;
        let mut sources = Vec::with_capacity(self.sources.len() * copies);
        for copy in 0..copies {
            let offset = (copy * self.inputs) as u32;
            sources.extend(self.sources.iter().map(|source| source.map(|source| source + offset)));
        }
        Self::new(inputs, sources)
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "an output has a source by definition of `outputs`")]
    pub(crate) fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        if let Some(source) = self.sources[output] {
            f(source as usize, 1.0);
        }
    }
}

impl Pool {
    /// Averages of `channels`. With `count_padding`, taps beyond the input count as zeros; without, they do not count.
    ///
    /// # Errors
    /// [`ShapeError`] if there are no channels, or a tensor is too large.
    pub fn new(channels: usize, window: Window, count_padding: bool) -> Result<Self, ShapeError> {
        at_least_one("number of channels", channels)?;
        elements("input", &[channels, window.input_area()])?;
        elements("output", &[channels, window.output_area()])?;
        Ok(Self { channels, window, count_padding })
    }

    /// Channels of the input and of the output.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Movement of the windows.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Whether taps beyond the input count as zeros.
    pub fn count_padding(&self) -> bool {
        self.count_padding
    }

    /// `copies` pools on tensors one after the other.
    pub(crate) fn repeated(&self, copies: usize) -> Result<Self, ShapeError> {
        let channels = elements("input", &[self.channels, copies])?;
        Self::new(channels, self.window, self.count_padding)
    }

    /// Whether windows lie side by side without padding, of sizes that doubling reaches: then sums of rotations make
    /// the averages.
    pub(crate) fn is_tiling(&self) -> bool {
        let WindowSpec { input, output, kernel, stride, dilation, padding } = *self.window.spec();
        let doubles = kernel[0].is_power_of_two() && kernel[1].is_power_of_two();
        let fits = output[0] * stride[0] <= input[0] && output[1] * stride[1] <= input[1];
        kernel == stride && dilation == [1, 1] && padding == [0, 0] && doubles && fits
    }

    #[inline]
    pub(crate) fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        let plane = self.window.output_area();
        let channel = output / plane;
        let position = output % plane;
        let mut count = self.window.kernel_area();
        if !self.count_padding {
            count = 0;
            self.window.taps(position, |_, _| count += 1);
        }
        let first = channel * self.window.input_area();
        self.window.taps(position, |_, at| f(first + at, 1.0 / count as f64));
    }
}

impl Sparse {
    /// The matrix with `inputs` columns whose row `i` has the entries `starts[i] .. starts[i + 1]`, each a column and a
    /// factor. A column may occur several times in a row; its factors add up.
    ///
    /// # Errors
    /// [`ShapeError::Starts`] if the starts do not rise from zero to the number of entries, [`ShapeError::Source`] if
    /// an entry's column is no input, [`ShapeError::TooLarge`] if there are too many elements.
    pub fn new(inputs: usize, starts: Vec<u32>, entries: Vec<(u32, f64)>) -> Result<Self, ShapeError> {
        elements("input", &[inputs])?;
        elements("list of entries", &[entries.len()])?;
        let wrong = |row: usize| {
            Err(ShapeError::Starts { row, found: starts.get(row).copied(), entries: entries.len() })
        };
        if starts.first() != Some(&0) {
            return wrong(0);
        }
        if let Some(row) = starts.windows(2).position(|pair| matches!(pair, [a, b] if a > b)) {
            return wrong(row + 1);
        }
        if starts.last().map(|&last| last as usize) != Some(entries.len()) {
            return wrong(starts.len() - 1);
        }
        check_sources(inputs, entries.iter().enumerate().map(|(i, &(input, _))| (i, input)))?;
        Ok(Self { inputs, starts, entries })
    }

    /// Columns.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows.
    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "`new` checks that starts rise to the number of entries")]
    pub(crate) fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        let range = self.starts[output] as usize..self.starts[output + 1] as usize;
        self.entries[range].iter().for_each(|&(i, factor)| f(i as usize, factor));
    }
}

/// Refuses an entry `(position, input)` whose input does not exist.
fn check_sources(inputs: usize, mut entries: impl Iterator<Item = (usize, u32)>) -> Result<(), ShapeError> {
    match entries.find(|&(_, input)| input as usize >= inputs) {
        Some((entry, input)) => Err(ShapeError::Source { entry, input, inputs }),
        None => Ok(()),
    }
}
