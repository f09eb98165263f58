//! Both attacks. Neither guesses anything: the figure of `1/b!` says how likely a guess is, and nobody has to guess.

use super::layer::length;
use super::{AugConv, FirstLayer, LayerShape, MoleError};
use crate::dense;
use crate::real::Real;
use ndarray::{Array2, s};

/// Positions of the filters that the row space is taken from: enough to average the noise of rounding away.
const POSITIONS: usize = 64;
/// Singular values below this share of the largest count as none.
const RANK_TOLERANCE: f64 = 1e-6;
/// How far apart in the order of their scores two channels may lie that are tried in each other's place.
const NEIGHBOURS: usize = 4;

/// **The developer's attack**: from the published first layer and the augmented convolution to the provider's images.
///
/// The `b` columns of `C_ac` that belong to one position are `M^-1 E W P`: `E` picks the rows of the `a p^2` taps, `W` has the filters as
/// columns, `P` is the shuffle. So the row space is that of `W P`, whatever `M` is. The diagonal of the projector onto a row space
/// (the *leverage scores* of the channels) is permuted with the channels and otherwise unchanged: sorted, the scores of `W` and of
/// `C_ac` are the same numbers, and matching them gives `P`. Then `M^-1 E = C_ac P^T W^+`, one pseudo-inverse of `b x a p^2`, and
/// every column of `M^-1` comes out, once for each tap that meets it.
pub struct Developer {
    shape: LayerShape,
    blocks: usize,
    order: Vec<usize>,
    mismatch: f64,
    inverse: Array2<f64>,
}

impl Developer {
    /// Runs it.
    ///
    /// # Errors
    /// [`MoleError::Rank`] if there are no more filters than taps, so that all scores are one: then the shuffle is safe from this.
    #[expect(clippy::indexing_slicing, reason = "places are within the sizes of the matrices")]
    pub fn attack<T: Real>(layer: &FirstLayer, augmented: &AugConv<T>) -> Result<Self, MoleError> {
        let shape = *layer.shape();
        if shape != *augmented.shape() {
            return Err(MoleError::OtherLayer);
        }
        let weights = Array2::from_shape_fn((shape.filters, shape.taps()), |(k, tap)| layer.filter(k)[tap]);
        let (values, vectors) = eigen(&dense::product(&weights.view(), &weights.t()))?;
        let rank = rank(&values);
        if rank >= shape.filters || rank < shape.taps() {
            return Err(MoleError::Rank { filters: shape.filters, taps: shape.taps(), rank });
        }
        let known = projector(&vectors, rank);
        let seen = projector(&eigen(&row_space(augmented))?.1, rank);
        let (order, mismatch) = matched(&known, &seen);
        let inverse = inverse(&weights, &order, augmented)?;
        Ok(Self { shape, blocks: augmented.blocks(), order, mismatch, inverse })
    }

    /// The recovered shuffle: which filter comes out in which place.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// How far the projectors are apart once matched, as a share of their size: near zero if the shuffle is right.
    pub fn mismatch(&self) -> f64 {
        self.mismatch
    }

    /// Recovers images `[channel][y][x]` from morphed ones; several follow one another.
    ///
    /// # Errors
    /// [`MoleError::Length`] if there is no whole number of images.
    pub fn recover<T: Real>(&self, morphed: &[T]) -> Result<Vec<f64>, MoleError> {
        let blocks = blocks_of(&self.shape, self.blocks, morphed)?;
        let (padded, _) = dense::product(&blocks.view(), &self.inverse.view()).into_raw_vec_and_offset();
        Ok(padded.chunks_exact(self.shape.rows()).flat_map(|padded| self.shape.unpad(padded)).collect())
    }
}

/// **The known-plaintext attack**: from pairs of blocks, plain and morphed, to every further image. It needs neither the layer nor `C_ac`.
///
/// `t = x M'` is linear, so as many independent pairs as a block has numbers that vary determine `M'`; with `blocks` repeated cores
/// one image is `blocks` pairs.
pub struct KnownPlaintext {
    shape: LayerShape,
    blocks: usize,
    /// Rows within a block that vary, and the rows of `M'` they stand for.
    support: Vec<usize>,
    core: Array2<f64>,
}

