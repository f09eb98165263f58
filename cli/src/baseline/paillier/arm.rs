//! X-rays encrypted as published under one kind of randomness, and what attacks make of what is stored.

use crate::baseline::images::Image;
use crate::baseline::{RECOVERABLE, SOUND};
use crate::intervals::Quality;
use crate::run::timed;
use anyhow::Result;
use indicatif::ProgressBar;
use pleura::baselines::leak::{Codebook, MutualInformation, affine, frequency, leave_pair_out};
use pleura::baselines::paillier::{PublicKey, Randomness, store};
use pleura::baselines::psnr;
use rayon::prelude::*;

/// The attacks, by what they go by.
pub(crate) const ATTACKS: [&str; 3] = ["codebook", "frequency", "affine"];
/// Labelled images from which on a classifier is tried: with fewer, chance looks like anything.
pub(crate) const FEWEST: usize = 48;

/// One arm of the pipeline as published.
pub(crate) struct Arm {
    pub(crate) randomness: Randomness,
    /// To encrypt and store all images.
    pub(crate) seconds: f64,
    pub(crate) information: MutualInformation,
    /// The first picture.
    pub(crate) stored: Vec<u8>,
    /// What [`ATTACKS`] make of the stored pictures; without the codebook if there is no other image to learn from.
    pub(crate) attacks: Vec<Recovered>,
    /// How well labels are learned from stored pictures.
    pub(crate) labels: Quality,
    /// And from what the affine attack recovers of each of them.
    pub(crate) recovered_labels: Quality,
}

/// What an attack recovers.
pub(crate) struct Recovered {
    pub(crate) by: &'static str,
    /// The median over images, in decibels.
    pub(crate) psnr: f64,
    /// The first image, whatever it looks like.
    pub(crate) picture: Vec<u8>,
}

impl Recovered {
    fn of(by: &'static str, plain: &[Vec<u8>], mut pictures: Vec<Vec<u8>>) -> Self {
        let mut found: Vec<f64> = plain.iter().zip(&pictures).map(|(a, b)| psnr(a, b)).collect();
        found.sort_by(f64::total_cmp);
        // The lower of two in the middle: the mean with infinity would be infinity.
        let psnr = found.get(found.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
        Self { by, psnr, picture: if pictures.is_empty() { Vec::new() } else { pictures.swap_remove(0) } }
    }
}

impl Arm {
    /// Encrypts, stores, and attacks; the bar goes on by one for each image.
    ///
    /// The codebook is read from all other images. The other attacks see stored pictures alone, frequency one and affine all that share their
    /// randomness, and one X-ray that is known, for how greys are distributed: the same for all but itself, or it would bring what is known
    /// of its own label with it.
    pub(crate) fn of(
        key: &PublicKey,
        plain: &[Vec<u8>],
        labels: Option<&[bool]>,
        randomness: Randomness,
        bar: &ProgressBar,
    ) -> Result<Self> {
        bar.set_message(format!("{}: encrypting", name(randomness)));
        let mut seconds = 0.0;
        let stored = timed(&mut seconds, || store(key, plain, randomness))?;
        let stored: Vec<Vec<u8>> = stored.into_iter().map(|picture| picture.pixels).collect();
        bar.set_message(format!("{}: attacking", name(randomness)));
        let even: Vec<u8> = (0..=u8::MAX).collect();
        // An image is no reference for itself: without another, all greys alike.
        let reference = |k: usize| plain.get(usize::from(k == 0)).map_or(&even, |image| image);
        let side = plain.first().map_or(1, |image| image.len().isqrt());
        let each = |of: &(dyn Fn(usize, &Vec<u8>) -> Vec<u8> + Sync)| -> Vec<Vec<u8>> {
            stored.par_iter().enumerate().map(|(k, picture)| of(k, picture)).collect()
        };
        let by_arithmetic = if randomness == Randomness::Fixed {
            let first = affine(&stored, side, reference(0)).pictures.into_iter().take(1);
            let others = affine(stored.get(1..).unwrap_or_default(), side, reference(1)).pictures;
            first.chain(others).collect()
        } else {
            each(&|k, picture| affine(std::slice::from_ref(picture), side, reference(k)).pictures.concat())
        };
        let mut book = Codebook::default();
        plain.iter().zip(&stored).for_each(|(known, stored)| book.learn(known, stored));
        let known = |k: usize| plain.get(k).map_or(&[][..], Vec::as_slice);
        let by_codebook = each(&|k, picture| book.without(known(k), picture).open(picture));
        let by_frequency = each(&|k, picture| {
            let found = frequency(picture, side, reference(k));
            bar.inc(1);
            found
        });
        let learned = |pictures: &[Vec<u8>]| labels.map_or_else(Quality::default, |l| learned(pictures, l));
        Ok(Self {
            randomness,
            seconds,
            information: information(randomness, plain, &stored),
            labels: learned(&stored),
            recovered_labels: learned(&by_arithmetic),
            attacks: ATTACKS
                .into_iter()
                .zip([by_codebook, by_frequency, by_arithmetic])
                .skip(usize::from(plain.len() < 2))
                .map(|(by, pictures)| Recovered::of(by, plain, pictures))
                .collect(),
            stored: stored.into_iter().next().unwrap_or_default(),
        })
    }

    /// The attack that recovers most.
    pub(crate) fn best(&self) -> Option<&Recovered> {
        self.attacks.iter().max_by(|a, b| a.psnr.total_cmp(&b.psnr))
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &'static str {
        name(self.randomness)
    }
}

/// What keeps a stored picture from being read.
pub(crate) fn protection(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => SOUND,
        Randomness::PerImage | Randomness::Fixed => RECOVERABLE,
    }
}

/// Labels, if all are known and they are enough to learn from.
pub(crate) fn labels(images: &[Image]) -> Option<Vec<bool>> {
    let known: Option<Vec<bool>> = images.iter().map(|image| image.sick).collect();
    let two = |labels: &[bool], label| labels.iter().filter(|&&l| l == label).count() >= 2;
    known.filter(|labels| labels.len() >= FEWEST && two(labels, true) && two(labels, false))
}

/// How well labels are learned from pictures: unknown if there are not two of each.
pub(crate) fn learned(pictures: &[Vec<u8>], labels: &[bool]) -> Quality {
    leave_pair_out(pictures, labels).map_or_else(Quality::default, |learned| Quality::learned(&learned))
}

/// Of the pixels of each image, where each has a substitution of its own.
fn information(randomness: Randomness, plain: &[Vec<u8>], stored: &[Vec<u8>]) -> MutualInformation {
    if randomness == Randomness::PerImage {
        let each = plain.par_iter().zip(stored).map(|(a, b)| MutualInformation::of(a, b));
        return MutualInformation::mean(&each.collect::<Vec<_>>());
    }
    MutualInformation::of(&plain.concat(), &stored.concat())
}

fn name(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => "fresh for each pixel",
        Randomness::PerImage => "one for each image",
        Randomness::Fixed => "one for all",
    }
}

/// What files and options call it.
pub(crate) fn word(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => "fresh",
        Randomness::PerImage => "image",
        Randomness::Fixed => "fixed",
    }
}
