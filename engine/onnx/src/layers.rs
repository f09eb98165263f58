//! Layers with weights.

use crate::budget;
use crate::builder::Tensor;
use crate::constant::Constant;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape::{Selection, broadcast};
use crate::unsupported::Unsupported;
use crate::window::{Motion, Odd, Planes, checked};
use pleura_nn::{Convolution, Dense, Gather, Linear, ShapeError, Sparse, Window, WindowSpec};

impl Importer<'_> {
    pub(crate) fn convolution(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = self.tensor(step, 0)?;
        if let Some(volume) = Planes::of_volume(&x.shape) {
            return self.volume_convolution(step, &x, volume);
        }
        let planes = Planes::of(&x.shape)?;
        let weights = self.constant(step, 1, "weights")?;
        let [outputs, depth, kernel @ ..] = weights.shape.as_slice() else {
            return Err(Problem::shape("list of weights", &weights.shape, "[outputs, inputs, ..kernel]"));
        };
        let kernel = planes.pair(kernel, 1, "kernel")?;
        let groups = groups(step)?;
        if depth.checked_mul(groups) != Some(planes.channels) || outputs % groups != 0 || *outputs == 0 {
            let expected = format!("one for {} channels in {groups} groups", planes.channels);
            return Err(Problem::shape("list of weights", &weights.shape, expected));
        }
        check_kernel(step, &planes, kernel)?;
        let (window, _) = Motion::new(step, &planes, kernel)?.over(planes.size, false)?;
        let shape = planes.shape(*outputs, window.output());
        budget::elements(&shape)?;
        let bias = self.optional_constant(step, 2, "bias")?;
        let channels = [planes.channels, *outputs];
        let weights = weights.to_floats()?.to_vec();
        let linear = Linear::new(Convolution::new(channels, groups, window, weights)?);
        let linear = plus_bias(linear, bias, *outputs)?;
        self.builder.linear(&step.name, &x, &shape, linear).map(Value::Tensor)
    }

    #[expect(clippy::indexing_slicing, reason = "the shape of the weights was checked")]
    pub(crate) fn transposed_convolution(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = self.tensor(step, 0)?;
        if Planes::of_volume(&x.shape).is_some() {
            return Err(Unsupported::TransposedVolume.into());
        }
        let planes = Planes::of(&x.shape)?;
        let weights = self.constant(step, 1, "weights")?;
        let [inputs, per_group, kernel @ ..] = weights.shape.as_slice() else {
            return Err(Problem::shape("list of weights", &weights.shape, "[inputs, outputs, ..kernel]"));
        };
        let kernel = planes.pair(kernel, 1, "kernel")?;
        let groups = groups(step)?;
        if *inputs != planes.channels || inputs % groups != 0 || *per_group == 0 {
            let expected = format!("one for {} channels in {groups} groups", planes.channels);
            return Err(Problem::shape("list of weights", &weights.shape, expected));
        }
        check_kernel(step, &planes, kernel)?;
        let outputs = per_group
            .checked_mul(groups)
            .ok_or(Problem::Map(ShapeError::TooLarge { what: "number of output channels" }))?;
        let window = transposed_window(step, &planes, kernel)?;
        let shape = planes.shape(outputs, window.input);
        let len = budget::elements(&shape)?;
        let taps = kernel.iter().product::<usize>();
        self.builder.budget.charge(len.saturating_mul(taps))?;
        let weights = weights.to_floats()?;
        let depth = inputs / groups;
        let [height, width] = window.output;
        let [rows, columns] = window.input;
        let mut starts = vec![0u32];
        let mut entries = Vec::new();
        for i in 0..len {
            let channel = i / (rows * columns);
            let position = i % (rows * columns);
            let group = channel / per_group;
            let output = channel % per_group;
            for tap in 0..taps {
                let at = [position / columns, position % columns];
                let Some([y, x]) = source(&window, at, [tap / kernel[1], tap % kernel[1]]) else { continue };
                self.builder.budget.charge(2 * depth)?;
                for input in group * depth..(group + 1) * depth {
                    let weight = weights[(input * per_group + output) * taps + tap];
                    entries.push((((input * height + y) * width + x) as u32, weight));
                }
            }
            starts.push(entries.len() as u32);
        }
        let linear = Linear::new(Sparse::new(x.len(), starts, entries)?);
        let linear = plus_bias(linear, self.optional_constant(step, 2, "bias")?, outputs)?;
        self.builder.linear(&step.name, &x, &shape, linear).map(Value::Tensor)
    }

    pub(crate) fn batch_normalization(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        // From version 7 to 13, it was training if there were further results.
        let by_outputs =
            (7..14).contains(&self.opset) && step.node.output.iter().skip(1).any(|name| !name.is_empty());
        if step.int("training_mode", 0) != 0 || self.opset < 7 && step.int("is_test", 0) == 0 || by_outputs {
            return Err(Problem::TrainingMode);
        }
        let x = self.tensor(step, 0)?;
        // Statistics of each element, not of each channel.
        let channels =
            if step.int("spatial", 1) == 0 { x.len() } else { x.shape.first().copied().unwrap_or(1) };
        let mut parameters = Vec::new();
        for (i, what) in ["scale", "bias", "mean", "variance"].into_iter().enumerate() {
            let values = self.constant(step, i + 1, what)?.to_floats()?;
            if values.len() != channels {
                return Err(Problem::Count { what, found: values.len(), expected: channels });
            }
            parameters.push(values);
        }
        let epsilon = step.float("epsilon", 1e-5)?;
        let [scale, bias, mean, variance] = parameters.as_slice() else {
            return Err(Problem::missing("parameters"));
        };
        let factors: Vec<f64> =
            scale.iter().zip(variance.iter()).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let offsets: Vec<f64> =
            bias.iter().zip(mean.iter()).zip(&factors).map(|((b, m), f)| b - m * f).collect();
        if !factors.iter().chain(&offsets).all(|f| f.is_finite()) {
            return Err(Problem::NotFinite { what: "scale divided by the root of its variance" });
        }
        self.builder.budget.charge(2 * x.len())?;
        let plane = x.len() / channels;
        let repeat =
            |list: Vec<f64>| list.into_iter().flat_map(|f| std::iter::repeat_n(f, plane)).collect::<Vec<_>>();
        let linear = Linear::scale(repeat(factors)).plus(&repeat(offsets));
        self.builder.linear(&step.name, &x, &x.shape, linear).map(Value::Tensor)
    }

    pub(crate) fn gemm(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = match self.value(step, 0)? {
            Value::Tensor(x) if step.int("transA", 0) == 0 => x,
            Value::Tensor(_) => {
                return Err(Unsupported::EncryptedSide.into());
            }
            Value::Constant(_) => {
                return Err(Unsupported::EncryptedSide.into());
            }
        };
        let weights = self.constant(step, 1, "weights")?;
        let &[rows, columns] = weights.shape.as_slice() else {
            return Err(Problem::shape("list of weights", &weights.shape, "a matrix"));
        };
        let transposed = step.int("transB", 0) != 0;
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        if x.shape != [inputs] || outputs == 0 {
            return Err(Problem::shape("item", &x.shape, format!("one of {inputs} features")));
        }
        let mut matrix = row_per_output(&weights, transposed)?;
        let alpha = step.float("alpha", 1.0)?;
        if alpha != 1.0 {
            matrix.iter_mut().for_each(|w| *w *= alpha);
        }
        let product = Linear::new(Dense::new(inputs, matrix)?);
        let beta = Constant::floats(vec![], vec![step.float("beta", 1.0)?]).of(weights.element);
        let beta = Value::Constant(beta);
        let addend = match self.optional(step, 2)? {
            // Before version 7, the addend was repeated only if it was said so.
            Some(addend)
                if self.opset < 7 && step.int("broadcast", 0) == 0 && addend.full_shape() != [1, outputs] =>
            {
                return Err(Problem::Broadcast { left: vec![1, outputs], right: addend.full_shape() });
            }
            Some(addend) => Some(self.combine(step, "Mul", &addend, &beta)?),
            None => None,
        };
        match addend {
            Some(Value::Constant(bias))
                if broadcast(&bias.shape, &[1, outputs])? == [1, outputs] && bias.shape.len() <= 2 =>
            {
                let bias = bias.to_floats()?;
                let bias: Vec<f64> = bias.iter().copied().cycle().take(outputs).collect();
                self.builder.linear(&step.name, &x, &[outputs], product.plus(&bias)).map(Value::Tensor)
            }
            Some(addend) => {
                let product = self.builder.linear(&step.name, &x, &[outputs], product)?;
                self.combine(step, "Add", &Value::Tensor(product), &addend)
            }
            None => self.builder.linear(&step.name, &x, &[outputs], product).map(Value::Tensor),
        }
    }

    pub(crate) fn matmul(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        match (self.float_value(step, 0)?, self.float_value(step, 1)?) {
            (Value::Tensor(x), Value::Constant(w)) if !x.shape.is_empty() && w.shape.len() <= 2 => {
                self.times_matrix(step, &x, &w)
            }
            (Value::Constant(w), Value::Tensor(x)) if w.shape.len() == 2 && x.shape.len() == 2 => {
                self.matrix_times(step, &w, &x)
            }
            _ => self.product(step),
        }
    }

    /// `x w`, on the last axis of `x`.
    fn times_matrix(&mut self, step: &Step<'_>, x: &Tensor, w: &Constant) -> Result<Value, Problem> {
        let Some((&inputs, leading)) = x.shape.split_last() else {
            return Err(Problem::shape("item", &x.shape, "at least one axis"));
        };
        let ((rows, outputs), vector) = match w.shape.as_slice() {
            [rows, columns] => ((*rows, *columns), false),
            [rows] => ((*rows, 1), true),
            other => return Err(Problem::shape("list of weights", other, "a matrix")),
        };
        if rows != inputs || outputs == 0 {
            return Err(Problem::shape("item", &x.shape, format!("one of {rows} features")));
        }
        let mut shape = leading.to_vec();
        if !vector {
            shape.push(outputs);
        }
        budget::elements(&shape)?;
        let count: usize = leading.iter().product();
        let weights = row_per_output(&w.reshaped(vec![rows, outputs]), false)?;
        let linear = if count == 1 {
            Linear::new(Dense::new(inputs, weights)?)
        } else {
            // Features as channels of a plane: the matrix is a convolution of one tap.
            let transpose = |rows: usize, columns: usize, importer: &mut Self| {
                let selection = Selection::permute(&[rows, columns], &[1, 0], &mut importer.builder.budget)?;
                Ok::<_, Problem>(Linear::new(Gather::new(rows * columns, selection.sources)?))
            };
            transpose(count, inputs, self)?
                .then(Linear::new(by_channel([inputs, outputs], count, weights)?))
                .then(transpose(outputs, count, self)?)
        };
        self.builder.linear(&step.name, x, &shape, linear).map(Value::Tensor)
    }

    /// `w x`, on the last axis but one of `x`.
    fn matrix_times(&mut self, step: &Step<'_>, w: &Constant, x: &Tensor) -> Result<Value, Problem> {
        let (&[outputs, rows], &[inputs, count]) = (w.shape.as_slice(), x.shape.as_slice()) else {
            let expected =
                format!("a matrix beside an item of shape {:?}, or a constant on the right,", x.shape);
            return Err(Problem::shape("constant left side", &w.shape, expected));
        };
        if rows != inputs || outputs == 0 {
            return Err(Problem::shape("item", &x.shape, format!("one of {rows} rows")));
        }
        budget::elements(&[outputs, count])?;
        let linear = Linear::new(by_channel([inputs, outputs], count, w.to_floats()?.to_vec())?);
        self.builder.linear(&step.name, x, &[outputs, count], linear).map(Value::Tensor)
    }
}

