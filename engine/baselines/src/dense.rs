//! Dense linear algebra on `ndarray`: products on all threads, linear systems, least squares, eigenvectors.
//!
//! Factorizations are blocked, so that nearly all of their work is in matrix products (Golub and Van Loan 2013, chapters 3.2, 5.2 and 8.3).
#![expect(
    clippy::indexing_slicing,
    reason = "the sizes, checked at the entry of each function, bound the indices"
)]

use crate::real::Real;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

/// Columns that are eliminated before the rest is updated by a product.
const PANEL: usize = 48;
/// Rows of a product that one task computes.
const STRIP: usize = 192;
/// Rounds of the QL iteration for one eigenvalue; two are typical.
const ROUNDS: usize = 60;

/// `a b`.
pub(crate) fn product<T: Real>(a: &ArrayView2<'_, T>, b: &ArrayView2<'_, T>) -> Array2<T> {
    let mut result = Array2::zeros((a.nrows(), b.ncols()));
    add_product(&mut result.view_mut(), T::one(), a, b);
    result
}

/// Adds `factor a b` to `sum`.
pub(crate) fn add_product<T: Real>(
    sum: &mut ArrayViewMut2<'_, T>,
    factor: T,
    a: &ArrayView2<'_, T>,
    b: &ArrayView2<'_, T>,
) {
    let strips: Vec<_> =
        sum.axis_chunks_iter_mut(Axis(0), STRIP).zip(a.axis_chunks_iter(Axis(0), STRIP)).collect();
    strips.into_par_iter().for_each(|(mut sum, a)| general_mat_mul(factor, &a, b, T::one(), &mut sum));
}

/// The solution of `a x = b` by Gaussian elimination with partial pivoting; `None` if `a`, which is square, is singular to working
/// precision.
pub(crate) fn solve(a: &Array2<f64>, b: &Array2<f64>) -> Option<Array2<f64>> {
    let n = a.ncols();
    let mut both = beside(a, b);
    for start in (0..n).step_by(PANEL) {
        let end = (start + PANEL).min(n);
        for k in start..end {
            pivot(&mut both, k);
            let (above, mut below) = both.view_mut().split_at(Axis(0), k + 1);
            let row = above.slice(s![k, k + 1..end]);
            let diagonal = above[[k, k]];
            for mut other in below.rows_mut() {
                let factor = other[k] / diagonal;
                other[k] = factor;
                other.slice_mut(s![k + 1..end]).scaled_add(-factor, &row);
            }
        }
        // The rows of the panel, by its unit lower triangle; then all rows below by one product.
        for i in start + 1..end {
            let (above, mut row) = both.view_mut().split_at(Axis(0), i);
            for j in start..i {
                let factor = row[[0, j]];
                row.slice_mut(s![0, end..]).scaled_add(-factor, &above.slice(s![j, end..]));
            }
        }
        let (above, mut below) = both.view_mut().split_at(Axis(0), end);
        let (left, mut right) = below.view_mut().split_at(Axis(1), end);
        let left = left.slice(s![.., start..]);
        add_product(&mut right, -1.0, &left, &above.slice(s![start.., end..]));
    }
    back_substituted(both, n)
}

/// The inverse of a square matrix; `None` if it is singular to working precision.
pub(crate) fn inverse(a: &Array2<f64>) -> Option<Array2<f64>> {
    solve(a, &Array2::eye(a.nrows()))
}

/// The solution of `a x = b`, `a` symmetric, by Cholesky's factorization; `None` unless `a` is positive definite.
pub(crate) fn solve_positive(a: &Array2<f64>, b: &Array2<f64>) -> Option<Array2<f64>> {
    let n = a.nrows();
    let mut lower = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for j in 0..=i {
            let rest = a[[i, j]] - lower.slice(s![i, ..j]).dot(&lower.slice(s![j, ..j]));
            if i == j && (rest <= 0.0 || !rest.is_finite()) {
                return None;
            }
            lower[[i, j]] = if i == j { rest.sqrt() } else { rest / lower[[j, j]] };
        }
    }
    let mut half = b.clone();
    for i in 0..n {
        let (above, mut row) = half.view_mut().split_at(Axis(0), i);
        for j in 0..i {
            row.slice_mut(s![0, ..]).scaled_add(-lower[[i, j]], &above.row(j));
        }
        row.slice_mut(s![0, ..]).mapv_inplace(|x| x / lower[[i, i]]);
    }
    back_substituted(beside(&lower.t().to_owned(), &half), n)
}

