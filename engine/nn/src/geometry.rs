//! Facts about affine maps that decide levels and layouts: planes, strides, borders, common factors.

use crate::{Linear, LinearMap, Window};

/// Shape of an image: `[channels][height][width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planes {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Linear {
    /// Planes of a result that windows make, whatever shape its tensor is given afterwards; `None` for planes of one
    /// element.
    pub(crate) fn planes(&self) -> Option<Planes> {
        let mut planes = None;
        for map in self.maps() {
            planes = match map {
                LinearMap::Convolution(c) => Some(Planes::new(c.channels()[1], c.window().output())),
                LinearMap::Pool(p) => Some(Planes::new(p.channels(), p.window().output())),
                LinearMap::DiagonalScale(_) => planes,
                LinearMap::Dense(_) | LinearMap::Gather(_) | LinearMap::Sparse(_) => None,
            };
        }
        planes.filter(|planes| planes.height * planes.width > 1)
    }

    /// Whether the map leaves zeros at the borders of planes, so that its diagonals differ there.
    pub(crate) fn has_borders(&self) -> bool {
        self.maps().iter().any(|map| match map.window() {
            Some(window) => window.padding() != [0, 0] || overhangs(window),
            None => matches!(map, LinearMap::Gather(_) | LinearMap::Sparse(_)),
        })
    }

    /// Product of the strides of all windows, down and across.
    pub(crate) fn stride(&self) -> [usize; 2] {
        let windows = self.maps().iter().filter_map(LinearMap::window);
        windows.map(Window::stride).fold([1, 1], |[y, x], [down, across]| [y * down, x * across])
    }

    /// The factor of every element, if the map is elementwise and the factor is the same for all.
    pub(crate) fn shared_factor(&self) -> Option<f64> {
        if !self.is_elementwise() {
            return None;
        }
        let factors = self.scale_factors();
        let first = *factors.first()?;
        factors.iter().all(|&factor| factor == first).then_some(first)
    }
}

impl Planes {
    fn new(channels: usize, [height, width]: [usize; 2]) -> Self {
        Self { channels, height, width }
    }
}

/// Whether the last window reaches beyond the input.
fn overhangs(window: &Window) -> bool {
    let [outputs, strides] = [window.output(), window.stride()];
    let [kernels, dilations] = [window.kernel(), window.dilation()];
    let ends = |axis: fn([usize; 2]) -> usize| {
        (axis(outputs) - 1) * axis(strides) + (axis(kernels) - 1) * axis(dilations) >= axis(window.input())
    };
    ends(|[y, _]| y) || ends(|[_, x]| x)
}
