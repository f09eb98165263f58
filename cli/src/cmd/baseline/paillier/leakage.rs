//! Leakage of stored pictures under one kind of randomness, in figures and in words.

use crate::cmd::baseline::images::Image;
use crate::cmd::baseline::{RECOVERABLE, SOUND};
use anyhow::Result;
use indicatif::ProgressBar;
use pleura::baselines::leak::learnable;
use pleura::baselines::paillier::{Leakage, LeakageStep, PublicKey, Randomness};

/// Measures what stored pictures reveal; the bar goes on by one for each image.
pub(crate) fn measure(
    key: &PublicKey,
    plain: &[Vec<u8>],
    labels: Option<&[bool]>,
    randomness: Randomness,
    bar: &ProgressBar,
) -> Result<Leakage> {
    let name = name(randomness);
    let step = |step| match step {
        LeakageStep::Encrypt => bar.set_message(format!("{name}: encrypting")),
        LeakageStep::Attack => bar.set_message(format!("{name}: attacking")),
        LeakageStep::Attacked => bar.inc(1),
    };
    Ok(Leakage::measure(key, plain, labels, randomness, &step)?)
}

/// Protection of a stored picture.
pub(crate) fn protection(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => SOUND,
        Randomness::PerImage | Randomness::Fixed => RECOVERABLE,
    }
}

/// Labels, if all are known and they are enough to learn from.
pub(crate) fn labels(images: &[Image]) -> Option<Vec<bool>> {
    learnable(images.iter().map(|image| image.sick))
}

/// Name for people.
pub(crate) fn name(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => "fresh for each pixel",
        Randomness::PerImage => "one for each image",
        Randomness::Fixed => "one for all",
    }
}

/// Name in files and options.
pub(crate) fn word(randomness: Randomness) -> &'static str {
    match randomness {
        Randomness::Fresh => "fresh",
        Randomness::PerImage => "image",
        Randomness::Fixed => "fixed",
    }
}
