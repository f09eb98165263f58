//! Sample X-rays, what the codec keeps of them, and the difference.

use crate::html;
use anyhow::{Context, Result};
use maud::{Markup, html};
use ndarray::Zip;
use pleura::bench::Record;
use pleura::latent::{Xray, psnr, ssim};
use pleura::xray::Classifier;
use pleura::xray::shipped::{SAMPLES, Sample, model};

/// Samples that are shown: one of each class.
static SHOWN: [&Sample; 2] = [&SAMPLES[0], &SAMPLES[8]];
/// Factor of differences, which are small.
const STRETCH: f32 = 4.0;

/// The section, for the codec of the first network with one; empty without such a network.
pub(super) fn section(record: &Record) -> Result<Markup> {
    let shipped = record.networks.iter().find(|network| model(&network.name).is_ok());
    let Some(network) = shipped else { return Ok(html! {}) };
    let classifier = Classifier::shipped(&network.name)?;
    let Some(codec) = classifier.preprocessing().codec() else { return Ok(html! {}) };
    let mut figures = Vec::new();
    for sample in SHOWN {
        let xray = sample.xray()?;
        let decoded =
            codec.decode(&codec.encode(&xray)).with_context(|| format!("codec {}", codec.name()))?;
        figures.push(figure(sample, &xray, &decoded)?);
    }
    Ok(html! {
        h2 { "X-rays and the codec" }
        p { "Networks see the latents of codec " (codec.name()) ", 4x32x32 numbers of an X-ray of 256x256. Left to right: the sample, what \
            the codec's decoder makes of its latent, and their difference, enlarged " (STRETCH) " times around grey." }
        div.charts { @for figure in figures { (figure) } }
    })
}

fn figure(sample: &Sample, xray: &Xray, decoded: &Xray) -> Result<Markup> {
    let mut difference = decoded.pixels();
    Zip::from(&mut difference).and(&xray.pixels()).for_each(|pixel, original| {
        let stretched = 128.0 + STRETCH * (f32::from(*pixel) - f32::from(*original));
        *pixel = stretched.clamp(0.0, 255.0) as u8;
    });
    let difference = Xray::from_pixels(difference.view()).context("cannot make a picture")?;
    let mut pictures = Vec::new();
    for (picture, what) in [(xray, "original"), (decoded, "reconstruction"), (&difference, "difference")] {
        let png = picture.to_png().context("cannot make a picture")?;
        pictures.push(html::picture(&png, &format!("{what} of {}", sample.name), "frame"));
    }
    Ok(html! {
        figure {
            div.pictures { @for picture in pictures { (picture) } }
            figcaption {
                (sample.name) ", " (sample.truth) ": PSNR " (format!("{:.1}", psnr(xray, decoded))) " dB, SSIM "
                (format!("{:.3}", ssim(xray, decoded)))
            }
        }
    })
}
