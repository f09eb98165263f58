//! Steps of the client.

use crate::files;
use crate::instance::Instance;
use anyhow::{Context, Result, bail};
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};
use pleura::nn::BeyondRange;
use pleura::npy;
use pleura::remote::{ClientBundle, ClientKey, ItemDecryptor, ItemEncryptor, ItemNote, MAX_SECRET_BYTES};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Most bytes of a client bundle.
const MAX_BUNDLE: u64 = 1 << 26;
/// Most characters of a line of pixels.
const MAX_LINE: u64 = 1 << 20;

/// Makes a secret key and the evaluation keys of the instance's plan.
pub(crate) fn generate_keys(instance: Instance) -> Result<()> {
    let key = ClientKey::generate(bundle(instance)?)?;
    files::write(&instance.keys(), |out| Ok(key.write_keys(out)?))?;
    files::write_bytes(&instance.secret(), &key.to_secret_bytes(None)?)
}

/// Reads the pixels that the suite wrote as text.
pub(crate) fn preprocess_input(instance: Instance) -> Result<()> {
    let shape = bundle(instance)?.item_shape();
    let path = instance.pixels();
    let file = files::open(&path, "the suite's generation of inputs")?;
    let items = pixels(BufReader::new(file), instance, &shape)
        .with_context(|| format!("cannot use {}", path.display()))?;
    files::write_bytes(&instance.input(), &npy::to_bytes(items.view()))
}

/// Encrypts the items.
pub(crate) fn encrypt(instance: Instance) -> Result<()> {
    let key = key(instance)?;
    let items = array(&instance.input(), "client_preprocess_input")?;
    let items = npy::items(items, &key.bundle().item_shape())
        .with_context(|| format!("cannot use {}", instance.input().display()))?;
    check_count(instance, items.len_of(Axis(0)), &instance.input())?;
    files::write(&instance.upload(), |out| {
        let mut encryptor = ItemEncryptor::new(&key, out)?;
        for item in items.outer_iter() {
            encryptor.add(ItemNote::default(), item.to_owned())?;
        }
        encryptor.finish()?;
        Ok(())
    })
}

/// Decrypts the scores.
pub(crate) fn decrypt(instance: Instance) -> Result<()> {
    let key = key(instance)?;
    let path = instance.download();
    let file = BufReader::with_capacity(1 << 20, files::open(&path, "server_encrypted_compute")?);
    let scores = scores(&key, file).with_context(|| format!("cannot decrypt {}", path.display()))?;
    check_count(instance, scores.len_of(Axis(0)), &path)?;
    files::write_bytes(&instance.scores(), &npy::to_bytes(scores.view()))
}

/// Writes the label of each item: the class of the largest score.
pub(crate) fn postprocess(instance: Instance) -> Result<()> {
    let path = instance.scores();
    let scores = array(&path, "client_decrypt_decode")?;
    if scores.ndim() < 2 {
        bail!("{} has one axis and needs items and classes; run client_decrypt_decode again", path.display());
    }
    check_count(instance, scores.len_of(Axis(0)), &path)?;
    let labels: Result<Vec<String>> =
        scores.outer_iter().map(|scores| Ok(format!("{}\n", label(scores)?))).collect();
    files::write_bytes(&instance.predictions(), labels?.concat().as_bytes())
}

fn bundle(instance: Instance) -> Result<ClientBundle> {
    let path = instance.bundle();
    let bytes = files::read(&path, MAX_BUNDLE, "build.sh with the model and its sizes")?;
    ClientBundle::from_bytes(&bytes).with_context(|| format!("cannot use {}", path.display()))
}

fn key(instance: Instance) -> Result<ClientKey> {
    let path = instance.secret();
    let bytes =
        zeroize::Zeroizing::new(files::read(&path, MAX_SECRET_BYTES as u64, "client_key_generation")?);
    ClientKey::from_secret_bytes(bundle(instance)?, &bytes, None)
        .with_context(|| format!("cannot use {}; run client_key_generation again", path.display()))
}

fn array(path: &Path, step: &str) -> Result<ArrayD<f64>> {
    let file = BufReader::new(files::open(path, step)?);
    npy::read(file).with_context(|| format!("cannot use {}; run {step} again", path.display()))
}

/// Numbers of one item a line, separated by spaces.
fn pixels(mut file: impl BufRead, instance: Instance, shape: &[usize]) -> Result<ArrayD<f64>> {
    let expected: usize = shape.iter().product();
    let mut values = Vec::new();
    let mut items = 0;
    loop {
        let mut line = String::new();
        let read = file.by_ref().take(MAX_LINE).read_line(&mut line)?;
        if read == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        items += 1;
        let before = values.len();
        for number in line.split_ascii_whitespace() {
            let value: f64 =
                number.parse().with_context(|| format!("{number:?} on line {items} is no number"))?;
            if !value.is_finite() {
                bail!("{number:?} on line {items} is not finite");
            }
            values.push(value);
        }
        let got = values.len() - before;
        if got != expected {
            bail!("line {items} has {got} numbers, and the network takes {expected}");
        }
        if items > instance.items() {
            bail!("there are more than the {} items of the size {}", instance.items(), instance.name());
        }
    }
    if items != instance.items() {
        bail!("there are {items} items, and the size {} has {}", instance.name(), instance.items());
    }
    let shape: Vec<usize> = std::iter::once(items).chain(shape.iter().copied()).collect();
    Ok(ArrayD::from_shape_vec(IxDyn(&shape), values)?)
}

fn scores(key: &ClientKey, file: impl Read) -> Result<ArrayD<f64>> {
    let mut decryptor = ItemDecryptor::new(key, file)?;
    let mut values = Vec::new();
    let mut items = 0;
    while let Some(group) = decryptor.next_group()? {
        for item in group {
            if let Some(BeyondRange { found, .. }) = item.beyond_range {
                eprintln!(
                    "warning: scores of item {items} reach {found}, beyond the calibrated range: they may be wrong"
                );
            }
            values.extend(item.scores);
            items += 1;
        }
    }
    Ok(ArrayD::from_shape_vec(IxDyn(&[items, key.bundle().score_shape().iter().product()]), values)?)
}

/// Position of the largest score; the first of equal ones.
fn label(scores: ArrayViewD<'_, f64>) -> Result<usize> {
    let mut best = (0, f64::NEG_INFINITY);
    for (class, &score) in scores.iter().enumerate() {
        if score > best.1 {
            best = (class, score);
        }
    }
    if best.1 == f64::NEG_INFINITY {
        bail!("an item has no score that is a number");
    }
    Ok(best.0)
}

fn check_count(instance: Instance, got: usize, path: &Path) -> Result<()> {
    if got == instance.items() {
        return Ok(());
    }
    bail!("{} has {got} items, and the size {} has {}", path.display(), instance.name(), instance.items())
}
