//! Report of `pleura run`, as text and as JSON.

use crate::cmd::plan::parameters;
use crate::latency::Latency;
use crate::table::Table;
use crate::text::{counted, plain, short};
use ndarray::{ArrayD, ArrayViewD, Axis};
use pleura::StageTimes;
use pleura::nn::{DeviceClass, Fidelity, ParameterReport, Report, ScoreTransform, label};
use serde::Serialize;
use std::fmt;

/// Results with fewer right bits are not worth having.
pub(crate) const USELESS_BITS: f64 = 6.0;

/// Polynomials that leave fewer right bits of the model's results are warned about.
const COSTLY_BITS: f64 = 4.0;

/// Probabilities that are further off are warned about.
const PROBABILITY_ERROR: f64 = 0.01;

/// Labels beyond which a list is cut.
const LABELS: usize = 16;

/// Results of `pleura run`. Seconds are added up over all items.
pub(crate) struct RunReport<'a> {
    pub(crate) report: &'a Report,
    pub(crate) times: StageTimes,
    /// Seconds from the first encryption to the last result.
    pub(crate) elapsed: f64,
    /// Groups that were worked on at a time.
    pub(crate) at_a_time: usize,
    pub(crate) layer_seconds: &'a [f64],
    /// Distribution of repeated inferences, if it was asked for.
    pub(crate) latency: Option<Latency>,
    /// Compared with the network that was compiled.
    pub(crate) fidelity: Fidelity,
    /// Compared with the network of the model file, if polynomials replace activations of it.
    pub(crate) model_fidelity: Option<Fidelity>,
    /// `[items, ..output shape]`.
    pub(crate) outputs: &'a ArrayD<f64>,
    pub(crate) device: String,
    pub(crate) from_cache: bool,
    pub(crate) notes: Vec<String>,
}

/// JSON of `--json`.
#[derive(Serialize)]
pub(crate) struct Json<'a> {
    network: &'a str,
    items: usize,
    layout: &'a str,
    group_items: usize,
    seconds: StageTimes,
    elapsed_seconds: f64,
    groups_at_a_time: usize,
    layers: Vec<JsonLayer<'a>>,
    fidelity: Fidelity,
    model_fidelity: Option<Fidelity>,
    latency: Option<&'a Latency>,
    device_name: &'a str,
    planned_for: DeviceClass,
    parameters: &'a ParameterReport,
    predicted_bits: Option<f64>,
    predicted_peak_bytes: usize,
    from_cache: bool,
    outputs: Vec<serde_json::Value>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct JsonLayer<'a> {
    name: &'a str,
    kind: &'a str,
    level: usize,
    ciphertexts: usize,
    diagonals: usize,
    rotations: usize,
    predicted_seconds: f64,
    seconds: f64,
}

