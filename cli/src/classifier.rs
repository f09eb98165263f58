//! A network that tells classes of X-rays apart: one that is shipped, or the user's own.

use crate::error::CliError;
use crate::model::{MAX_MODEL, cannot_import, planned};
use crate::shipped::{self, SAMPLES};
use crate::text::{hex, shape_text};
use crate::{cache, files, terminal};
use anyhow::{Context, anyhow, bail};
use pleura::ckks::Security;
use pleura::latent::{Codec, Latent, SIDE, Xray};
use pleura::nn::{Network, Plan, PlanOptions};
use pleura::onnx::{ImportOptions, Imported, import};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Characters of a class's name that are shown.
const CLASS_CHARS: usize = 24;
/// What metadata of a model file start with.
const PREFIX: &str = "pleura.";

/// A network, its classes, and what it looks at.
pub(crate) struct Classifier {
    pub(crate) name: String,
    pub(crate) network: Network,
    pub(crate) classes: Vec<String>,
    pub(crate) input: Input,
    /// What the importer has to say.
    pub(crate) notes: Vec<String>,
    onnx: Vec<u8>,
}

/// How an X-ray becomes the numbers that are encrypted.
pub(crate) enum Input {
    /// Compressed.
    Latent(Box<Codec>),
    /// Made small, as it is: a square of so many pixels, from -1 to 1.
    Pixels(usize),
}

/// What an X-ray became.
pub(crate) struct Features {
    pub(crate) values: Vec<f64>,
    /// How far it is from the X-rays that the codec knows, in units of what nearly all of them stay below.
    pub(crate) strangeness: Option<f64>,
}

impl Classifier {
    /// The shipped network of a name, or the one in a file.
    pub(crate) fn load(name: &str) -> Result<Self, CliError> {
        let (name, path, bytes) = match shipped::model(name) {
            Some(model) => (model.name.to_owned(), Path::new(model.name), model.onnx.to_vec()),
            None if Path::new(name).exists() => {
                let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
                (stem.unwrap_or_default(), Path::new(name), files::read(Path::new(name), MAX_MODEL)?)
            }
            None => bail!(shipped::unknown_model(name)),
        };
        let imported = import(&bytes, &ImportOptions::default());
        let Imported { network, mut notes, metadata } = imported.with_context(|| cannot_import(path))?;
        let input = Input::of(&network, &metadata, &name)?;
        let classes = classes(&network, &metadata);
        if classes.len() < 2 {
            bail!("{name} has one output; a classifier has one for each class");
        }
        if metadata.contains_key(&format!("{PREFIX}classes"))
            && classes.iter().all(|c| c.starts_with("class "))
        {
            notes.push(
                "the names of classes in the model file do not fit its outputs, which are numbered instead"
                    .into(),
            );
        }
        Ok(Self { network: network.renamed(name.clone()), name, classes, input, notes, onnx: bytes })
    }

    /// Its name and a digest of all that it computes with.
    pub(crate) fn identity(&self) -> String {
        let codec = self.input.codec().map_or(0, Codec::id);
        let digest = Sha256::new().chain_update(&self.onnx).chain_update(codec.to_le_bytes()).finalize();
        format!("{}@{}", terminal::plain(&self.name), hex(digest.iter().take(4)))
    }

    /// Its plan for so many X-rays at once, calibrated on the samples.
    pub(crate) fn compile(&self, threads: usize, cached: bool, copies: usize) -> Result<Plan, CliError> {
        let security = Security::Bits128;
        let key = cache::Key::new().and(self.identity().as_bytes()).and(&self.onnx);
        let key = key.and(format!("classify {threads} {copies}").as_bytes());
        let network = if copies == 1 { self.network.clone() } else { self.network.side_by_side(copies)? };
        let options = || {
            let samples = SAMPLES.iter().map(|sample| {
                let xray = Xray::from_bytes(sample.jpeg);
                let (xray, _) = xray.with_context(|| files::cannot_read(sample.name.as_ref()))?;
                Ok(self.input.features(&xray)?.values.repeat(copies))
            });
            let calibration = samples.collect::<Result<Vec<_>, CliError>>()?;
            Ok(PlanOptions { security, calibration, threads })
        };
        Ok(planned(&network, key, security, cached, options)?.plan)
    }
}

