//! The whole scheme on images, with the plain layer for comparison.

use super::layer::length;
use super::{AugConv, FirstLayer, MoleError, MorphKey, Overheads, unshuffled};
use crate::stopwatch::timed;
use ndarray::ArrayView2;

/// A run of the scheme, whose key was made and forgotten.
pub struct MorphRun {
    /// Largest difference between the plain first layer and the augmented one with its channels sorted.
    pub max_abs_error: f64,
    /// Scores behind the augmented convolution, for each image; empty without a network behind the layer.
    pub scores: Vec<Vec<f64>>,
    /// Scores behind the plain first layer.
    pub plain_scores: Vec<Vec<f64>>,
    /// Times of the steps.
    pub seconds: MorphSeconds,
    /// Counted costs.
    pub costs: Overheads,
    /// Morphed images in order.
    pub morphed: Vec<f32>,
    /// The augmented convolution.
    pub augmented: AugConv<f32>,
}

/// Seconds of a [`MorphRun`]: the first two once, the others for all images, one at a time at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MorphSeconds {
    /// Generation of the key.
    pub keygen: f64,
    /// Computation of the augmented convolution.
    pub augment: f64,
    /// Morphing.
    pub morph: f64,
    /// The plain first layer.
    pub plain_first: f64,
    /// The augmented first layer.
    pub augmented_first: f64,
    /// The network behind the plain first layer.
    pub plain_rest: f64,
    /// Sorting of the channels, and the network behind the augmented first layer.
    pub augmented_rest: f64,
}

impl MorphSeconds {
    /// The server's whole work on morphed images.
    pub fn server(&self) -> f64 {
        self.augmented_first + self.augmented_rest
    }

    /// The server's whole work on plain images, computed by the same means.
    pub fn plain_server(&self) -> f64 {
        self.plain_first + self.plain_rest
    }
}

impl MorphRun {
    /// Makes a key of `blocks` blocks, morphs images `[image, number]`, and applies the augmented convolution and the plain
    /// layer. `behind` computes the scores of the network behind the first layer, if there is one; `done` is called after each
    /// image.
    ///
    /// # Errors
    /// [`MoleError`] if the blocks do not divide an image, images have another size than the layer's or numbers that are not
    /// finite, or memory does not suffice.
    pub fn new(
        layer: &FirstLayer,
        blocks: usize,
        images: ArrayView2<'_, f32>,
        behind: impl Fn(&[f32]) -> Option<Vec<f64>>,
        mut done: impl FnMut(usize),
    ) -> Result<Self, MoleError> {
        let mut seconds = MorphSeconds::default();
        let key = timed(&mut seconds.keygen, || MorphKey::generate(layer.shape(), blocks))?;
        let augmented = timed(&mut seconds.augment, || AugConv::<f32>::new(&key, layer))?;
        let morpher = key.morpher::<f32>();
        let mut max_abs_error = 0.0f64;
        let mut scores = Vec::new();
        let mut plain_scores = Vec::new();
        let mut morphed = Vec::new();
        for (number, image) in images.outer_iter().enumerate() {
            let image = image.to_vec();
            length("image", &image, layer.shape().inputs())?;
            if number == 0 {
                // The first of each kind is slower than the others, and would count as the scheme's.
                augmented.apply(&morpher.morph(&image)?)?;
                behind(&layer.apply(&image)?);
            }
            let sent = timed(&mut seconds.morph, || morpher.morph(&image))?;
            let result = timed(&mut seconds.augmented_first, || augmented.apply(&sent))?;
            let sorted = timed(&mut seconds.augmented_rest, || unshuffled(key.order(), &result))?;
            let scored = timed(&mut seconds.augmented_rest, || behind(&sorted));
            let plain = timed(&mut seconds.plain_first, || layer.apply(&image))?;
            plain_scores.extend(timed(&mut seconds.plain_rest, || behind(&plain)));
            let differences = sorted.iter().zip(&plain).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
            max_abs_error = differences.fold(max_abs_error, f64::max);
            scores.extend(scored);
            morphed.extend(sent);
            done(number + 1);
        }
        let costs = Overheads::of(&augmented);
        Ok(Self { max_abs_error, scores, plain_scores, seconds, costs, morphed, augmented })
    }
}
