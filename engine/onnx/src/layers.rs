//! Layers with weights.

use crate::budget;
use crate::builder::Tensor;
use crate::constant::Constant;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::shape::Selection;
use crate::window::{Motion, Odd, Planes, checked};
use pleura_nn::{Convolution, Linear, Map, Window};

impl Importer<'_> {
    pub(crate) fn convolution(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let x = self.tensor(step, 0)?;
        let planes = Planes::of(&x.shape)?;
        let weights = self.constant(step, 1, "weights")?;
        let [outputs, depth, kernel @ ..] = weights.shape.as_slice() else {
            return Err("its weights have no channels; correct the model".into());
        };
        let kernel = planes.pair(kernel, 1, "kernel")?;
        let groups = groups(step)?;
        if depth.checked_mul(groups) != Some(planes.channels) || outputs % groups != 0 || *outputs == 0 {
            return Err(format!(
                "its weights of shape {:?} in {groups} groups do not fit {} channels; correct the model",
                weights.shape, planes.channels
            ));
        }
        check_kernel(step, &planes, kernel)?;
        let (window, _) = Motion::new(step, &planes, kernel)?.over(planes.size, false)?;
        let shape = planes.shape(*outputs, window.output);
        budget::elements(&shape)?;
        let bias = self.optional_constant(step, 2, "bias")?;
        let channels = [planes.channels, *outputs];
        let weights = weights.to_floats()?.to_vec();
        let linear = Linear::new(Map::Convolution(Convolution { channels, groups, window, weights }));
        let linear = plus_bias(linear, bias, *outputs)?;
        self.builder.linear(&step.name, &x, &shape, linear).map(Value::Tensor)
    }

    pub(crate) fn transposed_convolution(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let x = self.tensor(step, 0)?;
        let planes = Planes::of(&x.shape)?;
        let weights = self.constant(step, 1, "weights")?;
        let [inputs, per_group, kernel @ ..] = weights.shape.as_slice() else {
            return Err("its weights have no channels; correct the model".into());
        };
        let kernel = planes.pair(kernel, 1, "kernel")?;
        let groups = groups(step)?;
        if *inputs != planes.channels || inputs % groups != 0 || *per_group == 0 {
            return Err(format!(
                "its weights of shape {:?} in {groups} groups do not fit {} channels; correct the model",
                weights.shape, planes.channels
            ));
        }
        check_kernel(step, &planes, kernel)?;
        let outputs = per_group.checked_mul(groups).ok_or("its channels overflow; correct the model")?;
        let window = transposed_window(step, &planes, kernel)?;
        let shape = planes.shape(outputs, window.input);
        let len = budget::elements(&shape)?;
        let taps = kernel.iter().product::<usize>();
        self.builder.budget.charge(len.saturating_mul(taps))?;
        let (weights, depth) = (weights.to_floats()?, inputs / groups);
        let ([height, width], [rows, columns]) = (window.output, window.input);
        let (mut starts, mut entries) = (vec![0u32], Vec::new());
        for i in 0..len {
            let (channel, position) = (i / (rows * columns), i % (rows * columns));
            let (group, output) = (channel / per_group, channel % per_group);
            for tap in 0..taps {
                let at = [position / columns, position % columns];
                let Some([y, x]) = source(&window, at, [tap / kernel[1], tap % kernel[1]]) else { continue };
                self.builder.budget.charge(2 * depth)?;
                for input in group * depth..(group + 1) * depth {
                    let weight =
                        weights.get((input * per_group + output) * taps + tap).copied().unwrap_or(0.0);
                    entries.push((((input * height + y) * width + x) as u32, weight));
                }
            }
            starts.push(entries.len() as u32);
        }
        let linear = Linear::new(Map::Sparse { inputs: x.len(), starts, entries });
        let linear = plus_bias(linear, self.optional_constant(step, 2, "bias")?, outputs)?;
        self.builder.linear(&step.name, &x, &shape, linear).map(Value::Tensor)
    }

    pub(crate) fn batch_normalization(&mut self, step: &Step<'_>) -> Result<Value, String> {
        if step.int("training_mode", 0) != 0 || self.opset < 7 && step.int("is_test", 0) == 0 {
            return Err("it is in training mode; call model.eval() before the export".into());
        }
        let x = self.tensor(step, 0)?;
        let channels = x.shape.first().copied().unwrap_or(1);
        let mut parameters = Vec::new();
        for (i, what) in ["scale", "bias", "mean", "variance"].into_iter().enumerate() {
            let values = self.constant(step, i + 1, what)?.to_floats()?;
            if values.len() != channels {
                let found = values.len();
                return Err(format!(
                    "its {what} has {found} numbers for {channels} channels; correct the model"
                ));
            }
            parameters.push(values);
        }
        let epsilon = step.float("epsilon", 1e-5)?;
        let [scale, bias, mean, variance] = parameters.as_slice() else {
            return Err("its parameters are missing; export the model again".into());
        };
        let factors: Vec<f64> =
            scale.iter().zip(variance.iter()).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let offsets: Vec<f64> =
            bias.iter().zip(mean.iter()).zip(&factors).map(|((b, m), f)| b - m * f).collect();
        if !factors.iter().chain(&offsets).all(|f| f.is_finite()) {
            return Err("its variance is negative or too small; check the training".into());
        }
        self.builder.budget.charge(2 * x.len())?;
        let plane = x.len() / channels;
        let repeat =
            |list: Vec<f64>| list.into_iter().flat_map(|f| std::iter::repeat_n(f, plane)).collect::<Vec<_>>();
        let linear = Linear::new(Map::Scale(repeat(factors))).plus(&repeat(offsets));
        self.builder.linear(&step.name, &x, &x.shape, linear).map(Value::Tensor)
    }

    pub(crate) fn gemm(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let x = match self.value(step, 0)? {
            Value::Tensor(x) if step.int("transA", 0) == 0 => x,
            Value::Tensor(_) => {
                return Err("it transposes the encrypted side; transpose the weights instead".into());
            }
            Value::Constant(_) => {
                return Err(
                    "its left side is constant, and so the batch is not first; put the weights right".into(),
                );
            }
        };
        let weights = self.constant(step, 1, "weights")?;
        let &[rows, columns] = weights.shape.as_slice() else {
            return Err(format!("its weights have the shape {:?}; they should be a matrix", weights.shape));
        };
        let transposed = step.int("transB", 0) != 0;
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        if x.shape != [inputs] || outputs == 0 {
            return Err(format!("its weights take {inputs} features, the item has shape {:?}", x.shape));
        }
        let mut matrix = row_per_output(&weights, transposed)?;
        let alpha = step.float("alpha", 1.0)?;
        if alpha != 1.0 {
            matrix.iter_mut().for_each(|w| *w *= alpha);
        }
        let product = Linear::new(Map::Dense { inputs, weights: matrix });
        let beta = Value::Constant(Constant::floats(vec![], vec![step.float("beta", 1.0)?]));
        let addend = match self.optional(step, 2)? {
            Some(addend) => Some(self.combine(step, "Mul", &addend, &beta)?),
            None => None,
        };
        match addend {
            Some(Value::Constant(bias)) if bias.len() == 1 || bias.len() == outputs => {
                let bias = bias.to_floats()?;
                let bias: Vec<f64> = (0..outputs).filter_map(|i| bias.get(i % bias.len()).copied()).collect();
                self.builder.linear(&step.name, &x, &[outputs], product.plus(&bias)).map(Value::Tensor)
            }
            Some(addend) => {
                let product = self.builder.linear(&step.name, &x, &[outputs], product)?;
                self.combine(step, "Add", &Value::Tensor(product), &addend)
            }
            None => self.builder.linear(&step.name, &x, &[outputs], product).map(Value::Tensor),
        }
    }

    pub(crate) fn matmul(&mut self, step: &Step<'_>) -> Result<Value, String> {
        match (self.value(step, 0)?, self.value(step, 1)?) {
            (Value::Tensor(x), Value::Constant(w)) => self.times_matrix(step, &x, &w),
            (Value::Constant(w), Value::Tensor(x)) => self.matrix_times(step, &w, &x),
            (Value::Tensor(_), Value::Tensor(_)) => {
                Err("it multiplies two encrypted matrices, as attention does; only constant weights work"
                    .into())
            }
            (Value::Constant(_), Value::Constant(_)) => {
                Err("both its sides are constant; simplify the model before, for example by onnxsim".into())
            }
        }
    }

    /// `x w`, on the last axis of `x`.
    fn times_matrix(&mut self, step: &Step<'_>, x: &Tensor, w: &Constant) -> Result<Value, String> {
        let Some((&inputs, leading)) = x.shape.split_last() else {
            return Err("its item is a single number; correct the model".into());
        };
        let ((rows, outputs), vector) = match w.shape.as_slice() {
            [1, 1, rows, columns] | [1, rows, columns] if leading.len() + 3 > w.shape.len() => {
                ((*rows, *columns), false)
            }
            [rows, columns] => ((*rows, *columns), false),
            [rows] => ((*rows, 1), true),
            other => return Err(format!("a constant of shape {other:?}; it should be a matrix")),
        };
        if rows != inputs || outputs == 0 {
            return Err(format!("its weights take {rows} features, the item has shape {:?}", x.shape));
        }
        let mut shape = leading.to_vec();
        if !vector {
            shape.push(outputs);
        }
        budget::elements(&shape)?;
        let count: usize = leading.iter().product();
        let weights = row_per_output(&w.reshaped(vec![rows, outputs]), false)?;
        let linear = if count == 1 {
            Linear::new(Map::Dense { inputs, weights })
        } else {
            // Features as channels of a plane: the matrix is a convolution of one tap.
            let transpose = |rows: usize, columns: usize, importer: &mut Self| {
                let selection = Selection::permute(&[rows, columns], &[1, 0], &mut importer.builder.budget)?;
                Ok::<_, String>(Linear::new(Map::Select {
                    inputs: rows * columns,
                    sources: selection.sources,
                }))
            };
            transpose(count, inputs, self)?
                .then(Linear::new(by_channel([inputs, outputs], count, weights)))
                .then(transpose(outputs, count, self)?)
        };
        self.builder.linear(&step.name, x, &shape, linear).map(Value::Tensor)
    }

    /// `w x`, on the last axis but one of `x`.
    fn matrix_times(&mut self, step: &Step<'_>, w: &Constant, x: &Tensor) -> Result<Value, String> {
        let (&[outputs, rows], &[inputs, count]) = (w.shape.as_slice(), x.shape.as_slice()) else {
            return Err(format!(
                "a constant of shape {:?} times an item of shape {:?}; only matrices are supported, or put the \
                 constant right",
                w.shape, x.shape
            ));
        };
        if rows != inputs || outputs == 0 {
            return Err(format!("its weights take {rows} rows, the item has shape {:?}", x.shape));
        }
        budget::elements(&[outputs, count])?;
        let linear = Linear::new(by_channel([inputs, outputs], count, w.to_floats()?.to_vec()));
        self.builder.linear(&step.name, x, &[outputs, count], linear).map(Value::Tensor)
    }
}

