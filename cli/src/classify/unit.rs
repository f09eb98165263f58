//! Messages between the stages of `classify`.

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

/// Something on its way through the stages.
pub(super) enum Unit {
    /// An X-ray that was read.
    Item(Box<Item>),
    /// An X-ray that waits for its group to be complete.
    Prepared(Box<Prepared>),
    Group(Box<Group>),
    Rows(Vec<Row>),
    /// An X-ray that an earlier run did.
    Before {
        truth: Option<String>,
        label: String,
        probabilities: Vec<f64>,
    },
    /// An X-ray, or a file, without a result.
    Failed(Failure),
    /// The end of a source.
    End(Source),
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
}

/// X-rays that share ciphertexts.
pub(super) struct Group {
    pub(super) items: Vec<Prepared>,
    pub(super) ciphertexts: Vec<Ciphertext>,
    pub(super) times: StageTimes,
}

impl Item {
    /// The input of a network; an X-ray that has none fails by itself.
    pub(super) fn prepare(self, preprocessing: &Preprocessing) -> Unit {
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
        }))
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
        Self { items, ciphertexts: Vec::new(), times: StageTimes::default() }
    }
}

/// Gathers X-rays into groups of `size`, the last of which may be smaller; everything else passes.
pub(super) struct Groups<I> {
    units: I,
    size: usize,
    waiting: Vec<Prepared>,
}

impl<I> Groups<I> {
    pub(super) fn new(units: I, size: usize) -> Self {
        Self { units, size, waiting: Vec::new() }
    }
}

impl<I: Iterator<Item = Result<Unit>>> Iterator for Groups<I> {
    type Item = Result<Unit>;

    fn next(&mut self) -> Option<Result<Unit>> {
        loop {
            match self.units.next() {
                Some(Ok(Unit::Prepared(item))) => self.waiting.push(*item),
                None if self.waiting.is_empty() => return None,
                None => break,
                other => return other,
            }
            if self.waiting.len() >= self.size {
                break;
            }
        }
        Some(Ok(Unit::Group(Box::new(Group::new(std::mem::take(&mut self.waiting))))))
    }
}

/// Warning about an X-ray that is far from those that the codec was trained on.
pub(crate) fn ood_warning(name: &str, ood_score: Option<f64>) -> Option<String> {
    let times = ood_score.filter(|&score| score > 1.0)?;
    Some(format!(
        "{name} does not look like a chest X-ray ({times:.1} times as far from the training images as nearly all of \
         them): its scores mean nothing"
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
