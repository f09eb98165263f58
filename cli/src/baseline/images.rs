//! X-rays for the baselines, and pictures of what became of them.

use crate::error::CliError;
use crate::files;
use crate::sources::{Content, Source};
use pleura::latent::{SIDE, Xray};
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

/// A name that no picture has.
const PROBE: &str = ".pleura-probe";

/// An X-ray with what is known of it.
pub(crate) struct Image {
    pub(crate) name: String,
    /// Whether it is labelled pneumonia, where that is known.
    pub(crate) sick: Option<bool>,
    pub(crate) xray: Xray,
}

/// All that the arguments name; the samples if they name nothing.
pub(crate) fn load(arguments: &[PathBuf]) -> Result<Vec<Image>, CliError> {
    let sources = Source::list(arguments)?;
    let read = sources.iter().map(|source| {
        let name = source.name();
        let sick = source.truth().or_else(|| truth(&name)).map(|truth| truth != "normal");
        match source.read(None)?.into_iter().next().map(|item| item.content) {
            Some(Content::Xray(xray)) => Ok(Image { name, sick, xray }),
            _ => Err(CliError::Compressed { path: name.into() }),
        }
    });
    read.collect()
}

/// By the name of the folder that a file lies in, as data sets are kept.
fn truth(name: &str) -> Option<&'static str> {
    let folder = Path::new(name).parent()?.file_name()?.to_string_lossy().to_lowercase();
    match folder.as_str() {
        "normal" => Some("normal"),
        "pneumonia" => Some("pneumonia"),
        _ => None,
    }
}

/// The mean of what each of `side * side` pixels covers, in 8 bits.
pub(crate) fn small(xray: &Xray, side: usize) -> Vec<u8> {
    let pixels = xray.pixels();
    let edge = |k: usize| k * SIDE / side;
    let mean = |k: usize| {
        let (y, x) = (k / side, k % side);
        let rows = edge(y)..edge(y + 1).max(edge(y) + 1);
        let inside = rows.flat_map(|row| {
            let cells = pixels.get(row * SIDE + edge(x)..row * SIDE + edge(x + 1).max(edge(x) + 1));
            cells.unwrap_or_default().iter().map(|&p| u32::from(p))
        });
        let (sum, count) = inside.fold((0, 0), |(sum, count), p| (sum + p, count + 1));
        (sum / count.max(1)) as u8
    };
    (0..side * side).map(mean).collect()
}

/// A square picture as PNG, each pixel repeated so that it is 256 wide.
pub(crate) fn png(pixels: &[u8]) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Image { path: "picture.png".into(), source };
    Xray::from_pixels(repeated(pixels)).map_err(failed)?.to_png().map_err(failed)
}

/// A square picture with each pixel repeated, so that it is 256 wide.
pub(crate) fn repeated(pixels: &[u8]) -> Vec<u8> {
    let side = pixels.len().isqrt().max(1);
    let at =
        |k: usize| pixels.get(k / SIDE * side / SIDE * side + k % SIDE * side / SIDE).copied().unwrap_or(0);
    (0..SIDE * SIDE).map(at).collect()
}

/// Where pictures of these names go in a folder, if they may: asked before the work that leads to them, which leaves nothing behind if it
/// fails.
pub(crate) fn check_pictures(
    folder: &Path,
    names: impl IntoIterator<Item = impl Display>,
    force: bool,
) -> Result<Vec<PathBuf>, CliError> {
    let places: Vec<PathBuf> = names.into_iter().map(|name| folder.join(format!("{name}.png"))).collect();
    if fs::symlink_metadata(folder).is_ok() {
        places.iter().try_for_each(|path| files::check_writable(path, force))?;
    } else {
        // It is made later, in the nearest folder that is there.
        let above = folder.ancestors().skip(1).find(|above| above.exists());
        files::check_writable(&above.unwrap_or(Path::new("")).join(PROBE), false)?;
    }
    Ok(places)
}

/// Writes pictures into a folder, which is made if it is not there.
pub(crate) fn write_pictures(
    folder: &Path,
    pictures: &[(String, Vec<u8>)],
    force: bool,
) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Write { path: folder.into(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let places = check_pictures(folder, pictures.iter().map(|(name, _)| name), force)?;
    for ((_, pixels), path) in pictures.iter().zip(&places) {
        let failed = |source| CliError::Write { path: path.clone(), source };
        files::write(path, &[&png(pixels)?], force, false).map_err(failed)?;
    }
    Ok(places)
}

/// `inf` is a word for people; programs get null.
pub(crate) fn decibels(psnr: f64) -> String {
    if psnr.is_finite() { format!("{psnr:.1} dB") } else { "every pixel".to_owned() }
}