/// The `x` of the least `|a x - b|` by Householder's reflections, blocked as `I - V T V^T` (Schreiber and Van Loan 1989). `a` has at
/// least as many rows as columns; `None` if its columns are dependent to working precision.
pub(crate) fn least_squares(a: &Array2<f64>, b: &Array2<f64>) -> Option<Array2<f64>> {
    let n = a.ncols();
    let mut both = beside(a, b);
    for start in (0..n).step_by(PANEL) {
        let end = (start + PANEL).min(n);
        let rows = both.slice_mut(s![start.., start..]);
        let (panel, mut rest) = rows.split_at(Axis(1), end - start);
        let (vectors, triangle) = reflections(panel);
        let seen = product(&vectors.t(), &rest.view());
        let seen = product(&triangle.t(), &seen.view());
        add_product(&mut rest, -1.0, &vectors.view(), &seen.view());
    }
    back_substituted(both, n)
}

/// Eigenvalues of a symmetric matrix in ascending order, and their eigenvectors as rows: Householder's reduction to a tridiagonal matrix and
/// implicit QL iterations. `None` if they do not converge, as with numbers that are not finite.
pub(crate) fn symmetric_eigen(a: &Array2<f64>) -> Option<(Vec<f64>, Array2<f64>)> {
    let n = a.nrows();
    let (mut diagonal, mut off, mut vectors) = tridiagonal(a.clone());
    let size = diagonal.iter().chain(&off).fold(0.0, |size: f64, x| size.max(x.abs()));
    let negligible = f64::EPSILON * size;
    for l in 0..n {
        let mut rounds = 0;
        loop {
            let m = (l..n - 1).find(|&m| off[m].abs() <= negligible).unwrap_or(n - 1);
            if m == l {
                break;
            }
            rounds += 1;
            if rounds > ROUNDS {
                return None;
            }
            ql_step(&mut diagonal, &mut off, &mut vectors, l, m);
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| diagonal[i].total_cmp(&diagonal[j]));
    Some((order.iter().map(|&i| diagonal[i]).collect(), vectors.select(Axis(0), &order)))
}

/// `[a | b]`, row by row.
fn beside(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let mut both = Array2::zeros((a.nrows(), a.ncols() + b.ncols()));
    both.slice_mut(s![.., ..a.ncols()]).assign(a);
    both.slice_mut(s![.., a.ncols()..]).assign(b);
    both
}

/// Exchanges row `k` for that of the rows from `k` on which is largest in column `k`.
fn pivot(both: &mut Array2<f64>, k: usize) {
    let mut largest = k;
    for row in k + 1..both.nrows() {
        if both[[row, k]].abs() > both[[largest, k]].abs() {
            largest = row;
        }
    }
    if largest != k {
        let (mut above, mut below) = both.view_mut().split_at(Axis(0), largest);
        ndarray::Zip::from(above.row_mut(k)).and(below.row_mut(0)).for_each(std::mem::swap);
    }
}

/// The solution of `u x = b`, of `[u | b]` with an upper triangle `u` in the first `n` rows and columns; `None` if an entry of its diagonal
/// is zero but for rounding, or not finite.
fn back_substituted(mut both: Array2<f64>, n: usize) -> Option<Array2<f64>> {
    let diagonal = both.diag();
    let diagonal = diagonal.slice(s![..n]);
    let largest = diagonal.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let rounding = n as f64 * f64::EPSILON * largest;
    if !diagonal.iter().all(|x| x.is_finite() && x.abs() > rounding) {
        return None;
    }
    for start in (0..n).step_by(PANEL).rev() {
        let end = (start + PANEL).min(n);
        for i in (start..end).rev() {
            let (mut above, below) = both.view_mut().split_at(Axis(0), i + 1);
            for j in i + 1..end {
                let factor = above[[i, j]];
                above.slice_mut(s![i, n..]).scaled_add(-factor, &below.slice(s![j - i - 1, n..]));
            }
            let diagonal = above[[i, i]];
            above.slice_mut(s![i, n..]).mapv_inplace(|x| x / diagonal);
        }
        let (mut above, panel) = both.view_mut().split_at(Axis(0), start);
        let (left, mut right) = above.view_mut().split_at(Axis(1), n);
        add_product(&mut right, -1.0, &left.slice(s![.., start..end]), &panel.slice(s![..end - start, n..]));
    }
    Some(both.slice_move(s![..n, n..]))
}

/// Makes a panel upper triangular; the reflections' vectors as columns `V`, and `T`.
fn reflections(mut panel: ArrayViewMut2<'_, f64>) -> (Array2<f64>, Array2<f64>) {
    let (rows, columns) = panel.dim();
    let mut vectors = Array2::<f64>::zeros((rows, columns));
    let mut triangle = Array2::<f64>::zeros((columns, columns));
    for k in 0..columns {
        let mut column = panel.slice(s![k.., k]).to_owned();
        let (end, beta) = reflect(&mut column);
        let mut rest = panel.slice_mut(s![k.., k + 1..]);
        let seen = column.dot(&rest);
        for (mut row, &x) in rest.rows_mut().into_iter().zip(&column) {
            row.scaled_add(-beta * x, &seen);
        }
        panel.slice_mut(s![k.., k]).fill(0.0);
        panel[[k, k]] = end;
        let before = vectors.slice(s![k.., ..k]).t().dot(&column);
        let before = triangle.slice(s![..k, ..k]).dot(&before);
        triangle.slice_mut(s![..k, k]).scaled_add(-beta, &before);
        triangle[[k, k]] = beta;
        vectors.slice_mut(s![k.., k]).assign(&column);
    }
    (vectors, triangle)
}

/// Turns `x` into the vector `v` of the reflection `I - beta v v^T` that maps `x` to `(end, 0, ...)`; `end` and `beta`.
fn reflect(x: &mut Array1<f64>) -> (f64, f64) {
    let length = x.dot(x).sqrt();
    if length == 0.0 {
        return (0.0, 0.0);
    }
    let end = -length.copysign(x[0]);
    x[0] -= end;
    let squared = x.dot(x);
    (end, 2.0 / squared)
}

/// Diagonal and off-diagonal of `Q^T a Q`, and `Q^T`.
fn tridiagonal(mut a: Array2<f64>) -> (Vec<f64>, Vec<f64>, Array2<f64>) {
    let n = a.nrows();
    let mut off = Vec::with_capacity(n);
    let mut reflected = Vec::with_capacity(n);
    for k in 0..n.saturating_sub(1) {
        let mut v = a.slice(s![k, k + 1..]).to_owned();
        let (end, beta) = reflect(&mut v);
        off.push(end);
        let mut rest = a.slice_mut(s![k + 1.., k + 1..]);
        let mut w = rest.dot(&v) * beta;
        let half = 0.5 * beta * v.dot(&w);
        w.scaled_add(-half, &v);
        for (i, mut row) in rest.rows_mut().into_iter().enumerate() {
            row.scaled_add(-v[i], &w);
            row.scaled_add(-w[i], &v);
        }
        reflected.push((v, beta));
    }
    off.push(0.0);
    let mut q = Array2::<f64>::eye(n);
    for (k, (v, beta)) in reflected.iter().enumerate().rev() {
        let mut rest = q.slice_mut(s![k + 1.., k + 1..]);
        let seen = v.dot(&rest);
        for (mut row, &x) in rest.rows_mut().into_iter().zip(v) {
            row.scaled_add(-beta * x, &seen);
        }
    }
    (a.diag().to_vec(), off, q.t().as_standard_layout().into_owned())
}

/// One implicit QL iteration with Wilkinson's shift on rows `l..=m`, whose off-diagonal is not negligible.
fn ql_step(diagonal: &mut [f64], off: &mut [f64], vectors: &mut Array2<f64>, l: usize, m: usize) {
    let shift = (diagonal[l + 1] - diagonal[l]) / (2.0 * off[l]);
    let mut g = diagonal[m] - diagonal[l] + off[l] / (shift + shift.hypot(1.0).copysign(shift));
    let mut sine = 1.0;
    let mut cosine = 1.0;
    let mut moved = 0.0;
    for i in (l..m).rev() {
        let f = sine * off[i];
        let b = cosine * off[i];
        let r = f.hypot(g);
        off[i + 1] = r;
        if r == 0.0 {
            diagonal[i + 1] -= moved;
            off[m] = 0.0;
            return;
        }
        sine = f / r;
        cosine = g / r;
        g = diagonal[i + 1] - moved;
        let r = (diagonal[i] - g) * sine + 2.0 * cosine * b;
        moved = sine * r;
        diagonal[i + 1] = g + moved;
        g = cosine * r - b;
        let (mut first, mut second) = vectors.view_mut().split_at(Axis(0), i + 1);
        ndarray::Zip::from(first.row_mut(i)).and(second.row_mut(0)).for_each(|x, y| {
            let old = *y;
            *y = sine * *x + cosine * old;
            *x = cosine * *x - sine * old;
        });
    }
    diagonal[l] -= moved;
    off[l] = g;
    off[m] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reproducible numbers between -1 and 1.
    fn numbers(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut state = seed;
        Array2::from_shape_simple_fn((rows, columns), || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        })
    }

    fn largest(a: &Array2<f64>) -> f64 {
        a.iter().fold(0.0, |largest, x| x.abs().max(largest))
    }

    #[test]
    fn systems_of_all_sizes_are_solved() {
        for n in [1, 2, 3, 47, 48, 49, 200, 401] {
            let a = numbers(n, n, n as u64);
            let x = numbers(n, 3, 1);
            assert!(largest(&(solve(&a, &a.dot(&x)).unwrap() - &x)) < 1e-9, "{n}");
            assert!(largest(&(inverse(&a).unwrap().dot(&a) - Array2::<f64>::eye(n))) < 1e-9, "{n}");
            let tall = numbers(n + n / 2, n, 7);
            let b = numbers(n + n / 2, 2, 8);
            let nearest = least_squares(&tall, &b).unwrap();
            let rest = tall.dot(&nearest) - &b;
            assert!(largest(&tall.t().dot(&rest)) < 1e-9, "{n}");
            let normal = tall.t().dot(&tall);
            let found = solve_positive(&normal, &tall.t().dot(&b)).unwrap();
            assert!(largest(&(found - nearest)) < 1e-6, "{n}");
        }
    }

    #[test]
    fn singular_and_indefinite_systems_are_refused() {
        let zero = Array2::zeros((3, 3));
        assert!(inverse(&zero).is_none());
        for n in [2, 49, 200] {
            let mut a = numbers(n, n, 3);
            let first = a.row(0).to_owned();
            a.row_mut(n - 1).assign(&first);
            assert!(solve(&a, &a).is_none(), "{n}");
            let tall = numbers(2 * n, n - 1, 4);
            let both = beside(&tall, &tall.slice(s![.., ..1]).to_owned());
            assert!(least_squares(&both, &both).is_none(), "{n}");
        }
        assert!(solve_positive(&zero, &zero).is_none());
        assert!(solve_positive(&-Array2::<f64>::eye(2), &Array2::eye(2)).is_none());
        assert!(solve_positive(&(Array2::<f64>::eye(2) * f64::NAN), &Array2::eye(2)).is_none());
    }

    #[test]
    fn eigenvectors_are_orthogonal_and_multiply() {
        for n in [0, 1, 2, 3, 10, 120] {
            let a = numbers(n, n, 5);
            // Of half rank, so that many eigenvalues are equal.
            let low = a.slice(s![.., ..n / 2]).dot(&a.slice(s![.., ..n / 2]).t());
            for a in [&a + &a.t(), low, Array2::eye(n), Array2::zeros((n, n))] {
                let (values, vectors) = symmetric_eigen(&a).unwrap();
                assert!(values.is_sorted());
                assert!(largest(&(vectors.dot(&vectors.t()) - Array2::<f64>::eye(n))) < 1e-12, "{n}");
                let scaled = &vectors * &Array1::from(values).insert_axis(Axis(1));
                assert!(largest(&(vectors.dot(&a) - scaled)) < 1e-11, "{n}");
            }
        }
        assert!(symmetric_eigen(&Array2::from_elem((3, 3), f64::NAN)).is_none());
    }
}