impl RunReport<'_> {
    fn items(&self) -> usize {
        self.outputs.len_of(Axis(0))
    }

    /// Groups of items that share ciphertexts.
    fn groups(&self) -> f64 {
        self.items().div_ceil(self.report.items.max(1)) as f64
    }

    /// For programs.
    pub(crate) fn json(&self) -> Json<'_> {
        let groups = self.groups();
        let layers = self.report.layers.iter().zip(self.layer_seconds).map(|(layer, &seconds)| JsonLayer {
            name: &layer.name,
            kind: &layer.kind,
            level: layer.level,
            ciphertexts: layer.ciphertexts,
            diagonals: layer.diagonals,
            rotations: layer.rotations,
            predicted_seconds: layer.predicted_seconds * groups,
            seconds,
        });
        Json {
            network: &self.report.network,
            items: self.items(),
            layout: &self.report.layout,
            group_items: self.report.items,
            seconds: self.times,
            elapsed_seconds: self.elapsed,
            groups_at_a_time: self.at_a_time,
            layers: layers.collect(),
            fidelity: self.fidelity,
            model_fidelity: self.model_fidelity,
            latency: self.latency.as_ref(),
            device_name: &self.device,
            planned_for: self.report.planned_for,
            parameters: &self.report.parameters,
            predicted_bits: self.report.predicted_bits,
            predicted_peak_bytes: self.report.predicted_peak_bytes,
            from_cache: self.from_cache,
            outputs: self.outputs.outer_iter().map(nested).collect(),
            notes: &self.notes,
        }
    }

    fn layers(&self) -> Table {
        const HEADINGS: [&str; 7] =
            ["layer", "kind", "level", "ciphertexts", "rotations", "predicted s", "measured s"];
        let mut table = Table::new(2, HEADINGS);
        let groups = self.groups();
        for (layer, seconds) in self.report.layers.iter().zip(self.layer_seconds) {
            table.row([
                layer.name.clone(),
                layer.kind.clone(),
                layer.level.to_string(),
                layer.ciphertexts.to_string(),
                layer.rotations.to_string(),
                format!("{:.4}", layer.predicted_seconds * groups),
                format!("{seconds:.4}"),
            ]);
        }
        table
    }

    /// Position of the largest output of each item; none if there is but one output.
    fn labels(&self) -> Option<String> {
        let several = self.outputs.len() > self.items();
        let labels = self.outputs.outer_iter().take(LABELS).filter_map(label);
        let list = labels.map(|label| label.to_string()).collect::<Vec<_>>().join(", ");
        let more = if self.items() > LABELS { ", ..." } else { "" };
        several.then(|| format!("labels      {list}{more}\n"))
    }
}

impl fmt::Display for RunReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.times;
        let items = self.items();
        let name = plain(&self.report.network);
        writeln!(f, "network     {name}, {}", counted(items, "item"))?;
        if self.report.items > 1 {
            writeln!(f, "layout      {}, {}", self.report.layout, counted(self.groups() as usize, "group"))?;
        }
        writeln!(f, "parameters  {}", parameters(&self.report.parameters))?;
        writeln!(
            f,
            "device      {}, plan for a {}\n\n{}",
            self.device,
            self.report.planned_for,
            self.layers()
        )?;
        let cached = if self.from_cache { " (cached)" } else { "" };
        write!(
            f,
            "seconds     compile {:.3}{cached}, keys {:.3}, encrypt {:.3}, ",
            s.compile, s.keys, s.encrypt
        )?;
        writeln!(f, "infer {:.3}, decrypt {:.3}", s.infer, s.decrypt)?;
        if self.groups() > 1.0 {
            let rate = items as f64 / self.elapsed;
            let at_a_time = counted(self.at_a_time, "group");
            writeln!(f, "elapsed     {:.3} s, {at_a_time} at a time, {} items/s", self.elapsed, short(rate))?;
        }
        if let Some(latency) = &self.latency {
            writeln!(f, "latency     {latency}")?;
        }
        let labels = self.labels();
        let several = labels.is_some();
        let with = if self.model_fidelity.is_some() { "the fitted network" } else { "the plaintext network" };
        f.write_str(&fidelity_line("fidelity", &self.fidelity, with, several))?;
        if let Some(bits) = self.report.predicted_bits {
            writeln!(f, "predicted   {bits:.1} bits of the range of results")?;
        }
        if let Some(fidelity) = &self.model_fidelity {
            f.write_str(&fidelity_line("model", fidelity, "the model before the fits", several))?;
        }
        f.write_str(&labels.unwrap_or_default())
    }
}

/// A sentence if the polynomials of a fit change the results of the model much.
pub(crate) fn costly_fit_warning(model: &Fidelity) -> Option<String> {
    (model.bits < COSTLY_BITS).then(|| {
        format!(
            "the polynomials in place of activations change the results: they are off by up to {}, with {:.1} right bits of the \
             model's; take a higher degree or a narrower interval, or train the network with polynomials",
            short(model.max_abs_error),
            model.bits
        )
    })
}

