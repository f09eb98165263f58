//! The codec: networks, codebook, and what is typical.

use crate::latent::{CodeIndices, Latent};
use crate::network::{self, Layer, Layout};
use crate::planes::{Planes, Workspace};
use crate::weights::{CodecError, Weights};
use crate::xray::{SIDE, Xray};
use ndarray::{Array2, Array3, ArrayView3, Axis};
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};

const FORMAT: &str = "pleura codec 1";
const CODES: usize = 1024;
const MOST_CHANNELS: usize = 16;
const WIDEST: usize = 1024;
const MOST_BLOCKS: usize = 16;
const LEVELS: &str = "one to three pairs [width, blocks] of at most [1024, 16]";
/// Rows and columns of fields whose means and deviations are compared with typical ones.
const FIELDS: usize = 4;
/// Lower bound of deviations before their logarithms are taken.
const FLOOR: f32 = 0.02;

/// A trained codec, read from a file; it does not change. It keeps working memory, some 10 MB for each image that threads encode or
/// decode at the same time.
///
/// The encoder is made for a client: none of its layers works above a quarter of the image's resolution.
pub struct Codec {
    name: String,
    id: u64,
    factor: usize,
    channels: usize,
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
    /// `[code][channel]`.
    codebook: Vec<f32>,
    typical: Typical,
    /// Memory for as many images as were worked on at a time.
    workspaces: Mutex<Vec<Workspace>>,
}

/// Mean and whitening of what the latents of the chest X-rays of training are like, field by field.
struct Typical {
    mean: Vec<f32>,
    whitening: Vec<f32>,
    limit: f64,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Codec({}, {:016x})", self.name, self.id)
    }
}

impl Codec {
    /// Reads a codec file: safetensors with weights in half precision (`models/codec`).
    ///
    /// # Errors
    /// If the file is no codec, is damaged, or its tensors do not fit its metadata.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut weights = Weights::new(bytes)?;
        weights.entry("format", FORMAT, |text| (text == FORMAT).then_some(()))?;
        let name = weights.entry("name", "a short name", |text| {
            let fits = (1..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
            fits.then(|| text.to_owned())
        })?;
        let layout = Layout {
            channels: weights.integer("channels", "1 to 16", 1..=MOST_CHANNELS)?,
            levels: weights.json("levels", LEVELS, |value| {
                let levels: Vec<[usize; 2]> = serde_json::from_value(value).ok()?;
                let sane = levels.iter().all(|[w, b]| (1..=WIDEST).contains(w) && *b <= MOST_BLOCKS);
                ((1..=3).contains(&levels.len()) && sane).then_some(levels)
            })?,
            decoder_extra: weights.integer("decoder_extra", "0 to 16", 0..=MOST_BLOCKS)?,
        };
        let expected = 2 << layout.levels.len();
        let factor =
            weights.integer("factor", "4 at one level, doubled by each further one", expected..=expected)?;
        let limit = weights.entry("typical_limit", "a positive number", |text| {
            text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0)
        })?;

