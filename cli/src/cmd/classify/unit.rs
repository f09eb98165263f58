//! Messages between the stages of `classify`.

use crate::cmd::baseline::images;
use crate::names::path_cell;
use crate::row::{Failure, Row, Seconds};
use crate::text::hex;
use anyhow::{Error, Result};
use pleura::StageTimes;
use pleura::ckks::Ciphertext;
use pleura::latent::DicomIdentity;
use pleura::xray::{Content, Features, Preprocessing, Source, SourceItem};
use std::time::Instant;

/// Digits of the digest of a file.
const DIGEST: usize = 8;
/// Most other units of a group, for each X-ray that it has room for.
const OTHERS: usize = 8;
/// Side of a small picture in pixels.
const THUMBNAIL: usize = 64;

/// Something on its way through the stages.
pub(super) enum Unit {
    /// An X-ray that was read.
    Item(Box<Item>),
    /// An X-ray that waits for its group to be complete.
    Prepared(Box<Prepared>),
    Group(Box<Group>),
    Row(Box<Row>),
    /// An X-ray that an earlier run did.
    Before {
        truth: Option<String>,
        label: String,
        probabilities: Vec<f64>,
    },
    /// An X-ray, or a file, without a result.
    Failed(Failure),
    /// A source that could not be read is read again: its failure counts no more.
    Again(Source),
    /// A source that was read has changed since.
    Changed(Source),
    /// The end of a source.
    End(Source),
    /// The next source may be long in coming: X-rays wait for no others.
    Pause,
}

/// An X-ray that was read.
pub(super) struct Item {
    pub(super) item: SourceItem,
    pub(super) truth: Option<String>,
    /// Whether its file was named, and not found in a folder.
    pub(super) named: bool,
    /// Seconds of reading.
    pub(super) read: f64,
}

/// The input of the network made of an X-ray.
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) cell: String,
    pub(super) is_lossy: bool,
    pub(super) named: bool,
    pub(super) digest: String,
    pub(super) dicom: Option<DicomIdentity>,
    pub(super) truth: Option<String>,
    pub(super) features: Features,
    pub(super) seconds: Seconds,
    pub(super) warnings: Vec<String>,
    /// A small picture as PNG, if it was asked for.
    pub(super) thumbnail: Option<Vec<u8>>,
}

/// X-rays that share ciphertexts.
#[derive(Default)]
pub(super) struct Group {
    pub(super) items: Vec<Prepared>,
    /// Units that came between the X-rays, each with the number of X-rays before it.
    pub(super) others: Vec<(usize, Unit)>,
    pub(super) ciphertexts: Vec<Ciphertext>,
    pub(super) times: StageTimes,
}

impl Item {
    /// The input of a network; an X-ray that has none fails by itself.
    pub(super) fn prepare(self, preprocessing: &Preprocessing, thumbnails: bool) -> Unit {
        let Self { item, truth, named, read } = self;
        let digest = digest_text(&item.digest);
        let name = item.name();
        let cell = item_cell(&item);
        let SourceItem { path, content, dicom, notes, .. } = item;
        let clock = Instant::now();
        let features = match &content {
            Content::Xray(xray) => preprocessing.features(xray),
            Content::Latent(latent) => preprocessing.features_of_latent(latent),
        };
        let features = match features {
            Ok(features) => features,
            Err(error) => {
                let error = Error::from(error).context(format!("cannot prepare {name}"));
                return Unit::Failed(Failure { name, cell, digest, named, error, earlier: false });
            }
        };
        let seconds = Seconds { read, compress: clock.elapsed().as_secs_f64(), ..Seconds::default() };
        let mut warnings: Vec<String> = notes.iter().map(|note| format!("{name}: {note}")).collect();
        warnings.extend(ood_warning(&name, features.ood_score));
        let is_lossy = path.to_str().is_none();
        Unit::Prepared(Box::new(Prepared {
            name,
            cell,
            is_lossy,
            named,
            digest,
            dicom,
            truth,
            features,
            seconds,
            warnings,
            thumbnail: if thumbnails { thumbnail(&content) } else { None },
        }))
    }
}

/// A small picture of an X-ray; of a latent there is none.
fn thumbnail(content: &Content) -> Option<Vec<u8>> {
    match content {
        Content::Xray(xray) => images::png(&images::small(xray, THUMBNAIL)).ok(),
        Content::Latent(_) => None,
    }
}

impl Prepared {
    /// The X-ray without a result.
    pub(super) fn failure(self, error: Error) -> Failure {
        let error = error.context(format!("cannot encrypt {}", self.name));
        let Self { name, cell, digest, named, .. } = self;
        Failure { name, cell, digest, named, error, earlier: false }
    }
}

impl Group {
    pub(super) fn new(items: Vec<Prepared>) -> Self {
        Self { items, ..Self::default() }
    }
}