fn groups(step: &Step<'_>) -> Result<usize, String> {
    let groups = step.int("group", 1);
    let message = || format!("it has {groups} groups; correct the model");
    usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(message)
}

fn check_kernel(step: &Step<'_>, planes: &Planes, kernel: [usize; 2]) -> Result<(), String> {
    match step.ints("kernel_shape") {
        Some(list) if !list.is_empty() => {
            let declared = planes.pair(&checked(list, 1, "kernel_shape")?, 1, "kernel_shape")?;
            let message =
                || format!("its kernel_shape {declared:?} is not that of its weights; correct the model");
            (declared == kernel).then_some(()).ok_or_else(message)
        }
        _ => Ok(()),
    }
}

/// One bias per channel.
fn plus_bias(linear: Linear, bias: Option<Constant>, channels: usize) -> Result<Linear, String> {
    let Some(bias) = bias else { return Ok(linear) };
    let bias = bias.to_floats()?;
    if bias.len() != channels {
        return Err(format!(
            "its bias has {} numbers for {channels} channels; correct the model",
            bias.len()
        ));
    }
    let plane = linear.outputs() / channels;
    let repeated: Vec<f64> = bias.iter().flat_map(|&b| std::iter::repeat_n(b, plane)).collect();
    Ok(linear.plus(&repeated))
}

