//! How kernels move over planes; one-dimensional ones over planes of height one.

use crate::budget;
use crate::graph::Step;
use crate::problem::Problem;
use pleura_nn::{Window, WindowSpec};

/// Greatest stride, dilation, padding and extent of a kernel.
const MAX_STEP: i64 = 1 << 24;

/// An item as channels of planes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    pub(crate) channels: usize,
    pub(crate) size: [usize; 2],
    /// Whether there is a length only, no height and width.
    pub(crate) flat: bool,
    /// Numbers of axes of the model before and after those of the planes.
    outer_axes: [usize; 2],
}

/// The attributes that say how a kernel moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Motion {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) before: [usize; 2],
    pub(crate) after: [usize; 2],
    /// Whether padding is such that the output has as many windows as strides fit, the odd one before or after.
    pub(crate) same: Option<Odd>,
}

/// Where the odd row of padding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Before,
    After,
}

impl Planes {
    pub(crate) fn of(shape: &[usize]) -> Result<Self, Problem> {
        match *shape {
            [channels, length] => Ok(Self { channels, size: [1, length], flat: true, outer_axes: [0, 0] }),
            [channels, height, width] => {
                Ok(Self { channels, size: [height, width], flat: false, outer_axes: [0, 0] })
            }
            _ => Err(Problem::shape(
                "item",
                shape,
                "[channels, length], [channels, height, width] or [channels, depth, height, width]",
            )),
        }
    }

    /// A volume, `[channels, depth, height, width]`, as lines along the depth, and as planes of one channel per depth.
    pub(crate) fn of_volume(shape: &[usize]) -> Option<[Self; 2]> {
        let &[channels, depth, height, width] = shape else { return None };
        Some([
            Self { channels, size: [1, depth], flat: true, outer_axes: [0, 2] },
            Self { channels: channels * depth, size: [height, width], flat: false, outer_axes: [1, 0] },
        ])
    }

    /// The shape of an item with other channels and planes.
    pub(crate) fn shape(&self, channels: usize, [height, width]: [usize; 2]) -> Vec<usize> {
        if self.flat { vec![channels, width] } else { vec![channels, height, width] }
    }

    /// One number per axis of the plane, from those of the model.
    pub(crate) fn pair<T: Copy>(&self, list: &[T], one: T, what: &'static str) -> Result<[T; 2], Problem> {
        let [before, after] = self.outer_axes;
        let own = list.len().checked_sub(after).and_then(|end| list.get(before..end));
        match (own, self.flat) {
            (Some(&[x]), true) => Ok([one, x]),
            (Some(&[y, x]), false) => Ok([y, x]),
            _ => {
                let expected = before + after + if self.flat { 1 } else { 2 };
                Err(Problem::Count { what, found: list.len(), expected })
            }
        }
    }
}

impl Motion {
    pub(crate) fn new(step: &Step<'_>, planes: &Planes, kernel: [usize; 2]) -> Result<Self, Problem> {
        let steps = |name: &'static str| match step.ints(name) {
            Some(list) if !list.is_empty() => planes.pair(&checked(list, 1, name)?, 1, name),
            _ => Ok([1, 1]),
        };
        let stride = steps("strides")?;
        let dilation = steps("dilations")?;
        if kernel.contains(&0) || kernel.iter().any(|&k| k > MAX_STEP as usize) {
            return Err(Problem::shape("kernel", &kernel, format!("1 to {MAX_STEP} taps on each axis")));
        }
        let mut before = [0, 0];
        let mut after = [0, 0];
        let mut same = None;
        match step.string("auto_pad") {
            Some(mode @ ("SAME_UPPER" | "SAME_LOWER" | "VALID")) => {
                if step.ints("pads").is_some_and(|list| list.iter().any(|&pad| pad != 0)) {
                    return Err(Problem::attribute(
                        "pads",
                        "given beside auto_pad",
                        "auto_pad NOTSET with explicit pads",
                    ));
                }
                same = match mode {
                    "SAME_UPPER" => Some(Odd::After),
                    "SAME_LOWER" => Some(Odd::Before),
                    _ => None,
                };
            }
            None | Some("NOTSET" | "") => {
                if let Some(list) = step.ints("pads").filter(|list| !list.is_empty()) {
                    let pads = checked(list, 0, "pads")?;
                    let (first, last) = pads.split_at(pads.len() / 2);
                    (before, after) = (planes.pair(first, 0, "pads")?, planes.pair(last, 0, "pads")?);
                }
            }
            Some(other) => {
                return Err(Problem::attribute("auto_pad", other, "NOTSET with explicit pads"));
            }
        }
        Ok(Self { kernel, stride, dilation, before, after, same })
    }

    /// From the first tap to the last, both counted, on each axis.
    #[expect(clippy::indexing_slicing, reason = "two axes")]
    pub(crate) fn reach(&self) -> [usize; 2] {
        [0, 1].map(|a| self.dilation[a] * (self.kernel[a] - 1) + 1)
    }

    /// The windows over an input, and the motion with its padding filled in.
    #[expect(clippy::indexing_slicing, reason = "two axes")]
    pub(crate) fn over(mut self, input: [usize; 2], ceil: bool) -> Result<(Window, Self), Problem> {
        let mut output = [0; 2];
        for a in 0..2 {
            let reach = self.reach()[a];
            let stride = self.stride[a];
            if let Some(odd) = self.same {
                let total = ((input[a].div_ceil(stride) - 1) * stride + reach).saturating_sub(input[a]);
                self.before[a] = if odd == Odd::After { total / 2 } else { total.div_ceil(2) };
                self.after[a] = total - self.before[a];
            }
            let extent = input[a] + self.before[a] + self.after[a];
            let Some(room) = extent.checked_sub(reach) else {
                return Err(Problem::Kernel { reach, extent });
            };
            output[a] = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // A window that starts in the padding behind the input does not count.
            if ceil && (output[a] - 1) * stride >= input[a] + self.before[a] {
                output[a] -= 1;
            }
        }
        budget::elements(&output)?;
        let Self { kernel, stride, dilation, before: padding, .. } = self;
        Ok((Window::new(WindowSpec { input, output, kernel, stride, dilation, padding })?, self))
    }
}

/// Numbers of an attribute within sensible limits.
pub(crate) fn checked(list: &[i64], least: i64, name: &'static str) -> Result<Vec<usize>, Problem> {
    list.iter()
        .map(|&x| match usize::try_from(x) {
            Ok(value) if (least..=MAX_STEP).contains(&x) => Ok(value),
            _ => Err(Problem::attribute(name, format!("{list:?}"), format!("{least} to {MAX_STEP}"))),
        })
        .collect()
}
