//! Reading of sources: those that an earlier run did are not decoded again.

use super::labels::Labels;
use super::unit::{Item, Unit, digest_text, item_cell};
use crate::names::path_cell;
use crate::row::Failure;
use crate::row_file::{EarlierRow, EarlierRows};
use anyhow::{Error, anyhow};
use pleura::xray::{Preprocessing, Source, SourceBytes, SourceItem};
use std::time::Instant;

/// Reader of sources for a network.
pub(super) struct SourceReader<'a> {
    pub(super) preprocessing: &'a Preprocessing,
    pub(super) earlier: Option<EarlierRows>,
    pub(super) labels: Option<&'a Labels>,
}

impl SourceReader<'_> {
    /// The X-rays of a source, and its end.
    pub(super) fn units(&self, source: Source) -> Vec<Unit> {
        let mut units = match source.load() {
            Ok(bytes) => self.decoded(&source, &bytes),
            Err(error) => vec![failed(&source, String::new(), error.into(), false)],
        };
        units.push(Unit::End(source));
        units
    }

    fn decoded(&self, source: &Source, bytes: &SourceBytes<'_>) -> Vec<Unit> {
        let clock = Instant::now();
        let digest = digest_text(bytes.digest());
        let truth = self.truth(source, None);
        // A row with the name of a file of latents is always a failure; results have the names of latents.
        match self.take(&path_cell(source.path(), None), &digest) {
            Some(EarlierRow::Done { label, probabilities }) => {
                return vec![Unit::Before { truth, label, probabilities }];
            }
            Some(EarlierRow::Failed { error }) => return vec![failed(source, digest, anyhow!(error), true)],
            None => (),
        }
        match bytes.items(self.preprocessing.codec(), self.preprocessing.side()) {
            Err(error) => vec![failed(source, digest, error.into(), false)],
            Ok(items) => {
                let read = clock.elapsed().as_secs_f64() / items.len().max(1) as f64;
                items.into_iter().map(|item| self.unit(source, item, read)).collect()
            }
        }
    }

    fn unit(&self, source: &Source, item: SourceItem, read: f64) -> Unit {
        let truth = self.truth(source, item.latent.as_deref());
        let named = source.is_named();
        // The row of an image was looked for before it was decoded.
        let earlier =
            item.latent.as_ref().and_then(|_| self.take(&item_cell(&item), &digest_text(&item.digest)));
        match earlier {
            Some(EarlierRow::Done { label, probabilities }) => Unit::Before { truth, label, probabilities },
            Some(EarlierRow::Failed { error }) => Unit::Failed(Failure {
                name: item.name(),
                cell: item_cell(&item),
                digest: digest_text(&item.digest),
                named,
                error: anyhow!(error),
                earlier: true,
            }),
            None => Unit::Item(Box::new(Item { item, truth, named, read })),
        }
    }

    fn take(&self, cell: &str, digest: &str) -> Option<EarlierRow> {
        self.earlier.as_ref()?.take(cell, digest)
    }

    fn truth(&self, source: &Source, latent: Option<&str>) -> Option<String> {
        match self.labels {
            Some(labels) => labels.of(source.path(), latent).map(str::to_owned),
            None => source.truth().map(str::to_owned),
        }
    }
}

fn failed(source: &Source, digest: String, error: Error, earlier: bool) -> Unit {
    Unit::Failed(Failure {
        name: source.name(),
        cell: path_cell(source.path(), None),
        digest,
        named: source.is_named(),
        error,
        earlier,
    })
}
