//! Plaintext network: the graph in floating point, on batches of items.

use crate::calibration::flat_items;
use crate::{InferenceError, Network};
use ndarray::{ArrayD, ArrayView, Dimension, IxDyn};
use rayon::prelude::*;

impl Network {
    /// The results of the plaintext network for `items`, `[items, ..input shape]`, as `[items, ..output shape]`.
    ///
    /// # Errors
    /// [`InferenceError::ItemShape`]
    pub fn evaluate<D: Dimension>(
        &self,
        items: ArrayView<'_, f64, D>,
    ) -> Result<ArrayD<f64>, InferenceError> {
        let items = flat_items(items.into_dyn(), self.input_shape())
            .map_err(|got| InferenceError::ItemShape { expected: self.input_shape().to_vec(), got })?;
        let results: Vec<f64> = items.par_iter().flat_map_iter(|item| self.evaluate_flat(item)).collect();
        let dimensions: Vec<usize> =
            std::iter::once(items.len()).chain(self.output_shape().iter().copied()).collect();
        ArrayD::from_shape_vec(IxDyn(&dimensions), results)
            .map_err(|_| InferenceError::Internal("a result has other elements than its shape"))
    }
}