/// A sentence if `found`, probabilities of scores, are not those of the plaintext network: the error of scores is relative to the
/// largest of them, and probabilities depend on the smallest.
pub(crate) fn probability_warning(
    scores: ScoreTransform,
    found: &ArrayD<f64>,
    plaintext: &ArrayD<f64>,
) -> Option<String> {
    if !matches!(scores, ScoreTransform::Sigmoid | ScoreTransform::Softmax) {
        return None;
    }
    let furthest = found.iter().zip(plaintext).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    (furthest > PROBABILITY_ERROR).then(|| {
        format!(
            "probabilities differ by up to {} from those of the plaintext network: scores are exact to twelve bits of their range, \
             which is too wide; scale them down before the last layer",
            short(furthest)
        )
    })
}

/// A sentence if scores that are multiples of `step` are too coarse for probabilities.
pub(crate) fn coarse_scores_warning(scores: ScoreTransform, step: f64) -> Option<String> {
    let is_probability = matches!(scores, ScoreTransform::Sigmoid | ScoreTransform::Softmax);
    // The steepest slope is a quarter.
    (is_probability && step / 4.0 > PROBABILITY_ERROR).then(|| {
        format!(
            "scores are rounded to multiples of {}, so that probabilities near 1/2 mean nothing; the network's scores should be \
             scaled down before its last layer",
            short(step)
        )
    })
}

fn fidelity_line(title: &str, fidelity: &Fidelity, with: &str, several: bool) -> String {
    let Fidelity { max_abs_error, mean_abs_error, bits, label_agreement } = fidelity;
    let errors = format!(
        "{title:<11} error at most {}, {} on average, {bits:.1} bits",
        short(*max_abs_error),
        short(*mean_abs_error)
    );
    let percent = 100.0 * label_agreement;
    let labels = if several { format!("; {percent:.1} % of labels agree") } else { String::new() };
    format!("{errors}{labels}, compared with {with}\n")
}

/// Values as lists of lists, one depth per axis.
pub(crate) fn nested(values: ArrayViewD<'_, f64>) -> serde_json::Value {
    match values.ndim() {
        0 => values.first().copied().into(),
        1 => values.iter().copied().collect(),
        _ => values.outer_iter().map(nested).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_probabilities_are_warned_about() {
        let of = |scores: [f64; 2]| ArrayD::from_shape_vec(vec![2, 1], scores.to_vec()).unwrap();
        let sigmoid = ScoreTransform::Sigmoid;
        assert_eq!(probability_warning(sigmoid, &of([0.5, 1.0]), &of([0.505, 1.0])), None);
        let sentence = probability_warning(sigmoid, &of([0.5, 1.0]), &of([0.75, 1.0])).unwrap();
        assert!(sentence.contains("up to 0.2500"), "{sentence}");
        assert_eq!(probability_warning(ScoreTransform::Identity, &of([0.0, 1.0]), &of([9.0, 1.0])), None);
        assert_eq!(coarse_scores_warning(sigmoid, 0.03125), None);
        assert!(coarse_scores_warning(sigmoid, 64.0).unwrap().contains("multiples of 64"));
        assert_eq!(coarse_scores_warning(ScoreTransform::Identity, 64.0), None);
    }

    #[test]
    fn values_nest_by_axis() {
        let text = |shape: &[usize]| {
            let values = (1..=shape.iter().product()).map(|k| k as f64).collect();
            nested(ArrayD::from_shape_vec(shape, values).unwrap().view()).to_string()
        };
        assert_eq!(text(&[6]), "[1.0,2.0,3.0,4.0,5.0,6.0]");
        assert_eq!(text(&[2, 3]), "[[1.0,2.0,3.0],[4.0,5.0,6.0]]");
        assert_eq!(text(&[3, 1, 2]), "[[[1.0,2.0]],[[3.0,4.0]],[[5.0,6.0]]]");
        assert_eq!(text(&[]), "1.0");
    }
}
