//! How the windows of convolutions and pools move over a plane.

use crate::shape_error::{MAX_ELEMENTS, ShapeError, at_least_one, elements};

/// Movement of windows over a plane: output `p` reads inputs `p stride + i dilation - padding`. All are height and
/// width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// Size of the input plane.
    pub input: [usize; 2],
    /// Size of the output plane.
    pub output: [usize; 2],
    /// Size of the kernel, in taps.
    pub kernel: [usize; 2],
    /// Distance of neighbouring windows.
    pub stride: [usize; 2],
    /// Distance of neighbouring taps.
    pub dilation: [usize; 2],
    /// Rows above and columns left of the input that count as zeros.
    pub padding: [usize; 2],
}

/// A checked [`WindowSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(WindowSpec);

impl Window {
    /// Checks how windows move. Taps beyond the input read zeros on every side, so outputs may lie beyond it.
    ///
    /// # Errors
    /// [`ShapeError::Zero`] if any extent, stride or dilation is zero, [`ShapeError::TooLarge`] if a plane, the kernel,
    /// the padding or the reach of all windows exceeds `2^32 - 1` positions.
    pub fn new(spec: WindowSpec) -> Result<Self, ShapeError> {
        let WindowSpec { input, output, kernel, stride, dilation, padding } = spec;
        for (what, [height, width]) in [
            (["input height", "input width"], input),
            (["output height", "output width"], output),
            (["kernel height", "kernel width"], kernel),
            (["vertical stride", "horizontal stride"], stride),
            (["vertical dilation", "horizontal dilation"], dilation),
        ] {
            at_least_one(what[0], height)?;
            at_least_one(what[1], width)?;
        }
        elements("input plane", &input)?;
        elements("output plane", &output)?;
        elements("kernel", &kernel)?;
        let reaches = [
            reach(output[0], stride[0], kernel[0], dilation[0]),
            reach(output[1], stride[1], kernel[1], dilation[1]),
            Some(padding[0]),
            Some(padding[1]),
        ];
        if reaches.iter().any(|reach| reach.is_none_or(|reach| reach > MAX_ELEMENTS)) {
            return Err(ShapeError::TooLarge { what: "movement of the windows" });
        }
        Ok(Self(spec))
    }

    /// One window per element: kernel, stride and dilation 1, no padding.
    ///
    /// # Errors
    /// As for [`Window::new`].
    pub fn elementwise(plane: [usize; 2]) -> Result<Self, ShapeError> {
        Self::new(WindowSpec {
            input: plane,
            output: plane,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0, 0],
        })
    }

    /// One window over the whole plane.
    ///
    /// # Errors
    /// As for [`Window::new`].
    pub fn whole(plane: [usize; 2]) -> Result<Self, ShapeError> {
        Self::new(WindowSpec {
            input: plane,
            output: [1, 1],
            kernel: plane,
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0, 0],
        })
    }

    /// All numbers at once.
    pub fn spec(&self) -> &WindowSpec {
        &self.0
    }

    /// Height and width of the input.
    pub fn input(&self) -> [usize; 2] {
        self.0.input
    }

    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.0.output
    }

    /// Height and width of the kernel.
    pub fn kernel(&self) -> [usize; 2] {
        self.0.kernel
    }

    /// Distance of neighbouring windows.
    pub fn stride(&self) -> [usize; 2] {
        self.0.stride
    }

    /// Distance of neighbouring taps.
    pub fn dilation(&self) -> [usize; 2] {
        self.0.dilation
    }

    /// Rows above and columns left of the input that count as zeros.
    pub fn padding(&self) -> [usize; 2] {
        self.0.padding
    }

    /// Elements of the input plane.
    pub(crate) fn input_area(&self) -> usize {
        self.0.input[0] * self.0.input[1]
    }

    /// Elements of the output plane.
    pub(crate) fn output_area(&self) -> usize {
        self.0.output[0] * self.0.output[1]
    }

    /// Taps of the kernel.
    pub(crate) fn kernel_area(&self) -> usize {
        self.0.kernel[0] * self.0.kernel[1]
    }

    /// Calls `f(tap, input position)` for every tap of the window at `position` that lies on the input.
    #[inline]
    pub(crate) fn taps(&self, position: usize, mut f: impl FnMut(usize, usize)) {
        let WindowSpec { input: [height, width], output, kernel, stride, dilation, padding } = self.0;
        let at = [position / output[1] * stride[0], position % output[1] * stride[1]];
        for i in 0..kernel[0] {
            let y = (at[0] + i * dilation[0]).wrapping_sub(padding[0]);
            if y >= height {
                continue;
            }
            for j in 0..kernel[1] {
                let x = (at[1] + j * dilation[1]).wrapping_sub(padding[1]);
                if x < width {
                    f(i * kernel[1] + j, y * width + x);
                }
            }
        }
    }

    /// Adds to each element of the output plane `y` the products of the kernel's taps with the input plane `x`, tap after tap.
    pub(crate) fn add_products(&self, x: &[f64], kernel: &[f64], y: &mut [f64]) {
        let WindowSpec { input, output, kernel: [_, wide], stride, dilation, padding } = self.0;
        for (tap, &weight) in kernel.iter().enumerate() {
            let down = tap / wide * dilation[0];
            let right = tap % wide * dilation[1];
            // The first column whose tap lies on the input, or right of it.
            let from = padding[1].saturating_sub(right).div_ceil(stride[1]);
            let begin = from * stride[1] + right - padding[1];
            for (row, y) in y.chunks_exact_mut(output[1]).enumerate() {
                let line = (row * stride[0] + down).wrapping_sub(padding[0]);
                if line >= input[0] {
                    continue;
                }
                let Some(x) = x.get(line * input[1]..(line + 1) * input[1]).and_then(|x| x.get(begin..))
                else {
                    continue;
                };
                let Some(y) = y.get_mut(from..) else { continue };
                if stride[1] == 1 {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
                } else {
                    y.iter_mut().zip(x.iter().step_by(stride[1])).for_each(|(y, x)| *y += weight * x);
                }
            }
        }
    }
}

/// Positions from the first tap of the first window to the last tap of the last, both counted.
fn reach(windows: usize, stride: usize, taps: usize, dilation: usize) -> Option<usize> {
    let last_window = windows.checked_sub(1)?.checked_mul(stride)?;
    let last_tap = taps.checked_sub(1)?.checked_mul(dilation)?;
    last_window.checked_add(last_tap)?.checked_add(1)
}
