//! Images encrypted as published, and what attacks make of what is stored.

use super::{PaillierError, PublicKey, Randomness, store};
use crate::leak::{Codebook, Learned, MutualInformation, affine, frequency, leave_pair_out};
use crate::psnr;
use crate::stopwatch::timed;
use rayon::prelude::*;

/// Leakage of stored pictures under one kind of randomness.
#[derive(Clone, Debug)]
pub struct Leakage {
    /// How randomness is shared.
    pub randomness: Randomness,
    /// Seconds to encrypt and store all images.
    pub seconds: f64,
    /// Information of a stored pixel about its plain pixel.
    pub information: MutualInformation,
    /// The first stored picture.
    pub stored: Vec<u8>,
    /// Results of the attacks in the order of [`Attack::ALL`], without the codebook if there is no other image to learn from.
    pub attacks: Vec<Recovered>,
    /// How well labels are learned from stored pictures, where labels are given.
    pub labels: Option<Learned>,
    /// How well labels are learned from what [`Attack::Affine`] recovers.
    pub recovered_labels: Option<Learned>,
}

/// An attack on stored pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A codebook that is read from all other images.
    Codebook,
    /// The likeness of neighbours in one picture.
    Frequency,
    /// The step and the period of all levels of one randomness.
    Affine,
}

impl Attack {
    /// All attacks.
    pub const ALL: [Self; 3] = [Self::Codebook, Self::Frequency, Self::Affine];

    /// Name in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Codebook => "codebook",
            Self::Frequency => "frequency",
            Self::Affine => "affine",
        }
    }
}

/// Pictures that an attack recovers.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The attack.
    pub attack: Attack,
    /// Median over images of the peak signal-to-noise ratio, in dB.
    pub psnr: f64,
    /// The first picture, whatever it looks like.
    pub picture: Vec<u8>,
}

impl Recovered {
    /// Pictures of as many images, of which there is one at least.
    fn new(attack: Attack, images: &[Vec<u8>], pictures: &[Vec<u8>]) -> Result<Self, PaillierError> {
        let mut found: Vec<f64> = images.iter().zip(pictures).map(|(a, b)| psnr(a, b)).collect();
        found.sort_by(f64::total_cmp);
        // The lower of two in the middle: the mean with infinity would be infinity.
        let median = found.get(found.len().saturating_sub(1) / 2);
        let (Some(&psnr), Some(picture)) = (median, pictures.first()) else {
            return Err(PaillierError::Internal("an attack recovers no picture"));
        };
        Ok(Self { attack, psnr, picture: picture.clone() })
    }
}

/// A step of [`Leakage::measure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeakageStep {
    /// Images are encrypted and stored.
    Encrypt,
    /// Attacks begin.
    Attack,
    /// One more image is attacked.
    Attacked,
}

impl Leakage {
    /// Encrypts and stores square images, and attacks what is stored.
    ///
    /// The codebook is read from all other images. The other attacks see stored pictures alone: frequency one picture, affine all
    /// pictures that share their randomness. Both also know the grey levels of one image, the same for all pictures but its own,
    /// which would otherwise bring the knowledge of its own label along.
    ///
    /// # Errors
    /// [`PaillierError::Alone`] without images, [`PaillierError::Square`] if they are no squares of one side, [`PaillierError::Length`] if there
    /// is not a label for each, [`PaillierError::NoEntropy`] if the system has no randomness.
    pub fn measure(
        key: &PublicKey,
        images: &[Vec<u8>],
        labels: Option<&[bool]>,
        randomness: Randomness,
        step: &(dyn Fn(LeakageStep) + Sync),
    ) -> Result<Self, PaillierError> {
        let side = side(images)?;
        if let Some(labels) = labels.filter(|labels| labels.len() != images.len()) {
            return Err(PaillierError::Length { what: "labels", expected: images.len(), got: labels.len() });
        }
        step(LeakageStep::Encrypt);
        let mut seconds = 0.0;
        let stored = timed(&mut seconds, || store(key, images, randomness))?;
        let stored: Vec<Vec<u8>> = stored.into_iter().map(|picture| picture.pixels).collect();
        step(LeakageStep::Attack);
        let by_affine = by_affine(images, side, &stored, randomness);
        let by_frequency = by_frequency(images, side, &stored, step);
        let by_codebook = by_codebook(images, &stored);
        let attacks = Attack::ALL.into_iter().zip([&by_codebook, &by_frequency, &by_affine]);
        let attacks = attacks.skip(usize::from(images.len() < 2));
        let attacks = attacks.map(|(attack, pictures)| Recovered::new(attack, images, pictures));
        Ok(Self {
            randomness,
            seconds,
            information: information(randomness, images, &stored),
            attacks: attacks.collect::<Result<_, _>>()?,
            labels: labels.and_then(|labels| leave_pair_out(&stored, labels)),
            recovered_labels: labels.and_then(|labels| leave_pair_out(&by_affine, labels)),
            stored: stored.into_iter().next().ok_or(PaillierError::Internal("no picture is stored"))?,
        })
    }