impl KnownPlaintext {
    /// Solves for the core from images and their morphed forms; several follow one another.
    ///
    /// # Errors
    /// [`MoleError::NotEnough`] if there are too few pairs, and [`MoleError::Dependent`] if too few of them are independent.
    #[expect(clippy::indexing_slicing, reason = "places are within the sizes of the matrices")]
    pub fn attack<T: Real>(
        shape: &LayerShape,
        blocks: usize,
        images: &[T],
        morphed: &[T],
    ) -> Result<Self, MoleError> {
        let shape = shape.checked()?;
        let rows = shape.rows();
        if blocks == 0 || !rows.is_multiple_of(blocks) {
            return Err(MoleError::Blocks { blocks, rows });
        }
        length("images", images, images.len().next_multiple_of(shape.inputs()))?;
        length("morphed images", morphed, images.len() / shape.inputs() * rows)?;
        let q = rows / blocks;
        let padded: Vec<f64> =
            images.chunks_exact(shape.inputs()).flat_map(|image| shape.pad(image)).map(T::to_f64).collect();
        let morphed: Vec<f64> = morphed.iter().map(|x| x.to_f64()).collect();
        // Blocks of padding alone carry no information.
        let telling =
            padded.chunks_exact(q).zip(morphed.chunks_exact(q)).filter(|(x, _)| x.iter().any(|&x| x != 0.0));
        let (known, seen): (Vec<&[f64]>, Vec<&[f64]>) = telling.unzip();
        let support: Vec<usize> =
            (0..q).filter(|&k| known.iter().any(|x| x.get(k).is_some_and(|&x| x != 0.0))).collect();
        if known.len() < support.len() || support.is_empty() {
            return Err(MoleError::NotEnough { have: known.len(), need: support.len().max(1) });
        }
        let known = Array2::from_shape_fn((known.len(), support.len()), |(r, c)| known[r][support[c]]);
        let seen = Array2::from_shape_fn((seen.len(), q), |(r, c)| seen[r][c]);
        let core = if known.nrows() == known.ncols() {
            dense::solve(&known, &seen)
        } else {
            dense::least_squares(&known, &seen)
        };
        let core = core.ok_or(MoleError::Dependent)?;
        Ok(Self { shape, blocks, support, core })
    }

    /// Recovers images `[channel][y][x]` from morphed ones; several follow one another.
    ///
    /// # Errors
    /// [`MoleError::Length`] if there is no whole number of images, and [`MoleError::Numbers`] if the morphing core has no inverse.
    pub fn recover<T: Real>(&self, morphed: &[T]) -> Result<Vec<f64>, MoleError> {
        let blocks = blocks_of(&self.shape, self.blocks, morphed)?;
        let q = blocks.ncols();
        // What the known images never varied, padding, stays zero.
        let solved = dense::least_squares(&self.core.t().to_owned(), &blocks.t().to_owned());
        let solved = solved.ok_or(MoleError::Numbers)?;
        let mut padded = vec![0.0; morphed.len()];
        for (column, block) in solved.columns().into_iter().zip(padded.chunks_exact_mut(q)) {
            for (&row, &x) in self.support.iter().zip(column.iter()) {
                *block.get_mut(row).ok_or(MoleError::Internal)? = x;
            }
        }
        Ok(padded.chunks_exact(self.shape.rows()).flat_map(|padded| self.shape.unpad(padded)).collect())
    }
}

/// Morphed images as rows of blocks.
fn blocks_of<T: Real>(shape: &LayerShape, blocks: usize, morphed: &[T]) -> Result<Array2<f64>, MoleError> {
    let rows = shape.rows();
    length("morphed images", morphed, morphed.len().next_multiple_of(rows))?;
    let q = rows / blocks;
    let values = morphed.iter().map(|x| x.to_f64()).collect();
    Array2::from_shape_vec((morphed.len() / q, q), values).map_err(|_| MoleError::Internal)
}

fn eigen(gram: &Array2<f64>) -> Result<(Vec<f64>, Array2<f64>), MoleError> {
    dense::symmetric_eigen(gram).ok_or(MoleError::Numbers)
}

/// The rank of a matrix whose squared singular values are given.
fn rank(squares: &[f64]) -> usize {
    let largest = squares.iter().copied().fold(0.0, f64::max);
    squares.iter().filter(|&&square| square > largest * RANK_TOLERANCE.powi(2)).count()
}

