//! X-rays encrypted as published under one kind of randomness, and what attacks make of what is stored.

use crate::baseline::RECOVERABLE;
use crate::baseline::images::Image;
use crate::error::CliError;
use crate::intervals::Quality;
use crate::run::timed;
use indicatif::ProgressBar;
use pleura::baselines::leak::{MutualInformation, affine, codebook, frequency, leave_pair_out};
use pleura::baselines::paillier::{PublicKey, Randomness, store};
use pleura::baselines::psnr;
use rayon::prelude::*;

/// The attacks, by what they go by.
pub(crate) const ATTACKS: [&str; 3] = ["codebook", "frequency", "affine"];
/// Labelled images from which on a classifier is tried.
pub(crate) const FEWEST: usize = 16;

/// One arm of the pipeline as published.
pub(crate) struct Arm {
    pub(crate) randomness: Randomness,
    /// To encrypt and store all images.
    pub(crate) seconds: f64,
    pub(crate) information: MutualInformation,
    /// The first picture.
    pub(crate) stored: Vec<u8>,
    /// What each of [`ATTACKS`] makes of the stored pictures.
    pub(crate) recovered: [Recovered; ATTACKS.len()],
    /// How well labels are learned from stored pictures.
    pub(crate) labels: Quality,
    /// And from what the affine attack recovers of each of them.
    pub(crate) recovered_labels: Quality,
}

/// What an attack recovers.
#[derive(Default)]
pub(crate) struct Recovered {
    pub(crate) by: &'static str,
    /// The median over images, in decibels; nothing if the attack could not be tried.
    pub(crate) psnr: Option<f64>,
    /// The first image, whatever it looks like.
    pub(crate) picture: Vec<u8>,
}

impl Arm {
    /// Encrypts, stores, and attacks; the bar goes on by one for each image.
    ///
    /// The codebook is read from all other images. The other attacks see stored pictures alone, frequency one and affine all that share their
    /// randomness, and one X-ray for how greys are distributed: the same for all but itself, or it would bring what is known of its own
    /// label with it.
    pub(crate) fn of(
        key: &PublicKey,
        plain: &[Vec<u8>],
        labels: Option<&[bool]>,
        randomness: Randomness,
        bar: &ProgressBar,
    ) -> Result<Self, CliError> {
        bar.set_message(format!("{}: encrypting", name(randomness)));
        let mut seconds = 0.0;
        let stored = timed(&mut seconds, || store(key, plain, randomness))?;
        let stored: Vec<Vec<u8>> = stored.into_iter().map(|picture| picture.pixels).collect();
        bar.set_message(format!("{}: attacking", name(randomness)));
        let alone = plain.len() < 2;
        let even: Vec<u8> = (0..=u8::MAX).collect();
        // An image is no reference for itself: without another, all greys alike.
        let reference = |k: usize| plain.get(usize::from(k == 0)).map_or(&even, |image| image);
        let side = plain.first().map_or(1, |image| image.len().isqrt());
        let together = if randomness == Randomness::Fixed {
            let first = affine(&stored, side, reference(0)).into_iter().take(1);
            first.chain(affine(stored.get(1..).unwrap_or_default(), side, reference(1))).collect()
        } else {
            Vec::new()
        };
        let attacked: Vec<[Vec<u8>; ATTACKS.len()]> = stored
            .par_iter()
            .enumerate()
            .map(|(k, picture)| {
                let by_itself = || affine(std::slice::from_ref(picture), side, reference(k)).concat();
                let recovered = [
                    codebook(&others(plain, k), &others(&stored, k), picture),
                    frequency(picture, side, reference(k)),
                    together.get(k).cloned().unwrap_or_else(by_itself),
                ];
                bar.inc(1);
                recovered
            })
            .collect();
        let mut of_each: [Vec<Vec<u8>>; ATTACKS.len()] = Default::default();
        for recovered in attacked {
            of_each.iter_mut().zip(recovered).for_each(|(of, picture)| of.push(picture));
        }
        let learned = |pictures: &[Vec<u8>]| labels.map_or_else(Quality::default, |l| learned(pictures, l));
        let recovered_labels = learned(of_each.last().map_or(&[], Vec::as_slice));
        let mut recovered: [Recovered; ATTACKS.len()] = Default::default();
        for ((entry, by), pictures) in recovered.iter_mut().zip(ATTACKS).zip(of_each) {
            // A codebook of no other image is empty.
            let tried = by != "codebook" || !alone;
            let psnr = tried.then(|| median(plain, &pictures));
            *entry = Recovered { by, psnr, picture: pictures.into_iter().next().unwrap_or_default() };
        }
        Ok(Self {
            randomness,
            seconds,
            information: MutualInformation::of(&plain.concat(), &stored.concat()),
            labels: learned(&stored),
            recovered_labels,
            recovered,
            stored: stored.into_iter().next().unwrap_or_default(),
        })
    }

    /// The attack that recovers most.
    pub(crate) fn best(&self) -> &Recovered {
        let [first, rest @ ..] = &self.recovered;
        let better = |a: &Recovered, b: &Recovered| {
            a.psnr.unwrap_or(f64::NEG_INFINITY) > b.psnr.unwrap_or(f64::NEG_INFINITY)
        };
        rest.iter().fold(first, |best, found| if better(found, best) { found } else { best })
    }

    /// What to call it.
    pub(crate) fn name(&self) -> &'static str {
        name(self.randomness)
    }
}

/// What keeps a stored picture from being read.
pub(crate) fn protection(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => "nothing to learn, nothing to classify",
        Randomness::PerImage | Randomness::Fixed => RECOVERABLE,
    }
}

/// Labels, if all are known and they are enough to learn from.
pub(crate) fn labels(images: &[Image]) -> Option<Vec<bool>> {
    let known: Option<Vec<bool>> = images.iter().map(|image| image.sick).collect();
    known.filter(|labels| labels.len() >= FEWEST)
}

/// How well labels are learned from pictures: unknown if there are not two of each.
pub(crate) fn learned(pictures: &[Vec<u8>], labels: &[bool]) -> Quality {
    let sick = labels.iter().filter(|&&sick| sick).count();
    leave_pair_out(pictures, labels).map_or_else(Quality::default, |learned| {
        Quality::learned(learned.right, learned.auc, sick, labels.len() - sick)
    })
}

fn name(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => "fresh for each pixel",
        Randomness::PerImage => "one for each image",
        Randomness::Fixed => "one for all",
    }
}

/// The pixels of all pictures but one.
fn others(pictures: &[Vec<u8>], one: usize) -> Vec<u8> {
    let others = pictures.iter().enumerate().filter(|(k, _)| *k != one);
    others.flat_map(|(_, pixels)| pixels.iter().copied()).collect()
}

/// Of the PSNR of recovered images.
fn median(plain: &[Vec<u8>], recovered: &[Vec<u8>]) -> f64 {
    let mut found: Vec<f64> = plain.iter().zip(recovered).map(|(a, b)| psnr(a, b)).collect();
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied().unwrap_or(f64::NAN)
}
