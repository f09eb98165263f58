//! Affine maps on tensors, by index formula: nothing here ever becomes a dense matrix that was not one.

use crate::maps::{Convolution, Dense, Gather, Pool, Sparse};
use crate::window::Window;
use std::collections::BTreeMap;

/// Maps of several entries a row whose paths are walked one by one.
const MOST_SPREADING: usize = 2;

/// `x -> A x + b` with `A` a product of [`LinearMap`]s, on tensors laid out flat, the last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Applied from first to last.
    maps: Vec<LinearMap>,
    /// One entry per output.
    bias: Vec<f64>,
    inputs: usize,
}

/// A linear map whose rows can be computed one by one.
#[derive(Clone, Debug, PartialEq)]
pub enum LinearMap {
    /// Cross-correlation of a `[channel][y][x]` tensor.
    Convolution(Convolution),
    /// A matrix.
    Dense(Dense),
    /// Element `i` times factor `i`.
    DiagonalScale(Vec<f64>),
    /// Elements picked, repeated or left out.
    Gather(Gather),
    /// Averages over windows of a `[channel][y][x]` tensor.
    Pool(Pool),
    /// A matrix of which only some entries are stored.
    Sparse(Sparse),
}

impl Linear {
    /// A map with a bias of zero.
    pub fn new(map: impl Into<LinearMap>) -> Self {
        let map = map.into();
        let bias = vec![0.0; map.outputs()];
        Self { inputs: map.inputs(), maps: vec![map], bias }
    }

    /// Element `i` times `factors[i]`.
    pub fn scale(factors: Vec<f64>) -> Self {
        Self::new(LinearMap::DiagonalScale(factors))
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
        let inputs = self.inputs;
        let mut maps = self.maps;
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
    pub fn maps(&self) -> &[LinearMap] {
        &self.maps
    }

    /// Whether each output comes from the input at its own place.
    pub fn is_elementwise(&self) -> bool {
        self.maps.iter().all(|map| matches!(map, LinearMap::DiagonalScale(_)))
    }

    /// The factor of each element, of a map that [`Linear::is_elementwise`].
    pub fn scale_factors(&self) -> Vec<f64> {
        let mut factors = vec![1.0; self.inputs];
        for map in &self.maps {
            if let LinearMap::DiagonalScale(scale) = map {
                factors.iter_mut().zip(scale).for_each(|(f, s)| *f *= s);
            }
        }
        factors
    }

    /// `A x + b`
    ///
    /// # Panics
    /// If `x` has not [`Linear::inputs`] elements.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.inputs, "elements of the operand");
        let mut y = self.maps.iter().fold(x.to_vec(), |x, map| map.apply(&x));
        y.iter_mut().zip(&self.bias).for_each(|(y, b)| *y += b);
        y
    }

    /// Calls `f(input, weight)` for every entry of row `output`; an input may come several times, its weights then
    /// add up.
    ///
    /// # Panics
    /// If `output` is not below [`Linear::outputs`].
    pub fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        fn descend(maps: &[LinearMap], output: usize, weight: f64, f: &mut dyn FnMut(usize, f64)) {
            match maps.split_last() {
                None => f(output, weight),
                Some((last, before)) => last.row(output, &mut |i, w| descend(before, i, weight * w, f)),
            }
        }
        if self.maps.iter().filter(|map| map.spreads()).count() <= MOST_SPREADING {
            return descend(&self.maps, output, 1.0, f);
        }
        // The number of paths through many maps is the product of their widths.
        let mut entries = BTreeMap::from([(output, 1.0)]);
        for map in self.maps.iter().rev() {
            let mut before = BTreeMap::new();
            for (&i, &weight) in &entries {
                map.row(i, &mut |j, w| *before.entry(j).or_insert(0.0) += weight * w);
            }
            entries = before;
        }
        entries.into_iter().for_each(|(input, weight)| f(input, weight));
    }
}

impl LinearMap {
    /// Elements of the input.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Convolution(c) => c.channels()[0] * c.window().input_area(),
            Self::Dense(dense) => dense.inputs(),
            Self::DiagonalScale(factors) => factors.len(),
            Self::Gather(gather) => gather.inputs(),
            Self::Pool(pool) => pool.channels() * pool.window().input_area(),
            Self::Sparse(sparse) => sparse.inputs(),
        }
    }

    /// Elements of the output.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Convolution(c) => c.channels()[1] * c.window().output_area(),
            Self::Dense(dense) => dense.outputs(),
            Self::DiagonalScale(factors) => factors.len(),
            Self::Gather(gather) => gather.sources().len(),
            Self::Pool(pool) => pool.channels() * pool.window().output_area(),
            Self::Sparse(sparse) => sparse.outputs(),
        }
    }

    /// Whether a row may have several entries.
    fn spreads(&self) -> bool {
        !matches!(self, Self::DiagonalScale(_) | Self::Gather(_))
    }

    /// Movement of the windows, for maps that keep a plane a plane.
    pub fn window(&self) -> Option<&Window> {
        match self {
            Self::Convolution(c) => Some(c.window()),
            Self::Pool(p) => Some(p.window()),
            Self::Dense(_) | Self::DiagonalScale(_) | Self::Gather(_) | Self::Sparse(_) => None,
        }
    }

    /// `x` has as many elements as the map has inputs.
    #[expect(
        clippy::indexing_slicing,
        reason = "rows read inputs below `inputs`, as the maps' constructors check"
    )]
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        match self {
            Self::Dense(dense) => return dense.apply(x),
            Self::Convolution(convolution) => return convolution.apply(x),
            _ => (),
        }
        let mut out = vec![0.0; self.outputs()];
        for (i, y) in out.iter_mut().enumerate() {
            self.row(i, &mut |j, w| *y += w * x[j]);
        }
        out
    }

    /// Calls `f(input, weight)` for every entry of row `output`, which is below `outputs`.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "a scale has one factor per output")]
    pub(crate) fn row(&self, output: usize, f: &mut dyn FnMut(usize, f64)) {
        match self {
            Self::Convolution(convolution) => convolution.row(output, f),
            Self::Dense(dense) => dense.row(output, f),
            Self::DiagonalScale(factors) => f(output, factors[output]),
            Self::Gather(gather) => gather.row(output, f),
            Self::Pool(pool) => pool.row(output, f),
            Self::Sparse(sparse) => sparse.row(output, f),
        }
    }
}

impl From<Convolution> for LinearMap {
    fn from(map: Convolution) -> Self {
        Self::Convolution(map)
    }
}

impl From<Dense> for LinearMap {
    fn from(map: Dense) -> Self {
        Self::Dense(map)
    }
}

impl From<Gather> for LinearMap {
    fn from(map: Gather) -> Self {
        Self::Gather(map)
    }
}

impl From<Pool> for LinearMap {
    fn from(map: Pool) -> Self {
        Self::Pool(map)
    }
}

impl From<Sparse> for LinearMap {
    fn from(map: Sparse) -> Self {
        Self::Sparse(map)
    }
}
