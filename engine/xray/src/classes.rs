//! Classes of a classifier, and how its scores become labels and probabilities.

use ndarray::{ArrayView1, Axis};
use pleura_nn::{ScoreTransform, label};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Characters of a class's name that are kept.
const CLASS_CHARS: usize = 24;

/// Names of classes, and the function that makes probabilities of scores. It holds no weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classes {
    names: Vec<String>,
    /// Function at the end of the model.
    scores: ScoreTransform,
}

impl Classes {
    /// Classes with given names, in the order of the scores. A sigmoid makes the classes independent; with one score,
    /// the second of two classes has its probability.
    pub fn new(names: Vec<String>, scores: ScoreTransform) -> Self {
        Self { names, scores }
    }

    /// Names in the order of the scores.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Function at the end of the model.
    pub(crate) fn scores(&self) -> ScoreTransform {
        self.scores
    }

    /// Whether the classes fit a number of scores: as many distinct printable names, or two for one sigmoid.
    pub fn fit(&self, scores: usize) -> bool {
        let distinct = self.names.iter().collect::<BTreeSet<_>>().len() == self.names.len();
        let one_is_enough = scores > 1 || self.scores == ScoreTransform::Sigmoid;
        let printable = self
            .names
            .iter()
            .all(|name| name.chars().count() <= CLASS_CHARS && !name.contains(char::is_control));
        distinct && one_is_enough && self.names.len() == scores.max(2) && printable
    }

    /// Name of the class with the largest score, the first of equal ones; empty without scores.
    pub fn label(&self, scores: &[f64]) -> &str {
        if let &[score] = scores {
            return self.names.get(usize::from(score > 0.0)).map_or("", String::as_str);
        }
        label(ArrayView1::from(scores)).and_then(|class| self.names.get(class)).map_or("", String::as_str)
    }

    /// Probability of each class: the softmax of the scores, or the sigmoid of each if that is the end of the model.
    pub fn probabilities(&self, scores: &[f64]) -> Vec<f64> {
        let item = ArrayView1::from(scores).insert_axis(Axis(0)).into_dyn();
        let transform = match self.scores {
            ScoreTransform::Sigmoid => ScoreTransform::Sigmoid,
            _ => ScoreTransform::Softmax,
        };
        let probabilities: Vec<f64> = transform.apply(item).into_iter().collect();
        match probabilities.as_slice() {
            &[second] if self.scores == ScoreTransform::Sigmoid => vec![1.0 - second, second],
            _ => probabilities,
        }
    }
}

/// Names from a JSON array, one for each of `count` outputs and all distinct; shortened, and without control
/// characters, by which a model file could write to a terminal.
pub(crate) fn class_names(json: &str, count: usize) -> Option<Vec<String>> {
    let names: Vec<String> = serde_json::from_str(json).ok()?;
    let names: Vec<String> = names
        .iter()
        .map(|name| {
            name.chars()
                .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
                .take(CLASS_CHARS)
                .collect()
        })
        .collect();
    let distinct = names.iter().collect::<BTreeSet<_>>().len();
    (names.len() == count && distinct == count).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_fit_the_outputs_or_are_refused() {
        let short = class_names("[\"a\\u001b[2J\", \"bcdefghijklmnopqrstuvwxyzabcdef\"]", 2).unwrap();
        assert_eq!(short, ["a\u{fffd}[2J", "bcdefghijklmnopqrstuvwxy"]);
        for text in ["[\"a\"]", "[\"a\", \"a\"]", "[1, 2]", "{", "[\"a\", \"b\", \"c\"]"] {
            assert_eq!(class_names(text, 2), None, "{text}");
        }
    }

    #[test]
    fn names_fit_as_many_scores() {
        let classes =
            |names: &[&str], scores| Classes::new(names.iter().map(|&n| n.to_owned()).collect(), scores);
        let two = classes(&["a", "b"], ScoreTransform::Softmax);
        assert!(two.fit(2) && !two.fit(1) && !two.fit(3));
        let one_score = classes(&["a", "b"], ScoreTransform::Sigmoid);
        assert!(one_score.fit(1) && one_score.fit(2));
        assert_eq!((one_score.label(&[-1.0]), one_score.label(&[1.0])), ("a", "b"));
        assert_eq!(one_score.probabilities(&[0.0]), [0.5, 0.5]);
        assert!(!classes(&["a", "a"], ScoreTransform::Softmax).fit(2));
        assert!(!classes(&["a", "b\u{1b}"], ScoreTransform::Softmax).fit(2));
    }
}