/// Results of the X-rays of a group with `others` in their places between them.
pub(super) fn interleaved<T>(results: Vec<T>, others: impl IntoIterator<Item = (usize, T)>) -> Vec<T> {
    let mut others = others.into_iter().peekable();
    let mut all = Vec::with_capacity(results.len());
    for (before, result) in results.into_iter().enumerate() {
        while let Some((_, other)) = others.next_if(|(place, _)| *place <= before) {
            all.push(other);
        }
        all.push(result);
    }
    all.extend(others.map(|(_, other)| other));
    all
}

/// Gathers X-rays into groups of `size`, which are smaller at the end and at a pause. The order of all units stays.
pub(super) struct Groups<I> {
    units: I,
    size: usize,
    waiting: Group,
}

impl<I> Groups<I> {
    pub(super) fn new(units: I, size: usize) -> Self {
        Self { units, size, waiting: Group::default() }
    }

    /// Whether no further unit is to be gathered. Rows of an earlier run may be many between two X-rays.
    fn is_full(&self) -> bool {
        self.waiting.items.len() >= self.size || self.waiting.others.len() >= OTHERS * self.size
    }
}

impl<I: Iterator<Item = Result<Unit>>> Iterator for Groups<I> {
    type Item = Result<Unit>;

    fn next(&mut self) -> Option<Result<Unit>> {
        loop {
            let before = self.waiting.items.len();
            match self.units.next() {
                Some(Ok(Unit::Prepared(item))) => self.waiting.items.push(*item),
                Some(Ok(Unit::Pause)) if before == 0 => (),
                Some(Ok(Unit::Pause)) => break,
                Some(Ok(other)) if before > 0 => self.waiting.others.push((before, other)),
                None if before > 0 => break,
                other => return other,
            }
            if self.is_full() {
                break;
            }
        }
        Some(Ok(Unit::Group(Box::new(std::mem::take(&mut self.waiting)))))
    }
}

/// Warning about an X-ray that is far from those that the codec was trained on.
pub(crate) fn ood_warning(name: &str, ood_score: Option<f64>) -> Option<String> {
    let score = ood_score.filter(|&score| score > 1.0)?;
    Some(format!(
        "{name} does not look like a chest X-ray (ood_score {score:.3}; training images stay below 1): its scores mean \
         nothing"
    ))
}

/// The name of an item in a CSV file.
pub(super) fn item_cell(item: &SourceItem) -> String {
    path_cell(&item.path, item.latent.as_deref())
}

/// First digits of the digest of a file: the same name may stand for another X-ray another day.
pub(super) fn digest_text(digest: &[u8; 32]) -> String {
    hex(digest.iter().take(DIGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::ArrayD;

    fn prepared(name: &str) -> Unit {
        Unit::Prepared(Box::new(Prepared {
            name: name.to_owned(),
            cell: name.to_owned(),
            is_lossy: false,
            named: false,
            digest: String::new(),
            dicom: None,
            truth: None,
            features: Features { values: ArrayD::zeros(vec![1]), ood_score: None },
            seconds: Seconds::default(),
            warnings: Vec::new(),
            thumbnail: None,
        }))
    }

    fn before(label: &str) -> Unit {
        Unit::Before { truth: None, label: label.to_owned(), probabilities: Vec::new() }
    }

    /// Labels of earlier rows, and names of a group's X-rays with what lies between them.
    fn text(unit: Unit) -> String {
        match unit {
            Unit::Before { label, .. } => label,
            Unit::Prepared(item) => item.name,
            Unit::Group(group) => {
                let Group { items, others, .. } = *group;
                let items = items.into_iter().map(|item| item.name).collect();
                let others = others.into_iter().map(|(place, unit)| (place, text(unit)));
                format!("({})", interleaved(items, others).concat())
            }
            _ => "?".to_owned(),
        }
    }

    #[test]
    fn groups_keep_the_order_and_wait_for_nothing_at_a_pause() {
        let units = vec![
            before("1"),
            Unit::Pause,
            prepared("a"),
            before("2"),
            prepared("b"),
            before("3"),
            prepared("c"),
            before("4"),
            before("5"),
            Unit::Pause,
            prepared("d"),
        ];
        let groups = Groups::new(units.into_iter().map(Ok), 2);
        let found: Vec<String> = groups.map(|unit| text(unit.unwrap())).collect();
        assert_eq!(found, ["1", "(a2b)", "3", "(c45)", "(d)"]);
        let many = (0..100).map(|_| Ok(before("x")));
        let sizes: Vec<usize> = Groups::new(std::iter::once(Ok(prepared("a"))).chain(many), 2)
            .map(|unit| text(unit.unwrap()).len())
            .collect();
        assert_eq!((sizes[0], sizes.len()), (3 + OTHERS * 2, 1 + 100 - OTHERS * 2));
    }
}
