//! Affine maps on tensors, by index formula: nothing here ever becomes a dense matrix that was not one.

/// `x -> A x + b` with `A` a product of [`Map`]s, on tensors laid out flat, the last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Applied from first to last.
    maps: Vec<Map>,
    /// One entry per output.
    bias: Vec<f64>,
    inputs: usize,
}

/// A linear map whose rows can be told one by one.
#[derive(Clone, Debug, PartialEq)]
pub enum Map {
    /// Cross-correlation of a `[channel][y][x]` tensor.
    Convolution(Convolution),
    /// `weights[row * inputs + column]`
    Dense {
        /// Columns.
        inputs: usize,
        /// Row by row.
        weights: Vec<f64>,
    },
    /// Element `i` times `factors[i]`.
    Scale(Vec<f64>),
    /// Output `i` is input `sources[i]`, or zero: padding, transposing, slicing, repeating.
    Select {
        /// Elements of the input.
        inputs: usize,
        /// One per output.
        sources: Vec<Option<u32>>,
    },
    /// Averages over windows of a `[channel][y][x]` tensor.
    Pool(Pool),
    /// Output `i` is the sum of `factor` times input over entries `starts[i] .. starts[i+1]`.
    Sparse {
        /// Elements of the input.
        inputs: usize,
        /// One more than outputs.
        starts: Vec<u32>,
        /// (input, factor)
        entries: Vec<(u32, f64)>,
    },
}

/// How windows move over a plane: output `p` reads inputs `p stride + i dilation - padding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Distance of neighbouring windows.
    pub stride: [usize; 2],
    /// Distance of neighbouring taps.
    pub dilation: [usize; 2],
    /// Rows and columns of zeros before the first.
    pub padding: [usize; 2],
}

/// A convolution without bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Channels are cut into so many groups, each convolved by itself.
    pub groups: usize,
    /// How it moves.
    pub window: Window,
    /// `[output channel][input channel of the group][y][x]`
    pub weights: Vec<f64>,
}

/// An average over windows, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Channels.
    pub channels: usize,
    /// How it moves.
    pub window: Window,
    /// Whether padding counts as values.
    pub count_padding: bool,
}

impl Pool {
    /// Whether windows lie side by side without padding, of sizes that doubling reaches: then sums of rotations make the averages.
    pub(crate) fn is_tiling(&self) -> bool {
        let Window { input, output, kernel, stride, dilation, padding } = self.window;
        let fits = |axis: usize| {
            let of = |v: [usize; 2]| v.get(axis).copied().unwrap_or(0);
            of(kernel).is_power_of_two() && of(output) * of(stride) <= of(input)
        };
        kernel == stride && dilation == [1, 1] && padding == [0, 0] && fits(0) && fits(1)
    }
}

impl Linear {
    /// A map with a bias of zero.
    pub fn new(map: Map) -> Self {
        let bias = vec![0.0; map.outputs()];
        Self { inputs: map.inputs(), maps: vec![map], bias }
    }

    /// `x -> x` on `len` elements.
    pub fn identity(len: usize) -> Self {
        Self { maps: Vec::new(), bias: vec![0.0; len], inputs: len }
    }

    /// Adds to the bias.
    ///
    /// # Panics
    /// If there is not one entry per output.
    #[must_use]
    pub fn plus(mut self, bias: &[f64]) -> Self {
        assert_eq!(bias.len(), self.bias.len(), "one bias per output");
        self.bias.iter_mut().zip(bias).for_each(|(sum, b)| *sum += b);
        self
    }

    /// This map and then `next`.
    ///
    /// # Panics
    /// If their lengths do not fit.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        assert_eq!(self.outputs(), next.inputs, "maps of other lengths");
        let bias = next.apply(&self.bias);
        let (inputs, mut maps) = (self.inputs, self.maps);
        maps.extend(next.maps);
        Self { maps, bias, inputs }
    }

    /// Elements of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Elements of the output.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// The bias.
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// The maps, the first to be applied first.
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// Whether each output comes from the input at its own place.
    pub fn is_elementwise(&self) -> bool {
        self.maps.iter().all(|map| matches!(map, Map::Scale(_)))
    }

    /// The factor of each element, of a map that [`Linear::is_elementwise`].
    pub fn scale_factors(&self) -> Vec<f64> {
        let mut factors = vec![1.0; self.inputs];
        for map in &self.maps {
            if let Map::Scale(scale) = map {
                factors.iter_mut().zip(scale).for_each(|(f, s)| *f *= s);
            }
        }
        factors
    }

    /// `A x + b`
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut y = self.maps.iter().fold(x.to_vec(), |x, map| map.apply(&x));
        y.iter_mut().zip(&self.bias).for_each(|(y, b)| *y += b);
        y
    }

    /// Calls `f(input, weight)` for every entry of row `output`; an input may come several times, its weights then add up.
    pub fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        fn descend(maps: &[Map], output: usize, weight: f64, f: &mut dyn FnMut(usize, f64)) {
            match maps.split_last() {
                None => f(output, weight),
                Some((last, before)) => last.row(output, &mut |i, w| descend(before, i, weight * w, f)),
            }
        }
        descend(&self.maps, output, 1.0, f);
    }
}