impl Input {
    /// What the model file says, or what its input looks like.
    fn of(network: &Network, metadata: &BTreeMap<String, String>, name: &str) -> Result<Self, CliError> {
        let shape = network.input_shape();
        let wrong = |wanted: &str| {
            let shape = shape_text(shape);
            anyhow!(
                "{name} takes items of shape {shape}, and {wanted}: it cannot classify X-rays; `pleura run` runs any network"
            )
        };
        let said = metadata.get(&format!("{PREFIX}codec")).map(String::as_str);
        match (said, shape) {
            (None | Some("none"), &[1, height, width]) if height == width && width <= SIDE => {
                Ok(Self::Pixels(width))
            }
            (Some("none"), _) => Err(wrong("images have one channel and are square")),
            (None, _) => {
                let all = shipped::CODECS.iter().map(|(name, _)| shipped::codec(name));
                let all = all.collect::<Result<Vec<_>, _>>()?;
                let found = all.into_iter().find(|codec| codec.latent_shape() == shape);
                found.map(|codec| Self::Latent(Box::new(codec))).ok_or_else(|| wrong("no codec makes that"))
            }
            (Some(codec), _) => {
                let codec: String = codec.chars().take(CLASS_CHARS).collect();
                let codec = shipped::codec(&codec)?;
                let id = format!("{:016x}", codec.id());
                if metadata.get(&format!("{PREFIX}codec_id")).is_some_and(|trained_on| *trained_on != id) {
                    return Err(wrong(&format!(
                        "it was trained on another codec {} than this build's",
                        codec.name()
                    )));
                }
                if codec.latent_shape() != shape {
                    let [channels, height, width] = codec.latent_shape();
                    return Err(wrong(&format!("codec {} makes {channels}x{height}x{width}", codec.name())));
                }
                Ok(Self::Latent(Box::new(codec)))
            }
        }
    }

    /// The codec, where there is one.
    pub(crate) fn codec(&self) -> Option<&Codec> {
        match self {
            Self::Latent(codec) => Some(codec),
            Self::Pixels(_) => None,
        }
    }

    /// What the network is to see of an X-ray.
    pub(crate) fn features(&self, xray: &Xray) -> Result<Features, CliError> {
        match self {
            Self::Latent(codec) => self.features_of_latent(&codec.encode(xray)),
            Self::Pixels(side) => Ok(Features { values: reduced(xray, *side), strangeness: None }),
        }
    }

    /// What it is to see of a latent.
    pub(crate) fn features_of_latent(&self, latent: &Latent) -> Result<Features, CliError> {
        let strangeness = match self.codec() {
            Some(codec) => {
                Some(codec.strangeness(latent).with_context(|| format!("codec {}", codec.name()))?)
            }
            None => None,
        };
        Ok(Features { values: latent.values().iter().map(|&x| f64::from(x)).collect(), strangeness })
    }
}

/// The mean of what each of `side * side` pixels covers, from -1 to 1.
fn reduced(xray: &Xray, side: usize) -> Vec<f64> {
    let step = SIDE as f64 / side as f64;
    // How much of pixel `i` lies in cell `k`.
    let share = |k: usize, i: usize| {
        let (from, to) = (k as f64 * step, (k + 1) as f64 * step);
        (to.min(i as f64 + 1.0) - from.max(i as f64)).max(0.0) / step
    };
    let cells = |values: &[f64]| -> Vec<f64> {
        (0..side).map(|k| values.iter().enumerate().map(|(i, v)| share(k, i) * v).sum()).collect()
    };
    let rows = xray
        .values()
        .chunks_exact(SIDE)
        .map(|row| cells(&row.iter().map(|&x| f64::from(x) / 127.5 - 1.0).collect::<Vec<_>>()));
    let rows: Vec<_> = rows.collect();
    let column = |x: usize| -> Vec<f64> { rows.iter().filter_map(|row| row.get(x).copied()).collect() };
    let columns: Vec<_> = (0..side).map(|x| cells(&column(x))).collect();
    (0..side * side).filter_map(|i| columns.get(i % side)?.get(i / side).copied()).collect()
}

/// As the model file names them; numbers otherwise.
fn classes(network: &Network, metadata: &BTreeMap<String, String>) -> Vec<String> {
    let count = network.output_shape().iter().product::<usize>().max(1);
    let named = metadata.get(&format!("{PREFIX}classes")).and_then(|text| serde_json::from_str(text).ok());
    // Whoever made the file may play with the terminal, and names must tell classes apart.
    let short = |name: &String| terminal::plain(name).chars().take(CLASS_CHARS).collect::<String>();
    let named: Option<Vec<String>> = named.map(|names: Vec<String>| names.iter().map(short).collect());
    let distinct = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == count;
    let fitting = named.filter(|names| names.len() == count && distinct(names));
    fitting.unwrap_or_else(|| (0..count).map(|i| format!("class {i}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_means() {
        let xray = Xray::from_pixels((0..SIDE * SIDE).map(|i| (i % SIDE) as u8).collect()).unwrap();
        let values = reduced(&xray, 2);
        let expected = [63.5, 191.5, 63.5, 191.5].map(|x| x / 127.5 - 1.0);
        assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{values:?}");
        assert_eq!(reduced(&xray, 28).len(), 784);
    }

    #[test]
    fn shipped_networks_know_their_classes() {
        for model in &shipped::MODELS {
            let classifier = Classifier::load(model.name).unwrap();
            assert_eq!(classifier.classes.get(..2).unwrap(), ["normal", "pneumonia"], "{}", model.name);
            assert_eq!(classifier.input.codec().is_none(), model.name == "pneumoniamnist");
        }
        let unknown = Classifier::load("pnuemonia").err().unwrap().to_string();
        assert!(
            unknown.starts_with(
                "there is no model \"pnuemonia\", shipped or in a file; shipped are pneumonia, "
            )
        );
    }
}