pub(crate) fn groups(step: &Step<'_>) -> Result<usize, Problem> {
    let groups = step.int("group", 1);
    usize::try_from(groups)
        .ok()
        .filter(|&g| g > 0)
        .ok_or_else(|| Problem::attribute("number of groups", groups, "at least 1"))
}

pub(crate) fn check_kernel(step: &Step<'_>, planes: &Planes, kernel: [usize; 2]) -> Result<(), Problem> {
    match step.ints("kernel_shape") {
        Some(list) if !list.is_empty() => {
            let declared = planes.pair(&checked(list, 1, "kernel_shape")?, 1, "kernel_shape")?;
            (declared == kernel).then_some(()).ok_or_else(|| {
                let expected = format!("the kernel {kernel:?} of its weights");
                Problem::attribute("kernel_shape", format!("{declared:?}"), expected)
            })
        }
        _ => Ok(()),
    }
}

/// One bias per channel.
pub(crate) fn plus_bias(linear: Linear, bias: Option<Constant>, channels: usize) -> Result<Linear, Problem> {
    let Some(bias) = bias else { return Ok(linear) };
    let bias = bias.to_floats()?;
    if bias.len() != channels {
        return Err(Problem::Count { what: "bias", found: bias.len(), expected: channels });
    }
    let plane = linear.outputs() / channels;
    let repeated: Vec<f64> = bias.iter().flat_map(|&b| std::iter::repeat_n(b, plane)).collect();
    Ok(linear.plus(&repeated))
}

