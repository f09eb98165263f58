//! The first layer that images are morphed for: of a network, or one for whole X-rays.

use super::images::Image;
use crate::classifier;
use anyhow::{Context, Result};
use ndarray::Array3;
use pleura::baselines::mole::{FirstLayer, LayerShape, Padding};
use pleura::baselines::pixels;
use pleura::latent::{Latent, SIDE};
use pleura::nn::{LinearMap, Network, NodeId, Op};
use pleura::xray::{Classifier, PixelScaling, Preprocessing, shipped};
use std::path::PathBuf;

/// The name of the layer that is no network's.
pub(crate) const XRAY: &str = "xray";

/// The file that a layer is read from, if it is not one that comes with the program.
pub(crate) fn file(name: &str) -> Option<PathBuf> {
    (name != XRAY && shipped::model(name).is_err()).then(|| name.into())
}

/// A first layer with what it looks at, and what comes after it.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) first: FirstLayer,
    network: Option<Rest>,
}

struct Rest {
    classifier: Classifier,
    /// Bias of the first layer; the scheme's layer has none.
    bias: Vec<f64>,
    tail: Network,
}

impl Layer {
    /// The first layer of a shipped network or an ONNX file; [`XRAY`] is 16 fixed filters of 3x3 on 256x256 pixels.
    pub(crate) fn load(name: &str) -> Result<Self> {
        if name == XRAY {
            return Ok(Self { name: name.to_owned(), first: FirstLayer::of_noise(SIDE)?, network: None });
        }
        let classifier = classifier::load(name)?;
        let tail = classifier.network().split_first().map(|(_, tail)| tail);
        let found = first_layer(classifier.network()).zip(tail);
        let ((shape, weights, bias), tail) = found.with_context(|| no_convolution(name))?;
        let first = FirstLayer::new(shape, weights)?;
        Ok(Self { name: name.to_owned(), first, network: Some(Rest { classifier, bias, tail }) })
    }

    /// Input of the layer for an X-ray, in single precision.
    pub(crate) fn features(&self, image: &Image) -> Result<Vec<f32>> {
        match &self.network {
            Some(rest) => {
                let features = rest.classifier.features(&image.xray)?;
                Ok(features.values.iter().map(|&x| x as f32).collect())
            }
            None => Ok(image.xray.values().iter().map(|x| x / 255.0).collect()),
        }
    }

    /// The picture that recovered features stand for: as an attacker sees it.
    pub(crate) fn picture(&self, features: &[f64]) -> Result<Vec<u8>> {
        let greys =
            |scaling: PixelScaling| pixels(&features.iter().map(|x| scaling.pixel(*x)).collect::<Vec<_>>());
        let Some(rest) = &self.network else { return Ok(greys(PixelScaling::Unit)) };
        match rest.classifier.preprocessing() {
            Preprocessing::Pixels { scaling, .. } => Ok(greys(*scaling)),
            Preprocessing::Latent(codec) => {
                // A failed attack may leave anything; the decoder takes finite numbers.
                let values =
                    features.iter().map(|x| if x.is_finite() { x.clamp(-1e3, 1e3) as f32 } else { 0.0 });
                let values = Array3::from_shape_vec(codec.latent_shape(), values.collect());
                let latent = Latent::new(values.with_context(|| no_convolution(&self.name))?);
                let decoded = codec.decode(&latent.with_context(|| no_convolution(&self.name))?);
                let decoded = decoded.with_context(|| format!("codec {}", codec.name()))?;
                Ok(decoded.pixels().into_iter().collect())
            }
        }
    }

    /// The scores of the network from the first layer's result.
    pub(crate) fn behind(&self, first: &[f32]) -> Option<Vec<f64>> {
        let rest = self.network.as_ref()?;
        let biased: Vec<f64> = first.iter().zip(&rest.bias).map(|(&x, b)| f64::from(x) + b).collect();
        Some(rest.tail.evaluate_flat(&biased))
    }

    /// The scores of the whole network as it was read, in double precision.
    pub(crate) fn clear(&self, features: &[f32]) -> Option<Vec<f64>> {
        let rest = self.network.as_ref()?;
        let item: Vec<f64> = features.iter().map(|&x| f64::from(x)).collect();
        Some(rest.classifier.network().evaluate_flat(&item))
    }
}

fn no_convolution(name: &str) -> String {
    format!("{name} does not begin with a convolution of square filters that alone reads its input")
}

/// Shape, weights and bias of a convolution that the scheme supports.
fn first_layer(network: &Network) -> Option<(LayerShape, Vec<f64>, Vec<f64>)> {
    let Op::Linear(NodeId::INPUT, linear) = &network.nodes().get(1)?.op else { return None };
    let [LinearMap::Convolution(conv)] = linear.maps() else { return None };
    let [channels, filters] = conv.channels();
    let square = |v: [usize; 2]| (v[0] == v[1]).then_some(v[0]);
    let window = conv.window();
    let shape = LayerShape {
        channels,
        side: square(window.input())?,
        filters,
        kernel: square(window.kernel())?,
        stride: square(window.stride())?,
        pad: square(window.padding())?,
        padding: Padding::Implicit,
    };
    let plain =
        conv.groups() == 1 && window.dilation() == [1, 1] && square(window.output())? == shape.output_side();
    plain.then(|| (shape, conv.weights().to_vec(), linear.bias().to_vec()))
}
