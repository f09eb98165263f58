//! What a run has to say for itself, for people and for programs.

use crate::plan::parameters;
use crate::table::Table;
use crate::text::{counted, plain, short};
use pleura::nn::{Fidelity, ParameterReport, Report, label};
use serde::Serialize;
use std::fmt;

/// Labels beyond which a list is cut.
const LABELS: usize = 16;

/// All of it. Seconds are over all items.
pub(crate) struct Outcome<'a> {
    pub(crate) report: &'a Report,
    /// Of an item's result.
    pub(crate) shape: &'a [usize],
    pub(crate) seconds: Seconds,
    pub(crate) layer_seconds: &'a [f64],
    pub(crate) fidelity: Fidelities,
    pub(crate) outputs: &'a [Vec<f64>],
    pub(crate) device: String,
    /// Whether it is a GPU; predictions are of a processor.
    pub(crate) on_gpu: bool,
    pub(crate) from_cache: bool,
    pub(crate) notes: Vec<String>,
}

/// How long each step took.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Seconds {
    pub(crate) compile: f64,
    pub(crate) keys: f64,
    pub(crate) encrypt: f64,
    pub(crate) infer: f64,
    pub(crate) decrypt: f64,
}

/// How close results came to the clear twin's.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Fidelities {
    worst_error: f64,
    mean_error: f64,
    bits: f64,
    label_agreement: f64,
}

/// What `--json` prints.
#[derive(Serialize)]
pub(crate) struct Json<'a> {
    network: &'a str,
    items: usize,
    seconds: Seconds,
    layers: Vec<JsonLayer<'a>>,
    fidelity: Fidelities,
    device: &'a str,
    parameters: &'a ParameterReport,
    memory_bytes: usize,
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

impl From<Fidelity> for Fidelities {
    fn from(f: Fidelity) -> Self {
        Self { worst_error: f.worst, mean_error: f.mean, bits: f.bits, label_agreement: f.label_agreement }
    }
}

impl Outcome<'_> {
    /// For programs.
    pub(crate) fn json(&self) -> Json<'_> {
        let items = self.outputs.len();
        let layers = self.report.layers.iter().zip(self.layer_seconds).map(|(layer, &seconds)| JsonLayer {
            name: &layer.name,
            kind: &layer.kind,
            level: layer.level,
            ciphertexts: layer.ciphertexts,
            diagonals: layer.diagonals,
            rotations: layer.rotations,
            predicted_seconds: layer.predicted_seconds * items as f64,
            seconds,
        });
        Json {
            network: &self.report.network,
            items,
            seconds: self.seconds,
            layers: layers.collect(),
            fidelity: self.fidelity,
            device: &self.device,
            parameters: &self.report.parameters,
            memory_bytes: self.report.memory_bytes,
            from_cache: self.from_cache,
            outputs: self.outputs.iter().map(|output| nested(output, self.shape)).collect(),
            notes: &self.notes,
        }
    }

    fn layers(&self) -> Table {
        let predicted = if self.on_gpu { "predicted s, cpu" } else { "predicted s" };
        let headings = ["layer", "kind", "level", "ciphertexts", "rotations", predicted, "measured s"];
        let mut table = Table::new(2, headings);
        let items = self.outputs.len() as f64;
        for (layer, seconds) in self.report.layers.iter().zip(self.layer_seconds) {
            table.row([
                layer.name.clone(),
                layer.kind.clone(),
                layer.level.to_string(),
                layer.ciphertexts.to_string(),
                layer.rotations.to_string(),
                format!("{:.4}", layer.predicted_seconds * items),
                format!("{seconds:.4}"),
            ]);
        }
        table
    }

    /// Which output of each item is the largest; nothing if there is but one.
    fn labels(&self) -> Option<String> {
        let several = self.outputs.first().is_some_and(|output| output.len() > 1);
        let labels = self.outputs.iter().take(LABELS).filter_map(|output| label(output));
        let list = labels.map(|label| label.to_string()).collect::<Vec<_>>().join(", ");
        let more = if self.outputs.len() > LABELS { ", ..." } else { "" };
        several.then(|| format!("labels      {list}{more}\n"))
    }
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, items) = (&self.seconds, self.outputs.len());
        let name = plain(&self.report.network);
        writeln!(f, "network     {name}, {}", counted(items, "item"))?;
        writeln!(f, "parameters  {}", parameters(&self.report.parameters))?;
        writeln!(f, "device      {}\n\n{}", self.device, self.layers())?;
        let cached = if self.from_cache { " (cached)" } else { "" };
        write!(
            f,
            "seconds     compile {:.3}{cached}, keys {:.3}, encrypt {:.3}, ",
            s.compile, s.keys, s.encrypt
        )?;
        writeln!(f, "infer {:.3}, decrypt {:.3}", s.infer, s.decrypt)?;
        let Fidelities { worst_error, mean_error, bits, label_agreement } = self.fidelity;
        write!(
            f,
            "fidelity    error at most {}, {} on average, {bits:.1} bits",
            short(worst_error),
            short(mean_error)
        )?;
        let Some(labels) = self.labels() else { return writeln!(f) };
        writeln!(f, "; {:.1} % of labels agree with the clear network's", label_agreement * 100.0)?;
        f.write_str(&labels)
    }
}

/// Values as lists of lists, one depth per axis.
fn nested(values: &[f64], shape: &[usize]) -> serde_json::Value {
    match shape {
        [] => values.first().copied().into(),
        [_] => values.into(),
        [_, rest @ ..] => {
            let size = rest.iter().product::<usize>().max(1);
            values.chunks(size).map(|part| nested(part, rest)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_nest_by_axis() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(nested(&values, &[6]).to_string(), "[1.0,2.0,3.0,4.0,5.0,6.0]");
        assert_eq!(nested(&values, &[2, 3]).to_string(), "[[1.0,2.0,3.0],[4.0,5.0,6.0]]");
        assert_eq!(nested(&values, &[3, 1, 2]).to_string(), "[[[1.0,2.0]],[[3.0,4.0]],[[5.0,6.0]]]");
        assert_eq!(nested(&[7.0], &[]).to_string(), "7.0");
    }
}