        let features = 2 * layout.channels * FIELDS * FIELDS;
        let codec = Self {
            name,
            id: identity(bytes),
            factor,
            channels: layout.channels,
            encoder: network::encoder(&mut weights, &layout)?,
            decoder: network::decoder(&mut weights, &layout)?,
            codebook: weights.single("codebook", &[CODES, layout.channels])?,
            typical: Typical {
                mean: weights.single("typical.mean", &[features])?,
                whitening: weights.single("typical.whitening", &[features, features])?,
                limit,
            },
            workspaces: Mutex::default(),
        };
        weights.finish()?;
        Ok(codec)
    }

    /// The codec's name: `f8` reduces each side eightfold.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first eight bytes of the file's SHA-256: latents carry it, so that no other codec decodes them.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Ratio of the image's side to the latent's.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Channels, height and width of a latent.
    pub fn latent_shape(&self) -> [usize; 3] {
        [self.channels, SIDE / self.factor, SIDE / self.factor]
    }

    /// The continuous latent of an X-ray.
    pub fn encode(&self, xray: &Xray) -> Latent {
        let scaled = xray.values().mapv(|x| x / 127.5 - 1.0).insert_axis(Axis(0));
        Latent::clamped(self.run(&self.encoder, scaled.view()))
    }

    /// Decodes a latent, continuous or dequantized, into an X-ray.
    ///
    /// # Errors
    /// If the latent has another shape than this codec's.
    pub fn decode(&self, latent: &Latent) -> Result<Xray, CodecError> {
        self.check(latent.shape())?;
        let out = self.run(&self.decoder, latent.values());
        Ok(Xray::clamped(out.index_axis_move(Axis(0), 0).mapv_into(|y| (y + 1.0) * 127.5)))
    }

    /// At each position the code nearest to the latent's vector of channels, the first of several.
    ///
    /// # Errors
    /// If the latent has another shape than this codec's.
    pub fn quantize(&self, latent: &Latent) -> Result<CodeIndices, CodecError> {
        self.check(latent.shape())?;
        let [channels, height, width] = self.latent_shape();
        let halves: Vec<f32> =
            self.codebook.chunks_exact(channels).map(|code| dot(code, code.iter().copied()) / 2.0).collect();
        let mut codes = Array2::zeros((height, width));
        for (to, vector) in codes.iter_mut().zip(latent.values().lanes(Axis(0))) {
            let mut best = (0, f32::INFINITY);
            for (k, (code, half)) in self.codebook.chunks_exact(channels).zip(&halves).enumerate() {
                // Half the squared distance, less the term that is common to all codes.
                let distance = half - dot(code, vector.iter().copied());
                if distance < best.1 {
                    best = (k, distance);
                }
            }
            *to = best.0 as u16;
        }
        CodeIndices::new(codes).map_err(|_| self.shape_error(latent.shape()))
    }

    /// The latent that codes stand for.
    ///
    /// # Errors
    /// If there are not as many codes as this codec has positions, or one is not in its codebook.
    pub fn dequantize(&self, codes: &CodeIndices) -> Result<Latent, CodecError> {
        let [height, width] = codes.shape();
        self.check([self.channels, height, width])?;
        let mut values = Array3::zeros(self.latent_shape());
        let lanes = values.lanes_mut(Axis(0)).into_iter();
        for (position, (mut to, &code)) in lanes.zip(codes.values()).enumerate() {
            let Some(vector) = self.codebook.chunks_exact(self.channels).nth(usize::from(code)) else {
                return Err(CodecError::Code { code, position, codes: CODES });
            };
            to.iter_mut().zip(vector).for_each(|(to, x)| *to = *x);
        }
        Ok(Latent::clamped(values))
    }

    /// The out-of-distribution score, the distance of a latent from those of chest X-rays: the root mean square of the whitened means and deviations of its fields, in a
    /// 4x4 grid, over the limit that 99 % of held-out X-rays stayed below. Above 1, results on it mean little.
    ///
    /// # Errors
    /// If the latent has another shape than this codec's.
    pub fn ood_score(&self, latent: &Latent) -> Result<f64, CodecError> {
        self.check(latent.shape())?;
        let mut features = fields(latent);
        features.iter_mut().zip(&self.typical.mean).for_each(|(f, m)| *f -= m);
        let squares: f64 = self
            .typical
            .whitening
            .chunks_exact(features.len())
            .map(|row| f64::from(dot(row, features.iter().copied())).powi(2))
            .sum();
        Ok((squares / features.len() as f64).sqrt() / self.typical.limit)
    }

    fn run(&self, layers: &[Layer], input: ArrayView3<'_, f32>) -> Array3<f32> {
        let spare = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = spare.unwrap_or_default();
        let input = Planes::from_array(input, &mut workspace);
        let out = network::run(layers, input, &mut workspace).into_array(&mut workspace);
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        out
    }

    pub(crate) fn check(&self, found: [usize; 3]) -> Result<(), CodecError> {
        if found == self.latent_shape() { Ok(()) } else { Err(self.shape_error(found)) }
    }

    fn shape_error(&self, found: [usize; 3]) -> CodecError {
        CodecError::Shape { codec: self.name.clone(), expected: self.latent_shape(), found }
    }
}

fn identity(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}

fn dot(a: &[f32], b: impl Iterator<Item = f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The mean of each channel in each field of a grid, and then the logarithms of the deviations.
#[expect(clippy::indexing_slicing, reason = "a latent divides into the fields")]
fn fields(latent: &Latent) -> Vec<f32> {
    let [channels, height, width] = latent.shape();
    let tall = height / FIELDS;
    let wide = width / FIELDS;
    let mut sums = vec![[0.0_f32; 2]; channels * FIELDS * FIELDS];
    for (y, row) in latent.values().rows().into_iter().enumerate() {
        for (x, field) in row.exact_chunks(wide).into_iter().enumerate() {
            let [sum, squares] = &mut sums[y / tall * FIELDS + x];
            *sum += field.iter().sum::<f32>();
            *squares += field.iter().map(|x| x * x).sum::<f32>();
        }
    }
    let area = (tall * wide) as f32;
    let means = sums.iter().map(|[sum, _]| sum / area);
    let deviations = sums.iter().map(|[sum, squares]| {
        let variance = (squares / area - (sum / area).powi(2)).max(0.0);
        (variance.sqrt() + FLOOR).ln()
    });
    means.chain(deviations).collect()
}
