//! Convolutions and averages over volumes: the depth is part of the channels of planes.
//!
//! A volume `[channels][depth][height][width]` is, element by element, `channels * depth` planes. A convolution over
//! it is one over planes, whose weights between two channels of the planes are those of the distance of their depths,
//! or zero.

use crate::budget;
use crate::builder::Tensor;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::layers::{check_kernel, groups, plus_bias};
use crate::pool::{exceeds, pool_motion};
use crate::problem::Problem;
use crate::window::{Motion, Planes};
use pleura_nn::{Convolution, Linear, Window, WindowSpec};

impl Importer<'_> {
    pub(crate) fn volume_convolution(
        &mut self,
        step: &Step<'_>,
        x: &Tensor,
        [lines, planes]: [Planes; 2],
    ) -> Result<Value, Problem> {
        let weights = self.constant(step, 1, "weights")?;
        let [outputs, inputs, kernel @ ..] = weights.shape.as_slice() else {
            return Err(Problem::shape("list of weights", &weights.shape, "[outputs, inputs, ..kernel]"));
        };
        let line_kernel = lines.pair(kernel, 1, "kernel")?;
        let plane_kernel = planes.pair(kernel, 1, "kernel")?;
        let groups = groups(step)?;
        if inputs.checked_mul(groups) != Some(lines.channels) || outputs % groups != 0 || *outputs == 0 {
            let expected = format!("one for {} channels in {groups} groups", lines.channels);
            return Err(Problem::shape("list of weights", &weights.shape, expected));
        }
        check_kernel(step, &lines, line_kernel)?;
        check_kernel(step, &planes, plane_kernel)?;
        let (line, _) = Motion::new(step, &lines, line_kernel)?.over(lines.size, false)?;
        let (window, _) = Motion::new(step, &planes, plane_kernel)?.over(planes.size, false)?;
        let [_, depth] = line.input();
        let [_, length] = line.output();
        let [height, width] = window.output();
        let shape = [*outputs, length, height, width];
        budget::elements(&shape)?;

        let taps: usize = plane_kernel.iter().product();
        let folded_inputs = inputs.saturating_mul(depth);
        let count = budget::elements(&[outputs * length, folded_inputs, taps])?;
        self.builder.budget.charge(count)?;
        let values = weights.to_floats()?;
        let mut folded = vec![0.0; count];
        for output in 0..*outputs {
            for input in 0..*inputs {
                for (tap, at, from) in line_taps(&line) {
                    let first = ((output * inputs + input) * line_kernel[1] + tap) * taps;
                    let to = ((output * length + at) * folded_inputs + input * depth + from) * taps;
                    let (Some(own), Some(place)) =
                        (values.get(first..first + taps), folded.get_mut(to..to + taps))
                    else {
                        return Err(Problem::Internal(
                            "the weights of a volume are not where they are expected",
                        ));
                    };
                    place.copy_from_slice(own);
                }
            }
        }
        let channels = [planes.channels, outputs * length];
        let linear = Linear::new(Convolution::new(channels, groups, window, folded)?);
        let linear = plus_bias(linear, self.optional_constant(step, 2, "bias")?, *outputs)?;
        self.builder.linear(&step.name, x, &shape, linear).map(Value::Tensor)
    }

    /// The average over the depth of a volume whose planes have a size, and the depth of the result.
    pub(crate) fn means_over_depth(
        &mut self,
        step: &Step<'_>,
        lines: &Planes,
        size: [usize; 2],
    ) -> Result<(Linear, usize), Problem> {
        let (line, motion) = pool_motion(step, lines)?;
        let [_, depth] = line.input();
        let [_, length] = line.output();
        budget::elements(&[lines.channels, length, size[0], size[1]])?;
        let count_padding = step.int("count_include_pad", 0) != 0;
        if count_padding && exceeds(&line, &motion) {
            self.note_divisor(step);
        }
        let WindowSpec { kernel, stride, dilation, padding, .. } = *line.spec();
        let counts: Vec<usize> = (0..length)
            .map(|at| {
                // Padding counts as far as it was asked for, not where the last window reaches beyond it.
                let (first, end) = if count_padding {
                    (0, depth + padding[1] + motion.after[1])
                } else {
                    (padding[1], depth + padding[1])
                };
                let places = (0..kernel[1]).map(|tap| at * stride[1] + tap * dilation[1]);
                places.filter(|place| (first..end).contains(place)).count()
            })
            .collect();
        let taps = line_taps(&line);
        let weights = budget::elements(&[lines.channels, length, depth])?;
        self.builder.budget.charge(weights)?;
        let mut folded = vec![0.0; weights];
        for channel in 0..lines.channels {
            for &(_, at, from) in &taps {
                let count = counts.get(at).filter(|count| **count > 0);
                let count = *count.ok_or(Problem::Internal("a window of a volume is empty"))?;
                let weight = folded.get_mut((channel * length + at) * depth + from);
                *weight.ok_or(Problem::Internal("a tap lies outside of its volume"))? = 1.0 / count as f64;
            }
        }
        let channels = [lines.channels * depth, lines.channels * length];
        let window = Window::elementwise(size)?;
        Ok((Linear::new(Convolution::new(channels, lines.channels, window, folded)?), length))
    }
}

/// Every tap that lies inside a line: the tap, the window, and the place it reads.
fn line_taps(line: &Window) -> Vec<(usize, usize, usize)> {
    let WindowSpec { input: [_, depth], output: [_, length], kernel, stride, dilation, padding } =
        *line.spec();
    let all = (0..length).flat_map(|at| (0..kernel[1]).map(move |tap| (tap, at)));
    all.filter_map(|(tap, at)| {
        let from = (at * stride[1] + tap * dilation[1]).checked_sub(padding[1])?;
        (from < depth).then_some((tap, at, from))
    })
    .collect()
}