/// A matrix of weights, the inputs of an output side by side.
fn row_per_output(weights: &Constant, transposed: bool) -> Result<Vec<f64>, Problem> {
    let values = weights.to_floats()?;
    match (transposed, weights.shape.as_slice()) {
        (false, &[rows, columns]) if rows > 0 => {
            Ok((0..columns).flat_map(|c| values.iter().skip(c).step_by(columns).copied()).collect())
        }
        _ => Ok(values.to_vec()),
    }
}

/// Applies one matrix over the channels at each of `count` positions.
fn by_channel(channels: [usize; 2], count: usize, weights: Vec<f64>) -> Result<Convolution, ShapeError> {
    Convolution::new(channels, 1, Window::elementwise([1, count])?, weights)
}

/// The windows of the convolution that a transposed one is the transpose of: from its output to its input.
#[expect(clippy::indexing_slicing, reason = "two axes")]
fn transposed_window(step: &Step<'_>, planes: &Planes, kernel: [usize; 2]) -> Result<WindowSpec, Problem> {
    let motion = Motion::new(step, planes, kernel)?;
    let pair = |name: &'static str, least, default: [usize; 2]| match step.ints(name) {
        Some(list) if !list.is_empty() => planes.pair(&checked(list, least, name)?, default[0], name),
        _ => Ok(default),
    };
    let extra = pair("output_padding", 0, [0, 0])?;
    let wanted = if step.has("output_shape") { Some(pair("output_shape", 1, [1, 1])?) } else { None };
    let mut size = [0; 2];
    let mut padding = motion.before;
    for a in 0..2 {
        let whole = (planes.size[a] - 1) * motion.stride[a] + motion.reach()[a] + extra[a];
        let same = motion.same.map(|_| planes.size[a] * motion.stride[a]);
        let target = wanted.map(|w| w[a]).or(same);
        // Here the specification and its implementations differ.
        if let Some(target) = target.filter(|&target| target > whole) {
            let expected = format!("at most {whole} without output_padding");
            return Err(Problem::attribute("output_shape", target, expected));
        }
        let total = match target {
            Some(target) => whole.saturating_sub(target),
            None => motion.before[a] + motion.after[a],
        };
        if target.is_some() {
            padding[a] = if motion.same == Some(Odd::After) { total / 2 } else { total.div_ceil(2) };
        }
        let size_or = whole.checked_sub(total).filter(|&n| n > 0);
        size[a] = target
            .or(size_or)
            .ok_or_else(|| Problem::attribute("padding", format!("{total}"), format!("less than {whole}")))?;
    }
    let Motion { kernel, stride, dilation, .. } = motion;
    Ok(WindowSpec { input: size, output: planes.size, kernel, stride, dilation, padding })
}

/// The position that a tap brings to a place of the transposed convolution's output.
#[expect(clippy::indexing_slicing, reason = "two axes")]
fn source(window: &WindowSpec, at: [usize; 2], tap: [usize; 2]) -> Option<[usize; 2]> {
    let mut out = [0; 2];
    for a in 0..2 {
        let offset = (at[a] + window.padding[a]).checked_sub(tap[a] * window.dilation[a])?;
        let position = offset / window.stride[a];
        if offset % window.stride[a] != 0 || position >= window.output[a] {
            return None;
        }
        out[a] = position;
    }
    Some(out)
}
