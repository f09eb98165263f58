//! Lists of measurements, which are equal on all devices and in all versions.

use crate::text::hex;
use anyhow::{Result, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use pleura::bench::{self, ManifestNetwork, OPERATIONS, PARAMETER_SETS};
use pleura::ckks::ParamsLiteral;
use pleura::xray::shipped;
use sha2::{Digest, Sha256};

/// Version of the lists: raised whenever one of them changes.
const VERSION: u32 = 2;

/// A list of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Operations at 2^13 and 2^14, two networks: a minute on a processor.
    Quick,
    /// Operations from 2^13 to 2^16, three networks: takes minutes, and 8 GiB of memory.
    Full,
    /// As little as there can be, for tests.
    #[value(hide = true)]
    Smoke,
}

impl Suite {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Smoke => "smoke",
        }
    }

    /// Logarithms of the degrees of operations.
    fn sizes(self) -> &'static [u32] {
        match self {
            Self::Quick => &[13, 14],
            Self::Full => &[13, 14, 15, 16],
            Self::Smoke => &[13],
        }
    }

    /// How many ciphertexts operations work on at once.
    fn batches(self) -> &'static [usize] {
        match self {
            Self::Quick => &[1, 8],
            Self::Full => &[1, 16],
            Self::Smoke => &[1, 2],
        }
    }

    /// Networks, by the names they are shipped under, with numbers of items that share ciphertexts.
    fn networks(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Quick => &[("pneumonia", 1), ("pneumonia", 2), ("pneumonia", 4), ("pneumonia-hefnet", 1)],
            Self::Full => &[
                ("pneumonia", 1),
                ("pneumonia", 2),
                ("pneumonia", 4),
                ("pneumonia-hefnet", 1),
                ("pneumonia-hefnet-se", 1),
            ],
            Self::Smoke => &[("pneumoniamnist", 1), ("pneumoniamnist", 2)],
        }
    }

    /// Sample X-rays whose scores are compared with those of the plaintext network.
    fn samples(self) -> usize {
        match self {
            Self::Quick | Self::Full => shipped::SAMPLES.len(),
            Self::Smoke => 2,
        }
    }
}

/// The part of a list of measurements that is asked for.
#[derive(Args)]
pub(crate) struct Choice {
    /// List of measurements.
    #[arg(long, value_enum, value_name = "SUITE", default_value = "quick")]
    suite: Suite,

    /// Operations and networks to measure, with commas: ntt, intt, mul_rescale, rotate, rotate_many_8,
    /// linear_transform_64, and names from `pleura models` [default: all of the suite].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// Logarithms of the degrees of operations, with commas: 13 to 16 [default: the suite's].
    #[arg(long, value_name = "LOG", value_delimiter = ',', value_parser = RangedU64ValueParser::<u32>::new().range(13..=16))]
    sizes: Vec<u32>,

    /// Ciphertexts that operations work on at once, and X-rays that share ciphertexts of the networks of
    /// --only, with commas [default: the suite's].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    batch: Vec<usize>,
}

/// A list of measurements.
pub(crate) struct Manifest {
    /// Name of the suite that it is of.
    pub(crate) suite: &'static str,
    /// Operations by their names.
    pub(crate) operations: Vec<&'static str>,
    /// Parameter sets for operations.
    pub(crate) literals: Vec<ParamsLiteral>,
    /// How many ciphertexts operations work on at once.
    pub(crate) batches: Vec<usize>,
    /// Networks, by the names they are shipped under, with numbers of items that share ciphertexts.
    pub(crate) networks: Vec<(String, usize)>,
    /// Sample X-rays whose scores are compared with those of the plaintext network.
    pub(crate) samples: usize,
}

impl Manifest {
    /// The list as it stands in a record.
    pub(crate) fn record(&self) -> Result<bench::Manifest> {
        let networks = self.networks.iter().map(|(name, batch)| {
            let sha256 = hex(&Sha256::digest(shipped::model(name)?.onnx));
            Ok(ManifestNetwork { name: name.clone(), sha256, batch: *batch })
        });
        Ok(bench::Manifest {
            name: self.suite.to_owned(),
            version: VERSION,
            operations: self.operations.iter().map(|name| (*name).to_owned()).collect(),
            parameters: self.literals.iter().map(Into::into).collect(),
            batches: self.batches.clone(),
            networks: networks.collect::<Result<_>>()?,
            samples: self.samples,
        })
    }
}