/// `S^T S` of columns `S` of the augmented convolution, over positions spread evenly.
#[expect(
    clippy::indexing_slicing,
    reason = "fractions lie below one, and a layout names patterns that exist"
)]
fn row_space<T: Real>(augmented: &AugConv<T>) -> Array2<f64> {
    let places = &augmented.layout.places;
    let mut gram = Array2::zeros((augmented.shape().filters, augmented.shape().filters));
    // By the golden ratio, so that no row, column or edge is preferred.
    for k in 0..POSITIONS {
        let place = &places[((k as f64 * 0.618_034).fract() * places.len() as f64) as usize];
        for &(_, pattern) in place {
            let pattern = augmented.patterns[pattern].mapv(T::to_f64);
            dense::add_product(&mut gram.view_mut(), 1.0, &pattern.t(), &pattern.view());
        }
    }
    gram
}

/// Onto the span of the eigenvectors of the largest `rank` eigenvalues; `vectors` are rows in ascending order.
fn projector(vectors: &Array2<f64>, rank: usize) -> Array2<f64> {
    let basis = vectors.slice(s![vectors.nrows() - rank.., ..]);
    dense::product(&basis.t(), &basis)
}

/// The order that carries the known projector into the one seen, and how far they remain apart.
#[expect(clippy::indexing_slicing, reason = "an order has an entry for each channel")]
fn matched(known: &Array2<f64>, seen: &Array2<f64>) -> (Vec<usize>, f64) {
    let count = known.nrows();
    let sorted = |projector: &Array2<f64>| {
        let mut by_score: Vec<usize> = (0..count).collect();
        by_score.sort_by(|&a, &b| projector[[a, a]].total_cmp(&projector[[b, b]]));
        by_score
    };
    let places = sorted(seen);
    let mut filters = sorted(known);
    // The row of one channel against the rest, under the present matching.
    let row = |filters: &[usize], i: usize| -> f64 {
        let here = known.row(filters[i]);
        let there = seen.row(places[i]);
        filters.iter().zip(&places).map(|(&a, &b)| (here[a] - there[b]).powi(2)).sum()
    };
    // Rounding may order scores wrongly: the rest of the projector corrects them.
    let mut better = true;
    let mut rounds = 0;
    while better && rounds < count {
        better = false;
        rounds += 1;
        for i in 0..count {
            for j in i + 1..(i + 1 + NEIGHBOURS).min(count) {
                let before = row(&filters, i) + row(&filters, j);
                filters.swap(i, j);
                if row(&filters, i) + row(&filters, j) < before * (1.0 - 1e-9) {
                    better = true;
                } else {
                    filters.swap(i, j);
                }
            }
        }
    }
    let apart: f64 = (0..count).map(|i| row(&filters, i)).sum();
    let size: f64 = known.iter().map(|x| x * x).sum();
    let mut order = vec![0; count];
    for (&place, &filter) in places.iter().zip(&filters) {
        order[place] = filter;
    }
    (order, (apart / size).sqrt())
}

/// Every column of `M^-1`, each the mean of what the taps that meet it say, by how much noise they carry.
#[expect(
    clippy::indexing_slicing,
    reason = "the order has a place for each filter, and taps are columns of the weights"
)]
fn inverse<T: Real>(
    weights: &Array2<f64>,
    order: &[usize],
    augmented: &AugConv<T>,
) -> Result<Array2<f64>, MoleError> {
    let q = augmented.layout.core_side();
    let mut sum = Array2::<f64>::zeros((q, q));
    let mut certainty = vec![0.0; q];
    for (taps, pattern) in augmented.layout.taps.iter().zip(&augmented.patterns) {
        let w = Array2::from_shape_fn((order.len(), taps.len()), |(k, t)| weights[[order[k], taps[t].0]]);
        // C_ac = (M^-1 E) w^T, and w has full column rank.
        let normal = dense::inverse(&w.t().dot(&w)).ok_or(MoleError::Numbers)?;
        let solved = dense::product(&pattern.mapv(T::to_f64).view(), &w.dot(&normal).view());
        for ((&(_, offset), column), noise) in taps.iter().zip(solved.columns()).zip(normal.diag()) {
            let weight = 1.0 / noise;
            sum.column_mut(offset).scaled_add(weight, &column);
            certainty[offset] += weight;
        }
    }
    for (mut column, certainty) in sum.columns_mut().into_iter().zip(certainty) {
        if certainty > 0.0 {
            column.mapv_inplace(|x| x / certainty);
        }
    }
    Ok(sum)
}
