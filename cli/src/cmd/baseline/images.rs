//! X-rays for the baselines, and pictures of what became of them.

use crate::{files, sources};
use anyhow::{Context, Result, bail};
use ndarray::Array2;
use pleura::baselines::{enlarged, reduced};
use pleura::latent::{SIDE, Xray};
use pleura::xray::Content;
use pleura::xray::shipped::SAMPLES;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

/// An X-ray with what is known of it.
pub(crate) struct Image {
    pub(crate) name: String,
    /// Whether it is labelled pneumonia, where that is known.
    pub(crate) sick: Option<bool>,
    pub(crate) xray: Xray,
}

/// All that the arguments name; the samples if they name nothing.
pub(crate) fn load(arguments: &[PathBuf]) -> Result<Vec<Image>> {
    let sources = sources::list(arguments)?;
    let bar = crate::progress::bar().with_prefix("read");
    bar.set_length(sources.len() as u64);
    let read = sources.iter().map(|source| {
        let name = source.name();
        let sick = source.truth().or_else(|| truth(&name)).map(|truth| truth != "normal");
        let found = source.read(None, SIDE)?.into_iter().next().map(|item| item.content);
        bar.inc(1);
        match found {
            Some(Content::Xray(xray)) => Ok(Image { name, sick, xray }),
            _ => bail!("{name} holds latents already; give it images"),
        }
    });
    let read = read.collect();
    bar.finish_and_clear();
    read
}

/// By the name of the folder that a file lies in, as data sets are kept, or by its own if that is a sample's.
fn truth(name: &str) -> Option<&'static str> {
    let path = Path::new(name);
    let folder =
        path.parent().and_then(Path::file_name).map(|folder| folder.to_string_lossy().to_lowercase());
    match folder.as_deref() {
        Some("normal") => Some("normal"),
        Some("pneumonia") => Some("pneumonia"),
        _ => {
            let own = path.file_name()?.to_str()?;
            SAMPLES.iter().find(|sample| sample.name == own).map(|sample| sample.truth)
        }
    }
}

/// An X-ray as a square picture of a side, in 8 bits.
pub(crate) fn small(xray: &Xray, side: usize) -> Vec<u8> {
    let pixels: Vec<u8> = xray.pixels().into_iter().collect();
    reduced(&pixels, side)
}

/// A square picture as PNG, each pixel repeated so that it is 256 wide.
pub(crate) fn png(pixels: &[u8]) -> Result<Vec<u8>> {
    let picture =
        Array2::from_shape_vec((SIDE, SIDE), enlarged(pixels, SIDE)).context("cannot make a picture")?;
    Xray::from_pixels(picture.view()).and_then(|picture| picture.to_png()).context("cannot make a picture")
}

/// Where pictures of these names go in a folder, if they may: asked before the work, and nothing is left behind.
///
/// None may be a file that is read.
pub(crate) fn check_pictures(
    folder: &Path,
    names: impl IntoIterator<Item = impl Display>,
    inputs: &[PathBuf],
    force: bool,
) -> Result<Vec<PathBuf>> {
    let places: Vec<PathBuf> = names.into_iter().map(|name| folder.join(format!("{name}.png"))).collect();
    files::check_folder(folder)?;
    if folder.exists() {
        files::check_outputs(&places, sources::files(inputs), force)?;
    }
    Ok(places)
}

/// Writes pictures into a folder, which is made if it is not there.
pub(crate) fn write_pictures(
    folder: &Path,
    pictures: &[(String, Vec<u8>)],
    force: bool,
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| files::cannot_write(folder))?;
    let places = check_pictures(folder, pictures.iter().map(|(name, _)| name), &[], force)?;
    for ((_, pixels), path) in pictures.iter().zip(&places) {
        files::write(path, &[&png(pixels)?], force, false)?;
    }
    Ok(places)
}

/// `inf` is a word for people; programs get null.
pub(crate) fn decibels(psnr: f64) -> String {
    if psnr.is_finite() { format!("{psnr:.1} dB") } else { "every pixel".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_names_of_samples_tell_labels() {
        let of = ["ward/NORMAL/a.png", "ward/Pneumonia/a.png", "ward/a.png", "a.png", ""].map(truth);
        assert_eq!(of, [Some("normal"), Some("pneumonia"), None, None, None]);
        assert_eq!(truth("ward/person1946_bacteria_4874.jpeg"), Some("pneumonia"));
        assert_eq!(truth("NORMAL2-IM-1427-0001.jpeg"), Some("normal"));
        assert_eq!(truth("normal/person1946_bacteria_4874.jpeg"), Some("normal"));
    }
}
