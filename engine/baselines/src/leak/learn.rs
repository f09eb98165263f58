//! A classifier that learns from what is stored.

use crate::dense;
use ndarray::{Array1, Array2};

/// Regularization added to the diagonal of the kernel, which is two where labels are balanced.
const RIDGE: f64 = 0.1;
/// Pixels whose products are summed up together.
const STRIP: usize = 4096;

/// Labelled images from which on a classifier is tried: with fewer, chance looks like anything.
pub const FEWEST_LABELLED: usize = 48;

/// Labels, if all are known and they are enough to learn from: [`FEWEST_LABELLED`], and two of each.
pub fn learnable(labels: impl IntoIterator<Item = Option<bool>>) -> Option<Vec<bool>> {
    let known: Vec<bool> = labels.into_iter().collect::<Option<_>>()?;
    let two = |wanted: bool| known.iter().filter(|&&label| label == wanted).count() >= 2;
    (known.len() >= FEWEST_LABELLED && two(true) && two(false)).then_some(known)
}

/// Accuracy of a classifier on images that it did not learn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// The mean of the shares of positive and of negative images that are labelled as they are: one half where there is nothing to learn,
    /// however many there are of each.
    pub balanced_accuracy: f64,
    /// The share of pairs in which the positive image has the higher score.
    pub auc: f64,
    /// Images of each label: positive, negative.
    pub counts: [usize; 2],
}

/// Ridge regression on all images but two, one of each label, tried on those two; for each such pair.
///
/// To leave one image out would leave more of the other label behind, and where there is nothing to learn the classifier
/// would say that one: well below chance for few images (Airola et al. 2011). Images are weighted so that both labels weigh the same in the full set. An image's
/// label is that of its scores' mean. With a kernel, leaving a set `S` out has a closed form: `y_S - f_S = (G_SS)^-1 (G y)_S` for
/// `G = (K + ridge / weights)^-1`.
///
/// `None` if there are not two images of each label, or not as many labels as images.
#[expect(clippy::indexing_slicing, reason = "there is a sum for each image")]
pub fn leave_pair_out(images: &[Vec<u8>], labels: &[bool]) -> Option<Learned> {
    let with = |wanted: bool| (0..labels.len()).filter(move |&i| labels.get(i) == Some(&wanted));
    let counts = [true, false].map(|label| with(label).count());
    if images.len() != labels.len() || counts.iter().any(|&n| n < 2) {
        return None;
    }
    let scores = Scores::of(images, labels, counts)?;
    let mut sums = vec![0.0; labels.len()];
    let mut won = 0.0;
    for i in with(true) {
        for j in with(false) {
            let [of_i, of_j] = scores.left_out([i, j]);
            sums[i] += of_i;
            sums[j] += of_j;
            won += f64::from(u8::from(of_i > of_j)) + 0.5 * f64::from(u8::from(of_i == of_j));
        }
    }
    let right = |wanted: bool, sign: f64| with(wanted).filter(|&k| sums[k] * sign > 0.0).count() as f64;
    let [positive, negative] = counts.map(|n| n as f64);
    Some(Learned {
        balanced_accuracy: f64::midpoint(right(true, 1.0) / positive, right(false, -1.0) / negative),
        auc: won / (positive * negative),
        counts,
    })
}

/// Precomputed products `G` and `G y`, from which scores of left-out images follow.
struct Scores {
    inverse: Array2<f64>,
    dual: Array1<f64>,
}

impl Scores {
    /// Scores of images with as many labels, of which so many are positive and negative.
    fn of(images: &[Vec<u8>], labels: &[bool], [positive, negative]: [usize; 2]) -> Option<Self> {
        let mut kernel = products(images);
        for (entry, &label) in kernel.diag_mut().iter_mut().zip(labels) {
            // In balance, every image weighs one.
            let same = if label { positive } else { negative };
            *entry += RIDGE * 2.0 * same as f64 / labels.len() as f64;
        }
        let inverse = dense::solve_positive(&kernel, &Array2::eye(labels.len()))?;
        let dual =
            inverse.dot(&labels.iter().map(|&label| if label { 1.0 } else { -1.0 }).collect::<Array1<_>>());
        Some(Self { inverse, dual })
    }

    /// The scores of a positive and a negative image that were not learned from.
    #[expect(clippy::indexing_slicing, reason = "the matrix has the size of what is counted")]
    fn left_out(&self, [i, j]: [usize; 2]) -> [f64; 2] {
        let a = self.inverse[[i, i]];
        let b = self.inverse[[i, j]];
        let d = self.inverse[[j, j]];
        let x = self.dual[i];
        let y = self.dual[j];
        let determinant = a * d - b * b;
        [1.0 - (d * x - b * y) / determinant, -1.0 - (a * y - b * x) / determinant]
    }
}

/// Products of all images, each with mean zero and length one, and one more for the constant term. Shorter images have no other pixels.
fn products(images: &[Vec<u8>]) -> Array2<f64> {
    let scale: Vec<(f64, f64)> = images.iter().map(|image| scale(image)).collect();
    let longest = images.iter().map(Vec::len).max().unwrap_or(0);
    let mut sums = Array2::ones((images.len(), images.len()));
    for start in (0..longest).step_by(STRIP) {
        let mut strip = Array2::zeros((images.len(), STRIP.min(longest - start)));
        for ((mut row, image), &(mean, length)) in strip.rows_mut().into_iter().zip(images).zip(&scale) {
            for (entry, &pixel) in row.iter_mut().zip(image.iter().skip(start)) {
                *entry = (f64::from(pixel) - mean) / length;
            }
        }
        dense::add_product(&mut sums.view_mut(), 1.0, &strip.view(), &strip.t());
    }
    sums
}

/// Mean, and length of what differs from it.
fn scale(image: &[u8]) -> (f64, f64) {
    let mean = image.iter().map(|&x| f64::from(x)).sum::<f64>() / image.len().max(1) as f64;
    let length = image.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>().sqrt();
    (mean, length.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair is left out by the closed form; here by learning anew from all others.
    #[test]
    fn leaving_pairs_out_is_learning_without_them() {
        let byte = |k: usize| ((k as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        let images: Vec<Vec<u8>> = (0..9).map(|i| (0..16).map(|k| byte(16 * i + k)).collect()).collect();
        let labels = [true, false, true, true, false, true, true, false, true];
        let scores = Scores::of(&images, &labels, [6, 3]).unwrap();
        let kernel = products(&images);
        let target = |k: usize| if labels[k] { 1.0 } else { -1.0 };
        for (i, j) in (0..81).map(|k| (k / 9, k % 9)).filter(|&(i, j)| labels[i] && !labels[j]) {
            let others: Vec<usize> = (0..9).filter(|k| ![i, j].contains(k)).collect();
            let weighted = Array2::from_shape_fn((7, 7), |(a, b)| {
                let same = if labels[others[a]] { 6.0 } else { 3.0 };
                kernel[[others[a], others[b]]] + if a == b { RIDGE * 2.0 * same / 9.0 } else { 0.0 }
            });
            let dual =
                dense::solve(&weighted, &Array2::from_shape_fn((7, 1), |(a, _)| target(others[a]))).unwrap();
            let expected = [i, j].map(|k| (0..7).map(|a| kernel[[k, others[a]]] * dual[[a, 0]]).sum::<f64>());
            for (found, expected) in scores.left_out([i, j]).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
    }
}