    /// The attack that recovers most.
    pub fn best(&self) -> Option<&Recovered> {
        self.attacks.iter().max_by(|a, b| a.psnr.total_cmp(&b.psnr))
    }
}

/// The image that the attack on image `k` knows, never image `k` itself. Without another image, a uniform distribution of greys.
fn reference(images: &[Vec<u8>], k: usize) -> Vec<u8> {
    images.get(usize::from(k == 0)).cloned().unwrap_or_else(|| (0..=u8::MAX).collect())
}

/// Side of images that are squares of one size.
fn side(images: &[Vec<u8>]) -> Result<usize, PaillierError> {
    let side = images.first().ok_or(PaillierError::Alone)?.len().isqrt();
    for (index, pixels) in images.iter().map(Vec::len).enumerate() {
        if pixels == 0 || pixels != side * side {
            return Err(PaillierError::Square { index, pixels });
        }
    }
    Ok(side)
}

fn by_codebook(images: &[Vec<u8>], stored: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut book = Codebook::default();
    images.iter().zip(stored).for_each(|(known, stored)| book.learn(known, stored));
    let pairs = images.par_iter().zip(stored);
    pairs.map(|(known, stored)| book.without(known, stored).open(stored)).collect()
}

fn by_frequency(
    images: &[Vec<u8>],
    side: usize,
    stored: &[Vec<u8>],
    step: &(dyn Fn(LeakageStep) + Sync),
) -> Vec<Vec<u8>> {
    stored
        .par_iter()
        .enumerate()
        .map(|(k, picture)| {
            let found = frequency(picture, side, &reference(images, k));
            step(LeakageStep::Attacked);
            found
        })
        .collect()
}

fn by_affine(images: &[Vec<u8>], side: usize, stored: &[Vec<u8>], randomness: Randomness) -> Vec<Vec<u8>> {
    if let (Randomness::Fixed, [_, others @ ..]) = (randomness, stored) {
        let first = affine(stored, side, &reference(images, 0)).pictures.into_iter().take(1);
        return first.chain(affine(others, side, &reference(images, 1)).pictures).collect();
    }
    stored
        .par_iter()
        .enumerate()
        .map(|(k, picture)| {
            affine(std::slice::from_ref(picture), side, &reference(images, k)).pictures.concat()
        })
        .collect()
}

/// Information over all pixels, or the mean over images where each has a substitution of its own.
fn information(randomness: Randomness, images: &[Vec<u8>], stored: &[Vec<u8>]) -> MutualInformation {
    if randomness == Randomness::PerImage {
        let each = images.par_iter().zip(stored).map(|(a, b)| MutualInformation::of(a, b));
        return MutualInformation::mean(&each.collect::<Vec<_>>());
    }
    MutualInformation::of(&images.concat(), &stored.concat())
}
