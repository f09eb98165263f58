//! The two precisions that everything here runs in.

use ndarray::LinalgScalar;

/// `f32` or `f64`.
pub trait Real: LinalgScalar + Send + Sync + Default + std::fmt::Debug {
    /// Bytes of a number when it is sent.
    const BYTES: usize;

    /// The nearest number of this kind.
    fn from_f64(x: f64) -> Self;

    /// Converts to `f64`.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    const BYTES: usize = 4;

    fn from_f64(x: f64) -> Self {
        x as f32
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const BYTES: usize = 8;

    fn from_f64(x: f64) -> Self {
        x
    }

    fn to_f64(self) -> f64 {
        self
    }
}