impl Choice {
    /// The measurements. Where a device is `software`, as few as in the smoke test, unless some are named.
    pub(crate) fn manifest(&self, software: bool) -> Result<Manifest> {
        let suite = if self.is_reduced(software) { Suite::Smoke } else { self.suite };
        let is_operation = |name: &str| OPERATIONS.iter().any(|(operation, _)| *operation == name);
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        if let Some(name) = self.only.iter().find(|name| !is_operation(name) && shipped::model(name).is_err())
        {
            let known = OPERATIONS.map(|(name, _)| name).join(", ");
            bail!("--only {name}: no operation or shipped network has this name; operations are {known}");
        }
        let sizes = if self.sizes.is_empty() { suite.sizes() } else { &self.sizes };
        let operations: Vec<_> =
            OPERATIONS.map(|(name, _)| name).into_iter().filter(|name| wanted(name)).collect();
        let networks = if self.only.is_empty() {
            suite.networks().iter().map(|(name, batch)| ((*name).to_owned(), *batch)).collect()
        } else {
            let batches = if self.batch.is_empty() { &[1] } else { &self.batch[..] };
            let names = self.only.iter().filter(|name| !is_operation(name));
            names.flat_map(|name| batches.iter().map(|batch| (name.clone(), *batch))).collect()
        };
        Ok(Manifest {
            suite: suite.name(),
            literals: PARAMETER_SETS
                .into_iter()
                .filter(|literal| !operations.is_empty() && sizes.contains(&literal.log_n))
                .collect(),
            operations,
            batches: if self.batch.is_empty() { suite.batches().to_vec() } else { self.batch.clone() },
            networks,
            samples: suite.samples(),
        })
    }

    /// Whether the suite is replaced by a smaller one for a `software` device.
    pub(crate) fn is_reduced(&self, software: bool) -> bool {
        let all = self.only.is_empty() && self.sizes.is_empty() && self.batch.is_empty();
        software && all && self.suite != Suite::Smoke
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura::ckks::Params;

    fn choice(suite: Suite) -> Choice {
        Choice { suite, only: Vec::new(), sizes: Vec::new(), batch: Vec::new() }
    }

    #[test]
    fn the_manifest_can_be_run() {
        let limbs = [(5, 2), (11, 4), (24, 8), (24, 8)];
        for (literal, (q, p)) in PARAMETER_SETS.iter().zip(limbs) {
            let params = Params::new(*literal).unwrap();
            let gadget = params.gadget(params.max_level());
            assert_eq!((gadget.limbs.q, gadget.limbs.p), (q, p), "2^{}", literal.log_n);
        }
        for suite in [Suite::Quick, Suite::Full, Suite::Smoke] {
            let manifest = choice(suite).manifest(false).unwrap();
            assert_eq!(manifest.suite, suite.name());
            assert!(manifest.networks.iter().all(|(name, _)| shipped::model(name).is_ok()));
            assert_eq!(choice(suite).manifest(true).unwrap().suite, "smoke");
        }
    }

    #[test]
    fn lists_change_with_their_version() {
        let digests = [Suite::Quick, Suite::Full].map(|suite| {
            let record = choice(suite).manifest(false).unwrap().record().unwrap();
            assert_eq!(record.version, 2);
            record.digest().unwrap()
        });
        let expected = [
            "66174afae2a9399a49d2188d8570f2ef3718ea453202941f4d094770b316840f",
            "3dd809a75cc4d840bc95de3da67dbac21477921c7a05f0e5e33fd916ec6e9428",
        ];
        assert_eq!(digests, expected, "raise VERSION, and name the digests of the new lists here");
    }

    #[test]
    fn a_part_can_be_chosen() {
        let only = vec!["rotate".to_owned(), "pneumonia".to_owned()];
        let choice = Choice { only, sizes: vec![16], batch: vec![1, 4], ..choice(Suite::Quick) };
        let manifest = choice.manifest(true).unwrap();
        let networks = [1, 4].map(|batch| ("pneumonia".to_owned(), batch));
        assert_eq!((manifest.operations, manifest.networks), (vec!["rotate"], networks.to_vec()));
        assert_eq!(manifest.literals.iter().map(|literal| literal.log_n).collect::<Vec<_>>(), [16]);
        assert_eq!(manifest.batches, [1, 4]);
        let unknown = Choice { only: vec!["spin".to_owned()], ..choice };
        assert!(unknown.manifest(false).err().unwrap().to_string().contains("spin"));
    }
}
