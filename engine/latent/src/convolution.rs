//! Convolutions over zero-padded planes: cross-correlations as in PyTorch, `y[o][p] = b[o] + sum_{i, t} w[o][i][t] x[i][p + tap(t)]`.
//! Winograd's algorithm takes kernels of 3x3 where planes divide into its tiles, a direct product everything else.

use crate::direct::Direct;
use crate::planes::{Layout, Planes, TILE, Workspace};
use crate::winograd::Winograd;
use std::sync::OnceLock;

/// A convolution of stride 1 that keeps the size: kernel 3 with padding 1, or kernel 1.
///
/// A form of the weights is made when planes first need it: a client that only encodes never makes the decoder's.
pub(crate) struct Convolution {
    kernel: usize,
    /// `[output][input][kernel][kernel]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    direct: OnceLock<Direct>,
    /// For kernels of 3x3 on planes in tiles.
    winograd: OnceLock<Winograd>,
}

impl Convolution {
    /// From `weights[output][input][kernel][kernel]` and one bias per output.
    pub(crate) fn new(kernel: usize, weights: Vec<f32>, bias: Vec<f32>) -> Self {
        Self { kernel, weights, bias, direct: OnceLock::new(), winograd: OnceLock::new() }
    }

    /// The convolution of `x`.
    pub(crate) fn apply(&self, x: Planes, workspace: &mut Workspace) -> Planes {
        let layout = self.layout(&x);
        let x = x.into_layout(layout, workspace);
        let out = self.apply_to(&x, false, None, workspace);
        workspace.recycle(x);
        out
    }

    /// `x + second(relu(self(relu(x))))`, a residual block.
    pub(crate) fn block(&self, second: &Self, x: Planes, workspace: &mut Workspace) -> Planes {
        let layout = self.layout(&x);
        let x = x.into_layout(layout, workspace);
        let inner = self.apply_to(&x, true, None, workspace);
        let out = second.apply_to(&inner, true, Some(&x), workspace);
        workspace.recycle(inner);
        workspace.recycle(x);
        out
    }

    fn layout(&self, x: &Planes) -> Layout {
        let [_, height, width] = x.shape();
        let tiled = height.is_multiple_of(TILE) && width.is_multiple_of(TILE);
        if tiled && self.kernel == 3 { Layout::Tiles } else { Layout::Rows }
    }

    /// The convolution of planes in its layout, or of their positive part if `relu`; plus `added`.
    fn apply_to(&self, x: &Planes, relu: bool, added: Option<&Planes>, workspace: &mut Workspace) -> Planes {
        if x.layout() == Layout::Tiles {
            let winograd = self.winograd.get_or_init(|| Winograd::new(&self.weights, &self.bias));
            return winograd.apply(x, relu, added, workspace);
        }
        let direct = self.direct.get_or_init(|| Direct::new(self.kernel, &self.weights, &self.bias));
        let out = if relu {
            let positive = x.positive(workspace);
            let out = direct.apply(&positive, workspace);
            workspace.recycle(positive);
            out
        } else {
            direct.apply(x, workspace)
        };
        match added {
            Some(added) => out.add(added),
            None => out,
        }
    }
}