impl Map {
    /// Elements of the input.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Convolution(c) => c.channels[0] * area(c.window.input),
            Self::Dense { inputs, .. } | Self::Select { inputs, .. } | Self::Sparse { inputs, .. } => *inputs,
            Self::Scale(factors) => factors.len(),
            Self::Pool(p) => p.channels * area(p.window.input),
        }
    }

    /// Elements of the output.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Convolution(c) => c.channels[1] * area(c.window.output),
            Self::Dense { inputs, weights } => weights.len() / (*inputs).max(1),
            Self::Scale(factors) => factors.len(),
            Self::Select { sources, .. } => sources.len(),
            Self::Pool(p) => p.channels * area(p.window.output),
            Self::Sparse { starts, .. } => starts.len().saturating_sub(1),
        }
    }

    /// How windows move, for maps that keep a plane a plane.
    pub fn window(&self) -> Option<&Window> {
        match self {
            Self::Convolution(c) => Some(&c.window),
            Self::Pool(p) => Some(&p.window),
            _ => None,
        }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        if let Self::Dense { inputs, weights } = self {
            return weights.chunks(*inputs).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
        }
        let mut out = vec![0.0; self.outputs()];
        for (i, y) in out.iter_mut().enumerate() {
            self.row(i, &mut |j, w| *y += w * x.get(j).copied().unwrap_or(0.0));
        }
        out
    }

    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "rows lie within the shapes, which whoever builds a map vouches for"
    )]
    pub(crate) fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        match self {
            Self::Convolution(c) => {
                let plane = area(c.window.output);
                let (channel, position) = (output / plane, output % plane);
                let depth = c.channels[0] / c.groups;
                let first = channel / (c.channels[1] / c.groups) * depth;
                let (taps, size) = (area(c.window.kernel), area(c.window.input));
                for i in 0..depth {
                    let kernel = &c.weights[(channel * depth + i) * taps..][..taps];
                    c.window.taps(position, |tap, at| f((first + i) * size + at, kernel[tap]));
                }
            }
            Self::Dense { inputs, weights } => {
                weights[output * inputs..][..*inputs].iter().enumerate().for_each(|(i, &w)| f(i, w));
            }
            Self::Scale(factors) => f(output, factors[output]),
            Self::Select { sources, .. } => {
                if let Some(source) = sources[output] {
                    f(source as usize, 1.0);
                }
            }
            Self::Pool(p) => {
                let plane = area(p.window.output);
                let (channel, position) = (output / plane, output % plane);
                let mut count = area(p.window.kernel);
                if !p.count_padding {
                    count = 0;
                    p.window.taps(position, |_, _| count += 1);
                }
                let first = channel * area(p.window.input);
                p.window.taps(position, |_, at| f(first + at, 1.0 / count as f64));
            }
            Self::Sparse { starts, entries, .. } => {
                let range = starts[output] as usize..starts[output + 1] as usize;
                entries[range].iter().for_each(|&(i, w)| f(i as usize, w));
            }
        }
    }
}

impl Window {
    /// Calls `f(tap, input position)` for every tap of the window at `position` that lies on the input.
    #[inline]
    fn taps(&self, position: usize, mut f: impl FnMut(usize, usize)) {
        let [height, width] = self.input;
        let at = [position / self.output[1] * self.stride[0], position % self.output[1] * self.stride[1]];
        for i in 0..self.kernel[0] {
            let y = (at[0] + i * self.dilation[0]).wrapping_sub(self.padding[0]);
            if y >= height {
                continue;
            }
            for j in 0..self.kernel[1] {
                let x = (at[1] + j * self.dilation[1]).wrapping_sub(self.padding[1]);
                if x < width {
                    f(i * self.kernel[1] + j, y * width + x);
                }
            }
        }
    }
}

fn area([height, width]: [usize; 2]) -> usize {
    height * width
}
