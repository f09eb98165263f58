//! A classifier that learns from what is stored.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};

/// What is added to the diagonal of the kernel, whose own is two.
const RIDGE: f64 = 0.1;

/// How well a classifier labels images that it did not learn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Images that are labelled as they are, by the mean of their scores.
    pub right: usize,
    /// All images.
    pub of: usize,
    /// The share of pairs in which the positive image has the higher score.
    pub auc: f64,
}

/// Ridge regression on all images but two, one of each label, tried on those two; for each such pair.
///
/// To leave one image out would leave more of the other label behind, and where there is nothing to learn the classifier
/// would say that one: well below chance for few images. Pairs leave the labels in balance (Airola et al. 2011). With a
/// kernel, leaving a set `S` out has a closed form: `y_S - f_S = (G_SS)^-1 (G y)_S` for `G = (K + ridge)^-1`.
///
/// `None` if there are not two images of each label.
pub fn leave_pair_out(images: &[Vec<u8>], labels: &[bool]) -> Option<Learned> {
    let count = images.len().min(labels.len());
    let with = |wanted: bool| (0..count).filter(move |&i| labels.get(i) == Some(&wanted));
    let each = [with(true).count(), with(false).count()];
    if each.iter().any(|&n| n < 2) {
        return None;
    }
    let centred: Vec<Vec<f64>> = images.iter().map(|image| standardised(image)).collect();
    let product = |a: usize, b: usize| match (centred.get(a), centred.get(b)) {
        (Some(a), Some(b)) => a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>(),
        _ => 0.0,
    };
    // One more for the constant term.
    let kernel = Mat::from_fn(count, count, |a, b| product(a, b) + 1.0 + if a == b { RIDGE } else { 0.0 });
    let inverse = kernel.llt(Side::Lower).ok()?.solve(Mat::<f64>::identity(count, count));
    let target = Mat::from_fn(count, 1, |i, _| if labels.get(i) == Some(&true) { 1.0 } else { -1.0 });
    let dual = &inverse * &target;
    let (mut sums, mut won) = (vec![0.0; count], 0.0);
    for i in with(true) {
        for j in with(false) {
            let [of_i, of_j] = left_out(inverse.as_ref(), dual.as_ref(), [i, j]);
            for (k, score) in [(i, of_i), (j, of_j)] {
                if let Some(sum) = sums.get_mut(k) {
                    *sum += score;
                }
            }
            won += f64::from(u8::from(of_i > of_j)) + 0.5 * f64::from(u8::from(of_i == of_j));
        }
    }
    let right = sums.iter().zip(labels).filter(|&(&sum, &label)| (sum > 0.0) == label && sum != 0.0).count();
    Some(Learned { right, of: count, auc: won / (each[0] * each[1]) as f64 })
}

/// The scores of a positive and a negative image that were not learned from.
fn left_out(inverse: MatRef<'_, f64>, dual: MatRef<'_, f64>, [i, j]: [usize; 2]) -> [f64; 2] {
    let (a, b, d) = (inverse.get(i, i), inverse.get(i, j), inverse.get(j, j));
    let (x, y) = (dual.get(i, 0), dual.get(j, 0));
    let determinant = a * d - b * b;
    [1.0 - (d * x - b * y) / determinant, -1.0 - (a * y - b * x) / determinant]
}

/// Mean zero, length one.
fn standardised(image: &[u8]) -> Vec<f64> {
    let mean = image.iter().map(|&x| f64::from(x)).sum::<f64>() / image.len().max(1) as f64;
    let length = image.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>().sqrt().max(1e-9);
    image.iter().map(|&x| (f64::from(x) - mean) / length).collect()
}
