//! Encoder and decoder as lists of layers, built as the training code builds them.

use crate::convolution::Convolution;
use crate::planes::{self, Planes, Workspace};
use crate::weights::{CodecError, Weights};

const UNSHUFFLE: usize = 4;
const LAST: usize = 4;
const BEFORE_LAST: usize = 16;

/// The networks of a codec, as its file describes them.
pub(crate) struct Layout {
    pub(crate) channels: usize,
    /// Width and residual blocks at a quarter, an eighth ... of the image's resolution.
    pub(crate) levels: Vec<[usize; 2]>,
    /// Residual blocks that the decoder has more than the encoder, at each level.
    pub(crate) decoder_extra: usize,
}

pub(crate) enum Layer {
    Unshuffle(usize),
    Shuffle(usize),
    Relu,
    Convolution(Convolution),
    /// `x + second(relu(first(relu(x))))`.
    Block(Convolution, Convolution),
}

pub(crate) fn run(layers: &[Layer], input: Planes, workspace: &mut Workspace) -> Planes {
    layers.iter().fold(input, |x, layer| match layer {
        Layer::Unshuffle(r) => x.into_layout(planes::Layout::Rows, workspace).unshuffle(*r, workspace),
        Layer::Shuffle(r) => x.into_layout(planes::Layout::Rows, workspace).shuffle(*r, workspace),
        Layer::Relu => x.relu(),
        Layer::Convolution(convolution) => convolution.apply(x, workspace),
        Layer::Block(first, second) => first.block(second, x, workspace),
    })
}

/// `[1, 256, 256]` to `[channels, 256 / factor, 256 / factor]`.
pub(crate) fn encoder(weights: &mut Weights<'_>, layout: &Layout) -> Result<Vec<Layer>, CodecError> {
    let mut stack = Stack::new(weights, "encoder");
    stack.push(Layer::Unshuffle(UNSHUFFLE));
    let mut width = UNSHUFFLE * UNSHUFFLE;
    for (k, &[wider, blocks]) in layout.levels.iter().enumerate() {
        if k == 0 {
            stack.convolution(width, wider, 3)?;
        } else {
            stack.halving(width, wider)?;
        }
        stack.blocks(wider, blocks)?;
        width = wider;
    }
    stack.convolution(width, layout.channels, 3)?;
    Ok(stack.layers)
}

/// `[channels, 256 / factor, 256 / factor]` to `[1, 256, 256]`.
pub(crate) fn decoder(weights: &mut Weights<'_>, layout: &Layout) -> Result<Vec<Layer>, CodecError> {
    let mut stack = Stack::new(weights, "decoder");
    let mut width = layout.channels;
    for (k, &[narrower, blocks]) in layout.levels.iter().rev().enumerate() {
        if k == 0 {
            stack.convolution(width, narrower, 3)?;
        } else {
            stack.convolution(width, 4 * narrower, 1)?;
            stack.push(Layer::Shuffle(2));
        }
        stack.blocks(narrower, blocks + layout.decoder_extra)?;
        width = narrower;
    }
    stack.convolution(width, 4 * BEFORE_LAST, 3)?;
    stack.push(Layer::Shuffle(2));
    stack.push(Layer::Relu);
    stack.convolution(BEFORE_LAST, LAST, 3)?;
    stack.push(Layer::Shuffle(2));
    Ok(stack.layers)
}

/// Layers under construction, numbered as PyTorch numbers those of a `Sequential`.
struct Stack<'a, 'b> {
    weights: &'a mut Weights<'b>,
    name: &'static str,
    index: usize,
    layers: Vec<Layer>,
}

impl<'a, 'b> Stack<'a, 'b> {
    fn new(weights: &'a mut Weights<'b>, name: &'static str) -> Self {
        Self { weights, name, index: 0, layers: Vec::new() }
    }

    fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
        self.index += 1;
    }

    fn convolution(&mut self, inputs: usize, outputs: usize, kernel: usize) -> Result<(), CodecError> {
        let name = format!("{}.{}", self.name, self.index);
        let convolution = self.read(&name, inputs, outputs, kernel)?;
        self.push(Layer::Convolution(convolution));
        Ok(())
    }

    /// A 2x2 convolution of stride 2: the 1x1 convolution of the 2x2 pixels side by side, whose weights lie in the same order.
    fn halving(&mut self, inputs: usize, outputs: usize) -> Result<(), CodecError> {
        let name = format!("{}.{}", self.name, self.index);
        let weights = self.weights.half(&format!("{name}.weight"), &[outputs, inputs, 2, 2])?;
        let bias = self.weights.half(&format!("{name}.bias"), &[outputs])?;
        self.layers.push(Layer::Unshuffle(2));
        self.push(Layer::Convolution(Convolution::new(1, weights, bias)));
        Ok(())
    }

    fn blocks(&mut self, width: usize, count: usize) -> Result<(), CodecError> {
        for _ in 0..count {
            let name = format!("{}.{}", self.name, self.index);
            let first = self.read(&format!("{name}.first"), width, width, 3)?;
            let second = self.read(&format!("{name}.second"), width, width, 3)?;
            self.push(Layer::Block(first, second));
        }
        Ok(())
    }

    fn read(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
        kernel: usize,
    ) -> Result<Convolution, CodecError> {
        let weights = self.weights.half(&format!("{name}.weight"), &[outputs, inputs, kernel, kernel])?;
        let bias = self.weights.half(&format!("{name}.bias"), &[outputs])?;
        Ok(Convolution::new(kernel, weights, bias))
    }
}