/// A matrix of weights, the inputs of an output side by side.
fn row_per_output(weights: &Constant, transposed: bool) -> Result<Vec<f64>, String> {
    let values = weights.to_floats()?;
    match (transposed, weights.shape.as_slice()) {
        (false, &[rows, columns]) if rows > 0 => {
            let column = |c: usize| values.iter().skip(c).step_by(columns).copied();
            Ok((0..columns).flat_map(column).collect())
        }
        _ => Ok(values.to_vec()),
    }
}

/// The same matrix at every one of `count` positions.
fn by_channel(channels: [usize; 2], count: usize, weights: Vec<f64>) -> Map {
    let size = [1, count];
    let window = Window {
        input: size,
        output: size,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
    };
    Map::Convolution(Convolution { channels, groups: 1, window, weights })
}

/// The windows of the convolution that a transposed one is the transpose of: from its output to its input.
#[expect(clippy::indexing_slicing, reason = "two axes")]
fn transposed_window(step: &Step<'_>, planes: &Planes, kernel: [usize; 2]) -> Result<Window, String> {
    let motion = Motion::new(step, planes, kernel)?;
    let pair = |name: &str, least, default: [usize; 2]| match step.ints(name) {
        Some(list) if !list.is_empty() => planes.pair(&checked(list, least, name)?, default[0], name),
        _ => Ok(default),
    };
    let extra = pair("output_padding", 0, [0, 0])?;
    let wanted = if step.has("output_shape") { Some(pair("output_shape", 1, [1, 1])?) } else { None };
    let (mut size, mut padding) = ([0; 2], motion.before);
    for a in 0..2 {
        let whole = (planes.size[a] - 1) * motion.stride[a] + motion.reach(a) + extra[a];
        let same = motion.same.map(|_| planes.size[a] * motion.stride[a]);
        let target = wanted.map(|w| w[a]).or(same);
        let total = match target {
            Some(target) => whole.saturating_sub(target),
            None => motion.before[a] + motion.after[a],
        };
        if target.is_some() {
            padding[a] = if motion.same == Some(Odd::After) { total / 2 } else { total.div_ceil(2) };
        }
        let size_or = whole.checked_sub(total).filter(|&n| n > 0);
        size[a] = target.or(size_or).ok_or("its padding leaves no output; correct the model")?;
    }
    let Motion { kernel, stride, dilation, .. } = motion;
    Ok(Window { input: size, output: planes.size, kernel, stride, dilation, padding })
}

/// The position that a tap brings to a place of the transposed convolution's output.
#[expect(clippy::indexing_slicing, reason = "two axes")]
fn source(window: &Window, at: [usize; 2], tap: [usize; 2]) -> Option<[usize; 2]> {
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
