//! Average pooling.

use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::window::{Motion, Planes, checked};
use pleura_nn::{Linear, LinearMap, Pool, ShapeError, Sparse, Window, WindowSpec};

impl Importer<'_> {
    pub(crate) fn average_pool(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = self.tensor(step, 0)?;
        if let Some([depth, planes]) = Planes::of_volume(&x.shape) {
            let (pool, size) = self.pool_of(step, &planes)?;
            let (lines, length) = self.means_over_depth(step, &depth, size)?;
            let shape = [depth.channels, length, size[0], size[1]];
            return self.builder.linear(&step.name, &x, &shape, pool.then(lines)).map(Value::Tensor);
        }
        let planes = Planes::of(&x.shape)?;
        let (pool, size) = self.pool_of(step, &planes)?;
        let shape = planes.shape(planes.channels, size);
        self.builder.linear(&step.name, &x, &shape, pool).map(Value::Tensor)
    }

    /// The average over planes, and the size of its planes.
    fn pool_of(&mut self, step: &Step<'_>, planes: &Planes) -> Result<(Linear, [usize; 2]), Problem> {
        let (window, motion) = pool_motion(step, planes)?;
        let size = window.output();
        crate::budget::elements(&[planes.channels, size[0], size[1]])?;
        let count_padding = step.int("count_include_pad", 0) != 0;
        let map = if count_padding && exceeds(&window, &motion) {
            self.note_divisor(step);
            self.ceiled_pool(planes.channels, &window, &motion)?
        } else {
            Pool::new(planes.channels, window, count_padding)?.into()
        };
        Ok((Linear::new(map), size))
    }

    pub(crate) fn global_average_pool(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = self.tensor(step, 0)?;
        let [channels, plane @ ..] = x.shape.as_slice() else {
            return Err(Problem::shape("input", &x.shape, "[channels, ..plane]"));
        };
        let shape: Vec<usize> = std::iter::once(*channels).chain(plane.iter().map(|_| 1)).collect();
        let map = mean_of_planes(*channels, &x.shape, plane.iter().product())?;
        self.builder.linear(&step.name, &x, &shape, Linear::new(map)).map(Value::Tensor)
    }

    /// Notes that implementations differ where windows reach beyond the padding.
    pub(crate) fn note_divisor(&mut self, step: &Step<'_>) {
        let note = format!(
            "{} divides by the elements inside of the padded input, as onnxruntime and PyTorch do; the reference implementation \
             of ONNX divides by the size of the kernel",
            step.name
        );
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Averages where the last windows reach beyond the padding: what lies there counts neither as value nor as
    /// padding.
    #[expect(clippy::indexing_slicing, reason = "two axes")]
    fn ceiled_pool(
        &mut self,
        channels: usize,
        window: &Window,
        motion: &Motion,
    ) -> Result<LinearMap, Problem> {
        let WindowSpec { input: [height, width], output: [rows, columns], kernel, stride, dilation, padding } =
            *window.spec();
        let taps: usize = kernel.iter().product();
        self.builder.budget.charge((channels * rows * columns).saturating_mul(taps))?;
        let axis = |a: usize, p: usize, n: usize| -> (Vec<usize>, usize) {
            let before = padding[a];
            let all = (0..kernel[a]).map(move |i| p * stride[a] + i * dilation[a]);
            let padded = all.filter(|&at| at < n + before + motion.after[a]);
            let count = padded.clone().count();
            (padded.filter_map(|at| at.checked_sub(before)).filter(|&at| at < n).collect(), count)
        };
        let mut starts = vec![0u32];
        let mut entries = Vec::new();
        for channel in 0..channels {
            for y in 0..rows {
                let (ys, height_count) = axis(0, y, height);
                for x in 0..columns {
                    let (xs, width_count) = axis(1, x, width);
                    let factor = 1.0 / (height_count * width_count) as f64;
                    for y in &ys {
                        entries
                            .extend(xs.iter().map(|x| (((channel * height + y) * width + x) as u32, factor)));
                    }
                    starts.push(entries.len() as u32);
                }
            }
        }
        Ok(Sparse::new(channels * height * width, starts, entries)?.into())
    }
}

/// How the windows of an average pool move over planes.
pub(crate) fn pool_motion(step: &Step<'_>, planes: &Planes) -> Result<(Window, Motion), Problem> {
    let kernel = step.ints("kernel_shape").ok_or_else(|| Problem::missing("kernel_shape"))?;
    let kernel = planes.pair(&checked(kernel, 1, "kernel_shape")?, 1, "kernel_shape")?;
    // Here the specification and its implementations differ.
    let same = step.string("auto_pad").is_some_and(|mode| mode.starts_with("SAME"));
    if same && step.ints("dilations").is_some_and(|list| list.iter().any(|&d| d != 1)) {
        return Err(Problem::attribute("dilations", "more than 1 beside auto_pad", "explicit pads"));
    }
    let ceil = step.int("ceil_mode", 0) != 0;
    if same && ceil {
        return Err(Problem::attribute("ceil_mode", "1 beside auto_pad", "explicit pads"));
    }
    let (window, motion) = Motion::new(step, planes, kernel)?.over(planes.size, ceil)?;
    if same && leaves_out(&window, &motion) {
        return Err(Problem::attribute(
            "auto_pad",
            "SAME with a kernel shorter than its stride",
            "explicit pads",
        ));
    }
    let reach = motion.reach();
    if [motion.before, motion.after]
        .iter()
        .any(|pads| pads.iter().zip(reach).any(|(&pad, reach)| pad >= reach))
    {
        let padding = format!("{:?} before and {:?} after", motion.before, motion.after);
        return Err(Problem::attribute("padding", padding, "less than the reach of its kernel"));
    }
    Ok((window, motion))
}

/// The mean of each run of `count` elements, as windows over planes if those are the last two axes.
pub(crate) fn mean_of_planes(channels: usize, shape: &[usize], count: usize) -> Result<Pool, ShapeError> {
    let size = match *shape {
        [.., height, width] if height * width == count => [height, width],
        _ => [1, count],
    };
    Pool::new(channels, Window::whole(size)?, false)
}

/// Whether elements behind the last windows are in none.
fn leaves_out(window: &Window, motion: &Motion) -> bool {
    ends(window, motion).iter().zip(window.input()).any(|(&end, extent)| end < extent)
}

/// Whether the last windows reach beyond the padding.
pub(crate) fn exceeds(window: &Window, motion: &Motion) -> bool {
    let pads = motion.before.iter().zip(motion.after);
    ends(window, motion)
        .iter()
        .zip(window.input().iter().zip(pads))
        .any(|(&end, (extent, (before, after)))| end > extent + before + after)
}

/// Number of elements of the padded input up to the end of the last window, on each axis.
#[expect(clippy::indexing_slicing, reason = "two axes")]
fn ends(window: &Window, motion: &Motion) -> [usize; 2] {
    [0, 1].map(|a| (window.output()[a] - 1) * window.stride()[a] + motion.reach()[a])
}
