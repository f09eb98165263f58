//! Results compared with the classes that people assigned.

use crate::table::Table;
use crate::text::counted;
use pleura::xray::metrics::{ConfusionMatrix, Estimate, roc};
use serde_json::{Value, json};

/// Digits that the table of results keeps of a probability; a resumed run knows no more of earlier rows.
const ROUNDING: f64 = 1e6;

/// Labels and probabilities of X-rays whose class is known.
pub(crate) struct Evaluation {
    classes: Vec<String>,
    matrix: ConfusionMatrix,
    /// Class and probabilities of each X-ray.
    items: Vec<(usize, Vec<f64>)>,
    /// Number of X-rays whose class is not known.
    unlabelled: usize,
}

/// Results for one class.
pub(crate) struct ClassQuality {
    pub(crate) name: String,
    /// X-rays of the class.
    pub(crate) items: usize,
    pub(crate) auc: Option<Estimate>,
    pub(crate) sensitivity: Option<Estimate>,
    pub(crate) specificity: Option<Estimate>,
    /// X-rays of the class by the labels that they got.
    pub(crate) labels: Vec<usize>,
    /// ROC curve: false and true positive rates.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Evaluation {
    /// An evaluation without X-rays.
    pub(crate) fn new(classes: &[String]) -> Self {
        let matrix = ConfusionMatrix::new(classes.len());
        Self { classes: classes.to_vec(), matrix, items: Vec::new(), unlabelled: 0 }
    }

    /// Adds an X-ray.
    pub(crate) fn add(&mut self, truth: Option<&str>, label: &str, probabilities: &[f64]) {
        let position = |class: &str| self.classes.iter().position(|known| known == class);
        let Some((truth, label)) = truth.and_then(position).zip(position(label)) else {
            self.unlabelled += 1;
            return;
        };
        self.matrix.add(truth, label);
        let rounded = probabilities.iter().map(|p| (p * ROUNDING).round() / ROUNDING).collect();
        self.items.push((truth, rounded));
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let classes = self.classes.iter().enumerate().map(|(class, name)| {
            let [positive, negative] = self.scores(class);
            let points = roc(&positive, &negative);
            json!({
                "class": name,
                "items": positive.len(),
                "sensitivity": self.matrix.sensitivity(class),
                "specificity": self.matrix.specificity(class),
                "auc": Estimate::auc(&positive, &negative),
                "roc": points.iter().map(|p| json!([p.false_positive_rate, p.true_positive_rate, p.threshold])).collect::<Value>(),
            })
        });
        json!({
            "labelled": self.items.len(),
            "unlabelled": self.unlabelled,
            "accuracy": self.matrix.accuracy(),
            "classes": classes.collect::<Value>(),
            "confusion": self.matrix.counts().rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>(),
        })
    }

    /// Results for each class.
    pub(crate) fn classes(&self) -> Vec<ClassQuality> {
        let all = self.classes.iter().zip(self.matrix.counts().rows()).enumerate();
        all.map(|(class, (name, counts))| {
            let [positive, negative] = self.scores(class);
            let points = roc(&positive, &negative);
            ClassQuality {
                name: name.clone(),
                items: positive.len(),
                auc: Estimate::auc(&positive, &negative),
                sensitivity: self.matrix.sensitivity(class),
                specificity: self.matrix.specificity(class),
                labels: counts.to_vec(),
                points: points.iter().map(|p| (p.false_positive_rate, p.true_positive_rate)).collect(),
            }
        })
        .collect()
    }

    /// Accuracy in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let unlabelled = match self.unlabelled {
            0 => String::new(),
            count => format!("; {count} have no label"),
        };
        let count = counted(self.items.len(), "labelled X-ray");
        let accuracy = self.matrix.accuracy().map_or_else(dash, percent);
        format!("Accuracy {accuracy} on {count}{unlabelled}.")
    }

    /// For people: accuracy, and for each class AUC, sensitivity, specificity and labels.
    pub(crate) fn text(&self) -> String {
        let labelled = self.classes.iter().map(|class| format!("labelled {class}"));
        let headings = ["class", "X-rays", "AUC", "sensitivity", "specificity"].map(str::to_owned);
        let mut table = Table::wide(1, headings.into_iter().chain(labelled).collect());
        for (class, name) in self.classes.iter().enumerate() {
            let [positive, negative] = self.scores(class);
            let mut cells = vec![name.clone(), positive.len().to_string()];
            let auc = Estimate::auc(&positive, &negative);
            cells.push(auc.map_or_else(dash, |Estimate { value, interval: [low, high] }| {
                format!("{value:.4} ({low:.3} to {high:.3})")
            }));
            cells.push(self.matrix.sensitivity(class).map_or_else(dash, percent));
            cells.push(self.matrix.specificity(class).map_or_else(dash, percent));
            let counts = self.matrix.counts().rows().into_iter().nth(class);
            cells.extend(counts.iter().flat_map(|row| row.iter().map(usize::to_string)));
            table.wide_row(cells);
        }
        format!("\n{}\n\n{table}", self.sentence())
    }

    /// Probabilities of a class, of X-rays of the class and of all others.
    fn scores(&self, class: usize) -> [Vec<f64>; 2] {
        [true, false].map(|positive| {
            let items = self.items.iter().filter(|(truth, _)| (*truth == class) == positive);
            items.filter_map(|(_, probabilities)| probabilities.get(class).copied()).collect()
        })
    }
}

/// `87.5 % (64.0 to 97.2)`
pub(crate) fn percent(Estimate { value, interval: [low, high] }: Estimate) -> String {
    format!("{:.1} % ({:.1} to {:.1})", 100.0 * value, 100.0 * low, 100.0 * high)
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_their_metrics() {
        let mut evaluation = Evaluation::new(&["normal".to_owned(), "pneumonia".to_owned()]);
        for (truth, label, p) in [
            (Some("normal"), "normal", 0.1),
            (Some("normal"), "pneumonia", 0.6),
            (Some("pneumonia"), "pneumonia", 0.9),
            (Some("pneumonia"), "normal", 0.4),
            (None, "normal", 0.2),
        ] {
            evaluation.add(truth, label, &[1.0 - p, p]);
        }
        let json = evaluation.json();
        assert_eq!((&json["labelled"], &json["unlabelled"]), (&4.into(), &1.into()));
        assert_eq!(json["accuracy"]["value"], 0.5);
        assert_eq!(json["confusion"], json!([[1, 1], [1, 1]]));
        assert_eq!(
            (&json["classes"][1]["auc"]["value"], &json["classes"][0]["items"]),
            (&0.75.into(), &2.into())
        );
        assert_eq!(json["classes"][1]["roc"][0], json!([0.0, 0.5, 0.9]));
        let text = evaluation.text();
        assert!(
            text.contains("Accuracy 50.0 % (15.0 to 85.0) on 4 labelled X-rays; 1 have no label."),
            "{text}"
        );
    }
}
